"""A quiet machine while a candidate is timed: other processes' work stops at its next step and waits.

A readers-writer lock on two files in the study's folder. Whoever trains, exports or scores holds the window
shared; whoever measures holds it alone. A measurement first takes the turnstile, which all work passes on
its way in, so that no new work begins while it waits. The locks are the kernel's (`flock`): they end with the
process that holds them, however it ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, Protocol

__all__ = ["OpenWindow", "QuietWindow", "Waiting", "Window", "boot_id"]

_log = logging.getLogger("moo")

LIMIT_S = 600.0
_LOOK_S = 0.01  # nothing is being measured while a measurement looks whether it may begin

Waiting = Literal["measurement", "work"]
"""Who waited: a measurement for others' work to pause, or work for others' measurements to end."""


def boot_id() -> str | None:
    """Return what tells this machine, since it was started, from any other; None where nothing does."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except OSError:
        return None


class Window(Protocol):
    """A way to work beside others, or to measure alone."""

    def working(self) -> contextlib.AbstractContextManager[None]:
        """Return a context to work in beside others, but not beside a measurement."""

    def measuring(self) -> contextlib.AbstractContextManager[None]:
        """Return a context to measure in while nobody works."""

    def pause(self) -> float:
        """Let measurements that wait go first; return the seconds that took."""

    def take_waited(self) -> dict[Waiting, float]:
        """Return the seconds waited since the last call, by who waited."""


class OpenWindow:
    """The window of a process that only waits for others' work and measurements: nothing keeps anybody."""

    def working(self) -> contextlib.AbstractContextManager[None]:
        """Return a context that waits for nobody."""
        return contextlib.nullcontext()

    def measuring(self) -> contextlib.AbstractContextManager[None]:
        """Return a context that waits for nobody."""
        return contextlib.nullcontext()

    def pause(self) -> float:
        """Wait for nobody."""
        return 0.0

    def take_waited(self) -> dict[Waiting, float]:
        """Return that nobody waited."""
        return {}


