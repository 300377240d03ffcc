"""A trial evaluated elsewhere: what it asks of the sweep, and what it is answered.

The evaluation runs in a thread of the other process. When it needs the sweep (a parameter, the verdict on its
cost, the pruner's word) it puts a `Request` and waits for the `Answer`; at its end there is an `Outcome`. The
sweep's side asks for the next of these again and again, each time with the answer to the last.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import queue
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn, cast

from optuna import TrialPruned
from optuna.trial import BaseTrial

from moo.engines._files import digests
from moo.errors import FitError, MooError, describe
from moo.evaluation import Evaluation, TrialContext
from moo.outcome import with_waited
from moo.quiet import QuietWindow

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution

    from moo.task import Task

__all__ = ["Answer", "Assignment", "Conversation", "Outcome", "Request", "answer"]


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """A trial to evaluate, without what only the sweep can do.

    Args:
        number: The trial's.
        started: When it began.
        folder: Its folder, relative to the sweep's.
        seed: As `TrialContext` has it, as the next ones.
        is_baseline: Whether bounds and gains will rest on it.
        metrics: What the problem needs.
        needs_cost: Whether measured cost decides before the training ends.
        is_prunable: Whether a pruner is to be asked at each step.
    """

    number: int
    started: dt.datetime | None
    folder: str
    seed: int
    is_baseline: bool
    metrics: tuple[str, ...]
    needs_cost: bool
    is_prunable: bool

    @classmethod
    def of(cls, trial: optuna.Trial, context: TrialContext) -> Assignment:
        """Return what of a trial and its context can be sent."""
        return cls(
            number=trial.number,
            started=trial.datetime_start,
            folder=context.folder.relative_to(context.root).as_posix(),
            seed=context.seed,
            is_baseline=context.is_baseline,
            metrics=context.metrics,
            needs_cost=context.needs_cost,
            is_prunable=context.should_stop is not None,
        )


@dataclass(frozen=True)
class Request:
    """A call of a method of the trial or of its context, or the value of a property."""

    of: Literal["trial", "context"]
    name: str
    arguments: tuple[Any, ...] = ()
    named: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """What the call returned, or raised."""

    value: Any = None
    error: BaseException | None = None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The end of an evaluation.

    Args:
        evaluation: What it returned, or None.
        error: What it raised; errors that are not ours, nor Optuna's pruning, are described in a `FitError`.
        files: The SHA-256 of each file that it left, by path relative to the sweep's folder.
    """

    evaluation: Any = None
    error: BaseException | None = None
    files: Mapping[str, str] = field(default_factory=dict)


def answer(request: Request, trial: optuna.Trial, context: TrialContext) -> Answer:
    """Return the sweep's answer to a request."""
    target = trial if request.of == "trial" else context
    try:
        found = getattr(target, request.name)
        value = found(*request.arguments, **request.named) if callable(found) else found
    except Exception as error:  # the other side's to handle: it is raised there
        return Answer(error=error)
    return Answer(dict(value) if isinstance(value, Mapping) else value)


