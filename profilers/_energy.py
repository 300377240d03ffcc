"""Energy of the processors, read from their own counters (RAPL) where the kernel shows them; never estimated.

Linux shows the counters of Intel's processors, and of AMD's from family 17h on, by the same names in
/sys/class/powercap. They count whole packages: memory, disks and fans are not in it; all other processes are.
"""

import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from profilers import _proc

POWERCAP = Path("/sys/class/powercap")
SHORTEST_WINDOW_S = 5.0  # a counter moves about every millisecond, and an idle package draws some watts
MOST_PACKAGE_WATTS = (
    1000.0  # no package draws more, so that a counter cannot come round sooner than this says
)
_ZONE = re.compile(r"intel-rapl:\d+")  # not those below a package, which are part of it, nor intel-rapl-mmio


@dataclass(frozen=True, slots=True)
class EnergyReading:
    """The counters at one moment; what they mean is in the difference of two.

    Attributes:
        time_s: The moment, by a clock that never goes back.
        counters_uj: Microjoules of each package, which begin again at 0 after `ranges_uj`.
        ranges_uj: The largest value of each counter.
    """

    time_s: float
    counters_uj: tuple[int, ...]
    ranges_uj: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class EnergyPerCall:
    """Joules of a call, or the reason why there are none.

    Attributes:
        gross_j: Everything the packages used, divided by the calls; None where it cannot be said.
        net_j: The same without what the idle machine would have used; None where it cannot be said.
        reason: Why one of them is None; None where both are there.
    """

    gross_j: float | None
    net_j: float | None
    reason: str | None


class EnergyCounters(Protocol):
    """Counters of energy: a GPU's, or those of the processors (`EnergyMeter`)."""

    def read(self) -> EnergyReading:
        """The counters now.

        Raises:
            GpuError: If a GPU's cannot be read or do not count, with the reason.
            OSError: If the processors' cannot be read.
        """
        ...

    def unavailable_reason(self) -> str | None:
        """Why no energy can be measured here now, before a model is loaded; None where it can."""
        ...


