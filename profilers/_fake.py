"""A profiler that follows a script: for tests of code that uses profilers; no model, no child process."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from profilers._errors import ModelError
from profilers._launch import Launch
from profilers._measurement import Measurement
from profilers._measuring import Feeds
from profilers._model import ModelFile
from profilers._protocol import QUICK, Protocol
from profilers._runtime import Runtime

CALLS_OF_A_VISIT = 10
Latency = Callable[[str, Runtime, int], ArrayLike]
Outputs = Callable[[Mapping[str, NDArray[Any]]], Mapping[str, NDArray[Any]]]


class FakeProfiler:
    """Gives the latencies, memory and outputs it is told to, and raises the errors it is told to.

    The path of a model need not exist: it is a name, and its hash is that of the name. The environment says
    ``{"identity": {"fake": True}, ...}``, so that a fake measurement is never taken for a real one.

    Args:
        latency_s: Seconds of each call, shape (n,), or a function of the model's path, the runtime and the
            number of the launch that gives them.
        peak_memory_bytes: Peak memory; None for a machine that cannot tell.
        session_s: Time to create a session, in seconds.
        outputs: Maps the inputs of all rows to the outputs; None for the inputs themselves.
        errors: Errors by the number of the call, counted from 0 over `measure` and `run` together, raised in
            its stead.
        providers: The providers that are there.
        falls_back_to: The provider that runs whatever is asked for; None for the one asked for.
        involuntary_switches: Involuntary context switches in each launch.
        calls_per_block: Calls in a block; the times of a block are `latency_s` times as many.

    >>> fake = FakeProfiler(latency_s=[0.001] * 100)
    >>> fake.measure("a.onnx", Runtime()).latency(0.5).value
    0.001
    """

    def __init__(
        self,
        *,
        latency_s: ArrayLike | Latency = (0.001,) * 100,
        peak_memory_bytes: int | None = 1_000_000,
        session_s: float = 0.01,
        outputs: Outputs | None = None,
        errors: Mapping[int, Exception] | None = None,
        providers: tuple[str, ...] = ("cpu",),
        falls_back_to: str | None = None,
        involuntary_switches: int = 0,
        calls_per_block: int = 1,
    ) -> None:
        self._latency_s = latency_s
        self._peak_memory_bytes = peak_memory_bytes
        self._session_s = session_s
        self._outputs = outputs
        self._errors = dict(errors or {})
        self._providers = providers
        self._falls_back_to = falls_back_to
        self._involuntary_switches = involuntary_switches
        self._calls_per_block = calls_per_block
        self.n_calls = 0

    def measure(
        self,
        model_path: str | Path,
        runtime: Runtime,
        *,
        protocol: Protocol = QUICK,
        feeds: Feeds | None = None,
        until: Callable[[Measurement], bool] | None = None,
    ) -> Measurement:
        """See `Profiler.measure`; without `until` the launches are the protocol's fewest."""
        self._begin(runtime)
        if feeds is not None:
            _rows(feeds.arrays, at_least=runtime.batch)
        path = str(model_path)
        launches: list[Launch] = []
        for index in range((until and protocol.max_launches) or protocol.launches):
            launches.append(self._launch(path, runtime, index))
            measurement = _measurement(path, runtime, protocol, launches)
            if until is not None and until(measurement):
                break
        return measurement

    def open(
        self,
        model_path: str | Path,
        runtime: Runtime,
        *,
        protocol: Protocol = QUICK,
        feeds: Feeds | None = None,
    ) -> "FakeLaunch":
        """See `Profiler.open`; the number of the launch is that of the call."""
        self._begin(runtime)
        if feeds is not None:
            _rows(feeds.arrays, at_least=runtime.batch)
        path = str(model_path)
        return FakeLaunch(path, runtime, protocol, self._launch(path, runtime, self.n_calls - 1))

    def run(
        self,
        model_path: str | Path,  # noqa: ARG002  (part of the interface)
        runtime: Runtime,
        inputs: Mapping[str, NDArray[Any]],
    ) -> dict[str, NDArray[Any]]:
        """See `Profiler.run`; all rows go to the function of the script at once."""
        self._begin(runtime)
        _rows(inputs, at_least=0)
        return dict(inputs if self._outputs is None else self._outputs(inputs))

    def _begin(self, runtime: Runtime) -> None:
        """Count the call, and raise its error if it has one."""
        number, self.n_calls = self.n_calls, self.n_calls + 1
        if number in self._errors:
            raise self._errors[number]
        if runtime.provider not in self._providers:
            raise ValueError(
                f"provider must be one of {', '.join(self._providers)}, got {runtime.provider!r}"
            )

    def _launch(self, path: str, runtime: Runtime, index: int) -> Launch:
        latency_s = self._latency_s(path, runtime, index) if callable(self._latency_s) else self._latency_s
        seconds = np.asarray(latency_s, dtype=np.float64) * self._calls_per_block
        latency_ns = np.rint(seconds * 1e9).astype(np.int64)
        return Launch(
            latency_ns=latency_ns,
            thread_cpu_ns=latency_ns,
            calls_per_block=self._calls_per_block,
            import_s=0.0,
            session_s=self._session_s,
            first_call_s=float(seconds[0] / self._calls_per_block),
            warmup_calls=0,
            warmup_agreed=True,
            peak_memory_bytes=self._peak_memory_bytes,
            base_memory_bytes=None,
            memory_tag=None,
            involuntary_switches=self._involuntary_switches,
            provider=self._falls_back_to or runtime.provider,
        )


class FakeLaunch:
    """See `OpenLaunch`; each visit takes so many of the script's times, over and over."""

    def __init__(self, path: str, runtime: Runtime, protocol: Protocol, launch: Launch) -> None:
        self._path, self._runtime, self._protocol, self._launch = path, runtime, protocol, launch
        self._n_visits = 0

    def visit(self) -> None:
        """See `OpenLaunch.visit`."""
        self._n_visits += 1

    def closed(self) -> tuple[Measurement, tuple[int, ...]]:
        """See `OpenLaunch.closed`."""
        n = self._n_visits * CALLS_OF_A_VISIT
        latency_ns = np.resize(self._launch.latency_ns, n)
        launch = replace(self._launch, latency_ns=latency_ns, thread_cpu_ns=latency_ns)
        measurement = _measurement(self._path, self._runtime, self._protocol, [launch])
        return measurement, (CALLS_OF_A_VISIT,) * self._n_visits

    def __enter__(self) -> Self:
        """Give itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Do nothing: there is no process."""


def _measurement(path: str, runtime: Runtime, protocol: Protocol, launches: Sequence[Launch]) -> Measurement:
    return Measurement(
        model=ModelFile(path, hashlib.sha256(path.encode()).hexdigest(), 0),
        runtime=runtime,
        protocol=protocol,
        launches=tuple(launches),
        environment={"identity": {"fake": True}, "software": {}, "state": {}, "fingerprint": "fake"},
    )


def _rows(inputs: Mapping[str, NDArray[Any]], *, at_least: int) -> int:
    """Rows of the inputs, which must all have the same number."""
    counts = {name: len(array) for name, array in inputs.items()}
    if len(set(counts.values())) > 1:
        raise ModelError(f"inputs must have the same number of rows, got {counts}")
    rows = next(iter(counts.values()), at_least)
    if rows < at_least:
        raise ModelError(f"inputs must have at least one batch of {at_least} rows, got {rows}")
    return rows
