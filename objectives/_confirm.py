"""A stored artefact once more: checked, launched afresh, scored on test data; a configuration retrained."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moo.errors import InputError, InstallError, MeasureError, ScoreError, TrialError
from moo.evaluation import Estimate, Evaluation, TrialContext
from objectives._pipeline import Deployment, machine_part, measured_metrics, split_score
from objectives._task import Served, Task, checked_metrics
from profilers import (
    QUICK,
    Feeds,
    Measurement,
    MissingLibraryError,
    ModelFile,
    Profiler,
    ProfilerError,
    Protocol,
    Runtime,
    environment,
    fingerprint,
    load_measurements,
    write_whole,
)

__all__ = [
    "Remeasured",
    "machine_now",
    "quality_on_test",
    "retrained_evaluation",
    "stored_runtime",
]

_MEASUREMENT = "measurement.json"
_EVALUATION = "evaluation.json"


@dataclass(frozen=True, kw_only=True, eq=False)
class Remeasured:
    """A candidate whose stored artefact is launched again, as the search launched it.

    Args:
        root: The sweep's folder.
        evaluation: What the search kept.
        params: The candidate's configuration.
        folder: Where the launches are kept, one folder each, by round.
        profiler: Runs it.
        seed: Of inputs that are made.
        task: Whose validation inputs it is fed, as in the search; None for inputs made in the same shapes.
        fallback: The protocol where the search's measurement is not there to say it.
        fewest_launches: Stated in the protocol of all launches together.
        most_launches: The same; intervals are those of so many looks.
    """

    root: Path
    evaluation: Evaluation
    params: Mapping[str, Any]
    folder: Path
    profiler: Profiler
    seed: int = 0
    task: Task | None = None
    fallback: Protocol = QUICK
    fewest_launches: int = 5
    most_launches: int = 40
    launches: dict[int, Measurement] = field(default_factory=dict, init=False)

    @property
    def path(self) -> Path:
        """The artefact's file.

        Raises:
            MeasureError: If the trial kept none.
        """
        if self.evaluation.artefact is None:
            raise MeasureError("the trial kept no artefact")
        return self.root / self.evaluation.artefact.path

    def check(self) -> None:
        """Refuse an artefact that is not there any more, or not the search's, or run by what cannot be.

        Raises:
            MeasureError: With the reason.
        """
        path, artefact = self.path, self.evaluation.artefact
        assert artefact is not None
        if not path.is_file():
            raise MeasureError(f"the artefact {artefact.path} is missing")
        try:
            found = ModelFile.read(path)
        except MissingLibraryError as error:
            raise InstallError(str(error)) from error
        except ProfilerError as error:
            raise MeasureError(str(error)) from error
        if found.sha256 != artefact.sha256:
            raise MeasureError(
                f"the artefact {artefact.path} was changed since the search: its SHA-256 is"
                f" {found.sha256[:12]}.., was {artefact.sha256[:12]}.."
            )
        try:
            stored_runtime(self.evaluation)
        except (TypeError, ValueError) as error:
            raise MeasureError(f"its runtime cannot be: {' '.join(str(error).split())}") from error

    def launch(self, number: int) -> None:
        """Make and keep the launch of a round.

        Raises:
            MeasureError: If the artefact was changed, or the process that runs it fails.
        """
        self.check()
        protocol = dataclasses.replace(self._protocol, launches=1, max_launches=None, profile_s=0.0)
        served = None if self.task is None else self.task.served(self.path, self.params, "validation")
        try:
            runtime = stored_runtime(self.evaluation)
            if served is None:
                feeds = self._made_feeds()
                found = self.profiler.measure(self.path, runtime, protocol=protocol, feeds=feeds)
            else:
                found = self._deployment(served, runtime, protocol).measure(self.seed)
        except MissingLibraryError as error:
            raise InstallError(str(error)) from error
        except (ProfilerError, ArithmeticError, MemoryError, ValueError) as error:
            raise MeasureError(" ".join(str(error).split())) from error
        found.save(self._folder_of(number))
        self.launches[number] = found

    def load(self, number: int) -> bool:
        """Take a launch that an earlier run kept; False where it is not there."""
        try:
            found = load_measurements(self._folder_of(number) / _MEASUREMENT)
        except ProfilerError:
            return False
        self.launches[number] = found[0]
        return True

    def samples(self, number: int) -> tuple[dict[str, NDArray[np.float64]], frozenset[str]]:
        """Return what a launch adds to each measured metric, and the metrics it only bounds from above.

        Times of calls by percentile, seconds a row for the throughput, and what a launch has once.
        """
        launch = self.launches[number].launches[0]
        calls = launch.call_s()
        tails = calls if launch.calls_per_block == 1 else launch.latency_ns / 1e9
        held = ((launch.device or {}).get("memory_bytes") or {}).get("reserved_peak")
        found: dict[str, Any] = {
            "latency_p50": calls,
            "latency_p95": tails,
            "latency_p99": tails,
            "throughput": calls / self.launches[number].runtime.batch,
            "peak_memory": launch.peak_memory_bytes,
            "load_time": launch.session_s,
            "device_latency_p50": None if launch.device_ns is None else launch.device_ns / 1e9,
            "cold_latency_p50": None if launch.cold_ns is None else launch.cold_ns / 1e9,
            "device_memory": held,
        }
        arrays = {
            name: np.atleast_1d(np.asarray(value, dtype=np.float64))
            for name, value in found.items()
            if value is not None
        }
        bounded = {"latency_p95", "latency_p99"} if launch.calls_per_block > 1 else set()
        return {name: array for name, array in arrays.items() if (array > 0).all()}, frozenset(bounded)

    def measurement(self) -> Measurement:
        """Return all launches as one measurement, whose intervals are those of so many looks."""
        kept = [self.launches[number] for number in sorted(self.launches)]
        protocol = dataclasses.replace(
            kept[0].protocol, launches=self.fewest_launches, max_launches=self.most_launches
        )
        launches = tuple(one.launches[0] for one in kept)
        return dataclasses.replace(kept[-1], protocol=protocol, launches=launches)

    def metrics(self) -> dict[str, Estimate]:
        """Return the measured metrics of all launches, with intervals that hold over all looks."""
        return measured_metrics(self.measurement())

    def _folder_of(self, number: int) -> Path:
        return self.folder / f"{number:03d}"

    @property
    def _document(self) -> dict[str, Any]:
        """The search's own document of its measurement; empty where it is gone."""
        path = self.root / str(self.evaluation.files.get("measurement"))
        try:
            return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}
        except (OSError, ValueError, TypeError, RecursionError):
            return {}

    @property
    def _protocol(self) -> Protocol:
        """The protocol as the search used it, with the calls that the problem's percentiles need."""
        try:
            return Protocol(**self._document["protocol"])
        except (KeyError, TypeError, ValueError):
            return self.fallback

    def _made_feeds(self) -> Feeds:
        """Return inputs of the search's shapes.

        Floating-point numbers are drawn here, for a process that draws them holds more memory than in the
        search; all else is for the profiler to make.
        """
        try:
            inputs = [dict(entry) for entry in self._document["measurements"][0]["inputs"]]
            shapes = {entry["name"]: list(entry["shape"]) for entry in inputs}
            dtypes = [np.dtype(entry["dtype"]) for entry in inputs]
        except (KeyError, IndexError, TypeError, ValueError):
            return Feeds(seed=self.seed)
        if not all(dtype.kind == "f" for dtype in dtypes):
            return Feeds(shapes=shapes, seed=self.seed)
        generator = np.random.default_rng(self.seed)
        arrays = {
            name: generator.standard_normal(shape).astype(dtype)
            for (name, shape), dtype in zip(shapes.items(), dtypes, strict=True)
        }
        return Feeds(arrays=arrays, seed=self.seed)

    def _deployment(self, served: Served, runtime: Runtime, protocol: Protocol) -> Deployment:
        return Deployment(
            path=self.path,
            runtime=runtime,
            protocol=protocol,
            profiler=self.profiler,
            inputs=served.inputs,
            targets=np.zeros(0),
        )


