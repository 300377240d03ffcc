"""Launches children until a measurement is as precise as sought, whatever runs the model in them."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from profilers._canary import canary
from profilers._environment import environment
from profilers._errors import ModelError, ProfilerError
from profilers._launch import Launch
from profilers._launcher import ChildResult, OpenChild, run_child
from profilers._measurement import Measurement
from profilers._model import ModelFile
from profilers._ort_profile import ArenaMemory, OperatorTime, RuntimeProfile
from profilers._protocol import Protocol
from profilers._runtime import Runtime
from profilers._statistics import interval_ranks, smallest_n
from profilers._tags import FEWEST_LAUNCHES, is_precise

CANARY_S = 0.3
NANOSECONDS = 1_000_000_000
Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Feeds:
    """What is fed to a model: arrays, or what to make them from.

    Attributes:
        arrays: By input name, with at least a batch of rows, used in slices of a batch in turn. Inputs that
            are not among them are made.
        shapes: Shapes of inputs that are made, for symbolic dimensions.
        dtypes: Their types by numpy's name ("str" for text), checked against the model's.
        dims: Sizes of symbolic dimensions by name.
        seed: Of the inputs that are made.

    >>> Feeds(dims={"sequence": 128}).dims
    {'sequence': 128}
    """

    arrays: Arrays = field(default_factory=dict)
    shapes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    dtypes: Mapping[str, str] = field(default_factory=dict)
    dims: Mapping[str, int] = field(default_factory=dict)
    seed: int = 0

    def request(self) -> dict[str, Any]:
        """What the child must know besides the arrays."""
        return {
            "seed": self.seed,
            "shapes": {name: list(shape) for name, shape in self.shapes.items()},
            "dtypes": dict(self.dtypes),
            "dims": dict(self.dims),
        }

    def checked(self) -> dict[str, NDArray[Any]] | None:
        """The arrays, None without any; whether they fit the model is for the child to say."""
        arrays = {name: np.asarray(array) for name, array in self.arrays.items()}
        for name, array in arrays.items():
            if array.dtype == object and all(isinstance(item, str) for item in array.flat):
                arrays[name] = array.astype(np.str_)
            elif array.dtype.kind not in "fiubU":
                raise ModelError(
                    f"input {name!r} must be an array of numbers, booleans or text, got {array.dtype}: "
                    "convert it first"
                )
        return arrays or None


def request_for(runner: str, model_path: str | Path, runtime: Runtime, feeds: Feeds) -> dict[str, Any]:
    """The part of a request that every job needs."""
    return {
        "runner": runner,
        "model": str(Path(model_path).absolute()),
        "runtime": asdict(runtime) | {"options": dict(runtime.options)},
        **feeds.request(),
    }


def measure_in_children(
    request: Mapping[str, Any],
    read_model: Callable[[], ModelFile],
    runtime: Runtime,
    feeds: Feeds,
    protocol: Protocol,
    *,
    time_limit_s: float,
    until: Callable[[Measurement], bool] | None = None,
) -> Measurement:
    """Measure in fresh processes, as many as the protocol asks for, or until `until` says it is enough."""
    arrays, machine, model = feeds.checked(), environment(), read_model()
    if protocol.launches > 1:  # of several launches, which take seconds; it would be a third of a quick one
        sample = canary(window_s=CANARY_S)
        machine["state"]["canary"] = asdict(sample) | {"verdict": sample.verdict}
    work = dict(request) | timing_rules(protocol) | {"job": "measure"}
    started = time.monotonic()
    launches: list[Launch] = []
    while True:
        result = run_child(work, arrays, time_limit_s=time_limit_s)
        machine["state"]["available_providers"] = result.facts["available_providers"]
        launches.append(launch_of(result))
        if len(launches) > 1 and read_model().sha256 != model.sha256:
            raise ModelError(f"model {model.path}: was changed while it was measured: measure again")
        measurement = Measurement(
            model=counted(model, result),
            runtime=runtime,
            protocol=protocol,
            launches=tuple(launches),
            environment=machine,
            inputs=tuple(result.facts["inputs"]),
            assumed_dimensions=tuple(result.facts["assumed_dimensions"]),
        )
        elapsed_s = time.monotonic() - started
        if is_spent(measurement, elapsed_s) or (until or is_settled)(measurement):
            return measurement


def is_spent(measurement: Measurement, elapsed_s: float) -> bool:
    """Whether the protocol allows no further launch."""
    protocol, n = measurement.protocol, len(measurement.launches)
    is_late = n >= min(protocol.launches, FEWEST_LAUNCHES) and elapsed_s > protocol.total_budget_s
    return is_late or n >= (protocol.max_launches or protocol.launches)


def is_settled(measurement: Measurement) -> bool:
    """Whether there are as many launches as asked for, and intervals as narrow as sought.

    What `until` is when nothing else is given.
    """
    return len(measurement.launches) >= measurement.protocol.launches and is_precise(measurement)


def profile_in_child(
    request: Mapping[str, Any], feeds: Feeds, profile_s: float, *, time_limit_s: float
) -> tuple[RuntimeProfile | None, str | None]:
    """What the runtime's own profile tells, or else why it is not there: the timing counts without it too."""
    work = dict(request) | {"job": "profile", "profile_s": profile_s}
    try:
        facts = run_child(work, feeds.checked(), time_limit_s=time_limit_s).facts
    except ProfilerError as error:
        return None, str(error)
    operators = tuple(
        OperatorTime(**row | {"subgraph_of": tuple(row["subgraph_of"])}) for row in facts["operators"]
    )
    return RuntimeProfile(facts["n_calls"], operators, ArenaMemory(**facts["arena"])), None


