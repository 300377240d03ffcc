import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from moo.pareto import hypervolume, hypervolume_history, reference_point
from tests.moo.pareto.strategies import front_by_brute_force, losses


@settings(max_examples=50)
@given(losses(8))
def test_the_hypervolume_history_ends_at_what_counting_cells_finds(points: np.ndarray) -> None:
    reference = np.full(points.shape[1], 5.0)
    cells = np.stack(np.meshgrid(*[np.arange(5)] * points.shape[1], indexing="ij"), -1).reshape(
        -1, points.shape[1]
    )
    counted = sum(any(bool(np.all(point <= cell)) for point in points) for cell in cells)
    history = hypervolume_history(points, reference)
    assert np.all(np.diff(history) >= 0)
    assert (history[-1] if len(history) else 0.0) == pytest.approx(counted)


@given(losses().filter(len))
def test_a_dominated_point_adds_no_hypervolume(points: np.ndarray) -> None:
    worse = np.vstack([points, points[0] + 0.5])
    history = hypervolume_history(worse, np.full(points.shape[1], 9.0))
    assert history[-1] == pytest.approx(history[-2])


def volume_by_inclusion_exclusion(points, reference) -> float:
    """The union of the boxes from each point to the reference: signed volumes of all intersections."""
    inside = [p for p in points if all(a < b for a, b in zip(p, reference, strict=True))]
    total = 0.0
    for size in range(1, len(inside) + 1):
        for chosen in itertools.combinations(inside, size):
            corner = [max(column) for column in zip(*chosen, strict=True)]
            sides = [b - a for a, b in zip(corner, reference, strict=True)]
            total += (-1) ** (size + 1) * float(np.prod(sides))
    return total


halves = st.integers(-6, 10).map(lambda number: number / 2)


@settings(max_examples=150, deadline=None)
@given(losses(7, halves, max_losses=4), st.data())
def test_the_hypervolume_is_what_inclusion_and_exclusion_finds(points: np.ndarray, data) -> None:
    reference = data.draw(arrays(np.float64, points.shape[1], elements=halves))
    found = hypervolume(points, reference)
    assert found.value == pytest.approx(volume_by_inclusion_exclusion(points.tolist(), reference.tolist()))
    assert (found.chosen, found.margin, found.reference.tolist()) == ("given", None, reference.tolist())


@settings(max_examples=150, deadline=None)
@given(losses(7, halves, max_losses=4), st.data())
def test_a_contribution_is_what_the_front_loses_without_the_point(points: np.ndarray, data) -> None:
    feasible = data.draw(arrays(np.bool_, len(points)))
    reference = np.full(points.shape[1], 4.0)
    front = front_by_brute_force(points, feasible)
    expected = np.zeros(len(points))
    for index in front:
        without = [points[i].tolist() for i in front if i != index]
        full = volume_by_inclusion_exclusion(points[front].tolist(), reference.tolist())
        expected[index] = full - volume_by_inclusion_exclusion(without, reference.tolist())
    found = hypervolume(points, reference, feasible=feasible)
    assert found.contributions == pytest.approx(expected)
    assert found.value == pytest.approx(
        volume_by_inclusion_exclusion(points[feasible].tolist(), reference.tolist())
    )


@given(losses(min_points=1, max_losses=4))
def test_without_a_reference_the_nadir_plus_a_margin_is_taken_and_stated(points: np.ndarray) -> None:
    front = points[front_by_brute_force(points)]
    expected = []
    for column in front.T.tolist():
        best, worst = min(column), max(column)
        expected.append(worst + 0.25 * ((worst - best) or abs(worst) or 1.0))
    found = hypervolume(points, margin=0.25)
    assert found.reference.tolist() == pytest.approx(expected)
    assert (found.chosen, found.margin) == ("nadir", 0.25)
    assert found.value == pytest.approx(volume_by_inclusion_exclusion(front.tolist(), expected))
    assert found.reference.tolist() == reference_point(front, margin=0.25).tolist()


@given(losses(min_points=1, max_losses=4))
def test_a_dominated_point_changes_neither_volume_nor_reference(points: np.ndarray) -> None:
    worse = np.vstack([points, points[:1] + 7.0])
    before, after = hypervolume(points), hypervolume(worse)
    assert after.value == before.value
    assert after.reference.tolist() == before.reference.tolist()
    assert after.contributions.tolist() == [*before.contributions.tolist(), 0.0]


