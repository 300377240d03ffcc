"""Bounds and violations of trials that nobody judged when they were made: of tables and foreign studies."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from moo.errors import ProblemError
from moo.problem import Problem
from moo.results import FinishedTrial

__all__ = ["bounds_on", "judged_trials"]


def bounds_on(problem: Problem, trials: Sequence[FinishedTrial], what: str) -> tuple[float, ...]:
    """Return each constraint's bound in SI units; a relative one rests on the complete baseline.

    Args:
        problem: Objectives and constraints.
        trials: Among them the baseline, if there is one.
        what: What the trials come from, for the message: `table`, `study`.

    Raises:
        ProblemError: If a bound is relative and no trial is a complete baseline, or `Problem.bounds` refuses.
    """
    baseline = next((trial for trial in trials if trial.is_baseline and trial.state == "complete"), None)
    relative = next((str(constraint) for constraint in problem.constraints if constraint.is_relative), None)
    if relative is not None and baseline is None:
        raise ProblemError(
            f"constraint '{relative}' is relative to the baseline, but the {what} has none: give an absolute"
            " bound"
        )
    metrics = None if baseline is None or baseline.evaluation is None else baseline.evaluation.metrics
    return problem.bounds(metrics)


def judged_trials(
    problem: Problem, bounds: Sequence[float], trials: Sequence[FinishedTrial]
) -> tuple[FinishedTrial, ...]:
    """Return the trials with their violations; none of a constraint that cannot be decided."""
    if not problem.constraints:
        return tuple(trials)
    rules = [(c.key, c, bound) for c, bound in zip(problem.constraints, bounds, strict=True)]
    judged = []
    for trial in trials:
        found = {key: c.violation(trial.estimate(c.metric.name), bound) for key, c, bound in rules}
        known = {key: violation for key, violation in found.items() if violation is not None}
        judged.append(dataclasses.replace(trial, violations=known))
    return tuple(judged)
