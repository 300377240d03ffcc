"""Kernel density estimates over mixed configurations. Arrays only.

One multivariate kernel sits on each observed configuration, and one uniform kernel, the prior, keeps
every configuration possible (Bergstra et al. 2011, "Algorithms for Hyper-Parameter Optimization",
section 4; Falkner, Klein and Hutter 2018, "BOHB", for the multivariate kernel):

- a number has a normal kernel, truncated to [0, 1];
- a category has the kernel of Aitchison and Aitken (1976): its own choice, or any with equal chance;
- a parameter that a configuration does not have has a uniform kernel, so it says nothing.

A product of kernels is a sum of logarithms, and each logarithm is a scalar product of features of the
point and features of the kernel, so all points meet the kernels of all densities in one matrix product.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri

from moo.samplers._space import SearchSpace

__all__ = ["ParzenEstimators"]

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.intp]

# Bandwidth BANDWIDTH * n^(-1 / (d + 4)) (Scott's rule with a fixed spread), at least MIN_BANDWIDTH or
# half a cell of a discrete parameter. Of a category, the share that may be any choice shrinks alike:
# MISS * n^(-1 / (d + 4)), within limits.
_BANDWIDTH = 0.2
_MIN_BANDWIDTH = 0.03
_MISS = 0.4
_MISS_LIMITS = (0.05, 0.9)


class ParzenEstimators:
    """Several densities over the configurations of one space.

    Args:
        space: The search space, d columns.
        samples: For each density the configurations its kernels sit on, shape (n, d), NaN for what one
            does not have. n may be 0: that density is uniform.
    """

    def __init__(self, space: SearchSpace, samples: Sequence[FloatArray]) -> None:
        self._space = space
        prior = np.full((1, space.n_parameters), np.nan)  # a configuration that says nothing
        self._rows = np.concatenate([part for rows in samples for part in (rows, prior)])
        n_rows = np.array([len(rows) for rows in samples], dtype=np.intp)
        self._n_kernels = n_rows + 1
        self._starts = np.cumsum(self._n_kernels) - self._n_kernels
        shrinkage = np.maximum(n_rows, 1) ** (-1.0 / (space.n_parameters + 4))
        self._numbers = np.flatnonzero(~space.is_categorical)
        self._categories = np.flatnonzero(space.is_categorical)
        n_levels = space.n_levels[self._numbers]
        half_cells = np.where(n_levels > 0, 0.5 / np.maximum(n_levels, 1), 0.0)
        self.bandwidths: FloatArray = np.maximum(
            half_cells, np.maximum(_BANDWIDTH * shrinkage, _MIN_BANDWIDTH)[:, None]
        )
        """Shape (number of densities, number of numeric columns)."""
        self.misses: FloatArray = np.clip(_MISS * shrinkage, *_MISS_LIMITS)
        """For each density the probability that a kernel draws any choice of a category, not its own."""

    def log_densities(self, points: FloatArray, /) -> FloatArray:
        """Return the logarithm of each density at each point.

        Args:
            points: Shape (c, d); NaN for a parameter a configuration does not have.

        Returns:
            Shape (number of densities, c). The scale of a number is the unit cube's. O(c n d).
        """
        logs = self._kernel_features @ self._point_features(points).T
        return np.array([_log_mean_exp(part) for part in np.split(logs, self._starts[1:])])

    def sample(self, densities: ArrayLike, rng: np.random.Generator) -> FloatArray:
        """Return a point drawn from each of these densities, given by their numbers.

        What the kernel's configuration does not have is drawn uniformly.

        Args:
            densities: Shape (k,).
            rng: Random numbers.

        Returns:
            Complete rows, shape (k, d), not yet on the space's grid.
        """
        which = np.asarray(densities, dtype=np.intp)
        uniform = rng.random((len(which), self._space.n_parameters))
        categories, numbers = self._categories, self._numbers
        uniform[:, categories] = np.floor(uniform[:, categories] * self._space.n_levels[categories])
        centres = self._rows[self._starts[which] + rng.integers(self._n_kernels[which])]
        is_kept = ~np.isnan(centres)
        proposals = np.where(is_kept, centres, 0.5)
        proposals[:, numbers] = _truncated_normal(proposals[:, numbers], self.bandwidths[which], rng)
        is_kept[:, categories] &= rng.random((len(which), len(categories))) >= self.misses[which, None]
        return np.where(is_kept, proposals, uniform)

    # -(x - mu)^2 / 2h^2 - log(h sqrt(2 pi) Z) = x^2 (-1/2h^2) + x (mu/h^2) + 1 (-mu^2/2h^2 - log ..)

    def _point_features(self, points: FloatArray) -> FloatArray:
        """Return a row for each point: x^2, x and 1 for each number it has, and its choices one-hot."""
        values = points[:, self._numbers]
        is_there = ~np.isnan(values)
        known = np.where(is_there, values, 0.0)
        return np.concatenate([known * known, known, is_there, self._one_hot(points)], axis=1)

    @cached_property
    def _kernel_features(self) -> FloatArray:
        """A row for each kernel, density by density."""
        owner = np.repeat(np.arange(len(self._n_kernels)), self._n_kernels)
        values, h = self._rows[:, self._numbers], self.bandwidths[owner]
        is_there = ~np.isnan(values)
        means = np.where(is_there, values, 0.0) / h
        inside = ndtr(1.0 / h - means) - ndtr(-means)
        constants = -0.5 * means * means - np.log(h * np.sqrt(2.0 * np.pi) * inside)
        numbers = [-0.5 * is_there / (h * h), means * is_there / h, constants * is_there]
        return np.concatenate([*numbers, self._category_logs(owner)], axis=1)

    def _category_logs(self, owner: IndexArray) -> FloatArray:
        """Return the log probability of each choice of each category under each kernel."""
        column, _, n_choices = self._choices
        misses = self.misses[:, None]
        if_other = np.log(misses / n_choices)
        if_own = np.log(1.0 - misses + misses / n_choices)
        logs = np.where(self._one_hot(self._rows), if_own[owner], if_other[owner])
        return np.where(np.isnan(self._rows[:, column]), -np.log(n_choices), logs)

    def _one_hot(self, rows: FloatArray) -> NDArray[np.bool_]:
        column, choice, _ = self._choices
        return np.asarray(rows[:, column] == choice, dtype=np.bool_)

    @cached_property
    def _choices(self) -> tuple[IndexArray, IndexArray, IndexArray]:
        """For each choice of each category: its column, its number, and how many the column has."""
        counts = self._space.n_levels[self._categories].astype(np.intp)
        choice = np.concatenate([np.arange(0, dtype=np.intp), *(np.arange(n) for n in counts)])
        return np.repeat(self._categories, counts), choice, np.repeat(counts, counts)


def _log_mean_exp(logs: FloatArray) -> FloatArray:
    """Return the logarithm of the mean of each column's exponentials; overwrites them."""
    highest = logs.max(axis=0)
    logs -= highest
    return np.asarray(highest + np.log(np.exp(logs, out=logs).mean(axis=0)))


def _truncated_normal(means: FloatArray, sds: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Return normal draws truncated to [0, 1], by inversion."""
    low, high = ndtr(-means / sds), ndtr((1.0 - means) / sds)
    return np.clip(means + sds * ndtri(low + rng.random(means.shape) * (high - low)), 0.0, 1.0)
