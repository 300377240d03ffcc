"""From an evaluation to what a study is told: objective values, violations, how uncertain both are."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from optuna.trial import FrozenTrial, TrialState, create_trial

from moo import storage as stored
from moo.errors import MeasureError, ProblemError
from moo.evaluation import Estimate, Evaluation
from moo.metrics import Metric
from moo.pairing import PAIRED
from moo.problem import Problem
from moo.quiet import Waiting
from moo.samplers import NOISE

if TYPE_CHECKING:
    import optuna

__all__ = [
    "MAX_REASON",
    "VARIANT",
    "Variants",
    "forget_variants",
    "judged",
    "keep_variants",
    "kept_variants",
    "known_bounds",
    "noise",
    "variant_trial",
    "with_waited",
]

MAX_REASON = 500  # characters that are stored of why a trial failed
VARIANT = "moo:variant"
"""User attribute of a variant's trial: which of its parent's variants it is, counted from 0. While the parent
runs it keeps each record to come as `moo:variant-0`, `moo:variant-1`, ..: one attribute each, because some
databases hold no more than 64 KiB in one."""

_WAITED: Mapping[Waiting, str] = {"measurement": "wait", "work": "paused"}
"""What an evaluation's seconds call a wait."""

Variants = Sequence[tuple[Mapping[str, Any], Evaluation]]
"""The parameters that differ, and the evaluation."""


def judged(
    problem: Problem, metrics: Mapping[str, Estimate], bounds: Sequence[float]
) -> tuple[list[float], dict[str, float]]:
    """Return the objective values, and the violations by the constraints' keys.

    Args:
        problem: Objectives and constraints.
        metrics: Estimates by name.
        bounds: Of each constraint, in SI units.

    Raises:
        MeasureError: If one is not known.
    """
    values = [_value(metrics, objective.metric.name) for objective in problem.objectives]
    violations = {}
    for constraint, bound in zip(problem.constraints, bounds, strict=True):
        estimate = _estimate(metrics, constraint.metric.name)
        violation = constraint.violation(estimate, bound)
        if violation is None:
            raise MeasureError(f"'{constraint}' cannot be decided: {estimate.reason or 'no value'}")
        violations[constraint.key] = violation
    return values, violations


def known_bounds(problem: Problem, baseline: Mapping[str, Estimate] | None) -> list[float | None]:
    """Return each constraint's bound; None where it is relative and the baseline is not there."""
    bounds: list[float | None] = []
    for constraint in problem.constraints:
        try:
            bounds.append(constraint.bound((baseline or {}).get(constraint.metric.name)))
        except ProblemError:
            bounds.append(None)
    return bounds


def noise(
    problem: Problem, metrics: Mapping[str, Estimate], bounds: Sequence[float | None]
) -> dict[str, Any]:
    """Return how uncertain what was measured is, as samplers read it.

    The interval of a score is left out: it is about other data, and measuring again would not change it.
    """

    def measured(metric: Metric) -> Estimate:
        is_known = metric.stage == "measured" and metric.name in metrics
        return metrics[metric.name] if is_known else Estimate(None)

    return {
        "objectives": [measured(objective.metric).sd for objective in problem.objectives],
        "constraints": {
            constraint.key: None
            if bound is None
            else constraint.violation_sd(measured(constraint.metric), bound)
            for constraint, bound in zip(problem.constraints, bounds, strict=True)
        },
    }


def keep_variants(trial: optuna.Trial, variants: Variants) -> None:
    """Store with a running trial what it has deployed otherwise, until each is a trial of its own.

    What a cut-off attempt of the trial kept is replaced.
    """
    for name in _kept_names(trial.user_attrs)[len(variants) :]:
        trial.set_user_attr(name, None)
    for index, (params, variant) in enumerate(variants):
        record = {"params": dict(params), "evaluation": variant.to_json()}
        trial.set_user_attr(f"{VARIANT}-{index}", record)


def kept_variants(attrs: Mapping[str, Any]) -> Variants:
    """Return what `keep_variants` stored, from a trial's user attributes."""
    records = [attrs[name] for name in _kept_names(attrs)]
    return [(record["params"], Evaluation.from_json(record["evaluation"])) for record in records]


def forget_variants(trial: optuna.Trial) -> None:
    """Empty what `keep_variants` stored: each is a trial of its own by now."""
    for name in _kept_names(trial.user_attrs):
        trial.set_user_attr(name, None)


def _kept_names(attrs: Mapping[str, Any]) -> list[str]:
    """Return the attributes that hold a record, in order."""
    found = (f"{VARIANT}-{index}" for index in itertools.count())
    return list(itertools.takewhile(lambda name: attrs.get(name) is not None, found))


def variant_trial(
    problem: Problem,
    bounds: Sequence[float],
    parent: FrozenTrial,
    index: int,
    params: Mapping[str, Any],
    variant: Evaluation,
    paired: Mapping[str, Sequence[int]] = MappingProxyType({}),
) -> FrozenTrial:
    """Return the trial that stands for a trained model deployed otherwise than in its own trial.

    Args:
        problem: Objectives and constraints.
        bounds: Of each constraint, in SI units.
        parent: The trial that trained it.
        index: Which of its variants it is.
        params: The parameters that differ from the parent's.
        variant: What was measured and scored.
        paired: On how many samples it differs from the baseline, by metric.
    """
    attrs: dict[str, Any] = {
        stored.PARENT: parent.number,
        VARIANT: index,
        stored.EVALUATION: variant.to_json(),
        stored.DURATION: round(sum(variant.seconds.values()), 3),
        NOISE: noise(problem, variant.metrics, bounds),
        **({PAIRED: dict(paired)} if paired else {}),
    }
    configuration, distributions = {**parent.params, **params}, parent.distributions
    try:
        values, violations = judged(problem, variant.metrics, bounds)
    except MeasureError as error:
        attrs[stored.FAILURE] = {"stage": error.stage, "reason": str(error)[:MAX_REASON]}
        return create_trial(
            state=TrialState.FAIL, params=configuration, distributions=distributions, user_attrs=attrs
        )
    return create_trial(
        values=values,
        params=configuration,
        distributions=distributions,
        user_attrs=attrs,
        constraints=violations,
    )


def with_waited(evaluation: Evaluation, waited: Mapping[Waiting, float]) -> Evaluation:
    """Return the evaluation with the seconds that its trial waited for other processes, where it did."""
    seconds = {_WAITED[who]: round(s, 4) for who, s in waited.items() if s >= 0.001}
    return dataclasses.replace(evaluation, seconds={**evaluation.seconds, **seconds})


def _estimate(metrics: Mapping[str, Estimate], name: str) -> Estimate:
    return metrics.get(name, Estimate(None, reason=f"the task gave no {name}"))


def _value(metrics: Mapping[str, Estimate], name: str) -> float:
    estimate = _estimate(metrics, name)
    if estimate.value is None:
        raise MeasureError(f"no {name}: {estimate.reason or 'no value'}")
    if estimate.value in (float("inf"), float("-inf")):
        raise MeasureError(f"{name} is {estimate.value}: expected a finite number")
    return estimate.value
