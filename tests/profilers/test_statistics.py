"""Intervals are proved against exact fractions, by simulation, and by what must hold of any quantile."""

from fractions import Fraction
from functools import partial
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from profilers import bootstrap_interval, quantile_interval, smallest_n
from profilers._statistics import (
    interval_ranks,
    quantile_rank,
    runs_of_launches,
    weighted_mean,
    weighted_quantile,
)

TAIL = Fraction(1, 40)  # 2.5% on each side


def exact_cdf(n: int, q: Fraction) -> list[Fraction]:
    total, cdf = Fraction(0), []
    for k in range(n + 1):
        total += comb(n, k) * q**k * (1 - q) ** (n - k)
        cdf.append(total)
    return cdf


def exact_ranks(n: int, q: Fraction) -> tuple[int, int] | None:
    """The definition, tried for every rank in exact arithmetic."""
    cdf = exact_cdf(n, q)
    lows = [rank for rank in range(1, n + 1) if cdf[rank - 1] <= TAIL]
    highs = [rank for rank in range(1, n + 1) if 1 - cdf[rank - 1] <= TAIL]
    return (max(lows), min(highs)) if lows and highs else None


@pytest.mark.parametrize("q", [Fraction(1, 2), Fraction(9, 10), Fraction(19, 20), Fraction(1, 10)])
@pytest.mark.parametrize("n", [1, 2, 5, 6, 7, 35, 36, 37, 71, 72, 73, 100, 151])
def test_ranks_are_those_of_the_exact_binomial(n: int, q: Fraction) -> None:
    assert interval_ranks(n, float(q)) == exact_ranks(n, q)


@pytest.mark.parametrize(("q", "expected"), [(0.5, 6), (0.9, 36), (0.95, 72), (0.99, 368), (0.01, 368)])
def test_the_fewest_samples_are_the_first_for_which_ranks_exist(q: float, expected: int) -> None:
    exact = Fraction(q).limit_denominator(1000)
    needed = next(n for n in range(1, 400) if max(exact, 1 - exact) ** n <= TAIL)
    assert smallest_n(q) == needed == expected
    assert interval_ranks(expected - 1, q) is None
    assert interval_ranks(expected, q) is not None


@pytest.mark.parametrize("q", [0.1, 0.5, 0.9, 0.95, 0.99])
def test_the_value_lies_within_its_interval_for_every_number_of_samples(q: float) -> None:
    for n in range(smallest_n(q), 1500, 7):
        ranks = interval_ranks(n, q)
        assert ranks is not None
        assert 1 <= ranks[0] <= quantile_rank(n, q) <= ranks[1] <= n


def test_the_rank_is_not_moved_by_rounding() -> None:
    assert all(quantile_rank(10 * n, 0.1) == n for n in range(1, 1000))


def test_the_interval_of_many_samples_is_found_without_overflow() -> None:
    ranks = interval_ranks(1_000_000, 0.5)
    assert ranks is not None
    assert ranks[1] - ranks[0] == pytest.approx(2 * 1.96 * 500, rel=0.01)


@pytest.mark.parametrize(("q", "n"), [(0.5, 20), (0.5, 200), (0.95, 100)])
def test_the_interval_holds_the_true_quantile_at_least_as_often_as_it_says(q: float, n: int) -> None:
    generator = np.random.default_rng(0)
    truth = -np.log(1 - q)  # of the exponential distribution
    samples = np.sort(generator.exponential(size=(4000, n)), axis=1)
    ranks = interval_ranks(n, q)
    assert ranks is not None
    holds = (samples[:, ranks[0] - 1] <= truth) & (truth <= samples[:, ranks[1] - 1])
    assert 0.945 <= holds.mean() <= 0.99


def test_too_few_samples_are_refused_with_the_number_it_takes() -> None:
    statistic = quantile_interval(np.arange(1.0, 72.0), 0.95)
    assert (statistic.value, statistic.low, statistic.high) == (None, None, None)
    assert (statistic.n, statistic.needs_n) == (71, 72)
    assert statistic.reason == "p95 needs at least 72 samples, got 71"


def test_no_samples_are_refused() -> None:
    assert quantile_interval(np.array([]), 0.5).needs_n == 6


def test_equal_samples_give_an_interval_of_no_width() -> None:
    statistic = quantile_interval(np.full(50, 3.0), 0.5)
    assert (statistic.value, statistic.low, statistic.high) == (3.0, 3.0, 3.0)


def test_a_missing_sample_is_an_error() -> None:
    with pytest.raises(ValueError, match="no NaN"):
        quantile_interval(np.array([1.0] * 10 + [np.nan]), 0.5)


