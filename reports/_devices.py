"""The same candidates in several runtimes, side by side."""

from __future__ import annotations

from moo.metrics import BUILT_IN, Metric, format_ends
from moo.results import FinishedTrial, Results
from reports._tables import Cell, Table
from reports._text import one_line, value_text

MAX_ROWS = 200


def device_table(results: Results) -> Table:
    """Return one row a candidate of the front, and the baseline: each cost in each runtime, side by side.

    Without rows where everything was measured in one runtime.
    """
    columns = _by_base(results)
    trials: dict[int, FinishedTrial] = {trial.number: trial for trial in results.front[:MAX_ROWS]}
    if results.baseline is not None:
        trials[results.baseline.number] = results.baseline
    headings = ["candidate", *(one_line(metric.title) for metric in columns)]
    rows = [
        (
            Cell(one_line(trial.name), "baseline" if trial.is_baseline else "", kind="name"),
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
        elsewhere = [metric for name, metric in known.items() if _base_of(name) == base]
        if elsewhere:
            found += [known[base]] if base in known else []
            found += elsewhere
    return found


def _base_of(name: str) -> str | None:
    """Return the built-in metric that a name repeats for another runtime, as `gpu_latency_p50` does.

    >>> _base_of("gpu_latency_p50"), _base_of("gpu_device_latency_p50"), _base_of("device_latency_p50")
    ('latency_p50', 'device_latency_p50', None)
    """
    if name in BUILT_IN:
        return None
    bases = [base for base in BUILT_IN if BUILT_IN[base].stage == "measured" and name.endswith(f"_{base}")]
    return max(bases, key=len, default=None)


def _cell(trial: FinishedTrial, metric: Metric) -> Cell:
    estimate = trial.estimate(metric.name)
    return Cell(value_text(estimate, metric), format_ends(estimate, metric), kind="number")
