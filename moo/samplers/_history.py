"""What a study's trials teach, as arrays. The storage is read once a trial."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, check_distribution_compatibility
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from moo.samplers._arrays import medians
from moo.samplers._space import SearchSpace

__all__ = ["NOISE", "History", "Observations"]

NOISE = "moo:noise"
"""User attribute of a trial: `{"objectives": [sd or None, ..], "constraints": {key: sd}}`."""

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
CodeArray = NDArray[np.uint64]

_log = logging.getLogger("moo")

# beyond this a value is as good as infinite, and its square is
_HUGE = 1e100
# so many ways of lacking parameters are kept apart
_MOST_PATTERNS = 32


@dataclass(frozen=True, eq=False)
class Observations:
    """Trials as rows, by trial number. Nothing of it may be changed.

    Attributes:
        space: The search space.
        rows: Shape (n, d): the configurations, encoded; NaN for a parameter that is not there.
        losses: Shape (n, m): objective values, all minimised. NaN where not observed; an infinite
            one lies just beyond the worst (or best) finite one.
        constraints: Shape (n, k): at most 0 holds. NaN where not observed; infinities likewise.
        loss_sds: Shape (n, m): standard deviation of each loss, NaN where unknown.
        constraint_sds: Shape (n, k), likewise.
        states: Shape (n,): `optuna.trial.TrialState` as integers.
        codes: Shape (n,): `SearchSpace.codes` of the rows.
        n_unseen: How many trials begun before the one that is asked for have not stored all of their
            parameters yet: other processes are about to.
        absences: For what some complete trials lack and no condition explains: which columns, shape (d,), and
            the codes of those trials, ascending.
    """

    space: SearchSpace
    rows: FloatArray
    losses: FloatArray
    constraints: FloatArray
    loss_sds: FloatArray
    constraint_sds: FloatArray
    states: NDArray[np.int64]
    codes: NDArray[np.uint64]
    n_unseen: int = 0
    absences: tuple[tuple[BoolArray, CodeArray], ...] = ()

    def are_tried(self, rows: FloatArray, /) -> BoolArray:
        """Return which configurations are those of a trial, finished or not, shape (n, d) to (n,).

        A trial that lacked a parameter for no known reason was tried whatever value that one would have had.
        """
        tried = _are_among(self.space.codes(rows), self._sorted_codes)
        for is_absent, codes in self.absences:
            also = _are_among(self.space.codes(np.where(is_absent, np.nan, rows)), codes)
            tried = np.logical_or(tried, also)
        return tried

    @cached_property
    def _sorted_codes(self) -> CodeArray:
        return np.sort(self.codes)

    @property
    def n_objectives(self) -> int:
        """Number of objectives, m."""
        return int(self.losses.shape[1])

    @property
    def n_constraints(self) -> int:
        """Number of constraints that some trial observed, k."""
        return int(self.constraints.shape[1])

    @cached_property
    def is_complete(self) -> BoolArray:
        """Shape (n,): every objective is known."""
        return np.asarray(self.states == TrialState.COMPLETE, dtype=np.bool_)

    @cached_property
    def is_pending(self) -> BoolArray:
        """Shape (n,): running, or queued with a configuration."""
        return np.asarray((self.states == TrialState.RUNNING) | (self.states == TrialState.WAITING))

    @cached_property
    def is_failed(self) -> BoolArray:
        """Shape (n,)."""
        return np.asarray(self.states == TrialState.FAIL, dtype=np.bool_)

    @cached_property
    def is_infeasible(self) -> BoolArray:
        """Shape (n,): a constraint is known to be violated."""
        with np.errstate(invalid="ignore"):
            return np.asarray((self.constraints > 0).any(axis=1), dtype=np.bool_)

    @cached_property
    def is_feasible(self) -> BoolArray:
        """Shape (n,): every constraint was observed and holds. Neither this nor infeasible: unknown."""
        return np.asarray((self.constraints <= 0).all(axis=1), dtype=np.bool_)

    @cached_property
    def teaches(self) -> BoolArray:
        """Shape (n,): finished, with an objective or a constraint, or pruned."""
        has_constraint = ~np.isnan(self.constraints).all(axis=1) if self.n_constraints else False
        return np.asarray(
            self.is_complete
            | (self.states == TrialState.PRUNED)
            | (self.is_failed & np.asarray(has_constraint)),
            dtype=np.bool_,
        )

    @cached_property
    def violations(self) -> FloatArray:
        """Shape (n, k): how far each constraint is violated, without units; NaN where not observed.

        0 where it holds. A violated one is divided by the median of that constraint's violations, so
        that a latency in seconds counts as much as the same latency in microseconds, and one
        absurd violation changes nothing for the others.
        """
        with np.errstate(invalid="ignore"):
            amounts = np.maximum(self.constraints, 0.0)
            scales = medians(np.where(amounts > 0, amounts, np.nan))
        return np.asarray(amounts / np.where(np.isnan(scales), 1.0, scales))

    @cached_property
    def total_violation(self) -> FloatArray:
        """Shape (n,): sum of the known violations; 0 where none is known to be violated."""
        return np.asarray(np.nansum(self.violations, axis=1), dtype=np.float64)

    def select(self, mask: BoolArray, /) -> Observations:
        """Return some of the rows."""
        return Observations(
            self.space,
            self.rows[mask],
            self.losses[mask],
            self.constraints[mask],
            self.loss_sds[mask],
            self.constraint_sds[mask],
            self.states[mask],
            self.codes[mask],
            self.n_unseen,
            self.absences,
        )


class History:
    """Reads a study's trials, each finished one once."""

    def __init__(self) -> None:
        self._known = 0  # every trial before this one is finished, and read
        self._columns: dict[str, int] = {}
        self._keys: dict[str, int] = {}
        self._distributions: dict[str, BaseDistribution] = {}
        self._seen: dict[str, set[BaseDistribution]] = {}
        self._incompatible: set[str] = set()
        self._has_moving_range = False
        self._values = _Grid()
        self._losses = _Grid()
        self._constraints = _Grid()
        self._loss_sds = _Grid()
        self._constraint_sds = _Grid()
        self._states: list[int] = []
        self._numbers: list[int] = []
        self._n_objectives = 1
        self._encoded_in: SearchSpace | None = None
        self._n_encoded = 0
        self._rows: FloatArray = np.empty((0, 0))
        self._codes: NDArray[np.uint64] = np.empty(0, dtype=np.uint64)
        self._bare = SearchSpace({})
        self._conditioned = (-1, self._bare)
        self._absences: tuple[tuple[BoolArray, CodeArray], ...] = ()
        self._warned = False

    def read(self, study: optuna.Study, trials: Sequence[FrozenTrial] | None = None) -> None:
        """Take in what is new in the study, of which all trials may be given if they have just been read."""
        if trials is None:
            trials = study.get_trials(deepcopy=False)
        signs = [-1.0 if direction == StudyDirection.MAXIMIZE else 1.0 for direction in study.directions]
        self._n_objectives = len(signs)
        self._states.extend([TrialState.WAITING] * (len(trials) - len(self._states)))
        self._numbers.extend(trial.number for trial in trials[len(self._numbers) :])
        still_known = True
        for index in range(self._known, len(trials)):
            trial = trials[index]
            is_finished = trial.state.is_finished()
            if not (is_finished and self._states[index] == trial.state):
                self._take(index, trial, signs)
            still_known = still_known and is_finished
            if still_known:
                self._known = index + 1

    def _take(self, index: int, trial: FrozenTrial, signs: Sequence[float]) -> None:
        self._states[index] = int(trial.state)
        params, dists = trial.params, trial.distributions
        if not trial.state.is_finished():
            fixed = trial.system_attrs.get("fixed_params", {})
            known = self._distributions
            queued = [name for name in fixed if name not in params and name in known]
            queued = [name for name in queued if _is_choice(known[name], fixed[name])]
            dists = {**dists, **{name: known[name] for name in queued}}
            params = {**params, **{name: fixed[name] for name in queued}}
        for name, dist in dists.items():
            self._values.put(index, self._column(name, dist), dist.to_internal_repr(params[name]))
        for key, value in trial.constraints.items():
            column = self._keys.setdefault(key, len(self._keys))
            self._constraints.put(index, column, math.nan if value is None else float(value))
        if trial.state == TrialState.COMPLETE:
            for column, (sign, value) in enumerate(zip(signs, trial.values, strict=True)):
                self._losses.put(index, column, sign * value)
        noise = trial.user_attrs.get(NOISE)
        if noise is not None:
            self._take_noise(index, noise, len(signs))

    def _take_noise(self, index: int, noise: Mapping[str, Any], n_objectives: int) -> None:
        for column, sd in enumerate(noise.get("objectives", ())[:n_objectives]):
            self._loss_sds.put(index, column, math.nan if sd is None else float(sd))
        for key, sd in noise.get("constraints", {}).items():
            if key in self._keys:
                self._constraint_sds.put(index, self._keys[key], math.nan if sd is None else float(sd))

    def _column(self, name: str, dist: BaseDistribution) -> int:
        known = self._distributions.get(name)
        if known != dist:
            if known is not None and not _are_compatible(known, dist):
                self._incompatible.add(name)
            seen = self._seen.setdefault(name, set())
            self._has_moving_range |= dist in seen or (known is not None and dist.single())
            seen.add(dist)
            self._distributions[name] = dist  # the latest counts
        return self._columns.setdefault(name, len(self._columns))

    @property
    def has_parameters(self) -> bool:
        """Whether any trial has had a parameter."""
        return bool(self._columns)

    def search_space(self) -> dict[str, BaseDistribution]:
        """Return every parameter seen so far that has more than one value, as last seen.

        One that trials added by hand had as another kind, so that Optuna refuses to propose it, is left out.
        """
        return {
            name: dist
            for name, dist in self._distributions.items()
            if not dist.single() and name not in self._incompatible
        }

    @property
    def has_finished_trials(self) -> bool:
        """Whether any trial has finished."""
        return any(
            state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL) for state in self._states
        )

    @property
    def has_known_size(self) -> bool:
        """Whether `search_space` is what the next trial will see, as far as can be told.

        Not where the range of a parameter goes to and fro, because it depends on other parameters.
        """
        return not self._has_moving_range and not self._incompatible

    def observations(
        self, space: Mapping[str, BaseDistribution], *, without: int | None = None
    ) -> Observations:
        """Return all trials in this space, but for the one that is asked for.

        Rows are in the order of the trials' numbers. A trial with no parameter in this space is left out.
        """
        n, n_keys = len(self._states), len(self._keys)
        numbers = np.array(self._numbers, dtype=np.int64)
        bare = self._space(space)
        self._encode(bare, [self._columns[name] for name in space], n)
        is_other = numbers != (-1 if without is None else without)
        lacks = np.isnan(self._rows)
        kept = np.flatnonzero(is_other & ~lacks.all(axis=1))
        all_states = np.array(self._states, dtype=np.int64)
        rows, states = self._rows[kept], all_states[kept]
        constraints = _finite(self._constraints.array(n, n_keys)[kept], around=(0.0,))
        self._warn_of_missing_constraints(states, constraints)
        conditioned = self._with_conditions(bare, rows, states)
        is_earlier = numbers < (math.inf if without is None else without)
        is_partial = lacks[:, conditioned.is_unconditional].any(axis=1)
        return Observations(
            conditioned,
            rows,
            _finite(self._losses.array(n, self._n_objectives)[kept]),
            constraints,
            self._loss_sds.array(n, self._n_objectives)[kept],
            self._constraint_sds.array(n, n_keys)[kept],
            states,
            self._codes[kept],
            int((is_earlier & is_partial & (all_states == TrialState.RUNNING)).sum()),
            self._absences,
        )

    def _encode(self, bare: SearchSpace, columns: list[int], n: int) -> None:
        """Encode what is not encoded yet in this space: a finished trial does not change."""
        done = self._n_encoded if self._encoded_in is bare else 0
        fresh = bare.encode(self._values.array(n, len(self._columns))[done:, columns])
        before = (self._rows[:done], self._codes[:done]) if done else (fresh[:0], bare.codes(fresh[:0]))
        self._rows = np.concatenate([before[0], fresh])
        self._codes = np.concatenate([before[1], bare.codes(fresh)])
        self._encoded_in, self._n_encoded = bare, self._known

    def _space(self, distributions: Mapping[str, BaseDistribution]) -> SearchSpace:
        """Return the space without conditions, the same object while nothing changed."""
        known = list(self._bare.distributions.items())
        if len(known) != len(distributions) or any(
            name != other or dist is not same
            for (name, dist), (other, same) in zip(known, distributions.items(), strict=True)
        ):
            self._bare = SearchSpace(dict(distributions))
            self._conditioned = (-1, self._bare)
            self._absences = ()
        return self._bare

    def _with_conditions(self, bare: SearchSpace, rows: FloatArray, states: NDArray[np.int64]) -> SearchSpace:
        complete = rows[states == TrialState.COMPLETE]
        n_seen, space = self._conditioned
        if n_seen != len(complete):
            if np.isnan(complete).any():
                conditions = bare.conditions_of(complete)
                if conditions != space.conditions:
                    space = SearchSpace(bare.distributions, conditions)
                self._absences = _absences(space, complete)
            self._conditioned = (len(complete), space)
        return space

    def _warn_of_missing_constraints(self, states: NDArray[np.int64], constraints: FloatArray) -> None:
        if self._warned or constraints.shape[1] == 0:
            return
        missing = np.isnan(constraints[states == TrialState.COMPLETE]).any(axis=0)
        if missing.any():
            self._warned = True
            key = list(self._keys)[int(np.argmax(missing))]
            _log.warning(
                "constraint %r was never set on some complete trials: they teach what they can, and do not"
                " count as feasible; call trial.set_constraint(%r, value) in every trial",
                key,
                key,
            )