def stored_runtime(evaluation: Evaluation) -> Runtime:
    """Return the runtime that an evaluation says; what it says beside, such as the precision, is left out."""
    names = {entry.name for entry in dataclasses.fields(Runtime)}
    return Runtime.from_json({name: value for name, value in evaluation.runtime.items() if name in names})


def machine_now() -> dict[str, Any]:
    """Return `machine`, what must not change within a study, and the `identity` and `fingerprint`."""
    found = environment()
    return {
        "machine": machine_part(found),
        "identity": found["identity"],
        "fingerprint": fingerprint(found),
    }


def retrained_evaluation(
    task: Task, params: Mapping[str, Any], *, root: Path, folder: Path, seed: int, metrics: Sequence[str]
) -> Evaluation | None:
    """Return a configuration trained once more, under this seed; None where the task trains nothing.

    What an earlier call finished in this folder is not done again; what it left half done is.

    Args:
        task: The model family.
        params: The configuration.
        root: The sweep's folder.
        folder: Below it; of this retraining alone.
        seed: For everything random.
        metrics: Names of those that the problem needs.

    Raises:
        TrialError: If it fails.
    """
    record = folder / _EVALUATION
    if record.is_file():
        with contextlib.suppress(KeyError, TypeError, ValueError, RecursionError):  # not as it was written
            kept = json.loads(record.read_text(encoding="utf-8"))
            if kept["seed"] == seed and kept["params"] == json.loads(json.dumps(dict(params))):
                return Evaluation.from_json(kept["evaluation"])
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    context = TrialContext(root=root, folder=folder, seed=seed, metrics=tuple(metrics))
    try:
        evaluation = task.retrained(params, context)
    except (TrialError, InputError):
        raise
    except Exception as error:  # the person's own code, as in a trial
        raise TrialError(f"{type(error).__name__}: {' '.join(str(error).split())}") from error
    if evaluation is None:
        shutil.rmtree(folder, ignore_errors=True)
        return None
    content = {"seed": seed, "params": dict(params), "evaluation": evaluation.to_json()}
    text = json.dumps(content, indent=1)
    write_whole(record, lambda file: file.write(text.encode()))
    return evaluation


def quality_on_test(
    task: Task, evaluation: Evaluation, params: Mapping[str, Any], *, root: Path, profiler: Profiler
) -> dict[str, Estimate]:
    """Return quality by metric name on the test data, of the artefact as its runtime serves it.

    Raises:
        TrialError: If it cannot be run or scored.
    """
    if evaluation.artefact is None:
        raise MeasureError("the trial kept no artefact")
    path = root / evaluation.artefact.path
    try:
        served = task.served(path, params, "test")
        if served is None:
            raise ScoreError(f"task {task.name} has no test data")
        outputs = profiler.run(path, stored_runtime(evaluation), served.inputs)
        quality, _ = split_score(served.score(list(outputs.values())))
    except (TrialError, InputError):
        raise
    except (ProfilerError, ValueError) as error:
        raise MeasureError(" ".join(str(error).split())) from error
    except Exception as error:  # the person's own score(), as in a trial
        raise ScoreError(f"{type(error).__name__}: {' '.join(str(error).split())}") from error
    return checked_metrics(quality, task.metrics)
