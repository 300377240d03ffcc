"""The front of each place that candidates were measured in."""

import moo
from moo.devices import on_place, places
from objectives._pipeline import also_metrics

ALSO = {metric.name: metric for metric in also_metrics(["pi"])}


def trial(number, accuracy, here, pi, **changes) -> moo.FinishedTrial:
    values = {"accuracy": accuracy, "latency_p50": here, "pi_latency_p50": pi}
    metrics = {name: moo.Estimate.exact(value) for name, value in values.items() if value is not None}
    evaluation = moo.Evaluation(metrics=metrics)
    return moo.FinishedTrial(number=number, state="complete", params={}, evaluation=evaluation, **changes)


def results(*trials, constraints=(), devices=("desk", "pi"), minimize=("latency_p50",)) -> moo.Results:
    problem = moo.Problem.parse(
        maximize=["accuracy"], minimize=minimize, constraints=constraints, metrics=ALSO
    )
    bounds = (None,) * len(constraints)
    return moo.Results("s", problem, trials, bounds=bounds, devices=devices, extra_metrics=ALSO)


def numbers(found: moo.Results) -> set[int]:
    return {one.number for one in found.front}


WIDE, DEEP = trial(0, 0.9, 2e-3, 1e-4), trial(1, 0.9, 1e-3, 5e-4)


def test_each_place_has_the_front_of_its_own_measurements() -> None:
    both = results(WIDE, DEEP)
    assert places(both) == {"": "desk", "pi": "pi"}
    assert numbers(on_place(both, "")) == {1}
    assert numbers(on_place(both, "pi")) == {0}


def test_a_place_that_was_not_named_is_the_first() -> None:
    assert places(results(WIDE, DEEP, devices=())) == {"": "the first", "pi": "pi"}


def test_what_was_measured_in_one_place_has_no_places() -> None:
    assert places(results(trial(0, 0.9, 1e-3, None))) == {}


def test_an_absolute_bound_is_held_against_what_was_measured_there() -> None:
    both = results(WIDE, DEEP, constraints=["latency_p50 <= 1.5 ms", "pi_latency_p50 <= 0.2 ms"])
    assert numbers(on_place(both, "")) == set()  # 0.2 ms is asked of each
    assert numbers(on_place(both, "pi")) == {0}


def test_a_relative_bound_rests_on_what_the_baseline_has_there() -> None:
    baseline = trial(2, 0.5, 1.2e-3, 3e-4, is_baseline=True)
    both = results(WIDE, DEEP, baseline, constraints=["latency_p50 <= 1 x baseline"])
    assert numbers(on_place(both, "")) == {1}
    there = on_place(both, "pi")
    assert there.bounds == (3e-4,)
    assert numbers(there) == {0}


def test_objectives_of_several_places_are_one_objective_in_each() -> None:
    both = results(WIDE, DEEP, minimize=("latency_p50", "pi_latency_p50"))
    assert numbers(both) == {0, 1}
    assert [o.metric.name for o in on_place(both, "pi").problem.objectives] == ["accuracy", "pi_latency_p50"]
    assert numbers(on_place(both, "pi")) == {0}


def test_a_candidate_that_was_not_measured_there_is_not_on_the_front_there() -> None:
    both = results(WIDE, trial(1, 0.95, 1e-3, None))
    assert numbers(on_place(both, "pi")) == {0}
    assert numbers(on_place(both, "")) == {1}
