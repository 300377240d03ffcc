"""What every profiler does, whatever runs the model: one suite for all of them."""

import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from profilers import (
    FakeProfiler,
    Feeds,
    ModelError,
    OnnxRuntimeProfiler,
    Profiler,
    Protocol,
    RemoteProfiler,
    Runtime,
)
from profilers._torch import TorchProfiler
from tests.profilers import models

BRIEF = Protocol(min_calls=72, max_calls=80, min_time_s=0.001, precision_budget_s=0.01, warmup_budget_s=0.05)
WIDTH = 4
PROVIDERS = {
    "onnxruntime": "cpu",
    "fake": "cpu",
    "remote": "cpu",
    "torch": "torch",
    "torch on a device": "torch-scripted",
}  # the one each is tested with
IN_TORCH = """
from pathlib import Path
import numpy as np
import torch

class Product(torch.nn.Module):
    def __init__(self, weights):
        super().__init__()
        self.weights = torch.nn.Parameter(weights)

    def forward(self, x):
        return {"y": x @ self.weights}

def make():
    weights = torch.from_numpy(np.load(Path(__file__).with_name("weights.npy")))
    return Product(weights), {"x": torch.zeros(2, len(weights))}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Holds one model in every format."""
    folder = tmp_path_factory.mktemp("contract")
    models.chain(folder / "chain.onnx", width=WIDTH)
    np.save(folder / "weights.npy", models.chain_weights(folder / "chain.onnx")[0])
    (folder / "chain.py").write_text(IN_TORCH)
    return folder


@pytest.fixture(scope="module")
def weights(folder) -> np.ndarray:
    return np.load(folder / "weights.npy")


@pytest.fixture(params=list(PROVIDERS))
def kind(request) -> str:
    if request.param.startswith("torch"):
        pytest.importorskip("torch", reason="torch is not installed")
    return request.param


@pytest.fixture
def model(kind, folder) -> Path:
    return folder / ("chain.py:make" if kind.startswith("torch") else "chain.onnx")


