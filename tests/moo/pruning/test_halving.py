import json
import logging
import math
import pickle

import optuna
import pytest
from optuna.trial import TrialState

from moo import Metric
from moo.errors import StudyMismatchError
from moo.problem import Problem
from moo.pruning import SuccessiveHalving
from moo.storage import BASELINE, EVALUATION
from moo.workers import queue_again

PROBLEM = Problem.parse(maximize=["accuracy"], minimize=["parameters"])
RUNGS = "moo:rungs"


@pytest.fixture
def study(tmp_path) -> optuna.Study:
    return optuna.create_study(directions=PROBLEM.directions, storage=f"sqlite:///{tmp_path}/study.db")


@pytest.fixture
def pruner() -> SuccessiveHalving:
    return SuccessiveHalving(PROBLEM, eta=3, max_resource=27)


@pytest.fixture
def writes(study, monkeypatch) -> list[str]:
    """Return the keys of the user attributes written from now on."""
    keys: list[str] = []
    write = study._storage.set_trial_user_attr
    monkeypatch.setattr(
        study._storage, "set_trial_user_attr", lambda i, key, value: (keys.append(key), write(i, key, value))
    )
    return keys


def show(pruner, trial, accuracy, parameters, *, step=1, violation=0.0) -> bool:
    """Report as a sweep would, of a trial with one constraint."""
    return pruner.report(
        trial, step, {"accuracy": accuracy}, {"parameters": parameters}, {"bound": violation}
    )


def rungs(study, number=-1) -> list[dict]:
    return study.trials[number].user_attrs[RUNGS]["rungs"]


def test_one_in_eta_goes_on(study, pruner) -> None:
    accuracies = [0.1, 0.2, 0.3, 0.05, 0.25, 0.28, 0.4]
    stopped = [show(pruner, study.ask(), accuracy, 10) for accuracy in accuracies]
    # of 1, 2, 3 one goes on, of 6 two
    assert stopped == [False, False, False, True, True, False, False]


def test_the_first_trial_goes_on_and_a_worse_one_is_stopped(study, pruner) -> None:
    assert [show(pruner, study.ask(), *point) for point in [(0.5, 10), (0.4, 20)]] == [False, True]


def test_two_that_do_not_dominate_each_other_both_go_on(study, pruner) -> None:
    assert [show(pruner, study.ask(), *point) for point in [(0.5, 10), (0.6, 20)]] == [False, False]


def test_equals_share_their_fate(study, pruner) -> None:
    assert [show(pruner, study.ask(), 0.5, 10) for _ in range(5)] == [False] * 5


def test_a_feasible_trial_comes_before_a_better_one_that_is_not(study, pruner) -> None:
    assert not show(pruner, study.ask(), 0.1, 90, violation=-0.5)
    assert show(pruner, study.ask(), 0.9, 10, violation=0.1)


def test_among_infeasible_trials_the_smaller_total_violation_comes_first(study, pruner) -> None:
    reports = [{"a": 0.3, "b": 0.3}, {"a": 0.5, "b": -9.0, "c": None}, {"a": 0.5, "b": 0.05}]
    accuracies = [0.9, 0.5, 0.9]
    stopped = [
        pruner.report(study.ask(), 1, {"accuracy": accuracy}, {"parameters": 1.0}, violations)
        for accuracy, violations in zip(accuracies, reports, strict=True)
    ]
    assert stopped == [False, False, True]
    assert [rungs(study, i)[0]["violation"] for i in range(3)] == [0.6, 0.5, 0.55]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_trial_that_diverged_is_stopped_even_if_it_is_alone(study, pruner, value) -> None:
    assert show(pruner, study.ask(), value, 10)
    json.dumps(study.trials[0].user_attrs[RUNGS], allow_nan=False)  # as any reader of JSON takes it
    assert not show(pruner, study.ask(), 0.01, 99)


def test_stopped_trials_stay_in_the_record_and_failed_ones_leave_it(study, pruner) -> None:
    for accuracy in (0.9, 0.5, 0.4):
        show(pruner, study.ask(), accuracy, 10)
    study.tell(1, state=TrialState.PRUNED)
    study.tell(2, state=TrialState.PRUNED)
    assert show(pruner, study.ask(), 0.6, 10)  # one of four: the one with 0.9
    study.tell(0, state=TrialState.FAIL)
    assert not show(pruner, study.ask(), 0.6, 10)  # one of four: those with 0.6
    assert show(pruner, study.ask(), 0.55, 10)


