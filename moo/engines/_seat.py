"""A seat of a sweep on a Ray cluster: the process there that evaluates its trials, one at a time."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from moo import workers
from moo.engines._cluster import first_line, has_room, kill, listed, nodes
from moo.engines._conversation import Answer, Assignment, Outcome, Request, answer
from moo.engines._files import fetch
from moo.engines._ray_actors import PATIENCE_S, Evaluator, MemoryWatch
from moo.errors import FitError, LimitError, LostError, SweepError
from moo.limits import Limits, too_long, too_much_memory

if TYPE_CHECKING:
    import optuna

    from moo.evaluation import Evaluation, TrialContext
    from moo.metrics import Metric
    from moo.task import Task

__all__ = ["RayTask", "Seat"]

_LOOK_S = 0.5


class RayTask:
    """A task whose trials are evaluated on a cluster: see `moo.task.Task`.

    Args:
        task: As it is measured there.
        seat: The process that evaluates it.
    """

    def __init__(self, task: Task, seat: Seat) -> None:
        self._task = task
        self._seat = seat
        self.resources = task.resources
        self.is_measured_by_profiler = task.is_measured_by_profiler

    @property
    def name(self) -> str:
        """The task's."""
        return self._task.name

    @property
    def metrics(self) -> Sequence[Metric]:
        """The task's."""
        return tuple(self._task.metrics)

    def baseline(self) -> Mapping[str, Any] | None:
        """Return the task's."""
        return self._task.baseline()

    def identity(self) -> Mapping[str, str]:
        """Return the task's."""
        return self._task.identity()

    def setting(self) -> Mapping[str, Any]:
        """Return the task's."""
        return self._task.setting()

    def measured_on(self, devices: Mapping[str, Callable[..., Any]]) -> RayTask:
        """Return itself: it is placed already."""
        assert not devices, "placed once"
        return self

    def seated(self, is_over: Callable[[], bool]) -> contextlib.AbstractContextManager[None]:
        """Return a context in which there is a process that evaluates, unless there is room too late."""
        return self._seat.taken(is_over)

    def evaluate(self, trial: optuna.Trial, context: TrialContext) -> Evaluation:
        """Return what the cluster makes of a trial, its files in the trial's folder.

        Raises:
            LimitError: If it takes more time or memory than it may.
            LostError: If the process or its node is gone, or the memory may be what earlier trials left.
        """
        return self._seat.evaluate(trial, context)


