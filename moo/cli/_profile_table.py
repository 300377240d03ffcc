"""What `moo profile` shows on the terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.markup import escape
from rich.table import Table

from moo.cli._compare_labels import SETTINGS, differing, labels, model_names, numbers, setting
from moo.cli._summary import WIDE
from moo.evaluation import Estimate
from moo.metrics import BUILT_IN, format_estimate, format_value

if TYPE_CHECKING:
    from rich.console import Console

    from profilers import LatencyBound, Measurement, Statistic

__all__ = ["print_operators", "print_rows", "print_verdicts"]

_MOST_OPERATORS = 15
_BYTES, _SECONDS = BUILT_IN["peak_memory"], BUILT_IN["load_time"]
_LAUNCH_BOUND = 0.5  # of a call: below, most of it is spent in putting work into the device's queue
_OPTIONAL = ("arena peak", "rows/s", "load")  # left out of a table that is too wide, in this order
# settings that are told even where all rows have the same: any value of these, and unusual ones of others
_ALWAYS_TOLD = ("provider", "intra_op_num_threads", "batch")
_USUAL = {"graph_optimization_level": "all", "allow_spinning": False, "enable_arena": True, "options": ()}


def print_rows(console: Console, measured: Sequence[Measurement]) -> None:
    """Print a row for each measurement, and what was assumed and refused below.

    A row is a line of a table where the terminal has room for it, else a block of lines.
    """
    if not measured:
        return
    rows = [_cells(measurement) for measurement in measured]
    is_on_device = any(launch.device_ns is not None for m in measured for launch in m.launches)
    unused = [] if any(measurement.energy for measurement in measured) else ["energy"]
    unused += [] if is_on_device else ["on device", "cold", "device memory"]
    rows = [{title: cell for title, cell in row.items() if title not in unused} for row in rows]
    table = _fitting_table(console, measured, rows) if console.width >= WIDE else None
    if table is not None:
        console.print(table)
    else:
        _print_blocks(console, _labels(measured), rows)
    told = (
        *_common(measured),
        "latency: of one call, with its 95% interval",
        "memory: peak of the process from the loaded model through its first calls",
        *_of_devices(measured),
    )
    for note in [*told, *_notes(measured)]:
        console.print(escape(note), soft_wrap=True)


def _of_devices(measured: Sequence[Measurement]) -> Iterator[str]:
    """Yield what to know of times by a device's own clock, where there are any."""
    if all(launch.device_ns is None for m in measured for launch in m.launches):
        return
    yield "on device: one call by the device's own clock; cold: its cache emptied before each call"
    yield "device memory: most that the framework held there in the first calls"
    for name, measurement in zip(_labels(measured), measured, strict=True):
        whole, device = measurement.latency(0.5).value, measurement.device_latency(0.5).value
        if whole and device and device < _LAUNCH_BOUND * whole:
            yield f"{name}: the device works {device / whole:.0%} of a call: the host cannot keep it busy"


def _labels(measured: Sequence[Measurement]) -> list[str]:
    return labels([m.model.path for m in measured], [m.runtime for m in measured])


def _cells(measurement: Measurement) -> dict[str, str]:
    """Return what is shown of a row, by title, but its model and settings."""
    arena = measurement.profile.arena.in_use_peak_bytes if measurement.profile else None
    latencies = {
        name: format_estimate(_estimate(measurement.latency(q)), BUILT_IN[f"latency_{name}"])
        for name, q in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
    }
    return (
        latencies
        | _device_cells(measurement)
        | {
            "rows/s": format_value(measurement.throughput().value, BUILT_IN["throughput"]),
            "memory": format_value(measurement.peak_memory().value, _BYTES),
            "arena peak": format_value(arena, _BYTES),
            "energy": _energy(measurement),
            "load": format_value(measurement.load_time().value, _SECONDS),
            "launches": str(len(measurement.launches)),
            "tags": " ".join(measurement.tags),
        }
    )


def _device_cells(measurement: Measurement) -> dict[str, str]:
    """Return the times by a device's own clock and its memory; dashes where there was none."""
    latencies = {
        title: _estimate(measurement.device_latency(0.5, is_cold=is_cold))
        for title, is_cold in (("on device", False), ("cold", True))
    }
    return {
        **{title: format_estimate(value, BUILT_IN["latency_p50"]) for title, value in latencies.items()},
        "device memory": format_value(measurement.device_memory().value, _BYTES),
    }


