"""What is told of a GPU: records in which each value is there, or why it is not."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Generic, TypeVar

T = TypeVar("T")
U = TypeVar("U")
Record = TypeVar("Record", "GpuFacts", "GpuState")

NOT_SUPPORTED = "not supported by this device"


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """A value, or the reason why there is none.

    >>> Answer(1500).then(lambda milliwatts: milliwatts / 1e3)
    Answer(value=1.5, reason=None)
    >>> Answer(None, "not supported by this device").then(float)
    Answer(value=None, reason='not supported by this device')
    """

    value: T | None
    reason: str | None = None

    def __post_init__(self) -> None:
        if (self.value is None) == (self.reason is None):
            raise ValueError(
                f"an answer must have a value or a reason, got {self.value!r} and {self.reason!r}"
            )

    def then(self, change: Callable[[T], U]) -> "Answer[U]":
        """The changed value, or the same reason."""
        return Answer(None, self.reason) if self.value is None else Answer(change(self.value))


@dataclass(frozen=True, slots=True)
class GpuProcess:
    """A process that uses a GPU.

    Attributes:
        pid: Its number, by the count of NVML: see `GpuMonitor.pid_mismatch`.
        memory_bytes: Device memory it holds, CUDA's own context included; None where that is not told.
    """

    pid: int
    memory_bytes: int | None


@dataclass(frozen=True, slots=True)
class GpuFacts:
    """What a GPU is, and how it is set. None where it cannot be read: `missing` says why.

    Attributes:
        index: By the count of NVML, in the order of the bus.
        name: The product.
        uuid_hash: Tells one device from another; the UUID cannot be had from it.
        compute_capability: "major.minor".
        total_memory_bytes: All device memory.
        used_memory_bytes: Device memory in use by processes now, without what the driver keeps for itself.
        driver_version: Of the driver.
        cuda_driver_version: The newest CUDA that the driver serves, "major.minor".
        mig_enabled: Whether the device is cut in slices.
        ecc_enabled: Whether memory errors are corrected.
        persistence_enabled: Whether the driver stays loaded while nothing runs.
        power_limit_w: What the device may draw, after all limits.
        max_sm_clock_hz: The highest clock of the multiprocessors.
        missing: Why a value is None, by its name.
    """

    index: int
    name: str | None
    uuid_hash: str | None
    compute_capability: str | None
    total_memory_bytes: int | None
    used_memory_bytes: int | None
    driver_version: str | None
    cuda_driver_version: str | None
    mig_enabled: bool | None
    ecc_enabled: bool | None
    persistence_enabled: bool | None
    power_limit_w: float | None
    max_sm_clock_hz: float | None
    missing: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_missing(self)


@dataclass(frozen=True, slots=True)
class GpuState:
    """What a GPU does at one moment. None where it cannot be read: `missing` says why.

    Attributes:
        sm_clock_hz: Clock of the multiprocessors.
        memory_clock_hz: Clock of the device memory.
        temperature_c: Of the chip.
        power_w: Drawn by the whole board; an average of the last second since Ampere (GA100 excepted).
        utilisation: Share of the last sample period, of 1/6 to 1 s, in which a kernel ran.
        clock_reasons: Why the clock is not higher, in the words of `CLOCK_REASONS`; empty for no reason.
        performance_state: 0 (the most) to 15.
        used_memory_bytes: Device memory in use by processes.
        n_other_processes: Processes that use the device and are none of one's own.
        other_memory_bytes: Device memory that they hold.
        missing: Why a value is None, by its name.
    """

    sm_clock_hz: float | None
    memory_clock_hz: float | None
    temperature_c: float | None
    power_w: float | None
    utilisation: float | None
    clock_reasons: tuple[str, ...] | None
    performance_state: int | None
    used_memory_bytes: int | None
    n_other_processes: int | None
    other_memory_bytes: int | None
    missing: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_missing(self)


def record_of(kind: type[Record], answers: Mapping[str, Answer[Any]]) -> Record:
    """The record of those answers, by the names of its values."""
    values: dict[str, Any] = {name: answer.value for name, answer in answers.items()}
    missing = {name: answer.reason for name, answer in answers.items() if answer.reason is not None}
    return kind(**values, missing=missing)


def values_of(record: GpuFacts | GpuState) -> Iterator[tuple[str, Any]]:
    """Each value with its name, without `missing`."""
    return ((entry.name, getattr(record, entry.name)) for entry in fields(record) if entry.name != "missing")


def _check_missing(record: GpuFacts | GpuState) -> None:
    absent = {name for name, value in values_of(record) if value is None}
    if absent != set(record.missing):
        names = ", ".join(sorted(absent ^ set(record.missing)))
        raise ValueError(f"missing must say why for each value that is None and for no other, got {names}")
