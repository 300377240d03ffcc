from dataclasses import replace

import numpy as np
import pytest

from moo.decision import contenders
from moo.evaluation import Estimate
from moo.metrics import BUILT_IN, Metric
from moo.pareto import hypervolume_history
from moo.problem import Problem
from reports import _data
from reports._axes import axis_unit, choose_metrics, make_axis
from reports._data import MAX_DRAWN, candidates, front_chart, page_candidates, shown_candidates
from reports._found import left_out_text
from reports._history import history
from tests.reports import samples


def numbers(chart, group):
    return [point.trial.number for point in chart.groups[group]]


@pytest.mark.parametrize(
    ("problem", "expected"),
    [
        (Problem.parse(maximize=["accuracy"], minimize=["latency_p50"]), ("latency_p50", "accuracy", None)),
        (
            Problem.parse(maximize=["accuracy"], minimize=["parameters", "file_size"]),
            ("parameters", "accuracy", "file_size"),
        ),
        (Problem.parse(minimize=["parameters", "file_size"]), ("parameters", "file_size", None)),
        (Problem.parse(maximize=["accuracy", "throughput"]), ("throughput", "accuracy", None)),
        (
            Problem.parse(maximize=["accuracy"], constraints=["accuracy >= 90%", "latency_p95 <= 1 ms"]),
            ("latency_p95", "accuracy", None),
        ),
        (Problem.parse(minimize=["latency_p50"]), (None, "latency_p50", None)),
    ],
)
def test_axes_are_the_first_minimised_and_the_first_maximised_objective(problem, expected):
    found = choose_metrics(problem)
    assert tuple(m and m.name for m in (found.x, found.y, found.colour)) == expected


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("latency_p50", [1e-4, 2e-4, 9e-4], ("us", 1e-6)),
        ("latency_p50", [0.002, 0.02], ("ms", 1e-3)),
        ("peak_memory", [3e7, 4e7], ("MiB", 2.0**20)),
        ("accuracy", [0.9, 0.95], ("%", 0.01)),
        ("parameters", [1e3, 3e5], ("", 1.0)),
        ("throughput", [2e6], ("M/s", 1e6)),
        ("latency_p50", [], ("s", 1.0)),
        ("latency_p50", [0.0, 0.0], ("s", 1.0)),
    ],
)
def test_an_axis_has_one_unit_for_all_its_numbers(name, values, expected):
    assert axis_unit(BUILT_IN[name], values) == expected


@pytest.mark.parametrize(
    ("name", "values", "is_log"),
    [
        ("latency_p50", [0.001, 0.0101], True),
        ("latency_p50", [0.001, 0.01], False),
        ("latency_p50", [0.0, 0.01], False),
        ("accuracy", [0.05, 0.99], False),
        ("latency_p50", [], False),
    ],
)
def test_an_axis_is_logarithmic_where_positive_values_span_more_than_a_factor_ten(name, values, is_log):
    problem = Problem.parse(minimize=["latency_p50"])
    assert make_axis(BUILT_IN[name], values, problem).is_log is is_log


def test_every_candidate_is_in_the_group_that_its_state_and_feasibility_say():
    results = samples.constrained(
        [(0.9, 0.001, -0.1), (0.8, 0.002, -0.1), (0.95, 0.002, 0.1), (0.7, 0.1, -0.1)]
    )
    pruned = replace(results.trials[3], number=4, state="pruned")
    undecided = replace(results.trials[3], number=5, violations={})
    results = replace(results, trials=(*results.trials, pruned, undecided))
    chart = front_chart(results, 0)
    assert {group: numbers(chart, group) for group in chart.groups} == {
        "front": [0],
        "dominated": [1, 3],
        "infeasible": [2],
        "pruned": [4],
        "undecided": [5],
        "incomplete": [],
        "baseline": [],
    }


