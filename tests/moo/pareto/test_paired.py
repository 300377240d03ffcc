import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from moo.pareto import paired_difference


@st.composite
def counts(draw) -> tuple[int, int, int]:
    n = draw(st.integers(1, 2000))
    n_better = draw(st.integers(0, n))
    return n, n_better, draw(st.integers(0, n - n_better))


@given(counts())
def test_the_test_is_the_binomial_one(given) -> None:
    n, n_better, n_worse = given
    found = paired_difference(n, n_better, n_worse)
    differ = n_better + n_worse
    expected = stats.binomtest(n_better, differ).pvalue if differ else 1.0
    assert found.p_value == pytest.approx(expected, rel=1e-9, abs=1e-12)


@given(counts())
def test_the_value_lies_in_its_interval_and_swapping_the_two_negates_it(given) -> None:
    n, n_better, n_worse = given
    found, swapped = paired_difference(n, n_better, n_worse), paired_difference(n, n_worse, n_better)
    assert -1 <= found.low <= found.value <= found.high <= 1
    assert (swapped.value, swapped.p_value) == (-found.value, found.p_value)
    assert (swapped.low, swapped.high) == (-found.high, -found.low)


def test_its_interval_holds_the_true_difference_about_as_often_as_it_says() -> None:
    generator, n, chances = np.random.default_rng(0), 360, (0.02, 0.04, 0.94)
    draws = generator.multinomial(n, chances, size=4000)
    found = [paired_difference(n, int(better), int(worse)) for better, worse, _ in draws]
    held = np.mean([one.low <= chances[0] - chances[1] <= one.high for one in found])
    assert 0.94 < held < 0.97


def test_it_is_narrower_than_two_separate_intervals() -> None:
    paired = paired_difference(360, 3, 10)
    shares = (340 / 360, 347 / 360)  # Wald's interval for independent samples
    width = 2 * 1.96 * sum(p * (1 - p) / 360 for p in shares) ** 0.5
    assert paired.high - paired.low < 0.8 * width


@pytest.mark.parametrize("wrong", [(0, 0, 0), (5, 3, 3), (5, -1, 0)])
def test_counts_that_cannot_be_are_refused(wrong) -> None:
    with pytest.raises(ValueError, match="expected n >= 1"):
        paired_difference(*wrong)
