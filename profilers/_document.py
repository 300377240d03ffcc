"""Measurements in a file: one JSON document of the schema moo.profile/1, with the raw samples beside it."""

import hashlib
import json
import reprlib
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, fields
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from profilers._bound import LatencyBound, bound_verdict
from profilers._energy import EnergyPerCall
from profilers._environment import fingerprint
from profilers._errors import DocumentError
from profilers._json import HINT, read_object
from profilers._launch import ARRAYS, DEVICE_ARRAYS, Launch, write_samples, write_whole
from profilers._measurement import SCHEMA, Measurement
from profilers._model import ModelFile
from profilers._ort_profile import ArenaMemory, OperatorTime, RuntimeProfile
from profilers._protocol import Protocol
from profilers._runtime import Runtime

BROKEN_ARCHIVE = (
    *(OSError, ValueError, EOFError, MemoryError, RuntimeError, zipfile.BadZipFile, zlib.error),
)  # from np.load
_LONGEST_REASON = 300
T = TypeVar("T")


def save_measurements(
    path: str | Path,
    measurements: Sequence[Measurement],
    *,
    failed: Sequence[Mapping[str, Any]] = (),
    bounds: Sequence[LatencyBound] = (),
) -> None:
    """Write measurements of one machine and protocol to `path`, and their samples to ``<stem>.samples/``.

    A process that is killed leaves the old document or the new one, with all its samples: samples of the new
    one get names of their own, the document replaces the old one as a whole, and only then the files that
    the old one named are removed. Nothing else in the folder is touched.

    Args:
        path: The JSON file; its folder must exist.
        measurements: What was measured.
        failed: What was asked for and could not be: `model`, `runtime` and `reason` of each.
        bounds: Latency bounds whose verdicts are written with each measurement.

    Raises:
        ValueError: If the measurements are not of one machine and one protocol.
        DocumentError: If it cannot be written; the old document is still there.
    """
    path = Path(path)
    folder = path.with_name(f"{path.stem}.samples")
    names = [f"{index}-{_digest(found.launches)}.npz" for index, found in enumerate(measurements)]
    entries = [
        _entry(found, f"{folder.name}/{name}", bounds)
        for found, name in zip(measurements, names, strict=True)
    ]
    document = {
        "schema": SCHEMA,
        **_common(measurements),
        "measurements": entries,
        "failed": [dict(entry) for entry in failed],
    }
    text = json.dumps(document, indent=1, allow_nan=False)
    try:
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            raise DocumentError(
                f"{path}: expected a folder for the samples or nothing at {folder}, got a file or a symbolic "
                "link: move it away, or write elsewhere"
            )
        old_names = _sample_names(path, folder)
        if measurements:
            folder.mkdir(exist_ok=True)
        for found, name in zip(measurements, names, strict=True):
            if not _holds(folder / name, found.launches):
                write_samples(folder / name, found.launches)
        write_whole(path, lambda file: file.write(text.encode()))
    except OSError as error:
        raise DocumentError(
            f"{path}: cannot be written ({error.strerror or error}): make room, or write elsewhere"
        ) from error
    for name in old_names.difference(names):
        with suppress(OSError, ValueError):  # the document is there, and one file too many does no harm
            (folder / name).unlink()


def _common(measurements: Sequence[Measurement]) -> dict[str, Any]:
    """The machine and the protocol, which must be the same for all."""
    if not measurements:
        return {"environment": {}, "protocol": {}}
    first = measurements[0]
    if not all(isinstance(found.environment.get("identity"), Mapping) for found in measurements):
        raise ValueError("measurements: expected environments with an identity, as of environment()")
    for found in measurements:
        if fingerprint(found.environment) != fingerprint(first.environment):
            raise ValueError("measurements: expected all of one machine, got several: save each on its own")
        if found.protocol != first.protocol:
            raise ValueError("measurements: expected all of one protocol, got several: save each on its own")
    return {"environment": dict(first.environment), "protocol": first.protocol.to_json()}


