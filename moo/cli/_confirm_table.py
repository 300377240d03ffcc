"""How a confirmation is shown: the search's values beside the confirmed ones, and who fell off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from moo.cli._summary import WIDE
from moo.evaluation import Estimate
from moo.metrics import Metric, format_estimate, format_probability, format_value
from moo.problem import Problem
from moo.results import opened_lines

__all__ = ["print_confirmation"]

_ENDS = {
    "decided": "nothing is in doubt that more launches could settle",
    "rounds": "the most rounds are done",
    "launches": "the budget of launches is out",
    "time": "the time is out",
}


def print_confirmation(console: Console, problem: Problem, record: Mapping[str, Any]) -> None:
    """Print the table, who fell off and why, what was refused, and whether test data were opened.

    Args:
        console: Where to.
        problem: Of the study.
        record: Of the schema `moo.confirm/1`.
    """
    n_launches = sum(entry["n_launches"] for entry in record["candidates"])
    console.print(
        escape(
            f"Confirmed {len(record['candidates'])} candidates of study {record['study']}:"
            f" {n_launches} fresh launches in {record['n_rounds']} rounds; {_ENDS[record['ended']]}."
        ),
        soft_wrap=True,
    )
    console.print(_table(problem, record, is_wide=console.width >= WIDE))
    quality = [metric for metric in problem.metrics if metric.stage in ("trained", "held-out")]
    if quality and any(entry["retrained"] or entry["test"] for entry in record["candidates"]):
        console.print(_quality_table(quality, record))
    for line in [*_moved(record), *_refused(record), *record["notes"], *opened_lines(record["test_opened"])]:
        console.print(escape(line), soft_wrap=True)


def _table(problem: Problem, record: Mapping[str, Any], *, is_wide: bool) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD,
        title="Search beside confirmed, with 95% intervals",
        title_justify="left",
        pad_edge=False,
        padding=(0, 1) if is_wide else 0,
    )
    table.add_column("trial", justify="right", no_wrap=True)
    for metric in problem.metrics:
        is_again = any(entry["metrics"][metric.name]["confirmed"] for entry in record["candidates"])
        name = f"{metric.name}\nsearch | confirmed" if is_again else f"{metric.name}\nsearch"
        table.add_column(name, justify="right", no_wrap=is_wide, overflow="fold")
    table.add_column("P(front)", justify="right", no_wrap=True)
    table.add_column("P(feasible)", justify="right", no_wrap=True)
    for entry in record["candidates"]:
        values = (_both(entry["metrics"][metric.name], metric, is_wide=is_wide) for metric in problem.metrics)
        cells = [_name(entry), *values, *_probabilities(entry)]
        is_on = (entry["confirmed"] or {}).get("verdict") == "on"
        table.add_row(*map(escape, cells), style=None if is_on else "dim")
    return table


def _quality_table(metrics: Sequence[Metric], record: Mapping[str, Any]) -> Table:
    """Return validation beside test, of the artefacts and of those retrained under other seeds."""
    table = Table(
        box=box.SIMPLE_HEAD,
        title="Validation beside test, and the luck of the seed (mean +- standard deviation)",
        title_justify="left",
        pad_edge=False,
    )
    for name in ("trial", "metric", "validation", "test", "retrained, validation", "retrained, test"):
        table.add_column(name, justify="right", overflow="fold")
    for entry in record["candidates"]:
        again, tested = entry["retrained"], entry["test"]
        if again is None and tested is None:
            continue
        for metric in metrics:
            search = Estimate.from_json(entry["metrics"][metric.name]["search"])
            cells = [_name(entry), metric.name, format_estimate(search, metric), _tested(tested, metric)]
            cells += [_retrained(again, split, metric) for split in ("validation", "test")]
            table.add_row(*map(escape, cells))
    return table


def _name(entry: Mapping[str, Any]) -> str:
    role = "baseline" if entry["is_baseline"] else "near" if entry["role"] == "neighbour" else ""
    return f"{entry['trial']} {role}".rstrip()


def _both(found: Mapping[str, Any], metric: Metric, *, is_wide: bool) -> str:
    search = Estimate.from_json(found["search"])
    if found["confirmed"] is None:
        return format_estimate(search, metric)
    confirmed = format_estimate(Estimate.from_json(found["confirmed"]), metric)
    before = (
        format_value(search.value, metric) if search.value is not None else format_estimate(search, metric)
    )
    return f"{before}{' | ' if is_wide else chr(10)}{confirmed}"


def _probabilities(entry: Mapping[str, Any]) -> tuple[str, str]:
    found = entry["confirmed"]
    if found is None:
        return "refused", "-"
    return format_probability(found["p_on_front"]), format_probability(found["p_feasible"])


def _retrained(again: Mapping[str, Any] | None, split: str, metric: Metric) -> str:
    if again is None:
        return "-"
    found = (again[split] or {}).get(metric.name)
    if not found or found["mean"] is None:
        return "failed" if again["failures"] else "-"
    mean, deviation = format_value(found["mean"], metric), found["sd"]
    if deviation is None:
        return f"{mean} (1 seed)"
    shown = f"{deviation * 100:.2g}" if metric.dimension == "fraction" else format_value(deviation, metric)
    return f"{mean} +- {shown} ({found['n']} seeds)"


def _tested(found: Mapping[str, Any] | None, metric: Metric) -> str:
    if found is None or metric.name not in found:
        return "failed" if found and "failure" in found else "-"
    return format_estimate(Estimate.from_json(found[metric.name]), metric)


def _moved(record: Mapping[str, Any]) -> list[str]:
    """Return a line for each candidate of the search's front that fell off, and for each that came on."""
    lines = []
    for entry in record["candidates"]:
        found, was_on = entry["confirmed"], entry["role"] == "front"
        if found is None:
            continue
        p = format_probability(found["p_on_front"])
        if was_on and found["verdict"] == "off":
            lines.append(f"Trial {entry['trial']} fell off the front (P {p}): {found['reason']}.")
        elif was_on and found["p_on_front"] < 0.5:
            lines.append(f"Trial {entry['trial']} is likely off the front (P {p}): {found['reason']}.")
        elif not was_on and found["p_on_front"] >= 0.5:
            lines.append(
                f"Trial {entry['trial']} is likely on the front (P {p}), where the search had it off."
            )
    return lines


def _refused(record: Mapping[str, Any]) -> list[str]:
    failed = [
        f"Trial {entry['trial']} was not {what}: {reason}."
        for entry in record["candidates"]
        for what, reason in (
            *(("retrained", reason) for reason in (entry["retrained"] or {}).get("failures", [])),
            *(
                [("scored on test data", entry["test"]["failure"])]
                if "failure" in (entry["test"] or {})
                else []
            ),
        )
    ]
    return failed + [
        f"Trial {entry['trial']} was not measured again: {entry['refused']}."
        for entry in record["candidates"]
        if entry["refused"]
    ]
