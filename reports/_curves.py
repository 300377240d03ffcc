"""The data step of the learning curves: what training reported, step by step."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from moo.metrics import known_metrics
from moo.results import FinishedTrial, Results
from reports._axes import Axis, make_axis
from reports._history import evenly
from reports._text import one_line

MAX_QUANTITIES = 4  # those that most trials reported, objectives first
MAX_CURVES = 80  # beside the front, of one quantity
MAX_STEPS = 60  # of one curve

CurveGroup = Literal["front", "complete", "stopped"]


@dataclass(frozen=True)
class Curve:
    """What one trial reported of one quantity, in the unit of its axis; steps ascending, values finite."""

    trial: FinishedTrial
    group: CurveGroup
    steps: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class QuantityCurves:
    """The curves of one reported quantity, in the order to draw, the front last.

    Args:
        name: As the task reports it.
        axis: Its axis; without unit and direction where it is no metric.
        curves: At most `MAX_CURVES` and the front.
        n_curves: How many trials reported it.
    """

    name: str
    axis: Axis
    curves: tuple[Curve, ...]
    n_curves: int


@dataclass(frozen=True)
class LearningCurves:
    """All that training reported; `left_out` names quantities beyond `MAX_QUANTITIES`."""

    quantities: tuple[QuantityCurves, ...]
    left_out: tuple[str, ...]


def learning_curves(results: Results) -> LearningCurves:
    """Return what training reported at two steps or more, by quantity.

    A trial that deploys another's trained model has no curve of its own. Trials that failed are left out.
    """
    on_front = {trial.number for trial in results.front}
    reported: dict[str, list[tuple[FinishedTrial, list[tuple[int, float]]]]] = {}
    for trial in results.trials:
        if trial.evaluation is None or trial.state == "failed" or trial.parent is not None:
            continue
        for name, steps in _by_name(trial.evaluation.curve).items():
            if len(steps) > 1:
                reported.setdefault(name, []).append((trial, steps))
    objectives = {objective.metric.name for objective in results.problem.objectives}
    counts = Counter({name: len(rows) for name, rows in reported.items()})
    names = sorted(counts, key=lambda name: (name not in objectives, -counts[name], name))
    quantities = [_quantity(results, name, reported[name], on_front) for name in names[:MAX_QUANTITIES]]
    return LearningCurves(tuple(quantities), tuple(one_line(name) for name in names[MAX_QUANTITIES:]))


def _by_name(curve: Sequence[tuple[int, Mapping[str, float]]]) -> dict[str, list[tuple[int, float]]]:
    found: dict[str, list[tuple[int, float]]] = {}
    for step, values in sorted(curve, key=lambda pair: pair[0]):
        for name, value in values.items():
            if math.isfinite(value):
                found.setdefault(name, []).append((step, float(value)))
    return found


def _quantity(
    results: Results,
    name: str,
    rows: Sequence[tuple[FinishedTrial, list[tuple[int, float]]]],
    on_front: set[int],
) -> QuantityCurves:
    axis = _axis(results, name, [value for _, steps in rows for _, value in steps])
    front = [row for row in rows if row[0].number in on_front]
    others = [row for row in rows if row[0].number not in on_front]
    curves = [
        Curve(
            trial, _group(trial, on_front), tuple((s, v / axis.factor) for s, v in evenly(steps, MAX_STEPS))
        )
        for trial, steps in [*evenly(others, MAX_CURVES), *front]
    ]
    return QuantityCurves(name, axis, tuple(curves), len(rows))


def _group(trial: FinishedTrial, on_front: set[int]) -> CurveGroup:
    if trial.number in on_front:
        return "front"
    return "stopped" if trial.state == "pruned" else "complete"


def _axis(results: Results, name: str, values: Sequence[float]) -> Axis:
    known = {**known_metrics(results.extra_metrics), **{m.name: m for m in results.problem.metrics}}
    if name in known:
        return make_axis(known[name], values, results.problem)
    plain = make_axis(None, values, results.problem)
    return Axis(
        title=one_line(name),
        unit="",
        factor=plain.factor,
        is_log=False,
        is_count=False,
        metric=None,
        direction=None,
    )
