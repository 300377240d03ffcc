"""ONNX Runtime on a device: bound calls, the providers of a session, and what its log says."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from profilers import Feeds, ModelError, OnnxRuntimeProfiler, Protocol, Runtime
from profilers._child._binding import Graphed
from profilers._child._onnxruntime import log_line, provider_of, telling_line
from tests.profilers import models

BRIEF = Protocol(min_calls=72, max_calls=80, min_time_s=0.001, precision_budget_s=0.01, warmup_budget_s=0.05)


BOUND = Runtime(options={"io": "device"})


def rows_of(kind: str, n: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    floats = generator.standard_normal
    if kind == "chain":
        return {"x": floats((n, 4)).astype(np.float32)}
    if kind == "recurrent":
        shapes = {"h": (1, n, 4), "c": (1, n, 4), "x": (5, n, 3)}
        return {name: floats(shape).astype(np.float32) for name, shape in shapes.items()}
    return {
        "tokens": generator.integers(0, 9, (n, 5)),
        "mask": generator.integers(0, 2, (n, 5), bool),
        "half": floats((n, 5)).astype(np.float16),
        "byte": generator.integers(0, 9, (n, 5), np.uint8),
        "scalar": np.array(0.5, np.float32),
    }


@pytest.mark.parametrize("kind", ["chain", "mixed_types", "recurrent"])
@pytest.mark.parametrize("n", [6, 7])  # with batches of 3, the last of 7 is smaller
def test_bound_calls_give_the_same_outputs(tmp_path, kind, n) -> None:
    path, inputs = getattr(models, kind)(tmp_path / "m.onnx"), rows_of(kind, n)
    bound = OnnxRuntimeProfiler().run(path, replace(BOUND, batch=3), inputs)
    plain = OnnxRuntimeProfiler().run(path, Runtime(batch=3), inputs)
    assert list(bound) == list(plain)
    for name, array in plain.items():
        np.testing.assert_array_equal(bound[name], array)


@pytest.mark.parametrize("kind", ["chain", "mixed_types", "recurrent"])
def test_bound_calls_are_measured(tmp_path, kind) -> None:
    path = getattr(models, kind)(tmp_path / "m.onnx")
    feeds = Feeds(arrays=rows_of(kind, 6))
    found = OnnxRuntimeProfiler().measure(path, replace(BOUND, batch=3), protocol=BRIEF, feeds=feeds)
    assert found.latency(0.5).value > 0
    assert found.launches[0].provider == "cpu"
    assert found.launches[0].device_ns is None


@pytest.mark.parametrize(
    ("make", "types"),
    [
        (models.text_input, r"tensor\(string\)"),
        (models.text_output, r"tensor\(string\)"),  # it would end the process
        (models.probability_maps, r"seq\(map\(string,tensor\(float\)\)\)"),
        (models.sequence_output, r"seq\(tensor\(float\)\)"),
        (partial(models.identity, shape=["batch", 2], kind=16, to=1), r"tensor\(bfloat16\)"),
    ],
    ids=["text", "text output", "maps", "sequence", "bfloat16"],
)
def test_what_is_no_array_of_numbers_is_not_bound(tmp_path, make, types) -> None:
    with pytest.raises(ModelError, match=f"io=device and graph=on cannot hand over {types}: leave them out"):
        OnnxRuntimeProfiler().measure(make(tmp_path / "m.onnx"), BOUND, protocol=BRIEF)


def test_a_graphed_session_reads_and_writes_the_same_places(tmp_path, monkeypatch) -> None:
    import onnxruntime

    made = onnxruntime.OrtValue.ortvalue_from_numpy
    shaped = onnxruntime.OrtValue.ortvalue_from_shape_and_type
    monkeypatch.setattr(onnxruntime.OrtValue, "ortvalue_from_numpy", staticmethod(lambda a, *_: made(a)))
    monkeypatch.setattr(
        onnxruntime.OrtValue, "ortvalue_from_shape_and_type", staticmethod(lambda s, t, *_: shaped(s, t))
    )  # the processor in the part of a GPU
    path = models.mixed_types(tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    first, second = rows_of("mixed_types", 2), rows_of("mixed_types", 2)
    second["tokens"] += 7
    graphed = Graphed(session, session, first, 0)
    places = [value.data_ptr() for value in (*graphed._given.values(), *graphed._written)]
    for feed in (first, second, first):
        np.testing.assert_array_equal(graphed.call(feed)[0], session.run(None, feed)[0])
    assert [value.data_ptr() for value in (*graphed._given.values(), *graphed._written)] == places


@pytest.mark.parametrize(
    ("provider", "options", "expected"),
    [
        ("cpu", {"io": "device"}, "CPUExecutionProvider"),
        ("cuda", {}, ("CUDAExecutionProvider", {"device_id": "0"})),
        ("cuda:2", {"io": "device"}, ("CUDAExecutionProvider", {"device_id": "2"})),
        ("cuda", {"graph": "off"}, ("CUDAExecutionProvider", {"device_id": "0"})),
        (
            "cuda",
            {"graph": "on", "cudnn_conv_algo_search": "HEURISTIC", "session.x": "1"},
            (
                "CUDAExecutionProvider",
                {"device_id": "0", "enable_cuda_graph": "1", "cudnn_conv_algo_search": "HEURISTIC"},
            ),
        ),
        (
            "tensorrt:1",
            {"graph": "on", "trt_fp16_enable": "1", "custom_ops_library": "a.so"},
            (
                "TensorrtExecutionProvider",
                {"device_id": "1", "trt_cuda_graph_enable": "1", "trt_fp16_enable": "1"},
            ),
        ),
    ],
)
def test_a_session_gets_its_provider_with_the_options_that_are_its_own(provider, options, expected) -> None:
    assert provider_of({"provider": provider, "options": options}) == expected


FAIL = (
    "2024-12-19 04:55:17.183827391 [E:onnxruntime:Default, provider_bridge_ort.cc:1862 "
    "TryGetProviderInfo_CUDA] /onnxruntime_src/onnxruntime/core/session/provider_bridge_ort.cc:1539 "
    "onnxruntime::Provider& onnxruntime::ProviderLibrary::Get() [ONNXRuntimeError] : 1 : FAIL : Failed to "
    "load library libonnxruntime_providers_cuda.so with error: libcublasLt.so.12: cannot open shared "
    "object file: No such file or directory"
)
WARNING = (
    "2024-12-19 04:55:17.183854291 [W:onnxruntime:Default, onnxruntime_pybind_state.cc:993 "
    "CreateExecutionProviderInstance] Failed to create CUDAExecutionProvider. Require cuDNN 9.* and CUDA "
    "12.*. Please install all dependencies as mentioned in the GPU requirements page"
)
NO_DEVICE = (
    "/onnxruntime_src/onnxruntime/core/providers/cuda/cuda_call.cc:129 std::conditional_t<THRW, void, "
    "Status> onnxruntime::CudaCall(ERRTYPE) [with ERRTYPE = cudaError] CUDA failure 100: no CUDA-capable "
    "device is detected ; GPU=-1 ; hostname=secret ; file=provider.cc ; line=245 ; expr=cudaSetDevice(id);"
)


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        (
            f"{FAIL}\n\n{WARNING}\n",
            "Failed to load library libonnxruntime_providers_cuda.so with error: libcublasLt.so.12: cannot "
            "open shared object file: No such file or directory (Require cuDNN 9.* and CUDA 12.*)",
        ),
        (
            f"\x1b[1;31m{FAIL}\x1b[m\n".replace("libcublasLt.so.12", "libcudnn.so.9"),
            "Failed to load library libonnxruntime_providers_cuda.so with error: libcudnn.so.9: cannot open "
            "shared object file: No such file or directory",
        ),
        (
            f"{FAIL}\n".replace("_cuda.so", "_tensorrt.so").replace("libcublasLt.so.12", "libnvinfer.so.10"),
            "Failed to load library libonnxruntime_providers_tensorrt.so with error: libnvinfer.so.10: "
            "cannot open shared object file: No such file or directory",
        ),
        (NO_DEVICE, "CUDA failure 100: no CUDA-capable device is detected"),
        ("", "its log does not say why"),
    ],
)
def test_the_log_names_the_library_at_fault(tmp_path, log, reason) -> None:
    (tmp_path / "stderr").write_text(log)
    assert log_line(tmp_path / "stderr") == reason


def test_a_warning_alone_is_told_without_its_place() -> None:
    assert telling_line(WARNING).startswith(
        "Failed to create CUDAExecutionProvider. Require cuDNN 9.* and CUDA"
    )


def test_a_log_that_is_not_there_says_nothing(tmp_path) -> None:
    assert log_line(tmp_path / "none") == "its log does not say why"
