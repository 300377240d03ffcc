"""Kernel density estimates over mixed configurations. Arrays only.

One multivariate kernel sits on each observed configuration, and one uniform kernel, the prior, keeps
every configuration possible (Bergstra et al. 2011, "Algorithms for Hyper-Parameter Optimization",
section 4; Falkner, Klein and Hutter 2018, "BOHB", for the multivariate kernel):

- a number has a normal kernel, truncated to [0, 1];
- a category has the kernel of Aitchison and Aitken (1976): its own choice, or any with equal chance;
- a parameter that a configuration does not have has a uniform kernel, so it says nothing.

A product of kernels is a sum of logarithms, and each logarithm is a scalar product of features of the
point and features of the kernel, so all points meet all kernels in one matrix product.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from moo.samplers._space import SearchSpace

__all__ = ["ParzenEstimator"]

FloatArray = NDArray[np.float64]

# Bandwidth BANDWIDTH * n^(-1 / (d + 4)) (Scott's rule with a fixed spread), at least MIN_BANDWIDTH or
# half a cell of a discrete parameter. Of a category, the share that may be any choice shrinks alike:
# MISS * n^(-1 / (d + 4)), within limits.
_BANDWIDTH = 0.2
_MIN_BANDWIDTH = 0.03
_MISS = 0.4
_MISS_LIMITS = (0.05, 0.9)


@dataclass(frozen=True, eq=False)
class ParzenEstimator:
    """A density over configurations.

    Attributes:
        space: The search space, d columns.
        rows: Shape (n, d), the configurations the kernels sit on; NaN for what one does not have.
            n may be 0: the density is uniform then.
    """

    space: SearchSpace
    rows: FloatArray

    @property
    def n_kernels(self) -> int:
        """Number of kernels, the prior included."""
        return len(self.rows) + 1

    @cached_property
    def _shrinkage(self) -> float:
        return float(max(len(self.rows), 1) ** (-1.0 / (self.space.n_parameters + 4)))

    @cached_property
    def _numbers(self) -> NDArray[np.intp]:
        return np.flatnonzero(~self.space.is_categorical)

    @cached_property
    def _categories(self) -> NDArray[np.intp]:
        return np.flatnonzero(self.space.is_categorical)

    @cached_property
    def bandwidths(self) -> FloatArray:
        """Shape (number of numeric columns,)."""
        n_levels = self.space.n_levels[self._numbers]
        half_cells = np.where(n_levels > 0, 0.5 / np.maximum(n_levels, 1), 0.0)
        return np.maximum(half_cells, max(_BANDWIDTH * self._shrinkage, _MIN_BANDWIDTH))

    @cached_property
    def miss(self) -> float:
        """The probability that a kernel draws any choice of a category instead of its own."""
        return float(np.clip(_MISS * self._shrinkage, *_MISS_LIMITS))

    def log_density(self, points: FloatArray, /) -> FloatArray:
        """Return the logarithm of the density at each point.

        Args:
            points: Shape (c, d); NaN for a parameter a configuration does not have.

        Returns:
            Shape (c,). The scale of a number is the unit cube's. O(c n d).
        """
        logs = self._point_features(points) @ self._kernel_features.T
        highest = logs.max(axis=1)
        sums = np.exp(logs - highest[:, None]).sum(axis=1)
        return np.asarray(highest + np.log(sums / self.n_kernels))

    def sample(self, n_points: int, rng: np.random.Generator) -> FloatArray:
        """Return points drawn from the density, complete rows, shape (n_points, d).

        What the kernel's configuration does not have is drawn uniformly.
        """
        points = self.space.from_uniform(rng.random((n_points, self.space.n_parameters)))
        kernels = rng.integers(self.n_kernels, size=n_points)
        drawn = np.flatnonzero(kernels < len(self.rows))
        centres = self.rows[kernels[drawn]]
        is_there = ~np.isnan(centres)
        proposals = np.where(is_there, centres, 0.5)
        numbers, categories = self._numbers, self._categories
        proposals[:, numbers] = _truncated_normal(proposals[:, numbers], self.bandwidths, rng)
        is_kept = is_there
        is_kept[:, categories] &= rng.random((len(drawn), len(categories))) >= self.miss
        points[drawn] = np.where(is_kept, proposals, points[drawn])
        return points

    # -(x - mu)^2 / 2h^2 - log(h sqrt(2 pi) Z) = x^2 (-1/2h^2) + x (mu/h^2) + 1 (-mu^2/2h^2 - log ..)

    def _point_features(self, points: FloatArray) -> FloatArray:
        values = points[:, self._numbers]
        is_there = ~np.isnan(values)
        scaled = np.where(is_there, values, 0.0) / self.bandwidths
        blocks = [scaled * scaled, scaled, is_there.astype(np.float64)]
        for column in self._categories:
            choices = np.arange(self.space.n_levels[column])
            blocks.append((points[:, [column]] == choices).astype(np.float64))
        return np.concatenate(blocks, axis=1)

    @cached_property
    def _kernel_features(self) -> FloatArray:
        """Shape (n + 1, f); the last row is the prior's."""
        values, h = self.rows[:, self._numbers], self.bandwidths
        is_there = ~np.isnan(values)
        means = np.where(is_there, values, 0.0) / h
        inside = ndtr(1.0 / h - means) - ndtr(-means)
        constants = -0.5 * means * means - np.log(h * np.sqrt(2.0 * np.pi) * inside)
        n_numbers = len(self._numbers)
        features = np.zeros(
            (self.n_kernels, 3 * n_numbers + int(self.space.n_levels[self._categories].sum()))
        )
        features[:-1, : 3 * n_numbers] = np.concatenate(
            [-0.5 * is_there, means * is_there, constants * is_there], axis=1
        )
        start = 3 * n_numbers
        for column in self._categories:
            n_choices = int(self.space.n_levels[column])
            stop = start + n_choices
            features[:, start:stop] = self._category_logs(self.rows[:, column], n_choices)
            start = stop
        return features

    def _category_logs(self, chosen: FloatArray, n_choices: int) -> FloatArray:
        """Return the log probability of each choice under each kernel, shape (n + 1, n_choices)."""
        uniform = -np.log(n_choices)
        logs = np.full((self.n_kernels, n_choices), uniform)
        has = np.flatnonzero(~np.isnan(chosen))
        logs[has] = np.log(self.miss) + uniform
        logs[has, chosen[has].astype(np.intp)] = np.log(1.0 - self.miss + self.miss / n_choices)
        return logs


def _truncated_normal(means: FloatArray, sds: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Return normal draws truncated to [0, 1], by inversion."""
    low, high = ndtr(-means / sds), ndtr((1.0 - means) / sds)
    return np.clip(means + sds * ndtri(low + rng.random(means.shape) * (high - low)), 0.0, 1.0)
