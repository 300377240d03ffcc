"""A study that somebody has edited, or that a disk has garbled: told in one line wherever it is read."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import sqlalchemy.exc
from optuna.exceptions import StorageInternalError

from moo.errors import InputError, StorageError
from moo.patience import said_by
from moo.shapes import ANY, EACH

__all__ = ["RECORD", "SETTING", "TRIAL", "undamaged"]

RECORD = {"problem": {EACH: ANY}, "task": {EACH: ANY}, "seed": int, "folder": str}
"""What `moo:study` holds."""
_FACTS = ({EACH: ANY}, None)
SETTING = {
    "environment?": _FACTS,
    "protocol?": _FACTS,
    "machine?": _FACTS,
    "metrics?": {EACH: {EACH: ANY}},
    "devices?": ([str], {EACH: ANY}),
}
"""What `moo:setting` holds."""
_WORKER = {"host": str, "boot": (str, None), "namespace?": (str, None), "pid": int, "started": (float, None)}
TRIAL = {
    "moo:worker?": (_WORKER, None),
    "moo:attempts?": int,
    "moo:failure?": ({"stage?": (str, None), "reason?": (str, None)}, None),
    "moo:parent?": (int, None),
    "moo:paired?": ({EACH: [int, int, int]}, None),
    "moo:duration_s?": (float, None),
}
"""What a trial's attributes hold beside its evaluation."""

_WHAT_READING_RAISES = (
    *(ArithmeticError, AssertionError, AttributeError, LookupError, RecursionError, TypeError, ValueError),
)
_AWAY = (StorageInternalError, sqlalchemy.exc.SQLAlchemyError)


@contextlib.contextmanager
def undamaged(study: str) -> Iterator[None]:
    """Say in one line what reading a study meets that nobody wrote so: a record edited, a page overwritten.

    Raises:
        StorageError: With where it is, as far as that is known.
    """
    try:
        yield
    except InputError:
        raise
    except _AWAY as error:
        said = " ".join(said_by(error).split())[:500]
        raise StorageError(f"study {study!r} cannot be read: {said}") from error
    except _WHAT_READING_RAISES as error:
        said = " ".join(str(error.__cause__ or error).split())[:500]
        kind = "" if type(error) is ValueError else f"{type(error).__name__}: "
        raise StorageError(
            f"study {study!r} cannot be read: {kind}{said}: it is damaged, or not as moo writes it: take a"
            " copy from before"
        ) from error
