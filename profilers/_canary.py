"""A canary: a small fixed computation, timed in thousands of slices, that says how quiet the machine is now.

It runs in the calling thread. Eight runs of 1 s there and eight in fresh child processes, in turn, gave the
same beside two busy processes and three; beside one, 2 to 5% of the time was lost, in children 2 to 12%.

The limits of the verdict come from a virtual machine with two cores, not idle once in the quarter of
an hour of the measurements: "quiet" is unproved there. Smallest and largest of 16 runs of 1 s (13 beside one
process: in the first three a linter ran as well, and they read like those beside two):

================================  ==============  ==============  ==============
busy processes beside the canary  one             two             three
================================  ==============  ==============  ==============
wall / processor time             1.01 to 1.02    1.87 to 2.04    2.83 to 3.04
time lost                         6 to 19%        52 to 60%       67 to 73%
involuntary switches in a second  27 to 33        121 to 137      87 to 94
95th percentile above the median  10 to 34%       21 to 51%       14 to 82%
cores used by other processes     1.00 to 1.03    1.46 to 1.52    1.64 to 1.68
================================  ==============  ==============  ==============

So the share of the time that was taken away tells a full machine from one with a core to spare, and any limit
between would; switches alone do not, as they become fewer. One busy process on the other core hardly shows in
the slices (in calm minutes 2 to 5% of the time was lost beside it): it is seen by its use of a core. The rest
of the unevenness is that of the host, which moved the median from 0.15 to 0.18 ms and back. The slowest slice
says little: one interruption of 4 ms is 25 slices long. Steal was 0 to 1.5% and never judged anything.
"""

import gc
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from time import perf_counter_ns, process_time_ns, thread_time_ns
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from profilers import _proc
from profilers._tags import SWITCHES_PER_S, WALL_PER_CPU

Verdict = Literal["quiet", "noisy", "loaded"]
LOADED_WALL_PER_CPU = 1.1
NOISY_LOST_SHARE = 0.1  # twice what calm minutes had
NOISY_OTHER_BUSY_CORES = 0.25  # of any machine, however large
NOISY_STEAL_SHARE = 0.02  # two ticks of the kernel in a second of two cores do not make it


@dataclass(frozen=True, slots=True)
class Counters:
    """What clocks and kernel have counted until one moment.

    Attributes:
        wall_ns: The time.
        thread_cpu_ns: Processor time of the thread that runs the canary.
        process_cpu_ns: Processor time of all threads of its process.
        involuntary_switches: How often the processor was taken from the thread.
        ticks: Time of all processors; None where the kernel does not tell.
        waited_us: Microseconds in which some process waited for a processor; None likewise.
    """

    wall_ns: int
    thread_cpu_ns: int
    process_cpu_ns: int
    involuntary_switches: int
    ticks: _proc.Ticks | None
    waited_us: float | None


@dataclass(frozen=True, slots=True)
class Canary:
    """How evenly a fixed computation ran, and what else the machine did in that time.

    Attributes:
        n_slices: Slices timed.
        median_slice_s: Median time of a slice.
        p95_excess: Share by which the 95th percentile of the slices is above the median.
        max_excess: Share by which the slowest slice is above the median.
        lost_share: Share of the time that would be saved if every slice were as fast as the fastest.
        switches_per_s: How often in a second the processor was taken away.
        wall_per_cpu: Wall time over processor time of the thread.
        other_busy_cores: Cores' worth of time that other processes used; None where it cannot be read.
        steal_share: Share of all cores' time that the hypervisor took; None likewise. Its grain is one tick,
            0.5% of a second of two cores.
        cpu_pressure: Share of the time in which some process waited for a processor; None likewise.
    """

    n_slices: int
    median_slice_s: float
    p95_excess: float
    max_excess: float
    lost_share: float
    switches_per_s: float
    wall_per_cpu: float
    other_busy_cores: float | None
    steal_share: float | None
    cpu_pressure: float | None

    @property
    def verdict(self) -> Verdict:
        """The machine in a word; what cannot be read counts as quiet.

        - loaded: other work took the processor for a tenth of the time or more
        - noisy: other work ran, or the slices were uneven; launches will differ
        - quiet: neither in this window, which is no promise for the next
        """
        if self.wall_per_cpu > LOADED_WALL_PER_CPU:
            return "loaded"
        is_interrupted = self.wall_per_cpu > WALL_PER_CPU or self.switches_per_s > SWITCHES_PER_S
        is_uneven = self.lost_share > NOISY_LOST_SHARE
        is_shared = (self.other_busy_cores or 0.0) > NOISY_OTHER_BUSY_CORES
        is_stolen = (self.steal_share or 0.0) > NOISY_STEAL_SHARE
        return "noisy" if is_interrupted or is_uneven or is_shared or is_stolen else "quiet"


