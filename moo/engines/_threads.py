"""Several shares of a sweep at a time, each followed by a thread of this process."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Sequence

from moo.results import FinishedTrial, Results
from moo.signals import interrupts_held_back
from moo.task import Observer

__all__ = ["OneAtATime", "run_together"]

_LOOK_S = 0.2
_GRACE_S = 20.0

Share = Callable[[Callable[[], bool]], None]
"""Does a share of the sweep; is given what tells whether no further trial is to be begun."""


def run_together(shares: Sequence[Share], should_stop: Callable[[], bool], abandon: threading.Event) -> None:
    """Run all shares until each is done; one that fails has the others end after their trials.

    Args:
        shares: What each thread does.
        should_stop: Asked before each trial; True ends the sweep there.
        abandon: Set when this is interrupted: the shares are to end at once, by `KeyboardInterrupt`.

    Raises:
        BaseException: The first that a share raised.
    """
    errors: list[BaseException] = []
    ended: queue.SimpleQueue[None] = queue.SimpleQueue()  # an interrupted join takes a thread for ended

    def is_over() -> bool:
        return bool(errors) or abandon.is_set() or should_stop()

    def run(share: Share) -> None:
        try:
            share(is_over)
        except BaseException as error:  # raised again below, in the thread that waits
            errors.append(error)
        finally:
            ended.put(None)

    n_begun, n_ended = 0, 0
    try:
        for share in shares:
            n_begun += 1
            threading.Thread(target=run, args=(share,), daemon=True).start()
        while n_ended < n_begun:
            n_ended += _has_one(ended, _LOOK_S)
    except BaseException:
        with interrupts_held_back():
            abandon.set()
            until = time.monotonic() + _GRACE_S
            while n_ended < n_begun and time.monotonic() < until:
                n_ended += _has_one(ended, _LOOK_S)
        raise
    if errors:
        raise errors[0]


def _has_one(ended: queue.SimpleQueue[None], wait_s: float) -> bool:
    with contextlib.suppress(queue.Empty):
        ended.get(timeout=wait_s)
        return True
    return False


class OneAtATime:
    """An observer that several threads tell, for one that only one may.

    Args:
        observer: Who is told.
    """

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._lock = threading.Lock()

    def begun(self, results: Results, n_trials: int) -> None:
        """See `Observer.begun`."""
        with self._lock:
            self._observer.begun(results, n_trials)

    def trial_finished(self, trial: FinishedTrial) -> None:
        """See `Observer.trial_finished`."""
        with self._lock:
            self._observer.trial_finished(trial)
