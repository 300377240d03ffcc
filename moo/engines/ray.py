"""A sweep on a Ray cluster: trials are evaluated wherever there is room, measured where they will run."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from moo.engines._cluster import first_line, has_room, kill, listed, n_rooms, nodes
from moo.engines._code import pickled_by_value
from moo.engines._ray_actors import Device, RaySend
from moo.engines._seat import RayTask, Seat
from moo.engines._threads import run_together
from moo.errors import InputError
from moo.limits import Limits
from moo.signals import interrupts_held_back

if TYPE_CHECKING:
    from moo.task import Task

__all__ = ["RayEngine", "RayFleet"]

_log = logging.getLogger("moo")

PREFIX = "moo-profiler:"
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
        return RayTask(task, Seat(self._ray, self._task, task.resources, self._abandon, limits))

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

        n_free = sum(n_rooms(node, task.resources) for task in list(shares)[:1] for node in nodes(self._ray))
        if n_free < len(shares):
            _log.warning(
                "the Ray cluster has room for %d of %d workers: the others wait", n_free, len(shares)
            )
        run_together(
            [partial(run, task, share) for task, share in shares.items()], should_stop, self._abandon
        )

    def leave(self) -> None:
        """Leave the devices to others."""
        for send in self._sends:
            kill(self._ray, send.device)

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
        needed, there = dict(task.resources), nodes(self._ray)
        if has_room(there, needed):
            return
        largest = {name: max((node.get(name, 0) for node in there), default=0) for name in needed}
        raise InputError(
            f"resources: task {task.name} needs {listed(needed)} on one node; the largest of the Ray cluster"
            f" have {listed(largest)}"
        )


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
        raise InputError(f"engine: {where} cannot be reached: {first_line(error)}") from error


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
