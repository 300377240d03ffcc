"""What `moo profile` writes: one JSON document, a table of it as CSV, and the samples."""

from __future__ import annotations

import csv
import io
import json as json_module
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moo.errors import InputError

if TYPE_CHECKING:
    from moo.cli.profile import Failure
    from profilers import LatencyBound, Measurement

__all__ = ["check_writable", "save"]


def check_writable(path: Path) -> None:
    """Refuse a file that cannot be written, before anything is measured.

    Raises:
        InputError: If its folder is missing or not writable, or it is itself a folder.
    """
    import os

    if path.is_dir():
        raise InputError(f"--json: expected a file to write, got the folder {path}")
    if not path.parent.is_dir():
        raise InputError(f"--json: folder {path.parent} does not exist: make it, or write elsewhere")
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"--json: folder {path.parent} cannot be written to: write elsewhere")


def save(
    path: Path, measured: Sequence[Measurement], failures: Sequence[Failure], bounds: Sequence[LatencyBound]
) -> None:
    """Write the document to `path`, its table beside it as CSV, and the samples into a folder beside it."""
    from profilers import save_measurements

    failed = [
        {"model": failure.model, "runtime": asdict(failure.runtime), "reason": failure.reason}
        for failure in failures
    ]
    save_measurements(path, measured, failed=failed, bounds=bounds)
    path.with_suffix(".csv").write_text(_table(json_module.loads(path.read_text())["measurements"]))


def _table(entries: Sequence[Mapping[str, Any]]) -> str:
    """Return a row a measurement, in SI units; what is unknown is empty."""
    out = io.StringIO()
    rows = [_row(entry) for entry in entries]
    writer = csv.DictWriter(out, fieldnames=list(rows[0]) if rows else ["model"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _row(entry: Mapping[str, Any]) -> dict[str, Any]:
    row = {"model": entry["model"]["path"], "sha256": entry["model"]["sha256"]} | dict(entry["runtime"])
    for name in ("p50", "p95", "p99"):
        row |= _ends(f"latency_{name}_s", entry["latency_s"][name])
    row |= _ends("throughput_per_s", entry["throughput_per_s"])
    row |= {
        f"{name}_bytes": entry["memory_bytes"][name] for name in ("process_peak", "arena_peak", "live_peak")
    }
    row |= {"file_bytes": entry["model"]["bytes"], "parameters": entry["parameters"]}
    energy = entry["energy_j"] or {"gross_j": None, "net_j": None}
    row |= {"energy_gross_j": energy["gross_j"], "energy_net_j": energy["net_j"]}
    row |= {"load_s": entry["load_s"], "first_call_s": entry["first_call_s"]}
    row |= {"n": entry["latency_s"]["n"], "launches": entry["latency_s"]["launches"]}
    return row | {"tags": " ".join(entry["tags"])}


def _ends(name: str, interval: Mapping[str, Any] | None) -> dict[str, Any]:
    known = interval or {"value": None, "low": None, "high": None}
    return {name: known["value"], f"{name}_low": known["low"], f"{name}_high": known["high"]}