@pytest.mark.parametrize("q", [0.0, 1.0, -0.5, 95])
def test_a_quantile_outside_0_and_1_is_an_error(q: float) -> None:
    with pytest.raises(ValueError, match="q must be strictly between 0 and 1"):
        quantile_interval(np.ones(10), q)


@given(st.lists(st.floats(0.001, 1000), min_size=6, max_size=60), st.floats(0.5, 2), st.randoms())
def test_the_order_of_samples_changes_nothing_and_their_unit_only_the_unit(samples, factor, random) -> None:
    shuffled = random.sample(samples, len(samples))
    original = quantile_interval(np.array(samples), 0.5)
    scaled = quantile_interval(factor * np.array(shuffled), 0.5)
    assert (scaled.value, scaled.low, scaled.high) == (
        factor * original.value,
        factor * original.low,
        factor * original.high,
    )


def test_the_samples_are_not_changed() -> None:
    samples = np.array([3.0, 1.0, 2.0] * 4)
    quantile_interval(samples, 0.5)
    assert samples[:3].tolist() == [3.0, 1.0, 2.0]


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=40), st.floats(0.01, 0.99))
def test_a_quantile_with_equal_weights_is_the_inverse_of_the_empirical_cdf(samples, q) -> None:
    ordered = np.sort(samples)
    assert weighted_quantile(ordered, np.ones(len(ordered)), q) == ordered[quantile_rank(len(ordered), q) - 1]


def test_each_launch_weighs_the_same_however_many_samples_it_has() -> None:
    launches = [np.full(10, 1.0), np.full(1000, 3.0)]
    statistic = bootstrap_interval(launches, weighted_mean, np.random.default_rng(0))
    assert statistic.value == pytest.approx(2.0)


def test_the_interval_over_launches_sees_the_spread_between_them() -> None:
    generator = np.random.default_rng(0)
    launches = [mean + 0.001 * generator.standard_normal(100) for mean in (1.0, 1.1, 1.2, 1.3, 1.4)]
    median = partial(weighted_quantile, q=0.5)
    statistic = bootstrap_interval(launches, median, np.random.default_rng(0))
    assert statistic.high - statistic.low > 0.1


@pytest.mark.parametrize("n_launches", [3, 5, 10])
def test_the_interval_over_launches_holds_the_true_median_as_often_as_it_says(n_launches) -> None:
    generator = np.random.default_rng(1)
    median = partial(weighted_quantile, q=0.5)
    held = 0
    for _ in range(100):
        launches = [generator.normal() + generator.standard_normal(30) for _ in range(n_launches)]
        statistic = bootstrap_interval(launches, median, generator, n_resamples=200)
        held += statistic.low <= 0 <= statistic.high
    assert held >= 90  # 95 expected, and what chance takes


def test_launches_that_resemble_their_neighbours_give_a_wider_interval() -> None:
    generator = np.random.default_rng(0)
    means = np.repeat(generator.standard_normal(5), 4)
    noise = 0.01 * generator.standard_normal((20, 30))
    drifting = list(means[:, None] + noise)
    shuffled = [drifting[index] for index in generator.permutation(20)]
    wide, narrow = (
        bootstrap_interval(x, weighted_mean, np.random.default_rng(0)) for x in (drifting, shuffled)
    )
    assert wide.value == pytest.approx(narrow.value)
    assert wide.high - wide.low > 1.3 * (narrow.high - narrow.low)


@pytest.mark.parametrize(("n", "lengths"), [(1, [1]), (9, [1] * 9), (20, [4] * 5), (60, [6] * 10)])
def test_runs_hold_every_launch_once_and_are_five_or_more_where_there_are_as_many(n, lengths) -> None:
    runs = runs_of_launches(n)
    assert [len(run) for run in runs] == lengths
    assert np.concatenate(runs).tolist() == list(range(n))


def test_the_bootstrap_of_a_mean_is_as_wide_as_theory_says() -> None:
    samples = np.random.default_rng(2).standard_normal(400)
    statistic = bootstrap_interval([samples], weighted_mean, np.random.default_rng(0), n_resamples=2000)
    assert statistic.high - statistic.low == pytest.approx(2 * 1.96 * samples.std() / 20, rel=0.1)


def test_the_same_generator_gives_the_same_interval() -> None:
    launches = [np.arange(1.0, 20.0), np.arange(2.0, 30.0)]
    first, second = (bootstrap_interval(launches, weighted_mean, np.random.default_rng(5)) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("launches", [[], [np.array([])], [np.array([1.0]), np.array([])]])
def test_a_launch_without_samples_is_an_error(launches) -> None:
    with pytest.raises(ValueError, match="each launch must have samples"):
        bootstrap_interval(launches, weighted_mean, np.random.default_rng(0))
