"""Draws of a measured metric from launches, in rounds that all candidates share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["QUANTILES", "RoundLaunch", "RoundWeights", "launch_draws", "launch_value"]

FloatArray = NDArray[np.float64]

QUANTILES: Mapping[str, float | None] = {
    "latency_p50": 0.5,
    "latency_p95": 0.95,
    "latency_p99": 0.99,
    "throughput": None,
    "peak_memory": 0.5,
    "load_time": 0.5,
    "device_latency_p50": 0.5,
    "cold_latency_p50": 0.5,
    "device_memory": 0.5,
}
"""Which quantile of its samples a metric is; None for the rate, one over their mean."""

_SINGLE_RUNS = 5  # rounds that are runs of their own; then come five runs of 2, five of 3, and so on
_N_BINS = 128  # of samples: half of them even, half near the quantile


@dataclass(frozen=True, kw_only=True, eq=False)
class RoundLaunch:
    """One fresh process of one candidate.

    Args:
        round: Its round, from 0; launches of one round belong together.
        samples: By metric of `QUANTILES`, in SI units, all above 0: the times of calls, shape (n,); for
            `throughput` the seconds a row; for what a launch has once, such as its peak memory, shape (1,).
        bounded: The metrics of which the samples are upper limits alone, such as the tail of calls that were
            timed in blocks.
    """

    round: int
    samples: Mapping[str, FloatArray]
    bounded: frozenset[str] = field(default=frozenset())


@dataclass(frozen=True, eq=False)
class RoundWeights:
    """How much each round weighs in each draw, the same for all candidates.

    What slowed one round slowed all that were launched in it, so it must move them together: then it cancels
    where they are compared. Weights are those of the Bayesian bootstrap (D. B. Rubin, The Bayesian Bootstrap,
    The Annals of Statistics 9, 1981), standard exponential: unlike counts they are never all zero for a
    candidate that has a part of the rounds. Neighbouring rounds are alike, so that runs of them have one
    weight: the first five rounds are runs of one, the next five runs have two rounds, then three, and so on.
    A later round changes nothing of earlier runs.

    Attributes:
        run_of: The run of each round, shape (n_rounds,).
        weights: Of each run in each draw, shape (n_draws, n_runs).
        levels: A level in (0, 1) for each draw, of the spread that few runs leave unknown; shape (n_draws,).
    """

    run_of: NDArray[np.int64]
    weights: FloatArray
    levels: FloatArray

    @classmethod
    def draw(cls, n_rounds: int, n_draws: int, generator: np.random.Generator) -> RoundWeights:
        """Return the weights of so many rounds."""
        runs = _runs(n_rounds)
        weights = generator.standard_exponential((n_draws, int(runs.max(initial=-1)) + 1))
        return cls(runs, weights, generator.uniform(size=n_draws))


def _runs(n_rounds: int) -> NDArray[np.int64]:
    """Return the run of each round.

    >>> _runs(9).tolist()
    [0, 1, 2, 3, 4, 5, 5, 6, 6]
    """
    runs: list[int] = []
    run, length = 0, 1
    while len(runs) < n_rounds:
        runs += [run] * length
        run += 1
        length = 1 + run // _SINGLE_RUNS
    return np.array(runs[:n_rounds], dtype=np.int64)


def launch_value(launches: Sequence[RoundLaunch], metric: str) -> float:
    """Return the metric's value over all launches, each weighing the same.

    >>> launches = [RoundLaunch(round=i, samples={"latency_p50": np.array([1.0, 2.0 + i])}) for i in (0, 1)]
    >>> launch_value(launches, "latency_p50")
    1.0
    """
    arrays, q = [launch.samples[metric] for launch in launches], QUANTILES[metric]
    if q is None:
        return 1.0 / float(np.mean([array.mean() for array in arrays]))
    pooled = np.concatenate(arrays)
    weights = np.concatenate([np.full(len(array), 1.0 / len(array)) for array in arrays])
    order = np.argsort(pooled, kind="stable")
    share = np.cumsum(weights[order])
    return float(pooled[order][np.searchsorted(share, q * share[-1] * (1 - 1e-12))])


def launch_draws(
    launches: Sequence[RoundLaunch], metric: str, rounds: RoundWeights, generator: np.random.Generator
) -> FloatArray:
    """Return bootstrap draws of a candidate's metric: rounds weighed, then samples drawn within launches.

    Of few runs such draws spread too little. Their distance from the value, as a factor, is raised to
    sqrt((k + 1) / (k - 1)) for k runs, which makes their variance that of a mean of k, times
    sqrt((k - 1) / X) for X of the chi-square distribution with k - 1 degrees of freedom: what is near normal
    becomes Student's. X is taken at one level for all candidates of a draw, so that what is paired stays so.

    Args:
        launches: Of one candidate, at least one; with one launch, or of one run, the spread between launches
            stays unseen.
        metric: One of `QUANTILES` that all launches have.
        rounds: The weights.
        generator: Of the draws within launches.

    Returns:
        Shape (n_draws,), all above 0.
    """
    runs = rounds.run_of[[launch.round for launch in launches]]
    weights = rounds.weights[:, runs]
    arrays, q = [launch.samples[metric] for launch in launches], QUANTILES[metric]
    if q is None:
        draws = 1.0 / _mean_draws(arrays, weights, generator)
    else:
        draws = _quantile_draws(arrays, weights, q, generator)
    value = launch_value(launches, metric)
    return np.asarray(value * (draws / value) ** _widening(len(np.unique(runs)), rounds.levels))


def _widening(n_runs: int, levels: FloatArray) -> FloatArray:
    if n_runs < 2:
        return np.ones_like(levels)
    from scipy.special import chdtri  # half a second: only where something was measured

    freedom = n_runs - 1
    chi_square = np.asarray(chdtri(freedom, 1.0 - levels), dtype=np.float64)  # from above
    return np.asarray(np.sqrt((n_runs + 1) / (n_runs - 1) * freedom / np.maximum(chi_square, 1e-9)))


def _mean_draws(
    arrays: Sequence[FloatArray], weights: FloatArray, generator: np.random.Generator
) -> FloatArray:
    """Draws of the mean; that of many samples within a launch is as good as normal, and stays above 0."""
    total = np.zeros(len(weights))
    for index, array in enumerate(arrays):
        error = float(array.std()) / np.sqrt(len(array)) / float(array.mean())
        means = array.mean() * np.exp(error * generator.standard_normal(len(weights)))
        total += weights[:, index] * means
    return np.asarray(total / weights.sum(axis=1))


def _quantile_draws(
    arrays: Sequence[FloatArray], weights: FloatArray, q: float, generator: np.random.Generator
) -> FloatArray:
    """Draws of the pooled quantile. Samples are counted in bins, so that it costs no more with many."""
    edges = _edges(np.sort(np.concatenate(arrays)), q)
    shares = np.zeros((len(weights), len(edges)))
    for index, array in enumerate(arrays):
        part = np.bincount(np.searchsorted(edges, array), minlength=len(edges)) / len(array)
        counts = generator.multinomial(len(array), part, size=len(weights)) / len(array)
        shares += weights[:, index : index + 1] * counts
    reached = np.cumsum(shares, axis=1) >= q * weights.sum(axis=1, keepdims=True) * (1 - 1e-12)
    reached[:, -1] = True
    return np.asarray(edges[np.argmax(reached, axis=1)])


def _edges(ordered: ArrayLike, q: float) -> FloatArray:
    """Upper ends of the bins, among the ordered samples; each sample has its own where they are few."""
    values = np.asarray(ordered, dtype=np.float64)
    n = len(values)
    if n <= _N_BINS:
        return np.unique(values)
    low, high = max(0.0, q - 0.1), min(1.0, q + 0.1)
    shares = np.concatenate([np.linspace(0, 1, _N_BINS // 2), np.linspace(low, high, _N_BINS // 2)])
    ranks = np.unique(np.ceil(shares * (n - 1)).astype(np.int64))
    return np.unique(values[ranks])
