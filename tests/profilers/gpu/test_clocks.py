"""Why clocks were not higher, and what states say together."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profilers._gpu._clocks import CLOCK_REASONS, clock_reasons, summarise_states, throttled
from profilers._gpu._scripted import CALM

WORDS = {reason.word for reason in CLOCK_REASONS}
BITS = [  # the names and values of nvml.h
    ("nvmlClocksEventReasonGpuIdle", 0x1, "idle", False),
    ("nvmlClocksEventReasonApplicationsClocksSetting", 0x2, "application_clocks", False),
    ("nvmlClocksEventReasonSwPowerCap", 0x4, "power_cap", True),
    ("nvmlClocksThrottleReasonHwSlowdown", 0x8, "hw_slowdown", True),
    ("nvmlClocksEventReasonSyncBoost", 0x10, "sync_boost", True),
    ("nvmlClocksEventReasonSwThermalSlowdown", 0x20, "sw_thermal", True),
    ("nvmlClocksThrottleReasonHwThermalSlowdown", 0x40, "hw_thermal", True),
    ("nvmlClocksThrottleReasonHwPowerBrakeSlowdown", 0x80, "hw_power_brake", True),
    ("nvmlClocksEventReasonDisplayClockSetting", 0x100, "display_clocks", False),
    ("nvmlClocksThrottleReasonBoardLimit", 0x200, "board_limit", True),
    ("nvmlClocksThrottleReasonReliability", 0x400, "reliability", False),
]


@pytest.mark.parametrize(("name", "bit", "word", "is_throttling"), BITS)
def test_each_bit_of_nvml_has_its_word_and_counts_or_not(name, bit, word, is_throttling) -> None:
    assert clock_reasons(bit) == (word,)
    assert throttled([replace(CALM, clock_reasons=(word,))]) is is_throttling
    pynvml = pytest.importorskip("pynvml")
    assert getattr(pynvml, name, bit) == bit


def test_every_bit_that_pynvml_knows_has_a_word() -> None:
    pynvml = pytest.importorskip("pynvml")
    known = pynvml.nvmlClocksEventReasonAll | pynvml.nvmlClocksThrottleReasonAll
    assert set(clock_reasons(known)) <= WORDS


@given(st.integers(0, 2**64 - 1))
def test_every_set_bit_has_one_word_and_words_tell_the_mask(mask) -> None:
    bits = {word: bit for _, bit, word, _ in BITS}
    words = clock_reasons(mask)
    assert len(words) == mask.bit_count()
    assert sum(bits.get(word) or int(word.removeprefix("unknown_"), 16) for word in words) == mask


def test_a_reason_that_is_not_known_counts() -> None:
    assert throttled([replace(CALM, clock_reasons=clock_reasons(0x800))]) is True


SILENT = replace(CALM, clock_reasons=None, missing={"clock_reasons": "not supported by this device"})
CAPPED = replace(CALM, clock_reasons=("power_cap",))


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([], None),
        ([SILENT], None),
        ([CALM, SILENT], None),
        ([CALM, CALM], False),
        ([SILENT, CAPPED], True),
        ([CALM, CAPPED, CALM], True),
    ],
)
def test_throttling_is_known_only_if_one_says_so_or_all_say_no(states, expected) -> None:
    assert throttled(states) is expected
    assert throttled(iter(states)) is expected
    assert summarise_states(states)["throttled"] is expected


def test_states_together_say_how_often_why_and_between_what() -> None:
    rows = [
        (1.0e9, 50.0, ("idle",)),
        (1.4e9, 70.0, ("power_cap", "sw_thermal")),
        (1.1e9, 60.0, ("power_cap",)),
    ]
    states = [
        replace(CALM, sm_clock_hz=clock, temperature_c=heat, clock_reasons=reasons, n_other_processes=k)
        for k, (clock, heat, reasons) in enumerate(rows)
    ]
    found = summarise_states(states)
    assert found == {
        "n_states": 3,
        "throttled": True,
        "reasons": {"power_cap": 2, "sw_thermal": 1},
        "other_reasons": {"idle": 1},
        "sm_clock_hz": {"min": 1.0e9, "median": 1.1e9, "max": 1.4e9},
        "temperature_c": {"min": 50.0, "max": 70.0},
        "n_other_processes": 2,
        "missing": {},
    }
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert summarise_states(states[::-1]) == found


def test_states_that_say_nothing_leave_nothing_but_the_reasons() -> None:
    names = {"sm_clock_hz", "temperature_c", "n_other_processes", "clock_reasons"}
    missing = dict.fromkeys(names, "not supported by this device")
    found = summarise_states([replace(CALM, **dict.fromkeys(names), missing=missing)])
    assert found["missing"] == missing
    assert {found[name] for name in ("sm_clock_hz", "temperature_c", "n_other_processes", "throttled")} == {
        None
    }
    assert summarise_states([])["n_states"] == 0
