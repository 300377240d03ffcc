"""The recommendation in words: which candidate, what it gains, what its neighbours on the front cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from moo.metrics import format_estimate
from moo.pareto import knee
from moo.problem import Constraint, Objective, describe_bound
from moo.results import FinishedTrial, Results
from reports._data import candidates
from reports._gains import Fact, changes_text, facts
from reports._text import one_line


@dataclass(frozen=True)
class Choice:
    """What the report says to do.

    Args:
        trial: The recommended trial; the nearest to feasible where there is no front; or None.
        is_recommended: Whether `trial` is a recommendation.
        headline: One sentence.
        facts: The trial's objectives.
        points: Heading and text, in the order to read.
    """

    trial: FinishedTrial | None
    is_recommended: bool
    headline: str
    facts: tuple[Fact, ...]
    points: tuple[tuple[str, str], ...]

    @property
    def number(self) -> int | None:
        """The recommended trial's number, or None without a recommendation."""
        return self.trial.number if self.trial is not None and self.is_recommended else None

    @property
    def why(self) -> str:
        """Every point as one text."""
        return " ".join(text for _, text in self.points)


def choose(results: Results) -> Choice:
    """Return the recommendation: the knee of the front with equal weights.

    Without a front, it says so and names the candidate with the smallest total violation; without
    a complete trial, it gives the reasons of failure.
    """
    front, losses = _finite_front(results)
    index = knee(losses)
    if index is None:
        return _nearest(results)
    trial = front[index]
    points = [
        ("Why this one", _why(trial, len(front))),
        ("Constraints", _constraints(results, trial)),
        ("Against the baseline", _against_baseline(results, trial)),
        *_exchanges(results, front, losses, index),
        ("How sure this is", _how_sure(front)),
    ]
    headline = f"Recommended: trial {trial.number}"
    return Choice(
        trial=trial,
        is_recommended=True,
        headline=headline,
        facts=facts(results, trial),
        points=_filled(points),
    )


def _finite_front(results: Results) -> tuple[tuple[FinishedTrial, ...], NDArray[np.float64]]:
    losses = results.losses(results.front)
    kept = np.all(np.isfinite(losses), axis=1)
    return tuple(t for t, keep in zip(results.front, kept.tolist(), strict=True) if keep), losses[kept]


