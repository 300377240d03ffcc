"""The steps from an artefact to its evaluation, the same for every kind of task."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from moo.errors import MeasureError, ScoreError, TrialError
from moo.evaluation import Artefact, Estimate, Evaluation, TrialContext
from moo.metrics import BUILT_IN, Metric, known_metrics
from objectives._choices import Chosen
from objectives._compression._compress import CompressionFacts
from objectives._scoring._accuracy import fraction_correct
from objectives._task import checked_metrics
from profilers import Feeds, Measurement, Profiler, ProfilerError, Protocol, Runtime, Statistic, fingerprint

__all__ = [
    "LATENCIES",
    "Deployment",
    "Score",
    "Stopwatch",
    "also_metrics",
    "best_case",
    "machine_part",
    "measured_elsewhere",
    "measured_metrics",
    "split_score",
    "tags_after",
    "variant",
    "with_compression",
    "with_tags",
]

Score = Mapping[str, float | Estimate | NDArray[np.bool_]]
"""What `score()` returns: a number, an estimate, or which samples are correct, by metric name."""

LATENCIES = {"latency_p50": 0.5, "latency_p95": 0.95, "latency_p99": 0.99}
_MEASURED = set(BUILT_IN) - {"accuracy"}
_ROTATED_BATCHES = 32
_DECIDING_LAUNCHES = 3  # of an untrained model
_LAUNCH_SPREAD = 0.05  # of the median; see benchmarks/results/measuring.md
_DISTURBED = {"contended", "not_stationary", "throttled"}
_ELSEWHERE = (
    *LATENCIES,
    "throughput",
    "peak_memory",
    "load_time",
    "device_latency_p50",
    "cold_latency_p50",
    "device_memory",
)
_MACHINE = ("cpu_model", "machine", "logical_cores", "onnxruntime")


def machine_part(environment: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts of a machine that must not change within a study."""
    facts = environment["identity"] | environment["software"]
    return {name: facts[name] for name in _MACHINE}


class Stopwatch:
    """Wall time of each stage of a trial, without what it paused for others' measurements.

    Args:
        pause: Waits until no measurement of another process runs or waits; returns the seconds that took.
        ended: Told the name of each stage and its seconds.
    """

    def __init__(
        self,
        pause: Callable[[], float] = lambda: 0.0,
        ended: Callable[[str, float], None] = lambda name, seconds: None,  # noqa: ARG005
    ) -> None:
        self.seconds: dict[str, float] = {}
        self._wait = pause
        self._ended = ended
        self._paused_s = 0.0

    @classmethod
    def of(cls, context: TrialContext) -> Self:
        """Return one that pauses where the trial may."""
        return cls(context.pause, context.stage_ended)

    def pause(self) -> None:
        """Let others' measurements go first, without counting it to the stage that runs."""
        self._paused_s += self._wait()

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add what the block takes to the stage of this name; others' measurements go before it."""
        self.pause()
        begun, paused_s = time.perf_counter(), self._paused_s
        try:
            yield
        finally:
            took_s = time.perf_counter() - begun - (self._paused_s - paused_s)
            self.seconds[name] = round(self.seconds.get(name, 0.0) + took_s, 4)
            self._ended(name, took_s)


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
        measuring: A context to measure in, in which no other process of the sweep works.
    """

    path: Path
    runtime: Runtime
    protocol: Protocol
    profiler: Profiler
    inputs: Mapping[str, NDArray[Any]]
    targets: NDArray[Any]
    watch: Stopwatch = field(default_factory=Stopwatch)
    measuring: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext

    def on(self, profilers: Mapping[str, Profiler]) -> dict[str, Deployment]:
        """Return the same as other profilers measure it, by their names."""
        return {name: dataclasses.replace(self, profiler=profiler) for name, profiler in profilers.items()}

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
        return self._measured(seed, None)

    def _measured(self, seed: int, until: Callable[[Measurement], bool] | None) -> Measurement:
        with self.measuring(), self.watch.stage("measure"), _profiling():
            inputs = {name: _rotated(array, self.runtime.batch) for name, array in self.inputs.items()}
            feeds = Feeds(arrays=inputs, seed=seed)
            return self.profiler.measure(
                self.path, self.runtime, protocol=self.protocol, feeds=feeds, until=until
            )

    def measure_until_decided(self, context: TrialContext) -> Measurement:
        """Return a measurement of up to three launches, until it is clear whether it violates a constraint.

        One launch is enough where no value is beyond its bound: then nothing is decided. With several, the
        interval sees how launches spread.

        Raises:
            MeasureError: If the process that measures it fails.
        """

        def is_decided(measurement: Measurement) -> bool:
            metrics = measured_metrics(measurement)
            if not context.violated(metrics, beyond_doubt=False):
                return True
            return len(measurement.launches) > 1 and bool(context.violated(metrics))

        protocol = dataclasses.replace(self.protocol, launches=1, max_launches=_DECIDING_LAUNCHES)
        return dataclasses.replace(self, protocol=protocol)._measured(context.seed, is_decided)

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
            quality, correct = split_score(scored)
            metrics = {**checked_metrics(quality, own_metrics), **static, **measured_metrics(measurement)}
        record = self.record(context, measurement)
        if correct:
            arrays: dict[str, Any] = {**correct}
            np.savez_compressed(context.folder / "correct.npz", **arrays)
            record["files"]["correct"] = context.path_of("correct.npz")
        artefact = Artefact(
            path=context.path_of(self.path.name),
            sha256=measurement.model.sha256,
            bytes=measurement.model.bytes,
        )
        return Evaluation(metrics=metrics, tags=measurement.tags, artefact=artefact, **record)

    def record(self, context: TrialContext, measurement: Measurement) -> dict[str, Any]:
        """Keep the samples in the trial's folder; return what an `Evaluation` says of how it was measured."""
        measurement.save(context.folder)
        names = {"measurement": "measurement.json", "samples": "samples.npz"}
        return {
            "runtime": self.runtime.to_json(),
            "environment": fingerprint(measurement.environment),
            "files": {role: context.path_of(name) for role, name in names.items()},
            "seconds": self.watch.seconds,
        }


