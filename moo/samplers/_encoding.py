"""Configurations as features of a Gaussian process."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from moo.samplers._space import SearchSpace

__all__ = ["Encoding"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

_NEUTRAL = 0.5  # what a number that is not there is filled with, and how far its absence is from its presence


@dataclass(frozen=True, eq=False)
class Encoding:
    """How rows of a space become features.

    A number is one feature, its place in the unit cube. A category is one indicator a choice, scaled so
    that any two choices are at distance 1. A conditional parameter has one more feature, or choice: that
    it is not there.
    """

    space: SearchSpace

    @cached_property
    def _is_conditional(self) -> BoolArray:
        return ~self.space.is_unconditional

    @cached_property
    def groups(self) -> IntArray:
        """Shape (p,): the column that each feature comes from."""
        widths = np.where(self.space.is_categorical, self.space.n_levels, 1) + self._is_conditional
        return np.repeat(np.arange(self.space.n_parameters), widths)

    def features(self, rows: FloatArray, /) -> FloatArray:
        """Return features, (n, p), of rows, (n, d), complete or with NaN for what is not there."""
        values = self.space.without_inactive(rows)
        parts: list[FloatArray] = []
        for column in range(self.space.n_parameters):
            value, is_missing = values[:, column], np.isnan(values[:, column])
            if self.space.is_categorical[column]:
                n_choices = int(self.space.n_levels[column])
                choice = np.where(is_missing, n_choices, value)
                choices = np.arange(n_choices + int(self._is_conditional[column]))
                parts.append(math.sqrt(0.5) * (choice[:, None] == choices))
                continue
            parts.append(np.where(is_missing, _NEUTRAL, value)[:, None])
            if self._is_conditional[column]:
                parts.append(_NEUTRAL * is_missing[:, None])
        return np.concatenate(parts, axis=1)

    def by_row(self, by_feature: FloatArray, rows: FloatArray, /) -> FloatArray:
        """Return a gradient by features, (n, p), as one by rows, (n, d): 0 for what is not continuous."""
        first = np.searchsorted(self.groups, np.arange(self.space.n_parameters))
        is_there = ~np.isnan(self.space.without_inactive(rows))
        return np.asarray(np.where(is_there & self.space.is_continuous, by_feature[:, first], 0.0))
