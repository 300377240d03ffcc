"""The profilers on a real GPU; skipped where there is none."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from profilers import LaunchError, OnnxRuntimeProfiler, Protocol, ProviderError, Runtime, TorchProfiler
from profilers._child import _device
from tests.profilers import models
from tests.profilers.test_cuda import function, write

torch = pytest.importorskip("torch", reason="torch is not installed")

from profilers._child._torch import Graphed  # noqa: E402

BRIEF = Protocol(min_calls=72, max_calls=80, min_time_s=0.001, precision_budget_s=0.01, warmup_budget_s=0.05)
PROFILER = TorchProfiler()


@pytest.fixture
def gpu() -> Runtime:
    if not torch.cuda.is_available():
        pytest.skip("torch finds no GPU")
    return Runtime(provider="torch-cuda")


LAUNCHES = function("for _ in range(200): x = x + 1\nreturn x")
PRODUCT = function("return x @ W", "torch.zeros(2, 4096)").replace(
    "COUNT", "W = torch.ones(4096, 4096, device='cuda')\nCOUNT"
)
LONGER = replace(BRIEF, max_calls=400, min_time_s=0.3, precision_budget_s=0.3, warmup_budget_s=1.0)


@pytest.mark.gpu
def test_a_launch_bound_call_takes_much_longer_than_the_device_needs(gpu, tmp_path) -> None:
    found = PROFILER.measure(write(tmp_path, LAUNCHES), gpu, protocol=LONGER)
    assert found.device_latency(0.5).value < 0.7 * found.latency(0.5).value


@pytest.mark.gpu
def test_a_compute_bound_call_takes_as_long_as_the_device_needs(gpu, tmp_path) -> None:
    found = PROFILER.measure(write(tmp_path, PRODUCT), replace(gpu, batch=8192), protocol=LONGER)
    assert 0.9 < found.device_latency(0.5).value / found.latency(0.5).value < 1.02
    assert found.device_memory().value >= 4 * (4096 * 4096 + 2 * 8192 * 4096)


@pytest.mark.gpu
def test_cold_times_agree_with_those_of_triton(gpu, tmp_path) -> None:
    testing = pytest.importorskip("triton.testing", reason="triton is not installed")
    found = PROFILER.measure(write(tmp_path, PRODUCT), replace(gpu, batch=8192), protocol=LONGER)
    x, w = torch.randn(8192, 4096, device="cuda"), torch.ones(4096, 4096, device="cuda")
    expected_s = testing.do_bench(lambda: x @ w, warmup=300, rep=300, return_mode="median") / 1e3
    assert found.device_latency(0.5, is_cold=True).value == pytest.approx(expected_s, rel=0.02)


@pytest.mark.gpu
def test_a_large_product_takes_as_long_as_in_a_plain_loop(gpu, tmp_path) -> None:
    program = PRODUCT.replace("4096", "8192")
    runtime = replace(gpu, batch=8192, options={"precision": "bf16"})
    model = write(
        tmp_path,
        program.replace("W = torch.ones(8192, 8192,", "W = torch.ones(8192, 8192, dtype=torch.bfloat16,"),
    )
    found = PROFILER.measure(model, runtime, protocol=LONGER)
    x, w = (torch.ones(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    x.normal_()
    device, times = _device.CudaDevice(0), []
    for _ in range(200):
        before = device.event()
        x @ w
        times.append((before, device.event()))
    device.synchronize()
    expected_s = np.median([device.elapsed_ns(*pair) for pair in times[100:]]) / 1e9
    assert found.device_latency(0.5).value == pytest.approx(expected_s, rel=0.05)


@pytest.mark.gpu
def test_a_cuda_graph_makes_a_launch_bound_call_faster_and_gives_the_same(gpu, tmp_path) -> None:
    model = write(tmp_path, LAUNCHES)
    eager = PROFILER.measure(model, gpu, protocol=LONGER)
    graphed = PROFILER.measure(model, replace(gpu, options={"graph": "on"}), protocol=LONGER)
    assert graphed.latency(0.5).high < eager.latency(0.5).low
    captured = Graphed(lambda x: x @ x + 1)
    with torch.inference_mode():
        for seed in range(3):
            x = torch.randn(8, 8, device="cuda", generator=torch.Generator("cuda").manual_seed(seed))
            torch.testing.assert_close(captured(x), x @ x + 1)


def combinations() -> Iterator[dict[str, str]]:
    """Every combination of options that is allowed."""
    for precision, layout in product(("fp32", "tf32", "fp16", "bf16"), ("contiguous", "channels-last")):
        for more in (
            {},
            {"graph": "on"},
            *({"compile": c} for c in ("default", "reduce-overhead", "max-autotune")),
        ):
            yield {"precision": precision, "layout": layout, **more}


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.parametrize("options", list(combinations()), ids=lambda options: " ".join(options.values()))
def test_every_combination_of_options_is_measured(gpu, tmp_path, options) -> None:
    if "compile" in options and shutil.which("gcc") is None:
        pytest.skip("triton needs a C compiler")
    program = function("return self.c(x).relu()", "torch.zeros(2, 3, 32, 32)").replace(
        "    def forward", "    def __init__(self):\n        super().__init__()\n"
        "        self.c = torch.nn.Conv2d(3, 16, 3)\n    def forward"
    )  # fmt: skip
    found = PROFILER.measure(write(tmp_path, program), replace(gpu, batch=4, options=options), protocol=BRIEF)
    assert found.device_latency(0.5).value > 0
    assert ("compile_s" in found.launches[0].device) == ("compile" in options)


@pytest.mark.gpu
def test_a_batch_that_does_not_fit_is_recorded(gpu, tmp_path) -> None:
    model = write(tmp_path, function("return x[:, :, None].expand(-1, -1, 10**12).contiguous()"))
    with pytest.raises(
        LaunchError, match="first call with MemoryError: .*out of memory.*: take a smaller batch"
    ):
        PROFILER.measure(model, gpu, protocol=BRIEF)


@pytest.mark.gpu
def test_an_index_beyond_the_gpus_is_refused(gpu, tmp_path) -> None:
    with pytest.raises(ProviderError, match="there is no GPU 99"):
        PROFILER.measure(write(tmp_path, LAUNCHES), replace(gpu, provider="torch-cuda:99"), protocol=BRIEF)


@pytest.mark.gpu
@pytest.mark.parametrize("options", [{}, {"io": "device"}, {"graph": "on"}], ids=str)
def test_onnx_runtime_runs_on_the_gpu_alone_and_gives_the_same(tmp_path, options) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers() or not torch.cuda.is_available():
        pytest.skip("no GPU, or onnxruntime is built without CUDA")
    path = models.chain(tmp_path / "m.onnx", width=256, depth=4)
    runtime = Runtime(provider="cuda", batch=8, options=options)
    found = OnnxRuntimeProfiler().measure(path, runtime, protocol=BRIEF)
    assert "ep_fallback" not in found.tags
    assert found.launches[0].provider == "cuda"
    inputs = {"x": np.random.default_rng(0).standard_normal((8, 256)).astype(np.float32)}
    on_gpu, plain = (OnnxRuntimeProfiler().run(path, run, inputs) for run in (runtime, Runtime(batch=8)))
    np.testing.assert_allclose(on_gpu["y"], plain["y"], atol=2e-2)
