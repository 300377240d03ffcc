"""The GPUs of this machine, through NVIDIA's driver and its Python binding pynvml (nvidia-ml-py)."""

import importlib
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from profilers._errors import GpuError
from profilers._gpu._clocks import clock_reasons
from profilers._gpu._monitor import check_index, hashed_uuid, others_of
from profilers._gpu._records import NOT_SUPPORTED, Answer, GpuFacts, GpuProcess, GpuState, record_of
from profilers._gpu._refusals import TOO_OLD, reason_of, refusal

PID_NAMESPACE = Path("/proc/self/ns/pid")
FIRST_PID_NAMESPACE = 0xEFFFFFFC  # PROC_PID_INIT_INO in Linux's include/linux/proc_ns.h: that of the host
UNKNOWN_PERFORMANCE_STATE = 32  # NVML_PSTATE_UNKNOWN


class NvmlGpus:
    """The GPUs of this machine, read through NVIDIA's driver.

    Args:
        pid_namespace: What says whether this process is in a container.

    Raises:
        GpuError: If pynvml, the driver or a device is missing, or they do not fit each other.
    """

    def __init__(self, *, pid_namespace: Path = PID_NAMESPACE) -> None:
        self._nvml = _pynvml()
        self._pid_mismatch = _find_pid_mismatch(pid_namespace)
        self._handles: dict[int, Any] = {}
        self._is_open = False
        try:
            self._nvml.nvmlInit()
            self._is_open = True
            self._n_devices = int(self._nvml.nvmlDeviceGetCount())
        except self._nvml.NVMLError as error:
            self.close()
            raise refusal(error) from error
        if self._n_devices == 0:
            self.close()
            raise GpuError("no_device", "NVIDIA's driver finds no GPU: is one shown to this container?")

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
        return self._n_devices

    @property
    def pid_mismatch(self) -> str | None:
        """See `GpuMonitor`."""
        return self._pid_mismatch

    def uuid(self, index: int) -> Answer[str]:
        """See `GpuMonitor`."""
        return self._ask("nvmlDeviceGetUUID", self._handle(index))

    def facts(self, index: int) -> GpuFacts:
        """See `GpuMonitor`."""
        device, nvml = self._handle(index), self._nvml
        memory = self._memory(device)
        answers: dict[str, Answer[Any]] = {
            "index": Answer(index),
            "name": self._ask("nvmlDeviceGetName", device),
            "uuid_hash": hashed_uuid(self.uuid(index)),
            "compute_capability": self._ask("nvmlDeviceGetCudaComputeCapability", device).then(_dotted),
            "total_memory_bytes": memory.then(lambda found: int(found.total)),
            "used_memory_bytes": memory.then(lambda found: int(found.used)),
            "driver_version": self._ask("nvmlSystemGetDriverVersion"),
            "cuda_driver_version": self._ask("nvmlSystemGetCudaDriverVersion_v2").then(cuda_version),
            "mig_enabled": self._ask("nvmlDeviceGetMigMode", device).then(_first_is_on),
            "ecc_enabled": self._ask("nvmlDeviceGetEccMode", device).then(_first_is_on),
            "persistence_enabled": self._ask("nvmlDeviceGetPersistenceMode", device).then(bool),
            "power_limit_w": self._ask("nvmlDeviceGetEnforcedPowerLimit", device).then(_thousandth),
            "max_sm_clock_hz": self._ask("nvmlDeviceGetMaxClockInfo", device, nvml.NVML_CLOCK_SM).then(_mega),
        }
        return record_of(GpuFacts, answers)

    def state(self, index: int, *, own_pids: Collection[int] = ()) -> GpuState:
        """See `GpuMonitor`."""
        device, nvml = self._handle(index), self._nvml
        temperature = "nvmlDeviceGetTemperatureV nvmlDeviceGetTemperature"
        reasons = "nvmlDeviceGetCurrentClocksEventReasons nvmlDeviceGetCurrentClocksThrottleReasons"
        answers: dict[str, Answer[Any]] = {
            "sm_clock_hz": self._ask("nvmlDeviceGetClockInfo", device, nvml.NVML_CLOCK_SM).then(_mega),
            "memory_clock_hz": self._ask("nvmlDeviceGetClockInfo", device, nvml.NVML_CLOCK_MEM).then(_mega),
            "temperature_c": self._ask(temperature, device, nvml.NVML_TEMPERATURE_GPU).then(float),
            "power_w": self._ask("nvmlDeviceGetPowerUsage", device).then(_thousandth),
            "utilisation": self._ask("nvmlDeviceGetUtilizationRates", device).then(lambda u: u.gpu / 100),
            "clock_reasons": self._ask(reasons, device).then(clock_reasons),
            "performance_state": _known_state(self._ask("nvmlDeviceGetPerformanceState", device)),
            "used_memory_bytes": self._memory(device).then(lambda found: int(found.used)),
        }
        return record_of(GpuState, answers | others_of(self, index, own_pids))

    def processes(self, index: int) -> Answer[tuple[GpuProcess, ...]]:
        """See `GpuMonitor`; a device without graphics, or without MPS, has no such processes."""
        device = self._handle(index)
        found: dict[int, int | None] = {}
        for kind, is_optional in (("Compute", False), ("Graphics", True), ("MPSCompute", True)):
            names = f"nvmlDeviceGet{kind}RunningProcesses_v3 nvmlDeviceGet{kind}RunningProcesses_v2"
            answer = self._ask(names, device)
            if answer.value is None and not (is_optional and answer.reason in (NOT_SUPPORTED, *TOO_OLD)):
                return Answer(None, answer.reason)
            for process in answer.value or ():  # a process may be in two lists, with all its memory in each
                known = [m for m in (found.get(process.pid), process.usedGpuMemory) if m is not None]
                found[process.pid] = max(known, default=None)
        return Answer(tuple(GpuProcess(pid, found[pid]) for pid in sorted(found)))

    def energy_mj(self, index: int) -> Answer[int]:
        """See `GpuMonitor`."""
        return self._ask("nvmlDeviceGetTotalEnergyConsumption", self._handle(index))

    def close(self) -> None:
        """See `GpuMonitor`."""
        if self._is_open:
            self._is_open = False
            self._nvml.nvmlShutdown()

    def _handle(self, index: int) -> Any:
        check_index(index, self._n_devices, is_open=self._is_open)
        if index not in self._handles:
            try:
                self._handles[index] = self._nvml.nvmlDeviceGetHandleByIndex(index)
            except self._nvml.NVMLError as error:
                raise refusal(error) from error
        return self._handles[index]

    def _memory(self, device: Any) -> Answer[Any]:
        """By the second version of the call: the first counts as used what the driver keeps for itself."""
        return self._ask("nvmlDeviceGetMemoryInfo", device, self._nvml.nvmlMemory_v2)

    def _ask(self, names: str, *arguments: Any) -> Answer[Any]:
        """What the first of some functions answers that binding and driver both have; the newest is first."""
        reason = TOO_OLD[0]
        for function in (getattr(self._nvml, name, None) for name in names.split()):
            if function is None:
                continue
            try:
                return Answer(function(*arguments))
            except self._nvml.NVMLError as error:
                reason = reason_of(error)
            if reason not in TOO_OLD:
                break
        return Answer(None, reason)


