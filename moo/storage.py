"""Open, create or resume a study; refuse one that was begun with something else, and say what.

What this project keeps beside Optuna's own records, all in user attributes:

- study `moo:study`: the problem, the task's identity, the seed, the folder (`moo.study/1`)
- study `moo:setting`: the machine and the protocol, as plain JSON
- trial `moo:worker`: which process runs it, `moo:attempts`: how often it was begun
- trial `moo:evaluation` (`moo.evaluation/1`), `moo:failure`, `moo:duration_s`, `moo:baseline`

The problem and the task are compared on resume, so that one study never mixes two questions.
"""

from __future__ import annotations

import os
import re
import socket
import warnings
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
import psutil
import sqlalchemy.exc
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from moo.errors import StorageError, StudyMismatchError
from moo.problem import Problem

__all__ = ["hide_password", "open_storage", "open_study", "release_stale_trials", "worker_identity"]

SCHEMA = "moo.study/1"
STUDY = "moo:study"
SETTING = "moo:setting"
WORKER = "moo:worker"
ATTEMPTS = "moo:attempts"
EVALUATION = "moo:evaluation"
FAILURE = "moo:failure"
DURATION = "moo:duration_s"
BASELINE = "moo:baseline"

MAX_ATTEMPTS = 2
_OWNERLESS_GRACE = timedelta(seconds=5)


def hide_password(url: str) -> str:
    """Return a storage URL without its password.

    >>> hide_password("postgresql://ann:secret@db/moo")
    'postgresql://ann:***@db/moo'
    """
    return re.sub(r"(://[^:/@]*):[^@]*@", r"\1:***@", url)


def open_storage(url: str) -> BaseStorage:
    """Return the storage behind a URL, its tables created if it is new.

    Args:
        url: As SQLAlchemy takes them, such as `sqlite:///digits.db`.

    Raises:
        StorageError: If it cannot be opened.
    """
    shown = hide_password(url)
    if "://" not in url:
        example = f"sqlite:///{Path(url).name or 'study.db'}"
        raise StorageError(f"storage {shown!r}: expected a URL, such as '{example}'")
    _check_sqlite_file(url)
    try:
        return optuna.storages.get_storage(url)
    except ImportError as error:
        raise StorageError(f"storage {shown!r}: its driver is not installed: {error}") from error
    except (sqlalchemy.exc.SQLAlchemyError, RuntimeError, ValueError, OSError) as error:
        raise StorageError(f"storage {shown!r} cannot be opened: {_first_line(error)}") from error


def _check_sqlite_file(url: str) -> None:
    """Refuse what SQLite would report badly: a missing folder, or a file that is no database."""
    match = re.fullmatch(r"sqlite(?:\+\w+)?:///([^?]+)(?:\?.*)?", url)
    if match is None or match[1] == ":memory:":
        return
    path = Path(match[1])
    if path.is_dir():
        raise StorageError(f"storage {url!r} cannot be opened: {path} is a folder, expected a file")
    if not path.parent.is_dir():
        raise StorageError(
            f"storage {url!r} cannot be opened: there is no folder {path.parent}; create it first"
        )
    try:
        head = path.read_bytes()[:16] if path.exists() else b""
    except OSError as error:
        raise StorageError(f"storage {url!r} cannot be opened: {error.strerror}") from error
    if head and not head.startswith(b"SQLite format 3"):
        raise StorageError(f"storage {url!r} cannot be opened: {path} is not an SQLite database")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise StorageError(f"storage {url!r} cannot be opened: {path} cannot be written")


def _first_line(error: BaseException) -> str:
    text = hide_password(str(error)).strip()
    return text.splitlines()[0] if text else type(error).__name__


def stored_record(storage: BaseStorage, name: str) -> dict[str, Any] | None:
    """Return what a study was begun with, None where there is no such study.

    Raises:
        StudyMismatchError: For a study that this project did not begin, or a newer format.
    """
    try:
        study_id = storage.get_study_id_from_name(name)
    except KeyError:
        return None
    record = storage.get_study_user_attrs(study_id).get(STUDY)
    if record is None:
        raise StudyMismatchError(f"study {name!r} was not begun by moo: choose another study name")
    if record.get("schema") != SCHEMA:
        raise StudyMismatchError(
            f"study {name!r} has the format {record.get('schema')!r}, expected {SCHEMA!r}:"
            " choose another study name"
        )
    return dict(record)