class _Grid:
    """Rows that grow, NaN where nothing was put."""

    def __init__(self) -> None:
        self._data = np.full((16, 4), np.nan)

    def put(self, row: int, column: int, value: float) -> None:
        self._grow(row + 1, column + 1)
        self._data[row, column] = value

    def array(self, n_rows: int, n_columns: int) -> FloatArray:
        """Return a view of the first rows and columns."""
        self._grow(n_rows, n_columns)
        return self._data[:n_rows, :n_columns]

    def _grow(self, n_rows: int, n_columns: int) -> None:
        rows, columns = self._data.shape
        if n_rows > rows or n_columns > columns:
            grown = np.full((max(rows, 2 * n_rows), max(columns, 2 * n_columns)), np.nan)
            grown[:rows, :columns] = self._data
            self._data = grown


def _absences(space: SearchSpace, complete: FloatArray) -> tuple[tuple[BoolArray, CodeArray], ...]:
    """Return the codes of the trials that lack something for no known reason, by what they lack.

    A trial from before the parameter was first seen is left out: it may have been added since.
    """
    lacks = np.isnan(complete)
    first_seen = np.argmax(~lacks, axis=0)
    is_since = np.arange(len(complete))[:, None] >= first_seen
    is_odd = (space.unexplained(complete) & lacks & is_since).any(axis=1)
    found = []
    for pattern in np.unique(lacks[is_odd], axis=0)[:_MOST_PATTERNS]:
        alike = is_odd & (lacks == pattern).all(axis=1)
        found.append((pattern, np.sort(space.codes(complete[alike]))))
    return tuple(found)