def _entry(measurement: Measurement, samples: str, bounds: Sequence[LatencyBound]) -> dict[str, Any]:
    return measurement.to_json(samples=samples) | {
        "profile_reason": measurement.profile_reason,
        "state": measurement.environment.get("state", {}),
        "bounds": [asdict(bound) | asdict(bound_verdict(measurement, bound)) for bound in bounds],
    }


def _digest(launches: Sequence[Launch]) -> str:
    """Sixteen hexadecimal digits of the samples' content."""
    arrays = [array.tobytes() for launch in launches for array in launch.arrays().values()]
    parts = [hashlib.sha256(array).digest() for array in arrays]
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]


def _sample_names(path: Path, folder: Path) -> set[str]:
    """The files in that folder that the document at `path` names; none where it is no such document."""
    try:
        entries = _read(path)["measurements"]
        files = [Path(entry["samples"]) for entry in entries]
    except (DocumentError, KeyError, TypeError):
        return set()
    return {file.name for file in files if file.parent == Path(folder.name) and file.suffix == ".npz"}


def _holds(file: Path, launches: Sequence[Launch]) -> bool:
    """Whether the samples of these launches are already there, whole."""
    try:
        arrays = _arrays(file)
        return all(
            np.array_equal(arrays[f"{name}_{index}"], array)
            for index, launch in enumerate(launches)
            for name, array in launch.arrays().items()
        )
    except (*BROKEN_ARCHIVE, KeyError, TypeError):
        return False


def load_measurements(path: str | Path) -> list[Measurement]:
    """The measurements in a document, with their samples, as they were.

    Raises:
        DocumentError: If the file is missing, is no such document, or its samples are missing or do not fit.
    """
    path = Path(path)
    document = _read(path)
    try:
        entries = document["measurements"]
        if not isinstance(entries, list):
            raise TypeError(f"measurements: expected a list, got {type(entries).__name__}")
        if not entries:
            return []
        protocol, environment = Protocol(**document["protocol"]), _environment(document["environment"])
        return [_measurement(path, entry, protocol, environment) for entry in entries]
    except DocumentError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        what = " ".join(f"{type(error).__name__}: {error}".split())[:_LONGEST_REASON]
        raise DocumentError(f"{path}: expected a document of schema {SCHEMA}, got one with {what}") from error


def _read(path: Path) -> dict[str, Any]:
    document = read_object(path)
    schema = document.get("schema")
    if schema != SCHEMA:
        raise DocumentError(f"{path}: expected schema {SCHEMA!r}, got {reprlib.repr(schema)}: {HINT}")
    return document


def _environment(environment: object) -> dict[str, Any]:
    """The machine, which must be told by its identity."""
    if not isinstance(environment, dict) or not isinstance(environment.get("identity"), dict):
        raise ValueError("environment: expected one with an identity")
    for name in ("software", "state"):
        if not isinstance(environment.get(name, {}), dict):
            raise ValueError(
                f"environment: {name}: expected an object, got {reprlib.repr(environment[name])}"
            )
    return environment


def _inputs(entries: object) -> tuple[Mapping[str, Any], ...]:
    """What the model was called with: for each input name, type and shape."""
    if not isinstance(entries, list):
        raise TypeError(f"inputs: expected a list, got {reprlib.repr(entries)}")
    for entry in entries:
        shape = entry.get("shape") if isinstance(entry, dict) else None
        is_named = isinstance(shape, list) and all(
            isinstance(entry.get(key), str) for key in ("name", "dtype")
        )
        if not is_named or not all(type(size) is int for size in shape or ()):
            raise TypeError(f"inputs: expected name, dtype and shape of each, got {reprlib.repr(entry)}")
    return tuple(entries)


