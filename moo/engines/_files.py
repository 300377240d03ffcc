"""The files of a trial that was evaluated elsewhere, back in the study's folder, each by its hash."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

from moo.errors import LostError

__all__ = ["digests", "fetch"]


def digests(root: Path) -> dict[str, str]:
    """Return the SHA-256 of each file below a folder, by its path relative to it; links are left out."""
    return {
        path.relative_to(root).as_posix(): _sha256(path)
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def fetch(files: Mapping[str, str], root: Path, folder: Path, get: Callable[[str], bytes]) -> None:
    """Write files that lie elsewhere to where they belong; equal ones are fetched once.

    Args:
        files: The SHA-256 of each, by path relative to `root`.
        root: The sweep's folder.
        folder: The trial's, below it: nothing is written outside.
        get: Returns the contents of a hash.

    Raises:
        LostError: If what arrives is not what was announced.
    """
    home = folder.resolve()
    there: dict[str, Path] = {}
    for name, sha256 in files.items():
        path = root / PurePosixPath(name)
        if not path.resolve().is_relative_to(home):
            raise LostError(f"a file came back that lies outside the trial's folder: {name!r}")
        path.parent.mkdir(parents=True, exist_ok=True)
        if sha256 in there:
            shutil.copyfile(there[sha256], path)
            continue
        data = get(sha256)
        if hashlib.sha256(data).hexdigest() != sha256:
            raise LostError(f"{name}: arrived changed on the way back")
        path.write_bytes(data)
        there[sha256] = path


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
