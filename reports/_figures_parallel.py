"""The parallel coordinates for print: the front and the recommended candidate, up is better."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import LogLocator, MaxNLocator

from reports._axes import Axis
from reports._figures_paper import EDGE, FRAME, INK, png, set_heading, set_legend, shortened, tick_text
from reports._parallel import ParallelAxis, ParallelChart, ParallelLine
from reports._style import BLUE, CHOSEN, ORANGE
from reports._text import one_line

HEIGHT_IN = 4.6
MARGIN = 0.06  # of the height, above and below the axes


def parallel_png(chart: ParallelChart, title: str) -> bytes:
    """Return the parallel coordinates as a PNG of 2400 x 1380 pixels.

    Args:
        chart: What to draw.
        title: The study's name.
    """
    return png(lambda figure: _draw(figure, chart, title), HEIGHT_IN)


def _draw(figure: Figure, chart: ParallelChart, title: str) -> None:
    axes = figure.add_subplot()
    set_heading(axes, one_line(title), _counts(chart))
    n = len(chart.axes)
    axes.set_xlim(-0.085 * n, n - 1 + 0.1 * n)
    axes.set_ylim(-MARGIN, 1 + MARGIN)
    axes.spines[:].set_visible(False)
    axes.set_yticks([])
    _draw_lines(axes, chart)
    for place, axis in enumerate(chart.axes):
        _draw_axis(axes, place, axis, share=n / 100)
    axes.set_xticks(range(len(chart.axes)), [""] * len(chart.axes))
    axes.tick_params(length=0)
    width = max(12, 76 // len(chart.axes))
    for place, axis in enumerate(chart.axes):
        axes.annotate(
            _heading(axis, width),
            (place, 0),
            xycoords=axes.get_xaxis_transform(),
            xytext=(0, -4),
            textcoords="offset points",
            ha="center",
            va="top",
            fontsize=8.5,
            color=INK,
            parse_math=False,
        )
    set_legend(figure)


def _counts(chart: ParallelChart) -> str:
    front = f"{chart.n_front:,} on the front"
    if len(chart.front) < chart.n_front:
        front += f" ({len(chart.front):,} drawn)"
    others = f"{chart.n_others:,} other complete candidates"
    if len(chart.others) < chart.n_others - (chart.baseline is not None):
        others += f" ({len(chart.others):,} drawn)"
    more = f"; {chart.n_axes_left_out} further metrics left out" if chart.n_axes_left_out else ""
    return f"Up is better on each axis; {front}, {others}{more}"


def _heading(axis: ParallelAxis, n: int) -> str:
    unit = f" ({axis.axis.unit})" if axis.axis.unit else ""
    better = "lower is better" if axis.is_reversed else "higher is better"
    return f"{shortened(axis.axis.title, n)}{unit}\n{better}"


def _draw_lines(axes: Axes, chart: ParallelChart) -> None:
    is_crowded = len(chart.front) > 60
    if chart.others:
        _draw_many(axes, chart.others, "other candidates", colour="#B4BAC1", width=0.7, alpha=0.45, zorder=2)
    front = [line for line in chart.front if chart.chosen is None or line.trial is not chosen_trial(chart)]
    if front:
        name = f"front ({chart.n_front:,})"
        alpha, width = (0.35, 0.8) if is_crowded else (0.75, 1.1)
        _draw_many(axes, front, name, colour=BLUE, width=width, alpha=alpha, zorder=3)
    if chart.baseline is not None and chart.baseline.trial is not chosen_trial(chart):
        name = f"baseline ({_name(chart.baseline)})"
        _draw_one(axes, chart.baseline, name, colour=ORANGE, marker="*", dashes=(0, (5, 2)))
    if chart.chosen is not None:
        _draw_one(axes, chart.chosen, f"recommended ({_name(chart.chosen)})", colour=CHOSEN, marker="o")


def chosen_trial(chart: ParallelChart) -> object:
    """Return the recommended trial, or None."""
    return None if chart.chosen is None else chart.chosen.trial


def _name(line: ParallelLine) -> str:
    return shortened(one_line(line.trial.name), 28)


def _draw_many(
    axes: Axes,
    lines: Sequence[ParallelLine],
    name: str,
    *,
    colour: str,
    width: float,
    alpha: float,
    zorder: float,
) -> None:
    paths = [list(enumerate(line.heights)) for line in lines]
    drawn = LineCollection(paths, colors=colour, linewidths=width, alpha=alpha, zorder=zorder)
    axes.add_collection(drawn, autolim=False)
    view = Rectangle((0, 0), max(1, len(lines[0].heights) - 1), 1, transform=axes.transData)
    drawn.set_clip_path(view)  # what lies beyond an axis' end is not drawn into its heading
    axes.plot([], [], color=colour, linewidth=1.4, label=name)  # the legend's line, not as faint


def _draw_one(
    axes: Axes,
    line: ParallelLine,
    name: str,
    *,
    colour: str,
    marker: str,
    dashes: str | tuple[float, tuple[float, float]] = "-",
) -> None:
    axes.plot(
        range(len(line.heights)),
        line.heights,
        color=colour,
        linewidth=2.2,
        linestyle=dashes,
        marker=marker,
        markersize=11 if marker == "*" else 6.5,
        markeredgecolor="white",
        markeredgewidth=0.8,
        zorder=6,
        label=name,
    )


def _draw_axis(axes: Axes, place: int, axis: ParallelAxis, *, share: float) -> None:
    """Draw one axis; `share` is a hundredth of the figure's width, about, in units of x."""
    axes.plot([place, place], [0, 1], color=EDGE, linewidth=1, zorder=4)
    for number in _ticks(axis.axis):
        height = axis.height(number)
        axes.plot([place - 0.4 * share, place], [height, height], color=EDGE, linewidth=0.8, zorder=4)
        axes.annotate(
            tick_text(number, axis.axis),
            (place, height),
            xytext=(-5, 0),
            textcoords="offset points",
            ha="right",
            va="center",
            fontsize=7.5,
            color=INK,
            zorder=7,
            bbox={"boxstyle": "round,pad=0.12", "facecolor": "white", "edgecolor": "none", "alpha": 0.75},
        )
    for height in axis.bounds:
        end = place + 2 * share
        axes.plot([place, end], [height, height], color=FRAME, linewidth=2, zorder=5)
        axes.annotate(
            "bound",
            (end, height),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            fontsize=7,
            color=FRAME,
            zorder=7,
            bbox={"boxstyle": "round,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.75},
        )


def _ticks(axis: Axis) -> list[float]:
    """Return about five numbers within the axis' view."""
    if axis.is_log:
        subs = (1.0, 2.0, 5.0) if axis.high / axis.low < 300 else (1.0,)
        ticks = LogLocator(subs=subs).tick_values(axis.low, axis.high)
    else:
        ticks = MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]).tick_values(axis.low, axis.high)
    slack = 1e-9 * abs(axis.high - axis.low)
    return [float(tick) for tick in ticks if axis.low - slack <= tick <= axis.high + slack]
