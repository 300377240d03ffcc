"""Measuring and running ONNX models with ONNX Runtime."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from profilers._environment import environment
from profilers._errors import ModelError
from profilers._launcher import ChildResult, run_child
from profilers._measurement import Launch, Measurement
from profilers._model import ModelFile
from profilers._protocol import QUICK, Protocol
from profilers._runtime import Runtime
from profilers._statistics import interval_ranks, smallest_n

PROVIDERS = {"cpu": "CPUExecutionProvider"}  # our short name: ONNX Runtime's
NANOSECONDS = 1_000_000_000


class OnnxRuntimeProfiler:
    """ONNX Runtime, each launch in a fresh child process; nothing of the model is ever loaded into this one.

    Inputs that are made: the first symbolic leading dimension is the batch, wherever its name leads a shape;
    other symbolic dimensions are 1; fixed ones stay. Floats are normal, booleans fair, 8-bit integers span
    their range, and wider integers are 0 or 1, valid as indices nearly everywhere. Other types must not
    occur. Where no input has a dimension for the batch, and the batch is 1, a call counts as one row.

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
        inputs: Mapping[str, NDArray[Any]] | None = None,
        seed: int = 0,
    ) -> Measurement:
        """See `Profiler.measure`."""
        request = _request("measure", model_path, runtime) | _rules(protocol) | {"seed": seed}
        arrays = None if inputs is None else _checked(inputs)
        model = ModelFile.read(model_path)
        machine = environment()
        launches = []
        for _ in range(protocol.launches):
            result = run_child(request, arrays, time_limit_s=self._time_limit_s)
            launches.append(_launch(result))
        machine["state"]["available_providers"] = result.facts["available_providers"]
        return Measurement(
            model=model, runtime=runtime, protocol=protocol, launches=tuple(launches), environment=machine
        )

    def run(
        self, model_path: str | Path, runtime: Runtime, inputs: Mapping[str, NDArray[Any]]
    ) -> dict[str, NDArray[Any]]:
        """See `Profiler.run`."""
        request = _request("run", model_path, runtime)
        arrays = _checked(inputs)
        ModelFile.read(model_path)
        result = run_child(request, arrays, time_limit_s=self._time_limit_s)
        return {name: result.arrays[f"output_{index}"] for index, name in enumerate(result.facts["outputs"])}


def _request(job: str, model_path: str | Path, runtime: Runtime) -> dict[str, Any]:
    if runtime.provider not in PROVIDERS:
        raise ValueError(f"provider must be one of {', '.join(PROVIDERS)}, got {runtime.provider!r}")
    settings = asdict(runtime) | {"providers": [PROVIDERS[runtime.provider]]}
    return {"job": job, "model": str(Path(model_path).absolute()), "runtime": settings}


def _rules(protocol: Protocol) -> dict[str, Any]:
    """The protocol as the child needs it: nanoseconds, and ranks in place of statistics."""
    return {
        "min_block_ns": round(protocol.min_block_s * NANOSECONDS),
        "time_budget_ns": round(protocol.time_budget_s * NANOSECONDS),
        "min_time_ns": round(protocol.min_time_s * NANOSECONDS),
        "precision_budget_ns": round(protocol.precision_budget_s * NANOSECONDS),
        "warmup_budget_ns": round(protocol.warmup_budget_s * NANOSECONDS),
        "warmup_window": protocol.warmup_window,
        "warmup_ranks": interval_ranks(protocol.warmup_window, 0.5),
        "fewest_calls": min(smallest_n(0.5), protocol.max_calls),
        "looks": protocol.looks(),
    }


def _checked(inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The inputs as arrays of numbers; whether they fit the model is for the child to say, which knows it."""
    arrays = {name: np.asarray(array) for name, array in inputs.items()}
    for name, array in arrays.items():
        if array.dtype.kind not in "fiub":
            raise ModelError(f"input {name!r} must be an array of numbers or booleans, got {array.dtype}")
    return arrays


def _launch(result: ChildResult) -> Launch:
    facts = dict(result.facts)
    short_names = {long: short for short, long in PROVIDERS.items()}
    del facts["available_providers"]
    provider = facts.pop("providers")[0]
    return Launch(
        latency_ns=result.arrays["latency_ns"],
        thread_cpu_ns=result.arrays["thread_cpu_ns"],
        provider=short_names.get(provider, provider),
        **facts,
    )
