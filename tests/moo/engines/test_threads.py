"""Several shares of a sweep, each in a thread."""

import _thread
import os
import threading

import pytest

from moo.engines._threads import OneAtATime, run_together


def test_all_shares_run_at_the_same_time() -> None:
    together = threading.Barrier(3, timeout=60)
    run_together([lambda is_over: together.wait()] * 3, lambda: False, threading.Event())
    assert together.n_waiting == 0


def test_one_that_fails_has_the_others_end_and_is_raised() -> None:
    has_seen = threading.Event()

    def goes_on(is_over) -> None:
        while not is_over():
            pass
        has_seen.set()

    def fails(is_over) -> None:
        raise ValueError("no luck")

    with pytest.raises(ValueError, match="no luck"):
        run_together([goes_on, fails], lambda: False, threading.Event())
    assert has_seen.is_set()


def test_who_asks_to_stop_is_heard_by_all() -> None:
    asked = []
    run_together([lambda is_over: asked.append(is_over())] * 2, lambda: True, threading.Event())
    assert asked == [True, True]


def test_an_interrupt_abandons_what_runs_and_waits_for_its_end() -> None:
    abandon, ended = threading.Event(), threading.Event()

    def works(is_over) -> None:
        _thread.interrupt_main()
        abandon.wait(60)
        ended.set()

    with pytest.raises(KeyboardInterrupt):
        run_together([works], lambda: False, abandon)
    assert ended.is_set()


def test_an_observer_is_told_by_one_thread_at_a_time() -> None:
    inside, most = [], []

    class Slow:
        def trial_finished(self, trial) -> None:
            inside.append(trial)
            most.append(len(inside))
            os.sched_yield()  # another thread's turn
            inside.remove(trial)

    observer = OneAtATime(Slow())
    shares = [lambda is_over, n=n: [observer.trial_finished((n, i)) for i in range(200)] for n in range(4)]
    run_together(shares, lambda: False, threading.Event())
    assert len(most) == 800
    assert max(most) == 1