class QuietWindow:
    """One holder's way to work beside others of this machine, or to measure alone.

    A process may have several, one for each thread that runs trials; threads that help in a trial share its
    holder. Work that never pauses (a `fit` that does not report) is waited for until its stage or its trial
    ends, but no longer than `limit_s`; then it is measured beside it, which the tags of a measurement show.
    A process that was stopped (Ctrl-Z) while it measures keeps the others waiting until it goes on. Where
    files cannot be locked nobody waits for anybody, which a warning says once.

    Args:
        folder: Of the study; the lock files are made there, a pair for each machine.
        limit_s: How long a measurement waits for others' work to pause.
        on_wait: Told of each wait, who waited and for how many seconds.
        clock: Seconds from any origin.
        sleep: Waits that many seconds.
    """

    def __init__(
        self,
        folder: Path,
        *,
        limit_s: float = LIMIT_S,
        on_wait: Callable[[Waiting, float], None] = lambda who, seconds: None,  # noqa: ARG005
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        machine = (boot_id() or socket.gethostname()).split("-")[0]  # over a shared folder machines differ
        self._paths = (folder / f".moo-turnstile-{machine}", folder / f".moo-quiet-{machine}")
        self._limit_s = limit_s
        self._on_wait = on_wait
        self._clock = clock
        self._sleep = sleep
        self._mutex = threading.RLock()  # held by the thread that measures, as long as it does
        self._files: tuple[int, int] | None = None
        self._depth = 0
        self._is_measuring = False
        self._is_off = False
        self._waited: dict[Waiting, float] = {}

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Work beside others, but not beside a measurement; begins when none runs or waits. May be nested."""
        with self._mutex:
            self._depth += 1
        try:
            with self._mutex:
                if self._depth == 1 and not self._is_measuring:
                    self._begin_work()
            yield
        finally:
            with self._mutex:
                self._depth -= 1
                if self._depth == 0 and not self._is_measuring:
                    self._close()

    @contextlib.contextmanager
    def measuring(self) -> Iterator[None]:
        """Measure while nobody works; inside `working` that is given back for as long. May be nested."""
        with self._mutex:
            if self._is_measuring:
                yield
                return
            self._is_measuring = True
            try:
                self._begin_measuring()
                yield
            except Exception:
                self._end_measuring(goes_on=True)
                raise
            except BaseException:  # who stops now does not wait for the right to work on
                self._end_measuring(goes_on=False)
                raise
            else:
                self._end_measuring(goes_on=True)

    @contextlib.contextmanager
    def resting(self) -> Iterator[None]:
        """Give the right to work back while this holder only waits, such as for another process."""
        with self._mutex:
            is_resting = self._depth > 0 and not self._is_measuring
            if is_resting:
                self._release()
        try:
            yield
        finally:
            with self._mutex:
                if is_resting:
                    self._begin_work()

    def pause(self) -> float:
        """Let measurements that wait go first; return the seconds that took. For the end of each step."""
        with self._mutex:
            if self._depth == 0 or self._is_measuring:
                return 0.0
            before = self._waited.get("work", 0.0)
            self._begin_work()
            return self._waited.get("work", 0.0) - before

    def is_taken(self) -> bool:
        """Return whether somebody measures, or waits to: a moment to leave the machine alone."""
        try:
            file = os.open(self._paths[0], os.O_RDWR | os.O_CREAT, 0o666)
        except OSError:
            return False
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            fcntl.flock(file, fcntl.LOCK_UN)
        except BlockingIOError:
            return True
        except OSError:
            return False
        finally:
            os.close(file)
        return False

    def take_waited(self) -> dict[Waiting, float]:
        """Return the seconds waited since the last call, by who waited, and begin to count anew."""
        waited, self._waited = self._waited, {}
        return waited

    def count_wait(self, who: Waiting, seconds: float) -> None:
        """Add what somebody waited, and tell whoever wants to know."""
        self._waited[who] = self._waited.get(who, 0.0) + seconds
        self._on_wait(who, seconds)

    # the locks

    def _begin_work(self) -> None:
        """Take the window shared, through the turnstile; where it is held, give it back first."""
        with self._locking() as files:
            if files is None:
                return
            turnstile, window = files
            begun = self._clock()
            fcntl.flock(window, fcntl.LOCK_UN)
            fcntl.flock(turnstile, fcntl.LOCK_SH)
            fcntl.flock(window, fcntl.LOCK_SH)
            fcntl.flock(turnstile, fcntl.LOCK_UN)
            self.count_wait("work", self._clock() - begun)

    def _begin_measuring(self) -> None:
        """Take the turnstile, then the window alone."""
        with self._locking() as files:
            if files is None:
                return
            turnstile, window = files
            begun = self._clock()
            fcntl.flock(window, fcntl.LOCK_UN)
            fcntl.flock(turnstile, fcntl.LOCK_EX)
            until = self._clock() + self._limit_s
            while not (is_alone := _taken(window)) and self._clock() < until:
                self._sleep(_LOOK_S)
            self.count_wait("measurement", self._clock() - begun)
            if not is_alone:
                _log.warning(
                    "another process of this study has worked for %.0f s without a pause (does its fit() call"
                    " report?): a candidate is measured beside it",
                    self._limit_s,
                )

    def _end_measuring(self, *, goes_on: bool) -> None:
        self._is_measuring = False
        if self._depth > 0 and goes_on:
            self._release()
            self._begin_work()
        else:
            self._close()

    def _release(self) -> None:
        with self._locking() as files:
            for file in reversed(files or ()):
                fcntl.flock(file, fcntl.LOCK_UN)

    @contextlib.contextmanager
    def _locking(self) -> Iterator[tuple[int, int] | None]:
        """Give the open lock files, None where files cannot be locked; that may be found out inside."""
        files = self._opened()
        try:
            yield files
        except OSError as error:
            self._go_without(error)

    def _opened(self) -> tuple[int, int] | None:
        if self._files is None and not self._is_off:
            opened: list[int] = []
            try:
                for path in self._paths:
                    opened.append(os.open(path, os.O_RDWR | os.O_CREAT, 0o666))  # noqa: PERF401  # one may fail
                self._files = opened[0], opened[1]
            except OSError as error:
                for file in opened:
                    os.close(file)
                self._go_without(error)
        return self._files

    def _go_without(self, error: OSError) -> None:
        self._is_off = True
        self._close()
        _log.warning(
            "files in %s cannot be locked (%s): where several processes run this study, candidates are"
            " measured beside other work",
            self._paths[0].parent,
            error.strerror,
        )

    def _close(self) -> None:
        """Give all back; by name, for a process that a trial forked has the same files open."""
        files, self._files = self._files, None
        for file in reversed(files or ()):
            with contextlib.suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_UN)
            os.close(file)


def _taken(file: int) -> bool:
    """Take a lock alone, if nobody has it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
