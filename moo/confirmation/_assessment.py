"""From what was measured again to P(on the front) and P(feasible), and why a candidate fell off."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from moo.confirmation._launches import QUANTILES, RoundLaunch, RoundWeights, launch_draws, launch_value
from moo.evaluation import Estimate
from moo.metrics import Metric
from moo.pareto import FrontProbability, estimate_draws, front_probability, nondominated, resampled_means
from moo.problem import Constraint, Problem

__all__ = ["Assessment", "Measured", "assess"]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

_FLOOR = 1e-3  # of a value: where the interval of something positive reaches zero


@dataclass(frozen=True, kw_only=True, eq=False)
class Measured:
    """What is known of one candidate.

    Args:
        number: Of its trial.
        estimates: Of the search, by metric; used where nothing better is there.
        launches: Made since, by ascending round; they take the place of the search's launches.
        correct: Which validation samples it gets right, by metric, shape (n_samples,).
        is_baseline: Whether relative bounds rest on it.
    """

    number: int
    estimates: Mapping[str, Estimate]
    launches: Sequence[RoundLaunch] = ()
    correct: Mapping[str, BoolArray] = field(default_factory=dict)
    is_baseline: bool = False

    def is_launched_for(self, metric: str) -> bool:
        """Whether the launches tell this metric."""
        return bool(self.launches) and all(metric in launch.samples for launch in self.launches)


@dataclass(frozen=True, kw_only=True, eq=False)
class Assessment:
    """What all draws say of the candidates, in the order given.

    Attributes:
        probability: P(on the front), P(feasible) with their Monte Carlo errors.
        changeable: For each the share of draws in which exact cost would put it elsewhere, on the front or
            off, feasible or not; shape (n,). Near 0 more launches change nothing.
        losses: Draws of the objectives, all minimised, shape (n_draws, n, m).
        kept: Whether each constraint holds in each draw, shape (n_draws, n, k).
        sources: By metric, what its draws rest on: `launches`, `samples` (paired), `interval`, `exact`, or
            `value` where no interval is known.
    """

    probability: FrontProbability
    changeable: FloatArray
    losses: FloatArray
    kept: BoolArray
    sources: Mapping[str, str]

    def dominators(self, index: int) -> FloatArray:
        """Return for each candidate the share of draws in which it, feasible, dominates this one."""
        mine = self.losses[:, index : index + 1]
        is_better = (self.losses <= mine).all(axis=2) & (self.losses < mine).any(axis=2)
        return np.asarray((is_better & self.kept.all(axis=2)).mean(axis=0))


def assess(
    problem: Problem,
    candidates: Sequence[Measured],
    *,
    n_draws: int,
    seed: int,
    bounds: Sequence[float | None] = (),
) -> Assessment:
    """Return how sure it is that each candidate is on the front of these, and feasible.

    Draws of measured cost are a hierarchical bootstrap: rounds, the same for all candidates (`RoundWeights`),
    then samples within launches. Draws of a score whose correctness is kept for each sample are a paired
    bootstrap over the samples; other scores are drawn from their intervals, each by itself; counts are exact.
    A bound relative to the baseline moves with the baseline's draws, where that is among the candidates.

    Where a tail is known from above alone, as that of calls timed in blocks, P(feasible) is that of the upper
    limit and so too low rather than too high.

    Args:
        problem: Objectives and constraints.
        candidates: At least one.
        n_draws: How many draws.
        seed: The same seed, candidates and launches give the same result.
        bounds: Of each constraint in SI units, for relative ones where no candidate is the baseline.

    Raises:
        ValueError: For a metric of which nothing is known.
    """
    generator = np.random.default_rng(seed)
    n_rounds = 1 + max((launch.round for c in candidates for launch in c.launches), default=-1)
    rounds = RoundWeights.draw(n_rounds, n_draws, generator)
    drawn, centred, sources = {}, {}, {}
    for metric in problem.metrics:
        draws = _MetricDraws(metric, candidates, rounds, seed)
        drawn[metric.name], centred[metric.name] = draws.whole, draws.with_exact_cost
        sources[metric.name] = draws.source
    losses, kept = _judged(problem, candidates, drawn, bounds)
    is_feasible = np.asarray(kept.all(axis=2))
    exact_losses, exact_kept = _judged(problem, candidates, centred, bounds)
    exactly_feasible = np.asarray(exact_kept.all(axis=2))
    moved = _on_front(losses, is_feasible) != _on_front(exact_losses, exactly_feasible)
    refeasible = is_feasible != exactly_feasible
    return Assessment(
        probability=front_probability(losses, feasible=is_feasible),
        changeable=np.maximum(moved.mean(axis=0), refeasible.mean(axis=0)),
        losses=losses,
        kept=kept,
        sources=sources,
    )


class _MetricDraws:
    """Draws of one metric for all candidates, in SI units, shape (n_draws, n).

    Attributes:
        whole: With all that is uncertain.
        with_exact_cost: The same where launches told cost exactly: what launches cannot change.
        source: What they rest on.
    """

    def __init__(
        self, metric: Metric, candidates: Sequence[Measured], rounds: RoundWeights, seed: int
    ) -> None:
        n_draws, name = len(rounds.levels), metric.name
        key = [seed, *name.encode()]
        self.whole = np.empty((n_draws, len(candidates)))
        self.with_exact_cost = self.whole
        if name in QUANTILES and all(candidate.is_launched_for(name) for candidate in candidates):
            self.source = "launches"
            for index, candidate in enumerate(candidates):
                own = np.random.default_rng([*key, candidate.number])
                self.whole[:, index] = launch_draws(candidate.launches, name, rounds, own)
            values = [launch_value(candidate.launches, name) for candidate in candidates]
            self.with_exact_cost = np.tile(values, (n_draws, 1))
            return
        paired = [candidate.correct.get(name) for candidate in candidates]
        known = [array for array in paired if array is not None]
        generator = np.random.default_rng(key)
        if len(known) == len(paired) and len({len(array) for array in known}) == 1:
            self.source = "samples"
            self.whole[:] = resampled_means(np.stack(known, axis=1), n_draws=n_draws, generator=generator)
            return
        value, low, high = _ends(metric, candidates)
        self.whole[:] = estimate_draws(
            value[:, None],
            low[:, None],
            high[:, None],
            n_draws=n_draws,
            generator=generator,
            distribution=_distribution(metric, value),
        )[:, :, 0]
        is_certain = (low == high).all()
        self.source = "exact" if is_certain else "value" if np.isnan(low).all() else "interval"


def _distribution(metric: Metric, values: FloatArray) -> Literal["split_normal", "split_lognormal"]:
    """Return how a metric's interval is drawn from: cost spreads by a factor, a score by a difference."""
    return "split_lognormal" if metric.stage == "measured" and (values > 0).all() else "split_normal"