class Conversation:
    """One evaluation, in a thread of this process.

    Args:
        task: What is searched.
        assignment: The trial.
        root: An empty folder that stands for the sweep's here.
        window: Keeps this machine quiet while others measure.
    """

    def __init__(self, task: Task, assignment: Assignment, root: Path, window: QuietWindow) -> None:
        self._task = task
        self._assignment = assignment
        self._root = root
        self._window = window
        self._said: queue.Queue[Request | Outcome] = queue.Queue()
        self._answers: queue.Queue[Answer] = queue.Queue()
        threading.Thread(target=self._run, name="evaluation", daemon=True).start()

    def next(self, last: Answer | None) -> Request | Outcome:
        """Give the answer to the last request, None before the first; wait for the next, or the end."""
        if last is not None:
            self._answers.put(last)
        return self._said.get()

    def _ask(self, request: Request) -> Any:
        self._said.put(request)
        found = self._answers.get()
        if found.error is not None:
            raise found.error
        return found.value

    def _run(self) -> None:
        folder = self._root / self._assignment.folder
        folder.mkdir(parents=True)
        evaluation, error = None, None
        try:
            with self._window.working():
                evaluation = self._task.evaluate(cast("optuna.Trial", self._trial()), self._context(folder))
            if isinstance(evaluation, Evaluation):
                evaluation = with_waited(evaluation, self._window.take_waited())
        except BaseException as raised:  # whatever it is, the sweep must hear of it
            error = _sendable(raised)
        self._said.put(Outcome(evaluation=evaluation, error=error, files=digests(self._root)))

    def _trial(self) -> _RemoteTrial:
        return _RemoteTrial(self._assignment, self._ask)

    def _context(self, folder: Path) -> TrialContext:
        def call(name: str) -> Callable[..., Any]:
            return lambda *arguments, **named: self._ask(Request("context", name, arguments, named))

        given = self._assignment
        return TrialContext(
            root=self._root,
            folder=folder,
            seed=given.seed,
            is_baseline=given.is_baseline,
            metrics=given.metrics,
            needs_cost=given.needs_cost,
            keep=call("keep"),
            check=call("check"),
            violated=call("violated"),
            should_stop=call("should_stop") if given.is_prunable else None,
            measuring=self._measuring,
            pause=self._window.pause,
            stage_ended=call("stage_ended"),
        )

    @contextlib.contextmanager
    def _measuring(self) -> Iterator[None]:
        """Measure alone on this machine; where devices measure, they see to it that they are alone."""
        if self._task.is_measured_by_profiler:
            yield
            return
        with self._window.measuring():
            yield


def _sendable(error: BaseException) -> BaseException:
    """Return the error as another process can load it, with where it was raised as a note."""
    note = "".join(traceback.format_exception(error))
    if not isinstance(error, (MooError, TrialPruned)):
        error = FitError(describe(error))
    error.__cause__ = error.__context__ = None
    error.__traceback__ = None
    if not isinstance(error, TrialPruned):
        error.add_note(note)
    return error


class _RemoteTrial(BaseTrial):
    """Optuna's trial, in another process than its study."""

    def __init__(self, assignment: Assignment, ask: Callable[[Request], Any]) -> None:
        self._assignment = assignment
        self._request = ask

    def _call(self, name: str, *arguments: Any, **named: Any) -> Any:
        return self._request(Request("trial", name, arguments, named))

    @property
    def number(self) -> int:
        return self._assignment.number

    @property
    def datetime_start(self) -> dt.datetime | None:
        return self._assignment.started

    @property
    def params(self) -> dict[str, Any]:
        return cast("dict[str, Any]", self._call("params"))

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        return cast("dict[str, BaseDistribution]", self._call("distributions"))

    @property
    def user_attrs(self) -> dict[str, Any]:
        return cast("dict[str, Any]", self._call("user_attrs"))

    @property
    def constraints(self) -> dict[str, float]:
        return cast("dict[str, float]", self._call("constraints"))

    @property
    def relative_params(self) -> dict[str, Any]:
        return cast("dict[str, Any]", self._call("relative_params"))

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        return cast("float", self._call("suggest_float", name, low, high, step=step, log=log))

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        return cast("int", self._call("suggest_int", name, low, high, step=step, log=log))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self._call("suggest_categorical", name, choices)

    def suggest_uniform(self, name: str, low: float, high: float) -> float:
        return self.suggest_float(name, low, high)

    def suggest_loguniform(self, name: str, low: float, high: float) -> float:
        return self.suggest_float(name, low, high, log=True)

    def suggest_discrete_uniform(self, name: str, low: float, high: float, q: float) -> float:
        return self.suggest_float(name, low, high, step=q)

    def report(self, value: float, step: int) -> None:
        self._call("report", value, step)

    def should_prune(self) -> bool:
        return bool(self._call("should_prune"))

    def set_user_attr(self, key: str, value: Any) -> None:
        self._call("set_user_attr", key, value)

    def set_constraint(self, key: str, value: float) -> None:
        self._call("set_constraint", key, value)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a trial that is evaluated on another machine belongs to that evaluation alone")
