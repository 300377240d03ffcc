"""The data step of the parallel coordinates: one axis a metric, one line a candidate, up is better."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from moo.metrics import Metric
from moo.results import FinishedTrial, Results
from reports._axes import Axis, Span, make_axis, place
from reports._data import Group, shown_candidates, with_view
from reports._history import evenly

MAX_AXES = 8
MAX_LINES = 300  # of the front, and of the others: more hide each other


@dataclass(frozen=True)
class ParallelAxis:
    """One upright axis.

    Args:
        axis: What, in which unit, on which scale; `low` and `high` are the ends of the view.
        is_reversed: Whether `low` is at the top: less is better.
        bounds: Heights of the constraints' bounds that are in the view.
    """

    axis: Axis
    is_reversed: bool
    bounds: tuple[float, ...] = ()

    def height(self, number: float) -> float:
        """Return where a number in the axis' unit stands: 0 at the bottom of the view, 1 at its top."""
        low, high = self.axis.low, self.axis.high
        if self.axis.is_log:
            number, low, high = math.log(number), math.log(low), math.log(high)
        share = (number - low) / (high - low)
        return 1 - share if self.is_reversed else share


@dataclass(frozen=True)
class ParallelLine:
    """One candidate: its height on each axis, NaN where it has no value there."""

    trial: FinishedTrial
    group: Group
    heights: tuple[float, ...]


@dataclass(frozen=True)
class ParallelChart:
    """Everything that is drawn of the parallel coordinates.

    Args:
        axes: Objectives, then constrained metrics.
        others: Lines off the front, at most `MAX_LINES`.
        front: Lines of the front, at most `MAX_LINES` and the recommended one.
        baseline: The baseline's line, or None.
        chosen: The recommended candidate's line, or None.
        n_front: Candidates on the front.
        n_others: Complete candidates off the front.
        n_axes_left_out: Metrics beyond `MAX_AXES`.
    """

    axes: tuple[ParallelAxis, ...]
    others: tuple[ParallelLine, ...]
    front: tuple[ParallelLine, ...]
    baseline: ParallelLine | None
    chosen: ParallelLine | None
    n_front: int
    n_others: int
    n_axes_left_out: int


def parallel_chart(results: Results, chosen: int | None) -> ParallelChart | None:
    """Return what is drawn; None with fewer than two axes or candidates, or none on the front.

    Args:
        results: The study.
        chosen: The number of the recommended trial, or None.
    """
    complete = [(trial, group) for trial, group in shown_candidates(results) if group != "pruned"]
    front = [pair for pair in complete if pair[1] == "front"]
    others = [pair for pair in complete if pair[1] != "front"]
    baseline = [pair for pair in complete if pair[0].is_baseline]
    recommended = [pair for pair in complete if pair[0].number == chosen]
    key_trials = [trial for trial, _ in [*front, *baseline, *recommended]]
    axes = [
        axis
        for metric in dict.fromkeys(results.problem.metrics)
        if (axis := _axis(results, metric, key_trials, [trial for trial, _ in complete])) is not None
    ]
    if len(axes) < 2 or len(complete) < 2 or not front:
        return None

    def lines(pairs: Sequence[tuple[FinishedTrial, Group]]) -> tuple[ParallelLine, ...]:
        drawn = axes[:MAX_AXES]
        return tuple(
            ParallelLine(trial, group, tuple(_height(axis, trial) for axis in drawn))
            for trial, group in pairs
        )

    return ParallelChart(
        axes=tuple(axes[:MAX_AXES]),
        others=lines(evenly([pair for pair in others if not pair[0].is_baseline], MAX_LINES)),
        front=lines(evenly(front, MAX_LINES)),
        baseline=next(iter(lines(baseline)), None),
        chosen=next(iter(lines(recommended)), None),
        n_front=len(results.front),
        n_others=len(results.complete) - len(results.front),
        n_axes_left_out=len(axes) - min(len(axes), MAX_AXES),
    )


def _axis(
    results: Results, metric: Metric, key_trials: Sequence[FinishedTrial], trials: Sequence[FinishedTrial]
) -> ParallelAxis | None:
    """Return the metric's axis; None where no candidate on the front has a place on it."""
    values = [v for t in trials if (v := t.estimate(metric.name).value) is not None and math.isfinite(v)]
    axis = make_axis(metric, values, results.problem)
    keys = [t.estimate(metric.name).value for t in key_trials]
    spans, key_spans = (
        [Span(at, None, None) for v in some if (at := place(v, axis)) is not None] for some in (values, keys)
    )
    if not key_spans:
        return None
    senses = {c.sense for c in results.problem.constraints if c.metric.name == metric.name}
    better = axis.direction or ("minimize" if "<=" in senses else "maximize")
    placed = ParallelAxis(with_view(axis, key_spans, spans), better == "minimize")
    bounds = [
        placed.height(bound / axis.factor)
        for constraint, bound in zip(results.problem.constraints, results.bounds, strict=False)
        if constraint.metric.name == metric.name and bound is not None and (bound > 0 or not axis.is_log)
    ]
    return ParallelAxis(placed.axis, placed.is_reversed, tuple(b for b in bounds if 0 <= b <= 1))


def _height(axis: ParallelAxis, trial: FinishedTrial) -> float:
    assert axis.axis.metric is not None
    at = place(trial.estimate(axis.axis.metric.name).value, axis.axis)
    return math.nan if at is None else axis.height(at)