def also_metrics(runtimes: Iterable[str]) -> tuple[Metric, ...]:
    """Return the metrics that further runtimes or devices of those names give.

    >>> also_metrics(["gpu"])[0].name
    'gpu_latency_p50'
    """
    return tuple(
        dataclasses.replace(BUILT_IN[base], name=f"{name}_{base}", label=f"{BUILT_IN[base].title} ({name})")
        for name in runtimes
        for base in _ELSEWHERE
    )


def best_case(evaluations: Sequence[Evaluation], own: Iterable[Metric] = ()) -> Evaluation:
    """Return the first evaluation with the best that any of them has, metric by metric.

    No deployment of the model is better than this in any metric, and it may be that none is as good in all.
    A metric without a direction is the first's.

    Args:
        evaluations: The same model deployed in several ways, one at least.
        own: The task's own metrics beside the built-in ones.

    >>> slow = Evaluation(metrics={"latency_p50": Estimate(9), "file_size": Estimate(10)})
    >>> large = Evaluation(metrics={"latency_p50": Estimate(1), "file_size": Estimate(40)})
    >>> best = best_case([slow, large]).metrics
    >>> best["latency_p50"].value, best["file_size"].value
    (1, 10)
    """
    first = evaluations[0]
    known = known_metrics({metric.name: metric for metric in own})
    best = dict(first.metrics)
    for other in evaluations[1:]:
        for name, estimate in other.metrics.items():
            if _is_better(estimate, best.get(name, Estimate(None)), known.get(name)):
                best[name] = estimate
    return dataclasses.replace(first, metrics=best)


def _is_better(one: Estimate, other: Estimate, metric: Metric | None) -> bool:
    if metric is None or metric.direction is None or one.value is None:
        return False
    if other.value is None:
        return True
    return one.value > other.value if metric.direction == "maximize" else one.value < other.value


