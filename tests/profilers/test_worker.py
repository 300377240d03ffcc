"""The parts of the child that decide something, without a child."""

import numpy as np
import pytest

from profilers import _worker
from profilers._onnxruntime import _rules
from profilers._protocol import Protocol
from profilers._statistics import interval_ranks

RANKS = interval_ranks(10, 0.5)


def test_windows_of_the_same_noise_agree() -> None:
    window = np.array([5, 3, 4, 6, 5, 4, 3, 6, 5, 4])
    assert _worker.windows_agree(window, window[::-1], RANKS)


def test_windows_apart_do_not_agree() -> None:
    window = np.array([5, 3, 4, 6, 5, 4, 3, 6, 5, 4])
    assert not _worker.windows_agree(window, window + 10, RANKS)
    assert not _worker.windows_agree(window + 10, window, RANKS)


def test_windows_that_fall_steadily_do_not_agree_though_they_overlap() -> None:
    falling = np.array([109, 102, 107, 104, 105, 106, 103, 108, 101, 100])
    falling = np.sort(falling)[::-1]
    assert not _worker.windows_agree(falling, falling - 2, RANKS)


def test_windows_that_rise_steadily_agree_while_they_overlap() -> None:
    rising = np.arange(100, 110)
    assert _worker.windows_agree(rising, rising + 2, RANKS)


def test_precision_is_reached_when_every_interval_is_narrow() -> None:
    (look, *_) = Protocol(min_calls=72).looks()
    narrow, wide = np.full(72, 100), np.tile([50, 150], 36)
    tail = np.concatenate([np.full(66, 100), np.full(6, 1000)])
    assert _worker.is_precise(narrow, look["targets"], is_batched=False)
    assert not _worker.is_precise(wide, look["targets"], is_batched=False)
    assert not _worker.is_precise(tail, look["targets"], is_batched=False)


def test_the_tail_is_not_sought_in_blocks() -> None:
    (look, *_) = Protocol(min_calls=72).looks()
    tail = np.concatenate([np.full(66, 100), np.full(6, 1000)])
    assert _worker.is_precise(tail, look["targets"], is_batched=True)


def test_a_look_at_too_few_samples_is_not_precise() -> None:
    (look, *_) = Protocol(min_calls=5).looks()
    assert not _worker.is_precise(np.full(5, 100), look["targets"], is_batched=True)


def test_blocks_take_every_input_in_turn() -> None:
    timer = _worker.Timer(lambda feed: None, [{"x": 0}, {"x": 1}, {"x": 2}], 1)
    calls = [feed["x"] for block in timer.blocks(2) for feed in block]
    assert calls == [0, 1, 2, 0, 1, 2]


def test_the_timing_stops_at_its_deadline_after_one_sample() -> None:
    timer = _worker.Timer(lambda feed: None, [{}], 9)
    assert timer.fill(timer.blocks(1), 0, 9, 0) == 1


def test_the_steady_state_goes_on_to_the_most_calls_when_it_is_never_precise() -> None:
    protocol = Protocol(
        min_calls=6, max_calls=50, p50_half_width=1e-12, precision_budget_s=60, time_budget_s=60
    )
    timer = _worker.Timer(lambda feed: sorted(range(feed["n"])), [{"n": 100}, {"n": 30000}], 50)
    assert _worker.steady_state(timer, _rules(protocol), 1) == 50


def test_blocks_grow_until_they_are_long_enough() -> None:
    protocol = Protocol(warmup_budget_s=60)
    timer = _worker.Timer(lambda feed: None, [{}], 10)
    calls_per_block, n_calls, agreed = _worker.warm_up(timer, _rules(protocol), 2**62)
    assert agreed
    assert calls_per_block > 1
    assert n_calls > 20 * calls_per_block


def test_memory_that_cannot_be_read_is_none(tmp_path) -> None:
    assert _worker.status_bytes(tmp_path, "VmHWM") is None
    assert not _worker.reset_peak(tmp_path / "none")


def test_memory_is_read_in_bytes(tmp_path) -> None:
    (tmp_path / "status").write_text("Name:\tpython\nVmHWM:\t    2048 kB\n")
    assert _worker.status_bytes(tmp_path, "VmHWM") == 2 * 2**20
    assert _worker.status_bytes(tmp_path, "VmRSS") is None


def test_the_resident_memory_that_stands_in_is_that_of_this_process() -> None:
    assert _worker.resident_bytes() > 2**20


class Item:
    def __init__(self, name: str, kind: str, shape: list) -> None:
        self.name, self.type, self.shape = name, kind, shape


def made(signature: list[Item], batch: int) -> dict[str, np.ndarray]:
    request = {"runtime": {"batch": batch}, "seed": 0, "inputs": None}
    return _worker.Inputs(signature, request, None).feed(0)


def test_the_first_symbolic_leading_dimension_is_the_batch_wherever_it_leads() -> None:
    feed = made(
        [
            Item("ids", "tensor(int64)", ["batch", "sequence"]),
            Item("mask", "tensor(bool)", ["batch", "sequence"]),
            Item("unnamed", "tensor(float)", [None, 3]),
            Item("memory", "tensor(float)", ["past", "batch", 3]),
            Item("fixed", "tensor(double)", [1, 2]),
            Item("scalar", "tensor(float16)", []),
        ],
        batch=5,
    )
    shapes = {name: array.shape for name, array in feed.items()}
    assert shapes == {
        "ids": (5, 1),
        "mask": (5, 1),
        "unnamed": (5, 3),
        "memory": (1, 1, 3),
        "fixed": (1, 2),
        "scalar": (),
    }


@pytest.mark.parametrize("dtype", sorted(set(_worker.MADE_TYPES.values())))
def test_made_inputs_have_the_type_asked_for_and_depend_on_the_seed_alone(dtype) -> None:
    kind = next(name for name, found in _worker.MADE_TYPES.items() if found == dtype)
    first, again = (made([Item("x", kind, ["batch", 8])], batch=8)["x"] for _ in range(2))
    assert first.dtype == dtype
    assert (first == again).all()
    assert len(np.unique(first)) > 1


def test_wide_integers_are_valid_indices() -> None:
    assert set(np.unique(made([Item("x", "tensor(int64)", ["batch"])], batch=100)["x"])) == {0, 1}
