# make demo   the main job on real data: creates the environment, installs, searches, reports;
#             flags of `moo demo` go in DEMO, such as DEMO='--trials 60 --out there'
# make test   the whole test suite, in three processes (some wait); TESTS='-n 0 tests/moo' for other flags of pytest
# make check  format, lint, types
PYTHON ?= python3
VENV ?= .venv
DEMO ?=
TESTS ?= -n 3 --dist loadgroup
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: demo test check format clean

demo: $(VENV)/.demo
	$(BIN)/moo demo $(DEMO)

test: $(VENV)/.dev
	$(BIN)/python -m pytest $(TESTS)

check: $(VENV)/.dev
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy

format: $(VENV)/.dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "CPython 3.11 or later is needed; name one with: make PYTHON=python3.12 demo" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install --quiet --constraint constraints.txt --editable '.[torch,sklearn]'
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache
