"""Devices with a clock of their own: scripted ones in real child processes, and a GPU where there is one."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from profilers import (
    LaunchError,
    OnnxRuntimeProfiler,
    Protocol,
    ProviderError,
    Runtime,
    TorchProfiler,
    load_measurements,
    save_measurements,
)
from profilers._child import _device, _timing
from profilers._child._errors import ProviderError as ChildProviderError
from tests.profilers import models

torch = pytest.importorskip("torch", reason="torch is not installed")

from profilers._child._torch import Graphed, compile_seconds  # noqa: E402
from profilers._child._torch_models import load_model  # noqa: E402

BRIEF = Protocol(min_calls=72, max_calls=80, min_time_s=0.001, precision_budget_s=0.01, warmup_budget_s=0.05)
PROFILER = TorchProfiler()
SCRIPTED = Runtime(provider="torch-scripted")
NET = """
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.convolution = torch.nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x):
        return {"y": self.convolution(x), "is_last": torch.tensor([x.is_contiguous(
            memory_format=torch.channels_last) and not x.is_contiguous()]), "kind": torch.tensor(
            [(torch.float32, torch.float16, torch.bfloat16).index(x.dtype)])}

def make():
    return Net(), (torch.zeros(2, 3, 8, 8),)
"""


def write(folder: Path, program: str) -> str:
    """The function `make` of a file."""
    (folder / "model.py").write_text(program)
    return f"{folder / 'model.py'}:make"


def function(body: str, example: str = "torch.zeros(2, 3)") -> str:
    """A file whose model does that; `COUNT` is a list for it to count in."""
    lines = "".join(f"        {line}\n" for line in body.splitlines())
    head = "import torch\nCOUNT = []\nclass M(torch.nn.Module):\n    def forward(self, x):\n"
    return f"{head}{lines}def make(): return M(), ({example},)\n"


@pytest.fixture(scope="module")
def net(tmp_path_factory) -> str:
    return write(tmp_path_factory.mktemp("net"), NET)


@pytest.fixture(scope="module")
def measured(net):
    return PROFILER.measure(net, replace(SCRIPTED, batch=2), protocol=replace(BRIEF, launches=2))


# the scripted device, in real child processes


def test_each_launch_has_samples_of_the_device_hot_and_cold(measured) -> None:
    for launch in measured.launches:
        assert len(launch.device_ns) >= _timing.FEWEST_DEVICE_CALLS
        assert len(launch.cold_ns) >= _timing.FEWEST_DEVICE_CALLS
        assert launch.device_ns.min() > 0
    hot, cold = measured.device_latency(0.5), measured.device_latency(0.5, is_cold=True)
    assert hot.n == sum(len(launch.device_ns) for launch in measured.launches)
    assert cold.n == sum(len(launch.cold_ns) for launch in measured.launches)
    assert hot.low <= hot.value <= hot.high


def test_the_device_and_its_memory_are_facts_of_the_launch(measured) -> None:
    for launch in measured.launches:
        assert launch.device["name"] == "scripted device"
        assert launch.device["memory_bytes"] == {"allocated_peak": 1_000_000, "reserved_peak": 2_000_000}
    assert measured.device_memory().value == 2_000_000


def test_samples_of_a_device_are_read_back_from_a_document(measured, tmp_path) -> None:
    save_measurements(tmp_path / "m.json", [measured])
    (read,) = load_measurements(tmp_path / "m.json")
    for before, after in zip(measured.launches, read.launches, strict=True):
        np.testing.assert_array_equal(before.device_ns, after.device_ns)
        np.testing.assert_array_equal(before.cold_ns, after.cold_ns)
        assert json.loads(json.dumps(before.device)) == after.device
    for is_cold in (False, True):
        assert read.device_latency(0.5, is_cold=is_cold) == measured.device_latency(0.5, is_cold=is_cold)


def test_times_of_a_device_are_in_the_json_and_null_without_one(measured, net) -> None:
    entry = json.loads(json.dumps(measured.to_json()))["device_latency_s"]
    assert entry["hot"]["p50"]["value"] == measured.device_latency(0.5).value
    assert entry["cold"]["p50"]["value"] == measured.device_latency(0.5, is_cold=True).value
    plain = PROFILER.measure(net, Runtime(provider="torch"), protocol=BRIEF)
    assert plain.to_json()["device_latency_s"] is None
    assert plain.device_latency(0.5).reason == "no device with a clock of its own was timed"


X = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)


@pytest.fixture(scope="module")
def expected(net) -> np.ndarray:
    return PROFILER.run(net, replace(SCRIPTED, batch=2), {"x": X})["y"]


@pytest.mark.parametrize(
    ("precision", "kind", "layout"),
    [("fp16", 1, "channels-last"), ("bf16", 2, "contiguous"), ("fp32", 0, "channels-last")],
)
def test_the_model_is_run_in_the_precision_and_layout_asked_for(
    net, expected, precision, kind, layout
) -> None:
    runtime = replace(SCRIPTED, batch=2, options={"precision": precision, "layout": layout})
    outputs = PROFILER.run(net, runtime, {"x": X})
    assert outputs["kind"].tolist() == [kind]
    assert outputs["is_last"].tolist() == [layout == "channels-last"]
    assert outputs["y"].dtype == np.float32
    error = np.abs(outputs["y"] - expected).max()
    assert error < {"fp32": 1e-5, "fp16": 1e-2, "bf16": 1e-1}[precision]
    assert (error > 1e-5) == (precision != "fp32")


def test_options_are_kept_with_the_measurement(net) -> None:
    runtime = replace(SCRIPTED, options={"precision": "bf16", "layout": "channels-last"})
    assert PROFILER.measure(net, runtime, protocol=BRIEF).runtime == runtime


OUT_OF_MEMORY = 'torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB")'


@pytest.mark.parametrize(
    ("body", "stage"),
    [
        (f"if len(x) > 4: raise {OUT_OF_MEMORY}\nreturn x", "first call"),
        (f"COUNT.append(1)\nif len(COUNT) > 20: raise {OUT_OF_MEMORY}\nreturn x", "warm-up"),
    ],
)
def test_want_of_device_memory_is_no_fault_of_the_model(tmp_path, body, stage) -> None:
    model = write(tmp_path, function(body))
    message = f"failed at {stage} with MemoryError: CUDA out of memory.* 9.00 GiB: take a smaller batch"
    with pytest.raises(LaunchError, match=message) as caught:
        PROFILER.measure(model, replace(SCRIPTED, batch=8), protocol=BRIEF)
    assert "\n" not in str(caught.value)


def test_weights_that_do_not_fit_the_device_are_no_fault_of_the_model(tmp_path) -> None:
    program = function("return x").replace(
        "def make", f"    def to(self, *_): raise {OUT_OF_MEMORY}\ndef make"
    )
    with pytest.raises(LaunchError, match="failed at session creation with MemoryError: CUDA out of memory"):
        PROFILER.measure(write(tmp_path, program), SCRIPTED, protocol=BRIEF)


def test_a_smaller_batch_is_measured_where_a_larger_one_does_not_fit(tmp_path) -> None:
    model = write(tmp_path, function(f"if len(x) > 4: raise {OUT_OF_MEMORY}\nreturn x"))
    assert PROFILER.measure(model, replace(SCRIPTED, batch=4), protocol=BRIEF).latency(0.5).value > 0


# what is refused


@pytest.mark.parametrize(
    ("provider", "options", "message"),
    [
        ("torch", {"precision": "tf32"}, "options: precision=tf32 needs provider torch-cuda, got torch"),
        ("torch", {"graph": "on"}, "options: graph=on needs provider torch-cuda, got torch"),
        ("torch", {"compile": "default"}, "options: compile=default needs provider torch-cuda, got torch"),
        ("torch-scripted", {"graph": "on"}, "options: graph=on needs provider torch-cuda"),
        ("torch-cuda", {"precision": "int8"}, "expected one of precision=fp32|tf32|fp16|bf16; .* got prec"),
        ("torch-cuda", {"flavour": "sweet"}, r"options: expected one of .*, got flavour=sweet"),
        ("torch-cuda", {"graph": "on", "compile": "max-autotune"}, "graph=on captures what is not compiled"),
        ("torch:1", {}, "provider must be one of torch, torch-compile, torch-cuda, got 'torch:1'"),
    ],
)
def test_a_runtime_that_torch_does_not_have_is_refused_in_one_line(provider, options, message) -> None:
    with pytest.raises(ValueError, match=message.replace("|", r"\|")) as caught:
        PROFILER.measure("m.py:make", Runtime(provider=provider, options=options))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("provider", "options", "message"),
    [
        ("cpu", {"graph": "on"}, "options: graph=on needs provider cuda or tensorrt, got 'cpu'"),
        ("cpu", {"io": "disk"}, "options: io: expected host or device, got 'disk'"),
        ("cuda", {"graph": "yes"}, "options: graph: expected off or on, got 'yes'"),
        ("cuda", {"graph": "on", "io": "device"}, "options: graph=on copies from the host in each call"),
        ("cpu", {"gpu_mem_limit": "1"}, "options: expected custom_ops_library, .* got 'gpu_mem_limit'"),
        ("cpu:0", {}, "provider must be one of cpu, cuda, tensorrt, got 'cpu:0'"),
    ],
)
def test_a_runtime_that_onnx_runtime_does_not_have_is_refused_in_one_line(
    tmp_path, provider, options, message
) -> None:
    path = models.chain(tmp_path / "m.onnx")
    with pytest.raises(ValueError, match=message) as caught:
        OnnxRuntimeProfiler().measure(path, Runtime(provider=provider, options=options))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("provider", ["torch-cuda", "torch-cuda:7"])
@pytest.mark.skipif(torch.version.cuda is not None, reason="torch is built with CUDA here")
def test_torch_without_cuda_is_refused_in_one_line(net, provider) -> None:
    with pytest.raises(
        ProviderError, match=r"^torch \S+ is built without CUDA: install one with it"
    ) as caught:
        PROFILER.measure(net, Runtime(provider=provider), protocol=BRIEF)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("provider", ["cuda", "cuda:7", "tensorrt"])
def test_onnx_runtime_without_a_provider_is_refused_in_one_line(tmp_path, provider) -> None:
    import onnxruntime

    if any(name.startswith(("CUDA", "Tensorrt")) for name in onnxruntime.get_available_providers()):
        pytest.skip("onnxruntime is built with CUDA here")
    path, runtime = models.chain(tmp_path / "m.onnx"), Runtime(provider=provider)
    for work in (
        lambda: OnnxRuntimeProfiler().measure(path, runtime, protocol=BRIEF),
        lambda: OnnxRuntimeProfiler().run(path, runtime, {"x": np.ones((1, 4), np.float32)}),
        lambda: OnnxRuntimeProfiler().open(path, runtime, protocol=BRIEF),
    ):
        with pytest.raises(
            ProviderError, match=r"has no \w+ExecutionProvider, only .*: install onnxruntime-gpu"
        ):
            work()


def pretend(monkeypatch, *, is_available: bool, count: int = 1, why: str = "") -> None:
    """Have torch say that it is built with CUDA, and what it finds."""

    def init() -> None:
        raise RuntimeError(why)

    monkeypatch.setattr(torch.version, "cuda", "12.8")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: is_available)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.cuda, "init", init)


@pytest.mark.parametrize(("count", "known"), [(1, "only cuda:0"), (4, "cuda:0 to cuda:3")])
def test_an_index_without_a_gpu_is_refused_with_those_that_are_there(monkeypatch, count, known) -> None:
    pretend(monkeypatch, is_available=True, count=count)
    with pytest.raises(ChildProviderError, match=f"there is no GPU 7: .* visible, {known}"):
        _device.check_cuda(7)
    _device.check_cuda(count - 1)


@pytest.mark.parametrize(
    "why",
    [
        "Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU and a driver",
        "The NVIDIA driver on your system is too old (found version 11040).\nPlease update your GPU driver",
    ],
)
def test_the_driver_at_fault_is_told_in_one_line(monkeypatch, why) -> None:
    pretend(monkeypatch, is_available=False, why=why)
    with pytest.raises(ChildProviderError, match="^torch finds no GPU: ") as caught:
        _device.check_cuda(0)
    assert str(caught.value).endswith(" ".join(why.split()))


# marks of a GPU's clock


class Marks:
    """`torch.cuda` as far as `CudaDevice` asks it: what was asked, in order."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.Event = self._event
        self.reset_peak_memory_stats = lambda index: self.asked.append(("reset", index))
        self.max_memory_allocated = lambda index: 100 + index
        self.max_memory_reserved = lambda index: 200 + index
        self._sleep = lambda cycles: self.asked.append(("sleep", cycles))
        self.set_device = self.asked.append
        self.synchronize = lambda index: self.asked.append(("wait", index))
        self.is_available = lambda: True
        self.device_count = lambda: 2

    def _event(self, *, enable_timing: bool):
        assert enable_timing
        return SimpleNamespace(record=lambda: self.asked.append("mark"), elapsed_time=lambda stop: 1.2345)


