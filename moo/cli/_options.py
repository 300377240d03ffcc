"""`--option NAME=VALUE`: settings that only some providers have."""

from __future__ import annotations

from collections.abc import Sequence

from moo.errors import InputError

__all__ = ["options_by_name"]


def options_by_name(texts: Sequence[str]) -> dict[str, list[str]]:
    """Return the values given for each name, in their order.

    Raises:
        InputError: If a text is no pair.

    >>> options_by_name(["a.b=1", "a.b=2=3"])
    {'a.b': ['1', '2=3']}
    """
    found: dict[str, list[str]] = {}
    for text in texts:
        name, separator, value = (part.strip() for part in text.partition("="))
        if not (name and separator and value):
            raise InputError(f"--option: expected NAME=VALUE, got {text!r}")
        found.setdefault(name, []).append(value)
    return found
