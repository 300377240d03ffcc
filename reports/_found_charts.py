"""The charts of how it was found, as plain plotly figures: small panels side by side.

As in `reports._charts`, texts from outside are escaped here, and colours that depend on the page's theme
are left to the script: a trace's `meta` names its group. Every key of a layout that begins with `xaxis` or
`yaxis` is an axis to be themed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from moo.importances import Importance, MetricImportances
from reports._axes import Axis
from reports._charts import escaped
from reports._curves import Curve, LearningCurves, QuantityCurves
from reports._data import Group
from reports._history import BestSoFar
from reports._slices import ObjectiveSlices, Slice, SlicePoint
from reports._style import BLUE, LOOKS

MAX_PARAMS = 15  # of the chart of importances
FEW = 4  # values of a number that are each written at its axis
MAX_NAME = 28  # characters of a name that stands at a panel
GAP_PX, ROW_PX, HEAD_PX = 62, 190, 40  # between rows, of a row, above the first

_DRAWN: tuple[Group, ...] = ("pruned", "infeasible", "undecided", "incomplete", "dominated", "front")
_GREY = "#8A8F98"
_LINES = {
    "stopped": ("stopped early", _GREY, "dot", 1.0, 0.7),
    "complete": ("complete", _GREY, "solid", 1.0, 0.55),
    "front": ("front", BLUE, "solid", 1.8, 1.0),
}


def best_figure(bests: Sequence[BestSoFar]) -> dict[str, Any]:
    """Return one panel an objective: the best value so far as a step line, and all values."""
    data, layout = [], _panels(len(bests), 2)
    for index, best in enumerate(bests):
        _title(layout, "x", index, "trial", rangemode="tozero")
        _title(layout, "y", index, best.axis.label, **_scale(best.axis))
        values = [trial.number for trial, _ in best.values], [value for _, value in best.values]
        data.append(
            _points(index, *values, [escaped(trial.name) for trial, _ in best.values], best.axis)
            | {"meta": "dominated", "name": "complete and feasible", "legendgroup": "values"}
            | {"marker": {"symbol": "circle", "size": 5, "color": LOOKS["dominated"].colour}}
            | {"showlegend": index == 0}
        )
        line = {
            "type": "scatter",
            "mode": "lines",
            "x": [number for number, _ in best.steps],
            "y": [value for _, value in best.steps],
            "line": {"shape": "hv", "color": BLUE, "width": 2},
            "hovertemplate": f"best after trial %{{x}}: %{{y:.4~g}}{_unit(best.axis)}<extra></extra>",
            "name": "best so far",
            "legendgroup": "best",
            "showlegend": index == 0,
        }
        data.append(line | _on(index))
    return {"data": data, "layout": layout}


def shown_params(known: Sequence[MetricImportances]) -> list[str]:
    """Return the parameters that a chart of importances shows, the one with the largest share first."""
    names = dict.fromkeys(name for each in known for name in each.by_param)
    largest = {name: max(_share(each, name) for each in known) for name in names}
    return sorted(names, key=lambda name: -largest[name])[:MAX_PARAMS]


def importances_figure(known: Sequence[MetricImportances]) -> dict[str, Any]:
    """Return one panel a metric, one row a parameter: its share and interval; hollow if not told apart."""
    drawn = [each for each in known if each.by_param]
    params = shown_params(drawn)
    row_px = max(110, 22 * len(params))
    data, layout = [], _panels(len(drawn), 3, row_px=row_px, is_shared=True)
    ticks = _written(range(len(params)), [_short(name) for name in params])
    ticks["range"] = [len(params) - 0.5, -0.5]
    has_legend = set()
    for index, each in enumerate(drawn):
        _title(layout, "x", index, f"{each.metric.title}: share (%)", range=[0, 102])
        _title(layout, "y", index, "", **ticks)
        for is_told_apart, name in ((True, "more than chance"), (False, "may be chance")):
            rows = [
                (row, each.by_param[param])
                for row, param in enumerate(params)
                if param in each.by_param and each.by_param[param].is_told_apart is is_told_apart
            ]
            if rows:
                trace = _shares(rows, is_told_apart=is_told_apart)
                trace |= {"name": name, "legendgroup": name, "showlegend": name not in has_legend}
                data.append(trace | _on(index))
                has_legend.add(name)
    return {"data": data, "layout": layout}


def slices_figure(each: ObjectiveSlices) -> dict[str, Any]:
    """Return one panel a parameter: its values against the objective's, by the trials' groups."""
    data, layout = [], _panels(len(each.slices), 4, is_shared=True)
    has_legend: set[Group] = set()
    for index, part in enumerate(each.slices):
        _title(layout, "x", index, part.param.name, **_param_scale(part))
        _title(layout, "y", index, each.axis.label if index % 4 == 0 else "", **_scale(each.axis))
        for group in _DRAWN:
            points = [point for point in part.points if point.group == group]
            if points:
                data.append(_slice_trace(index, part, group, points, each.axis, has_legend))
    return {"data": data, "layout": layout}


def curves_figure(curves: LearningCurves) -> dict[str, Any]:
    """Return one panel a reported quantity: a line a trial, by how it ended."""
    data, layout = [], _panels(len(curves.quantities), 2)
    has_legend: set[str] = set()
    for index, quantity in enumerate(curves.quantities):
        _title(layout, "x", index, "step", rangemode="tozero")
        _title(layout, "y", index, quantity.axis.label, **_scale(quantity.axis))
        for group in _LINES:
            drawn = [curve for curve in quantity.curves if curve.group == group]
            if drawn:
                data.append(_curve_trace(index, group, drawn, quantity, has_legend))
    return {"data": data, "layout": layout}


def _slice_trace(
    index: int, part: Slice, group: Group, points: Sequence[SlicePoint], axis: Axis, has_legend: set[Group]
) -> dict[str, Any]:
    look, texts = LOOKS[group], [escaped(point.trial.name) for point in points]
    if part.param.choices:
        texts = [
            f"{text}: {_short(part.param.choices[round(point.x)])}"
            for text, point in zip(texts, points, strict=True)
        ]
    trace = _points(index, [p.x for p in points], [p.y for p in points], texts, axis)
    if not part.param.choices:
        trace["hovertemplate"] = f"%{{text}}<br>%{{x:.4~g}}: %{{y:.4~g}}{_unit(axis)}<extra></extra>"
    marker = {"symbol": look.symbol, "size": 7 if group == "front" else 5, "color": look.colour}
    shown = group not in has_legend
    has_legend.add(group)
    return trace | {
        "meta": group,
        "name": look.name,
        "legendgroup": group,
        "showlegend": shown,
        "marker": {**marker, "line": {"width": 1}},
    }


def _curve_trace(
    index: int, group: str, drawn: Sequence[Curve], quantity: QuantityCurves, has_legend: set[str]
) -> dict[str, Any]:
    name, colour, dash, width, opacity = _LINES[group]
    x: list[int | None] = []
    y: list[float | None] = []
    text: list[str] = []
    for curve in drawn:
        x += [step for step, _ in curve.steps] + [None]
        y += [_rounded(value) for _, value in curve.steps] + [None]
        text += [escaped(curve.trial.name)] * len(curve.steps) + [""]
    shown = group not in has_legend
    has_legend.add(group)
    return {
        "type": "scatter",
        "mode": "lines+markers" if max(len(curve.steps) for curve in drawn) < 15 else "lines",
        "x": x,
        "y": y,
        "text": text,
        "line": {"color": colour, "width": width, "dash": dash},
        "marker": {"size": 4, "color": colour, "symbol": "x" if group == "stopped" else "circle"},
        "opacity": opacity,
        "hovertemplate": f"%{{text}}<br>step %{{x}}: %{{y:.4~g}}{_unit(quantity.axis)}<extra></extra>",
        "name": name,
        "legendgroup": group,
        "showlegend": shown,
        **_on(index),
    }


def _points(
    index: int, x: Sequence[float], y: Sequence[float], text: Sequence[str], axis: Axis
) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [_rounded(value) for value in x],
        "y": [_rounded(value) for value in y],
        "text": list(text),
        "hovertemplate": f"%{{text}}<br>%{{y:.4~g}}{_unit(axis)}<extra></extra>",
        **_on(index),
    }


def _shares(rows: Sequence[tuple[int, Importance]], *, is_told_apart: bool) -> dict[str, Any]:
    found = [importance for _, importance in rows]
    colour = BLUE if is_told_apart else _GREY
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [_rounded(100 * each.share) for each in found],
        "y": [row for row, _ in rows],
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [_rounded(100 * (each.high - each.share)) for each in found],
            "arrayminus": [_rounded(100 * (each.share - each.low)) for each in found],
            "width": 0,
            "thickness": 1.5,
        },
        "marker": {"symbol": "circle" if is_told_apart else "circle-open", "size": 9, "color": colour},
        "hovertemplate": "%{x:.0f}%<extra></extra>",
    }


def _panels(
    n: int, n_columns: int, *, row_px: float = ROW_PX, is_shared: bool = False
) -> dict[str, dict[str, Any] | float]:
    """Return a layout of n panels in rows of at most `n_columns`, each with axes of its own.

    Args:
        n: How many panels.
        n_columns: The most of one row.
        row_px: Height of a row.
        is_shared: Whether all panels have the scale of the first along y, written at the first column only.
    """
    n_columns = min(n, n_columns)
    n_rows = math.ceil(n / n_columns)
    height = HEAD_PX + n_rows * (row_px + GAP_PX)
    between = 0.03 if is_shared else 0.1
    width = (1 - between * (n_columns - 1)) / n_columns
    layout: dict[str, Any] = {"height": height}
    for index in range(n):
        row, column = divmod(index, n_columns)
        left, top = column * (width + between), 1 - row * (row_px + GAP_PX) / (height - HEAD_PX)
        bottom = top - row_px / (height - HEAD_PX)
        layout[_key("x", index)] = {"domain": _unit_range(left, left + width), "anchor": _ref("y", index)}
        layout[_key("y", index)] = {"domain": _unit_range(bottom, top), "anchor": _ref("x", index)}
        if is_shared and index:
            layout[_key("y", index)] |= {"matches": "y", "showticklabels": column == 0}
    return layout


def _unit_range(low: float, high: float) -> list[float]:
    return [max(0.0, round(low, 5)), min(1.0, round(high, 5))]


def _key(letter: str, index: int) -> str:
    return f"{letter}axis{index + 1 if index else ''}"


def _ref(letter: str, index: int) -> str:
    return f"{letter}{index + 1 if index else ''}"


def _on(index: int) -> dict[str, str]:
    return {"xaxis": _ref("x", index), "yaxis": _ref("y", index)}


def _title(layout: dict[str, Any], letter: str, index: int, text: str, **options: Any) -> None:
    size = {"font": {"size": 12}}
    layout[_key(letter, index)] |= {"title": {"text": _short(text, 44), **size}, "nticks": 6, **options}


def _scale(axis: Axis) -> dict[str, Any]:
    shape: dict[str, Any] = {"type": "log", "dtick": "D2", "nticks": 0} if axis.is_log else {}
    if axis.is_count:
        shape["tickformat"] = "~s"
    elif axis.is_log:
        shape["tickformat"] = "~g"
    return shape


def _param_scale(part: Slice) -> dict[str, Any]:
    if part.param.choices:
        n = len(part.param.choices)
        texts = [_short(choice, 14) for choice in part.param.choices]
        return _written(range(n), texts) | {"range": [-0.6, n - 0.4]}
    values = sorted({point.x for point in part.points})
    if len(values) <= FEW:
        scale = {"type": "log"} if part.param.is_log else {}
        return scale | _written(values, [f"{value:.4g}" for value in values])
    if part.param.is_log:
        return {"type": "log", "tickformat": "~g", "dtick": 1 if values[-1] > 30 * values[0] else "D2"}
    return {"tickformat": "~g"}


def _written(values: Sequence[float], texts: Sequence[str]) -> dict[str, Any]:
    return {"tickmode": "array", "tickvals": list(values), "ticktext": list(texts)}


def _unit(axis: Axis) -> str:
    return axis.unit if axis.unit in ("", "%") else f" {axis.unit}"


def _short(text: str, n: int = MAX_NAME) -> str:
    plain = " ".join(text.split())
    return escaped(plain if len(plain) <= n else plain[: n - 1] + "\N{HORIZONTAL ELLIPSIS}")


def _share(each: MetricImportances, name: str) -> float:
    return each.by_param[name].share if name in each.by_param else 0.0


def _rounded(value: float) -> float:
    """Return a value with five digits: no eye sees more, and a page of many points is a third smaller."""
    return float(f"{value:.5g}")
