"""`moo compare` of files: measurements that were made before, one machine at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moo.cli._compare_labels import labels, told_apart
from moo.cli._compare_output import DeviceTable, Outcome
from moo.errors import InputError

if TYPE_CHECKING:
    from profilers import Comparison, Measurement

__all__ = ["compare_files"]

_HASH_LENGTH = 8


@dataclass(frozen=True)
class _Row:
    """A measurement, and what to call it."""

    label: str
    measurement: Measurement


@dataclass(frozen=True)
class _Device:
    """A machine, and the rows of each file that was made on it."""

    fingerprint: str
    environment: dict[str, Any]
    documents: dict[str, list[_Row]]

    @property
    def name(self) -> str:
        """Return the processor and the beginning of the fingerprint."""
        model = self.environment["identity"].get("cpu_model") or "unknown processor"
        return f"{model} [{self.fingerprint[:_HASH_LENGTH]}]"

    def rows(self) -> list[_Row]:
        """Return the rows of all its files."""
        return [row for rows in self.documents.values() for row in rows]


def compare_files(paths: Sequence[str]) -> Outcome:
    """Compare what is in the files with what is in the first from the same machine.

    Rows are paired up by equal runtimes, batch included: those of the same model where two files have one in
    common, else each with each. Of several machines there is also a table of all rows, and no verdict between
    them.

    Raises:
        InputError: If a file cannot be read, or the files are of one machine and no runtime is in two.
    """
    devices = _devices(paths)
    comparisons = [comparison for device in devices for comparison in _compared(device)]
    if len(devices) == 1 and not comparisons:
        raise InputError("A B: expected measurements with the same runtime, got none: profile them alike")
    compared = {label for item in comparisons for label in (item.reference, item.candidate)}
    rows = [row for device in devices for row in device.rows()]
    paired_up = [row for device in devices if len(device.documents) > 1 for row in device.rows()]
    alone = [row.label for row in paired_up if row.label not in compared]
    return Outcome(
        comparisons=tuple(comparisons),
        medians_s={row.label: row.measurement.latency(0.5) for row in rows if row.label in compared},
        notes=tuple(_notes(devices, alone, is_compared=bool(comparisons))),
        devices=_table(devices) if len(devices) > 1 else None,
        details={
            "measurements": [_measured(device, row) for device in devices for row in device.rows()],
            "environments": {device.fingerprint: device.environment for device in devices},
            "without_partner": alone,
        },
    )


def _devices(paths: Sequence[str]) -> list[_Device]:
    from profilers import DocumentError, fingerprint, load_measurements

    devices: dict[str, _Device] = {}
    for path, name in zip(paths, told_apart(paths), strict=True):
        try:
            measurements = load_measurements(path)
        except DocumentError as error:
            raise InputError(f"A B: {error}") from error
        if not measurements:
            raise InputError(f"A B: {path} holds no measurement: profile again, something failed then")
        environment = dict(measurements[0].environment)
        key = fingerprint(environment)
        device = devices.setdefault(key, _Device(key, environment, {}))
        device.documents[name] = _rows(name, measurements)
    return list(devices.values())


def _rows(document: str, measurements: Sequence[Measurement]) -> list[_Row]:
    if len(measurements) == 1:
        return [_Row(document, measurements[0])]
    names = labels([m.model.path for m in measurements], [m.runtime for m in measurements])
    return [_Row(f"{document}: {name}", m) for name, m in zip(names, measurements, strict=True)]


def _compared(device: _Device) -> Iterator[Comparison]:
    """Yield what the device's later files say against its first, grouped by reference."""
    from profilers import compare_unpaired

    first, *others = device.documents.values()
    for reference in first:
        for rows in others:
            has_common = any(_are_of_one_model(one, other) for one in first for other in rows)
            for candidate in rows:
                is_partner = candidate.measurement.runtime == reference.measurement.runtime
                if is_partner and (not has_common or _are_of_one_model(reference, candidate)):
                    names = (reference.label, candidate.label)
                    yield compare_unpaired(reference.measurement, candidate.measurement, labels=names)


def _are_of_one_model(one: _Row, other: _Row) -> bool:
    """Return whether two rows are of the same content, or of files of the same name."""
    models = one.measurement.model, other.measurement.model
    return models[0].sha256 == models[1].sha256 or Path(models[0].path).name == Path(models[1].path).name


def _notes(devices: Sequence[_Device], alone: Sequence[str], *, is_compared: bool) -> Iterator[str]:
    if is_compared:
        yield (
            "From files measured apart: a drift of the machine from one to the other is in the effect. Each "
            "interval holds for its own comparison alone."
        )
    if len(devices) > 1:
        facts = ", ".join(_differing(devices))
        yield f"No verdict between machines, for a ratio is not the models' alone: they differ in {facts}."
    for device in devices:
        for change in _upgrades(device):
            yield f"{device.name}: {change} between the files: that is in the effect too."
    for label in alone:
        yield f"{label}: not compared, for no other file has a measurement of the same model and runtime."


def _upgrades(device: _Device) -> Iterator[str]:
    """Yield what runs on the machine and is not of one version in all its files."""
    files = [
        rows[0].measurement.environment.get("software", {}) for rows in device.documents.values() if rows
    ]
    for name in sorted({name for software in files for name in software}):
        versions = list(dict.fromkeys(str(software.get(name)) for software in files))
        if len(versions) > 1:
            yield f"{name} changed ({', '.join(versions)})"


def _differing(devices: Sequence[_Device]) -> list[str]:
    """Return the facts that are not the same for all."""
    identities = [device.environment["identity"] for device in devices]
    facts = sorted({fact for identity in identities for fact in identity})
    return [fact for fact in facts if any(other.get(fact) != identities[0].get(fact) for other in identities)]


def _table(devices: Sequence[_Device]) -> DeviceTable:
    """Return the medians of all rows, a line for each model and runtime."""
    rows = [(device, row) for device in devices for row in device.rows()]
    keys = list(dict.fromkeys((row.measurement.model.sha256, row.measurement.runtime) for _, row in rows))
    paths = {row.measurement.model.sha256: row.measurement.model.path for _, row in reversed(rows)}
    names = labels(
        [f"{paths[sha256]} {sha256[:_HASH_LENGTH]}" for sha256, _ in keys], [run for _, run in keys]
    )
    cells: dict[tuple[str, str], list[Any]] = {}
    for device, row in rows:
        name = names[keys.index((row.measurement.model.sha256, row.measurement.runtime))]
        cells.setdefault((name, device.name), []).append(row.measurement.latency(0.5))
    return DeviceTable(tuple(names), tuple(device.name for device in devices), cells)


def _measured(device: _Device, row: _Row) -> dict[str, Any]:
    model, median = row.measurement.model, row.measurement.latency(0.5)
    return {
        "label": row.label,
        "fingerprint": device.fingerprint,
        "model": {"path": model.path, "sha256": model.sha256, "bytes": model.bytes},
        "runtime": row.measurement.runtime.to_json(),
        "latency_p50_s": {"value": median.value, "low": median.low, "high": median.high},
    }