class EnergyMeter:
    """The counters of all processor packages, summed.

    Args:
        root: Where the kernel shows them.
        is_virtual_machine: Whether this machine is one, for the reason; None to ask the processor.
        clock_s: Seconds, for the time of a reading.
    """

    def __init__(
        self,
        root: Path = POWERCAP,
        *,
        is_virtual_machine: bool | None = None,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._root = root
        self._is_virtual = _proc.is_virtual_machine() if is_virtual_machine is None else is_virtual_machine
        self._clock_s = clock_s

    def read(self) -> EnergyReading:
        """The counters now.

        Raises:
            OSError: If they cannot be read: see `unavailable_reason`.
        """
        packages = self._packages()
        if not packages:
            raise FileNotFoundError(self.unavailable_reason())
        counters = tuple(_number(package / "energy_uj") for package in packages)
        ranges = tuple(_number(package / "max_energy_range_uj") for package in packages)
        return EnergyReading(self._clock_s(), counters, ranges)

    def unavailable_reason(self) -> str | None:
        """Why no energy can be measured here, in a few words that name no folder; None where it can."""
        try:
            packages = self._packages()
        except FileNotFoundError:
            return self._absent("the kernel shows no energy counters (no folder powercap)")
        except OSError as error:
            return f"the folder powercap cannot be read: {error.strerror}"
        if not packages:
            return self._absent(
                "the kernel shows no processor package in powercap: is intel_rapl_msr loaded?"
            )
        for file in (package / name for package in packages for name in ("energy_uj", "max_energy_range_uj")):
            try:
                _number(file)
            except PermissionError:
                return f"permission denied: {file.relative_to(self._root)} cannot be read by this user"
            except (OSError, ValueError) as error:
                what = error.strerror if isinstance(error, OSError) else "no whole number in it"
                return f"{file.relative_to(self._root)} cannot be read: {what}"
        return None

    def _absent(self, reason: str) -> str:
        return f"virtual machine, and {reason}" if self._is_virtual else reason

    def _packages(self) -> list[Path]:
        """The folders of whole packages; "psys", the whole board, would count them a second time."""
        zones = sorted(path for path in self._root.iterdir() if _ZONE.fullmatch(path.name))
        return [zone for zone in zones if (_proc.read_text(zone / "name") or "").startswith("package")]


def joules_between(before: EnergyReading, after: EnergyReading) -> float | None:
    """Joules used between two readings of a meter; None where a counter may have come round twice.

    A counter that is lower at the end has come round once. A window in which a package at
    `MOST_PACKAGE_WATTS` would use the whole range leaves it open how often.

    >>> joules_between(EnergyReading(0, (900,), (999,)), EnergyReading(1e-9, (150,), (999,)))
    0.00025
    """
    _check_pair(before, after)
    ranges_j = [range_uj / 1e6 for range_uj in before.ranges_uj]
    if MOST_PACKAGE_WATTS * (after.time_s - before.time_s) >= min(ranges_j):
        return None
    counters = zip(before.counters_uj, after.counters_uj, before.ranges_uj, strict=True)
    return sum((last - first) % (largest + 1) for first, last, largest in counters) / 1e6


def energy_per_call(
    before: EnergyReading, after: EnergyReading, n_calls: int, *, idle_watts: float | None = None
) -> EnergyPerCall:
    """Joules of one call, from the readings before and after `n_calls` of them.

    Args:
        before: The reading at the start.
        after: The reading of the same meter at the end.
        n_calls: Calls in between, at least 1.
        idle_watts: What the packages draw when this machine does nothing else; None if not measured.

    Returns:
        Nothing for windows under `SHORTEST_WINDOW_S`, for those in which a counter may have come round
        twice, and for counters that stand still. Nothing net where the idle machine would have used as much.

    Raises:
        ValueError: If `n_calls` or `idle_watts` cannot be, or if the readings do not belong together.

    >>> ranges = (262_143_328_850,)
    >>> window = EnergyReading(0.0, (0,), ranges), EnergyReading(10.0, (400_000_000,), ranges)
    >>> energy_per_call(*window, 1000, idle_watts=15.0)
    EnergyPerCall(gross_j=0.4, net_j=0.25, reason=None)
    """
    if n_calls < 1:
        raise ValueError(f"n_calls must be at least 1, got {n_calls!r}")
    if idle_watts is not None and not (math.isfinite(idle_watts) and idle_watts >= 0):
        raise ValueError(f"idle_watts must be finite and at least 0, got {idle_watts!r}")
    _check_pair(before, after)
    seconds = after.time_s - before.time_s
    if seconds < SHORTEST_WINDOW_S:
        return EnergyPerCall(None, None, f"needs {SHORTEST_WINDOW_S:g} s or more, got {seconds:.3g} s")
    joules = joules_between(before, after)
    if joules is None:
        return EnergyPerCall(None, None, f"a counter may have come round more than once in {seconds:.3g} s")
    if joules == 0:
        return EnergyPerCall(None, None, "the counters stood still")
    if idle_watts is None:
        return EnergyPerCall(joules / n_calls, None, "the power of the idle machine was not measured")
    net_j = joules - idle_watts * seconds
    if net_j <= 0:
        return EnergyPerCall(joules / n_calls, None, "the idle machine would have used as much")
    return EnergyPerCall(joules / n_calls, net_j / n_calls, None)


def _check_pair(before: EnergyReading, after: EnergyReading) -> None:
    if before.ranges_uj != after.ranges_uj or not before.ranges_uj:
        raise ValueError("before and after must be readings of the same packages")
    if not after.time_s >= before.time_s:
        raise ValueError(f"after must not be earlier than before, got {after.time_s} and {before.time_s}")


def _number(path: Path) -> int:
    return int(path.read_text())
