"""What a measurement says about its samples, and how it is kept."""

import json
from dataclasses import replace

import numpy as np
import pytest

from profilers import QUICK, FakeProfiler, Launch, Measurement, ModelFile, Protocol, Runtime


def launch(**changes) -> Launch:
    fields = {
        "latency_ns": np.full(400, 1_000_000),
        "thread_cpu_ns": np.full(400, 1_000_000),
        "calls_per_block": 1,
        "import_s": 0.1,
        "session_s": 0.02,
        "first_call_s": 0.003,
        "warmup_calls": 20,
        "warmup_agreed": True,
        "peak_memory_bytes": 50_000_000,
        "base_memory_bytes": 40_000_000,
        "memory_tag": None,
        "involuntary_switches": 0,
        "provider": "cpu",
    }
    if "latency_ns" in changes and "thread_cpu_ns" not in changes:
        changes["thread_cpu_ns"] = changes["latency_ns"]
    return Launch(**(fields | changes))


def measurement(*launches: Launch, runtime: Runtime | None = None) -> Measurement:
    return Measurement(
        model=ModelFile("m.onnx", "0" * 64, 10),
        runtime=runtime or Runtime(),
        protocol=QUICK,
        launches=launches,
        environment={"identity": {}},
    )


def test_latency_is_in_seconds_with_the_interval_of_order_statistics() -> None:
    statistic = measurement(launch(latency_ns=np.arange(1, 101) * 1000)).latency(0.95)
    assert (statistic.value, statistic.low, statistic.high) == pytest.approx((95e-6, 90e-6, 100e-6))


def test_a_percentile_of_too_few_calls_is_refused() -> None:
    statistic = measurement(launch(latency_ns=np.full(71, 1000))).latency(0.95)
    assert statistic.value is None
    assert statistic.needs_n == 72


def test_the_median_of_calls_in_blocks_is_that_of_the_mean_call() -> None:
    blocks = launch(latency_ns=np.full(100, 64_000), calls_per_block=8)
    assert measurement(blocks).latency(0.5).value == pytest.approx(8e-6)


def test_a_tail_of_calls_in_blocks_is_refused_but_bounded_by_the_block() -> None:
    blocks = launch(latency_ns=np.full(100, 64_000), calls_per_block=8)
    statistic = measurement(blocks).latency(0.95)
    assert (statistic.value, statistic.low) == (None, None)
    assert statistic.high == pytest.approx(64e-6)
    assert statistic.reason is not None
    assert statistic.reason.startswith("one call takes 8 us: too short to time alone")


def test_the_bound_of_a_tail_in_blocks_is_above_the_true_tail() -> None:
    calls = np.random.default_rng(0).pareto(2, (500, 8)) * 1000 + 5000
    blocks = launch(latency_ns=calls.sum(axis=1).astype(np.int64), calls_per_block=8)
    bound = measurement(blocks).latency(0.99).high
    assert bound is not None
    assert bound >= np.quantile(calls, 0.99) / 1e9


def test_too_few_blocks_give_no_bound() -> None:
    statistic = measurement(launch(latency_ns=np.full(71, 64_000), calls_per_block=8)).latency(0.95)
    assert statistic.high is None
    assert statistic.needs_n == 72


def test_throughput_is_rows_over_the_time_of_all_calls() -> None:
    mixed = launch(latency_ns=np.array([1_000_000, 3_000_000] * 50))
    assert measurement(mixed, runtime=Runtime(batch=4)).throughput().value == pytest.approx(2000)


def test_throughput_of_few_calls_has_no_interval() -> None:
    statistic = measurement(launch(latency_ns=np.full(5, 1000))).throughput()
    assert statistic.value == pytest.approx(1e6)
    assert (statistic.low, statistic.high, statistic.needs_n) == (None, None, 6)


def test_one_launch_cannot_tell_the_interval_of_memory_or_load_time() -> None:
    for statistic in (measurement(launch()).peak_memory(), measurement(launch()).load_time()):
        assert statistic.value is not None
        assert (statistic.low, statistic.high) == (None, None)
        assert statistic.needs_n == 6


def test_memory_of_several_launches_has_an_interval() -> None:
    launches = [launch(peak_memory_bytes=50_000_000 + i * 1000) for i in range(9)]
    statistic = measurement(*launches).peak_memory()
    assert statistic.value == 50_004_000
    assert statistic.low < statistic.value < statistic.high


