"""Measurements in a file: one JSON document of the schema moo.profile/1, with the raw samples beside it."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from profilers._bound import LatencyBound, bound_verdict
from profilers._energy import EnergyPerCall
from profilers._errors import DocumentError
from profilers._measurement import SCHEMA, Launch, Measurement, write_samples, write_whole
from profilers._model import ModelFile
from profilers._ort_profile import ArenaMemory, OperatorTime, RuntimeProfile
from profilers._protocol import Protocol
from profilers._runtime import Runtime

ARRAYS = ("latency_ns", "thread_cpu_ns")


def save_measurements(
    path: str | Path,
    measurements: Sequence[Measurement],
    *,
    failed: Sequence[Mapping[str, Any]] = (),
    bounds: Sequence[LatencyBound] = (),
) -> None:
    """Write measurements of one machine and protocol to `path`, and their samples to ``<stem>.samples/``.

    Each file appears whole or not at all, the document last.

    Args:
        path: The JSON file; its folder must exist.
        measurements: What was measured.
        failed: What was asked for and could not be: `model`, `runtime` and `reason` of each.
        bounds: Latency bounds whose verdicts are written with each measurement.
    """
    path = Path(path)
    folder = path.with_name(f"{path.stem}.samples")
    if folder.is_dir():  # of an earlier run, whose document is about to be replaced
        shutil.rmtree(folder)
    if measurements:
        folder.mkdir()
    entries = []
    for index, measurement in enumerate(measurements):
        file = folder / f"{index}.npz"
        write_samples(file, measurement.launches)
        verdicts = [asdict(bound) | asdict(bound_verdict(measurement, bound)) for bound in bounds]
        entries.append(measurement.to_json(samples=f"{folder.name}/{file.name}") | {"bounds": verdicts})
    document = {
        "schema": SCHEMA,
        "environment": dict(measurements[0].environment) if measurements else {},
        "protocol": measurements[0].protocol.to_json() if measurements else {},
        "measurements": entries,
        "failed": [dict(entry) for entry in failed],
    }
    text = json.dumps(document, indent=1, allow_nan=False)
    write_whole(path, lambda file: file.write(text.encode()))


def load_measurements(path: str | Path) -> list[Measurement]:
    """The measurements in a document, with their samples, as they were.

    Raises:
        DocumentError: If the file is missing, is no such document, or its samples are missing or do not fit.
    """
    path = Path(path)
    document = _read(path)
    try:
        protocol = Protocol(**document["protocol"]) if document["measurements"] else Protocol()
        return [
            _measurement(path, entry, protocol, document["environment"]) for entry in document["measurements"]
        ]
    except DocumentError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"{type(error).__name__}: {error}"
        raise DocumentError(f"{path}: expected a document of schema {SCHEMA}, got one with {what}") from error


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text())
    except OSError as error:
        raise DocumentError(
            f"{path}: cannot be read ({error.strerror}): give a file of moo profile"
        ) from error
    except ValueError as error:
        raise DocumentError(
            f"{path}: expected JSON, got something else: give a file of moo profile"
        ) from error
    schema = document.get("schema") if isinstance(document, dict) else None
    if schema != SCHEMA:
        raise DocumentError(f"{path}: expected schema {SCHEMA!r}, got {schema!r}: give a file of moo profile")
    return dict(document)


def _measurement(
    path: Path, entry: Mapping[str, Any], protocol: Protocol, environment: Mapping[str, Any]
) -> Measurement:
    samples = _samples(path, entry["samples"])
    names = {field.name for field in fields(Launch)} - set(ARRAYS)
    launches = tuple(
        Launch(
            **{name: samples[f"{name}_{index}"] for name in ARRAYS},
            **{name: launch[name] for name in names},
        )
        for index, launch in enumerate(entry["launches"])
    )
    return Measurement(
        model=ModelFile(**entry["model"], parameters=entry["parameters"]),
        runtime=Runtime(**entry["runtime"]),
        protocol=protocol,
        launches=launches,
        environment=environment,
        inputs=tuple(entry["inputs"]),
        assumed_dimensions=tuple(entry["assumed_dimensions"]),
        profile=_profile(entry),
        profile_reason=entry["memory_bytes"]["reasons"].get("arena"),
        energy=EnergyPerCall(**entry["energy_j"]) if entry["energy_j"] else None,
    )


def _samples(path: Path, name: object) -> Mapping[str, Any]:
    """The arrays in the file of that name, which must lie in the document's folder."""
    if not isinstance(name, str):
        raise DocumentError(f"{path}: has no raw samples: measure again with --json")
    file = path.parent / name
    if not file.resolve().is_relative_to(path.parent.resolve()):
        raise DocumentError(f"{path}: samples {name!r} lie outside its folder: keep them beside the document")
    try:
        with np.load(file, allow_pickle=False) as arrays:
            return dict(arrays)
    except (OSError, ValueError) as error:
        raise DocumentError(
            f"{path}: samples {name!r} cannot be read: copy them beside the document"
        ) from error


def _profile(entry: Mapping[str, Any]) -> RuntimeProfile | None:
    if entry["operators"] is None:
        return None
    memory = entry["memory_bytes"]
    operators = tuple(
        OperatorTime(**row | {"subgraph_of": tuple(row["subgraph_of"])}) for row in entry["operators"]
    )
    arena = ArenaMemory(
        parameters_read_bytes=memory["parameters_read"],
        prepared_bytes=memory["prepared"],
        live_peak_bytes=memory["live_peak"],
        in_use_peak_bytes=memory["arena_peak"],
        held_bytes=memory["arena_held"],
        reasons=memory["reasons"],
    )
    return RuntimeProfile(entry["n_profiled_calls"], operators, arena)
