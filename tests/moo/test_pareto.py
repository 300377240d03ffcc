import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from moo.pareto import hypervolume_history, knee, nondominated

small = st.integers(min_value=0, max_value=4).map(float)
unbounded = st.one_of(small, st.sampled_from([np.inf, -np.inf]))


def losses(max_points: int = 12, elements=small) -> st.SearchStrategy[np.ndarray]:
    shapes = st.tuples(st.integers(0, max_points), st.integers(1, 5))
    return shapes.flatmap(lambda shape: arrays(np.float64, shape, elements=elements))


def dominated_by_brute_force(points: np.ndarray) -> list[bool]:
    return [
        any(bool(np.all(other <= point) and np.any(other < point)) for other in points) for point in points
    ]


@given(losses())
def test_the_front_is_what_brute_force_finds(points: np.ndarray) -> None:
    assert nondominated(points).tolist() == [not d for d in dominated_by_brute_force(points)]


@given(losses(), st.randoms(use_true_random=False))
def test_the_order_of_points_does_not_matter(points: np.ndarray, random) -> None:
    order = list(range(len(points)))
    random.shuffle(order)
    assert nondominated(points[order]).tolist() == nondominated(points)[order].tolist()


@given(losses())
def test_scaling_a_loss_does_not_matter(points: np.ndarray) -> None:
    scaled = points * np.arange(1, points.shape[1] + 1) * 1e6
    assert nondominated(scaled).tolist() == nondominated(points).tolist()


def test_a_point_with_a_nan_is_never_on_the_front_and_dominates_nothing() -> None:
    assert nondominated([[np.nan, 0.0], [1.0, 1.0]]).tolist() == [False, True]


@given(losses(elements=unbounded))
def test_infinities_are_values_like_others(points: np.ndarray) -> None:
    assert nondominated(points).tolist() == [not d for d in dominated_by_brute_force(points)]


def test_an_array_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        nondominated([1.0, 2.0])


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


def test_the_knee_is_the_point_whose_worst_loss_is_smallest() -> None:
    assert knee([[0.0, 100.0], [0.4, 30.0], [1.0, 0.0]]) == 1


@pytest.mark.parametrize(("front", "expected"), [([], None), ([[1.0, 2.0]], 0), ([[1.0, 2.0]] * 3, 0)])
def test_the_knee_of_a_small_front(front, expected) -> None:
    assert knee(front) == expected


@given(losses().filter(lambda points: len(points) > 0))
def test_the_knee_does_not_depend_on_units(points: np.ndarray) -> None:
    chosen, scaled = knee(points), knee(points * 1024 + 7)
    assert chosen == scaled