def test_each_rung_is_one_write_and_no_other_step_is_any(study, pruner, writes) -> None:
    trial = study.ask()
    for step in range(1, 28):
        assert not show(pruner, trial, 0.5 + step / 100, 10, step=step)
    assert writes == [RUNGS] * 3
    assert [(r["resource"], r["step"]) for r in rungs(study)] == [(1, 1), (3, 3), (9, 9)]


def test_what_is_stored_has_a_version_and_can_be_read_by_a_person(study, pruner) -> None:
    show(pruner, study.ask(), 0.5, 10, step=4, violation=-0.25)
    assert study.trials[0].user_attrs[RUNGS] == {
        "schema": "moo.rungs/1",
        "rungs": [
            {
                "resource": 3,
                "step": 4,
                "bracket": 0,
                "values": {"accuracy": 0.5, "parameters": 10.0},
                "violation": 0.0,
                "stopped": False,
            }
        ],
    }


def test_a_rung_jumped_over_is_recorded_at_the_highest_one_passed(study, pruner) -> None:
    show(pruner, study.ask(), 0.9, 10, step=9)
    assert show(pruner, study.ask(), 0.5, 10, step=10)
    assert [r["resource"] for r in rungs(study)] == [9]


def test_nothing_is_decided_at_the_end_of_training(study, pruner, writes) -> None:
    show(pruner, study.ask(), 0.9, 10, step=9)
    assert not show(pruner, study.ask(), 0.1, 99, step=27)
    assert not show(pruner, study.ask(), 0.1, 99, step=81)
    assert writes == [RUNGS]


def test_a_step_reported_twice_decides_nothing_anew(study, pruner, writes) -> None:
    show(pruner, study.ask(), 0.5, 10)
    trial = study.ask()
    assert not show(pruner, trial, 0.6, 10)
    assert not show(pruner, trial, 0.1, 10)
    assert not show(pruner, trial, 0.1, 10, step=2)
    assert rungs(study)[0]["values"]["accuracy"] == 0.6
    assert writes == [RUNGS] * 2


def test_nothing_is_decided_until_every_objective_is_known(study, pruner, writes) -> None:
    show(pruner, study.ask(), 0.5, 10)
    trial = study.ask()
    assert not pruner.report(trial, 1, {}, {"parameters": 99})
    assert not pruner.report(trial, 1, {"accuracy": 0.1}, {"parameters": None})
    assert writes == [RUNGS]
    assert pruner.report(trial, 1, {}, {"parameters": 99})  # the rest of the same step
    assert writes == [RUNGS] * 2


def test_values_of_an_earlier_step_complete_nothing(study, pruner) -> None:
    trial = study.ask()
    assert not pruner.report(trial, 1, {"accuracy": 0.1})
    assert not pruner.report(trial, 2, {}, {"parameters": 99})
    assert RUNGS not in study.trials[0].user_attrs


def test_a_rung_passed_undecided_is_told_once(study, pruner, caplog) -> None:
    with caplog.at_level(logging.WARNING, logger="moo"):
        for trial in (study.ask(), study.ask()):
            for step in range(1, 10):
                assert not pruner.report(trial, step, {"accuracy": 0.1})
    assert [record.getMessage() for record in caplog.records] == [
        "pruner: trial 0 passed the rung at step 1 undecided: parameters was neither reported nor known;"
        " report every objective that training yields"
    ]


@pytest.mark.parametrize(("stage", "expected"), [("trained", 0.2), ("measured", 0.8), ("static", 0.8)])
def test_a_trained_metric_is_what_was_reported_and_any_other_what_is_known(tmp_path, stage, expected) -> None:
    metrics = {"mine": Metric(name="mine", stage=stage)}
    problem = Problem.parse(maximize=["accuracy", "mine"], metrics=metrics)
    study = optuna.create_study(directions=problem.directions)
    SuccessiveHalving(problem).report(study.ask(), 1, {"accuracy": 0.5, "mine": 0.2}, {"mine": 0.8})
    assert rungs(study)[0]["values"]["mine"] == expected


def test_the_baseline_is_never_stopped_and_counts(study, pruner) -> None:
    show(pruner, study.ask(), 0.5, 10)
    study.enqueue_trial({}, user_attrs={BASELINE: True})
    baseline = study.ask()
    assert not show(pruner, baseline, 0.4, 20)
    assert show(pruner, study.ask(), 0.3, 15)
    assert [r["stopped"] for r in rungs(study, baseline.number)] == [False]


