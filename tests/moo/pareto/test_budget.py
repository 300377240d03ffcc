import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from moo.pareto import budget_choice
from tests.moo.pareto.strategies import dominates, losses

limits = st.one_of(st.integers(-1, 5).map(float), st.just(np.inf))


@st.composite
def budgets(draw, min_points: int = 0):
    points = draw(losses(9, min_points=min_points, max_losses=4))
    n_losses = points.shape[1]
    order = draw(st.permutations(range(n_losses)))[: draw(st.integers(1, n_losses))]
    bounds = draw(arrays(np.float64, n_losses, elements=limits))
    feasible = draw(arrays(np.bool_, len(points)))
    return points, list(order), bounds, feasible


def rank(point, order) -> tuple[float, ...]:
    return tuple(point[j] for j in [*order, *(j for j in range(len(point)) if j not in order)])


def rows_within(points, bounds, feasible) -> list[int]:
    return [
        i
        for i in range(len(points))
        if feasible[i] and all(value <= bound for value, bound in zip(points[i], bounds, strict=True))
    ]


@given(budgets())
def test_the_choice_is_the_first_in_the_order_within_the_bounds(case) -> None:
    points, order, bounds, feasible = case
    within = rows_within(points.tolist(), bounds, feasible)
    ranked = sorted(within, key=lambda i: (rank(points[i], order), i))
    found = budget_choice(points, order, bounds=bounds, feasible=feasible)
    assert found.n_within == len(within)
    assert found.index == (ranked[0] if ranked else None)
    assert found.runner_up == (ranked[1] if len(ranked) > 1 else None)
    if len(ranked) > 1:
        assert found.gap == points[ranked[1]][order[0]] - points[ranked[0]][order[0]]
    if ranked:
        assert found.slack.tolist() == (bounds - points[ranked[0]]).tolist()
        assert not any(dominates(points[j], points[found.index]) for j in np.flatnonzero(feasible))


@given(budgets())
def test_each_relaxation_is_what_choosing_again_with_that_bound_finds(case) -> None:
    points, order, bounds, feasible = case
    found = budget_choice(points, order, bounds=bounds, feasible=feasible)
    first = order[0]
    steps = []
    for loss in range(points.shape[1]):
        if bounds[loss] == np.inf:
            continue
        best = np.inf if found.index is None else points[found.index][first]
        for wider in sorted({value for value in points[:, loss].tolist() if value > bounds[loss]}):
            again = np.where(np.arange(len(bounds)) == loss, wider, bounds)
            now = budget_choice(points, order, bounds=again, feasible=feasible)
            if now.index is not None and points[now.index][first] < best:
                gain = None if found.index is None else points[found.index][first] - points[now.index][first]
                best = points[now.index][first]
                steps.append((loss, wider, wider - bounds[loss], points[now.index][first], gain))
    assert [
        (step.loss, step.bound, step.increase, points[step.index][first], step.gain)
        for step in found.relaxations
    ] == steps
    for step in found.relaxations:
        assert feasible[step.index]
        assert points[step.index][step.loss] == step.bound


@given(budgets(), st.data())
def test_with_tolerances_the_choice_is_still_dominated_by_nobody(case, data) -> None:
    points, order, bounds, feasible = case
    tolerances = data.draw(arrays(np.float64, points.shape[1], elements=st.integers(0, 3).map(float)))
    found = budget_choice(points, order, bounds=bounds, tolerances=tolerances, feasible=feasible)
    kept = rows_within(points.tolist(), bounds, feasible)
    for loss in [*order, *(j for j in range(points.shape[1]) if j not in order)]:
        kept = [i for i in kept if points[i][loss] <= min(points[j][loss] for j in kept) + tolerances[loss]]
    expected = min(kept, key=lambda i: (rank(points[i], order), i), default=None)
    assert found.index == expected
    if expected is not None:
        assert not any(dominates(points[j], points[expected]) for j in np.flatnonzero(feasible))


def test_a_tolerance_lets_the_next_loss_decide_between_near_equals() -> None:
    errors_and_latencies = [[0.100, 9.0], [0.103, 2.0], [0.120, 1.0]]
    assert budget_choice(errors_and_latencies, [0]).index == 0
    found = budget_choice(errors_and_latencies, [0], tolerances=[0.005, 0.0])
    assert (found.index, found.runner_up) == (1, 0)
    assert found.gap == pytest.approx(-0.003)


