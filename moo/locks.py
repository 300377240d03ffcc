"""Locks between the processes of one host, in a study's folder; the kernel frees those of the dead."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

__all__ = ["TELLING", "locked", "locked_at_once"]

TELLING = ".moo-lock"
"""Held while it is decided what became of a trial: told by its process, or taken away from it."""


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock, waiting for it; a file system without locks goes without."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            fcntl.flock(stack.enter_context(path.open("w")), fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def locked_at_once(path: Path) -> Iterator[bool]:
    """Hold the lock unless another process does, and tell whether; as `locked`, without waiting."""
    with contextlib.ExitStack() as stack:
        is_held = True
        try:
            fcntl.flock(stack.enter_context(path.open("w")), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            is_held = False
        except OSError:
            pass
        yield is_held
