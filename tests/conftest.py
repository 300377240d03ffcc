"""What every test shares."""

import os

import optuna
import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run side by side: threads would wait for one another


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the chains of tests that one process runs in order; all else fills the gaps."""
    items.sort(key=lambda item: item.get_closest_marker("xdist_group") is None)


@pytest.fixture(autouse=True)
def _optuna_is_quiet():
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(before)
