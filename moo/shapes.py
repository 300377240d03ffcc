"""Of which shape kept JSON is; and in one line what is not, where somebody has edited it."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Mapping
from typing import Any

__all__ = ["ANY", "EACH", "INSIDE", "checked", "misfit"]

ANY = object()
"""Whatever JSON has."""
EACH = object()
"""As the only key of an object's shape: what each value is of, whatever it is called."""
INSIDE = re.compile(r"(?!/)(?!(?:.*/)?\.\.(?:/|\Z))[^\0]+", re.DOTALL)
"""A path that stays in the folder that it is relative to."""

_NAMES: Mapping[object, str] = {
    None: "null",
    bool: "true or false",
    dict: "an object",
    float: "a number",
    int: "a whole number",
    list: "a list",
    str: "a text",
}
_MOST_SIGNS = 60  # of a name in a path
_MOST_BITS = 1024  # of a whole number, which no float holds beyond


def misfit(value: object, shape: Any, where: str = "") -> str | None:
    """Return where a value is not of a shape, what was expected and what is there; None where all is.

    A shape is a type, of which `float` is a number and no NaN, and `int` one that a float could hold; None
    for null; a pattern that a whole text matches; a frozenset of texts, one of which it is; a tuple, any of
    whose shapes will do; a list of one shape, for a list of such, or of several, for a list of just these; a
    dict, for an object with its keys, of which one that ends in `?` may be absent, and further ones may be
    there.

    >>> misfit({"n": 1, "of": [2.5, None]}, {"n": int, "of": [(float, None)], "more?": str}) is None
    True
    >>> misfit({"n": {"a": "1"}}, {"n": {EACH: float}})
    "n/a: expected a number, got '1'"
    >>> misfit({}, {"n": int})
    'n: expected a whole number, got nothing'
    >>> misfit("../x", INSIDE, "path")
    "path: expected a path inside the folder, got '../x'"
    """
    return _misfit(value, shape, (None, where) if where else None)


_Where = tuple[Any, str] | None
"""The place above and the name, as deep as it is: written out only where something is wrong."""


def _misfit(value: object, shape: Any, where: _Where) -> str | None:
    if shape is ANY:
        return None
    if isinstance(shape, dict):
        return _object_misfit(value, shape, where)
    if isinstance(shape, list):
        return _list_misfit(value, shape, where)
    if isinstance(shape, tuple):
        return _misfit_of_any(value, shape, where)
    return None if _is_of(value, shape) else _said(value, shape, where)


def _misfit_of_any(value: object, shapes: tuple[Any, ...], where: _Where) -> str | None:
    if any(not isinstance(shape, (dict, list)) and _is_of(value, shape) for shape in shapes):
        return None
    reasons = [_misfit(value, shape, where) for shape in shapes]
    return None if None in reasons else _last_word(value, shapes, reasons, where)


def _is_of(value: object, shape: Any) -> bool:
    if shape is float:
        is_number = isinstance(value, float) or _is_of(value, int)
        return is_number and value == value
    if shape is int:
        return isinstance(value, int) and not isinstance(value, bool) and value.bit_length() < _MOST_BITS
    if shape is None:
        return value is None
    if isinstance(shape, re.Pattern):
        return isinstance(value, str) and shape.fullmatch(value) is not None
    if isinstance(shape, frozenset):
        return isinstance(value, str) and value in shape
    return isinstance(value, shape)


def _object_misfit(value: object, shape: dict[Any, Any], where: _Where) -> str | None:
    if not isinstance(value, Mapping):
        return _said(value, dict, where)
    if EACH in shape:
        of_each = shape[EACH]
        pairs = [(str(name), one, of_each) for name, one in value.items()]
    else:
        pairs = []
        for key, of in shape.items():
            name = key.removesuffix("?")
            if name in value:
                pairs.append((name, value[name], of))
            elif name == key:
                return _said_of_nothing(of, (where, name))
    for name, one, of in pairs:
        reason = _misfit(one, of, (where, name))
        if reason is not None:
            return reason
    return None


def _list_misfit(value: object, shape: list[Any], where: _Where) -> str | None:
    if not isinstance(value, (list, tuple)):
        return _said(value, list, where)
    if len(shape) > 1 and len(value) != len(shape):
        return f"{_path(where)}: expected a list of {len(shape)}, got {_shown(value)}"
    shapes = shape if len(shape) > 1 else shape * len(value)
    for index, (one, of) in enumerate(zip(value, shapes, strict=True)):
        reason = _misfit(one, of, (where, str(index)))
        if reason is not None:
            return reason
    return None


def _last_word(value: object, shapes: tuple[Any, ...], reasons: list[str | None], where: _Where) -> str:
    """Return what is wrong inside of a value of the right kind, else which kinds there are."""
    for shape, reason in zip(shapes, reasons, strict=True):
        kind = dict if isinstance(shape, Mapping) else list if isinstance(shape, list) else None
        if kind is not None and isinstance(value, kind) and reason is not None:
            return reason
    expected = " or ".join(map(_name, shapes))
    return f"{_path(where)}: expected {expected}, got {_shown(value)}"


def _said(value: object, shape: Any, where: _Where) -> str:
    return f"{_path(where)}: expected {_name(shape)}, got {_shown(value)}"


def _said_of_nothing(shape: Any, where: _Where) -> str:
    expected = " or ".join(map(_name, shape)) if isinstance(shape, tuple) else _name(shape)
    return f"{_path(where)}: expected {expected}, got nothing"


def _name(shape: Any) -> str:
    if isinstance(shape, re.Pattern):
        return "a path inside the folder" if shape is INSIDE else f"a text such as {shape.pattern}"
    if isinstance(shape, frozenset):
        return " or ".join(sorted(shape))
    kind = dict if isinstance(shape, Mapping) else list if isinstance(shape, list) else shape
    return "something" if shape is ANY else _NAMES[kind]


def _path(where: _Where) -> str:
    names: list[str] = []
    while where is not None:
        above, name = where
        names.append(name[:_MOST_SIGNS])
        where = above
    return "/".join(reversed(names)) or "it"


def _shown(value: object) -> str:
    return reprlib.repr(value)


def checked(value: Any, shape: Any, where: str = "") -> Any:
    """Return a value that is of a shape.

    Raises:
        ValueError: As `misfit` says, where it is not.
    """
    reason = misfit(value, shape, where)
    if reason is not None:
        raise ValueError(reason)
    return value