def _ends(metric: Metric, candidates: Sequence[Measured]) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return values and interval ends by candidate, shape (n,); NaN ends where there is no interval."""
    rows = []
    for candidate in candidates:
        estimate = candidate.estimates.get(metric.name, Estimate(None))
        value = _worst_known(estimate)
        if value is None:
            raise ValueError(f"{metric.name}: nothing is known of it in trial {candidate.number}")
        low, high = estimate.low, estimate.high
        if estimate.value is None or low is None or high is None or not math.isfinite(high - low):
            low = high = float("nan")
        elif metric.stage == "measured" and value > 0:
            low = max(low, value * _FLOOR)
        rows.append((value, low, high))
    value_column, low_column, high_column = np.array(rows, dtype=np.float64).T
    return value_column, low_column, high_column


def _worst_known(estimate: Estimate) -> float | None:
    """Return the value, else the end that is known: constraints were decided by it."""
    known = (estimate.value, estimate.high, estimate.low)
    return next((number for number in known if number is not None), None)


def _judged(
    problem: Problem,
    candidates: Sequence[Measured],
    drawn: Mapping[str, FloatArray],
    bounds: Sequence[float | None],
) -> tuple[FloatArray, BoolArray]:
    """Return losses, shape (n_draws, n, m), and which constraints hold, shape (n_draws, n, k)."""
    columns = np.stack([drawn[objective.metric.name] for objective in problem.objectives], axis=2)
    losses = problem.losses(columns.reshape(-1, columns.shape[2])).reshape(columns.shape)
    baseline = next((i for i, candidate in enumerate(candidates) if candidate.is_baseline), None)
    kept = np.ones((*columns.shape[:2], len(problem.constraints)), dtype=np.bool_)
    for index, constraint in enumerate(problem.constraints):
        values = drawn[constraint.metric.name]
        known = bounds[index] if bounds else None
        limit = _limit(constraint, None if baseline is None else values[:, baseline], known)
        holds = values <= limit[:, None] if constraint.sense == "<=" else values >= limit[:, None]
        kept[:, :, index] = holds
    return losses, kept


def _limit(constraint: Constraint, baseline: FloatArray | None, known: float | None) -> FloatArray:
    """Return the bound in each draw, shape (n_draws,) or (1,)."""
    if not constraint.is_relative:
        return np.array([constraint.amount])
    if baseline is not None:
        is_factor = constraint.relation == "factor"
        return np.asarray(constraint.amount * baseline if is_factor else baseline + constraint.amount)
    if known is None:
        raise ValueError(f"'{constraint}': the baseline's {constraint.metric.name} is not known")
    return np.array([known])


def _on_front(losses: FloatArray, is_feasible: BoolArray) -> BoolArray:
    """Return which candidates are on the front in each draw, shape (n_draws, n)."""
    members = np.zeros(is_feasible.shape, dtype=np.bool_)
    for row, points, mask in zip(members, losses, is_feasible, strict=True):
        row[mask] = nondominated(points[mask])
    return members
