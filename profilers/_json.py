"""A JSON object from a file that anybody may have written or edited."""

import json
import reprlib
from pathlib import Path
from typing import Any

from profilers._errors import DocumentError

MOST_BYTES = 256 * 2**20  # of a document without its samples, which are beside it
HINT = "give a file of moo profile"


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file: UTF-8, each key once, finite numbers, text that can be shown.

    Raises:
        DocumentError: If there is no regular file, it cannot be read, is too large, or holds anything else.
    """
    try:
        if path.exists() and not path.is_file():
            got = "a folder" if path.is_dir() else "a pipe or device"  # reading which may never end
            raise DocumentError(f"{path}: cannot be read: expected a file, got {got}: {HINT}")
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise DocumentError(f"{path}: expected at most {MOST_BYTES} bytes, got {size}: {HINT}")
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DocumentError(f"{path}: cannot be read ({error.strerror}): {HINT}") from error
    except ValueError as error:
        raise DocumentError(f"{path}: expected JSON in UTF-8, got something else: {HINT}") from error
    try:
        document = json.loads(text, object_pairs_hook=_each_once, parse_constant=_refused)
        json.dumps(document, ensure_ascii=False).encode()  # half a surrogate pair can be written, not shown
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DocumentError(f"{path}: expected JSON, got something else ({reason}): {HINT}") from error
    if not isinstance(document, dict):
        raise DocumentError(f"{path}: expected a JSON object, got {reprlib.repr(document)}: {HINT}")
    return document


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in found if names.count(name) > 1)
        raise ValueError(f"the key {reprlib.repr(twice)} twice")
    return found


def _refused(name: str) -> float:
    raise ValueError(f"the number {name}")
