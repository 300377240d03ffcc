"""Where on a figure a label covers least."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from reports._data import FrontChart

LABEL_PX = (175, 62)  # the label of the recommended candidate, a little generously


def emptiest_shift(axes: Axes, chart: FrontChart, at: tuple[float, float]) -> tuple[float, float]:
    """Return the shift in pixels, from a point to the middle of its label, that covers least."""
    figure = axes.get_figure(root=True)
    if figure is not None:
        figure.draw_without_rendering()  # until then nobody knows where the axes will be
    values, strokes = _marks_px(axes, chart)
    start, frame = axes.transData.transform(at), axes.get_window_extent()
    half = np.array(LABEL_PX) / 2

    def cost(shift: tuple[float, float]) -> float:
        middle = start + shift
        is_outside = bool(np.any(middle - half < frame.min) or np.any(middle + half > frame.max))
        hidden = [np.all(np.abs(marks - middle) < half, axis=1).sum() for marks in (values, strokes)]
        crossed = _n_near_segment(values, start, middle)
        return (
            1000 * is_outside
            + 3 * float(hidden[0])
            + float(hidden[1])
            + 2 * crossed
            + math.hypot(*shift) / 60
        )

    return min(
        itertools.product((-35, 35, -80, 80, -140, 140, -220, 220), (75, -75, 130, -130, 200, -200)), key=cost
    )


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
    marks: NDArray[np.float64], start: NDArray[np.float64], end: NDArray[np.float64], *, near_px: float = 12
) -> int:
    """Return how many marks a line from start to end passes, those at its start not counted."""
    along = end - start
    share = np.clip((marks - start) @ along / (along @ along), 0, 1)
    is_near = np.hypot(*(marks - start - share[:, None] * along).T) < near_px
    is_at_start = np.hypot(*(marks - start).T) < near_px
    return int((is_near & ~is_at_start).sum())
