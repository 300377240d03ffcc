"""What every test shares."""

import os

import optuna
import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run side by side: threads would wait for one another


@pytest.fixture(autouse=True)
def _optuna_is_quiet():
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(before)
