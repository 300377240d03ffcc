"""Quantiles with intervals that say when they cannot be known: arrays in, numbers out.

Within one launch the interval of a quantile comes from order statistics; it assumes nothing about the shape
of the distribution, only that the samples are independent draws from it. Calls timed one after the other are
not quite that, so an interval within one launch is a lower bound on the real uncertainty. Over several
launches the launch is resampled first (`bootstrap_interval`).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Statistic:
    """A number with its interval, or the reason why there is none.

    Attributes:
        value: The estimate; None when the samples do not support one.
        low: Lower end of the 95% interval; None when it is not known.
        high: Upper end of the 95% interval; None when it is not known. It may be known where `value` is not.
        n: How many samples it was computed from.
        needs_n: How many samples it would need; None when more samples would not help.
        reason: Why `value` or the interval is missing; None when nothing is.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    needs_n: int | None = None
    reason: str | None = None

    def to_json(self) -> dict[str, float | int | str | None]:
        """The fields as a plain dict."""
        return asdict(self)


def smallest_n(q: float, confidence: float = 0.95) -> int:
    """The fewest samples from which a two-sided interval of the `q`-quantile exists.

    The widest interval order statistics can give is from the smallest sample to the largest. Each end misses
    with probability ``(1 - q)**n`` and ``q**n``; both must be at most ``(1 - confidence) / 2``.

    Raises:
        ValueError: If `q` or `confidence` is not strictly between 0 and 1.

    >>> [smallest_n(q) for q in (0.5, 0.9, 0.95, 0.99)]
    [6, 36, 72, 368]
    """
    _check_fraction("q", q)
    _check_fraction("confidence", confidence)
    return math.ceil(math.log((1 - confidence) / 2) / math.log(max(q, 1 - q)))


def quantile_rank(n: int, q: float) -> int:
    """Rank, from 1 to `n`, of the sample that estimates the `q`-quantile: the inverse of the empirical CDF.

    >>> quantile_rank(5, 0.5), quantile_rank(6, 0.5), quantile_rank(100, 0.95)
    (3, 3, 95)
    """
    return max(1, math.ceil(n * q * (1 - 1e-12)))  # 30 * 0.1 is a hair above 3, and must not become 4


def interval_ranks(n: int, q: float, confidence: float = 0.95) -> tuple[int, int] | None:
    """Ranks, from 1 to `n`, of the samples that enclose the `q`-quantile; None when `n` is too small.

    With B ~ Binomial(n, q) counting the samples at or below the true quantile Q, ``P(x_(l) > Q) = P(B <= l -
    1)`` and ``P(x_(u) < Q) <= P(B >= u)``. Returned are the largest l and the smallest u for which each is at
    most ``(1 - confidence) / 2``, so the interval holds Q with at least the confidence asked, whatever the
    distribution.

    Source: H. A. David and H. N. Nagaraja, Order Statistics, 3rd edition (2003), section 7.1.

    >>> interval_ranks(6, 0.5), interval_ranks(5, 0.5), interval_ranks(100, 0.95)
    ((1, 6), None, (90, 100))
    """
    if n < smallest_n(q, confidence):
        return None
    tail = (1 - confidence) / 2
    cdf = _binomial_cdf(n, q)
    low = int(np.searchsorted(cdf, tail, side="right"))  # cdf[low - 1] <= tail < cdf[low]
    high = int(np.searchsorted(cdf, 1 - tail, side="left")) + 1  # cdf[high - 1] is the first >= 1 - tail
    return low, high


def quantile_interval(samples: Array, q: float, confidence: float = 0.95) -> Statistic:
    """The `q`-quantile of `samples`, shape (n,), with its order-statistics interval, in their unit.

    Below `smallest_n` samples it refuses: the fields are None, `needs_n` says how many it takes. A NaN is an
    error, ties are not.

    Raises:
        ValueError: If `q` or `confidence` is not strictly between 0 and 1, or a sample is NaN.

    >>> quantile_interval(np.arange(1.0, 101.0), 0.95)
    Statistic(value=95.0, low=90.0, high=100.0, n=100, needs_n=None, reason=None)
    >>> quantile_interval(np.array([3.0, 1.0, 2.0]), 0.5).reason
    'p50 needs at least 6 samples, got 3'
    """
    n = len(samples)
    if np.isnan(samples).any():
        raise ValueError("samples must hold no NaN: a failed call is an error, not a sample")
    ranks = interval_ranks(n, q, confidence)
    if ranks is None:
        return refused(n, q, confidence)
    ordered = np.sort(samples)
    low, high = ranks
    rank = quantile_rank(n, q)
    return Statistic(float(ordered[rank - 1]), float(ordered[low - 1]), float(ordered[high - 1]), n)


