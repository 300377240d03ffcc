"""The front for print, drawn with matplotlib's objects alone: no pyplot, no global settings."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.figure import Figure

from reports._axes import Axis
from reports._data import FrontChart, Point
from reports._figures_paper import FRAME, INK, png, set_frame, set_heading, set_legend, set_ticks, shortened
from reports._labels import place_label
from reports._style import BLUE, CHOSEN, LOOKS
from reports._text import one_line

HEIGHT_IN = 5.2
MANY = 200  # points of a group from which intervals and solid markers hide each other


def front_png(chart: FrontChart) -> bytes:
    """Return the front as a PNG of 2400 x 1560 pixels."""
    return png(lambda figure: _draw(figure, chart), HEIGHT_IN)


def _draw(figure: Figure, chart: FrontChart) -> None:
    axes = figure.add_subplot()
    _draw_frame(axes, chart)
    _draw_bounds(axes, chart)
    _draw_groups(axes, chart)
    scale = _draw_front(axes, chart)
    _draw_baseline(axes, chart)
    if scale is not None and chart.colour is not None:
        bar = figure.colorbar(scale, ax=axes, pad=0.015, aspect=30)
        bar.outline.set_visible(False)
        bar.set_label(shortened(chart.colour.label, 48), color=INK, parse_math=False)
        bar.ax.tick_params(labelsize=9, colors=INK)
        set_ticks(bar.ax.yaxis, chart.colour)
    set_legend(figure)
    _draw_chosen(axes, chart)


def _draw_frame(axes: Axes, chart: FrontChart) -> None:
    set_heading(axes, chart.title, chart.counts)
    for tick_axis, axis in ((axes.xaxis, chart.x), (axes.yaxis, chart.y)):
        if axis.is_log:
            (axes.set_xscale if tick_axis is axes.xaxis else axes.set_yscale)("log")
        set_ticks(tick_axis, axis)
        tick_axis.set_label_text(shortened(axis.label, 48), color=INK, fontsize=9.5, parse_math=False)
    axes.set_xlim(chart.x.low, chart.x.high)
    axes.set_ylim(chart.y.low, chart.y.high)
    set_frame(axes)


def _draw_bounds(axes: Axes, chart: FrontChart) -> None:
    for bound in chart.bounds:
        is_upright = bound.axis == "x"
        (axes.axvline if is_upright else axes.axhline)(
            bound.at, color=FRAME, linewidth=1, linestyle=(0, (4, 3))
        )
        axes.annotate(
            shortened(bound.text, 60),
            (bound.at, 0.02) if is_upright else (0.995, bound.at),
            xycoords=axes.get_xaxis_transform() if is_upright else axes.get_yaxis_transform(),
            xytext=(-3, 0) if is_upright else (0, 3),
            textcoords="offset points",
            rotation=90 if is_upright else 0,
            ha="right",
            va="bottom",
            fontsize=8,
            color=FRAME,
            annotation_clip=True,
            parse_math=False,
        )


def _draw_groups(axes: Axes, chart: FrontChart) -> None:
    for group in ("pruned", "infeasible", "undecided", "incomplete", "dominated"):
        points, look = chart.groups[group], LOOKS[group]
        if not points:
            continue
        is_crowded = len(points) > MANY
        if group == "dominated" and not is_crowded:
            _draw_intervals(axes, points, "#DDE0E4")
        axes.scatter(
            [point.x.value for point in points],
            [point.y.value for point in points],
            s=10 if is_crowded else 22,
            marker=look.marker,
            color=look.colour,
            linewidths=0 if group == "dominated" else 1,
            alpha=0.35 if is_crowded else 0.8,
            zorder=2,
            label=f"{look.name} ({len(points):,})",
        )


def _draw_front(axes: Axes, chart: FrontChart) -> PathCollection | None:
    points = chart.groups["front"]
    if not points:
        return None
    if chart.line:
        axes.plot(*zip(*chart.line, strict=True), color=BLUE, linewidth=1.3, alpha=0.6, zorder=3)
    _draw_intervals(axes, points, "#7A838D")
    shades = [point.colour for point in points]
    style = (
        {"color": BLUE}
        if chart.colour is None
        else {"c": shades, "cmap": "viridis", "norm": _norm(chart.colour)}
    )
    drawn = axes.scatter(
        [point.x.value for point in points],
        [point.y.value for point in points],
        s=62,
        marker=LOOKS["front"].marker,
        edgecolors="white" if chart.colour is None else INK,
        linewidths=0.8,
        zorder=5,
        label=f"front ({len(points):,})",
        **style,
    )
    return None if chart.colour is None else drawn


def _norm(axis: Axis) -> str:
    return "log" if axis.is_log else "linear"


def _draw_intervals(axes: Axes, points: Sequence[Point], colour: str) -> None:
    ends = [
        [(p.x.low, p.y.value), (p.x.high, p.y.value)]
        for p in points
        if p.x.low is not None and p.x.high is not None
    ]
    ends += [
        [(p.x.value, p.y.low), (p.x.value, p.y.high)]
        for p in points
        if p.y.low is not None and p.y.high is not None
    ]
    axes.add_collection(LineCollection(ends, colors=colour, linewidths=1, zorder=2.5), autolim=False)


def _draw_baseline(axes: Axes, chart: FrontChart) -> None:
    for point in chart.groups["baseline"]:
        _draw_intervals(axes, [point], LOOKS["baseline"].colour)
        axes.scatter(
            [point.x.value],
            [point.y.value],
            s=190,
            marker=LOOKS["baseline"].marker,
            color=LOOKS["baseline"].colour,
            edgecolors="white",
            linewidths=0.8,
            zorder=6,
            label=f"baseline ({shortened(one_line(point.trial.name), 34)})",
        )


def _draw_chosen(axes: Axes, chart: FrontChart) -> None:
    drawn = (point for points in chart.groups.values() for point in points)
    point = next((p for p in drawn if p.trial.number == chart.chosen), None)
    if point is None:
        return
    at = (point.x.value, point.y.value)
    axes.scatter(*at, s=190, marker="o", facecolors="none", edgecolors=CHOSEN, linewidths=1.8, zorder=7)
    label = axes.annotate(
        f"recommended\n{shortened(one_line(point.trial.name), 34)}",
        at,
        xytext=(0, 0),
        textcoords="offset pixels",
        ha="center",
        va="center",
        fontsize=9,
        weight="bold",
        color=INK,
        zorder=8,
        bbox={"boxstyle": "round,pad=0.25", "facecolor": "white", "edgecolor": "none", "alpha": 0.85},
        arrowprops={"arrowstyle": "-", "color": CHOSEN, "linewidth": 1.2, "shrinkB": 8},
        parse_math=False,
    )
    place_label(axes, label, chart, at)
