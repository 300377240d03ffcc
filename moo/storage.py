"""Open, create or resume a study; refuse one that was begun with something else, and say what.

What this project keeps beside Optuna's own records, all in user attributes:

- study `moo:study`: the problem, the task's identity, the seed, the folder (`moo.study/1`)
- study `moo:setting`: the machine and the protocol, as plain JSON; `moo:confirmation` (`moo.confirm/1`) and
  `moo:test_opened`, what `moo confirm` found and when it opened the test data
- trial `moo:evaluation` (`moo.evaluation/1`); `moo:partial`, the same of one that ended early; `moo:parent`,
  the number of the trial whose trained model it deploys otherwise; `moo:variant`, `moo:variant-0`, .. while
  further deployments are not trials yet; `moo:failure`, `moo:duration_s`, `moo:baseline`; `moo:rungs` and
  `moo:stopped_at` of pruners; `moo:noise` for samplers; and what `moo.workers` keeps: which process runs it,
  and how often it was begun

The problem and the task are compared on resume, so that one study never mixes two questions.
"""

from __future__ import annotations

import json
import os
import re
import time
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy.exc
from optuna.distributions import distribution_to_json
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from moo.errors import InputError, StorageError, StudyMismatchError
from moo.evaluation import Evaluation
from moo.problem import Problem
from moo.results import FinishedTrial, State

__all__ = [
    "claim_folder",
    "distributions",
    "finished_trial",
    "first_line",
    "hide_password",
    "open_storage",
    "open_study",
    "sqlite_file",
    "stored_record",
]

SCHEMA = "moo.study/1"
STUDY = "moo:study"
SETTING = "moo:setting"
EVALUATION = "moo:evaluation"
PARTIAL = "moo:partial"
PARENT = "moo:parent"
FAILURE = "moo:failure"
DURATION = "moo:duration_s"
BASELINE = "moo:baseline"

_MARKER = ".moo-study"
_STATES: Mapping[TrialState, State] = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}


def hide_password(url: str) -> str:
    """Return a storage URL, or a text that holds one, without its password.

    All from the colon behind the user's name to the last `@` is taken for the password, since one may hold
    `@`, `:` and `/` as they are; so are options called `password`, `passwd`, `pwd` and the like. More than
    the password may be hidden, never less. A URL whose colon or slash was forgotten counts too.

    >>> hide_password("postgresql://ann:secret@db/moo")
    'postgresql://ann:***@db/moo'
    >>> hide_password("postgresql://ann:p@ss:w/rd@db/moo"), hide_password("mysql://db/moo?passwd=a&x=1")
    ('postgresql://ann:***@db/moo', 'mysql://db/moo?passwd=***&x=1')
    """
    shown = re.sub(r"((?::/+|//)[^:/]*):.*@", r"\1:***@", url, flags=re.DOTALL)
    option = r"((?:pass\w*|pwd)(?:=|%3D))(?:(?!%3B)[^&;\s'\"])*"
    return re.sub(option, r"\1***", shown, flags=re.IGNORECASE)


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
        return _connect(url)
    except ImportError as error:
        raise StorageError(f"storage {shown!r}: its driver is not installed: {error}") from error
    except (sqlalchemy.exc.SQLAlchemyError, RuntimeError, ValueError, OSError) as error:
        raise StorageError(f"storage {shown!r} cannot be opened: {first_line(error)}") from error


def _connect(url: str) -> BaseStorage:
    """Connect; once more where another process was just creating the tables."""
    try:
        return optuna.storages.get_storage(url)
    except (sqlalchemy.exc.IntegrityError, sqlalchemy.exc.OperationalError):
        time.sleep(1.0)
        return optuna.storages.get_storage(url)


def sqlite_file(url: str) -> Path | None:
    """Return the file behind an SQLite URL, None for any other URL and for one in memory."""
    match = re.fullmatch(r"sqlite(?:\+\w+)?:///([^?]+)(?:\?.*)?", url)
    return None if match is None or match[1] == ":memory:" else Path(match[1])


def _check_sqlite_file(url: str) -> None:
    """Refuse what SQLite would report badly: a missing folder, or a file that is no database."""
    path = sqlite_file(url)
    if path is None:
        return
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


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, without any password."""
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
    if record is None and not storage.get_all_trials(study_id, deepcopy=False):
        return None  # its creation was cut off before anything was in it
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
    claim_folder(folder, name)
    study = optuna.create_study(
        study_name=name, storage=storage, directions=problem.directions, sampler=sampler, load_if_exists=True
    )
    if [direction.name.lower() for direction in study.directions] != problem.directions:
        raise StudyMismatchError(f"study {name!r} was not begun by moo: choose another study name")
    if begun is None:
        with warnings.catch_warnings():  # the names are for dashboards; the call is marked experimental
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names([objective.metric.name for objective in problem.objectives])
        study.set_user_attr(SETTING, dict(setting))
        begun = {"schema": SCHEMA, "problem": problem.to_json(), "task": dict(task), "seed": seed}
    if begun.get("folder") != str(folder):
        study.set_user_attr(STUDY, {**begun, "folder": str(folder)})
    return study


def claim_folder(folder: Path, name: str) -> None:
    """Make a study's folder, and refuse one that holds another study's files.

    Raises:
        InputError: If it belongs to another study or cannot be written.
    """
    marker = folder / _MARKER
    try:
        folder.mkdir(parents=True, exist_ok=True)
        owner = marker.read_text(encoding="utf-8").strip() if marker.exists() else name
        if owner == name:
            marker.write_text(name + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"folder: {folder} cannot be written: {error.strerror}") from error
    if owner != name:
        raise InputError(f"folder: {folder} holds the study {owner!r}: choose another folder for {name!r}")


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
    if before != folder and before.is_dir():
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


def distributions(trials: Iterable[FrozenTrial]) -> dict[str, Any]:
    """Return from where each parameter was drawn, as plain JSON; of several distributions, the last."""
    known = {name: found for trial in trials for name, found in trial.distributions.items()}
    return {name: json.loads(distribution_to_json(found)) for name, found in known.items()}


def finished_trial(trial: FrozenTrial) -> FinishedTrial:
    """Return a stored trial as a row of the results."""
    attrs = trial.user_attrs
    record = attrs.get(EVALUATION if trial.state != TrialState.PRUNED else PARTIAL)
    failure = attrs.get(FAILURE) or {}
    return FinishedTrial(
        number=trial.number,
        state=_STATES[trial.state],
        params=trial.params,
        evaluation=None if record is None else Evaluation.from_json(record),
        violations=trial.constraints,
        stage=failure.get("stage"),
        reason=failure.get("reason"),
        is_baseline=bool(attrs.get(BASELINE)),
        parent=attrs.get(PARENT),
        duration_s=attrs.get(DURATION),
    )
