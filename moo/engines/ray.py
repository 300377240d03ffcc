"""A sweep on a Ray cluster: trials are evaluated wherever there is room, measured where they will run."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from moo import workers
from moo.engines._code import pickled_by_value
from moo.engines._conversation import Answer, Assignment, Outcome, Request, answer
from moo.engines._files import fetch
from moo.engines._ray_actors import PATIENCE_S, Device, Evaluator, MemoryWatch, RaySend
from moo.engines._threads import run_together
from moo.errors import FitError, InputError, LimitError, LostError, SweepError
from moo.limits import Limits, too_long, too_much_memory
from moo.signals import interrupts_held_back

if TYPE_CHECKING:
    import optuna

    from moo.evaluation import Evaluation, TrialContext
    from moo.metrics import Metric
    from moo.task import Task

__all__ = ["RayEngine", "RayFleet"]

_log = logging.getLogger("moo")

PREFIX = "moo-profiler:"
_LOOK_S = 0.5
_CONNECT_S = 10.0
_OWN_DEVICE = "here"
_SHARE = 0.001  # several sweeps may use a device: that one job measures at a time is up to its machine


@dataclass(frozen=True, kw_only=True)
class RayEngine:
    """A Ray cluster that evaluates trials, and devices in it that measure candidates.

    Each trial is evaluated (built, trained, exported, scored) by a process on any node with the task's
    `resources`; there this project and whatever the task imports of installed packages must be installed, and
    the data and models that the task reads must lie; the person's own modules are sent. Candidates are run
    and measured on *devices*: nodes with the custom resource `moo-profiler:<name>` (`ray start
    --resources='{"moo-profiler:pi": 1}'`), one job at a time, while work of this kind on the same machine
    pauses. The study, its storage, its log and all files stay where the sweep was begun.

    A trial whose process or node is lost is run again, once. A device that is lost is waited for, two minutes
    at most.

    Args:
        devices: Names of the devices; each candidate is measured on every one. Metrics of the first have the
            plain names, those of others their device's before it, as `pi_latency_p50`. None named: the one
            that the cluster has.
        address: Of the cluster, as `ray.init` takes it. None for `RAY_ADDRESS`, else the cluster that this
            machine is a node of, else one of this machine alone, with the device `here`, for as long as the
            sweep.
    """

    devices: Sequence[str] = ()
    address: str | None = None

    @contextlib.contextmanager
    def opened(self) -> Iterator[RayFleet]:
        """Connect to the cluster, for as long as the context.

        Raises:
            InputError: If Ray is not installed, it cannot be reached, or a name of a device cannot be.
        """
        for label in self.devices:
            if re.fullmatch(r"[A-Za-z]\w*([.-]\w+)*", label) is None:
                raise InputError(
                    f"device: expected a name of letters, digits, '_', '-' and '.', got {label!r}"
                )
        ray = _ray()
        is_ours = not ray.is_initialized()
        if is_ours:
            _connect(ray, self.address)
        fleet = RayFleet(ray, tuple(self.devices))
        try:
            yield fleet
        finally:
            with interrupts_held_back():
                fleet.leave()
                if is_ours:
                    ray.shutdown()


class RayFleet:
    """What a sweep uses of a cluster while it is connected.

    Args:
        ray: The module.
        devices: Names of the devices, as `RayEngine` has them.
    """

    def __init__(self, ray: Any, devices: tuple[str, ...]) -> None:
        self._ray = ray
        self._asked = devices
        self._sends: list[RaySend] = []
        self._task: bytes | None = None
        self._abandon = threading.Event()

    def placed(self, task: Task) -> Task:
        """Return the task as it is measured on the cluster's devices.

        Raises:
            InputError: If a device is not there, or the task measures by itself.
        """
        if not task.is_measured_by_profiler:
            if self._asked:
                raise InputError(f"device: task {task.name} measures where it is evaluated: leave it out")
            self._check_room(task)
            self._task = pickled_by_value((task, []), self._ray.cloudpickle)
            return task
        self._sends = [RaySend(label, self._device(label)) for label in self._labels()]
        named = {metric_name(send.label): send for send in self._sends}
        if len(named) < len(self._sends):
            raise InputError(f"device: two of {', '.join(send.label for send in self._sends)} are alike")
        self._check_room(task)
        placed = task.measured_on(named)
        self._task = pickled_by_value((placed, self._sends), self._ray.cloudpickle)
        return placed

    def seat(self, task: Task, limits: Limits) -> RayTask:
        """Return a placed task that is evaluated by a process on the cluster, one trial at a time.

        Args:
            task: What `placed` returned.
            limits: What a trial may take. The memory is that of the process that evaluates it; what its
                measuring takes on a device is not counted.
        """
        assert self._task is not None, "placed comes first"
        return RayTask(task, _Seat(self._ray, self._task, task.resources, self._abandon, limits))

    def _labels(self) -> list[str]:
        there = sorted(
            name.removeprefix(PREFIX) for name in self._ray.cluster_resources() if name.startswith(PREFIX)
        )
        for label in self._asked:
            if label not in there:
                known = f"it has {', '.join(there)}" if there else "it has none"
                raise InputError(
                    f"device: no node of the Ray cluster has the resource {PREFIX}{label}; {known}."
                    f" Start one with: ray start --address=... --resources='{{\"{PREFIX}{label}\": 1}}'"
                )
        if self._asked:
            return list(self._asked)
        if not there:
            raise InputError(
                "device: no node of the Ray cluster is there to measure candidates."
                f" Start one with: ray start --address=... --resources='{{\"{PREFIX}NAME\": 1}}'"
            )
        if len(there) > 1:
            raise InputError(f"device: the Ray cluster has {', '.join(there)}: name one or several")
        return there

    def run(
        self,
        shares: Mapping[RayTask, Callable[[Callable[[], bool]], None]],
        should_stop: Callable[[], bool],
    ) -> None:
        """Run shares of a sweep, each in a thread: see `run_together`.

        Args:
            shares: By the seat that evaluates the trials of each: a share begins when there is room for it.
            should_stop: Asked before each trial.
        """

        def run(
            task: RayTask, share: Callable[[Callable[[], bool]], None], is_over: Callable[[], bool]
        ) -> None:
            with task.seated(is_over):
                share(is_over)

        n_rooms = sum(
            _n_rooms(node, task.resources) for task in list(shares)[:1] for node in _nodes(self._ray)
        )
        if n_rooms < len(shares):
            _log.warning(
                "the Ray cluster has room for %d of %d workers: the others wait", n_rooms, len(shares)
            )
        run_together(
            [partial(run, task, share) for task, share in shares.items()], should_stop, self._abandon
        )

    def leave(self) -> None:
        """Leave the devices to others."""
        for send in self._sends:
            _killed(self._ray, send.device)

    def _device(self, label: str) -> Any:
        actor = self._ray.remote(Device).options(
            num_cpus=0,
            resources={f"{PREFIX}{label}": _SHARE},
            max_restarts=-1,
            runtime_env={"env_vars": {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}},  # it may measure on a GPU
        )
        return actor.remote()

    def _check_room(self, task: Task) -> None:
        """Refuse a task that no node has the resources for."""
        needed, nodes = dict(task.resources), _nodes(self._ray)
        if _has_room(nodes, needed):
            return
        largest = {name: max((node.get(name, 0) for node in nodes), default=0) for name in needed}
        raise InputError(
            f"resources: task {task.name} needs {_listed(needed)} on one node; the largest of the Ray cluster"
            f" have {_listed(largest)}"
        )


class RayTask:
    """A task whose trials are evaluated on a cluster: see `moo.task.Task`.

    Args:
        task: As it is measured there.
        seat: The process that evaluates it.
    """

    def __init__(self, task: Task, seat: _Seat) -> None:
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
            LostError: If the process or its node is gone.
        """
        return self._seat.evaluate(trial, context)


