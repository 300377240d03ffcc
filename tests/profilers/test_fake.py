"""A fake profiler does what its script says."""

import numpy as np
import pytest

from profilers import FakeProfiler, LaunchError, Protocol, Runtime


def test_latencies_can_depend_on_model_runtime_and_launch() -> None:
    fake = FakeProfiler(
        latency_s=lambda path, runtime, launch: np.full(10, len(path) * runtime.batch * (launch + 1) / 1000)
    )
    measurement = fake.measure("ab", Runtime(batch=3), protocol=Protocol(launches=2))
    assert [launch.latency_ns[0] for launch in measurement.launches] == [6_000_000, 12_000_000]


def test_an_error_is_raised_at_its_call_and_only_there() -> None:
    fake = FakeProfiler(errors={1: LaunchError("died")})
    fake.measure("a", Runtime())
    with pytest.raises(LaunchError, match="died"):
        fake.run("a", Runtime(), {})
    fake.measure("a", Runtime())
    assert fake.n_calls == 3


def test_memory_that_cannot_be_read_is_missing() -> None:
    assert FakeProfiler(peak_memory_bytes=None).measure("a", Runtime()).peak_memory().value is None


def test_doubts_can_be_scripted() -> None:
    fake = FakeProfiler(
        latency_s=np.full(400, 5e-6),
        falls_back_to="cpu",
        providers=("npu",),
        involuntary_switches=50,
        calls_per_block=16,
    )
    measurement = fake.measure("a", Runtime(provider="npu"))
    assert {"ep_fallback", "contended"} <= set(measurement.tags)
    assert measurement.latency(0.5).value == pytest.approx(5e-6)
    assert measurement.latency(0.95).value is None


def test_the_same_model_has_the_same_hash_and_another_has_another() -> None:
    first, again, other = (FakeProfiler().measure(path, Runtime()).model.sha256 for path in ("a", "a", "b"))
    assert first == again != other


def test_inputs_come_back_where_no_outputs_are_scripted() -> None:
    assert FakeProfiler().run("a", Runtime(), {"x": np.ones(2)})["x"].tolist() == [1, 1]
