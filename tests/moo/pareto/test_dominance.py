import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moo.pareto import nondominated
from tests.moo.pareto.strategies import dominates, losses, unbounded


def dominated_by_brute_force(points: np.ndarray) -> list[bool]:
    return [any(dominates(other, point) for other in points) for point in points]


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
