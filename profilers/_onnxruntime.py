"""Measuring and running ONNX models with ONNX Runtime."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from profilers._child._onnxruntime import CUSTOM_OPERATORS, ON_A_GPU, OWN_OPTIONS, PROVIDERS
from profilers._measurement import Measurement
from profilers._measuring import (
    ChildLaunch,
    Feeds,
    measure_in_children,
    profile_in_child,
    request_for,
    run_in_child,
)
from profilers._model import ModelFile
from profilers._protocol import QUICK, Protocol
from profilers._runtime import Runtime

SET_BY_FIELDS = {
    "session.intra_op.allow_spinning": "allow_spinning",
    "session.inter_op.allow_spinning": "allow_spinning",
}


class OnnxRuntimeProfiler:
    """ONNX Runtime, each launch in a fresh child process; nothing of the model is ever loaded into this one.

    Inputs that are made: floats are normal, booleans fair, 8-bit integers span their range, wider integers
    are 0 or 1, valid as indices nearly everywhere, and text is a few words. The batch is the symbolic
    dimension called `batch` or the like, wherever it occurs, else one that leads a shape (`N`, or the one
    that leads most shapes); other symbolic dimensions are as `Feeds` says, or 1, and then the measurement is
    tagged. Where no input has a dimension for the batch, and the batch is 1, a call counts as one row.

    Providers are `cpu`, and where the package is built with them `cuda` and `tensorrt`; `cuda:1` is the
    second GPU that is visible. One that is not there or does not load is refused with the reason; operators
    that a GPU's provider leaves to the CPU are told (`assignment` in the launch, tag `ep_fallback`).

    The options of a runtime are entries of the session's configuration, such as
    `session.set_denormal_as_zero`; `custom_ops_library`, the path of a library of operators; `io`, whether a
    call reads from and writes to the host (`host`, as `session.run` does) or memory of the device (`device`,
    by IOBinding); on a GPU also `graph` (off, on: a CUDA graph) and the provider's own, such as
    `cudnn_conv_algo_search` or `trt_fp16_enable`. ONNX Runtime passes over an entry of the session's
    configuration that it does not know.

    Args:
        time_limit_s: How long one child process may take, from start to end.
    """

    def __init__(self, *, time_limit_s: float = 60.0) -> None:
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
        feeds = feeds or Feeds()
        _, request = self._prepared(model_path, runtime, feeds)
        limit, read_model = self._time_limit_s, partial(ModelFile.read, model_path)
        measurement = measure_in_children(
            request, read_model, runtime, feeds, protocol, time_limit_s=limit, until=until
        )
        if protocol.profile_s == 0:
            return measurement
        if runtime.provider_name in ON_A_GPU:
            return replace(measurement, profile_reason="the profile tells nothing of a GPU's memory")
        profile, reason = profile_in_child(request, feeds, protocol.profile_s, time_limit_s=limit)
        return replace(measurement, profile=profile, profile_reason=reason)

    def open(
        self,
        model_path: str | Path,
        runtime: Runtime,
        *,
        protocol: Protocol = QUICK,
        feeds: Feeds | None = None,
    ) -> ChildLaunch:
        """See `Profiler.open`."""
        feeds = feeds or Feeds()
        model, request = self._prepared(model_path, runtime, feeds)
        return ChildLaunch(request, model, runtime, feeds, protocol, time_limit_s=self._time_limit_s)

    def run(
        self, model_path: str | Path, runtime: Runtime, inputs: Mapping[str, NDArray[Any]]
    ) -> dict[str, NDArray[Any]]:
        """See `Profiler.run`."""
        feeds = Feeds(arrays=inputs)
        _, request = self._prepared(model_path, runtime, feeds)
        return run_in_child(request, feeds, time_limit_s=self._time_limit_s)

    def _prepared(
        self, model_path: str | Path, runtime: Runtime, feeds: Feeds
    ) -> tuple[ModelFile, dict[str, Any]]:
        """The model's identity, and what every request for it holds."""
        if runtime.provider_name not in PROVIDERS or runtime.provider.startswith("cpu:"):
            raise ValueError(f"provider must be one of {', '.join(PROVIDERS)}, got {runtime.provider!r}")
        check_options(runtime)
        model = ModelFile.read(model_path)
        request = request_for("onnxruntime", model_path, runtime, feeds)
        return model, request | {"unranked": list(model.unranked_inputs)}


def check_options(runtime: Runtime) -> None:
    """Check that the options are settings of a session, and not ones that have a field of their own.

    Raises:
        ValueError: If one is not.
    """
    is_on_gpu = runtime.provider_name in ON_A_GPU
    if {("io", "device"), ("graph", "on")} <= set(runtime.options):
        raise ValueError("options: graph=on copies from the host in each call: leave io=device out")
    for name, value in dict(runtime.options).items():
        if name in SET_BY_FIELDS:
            raise ValueError(f"options: {name} has a setting of its own: use {SET_BY_FIELDS[name]} instead")
        if name == CUSTOM_OPERATORS:
            if not Path(value).is_file():
                raise ValueError(f"options: {name}: expected the file of a library, got {value!r}")
        elif name in OWN_OPTIONS:
            if value not in OWN_OPTIONS[name]:
                known = " or ".join(OWN_OPTIONS[name])
                raise ValueError(f"options: {name}: expected {known}, got {value!r}")
            if name == "graph" and value == "on" and not is_on_gpu:
                raise ValueError(
                    f"options: graph=on needs provider {' or '.join(ON_A_GPU)}, got {runtime.provider!r}"
                )
        elif "." not in name and not is_on_gpu:
            raise ValueError(
                f"options: expected {CUSTOM_OPERATORS}, or an entry of ONNX Runtime's session configuration "
                f"such as session.set_denormal_as_zero, got {name!r}"
            )