def test_a_cuda_device_records_its_marks_and_tells_nanoseconds(monkeypatch) -> None:
    marks = Marks()
    monkeypatch.setattr(torch, "cuda", marks)
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    device = _device.CudaDevice(1)
    before, after = device.event(), device.event()
    device.hold(1_000)
    device.synchronize()
    device.reset_peak_memory()
    assert marks.asked == [1, "mark", "mark", ("sleep", 2_000), ("wait", 1), ("reset", 1)]
    assert device.elapsed_ns(before, after) == 1_234_500
    assert device.memory() == {"allocated_peak": 101, "reserved_peak": 201}
    assert device.torch_name == "cuda:1"


# CUDA graphs of torch, captured by a scripted one


class ScriptedGraphs:
    """In the place of torch's streams and graphs: replaying does nothing, and everything is noted."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def replay(self) -> None:
        self.asked.append("replay")

    def wait_stream(self, other: Any) -> None:
        self.asked.append("wait")

    @contextmanager
    def within(self, name: str) -> Iterator[None]:
        self.asked.append(f"enter {name}")
        yield
        self.asked.append(f"leave {name}")


@pytest.fixture
def graphs(monkeypatch) -> ScriptedGraphs:
    graphs = ScriptedGraphs()
    monkeypatch.setattr(torch.cuda, "Stream", lambda: graphs)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: graphs)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: graphs.within("stream"))
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: graphs)
    monkeypatch.setattr(torch.cuda, "graph", lambda graph: graphs.within("capture"))
    return graphs


def test_a_graph_is_captured_once_after_warm_calls_on_another_stream(graphs) -> None:
    def module(x):
        graphs.asked.append("call")
        return x

    graphed = Graphed(module)
    for _ in range(2):
        graphed(torch.zeros(1))
    warm = ["wait", "enter stream", "call", "call", "call", "leave stream", "wait"]
    assert graphs.asked == [*warm, "enter capture", "call", "leave capture", "replay", "replay"]


def test_each_call_copies_its_inputs_to_where_the_graph_reads_them(graphs) -> None:
    seen: list[tuple] = []

    def module(x, *, state, flag):
        seen.append((x, state[0], flag))
        return x

    graphed = Graphed(module)
    with torch.inference_mode():
        first = torch.ones(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
        graphed(first, state=(torch.ones(2, dtype=torch.int64),), flag=True)
        x, state, flag = seen[-1]
        places = x.data_ptr(), state.data_ptr()
        assert places[0] != first.data_ptr()
        assert x.is_contiguous(memory_format=torch.channels_last)
        assert flag is True
        called = graphed(2 * first, state=(torch.tensor([5, 6]),), flag=True)
    assert (x.data_ptr(), state.data_ptr()) == places
    assert (x == 2).all()
    assert state.tolist() == [5, 6]
    assert called is x  # what the graph gave when it was captured


TF32 = """
import json, torch
backends = torch.backends
from profilers._child._torch import set_tf32
def said():
    parts = [backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn]
    older = [backends.cuda.matmul.allow_tf32, backends.cudnn.allow_tf32]  # which inductor reads
    return [[part.fp32_precision for part in parts], older, torch.get_float32_matmul_precision()]
