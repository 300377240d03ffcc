import dataclasses

import pytest

from moo.evaluation import Estimate, Evaluation
from moo.problem import Problem
from moo.results import FinishedTrial, Results

PROBLEM = Problem.parse(maximize=["accuracy"], minimize=["latency_p50"], constraints=["latency_p50 <= 1 ms"])


def trial(number: int, accuracy: float, latency_s: float, **changes) -> FinishedTrial:
    metrics = {"accuracy": Estimate(accuracy), "latency_p50": Estimate(latency_s)}
    made = FinishedTrial(
        number=number,
        state="complete",
        params={"depth": number},
        evaluation=Evaluation(metrics=metrics, tags=("ok",)),
        violations={"latency_p50 <= 1 ms": latency_s / 1e-3 - 1},
    )
    return dataclasses.replace(made, **changes)


def results(*trials: FinishedTrial) -> Results:
    return Results("study", PROBLEM, trials, (1e-3,))


def test_the_front_holds_the_nondominated_feasible_trials_best_first() -> None:
    found = results(
        trial(0, 0.8, 1e-4),
        trial(1, 0.9, 5e-4),
        trial(2, 0.85, 6e-4),
        trial(3, 0.99, 2e-3),
        trial(4, 0.9, 5e-4),
    )
    assert [t.number for t in found.front] == [1, 4, 0]


def test_a_trial_whose_constraint_was_never_set_is_not_called_feasible() -> None:
    found = results(trial(0, 0.8, 1e-4, violations={}))
    assert found.is_feasible(found.trials[0]) is None
    assert found.front == ()


def test_a_pruned_trial_is_never_on_the_front() -> None:
    assert results(trial(0, 0.8, 1e-4, state="pruned")).front == ()


def test_failures_are_counted_by_reason() -> None:
    lost = {"state": "failed", "stage": "task", "evaluation": None, "violations": {}}
    found = results(
        trial(0, 0, 1, reason="a", **lost),
        trial(1, 0, 1, reason="b", **lost),
        trial(2, 0, 1, reason="b", **lost),
    )
    assert found.failures == [("task: b", 2), ("task: a", 1)]


def test_the_table_has_a_row_for_each_trial_and_missing_values_stay_missing() -> None:
    failed = FinishedTrial(number=1, state="failed", params={"width": 3}, stage="task", reason="no")
    table = results(trial(0, 0.8, 1e-4), failed).table()
    assert table["state"].tolist() == ["complete", "failed"]
    assert table["latency_p50"].isna().tolist() == [False, True]
    assert table["param_depth"].isna().tolist() == [False, True]
    assert table["feasible"].tolist() == [True, None]


def test_the_front_table_has_the_front_in_order_and_claims_no_probability() -> None:
    table = results(trial(0, 0.8, 1e-4), trial(1, 0.9, 5e-4)).front_table()
    assert table["trial"].tolist() == [1, 0]
    assert table["p_on_front"].isna().all()


@pytest.mark.parametrize("method", ["table", "front_table"])
def test_no_trial_makes_an_empty_table(method: str) -> None:
    assert len(getattr(results(), method)()) == 0