def refused(n: int, q: float, confidence: float = 0.95) -> Statistic:
    """What stands in place of a quantile that `n` samples cannot support.

    >>> refused(10, 0.99).needs_n
    368
    """
    needed = smallest_n(q, confidence)
    return Statistic(None, None, None, n, needed, f"p{100 * q:g} needs at least {needed} samples, got {n}")


def weighted_quantile(ordered: Array, weights: Array, q: float) -> float:
    """The first of the `ordered` values, shape (n,), at which the share of the weight reaches `q`.

    >>> weighted_quantile(np.array([1.0, 2.0, 9.0]), np.array([1.0, 1.0, 2.0]), 0.5)
    2.0
    """
    share = np.cumsum(weights)
    index = int(np.searchsorted(share, q * share[-1] * (1 - 1e-12)))
    return float(ordered[min(index, len(ordered) - 1)])


def weighted_mean(ordered: Array, weights: Array) -> float:
    """The mean of the values, shape (n,), under the weights.

    >>> weighted_mean(np.array([1.0, 2.0, 9.0]), np.array([1.0, 1.0, 2.0]))
    5.25
    """
    return float(ordered @ weights / weights.sum())


FEWEST_RUNS = 5
LONGEST_RUN = 6  # launches
MOST_DRAWN = 20_000_000  # samples in all resamples together; a second or so


def bootstrap_interval(
    launches: Sequence[Array],
    statistic: Callable[[Array, Array], float],
    generator: np.random.Generator,
    *,
    confidence: float = 0.95,
    n_resamples: int | None = None,
) -> Statistic:
    """`statistic` over all launches, each weighing the same, with its hierarchical bootstrap interval.

    Each resample draws runs of consecutive launches, with replacement, then within each drawn launch as many
    samples as it has, with replacement; the interval runs between the percentiles of the resampled
    statistics. With one launch only the samples are resampled, and the spread between launches stays unseen.

    Launches that follow one another are alike, for the machine drifts: of 256 launches in 200 s on a virtual
    machine the medians of neighbours correlated by 0.30, of the second next by 0.22, of the tenth by 0.1. So
    runs of them are drawn and not single ones (`runs_of_launches`).

    A percentile interval over few runs is too narrow, so its limits are moved away from the value by the
    factor sqrt(k / (k - 1)) t / z for k runs, with Student's t for k - 1 degrees of freedom and the
    normal z. Simulated 95% intervals (300 cases) held the true median in 94% of cases with 5 launches, 95%
    with 10 and 96% with 20 where launches are independent and spread as much as the calls within one; in 98%,
    97% and 96% where a quarter of them are slow; in 89%, 86% and 87% where they are alike as above, against
    89%, 79% and 81% with single launches drawn. A drift slower than the whole measurement stays unseen. The
    cost is O(n_resamples * samples).

    Source: the runs, H. R. Kuensch, The Jackknife and the Bootstrap for General Stationary Observations, The
    Annals of Statistics 17 (1989), section 2, here without overlap; the factor, T. Hesterberg, What Teachers
    Should Know About the Bootstrap, The American Statistician 69 (2015), section 5; the resampling, A. C.
    Davison and D. V. Hinkley, Bootstrap Methods and Their Application (1997), section 3.8 (hierarchical
    data); why launches are a level of their own: T. Kalibera and R. Jones, Rigorous Benchmarking in
    Reasonable Time, ISMM 2013.

    Args:
        launches: One array of samples, shape (n_i,), for each launch, in order of time; none is empty.
        statistic: Maps the pooled samples in ascending order, shape (n,), and a weight for each to a number.
        generator: Where the resamples come from; the same generator gives the same interval.
        confidence: Share of resamples inside the interval.
        n_resamples: How many resamples; None for 1000, or fewer, down to 200, of more than 20,000 samples:
            with so many, what is drawn within a launch hardly matters.

    Raises:
        ValueError: If there is no launch, or one has no samples.

    >>> launches = [np.array([1.0, 2.0, 2.0]), np.array([2.0, 2.0, 3.0])]
    >>> statistic = bootstrap_interval(launches, weighted_mean, np.random.default_rng(0))
    >>> round(statistic.value, 9), statistic.low < 2 < statistic.high, statistic.n
    (2.0, True, 6)
    """
    sizes = np.array([len(samples) for samples in launches], dtype=np.int64)
    if not len(sizes) or not sizes.all():
        raise ValueError(f"each launch must have samples, got {sizes.tolist()} of them")
    _check_fraction("confidence", confidence)
    pooled = np.concatenate(launches)
    n_resamples = n_resamples or max(200, min(1000, MOST_DRAWN // len(pooled)))
    order = np.argsort(pooled, kind="stable")
    ordered = pooled[order]
    runs = runs_of_launches(len(sizes))
    resampled = [
        statistic(ordered, _resampled_weights(sizes, runs, generator)[order]) for _ in range(n_resamples)
    ]
    tail = (1 - confidence) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail])
    value = statistic(ordered, np.repeat(1.0 / sizes, sizes)[order])
    factor = expansion(len(runs), confidence)
    below, above = max(0.0, float(value - low)), max(0.0, float(high - value))
    return Statistic(value, value - factor * below, value + factor * above, len(pooled))


