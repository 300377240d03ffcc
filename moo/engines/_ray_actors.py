"""What runs on the nodes of a Ray cluster: evaluators of trials, what watches them, and devices that measure.

All are plain classes here; `ray.py` makes actors of them.
"""

from __future__ import annotations

import getpass
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from moo.engines._conversation import Answer, Assignment, Conversation, Outcome, Request
from moo.errors import LostError, SweepError
from moo.limits import LOOK_S, tree_bytes
from moo.quiet import QuietWindow

if TYPE_CHECKING:
    from moo.task import Task

__all__ = ["Device", "Evaluator", "MemoryWatch", "RaySend", "loaded"]

PATIENCE_S = 120.0
_LOOK_S = 1.0


def _quiet_window() -> QuietWindow:
    """Return a way into the window that all sweeps on this machine's Ray nodes share."""
    folder = Path(tempfile.gettempdir()) / f"moo-{getpass.getuser()}"
    folder.mkdir(exist_ok=True)
    return QuietWindow(folder)


class Device:
    """What measures on a node: one job at a time, alone on its machine where the job asks for it."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="moo-device-")
        self._kept: dict[str, Any] = {}
        self._window = _quiet_window()

    def do(self, job: Callable[[Path, dict[str, Any]], Any], *, alone: bool) -> tuple[Any, float]:
        """Return what a job returned, and the seconds that it took without waiting for quiet."""
        with self._window.measuring() if alone else self._window.working():
            return self._timed(job)

    def _timed(self, job: Callable[[Path, dict[str, Any]], Any]) -> tuple[Any, float]:
        begun = time.monotonic()
        found = job(Path(self._folder.name), self._kept)
        return found, time.monotonic() - begun


class RaySend:
    """Has jobs done on a device, from any process of the cluster: see `profilers.Send`.

    A device whose node is gone is waited for, two minutes at most: another node of its name may come.

    Args:
        label: The device's, for people to read.
        device: The actor.
    """

    def __init__(self, label: str, device: Any) -> None:
        self.label = label
        self.device = device
        self.window: QuietWindow | None = None
        """Of the evaluation that sends, which rests while it waits; None for a process that does not work."""

    def __call__(self, job: Callable[[Path, dict[str, Any]], Any], *, alone: bool) -> Any:
        """See `profilers.Send`."""
        begun = time.monotonic()
        if self.window is None:
            return self._done(job, alone=alone)[0]
        with self.window.resting():
            found, took_s = self._done(job, alone=alone)
        self.window.count_wait("measurement", max(0.0, time.monotonic() - begun - took_s))
        return found

    def _done(self, job: Callable[[Path, dict[str, Any]], Any], *, alone: bool) -> tuple[Any, float]:
        import ray
        from ray.exceptions import RayActorError, RayTaskError

        until = time.monotonic() + PATIENCE_S
        while True:
            try:
                found: tuple[Any, float] = ray.get(self.device.do.remote(job, alone=alone))
                return found
            except RayTaskError as error:
                raise error.cause from None
            except RayActorError as error:
                if time.monotonic() > until:
                    raise SweepError(
                        f"the device {self.label} is gone, and no other node of the cluster has come with the"
                        f" resource moo-profiler:{self.label} for {PATIENCE_S:.0f} s. What is finished is"
                        " stored; the same command goes on"
                    ) from error
            time.sleep(_LOOK_S)


def loaded(data: bytes) -> Any:
    """Return what `pickled_by_value` made.

    Raises:
        SweepError: If a package that it needs is not installed here.
    """
    import platform

    import ray.cloudpickle

    try:
        return ray.cloudpickle.loads(data)
    except (ImportError, AttributeError) as error:
        raise SweepError(
            f"the task does not load on the cluster's node {platform.node()}: {error}."
            " Install what it needs there, in the version that is here"
        ) from error


class Evaluator:
    """Evaluates one trial after another in its process, wherever the cluster has room for it.

    Args:
        task: From `pickled_by_value`: the task, and what has jobs done on the devices that it measures on.
    """

    def __init__(self, task: bytes) -> None:
        self._data = task
        self._task: Task | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._conversation: Conversation | None = None
        self._files: dict[str, str] = {}
        self._window = _quiet_window()

    def place(self) -> tuple[str, int]:
        """Return Ray's name of the node, and the number of this process there."""
        import ray

        return ray.get_runtime_context().get_node_id(), os.getpid()

    def begin(self, assignment: Assignment) -> None:
        """Begin to evaluate a trial.

        Raises:
            SweepError: If the task cannot be loaded here.
        """
        if self._task is None:
            with self._window.working():
                self._task, sends = loaded(self._data)
            for send in sends:
                send.window = self._window
        self._folder = tempfile.TemporaryDirectory(prefix="moo-trial-")
        assert self._task is not None
        self._conversation = Conversation(self._task, assignment, Path(self._folder.name), self._window)

    def next(self, last: Answer | None) -> Request | Outcome:
        """See `Conversation.next`."""
        assert self._conversation is not None, "begin comes first"
        found = self._conversation.next(last)
        if isinstance(found, Outcome):
            self._files = {sha256: name for name, sha256 in found.files.items()}
        return found

    def file(self, sha256: str) -> bytes:
        """Return the contents of a file that the last evaluation left.

        Raises:
            LostError: If there is none any more.
        """
        assert self._folder is not None
        try:
            return (Path(self._folder.name) / self._files[sha256]).read_bytes()
        except (KeyError, OSError) as error:
            raise LostError(f"a file of the trial is not there any more: {error}") from error

    def end(self) -> None:
        """Remove what the last evaluation left."""
        if self._folder is not None:
            self._folder.cleanup()
        self._folder = self._conversation = None


class MemoryWatch:
    """Looks at the memory of another process of its node, whatever that process does meanwhile."""

    def until_above(self, process: int, limit: float) -> float | None:
        """Return the bytes of a process and all below it once they are above a limit; None once it has ended.

        Args:
            process: Its number.
            limit: In bytes.
        """
        while psutil.pid_exists(process):
            used = tree_bytes(process, limit)
            if used > limit:
                return used
            time.sleep(LOOK_S)
        return None
