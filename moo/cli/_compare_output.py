"""What `moo compare` shows on the terminal and writes to a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.markup import escape
from rich.table import Table

from moo.cli._summary import WIDE
from moo.evaluation import Estimate
from moo.metrics import BUILT_IN, format_estimate

if TYPE_CHECKING:
    from rich.console import Console

    from profilers import Comparison, Measurement, Statistic

__all__ = ["DeviceTable", "Outcome", "print_outcome", "profile_beside", "write_outcome"]

_SCHEMA = "moo.compare/1"


@dataclass(frozen=True)
class DeviceTable:
    """Medians by model and device.

    Attributes:
        models: What the lines are.
        devices: What the columns are.
        cells: By model and device; several where several files have the same.
    """

    models: tuple[str, ...]
    devices: tuple[str, ...]
    cells: Mapping[tuple[str, str], Sequence[Statistic]]


@dataclass(frozen=True)
class Outcome:
    """What was compared.

    Attributes:
        comparisons: Those of the same reference one after the other.
        medians_s: Median latency by label, of all that is in a comparison.
        notes: What a reader must know beside the table, a line each.
        details: Further entries of the file.
        measurements: Those that were made now, whose samples are written too.
        failed: `label` and `reason` of what could not be measured.
        devices: Where the files are of several machines.
    """

    comparisons: tuple[Comparison, ...]
    medians_s: Mapping[str, Statistic]
    notes: tuple[str, ...]
    details: Mapping[str, Any]
    failed: tuple[Mapping[str, str], ...] = ()
    measurements: tuple[Measurement, ...] = ()
    devices: DeviceTable | None = None


def print_outcome(console: Console, outcome: Outcome) -> None:
    """Print the tables and the notes."""
    is_wide = console.width >= WIDE
    if outcome.devices is not None:
        console.print(_device_table(outcome.devices))
    if outcome.comparisons:
        console.print(_table(outcome, is_wide=is_wide))
        console.print(
            "Ratio of median latencies with its 95% interval: above 1 is slower than the reference. SAME:"
            " all of it within 1%. AMBIGUOUS: it leaves both open.",
            soft_wrap=True,
        )
    for note in [*outcome.notes, *_reasons(outcome.comparisons)]:
        console.print(escape(note), soft_wrap=True)


def write_outcome(path: Path, outcome: Outcome) -> None:
    """Write everything as one document of the schema moo.compare/1; see `write_document` for errors.

    Measurements that were made now go, with their samples, into a document of moo profile beside it.
    """
    from moo.cli._profile_files import save, write_document

    if outcome.measurements:
        save(profile_beside(path), outcome.measurements, (), ())
    document = {
        "schema": _SCHEMA,
        "comparisons": [comparison.to_json() for comparison in outcome.comparisons],
        "medians_s": {
            label: {"value": median.value, "low": median.low, "high": median.high}
            for label, median in outcome.medians_s.items()
        },
        "failed": [dict(failure) for failure in outcome.failed],
        "notes": list(outcome.notes),
        "profile": profile_beside(path).name if outcome.measurements else None,
        **outcome.details,
    }
    write_document(path, document)


def profile_beside(path: Path) -> Path:
    """Return where the measurements behind the comparison at `path` are written.

    >>> profile_beside(Path("out/ab.json")).name
    'ab.profile.json'
    """
    return path.with_name(f"{path.stem}.profile.json")


def _table(outcome: Outcome, *, is_wide: bool) -> Table:
    """Return each reference with its candidates below it."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1) if is_wide else 0)
    for title in ("model", "median", "effect", "verdict", "launches", "tags"):
        is_number = title in ("median", "effect", "launches")
        table.add_column(title, justify="right" if is_number else "left", overflow="fold")
    reference = None
    for comparison in outcome.comparisons:
        if comparison.reference != reference:
            reference = comparison.reference
            launches = str(comparison.n_launches[0])
            table.add_row(
                *map(escape, (reference, _median(outcome, reference), "1 x", "reference", launches, ""))
            )
        cells = (
            comparison.candidate,
            _median(outcome, comparison.candidate),
            effect_text(comparison.effect),
            str(comparison.verdict),
            str(comparison.n_launches[1]),
            " ".join(comparison.tags),
        )
        table.add_row(*(escape(cell if is_wide else cell.replace(" (", "\n(")) for cell in cells))
    return table


def effect_text(effect: Statistic) -> str:
    """Return a ratio as a person reads it, with enough digits to see 1%.

    >>> from profilers import Statistic
    >>> effect_text(Statistic(1.0534, 1.041, 1.0661, 5)), effect_text(Statistic(2.0, None, None, 1))
    ('1.053 x (1.041 - 1.066)', '2.000 x')
    """
    if effect.value is None:
        return "-"
    ends = "" if effect.low is None or effect.high is None else f" ({effect.low:.3f} - {effect.high:.3f})"
    return f"{effect.value:.3f} x{ends}"


def _median(outcome: Outcome, label: str) -> str:
    return _latency(outcome.medians_s[label])


def _latency(median: Statistic) -> str:
    estimate = Estimate(median.value, median.low, median.high, median.reason)
    return format_estimate(estimate, BUILT_IN["latency_p50"])


def _reasons(comparisons: Sequence[Comparison]) -> Iterator[str]:
    """Yield each reason for having no verdict once, with those that it holds for."""
    labels: dict[str, list[str]] = {}
    for comparison in comparisons:
        if comparison.effect.reason is not None:
            labels.setdefault(comparison.effect.reason, []).append(comparison.candidate)
    for reason, names in labels.items():
        yield f"No verdict for {'; '.join(dict.fromkeys(names))}: {reason}."


def _device_table(devices: DeviceTable) -> Table:
    """Return a line for each model, a column for each device."""
    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        title="Median latency of a call, with 95% intervals",
        title_justify="left",
    )
    table.add_column("model", overflow="fold")
    for device in devices.devices:
        table.add_column(escape(device), justify="right", overflow="fold")
    for model in devices.models:
        medians = [devices.cells.get((model, device), ()) for device in devices.devices]
        cells = ["\n".join(map(_latency, found)) or "-" for found in medians]
        table.add_row(escape(model), *map(escape, cells))
    return table
