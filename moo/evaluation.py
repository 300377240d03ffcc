"""What one trial yields: metric values, each with its interval, and where they came from."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from moo.shapes import ANY, EACH, INSIDE, checked

__all__ = ["Artefact", "Estimate", "Evaluation", "TrialContext"]

SCHEMA = "moo.evaluation/1"
_END = (float, None)
_ESTIMATE = {"value": _END, "low": _END, "high": _END, "reason?": (str, None)}
_SHAPE = {
    "metrics": {EACH: _ESTIMATE},
    "tags": [str],
    "artefact": ({"path": INSIDE, "sha256": str, "bytes": int}, None),
    "runtime": {EACH: ANY},
    "environment": (str, None),
    "files": {EACH: INSIDE},
    "curve": [[int, {EACH: float}]],
    "seconds": {EACH: float},
}


@dataclass(frozen=True)
class Estimate:
    """A metric's value with its 95% interval, in SI units; what is unknown is None.

    Args:
        value: The value, or None where it is not known (then `reason` says why).
        low: Lower end of the interval, or None where it is not known.
        high: Upper end. It may be known where the value is not: a percentile that was refused
            can still be bounded.
        reason: Why there is no value.

    Raises:
        ValueError: For a NaN, or ends in the wrong order.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    reason: str | None = None

    def __post_init__(self) -> None:
        known = [number for number in (self.low, self.value, self.high) if number is not None]
        if any(math.isnan(number) for number in known):
            raise ValueError(f"an estimate cannot be NaN, got {self}")
        if known != sorted(known):
            raise ValueError(f"expected low <= value <= high, got {self.low}, {self.value}, {self.high}")

    @classmethod
    def exact(cls, value: float) -> Estimate:
        """Return a value that has no uncertainty, such as a count."""
        return cls(value, value, value)

    @property
    def sd(self) -> float | None:
        """The standard deviation that the 95% interval amounts to; None without an interval.

        >>> round(Estimate(1.0, 0.804, 1.196).sd, 3)
        0.1
        """
        return None if self.low is None or self.high is None else (self.high - self.low) / (2 * 1.959964)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form; a reason appears only where there is one."""
        record: dict[str, Any] = {"value": self.value, "low": self.low, "high": self.high}
        return record if self.reason is None else {**record, "reason": self.reason}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Estimate:
        """Return the estimate that `to_json` wrote.

        Raises:
            ValueError: For what it did not.
        """
        checked(record, _ESTIMATE, "estimate")
        return cls(record["value"], record["low"], record["high"], record.get("reason"))


@dataclass(frozen=True, kw_only=True)
class Artefact:
    """The deployable file of a trial: path relative to the sweep's folder, SHA-256, size.

    The hash and the size in bytes cover external data files too.
    """

    path: str
    sha256: str
    bytes: int


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """A candidate's metric values and where they came from.

    Args:
        metrics: Estimates by metric name, in SI units.
        tags: What is to be known of the measurement's validity; empty where nothing was measured.
        artefact: The file made, or None for tasks that make none.
        runtime: How the artefact was run, as plain JSON.
        environment: The fingerprint of the machine, or None.
        files: Other files of the trial, such as raw samples, by role; paths relative to the sweep's folder.
        curve: What training reported: step, then values by name.
        seconds: Wall time of each stage, in seconds. Beside them `wait`, what its measurements waited for
            other processes to pause, and `paused`, what its work waited for their measurements.
        variants: The same trained model deployed otherwise: for each the parameters that differ, and its own
            evaluation. Each becomes a trial of its own; they are no part of the stored form.
    """

    metrics: Mapping[str, Estimate]
    tags: tuple[str, ...] = ()
    artefact: Artefact | None = None
    runtime: Mapping[str, Any] = field(default_factory=dict)
    environment: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    curve: tuple[tuple[int, Mapping[str, float]], ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    variants: tuple[tuple[Mapping[str, Any], Evaluation], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the versioned JSON form."""
        return {
            "schema": SCHEMA,
            "metrics": {name: estimate.to_json() for name, estimate in self.metrics.items()},
            "tags": list(self.tags),
            "artefact": None if self.artefact is None else vars(self.artefact).copy(),
            "runtime": dict(self.runtime),
            "environment": self.environment,
            "files": dict(self.files),
            "curve": [[step, dict(values)] for step, values in self.curve],
            "seconds": dict(self.seconds),
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Evaluation:
        """Return the evaluation that `to_json` wrote.

        Raises:
            ValueError: For another schema, or what is not as `to_json` writes it.
        """
        if checked(record, {"schema": ANY}, "evaluation")["schema"] != SCHEMA:
            raise ValueError(f"expected an evaluation of schema {SCHEMA!r}, got {record['schema']!r}")
        checked(record, _SHAPE, "evaluation")
        artefact = record["artefact"]
        return cls(
            metrics={name: Estimate.from_json(value) for name, value in record["metrics"].items()},
            tags=tuple(record["tags"]),
            artefact=None
            if artefact is None
            else Artefact(path=artefact["path"], sha256=artefact["sha256"], bytes=artefact["bytes"]),
            runtime=record["runtime"],
            environment=record["environment"],
            files=record["files"],
            curve=tuple((step, values) for step, values in record["curve"]),
            seconds=record["seconds"],
        )


@dataclass(frozen=True, kw_only=True)
class TrialContext:
    """What a task is given to evaluate one trial in.

    Args:
        root: The sweep's folder; paths in an evaluation are relative to it.
        folder: The trial's own folder below it; it exists and is empty.
        seed: For everything random in this trial; the same for the same trial of the same seed.
        is_baseline: Whether relative bounds and gains will rest on this trial, so that it is worth
            measuring better.
        metrics: Names of the metrics that the problem needs.
        needs_cost: Whether measured cost decides anything before the training ends, so that it is worth
            measuring the untrained model.
        keep: Takes what is known by now; that is kept if the trial ends early.
        check: The same, before training; raises `optuna.TrialPruned` where a constraint is violated beyond
            doubt.
        violated: Lines on the constraints that metric values violate: `beyond_doubt`, or by value alone.
        should_stop: Told quality at a step of training; True where the pruner stops the trial. None without
            a pruner.
        measuring: A context to time a candidate in: other processes of the sweep on this machine do not work
            meanwhile. It begins when they have paused.
        pause: To be called after each step of long work, so that others' measurements can begin; returns the
            seconds that it waited for them.
        stage_ended: Told the name of each stage that ended and its seconds.
    """

    root: Path
    folder: Path
    seed: int
    is_baseline: bool = False
    metrics: tuple[str, ...] = ()
    needs_cost: bool = False
    keep: Callable[[Evaluation], None] = lambda partial: None  # noqa: ARG005
    check: Callable[[Evaluation], None] = lambda partial: None  # noqa: ARG005
    violated: Callable[..., list[str]] = lambda metrics, *, beyond_doubt=True: []  # noqa: ARG005
    should_stop: Callable[[int, Mapping[str, float]], bool] | None = None
    measuring: Callable[[], AbstractContextManager[None]] = nullcontext
    pause: Callable[[], float] = lambda: 0.0
    stage_ended: Callable[[str, float], None] = lambda name, seconds: None  # noqa: ARG005

    def path_of(self, name: str) -> str:
        """Return the path of a file in the trial's folder as an evaluation has it."""
        return (self.folder / name).relative_to(self.root).as_posix()