def _energy(measurement: Measurement) -> str:
    energy = measurement.energy
    if energy is None:
        return "-"
    if energy.gross_j is None:
        return "unavailable"
    net = "-" if energy.net_j is None else f"{1e3 * energy.net_j:.3g}"
    return f"{1e3 * energy.gross_j:.3g} mJ, net {net}"


def _estimate(statistic: Statistic) -> Estimate:
    return Estimate(statistic.value, statistic.low, statistic.high, statistic.reason)


def _fitting_table(
    console: Console, measured: Sequence[Measurement], rows: Sequence[dict[str, str]]
) -> Table | None:
    """Return the table with as many columns as the console has room for; None where it has not enough."""
    named = [who | row for who, row in zip(_identities(measured), rows, strict=True)]
    options = console.options.update(width=10_000)
    for n_dropped in range(len(_OPTIONAL) + 1):
        table = _table([{t: c for t, c in row.items() if t not in _OPTIONAL[:n_dropped]} for row in named])
        if table.__rich_measure__(console, options).minimum <= console.width:
            return table
    return None


def _identities(measured: Sequence[Measurement]) -> list[dict[str, str]]:
    """Return the cells that tell the rows apart, as the labels do."""
    runtimes = [measurement.runtime for measurement in measured]
    fields = differing(runtimes)
    models = model_names([measurement.model.path for measurement in measured])
    settings = [{SETTINGS[field]: setting(run, field) for field in fields} for run in runtimes]
    same = numbers([f"{model}, {values}" for model, values in zip(models, settings, strict=True)])
    return [
        {"model": model + number, **values}
        for model, number, values in zip(models, same, settings, strict=True)
    ]