def canary(*, window_s: float = 1.0) -> Canary:
    """Run the canary for `window_s` seconds, after a tenth of that for the processor to wake up.

    Raises:
        ValueError: If `window_s` is not greater than 0.
    """
    if not window_s > 0:
        raise ValueError(f"window_s must be greater than 0, got {window_s!r}")
    work = kernel()
    with _no_garbage_collection():
        time_slices(work, window_s / 10)
        before = read_counters()
        slices_ns = time_slices(work, window_s)
        after = read_counters()
    return summarise(slices_ns, before, after)


def kernel() -> Callable[[], None]:
    """A fixed computation of some 0.15 ms: vector arithmetic on 128 KiB, in the calling thread alone."""
    x, y = np.full(2**14, 1.5, np.float32), np.full(2**14, 0.5, np.float32)

    def work() -> None:
        for _ in range(16):
            np.multiply(x, y, out=y)
            np.add(x, y, out=y)
            np.sqrt(y, out=y)  # brings the values back to where they were, so that all slices are alike

    return work


def time_slices(
    work: Callable[[], None], window_s: float, *, clock_ns: Callable[[], int] = perf_counter_ns
) -> list[int]:
    """Nanoseconds of each call of `work`, called again and again until the window is over; at least one."""
    times = [clock_ns()]
    end = times[0] + round(window_s * 1e9)
    while len(times) == 1 or times[-1] < end:
        work()
        times.append(clock_ns())
    return [after - before for before, after in pairwise(times)]


def read_counters() -> Counters:
    """All counters now."""
    usage = resource.getrusage(getattr(resource, "RUSAGE_THREAD", resource.RUSAGE_SELF))
    return Counters(
        wall_ns=perf_counter_ns(),
        thread_cpu_ns=thread_time_ns(),
        process_cpu_ns=process_time_ns(),
        involuntary_switches=usage.ru_nivcsw,
        ticks=_proc.read_ticks(),
        waited_us=_proc.pressure("cpu", "total"),
    )


def summarise(
    slices_ns: ArrayLike, before: Counters, after: Counters, *, ticks_per_s: int | None = None
) -> Canary:
    """What slices, shape (n,), and the counters before and after them say; n is at least 1."""
    slices = np.asarray(slices_ns, dtype=np.float64)
    median, p95 = np.quantile(slices, [0.5, 0.95])
    wall_ns = after.wall_ns - before.wall_ns
    return Canary(
        n_slices=len(slices),
        median_slice_s=float(median) / 1e9,
        p95_excess=float(p95 / median - 1),
        max_excess=float(slices.max() / median - 1),
        lost_share=float(1 - slices.min() / slices.mean()),
        switches_per_s=(after.involuntary_switches - before.involuntary_switches) / wall_ns * 1e9,
        wall_per_cpu=wall_ns / max(1, after.thread_cpu_ns - before.thread_cpu_ns),
        other_busy_cores=_other_busy_cores(before, after, ticks_per_s or os.sysconf("SC_CLK_TCK")),
        steal_share=_proc.stolen_share(before.ticks, after.ticks),
        cpu_pressure=_waiting_share(before, after),
    )


def _other_busy_cores(before: Counters, after: Counters, ticks_per_s: int) -> float | None:
    """Cores' worth of time used by all but this process; 0 where ticks are too coarse to see any."""
    if before.ticks is None or after.ticks is None:
        return None
    busy_s = (after.ticks.busy - before.ticks.busy) / ticks_per_s
    own_s = (after.process_cpu_ns - before.process_cpu_ns) / 1e9
    return max(0.0, busy_s - own_s) / ((after.wall_ns - before.wall_ns) / 1e9)


def _waiting_share(before: Counters, after: Counters) -> float | None:
    """Share of the time in which some process waited for a processor."""
    if before.waited_us is None or after.waited_us is None:
        return None
    return (after.waited_us - before.waited_us) * 1e3 / (after.wall_ns - before.wall_ns)


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
