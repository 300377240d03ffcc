"""Which of many offspring are worth a trial, by a cheap model of what was observed. Arrays only.

Kriging with one kernel for all outputs: a Cholesky factor of at most a few hundred rows is shared by every
loss and constraint that the same trials observed, and length scale and noise are the most likely of a few, so
there is no optimiser and nothing to remember (Rasmussen and Williams, Gaussian Processes for Machine
Learning, 2006: posterior is Algorithm 2.1, marginal likelihood equation 5.8).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack
from scipy.special import log_ndtr

from moo.samplers._arrays import medians
from moo.samplers._space import SearchSpace

__all__ = ["Prediction", "arcsinh_scaled", "features", "improvement", "log_feasibility", "predict"]

FloatArray = NDArray[np.float64]

# length scales in units of sqrt(number of parameters), where random points of the unit cube are 0.4 apart,
# and the share of the variance that is noise
_KERNELS = ((0.5, 1e-4), (1.0, 1e-4), (2.0, 1e-4), (1.0, 1e-2))
_MAX_COMPARED = 40  # points that kernels are compared on
_SMALL = 1e-9


class Prediction(NamedTuple):
    """What is believed of some configurations.

    Attributes:
        means: Shape (n, p), for each of p outputs.
        sds: Shape (n, p), positive.
    """

    means: FloatArray
    sds: FloatArray


def features(space: SearchSpace, rows: FloatArray, /) -> FloatArray:
    """Return the rows as points whose distance says how unlike two configurations are.

    Two choices of a category are as far apart as the ends of a range. A number that is not there
    lies at the middle of its range, a choice that is not there equally far from each choice.

    Args:
        space: The search space.
        rows: Shape (n, d), encoded, NaN for what is not there.

    Returns:
        Shape (n, q), one column for a number and one for each choice of a category.
    """
    is_number = ~space.is_categorical
    numbers = rows[:, is_number]
    columns = [np.where(np.isnan(numbers), 0.5, numbers)]
    for column in np.flatnonzero(space.is_categorical):
        is_chosen = rows[:, column, None] == np.arange(space.n_levels[column])
        columns.append(is_chosen * math.sqrt(0.5))
    return np.concatenate(columns, axis=1)


def arcsinh_scaled(values: FloatArray, /, *, around_zero: bool = False) -> FloatArray:
    """Return each column without its unit, far values drawn in; the order stays.

    arcsinh((y - c) / s), with s the median distance from c: near the centre a straight line, far from
    it a logarithm, so that one absurd value does not flatten the rest.

    Args:
        values: Shape (n, p), NaN where not observed.
        around_zero: The centre c is 0 (signs stay), not the median.

    >>> arcsinh_scaled(np.array([[-1.0], [0.0], [1.0], [1e6]]), around_zero=True).round(2).ravel().tolist()
    [-0.88, 0.0, 0.88, 14.51]
    """
    centres = np.zeros(values.shape[1]) if around_zero else np.nan_to_num(medians(values))
    offsets = values - centres
    distances = np.abs(offsets)
    spreads = medians(distances)
    furthest = np.max(distances, axis=0, initial=0.0, where=~np.isnan(distances))
    spreads = np.where(spreads > 0, spreads, np.where(furthest > 0, furthest, 1.0))
    return np.arcsinh(offsets / spreads)


def predict(points: FloatArray, outputs: FloatArray, at: FloatArray, /, *, scale: float) -> Prediction:
    """Return what the outputs observed at some points let one expect at others.

    Outputs that were observed at the same points share a kernel. One observed at fewer than two
    points is taken to be anything: mean 0, deviation 1.

    Args:
        points: Shape (n, q).
        outputs: Shape (n, p), NaN where not observed.
        at: Shape (k, q).
        scale: The unit of distance.

    Returns:
        Shapes (k, p). O(n^3 + n^2 k) for each set of outputs observed together.
    """
    n_outputs = outputs.shape[1]
    means, sds = np.zeros((len(at), n_outputs)), np.ones((len(at), n_outputs))
    is_known = ~np.isnan(outputs)
    for mask in {column.tobytes(): column for column in is_known.T}.values():
        if mask.sum() >= 2:
            together = np.flatnonzero((is_known == mask[:, None]).all(axis=0))
            means[:, together], sds[:, together] = _krige(
                points[mask], outputs[np.ix_(mask, together)], at, scale
            )
    return Prediction(means, sds)


def _krige(points: FloatArray, outputs: FloatArray, at: FloatArray, scale: float) -> Prediction:
    centre, spread = outputs.mean(axis=0), np.maximum(outputs.std(axis=0), _SMALL)
    targets = (outputs - centre) / spread
    among, across = _distances(points, points) / scale, _distances(at, points) / scale
    some = slice(None, None, -(-len(points) // _MAX_COMPARED))  # enough to tell which kernel fits
    compared = [_fit(among[some, some] / length, targets[some], noise) for length, noise in _KERNELS]
    length, noise = _KERNELS[int(np.argmax([fit.log_likelihood for fit in compared]))]
    fit = _fit(among / length, targets, noise)
    kernel = _matern(across / length)
    means = centre + spread * (kernel @ fit.weights)
    explained, _ = lapack.dtrtrs(fit.factor, kernel.T, lower=1, overwrite_b=1)
    share = np.maximum(1.0 - np.square(explained).sum(axis=0), _SMALL)  # of the variance, that is left
    return Prediction(means, spread * np.sqrt(share[:, None] * fit.variances))


class _Fit(NamedTuple):
    log_likelihood: float
    factor: FloatArray  # (n, n), in the lower triangle
    weights: FloatArray  # (n, p)
    variances: FloatArray  # (p,)


def _fit(distances: FloatArray, targets: FloatArray, noise: float) -> _Fit:
    """Fit with the variance of each output at its most likely value (equation 5.8 with it put in)."""
    n = len(targets)
    kernel = _matern(distances)
    kernel.flat[:: n + 1] = 1.0 + noise
    factor, _ = lapack.dpotrf(kernel.T, lower=1, clean=0, overwrite_a=1)  # transposed: as LAPACK stores it
    weights, _ = lapack.dpotrs(factor, targets, lower=1)
    variances = np.maximum((targets * weights).sum(axis=0) / n, _SMALL)
    log_determinant = 2.0 * np.log(np.diagonal(factor)).sum()
    log_likelihood = -0.5 * float((n * np.log(variances) + log_determinant).sum())
    return _Fit(log_likelihood, factor, weights, variances)


def _distances(left: FloatArray, right: FloatArray) -> FloatArray:
    squared = left @ right.T
    squared *= -2.0
    squared += np.square(left).sum(axis=1)[:, None]
    squared += np.square(right).sum(axis=1)
    np.maximum(squared, 0.0, out=squared)
    return np.sqrt(squared, out=squared)


def _matern(distances: FloatArray) -> FloatArray:
    """Matern 5/2 (Rasmussen and Williams, equation 4.17) of distances in length scales."""
    root = distances * math.sqrt(5.0)
    polynomial = root / 3.0
    polynomial += 1.0
    polynomial *= root
    polynomial += 1.0  # 1 + r + r^2 / 3
    np.negative(root, out=root)
    polynomial *= np.exp(root, out=root)
    return polynomial


def log_feasibility(constraints: Prediction, /) -> FloatArray:
    """Return the logarithm of the probability that every constraint holds, shape (n,)."""
    return np.asarray(log_ndtr(-constraints.means / constraints.sds).sum(axis=1))


def improvement(losses: FloatArray, front: FloatArray, /) -> FloatArray:
    """Return how much better than a front each point is: positive where nothing there dominates it.

    The least amount by which the point is better than each member of the front in its best loss, in
    units of the front's extent (maximin improvement: Svenson and Santner 2016, "Multiobjective
    optimization of expensive-to-evaluate deterministic computer simulator models").

    Args:
        losses: Shape (n, m).
        front: Shape (k, m), k >= 1.

    Returns:
        Shape (n,). O(n k m), for any number of losses.

    >>> front = np.array([[0.0, 1.0], [1.0, 0.0]])
    >>> improvement(np.array([[0.5, 0.5], [1.0, 1.0], [0.0, 0.0]]), front).tolist()
    [0.5, 0.0, 1.0]
    """
    return np.asarray((front - losses[:, None, :]).max(axis=2).min(axis=1))
