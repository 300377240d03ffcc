"""The page's charts that do not change, as plain plotly figures: dicts that `static/figures.js` draws.

Plotly reads a small HTML of its own in texts, links included, so every text from outside is
escaped here. Colours that depend on the page's theme are left to the script.
"""

from __future__ import annotations

import html
from typing import Any

from reports._history import History
from reports._style import BLUE
from reports._text import one_line


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
