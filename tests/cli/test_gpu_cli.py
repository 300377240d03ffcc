"""What a person with a GPU reads, by a scripted device; and without one, the one line that says so."""

import json
import re
import sys
from dataclasses import replace

import numpy as np
import pytest

from moo.cli import _profilers
from profilers import Measurement, Runtime, TorchProfiler, load_measurements
from tests.profilers import models

torch = pytest.importorskip("torch", reason="torch is not installed")

MODEL = """
import torch

class Product(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(64, 64)

    def forward(self, x):
        if len(x) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB")
        return self.layer(x)

def make():
    return Product(), (torch.zeros(2, 64),)
"""
TASK = """
from objectives import FunctionTask, Task
from profilers import Runtime

class Served(Task):
    name, runtime = "served", Runtime()
    space = evaluate = None

plain = FunctionTask(lambda trial: {"accuracy": 1.0})
"""


@pytest.fixture
def model(tmp_path) -> str:
    (tmp_path / "model.py").write_text(MODEL)
    return f"{tmp_path / 'model.py'}:make"


@pytest.fixture
def onnx_model(tmp_path) -> str:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("onnxruntime is built with CUDA here")
    return str(models.chain(tmp_path / "chain.onnx"))


@pytest.fixture
def without_cuda() -> None:
    if torch.version.cuda is not None:
        pytest.skip("torch is built with CUDA here")


@pytest.fixture
def scripted(monkeypatch) -> None:
    """The scripted device can be named, which is no person's business."""
    monkeypatch.setattr(_profilers, "_TORCH", (*_profilers._TORCH, "torch-scripted"))


def profile(moo, *words):
    return moo("profile", *words, "--mode", "quick")


def refused(found) -> str:
    """The one line with which a command was refused as wrong input."""
    assert found.status == 2
    assert found.out == ""
    assert found.err.startswith("moo: ")
    assert found.err.count("\n") == 1
    return found.err


# with a device


def test_times_and_memory_of_the_device_are_shown_and_written(moo, scripted, model, tmp_path) -> None:
    out = tmp_path / "out.json"
    words = ("--provider", "torch-scripted", "--option", "precision=fp32", "--option", "precision=bf16")
    found = profile(moo, model, *words, "--json", str(out))
    assert found.status == 0, found.err
    for title in ("on device", "cold", "device memory", "1.91 MiB", "precision=fp32", "precision=bf16"):
        assert title in found.out
    assert "cold: its cache emptied before each call" in found.out
    entries = json.loads(out.read_text())["measurements"]
    assert [entry["runtime"]["options"]["precision"] for entry in entries] == ["fp32", "bf16"]
    for entry, read in zip(entries, load_measurements(out), strict=True):
        for name in ("hot", "cold"):
            times = entry["device_latency_s"][name]["p50"]
            assert 0 < times["low"] <= times["value"] <= times["high"]
            assert read.device_latency(0.5, is_cold=name == "cold").value == times["value"]
        (launch,) = entry["launches"]
        assert launch["device"]["memory_bytes"]["reserved_peak"] == 2_000_000
        assert launch["device"]["name"] == "scripted device"


def test_nothing_of_a_device_is_shown_where_there_is_none(moo, model) -> None:
    found = profile(moo, model)
    assert found.status == 0, found.err
    assert "on device" not in found.out
    assert "device memory" not in found.out


@pytest.mark.parametrize(("share", "is_told"), [(0.2, True), (0.9, False)])
def test_a_call_that_leaves_the_device_idle_is_told(
    moo, scripted, model, monkeypatch, share, is_told
) -> None:
    measure = TorchProfiler.measure

    def measure_slowed(self, *arguments, **options) -> Measurement:
        """The device takes that share of each call."""
        found = measure(self, *arguments, **options)
        whole_ns = 1e9 * found.latency(0.5).value
        device_ns = np.full(20, max(1, round(share * whole_ns)), np.int64)
        launches = tuple(replace(launch, device_ns=device_ns) for launch in found.launches)
        return replace(found, launches=launches)

    monkeypatch.setattr(TorchProfiler, "measure", measure_slowed)
    found = profile(moo, model, "--provider", "torch-scripted", "--batch", "4")
    assert found.status == 0, found.err
    assert ("of a call: the host cannot keep it busy" in found.out) == is_told
    assert ("the device works 20% of a call" in found.out) == is_told


@pytest.mark.parametrize("provider", ["torch", "torch-scripted"])
def test_a_batch_that_does_not_fit_is_a_failed_row_and_the_others_are_measured(
    moo, scripted, model, tmp_path, provider
) -> None:
    out = tmp_path / "out.json"
    found = profile(moo, model, "--provider", provider, "--batch", "1,8,4", "--json", str(out))
    assert found.status == 1
    assert found.err.count("\n") == 1
    assert "batch 8: not measured:" in found.err
    assert "failed at first call with MemoryError: CUDA out of memory" in found.err
    assert "take a smaller batch" in found.err
    document = json.loads(out.read_text())
    assert [entry["batch"] for entry in document["measurements"]] == [1, 4]
    (failed,) = document["failed"]
    assert failed["runtime"]["batch"] == 8
    assert "CUDA out of memory" in failed["reason"]


