"""The canary's figures are proved on scripted clocks and counters; the real one is only run."""

import gc
import json
from dataclasses import asdict, replace

import pytest

from profilers import _canary
from profilers._canary import Canary, Counters, canary, kernel, summarise, time_slices
from profilers._proc import Ticks

CALM = Canary(
    n_slices=1000,
    median_slice_s=1e-3,
    p95_excess=0.1,
    max_excess=20.0,
    lost_share=0.03,
    switches_per_s=28.0,
    wall_per_cpu=1.005,
    other_busy_cores=0.05,
    steal_share=0.0,
    cpu_pressure=0.01,
)
BEFORE = Counters(0, 0, 0, 10, Ticks(1000, 500, 10), 5_000.0)
AFTER = Counters(2_000_000_000, 1_600_000_000, 1_800_000_000, 60, Ticks(1400, 780, 14), 105_000.0)


def test_the_slices_give_median_tail_and_lost_share() -> None:
    found = summarise([100] * 19 + [400], BEFORE, AFTER, ticks_per_s=100)
    assert found.n_slices == 20
    assert found.median_slice_s == pytest.approx(100e-9)
    assert found.p95_excess == pytest.approx(0.15)
    assert found.max_excess == pytest.approx(3.0)
    assert found.lost_share == pytest.approx(1 - 100 * 20 / 2300)


def test_the_counters_give_what_the_machine_did_meanwhile() -> None:
    found = summarise([100], BEFORE, AFTER, ticks_per_s=100)
    assert found.switches_per_s == pytest.approx(25.0)
    assert found.wall_per_cpu == pytest.approx(1.25)
    assert found.other_busy_cores == pytest.approx((2.8 - 1.8) / 2)
    assert found.steal_share == pytest.approx(0.01)
    assert found.cpu_pressure == pytest.approx(0.05)


def test_equal_slices_lose_nothing() -> None:
    found = summarise([7] * 5, BEFORE, AFTER)
    assert (found.p95_excess, found.max_excess, found.lost_share) == (0.0, 0.0, 0.0)


def test_what_the_kernel_does_not_tell_is_none() -> None:
    found = summarise([100], replace(BEFORE, ticks=None, waited_us=None), AFTER)
    assert (found.other_busy_cores, found.steal_share, found.cpu_pressure) == (None, None, None)


def test_own_work_that_the_ticks_have_not_seen_yet_is_no_negative_load() -> None:
    found = summarise([100], BEFORE, replace(AFTER, process_cpu_ns=9_000_000_000), ticks_per_s=100)
    assert found.other_busy_cores == 0.0


def test_a_machine_that_tells_nothing_can_be_quiet() -> None:
    assert replace(CALM, other_busy_cores=None, steal_share=None, cpu_pressure=None).verdict == "quiet"


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({}, "quiet"),
        ({"lost_share": 0.2}, "noisy"),
        ({"switches_per_s": 150.0}, "noisy"),
        ({"other_busy_cores": 1.0}, "noisy"),
        ({"steal_share": 0.03}, "noisy"),
        ({"wall_per_cpu": 1.05}, "noisy"),
        ({"wall_per_cpu": 1.5}, "loaded"),
        ({"wall_per_cpu": 3.0, "lost_share": 0.7}, "loaded"),
        ({"max_excess": 60.0}, "quiet"),  # one interrupted slice in thousands
    ],
)
def test_the_verdict_follows_from_the_figures(change, verdict) -> None:
    assert replace(CALM, **change).verdict == verdict


def test_slices_are_timed_until_the_window_is_over() -> None:
    ticks = iter(range(0, 1000, 30))
    calls: list[int] = []
    slices = time_slices(lambda: calls.append(1), 100e-9, clock_ns=lambda: next(ticks))
    assert slices == [30] * 4
    assert len(calls) == 4


def test_a_slice_longer_than_the_window_is_still_one() -> None:
    ticks = iter([0, 500, 1000])
    assert time_slices(lambda: None, 1e-9, clock_ns=lambda: next(ticks)) == [500]


def test_the_kernel_keeps_its_numbers_in_range() -> None:
    work = kernel()
    for _ in range(50):
        work()  # an overflow or a not-a-number would be a warning, which is an error in tests


def test_the_real_canary_gives_figures_that_can_be() -> None:
    found = canary(window_s=0.05)
    assert found.n_slices >= 1
    assert found.median_slice_s > 0
    assert 0 <= found.lost_share < 1
    assert found.p95_excess >= 0
    assert found.verdict in {"quiet", "noisy", "loaded"}
    assert json.loads(json.dumps(asdict(found), allow_nan=False)) == asdict(found)


@pytest.mark.parametrize("is_enabled", [True, False])
def test_garbage_collection_is_as_it_was_even_after_an_error(is_enabled, monkeypatch) -> None:
    def fail(work: object, window_s: float) -> list[int]:
        assert not gc.isenabled()
        raise RuntimeError("scripted")

    monkeypatch.setattr(_canary, "time_slices", fail)
    was_enabled = gc.isenabled()
    try:
        (gc.enable if is_enabled else gc.disable)()
        with pytest.raises(RuntimeError, match="scripted"):
            canary()
        assert gc.isenabled() == is_enabled
    finally:
        (gc.enable if was_enabled else gc.disable)()


@pytest.mark.parametrize("window_s", [0.0, -1.0, float("nan")])
def test_a_window_that_cannot_be_is_refused(window_s) -> None:
    with pytest.raises(ValueError, match="window_s must be greater than 0"):
        canary(window_s=window_s)
