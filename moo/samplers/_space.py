"""A search space as arrays: configurations are rows of the unit cube, one column a parameter."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

__all__ = ["Condition", "SearchSpace", "value_at"]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

# continuous values closer than this in the unit cube are one configuration
_SAME = 1e-9
# an integer with more values than this is said to have this many: the unit cube cannot tell them apart
_MANY = 2**62


@dataclass(frozen=True)
class Condition:
    """When a parameter is part of a configuration: while `parent` has one of some values.

    Attributes:
        child: Column of the parameter.
        parent: Column of the parameter it depends on.
        lowest: The child is there while the parent is at or above this, in the unit cube ...
        highest: ... and at or below this. Unused for a categorical parent.
        absent_at: Choices of a categorical parent at which the child is not there.
    """

    child: int
    parent: int
    lowest: float = -math.inf
    highest: float = math.inf
    absent_at: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class SearchSpace:
    """Parameters, and how their values map to the unit cube and back.

    Column `j` holds parameter `names[j]`: a number is scaled to [0, 1] (its logarithm where the
    distribution says so), an integer or a stepped one sits in the middle of its cell, a categorical
    one is the index of its choice. NaN stands for a parameter that a configuration does not have.

    Attributes:
        distributions: By name, in the order of the columns. None has just one value.
        conditions: When conditional parameters are there, parents before children.
    """

    distributions: Mapping[str, BaseDistribution]
    conditions: tuple[Condition, ...] = ()

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(self.distributions)

    @property
    def n_parameters(self) -> int:
        """Number of columns, d."""
        return len(self.names)

    @cached_property
    def n_levels(self) -> NDArray[np.int64]:
        """Shape (d,): how many values each parameter has; 0 for a continuous one."""
        return np.array([min(_n_levels(dist), _MANY) for dist in self.distributions.values()], dtype=np.int64)

    @cached_property
    def is_categorical(self) -> BoolArray:
        """Shape (d,)."""
        return np.array([isinstance(d, CategoricalDistribution) for d in self.distributions.values()], bool)

    @cached_property
    def is_continuous(self) -> BoolArray:
        """Shape (d,)."""
        return np.asarray(self.n_levels == 0, dtype=np.bool_)

    @cached_property
    def is_unconditional(self) -> BoolArray:
        """Shape (d,): every configuration has it, as far as is known."""
        children = [condition.child for condition in self.conditions]
        return ~np.isin(np.arange(self.n_parameters), children)

    @cached_property
    def size(self) -> float:
        """How many configurations there are at most, conditions aside; infinite if one is continuous."""
        return math.inf if self.is_continuous.any() else float(np.prod(self.n_levels.astype(float)))

    @cached_property
    def _scale(self) -> tuple[BoolArray, FloatArray, FloatArray]:
        """Is the column logarithmic; its lower end and its width, after the logarithm."""
        logs, lows, widths = [], [], []
        for dist in self.distributions.values():
            is_log, low, high = _ends(dist)
            logs.append(is_log)
            lows.append(low)
            widths.append(high - low)
        return np.array(logs, bool), np.array(lows, float), np.array(widths, float)

    def internal(self, parameters: Mapping[str, Any], /) -> list[float]:
        """Return the values in Optuna's internal representation, NaN for what is missing or no value."""
        return [
            _internal(dist, parameters[name]) if name in parameters else math.nan
            for name, dist in self.distributions.items()
        ]

    def encode(self, internal: FloatArray, /) -> FloatArray:
        """Return the rows of the unit cube for values in Optuna's internal representation.

        Args:
            internal: Shape (n, d), NaN where a parameter is not there. A value outside the present
                range (the space may have changed since) becomes NaN.

        Returns:
            Shape (n, d).
        """
        is_log, low, width = self._scale
        rows = np.array(internal, dtype=np.float64)
        if is_log.any():
            with np.errstate(invalid="ignore", divide="ignore"):
                rows[:, is_log] = np.log(rows[:, is_log])
        numeric = ~self.is_categorical
        rows[:, numeric] = (rows[:, numeric] - low[numeric]) / width[numeric]
        with np.errstate(invalid="ignore"):
            upper = np.where(numeric, 1.0 + _SAME, self._highest)
            rows[(rows < -_SAME) | (rows > upper)] = np.nan
        return self.snap(rows)

    def snap(self, rows: FloatArray, /) -> FloatArray:
        """Return the rows with each value of a discrete parameter in the middle of its cell.

        A logarithmic integer keeps the place of its own logarithm.
        """
        choices, cells, logs = self._discrete_columns
        snapped = np.clip(rows, 0.0, self._highest)
        if len(choices):
            snapped[:, choices] = np.round(snapped[:, choices])
        if len(cells):
            n_levels = self.n_levels[cells]
            snapped[:, cells] = (
                np.minimum(np.floor(snapped[:, cells] * n_levels), n_levels - 1) + 0.5
            ) / n_levels
        if len(logs):
            _, low, width = (part[logs] for part in self._scale)
            ends = np.array([self._integer_ends(column) for column in logs], dtype=np.float64)
            raw = np.clip(np.round(np.exp(snapped[:, logs] * width + low)), ends[:, 0], ends[:, 1])
            snapped[:, logs] = (np.log(raw) - low) / width
        return snapped

    @cached_property
    def _highest(self) -> FloatArray:
        return np.where(self.is_categorical, self.n_levels - 1.0, 1.0)

    @cached_property
    def _discrete_columns(self) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
        """Columns of categories, of numbers with cells of one width, and of logarithmic integers."""
        is_cell = ~self.is_continuous & ~self.is_categorical
        is_log = self._scale[0]
        return (
            np.flatnonzero(self.is_categorical),
            np.flatnonzero(is_cell & ~is_log),
            np.flatnonzero(is_cell & is_log),
        )

    def _integer_ends(self, column: int) -> tuple[int, int]:
        dist = self.distributions[self.names[column]]
        assert isinstance(dist, IntDistribution)
        return dist.low, dist.high

    def column_levels(self, column: int) -> FloatArray:
        """Return every value of a discrete column, ascending. Memory grows with `n_levels`: look first."""
        return self.level_values(column, np.arange(int(self.n_levels[column])))

    def level_values(self, column: int, levels: NDArray[np.int64], /) -> FloatArray:
        """Return the values of a discrete column at some of its levels, counted from 0."""
        if self.is_categorical[column]:
            return levels.astype(np.float64)
        is_log, low, width = (part[column] for part in self._scale)
        if is_log:
            dist = self.distributions[self.names[column]]
            assert isinstance(dist, IntDistribution)
            return np.asarray((np.log(dist.low + levels.astype(np.float64)) - low) / width, dtype=np.float64)
        return np.asarray((levels + 0.5) / self.n_levels[column], dtype=np.float64)

    def level_of(self, column: int, value: float, /) -> int:
        """Return the level of a discrete column that a value is at."""
        if self.is_categorical[column]:
            return int(value)
        is_log, low, width = (part[column] for part in self._scale)
        n_levels = int(self.n_levels[column])
        if is_log:
            dist = self.distributions[self.names[column]]
            assert isinstance(dist, IntDistribution)
            return min(max(round(math.exp(value * width + low)) - dist.low, 0), n_levels - 1)
        return min(int(value * n_levels), n_levels - 1)

    def decode(self, row: FloatArray, /) -> dict[str, Any]:
        """Return the parameters of one complete row as Python values."""
        return {
            name: _from_unit(dist, float(value))
            for (name, dist), value in zip(self.distributions.items(), row, strict=True)
        }

    def from_uniform(self, draws: FloatArray, /) -> FloatArray:
        """Return snapped rows for draws from the unit cube: uniform over choices, or over the scale."""
        rows = np.array(draws, dtype=np.float64)
        choices = self.is_categorical
        rows[:, choices] = np.floor(rows[:, choices] * self.n_levels[choices])
        return self.snap(rows)

    def without_inactive(self, rows: FloatArray, /) -> FloatArray:
        """Return complete rows with NaN for what a configuration does not have."""
        if not self.conditions:
            return rows
        kept = np.array(rows)
        for condition in self.conditions:
            parent = kept[:, condition.parent]
            if self.is_categorical[condition.parent]:
                is_there = ~np.isin(parent, condition.absent_at)
            else:
                is_there = (parent >= condition.lowest) & (parent <= condition.highest)
            kept[~(is_there & ~np.isnan(parent)), condition.child] = np.nan
        return kept

    def unexplained(self, rows: FloatArray, /) -> BoolArray:
        """Return what configurations lack, or have, against the conditions, shape (n, d)."""
        expected = self.without_inactive(np.where(np.isnan(rows), 0.0, rows))
        # the choices of an absent parent are not looked at: its own absence makes its children absent
        return np.asarray(np.isnan(rows) != np.isnan(expected))

    def codes(self, rows: FloatArray, /) -> NDArray[np.uint64]:
        """Return one number for each row, the same for the same configuration.

        Rows that differ get the same number with a chance of 2^-64 each pair.
        """
        with np.errstate(invalid="ignore"):
            scaled = np.where(self.is_categorical, rows, rows / _SAME)
        whole = np.where(np.isnan(scaled), -1.0, np.round(scaled)).astype(np.int64).view(np.uint64)
        mixed = (whole ^ (whole >> np.uint64(29))) * np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed + self._multipliers) * self._multipliers
        mixed ^= mixed >> np.uint64(32)
        return np.asarray((mixed * np.uint64(0xBF58476D1CE4E5B9)).sum(axis=1, dtype=np.uint64))

    @cached_property
    def _multipliers(self) -> NDArray[np.uint64]:
        """Odd numbers that differ by column."""
        seeds = [zlib.crc32(name.encode()) for name in self.names]
        draws = [int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]) | 1 for seed in seeds]
        return np.array(draws, dtype=np.uint64)

    @cached_property
    def all_rows(self) -> FloatArray:
        """Every configuration of a finite space once, as complete rows.

        Memory grows with `size`: look at that first.
        """
        columns = [self.column_levels(column) for column in range(self.n_parameters)]
        rows = np.stack(np.meshgrid(*columns, indexing="ij"), axis=-1).reshape(-1, self.n_parameters)
        if not self.conditions:
            return rows
        _, first = np.unique(self.codes(self.without_inactive(rows)), return_index=True)
        return np.asarray(rows[np.sort(first)])

    def conditions_of(self, rows: FloatArray, /) -> tuple[Condition, ...]:
        """Return the conditions that explain what these configurations lack, parents first.

        A parameter that some configuration lacks is taken to depend on the first other parameter
        whose values tell those that have it from those that do not, wherever that one is there
        itself. Where none does, it is taken to be always there.

        Args:
            rows: Shape (n, d), encoded, of finished configurations.
        """
        is_there = ~np.isnan(rows)
        conditional = np.flatnonzero(is_there.any(axis=0) & ~is_there.all(axis=0))
        # a parent is there at least as often as its child
        ordered = conditional[np.argsort(-is_there[:, conditional].sum(axis=0), kind="stable")]
        found = [self._condition(int(child), rows, is_there) for child in ordered]
        return tuple(condition for condition in found if condition is not None)

    def _condition(self, child: int, rows: FloatArray, is_there: BoolArray) -> Condition | None:
        has_child = is_there[:, child]
        counts = is_there.sum(axis=0)
        for parent in range(self.n_parameters):
            is_used_alone = bool(np.all(is_there[has_child, parent])) and counts[parent] > counts[child]
            if parent == child or not is_used_alone:
                continue
            values, lacks_child = rows[:, parent], ~has_child & is_there[:, parent]
            if not lacks_child.any():
                continue
            present, absent = values[has_child], values[lacks_child]
            if self.is_categorical[parent]:
                n_choices = int(self.n_levels[parent])
                is_present, is_absent = (
                    np.bincount(part.astype(np.intp), minlength=n_choices) > 0 for part in (present, absent)
                )
                if not (is_present & is_absent).any():
                    return Condition(child, parent, absent_at=tuple(np.flatnonzero(is_absent).tolist()))
            elif absent.max() < present.min():
                return Condition(child, parent, lowest=float((absent.max() + present.min()) / 2))
            elif absent.min() > present.max():
                return Condition(child, parent, highest=float((absent.min() + present.max()) / 2))
        return None


