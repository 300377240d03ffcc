"""Intervals of a score: over the samples of one model, and over the folds of a cross-validation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from moo.errors import ScoreError
from moo.evaluation import Estimate
from moo.metrics import Metric

__all__ = ["bootstrap_estimate", "cross_validated_estimate"]

N_RESAMPLES = 1000
_SEED = 0  # of the resamples: the same rows are drawn for every candidate, so that they compare
_SAFE_CLASS_SIZE = 20  # a class this large is absent from one of 1000 resamples with probability 2e-6


def bootstrap_estimate(
    value: float,
    value_of: Callable[[NDArray[np.intp]], float],
    n: int,
    *,
    strata: NDArray[Any] | None = None,
    n_resamples: int = N_RESAMPLES,
) -> Estimate:
    """Return a value with its 95% percentile bootstrap interval over the samples.

    Each resample draws n samples with replacement, by a fixed seed: the same for all candidates.
    Where a class has fewer than 20 samples, as many are drawn of each class as there are, so that
    none vanishes. There is no interval where a resample has no value, or all have the same: the
    bootstrap cannot see what the samples do not show (a perfect score is one). The interval is
    widened to hold the value. Percentile and not BCa: that needs the statistic n times more, and
    has no form for strata. What the interval leaves out is the luck of training.

    Source: B. Efron and R. J. Tibshirani, An Introduction to the Bootstrap (1993), section 13.3;
    strata, A. C. Davison and D. V. Hinkley, Bootstrap Methods and Their Application (1997), 3.2.

    Args:
        value: For all samples.
        value_of: The value for the samples of these numbers, shape (n,); it may raise ScoreError.
        n: The number of samples.
        strata: The class of each sample, shape (n,), or None.
        n_resamples: How often `value_of` is called.

    >>> estimate = bootstrap_estimate(4.5, lambda rows: float(rows.mean()), 10)
    >>> 2.5 < estimate.low < 3.2 and 5.8 < estimate.high < 6.5
    True
    """
    generator, groups = np.random.default_rng(_SEED), _groups(n, strata)
    values = np.empty(n_resamples)
    for index in range(n_resamples):
        rows = np.concatenate([generator.choice(group, size=len(group)) for group in groups])
        try:
            values[index] = value_of(rows)
        except ScoreError:
            return Estimate(value)
    if not np.isfinite(values).all() or np.ptp(values) == 0:
        return Estimate(value)
    low, high = np.quantile(values, (0.025, 0.975))
    return Estimate(value, min(float(low), value), max(float(high), value))


def _groups(n: int, strata: NDArray[Any] | None) -> list[NDArray[np.intp]]:
    """Return the numbers of the samples, by class where a small one may vanish from a resample."""
    if strata is not None and strata.ndim == 1:
        _, classes, sizes = np.unique(strata, return_inverse=True, return_counts=True)
        if sizes.min() < _SAFE_CLASS_SIZE:
            return [np.flatnonzero(classes == index) for index in range(len(sizes))]
    return [np.arange(n)]


def cross_validated_estimate(
    values: Sequence[float], *, n_train: float, n_test: float, metric: Metric
) -> Estimate:
    """Return the mean over the folds with its 95% interval, held within the metric's range.

    Folds share training samples, so the variance of their mean is more than s^2 / k. Corrected it
    is (1/k + n_test/n_train) s^2, with Student's t for k - 1 degrees of freedom: C. Nadeau and
    Y. Bengio, Inference for the Generalization Error, Machine Learning 52 (2003), the corrected
    resampled t-test. It was found for random subsets; for k folds it is the usual approximation.
    There is no interval for one fold, or where all folds agree.

    Args:
        values: One for each fold, shape (k,).
        n_train: Samples that a fold is fitted on.
        n_test: Samples that it is scored on.
        metric: For its range.

    >>> from moo.metrics import BUILT_IN
    >>> cross_validated_estimate([0.8, 0.9], n_train=50, n_test=50, metric=BUILT_IN["accuracy"])
    Estimate(value=0.85..., low=0.0, high=1.0, reason=None)
    """
    k, mean = len(values), float(np.mean(values))
    spread = float(np.std(values, ddof=1)) if k > 1 else 0.0
    if spread == 0:
        return Estimate(mean)
    half = float(stats.t.ppf(0.975, k - 1)) * spread * math.sqrt(1 / k + n_test / n_train)
    low = mean - half if metric.low is None else max(mean - half, metric.low)
    high = mean + half if metric.high is None else min(mean + half, metric.high)
    return Estimate(mean, min(low, mean), max(high, mean))
