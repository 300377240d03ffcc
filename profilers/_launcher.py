"""Starts the child process, waits for it without doing any work, and reads what it left behind."""

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from profilers._errors import LaunchError, MissingLibraryError, ModelError, ProviderError, TimeLimitError

WORKER = Path(__file__).parent / "_child" / "__main__.py"
LONGEST_WAIT_S = 1e6  # the system's calls cannot wait for much longer; a limit above is none


@dataclass(frozen=True, slots=True, eq=False)
class ChildResult:
    """What a child reported: `facts` as JSON, and its arrays by file name."""

    facts: dict[str, Any]
    arrays: dict[str, NDArray[Any]]


def run_child(
    request: Mapping[str, Any], inputs: Mapping[str, NDArray[Any]] | None, *, time_limit_s: float
) -> ChildResult:
    """Have a fresh process do `request`, with the `inputs` beside it in a temporary folder.

    The process gets a session of its own, so that a Ctrl-C at the terminal reaches only the parent; whatever
    ends the wait, an exception included, the process and its group are gone when this returns.

    Raises:
        ModelError: If the child says that the model or its inputs cannot be used.
        LaunchError: If the child died or failed otherwise, or could not be started.
        TimeLimitError: If it was still at work after `time_limit_s`; 1e6 s or more are no limit.
    """
    model = str(request["model"])
    with _system_errors_told(model), tempfile.TemporaryDirectory(prefix="moo-profile-") as name:
        folder = Path(name)
        _write_request(folder, request, inputs)
        status = _run(folder, time_limit_s)
        return _read(folder, status, model, time_limit_s)


class OpenChild:
    """A child that waits, warm, and does a piece of work for each visit until it is closed."""

    def __init__(
        self, request: Mapping[str, Any], inputs: Mapping[str, NDArray[Any]] | None, *, time_limit_s: float
    ) -> None:
        """Start the child and wait until it is warm. Raises the same errors as `run_child`."""
        self._model, self._time_limit_s = str(request["model"]), time_limit_s
        self._process: subprocess.Popen[bytes] | None = None
        self._commands = self._answers = -1
        with _system_errors_told(self._model):
            self._home = tempfile.TemporaryDirectory(prefix="moo-profile-")
            self._folder = Path(self._home.name)
            try:
                self._begin(request, inputs)
                self._await_answer()
            except BaseException:
                self.close()
                raise

    def _begin(self, request: Mapping[str, Any], inputs: Mapping[str, NDArray[Any]] | None) -> None:
        """Start the child, which holds the other ends of two pipes."""
        commands, self._commands = os.pipe()
        try:
            self._answers, answers = os.pipe()
            try:
                ends = {"commands_fd": commands, "answers_fd": answers}
                _write_request(self._folder, dict(request) | ends, inputs)
                with _interrupts_deferred():
                    self._process = _start(self._folder, (commands, answers))
            finally:
                os.close(answers)
        finally:
            os.close(commands)

    def visit(self) -> None:
        """Have the child do one piece of work, and wait for it."""
        with contextlib.suppress(BrokenPipeError):  # it has died, and no answer will come
            os.write(self._commands, b"\n")
        self._await_answer()

    def result(self) -> ChildResult:
        """End the work, and the process; returns what it left."""
        assert self._process is not None
        os.close(self._commands)
        self._commands = -1
        try:
            status = None if self._answer() is None else _kill_group(self._process)
            return _read(self._folder, status, self._model, self._time_limit_s)
        finally:
            self.close()

    def close(self) -> None:
        """End the process, whatever it does, and remove its folder."""
        if self._process is not None:
            _kill_group(self._process)
        for end in (self._commands, self._answers):
            if end >= 0:
                os.close(end)
        self._commands = self._answers = -1
        self._home.cleanup()

    def _await_answer(self) -> None:
        answer = self._answer()
        if answer:
            return
        try:
            assert self._process is not None
            status = None if answer is None else _kill_group(self._process)
            _read(self._folder, status, self._model, self._time_limit_s)
            raise LaunchError(f"model {self._model}: the process ended before it was told to")
        finally:
            self.close()

    def _answer(self) -> bytes | None:
        """A byte; none at the child's end; None where its time is over."""
        return os.read(self._answers, 1) if _is_readable(self._answers, self._time_limit_s) else None


@contextmanager
def _system_errors_told(model: str) -> Iterator[None]:
    """Say in one line what the system refused: a file, a process, a pipe."""
    try:
        yield
    except OSError as error:
        raise LaunchError(
            f"model {model}: the system refused a process or its files in {tempfile.gettempdir()}: "
            f"{' '.join(str(error).split())}: make room, or set TMPDIR to a folder that has it"
        ) from error