def measured_elsewhere(deployments: Mapping[str, Deployment], context: TrialContext) -> dict[str, Estimate]:
    """Return what an artefact costs in further runtimes or on further devices, by their names.

    The samples are kept in folders.

    Raises:
        MeasureError: If a process that measures it fails.
    """
    found: dict[str, Estimate] = {}
    for name, deployment in deployments.items():
        measurement = deployment.measure(context.seed)
        measurement.save(context.folder / f"in-{name}")
        metrics = measured_metrics(measurement)
        missing = Estimate(None, reason=f"not measured in {name}")
        found |= {f"{name}_{base}": metrics.get(base, missing) for base in _ELSEWHERE}
    return found


def with_compression(
    evaluation: Evaluation, chosen: Chosen, facts: CompressionFacts, context: TrialContext
) -> Evaluation:
    """Return the evaluation with the precision in its runtime, and what the compression did in a file."""
    runtime = {**evaluation.runtime, "precision": str(chosen.compression)}
    if chosen.compression.precision == "fp32":
        return dataclasses.replace(evaluation, runtime=runtime)
    (context.folder / "compression.json").write_text(json.dumps(facts.to_json(), indent=1) + "\n")
    return dataclasses.replace(
        evaluation,
        runtime=runtime,
        tags=with_tags(evaluation.tags, *facts.tags),
        files={**evaluation.files, "compression": context.path_of("compression.json")},
    )


def tags_after(evaluation: Evaluation, cost: Evaluation) -> tuple[str, ...]:
    """Return the tags of a trained model, `weights_sensitive` among them where training changed its cost.

    That is where the median latencies before and after differ by more than their intervals, each widened by
    5%, which launches of one model differ by, and neither was disturbed.
    """
    if _DISTURBED & {*evaluation.tags, *cost.tags}:
        return evaluation.tags
    before, after = (found.metrics.get("latency_p50", Estimate(None)) for found in (cost, evaluation))
    is_apart = _is_below(before, after) or _is_below(after, before)
    return with_tags(evaluation.tags, "weights_sensitive") if is_apart else evaluation.tags


def variant(evaluate: Callable[[TrialContext], Evaluation], context: TrialContext, index: int) -> Evaluation:
    """Return the evaluation of a trained model deployed otherwise, in a folder of its own.

    One that fails costs the others nothing: it has no values, but the reason.
    """
    place = dataclasses.replace(context, folder=context.folder / f"variant-{index}")
    place.folder.mkdir()
    try:
        return evaluate(place)
    except TrialError as error:
        reason = f"{error.stage}: {error}"
        return Evaluation(metrics={name: Estimate(None, reason=reason) for name in context.metrics})


def _is_below(one: Estimate, other: Estimate) -> bool:
    if one.high is None or other.low is None:
        return False
    return one.high * (1 + _LAUNCH_SPREAD) < other.low * (1 - _LAUNCH_SPREAD)


def with_tags(tags: Iterable[str], *more: str) -> tuple[str, ...]:
    """Return the tags of a measurement and others, sorted; where there are others it is not `ok`.

    >>> with_tags(["ok"], "float_kernels")
    ('float_kernels',)
    """
    return tuple(sorted({*tags, *more} - {"ok"})) if more else tuple(tags)


def measured_metrics(measurement: Measurement) -> dict[str, Estimate]:
    """Return a measurement's statistics under the names of the metrics table."""
    return {
        **{name: _latency(measurement, q) for name, q in LATENCIES.items()},
        "throughput": _estimate(measurement.throughput()),
        "peak_memory": _estimate(measurement.peak_memory()),
        "load_time": _estimate(measurement.load_time()),
        "file_size": Estimate.exact(measurement.model.bytes),
        **_device_metrics(measurement),
    }


def _device_metrics(measurement: Measurement) -> dict[str, Estimate]:
    """Return what a device with a clock of its own told; nothing where there was none."""
    if any(launch.device_ns is None for launch in measurement.launches):
        return {}
    return {
        "device_latency_p50": _estimate(measurement.device_latency(0.5)),
        "cold_latency_p50": _estimate(measurement.device_latency(0.5, is_cold=True)),
        "device_memory": _estimate(measurement.device_memory()),
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


def split_score(scored: Score) -> tuple[dict[str, float | Estimate], dict[str, NDArray[np.bool_]]]:
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
