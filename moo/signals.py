"""Ctrl-C held back while something must not be cut off."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

__all__ = ["interrupts_held_back"]

_HELD = (signal.SIGINT, signal.SIGALRM)


@contextlib.contextmanager
def interrupts_held_back() -> Iterator[None]:
    """Hold Ctrl-C, and the alarm that repeats one, back until the end of the block, where they are raised.

    To block the signals is not enough: the kernel then hands them to any other thread of the process, and
    Python runs their handlers in the main one. So the handlers are exchanged; where another than the main
    thread calls, there is nothing to hold back. A process that is started in the block has both blocked until
    it says otherwise.
    """
    came: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        came.append(number)

    is_main = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in _HELD} if is_main else {}
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, _HELD)
    try:
        for number in before:
            signal.signal(number, note)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)  # what waited is noted now
        for number, handler in before.items():
            signal.signal(number, handler)
        for one in dict.fromkeys(came):
            signal.raise_signal(one)
