"""What every profiler does, whatever runs the model: one suite for all of them."""

import json
from pathlib import Path

import numpy as np
import pytest

from profilers import FakeProfiler, ModelError, OnnxRuntimeProfiler, Profiler, Protocol, Runtime
from tests.profilers import models

BRIEF = Protocol(min_calls=72, max_calls=80, min_time_s=0.001, precision_budget_s=0.01, warmup_budget_s=0.05)
WIDTH = 4


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return models.chain(tmp_path_factory.mktemp("contract") / "chain.onnx", width=WIDTH)


@pytest.fixture(params=["onnxruntime", "fake"])
def profiler(request, model) -> Profiler:
    (weights,) = models.chain_weights(model)
    scripted = FakeProfiler(outputs=lambda inputs: {"y": inputs["x"] @ weights})
    return OnnxRuntimeProfiler() if request.param == "onnxruntime" else scripted


def rows(n: int) -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(0).standard_normal((n, WIDTH)).astype(np.float32)}


def test_a_measurement_keeps_what_was_asked_for(profiler, model) -> None:
    runtime = Runtime(batch=2, allow_spinning=True)
    measurement = profiler.measure(model, runtime, protocol=BRIEF)
    assert measurement.runtime == runtime
    assert measurement.protocol == BRIEF
    assert measurement.model.path == str(model)


def test_each_launch_asked_for_has_its_own_samples(profiler, model) -> None:
    measurement = profiler.measure(
        model, Runtime(), protocol=Protocol(launches=2, max_calls=72, min_time_s=0.001)
    )
    assert len(measurement.launches) == 2
    assert measurement.launches[0].latency_ns is not measurement.launches[1].latency_ns
    assert measurement.latency(0.5).n == sum(len(launch.latency_ns) for launch in measurement.launches)
    assert "single_launch" not in measurement.tags


def test_one_launch_is_tagged(profiler, model) -> None:
    assert "single_launch" in profiler.measure(model, Runtime(), protocol=BRIEF).tags


def test_the_statistics_agree_with_each_other(profiler, model) -> None:
    measurement = profiler.measure(model, Runtime(batch=4), protocol=BRIEF)
    median = measurement.latency(0.5)
    assert 0 < median.low <= median.value <= median.high
    assert measurement.throughput().value > 0
    assert measurement.peak_memory().value > 0
    assert measurement.load_time().value > 0


def test_a_measurement_can_be_written_as_strict_json(profiler, model) -> None:
    measurement = profiler.measure(model, Runtime(), protocol=BRIEF)
    text = json.dumps(measurement.to_document(), allow_nan=False)
    assert json.loads(text)["schema"] == "moo.profile/1"


def test_given_inputs_are_accepted(profiler, model) -> None:
    assert profiler.measure(model, Runtime(batch=2), protocol=BRIEF, inputs=rows(7)).launches


def test_fewer_rows_than_a_batch_are_refused(profiler, model) -> None:
    with pytest.raises(ModelError, match="at least one batch of 8 rows, got 3"):
        profiler.measure(model, Runtime(batch=8), protocol=BRIEF, inputs=rows(3))


@pytest.mark.parametrize("batch", [1, 3, 7, 10])
def test_outputs_do_not_depend_on_the_batch(profiler, model, batch) -> None:
    inputs = rows(7)
    outputs = profiler.run(model, Runtime(batch=batch), inputs)
    (weights,) = models.chain_weights(model)
    assert list(outputs) == ["y"]
    np.testing.assert_allclose(outputs["y"], inputs["x"] @ weights, rtol=1e-5, atol=1e-6)


def test_inputs_are_not_changed(profiler, model) -> None:
    inputs = rows(3)
    before = inputs["x"].copy()
    profiler.run(model, Runtime(), inputs)
    assert (inputs["x"] == before).all()


def test_a_provider_that_is_not_there_is_refused_with_those_that_are(profiler, model) -> None:
    runtime = Runtime(provider="abacus")
    with pytest.raises(ValueError, match="provider must be one of cpu, got 'abacus'"):
        profiler.measure(model, runtime)
    with pytest.raises(ValueError, match="provider must be one of cpu, got 'abacus'"):
        profiler.run(model, runtime, rows(1))
