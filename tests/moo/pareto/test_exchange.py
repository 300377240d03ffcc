import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moo.pareto import exchange
from tests.moo.pareto.strategies import losses


@given(losses(min_points=1), st.data())
def test_differences_and_rates_are_what_counting_by_hand_gives(points: np.ndarray, data) -> None:
    i, j = (data.draw(st.integers(0, len(points) - 1)) for _ in range(2))
    found = exchange(points, i, j)
    change = [b - a for a, b in zip(points[i].tolist(), points[j].tolist(), strict=True)]
    assert found.absolute.tolist() == change
    for loss, (amount, before) in enumerate(zip(change, points[i].tolist(), strict=True)):
        assert found.relative[loss] == pytest.approx(amount / before if before else math.nan, nan_ok=True)
        for paid, price in enumerate(change):
            expected = price / -amount if amount < 0 and price > 0 else math.nan
            assert found.rates[loss, paid] == pytest.approx(expected, nan_ok=True)


@given(losses(min_points=1), st.data())
def test_going_back_gives_back_what_was_paid(points: np.ndarray, data) -> None:
    i, j = (data.draw(st.integers(0, len(points) - 1)) for _ in range(2))
    there, back = exchange(points, i, j), exchange(points, j, i)
    assert (back.absolute == -there.absolute).all()
    assert back.rates == pytest.approx(1.0 / there.rates.T, nan_ok=True)


@given(losses(min_points=2, max_points=2))
def test_relative_differences_do_not_depend_on_units_nor_rates_on_origins(points: np.ndarray) -> None:
    found = exchange(points, 0, 1)
    assert exchange(points * 1024, 0, 1).relative == pytest.approx(found.relative, nan_ok=True)
    assert exchange(points + 64, 0, 1).rates == pytest.approx(found.rates, nan_ok=True)


def test_a_negative_loss_that_sinks_is_a_relative_gain() -> None:
    assert exchange([[-0.5], [-0.6]], 0, 1).relative.tolist() == pytest.approx([-0.2])


@pytest.mark.parametrize(("origin", "other"), [(0, 2), (-1, 0)])
def test_a_candidate_that_is_not_there_is_refused(origin, other) -> None:
    with pytest.raises(IndexError, match="expected one of 2 candidates"):
        exchange([[1.0], [2.0]], origin, other)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_refused(bad) -> None:
    with pytest.raises(ValueError, match="losses: expected"):
        exchange([[bad], [2.0]], 0, 1)


def test_nothing_can_be_exchanged_in_an_empty_table() -> None:
    with pytest.raises(IndexError, match="origin"):
        exchange([], 0, 0)