@given(budgets(min_points=1), st.data())
def test_the_choice_depends_on_neither_order_of_rows_nor_units(case, data) -> None:
    points, order, bounds, feasible = case
    rows = list(data.draw(st.permutations(range(len(points)))))
    found = budget_choice(points, order, bounds=bounds, feasible=feasible)
    shuffled = budget_choice(points[rows], order, bounds=bounds, feasible=feasible[rows])
    scaled = budget_choice(points * 1024 + 7, order, bounds=bounds * 1024 + 7, feasible=feasible)
    assert (scaled.index, scaled.runner_up) == (found.index, found.runner_up)
    assert [step.index for step in scaled.relaxations] == [step.index for step in found.relaxations]
    assert (shuffled.index is None) == (found.index is None)
    if found.index is not None:
        assert points[rows][shuffled.index].tolist() == points[found.index].tolist()


@given(budgets(min_points=1))
def test_a_double_of_the_choice_is_its_runner_up(case) -> None:
    points, order, bounds, feasible = case
    found = budget_choice(points, order, bounds=bounds, feasible=feasible)
    if found.index is not None:
        doubled = np.vstack([points, points[found.index]])
        again = budget_choice(doubled, order, bounds=bounds, feasible=np.append(feasible, True))
        assert again.index == found.index
        assert points.tolist()[found.index] == doubled[again.runner_up].tolist()
        assert again.gap == 0.0


def test_where_nothing_is_within_the_bounds_the_nearest_bound_that_helps_is_told() -> None:
    found = budget_choice([[0.1, 7.0], [0.2, 6.0]], [0], bounds=[np.inf, 5.0])
    assert (found.index, found.slack, found.runner_up, found.n_within) == (None, None, None, 0)
    assert [(step.bound, step.increase, step.index, step.gain) for step in found.relaxations] == [
        (6.0, 1.0, 1, None),
        (7.0, 2.0, 0, None),
    ]


@pytest.mark.parametrize(("points", "feasible"), [([], None), (np.zeros((0, 3)), None), ([[1.0]], [False])])
def test_without_a_feasible_candidate_there_is_neither_choice_nor_relaxation(points, feasible) -> None:
    found = budget_choice(points, [0], feasible=feasible)
    assert (found.index, found.n_within, found.relaxations) == (None, 0, ())


def test_the_only_candidate_is_chosen_and_no_runner_up_is_made_up() -> None:
    found = budget_choice([[3.0, 4.0]], [1])
    assert (found.index, found.runner_up, found.gap, found.slack.tolist()) == (0, None, None, [np.inf] * 2)


def test_a_value_at_its_bound_is_within_it() -> None:
    assert budget_choice([[1.0, 5.0]], [0], bounds=[np.inf, 5.0]).slack.tolist() == [np.inf, 0.0]


@pytest.mark.parametrize(
    ("points", "order", "options", "message"),
    [
        ([[np.nan, 1.0]], [0], {}, "losses: expected no NaN"),
        ([[np.inf, 1.0]], [0], {}, "losses: expected finite"),
        ([[1.0, 1.0]], [], {}, "order: expected different losses from 0 to 1"),
        ([[1.0, 1.0]], [0, 0], {}, "order: expected different losses"),
        ([[1.0, 1.0]], [2], {}, "order: expected different losses"),
        ([[1.0, 1.0]], [-1], {}, "order: expected different losses"),
        ([[1.0, 1.0]], [0], {"bounds": [1.0]}, "bounds: expected one number for each of 2 losses"),
        ([[1.0, 1.0]], [0], {"bounds": [1.0, np.nan]}, "bounds: expected no NaN"),
        ([[1.0, 1.0]], [0], {"tolerances": [0.0, -1.0]}, "tolerances: expected numbers of at least 0"),
        ([[1.0, 1.0]], [0], {"feasible": [1]}, "feasible: expected booleans"),
    ],
)
def test_wrong_input_to_a_budget_choice_is_refused(points, order, options, message) -> None:
    with pytest.raises(ValueError, match=message):
        budget_choice(points, order, **options)