def timing_rules(protocol: Protocol) -> dict[str, Any]:
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


def launch_of(result: ChildResult) -> Launch:
    """The record of a child that timed."""
    others = ("available_providers", "inputs", "assumed_dimensions", "parameters", "visits")
    return Launch(
        latency_ns=result.arrays["latency_ns"],
        thread_cpu_ns=result.arrays["thread_cpu_ns"],
        device_ns=result.arrays.get("device_ns"),
        cold_ns=result.arrays.get("cold_ns"),
        **{name: fact for name, fact in result.facts.items() if name not in others},
    )


def counted(model: ModelFile, result: ChildResult) -> ModelFile:
    """The model with its number of parameters, where only the child can count them."""
    return replace(model, parameters=result.facts.get("parameters", model.parameters))


def run_in_child(request: Mapping[str, Any], feeds: Feeds, *, time_limit_s: float) -> dict[str, NDArray[Any]]:
    """The outputs by name for all rows of the feeds."""
    result = run_child(dict(request) | {"job": "run"}, feeds.checked(), time_limit_s=time_limit_s)
    return {name: result.arrays[f"output_{index}"] for index, name in enumerate(result.facts["outputs"])}


class ChildLaunch:
    """See `OpenLaunch`: a launch in a child process."""

    def __init__(
        self,
        request: Mapping[str, Any],
        model: ModelFile,
        runtime: Runtime,
        feeds: Feeds,
        protocol: Protocol,
        *,
        time_limit_s: float,
    ) -> None:
        """Start it and wait until it is warm. Raises the same errors as `measure_in_children`."""
        visits = {"job": "serve", "visit_ns": round(protocol.min_time_s * NANOSECONDS)}
        work = dict(request) | timing_rules(protocol) | visits
        self._model, self._runtime, self._protocol = model, runtime, protocol
        self._machine = environment()
        self._child = OpenChild(work, feeds.checked(), time_limit_s=time_limit_s)

    def visit(self) -> None:
        """See `OpenLaunch.visit`."""
        self._child.visit()

    def closed(self) -> tuple[Measurement, tuple[int, ...]]:
        """See `OpenLaunch.closed`."""
        result = self._child.result()
        measurement = Measurement(
            model=counted(self._model, result),
            runtime=self._runtime,
            protocol=self._protocol,
            launches=(launch_of(result),),
            environment=self._machine,
            inputs=tuple(result.facts["inputs"]),
            assumed_dimensions=tuple(result.facts["assumed_dimensions"]),
        )
        return measurement, tuple(result.facts["visits"])

    def __enter__(self) -> Self:
        """Give itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the process if it still runs."""
        self._child.close()