def _filled(points: Sequence[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    return tuple(point for point in points if point[1])


def _why(trial: FinishedTrial, n_front: int) -> str:
    if n_front == 1:
        return (
            f"Trial {trial.number} is alone on the front: no feasible candidate is better in any objective."
        )
    return (
        f"It is the knee of a front of {n_front:,} candidates. Each objective is scaled from 0 (best on the "
        "front) to 1 (worst), all with equal weight; of all candidates this one has the smallest worst "
        "score. Whoever weighs the objectives differently may want another candidate, and a new extreme "
        "candidate can move the knee."
    )


def _constraints(results: Results, trial: FinishedTrial) -> str:
    texts = [
        f"{_wanted(results, constraint)} (it has {_has(trial, constraint)})"
        for constraint in results.problem.constraints
    ]
    return f"It keeps {'; '.join(texts)}." if texts else ""


def _wanted(results: Results, constraint: Constraint) -> str:
    bound = dict(zip(results.problem.constraints, results.bounds, strict=False)).get(constraint)
    return str(constraint) if bound is None else describe_bound(constraint, bound)


def _has(trial: FinishedTrial, constraint: Constraint) -> str:
    return format_estimate(trial.estimate(constraint.metric.name), constraint.metric)


def _against_baseline(results: Results, trial: FinishedTrial) -> str:
    baseline = results.baseline
    if baseline is None:
        return "The study has no complete baseline, so no gain is stated."
    if trial is baseline:
        return "It is the baseline itself: the search found nothing better balanced."
    return f"Compared with trial {baseline.number} it has {changes_text(results, baseline, trial)}."


def _exchanges(
    results: Results, front: Sequence[FinishedTrial], losses: NDArray[np.float64], index: int
) -> list[tuple[str, str]]:
    """Return, for each objective, the nearest candidate that is better in it, and what it costs."""
    spans = np.ptp(losses, axis=0)
    away = (losses - losses[index]) / np.where(spans > 0, spans, 1.0)
    distance = np.abs(away).max(axis=1)
    found: dict[int, list[str]] = {}
    for column, objective in enumerate(results.problem.objectives):
        better = np.flatnonzero(away[:, column] < 0)
        if len(better):
            nearest = int(better[np.argmin(distance[better])])
            found.setdefault(nearest, []).append(_wish(objective))
    return [
        (
            f"For {' and '.join(wishes)}",
            f"Trial {front[other].number}, the nearest such candidate on the front, has "
            f"{changes_text(results, front[index], front[other])}.",
        )
        for other, wishes in found.items()
    ]


def _wish(objective: Objective) -> str:
    fewer = "fewer" if objective.metric.dimension == "count" else "less"
    return f"{'more' if objective.direction == 'maximize' else fewer} {one_line(objective.metric.title)}"


def _how_sure(front: Sequence[FinishedTrial]) -> str:
    n_single = sum("single_launch" in t.evaluation.tags for t in front if t.evaluation is not None)
    launch = (
        f"The measured intervals of {'all' if n_single == len(front) else f'{n_single} of the {len(front)}'} "
        "candidates on the front come from a single process launch: what changes from launch to launch is "
        "not in them, so they are too narrow. "
        if n_single
        else ""
    )
    return (
        f"{launch}These are results of the search: the best of many look better than they are, and the front "
        "has not been measured again. No probability of being on the front, or feasible, is claimed."
    )


def _nearest(results: Results) -> Choice:
    undecided = sum(results.is_feasible(trial) is None for trial in results.complete)
    points = [("Why", _why_none(results, undecided)), ("Failures", _failures(results))]
    broken = [trial for trial in candidates(results) if total_violation(trial) > 0]
    decided = [trial for trial in broken if _is_decided(results, trial)]
    headline = "There is no candidate to recommend"
    if not broken:
        return Choice(trial=None, is_recommended=False, headline=headline, facts=(), points=_filled(points))
    trial = min(decided or broken, key=total_violation)
    points.insert(1, ("Nearest to feasible", _what_is_broken(results, trial)))
    return Choice(
        trial=trial,
        is_recommended=False,
        headline=headline,
        facts=facts(results, trial),
        points=_filled(points),
    )


def _is_decided(results: Results, trial: FinishedTrial) -> bool:
    return all(constraint.key in trial.violations for constraint in results.problem.constraints)


def total_violation(trial: FinishedTrial) -> float:
    """Return the sum of a trial's violations above zero, unit-free."""
    return sum(max(0.0, violation) for violation in trial.violations.values())


def _why_none(results: Results, n_undecided: int) -> str:
    n = len(results.complete)
    if not results.trials:
        return "The study has no finished trial."
    if n == 0:
        return f"None of the {len(results.trials):,} trials is complete."
    if n_undecided:
        return (
            f"No complete trial is known to be feasible; {n_undecided:,} of {n:,} lack a constraint's value."
        )
    if any(results.is_feasible(trial) for trial in results.complete):
        return "No feasible trial has a finite value for each objective."
    return f"All {n:,} complete trials are infeasible." if n > 1 else "The only complete trial is infeasible."


def _what_is_broken(results: Results, trial: FinishedTrial) -> str:
    known = {constraint.key: constraint for constraint in results.problem.constraints}
    texts = []
    for key, violation in trial.violations.items():
        if violation > 0:
            wanted = _wanted(results, known[key]) if key in known else one_line(key)
            has = f" (it has {_has(trial, known[key])})" if key in known else ""
            texts.append(f"{wanted} is missed by {_percent(violation)}{has}")
    return f"Trial {trial.number} ({trial.state}) has the smallest total violation: {'; '.join(texts)}."


def _percent(violation: float) -> str:
    return f"{violation * 100:.3g}%" if violation < 10 else f"a factor {violation + 1:.3g}"


def _failures(results: Results) -> str:
    listed = "; ".join(f"{count:,} x {one_line(reason)}" for reason, count in results.failures[:5])
    more = len(results.failures) - 5
    return (f"{listed}; and {more:,} other reasons." if more > 0 else f"{listed}.") if listed else ""
