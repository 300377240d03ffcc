"""Several processes of this machine at work on one study: started, watched and stopped together.

Each worker is a fresh interpreter that talks with the process that started it over a socket. It is told what
to do there, and later to stop after its trial (`s`), or at once (`n`); if the socket closes, that process is
gone and the worker stops after its trial. It tells back, in JSON, the error of ours that ended it. What it
prints goes into a file of the study's folder, which begins anew whenever it is too long.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, Any, Self

from moo import errors
from moo.errors import MooError, SweepError
from moo.limits import end_tree
from moo.quiet import QuietWindow
from moo.signals import interrupts_held_back

__all__ = ["Crew", "Ended", "Orders", "work_here"]

OUTPUT = "workers"
_STOP, _NOW = b"s", b"n"
_AGAIN_S = 0.5  # what is raised while Python runs a finaliser is lost, so it is raised again
_GRACE_S = 10.0
_THREADS = "OMP_NUM_THREADS"
_LAST_WORDS = 300
_MAX_OUTPUT = 16 * 2**20


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A worker that has ended.

    Attributes:
        worker: Its number, from 1.
        process: Its process number.
        status: Its exit status, negative for a signal.
        error: The error of ours that ended it, if one did.
        why: What is to be known of an end that was not meant; empty for one that was.
    """

    worker: int
    process: int
    status: int
    error: MooError | None = None
    why: str = ""


@dataclass(kw_only=True)
class _Worker:
    number: int
    process: subprocess.Popen[bytes]
    link: socket.socket
    output: Path
    said: bytearray = field(default_factory=bytearray)


