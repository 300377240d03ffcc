"""What a user of Optuna may do that is out of the ordinary."""

from __future__ import annotations

import optuna
import pytest
from optuna.distributions import FloatDistribution
from threadpoolctl import ThreadpoolController

from moo.samplers import AutoSampler, ConstrainedTPESampler, NSGA2Sampler, SpaceWatch


def test_an_integer_beyond_64_bits_is_proposed() -> None:
    study = optuna.create_study(sampler=ConstrainedTPESampler(seed=0))
    study.optimize(lambda trial: float(trial.suggest_int("n", 0, 2**64)), n_trials=14)
    assert len({trial.params["n"] for trial in study.trials}) == 14


def test_a_range_that_depends_on_another_parameter_does_not_end_a_search_early() -> None:
    study = optuna.create_study(sampler=ConstrainedTPESampler(seed=0, when_exhausted="stop"))
    study.enqueue_trial({"n": 2, "k": 1})
    study.enqueue_trial({"n": 1, "k": 1})
    study.optimize(lambda trial: trial.suggest_int("k", 1, trial.suggest_int("n", 1, 2)), n_trials=12)
    assert {(trial.params["n"], trial.params["k"]) for trial in study.trials} == {(1, 1), (2, 1), (2, 2)}


@pytest.mark.parametrize("sampler", [ConstrainedTPESampler, NSGA2Sampler])
def test_a_trial_added_with_another_scale_does_not_end_a_search(sampler: type) -> None:
    study = optuna.create_study(sampler=sampler(seed=0))
    study.optimize(lambda trial: trial.suggest_float("x", 0.1, 1.0), n_trials=12)
    other = {"x": FloatDistribution(1e-5, 1.0, log=True)}
    study.add_trial(optuna.create_trial(params={"x": 0.5}, distributions=other, value=0.5))
    study.optimize(lambda trial: trial.suggest_float("x", 0.1, 1.0), n_trials=3)
    assert len(study.trials) == 16


def n_blas_threads() -> list[int]:
    return [info["num_threads"] for info in ThreadpoolController().info() if info["user_api"] == "blas"]


@pytest.mark.parametrize("n_jobs", [1, 4])
def test_a_study_leaves_the_blas_as_it_was(n_jobs: int) -> None:
    before = n_blas_threads()
    study = optuna.create_study(sampler=NSGA2Sampler(seed=0))
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=30, n_jobs=n_jobs)
    assert n_blas_threads() == before


@pytest.mark.parametrize("sampler", [AutoSampler, ConstrainedTPESampler, NSGA2Sampler])
def test_an_absence_that_two_parameters_explain_together_wastes_no_trial(sampler: type) -> None:
    def objective(trial: optuna.Trial) -> float:
        kind, n = trial.suggest_categorical("kind", ["a", "b"]), trial.suggest_int("n", 1, 3)
        return n + (trial.suggest_int("z", 0, 2) if kind == "b" and n >= 2 else 0)

    study = optuna.create_study(sampler=sampler(seed=0, when_exhausted="stop"))
    study.optimize(objective, n_trials=60)
    assert len(study.trials) == len({tuple(trial.params.items()) for trial in study.trials}) == 10


@pytest.mark.parametrize("high", [10**7, 2**60])
def test_a_very_fine_parameter_is_no_trouble(high: int) -> None:
    study = optuna.create_study(directions=["minimize"] * 2, sampler=AutoSampler(seed=0))
    study.optimize(
        lambda t: (t.suggest_int("i", 0, high) / high, t.suggest_int("j", 1, high, log=True)), n_trials=14
    )
    assert len(study.trials) == 14


def test_values_at_the_end_of_what_floats_hold_do_not_end_a_search() -> None:
    study = optuna.create_study(directions=["minimize"] * 2, sampler=AutoSampler(seed=0))

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        x = trial.suggest_float("x", 0, 1)
        trial.set_constraint("c", (x - 0.5) * 1e308)
        return [1e308, -1e308, float("inf"), x][trial.number % 4], 1 - x

    study.optimize(objective, n_trials=20)
    assert len(study.trials) == 20


def test_a_running_trial_that_has_not_stored_all_of_its_parameters_leaves_the_end_open() -> None:
    study = optuna.create_study()
    watch = SpaceWatch()
    trial = study.ask()
    trial.suggest_categorical("model", ["resnet"])
    assert watch.exhausted(study) is None
    trial.suggest_int("depth", 1, 2)
    study.tell(trial, 1.0)
    other = study.ask()
    other.suggest_categorical("model", ["resnet"])
    assert watch.exhausted(study) is None
    study.tell(other, state=optuna.trial.TrialState.FAIL)
    study.enqueue_trial({"model": "resnet", "depth": 3 - trial.params["depth"]})
    last = study.ask()
    last.suggest_categorical("model", ["resnet"])
    last.suggest_int("depth", 1, 2)
    assert watch.exhausted(study) == "all 2 configurations have been tried"
