"""GPUs that say what they are told to, for machines without one."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

from profilers._errors import GpuError
from profilers._gpu._monitor import check_index, hashed_uuid, others_of
from profilers._gpu._records import (
    NOT_SUPPORTED,
    Answer,
    GpuFacts,
    GpuProcess,
    GpuState,
    record_of,
    values_of,
)

PLAIN = GpuFacts(
    index=0,
    name="scripted",
    uuid_hash="00000000",
    compute_capability="9.0",
    total_memory_bytes=80 * 2**30,
    used_memory_bytes=2**30,
    driver_version="scripted",
    cuda_driver_version="12.8",
    mig_enabled=False,
    ecc_enabled=True,
    persistence_enabled=True,
    power_limit_w=700.0,
    max_sm_clock_hz=1.98e9,
)
CALM = GpuState(
    sm_clock_hz=1.98e9,
    memory_clock_hz=2.619e9,
    temperature_c=35.0,
    power_w=100.0,
    utilisation=0.0,
    clock_reasons=(),
    performance_state=0,
    used_memory_bytes=2**30,
    n_other_processes=0,
    other_memory_bytes=0,
)


@dataclass(frozen=True, slots=True)
class ScriptedGpu:
    """What one GPU of `ScriptedGpus` is told to say.

    Attributes:
        uuid: Its number, from which `uuid_hash` is made.
        facts: What it is; index and `uuid_hash` are put right. None for a plain device named "scripted".
        states: What it does at the first, second ... reading, and after the last one still; the processes are
            put right. None for a cool device at its highest clock.
        processes: The processes at each reading, or the reason why they cannot be read.
        energy_mj: Its counter at each reading, or the reason why there is none.
    """

    uuid: str = "GPU-5c817ed0-0000-4000-8000-000000000000"
    facts: GpuFacts | None = None
    states: Sequence[GpuState] | None = None
    processes: Callable[[], Sequence[GpuProcess]] | str = tuple
    energy_mj: Callable[[], int] | str = NOT_SUPPORTED


class ScriptedGpus:
    """GPUs that say what they are told to: for tests of code that reads GPUs; no driver, no device.

    Args:
        devices: The devices, by index.
        pid_mismatch: See `GpuMonitor.pid_mismatch`.

    Raises:
        GpuError: If there is no device.

    >>> gpus = ScriptedGpus([ScriptedGpu(states=[replace(CALM, temperature_c=91.0)])])
    >>> gpus.state(0).temperature_c, gpus.energy_mj(0).reason
    (91.0, 'not supported by this device')
    """

    def __init__(self, devices: Sequence[ScriptedGpu], *, pid_mismatch: str | None = None) -> None:
        if not devices:
            raise GpuError("no_device", "the script has no GPU: give at least one")
        self._devices = tuple(devices)
        self._pid_mismatch = pid_mismatch
        self._n_readings = [0] * len(self._devices)
        self._is_open = True

    def __enter__(self) -> Self:
        """Give itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    @property
    def n_devices(self) -> int:
        """See `GpuMonitor`."""
        return len(self._devices)

    @property
    def pid_mismatch(self) -> str | None:
        """See `GpuMonitor`."""
        return self._pid_mismatch

    def uuid(self, index: int) -> Answer[str]:
        """See `GpuMonitor`."""
        return Answer(self._device(index).uuid)

    def facts(self, index: int) -> GpuFacts:
        """See `GpuMonitor`."""
        device = self._device(index)
        uuid_hash = hashed_uuid(Answer(device.uuid)).value
        return replace(device.facts or PLAIN, index=index, uuid_hash=uuid_hash)

    def state(self, index: int, *, own_pids: Collection[int] = ()) -> GpuState:
        """See `GpuMonitor`; goes one step on in the script."""
        states = self._device(index).states or (CALM,)
        step, self._n_readings[index] = self._n_readings[index], self._n_readings[index] + 1
        scripted = states[min(step, len(states) - 1)]
        answers = {name: Answer(value, scripted.missing.get(name)) for name, value in values_of(scripted)}
        return record_of(GpuState, answers | others_of(self, index, own_pids))

    def processes(self, index: int) -> Answer[tuple[GpuProcess, ...]]:
        """See `GpuMonitor`."""
        script = self._device(index).processes
        if isinstance(script, str):
            return Answer(None, script)
        return Answer(tuple(sorted(script(), key=lambda process: process.pid)))

    def energy_mj(self, index: int) -> Answer[int]:
        """See `GpuMonitor`."""
        script = self._device(index).energy_mj
        return Answer(None, script) if isinstance(script, str) else Answer(script())

    def close(self) -> None:
        """See `GpuMonitor`."""
        self._is_open = False

    def _device(self, index: int) -> ScriptedGpu:
        check_index(index, len(self._devices), is_open=self._is_open)
        return self._devices[index]
