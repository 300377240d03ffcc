"""What a person subclasses: a model family with its data, its cost and its quality."""

from __future__ import annotations

import abc
import copy
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from numpy.typing import NDArray

from moo.errors import ScoreError, did_you_mean
from moo.evaluation import Estimate, Evaluation, TrialContext
from moo.metrics import Metric, known_metrics
from objectives._identity import function_parts, task_parts
from profilers import Profiler, RemoteProfiler, Send

if TYPE_CHECKING:
    import optuna

__all__ = ["FunctionTask", "Served", "SplitName", "Task"]

SplitName = Literal["validation", "test"]


@dataclass(frozen=True, eq=False)
class Served:
    """The rows of a split as an artefact takes them, and how what it puts out for them is scored.

    Args:
        inputs: By input name, shape (n, ...).
        score: From the artefact's outputs, in the model's order, to quality by metric name.
    """

    inputs: Mapping[str, NDArray[Any]]
    score: Callable[[Sequence[NDArray[Any]]], Mapping[str, Any]]


class Task(abc.ABC):
    """A model family: search space, data, how a candidate is made, measured and scored.

    Attributes:
        metrics: The task's own metrics, beside the built-in ones.
        resources: What a trial needs of a cluster's node: `CPU` and `GPU`, which may be parts of one, and
            any that the cluster's nodes were given names for.
        profiler: What runs and measures candidates; None for a task that measures where it is evaluated.
    """

    metrics: Sequence[Metric] = ()
    resources: Mapping[str, float] = {"CPU": 1}
    profiler: Profiler | None = None
    _elsewhere: Mapping[str, Profiler] = {}
    _machines: Mapping[str, Mapping[str, Any]] = {}

    @property
    def name(self) -> str:
        """A short name: the class's, in lower case with underscores."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(self).__name__).lower()

    def baseline(self) -> Mapping[str, Any] | None:
        """Return the configuration in service today, a value for each parameter; None for none.

        It is the first trial, and what relative bounds and gains are stated against.
        """
        return None

    def identity(self) -> dict[str, str]:
        """Return a digest of each part of the task that must not change within a study."""
        devices = {"devices": ", ".join(self._machines)} if self._machines else {}
        return {"name": self.name, **task_parts(self), **devices}

    @property
    def is_measured_by_profiler(self) -> bool:
        """Whether candidates are measured by a profiler, and so may be measured on another machine."""
        return self.profiler is not None

    def measured_on(self, devices: Mapping[str, Send]) -> Self:
        """Return this task with its candidates run and measured on other machines, whatever evaluates it.

        Args:
            devices: What has a job done on each, by name, one at least. Candidates are scored on the first,
                and what is measured there has the plain names; on the others it has theirs before it, as
                `pi_latency_p50`.
        """
        assert self.profiler is not None, "for tasks that are measured by one"
        profilers = {name: RemoteProfiler(self.profiler, send) for name, send in devices.items()}
        placed = copy.copy(self)
        placed._machines = {name: profiler.environment() for name, profiler in profilers.items()}
        placed.profiler, *_ = profilers.values()
        placed._elsewhere = dict(list(profilers.items())[1:])
        return placed

    def setting(self) -> dict[str, Any]:
        """Return how candidates are measured, as plain JSON; `machine` must not change within a study."""
        devices = (
            {"devices": {name: dict(one) for name, one in self._machines.items()}} if self._machines else {}
        )
        return {"metrics": {metric.name: vars(metric).copy() for metric in self.metrics}, **devices}

    @abc.abstractmethod
    def evaluate(self, trial: optuna.Trial, context: TrialContext) -> Evaluation:
        """Return what one trial yields.

        Raises:
            TrialError: Or any other exception: the trial is stored as failed with the reason.
            optuna.TrialPruned: If the trial is not worth finishing.
        """

    def retrained(self, params: Mapping[str, Any], context: TrialContext) -> Evaluation | None:  # noqa: ARG002
        """Return a configuration trained anew, with the context's seed; None where nothing is trained."""
        return None

    def served(self, path: Path, params: Mapping[str, Any], split: SplitName) -> Served | None:  # noqa: ARG002
        """Return the rows of a split for an artefact that this task made; None where it cannot, or has none.

        Args:
            path: The artefact.
            params: The configuration that it was made from.
            split: Which rows.
        """
        return None


class FunctionTask(Task):
    """A task that is one function of an Optuna trial, which measures by itself.

    Args:
        function: Takes the trial and returns metric values by name, in SI units: plain numbers,
            or `Estimate`s with an interval.
        metrics: Metrics the function returns beside the built-in ones.
        baseline: The configuration in service today, or None.
        name: The task's name; None for the function's.

    Example:
        ```python
        task = FunctionTask(lambda trial: {"accuracy": 0.9, "latency_p50": 0.001}, name="constant")
        ```
    """

    def __init__(
        self,
        function: Callable[[optuna.Trial], Mapping[str, float | Estimate]],
        *,
        metrics: Sequence[Metric] = (),
        baseline: Mapping[str, Any] | None = None,
        name: str | None = None,
    ) -> None:
        self._function = function
        self._baseline = baseline
        self._name = name if name is not None else getattr(function, "__name__", "function").strip("<>")
        self.metrics = tuple(metrics)

    @property
    def name(self) -> str:
        """The name given, or the function's."""
        return self._name

    def baseline(self) -> Mapping[str, Any] | None:
        """Return the configuration given."""
        return self._baseline

    def identity(self) -> dict[str, str]:
        """Return the digest of the function."""
        own = {"baseline": repr(self._baseline), "metrics": repr(self.metrics)}
        return {"name": self.name, **own, **function_parts(self._function)}

    def evaluate(self, trial: optuna.Trial, context: TrialContext) -> Evaluation:  # noqa: ARG002
        """Return what the function returned."""
        return Evaluation(metrics=checked_metrics(self._function(trial), self.metrics))


def checked_metrics(values: Mapping[str, float | Estimate], own: Sequence[Metric]) -> dict[str, Estimate]:
    """Return metric values as estimates; a plain number has no interval.

    Args:
        values: Numbers or estimates by metric name.
        own: The task's own metrics beside the built-in ones.

    Raises:
        ScoreError: For a metric that was not declared, or a value that is no finite number.
    """
    if not isinstance(values, Mapping):
        raise ScoreError(f"expected metric values by name, got {type(values).__name__}")
    known = known_metrics({metric.name: metric for metric in own})
    checked = {}
    for name, value in values.items():
        if name not in known:
            raise ScoreError(
                f"unknown metric {name!r}: declare it in `metrics`; {did_you_mean(str(name), known)}"
            )
        estimate = value if isinstance(value, Estimate) else _estimate(name, value)
        _check_range(estimate.value, known[name])
        checked[name] = estimate
    return checked


def _check_range(value: float | None, metric: Metric) -> None:
    if value is None:
        return
    if value in (float("inf"), float("-inf")):
        raise ScoreError(f"{metric.name} is {value}: expected a finite number")
    low = float("-inf") if metric.low is None else metric.low
    high = float("inf") if metric.high is None else metric.high
    if not low <= value <= high:
        hint = ", a fraction" if metric.dimension == "fraction" else ""
        raise ScoreError(f"{metric.name} is {value:g}: expected {low:g} to {high:g}{hint}")


def _estimate(name: str, value: object) -> Estimate:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise ScoreError(f"{name}: expected a number, got {value!r}") from None
    if number != number:
        raise ScoreError(f"{name} is NaN")
    return Estimate(number)
