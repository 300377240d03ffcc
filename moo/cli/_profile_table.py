"""What `moo profile` shows on the terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.markup import escape
from rich.table import Table

from moo.cli._summary import WIDE
from moo.evaluation import Estimate
from moo.metrics import BUILT_IN, format_estimate, format_value

if TYPE_CHECKING:
    from rich.console import Console

    from profilers import LatencyBound, Measurement, Statistic

__all__ = ["print_operators", "print_rows", "print_verdicts"]

_MOST_OPERATORS = 15
_BYTES, _SECONDS = BUILT_IN["peak_memory"], BUILT_IN["load_time"]
# a runtime's settings are shown where they differ between rows, or from these
_KNOBS: dict[str, tuple[str, object]] = {
    "provider": ("provider", None),
    "intra_op_num_threads": ("threads", None),
    "batch": ("batch", None),
    "graph_optimization_level": ("optimization", "all"),
    "allow_spinning": ("spinning", False),
    "enable_arena": ("arena", True),
}


def print_rows(console: Console, measured: Sequence[Measurement]) -> None:
    """Print a row for each measurement, and what was assumed and refused below."""
    if not measured:
        return
    is_wide = console.width >= WIDE
    columns = _columns(measured, is_wide=is_wide)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1) if is_wide else 0)
    for title in columns:
        is_text = title in ("model", "tags")
        table.add_column(title, justify="left" if is_text else "right", overflow="fold", no_wrap=not is_text)
    for measurement in measured:
        cells = [cell(measurement).replace(" [", "\n[") for cell in columns.values()]
        table.add_row(*map(escape, cells))
    console.print(table)
    console.print("Latency of one call with its 95% interval; memory is the peak of the whole process.")
    for note in _notes(measured):
        console.print(escape(note), soft_wrap=True)


def _columns(measured: Sequence[Measurement], *, is_wide: bool) -> dict[str, Callable[[Measurement], str]]:
    columns: dict[str, Callable[[Measurement], str]] = {"model": lambda m: Path(m.model.path).name}
    for field, (title, usual) in _KNOBS.items():
        values = {getattr(m.runtime, field) for m in measured}
        if usual is None or values != {usual}:
            columns[title] = lambda m, field=field: _knob(getattr(m.runtime, field))  # type: ignore[misc]
    for name, q in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
        metric = BUILT_IN[f"latency_{name}"]
        columns[name] = lambda m, q=q, metric=metric: format_estimate(_estimate(m.latency(q)), metric)  # type: ignore[misc]
    columns["rows/s"] = lambda m: format_value(m.throughput().value, BUILT_IN["throughput"])
    columns["memory"] = lambda m: format_value(m.peak_memory().value, _BYTES)
    if is_wide:
        columns["arena"] = lambda m: format_value(
            m.profile.arena.in_use_peak_bytes if m.profile else None, _BYTES
        )
    if any(m.energy for m in measured):
        columns["energy"] = _energy
    columns["load"] = lambda m: format_value(m.load_time().value, _SECONDS)
    columns["launches"] = lambda m: str(len(m.launches))
    columns["tags"] = lambda m: " ".join(m.tags)
    return columns


def _energy(measurement: Measurement) -> str:
    energy = measurement.energy
    if energy is None or energy.gross_j is None:
        return "unavailable"
    net = "-" if energy.net_j is None else f"{1e3 * energy.net_j:.3g}"
    return f"{1e3 * energy.gross_j:.3g} mJ, net {net}"


def _knob(value: object) -> str:
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)


def _estimate(statistic: Statistic) -> Estimate:
    return Estimate(statistic.value, statistic.low, statistic.high, statistic.reason)


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
    for measurement in measured:
        file = Path(measurement.model.path).name
        if measurement.assumed_dimensions:
            names = ", ".join(measurement.assumed_dimensions)
            notes.append(f"{file}: taken as 1 for want of a size: {names}; give it with --dim NAME=SIZE.")
        if measurement.energy is not None and measurement.energy.reason is not None:
            notes.append(f"{file}: energy: {measurement.energy.reason}.")
        if measurement.profile_reason is not None:
            notes.append(f"{file}: no arena memory: {measurement.profile_reason}.")
    return list(dict.fromkeys(notes))


def print_verdicts(console: Console, measured: Sequence[Measurement], bounds: Sequence[LatencyBound]) -> None:
    """Print for each bound and row whether it holds."""
    from profilers import bound_verdict

    for bound in bounds:
        metric = BUILT_IN["latency_p50"]
        for measurement in measured:
            found = bound_verdict(measurement, bound)
            claim = f"p{100 * bound.q:g} <= {format_value(bound.limit_s, metric)}"
            text = f"{found.verdict}  {claim}  {_where(measurement)}: {found.n_over} of {found.n} over"
            text += f", confidence {_confidence(found.confidence)}"
            console.print(escape(text + (f"; {found.reason}" if found.reason else "")), soft_wrap=True)


def _where(measurement: Measurement) -> str:
    runtime = measurement.runtime
    name = Path(measurement.model.path).name
    return f"{name}, {runtime.provider}, threads {runtime.intra_op_num_threads}, batch {runtime.batch}"


def _confidence(confidence: float) -> str:
    return "above 99.9%" if confidence > 0.999 else f"{100 * confidence:.1f}%"


def print_operators(console: Console, measured: Sequence[Measurement]) -> None:
    """Print for each row the operators that took most time under the runtime's own profiling."""
    for measurement in measured:
        if measurement.profile is None:
            continue
        title = f"{_where(measurement)}: time by operator"
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=escape(title), title_justify="left")
        for name in ("operator", "node", "share", "a call", "runs a call"):
            table.add_column(
                name, justify="left" if name in ("operator", "node") else "right", overflow="fold"
            )
        rows = measurement.profile.operators
        n_calls = measurement.profile.n_calls
        for row in rows[:_MOST_OPERATORS]:
            share = "-" if row.share is None else f"{100 * row.share:.1f}%"
            seconds = format_value(row.total_s / n_calls, _SECONDS)
            cells = (row.op_type, row.node_name, share, seconds, f"{row.n_runs / n_calls:g}")
            table.add_row(*map(escape, cells))
        console.print(table)
        if len(rows) > _MOST_OPERATORS:
            console.print(f"and {len(rows) - _MOST_OPERATORS} more; all are in the file of --json")
    console.print("Under profiling, in whole microseconds an operator; a small model runs slower than usual.")
