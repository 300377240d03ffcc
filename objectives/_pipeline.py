"""The steps from an artefact to its evaluation, the same for every kind of task."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moo.errors import MeasureError, ScoreError
from moo.evaluation import Artefact, Estimate, Evaluation, TrialContext
from moo.metrics import BUILT_IN, Metric
from objectives._accuracy import fraction_correct
from objectives._task import checked_metrics
from profilers import Feeds, Measurement, Profiler, ProfilerError, Protocol, Runtime, Statistic, fingerprint

__all__ = ["LATENCIES", "Deployment", "Score", "Stopwatch", "machine_part"]

Score = Mapping[str, float | Estimate | NDArray[np.bool_]]
"""What `score()` returns: a number, an estimate, or which samples are correct, by metric name."""

LATENCIES = {"latency_p50": 0.5, "latency_p95": 0.95, "latency_p99": 0.99}
_MEASURED = set(BUILT_IN) - {"accuracy"}
_ROTATED_BATCHES = 32
_MACHINE = ("cpu_model", "machine", "logical_cores", "onnxruntime")


def machine_part(environment: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts of a machine that must not change within a study."""
    facts = environment["identity"] | environment["software"]
    return {name: facts[name] for name in _MACHINE}


class Stopwatch:
    """Wall time of each stage of a trial."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add what the block takes to the stage of this name."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = round(self.seconds.get(name, 0.0) + time.perf_counter() - begun, 4)


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """An artefact in the runtime that would serve it.

    Args:
        path: The model's file.
        runtime: How it is run.
        protocol: How it is timed.
        profiler: Runs and measures it, in processes of its own.
        inputs: Validation inputs by input name, shape (n, ...).
        targets: What they should yield, shape (n, ...).
        watch: Times the stages.
    """

    path: Path
    runtime: Runtime
    protocol: Protocol
    profiler: Profiler
    inputs: Mapping[str, NDArray[Any]]
    targets: NDArray[Any]
    watch: Stopwatch = field(default_factory=Stopwatch)

    def outputs(self) -> list[NDArray[Any]]:
        """Return the artefact's outputs for all validation inputs, in the model's order.

        Raises:
            MeasureError: If the process that runs it fails.
        """
        with self.watch.stage("run"), _profiling():
            return list(self.profiler.run(self.path, self.runtime, self.inputs).values())

    def measure(self, seed: int) -> Measurement:
        """Return the measurement, on validation inputs.

        Raises:
            MeasureError: If the process that measures it fails.
        """
        with self.watch.stage("measure"), _profiling():
            inputs = {name: _rotated(array, self.runtime.batch) for name, array in self.inputs.items()}
            feeds = Feeds(arrays=inputs, seed=seed)
            return self.profiler.measure(self.path, self.runtime, protocol=self.protocol, feeds=feeds)

    def evaluation(
        self,
        context: TrialContext,
        measurement: Measurement,
        outputs: Sequence[NDArray[Any]],
        score: Callable[[Sequence[NDArray[Any]], NDArray[Any]], Score],
        static: Mapping[str, Estimate],
        own_metrics: Sequence[Metric],
    ) -> Evaluation:
        """Return all that is known of the candidate; samples and correctness are kept in files.

        Raises:
            ScoreError: If the score is no finite number or was not declared.
        """
        with self.watch.stage("score"):
            scored = score(outputs, self.targets)
            quality, correct = _split_score(scored)
            metrics = {**checked_metrics(quality, own_metrics), **static, **measured_metrics(measurement)}
        measurement.save(context.folder)
        files = {"measurement": "measurement.json", "samples": "samples.npz"}
        if correct:
            arrays: dict[str, Any] = {**correct}
            np.savez_compressed(context.folder / "correct.npz", **arrays)
            files["correct"] = "correct.npz"
        folder = context.folder.relative_to(context.root)
        return Evaluation(
            metrics=metrics,
            tags=measurement.tags,
            artefact=Artefact(
                path=(folder / self.path.name).as_posix(),
                sha256=measurement.model.sha256,
                bytes=measurement.model.bytes,
            ),
            runtime=self.runtime.to_json(),
            environment=fingerprint(measurement.environment),
            files={role: (folder / name).as_posix() for role, name in files.items()},
            seconds=self.watch.seconds,
        )


def measured_metrics(measurement: Measurement) -> dict[str, Estimate]:
    """Return a measurement's statistics under the names of the metrics table."""
    return {
        **{name: _latency(measurement, q) for name, q in LATENCIES.items()},
        "throughput": _estimate(measurement.throughput()),
        "peak_memory": _estimate(measurement.peak_memory()),
        "load_time": _estimate(measurement.load_time()),
        "file_size": Estimate.exact(measurement.model.bytes),
    }


def _latency(measurement: Measurement, q: float) -> Estimate:
    statistic = measurement.latency(q)
    estimate = _estimate(statistic)
    if statistic.needs_n is None or estimate.reason is None:
        return estimate
    budget = f"the protocol's time_budget_s is {measurement.protocol.time_budget_s:g}"
    return dataclasses.replace(
        estimate, reason=f"{estimate.reason}; {budget}, its min_calls {measurement.protocol.min_calls}"
    )


def _estimate(statistic: Statistic) -> Estimate:
    reason = statistic.reason if statistic.value is None else None
    return Estimate(statistic.value, statistic.low, statistic.high, reason)


def _rotated(array: NDArray[Any], batch: int) -> NDArray[Any]:
    """Return the rows to time with: some batches, or repeated rows where there are fewer than one."""
    if len(array) >= batch:
        return array[: _ROTATED_BATCHES * batch]
    return np.resize(array, (batch, *array.shape[1:]))


def _split_score(scored: Score) -> tuple[dict[str, float | Estimate], dict[str, NDArray[np.bool_]]]:
    """Tell correctness sample by sample, which becomes a fraction with its interval, from the rest."""
    quality: dict[str, float | Estimate] = {}
    correct: dict[str, NDArray[np.bool_]] = {}
    if not isinstance(scored, Mapping):
        raise ScoreError(f"score() must return metric values by name, got {type(scored).__name__}")
    measured = sorted(set(scored) & _MEASURED)
    if measured:
        raise ScoreError(f"score() returned {', '.join(measured)}: that is measured or counted, not scored")
    for name, value in scored.items():
        if isinstance(value, np.ndarray) and value.dtype == np.bool_ and value.ndim == 1:
            correct[name] = value
            quality[name] = fraction_correct(value)
        else:
            quality[name] = value  # type: ignore[assignment]  # checked where it becomes an estimate
    return quality, correct


@contextlib.contextmanager
def _profiling() -> Iterator[None]:
    try:
        yield
    except ProfilerError as error:
        raise MeasureError(str(error)) from error
