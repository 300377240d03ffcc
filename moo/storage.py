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
import weakref
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
import sqlalchemy.exc
from optuna.distributions import distribution_to_json
from optuna.exceptions import DuplicatedStudyError, StorageInternalError
from optuna.storages import BaseStorage, RDBStorage, get_storage
from optuna.trial import FrozenTrial, TrialState

from moo import damage
from moo.damage import undamaged
from moo.errors import InputError, StorageError, StudyMismatchError
from moo.evaluation import Evaluation
from moo.journal import JOURNAL_ENDINGS, open_journal
from moo.pairing import PAIRED
from moo.patience import PATIENCE_S, PatientStorage, said_by, sqlstate
from moo.problem import Problem
from moo.results import FinishedTrial, State
from moo.shapes import ANY, EACH, checked

__all__ = [
    "claim_folder",
    "distributions",
    "finished_trial",
    "first_line",
    "hide_password",
    "journal_file",
    "missing_driver",
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
_BEGINNING_S = 3.0  # for which another process may be between creating a study and saying what it is
_SQLITE_LOCK_S = 60.0  # that SQLite waits for another writer
_POSTGRESQL: Mapping[str, Any] = {
    "client_encoding": "utf8",
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}
"""Of libpq: a host that is gone without a word is noticed after 25 s, where TCP alone takes hours."""
_OPENING_ERRORS = (sqlalchemy.exc.SQLAlchemyError, StorageInternalError, RuntimeError, ValueError, OSError)
_CREATING_ERRORS = (
    sqlalchemy.exc.IntegrityError,
    sqlalchemy.exc.OperationalError,
    sqlalchemy.exc.ProgrammingError,
)
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


def open_storage(url: str, *, patience_s: float = PATIENCE_S) -> BaseStorage:
    """Return the storage behind a URL or of a journal file, made if it is new.

    It waits while the database is away or locked, and goes on where it was (`moo.patience`). Opening it does
    not wait: whoever typed a wrong host or password learns it at once.

    Args:
        url: As SQLAlchemy takes them, such as `sqlite:///digits.db` or `postgresql://ann@host/moo`; or the
            path of a journal file of Optuna, which ends in `.log`, `.journal` or `.jsonl`.
        patience_s: How long a call to the opened storage waits.

    Raises:
        StorageError: If it cannot be opened.
    """
    shown = hide_password(url)
    journal = journal_file(url)
    if "://" not in url and journal is None:
        example = f"sqlite:///{Path(url).name or 'study.db'}"
        raise StorageError(
            f"storage {shown!r}: expected a URL, such as '{example}', or the path of a journal file,"
            f" which ends in {', '.join(JOURNAL_ENDINGS)}"
        )
    if journal is not None:
        _check_file(shown, journal, b"{", "a journal of Optuna")
    sqlite = sqlite_file(url)
    if sqlite is not None:
        _check_file(shown, sqlite, b"SQLite format 3", "an SQLite database")
    try:
        storage = _connect(url) if journal is None else open_journal(journal)
    except ImportError as error:
        raise StorageError(
            f"storage {shown!r}: its driver is not installed: {missing_driver(url, error)}"
        ) from error
    except _OPENING_ERRORS as error:
        said, password = first_line(error), _password(url)
        said = said.replace(password, "***") if password else said
        raise StorageError(f"storage {shown!r} cannot be opened: {said}") from (None if password else error)
    return PatientStorage(storage, patience_s=patience_s)


def journal_file(storage: str) -> Path | None:
    """Return the path of a journal file, None for anything else.

    >>> journal_file("team/study.log"), journal_file("sqlite:///study.log")
    (PosixPath('team/study.log'), None)
    """
    path = Path(storage)
    return path if "://" not in storage and path.suffix.lower() in JOURNAL_ENDINGS else None


def _connect(url: str) -> BaseStorage:
    """Connect; again where another process was just creating the tables."""
    address = _address(url)
    text = address.render_as_string(hide_password=False).replace("{", "{{").replace("}", "}}")  # a template
    options = _engine_options(address)
    for pause_s in (0.5, 1.0, 2.0):
        try:
            return _closing(RDBStorage(text, options))
        except _CREATING_ERRORS as error:
            if address.get_backend_name() == "postgresql" and sqlstate(error) is None:
                raise  # nobody answered
        time.sleep(pause_s)
    return _closing(RDBStorage(text, options))


def _closing(database: RDBStorage) -> BaseStorage:
    """Return the storage with Optuna's cache; its connections are closed with it, but not by a fork of it."""
    storage, owner = get_storage(database), os.getpid()

    def close(engine: sqlalchemy.Engine) -> None:
        if os.getpid() == owner:
            engine.dispose()

    weakref.finalize(storage, close, database.engine)
    return storage


def _address(url: str) -> sqlalchemy.URL:
    """Return the parts of a URL; for PostgreSQL with the driver that is installed.

    Raises:
        ValueError: If it is none. The message says nothing of it: what cannot be parsed may be a password.
    """
    try:
        address = sqlalchemy.make_url(url)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        raise ValueError("expected a URL, such as postgresql://user@host/database") from None
    if address.drivername in ("postgres", "postgresql"):
        has_psycopg = find_spec("psycopg") is not None or find_spec("psycopg2") is None
        address = address.set(drivername=f"postgresql+psycopg{'' if has_psycopg else '2'}")
    return address


def _engine_options(address: sqlalchemy.URL) -> dict[str, Any]:
    """Return how SQLAlchemy is to connect; what the URL itself says counts."""
    backend, _, driver = address.drivername.partition("+")
    if backend == "sqlite":
        own: Mapping[str, Any] = {"timeout": _SQLITE_LOCK_S}
    elif driver in ("psycopg", "psycopg2"):
        own = _POSTGRESQL
    else:
        return {}
    arguments = {name: value for name, value in own.items() if name not in address.query}
    return {"connect_args": arguments, "pool_pre_ping": backend != "sqlite"}


def _password(url: str) -> str | None:
    try:
        return _address(url).password if "://" in url else None
    except ValueError:
        return None


def missing_driver(url: str, error: ImportError) -> str:
    """Return what to install for a database URL, as far as that is known; else what was missed."""
    if url.startswith("postgres"):
        return "install it with: pip install 'moo-deploy[postgresql]'"
    return first_line(error.__cause__ or error)


def sqlite_file(url: str) -> Path | None:
    """Return the file behind an SQLite URL, None for any other URL and for one in memory."""
    match = re.fullmatch(r"sqlite(?:\+\w+)?:///([^?]+)(?:\?.*)?", url)
    return None if match is None or match[1] == ":memory:" else Path(match[1])


def _check_file(shown: str, path: Path, begins: bytes, what: str) -> None:
    """Refuse what would be reported badly: a missing folder, or a file that is something else."""
    refused = f"storage {shown!r} cannot be opened"
    if path.exists() and not path.is_file():  # reading a pipe or device may never end
        got = "a folder" if path.is_dir() else "a pipe or device"
        raise StorageError(f"{refused}: {path} is {got}, expected a file")
    if not path.parent.is_dir():
        raise StorageError(f"{refused}: there is no folder {path.parent}; create it first")
    try:
        head = _head(path) if path.exists() else b""
    except OSError as error:
        raise StorageError(f"{refused}: {error.strerror}") from error
    if head and not head.startswith(begins):
        raise StorageError(f"{refused}: {path} is not {what}")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise StorageError(f"{refused}: {path} cannot be written")


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(16)


def first_line(error: BaseException) -> str:
    """Return the first line of what went wrong, without any password; of a database what itself said."""
    lines = hide_password(said_by(error)).strip().splitlines()
    if not lines:
        return type(error).__name__
    return " ".join(line.strip(" -") for line in lines[: 2 if lines[0].endswith(":") else 1])


def stored_record(storage: BaseStorage, name: str) -> dict[str, Any] | None:
    """Return what a study was begun with, None where there is no such study.

    Raises:
        StudyMismatchError: For a study that this project did not begin, or a newer format.
        StorageError: For one that is damaged.
    """
    try:
        study_id = storage.get_study_id_from_name(name)
    except KeyError:
        return None
    with undamaged(name):
        record = storage.get_study_user_attrs(study_id).get(STUDY)
        if record is None and not storage.get_all_trials(study_id, deepcopy=False):
            return None  # its creation was cut off before anything was in it
    if record is None:
        raise StudyMismatchError(f"study {name!r} was not begun by moo: choose another study name")
    with undamaged(name):
        if checked(record, {"schema": ANY}, STUDY)["schema"] != SCHEMA:
            raise StudyMismatchError(
                f"study {name!r} has the format {record['schema']!r}, expected {SCHEMA!r}:"
                " choose another study name"
            )
        checked(record, damage.RECORD, STUDY)
        Problem.from_json(record["problem"])
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
    if begun is None:
        claim_folder(folder, name)
        begun = _created(storage, name, problem)
    if begun is not None:
        _refuse_damaged(storage, name)
        _refuse_other(name, begun, problem, task, folder)
        _refuse_other_machine(name, storage, setting)
    claim_folder(folder, name)
    study = optuna.load_study(study_name=name, storage=storage, sampler=sampler)
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


def _created(storage: BaseStorage, name: str, problem: Problem) -> dict[str, Any] | None:
    """Create a study, and return None; where it is there already, what another process begins it with.

    Of two processes that begin in the same instant one creates it; the other waits until the first has said
    what the study is. A study of which nobody says it was cut off in its creation, and is taken over.
    """
    try:
        optuna.create_study(study_name=name, storage=storage, directions=problem.directions)
    except DuplicatedStudyError:
        until = time.monotonic() + _BEGINNING_S
        begun = stored_record(storage, name)
        while begun is None and time.monotonic() < until:
            time.sleep(0.1)
            begun = stored_record(storage, name)
        return begun
    return None


def claim_folder(folder: Path, name: str) -> None:
    """Make a study's folder, and refuse one that holds another study's files.

    Raises:
        InputError: If it belongs to another study or cannot be written.
    """
    marker = folder / _MARKER
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if marker.exists() and not marker.is_file():
            raise InputError(f"folder: {marker} is no file: choose another folder for {name!r}")
        owner = marker.read_text(encoding="utf-8", errors="replace").strip() if marker.exists() else name
        if not marker.exists():  # whole or not at all: another process may read it now
            temporary = marker.with_name(f"{_MARKER}.{os.getpid()}")
            temporary.write_text(name + "\n", encoding="utf-8")
            temporary.replace(marker)
    except OSError as error:
        raise InputError(f"folder: {folder} cannot be written: {error.strerror}") from error
    if owner != name:
        raise InputError(f"folder: {folder} holds the study {owner!r}: choose another folder for {name!r}")


def _refuse_damaged(storage: BaseStorage, name: str) -> None:
    """Refuse a study of which something that a sweep goes on from is not as it was written."""
    study_id = storage.get_study_id_from_name(name)
    with undamaged(name):
        checked(storage.get_study_user_attrs(study_id).get(SETTING, {}), damage.SETTING, SETTING)
        for trial in storage.get_all_trials(study_id, deepcopy=False):
            attrs = trial.user_attrs
            checked(attrs, damage.TRIAL, f"trial {trial.number}")
            if not trial.state.is_finished() and attrs.get(EVALUATION) is not None:
                Evaluation.from_json(attrs[EVALUATION])


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
    """Return a stored trial as a row of the results.

    Raises:
        ValueError: If what is stored is not as it was written.
    """
    attrs = trial.user_attrs
    name = EVALUATION if trial.state != TrialState.PRUNED else PARTIAL
    try:
        checked(attrs, damage.TRIAL)
        checked(trial.constraints, {EACH: float}, "constraints")
        record = attrs.get(name)
        evaluation = None if record is None else Evaluation.from_json(record)
    except ValueError as error:
        raise ValueError(f"trial {trial.number}, {error}") from error
    failure = attrs.get(FAILURE) or {}
    return FinishedTrial(
        number=trial.number,
        state=_STATES[trial.state],
        params=trial.params,
        evaluation=evaluation,
        violations=trial.constraints,
        stage=failure.get("stage"),
        reason=failure.get("reason"),
        is_baseline=bool(attrs.get(BASELINE)),
        parent=attrs.get(PARENT),
        paired=attrs.get(PAIRED) or {},
        duration_s=attrs.get(DURATION),
    )