def test_want_of_memory_alone_is_no_wrong_input(moo, scripted, model) -> None:
    found = profile(moo, model, "--provider", "torch-scripted", "--batch", "8,16")
    assert found.status == 1
    assert found.err.count("\n") == 2


# without a device


@pytest.mark.parametrize("provider", ["torch-cuda", "torch-cuda:7", "cuda", "cuda:7"])
def test_torch_without_cuda_is_one_line(moo, without_cuda, model, provider) -> None:
    named = provider if provider.startswith("torch") else f"torch-{provider}"
    line = refused(profile(moo, model, "--provider", provider))
    assert (
        f"{named}, threads 1, batch 1: not measured: torch {torch.__version__} is built without CUDA" in line
    )


@pytest.mark.parametrize("provider", ["cuda", "cuda:7", "tensorrt"])
def test_onnx_runtime_without_the_provider_is_one_line(moo, onnx_model, provider) -> None:
    line = refused(profile(moo, onnx_model, "--provider", provider))
    assert "ExecutionProvider, only " in line
    assert "install onnxruntime-gpu in its place" in line


def test_cuda_for_an_archive_is_torch_on_a_gpu(moo, without_cuda, tmp_path) -> None:
    path = tmp_path / "m.pt2"
    torch.export.save(torch.export.export(torch.nn.Linear(2, 2).eval(), (torch.zeros(1, 2),)), path)
    line = refused(profile(moo, str(path), "--provider", "cuda:1"))
    assert "m.pt2, torch-cuda:1, threads 1" in line
    assert "is built without CUDA" in line


def test_a_row_on_the_processor_is_measured_where_that_on_a_gpu_is_not(moo, without_cuda, model) -> None:
    found = profile(moo, model, "--provider", "torch-cuda,torch")
    assert found.status == 1
    assert found.err.count("\n") == 1
    assert "rows/s" in found.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--provider", "cuda:x"],
            "provider must be a name, or one with a number as cuda:1, got 'torch-cuda:x'",
        ),
        (["--provider", "gpu"], "--provider: expected one of cpu, cuda, tensorrt, torch, .* got 'gpu'"),
        (["--option", "precision=tf32"], "options: precision=tf32 needs provider torch-cuda, got torch"),
        (["--option", "precision=fp8"], "expected one of precision=fp32.* got precision=fp8"),
        (["--option", "graph"], "--option: expected"),
        (
            ["--provider", "cuda", "--option", "graph=on", "--option", "compile=default"],
            "graph=on captures what is not compiled",
        ),
    ],
)
def test_a_wrong_option_is_one_line(moo, model, words, message) -> None:
    assert re.search(message, refused(profile(moo, model, *words)))


def test_comparing_on_a_gpu_that_is_not_there_is_one_line(moo, onnx_model) -> None:
    line = refused(moo("compare", onnx_model, onnx_model, "--provider", "cuda", "--mode", "quick"))
    assert "fewer than two could be measured: provider cuda: the installed onnxruntime" in line


def test_comparing_with_torch_on_a_gpu_that_is_not_there_is_one_line(moo, without_cuda, model) -> None:
    line = refused(moo("compare", model, model, "--provider", "torch,cuda", "--mode", "quick"))
    assert "is built without CUDA" in line


def test_two_precisions_are_compared_on_a_device(moo, scripted, model) -> None:
    words = ("--provider", "torch-scripted", "--option", "precision=fp32", "--option", "precision=bf16")
    found = moo("compare", model, model, *words, "--mode", "quick")
    assert found.status == 0, found.err
    assert "precision=bf16" in found.out


@pytest.mark.parametrize(
    ("task", "provider", "message"),
    [
        ("Served", "cuda", "--provider: cuda cannot be used here: .*: have one of cpu, see moo doctor"),
        ("Served", "cuda:3", "--provider: cuda cannot be used here"),
        ("Served", "torch-cuda", "--provider: expected one of cpu, cuda, tensorrt, got 'torch-cuda'"),
        ("Served", "cuda:x", "--provider: provider must be a name, or one with a number as cuda:1"),
        ("plain", "cuda", "--provider: task .* is served by no runtime: leave it out"),
    ],
)
def test_a_sweep_on_a_gpu_that_is_not_there_is_one_line(
    moo, onnx_model, tmp_path, monkeypatch, task, provider, message
) -> None:
    (tmp_path / "gpu_tasks.py").write_text(TASK)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    line = refused(moo("run", f"gpu_tasks.py:{task}", "--trials", "1", "--provider", provider))
    assert re.search(message, line)
    assert not (tmp_path / "moo-runs").exists()


# on a real GPU


@pytest.mark.gpu
def test_a_model_is_profiled_on_the_gpu(moo, model, tmp_path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("torch finds no GPU")
    out = tmp_path / "out.json"
    words = ("--provider", "cuda,torch", "--option", "graph=off", "--json", str(out))
    found = profile(moo, model, *words)
    assert found.status == 0, found.err
    on_gpu, on_cpu = load_measurements(out)
    assert on_gpu.runtime == Runtime(provider="torch-cuda", options={"graph": "off"})
    assert on_gpu.device_latency(0.5).value < on_gpu.latency(0.5).value
    assert on_cpu.device_latency(0.5).value is None
