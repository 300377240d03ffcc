"""The page's tables: rows of text cells, ready to be set; everything a chart shows stands in one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from moo.metrics import format_ends
from moo.results import FinishedTrial, Results
from reports._gains import Gain, gain, missing
from reports._history import History
from reports._text import DASH, one_line, setting_text, value_text

MAX_ROWS = 200  # of a table that stands in the page as it is

TAGS = {
    "ok": "Nothing to object to: quiet machine, steady times, intervals as narrow as the protocol seeks.",
    "contended": "Other work took the processor, or was on the GPU, in a launch; times may be too long.",
    "ep_fallback": "The model did not run on the execution provider that was asked for.",
    "assumed_dimensions": "A symbolic dimension that nobody gave a size was taken as 1.",
    "weights_sensitive": "Training changed how fast the model is: what was measured after it counts.",
    "differs_from_estimator": "On a few rows the artefact does not predict what the estimator does.",
    "float_kernels": "Compressed, but the runtime computes in floating point all the same.",
    "nothing_reduced": "The precision that was asked for changed nothing in the model.",
    "not_prepared": "The model could not be prepared for quantisation as ONNX Runtime advises.",
    "few_launches": "Measured in 2 to 4 processes: their spread is hardly known, so intervals are wide.",
    "imprecise": "An interval is wider than the protocol seeks, or could not be given.",
    "memory_fallback": "Resident memory after the calls stands in for the peak, which could not be read.",
    "not_stationary": "Times kept changing during the measurement, or the warm-up ran out of time.",
    "oversubscribed": "More threads than processors that may be used: they wait for one another.",
    "single_launch": "Measured in one process only: what changes between launches is not in the interval.",
    "throttled": "A quota stopped processes, or the GPU was slowed, in a launch; times may be too long.",
    "too_few_for_p99": "Fewer calls than an interval of the 99th percentile needs.",
}


@dataclass(frozen=True)
class Cell:
    """One cell: its text, a smaller note and a gain below, a class for the look, a hint on hovering."""

    text: str
    note: str = ""
    gain: str = ""
    kind: str = ""
    hint: str = ""


@dataclass(frozen=True)
class Table:
    """A table: headings, rows; the index of the row to mark, or None."""

    headings: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    marked: int | None = None


def front_table(results: Results, chosen: int | None) -> Table:
    """Return one row a candidate on the front: metrics with gains against the baseline, parameters.

    At most `MAX_ROWS` of them: the page's own table has all candidates.
    """
    trials = list(results.front[:MAX_ROWS])
    headings = ["candidate", *_metric_headings(results), *_param_headings(results), "tags"]
    rows = [
        (_name_cell(trial, chosen), *_metric_cells(results, trial), *_tail(results, trial))
        for trial in trials
    ]
    marked = next((index for index, trial in enumerate(trials) if trial.number == chosen), None)
    return Table(tuple(headings), tuple(rows), marked)


def history_table(history: History) -> Table:
    """Return the steps of the hypervolume."""
    rows = [
        (Cell(f"{number}", kind="number"), Cell(f"{share * 100:.1f}%", kind="number"))
        for number, share in history.steps
    ]
    return Table(("after trial", "share of the final hypervolume"), tuple(rows))


def fact_table(facts: Iterable[tuple[str, str]]) -> Table:
    """Return names and texts as a table of two columns."""
    return Table(("what", "value"), tuple((Cell(name), Cell(text)) for name, text in facts))


def tag_table(results: Results) -> Table:
    """Return each tag with its meaning in plain words and the number of candidates that have it."""
    tags = Counter(tag for t in results.trials if t.evaluation is not None for tag in t.evaluation.tags)
    rows = [
        (Cell(one_line(tag)), Cell(TAGS.get(tag, DASH)), Cell(f"{count:,}", kind="number"))
        for tag, count in tags.most_common()
    ]
    return Table(("tag", "what it means", "candidates"), tuple(rows))


def _metric_headings(results: Results) -> list[str]:
    return [one_line(metric.title) for metric in results.metrics]


def _param_headings(results: Results) -> list[str]:
    return [one_line(name) for name in results.param_names]


def _name_cell(trial: FinishedTrial, chosen: int | None) -> Cell:
    role = "recommended" if trial.number == chosen else "baseline" if trial.is_baseline else ""
    return Cell(one_line(trial.name), role, kind="name")


def _metric_cells(results: Results, trial: FinishedTrial) -> list[Cell]:
    objectives = {objective.metric.name: objective for objective in results.problem.objectives}
    cells = []
    for metric in results.metrics:
        estimate = trial.estimate(metric.name)
        text = value_text(estimate, metric)
        found = gain(results, trial, objectives[metric.name]) if metric.name in objectives else None
        kind = "number" if found is None else f"number {found.verdict}"
        note, hint = format_ends(estimate, metric), missing(trial, metric.name) or ""
        cells.append(Cell(text, note, _gain_text(found), kind, hint))
    return cells


def _gain_text(gain: Gain | None) -> str:
    if gain is None:
        return ""
    sign = {"better": "\N{CHECK MARK}", "worse": "\N{BALLOT X}", "same": "="}
    return f"{sign[gain.verdict]} {gain.text}"


def _tail(results: Results, trial: FinishedTrial) -> tuple[Cell, ...]:
    params = [
        Cell(
            setting_text(trial.params[name]) if name in trial.params else DASH,
            kind=_kind(trial.params.get(name)),
        )
        for name in results.param_names
    ]
    tags = trial.evaluation.tags if trial.evaluation is not None else ()
    return (*params, Cell(one_line(" ".join(tags)) or DASH))


def _kind(value: object) -> str:
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else ""