def newer(): backends.cuda.matmul.fp32_precision = backends.cudnn.conv.fp32_precision = "tf32"
def whole(): backends.fp32_precision = "tf32"
found = []
for before in (lambda: None, lambda: torch.set_float32_matmul_precision("high"), newer, whole):
    for is_on in (True, False):
        before()
        set_tf32(is_on=is_on)
        found.append([is_on, said()])
print(json.dumps(found))
"""


@pytest.mark.skipif(not hasattr(torch.backends.cudnn, "rnn"), reason="torch has one way to set TF32 only")
def test_tf32_is_set_for_all_layers_whatever_a_model_has_set_before() -> None:
    done = subprocess.run([sys.executable, "-c", TF32], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for is_on, (newer, older, name) in json.loads(done.stdout):
        assert newer == 3 * ["tf32" if is_on else "ieee"]
        assert older == [is_on, is_on]
        assert name == ("high" if is_on else "highest")


def test_an_archive_is_moved_whole_with_the_constants_and_devices_its_graph_names(tmp_path) -> None:
    class Shifted(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(3, 3)
            self.offset = torch.ones(3)

        def forward(self, x):
            return self.layer(x) + self.offset + torch.arange(3, device=x.device)

    torch.export.save(torch.export.export(Shifted(), (torch.zeros(2, 3),)), tmp_path / "m.pt2")
    loaded = load_model(str(tmp_path / "m.pt2"), "meta")  # a device that every machine has
    positional, named = loaded.arguments({"x": torch.zeros(2, 3, device="meta")})
    assert loaded.module(*positional, **named).device.type == "meta"
    assert {tensor.device.type for tensor in loaded.module.parameters()} == {"meta"}


def test_the_time_of_compiling_is_told_once_something_is_compiled() -> None:
    import torch._dynamo.utils as told

    told.clear_compilation_metrics()
    assert compile_seconds() == {"compile_s": None, "autotune_s": None}
    torch.compile(lambda x: x + 1, backend="eager")(torch.zeros(2))
    assert 0 < compile_seconds()["compile_s"] < 600
    torch._dynamo.reset()
