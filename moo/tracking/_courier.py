"""The parent's side of the child process that sends: a queue that never makes anyone wait for long."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Courier", "Reply"]


@dataclass(frozen=True)
class Reply:
    """What became of a message: done where `error` is None, with a note on what was left out."""

    message: Mapping[str, Any]
    error: str | None = None
    note: str | None = None


class Courier:
    """Hands messages to the child one after another; a child that died is started again.

    The child is in a session of its own, so that Ctrl-C does not reach it, and ends with its input.

    Args:
        to: The child's first line: `kind`, `text`, `folder`, `max_artefact_bytes`.
        environment: Variables for the child, where this process has none of the name.
    """

    def __init__(self, to: Mapping[str, Any], environment: Mapping[str, str]) -> None:
        self._to = to
        modules = os.pathsep.join(filter(None, sys.path))  # this process's, without the working directory
        self._environment = {**environment, **os.environ, "PYTHONPATH": modules}
        self._child: subprocess.Popen[str] | None = None
        self._study: Mapping[str, Any] | None = None
        self._queue: queue.SimpleQueue[Mapping[str, Any] | None] = queue.SimpleQueue()
        self._changed = threading.Condition()
        self._n_waiting = 0
        self._replies: list[Reply] = []
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="moo-tracking", daemon=True)
        self._thread.start()

    def send(self, message: Mapping[str, Any]) -> None:
        """Put a message in the queue."""
        with self._changed:
            self._n_waiting += 1
        self._queue.put(message)

    def wait(self, seconds: float) -> bool:
        """Wait until every message has its reply; return whether it has."""
        with self._changed:
            return self._changed.wait_for(lambda: self._n_waiting == 0, timeout=seconds)

    def replies(self) -> list[Reply]:
        """Return the replies since the last call."""
        with self._changed:
            found, self._replies = self._replies, []
        return found

    def close(self, seconds: float) -> None:
        """End the child: its input ends, and where that is not enough within `seconds`, it is killed."""
        with self._changed:
            self._is_closed = True
        self._queue.put(None)
        self._thread.join(timeout=seconds)
        if self._thread.is_alive():
            self._kill()
            self._thread.join(timeout=seconds)

    def _run(self) -> None:
        while (message := self._queue.get()) is not None:
            reply = self._asked(message)
            with self._changed:
                self._replies.append(reply)
                self._n_waiting -= 1
                self._changed.notify_all()
        if self._child is not None:
            _close_pipes(self._child)
            self._child.wait()

    def _asked(self, message: Mapping[str, Any]) -> Reply:
        if message["do"] == "study":
            self._study = message
        try:
            child = self._started(is_study=message["do"] == "study")
            answer = _answer(child, message)
        except (OSError, ValueError) as error:
            return Reply(message, error=str(error))
        return Reply(message, answer.get("error"), answer.get("note"))

    def _started(self, *, is_study: bool) -> subprocess.Popen[str]:
        if self._child is not None and self._child.poll() is None:
            return self._child
        with self._changed:
            if self._is_closed:
                raise OSError("the tracker is closed")
        if self._child is not None:
            _close_pipes(self._child)
        self._child = child = subprocess.Popen(
            [sys.executable, "-P", "-m", "moo.tracking._sender"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
            start_new_session=True,
            env=self._environment,
        )
        _tell(child, self._to)
        if self._study is not None and not is_study:
            _answer(child, self._study)  # where that failed, the child tries once more with the message
        return child

    def _kill(self) -> None:
        child = self._child
        if child is not None and child.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)  # with what its packages started


def _tell(child: subprocess.Popen[str], message: Mapping[str, Any]) -> None:
    assert child.stdin is not None
    child.stdin.write(json.dumps(message) + "\n")
    child.stdin.flush()


def _close_pipes(child: subprocess.Popen[str]) -> None:
    for pipe in (child.stdin, child.stdout):
        assert pipe is not None
        with contextlib.suppress(OSError):  # of one that died
            pipe.close()


def _answer(child: subprocess.Popen[str], message: Mapping[str, Any]) -> dict[str, Any]:
    """Return the child's answer.

    Raises:
        OSError: If it ended instead.
    """
    _tell(child, message)
    assert child.stdout is not None
    line = child.stdout.readline()
    if not line:
        raise OSError(f"the process that sends ended with status {child.wait()}")
    answer: dict[str, Any] = json.loads(line)
    return answer