class Seat:
    """One process on the cluster at a time; where it is lost, the next trial has another."""

    def __init__(
        self,
        ray: Any,
        task: bytes,
        resources: Mapping[str, float],
        abandon: threading.Event,
        limits: Limits,
    ) -> None:
        self._ray = ray
        self._limits = limits
        self._data = ray.put(task)
        self._resources = dict(resources)
        self._abandon = abandon
        self._actor: Any = None
        self._n_begun = 0  # trials of that process
        self._is_last_try = False  # of the trial
        self._watch: Any = None  # of its memory
        self._above: Any = None  # what the watch will say
        self._until: float | None = None

    @contextlib.contextmanager
    def taken(self, is_over: Callable[[], bool]) -> Iterator[None]:
        """Have a process from when there is room for it to the end of the context."""
        try:
            self._begin(is_over)
            yield
        finally:
            self._leave()

    def evaluate(self, trial: optuna.Trial, context: TrialContext) -> Evaluation:
        self._is_last_try = False  # while it is assigned, memory is still that of earlier trials
        try:
            self._assign(Assignment.of(trial, context))
            self._is_last_try = trial.user_attrs.get(workers.ATTEMPTS, 1) >= workers.MAX_ATTEMPTS
            limit_s = self._limits.time_s
            self._until = None if limit_s is None else time.monotonic() + limit_s
            outcome = self._talk(trial, context)
            self._until = None
            fetch(outcome.files, context.root, context.folder, self._file)
            self._get(self._actor.end.remote())
        except BaseException:
            self._until = None
            self._leave()
            raise
        if outcome.error is not None:
            raise outcome.error
        found: Evaluation = outcome.evaluation
        return found

    def _assign(self, assignment: Assignment) -> None:
        """Give the process a trial; one lost since its last is replaced, which is no try of this one."""
        self._n_begun += 1
        if self._actor is not None:
            try:
                self._get(self._actor.place.remote())
            except LostError:
                self._leave()
        if self._actor is None:
            self._begin(lambda: False)
            self._n_begun = 1
        self._get(self._actor.begin.remote(assignment))

    def _talk(self, trial: optuna.Trial, context: TrialContext) -> Outcome:
        last: Answer | None = None
        while True:
            found: Request | Outcome = self._get(self._actor.next.remote(last))
            if isinstance(found, Outcome):
                return found
            last = answer(found, trial, context)

    def _file(self, sha256: str) -> bytes:
        data: bytes = self._get(self._actor.file.remote(sha256))
        return data

    def _begin(self, is_over: Callable[[], bool]) -> None:
        """Have a new process, once the cluster has room for it, unless the sweep is over by then."""
        others = {name: amount for name, amount in self._resources.items() if name not in ("CPU", "GPU")}
        options = {"num_cpus": self._resources.get("CPU", 0), "num_gpus": self._resources.get("GPU", 0)}
        self._actor = self._ray.remote(Evaluator).options(**options, resources=others).remote(self._data)
        reference, until = self._actor.place.remote(), time.monotonic() + PATIENCE_S
        while not self._is_ready(reference):
            if is_over():
                return
            if has_room(nodes(self._ray), self._resources):
                until = time.monotonic() + PATIENCE_S
            elif time.monotonic() > until:
                raise SweepError(
                    f"no node of the Ray cluster has {listed(self._resources)} any more, for"
                    f" {PATIENCE_S:.0f} s. What is finished is stored; the same command goes on"
                )
        self._begin_watch(*self._get(reference))

    def _begin_watch(self, node: str, process: int) -> None:
        """Have its memory watched, by a process beside it, from which no code of a task can keep it."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        if self._limits.memory_bytes is not None:
            beside = NodeAffinitySchedulingStrategy(node_id=node, soft=False)
            options = {"num_cpus": 0, "scheduling_strategy": beside}
            self._watch = self._ray.remote(MemoryWatch).options(**options).remote()
            self._above = self._watch.until_above.remote(process, self._limits.memory_bytes)

    def _is_ready(self, reference: Any) -> bool:
        """Wait a little; return whether there is a result, or whatever else `get` raises.

        Raises:
            KeyboardInterrupt: If the sweep is to end at once.
            LimitError: If the trial takes longer, or more memory, than it may.
            LostError: If what took the memory may be what an earlier trial has left.
        """
        if self._abandon.is_set():
            raise KeyboardInterrupt
        limit_s = self._limits.time_s
        if limit_s is not None and self._until is not None and time.monotonic() > self._until:
            raise LimitError(too_long(limit_s))
        awaited = [reference] if self._above is None else [reference, self._above]
        ready = self._ray.wait(awaited, timeout=_LOOK_S)[0]
        if self._above in ready and reference not in ready:
            self._refuse_memory()
        return reference in ready

    def _refuse_memory(self) -> None:
        """End a trial whose process takes too much memory: see `LimitKeeper` for what becomes of it."""
        from ray.exceptions import RayError

        above, self._above = self._above, None
        limit = self._limits.memory_bytes
        try:
            used = self._ray.get(above)
        except RayError as error:
            raise LostError(f"what watched its memory is gone: {first_line(error)}") from error
        if used is None or limit is None:
            return  # the process has ended: whoever waits for it hears so
        reason = too_much_memory(used, limit)
        if self._n_begun > 1 and not self._is_last_try:
            raise LostError(f"{reason}, perhaps that of earlier trials: it is run again in a new process")
        raise LimitError(reason)

    def _get(self, reference: Any) -> Any:
        """Return a result, waiting for it as long as the sweep goes on.

        Raises:
            KeyboardInterrupt: If the sweep is to end at once.
            LostError: If the process is gone.
        """
        from ray.exceptions import RayError, RayTaskError

        while not self._is_ready(reference):
            pass
        try:
            return self._ray.get(reference)
        except RayTaskError as error:
            cause = error.cause
            if isinstance(cause, (LostError, SweepError)):
                raise cause from None
            raise FitError(f"on the cluster: {type(cause).__name__}: {cause}") from error
        except RayError as error:
            raise LostError(f"the process on the cluster that ran it is gone: {first_line(error)}") from error

    def _leave(self) -> None:
        actors, self._actor, self._watch, self._above = (self._actor, self._watch), None, None, None
        for actor in actors:
            if actor is not None:
                kill(self._ray, actor)