def open_study(
    storage: BaseStorage,
    name: str,
    problem: Problem,
    *,
    task: Mapping[str, str],
    setting: Mapping[str, Any],
    seed: int,
    folder: Path,
    sampler: optuna.samplers.BaseSampler,
) -> optuna.Study:
    """Create the study, or resume it if it was begun with the same problem, task and machine.

    Args:
        storage: Where it lives.
        name: The study's name.
        problem: Objectives and constraints.
        task: The task's identity: a name or digest for each part that matters.
        setting: The machine and the protocol; `machine` in it must not change on resume.
        seed: Stored when the study is created.
        folder: Where the trials' files go.
        sampler: Passed to Optuna.

    Raises:
        StudyMismatchError: If it was begun with something else; the message names the difference.
    """
    begun = stored_record(storage, name)
    if begun is not None:
        _refuse_other(name, begun, problem, task, folder)
        _refuse_other_machine(name, storage, setting)
        return optuna.load_study(study_name=name, storage=storage, sampler=sampler)
    study = optuna.create_study(
        study_name=name, storage=storage, directions=problem.directions, sampler=sampler
    )
    with warnings.catch_warnings():  # the names are for dashboards; the call is marked experimental
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.set_metric_names([objective.metric.name for objective in problem.objectives])
    study.set_user_attr(SETTING, dict(setting))
    record = {"problem": problem.to_json(), "task": dict(task), "seed": seed, "folder": str(folder)}
    study.set_user_attr(STUDY, {"schema": SCHEMA, **record})
    return study


def _refuse_other(
    name: str, begun: Mapping[str, Any], problem: Problem, task: Mapping[str, str], folder: Path
) -> None:
    now = problem.to_json()
    differences = [
        *_list_difference("objectives", begun["problem"]["objectives"], now["objectives"]),
        *_list_difference("constraints", begun["problem"]["constraints"], now["constraints"]),
        *_task_difference(begun["task"], task),
    ]
    if differences:
        raise StudyMismatchError(
            f"study {name!r} was begun with another problem or task: {'; '.join(differences)}."
            " Use the same again, or another study name"
        )
    before = Path(begun["folder"])
    if before.resolve() != folder.resolve() and before.is_dir():
        raise StudyMismatchError(
            f"study {name!r} keeps its files in {before}, got {folder}: use the same folder again"
        )


def _list_difference(what: str, begun: list[str], now: list[str]) -> list[str]:
    if sorted(begun) == sorted(now) and (what == "constraints" or begun == now):
        return []
    return [f"{what} were [{', '.join(begun)}], now [{', '.join(now)}]"]


def _task_difference(begun: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    if begun.get("name") != now.get("name"):
        return [f"the task was {begun.get('name')}, now {now.get('name')}"]
    parts = [part for part in {**begun, **now} if begun.get(part) != now.get(part)]
    return [f"the task {now.get('name')} changed in: {', '.join(parts)}"] if parts else []


def _refuse_other_machine(name: str, storage: BaseStorage, setting: Mapping[str, Any]) -> None:
    attrs = storage.get_study_user_attrs(storage.get_study_id_from_name(name))
    begun, now = attrs.get(SETTING, {}).get("machine") or {}, setting.get("machine") or {}
    parts = [f"{key} was {begun[key]}, now {now.get(key)}" for key in begun if begun[key] != now.get(key)]
    if parts:
        raise StudyMismatchError(
            f"study {name!r} was measured on another machine: {'; '.join(parts)}."
            " Measurements of two machines make no one front: use another study name"
        )


def worker_identity() -> dict[str, Any]:
    """Return what tells this process from any other: host, boot, process number and start time."""
    process = psutil.Process()
    return {
        "host": socket.gethostname(),
        "boot": _boot_id(),
        "pid": process.pid,
        "started": process.create_time(),
    }


def _boot_id() -> str | None:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None


def _is_gone(worker: Mapping[str, Any]) -> bool:
    """Return whether a worker of this host has ended; one of another host is taken to live."""
    here = worker_identity()
    if worker["host"] != here["host"]:
        return False
    if worker["boot"] != here["boot"]:
        return True
    try:
        return bool(abs(psutil.Process(worker["pid"]).create_time() - worker["started"]) > 1.0)
    except psutil.NoSuchProcess:
        return True
    except psutil.AccessDenied:
        return False


def release_stale_trials(storage: BaseStorage, name: str) -> list[int]:
    """Put the trials of ended processes back in the queue and return their numbers.

    Such a trial keeps its number and configuration and is run again, so nothing is doubled. One
    that was begun `MAX_ATTEMPTS` times already is stored as failed: it kills its process.
    """
    study_id = storage.get_study_id_from_name(name)
    released = []
    for trial in storage.get_all_trials(study_id, deepcopy=False, states=(TrialState.RUNNING,)):
        if not _is_stale(trial):
            continue
        trial_id = storage.get_trial_id_from_study_id_trial_number(study_id, trial.number)
        if trial.user_attrs.get(ATTEMPTS, 1) >= MAX_ATTEMPTS:
            reason = f"its process ended {MAX_ATTEMPTS} times without a word (killed, or out of memory)"
            storage.set_trial_user_attr(trial_id, FAILURE, {"stage": "process", "reason": reason})
            storage.set_trial_state_values(trial_id, TrialState.FAIL)
        else:
            storage.set_trial_state_values(trial_id, TrialState.WAITING)
            released.append(trial.number)
    return released


def _is_stale(trial: FrozenTrial) -> bool:
    worker = trial.user_attrs.get(WORKER)
    if worker is not None:
        return _is_gone(worker)
    # no worker yet: its process was killed between asking and signing, or is just about to sign
    begun = trial.datetime_start
    return begun is None or datetime.now(begun.tzinfo) - begun > _OWNERLESS_GRACE
