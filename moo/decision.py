"""Which candidate to take, why, and what would change it. The one rule of reports, tables and pages.

1. Considered are the complete candidates that are known to keep every constraint, have a finite value for
   each objective and are not ruled out by a stored confirmation.
2. The front is what no other of these dominates.
3. Each objective is scaled from 0 (best on the front) to 1 (worst); by its logarithm where it is minimised
   and told apart by factors (`moo.metrics.takes_logarithm`). The scale is that of the front under the
   problem's own constraints: further bounds do not move it, so that a bound which the choice keeps changes
   nothing.
4. The choice has the smallest weighted distance to the ideal point (`moo.pareto.chebyshev_choice`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from moo.bounds import Bounded, Slack, tightest_bound
from moo.errors import InputError, did_you_mean
from moo.metrics import takes_logarithm
from moo.pareto import (
    ChebyshevChoice,
    Exchange,
    chebyshev_choice,
    chebyshev_ranges,
    exchange,
    nondominated,
)
from moo.problem import Constraint, Problem
from moo.results import FinishedTrial, Results

__all__ = [
    "Recommendation",
    "RuledOut",
    "Scale",
    "Slack",
    "Trade",
    "WeightRange",
    "WiderBound",
    "contenders",
    "recommend",
    "scales",
]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
Scale = Literal["linear", "log10"]

_NO_DIFFERENCE = 1e-12  # scores that differ by less are equal but for rounding
_MOST = 1e307  # what is larger in size counts as infinite: differences of such numbers are


@dataclass(frozen=True)
class RuledOut:
    """A feasible candidate that a stored confirmation keeps out, and why."""

    trial: FinishedTrial
    reason: str


@dataclass(frozen=True)
class WeightRange:
    """Between which values of one weight the recommendation stays, the others in proportion.

    Args:
        weight: As used; all weights sum to 1.
        low: The smallest value with which nobody has a smaller score.
        high: The largest.
        rival_below: Who is better just below `low`; None where `low` is 0.
        rival_above: Who is better just above `high`; None where `high` is 1.
    """

    weight: float
    low: float
    high: float
    rival_below: FinishedTrial | None
    rival_above: FinishedTrial | None


@dataclass(frozen=True, eq=False)
class Trade:
    """What is gained and paid when another candidate of the front is taken instead.

    Args:
        trial: The other candidate.
        nearest_for: Objectives, by metric name, in which it is the nearest candidate that is better.
        exchange: Differences and exchange rates between the losses, in the order of the objectives.
    """

    trial: FinishedTrial
    nearest_for: tuple[str, ...]
    exchange: Exchange


@dataclass(frozen=True)
class WiderBound:
    """The nearest wider bound on one constraint that changes the recommendation, all others kept.

    Args:
        constraint: Which.
        bound: Its bound in SI units.
        wider: The bound that it takes, in SI units.
        share: How much wider, as a fraction of the bound (of 1 where the bound is 0).
        trial: Who is recommended then.
    """

    constraint: Constraint
    bound: float
    wider: float
    share: float
    trial: FinishedTrial


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Recommendation:
    """Which candidate to take, and what would change it.

    Args:
        trial: The candidate.
        runner_up: The next in the same order; None where the front has no other.
        score: Its weighted distance to the ideal point, from 0 to 1.
        gap: The runner-up's score minus this one's; None without a runner-up.
        is_toss_up: Whether nothing but their order puts it before the runner-up.
        terms: What each objective adds: weight times scaled loss, by metric; the largest is the score.
        scaled: Where it is in each objective, from 0 (best on the front) to 1 (worst), by metric.
        weights: By metric; they sum to 1.
        scales: By metric.
        ranges: By metric.
        front: The candidates that nobody considered dominates, best in the first objective first.
        n_considered: How many candidates were considered.
        ruled_out: Who else would have been, but for the stored confirmation.
        trades: The runner-up's first; then for each objective the nearest better candidate.
        slacks: One for each constraint with a known bound and value.
        wider: One for each constraint that has one, the nearest first.
        constraints: Those of the study, then those asked for.
    """

    trial: FinishedTrial
    runner_up: FinishedTrial | None
    score: float
    gap: float | None
    is_toss_up: bool
    terms: Mapping[str, float]
    scaled: Mapping[str, float]
    weights: Mapping[str, float]
    scales: Mapping[str, Scale]
    ranges: Mapping[str, WeightRange]
    front: tuple[FinishedTrial, ...]
    n_considered: int
    ruled_out: tuple[RuledOut, ...]
    trades: tuple[Trade, ...]
    slacks: tuple[Slack, ...]
    wider: tuple[WiderBound, ...]
    constraints: tuple[Constraint, ...]

    def __repr__(self) -> str:
        after = "" if self.runner_up is None else f", runner-up {self.runner_up.name}"
        return f"<Recommendation: {self.trial.name}{after}; {len(self.front)} on the front>"


def recommend(
    results: Results,
    *,
    weights: Mapping[str, float] | None = None,
    constraints: Iterable[str] | None = None,
) -> Recommendation | None:
    """Return which candidate to take, by the rule of this module.

    Args:
        results: Of a study or table; the values are those of the search, also where a confirmation is stored.
        weights: How much each objective counts, by metric name, at least 0, on any scale; one that is not
            named counts 1. None: all the same.
        constraints: Further bounds, as `moo.problem.Constraint.parse` reads them, beside those of the study.

    Returns:
        None where no candidate is considered.

    Raises:
        InputError: For a weight that is no weight or names no objective.
        ProblemError: For a constraint that cannot be read, or is relative to a baseline that is not there.
    """
    asked = _asked_weights(results.problem, weights)
    bounded = Bounded.of(results, constraints)
    usable, ruled_out = _usable(results, bounded)
    losses = results.losses(tuple(usable))
    within = np.array([bounded.holds(trial) for trial in usable], dtype=np.bool_)
    scale = scales(results)
    own = bounded if constraints is None else Bounded.of(results, None)
    scaled_by = np.array([own.holds(trial) for trial in usable], dtype=np.bool_)
    rule = _Rule(losses, asked, np.array([kind == "log10" for kind in scale.values()]), scaled_by)
    choice = rule.choice(within)
    if choice is None:
        return None
    ranges = chebyshev_ranges(
        losses, asked, feasible=within, logarithmic=rule.logarithmic, scaled_by=scaled_by
    )
    assert ranges is not None, "there is a choice"
    names = list(scale)
    rivals = {
        name: [None if row < 0 else usable[row] for row in (ranges.rival_below[j], ranges.rival_above[j])]
        for j, name in enumerate(names)
    }
    trial, marks = usable[choice.index], choice.scaled[np.searchsorted(choice.members, choice.index)]
    return Recommendation(
        trial=trial,
        runner_up=None if choice.runner_up is None else usable[choice.runner_up],
        score=choice.score,
        gap=choice.gap,
        is_toss_up=_is_toss_up(choice),
        terms=dict(zip(names, choice.terms.tolist(), strict=True)),
        scaled=dict(zip(names, marks.tolist(), strict=True)),
        weights=dict(zip(names, choice.weights.tolist(), strict=True)),
        scales=scale,
        ranges={
            name: WeightRange(
                float(choice.weights[j]), float(ranges.low[j]), float(ranges.high[j]), *rivals[name]
            )
            for j, name in enumerate(names)
        },
        front=_best_first(usable, losses, choice.members),
        n_considered=int(within.sum()),
        ruled_out=ruled_out,
        trades=_trades(usable, losses, choice, names),
        slacks=bounded.slacks(trial),
        wider=_wider_bounds(usable, rule, bounded, choice),
        constraints=tuple(bounded.bounds),
    )


def _is_toss_up(choice: ChebyshevChoice) -> bool:
    if choice.runner_up is None or choice.gap is None or choice.gap > _NO_DIFFERENCE:
        return False
    one, two = (choice.scaled[np.searchsorted(choice.members, i)] for i in (choice.index, choice.runner_up))
    sums = (two * choice.weights).sum() - (one * choice.weights).sum(), two.sum() - one.sum()
    return all(abs(more) <= _NO_DIFFERENCE for more in sums)


def scales(results: Results) -> dict[str, Scale]:
    """Return on which scale each objective's candidates are compared, by metric name.

    `log10` where the objective is minimised, no fraction, and its values over all complete candidates are
    above 0 and span more than a factor ten; values that are missing or infinite say nothing.
    """
    found: dict[str, Scale] = {}
    for objective in results.problem.objectives:
        values = [trial.estimate(objective.metric.name).value for trial in results.complete]
        known = [value for value in values if value is not None and math.isfinite(value)]
        is_log = objective.direction == "minimize" and takes_logarithm(objective.metric, known)
        found[objective.metric.name] = "log10" if is_log else "linear"
    return found


def contenders(results: Results) -> tuple[FinishedTrial, ...]:
    """Return the candidates that some bounds on the problem's metrics put on the front.

    These are the complete ones, their objectives finite, that no other matches or beats in every objective
    and every constrained metric at once: whatever bounds a beaten one keeps, the one that beats it so keeps
    them too. Equal ones are all there. Who is ruled out, or violates what is no constraint of the problem, is
    none, and keeps nobody else from being one. So the rule, on the scales of all, chooses among the
    contenders as among all.
    """
    keys = set(results.constraint_keys)
    able = [
        trial
        for trial, is_finite in zip(results.complete, _are_finite(results), strict=True)
        if is_finite
        and results.ruled_out(trial) is None
        and not any(not violation <= 0 for key, violation in trial.violations.items() if key not in keys)
    ]
    columns = [results.losses(tuple(able))]
    for constraint in results.problem.constraints:
        ends = [tightest_bound(constraint, trial.estimate(constraint.metric.name)) for trial in able]
        sign = 1.0 if constraint.sense == "<=" else -1.0
        losses = np.array([math.inf if end is None else sign * end for end in ends], dtype=np.float64)
        columns.append(losses.reshape(-1, 1))  # without a value it is kept out by any bound
    members = nondominated(np.hstack(columns))
    return tuple(trial for trial, is_member in zip(able, members.tolist(), strict=True) if is_member)


@dataclass(frozen=True, eq=False)
class _Rule:
    """Who is chosen of some candidates.

    Losses have shape (n, m), weights and logarithms (m,); `scaled_by` has shape (n,): whose front makes the
    scale.
    """

    losses: FloatArray
    weights: FloatArray
    logarithmic: BoolArray
    scaled_by: BoolArray

    def choice(self, among: BoolArray) -> ChebyshevChoice | None:
        return chebyshev_choice(
            self.losses,
            self.weights,
            feasible=among,
            logarithmic=self.logarithmic,
            scaled_by=self.scaled_by,
        )

    @cached_property
    def scale(self) -> FloatArray:
        """The losses of the front that makes the scale."""
        points = self.losses[self.scaled_by]
        return points[nondominated(points)] if len(points) else points

    def chosen_of(self, rows: NDArray[np.int64]) -> int:
        """Return who is chosen of a few rows, ascending."""
        is_row = np.arange(len(rows) + len(self.scale)) < len(rows)
        found = chebyshev_choice(
            np.vstack([self.losses[rows], self.scale]),
            self.weights,
            feasible=is_row,
            logarithmic=self.logarithmic,
            scaled_by=~is_row,
        )
        assert found is not None, "there are rows"
        return int(rows[found.index])


def _asked_weights(problem: Problem, weights: Mapping[str, float] | None) -> FloatArray:
    names, asked = [objective.metric.name for objective in problem.objectives], dict(weights or {})
    for name, weight in asked.items():
        if name not in names:
            raise InputError(f"weights: expected objectives, got {name!r}: {did_you_mean(str(name), names)}")
        is_number = isinstance(weight, int | float) and not isinstance(weight, bool)
        if not is_number or not math.isfinite(weight) or weight < 0:
            raise InputError(f"weights: expected a finite number of at least 0 for {name}, got {weight!r}")
    found = np.array([float(asked.get(name, 1.0)) for name in names])
    if not found.any():
        raise InputError(f"weights: expected one above 0, got 0 for {', '.join(names)}")
    return found


def _usable(results: Results, bounded: Bounded) -> tuple[list[FinishedTrial], tuple[RuledOut, ...]]:
    """Return the complete trials with finite objectives that are not ruled out, and those that are.

    Only a feasible trial is said to be ruled out.
    """
    kept, ruled_out = [], []
    for trial, is_finite in zip(results.complete, _are_finite(results), strict=True):
        reason = results.ruled_out(trial) if is_finite else None
        if reason is not None and bounded.holds(trial):
            ruled_out.append(RuledOut(trial, reason))
        elif is_finite and reason is None:
            kept.append(trial)
    return kept, tuple(ruled_out)


def _are_finite(results: Results) -> list[bool]:
    """Return whether each complete trial has a finite value for each objective."""
    sizes = np.abs(np.nan_to_num(results.losses(results.complete), nan=np.inf))
    finite: list[bool] = np.all(sizes <= _MOST, axis=1).tolist()
    return finite


def _best_first(
    usable: Sequence[FinishedTrial], losses: FloatArray, members: NDArray[np.int64]
) -> tuple[FinishedTrial, ...]:
    order = members[np.lexsort(losses[members].T[::-1])]
    return tuple(usable[row] for row in order.tolist())


def _trades(
    usable: Sequence[FinishedTrial], losses: FloatArray, choice: ChebyshevChoice, names: Sequence[str]
) -> tuple[Trade, ...]:
    """Return the runner-up, and for each objective the nearest candidate that is better in it."""
    wanted: dict[int, list[str]] = {} if choice.runner_up is None else {choice.runner_up: []}
    away = choice.scaled - choice.scaled[np.searchsorted(choice.members, choice.index)]
    distance = np.abs(away).max(axis=1)
    for column, name in enumerate(names):
        better = np.flatnonzero(losses[choice.members, column] < losses[choice.index, column])
        if len(better):
            nearest = better[np.argmin(distance[better])]
            wanted.setdefault(int(choice.members[nearest]), []).append(name)
    return tuple(
        Trade(usable[row], tuple(found), exchange(losses, choice.index, row)) for row, found in wanted.items()
    )


def _wider_bounds(
    usable: Sequence[FinishedTrial], rule: _Rule, bounded: Bounded, choice: ChebyshevChoice
) -> tuple[WiderBound, ...]:
    outside: dict[str, list[int]] = {}
    for row, trial in enumerate(usable):
        key = bounded.only_broken(trial)
        if key is not None:
            outside.setdefault(key, []).append(row)
    found = []
    for constraint, bound in bounded.bounds.items():
        if bound is not None:
            needed: dict[float, list[int]] = {}
            for row in outside.get(constraint.key, ()):
                wider = tightest_bound(constraint, usable[row].estimate(constraint.metric.name))
                if wider is not None:
                    needed.setdefault(wider, []).append(row)
            nearest_first = sorted(needed.items(), key=lambda entry: abs(entry[0] - bound))
            changed = _first_change(rule, choice, nearest_first)
            if changed is not None:
                share = abs(changed[0] - bound) / (abs(bound) or 1.0)
                found.append(WiderBound(constraint, bound, changed[0], share, usable[changed[1]]))
    return tuple(sorted(found, key=lambda each: each.share))


def _first_change(
    rule: _Rule, choice: ChebyshevChoice, outside: Sequence[tuple[float, Sequence[int]]]
) -> tuple[float, int] | None:
    """Let candidates in, bound by bound, until another one is chosen; return that bound and the one chosen.

    Only the front is looked at again: what it dominates changes nothing.
    """
    front = choice.members
    for needed, rows in outside:
        let_in = [row for row in rows if not _is_dominated(rule.losses[row], rule.losses[front])]
        if let_in:
            together = np.sort(np.concatenate([front, let_in]))
            chosen = rule.chosen_of(together)
            if chosen != choice.index:
                return needed, chosen
            front = together[nondominated(rule.losses[together])]
    return None


def _is_dominated(point: FloatArray, others: FloatArray) -> bool:
    return bool(((others <= point).all(axis=1) & (others < point).any(axis=1)).any())