def cuda_version(number: int) -> str:
    """The version in a number of CUDA's.

    >>> cuda_version(12080)
    '12.8'
    """
    return f"{number // 1000}.{number % 1000 // 10}"


def _find_pid_mismatch(path: Path) -> str | None:
    """See `GpuMonitor.pid_mismatch`: processes have one number only outside containers."""
    if sys.platform != "linux":
        return None
    try:
        is_first = path.stat().st_ino == FIRST_PID_NAMESPACE
    except OSError:
        return "whether processes have other numbers on the host cannot be read"
    return None if is_first else "in a container NVML hides processes, or gives them the numbers of the host"


def _pynvml() -> Any:
    try:
        return importlib.import_module("pynvml")
    except ImportError as error:
        raise GpuError(
            "not_installed", "pynvml is not installed: pip install 'moo-deploy[gpu]' has it"
        ) from error


def _known_state(answer: Answer[int]) -> Answer[int]:
    return answer if answer.value != UNKNOWN_PERFORMANCE_STATE else Answer(None, "NVML does not know it")


def _dotted(pair: tuple[int, int]) -> str:
    return f"{pair[0]}.{pair[1]}"


def _first_is_on(modes: Sequence[int]) -> bool:
    """Of the current mode and that after the next reset."""
    return bool(modes[0])


def _thousandth(number: int) -> float:
    return number / 1e3


def _mega(number: int) -> float:
    return number * 1e6