def value_at(distribution: BaseDistribution, draw: float, /) -> Any:
    """Return the value of a distribution at a draw from [0, 1): uniform over choices, or over the scale.

    >>> value_at(IntDistribution(1, 4), 0.99), round(value_at(FloatDistribution(1e-4, 1.0, log=True), 0.5), 9)
    (4, 0.01)
    """
    space = SearchSpace({"value": distribution})
    return space.decode(space.from_uniform(np.array([[draw]]))[0])["value"]


def _internal(dist: BaseDistribution, value: Any) -> float:
    try:
        return float(dist.to_internal_repr(value))
    except (TypeError, ValueError):
        return math.nan


def _n_levels(dist: BaseDistribution) -> int:
    if isinstance(dist, CategoricalDistribution):
        return len(dist.choices)
    if isinstance(dist, IntDistribution):
        return 1 + (dist.high - dist.low) // dist.step
    assert isinstance(dist, FloatDistribution)
    return 0 if dist.step is None else 1 + round((dist.high - dist.low) / dist.step)


def _ends(dist: BaseDistribution) -> tuple[bool, float, float]:
    """Return whether the scale is logarithmic, and its ends: half a cell beyond a discrete range."""
    if isinstance(dist, CategoricalDistribution):
        return False, 0.0, 1.0
    assert isinstance(dist, IntDistribution | FloatDistribution)
    half = 0.0 if dist.step is None else dist.step / 2
    if dist.log:
        return True, math.log(dist.low - half), math.log(dist.high + half)
    if isinstance(dist, FloatDistribution) and dist.step is not None:
        return False, dist.low - half, dist.low + (_n_levels(dist) - 0.5) * dist.step
    high = dist.low + (_n_levels(dist) - 1) * dist.step if isinstance(dist, IntDistribution) else dist.high
    return False, dist.low - half, high + half


def _from_unit(dist: BaseDistribution, unit: float) -> Any:
    if isinstance(dist, CategoricalDistribution):
        return dist.choices[int(unit)]
    is_log, low, high = _ends(dist)
    value = low + unit * (high - low)
    if is_log:
        value = math.exp(value)
    if isinstance(dist, IntDistribution):
        level = round((value - dist.low) / dist.step)
        return int(min(max(dist.low + level * dist.step, dist.low), dist.high))
    assert isinstance(dist, FloatDistribution)
    if dist.step is not None:
        value = dist.low + round((value - dist.low) / dist.step) * dist.step
    return float(min(max(value, dist.low), dist.high))
