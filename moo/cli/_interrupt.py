"""Ctrl-C once: finish what is in flight. Twice: stop now."""

from __future__ import annotations

import signal
import sys
from types import FrameType, TracebackType
from typing import Self

__all__ = ["Interrupt"]


class Interrupt:
    """A context in which the first interrupt only asks to stop; the second raises.

    Attributes:
        requested: Whether an interrupt came.
    """

    def __init__(self) -> None:
        self.requested = False
        self._before: signal._HANDLER = None

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        sys.stderr.write("\nmoo: stopping after this trial; Ctrl-C again stops at once\n")