def _measurement(
    path: Path, entry: Mapping[str, Any], protocol: Protocol, environment: dict[str, Any]
) -> Measurement:
    samples = _samples(path, entry["samples"])
    names = {field.name for field in fields(Launch)} - {*ARRAYS, *DEVICE_ARRAYS}
    launches = tuple(
        _record(
            Launch,
            **{name: samples[f"{name}_{index}"] for name in ARRAYS},
            **{name: samples.get(f"{name}_{index}") for name in DEVICE_ARRAYS},
            **{name: launch[name] for name in names.intersection(launch)},  # those with defaults came later
        )
        for index, launch in enumerate(entry["launches"])
    )
    return Measurement(
        model=_record(ModelFile, **entry["model"], parameters=entry["parameters"]),
        runtime=Runtime.from_json(entry["runtime"]),
        protocol=protocol,
        launches=launches,
        environment=environment | ({"state": entry["state"]} if "state" in entry else {}),
        inputs=_inputs(entry["inputs"]),
        assumed_dimensions=tuple(map(str, entry["assumed_dimensions"])),
        profile=_profile(entry),
        profile_reason=entry.get("profile_reason"),
        energy=_record(EnergyPerCall, **entry["energy_j"]) if entry["energy_j"] else None,
    )


def _samples(path: Path, name: object) -> Mapping[str, Any]:
    """The arrays in the file of that name, which must lie in the document's folder."""
    if not isinstance(name, str):
        raise DocumentError(f"{path}: has no raw samples: measure again with --json")
    file, shown = path.parent / name, ascii(name[:200])
    try:
        is_inside = file.resolve().is_relative_to(path.parent.resolve())
        found = _arrays(file) if is_inside else {}
    except BROKEN_ARCHIVE as error:
        raise DocumentError(
            f"{path}: samples {shown} cannot be read: copy them beside the document"
        ) from error
    if not is_inside:
        raise DocumentError(f"{path}: samples {shown} lie outside its folder: keep them beside the document")
    return found


def _arrays(file: Path) -> dict[str, Any]:
    """The arrays of whole numbers in a file: no pickle, and no more bytes than the file itself has."""
    if not file.is_file():  # reading a pipe or device may never end
        raise FileNotFoundError(file)
    with file.open("rb") as content:  # np.load leaves a file open that it finds broken
        with zipfile.ZipFile(content) as archive:
            unfolded = sum(member.file_size for member in archive.infolist())
        if unfolded > file.stat().st_size:
            raise ValueError(f"{unfolded} bytes in a file of fewer")
        content.seek(0)
        with np.load(content, allow_pickle=False) as arrays:
            found = dict(arrays)
    if not all(getattr(array, "dtype", np.dtype(object)).kind in "iu" for array in found.values()):
        raise ValueError("arrays of something else than whole numbers")
    return found


def _record(kind: type[T], **values: Any) -> T:
    """The record of these fields; its numbers and text must be of the declared types, arrays aside."""
    hints = get_type_hints(kind)
    for name, value in values.items():
        hint = hints.get(name)
        if name in (*ARRAYS, *DEVICE_ARRAYS) or hint is None:
            continue
        parts = [hint] if get_origin(hint) not in (Union, UnionType) else get_args(hint)
        allowed = (*(get_origin(part) or part for part in parts), *([int] if float in parts else []))
        if not isinstance(value, allowed):
            raise TypeError(f"{name}: expected {getattr(hint, '__name__', hint)}, got {reprlib.repr(value)}")
    return kind(**values)


def _profile(entry: Mapping[str, Any]) -> RuntimeProfile | None:
    if entry["operators"] is None:
        return None
    memory = entry["memory_bytes"]
    operators = tuple(
        _record(OperatorTime, **row | {"subgraph_of": tuple(row["subgraph_of"])})
        for row in entry["operators"]
    )
    arena = _record(
        ArenaMemory,
        parameters_read_bytes=memory["parameters_read"],
        prepared_bytes=memory["prepared"],
        live_peak_bytes=memory["live_peak"],
        in_use_peak_bytes=memory["arena_peak"],
        held_bytes=memory["arena_held"],
        reasons=memory["reasons"],
    )
    return RuntimeProfile(entry["n_profiled_calls"], operators, arena)
