"""JSON that a stranger wrote: read strictly, and told in one line where it is not what was expected."""

from __future__ import annotations

import json
import math
import reprlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moo.errors import InputError

__all__ = ["Fields", "parsed", "read_bytes"]

_MOST_BYTES = 16 * 2**20
_MOST_COUNT = 2**63 - 1


def read_bytes(path: Path) -> bytes:
    """Return the content of a small file that is itself there, and no symbolic link.

    Raises:
        InputError: If it is missing, a link, no file, unreadable, or over 16 MiB.
    """
    if path.is_symlink() or not path.is_file():
        got = "a symbolic link" if path.is_symlink() else "a folder" if path.is_dir() else "none"
        raise InputError(f"{path}: expected a file, got {got}: give the folder that moo bundle wrote")
    try:
        size = path.stat().st_size
        if size > _MOST_BYTES:
            raise InputError(f"{path}: expected at most {_MOST_BYTES} bytes, got {size}: it is no bundle's")
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}): check permissions") from error


def parsed(content: bytes, where: str) -> dict[str, Any]:
    """Return a JSON object: UTF-8, each key once, finite numbers, nested no deeper than Python can go.

    Raises:
        InputError: For anything else.

    >>> parsed(b'{"a": [1, null]}', "it")
    {'a': [1, None]}
    """
    try:
        found = json.loads(content.decode(), object_pairs_hook=_each_once, parse_constant=_refused_constant)
        json.dumps(found, ensure_ascii=False).encode()  # half a surrogate pair can be written, but not shown
    except RecursionError:
        raise InputError(f"{where}: expected a bundle's JSON, got one nested too deep") from None
    except ValueError as error:  # of the decoding, of numbers with thousands of digits, and our own
        reason = reprlib.repr(str(error))
        raise InputError(f"{where}: expected a bundle's JSON, got what cannot be read: {reason}") from error
    if not isinstance(found, dict):
        raise InputError(f"{where}: expected a JSON object, got {_shown(found)}")
    return found


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} twice")
    return found


def _refused_constant(name: str) -> float:
    raise ValueError(f"the number {name}")


def _shown(value: object) -> str:
    return reprlib.repr(value)


@dataclass(frozen=True)
class Fields:
    """A JSON object whose fields are taken out by name and type; keys that nobody asks for are ignored.

    Args:
        record: The object.
        where: What it is, for messages, such as `bundle.json: files[3]`.

    >>> Fields({"n": 3}, "it").count("n")
    3
    """

    record: Mapping[str, Any]
    where: str

    def wrong(self, name: str, expected: str) -> InputError:
        """Return the error that says what was expected of a field, and what came."""
        got = _shown(self.record[name]) if name in self.record else "nothing"
        return InputError(f"{self.where}, {name}: expected {expected}, got {got}: the bundle is damaged")

    def text(self, name: str) -> str:
        """Return a text."""
        value = self.record.get(name)
        if not isinstance(value, str):
            raise self.wrong(name, "a text")
        return value

    def text_or_none(self, name: str) -> str | None:
        """Return a text, or None where it is null or absent."""
        return None if self.record.get(name) is None else self.text(name)

    def word(self, name: str, known: Iterable[str]) -> Any:
        """Return one of the words known."""
        words = tuple(known)
        if self.record.get(name) not in words:
            raise self.wrong(name, f"one of {', '.join(words)}")
        return self.record[name]

    def count(self, name: str, *, least: int = 0, most: int = _MOST_COUNT) -> int:
        """Return a whole number within limits."""
        value = self.record.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise self.wrong(name, f"a whole number from {least} to {most}")
        return value

    def number(self, name: str) -> float:
        """Return a finite number."""
        value = self.record.get(name)
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise self.wrong(name, "a number")
        try:
            number = float(value)
        except OverflowError:
            raise self.wrong(name, "a number that fits 64 bits") from None
        if not math.isfinite(number):
            raise self.wrong(name, "a finite number")
        return number

    def number_or_none(self, name: str) -> float | None:
        """Return a finite number, or None where it is null or absent."""
        return None if self.record.get(name) is None else self.number(name)

    def mapping(self, name: str) -> dict[str, Any]:
        """Return an object."""
        value = self.record.get(name)
        if not isinstance(value, dict):
            raise self.wrong(name, "an object")
        return value

    def mapping_or_none(self, name: str) -> dict[str, Any] | None:
        """Return an object, or None where it is null or absent."""
        return None if self.record.get(name) is None else self.mapping(name)

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a list of texts."""
        values = self._list(name)
        if not all(isinstance(value, str) for value in values):
            raise self.wrong(name, "a list of texts")
        return tuple(values)

    def fields(self, name: str) -> Fields:
        """Return an object, its own fields to be taken out."""
        return Fields(self.mapping(name), f"{self.where}, {name}")

    def each(self, name: str) -> list[Fields]:
        """Return a list of objects."""
        values = self._list(name)
        if not all(isinstance(value, dict) for value in values):
            raise self.wrong(name, "a list of objects")
        return [Fields(value, f"{self.where}, {name}[{index}]") for index, value in enumerate(values)]

    def made(self, name: str, make: Callable[[], Any]) -> Any:
        """Return what is made of a field; an error in the making becomes one about the field."""
        try:
            return make()
        except (InputError, ValueError, TypeError) as error:
            raise InputError(f"{self.where}, {name}: {error}: the bundle is damaged") from error

    def _list(self, name: str) -> list[Any]:
        value = self.record.get(name)
        if not isinstance(value, list):
            raise self.wrong(name, "a list")
        return value