def _are_among(codes: CodeArray, known: CodeArray) -> BoolArray:
    """Return which codes are among known ones, which ascend."""
    if len(known) == 0:
        return np.zeros(len(codes), dtype=np.bool_)
    places = np.minimum(np.searchsorted(known, codes), len(known) - 1)
    return np.asarray(known[places] == codes, dtype=np.bool_)


def _is_choice(dist: BaseDistribution, value: Any) -> bool:
    """Return whether a queued value can be represented; one out of range is dropped later."""
    try:
        dist.to_internal_repr(value)
    except (TypeError, ValueError):
        return False
    return True


def _are_compatible(one: BaseDistribution, other: BaseDistribution) -> bool:
    try:
        check_distribution_compatibility(one, other)
    except ValueError:
        return False
    return True


def _finite(values: FloatArray, *, around: tuple[float, ...] = ()) -> FloatArray:
    """Return a copy with infinities moved to just beyond the finite values of their column, and `around`."""
    moved = np.clip(values, -_HUGE, _HUGE, where=np.isfinite(values), out=np.array(values))
    if not np.isinf(moved).any():
        return moved
    for column in moved.T:
        finite = [*column[np.isfinite(column)], *around] or [0.0]
        low, high = min(finite), max(finite)
        margin = (high - low) or 1.0
        column[column == math.inf] = high + margin
        column[column == -math.inf] = low - margin
    return moved
