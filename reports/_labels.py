"""Where on a figure a label covers least."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.text import Annotation, Text
from numpy.typing import NDArray

from reports._data import FrontChart

SHIFTS_PT = ((16, 36, 63, 100), (34, 58, 90))  # tried along x and along y, to both sides


def place_label(axes: Axes, label: Annotation, chart: FrontChart, at: tuple[float, float]) -> None:
    """Move a label, centred on the point it names, to where it covers least.

    Args:
        axes: What the chart is drawn on.
        label: Its text position is in pixels from the point.
        chart: What is drawn.
        at: The point, in the units of the axes.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()  # until then nobody knows where the axes will be
    extent = Text.get_window_extent(label)  # of the text alone, without the line to the point
    half = np.array([extent.width, extent.height]) * 0.55 + 4
    values, strokes = _marks_px(axes, chart)
    start, frame = axes.transData.transform(at), axes.get_window_extent()
    point_px = figure.dpi / 72

    def cost(shift: tuple[float, float]) -> float:
        middle = start + np.array(shift) * point_px
        is_outside = bool(np.any(middle - half < frame.min) or np.any(middle + half > frame.max))
        hidden = [np.all(np.abs(marks - middle) < half, axis=1).sum() for marks in (values, strokes)]
        crossed = _n_near_segment(values, start, middle, near_px=5 * point_px)
        far = math.hypot(*shift) / 27
        return 1000 * is_outside + 3 * float(hidden[0]) + float(hidden[1]) + 2 * crossed + far

    along_x, along_y = ([sign * pt for pt in sizes for sign in (-1, 1)] for sizes in SHIFTS_PT)
    wide = float(half[0]) / point_px  # beside the point, the label must clear it
    shifts = [
        *itertools.product(along_x, along_y),
        *itertools.product((-wide - 14, wide + 14), (0, *along_y)),
    ]
    shift = min(shifts, key=cost)
    label.set_position((shift[0] * point_px, shift[1] * point_px))


def _marks_px(axes: Axes, chart: FrontChart) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return where the points are drawn, and places along intervals and the line, each of shape (n, 2)."""
    points = [point for group in chart.groups.values() for point in group]
    strokes = [
        ((p.x.value, p.y.low), (p.x.value, p.y.high))
        for p in points
        if p.y.low is not None and p.y.high is not None
    ]
    strokes += list(itertools.pairwise(chart.line))
    along = [_to_px(axes, stroke) for stroke in strokes]
    steps = np.linspace(0, 1, 13)[:, None]
    inked = [start + steps * (end - start) for start, end in along]
    return _to_px(axes, [(p.x.value, p.y.value) for p in points]), np.concatenate([np.empty((0, 2)), *inked])


def _to_px(axes: Axes, places: Sequence[tuple[float, float]]) -> NDArray[np.float64]:
    return np.asarray(axes.transData.transform(np.array(places, dtype=np.float64).reshape(-1, 2)))


def _n_near_segment(
    marks: NDArray[np.float64], start: NDArray[np.float64], end: NDArray[np.float64], *, near_px: float
) -> int:
    """Return how many marks a line from start to end passes, those at its start not counted."""
    along = end - start
    share = np.clip((marks - start) @ along / (along @ along), 0, 1)
    is_near = np.hypot(*(marks - start - share[:, None] * along).T) < near_px
    is_at_start = np.hypot(*(marks - start).T) < near_px
    return int((is_near & ~is_at_start).sum())
