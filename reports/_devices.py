"""The same candidates in several runtimes, side by side."""

from __future__ import annotations

from moo.devices import base_of, on_place, places
from moo.metrics import BUILT_IN, Metric, format_ends
from moo.results import FinishedTrial, Results
from reports._tables import Cell, Table
from reports._text import one_line, value_text

MAX_ROWS = 200


def device_table(results: Results) -> Table:
    """Return one row a candidate of any place's front, and the baseline: each cost in each place.

    The second column says on which places' fronts a candidate is. Without rows where everything was measured
    in one place.
    """
    columns = _by_base(results)
    fronts = {
        name: {trial.number for trial in on_place(results, prefix).front}
        for prefix, name in places(results).items()
    }
    members = set().union(*fronts.values())
    others = [trial for trial in results.complete if trial.number in members]
    found = dict.fromkeys(trial.number for trial in [*results.front, *others])
    by_number = {trial.number: trial for trial in results.complete}
    trials: dict[int, FinishedTrial] = {number: by_number[number] for number in list(found)[:MAX_ROWS]}
    if results.baseline is not None:
        trials[results.baseline.number] = results.baseline
    headings = ["candidate", "on the front of", *(one_line(metric.title) for metric in columns)]
    rows = [
        (
            Cell(one_line(trial.name), "baseline" if trial.is_baseline else "", kind="name"),
            Cell(one_line(", ".join(n for n, front in fronts.items() if trial.number in front)) or "none"),
            *(_cell(trial, metric) for metric in columns),
        )
        for trial in trials.values()
    ]
    return Table(tuple(headings), tuple(rows) if columns else ())


def _by_base(results: Results) -> list[Metric]:
    """Return the metrics measured in further runtimes, each after the same one of the first runtime."""
    known = {
        metric.name: metric
        for metric in results.metrics
        if any(trial.estimate(metric.name).value is not None for trial in results.complete)
    }
    found = []
    for base in BUILT_IN:
        elsewhere = [metric for name, metric in known.items() if base_of(name) == base]
        if elsewhere:
            found += [known[base]] if base in known else []
            found += elsewhere
    return found


def _cell(trial: FinishedTrial, metric: Metric) -> Cell:
    estimate = trial.estimate(metric.name)
    return Cell(value_text(estimate, metric), format_ends(estimate, metric), kind="number")