class Crew:
    """Worker processes; a context at whose end none is left.

    Args:
        job: Pickled: what `work_here` calls in each worker, with its `Orders`.
        folder: Of the study.
        n_workers: How many share the machine's processors: each computes with its share of threads, unless
            `OMP_NUM_THREADS` is set.

    Attributes:
        stopped: Process numbers of those that still ran at the context's end, and were stopped at once.
    """

    def __init__(self, job: bytes, *, folder: Path, n_workers: int) -> None:
        self._head = pickle.dumps({"folder": folder})
        self._job = job
        self._output = folder / OUTPUT
        self._environment = {_THREADS: str(max(1, n_cores() // n_workers)), **os.environ}
        self._workers: list[_Worker] = []
        self._n_started = 0
        self.stopped: set[int] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop what still runs at once; whoever does not heed it in ten seconds is killed."""
        with interrupts_held_back():
            self.stopped = {worker.process.pid for worker in self._workers}
            until = time.monotonic() + _GRACE_S
            while self._workers and time.monotonic() < until:
                self._order(_NOW)
                self._wait(_AGAIN_S)
                self.ended()
            for worker in self._workers:
                worker.process.kill()
            self._wait(None)
            self.ended()

    @property
    def n_alive(self) -> int:
        """How many have not been seen to end."""
        return len(self._workers)

    @property
    def processes(self) -> set[int]:
        """The process numbers of those."""
        return {worker.process.pid for worker in self._workers}

    def start(self) -> tuple[int, int]:
        """Start one more and return its number and its process number."""
        self._n_started += 1
        ours, theirs = socket.socketpair()
        code = f"import sys; sys.path[:] = {sys.path!r}; from moo.crew import work_here; work_here()"
        output = self._output / f"{self._n_started}.txt"
        with theirs, _output_to(output) as file, interrupts_held_back():
            process = subprocess.Popen(
                [sys.executable, "-c", code, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=self._environment,
                pass_fds=(theirs.fileno(),),
            )
            worker = _Worker(number=self._n_started, process=process, link=ours, output=output)
            self._workers.append(worker)
        with contextlib.suppress(OSError):  # it has ended: that is found out below
            for part in (self._head, self._job):
                ours.sendall(struct.pack("!Q", len(part)) + part)
        ours.settimeout(0.0)
        return worker.number, process.pid

    def stop(self) -> None:
        """Have each stop after its trial."""
        self._order(_STOP)

    def end(self, process: int) -> None:
        """Kill a worker and all processes that it began; when this returns, it runs no more."""
        for worker in self._workers:
            if worker.process.pid == process:
                end_tree(process)
                worker.process.wait()

    def ended(self) -> list[Ended]:
        """Return who has ended since the last call; cut what the others printed, where it is too much."""
        found = []
        for worker in list(self._workers):
            status = worker.process.poll()
            _cut(worker.output)
            _listen(worker)
            if status is None:
                continue
            self._workers.remove(worker)
            worker.link.close()
            found.append(_ended(worker, status))
        return found

    def _order(self, order: bytes) -> None:
        for worker in self._workers:
            with contextlib.suppress(OSError):
                worker.link.send(order)

    def _wait(self, seconds: float | None) -> None:
        """Wait until all have ended, or so long."""
        until = None if seconds is None else time.monotonic() + seconds
        for worker in self._workers:
            left = None if until is None else max(0.0, until - time.monotonic())
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.process.wait(left)


def n_cores() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _ended(worker: _Worker, status: int) -> Ended:
    error = None
    with contextlib.suppress(ValueError, TypeError, AttributeError, KeyError):
        said = json.loads(worker.said)
        error = getattr(errors, said["error"])(said["message"])
    why = "" if status == 0 or error is not None else _why(status, worker.output)
    return Ended(worker=worker.number, process=worker.process.pid, status=status, error=error, why=why)


def _why(status: int, output: Path) -> str:
    """Return how a worker came to its end, with the last that it printed."""
    if status < 0:
        name = signal.Signals(-status).name if -status in set(signal.Signals) else f"signal {-status}"
        said = f"killed by {name}{', perhaps for want of memory' if -status == signal.SIGKILL else ''}"
    else:
        said = f"exit status {status}"
    try:
        lines = output.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError:
        return said
    return f"{said}; it last printed: {lines[-1].strip()[:_LAST_WORDS]}" if lines else said


def _listen(worker: _Worker) -> None:
    with contextlib.suppress(OSError):
        while data := worker.link.recv(65536):
            worker.said += data


def _cut(output: Path) -> None:
    """Begin a worker's output anew where it is too long: a task may print for days."""
    with contextlib.suppress(OSError):
        if output.stat().st_size > _MAX_OUTPUT:
            os.truncate(output, 0)


@contextlib.contextmanager
def _output_to(path: Path) -> Iterator[IO[bytes] | int]:
    """Open the file of a worker's output; what it prints is dropped where that cannot be."""
    try:
        path.parent.mkdir(exist_ok=True)
        path.unlink(missing_ok=True)
        file = path.open("ab")  # it goes on at its end when it was cut
    except OSError:
        yield subprocess.DEVNULL
        return
    with file:
        yield file


# in the worker


class Orders:
    """What the process that started this worker wants of it.

    A Ctrl-C at the terminal reaches the workers too; it is that process's to decide on, so it does nothing
    here. The order to stop at once raises `KeyboardInterrupt`, again with each time it comes.

    Args:
        link: The socket to listen on.
    """

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self._is_urgent = False
        self._main = threading.get_ident()
        self.is_stopping = False
        signal.signal(signal.SIGINT, self._interrupted)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGALRM})
        threading.Thread(target=self._listen, daemon=True).start()

    def should_stop(self) -> bool:
        """Return whether no further trial is to be begun."""
        return self.is_stopping

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while order := self._link.recv(1):
                self.is_stopping = True
                if order == _NOW:
                    self._is_urgent = True
                    signal.pthread_kill(self._main, signal.SIGINT)
        self.is_stopping = True

    def _interrupted(self, _number: int, _frame: FrameType | None) -> None:
        if self._is_urgent:
            raise KeyboardInterrupt


def work_here() -> None:
    """Do in this process what `Crew` started it for, and exit.

    Even loading the job, which imports whatever it needs, is work that others' measurements go before.

    Raises:
        SystemExit: Always: 0 done or stopped, 1 or 2 for an error of ours, which is told over the socket.
    """
    link = socket.socket(fileno=int(sys.argv.pop(1)))
    folder: Path = pickle.loads(_part(link))["folder"]  # noqa: S301  # from the process that started this
    job = _part(link)
    orders = Orders(link)
    try:
        with QuietWindow(folder).working():
            make, named = pickle.loads(job)  # noqa: S301
            share: Callable[[], None] = make(orders, **named)
        share()
    except MooError as error:
        with contextlib.suppress(OSError):
            link.sendall(json.dumps({"error": type(error).__name__, "message": str(error)}).encode())
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(0)
    sys.exit(0)


def _part(link: socket.socket) -> bytes:
    """Return one part of what a worker is told first; exit where nobody is there to tell it."""
    (size,) = struct.unpack("!Q", _bytes(link, 8))
    return _bytes(link, size)


def _bytes(link: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        part = link.recv(min(size - len(data), 1 << 20))
        if not part:
            sys.exit(0)
        data += part
    return bytes(data)


def joined(ended: Mapping[int, str]) -> SweepError:
    """Return the error of a sweep whose workers all ended before it was done, by their numbers.

    >>> str(joined({1: "killed by SIGKILL"}))
    'every worker process has ended before the sweep was done: worker 1, killed by SIGKILL'
    """
    each = "; ".join(f"worker {number}, {why}" for number, why in ended.items())
    return SweepError(f"every worker process has ended before the sweep was done: {each}")


def pickled(job: Callable[..., Any], **named: Any) -> bytes:
    """Return a job as `Crew` takes it: what makes the work from its `Orders` and these.

    Raises:
        ValueError: For something that another process could not load, with the reason.
    """
    import pickletools

    try:
        data = pickle.dumps((job, named))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ValueError(f"it cannot be sent to another process: {error}") from error
    if any(argument == "__main__" for _, argument, _ in pickletools.genops(data)):
        raise ValueError("it is defined in the script or notebook that runs, which others cannot import")
    return data
