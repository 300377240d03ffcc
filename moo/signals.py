"""Ctrl-C held back while something must not be cut off."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator

__all__ = ["interrupts_held_back"]


@contextlib.contextmanager
def interrupts_held_back() -> Iterator[None]:
    """Hold Ctrl-C, and the alarm that repeats one, back until the end of the block.

    Of this thread; where it is the main one, which alone runs what a signal means, nothing is raised
    meanwhile. A process that is started in the block has both held back until it says otherwise.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGALRM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
