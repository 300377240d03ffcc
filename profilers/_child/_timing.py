"""Times calls: until warm, until the intervals are narrow enough, or for a while."""

import sys
from collections.abc import Callable
from time import perf_counter_ns, thread_time_ns
from typing import Any

LARGEST_BLOCK = 2**16  # calls in a block; even a call of 1 ns would not need more
UNTIMED_CALLS = 2  # at the start of a visit: what ran before has emptied the caches


class Timer:
    """Times calls in blocks, into arrays that exist beforehand."""

    def __init__(self, call: Callable[[Any], Any], feeds: list[Any], n: int) -> None:
        import numpy as np

        self._call = call
        self._feeds = feeds
        self.wall_ns = np.full(n, 0, np.int64)  # written once, so that timing meets no page fault
        self.cpu_ns = np.full(n, 0, np.int64)

    def blocks(self, calls_per_block: int) -> list[tuple[Any, ...]]:
        """Tuples of feeds, one for each block in turn: every call of a block gets the next input."""
        feeds, n, k = self._feeds, len(self._feeds), calls_per_block
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


def visit(timer: Timer, calls_per_block: int, start: int, duration_ns: int, fewest: int) -> int:
    """Time blocks from sample `start` for a while, after a few untimed calls; returns where it ended.

    At least `fewest` are timed, and never more than the timer has room for.
    """
    blocks = timer.blocks(calls_per_block)
    for i in range(UNTIMED_CALLS):
        timer.call_block(blocks[(start + i) % len(blocks)])
    stop = len(timer.wall_ns)
    n = timer.fill(blocks, start, min(stop, start + fewest), sys.maxsize)
    return timer.fill(blocks, n, stop, perf_counter_ns() + duration_ns) if n < stop else n