def test_memory_that_could_not_be_read_is_missing_with_a_reason() -> None:
    statistic = measurement(launch(peak_memory_bytes=None)).peak_memory()
    assert statistic.value is None
    assert statistic.reason == "peak memory could not be read on this machine"


def test_latency_of_several_launches_sees_the_spread_between_them() -> None:
    launches = [launch(latency_ns=np.full(100, 1_000_000 + i * 100_000)) for i in range(5)]
    statistic = measurement(*launches).latency(0.5)
    assert statistic.value == pytest.approx(1.2e-3)
    assert statistic.low < 1.15e-3 < 1.25e-3 < statistic.high


def test_a_quiet_precise_measurement_of_many_launches_is_ok() -> None:
    assert measurement(*[launch()] * 10).tags == ("ok",)


@pytest.mark.parametrize("n", [2, 4])
def test_few_launches_are_tagged_because_hardly_any_spread_was_seen(n: int) -> None:
    assert measurement(*[launch()] * n).tags == ("few_launches",)


@pytest.mark.parametrize(
    ("identity", "is_over"),
    [
        ({"affinity": [0, 3], "logical_cores": 8}, True),
        ({"affinity": None, "logical_cores": 8}, False),
        ({}, False),
    ],
)
def test_more_threads_than_usable_processors_are_tagged(identity: dict[str, object], is_over: bool) -> None:
    found = replace(
        measurement(*[launch()] * 10),
        runtime=Runtime(intra_op_num_threads=4),
        environment={"identity": identity, "state": {}},
    )
    assert ("oversubscribed" in found.tags) == is_over


SLOW_START = np.concatenate([np.full(200, 1_200_000), np.full(200, 1_000_000)])


@pytest.mark.parametrize(
    ("changes", "tag"),
    [
        ({"involuntary_switches": 100}, "contended"),
        ({"thread_cpu_ns": np.full(400, 900_000)}, "contended"),
        ({"warmup_agreed": False}, "not_stationary"),
        ({"latency_ns": SLOW_START}, "not_stationary"),
        ({"latency_ns": np.tile([1_000_000, 2_000_000], 200)}, "imprecise"),
        ({"latency_ns": np.full(71, 1_000_000)}, "imprecise"),
        ({"latency_ns": np.full(367, 1_000_000)}, "too_few_for_p99"),
        ({"provider": "other"}, "ep_fallback"),
        ({"memory_tag": "memory_fallback"}, "memory_fallback"),
    ],
)
def test_a_doubt_is_tagged(changes, tag) -> None:
    tags = measurement(launch(**changes)).tags
    assert tag in tags
    assert "single_launch" in tags
    assert "ok" not in tags
    assert list(tags) == sorted(tags)


def test_a_few_switches_in_a_short_time_are_not_contention() -> None:
    assert "contended" not in measurement(launch(latency_ns=np.full(72, 60_000), involuntary_switches=1)).tags


def test_waiting_for_helper_threads_is_not_contention() -> None:
    waiting = launch(thread_cpu_ns=np.full(400, 500_000))
    assert "contended" not in measurement(waiting, runtime=Runtime(intra_op_num_threads=2)).tags


def test_a_small_drift_is_not_a_trend() -> None:
    drift = np.linspace(1_000_000, 1_030_000, 400).astype(np.int64)
    assert "not_stationary" not in measurement(launch(latency_ns=drift)).tags


def test_calls_in_blocks_need_no_tail_to_be_precise() -> None:
    blocks = launch(latency_ns=np.tile([64_000] * 9 + [640_000], 40), calls_per_block=8)
    assert "imprecise" not in measurement(blocks).tags


def test_json_has_the_shape_of_the_schema() -> None:
    entry = json.loads(json.dumps(measurement(launch(latency_ns=np.full(100, 1_000_000))).to_json()))
    assert entry["model"] == {"path": "m.onnx", "sha256": "0" * 64, "bytes": 10}
    assert entry["runtime"]["intra_op_num_threads"] == 1
    assert entry["batch"] == 1
    assert entry["latency_s"]["n"] == 100
    assert entry["latency_s"]["launches"] == 1
    assert entry["latency_s"]["p50"] == {"value": 1e-3, "low": 1e-3, "high": 1e-3}
    assert entry["latency_s"]["p99"] is None
    assert entry["latency_s"]["p99_needs_n"] == 368
    assert entry["throughput_per_s"]["value"] == pytest.approx(1000)
    assert entry["memory_bytes"]["process_peak"] == 50_000_000
    assert entry["memory_bytes"]["arena_peak"] is None
    assert "no run under" in entry["memory_bytes"]["reasons"]["arena"]
    assert (entry["load_s"], entry["first_call_s"], entry["parameters"]) == (0.02, 0.003, None)
    assert entry["tags"] == ["single_launch", "too_few_for_p99"]
    assert entry["samples"] is None


