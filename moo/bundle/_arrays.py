"""Arrays in a file of numpy's, read as if a stranger had written it: no pickle, nothing that unfolds."""

from __future__ import annotations

import math
import struct
import tokenize
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from moo.errors import InputError

__all__ = ["Arrays", "read_arrays", "write_arrays"]

Arrays = Mapping[str, NDArray[Any]]
_KINDS = "fiubU"
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_MOST_MEMBERS = 1000
_BROKEN = (
    *(EOFError, KeyError, MemoryError, NotImplementedError, OSError, OverflowError, RecursionError),
    *(RuntimeError, SyntaxError, TypeError, ValueError, Warning),
    *(struct.error, tokenize.TokenError, zipfile.BadZipFile),
)  # what zipfile and numpy raise at bytes that are not what they should be


def write_arrays(path: Path, arrays: Arrays) -> None:
    """Write arrays of numbers, booleans or text by name, as `numpy.savez` does, none compressed."""
    named: dict[str, Any] = dict(arrays)
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **named)


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays that `write_arrays` wrote.

    What a header declares is held against the bytes that are there before anything is allocated, and
    compressed members are refused, so that a small file stays small.

    Raises:
        InputError: For a file that is truncated or something else, or arrays of objects.
    """
    try:
        with warnings.catch_warnings(), zipfile.ZipFile(path) as archive:
            warnings.simplefilter("error")
            members = archive.infolist()
            if len(members) > _MOST_MEMBERS:
                raise ValueError(f"{len(members)} members")
            found = {_name(member): _array(archive, member) for member in members}
    except _BROKEN as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(
            f"{path.name}: expected arrays of numbers, booleans or text as numpy.savez writes them, none"
            f" compressed, got what cannot be read: {reason!r}: the bundle is damaged"
        ) from error
    if len(found) < len(members):
        raise InputError(f"{path.name}: expected each array once, got one twice: the bundle is damaged")
    return found


def _name(member: zipfile.ZipInfo) -> str:
    if not member.filename.endswith(".npy"):
        raise ValueError(f"a member {member.filename!r}")
    return member.filename.removesuffix(".npy")


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NDArray[Any]:
    if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
        raise ValueError(f"the compressed member {member.filename!r}")
    with archive.open(member) as file:
        shape, is_fortran, dtype = _header(file)
        content = file.read()  # checks the sum of the bytes too
    size = math.prod(shape) * dtype.itemsize
    if dtype.kind not in _KINDS or any(length < 0 for length in shape):
        raise ValueError(f"an array of type {dtype} and shape {shape}")
    if size != len(content):
        raise ValueError(f"{len(content)} bytes for shape {shape} of {dtype}")
    flat = np.frombuffer(content, dtype) if size else np.zeros(math.prod(shape), dtype)
    return flat.reshape(shape, order="F" if is_fortran else "C").copy()


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"format {version}")
    shape, is_fortran, dtype = _HEADERS[version](file)
    return shape, is_fortran, dtype
