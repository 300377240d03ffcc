"""The energy of a call: a loaded model waits for a while, then works for a while."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

from profilers._child._timing import UNTIMED_CALLS
from profilers._energy import (
    SHORTEST_WINDOW_S,
    EnergyCounters,
    EnergyMeter,
    EnergyPerCall,
    energy_per_call,
    joules_between,
)
from profilers._errors import GpuError
from profilers._gpu._energy import open_gpu_meter
from profilers._gpu._visible import gpu_index
from profilers._interface import Profiler
from profilers._measuring import Feeds
from profilers._protocol import QUICK
from profilers._runtime import Runtime

WINDOW_S = 1.2 * SHORTEST_WINDOW_S
MOST_BLOCKS = 500_000  # more than there are blocks of 50 us in a window


def measure_energy(
    profiler: Profiler,
    model_path: str | Path,
    runtime: Runtime,
    *,
    feeds: Feeds | None = None,
    meter: EnergyCounters | None = None,
    wait: Callable[[float], None] = time.sleep,
) -> EnergyPerCall:
    """Joules of one call: gross, and net of what the machine uses while the loaded model waits.

    Takes about 12 s where there are counters. Those of processors count whole packages, so whatever else runs
    is in it; net is right only if that is the same in both windows.

    That of a GPU counts the whole board, and one that others use is refused: others are looked for at the
    start and end of both windows, so that one which comes and goes within is unseen. A GPU that waits with a
    model loaded keeps its clocks up and draws more than an idle one: net is what the calls add, not what
    switching the service off would save.

    Args:
        profiler: What runs the model.
        model_path: The model's file.
        runtime: How to run it.
        feeds: What to feed it; None to have all made.
        meter: The counters; None for those of the GPU that the provider runs on, else of the processors.
        wait: Lets seconds pass.

    Raises:
        ProfilerError: If the model cannot be run. What a GPU's meter refuses, before or midway, is the
            answer's reason.
    """
    try:
        with _meter_for(runtime) if meter is None else nullcontext(meter) as counters:
            return _measured(profiler, model_path, runtime, feeds, counters, wait)
    except GpuError as error:
        return EnergyPerCall(None, None, str(error))


def _meter_for(runtime: Runtime) -> AbstractContextManager[EnergyCounters]:
    index = gpu_index(runtime.provider)
    return nullcontext(EnergyMeter()) if index is None else open_gpu_meter(index)


def _measured(
    profiler: Profiler,
    model_path: str | Path,
    runtime: Runtime,
    feeds: Feeds | None,
    meter: EnergyCounters,
    wait: Callable[[float], None],
) -> EnergyPerCall:
    reason = meter.unavailable_reason()
    if reason is not None:
        return EnergyPerCall(None, None, reason)
    protocol = replace(QUICK, mode="energy", min_time_s=WINDOW_S, max_calls=MOST_BLOCKS)
    with profiler.open(model_path, runtime, protocol=protocol, feeds=feeds) as launch:
        waiting = meter.read()
        wait(WINDOW_S)
        before = meter.read()
        launch.visit()
        after = meter.read()
        measurement, visits = launch.closed()
    idle_j = joules_between(waiting, before)
    idle_s = before.time_s - waiting.time_s
    calls = (sum(visits) + UNTIMED_CALLS) * measurement.launches[0].calls_per_block
    idle_watts = None if idle_j is None or idle_s <= 0 else idle_j / idle_s
    return energy_per_call(before, after, calls, idle_watts=idle_watts)
