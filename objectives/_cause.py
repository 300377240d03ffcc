"""Why a converter of others refused a model, in one line."""

from __future__ import annotations

__all__ = ["innermost_cause"]

_LONGEST = 160  # characters: a converter's message may hold every node


def innermost_cause(error: BaseException) -> str:
    """Return the type and the first line of the error that the others were raised from, or while handling.

    Converters wrap it in pages of advice. One that was raised `from None` is the innermost itself.

    >>> try:
    ...     raise ValueError("pages of advice") from TypeError("expected an int.")
    ... except ValueError as error:
    ...     innermost_cause(error)
    'TypeError: expected an int'
    """
    seen = {id(error)}
    while (inner := _inner(error)) is not None and id(inner) not in seen:
        error = inner
        seen.add(id(error))
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), "no message")
    return f"{type(error).__name__}: {line[:_LONGEST]}".rstrip(".")


def _inner(error: BaseException) -> BaseException | None:
    return error.__cause__ or (None if error.__suppress_context__ else error.__context__)
