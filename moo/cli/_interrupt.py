"""Ctrl-C once: finish what is in flight. Twice: stop now."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType, TracebackType
from typing import Self

__all__ = ["Interrupt"]

_AGAIN_S = 0.5


class Interrupt:
    """A context in which the first interrupt only asks to stop; the second raises.

    What is raised while Python runs a weak reference's callback or a finaliser is lost, so the second
    interrupt raises again every half second until the context is left.

    Args:
        what: What the first one still waits for, for the line that says so.

    Attributes:
        requested: Whether an interrupt came.
    """

    def __init__(self, what: str = "this trial") -> None:
        self.requested = False
        self._what = what
        self._before: signal._HANDLER = None
        self._alarm_before: signal._HANDLER = None

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGINT, self._handle)
        self._alarm_before = signal.signal(signal.SIGALRM, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self._alarm_before)
        signal.signal(signal.SIGINT, self._before)

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        if self.requested:
            signal.setitimer(signal.ITIMER_REAL, _AGAIN_S, _AGAIN_S)
            raise KeyboardInterrupt
        self.requested = True
        line = f"\nmoo: stopping after {self._what}; Ctrl-C again stops at once\n"
        try:
            sys.stderr.write(line)
        except (
            RuntimeError
        ):  # it came in the midst of another line, which may not be written to twice at once
            os.write(2, line.encode())