def test_a_feasible_candidate_without_every_objective_is_not_called_dominated():
    results = samples.many_objectives(3, 4)
    some = replace(results.trials[3].evaluation, metrics={"cost_0": Estimate(9.0), "cost_1": Estimate(9.0)})
    results = replace(results, trials=(*results.trials[:3], replace(results.trials[3], evaluation=some)))
    chart = front_chart(results, 0)
    assert numbers(chart, "incomplete") == [3]
    assert 3 not in numbers(chart, "dominated")


def test_a_dominated_baseline_is_in_its_own_group_only():
    chart = front_chart(samples.pairs([(0.9, 0.001), (0.8, 0.002)], baseline=1), 0)
    assert (numbers(chart, "front"), numbers(chart, "dominated"), numbers(chart, "baseline")) == (
        [0],
        [],
        [1],
    )


def test_a_baseline_on_the_front_is_in_both_groups():
    chart = front_chart(samples.pairs([(0.9, 0.001), (0.95, 0.002)], baseline=0), 0)
    assert (sorted(numbers(chart, "front")), numbers(chart, "baseline")) == ([0, 1], [0])


def test_equal_candidates_are_all_on_the_front():
    chart = front_chart(samples.pairs([(0.9, 0.001), (0.9, 0.001), (0.8, 0.002)]), 0)
    assert numbers(chart, "front") == [0, 1]
    assert len(chart.line) == 1


def test_points_are_in_the_unit_of_the_axis():
    chart = front_chart(samples.pairs([(0.9, 0.0004), (0.8, 0.0002)]), None)
    (first, _) = sorted(chart.groups["front"], key=lambda point: -point.x.value)
    assert (first.x.value, first.y.value) == pytest.approx((400.0, 90.0))


def test_the_front_line_turns_at_the_worse_of_both_neighbours():
    chart = front_chart(samples.pairs([(0.9, 0.001), (0.95, 0.002), (0.97, 0.003)]), None)
    corners = [(1, 90), (2, 90), (2, 95), (3, 95), (3, 97)]
    assert np.allclose(chart.line, corners)


def test_with_three_objectives_the_third_is_the_colour_and_there_is_no_line():
    chart = front_chart(samples.digits(), None)
    assert chart.colour is not None
    assert chart.colour.title == "parameters"
    assert chart.line == ()
    assert all(point.colour is not None for point in chart.groups["front"])


@pytest.mark.parametrize("n_objectives", [1, 2, 3, 4, 5])
def test_one_to_five_objectives_make_a_chart(n_objectives):
    results = samples.many_objectives(n_objectives)
    chart = front_chart(results, results.front[0].number)
    assert len(chart.groups["front"]) == len(results.front)
    assert len(chart.groups["front"]) + len(chart.groups["dominated"]) == 30


def test_an_empty_study_makes_an_empty_chart():
    chart = front_chart(samples.pairs([]), None)
    assert not any(chart.groups.values())
    assert chart.counts.startswith("0 trials")


def test_one_point_has_a_view_around_it():
    chart = front_chart(samples.pairs([(0.9, 0.001)]), 0)
    assert chart.x.low < 1 < chart.x.high
    assert chart.y.low < 90 < chart.y.high


def test_the_view_holds_the_whole_front_and_leaves_out_what_is_far_worse():
    points = [(0.9 + 0.01 * i, 0.001 * (1 + i)) for i in range(5)]
    chart = front_chart(samples.pairs([*points, (0.1, 0.004)]), None)
    assert chart.n_outside == 1
    assert 80 < chart.y.low < 90
    assert all(chart.x.low <= p.x.value <= chart.x.high for p in chart.groups["front"])


def test_candidates_without_a_value_on_an_axis_are_counted_and_not_drawn():
    results = samples.pairs([(0.9, 0.001)])
    unknown = samples.trial(1, {"accuracy": None, "latency_p50": 0.001}, state="pruned")
    infinite = samples.trial(2, {"accuracy": 0.8, "latency_p50": float("inf")})
    chart = front_chart(replace(results, trials=(*results.trials, unknown, infinite)), 0)
    assert chart.n_without_value == 2
    assert sum(map(len, chart.groups.values())) == 1


