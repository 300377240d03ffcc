"""The data step of every figure: which points, in which group, along which axes. Nothing is drawn here."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from moo.decision import contenders
from moo.metrics import Metric
from moo.results import Estimate, FinishedTrial, Results
from reports._axes import Axis, AxisMetrics, Span, choose_metrics, make_axis, place, widen
from reports._text import bound_text, one_line

Group = Literal["front", "dominated", "incomplete", "undecided", "infeasible", "pruned", "baseline"]
GROUPS: tuple[Group, ...] = (
    "pruned",
    "infeasible",
    "undecided",
    "incomplete",
    "dominated",
    "front",
    "baseline",
)  # drawn in turn

MAX_DRAWN = 2000  # points of a chart beside front and baseline: an SVG chart with more is slow to open
MAX_ON_PAGE = 10_000  # candidates that the page's script gets, beside those it may have to choose
VIEW_SHARE = 0.4  # how far beyond the front and the baseline the first view goes, as a share of their range


@dataclass(frozen=True)
class Point:
    """One candidate on a chart, in the units of the axes."""

    trial: FinishedTrial
    x: Span
    y: Span
    colour: float | None


@dataclass(frozen=True)
class BoundLine:
    """A constraint whose metric is on an axis: where to draw it, in the axis' unit."""

    axis: Literal["x", "y"]
    at: float
    text: str


@dataclass(frozen=True, kw_only=True)
class FrontChart:
    """Everything that is drawn of a front.

    Args:
        title: The study's name, on one line.
        counts: How many candidates of what kind, in words.
        x: The axis along x.
        y: The axis along y.
        colour: The axis of the colour scale of the front, or None.
        groups: The points by group; a baseline on the front is in both groups.
        line: Corners of the border of what the front dominates; only with two objectives.
        bounds: Constraints on the metrics of the axes.
        chosen: The number of the recommended trial, or None.
        n_without_value: Candidates that lack a value for an axis.
        n_thinned: Candidates left out because there are too many to draw.
        n_outside: Drawn points beyond the view.
    """

    title: str
    counts: str
    x: Axis
    y: Axis
    colour: Axis | None
    groups: Mapping[Group, tuple[Point, ...]]
    line: tuple[tuple[float, float], ...]
    bounds: tuple[BoundLine, ...]
    chosen: int | None
    n_without_value: int
    n_thinned: int
    n_outside: int


def group_of(results: Results, trial: FinishedTrial, on_front: Iterable[int]) -> Group:
    """Return where a complete or pruned trial belongs; the baseline counts as what else it is."""
    if trial.state == "pruned":
        return "pruned"
    if trial.number in on_front:
        return "front"
    feasible = results.is_feasible(trial)
    if feasible is None:
        return "undecided"
    if not feasible:
        return "infeasible"
    values = [trial.estimate(objective.metric.name).value for objective in results.problem.objectives]
    is_judged = all(value is not None and math.isfinite(value) for value in values)
    return "dominated" if is_judged else "incomplete"


def candidates(results: Results) -> tuple[FinishedTrial, ...]:
    """Return the complete and the pruned trials."""
    return tuple(trial for trial in results.trials if trial.state != "failed")


def page_candidates(results: Results) -> tuple[FinishedTrial, ...]:
    """Return the candidates that the page's script gets: all, or of too many what it needs and a sample.

    Needed are the front, the baseline, who is ruled out, and whoever is on the front for any other bounds
    on the problem's metrics: what no other candidate matches or beats in every objective and every
    constrained metric at once. So sliders choose as with all candidates. Of the others there are at most
    `MAX_ON_PAGE`, evenly spread over the trials.
    """
    everyone = candidates(results)
    if len(everyone) <= MAX_ON_PAGE:
        return everyone
    needed = {trial.number for trial in (*results.front, *contenders(results))}
    needed |= {t.number for t in everyone if t.is_baseline or results.ruled_out(t) is not None}
    others = [index for index, trial in enumerate(everyone) if trial.number not in needed]
    kept = {others[int(i)] for i in np.linspace(0, len(others) - 1, MAX_ON_PAGE).round()} if others else set()
    return tuple(trial for index, trial in enumerate(everyone) if trial.number in needed or index in kept)


def shown_candidates(results: Results) -> tuple[tuple[FinishedTrial, Group], ...]:
    """Return the candidates that charts and tables show, each with its group.

    All of the front and the baseline; at most `MAX_DRAWN` others, evenly spread over the trials.
    """
    on_front = {trial.number for trial in results.front}
    grouped = [(trial, group_of(results, trial, on_front)) for trial in candidates(results)]
    others = [
        index for index, (trial, group) in enumerate(grouped) if group != "front" and not trial.is_baseline
    ]
    if len(others) > MAX_DRAWN:
        kept = {others[int(i)] for i in np.linspace(0, len(others) - 1, MAX_DRAWN).round()}
        dropped = set(others) - kept
        grouped = [pair for index, pair in enumerate(grouped) if index not in dropped]
    return tuple(grouped)