@given(losses(min_points=1, max_losses=4), st.randoms(use_true_random=False))
def test_the_hypervolume_does_not_depend_on_the_order(points: np.ndarray, random) -> None:
    order = random.sample(range(len(points)), len(points))
    found, shuffled = hypervolume(points), hypervolume(points[order])
    assert shuffled.value == pytest.approx(found.value)
    assert shuffled.contributions == pytest.approx(found.contributions[order])


@given(losses(min_points=1, max_losses=4))
def test_the_hypervolume_goes_with_the_units(points: np.ndarray) -> None:
    reference = np.full(points.shape[1], 5.0)
    scale, shift = np.arange(1, points.shape[1] + 1) * 0.5, 3.0
    found = hypervolume(points, reference)
    scaled = hypervolume(points * scale + shift, reference * scale + shift)
    assert scaled.value == pytest.approx(found.value * np.prod(scale))
    assert scaled.contributions == pytest.approx(found.contributions * np.prod(scale))


@given(losses(min_points=1, max_losses=4))
def test_the_last_of_the_history_is_the_hypervolume(points: np.ndarray) -> None:
    found = hypervolume(points)
    assert hypervolume_history(points, found.reference)[-1] == pytest.approx(found.value)


@pytest.mark.parametrize("point", [[np.inf, 0.0], [0.0, np.inf], [np.inf, np.inf]])
def test_an_infinite_loss_adds_nothing_and_does_not_move_the_reference(point) -> None:
    points = [[1.0, 2.0], [2.0, 1.0]]
    found, finite = hypervolume([*points, point]), hypervolume(points)
    assert (found.value, found.reference.tolist()) == (finite.value, finite.reference.tolist())
    assert found.contributions[2] == 0.0


@pytest.mark.parametrize(
    ("points", "feasible"),
    [([], None), (np.zeros((0, 3)), None), ([[1.0, 2.0]], [False]), ([[np.inf, 2.0]], None)],
)
def test_without_a_point_the_volume_is_zero_and_no_reference_is_made_up(points, feasible) -> None:
    found = hypervolume(points, feasible=feasible)
    assert (found.value, found.reference, found.contributions.tolist()) == (0.0, None, [0.0] * len(points))


def test_one_point_contributes_all_and_its_double_nothing() -> None:
    assert hypervolume([[1.0, 2.0]], [2.0, 4.0]).contributions.tolist() == [2.0]
    assert hypervolume([[1.0, 2.0]] * 2, [2.0, 4.0]).contributions.tolist() == [0.0, 0.0]
    assert hypervolume([[1.0]] * 2, [2.0]).contributions.tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("points", "options", "message"),
    [
        ([[np.nan, 1.0]], {}, "losses: expected no NaN, got one in row 0"),
        ([[1.0, -np.inf]], {}, "no -inf"),
        ([1.0, 2.0], {}, "losses: expected shape"),
        ([[1.0, 2.0]], {"reference": [3.0]}, "reference: expected one number for each of 2 losses"),
        ([[1.0, 2.0]], {"reference": [3.0, np.inf]}, "reference: expected finite"),
        ([[1.0, 2.0]], {"reference": [3.0, np.nan]}, "reference: expected no NaN"),
        ([[1.0, 2.0]], {"margin": 0.0}, "margin: expected a number above 0"),
        ([[1.0, 2.0]], {"feasible": [True, False]}, r"feasible: expected booleans of shape \(1,\)"),
        ([[1.0, 2.0]], {"feasible": [0.2]}, "feasible: expected booleans"),
    ],
)
def test_wrong_input_to_a_hypervolume_is_refused(points, options, message) -> None:
    with pytest.raises(ValueError, match=message):
        hypervolume(points, **options)


def test_no_reference_point_comes_from_nothing() -> None:
    with pytest.raises(ValueError, match="at least one point"):
        reference_point(np.zeros((0, 2)))
    with pytest.raises(ValueError, match="finite"):
        reference_point([[np.inf, 1.0]])
