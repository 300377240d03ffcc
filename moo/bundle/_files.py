"""The files of a bundle: where they may lie, how they are listed, and what is found in their place."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from moo.bundle._json import Fields
from moo.errors import InputError

__all__ = [
    "BUNDLE_FILE",
    "ListedFile",
    "checked_path",
    "cut_off",
    "files_in",
    "listed",
    "problem_with",
    "sha256_of",
]

BUNDLE_FILE = "bundle.json"
_PART = re.compile(r'[^/\\:*?"<>|\x00-\x1f\x7f]+')
_MOST_CHARACTERS = 400


@dataclass(frozen=True)
class ListedFile:
    """A file of a bundle: path below its folder with `/`, SHA-256, size in bytes."""

    path: str
    sha256: str
    bytes: int

    @classmethod
    def from_json(cls, fields: Fields) -> ListedFile:
        """Return the file that an entry of `bundle.json` lists.

        Raises:
            InputError: For a path that leads outside the folder, or what is no SHA-256 or size.
        """
        sha256 = fields.text("sha256")
        if not re.fullmatch("[0-9a-f]{64}", sha256):
            raise fields.wrong("sha256", "64 hexadecimal digits")
        return cls(checked_path(fields, "path"), sha256, fields.count("bytes"))


def checked_path(fields: Fields, name: str) -> str:
    """Return a path that stays in the bundle's folder on every system: relative, without `..`.

    Raises:
        InputError: For any other.

    >>> checked_path(Fields({"path": "model/model.onnx"}, "it"), "path")
    'model/model.onnx'
    """
    path = fields.text(name)
    parts = path.split("/")
    is_plain = all(_PART.fullmatch(part) and part.strip(" .") for part in parts)
    if not is_plain or len(path) > _MOST_CHARACTERS:
        raise fields.wrong(name, "a relative path inside the bundle's folder")
    return path


def cut_off(place: Path) -> list[Path]:
    """Return the bundles that were moved aside to be replaced, by writers that were then cut off.

    Between two renames neither the old nor the new one has the name; see `_write.py`.
    """
    name = re.compile(rf"\.{re.escape(place.name)}\.[0-9a-f]{{8}}\.old")
    try:
        found = [path for path in place.parent.iterdir() if name.fullmatch(path.name)]
    except OSError:
        return []
    return sorted(path for path in found if path.is_dir() and not path.is_symlink())


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def listed(folder: Path, paths: Sequence[str]) -> tuple[ListedFile, ...]:
    """Return the files at those paths below a folder, hashed."""
    places = [folder / path for path in paths]
    return tuple(
        ListedFile(path, sha256_of(place), place.stat().st_size)
        for path, place in zip(paths, places, strict=True)
    )


def problem_with(folder: Path, file: ListedFile) -> str | None:
    """Return what is wrong with a listed file, in words; None where it is there as it was listed.

    No part of its path may be a symbolic link. A file of another size is not read at all.
    """
    place = folder
    try:
        for part in file.path.split("/"):
            place = place / part
            if place.is_symlink():
                return f"{file.path}: {place.name} is a symbolic link, expected a file of the bundle's own"
        found = place.stat()
        if not stat.S_ISREG(found.st_mode):
            return f"{file.path}: is no file"
        if found.st_size != file.bytes:
            return f"{file.path}: has {found.st_size} bytes, expected {file.bytes}"
        sha256 = sha256_of(place)
    except (FileNotFoundError, NotADirectoryError):
        return f"{file.path}: is missing"
    except OSError as error:
        return f"{file.path}: cannot be read ({error.strerror})"
    if sha256 != file.sha256:
        return f"{file.path}: was changed: its SHA-256 is {sha256[:12]}.., expected {file.sha256[:12]}.."
    return None


def files_in(folder: Path) -> Iterator[str]:
    """Yield the paths of all that is in a folder but folders, with `/`; no link is followed.

    Raises:
        InputError: If a folder cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise InputError(f"{error.filename}: cannot be read ({error.strerror})") from error

    for place, folders, names in os.walk(folder, onerror=refuse):
        links = [name for name in folders if (Path(place) / name).is_symlink()]
        for name in sorted([*names, *links]):
            yield (Path(place) / name).relative_to(folder).as_posix()