def _write_request(
    folder: Path, request: Mapping[str, Any], inputs: Mapping[str, NDArray[Any]] | None
) -> None:
    files = None
    if inputs is not None:
        files = {name: f"input_{index}.npy" for index, name in enumerate(inputs)}
        for input_name, file in files.items():
            np.save(folder / file, inputs[input_name], allow_pickle=False)
    message = dict(request) | {"inputs": files, "parent_pid": os.getpid()}
    (folder / "request.json").write_text(json.dumps(message))


def _run(folder: Path, time_limit_s: float) -> int | None:
    """The exit status of the worker; None when its time was over and it was killed."""
    process = None
    end, child_end = os.pipe()  # the child holds the other end; reading meets the end of file when it is gone
    try:
        try:
            with _interrupts_deferred():
                process = _start(folder, (child_end,))
        finally:
            os.close(child_end)
        return _kill_group(process) if _is_readable(end, time_limit_s) else None
    finally:
        os.close(end)
        if process is not None:
            _kill_group(process)


def _is_readable(end: int, time_limit_s: float) -> bool:
    """Whether there is a byte, or the end of file, within the time."""
    with selectors.DefaultSelector() as selector:
        selector.register(end, selectors.EVENT_READ)
        return bool(selector.select(time_limit_s if time_limit_s < LONGEST_WAIT_S else None))


def _start(folder: Path, ends: tuple[int, ...]) -> subprocess.Popen[bytes]:
    with (folder / "stdout").open("wb") as stdout, (folder / "stderr").open("wb") as stderr:
        return subprocess.Popen(
            [sys.executable, "-P", str(WORKER), str(folder / "request.json")],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            cwd=folder,
            pass_fds=ends,
            start_new_session=True,
        )


@contextmanager
def _interrupts_deferred() -> Iterator[None]:
    """Hold a Ctrl-C back until the end: in the midst of `Popen` it would leave a child that nobody knows of.

    Python raises it in the main thread only, so there is nothing to do in others.
    """
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or handler is None:
        yield
        return
    arrived: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: arrived.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
    if arrived:
        signal.raise_signal(signal.SIGINT)


def _kill_group(process: subprocess.Popen[bytes]) -> int:
    """End the process and all it started, unless that was done before; returns its exit status.

    A process that has ended by itself keeps its status. Until it is reaped the group's number is its own, so
    the group is killed first, for the sake of what the process may have left running.
    """
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # nothing is left but the leader
            os.killpg(process.pid, signal.SIGKILL)
    return process.wait()


def _read(folder: Path, status: int | None, model: str, time_limit_s: float) -> ChildResult:
    stage = _text(folder / "stage") or "start"
    if status is None:
        raise TimeLimitError(
            f"model {model}: expected to be done in {time_limit_s:g} s, was still at {stage} and was killed: "
            "raise time_limit_s or take a smaller batch"
        )
    text = _text(folder / "result.json")
    if status != 0 or not text:
        last = (_text(folder / "stderr").strip().splitlines() or ["nothing on stderr"])[-1].strip()
        if status == -signal.SIGKILL:
            last = f"memory has probably run out, take a smaller batch or a smaller model ({last})"
        raise LaunchError(f"model {model}: the process {_ending(status)} at {stage}: {last}")
    facts = json.loads(text)
    if "error" in facts:
        kind, message = facts["error"]["kind"], facts["error"]["message"]
        if stage == "import" and (name := facts["error"].get("missing")):
            raise MissingLibraryError(name, "" if _is_absent(name) else message)
        if kind == "provider":
            raise ProviderError(message)
        if kind == "model":
            raise ModelError(f"model {model}: failed at {stage}: {message}")
        advice = ": take a smaller batch, or give smaller dims" if kind == "MemoryError" else ""
        raise LaunchError(f"model {model}: the process failed at {stage} with {kind}: {message}{advice}")
    arrays = {path.stem: np.load(path) for path in folder.glob("*.npy") if not path.name.startswith("input_")}
    return ChildResult(facts, arrays)


def _is_absent(name: str) -> bool:
    """Whether no package of that name is there to be imported."""
    try:
        return find_spec(name) is None
    except (ImportError, ValueError):  # kept from being imported, as a test does
        return True


def _ending(status: int) -> str:
    """How a process ended, in words.

    >>> _ending(-9), _ending(3)
    ('was killed by SIGKILL', 'ended with exit status 3')
    """
    if status >= 0:
        return f"ended with exit status {status}"
    known = {int(item) for item in signal.Signals}
    return f"was killed by {signal.Signals(-status).name if -status in known else f'signal {-status}'}"


def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""