def _table(rows: Sequence[dict[str, str]]) -> Table:
    """Return a table whose columns are never narrower than what is in them; tags break between words."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), collapse_padding=True)
    broken = [
        {title: text.replace(" [", "\n[").replace(", net", ",\nnet") for title, text in row.items()}
        | {"model": row["model"]}
        for row in rows
    ]
    for title in rows[0]:
        texts = [title, *(row[title] for row in broken)]
        parts = [part for text in texts for part in (text.split() if title == "tags" else text.split("\n"))]
        table.add_column(
            title,
            justify="left" if title in ("model", "tags") else "right",
            min_width=max(map(_width, parts)),
            no_wrap=title != "tags",
        )
    for row in broken:
        table.add_row(*map(escape, row.values()))
    return table


def _width(text: str) -> int:
    from rich.cells import cell_len

    return cell_len(text)


def _print_blocks(console: Console, names: Sequence[str], rows: Sequence[dict[str, str]]) -> None:
    """Print each row as its label and a line for each value, broken between words only."""
    indent = 2 + max(len(title) for title in rows[0]) + 2
    for name, row in zip(names, rows, strict=True):
        console.print(escape(name), soft_wrap=True)
        for title, text in row.items():
            lines = textwrap.wrap(
                text, max(1, console.width - indent), break_long_words=False, break_on_hyphens=False
            )
            first = f"  {title}".ljust(indent)
            console.print(escape(first + ("\n" + " " * indent).join(lines)), soft_wrap=True)
        console.print()


def _common(measured: Sequence[Measurement]) -> list[str]:
    """Return the settings that are the same for all rows, without the usual ones."""
    runtimes = [measurement.runtime for measurement in measured]
    told = []
    for field, title in SETTINGS.items():
        if field in differing(runtimes):
            continue
        if field in _ALWAYS_TOLD or any(getattr(run, field) != _USUAL[field] for run in runtimes):
            texts = sorted({setting(run, field) for run in runtimes}, reverse=True)  # "-" comes last
            told.append(f"{title} {texts[0]}" + (" (torch: -)" if len(texts) > 1 else ""))
    if not told:
        return []
    return [f"{'all rows' if len(measured) > 1 else 'run with'}: {', '.join(told)}"]


def _notes(measured: Sequence[Measurement]) -> list[str]:
    """Return what a reader must know beside the numbers, each once."""
    notes = []
    if any(launch.calls_per_block > 1 for measurement in measured for launch in measurement.launches):
        notes.append(
            "Calls under 50 us are timed in blocks; p95 and p99 of single calls are bounded from above by the"
            " blocks': take a larger batch to time them alone."
        )
    for name, q in (("p95", 0.95), ("p99", 0.99)):
        needed = [measurement.latency(q).needs_n for measurement in measured]
        if any(needed):
            notes.append(f"{name} is not given from fewer than {max(n for n in needed if n)} samples.")
    names = _labels(measured)
    for note_of in (_assumption, _no_energy, _no_arena, _unrest):
        notes += _grouped(names, [note_of(measurement) for measurement in measured])
    return notes


def _assumption(measurement: Measurement) -> str | None:
    if not measurement.assumed_dimensions:
        return None
    assumed = ", ".join(measurement.assumed_dimensions)
    return f"dimensions taken as 1 for want of a size: {assumed}; give it with --dim NAME=SIZE."


def _unrest(measurement: Measurement) -> str | None:
    verdict = measurement.environment.get("state", {}).get("canary", {}).get("verdict", "quiet")
    return None if verdict == "quiet" else f"the machine was {verdict} when it began: moo doctor says more."


def _no_energy(measurement: Measurement) -> str | None:
    energy = measurement.energy
    return None if energy is None or energy.reason is None else f"energy: {energy.reason}."


def _no_arena(measurement: Measurement) -> str | None:
    reason = measurement.profile_reason
    return None if reason is None else f"no arena memory: {reason}."


def _grouped(names: Sequence[str], notes: Sequence[str | None]) -> Iterator[str]:
    """Yield each note once, after the names of the rows it is for unless it is for all.

    >>> list(_grouped(["a", "b", "c"], ["no.", None, "no."]))
    ['a; c: no.']
    """
    for note in dict.fromkeys(note for note in notes if note):
        whose = [name for name, own in zip(names, notes, strict=True) if own == note]
        yield note if len(whose) == len(names) else f"{'; '.join(whose)}: {note}"


def print_verdicts(console: Console, measured: Sequence[Measurement], bounds: Sequence[LatencyBound]) -> None:
    """Print for each bound and row whether it holds."""
    for bound in bounds:
        for name, measurement in zip(_labels(measured), measured, strict=True):
            console.print(escape(_verdict(name, measurement, bound)), soft_wrap=True)


def _verdict(name: str, measurement: Measurement, bound: LatencyBound) -> str:
    from profilers import bound_verdict

    found = bound_verdict(measurement, bound)
    claim = f"p{100 * bound.q:g} <= {format_value(bound.limit_s, BUILT_IN['latency_p50'])}"
    text = (
        f"{found.verdict}  {claim}  {name}: {found.n_over} of {found.n} {_samples(measurement, bound)} over"
    )
    if len(measurement.launches) == 1:
        text += " in this one launch"
    if found.verdict != "UNDECIDED" and found.confidence is not None:
        text += f", confidence {_confidence(found.confidence)}"
    return text + (f"; {found.reason}" if found.reason else "")


def _samples(measurement: Measurement, bound: LatencyBound) -> str:
    if all(launch.calls_per_block == 1 for launch in measurement.launches):
        return "calls"
    return "block means" if bound.q == 0.5 else "blocks"


def _confidence(confidence: float) -> str:
    return "above 99.9%" if confidence > 0.999 else f"{100 * confidence:.1f}%"


def print_operators(console: Console, measured: Sequence[Measurement]) -> None:
    """Print for each row the operators that took most time under the runtime's own profiling."""
    profiles = [(name, m.profile) for name, m in zip(_labels(measured), measured, strict=True) if m.profile]
    for label, profile in profiles:
        console.print(escape(f"{label}: time by operator"), soft_wrap=True)
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for title in ("operator", "node"):
            table.add_column(title, overflow="fold")
        for title in ("share", "a call", "runs a call"):
            table.add_column(title, justify="right", no_wrap=True)
        rows, n_calls = profile.operators, profile.n_calls
        for row in rows[:_MOST_OPERATORS]:
            share = "-" if row.share is None else f"{100 * row.share:.1f}%"
            seconds = format_value(row.total_s / n_calls, _SECONDS)
            cells = (row.op_type, row.node_name, share, seconds, f"{row.n_runs / n_calls:g}")
            table.add_row(*map(escape, cells))
        console.print(table)
        if len(rows) > _MOST_OPERATORS:
            console.print(f"and {len(rows) - _MOST_OPERATORS} more; all are in the file of --json")
    if profiles:
        console.print(
            "Under profiling, in whole microseconds an operator; a small model runs slower than usual."
        )
