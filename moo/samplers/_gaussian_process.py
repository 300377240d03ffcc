"""Gaussian process regression with a Matern 5/2 kernel: fit, predict, gradients. Arrays only.

Rasmussen and Williams, Gaussian Processes for Machine Learning (2006): the posterior is Algorithm 2.1,
the marginal likelihood equation 5.8, its gradient equation 5.9, the kernel equation 4.17. Features come
in groups that share a length scale: one number, or the indicators of one category.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack
from scipy.optimize import minimize

__all__ = ["GaussianProcess", "Hyperparameters", "Pairs", "Prior", "fit", "log_posterior"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_JITTER = 1e-8
_LEAST_VARIANCE = 1e-10  # of the signal: what rounding leaves of a variance that is zero


class Hyperparameters(NamedTuple):
    """Of one process.

    Attributes:
        length_scales: Shape (d,), one a group of features, in units of the features.
        signal: Variance of the function.
        noise: Variance of an observation around it, beyond what is known of that observation.
    """

    length_scales: FloatArray
    signal: float
    noise: float


class Prior(NamedTuple):
    """Normal distributions of the logarithms of the hyperparameters, and the range that is searched.

    The length scales share a part: theirs has covariance `common_sd^2 1 1' + own_sd^2 I`, and mean
    `length_scale + log(d) / 2`, for distances grow with the root of the dimension (Hvarfner et al. 2024).
    """

    length_scale: float
    common_sd: float
    own_sd: float
    signal: float
    signal_sd: float
    noise: float
    noise_sd: float
    length_scale_range: tuple[float, float]
    signal_range: tuple[float, float]
    noise_range: tuple[float, float]

    def mode(self, n_groups: int) -> FloatArray:
        """Return the most probable logarithms, shape (d + 2,): length scales, signal, noise."""
        length_scale = self.length_scale + 0.5 * math.log(n_groups)
        return np.array([length_scale] * n_groups + [self.signal, self.noise])

    def most_probable(self, n_groups: int) -> Hyperparameters:
        """Return the hyperparameters at the mode of the logarithms."""
        best = np.exp(self.mode(n_groups))
        return Hyperparameters(best[:-2], float(best[-2]), float(best[-1]))

    def bounds(self, n_groups: int) -> list[tuple[float, float]]:
        """Return the range of each logarithm."""
        return [self.length_scale_range] * n_groups + [self.signal_range, self.noise_range]

    def log_density(self, theta: FloatArray, /) -> tuple[float, FloatArray]:
        """Return the logarithm of the density up to a constant, and its gradient."""
        d = len(theta) - 2
        off = theta - self.mode(d)
        pull = off / np.array([self.own_sd] * d + [self.signal_sd, self.noise_sd]) ** 2
        # the inverse of own^2 I + common^2 1 1' (Sherman and Morrison)
        own, common = self.own_sd**2, self.common_sd**2
        pull[:d] -= off[:d].sum() * common / (own * (own + d * common))
        return -0.5 * float(off @ pull), -pull


class Pairs(NamedTuple):
    """Squared distances of all pairs of points, by group.

    Attributes:
        n: Number of points.
        squares: Shape (d, n (n - 1) / 2), of the pairs below the diagonal, row by row.
        rows: The first point of each pair.
        columns: The second one.
    """

    n: int
    squares: FloatArray
    rows: IntArray
    columns: IntArray

    @classmethod
    def of(cls, features: FloatArray, groups: IntArray, /) -> Pairs:
        """Return the pairs of points with features, shape (n, p), in groups, shape (p,)."""
        n = len(features)
        rows, columns = (indices.astype(np.int64) for indices in np.tril_indices(n, -1))
        squares = np.zeros((int(groups.max()) + 1, len(rows)))
        for feature, group in zip(features.T, groups, strict=True):
            difference = feature[rows] - feature[columns]
            squares[group] += difference * difference
        return cls(n, squares, rows, columns)


def log_posterior(
    theta: FloatArray, pairs: Pairs, targets: FloatArray, known_noise: FloatArray, prior: Prior
) -> tuple[float, FloatArray]:
    """Return the logarithm of the hyperparameters' posterior density (up to a constant), and its gradient.

    O(n^3 + n^2 d).

    Args:
        theta: Shape (d + 2,): logarithms of length scales, signal and noise.
        pairs: Of the n points.
        targets: Shape (n,), of mean 0.
        known_noise: Shape (n,): variances that are known, added to the diagonal.
        prior: Of theta.
    """
    n, d = pairs.n, len(pairs.squares)
    inverse_squares = np.exp(-2.0 * theta[:d])
    signal, noise = np.exp(theta[d:])
    a = np.sqrt(5.0 * (inverse_squares @ pairs.squares))
    decay = signal * np.exp(-a)
    matern = decay * (1.0 + a + a * a / 3.0)
    covariance = np.zeros(n * n)
    flat = pairs.rows * n + pairs.columns
    covariance[flat] = matern
    covariance[:: n + 1] = signal * (1.0 + _JITTER) + noise + known_noise
    # the lower half by rows is the upper half by columns, which is how LAPACK reads it
    factor, failed = lapack.dpotrf(covariance.reshape(n, n).T, lower=0, overwrite_a=1)
    if failed:
        return -1e25, np.zeros_like(theta)
    alpha = lapack.dpotrs(factor, targets, lower=0)[0]
    half_log_determinant = float(np.log(np.diagonal(factor)).sum())
    inverse = lapack.dpotri(factor, lower=0, overwrite_c=1)[0].T.ravel()
    # R&W 5.9: 1/2 tr((alpha alpha' - K^-1) dK), in twos below the diagonal
    below = alpha[pairs.rows] * alpha[pairs.columns] - inverse[flat]
    trace = float((alpha * alpha - inverse[:: n + 1]).sum())
    log_prior, gradient = prior.log_density(theta)
    gradient[:d] += (5.0 / 3.0) * inverse_squares * (pairs.squares @ (below * decay * (1.0 + a)))
    gradient[d] += below @ matern + 0.5 * signal * (1.0 + _JITTER) * trace
    gradient[d + 1] += 0.5 * noise * trace
    return log_prior - 0.5 * float(targets @ alpha) - half_log_determinant, gradient


def fit(
    pairs: Pairs, targets: FloatArray, known_noise: FloatArray, prior: Prior, *, n_steps: int
) -> Hyperparameters:
    """Return the most probable hyperparameters near the mode of the prior (L-BFGS-B from there).

    Args:
        pairs: Of the n points.
        targets: Shape (n,), of mean 0 and about unit variance.
        known_noise: Shape (n,), variances.
        prior: Of the hyperparameters.
        n_steps: At most so many.
    """
    d = len(pairs.squares)

    def objective(theta: FloatArray) -> tuple[float, FloatArray]:
        value, gradient = log_posterior(theta, pairs, targets, known_noise, prior)
        return -value, -gradient

    result = minimize(
        objective,
        prior.mode(d),
        jac=True,
        method="L-BFGS-B",
        bounds=prior.bounds(d),
        options={"maxiter": n_steps},
    )
    best = np.exp(result.x)
    return Hyperparameters(best[:d], float(best[d]), float(best[d + 1]))


class GaussianProcess:
    """The posterior of a process of mean 0 given observations (R&W Algorithm 2.1)."""

    def __init__(
        self,
        features: FloatArray,
        groups: IntArray,
        targets: FloatArray,
        known_noise: FloatArray,
        hyperparameters: Hyperparameters,
    ) -> None:
        """Condition on n observations. O(n^3).

        Args:
            features: Shape (n, p).
            groups: Shape (p,), the group of each feature.
            targets: Shape (n,).
            known_noise: Shape (n,), variances.
            hyperparameters: Of the process.
        """
        self._signal = hyperparameters.signal
        self._inverse_scales = 1.0 / hyperparameters.length_scales[groups]
        self._points = features * self._inverse_scales
        self._norms = np.einsum("np,np->n", self._points, self._points)
        n = len(features)
        covariance, _, _ = self._kernel(self._points)
        covariance.ravel()[:: n + 1] = self._signal * (1.0 + _JITTER) + hyperparameters.noise + known_noise
        self._inverse_factor = _inverse_factor(covariance)
        self._alpha = self._inverse_factor.T @ (self._inverse_factor @ targets)

    def mean(self, features: FloatArray, /) -> FloatArray:
        """Return the mean of the function, shape (q,), at features, shape (q, p)."""
        return np.asarray(self._kernel(features * self._inverse_scales)[0] @ self._alpha)

    def predict(self, features: FloatArray, /) -> tuple[FloatArray, FloatArray]:
        """Return mean and standard deviation of the function, shape (q,) each. O(q n^2)."""
        covariance, _, _ = self._kernel(features * self._inverse_scales)
        return covariance @ self._alpha, self._sd(covariance @ self._inverse_factor.T)

    def predict_with_gradient(
        self, features: FloatArray, /
    ) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Return mean and sd, shape (q,) each, and their gradients by the features, shape (q, p) each."""
        points = features * self._inverse_scales
        covariance, a, decay = self._kernel(points)
        half = covariance @ self._inverse_factor.T
        sd = self._sd(half)
        # dk / dx = -slope (x - x_i) / length scale^2
        slope = (5.0 / 3.0) * self._signal * (1.0 + a) * decay
        by_mean = -self._pulls(slope * self._alpha, points)
        by_sd = self._pulls(slope * (half @ self._inverse_factor), points) / sd[:, None]
        return covariance @ self._alpha, sd, by_mean, by_sd

    def _kernel(self, points: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return the covariance of scaled points with the observed ones, a = sqrt(5) r, and exp(-a)."""
        a = points @ self._points.T
        a *= -2.0
        a += np.einsum("qp,qp->q", points, points)[:, None]
        a += self._norms
        np.maximum(a, 0.0, out=a)
        a *= 5.0
        np.sqrt(a, out=a)
        decay = np.exp(-a)
        covariance = a / 3.0
        covariance += 1.0
        covariance *= a
        covariance += 1.0
        covariance *= decay
        covariance *= self._signal
        return covariance, a, decay

    def _sd(self, half: FloatArray) -> FloatArray:
        variance = self._signal - np.einsum("qn,qn->q", half, half)
        return np.asarray(np.sqrt(np.maximum(variance, _LEAST_VARIANCE * self._signal)))

    def _pulls(self, weights: FloatArray, points: FloatArray) -> FloatArray:
        """Return sum_i w_i (x - x_i) / length scale^2, shape (q, p)."""
        total = points * weights.sum(axis=1)[:, None] - weights @ self._points
        return np.asarray(total * self._inverse_scales)


def _inverse_factor(covariance: FloatArray) -> FloatArray:
    """Return the inverse of the lower Cholesky factor; the diagonal is raised where it has none."""
    n = len(covariance)
    raised = 0.0
    while True:
        factor, failed = lapack.dpotrf(covariance.T, lower=0, clean=1)
        if not failed:
            return np.ascontiguousarray(lapack.dtrtri(factor, lower=0)[0].T)
        raised = max(10.0 * raised, _JITTER * float(np.mean(np.diagonal(covariance))))
        covariance.ravel()[:: n + 1] += raised
