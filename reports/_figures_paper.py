"""What all figures for print share: size, colours, how a PNG is made without any global setting."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable

from matplotlib.axes import Axes
from matplotlib.axis import Axis as TickAxis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from moo.metrics import format_value
from reports._axes import Axis

DPI = 300
WIDTH_IN = 8.0
INK, FRAME, FAINT, EDGE = "#24292F", "#57606A", "#E3E6EA", "#8C959F"


def png(draw: Callable[[Figure], None], height_in: float) -> bytes:
    """Return what `draw` draws as a PNG, 2400 pixels wide.

    Names are drawn as they are: nothing in them is read as mathematics. A character that the font
    lacks is drawn as a box.
    """
    layout = ConstrainedLayoutEngine(w_pad=0.14, h_pad=0.1)
    figure = Figure(figsize=(WIDTH_IN, height_in), dpi=DPI, layout=layout, facecolor="white")
    FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")
        warnings.filterwarnings("ignore", message="Matplotlib currently does not support")
        draw(figure)
        figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": "moo"})
    return buffer.getvalue()


def set_heading(axes: Axes, title: str, note: str) -> None:
    """Write the title above the axes, and a smaller note between both."""
    axes.set_title(
        shortened(title, 70), loc="left", fontsize=12, weight="bold", color=INK, pad=22, parse_math=False
    )
    axes.annotate(
        shortened(note, 110),
        (0, 1),
        xycoords="axes fraction",
        xytext=(0, 7),
        textcoords="offset points",
        fontsize=8.5,
        color=FRAME,
        va="bottom",
        parse_math=False,
    )


def set_frame(axes: Axes) -> None:
    """Give the axes a faint grid and no more frame than a reader needs."""
    axes.grid(color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(EDGE)
    axes.tick_params(colors=INK, labelsize=8.5, length=3)


def set_legend(figure: Figure) -> None:
    """Put the legend of all that has a label below the axes, names as they are."""
    if not any(axes.get_legend_handles_labels()[0] for axes in figure.axes):
        return
    legend = figure.legend(
        loc="outside lower center",
        ncols=4,
        frameon=False,
        fontsize=8.5,
        labelcolor=INK,
        columnspacing=1.4,
        handlelength=2.8,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)


def set_ticks(tick_axis: TickAxis, axis: Axis) -> None:
    """Set the ticks that suit the axis' scale and unit."""
    if axis.is_log:
        decades = axis.high / axis.low
        tick_axis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 300 else (1,)))
        tick_axis.set_minor_formatter(NullFormatter())
    else:
        tick_axis.set_major_locator(MaxNLocator(7, integer=axis.metric is None, steps=[1, 2, 2.5, 5, 10]))
    tick_axis.set_major_formatter(FuncFormatter(lambda number, _: tick_text(number, axis)))


def tick_text(number: float, axis: Axis) -> str:
    """Return a number on an axis as a person reads it."""
    if axis.is_count and axis.metric is not None:
        return format_value(float(f"{number:.6g}"), axis.metric)
    return f"{number:,.6g}"


def shortened(text: str, n: int) -> str:
    """Return the text with at most n characters.

    >>> shortened("abcd", 4), shortened("abcde", 4)
    ('abcd', 'abc\u2026')
    """
    return text if len(text) <= n else text[: n - 1] + "\N{HORIZONTAL ELLIPSIS}"
