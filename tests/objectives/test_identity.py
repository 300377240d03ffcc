import functools
import importlib
import importlib.util
import os
import shutil
import subprocess
import sys
import textwrap

import pytest

from objectives import FunctionTask

SOURCE = '''
import functools
import own_helper
from own_helper import grow

WIDTHS = (8, 16)
KINDS = {"relu", "gelu", "tanh"}

def helper(x):
    return x + 1

class Base:
    def forward(self):
        return 1

class Layer(Base):
    pass

@functools.cache
def cached(x):
    return x * 2

class T(Task):
    epochs = 3

    class Inner:
        size = 4

    def __init__(self, scale=1):
        self.scale = scale
        self._secret = scale * 5
        self._cache = {}

    @functools.cached_property
    def table(self):
        return 7

    def evaluate(self, trial, context):
        """Evaluate."""
        self._cache[1] = 1
        Layer()
        kind = trial.suggest_categorical("kind", sorted(KINDS))
        return helper(trial.suggest_categorical("width", WIDTHS)) + grow(1) * own_helper.RATE + cached(3)
'''


NEIGHBOUR = """
RATE = 0.5

def grow(x):
    return x + 1
"""


@pytest.fixture
def identity(tmp_path, monkeypatch):
    """The identity of the task in a source text, and of what it imports from a neighbour."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def load(source: str, neighbour: str = NEIGHBOUR, **arguments) -> dict[str, str]:
        (tmp_path / "own_helper.py").write_text(neighbour)
        sys.modules.pop("own_helper", None)
        shutil.rmtree(tmp_path / "__pycache__", ignore_errors=True)
        importlib.invalidate_caches()
        path = tmp_path / "task_file.py"
        path.write_text("from objectives import Task\n" + textwrap.dedent(source))
        import linecache

        linecache.clearcache()
        spec = importlib.util.spec_from_file_location("task_file", path)
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, "task_file", module)
        spec.loader.exec_module(module)
        return module.T(**arguments).identity()

    return load


def differing(first: dict[str, str], second: dict[str, str]) -> list[str]:
    return sorted(key for key in first | second if first.get(key) != second.get(key))


def test_the_same_source_has_the_same_identity(identity) -> None:
    assert identity(SOURCE) == identity(SOURCE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""Evaluate."""', '"""Say something else."""'),
        ("return helper(", "# a comment\n        return helper("),
        ("x + 1", "(x+1)"),
    ],
)
def test_words_and_layout_do_not_matter(identity, old, new) -> None:
    assert differing(identity(SOURCE), identity(SOURCE.replace(old, new))) == []


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ("x + 1", "x + 2", ["helper"]),
        ("(8, 16)", "(8, 32)", ["WIDTHS"]),
        ("epochs = 3", "epochs = 4", ["epochs"]),
        ('"width"', '"breadth"', ["evaluate()"]),
        ('"tanh"', '"silu"', ["KINDS"]),
        ("x * 2", "x * 3", ["cached"]),
        ("return 7", "return 8", ["table()"]),
        ("size = 4", "size = 5", ["Inner"]),
        ("return 1", "return 2", ["Base"]),
    ],
)
def test_a_change_of_meaning_is_named(identity, old, new, changed) -> None:
    assert differing(identity(SOURCE), identity(SOURCE.replace(old, new))) == changed


@pytest.mark.parametrize(("old", "new", "changed"), [("x + 1", "x + 2", ["grow"]), ("0.5", "0.9", ["RATE"])])
def test_a_change_in_a_file_of_ones_own_that_is_imported_is_named(identity, old, new, changed) -> None:
    assert differing(identity(SOURCE), identity(SOURCE, NEIGHBOUR.replace(old, new))) == changed


def test_a_setting_of_the_instance_counts_and_a_cache_does_not(identity) -> None:
    assert differing(identity(SOURCE), identity(SOURCE, scale=2)) == ["_secret", "scale"]
    assert "_cache" not in identity(SOURCE)


def test_the_identity_is_the_same_in_every_process(tmp_path) -> None:
    script = (
        "from objectives import FunctionTask\n"
        "KINDS = {'a', 'b', 'c', 'd'}\n"
        "f = eval('lambda trial: [x for x in KINDS if (lambda y: y)(x)]')\n"
        "print(FunctionTask(f, name='f').identity())\n"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(said) == 1
    assert "KINDS" in said.pop()


def test_what_a_function_closes_over_and_is_bound_to_counts() -> None:
    def make(factor):
        return lambda trial: {"accuracy": factor}

    def scaled(trial, factor):
        return {"accuracy": factor}

    closures = [FunctionTask(make(factor), name="f").identity() for factor in (1, 2)]
    partials = [FunctionTask(functools.partial(scaled, factor=f), name="f").identity() for f in (1, 2)]
    baselines = [FunctionTask(make(1), name="f", baseline=b).identity() for b in ({"x": 1}, {"x": 2})]
    assert differing(*closures) == ["factor"]
    assert differing(*partials) == ["arguments"]
    assert differing(*baselines) == ["baseline"]


def test_the_demos_task_is_compared_like_any_other() -> None:
    from objectives.digits import Digits

    parts = Digits().identity()
    assert {"build()", "fit()", "data()", "ACTIVATIONS"} <= set(parts)
    assert "evaluate()" not in parts
