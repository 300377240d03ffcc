"""What `--json` writes; of `moo profile` a document, a table of it as CSV, and the samples."""

from __future__ import annotations

import csv
import io
import json as json_module
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moo.errors import InputError, MooError

if TYPE_CHECKING:
    from moo.cli.profile import Failure
    from profilers import LatencyBound, Measurement

__all__ = ["check_writable", "save", "write_document"]

_SCHEMAS = ("moo.profile/", "moo.compare/")
_MOST_BYTES = 256 * 2**20  # of a document
_TABLE_BEGINS = ("model,sha256,", "model\n")


def check_writable(path: Path, subjects: Sequence[str | Path] = (), *, schema: str | None = None) -> None:
    """Refuse a file that cannot be written or must not be replaced, before anything takes time.

    Args:
        path: The file to write.
        subjects: Models or files that are read.
        schema: How the schema of the command's documents begins, which alone may be replaced; None for those
            of moo profile and moo compare. With "moo.profile/" what lies beside the document counts too.

    Raises:
        InputError: If the folder is missing or not writable, or the file is no .json, is one of the subjects,
            or exists and is no such document.
    """
    try:
        _check_folder(path)
        if path.suffix.lower() != ".json":
            raise InputError(f"--json: expected a name that ends in .json, got {path}")
        if any(_are_the_same(path, Path(subject)) for subject in subjects):
            raise InputError(f"--json: {path} is one of the files to read: write elsewhere")
        schemas = _SCHEMAS if schema is None else (schema,)
        if path.exists() and not _schema_of(path).startswith(schemas):
            wanted = " or ".join(f"{start.rstrip('/')}" for start in schemas)
            raise InputError(
                f"--json: {path} exists and is no file of {wanted}: remove it or write elsewhere"
            )
        if schema is not None and schema.startswith("moo.profile"):
            _check_beside(path)
    except OSError as error:
        raise InputError(f"--json: {path} cannot be written: {error.strerror}") from error
    except RuntimeError as error:  # of pathlib, at links that lead in a circle
        raise InputError(f"--json: {path} cannot be written: {error}") from error


def _check_folder(path: Path) -> None:
    if path.is_dir():
        raise InputError(f"--json: expected a file to write, got the folder {path}: name a file in it")
    if not path.parent.is_dir():
        raise InputError(f"--json: folder {path.parent} does not exist: make it, or write elsewhere")
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"--json: folder {path.parent} cannot be written to: write elsewhere")


def _check_beside(path: Path) -> None:
    """Refuse to replace a foreign table, or to write samples where there is no folder of our own."""
    samples, table = path.with_name(f"{path.stem}.samples"), path.with_suffix(".csv")
    if samples.is_symlink() or (samples.exists() and not samples.is_dir()):
        raise InputError(
            f"--json: expected a folder for the samples or nothing at {samples}: write elsewhere"
        )
    if table.exists() and not (table.is_file() and _is_our_table(table)):
        raise InputError(
            f"--json: {table} exists and is no table of moo profile: remove it or write elsewhere"
        )


def _are_the_same(path: Path, subject: Path) -> bool:
    if path.exists() and subject.exists():
        return path.samefile(subject)
    return path.resolve() == subject.resolve()


def _schema_of(path: Path) -> str:
    """Return what a document says it is, or nothing."""
    try:
        is_small = path.is_file() and path.stat().st_size <= _MOST_BYTES
        document = json_module.loads(path.read_bytes()) if is_small else None
    except (ValueError, RecursionError):
        return ""
    return str(document.get("schema", "")) if isinstance(document, dict) else ""


def _is_our_table(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_TABLE_BEGINS[0])).decode(errors="replace").startswith(_TABLE_BEGINS)


def write_document(path: Path, document: Mapping[str, Any]) -> None:
    """Write a document as JSON, whole or not at all.

    Raises:
        InputError: If there is no such folder, or nothing can be made in it.
        MooError: If writing fails, as on a full disk.
    """
    from profilers import write_whole

    text = json_module.dumps(document, indent=1, allow_nan=False) + "\n"
    try:
        write_whole(path, lambda file: file.write(text.encode()))
    except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
        raise InputError(f"--json: {path} cannot be written: {error.strerror}") from error
    except OSError as error:
        raise MooError(f"--json: {path} cannot be written: {error.strerror or error}") from error


def save(
    path: Path, measured: Sequence[Measurement], failures: Sequence[Failure], bounds: Sequence[LatencyBound]
) -> None:
    """Write the document to `path`, its table beside it as CSV, and the samples into a folder beside it.

    Nothing is written while nothing was measured for want of right input, so that what is there stays.

    Raises:
        DocumentError: If one of them cannot be written; what was there before can still be read.
    """
    from profilers import DocumentError, save_measurements, write_whole

    if not measured and all(failure.is_input for failure in failures):
        return
    failed = [
        {"model": failure.model, "runtime": failure.runtime.to_json(), "reason": failure.reason}
        for failure in failures
    ]
    table = path.with_suffix(".csv")
    try:
        save_measurements(path, measured, failed=failed, bounds=bounds)
        text = _table(json_module.loads(path.read_bytes())["measurements"])
        write_whole(table, lambda file: file.write(text.encode()))
    except ValueError as error:  # the machine changed meanwhile, such as its governor
        raise DocumentError(f"{path}: cannot be written: {error}") from error
    except OSError as error:
        raise DocumentError(f"{table}: cannot be written ({error.strerror or error})") from error


def _table(entries: Sequence[Mapping[str, Any]]) -> str:
    """Return a row a measurement, in SI units; what is unknown is empty."""
    out = io.StringIO()
    rows = [_row(entry) for entry in entries]
    writer = csv.DictWriter(out, fieldnames=list(rows[0]) if rows else ["model"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _row(entry: Mapping[str, Any]) -> dict[str, Any]:
    options = " ".join(f"{name}={value}" for name, value in entry["runtime"].get("options", {}).items())
    row = {"model": entry["model"]["path"], "sha256": entry["model"]["sha256"]}
    row |= entry["runtime"] | {"options": options}
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
