"""One objective: the decisions are Optuna's own."""

import warnings

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from moo import Metric
from moo.errors import FitError
from moo.problem import Problem
from moo.pruning import make_pruner
from moo.storage import BASELINE
from moo.workers import queue_again

METRICS = {"loss": Metric(name="loss")}
PROBLEMS = {
    "maximize": Problem.parse(maximize=["accuracy"]),
    "minimize": Problem.parse(minimize=["loss"], metrics=METRICS),
}
TEXTS = [
    "median:n_startup_trials=3",
    "percentile:percentile=30,n_startup_trials=2,n_warmup_steps=2,interval_steps=2",
    "hyperband:max_resource=20",
    "successive-halving:min_resource=2,reduction_factor=2",
    "patient:patience=2,min_delta=0.01,wrapped_pruner=median,n_startup_trials=2",
    "threshold:lower=0.3,upper=0.9,n_warmup_steps=3",
    "wilcoxon:p_threshold=0.3",
]
N_TRIALS, N_STEPS = 30, 20


def curves(direction: str) -> np.ndarray:
    rng = np.random.default_rng(5)
    rising = rng.uniform(0.3, 0.95, (N_TRIALS, 1)) - 0.5 * np.arange(1, N_STEPS + 1) ** -0.8
    rising = rising + rng.normal(0, 0.02, rising.shape)
    return rising if direction == "maximize" else 1 - rising


def ends(study: optuna.Study) -> list[tuple[TrialState, int | None]]:
    return [(trial.state, trial.last_step) for trial in study.trials]


@pytest.mark.parametrize("direction", PROBLEMS)
@pytest.mark.parametrize("text", TEXTS)
def test_trials_end_where_optuna_alone_would_end_them(text, direction) -> None:
    problem, table = PROBLEMS[direction], curves(direction)
    pruner = make_pruner(text, problem)

    def with_ours(trial):
        for step, value in enumerate(table[trial.number]):
            if pruner.report(trial, step, {problem.objectives[0].metric.name: value}):
                raise optuna.TrialPruned
        return value

    def with_optuna_alone(trial):
        for step, value in enumerate(table[trial.number]):
            trial.report(value, step)
            if trial.should_prune():
                raise optuna.TrialPruned
        return value

    found = []
    for objective, used in ((with_ours, None), (with_optuna_alone, make_pruner(text, problem)._pruner)):
        study = optuna.create_study(direction=direction, pruner=used, study_name="same")
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="WilcoxonPruner finds steps")
            study.optimize(objective, n_trials=N_TRIALS)
        found.append(ends(study))
    assert found[0] == found[1]
    assert {TrialState.PRUNED, TrialState.COMPLETE} == {state for state, _ in found[0]}


def threshold():
    return make_pruner("threshold:lower=0.5", PROBLEMS["maximize"])


def test_nothing_is_decided_without_the_objective() -> None:
    study = optuna.create_study(direction="maximize")
    trial = study.ask()
    assert not threshold().report(trial, 1, {"loss": 0.0}, {"accuracy": 0.0})
    assert study.trials[0].intermediate_values == {}


def test_a_step_reported_twice_keeps_its_first_value_without_a_warning() -> None:
    study = optuna.create_study(direction="maximize")
    trial = study.ask()
    assert not threshold().report(trial, 1, {"accuracy": 0.9})
    assert not threshold().report(trial, 1, {"accuracy": 0.1})
    assert study.trials[0].intermediate_values == {1: 0.9}


def test_a_stopped_trial_that_is_run_again_is_stopped_again(tmp_path) -> None:
    study = optuna.create_study(direction="maximize", storage=f"sqlite:///{tmp_path}/s.db")
    pruner = make_pruner("successive-halving:min_resource=1,reduction_factor=2", PROBLEMS["maximize"])
    assert not pruner.report(study.ask(), 1, {"accuracy": 0.9})
    assert pruner.report(study.ask(), 1, {"accuracy": 0.1})
    queue_again(study._storage, study.trials[1]._trial_id)
    again = study.ask()
    assert again.number == 1
    assert pruner.report(again, 1, {"accuracy": 0.1})


def test_the_baseline_is_never_stopped() -> None:
    study = optuna.create_study(direction="maximize")
    study.enqueue_trial({}, user_attrs={BASELINE: True})
    assert not threshold().report(study.ask(), 1, {"accuracy": 0.1})
    assert threshold().report(study.ask(), 1, {"accuracy": 0.1})


@pytest.mark.parametrize("text", ["nop", "halving", "median"])
@pytest.mark.parametrize(
    ("step", "value", "message"),
    [
        (-1, 0.5, "report: step: expected a whole number of 0 or more, got -1"),
        (1.5, 0.5, "report: step: expected a whole number of 0 or more, got 1.5"),
        ("two", 0.5, "report: step: expected a whole number of 0 or more, got 'two'"),
        (float("nan"), 0.5, "report: step: expected a whole number of 0 or more, got nan"),
        (1, "high", "report: accuracy: expected a number, got 'high'"),
        (1, None, "report: accuracy: expected a number, got None"),
    ],
)
def test_what_cannot_be_reported_is_refused_in_one_line(text, step, value, message) -> None:
    pruner = make_pruner(text, PROBLEMS["maximize"])
    with pytest.raises(FitError) as caught:
        pruner.report(optuna.create_study(direction="maximize").ask(), step, {"accuracy": value})
    assert str(caught.value) == message


def test_numbers_of_numpy_are_numbers() -> None:
    trial = optuna.create_study(direction="maximize").ask()
    assert threshold().report(trial, np.int64(2), {"accuracy": np.float32(0.25)})
