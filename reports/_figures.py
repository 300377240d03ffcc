"""Figures for print, drawn with matplotlib's objects alone: no pyplot, no global settings."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.axis import Axis as TickAxis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from moo.metrics import format_value
from reports._axes import Axis
from reports._data import FrontChart, Point
from reports._labels import emptiest_shift
from reports._style import BLUE, CHOSEN, LOOKS

DPI = 160
SIZE_IN = (8.75, 5.625)  # 1400 x 900 px
INK, FRAME, FAINT = "#24292F", "#57606A", "#D9DCE0"
MANY = 200  # points of a group from which intervals and solid markers hide each other


def front_png(chart: FrontChart) -> bytes:
    """Return the front as a PNG of 1400 x 900 pixels.

    Names are drawn as they are: nothing in them is read as mathematics. A character that the font
    lacks is drawn as a box.
    """
    layout = ConstrainedLayoutEngine(w_pad=0.14, h_pad=0.1)
    figure = Figure(figsize=SIZE_IN, dpi=DPI, layout=layout, facecolor="white")
    FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")
        warnings.filterwarnings("ignore", message="Matplotlib currently does not support")
        _draw(figure, chart)
        figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": "moo"})
    return buffer.getvalue()


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
        bar.set_label(_shortened(chart.colour.label, 48), color=INK, parse_math=False)
        bar.ax.tick_params(labelsize=9, colors=INK)
        _set_ticks(bar.ax.yaxis, chart.colour)
    if axes.get_legend_handles_labels()[0]:
        figure.legend(loc="outside lower center", ncols=5, frameon=False, fontsize=9, labelcolor=INK)
    _draw_chosen(axes, chart)


def _draw_frame(axes: Axes, chart: FrontChart) -> None:
    axes.set_title(
        _shortened(chart.title, 70),
        loc="left",
        fontsize=13,
        weight="bold",
        color=INK,
        pad=24,
        parse_math=False,
    )
    axes.text(0, 1.02, chart.counts, transform=axes.transAxes, fontsize=9, color=FRAME, va="bottom")
    for tick_axis, axis in ((axes.xaxis, chart.x), (axes.yaxis, chart.y)):
        if axis.is_log:
            (axes.set_xscale if tick_axis is axes.xaxis else axes.set_yscale)("log")
        _set_ticks(tick_axis, axis)
        tick_axis.set_label_text(_shortened(axis.label, 48), color=INK, parse_math=False)
    axes.set_xlim(chart.x.low, chart.x.high)
    axes.set_ylim(chart.y.low, chart.y.high)
    axes.grid(color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#8C959F")
    axes.tick_params(colors=INK, labelsize=9, length=3)


def _set_ticks(tick_axis: TickAxis, axis: Axis) -> None:
    if axis.is_log:
        decades = axis.high / axis.low
        tick_axis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 300 else (1,)))
        tick_axis.set_minor_formatter(NullFormatter())
    else:
        tick_axis.set_major_locator(MaxNLocator(7, integer=axis.metric is None, steps=[1, 2, 2.5, 5, 10]))
    tick_axis.set_major_formatter(FuncFormatter(lambda number, _: _tick(number, axis)))


def _tick(number: float, axis: Axis) -> str:
    if axis.is_count and axis.metric is not None:
        return format_value(float(f"{number:.6g}"), axis.metric)
    return f"{number:,.6g}"


def _draw_bounds(axes: Axes, chart: FrontChart) -> None:
    for bound in chart.bounds:
        is_upright = bound.axis == "x"
        (axes.axvline if is_upright else axes.axhline)(
            bound.at, color=FRAME, linewidth=1, linestyle=(0, (4, 3))
        )
        axes.annotate(
            _shortened(bound.text, 60),
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
    for group in ("pruned", "infeasible", "undecided", "dominated"):
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
    for point in points:
        x, y = point.x.value, point.y.value
        if point.x.low is not None and point.x.high is not None:
            axes.plot([point.x.low, point.x.high], [y, y], color=colour, linewidth=1, zorder=2.5)
        if point.y.low is not None and point.y.high is not None:
            axes.plot([x, x], [point.y.low, point.y.high], color=colour, linewidth=1, zorder=2.5)


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
            label=f"baseline (trial {point.trial.number})",
        )


def _draw_chosen(axes: Axes, chart: FrontChart) -> None:
    point = next((p for p in chart.groups["front"] if p.trial.number == chart.chosen), None)
    if point is None:
        return
    at = (point.x.value, point.y.value)
    axes.scatter(*at, s=210, marker="o", facecolors="none", edgecolors=CHOSEN, linewidths=1.8, zorder=7)
    shift = emptiest_shift(axes, chart, at)
    axes.annotate(
        f"recommended\ntrial {point.trial.number}",
        at,
        xytext=shift,
        textcoords="offset pixels",
        ha="center",
        va="center",
        fontsize=9.5,
        weight="bold",
        color=INK,
        zorder=8,
        bbox={"boxstyle": "round,pad=0.25", "facecolor": "white", "edgecolor": "none", "alpha": 0.85},
        arrowprops={"arrowstyle": "-", "color": CHOSEN, "linewidth": 1.2, "shrinkB": 8},
    )


def _shortened(text: str, n: int) -> str:
    return text if len(text) <= n else text[: n - 1] + "\N{HORIZONTAL ELLIPSIS}"
