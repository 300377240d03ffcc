"""Values that somebody may put where others were, and every place of a document to put them."""

import copy
from collections.abc import Iterator
from typing import Any

GONE = object()
"""Stands for a key that is taken out."""

VALUES = (
    *(None, True, 0, -1, 2**70, 1e308, float("nan"), float("inf")),
    *("", "x", "\x1b[2J\nline", "\ud800", "../../etc/passwd", "/etc/passwd", "a" * 100_000),
    *([], {}, [None], [[]], {"a": {}}, {"__proto__": {"a": 1}}, GONE),
)


def places(document: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of each part of a document; of a list, those in its first two entries."""
    yield at
    if isinstance(document, dict):
        for name, part in document.items():
            yield from places(part, (*at, name))
    elif isinstance(document, list):
        for index, part in enumerate(document[:2]):
            yield from places(part, (*at, index))


def edited(document: Any, at: tuple[Any, ...], value: Any) -> Any:
    """Return a copy of a document with something else at a path."""
    if not at:
        return None if value is GONE else value
    whole = copy.deepcopy(document)
    part = whole
    for name in at[:-1]:
        part = part[name]
    if value is GONE:
        del part[at[-1]]
    else:
        part[at[-1]] = value
    return whole