def test_json_gives_the_bound_of_a_tail_in_blocks() -> None:
    blocks = launch(latency_ns=np.full(100, 64_000), calls_per_block=8)
    latency = measurement(blocks).to_json()["latency_s"]
    assert latency["p95"] == {"value": None, "low": None, "high": 64e-6}
    assert "too short" in latency["p95_reason"]


def test_saved_samples_are_the_raw_ones(tmp_path) -> None:
    latency_ns = np.arange(1, 101) * 1000
    measurement(launch(latency_ns=latency_ns), launch()).save(tmp_path / "new" / "folder")
    document = json.loads((tmp_path / "new" / "folder" / "measurement.json").read_text())
    assert document["schema"] == "moo.profile/1"
    assert document["protocol"]["mode"] == "quick"
    assert document["measurements"][0]["samples"] == "samples.npz"
    with np.load(tmp_path / "new" / "folder" / "samples.npz") as samples:
        assert samples["latency_ns_0"].tolist() == latency_ns.tolist()
        assert len(samples["thread_cpu_ns_1"]) == 400


def test_nothing_but_whole_files_is_left_when_saving_fails(tmp_path) -> None:
    measurement(launch()).save(tmp_path)
    before = (tmp_path / "measurement.json").read_bytes()
    broken = replace(measurement(launch()), environment={"load": float("nan")})
    with pytest.raises(ValueError, match="JSON"):
        broken.save(tmp_path)
    assert (tmp_path / "measurement.json").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["measurement.json", "samples.npz"]


def test_samples_cannot_be_changed_and_are_not_shared() -> None:
    latency_ns = np.full(10, 1000)
    record = launch(latency_ns=latency_ns)
    latency_ns[0] = 5
    assert record.latency_ns[0] == 1000
    with pytest.raises(ValueError, match="read-only"):
        record.latency_ns[0] = 5


@pytest.mark.parametrize("latency_ns", [[], [0, 5], [-1], [[1, 2]]])
def test_impossible_samples_are_an_error(latency_ns) -> None:
    with pytest.raises(ValueError, match="latency_ns must be a non-empty list of times above 0"):
        launch(latency_ns=np.array(latency_ns, dtype=np.int64))


def test_samples_of_different_length_are_an_error() -> None:
    with pytest.raises(ValueError, match="thread_cpu_ns must have shape"):
        launch(thread_cpu_ns=np.ones(3))


def test_a_measurement_without_a_launch_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one launch"):
        measurement()


@pytest.mark.parametrize(
    "fields",
    [
        {"provider": ""},
        {"batch": 0},
        {"batch": 1.5},
        {"batch": True},
        {"intra_op_num_threads": 0},
        {"graph_optimization_level": "most"},
        {"allow_spinning": 1},
    ],
)
def test_a_runtime_that_cannot_be_is_refused_by_name(fields) -> None:
    with pytest.raises(ValueError, match=f"^{next(iter(fields))} must be .*, got"):
        Runtime(**fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"launches": 0},
        {"min_calls": 0},
        {"max_calls": 71},
        {"warmup_window": 5},
        {"time_budget_s": 0},
        {"p50_half_width": -1.0},
        {"min_time_s": float("nan")},
    ],
)
def test_a_protocol_that_cannot_be_is_refused_by_name(fields) -> None:
    with pytest.raises(ValueError, match=f"^{next(iter(fields))} must be .*, got"):
        Protocol(**fields)


@pytest.mark.parametrize("protocol", [QUICK, Protocol(min_calls=1, max_calls=1), Protocol(min_calls=7)])
def test_looks_start_at_the_fewest_calls_rise_and_end_at_the_most(protocol: Protocol) -> None:
    sizes = [look["n"] for look in protocol.looks()]
    assert sizes[0] == protocol.min_calls
    assert sizes[-1] == protocol.max_calls
    assert sizes == sorted(set(sizes))


def test_quick_times_enough_calls_for_p95() -> None:
    assert QUICK.min_calls == 72
    assert all(target["ranks"] is not None for target in QUICK.looks()[0]["targets"])


def test_a_fake_measurement_says_so() -> None:
    assert FakeProfiler().measure("a", Runtime()).environment["identity"] == {"fake": True}
