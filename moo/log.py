"""The study's log: one JSON object a line, in the study's folder, from all processes that work on it.

Each line has `time` (UTC), `level`, `event`, `pid`, its `trial` where it belongs to one, and its own facts:

| event | facts |
|---|---|
| `study_begun` | `study`, `n_trials`, `n_finished`, `seed`, and what else was chosen: `sampler`, .. |
| `worker_started`, `worker_ended` | `worker`, `process`; at its end `status` and `why` |
| `trial_begun` | `is_baseline`, `attempt` |
| `stage` | `name`, `seconds`; those of a tenth of a second or more |
| `measurement_waited`, `work_waited` | `seconds`, as `moo.quiet` says |
| `trial_finished` | `values`, `violations`, `seconds`, `n_variants` |
| `trial_failed`, `trial_pruned` | `stage`, `reason` |
| `warning` | `message` |
| `study_ended` | `n_finished`, `why` |
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

__all__ = ["EVENTS", "LOG", "LogTail", "StudyLog", "log_line", "say_again"]

LOG = "log.jsonl"
EVENTS = frozenset(
    {
        "measurement_waited",
        "stage",
        "study_begun",
        "study_ended",
        "trial_begun",
        "trial_failed",
        "trial_finished",
        "trial_pruned",
        "warning",
        "work_waited",
        "worker_ended",
        "worker_started",
    }
)

_log = logging.getLogger("moo")
_IS_LOGGED = "is_in_study_log"
_ORDER = ("time", "level", "event", "pid", "trial")


class StudyLog:
    """Appends events to the log, each in one write, so that processes may share it.

    Nothing that keeps it from writing stops anybody: on a full disk or in a folder that cannot be written
    events are lost. Each is also a record of level DEBUG of the logger `moo`, as a person reads it.

    Args:
        folder: The study's; the file is made with the first event.
        now: The time, with its zone.
    """

    def __init__(self, folder: Path, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._path = folder / LOG
        self._now = now
        self._is_torn = False  # the last line went in only in part

    def write(self, event: str, *, trial: int | None = None, level: str = "info", **facts: Any) -> None:
        """Append an event; passwords of storage URLs are left out, numbers that are not finite are null."""
        record = self._record(event, trial, level, facts)
        self._append(record)
        _log.debug("%s", log_line(record), extra={_IS_LOGGED: True})

    def warn(self, message: str) -> None:
        """Append a warning that the logger has already said."""
        self._append(self._record("warning", None, "warning", {"message": message}))

    @contextlib.contextmanager
    def with_warnings(self) -> Iterator[None]:
        """Append what the logger `moo` warns of meanwhile."""
        handler = _WarningHandler(self)
        _log.addHandler(handler)
        try:
            yield
        finally:
            _log.removeHandler(handler)

    def _record(self, event: str, trial: int | None, level: str, facts: Mapping[str, Any]) -> dict[str, Any]:
        assert event in EVENTS, event
        time = self._now().astimezone(UTC).isoformat(timespec="milliseconds")
        head = {"time": time, "level": level, "event": event, "pid": os.getpid()}
        return {**head, **({} if trial is None else {"trial": trial}), **_plain(facts)}

    def _append(self, record: Mapping[str, Any]) -> None:
        text = json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n"
        data = (b"\n" if self._is_torn else b"") + text.encode(errors="replace")
        with contextlib.suppress(OSError):
            file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
            try:
                self._is_torn = os.write(file, data) < len(data)
            finally:
                os.close(file)


class LogTail:
    """Reads what is appended to a study's log from now on.

    Args:
        folder: The study's.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / LOG
        self._at = self._path.stat().st_size if self._path.exists() else 0

    def new(self) -> list[dict[str, Any]]:
        """Return the events since the last call; lines that are not whole, or no events, are left out."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._at)
                data = file.read()
        except OSError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self._at += len(whole)
        found = []
        for line in whole.splitlines():
            with contextlib.suppress(ValueError):
                record = json.loads(line)
                if isinstance(record, dict) and record.get("event") in EVENTS:
                    found.append(record)
        return found


def say_again(record: Mapping[str, Any]) -> None:
    """Say another process's event in this process's logger, as it would have been said here."""
    if record["event"] == "warning":
        _log.warning("%s", record.get("message"), extra={_IS_LOGGED: True})
    else:
        _log.debug("%s", log_line(record), extra={_IS_LOGGED: True})


def log_line(record: Mapping[str, Any]) -> str:
    """Return an event as a person reads it, its time as the day's here.

    >>> line = log_line({"time": "2026-01-01T10:00:00.000+00:00", "level": "info", "event": "stage", "pid": 9,
    ...                  "trial": 3, "name": "fit", "seconds": 2.5})
    >>> line.split(" ", 1)[1]
    '[9] trial 3, stage: name fit, seconds 2.5'
    """
    time = datetime.fromisoformat(record["time"]).astimezone().strftime("%H:%M:%S")
    where = f"trial {record['trial']}, " if "trial" in record else ""
    event = str(record["event"]).removeprefix("trial_" if where else "").replace("_", " ")
    facts = [
        f"{name} {text}"
        for name, value in record.items()
        if name not in _ORDER and (text := _shown(value)) != ""
    ]
    return f"{time} [{record['pid']}] {where}{event}{': ' if facts else ''}{', '.join(facts)}"


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return f"({', '.join(f'{name} {_shown(one)}' for name, one in value.items())})" if value else ""
    if isinstance(value, list):
        return f"({', '.join(map(_shown, value))})" if value else ""
    return "" if value is None or value is False else str(value)


class _WarningHandler(logging.Handler):
    """Puts what is said with a warning's weight into the log, but for what is in it already."""

    def __init__(self, log: StudyLog) -> None:
        super().__init__(logging.WARNING)
        self._study_log = log

    def emit(self, record: logging.LogRecord) -> None:
        if not getattr(record, _IS_LOGGED, False):
            self._study_log.warn(record.getMessage())


def _plain(value: Any) -> Any:
    """Return a value as JSON has it, passwords of URLs left out."""
    from moo.storage import hide_password  # which takes Optuna, and is there by now

    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return [_plain(one) for one in value]
    return hide_password(str(value))
