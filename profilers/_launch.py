"""One launch: its raw samples, how they were taken, and the file they are kept in."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from profilers._statistics import Array

ARRAYS = ("latency_ns", "thread_cpu_ns")
DEVICE_ARRAYS = ("device_ns", "cold_ns")  # where a device has a clock of its own


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Launch:
    """One fresh process: its raw samples, and what else was seen in it.

    Attributes:
        latency_ns: Wall time of each block of calls, shape (n_blocks,), in the order timed; copied,
            read-only.
        thread_cpu_ns: CPU time of the calling thread in each block, shape (n_blocks,); copied, read-only. It
            includes reading the clocks, less than 1 us.
        calls_per_block: Calls in a block; 1 unless a call is too short to time alone.
        import_s: Importing numpy and the runtime.
        session_s: Creating the session: reading, optimising and preparing the model.
        first_call_s: The first call, before any warm-up.
        warmup_calls: Untimed calls after the first and before the timing.
        warmup_agreed: Whether the last two warm-up windows agreed; False when the warm-up budget ended it.
        peak_memory_bytes: Peak resident memory of the process from the loaded model to the end of the warm-up
            with each input; None when it could not be read. The interpreter and the runtime's libraries are
            in it.
        base_memory_bytes: Resident memory just before the session was created; None when it could not be
            read.
        memory_tag: "memory_fallback" when the peak is resident memory read after the calls; None when it is a
            peak.
        involuntary_switches: Involuntary context switches of the process while it was timed.
        provider: Short name of the provider that had the first call on the model, such as "cpu".
        steal_share: Share of the processors' time that the hypervisor gave to others while it was timed; None
            where it could not be read, as the next two, or that was too short to tell.
        pressure_share: Share of that time in which some process of the machine waited for a processor.
        throttled_s: Seconds of processor time that a control group withheld meanwhile, its quota used up.
        device_ns: Time of each call by the clock of the device that does it, shape (n_calls,), its cache as
            calls leave it; None where the processor does the work, or the runtime does not tell.
        cold_ns: The same with the device's cache emptied before each call.
        assignment: Types of operators by the provider that runs them, where a GPU was asked for.
        device: The device, its memory in the first calls, seconds of compiling, and its state between blocks;
            None as before.
    """

    latency_ns: NDArray[np.int64]
    thread_cpu_ns: NDArray[np.int64]
    calls_per_block: int
    import_s: float
    session_s: float
    first_call_s: float
    warmup_calls: int
    warmup_agreed: bool
    peak_memory_bytes: int | None
    base_memory_bytes: int | None
    memory_tag: str | None
    involuntary_switches: int
    provider: str
    steal_share: float | None = None
    pressure_share: float | None = None
    throttled_s: float | None = None
    device_ns: NDArray[np.int64] | None = None
    cold_ns: NDArray[np.int64] | None = None
    device: Mapping[str, Any] | None = None
    assignment: Mapping[str, Sequence[str]] | None = None

    def __post_init__(self) -> None:
        """Take copies of the arrays that nobody can change."""
        for name, values in self.arrays().items():
            array = np.array(values, dtype=np.int64)
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        if self.calls_per_block < 1:
            raise ValueError(f"calls_per_block must be at least 1, got {self.calls_per_block}")
        if self.latency_ns.ndim != 1 or not len(self.latency_ns) or (self.latency_ns <= 0).any():
            raise ValueError("latency_ns must be a non-empty list of times above 0")
        if self.thread_cpu_ns.shape != self.latency_ns.shape:
            raise ValueError(
                f"thread_cpu_ns must have shape {self.latency_ns.shape}, got {self.thread_cpu_ns.shape}"
            )

    def arrays(self) -> dict[str, NDArray[np.int64]]:
        """The samples by name, those of a device only where there is one."""
        values = {name: getattr(self, name) for name in (*ARRAYS, *DEVICE_ARRAYS)}
        return {name: array for name, array in values.items() if array is not None}

    def call_s(self) -> Array:
        """Seconds a call, shape (n_blocks,): the mean over each block."""
        return self.latency_ns / (1e9 * self.calls_per_block)

    def to_json(self) -> dict[str, Any]:
        """Everything but the samples, as a plain dict."""
        names = {field.name for field in fields(self)} - {*ARRAYS, *DEVICE_ARRAYS}
        return {name: getattr(self, name) for name in sorted(names)}


def write_samples(path: Path, launches: Sequence[Launch]) -> None:
    """Write the arrays `latency_ns_<i>`, `thread_cpu_ns_<i>` and those of a device of each launch i."""
    samples: dict[str, Any] = {
        f"{name}_{index}": array
        for index, launch in enumerate(launches)
        for name, array in launch.arrays().items()
    }
    write_whole(path, lambda file: np.savez(file, **samples))


def write_whole(path: Path, write: Callable[[IO[bytes]], Any]) -> None:
    """Write a file under another name, then give it its own; a file half written is removed."""
    partial_path = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with partial_path.open("wb") as file:
            write(file)
        partial_path.replace(path)
    finally:
        partial_path.unlink(missing_ok=True)
