"""Reads what a bundle says of itself, believing nothing."""

from __future__ import annotations

import hashlib
from pathlib import Path

from moo.bundle._files import BUNDLE_FILE, cut_off
from moo.bundle._json import parsed, read_bytes
from moo.bundle._record import Bundle
from moo.errors import InputError

__all__ = ["read"]


def read(folder: str | Path, *, sha256: str | None = None) -> tuple[Bundle, str]:
    """Return what `bundle.json` in a folder says, and its SHA-256; the other files are not looked at.

    Args:
        folder: The bundle.
        sha256: What the SHA-256 must be; None for whatever it is.

    Raises:
        InputError: If there is no bundle, or none that can be read; or another than the one pinned.
    """
    place = Path(folder)
    if not place.is_dir():
        aside = [
            f"; a moo bundle that was cut off while it replaced it left the one before in {path}"
            for path in cut_off(place.absolute())
        ]
        raise InputError(
            f"DIR: expected the folder of a bundle, got {str(folder)!r}: there is none{''.join(aside[:1])}"
        )
    content = read_bytes(place / BUNDLE_FILE)
    found = hashlib.sha256(content).hexdigest()
    if sha256 is not None and found != sha256.strip().lower():
        raise InputError(
            f"--sha256: expected {BUNDLE_FILE} with {sha256.strip()[:64]!r}, got {found}: this is not the"
            " bundle that you were told of"
        )
    return Bundle.from_json(parsed(content, BUNDLE_FILE)), found
