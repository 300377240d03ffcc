"""Writes a bundle: the folder appears whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from moo.bundle._arrays import Arrays, write_arrays
from moo.bundle._card import model_card
from moo.bundle._files import BUNDLE_FILE, cut_off, files_in, listed, sha256_of
from moo.bundle._json import Fields
from moo.bundle._read import read
from moo.bundle._record import Bundle
from moo.bundle._runtime import checked_runtime
from moo.bundle._serve import serve_script
from moo.errors import InputError, SweepError

__all__ = ["check_place", "write"]


def write(
    folder: str | Path,
    bundle: Bundle,
    *,
    model_files: Mapping[str, Path],
    sample_inputs: Arrays,
    expected_outputs: Arrays,
    overwrite: bool = False,
) -> str:
    """Write a bundle and return the SHA-256 of its `bundle.json`, by which it can be pinned.

    Args:
        folder: Where it comes to be: nothing, or an empty folder.
        bundle: All that it says; its `files` are found here.
        model_files: What is copied, by the path in the bundle.
        sample_inputs: By input name, a call each along the first axis.
        expected_outputs: By output name, the same.
        overwrite: Whether a bundle that is there is replaced; one too that a writer had moved aside to
            replace it, and was then cut off.

    Raises:
        InputError: If the folder cannot be, or the bundle says what none can say.
        SweepError: If it cannot be written; what was there before is there still.
    """
    place = check_place(folder, overwrite=overwrite)
    beside = place.with_name(f".{place.name}.{secrets.token_hex(4)}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        beside.mkdir()
        sha256 = _fill(beside, bundle, model_files, sample_inputs, expected_outputs)
        _into_place(beside, place)
    except OSError as error:
        raise SweepError(
            f"--out: {place} cannot be written ({error.strerror or error}): make room, or choose another"
        ) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    for old in cut_off(place):  # of a writer that was cut off: this one has replaced it
        shutil.rmtree(old, ignore_errors=True)
    return sha256


def check_place(folder: str | Path, *, overwrite: bool) -> Path:
    """Return the folder's absolute path; refuse one that holds anything but a bundle to be replaced.

    Raises:
        InputError: With the reason.
    """
    place = Path(os.path.abspath(folder))  # noqa: PTH100  (a link is refused, not followed)
    if place.is_symlink() or (place.exists() and not place.is_dir()):
        kind = "a symbolic link" if place.is_symlink() else "a file"
        raise InputError(f"--out: expected a new folder, got {kind}, {place}: choose another")
    if not place.exists() and (aside := cut_off(place)) and not overwrite:
        raise InputError(
            f"--out: a moo bundle that was cut off left the bundle of {place} in {aside[0]}: rename it"
            " back, or --overwrite it"
        )
    if not place.exists() or not any(place.iterdir()):
        return place
    if not (place / BUNDLE_FILE).is_file():
        raise InputError(f"--out: expected a new or empty folder, got {place}, which holds other files")
    if not overwrite:
        raise InputError(f"--out: {place} holds a bundle: choose another folder, or --overwrite it")
    own = {BUNDLE_FILE, *(file.path for file in read(place)[0].files)}
    others = [path for path in files_in(place) if path not in own and "__pycache__" not in path]
    if others:
        raise InputError(
            f"--overwrite: {place} holds files that are not the bundle's, {', '.join(others[:3])}: move them"
            " away first"
        )
    return place


def _fill(
    folder: Path,
    bundle: Bundle,
    model_files: Mapping[str, Path],
    sample_inputs: Arrays,
    expected_outputs: Arrays,
) -> str:
    for path, source in model_files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, folder / path)
    write_arrays(folder / bundle.sample.inputs, sample_inputs)
    write_arrays(folder / bundle.sample.outputs, expected_outputs)
    _write_json(folder / "runtime.json", bundle.runtime)
    runtime = checked_runtime(Fields(bundle.runtime, "runtime"))
    (folder / "serve.py").write_text(serve_script(runtime, bundle.model.path), encoding="utf-8")
    (folder / "README.md").write_text(model_card(bundle), encoding="utf-8")
    whole = replace(bundle, files=listed(folder, sorted(files_in(folder))))
    record = json.loads(json.dumps(whole.to_json()))
    Bundle.from_json(record)  # what is written can be read: refused here, and not by who gets it
    _write_json(folder / BUNDLE_FILE, record)
    return sha256_of(folder / BUNDLE_FILE)


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _into_place(beside: Path, place: Path) -> None:
    """Give the folder its name; a bundle that had it goes away only once the new one is there."""
    if not place.exists() or not any(place.iterdir()):
        beside.rename(place)  # onto an empty folder too
        return
    old = place.with_name(f"{beside.name}.old")
    place.rename(old)
    try:
        beside.rename(place)
    except OSError:
        with contextlib.suppress(OSError):
            old.rename(place)
        raise
    shutil.rmtree(old, ignore_errors=True)