def runs_of_launches(n: int) -> list[NDArray[np.int64]]:
    """The indices of `n` launches in runs of consecutive ones: at least 5 runs of at most `LONGEST_RUN`.

    >>> [run.tolist() for run in runs_of_launches(11)]
    [[0, 1, 2], [3, 4], [5, 6], [7, 8], [9, 10]]
    """
    length = min(max(1, n // FEWEST_RUNS), LONGEST_RUN)
    return np.array_split(np.arange(n), n // length)


def expansion(n_launches: int, confidence: float = 0.95) -> float:
    """How many times too narrow a bootstrap's percentile interval over few launches is; 1 for one.

    >>> [round(expansion(k), 2) for k in (1, 2, 5, 10, 100)]
    [1.0, 9.17, 1.58, 1.22, 1.02]
    """
    if n_launches < 2:
        return 1.0
    from scipy.special import ndtri, stdtrit  # half a second: only where there are several launches

    p = (1 + confidence) / 2
    correction = math.sqrt(n_launches / (n_launches - 1))
    return float(correction * stdtrit(n_launches - 1, p) / ndtri(p))


def _resampled_weights(
    sizes: NDArray[np.int64], runs: Sequence[NDArray[np.int64]], generator: np.random.Generator
) -> Array:
    """One weight for each pooled sample: how often it was drawn, so that each draw of a launch weighs 1."""
    chosen = np.concatenate([runs[index] for index in generator.integers(len(runs), size=len(runs))])
    drawn = np.bincount(chosen, minlength=len(sizes))
    weights = [
        np.bincount(generator.integers(size, size=times * size), minlength=size) / size
        for size, times in zip(sizes, drawn, strict=True)
    ]
    return np.concatenate(weights)


def _binomial_cdf(n: int, q: float) -> Array:
    """P(Binomial(n, q) <= k) for k = 0 .. n, shape (n + 1,), summed from exact log probabilities."""
    k = np.arange(n)
    steps = np.log((n - k) / (k + 1)) + math.log(q) - math.log1p(-q)  # log of pmf(k + 1) / pmf(k)
    log_pmf = n * math.log1p(-q) + np.concatenate([[0.0], np.cumsum(steps)])
    cdf: Array = np.cumsum(np.exp(log_pmf))
    return cdf


def _check_fraction(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise ValueError(f"{name} must be strictly between 0 and 1, got {value}")