class NextDoor:
    """Another place, but for the way there: what is sent there and back is pickled."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.kept = folder, {}

    def __call__(self, job, *, alone: bool):
        return pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(job))(self.folder, self.kept)))


@pytest.fixture
def profiler(kind, weights, tmp_path) -> Profiler:
    if kind == "remote":
        return RemoteProfiler(OnnxRuntimeProfiler(), NextDoor(tmp_path))
    if kind.startswith("torch"):
        return TorchProfiler()
    scripted = FakeProfiler(outputs=lambda inputs: {"y": inputs["x"] @ weights})
    return OnnxRuntimeProfiler() if kind == "onnxruntime" else scripted


@pytest.fixture
def plain(kind) -> Runtime:
    """The runtime with nothing chosen but the provider."""
    return Runtime(provider=PROVIDERS[kind])


def rows(n: int) -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(0).standard_normal((n, WIDTH)).astype(np.float32)}


def test_a_measurement_keeps_what_was_asked_for(profiler, model, plain) -> None:
    runtime = replace(plain, batch=2, intra_op_num_threads=2)
    measurement = profiler.measure(model, runtime, protocol=BRIEF)
    assert measurement.runtime == runtime
    assert measurement.protocol == BRIEF
    assert measurement.model.path == str(model)


def test_each_launch_asked_for_has_its_own_samples(profiler, model, plain) -> None:
    measurement = profiler.measure(
        model, plain, protocol=Protocol(launches=2, max_calls=72, min_time_s=0.001)
    )
    assert len(measurement.launches) == 2
    assert measurement.launches[0].latency_ns is not measurement.launches[1].latency_ns
    assert measurement.latency(0.5).n == sum(len(launch.latency_ns) for launch in measurement.launches)
    assert "single_launch" not in measurement.tags


def test_one_launch_is_tagged(profiler, model, plain) -> None:
    assert "single_launch" in profiler.measure(model, plain, protocol=BRIEF).tags


def test_the_statistics_agree_with_each_other(profiler, model, plain) -> None:
    measurement = profiler.measure(model, replace(plain, batch=4), protocol=BRIEF)
    median = measurement.latency(0.5)
    assert 0 < median.low <= median.value <= median.high
    assert measurement.throughput().value > 0
    assert measurement.peak_memory().value > 0
    assert measurement.load_time().value > 0


def test_a_measurement_can_be_written_as_strict_json(profiler, model, plain) -> None:
    measurement = profiler.measure(model, plain, protocol=BRIEF)
    text = json.dumps(measurement.to_document(), allow_nan=False)
    assert json.loads(text)["schema"] == "moo.profile/1"


def test_given_inputs_are_accepted(profiler, model, plain) -> None:
    assert profiler.measure(
        model, replace(plain, batch=2), protocol=BRIEF, feeds=Feeds(arrays=rows(7))
    ).launches


def test_fewer_rows_than_a_batch_are_refused(profiler, model, plain) -> None:
    with pytest.raises(ModelError, match="at least one batch of 8 rows, got 3"):
        profiler.measure(model, replace(plain, batch=8), protocol=BRIEF, feeds=Feeds(arrays=rows(3)))


@pytest.mark.parametrize("batch", [1, 3, 7, 10])
def test_outputs_do_not_depend_on_the_batch(profiler, model, plain, weights, batch) -> None:
    inputs = rows(7)
    outputs = profiler.run(model, replace(plain, batch=batch), inputs)
    assert list(outputs) == ["y"]
    np.testing.assert_allclose(outputs["y"], inputs["x"] @ weights, rtol=1e-5, atol=1e-6)


def test_inputs_are_not_changed(profiler, model, plain) -> None:
    inputs = rows(3)
    before = inputs["x"].copy()
    profiler.run(model, plain, inputs)
    assert (inputs["x"] == before).all()


def test_a_provider_that_is_not_there_is_refused_with_those_that_are(profiler, model, plain) -> None:
    runtime = replace(plain, provider="abacus")
    shown = "torch" if plain.provider == "torch-scripted" else plain.provider  # which is no person's business
    message = rf"provider must be one of {shown}(, .*)?, got 'abacus'"
    with pytest.raises(ValueError, match=message):
        profiler.measure(model, runtime)
    with pytest.raises(ValueError, match=message):
        profiler.run(model, runtime, rows(1))


def test_as_many_launches_are_taken_as_until_asks_for(profiler, model, plain) -> None:
    seen: list[int] = []

    def until(measurement) -> bool:
        seen.append(len(measurement.launches))
        return len(measurement.launches) == 2

    measurement = profiler.measure(model, plain, protocol=replace(BRIEF, launches=4), until=until)
    assert seen == [1, 2]
    assert len(measurement.launches) == 2


def test_until_adds_no_launches_where_it_is_never_enough(profiler, model, plain) -> None:
    protocol = replace(BRIEF, launches=2, max_launches=2)
    found = profiler.measure(model, plain, protocol=protocol, until=lambda _: False)
    assert len(found.launches) == 2


def test_an_open_launch_gives_the_samples_of_each_visit(profiler, model, plain) -> None:
    runtime = replace(plain, batch=2)
    with profiler.open(model, runtime, protocol=BRIEF, feeds=Feeds(arrays=rows(5))) as launch:
        for _ in range(3):
            launch.visit()
        measurement, sizes = launch.closed()
    (only,) = measurement.launches
    assert len(sizes) == 3
    assert min(sizes) > 0
    assert sum(sizes) == len(only.latency_ns)
    assert measurement.runtime == runtime
    assert measurement.protocol == BRIEF
    assert measurement.model.path == str(model)


def test_an_open_launch_may_be_left_without_closing_it(profiler, model, plain) -> None:
    before = set(psutil.Process().children(recursive=True))
    with profiler.open(model, plain, protocol=BRIEF) as launch:
        launch.visit()
    assert set(psutil.Process().children(recursive=True)) <= before


def test_two_open_launches_take_turns(profiler, model, plain) -> None:
    with (
        profiler.open(model, plain, protocol=BRIEF) as one,
        profiler.open(model, plain, protocol=BRIEF) as other,
    ):
        for launch in (one, other, one, other, other):
            launch.visit()
        assert [len(launch.closed()[1]) for launch in (one, other)] == [2, 3]


def test_what_cannot_be_measured_cannot_be_opened(profiler, model, plain) -> None:
    with pytest.raises(ModelError, match="at least one batch of 8 rows, got 3"):
        profiler.open(model, replace(plain, batch=8), protocol=BRIEF, feeds=Feeds(arrays=rows(3)))
    with pytest.raises(ValueError, match="provider must be one of"):
        profiler.open(model, replace(plain, provider="abacus"), protocol=BRIEF)


def test_contention_is_a_share_or_unknown(profiler, model, plain) -> None:
    with profiler.open(model, plain, protocol=BRIEF) as open_launch:
        open_launch.visit()
        visited = open_launch.closed()[0].launches
    for launch in (*visited, *profiler.measure(model, plain, protocol=BRIEF).launches):
        for value in (launch.steal_share, launch.pressure_share, launch.throttled_s):
            assert value is None or value >= 0
