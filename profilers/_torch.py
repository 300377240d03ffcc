"""Measuring and running PyTorch models."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from profilers._child._torch import CUDA, ON_A_GPU, OPTIONS, PROVIDERS, SCRIPTED
from profilers._child._torch_models import split_model
from profilers._errors import ModelError
from profilers._measurement import Measurement
from profilers._measuring import ChildLaunch, Feeds, measure_in_children, request_for, run_in_child
from profilers._model import ModelFile
from profilers._protocol import QUICK, Protocol
from profilers._runtime import ONNXRUNTIME_KNOBS, Runtime

SHOWN = tuple(name for name in PROVIDERS if name != SCRIPTED)
NO_PROFILE = "only ONNX Runtime has a profile of its own"


class TorchProfiler:
    """PyTorch, each launch in a fresh child process; torch is never loaded into this one.

    The provider is `torch`, the model as it is on the CPU, `torch-compile`, compiled for it by inductor in
    its default mode, or `torch-cuda`, on a GPU; `torch-cuda:1` is the second that is visible. What is
    compiled is so in the first call, anew in every launch, so `first_call_s` has the time that takes, the
    peak memory has the compiler's, and on the CPU a C++ compiler must be there.

    Options are `precision` (fp32, tf32, fp16, bf16: the whole model is turned to it, its inputs too, and
    outputs are given as float32), `layout` (contiguous, channels-last), and on a GPU `compile` (off,
    default, reduce-overhead, max-autotune) and `graph` (off, on: a CUDA graph is captured in the first call;
    copying the inputs to where it reads them is part of each call).

    On a GPU a call ends when the GPU has nothing left to do: that is `latency`. The time by CUDA's events is
    `device_latency`, hot and cold; a call that takes much longer than that spends its time in launching work.
    Inputs lie on the GPU beforehand. See `_child/_device.py` for how it is timed.

    A model is an archive of `torch.export.save`, `small.pt2`, or a function, `small.py:make`, that takes
    nothing and returns a `torch.nn.Module` with example inputs: a tuple, or a dict by the names of what
    `forward` takes. The function's file is run, with the job's own temporary folder as the working folder,
    and loading an archive evaluates text in it: measure only what comes from where you trust.

    Symbolic dimensions of an archive have the names that torch gives them, such as `s77`. The batch of a
    function's model is the leading dimension of each example; all others are fixed. Inputs are made as by
    `OnnxRuntimeProfiler`; outputs that have no name are `output_0`, `output_1`, ..

    Whether threads spin is not set: that is the OpenMP library's way, unless OMP_WAIT_POLICY says otherwise.

    Args:
        time_limit_s: How long one child process may take, from start to end; compiling counts.
    """

    def __init__(self, *, time_limit_s: float = 120.0) -> None:
        if not time_limit_s > 0:
            raise ValueError(f"time_limit_s must be greater than 0, got {time_limit_s!r}")
        self._time_limit_s = time_limit_s

    def measure(
        self,
        model_path: str | Path,
        runtime: Runtime,
        *,
        protocol: Protocol = QUICK,
        feeds: Feeds | None = None,
        until: Callable[[Measurement], bool] | None = None,
    ) -> Measurement:
        """See `Profiler.measure`."""
        check_runtime(runtime)
        feeds, read = feeds or Feeds(), partial(read_model, model_path)
        request, limit = request_for("torch", model_path, runtime, feeds), self._time_limit_s
        measurement = measure_in_children(
            request, read, runtime, feeds, protocol, time_limit_s=limit, until=until
        )
        return replace(measurement, profile_reason=NO_PROFILE) if protocol.profile_s > 0 else measurement

    def open(
        self,
        model_path: str | Path,
        runtime: Runtime,
        *,
        protocol: Protocol = QUICK,
        feeds: Feeds | None = None,
    ) -> ChildLaunch:
        """See `Profiler.open`."""
        check_runtime(runtime)
        feeds, model = feeds or Feeds(), read_model(model_path)
        request = request_for("torch", model_path, runtime, feeds)
        return ChildLaunch(request, model, runtime, feeds, protocol, time_limit_s=self._time_limit_s)

    def run(
        self, model_path: str | Path, runtime: Runtime, inputs: Mapping[str, NDArray[Any]]
    ) -> dict[str, NDArray[Any]]:
        """See `Profiler.run`."""
        check_runtime(runtime)
        read_model(model_path)
        feeds = Feeds(arrays=inputs)
        request = request_for("torch", model_path, runtime, feeds)
        return run_in_child(request, feeds, time_limit_s=self._time_limit_s)


def check_runtime(runtime: Runtime) -> None:
    """Check that torch can be run so.

    Raises:
        ValueError: If the provider is not there, or a knob is set that torch does not have.
    """
    provider, usual = runtime.provider_name, Runtime()
    if provider not in PROVIDERS or (runtime.provider != provider and provider != CUDA):
        raise ValueError(f"provider must be one of {', '.join(SHOWN)}, got {runtime.provider!r}")
    for name in (name for name in ONNXRUNTIME_KNOBS if getattr(runtime, name) != getattr(usual, name)):
        raise ValueError(
            f"{name} does not apply to provider {runtime.provider}: leave it at {getattr(usual, name)!r}, "
            f"got {getattr(runtime, name)!r}"
        )
    chosen = dict(runtime.options)
    for name, value in chosen.items():
        if name not in OPTIONS or value not in OPTIONS[name]:
            known = "; ".join(f"{known}={'|'.join(values)}" for known, values in OPTIONS.items())
            raise ValueError(f"options: expected one of {known}, got {name}={value}")
        if value in ON_A_GPU.get(name, ()) and provider != CUDA:
            raise ValueError(f"options: {name}={value} needs provider {CUDA}, got {provider}")
    if chosen.get("graph") == "on" and chosen.get("compile", "off") != "off":
        raise ValueError(
            "options: graph=on captures what is not compiled; compile=reduce-overhead captures too"
        )


def read_model(model_path: str | Path) -> ModelFile:
    """The identity of the model: of the archive, or of the file that the function is in.

    Raises:
        ModelError: If it is not a model for torch, or cannot be read.
    """
    try:
        file, _ = split_model(str(model_path))
    except ValueError as error:
        raise ModelError(f"model {model_path}: {error}") from error
    return ModelFile.of_files(model_path, [Path(file)])
