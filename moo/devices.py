"""Candidates that were measured in several places: the front of each.

What is measured in a further runtime or on a further device has that place's name before it, as
`pi_latency_p50`; in the first it has the plain name.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from moo.errors import ProblemError
from moo.evaluation import Estimate
from moo.metrics import BUILT_IN, Metric
from moo.problem import Constraint, Problem
from moo.results import FinishedTrial, Results

__all__ = ["base_of", "on_place", "places"]


def base_of(name: str) -> str | None:
    """Return the built-in metric that a name repeats for another place; None for a metric of its own.

    >>> base_of("gpu_latency_p50"), base_of("gpu_device_latency_p50"), base_of("device_latency_p50")
    ('latency_p50', 'device_latency_p50', None)
    """
    if name in BUILT_IN:
        return None
    bases = [base for base in BUILT_IN if BUILT_IN[base].stage == "measured" and name.endswith(f"_{base}")]
    return max(bases, key=len, default=None)


def places(results: Results) -> dict[str, str]:
    """Return the places that candidates were measured in: what stands before a metric's name, to its name.

    The first is `""`, and is called as its device was; where only one was measured in there are none.
    """
    known = {
        metric.name.removesuffix(f"_{base}"): None
        for metric in results.metrics
        if (base := base_of(metric.name)) is not None
        and any(trial.estimate(metric.name).value is not None for trial in results.complete)
    }
    if not known:
        return {}
    first = results.devices[0] if results.devices else "the first"
    return {"": first, **{prefix: prefix for prefix in known}}


def on_place(results: Results, prefix: str) -> Results:
    """Return the results as that place sees them: its measurements in objectives and constraints.

    An objective or bound on a measured metric is taken for the same metric there, wherever it was meant;
    relative bounds rest on what the baseline has there. A metric that was not measured there is left out.

    Args:
        results: Of a study whose candidates were measured in several places.
        prefix: As `places` has it.
    """
    metrics = {metric.name: metric for metric in results.metrics}

    def there(metric: Metric) -> Metric | None:
        base = base_of(metric.name) or metric.name
        if metric.stage != "measured" or base not in BUILT_IN or BUILT_IN[base].stage != "measured":
            return metric
        return metrics.get(f"{prefix}_{base}" if prefix else base)

    objectives = {
        metric.name: dataclasses.replace(objective, metric=metric)
        for objective in results.problem.objectives
        if (metric := there(objective.metric)) is not None
    }
    constraints = {
        constraint.key: constraint
        for given in results.problem.constraints
        if (metric := there(given.metric)) is not None
        and (constraint := dataclasses.replace(given, metric=metric))
    }
    problem = Problem(tuple(objectives.values()), tuple(constraints.values()))
    baseline = results.baseline
    measured = {} if baseline is None or baseline.evaluation is None else baseline.evaluation.metrics
    bounds = tuple(_bound(constraint, measured) for constraint in problem.constraints)
    trials = tuple(_judged(trial, problem, bounds) for trial in results.trials)
    return dataclasses.replace(results, problem=problem, bounds=bounds, trials=trials, confirmation=None)


def _bound(constraint: Constraint, baseline: Mapping[str, Estimate]) -> float | None:
    try:
        return constraint.bound(baseline.get(constraint.metric.name))
    except ProblemError:
        return None


def _judged(trial: FinishedTrial, problem: Problem, bounds: tuple[float | None, ...]) -> FinishedTrial:
    violations = {}
    for constraint, bound in zip(problem.constraints, bounds, strict=True):
        found = None if bound is None else constraint.violation(trial.estimate(constraint.metric.name), bound)
        if found is not None:
            violations[constraint.key] = found
    is_known = all(trial.estimate(o.metric.name).value is not None for o in problem.objectives)
    state = trial.state if trial.state != "complete" or is_known else "failed"
    return dataclasses.replace(trial, violations=violations, state=state)