def test_bounds_on_the_metrics_of_the_axes_are_in_their_units():
    bounds = front_chart(samples.bounded(), None).bounds
    assert [(b.axis, round(b.at, 1)) for b in bounds] == [("x", 300.0), ("y", 92.9)]
    assert bounds[1].text == "accuracy \N{GREATER-THAN OR EQUAL TO} baseline - 4% = 92.9%"


def test_too_many_candidates_are_thinned_but_never_the_front_or_the_baseline():
    points = [(0.9, 0.001), (0.95, 0.002), *[(0.5, 0.1 + 1e-6 * i) for i in range(MAX_DRAWN + 500)]]
    results = samples.pairs(points, baseline=7)
    shown = {trial.number for trial, _ in shown_candidates(results)}
    assert {0, 1, 7} <= shown
    assert len(shown) <= MAX_DRAWN + 3
    assert front_chart(results, 0).n_thinned == len(points) - len(shown)


def test_drawing_order_does_not_depend_on_the_interval_of_an_unknown_end():
    results = samples.pairs([(0.9, 0.001)])
    metrics = {"accuracy": Estimate(0.9, 0.8, None), "latency_p50": Estimate(0.001)}
    trial = replace(results.trials[0], evaluation=replace(results.trials[0].evaluation, metrics=metrics))
    (point,) = front_chart(replace(results, trials=(trial,)), 0).groups["front"]
    assert (point.y.low, point.y.high) == (pytest.approx(80), None)


def test_history_is_the_hypervolume_as_a_share_of_the_last():
    results = samples.pairs([(0.8, 0.001), (0.9, 0.002), (0.7, 0.003), (0.95, 0.0005)])
    losses = np.array([[-0.8, 0.001], [-0.9, 0.002], [-0.7, 0.003], [-0.95, 0.0005]])
    volumes = hypervolume_history(losses, losses.max(axis=0) + 0.1 * np.ptp(losses, axis=0))
    found = history(results)
    expected = [(0, volumes[0]), (1, volumes[1]), (3, volumes[3])]
    assert np.allclose(found.steps, [(number, volume / volumes[3]) for number, volume in expected])
    assert found.reference == ("accuracy 67.5%", "latency p50 3.25 ms")


def test_history_reaches_the_last_trial_even_when_it_added_nothing():
    assert history(samples.pairs([(0.9, 0.001), (0.8, 0.002)])).steps[-1] == (1, 1.0)


@pytest.mark.parametrize(
    "results", [samples.pairs([]), samples.no_complete(), samples.constrained([(0.9, 1, 1)])]
)
def test_history_is_empty_without_a_complete_feasible_trial(results):
    assert history(results).steps == ()


def test_history_of_a_single_point_is_whole_from_the_start():
    assert history(samples.pairs([(0.9, 0.001)])).steps == ((0, 1.0),)


def test_a_metric_of_the_user_without_unit_is_drawn_as_it_is():
    assert axis_unit(Metric(name="score"), [0.5, 7.0]) == ("", 1.0)


def test_of_too_many_candidates_the_page_gets_all_it_may_choose_and_a_sample(monkeypatch):
    results = samples.digits(200)
    assert page_candidates(results) == candidates(results)
    assert left_out_text(results) is None
    monkeypatch.setattr(_data, "MAX_ON_PAGE", 20)
    kept = page_candidates(results)
    assert results.baseline is not None
    trials = [*results.front, *contenders(results), results.baseline]
    needed = {trial.number for trial in trials}
    assert len(needed) > len(results.front) + 1
    assert needed <= {trial.number for trial in kept}
    assert len(kept) == len(needed) + 20
    assert [trial.number for trial in kept] == sorted(trial.number for trial in kept)
    assert f"hold {len(kept)} of {len(candidates(results))} candidates" in left_out_text(results)
