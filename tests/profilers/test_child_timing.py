"""The timing loop of the child, without a child."""

import numpy as np
import pytest

from profilers._child import _timing
from profilers._measuring import timing_rules
from profilers._proc import Ticks
from profilers._protocol import Protocol
from profilers._statistics import interval_ranks

RANKS = interval_ranks(10, 0.5)


def test_windows_of_the_same_noise_agree() -> None:
    window = np.array([5, 3, 4, 6, 5, 4, 3, 6, 5, 4])
    assert _timing.windows_agree(window, window[::-1], RANKS)


def test_windows_apart_do_not_agree() -> None:
    window = np.array([5, 3, 4, 6, 5, 4, 3, 6, 5, 4])
    assert not _timing.windows_agree(window, window + 10, RANKS)
    assert not _timing.windows_agree(window + 10, window, RANKS)


def test_windows_that_fall_steadily_do_not_agree_though_they_overlap() -> None:
    falling = np.array([109, 102, 107, 104, 105, 106, 103, 108, 101, 100])
    falling = np.sort(falling)[::-1]
    assert not _timing.windows_agree(falling, falling - 2, RANKS)


def test_windows_that_rise_steadily_agree_while_they_overlap() -> None:
    rising = np.arange(100, 110)
    assert _timing.windows_agree(rising, rising + 2, RANKS)


def test_precision_is_reached_when_every_interval_is_narrow() -> None:
    (look, *_) = Protocol(min_calls=72).looks()
    narrow, wide = np.full(72, 100), np.tile([50, 150], 36)
    tail = np.concatenate([np.full(66, 100), np.full(6, 1000)])
    assert _timing.is_precise(narrow, look["targets"], is_batched=False)
    assert not _timing.is_precise(wide, look["targets"], is_batched=False)
    assert not _timing.is_precise(tail, look["targets"], is_batched=False)


def test_the_tail_is_not_sought_in_blocks() -> None:
    (look, *_) = Protocol(min_calls=72).looks()
    tail = np.concatenate([np.full(66, 100), np.full(6, 1000)])
    assert _timing.is_precise(tail, look["targets"], is_batched=True)


def test_a_look_at_too_few_samples_is_not_precise() -> None:
    (look, *_) = Protocol(min_calls=5).looks()
    assert not _timing.is_precise(np.full(5, 100), look["targets"], is_batched=True)


def test_blocks_take_every_input_in_turn() -> None:
    timer = _timing.Timer(lambda feed: None, [{"x": 0}, {"x": 1}, {"x": 2}], 1)
    calls = [feed["x"] for block in timer.blocks(2) for feed in block]
    assert calls == [0, 1, 2, 0, 1, 2]


def test_the_timing_stops_at_its_deadline_after_one_sample() -> None:
    timer = _timing.Timer(lambda feed: None, [{}], 9)
    assert timer.fill(timer.blocks(1), 0, 9, 0) == 1


def test_the_steady_state_goes_on_to_the_most_calls_when_it_is_never_precise() -> None:
    protocol = Protocol(
        min_calls=6, max_calls=50, p50_half_width=1e-12, precision_budget_s=60, time_budget_s=60
    )
    timer = _timing.Timer(lambda feed: sorted(range(feed["n"])), [{"n": 100}, {"n": 30000}], 50)
    assert _timing.steady_state(timer, timing_rules(protocol), 1) == 50


def test_blocks_grow_until_they_are_long_enough() -> None:
    protocol = Protocol(warmup_budget_s=60)
    timer = _timing.Timer(lambda feed: None, [{}], 10)
    calls_per_block, n_calls, agreed = _timing.warm_up(timer, timing_rules(protocol), 2**62)
    assert agreed
    assert calls_per_block > 1
    assert n_calls > 20 * calls_per_block


def counted_visit(**options) -> tuple[int, int]:
    """Samples and calls of a visit of no time at all."""
    calls: list[dict] = []
    timer = _timing.Timer(calls.append, [{}], 9)
    return _timing.visit(timer, 1, 0, 0, **options), len(calls)


def test_a_visit_is_three_blocks_at_least_after_two_untimed() -> None:
    assert counted_visit() == (4, 6)  # one more, which ends after the deadline


def test_a_visit_of_a_slow_model_is_one_call() -> None:
    assert counted_visit(is_slow=True) == (1, 1)


def test_a_visit_stays_within_its_room() -> None:
    timer = _timing.Timer(lambda feed: None, [{}], 2)
    assert _timing.visit(timer, 1, 0, 0) == 2
    assert _timing.visit(timer, 1, 2, 0, is_slow=True) == 2


def test_a_model_is_slow_where_the_shortest_block_of_the_warm_up_is_longer_than_a_visit() -> None:
    timer = _timing.Timer(lambda feed: None, [{}], 3)
    assert not _timing.exceeds(timer, 10)
    timer.wall_ns[:2] = 30, 11
    assert _timing.exceeds(timer, 10)
    assert not _timing.exceeds(timer, 11)


def reading(time_ns: int, total: int, stolen: int, waited_s: float | None, throttled_s: float | None):
    return _timing.Contention(time_ns, Ticks(total, 0, stolen), waited_s, throttled_s)


def test_contention_is_the_difference_of_two_readings() -> None:
    found = reading(0, 100, 5, 3.0, 1.0).until(reading(2 * 10**9, 200, 10, 3.5, 1.25))
    assert found == {"steal_share": 0.05, "pressure_share": 0.25, "throttled_s": 0.25}


def test_too_few_ticks_tell_nothing_of_stolen_time() -> None:
    assert reading(0, 100, 5, None, None).until(reading(10**9, 149, 6, None, None)) == {
        "steal_share": None,
        "pressure_share": None,
        "throttled_s": None,
    }


def test_contention_is_unknown_where_the_system_does_not_tell() -> None:
    unknown = _timing.Contention(0, None, None, None)
    assert set(unknown.until(reading(10**9, 200, 10, 3.5, 1.0)).values()) == {None}


@pytest.mark.parametrize("text", ["", "nr_throttled 3", "throttled_usec", "throttled_usec many"])
def test_throttled_time_is_unknown_where_no_group_tells_it(text) -> None:
    assert _timing.throttled_seconds([text]) is None
    assert _timing.throttled_seconds([text, "throttled_usec 0"]) == 0.0


def test_what_is_read_of_this_system_can_be_compared() -> None:
    before, after = _timing.contention(), _timing.contention()
    assert all(value is None or value >= 0 for value in before.until(after).values())