class _Seat:
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
        self._is_last_try = trial.user_attrs.get(workers.ATTEMPTS, 1) >= workers.MAX_ATTEMPTS
        try:
            self._assign(Assignment.of(trial, context))
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
            if _has_room(_nodes(self._ray), self._resources):
                until = time.monotonic() + PATIENCE_S
            elif time.monotonic() > until:
                raise SweepError(
                    f"no node of the Ray cluster has {_listed(self._resources)} any more, for"
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
            raise LostError(f"what watched its memory is gone: {_first_line(error)}") from error
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
            raise LostError(
                f"the process on the cluster that ran it is gone: {_first_line(error)}"
            ) from error

    def _leave(self) -> None:
        actors, self._actor, self._watch, self._above = (self._actor, self._watch), None, None, None
        for actor in actors:
            if actor is not None:
                _killed(self._ray, actor)


def metric_name(label: str) -> str:
    """Return a device's name as it stands before a metric's.

    >>> metric_name("Pi-4")
    'pi_4'
    """
    return re.sub(r"\W", "_", label).lower()


def _ray() -> Any:
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
        import ray.cloudpickle
    except ImportError as error:
        raise InputError(
            f'engine: ray is not installed ({error}): pip install "moo-deploy[ray]", or leave the engine out'
        ) from error
    return ray


def _connect(ray: Any, address: str | None) -> None:
    """Connect to the cluster, or begin one of this machine, whose one device is `here`."""
    _refuse_silent(address or os.environ.get("RAY_ADDRESS", ""))
    quiet = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": True}
    try:
        try:
            ray.init(address=address or "auto", **quiet)
        except ConnectionError:
            if address is not None:
                raise
            ray.init(resources={f"{PREFIX}{_OWN_DEVICE}": 1}, include_dashboard=False, **quiet)
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        where = "the Ray cluster" if address is None else f"the Ray cluster at {address}"
        raise InputError(f"engine: {where} cannot be reached: {_first_line(error)}") from error


def _refuse_silent(address: str) -> None:
    """Refuse an address where nobody listens: Ray itself tries for minutes, and says so in its own words.

    Raises:
        InputError: With the address.
    """
    host, _, port = address.rpartition("://")[2].partition(":")
    if not port.isdigit():
        return  # `auto`, `local` or a name: Ray knows
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT_S).close()
    except OSError as error:
        raise InputError(
            f"engine: nobody answers at the Ray cluster's address {address} ({error.strerror or error}):"
            " start one with `ray start --head`, or correct RAY_ADDRESS"
        ) from error


def _nodes(ray: Any) -> list[Mapping[str, float]]:
    """Return what each node that is there offers."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _has_room(nodes: Sequence[Mapping[str, float]], needed: Mapping[str, float]) -> bool:
    """Return whether some node has all that is needed, were it idle."""
    return any(_n_rooms(node, needed) for node in nodes)


def _n_rooms(node: Mapping[str, float], needed: Mapping[str, float]) -> int:
    """Return how many times an idle node has what is needed.

    >>> _n_rooms({"CPU": 8.0, "GPU": 1.0}, {"CPU": 2, "GPU": 0.5})
    2
    """
    return min(
        (int(node.get(name, 0) / amount) for name, amount in needed.items() if amount > 0), default=1000
    )


def _killed(ray: Any, actor: Any) -> None:
    with contextlib.suppress(Exception):  # whatever Ray says of a process that is gone: it is gone
        ray.kill(actor)


def _listed(resources: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {amount:g}" for name, amount in resources.items())


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__
