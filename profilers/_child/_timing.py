"""Times calls, until warm, until the intervals are narrow enough, or for a while; and what disturbed them."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter_ns, thread_time_ns
from typing import Any

from profilers._child._device import Device
from profilers._proc import Ticks, cgroup_folders, pressure, read_text, read_ticks, stolen_share

LARGEST_BLOCK = 2**16  # calls in a block; even a call of 1 ns would not need more
UNTIMED_CALLS = 2  # at the start of a visit: what ran before has emptied the caches
FEWEST_OF_A_VISIT = 3  # blocks
DEVICE_CALLS = 20  # in the queue at once
FEWEST_DEVICE_CALLS = 6  # a median is given however slow a call is
HOLD = 2  # times as long as the host takes to put a call in the queue
LONGEST_HOLD_NS = 10_000_000  # by then the queue, of about 1000 kernels, is full
FEWEST_TICKS = 50  # of 10 ms each on most systems, all processors together


class Timer:
    """Times calls in blocks, into arrays that exist beforehand."""

    def __init__(self, call: Callable[[Any], Any], feeds: list[Any], n: int) -> None:
        import numpy as np

        self._call = call
        self.feeds = feeds
        self.wall_ns = np.full(n, 0, np.int64)  # written once, so that timing meets no page fault
        self.cpu_ns = np.full(n, 0, np.int64)

    def blocks(self, calls_per_block: int) -> list[tuple[Any, ...]]:
        """Tuples of feeds, one for each block in turn: every call of a block gets the next input."""
        feeds, n, k = self.feeds, len(self.feeds), calls_per_block
        return [tuple(feeds[(start * k + i) % n] for i in range(k)) for start in range(n)]

    def call_block(self, block: tuple[Any, ...]) -> None:
        """Make the calls of a block, untimed."""
        for feed in block:
            self._call(feed)

    def fill(self, blocks: list[tuple[Any, ...]], start: int, stop: int, deadline_ns: int) -> int:
        """Time the samples from `start` up to `stop`; returns where it ended, earlier at the deadline."""
        call, wall, cpu, n = self._call, self.wall_ns, self.cpu_ns, len(blocks)
        for i in range(start, stop):
            block = blocks[i % n]
            cpu_before = thread_time_ns()
            before = perf_counter_ns()
            for feed in block:
                call(feed)
            after = perf_counter_ns()
            cpu[i] = thread_time_ns() - cpu_before
            wall[i] = after - before
            if after >= deadline_ns:
                return i + 1
        return stop


def windows_agree(first: Any, second: Any, ranks: tuple[int, int]) -> bool:
    """Whether the median intervals of two windows overlap and there is no downward trend through both.

    The trend is Mann and Kendall's: the statistic S over all pairs, in its normal approximation, at 2.5%.
    """
    import numpy as np

    low, high = ranks[0] - 1, ranks[1] - 1
    a, b = np.sort(first), np.sort(second)
    both = np.concatenate([first, second]).astype(np.float64)
    n = len(both)
    s = np.sign(both[None, :] - both[:, None])[np.triu_indices(n, 1)].sum()
    is_falling = s < -1.96 * (n * (n - 1) * (2 * n + 5) / 18) ** 0.5
    return bool(a[low] <= b[high] and b[low] <= a[high] and not is_falling)


def warm_up(timer: Timer, request: dict[str, Any], deadline_ns: int) -> tuple[int, int, bool]:
    """Call until two consecutive windows agree; returns the calls in a block, the calls made, and if they do.

    The calls in a block grow, and the windows start over, while the shortest block of a window is too
    short; that is settled even when there is no time left, for such blocks take none.
    """
    window, ranks, shortest_ns = request["warmup_window"], request["warmup_ranks"], request["min_block_ns"]
    calls_per_block, n_calls, previous = 1, 0, None
    while True:
        window_end_ns = max(deadline_ns, perf_counter_ns() + 2 * window * shortest_ns)
        n_blocks = timer.fill(timer.blocks(calls_per_block), 0, window, window_end_ns)
        n_calls += n_blocks * calls_per_block
        wall_ns = timer.wall_ns[:n_blocks].copy()
        if wall_ns.min() < shortest_ns and calls_per_block < LARGEST_BLOCK:
            enough = -(-calls_per_block * shortest_ns // max(1, int(wall_ns.min())))
            calls_per_block, previous = min(LARGEST_BLOCK, max(calls_per_block + 1, int(enough))), None
        elif n_blocks == window and previous is not None and windows_agree(previous, wall_ns, ranks):
            return calls_per_block, n_calls, True
        elif perf_counter_ns() >= deadline_ns:
            return calls_per_block, n_calls, False
        else:
            previous = wall_ns


def is_precise(wall_ns: Any, targets: list[dict[str, Any]], *, is_batched: bool) -> bool:
    """Whether the interval of every target is as narrow as sought; tails are not sought in blocks."""
    import numpy as np

    ordered = np.sort(wall_ns)
    for target in targets:
        if target["is_tail"] and is_batched:
            continue
        if target["ranks"] is None:
            return False
        low, high = (ordered[rank - 1] for rank in target["ranks"])
        if (high - low) / 2 > target["half_width"] * ordered[target["rank"] - 1]:
            return False
    return True


def steady_state(timer: Timer, request: dict[str, Any], calls_per_block: int) -> int:
    """Time blocks until the intervals are narrow enough or the budget is out; returns how many.

    Each look waits for its number of blocks; before the first, only the whole budget ends it.
    """
    blocks = timer.blocks(calls_per_block)
    start_ns = perf_counter_ns()
    hard_ns = start_ns + request["time_budget_ns"]
    soft_ns = min(hard_ns, start_ns + request["precision_budget_ns"])
    earliest_ns = min(soft_ns, start_ns + request["min_time_ns"])
    is_batched = calls_per_block > 1
    n = timer.fill(
        blocks, 0, request["fewest_calls"], sys.maxsize
    )  # a median is given however slow a call is
    for look in request["looks"]:
        if look["n"] < n:
            continue
        deadline_ns = hard_ns if n < request["looks"][0]["n"] else soft_ns
        if perf_counter_ns() >= deadline_ns:
            break
        n = timer.fill(blocks, n, look["n"], deadline_ns)
        now_ns, wall_ns = perf_counter_ns(), timer.wall_ns[:n]
        if n < look["n"] or now_ns >= soft_ns:
            break
        if now_ns >= earliest_ns and is_precise(wall_ns, look["targets"], is_batched=is_batched):
            break
    return n


def visit(timer: Timer, calls_per_block: int, start: int, duration_ns: int, *, is_slow: bool = False) -> int:
    """Time blocks from sample `start` for a while, after a few untimed calls; returns where it ended.

    At least three are timed, and never more than the timer has room for. Where a call is slow, longer than
    the visit, it is one and none untimed: caches that are empty at its start weigh little in it.
    """
    blocks, stop = timer.blocks(calls_per_block), len(timer.wall_ns)
    if is_slow:
        return timer.fill(blocks, start, min(stop, start + 1), sys.maxsize)
    for i in range(UNTIMED_CALLS):
        timer.call_block(blocks[(start + i) % len(blocks)])
    n = timer.fill(blocks, start, min(stop, start + FEWEST_OF_A_VISIT), sys.maxsize)
    return timer.fill(blocks, n, stop, perf_counter_ns() + duration_ns) if n < stop else n


def exceeds(timer: Timer, duration_ns: int) -> bool:
    """Whether the shortest block seen in the warm-up is longer than that."""
    seen = timer.wall_ns[timer.wall_ns > 0]
    return len(seen) > 0 and int(seen.min()) > duration_ns


def device_times(
    device: Device,
    enqueue: Callable[[Any], Any],
    feeds: list[Any],
    *,
    n_most: int,
    budget_ns: int,
    is_cold: bool,
) -> list[int]:
    """Nanoseconds of each call by the device's own clock, between a mark before and one after it.

    The device is held back before each call until the whole of it is in the queue, so the time is what the
    device needs, and what it would wait for a slow host is not in it: that is in the wall time of a call, and
    a call that is much longer by it spends its time in launching work. Of a call of more kernels than the
    queue holds, or one that waits for the device itself, such waits are in the time.

    Args:
        device: Its clock.
        enqueue: Puts a call in the queue.
        feeds: What to call with, in turns.
        n_most: Calls at most.
        budget_ns: No calls are put in the queue later than this after the first, once there are 6.
        is_cold: Whether the device's cache is emptied before each call, outside the marks.
    """
    times: list[int] = []
    hold_ns, call_ns = _untimed(device, enqueue, feeds)
    n_at_once = max(1, min(DEVICE_CALLS, budget_ns // (hold_ns + call_ns)))
    end_ns = perf_counter_ns() + budget_ns
    while len(times) < min(n_most, FEWEST_DEVICE_CALLS) or (
        len(times) < n_most and perf_counter_ns() < end_ns
    ):
        marks = []
        for index in range(len(times), min(n_most, len(times) + n_at_once)):
            device.hold(hold_ns)
            if is_cold:
                device.clear_cache()
            before = device.event()
            enqueue(feeds[index % len(feeds)])
            marks.append((before, device.event()))
        device.synchronize()
        times += [device.elapsed_ns(*pair) for pair in marks]
    return times


def _untimed(device: Device, enqueue: Callable[[Any], Any], feeds: list[Any]) -> tuple[int, int]:
    """For how long to hold the device back before a call, and how long a call takes, from calls not kept."""
    queued_ns, called_ns = [], []
    device.synchronize()
    for index in range(UNTIMED_CALLS):
        start_ns = perf_counter_ns()
        enqueue(feeds[index % len(feeds)])
        queued_ns.append(perf_counter_ns() - start_ns)
        device.synchronize()
        called_ns.append(perf_counter_ns() - start_ns)
    return min(LONGEST_HOLD_NS, HOLD * max(queued_ns)), max(called_ns)


@dataclass(frozen=True, slots=True)
class Contention:
    """What the system counted until now of others' use of the processors.

    Attributes:
        time_ns: When.
        ticks: Of all processors; None where unknown, as the others.
        waited_s: Seconds since boot in which some process waited for a processor.
        throttled_s: Seconds of processor time that the control groups withheld, all levels added up.
    """

    time_ns: int
    ticks: Ticks | None
    waited_s: float | None
    throttled_s: float | None

    def until(self, later: "Contention") -> dict[str, float | None]:
        """The differences to a later reading, as `Launch` has them.

        The share of stolen time is unknown below 50 ticks: a single one would be too large a part of it.
        """
        seconds = (later.time_ns - self.time_ns) / 1e9
        waited_s = _difference(self.waited_s, later.waited_s)
        is_long = self.ticks and later.ticks and later.ticks.total - self.ticks.total >= FEWEST_TICKS
        return {
            "steal_share": stolen_share(self.ticks, later.ticks) if is_long else None,
            "pressure_share": waited_s / seconds if waited_s is not None and seconds > 0 else None,
            "throttled_s": _difference(self.throttled_s, later.throttled_s),
        }


def contention() -> Contention:
    """What is counted now."""
    waited_us = pressure("cpu", "total")
    return Contention(
        time_ns=perf_counter_ns(),
        ticks=read_ticks(),
        waited_s=None if waited_us is None else waited_us / 1e6,
        throttled_s=throttled_seconds([read_text(path) or "" for path in _throttling_files()]),
    )


def throttled_seconds(texts: list[str]) -> float | None:
    r"""The sum over ``cpu.stat`` of several control groups; None where none tells.

    Version 2 tells microseconds, version 1 nanoseconds.

    >>> throttled_seconds(["nr_throttled 3\nthrottled_usec 1500000", "throttled_time 2000000000", ""])
    3.5
    """
    units = {"throttled_usec": 1e6, "throttled_time": 1e9}
    fields = [line.split() for text in texts for line in text.splitlines()]
    pairs = [(line[0], line[1]) for line in fields if len(line) == 2 and line[1].isdigit()]
    known = [int(count) / units[name] for name, count in pairs if name in units]
    return sum(known) if known else None


def _throttling_files() -> list[Path]:
    return [folder / "cpu.stat" for _, folder in cgroup_folders()]


def _difference(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else max(0.0, after - before)
