"""The page's charts as plain plotly figures: dicts that `static/report.js` hands to plotly.

Plotly reads a small HTML of its own in texts, links included, so every text from outside is
escaped here. Colours that depend on the page's theme are left to the script.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import Any

from moo.metrics import Metric, format_estimate
from moo.results import Results
from reports._axes import Axis, Span
from reports._data import FrontChart, Group, Point
from reports._history import History
from reports._style import BLUE, CHOSEN, COLOUR_SCALE, LOOKS
from reports._text import one_line, setting_text

MAX_PARAMS_SHOWN = 12
MAX_LABEL = 60


def front_figure(chart: FrontChart, results: Results) -> dict[str, Any]:
    """Return traces and layout of the front: one trace a group, the recommended one circled."""
    traces = [_group_trace(group, points, chart, results) for group, points in chart.groups.items() if points]
    if chart.line:
        traces.insert(0, _line_trace(chart))
    chosen = [point for point in chart.groups["front"] if point.trial.number == chart.chosen]
    if chosen:
        traces.append(_chosen_trace(chosen[0]))
    layout = {
        "xaxis": _axis(chart.x),
        "yaxis": _axis(chart.y),
        "shapes": [_bound_shape(bound.axis, bound.at) for bound in chart.bounds],
        "annotations": [_bound_note(bound.axis, bound.at, bound.text, chart) for bound in chart.bounds],
    }
    return {"data": traces, "layout": layout}


def history_figure(history: History) -> dict[str, Any]:
    """Return the growth of the hypervolume as a step line."""
    trace = {
        "type": "scatter",
        "mode": "lines+markers" if len(history.steps) < 100 else "lines",
        "x": [number for number, _ in history.steps],
        "y": [100 * share for _, share in history.steps],
        "line": {"shape": "hv", "color": BLUE, "width": 2},
        "marker": {"size": 5, "color": BLUE},
        "hovertemplate": "after trial %{x}: %{y:.1f}%<extra></extra>",
        "showlegend": False,
    }
    is_short = history.steps[-1][0] <= 10
    layout = {
        "xaxis": {"title": {"text": "trial"}, "rangemode": "tozero"} | ({"dtick": 1} if is_short else {}),
        "yaxis": {"title": {"text": "hypervolume (% of final)"}, "range": [0, 104]},
    }
    return {"data": [trace], "layout": layout}


def escaped(text: object) -> str:
    """Return the text so that plotly shows it as it is: no markup, no mathematics.

    >>> escaped("<b>a</b> & $c$")
    '&lt;b&gt;a&lt;/b&gt; &amp; &#36;c&#36;'
    """
    return html.escape(one_line(text), quote=False).replace("$", "&#36;")


def _group_trace(
    group: Group, points: Sequence[Point], chart: FrontChart, results: Results
) -> dict[str, Any]:
    look = LOOKS[group]
    trace: dict[str, Any] = {
        "type": "scatter",
        "mode": "markers",
        "meta": group,
        "name": look.name if group == "baseline" else f"{look.name} ({len(points):,})",
        "x": [point.x.value for point in points],
        "y": [point.y.value for point in points],
        "hovertext": [_hover(point, look.name, results) for point in points],
        "hoverinfo": "text",
        "marker": {"symbol": look.symbol, "size": look.size, "color": look.colour, "line": {"width": 1.5}},
    }
    if group in ("front", "baseline"):
        trace["error_x"] = _intervals([point.x for point in points])
        trace["error_y"] = _intervals([point.y for point in points])
    if group == "front" and chart.colour is not None:
        trace["marker"] |= _colour_scale(points, chart.colour)
    return trace


def _colour_scale(points: Sequence[Point], axis: Axis) -> dict[str, Any]:
    """Return colours on a scale; of a logarithmic one plotly gets the exponents, and labelled ticks."""
    shades = [point.colour for point in points]
    bar: dict[str, Any] = {
        "title": {"text": _label(axis), "side": "right"},
        "thickness": 12,
        "outlinewidth": 0,
    }
    if axis.is_log:
        ticks = _log_ticks(axis.low, axis.high)
        bar |= {"tickvals": [math.log10(tick) for tick in ticks], "ticktext": [_suffixed(t) for t in ticks]}
        shades = [None if shade is None else math.log10(shade) for shade in shades]
    elif axis.is_count:
        bar["tickformat"] = "~s"
    return {"color": shades, "colorscale": COLOUR_SCALE, "showscale": True, "colorbar": bar}


def _log_ticks(low: float, high: float) -> list[float]:
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1, 2, 5) if high / low < 300 else (1,)
    return [tick for e in exponents for f in factors if low <= (tick := f * 10.0**e) <= high]


def _suffixed(number: float) -> str:
    for factor, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= factor:
            return f"{number / factor:g}{suffix}"
    return f"{number:g}"


def _line_trace(chart: FrontChart) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [x for x, _ in chart.line],
        "y": [y for _, y in chart.line],
        "line": {"color": BLUE, "width": 1.5},
        "opacity": 0.6,
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _chosen_trace(point: Point) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": f"recommended (trial {point.trial.number})",
        "x": [point.x.value],
        "y": [point.y.value],
        "hoverinfo": "skip",
        "marker": {"symbol": "circle-open", "size": 19, "color": CHOSEN, "line": {"width": 2.5}},
    }


def _intervals(spans: Sequence[Span]) -> dict[str, Any]:
    return {
        "type": "data",
        "symmetric": False,
        "array": [0 if e.high is None else e.high - e.value for e in spans],
        "arrayminus": [0 if e.low is None else e.value - e.low for e in spans],
        "width": 0,
        "thickness": 1.2,
    }


def _axis(axis: Axis) -> dict[str, Any]:
    ends = [axis.low, axis.high]
    shape: dict[str, Any] = {"title": {"text": _label(axis)}, "range": ends}
    if axis.is_log:
        shape |= {"type": "log", "range": [math.log10(end) for end in ends]}
        shape["dtick"] = "D2" if axis.high / axis.low < 300 else 1
    if axis.is_count:
        shape["tickformat"] = "~s"
    elif axis.is_log:
        shape["tickformat"] = "~g"
    return shape


def _label(axis: Axis) -> str:
    label = axis.label
    return escaped(label if len(label) <= MAX_LABEL else label[: MAX_LABEL - 1] + "\N{HORIZONTAL ELLIPSIS}")


def _bound_shape(axis: str, at: float) -> dict[str, Any]:
    line = {"width": 1.2, "dash": "dash"}
    if axis == "x":
        return {"type": "line", "x0": at, "x1": at, "yref": "paper", "y0": 0, "y1": 1, "line": line}
    return {"type": "line", "y0": at, "y1": at, "xref": "paper", "x0": 0, "x1": 1, "line": line}


def _bound_note(axis: str, at: float, text: str, chart: FrontChart) -> dict[str, Any]:
    along = chart.x if axis == "x" else chart.y
    place = math.log10(at) if along.is_log and at > 0 else at
    note: dict[str, Any] = {"text": escaped(text), "showarrow": False, "font": {"size": 11}}
    if axis == "x":
        return {**note, "x": place, "yref": "paper", "y": 1, "yanchor": "bottom"}
    return {**note, "y": place, "xref": "paper", "x": 1, "xanchor": "right", "yanchor": "bottom"}


def _hover(point: Point, group: str, results: Results) -> str:
    trial = point.trial
    lines = [f"<b>trial {trial.number}</b> {escaped(group)}"]
    lines += [f"{escaped(metric.title)}: {_value(point, metric)}" for metric in results.problem.metrics]
    lines += [
        f"{_cut(name)} = {_cut(setting_text(v))}" for name, v in list(trial.params.items())[:MAX_PARAMS_SHOWN]
    ]
    hidden = len(trial.params) - MAX_PARAMS_SHOWN
    return "<br>".join([*lines, f"and {hidden} more"] if hidden > 0 else lines)


def _value(point: Point, metric: Metric) -> str:
    return escaped(format_estimate(point.trial.estimate(metric.name), metric))


def _cut(text: str) -> str:
    plain = one_line(text)
    return escaped(plain if len(plain) <= MAX_LABEL else plain[: MAX_LABEL - 1] + "\N{HORIZONTAL ELLIPSIS}")
