"""How it was found, for print: the growth of the hypervolume, and what decides each metric."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from moo.importances import MetricImportances
from reports._figures_paper import FRAME, INK, png, set_frame, set_heading, shortened
from reports._found_charts import shown_params
from reports._history import History
from reports._style import BLUE
from reports._text import one_line

GREY = "#8A8F98"
N_COLUMNS = 3


def hypervolume_png(history: History, title: str) -> bytes:
    """Return the growth of the hypervolume as a PNG of 2400 x 1260 pixels.

    Args:
        history: What to draw; it has steps.
        title: The study's name.
    """
    return png(lambda figure: _draw_history(figure, history, title), 4.2)


def importances_png(known: Sequence[MetricImportances], title: str) -> bytes:
    """Return the importances as a PNG of 2400 pixels by what the parameters need.

    Args:
        known: What to draw; one of them has importances.
        title: The study's name.
    """
    drawn = [each for each in known if each.by_param]
    params = shown_params(drawn)
    n_rows = math.ceil(len(drawn) / N_COLUMNS)
    height_in = 1.3 + n_rows * (0.75 + 0.24 * max(3, len(params)))
    return png(lambda figure: _draw_importances(figure, drawn, params, title), height_in)


def _draw_history(figure: Figure, history: History, title: str) -> None:
    axes = figure.add_subplot()
    set_heading(axes, one_line(title), f"Reference point: {', '.join(history.reference)}")
    numbers, shares = [number for number, _ in history.steps], [100 * share for _, share in history.steps]
    axes.plot(numbers, shares, drawstyle="steps-post", color=BLUE, linewidth=1.8)
    axes.fill_between(numbers, shares, step="post", color=BLUE, alpha=0.08, linewidth=0)
    grown = numbers[:-1] if len(numbers) > 1 and shares[-1] == shares[-2] else numbers
    if len(grown) < 100:
        axes.plot(grown, shares[: len(grown)], "o", color=BLUE, markersize=4.5, markeredgecolor="white")
    axes.set_ylim(0, 104)
    last = max(1, numbers[-1])
    axes.set_xlim(-0.01 * last, 1.01 * last)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda number, _: f"{number:,.0f}"))
    axes.set_xlabel("trial", color=INK, fontsize=9.5)
    axes.set_ylabel("hypervolume (% of final)", color=INK, fontsize=9.5)
    set_frame(axes)


def _draw_importances(
    figure: Figure, drawn: Sequence[MetricImportances], params: Sequence[str], title: str
) -> None:
    n_columns = min(N_COLUMNS, len(drawn))
    n_rows = math.ceil(len(drawn) / n_columns)
    panels = figure.subplots(n_rows, n_columns, squeeze=False, sharey=True).ravel()
    for axes, each in zip(panels, drawn, strict=False):
        _draw_panel(axes, each, params)
    for axes in panels[len(drawn) :]:
        axes.set_visible(False)
    for axes in panels[max(0, len(drawn) - n_columns) : len(drawn)]:
        axes.set_xlabel("share of importance (%)", color=INK, fontsize=8.5)
    figure.suptitle(
        shortened(one_line(title), 70),
        x=0.02,
        ha="left",
        fontsize=12,
        weight="bold",
        color=INK,
        parse_math=False,
    )
    handles = [
        Line2D([], [], color=BLUE, marker="o", linestyle="none", label="more than chance"),
        Line2D(
            [], [], color=GREY, marker="o", linestyle="none", markerfacecolor="white", label="may be chance"
        ),
        Line2D([], [], color=FRAME, linewidth=1.6, label="95% interval"),
    ]
    figure.legend(
        handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=8.5, labelcolor=INK
    )


def _draw_panel(axes: Axes, each: MetricImportances, params: Sequence[str]) -> None:
    for row, name in enumerate(params):
        found = each.by_param.get(name)
        if found is None:
            continue
        colour = BLUE if found.is_told_apart else GREY
        axes.plot([100 * found.low, 100 * found.high], [row, row], color=colour, linewidth=1.6, zorder=2)
        face = colour if found.is_told_apart else "white"
        axes.plot(100 * found.share, row, "o", color=colour, markerfacecolor=face, markersize=6, zorder=3)
    axes.set_title(
        shortened(one_line(each.metric.title), 30), loc="left", fontsize=9.5, color=INK, parse_math=False
    )
    axes.set_xlim(-2, 102)
    axes.set_ylim(len(params) - 0.5, -0.5)
    axes.set_yticks(range(len(params)), [shortened(one_line(name), 24) for name in params])
    for label in axes.get_yticklabels():
        label.set_parse_math(False)
    set_frame(axes)
    axes.tick_params(axis="y", length=0)
