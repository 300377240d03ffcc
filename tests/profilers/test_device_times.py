"""Timing by a device's clock, with every clock scripted."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profilers._child import _timing


class Tape:
    """A device and a host that follow a script, and what was asked of the device.

    Each call takes the next of `device_ns` there, and `host_ns` of the host; the host waits when it
    synchronises.
    """

    def __init__(self, device_ns: list[int], host_ns: int = 5) -> None:
        self.device_ns, self.host_ns = device_ns, host_ns
        self.asked: list[str] = []
        self.held_ns: list[int] = []
        self.feeds: list[Any] = []
        self.time_ns = self.now_ns = 0

    def host_clock(self) -> int:
        return self.now_ns

    def event(self) -> int:
        self.asked.append("mark")
        return self.time_ns

    def elapsed_ns(self, start: int, stop: int) -> int:
        return stop - start

    def synchronize(self) -> None:
        self.asked.append("wait")
        self.now_ns = self.time_ns = max(self.now_ns, self.time_ns)

    def hold(self, duration_ns: int) -> None:
        self.asked.append("hold")
        self.held_ns.append(duration_ns)
        self.time_ns = max(self.time_ns, self.now_ns) + duration_ns

    def clear_cache(self) -> None:
        self.asked.append("clear")
        self.time_ns += 1_000

    def enqueue(self, feed: Any) -> None:
        self.asked.append("call")
        self.time_ns += self.device_ns[len(self.feeds) % len(self.device_ns)]
        self.feeds.append(feed)
        self.now_ns += self.host_ns


@pytest.fixture
def timed(monkeypatch) -> Callable[..., list[int]]:
    def run(tape: Tape, *, feeds=("a", "b"), n_most=100, budget_ns=10**9, is_cold=False) -> list[int]:
        monkeypatch.setattr(_timing, "perf_counter_ns", tape.host_clock)
        rules = {"n_most": n_most, "budget_ns": budget_ns, "is_cold": is_cold}
        return _timing.device_times(tape, tape.enqueue, list(feeds), **rules)

    return run


UNTIMED = ["wait", "call", "wait", "call", "wait"]


def test_a_call_is_between_marks_behind_what_holds_the_device_back(timed) -> None:
    tape = Tape([10])
    assert timed(tape, n_most=2) == [10, 10]
    assert tape.asked == [*UNTIMED, *2 * ["hold", "mark", "call", "mark"], "wait"]


def test_the_cache_is_emptied_before_the_first_mark(timed) -> None:
    tape = Tape([10])
    assert timed(tape, n_most=2, is_cold=True) == [10, 10]
    assert tape.asked == [*UNTIMED, *2 * ["hold", "clear", "mark", "call", "mark"], "wait"]


@given(
    device_ns=st.lists(st.integers(1, 10**6), min_size=1, max_size=30),
    n_most=st.integers(1, 60),
    is_cold=st.booleans(),
)
def test_the_times_are_those_of_the_calls_in_their_order(device_ns, n_most, is_cold) -> None:
    tape = Tape(device_ns)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_timing, "perf_counter_ns", tape.host_clock)
        rules = {"n_most": n_most, "budget_ns": 10**15, "is_cold": is_cold}
        found = _timing.device_times(tape, tape.enqueue, ["a", "b", "c"], **rules)
    start = _timing.UNTIMED_CALLS
    assert found == [device_ns[(start + index) % len(device_ns)] for index in range(n_most)]
    assert tape.feeds[start:] == [("a", "b", "c")[index % 3] for index in range(n_most)]


def test_the_device_is_held_back_for_twice_the_time_of_putting_a_call_in_the_queue(timed) -> None:
    tape = Tape([10], host_ns=400_000)
    timed(tape, n_most=30)
    assert set(tape.held_ns) == {800_000}


def test_a_call_that_waits_for_the_device_itself_is_not_held_back_for_long(timed) -> None:
    tape = Tape([10], host_ns=10**9)
    timed(tape, n_most=6)
    assert set(tape.held_ns) == {_timing.LONGEST_HOLD_NS}


def test_slow_calls_end_soon_after_the_budget_with_enough_for_a_median(timed) -> None:
    tape = Tape([10**9])
    assert len(timed(tape, budget_ns=10**8)) == _timing.FEWEST_DEVICE_CALLS
    assert tape.asked.count("wait") == UNTIMED.count("wait") + _timing.FEWEST_DEVICE_CALLS  # one at a time


def test_no_calls_are_put_in_the_queue_after_the_budget(timed) -> None:
    tape = Tape([10**6])
    found = timed(tape, budget_ns=10**8, n_most=10**6)
    assert 100 <= len(found) < 100 + _timing.DEVICE_CALLS
