"""What reads GPUs, and what follows from any that does."""

from collections.abc import Collection
from typing import Any, Protocol

from profilers._environment import salted_hash
from profilers._gpu._records import Answer, GpuFacts, GpuProcess, GpuState

MIG_REASON = (
    "a MIG slice has no clocks, temperature, power, energy or utilisation of its own, and other slices share "
    "those of its GPU: measure on a GPU without MIG"
)
UNTOLD_MEMORY = "the driver does not tell the memory of a process"


class GpuMonitor(Protocol):
    """Reads the GPUs of a machine, which are counted as NVML does; CUDA may count others: see `cuda_gpu`.

    Every method with an index raises `ValueError` for one that is not there or if the monitor is closed, and
    `GpuError` if the device may not be opened.
    """

    @property
    def n_devices(self) -> int:
        """How many there are, at least 1."""
        ...

    @property
    def pid_mismatch(self) -> str | None:
        """Why processes may be hidden, or have other numbers than in this process's eyes; None if not."""
        ...

    def uuid(self, index: int) -> Answer[str]:
        """The device's own number, to find it by; it names the owner's machine, so never write it."""
        ...

    def facts(self, index: int) -> GpuFacts:
        """What the device is."""
        ...

    def state(self, index: int, *, own_pids: Collection[int] = ()) -> GpuState:
        """What the device does now.

        Takes about as long as a few calls of the driver: to be read between blocks, not within.

        Args:
            index: The device.
            own_pids: Processes that do not count as others.
        """
        ...

    def processes(self, index: int) -> Answer[tuple[GpuProcess, ...]]:
        """Those that compute or draw on the device, by number."""
        ...

    def energy_mj(self, index: int) -> Answer[int]:
        """Millijoules that the device has used since the driver was loaded."""
        ...

    def close(self) -> None:
        """Let go of the driver; a second time does nothing."""
        ...


def process_memory(monitor: GpuMonitor, index: int, pid: int) -> Answer[int]:
    """Bytes of the device's memory that a process holds, CUDA's own context (some hundred MiB) included."""
    answer = monitor.processes(index)
    if answer.value is None:
        return Answer(None, answer.reason)
    for process in answer.value:
        if process.pid == pid:
            return Answer(process.memory_bytes, None if process.memory_bytes is not None else UNTOLD_MEMORY)
    return Answer(None, monitor.pid_mismatch or "the process does not use this device")


def others_of(monitor: GpuMonitor, index: int, own_pids: Collection[int]) -> dict[str, Answer[Any]]:
    """How many processes are not one's own, and their memory; neither where one's own cannot be told."""
    answer = monitor.processes(index)
    reason = monitor.pid_mismatch or answer.reason
    if reason is not None or answer.value is None:
        return {"n_other_processes": Answer(None, reason), "other_memory_bytes": Answer(None, reason)}
    others = [process.memory_bytes for process in answer.value if process.pid not in own_pids]
    known = [n_bytes for n_bytes in others if n_bytes is not None]
    memory = Answer(sum(known)) if len(known) == len(others) else Answer(None, UNTOLD_MEMORY)
    return {"n_other_processes": Answer(len(others)), "other_memory_bytes": memory}


def hashed_uuid(uuid: Answer[str]) -> Answer[str]:
    """What stands for a UUID in records."""
    found = salted_hash(uuid.value)
    return Answer(found) if found else Answer(None, uuid.reason or "NVML gives an empty one")


def check_index(index: int, n_devices: int, *, is_open: bool) -> None:
    """Check that a monitor may be asked for that device.

    Raises:
        ValueError: If not.
    """
    if not is_open:
        raise ValueError("the monitor is closed: open another one")
    if not 0 <= index < n_devices:
        raise ValueError(f"GPU index must be one of {listed(n_devices)}, got {index!r}")


def listed(n: int) -> str:
    """Numbers from 0 on, for messages.

    >>> listed(3)
    '0, 1, 2'
    """
    return ", ".join(map(str, range(n)))
