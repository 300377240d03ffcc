"""What a notebook shows of a study: its counts, the recommendation, and the front as a table."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from moo.decision import recommend
from moo.metrics import format_estimate, format_probability
from moo.results import FinishedTrial, Results

__all__ = ["results_html"]

MOST_ROWS = 20


def results_html(results: Results) -> str:
    """Return a piece of HTML without scripts or styles; every text from outside is escaped."""
    found = recommend(results)
    advice = (
        "No candidate can be recommended."
        if found is None
        else f"Recommended with equal weights: {found.trial.name}"
        + (f"; then {found.runner_up.name}." if found.runner_up else ".")
    )
    front = results.front[:MOST_ROWS]
    more = len(results.front) - len(front)
    head = [
        "candidate",
        *(metric.title for metric in results.problem.metrics),
        *(("P(on the front)", "P(feasible)") if results.confirmation is not None else ()),
        *results.param_names,
    ]
    rows = "".join(_row(_cells(results, trial), "td") for trial in front)
    table = f"<table><thead>{_row(head, 'th')}</thead><tbody>{rows}</tbody></table>" if front else ""
    rest = f"<p>and {more:,} more on the front: <code>front()</code></p>" if more else ""
    return (
        f"<p><b>{escape(results.study_name)}</b>: {escape(results.counts)}. {escape(advice)}</p>{table}{rest}"
    )


def _cells(results: Results, trial: FinishedTrial) -> list[str]:
    values = [format_estimate(trial.estimate(metric.name), metric) for metric in results.problem.metrics]
    sure = [results.probability(trial, name) for name in ("p_on_front", "p_feasible")]
    said = ["-" if p is None else format_probability(p) for p in sure] if results.confirmation else []
    params = [str(trial.params.get(name, "-")) for name in results.param_names]
    return [trial.name, *values, *said, *params]


def _row(cells: Iterable[str], tag: str) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"
