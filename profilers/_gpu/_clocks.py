"""Why a GPU's clocks were not higher, and what several states say together."""

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from profilers._gpu._records import GpuState


@dataclass(frozen=True, slots=True)
class ClockReason:
    """Why a clock is not higher.

    Attributes:
        bit: In NVML's mask.
        word: In a record.
        is_throttling: Whether the device runs slower than it was set to.
    """

    bit: int
    word: str
    is_throttling: bool


CLOCK_REASONS = (  # nvmlClocksEventReason* of nvml.h, nvmlClocksThrottleReason* before driver 535
    ClockReason(0x001, "idle", is_throttling=False),  # GpuIdle
    ClockReason(0x002, "application_clocks", is_throttling=False),  # ApplicationsClocksSetting: asked for
    ClockReason(0x004, "power_cap", is_throttling=True),  # SwPowerCap
    ClockReason(0x008, "hw_slowdown", is_throttling=True),  # HwSlowdown: half the clock or less
    ClockReason(0x010, "sync_boost", is_throttling=True),  # SyncBoost: as slow as the slowest of a group
    ClockReason(0x020, "sw_thermal", is_throttling=True),  # SwThermalSlowdown
    ClockReason(0x040, "hw_thermal", is_throttling=True),  # HwThermalSlowdown
    ClockReason(0x080, "hw_power_brake", is_throttling=True),  # HwPowerBrakeSlowdown: the power supply
    ClockReason(0x100, "display_clocks", is_throttling=False),  # DisplayClockSetting: asked for
    ClockReason(0x200, "board_limit", is_throttling=True),  # BoardLimit
    ClockReason(0x400, "reliability", is_throttling=False),  # Reliability: the highest safe voltage
)
NOT_THROTTLING = frozenset(reason.word for reason in CLOCK_REASONS if not reason.is_throttling)


def clock_reasons(mask: int) -> tuple[str, ...]:
    """The words of a mask of NVML, lowest bit first; a bit that is not known is named by its number.

    >>> clock_reasons(0x24), clock_reasons(0), clock_reasons(0x1001)
    (('power_cap', 'sw_thermal'), (), ('idle', 'unknown_0x1000'))
    """
    words = {reason.bit: reason.word for reason in CLOCK_REASONS}
    bits = (1 << shift for shift in range(mask.bit_length()) if mask >> shift & 1)
    return tuple(words.get(bit, f"unknown_{bit:#x}") for bit in bits)


def throttled(states: Iterable[GpuState]) -> bool | None:
    """Whether the device ran slower than set in one of the states; None where none says so and one is silent.

    Reasons that are not known count, since NVML may add some. What happened between two readings is unseen,
    and so is a setting that was slow from the start: the clocks tell.

    >>> from dataclasses import replace
    >>> from profilers._gpu._scripted import CALM
    >>> throttled([CALM, replace(CALM, clock_reasons=("power_cap",))]), throttled([CALM]), throttled([])
    (True, False, None)
    """
    seen = [state.clock_reasons for state in states]
    if any(set(reasons) - NOT_THROTTLING for reasons in seen if reasons is not None):
        return True
    return None if not seen or None in seen else False


def summarise_states(states: Sequence[GpuState]) -> dict[str, Any]:
    """What states read between blocks say together, for the record of a measurement: plain JSON.

    Returns:
        ``n_states``; ``throttled`` as `throttled` says; ``reasons`` and ``other_reasons``, the number of
        states with each reason that counts as throttling and that does not; ``sm_clock_hz`` with min, median
        and max, ``temperature_c`` with min and max, each None where no state has one; ``n_other_processes``,
        the most; and ``missing``, why some states lack a value, by its name.

    >>> from dataclasses import replace
    >>> from profilers._gpu._scripted import CALM
    >>> hot = replace(CALM, sm_clock_hz=1.2e9, temperature_c=88.0, clock_reasons=("sw_thermal",))
    >>> found = summarise_states([CALM, hot])
    >>> found["throttled"], found["reasons"], found["sm_clock_hz"]
    (True, {'sw_thermal': 1}, {'min': 1200000000.0, 'median': 1590000000.0, 'max': 1980000000.0})
    """
    words = [word for state in states for word in state.clock_reasons or ()]
    counts = {word: words.count(word) for word in sorted(set(words))}
    clocks = [state.sm_clock_hz for state in states if state.sm_clock_hz is not None]
    temperatures = [state.temperature_c for state in states if state.temperature_c is not None]
    others = [state.n_other_processes for state in states if state.n_other_processes is not None]
    return {
        "n_states": len(states),
        "throttled": throttled(states),
        "reasons": {word: n for word, n in counts.items() if word not in NOT_THROTTLING},
        "other_reasons": {word: n for word, n in counts.items() if word in NOT_THROTTLING},
        "sm_clock_hz": _spread(clocks, {"min": min, "median": statistics.median, "max": max}),
        "temperature_c": _spread(temperatures, {"min": min, "max": max}),
        "n_other_processes": max(others, default=None),
        "missing": {name: reason for state in states for name, reason in state.missing.items()},
    }


def _spread(
    values: Sequence[float], rows: Mapping[str, Callable[[Sequence[float]], float]]
) -> dict[str, float] | None:
    return {name: of(values) for name, of in rows.items()} if values else None
