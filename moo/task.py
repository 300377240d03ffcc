"""What the loop needs of a task, and of whoever watches it; `objectives.Task` is a task's home."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, Self

from moo.evaluation import Evaluation, TrialContext
from moo.metrics import Metric
from moo.results import FinishedTrial, Results

if TYPE_CHECKING:
    import optuna

__all__ = ["Observer", "Task"]


class Task(Protocol):
    """A model family: search space, data, how a candidate is made, measured and scored."""

    @property
    def name(self) -> str:
        """A short name, used for the study where none was given."""

    @property
    def metrics(self) -> Iterable[Metric]:
        """The task's own metrics beside the built-in ones."""

    def baseline(self) -> Mapping[str, Any] | None:
        """Return the configuration in service today, or None."""

    def identity(self) -> Mapping[str, str]:
        """Return a digest of each part that must not change within a study."""

    def setting(self) -> Mapping[str, Any]:
        """Return the machine and the protocol, as plain JSON."""

    @property
    def resources(self) -> Mapping[str, float]:
        """What a trial needs of a cluster's node: `CPU`, `GPU`, and any that nodes were given names for."""

    @property
    def is_measured_by_profiler(self) -> bool:
        """Whether candidates may be measured on other machines than the one that evaluates the trial."""

    def measured_on(self, devices: Mapping[str, Callable[..., Any]]) -> Self:
        """Return this task with its candidates run and measured on other machines, by name."""

    def evaluate(self, trial: optuna.Trial, context: TrialContext) -> Evaluation:
        """Return what one trial yields."""


class Observer(Protocol):
    """Whoever wants to follow a sweep, such as a progress display."""

    def begun(self, results: Results, n_trials: int) -> None:
        """Be told once what an earlier run left, and how many trials there will be."""

    def trial_finished(self, trial: FinishedTrial) -> None:
        """Be told after each trial, whatever became of it."""
