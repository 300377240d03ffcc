"""The JSON files of `moo confirm`: whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from moo.errors import SweepError

__all__ = ["now", "read_json", "write_json"]


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file that appears whole or not at all; its folder is made.

    Raises:
        SweepError: If it cannot be written.
    """
    from profilers import write_whole

    text = json.dumps(content, indent=1, allow_nan=False) + "\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, lambda file: file.write(text.encode()))
    except OSError as error:
        raise SweepError(f"{path} cannot be written: {error.strerror}: make room, then run again") from error


def read_json(path: Path) -> dict[str, Any] | None:
    """Return what a file holds; None where it is not there, or holds anything else."""
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def now() -> str:
    """Return the time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
