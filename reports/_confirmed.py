"""What a stored confirmation says: search, confirmed and test values, each in a column of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from moo.metrics import Metric, format_ends, format_value
from moo.results import Estimate, Results, opened_lines
from reports._tables import Cell, Table
from reports._text import DASH, one_line, value_text

_ENDS = {
    "decided": "nothing was in doubt that more launches could settle",
    "rounds": "the most rounds were done",
    "launches": "the budget of launches was out",
    "time": "the time was out",
}
_VERDICTS = {"on": "on the front", "off": "off the front", "undecided": "undecided"}
_RARE = 0.01  # no probability from draws is shown as more certain than this


@dataclass(frozen=True, kw_only=True)
class Confirmed:
    """The confirmation, ready to be set.

    Args:
        summary: What was done, in a sentence.
        costs: One row a candidate: each metric's search and confirmed value, the probabilities, the verdict.
        quality: Validation beside test, and the spread over retrainings; without rows where neither was done.
        lines: Who fell off and why, what failed, notes, whether test data were opened.
    """

    summary: str
    costs: Table
    quality: Table
    lines: tuple[str, ...]


def confirmed(results: Results) -> Confirmed | None:
    """Return what the stored confirmation says; None where there is none."""
    record = results.confirmation
    if record is None:
        return None
    names = {trial.number: one_line(trial.name) for trial in results.trials}
    entries = [
        {**entry, "name": names.get(entry["trial"], f"trial {entry['trial']}")}
        for entry in record["candidates"]
    ]
    n_launches = sum(entry["n_launches"] for entry in entries)
    opened = [one_line(line) for line in opened_lines(results.openings)] or ["The test data were not opened."]
    return Confirmed(
        summary=(
            f"{len(entries):,} candidates were measured again in {n_launches:,} fresh launches, in "
            f"{record['n_rounds']:,} rounds; {_ENDS.get(record['ended'], one_line(record['ended']))}."
        ),
        costs=_cost_table(results.problem.metrics, entries),
        quality=_quality_table(results.problem.metrics, entries),
        lines=(
            *_moved(entries),
            *_failed(entries),
            *(_sentence(note) for note in record["notes"]),
            *opened,
        ),
    )


def _cost_table(metrics: Sequence[Metric], entries: Sequence[Mapping[str, Any]]) -> Table:
    again = [m for m in metrics if any(entry["metrics"][m.name]["confirmed"] for entry in entries)]
    headings = ["candidate"]
    for metric in metrics:
        title = one_line(metric.title)
        headings += [f"{title}, search", f"{title}, confirmed"] if metric in again else [f"{title}, search"]
    headings += ["P(on the front)", "P(feasible)", "verdict"]
    rows = []
    for entry in entries:
        cells = [_name_cell(entry)]
        for metric in metrics:
            found = entry["metrics"][metric.name]
            cells.append(_estimate_cell(found["search"], metric))
            if metric in again:
                cells.append(_estimate_cell(found["confirmed"], metric))
        rows.append((*cells, *_verdict_cells(entry)))
    return Table(tuple(headings), tuple(rows))


def _verdict_cells(entry: Mapping[str, Any]) -> tuple[Cell, Cell, Cell]:
    found = entry["confirmed"]
    if found is None:
        return Cell(DASH), Cell(DASH), Cell("not measured again", one_line(entry["refused"] or ""))
    verdict = Cell(
        _VERDICTS.get(found["verdict"], one_line(found["verdict"])), one_line(found["reason"] or "")
    )
    return (
        Cell(probability_text(found["p_on_front"]), kind="number"),
        Cell(probability_text(found["p_feasible"]), kind="number"),
        verdict,
    )


def probability_text(p: float) -> str:
    """Return a probability from draws, never as certain.

    >>> [probability_text(p) for p in (0.0, 0.123, 0.9999)]
    ['< 0.01', '0.12', '> 0.99']
    """
    return f"< {_RARE}" if p < _RARE else f"> {1 - _RARE}" if p > 1 - _RARE else f"{p:.2f}"


def _quality_table(metrics: Sequence[Metric], entries: Sequence[Mapping[str, Any]]) -> Table:
    quality = [metric for metric in metrics if metric.stage in ("trained", "held-out")]
    rows = []
    for entry in entries:
        again, tested = entry["retrained"], entry["test"]
        if again is None and tested is None:
            continue
        rows += [
            (
                _name_cell(entry),
                Cell(one_line(metric.title)),
                _estimate_cell(entry["metrics"][metric.name]["search"], metric),
                _estimate_cell((tested or {}).get(metric.name), metric),
                _spread_cell(again, "validation", metric),
                _spread_cell(again, "test", metric),
            )
            for metric in quality
        ]
    headings = (
        "candidate",
        "metric",
        "validation (search)",
        "test",
        "retrained, validation",
        "retrained, test",
    )
    return Table(headings, tuple(rows))


def _name_cell(entry: Mapping[str, Any]) -> Cell:
    role = "baseline" if entry["is_baseline"] else "near the front" if entry["role"] == "neighbour" else ""
    return Cell(entry["name"], role, kind="name")


def _estimate_cell(record: Mapping[str, Any] | None, metric: Metric) -> Cell:
    if record is None:
        return Cell(DASH, kind="number")
    estimate = Estimate.from_json(record)
    return Cell(value_text(estimate, metric), format_ends(estimate, metric), kind="number")


def _spread_cell(again: Mapping[str, Any] | None, split: str, metric: Metric) -> Cell:
    found = ((again or {}).get(split) or {}).get(metric.name)
    if not found or found["mean"] is None:
        return Cell(DASH, kind="number")
    seeds = f"{found['n']:,} seed{'' if found['n'] == 1 else 's'}"
    if found["sd"] is None:
        return Cell(format_value(found["mean"], metric), seeds, kind="number")
    deviation = (
        f"{found['sd'] * 100:.2g}" if metric.dimension == "fraction" else format_value(found["sd"], metric)
    )
    return Cell(
        f"{format_value(found['mean'], metric)} \N{PLUS-MINUS SIGN} {deviation}", seeds, kind="number"
    )


def _moved(entries: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a line for each candidate of the search's front that fell off, and for each that came on."""
    for entry in entries:
        found, was_on = entry["confirmed"], entry["role"] == "front"
        if found is None:
            continue
        p, why = (
            probability_text(found["p_on_front"]),
            f": {one_line(found['reason'])}" if found["reason"] else "",
        )
        if was_on and found["verdict"] == "off":
            yield _sentence(f"{entry['name']} fell off the front (P {p}){why}")
        elif was_on and found["p_on_front"] < 0.5:
            yield _sentence(f"{entry['name']} is likely off the front (P {p}){why}")
        elif not was_on and found["p_on_front"] >= 0.5:
            yield _sentence(f"{entry['name']} is likely on the front (P {p}), where the search had it off")


def _failed(entries: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for entry in entries:
        for reason in (entry["retrained"] or {}).get("failures", ()):
            yield _sentence(f"{entry['name']} was not retrained: {reason}")
        if "failure" in (entry["test"] or {}):
            yield _sentence(f"{entry['name']} was not scored on test data: {entry['test']['failure']}")
        if entry["refused"]:
            yield _sentence(f"{entry['name']} was not measured again: {entry['refused']}")


def _sentence(text: object) -> str:
    """Return the text on one line, with a capital where it begins with our own word, and a full stop."""
    line = one_line(text).rstrip(".")
    return (
        f"{line[:1].upper()}{line[1:]}."
        if line.startswith(("trial ", "not ", "no ", "fed ", "left "))
        else f"{line}."
    )