def test_a_trial_run_again_is_decided_as_before_and_counts_once(study, pruner, writes) -> None:
    show(pruner, study.ask(), 0.5, 10)
    first = study.ask()
    assert not any(show(pruner, first, 0.6, 10, step=step) for step in range(1, 5))
    before = study.trials[1].user_attrs
    queue_again(study._storage, study.trials[1]._trial_id)
    show(pruner, other_trial(study), 0.9, 5)  # a better one comes meanwhile
    del writes[:]
    again = SuccessiveHalving(PROBLEM, eta=3, max_resource=27)
    trial = study.ask()
    assert trial.number == 1
    assert not any(show(again, trial, 0.6, 10, step=step) for step in range(1, 9))
    assert writes == []
    assert study.trials[1].user_attrs[RUNGS] == before[RUNGS]


def other_trial(study) -> optuna.Trial:
    """Begin a new trial although another one waits, as another process may have done just before."""
    study.add_trial(optuna.trial.create_trial(state=TrialState.RUNNING))
    return optuna.Trial(study, study.trials[-1]._trial_id)


def test_a_stopped_trial_run_again_is_stopped_at_its_first_report(study, pruner) -> None:
    show(pruner, study.ask(), 0.5, 10, step=3)
    trial = study.ask()
    assert not show(pruner, trial, 0.1, 10, step=1)
    assert show(pruner, trial, 0.1, 10, step=3)
    queue_again(study._storage, study.trials[1]._trial_id)
    assert show(SuccessiveHalving(PROBLEM), study.ask(), 0.1, 10, step=1)


def test_a_trial_that_does_not_heed_its_stop_is_told_again(study, pruner, writes) -> None:
    show(pruner, study.ask(), 0.5, 10)
    trial = study.ask()
    assert all(show(pruner, trial, 0.1, 10, step=step) for step in range(1, 10))
    assert writes == [RUNGS] * 2


def test_without_a_maximum_none_is_stopped_that_trained_as_long_as_any_complete_one(study) -> None:
    pruner = SuccessiveHalving(PROBLEM, eta=3)
    first = study.ask()
    show(pruner, first, 0.9, 10, step=9)
    second = study.ask()
    assert show(pruner, second, 0.5, 10, step=9)  # how long a training is, is not known yet
    curve = [[step, {"accuracy": 0.9}] for step in range(1, 13)]
    first.set_user_attr(EVALUATION, {"curve": curve})
    study.tell(first, [0.9, 10])
    assert show(pruner, study.ask(), 0.5, 10, step=11)
    assert not show(pruner, study.ask(), 0.5, 10, step=12)


def test_brackets_rank_their_own_trials(study) -> None:
    pruner = SuccessiveHalving(PROBLEM, eta=3, max_resource=27, brackets=2)
    # of these numbers, those of bracket 1 are 2 and 6 (`Schedule.bracket_of`): their first rung is at step 3
    brackets = [pruner._schedule.bracket_of(number) for number in range(8)]
    stopped = [show(pruner, study.ask(), 0.9 - number / 10, 10, step=3) for number in range(8)]
    first_of = [brackets.index(bracket) for bracket in (0, 1)]
    assert set(brackets) == {0, 1}
    assert [number for number, is_stopped in enumerate(stopped) if not is_stopped] == sorted(first_of)
    assert [rungs(study, number)[0]["bracket"] for number in range(8)] == brackets


def test_rungs_of_another_format_are_refused(study, pruner) -> None:
    study.ask().set_user_attr(RUNGS, {"schema": "moo.rungs/2"})
    with pytest.raises(StudyMismatchError, match=r"'moo.rungs/2', expected 'moo.rungs/1'"):
        show(pruner, study.ask(), 0.5, 10)


def test_one_objective_will_do(tmp_path) -> None:
    problem = Problem.parse(minimize=["loss"], metrics={"loss": Metric(name="loss")})
    study = optuna.create_study(direction="minimize")
    pruner = SuccessiveHalving(problem)
    assert [pruner.report(study.ask(), 1, {"loss": loss}) for loss in (3.0, 2.0, 2.5, 2.0)] == [
        False,
        False,
        True,
        False,
    ]


def test_a_pruner_can_be_sent_to_another_process(study, pruner) -> None:
    show(pruner, study.ask(), 0.5, 10)
    sent = pickle.loads(pickle.dumps(pruner))
    assert repr(sent) == repr(pruner)
    assert show(sent, study.ask(), 0.4, 20)
