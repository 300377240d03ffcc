"""Two processes prune in one SQLite study: all that reach a rung are in it, and the best goes on."""

import subprocess
import sys

import optuna
import pytest

from moo.problem import Problem

WORKER = """
import sys

import numpy as np
import optuna
from moo.problem import Problem
from moo.pruning import make_pruner

optuna.logging.set_verbosity(optuna.logging.ERROR)
problem = Problem.parse(maximize=["accuracy"], minimize=["parameters"])
pruner = make_pruner("halving:eta=3,max_resource=27", problem)
study = optuna.load_study(study_name="shared", storage=sys.argv[1])


def objective(trial):
    quality, size = np.random.default_rng(trial.number).uniform(0.1, 0.9, 2)
    if trial.number == 10:  # better than all others, begun amid them
        quality, size = 1.0, 0.0
    for step in range(1, 28):
        if pruner.report(trial, step, {"accuracy": quality - 0.5 / step}, {"parameters": size}):
            raise optuna.TrialPruned
    return quality, size


study.optimize(objective, n_trials=20)
"""


@pytest.mark.slow
def test_two_processes_share_their_rungs(tmp_path) -> None:
    problem = Problem.parse(maximize=["accuracy"], minimize=["parameters"])
    url = f"sqlite:///{tmp_path}/study.db"
    study = optuna.create_study(storage=url, study_name="shared", directions=problem.directions)
    workers = [subprocess.Popen([sys.executable, "-c", WORKER, url]) for _ in range(2)]
    assert [worker.wait(120) for worker in workers] == [0, 0]
    trials = study.get_trials()
    assert len(trials) == 40
    for trial in trials:
        entries = trial.user_attrs["moo:rungs"]["rungs"]
        reached = [1, 3, 9][: len(entries)]
        assert [entry["resource"] for entry in entries] == reached
        assert [entry["stopped"] for entry in entries[:-1]] == [False] * (len(entries) - 1)
        assert (trial.state.name == "PRUNED") == entries[-1]["stopped"]
    assert trials[10].state.name == "COMPLETE"
    # two that are decided in the same instant may both go on, so few more than a third of 40 do
    n_at_rung = [sum(len(t.user_attrs["moo:rungs"]["rungs"]) > k for t in trials) for k in range(3)]
    assert n_at_rung[0] == 40
    assert n_at_rung[1] <= 24