def front_chart(results: Results, chosen: int | None) -> FrontChart:
    """Return what a front chart draws; its axes are the ones that `choose_metrics` picks.

    Args:
        results: The study.
        chosen: The number of the recommended trial, or None.
    """
    shown = shown_candidates(results)
    metrics = choose_metrics(results.problem)
    x, y, colour = _make_axes(results, [trial for trial, _ in shown], metrics)
    groups: dict[Group, tuple[Point, ...]] = dict.fromkeys(GROUPS, ())
    for group in GROUPS[:-1]:
        groups[group] = _points([trial for trial, which in shown if which == group], x, y, colour)
    groups = _with_baseline(groups, results, x, y, colour)
    drawn = list({p.trial.number: p for group in groups.values() for p in group}.values())
    is_framed = len({(p.x.value, p.y.value) for p in groups["front"]}) > 2
    key_points = [*groups["front"], *groups["baseline"]] if is_framed else drawn
    x = with_view(x, [p.x for p in key_points], [p.x for p in drawn])
    y = with_view(y, [p.y for p in key_points], [p.y for p in drawn])
    return FrontChart(
        title=one_line(results.study_name),
        counts=results.counts,
        x=x,
        y=y,
        colour=colour,
        groups=groups,
        line=_border(groups["front"], x) if len(results.problem.objectives) == 2 else (),
        bounds=_bound_lines(results, x, y),
        chosen=chosen,
        n_without_value=len(shown) - len(drawn),
        n_thinned=len(candidates(results)) - len(shown),
        n_outside=sum(not (_is_in_view(p.x, x) and _is_in_view(p.y, y)) for p in drawn),
    )


def _make_axes(
    results: Results, trials: Sequence[FinishedTrial], metrics: AxisMetrics
) -> tuple[Axis, Axis, Axis | None]:
    def axis(metric: Metric | None, among: Sequence[FinishedTrial]) -> Axis:
        estimates = [trial.estimate(metric.name).value for trial in among] if metric else []
        return make_axis(
            metric, [v for v in estimates if v is not None and math.isfinite(v)], results.problem
        )

    x, y = axis(metrics.x, trials), axis(metrics.y, trials)
    if metrics.colour is None or not results.front:
        return x, y, None
    colour = axis(metrics.colour, results.front)
    values = [e.value / colour.factor for t in results.front if (e := colour.estimate(t)).value is not None]
    return x, y, replace(colour, low=min(values), high=max(values))


def _points(trials: Iterable[FinishedTrial], x: Axis, y: Axis, colour: Axis | None) -> tuple[Point, ...]:
    points = []
    for trial in trials:
        at_x, at_y = _scaled(x.estimate(trial), x), _scaled(y.estimate(trial), y)
        if at_x is not None and at_y is not None:
            shade = None if colour is None else _scaled(colour.estimate(trial), colour)
            points.append(Point(trial, at_x, at_y, None if shade is None else shade.value))
    return tuple(points)


def _scaled(estimate: Estimate, axis: Axis) -> Span | None:
    """Return the estimate in the axis' unit; None where the axis has no place for its value."""
    value, low, high = (place(number, axis) for number in (estimate.value, estimate.low, estimate.high))
    return None if value is None else Span(value, low, high)


def _with_baseline(
    groups: Mapping[Group, tuple[Point, ...]], results: Results, x: Axis, y: Axis, colour: Axis | None
) -> dict[Group, tuple[Point, ...]]:
    baseline = results.baseline
    if baseline is None:
        return dict(groups)
    others: dict[Group, tuple[Point, ...]] = {
        group: points if group == "front" else tuple(p for p in points if p.trial is not baseline)
        for group, points in groups.items()
    }
    return {**others, "baseline": _points([baseline], x, y, colour)}


def _ends(spans: Iterable[Span]) -> list[float]:
    return [end for span in spans for end in (span.low, span.value, span.high) if end is not None]


def with_view(axis: Axis, key_points: Sequence[Span], all_points: Sequence[Span]) -> Axis:
    """Return the axis with a view of all key points, and of the others as far as these leave detail."""
    if not all_points:
        return axis
    if axis.metric is None:
        key_points = all_points
    key_ends, values = _ends(key_points), [span.value for span in all_points]
    limits = widen(min(key_ends), max(key_ends), is_log=axis.is_log, share=VIEW_SHARE)
    low = min(*key_ends, max(limits[0], min(values)))
    high = max(*key_ends, min(limits[1], max(values)))
    low, high = widen(low, high, is_log=axis.is_log, share=0.05)
    return replace(axis, low=low, high=high)


def _is_in_view(span: Span, axis: Axis) -> bool:
    return axis.low <= span.value <= axis.high


def _border(front: Sequence[Point], x: Axis) -> tuple[tuple[float, float], ...]:
    """Return the corners of the attainment line: between neighbours, the worse of both values."""
    places = {(point.x.value, point.y.value) for point in front}
    places_from_best_x = sorted(places, reverse=x.direction == "maximize")
    corners = places_from_best_x[:1]
    for (_, y_before), (x_here, y_here) in itertools.pairwise(places_from_best_x):
        corners += [(x_here, y_before), (x_here, y_here)]
    return tuple(corners)


def _bound_lines(results: Results, x: Axis, y: Axis) -> tuple[BoundLine, ...]:
    lines = []
    for constraint, bound in zip(results.problem.constraints, results.bounds, strict=False):
        for name, axis in (("x", x), ("y", y)):
            if axis.metric is not None and axis.metric.name == constraint.metric.name and bound is not None:
                which: Literal["x", "y"] = "x" if name == "x" else "y"
                lines.append(BoundLine(which, bound / axis.factor, bound_text(constraint, bound)))
    return tuple(lines)
