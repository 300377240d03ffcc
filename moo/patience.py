"""A storage that waits while its database is away, so that a restart of it costs time and not the sweep."""

# ruff: noqa: D102  (what each method does, Optuna's interface says)

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Container, Iterator, Sequence
from typing import Any, TypeVar

import sqlalchemy.exc
from optuna.distributions import BaseDistribution
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

__all__ = ["PatientStorage", "hurried", "is_passing", "said_by", "sqlstate"]

_log = logging.getLogger("moo")

PATIENCE_S = 120.0
_HURRY_S = 5.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0
_SILENT_FAILURES = 3  # a lock or a dropped connection is mostly gone by then: nothing to tell a person

_SQLITE = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_PROTOCOL", "SQLITE_CANTOPEN", "SQLITE_IOERR")
_SQLSTATES = ("08", "40001", "40P01", "53300", "55P03", "57P0")
"""Of PostgreSQL: connection, serialization, deadlock, too many connections, lock, shut down or starting."""
_MYSQL = frozenset({1040, 1053, 1205, 1213, 2002, 2003, 2006, 2013})
_ERRNOS = frozenset(
    getattr(errno, name)
    for name in ("EAGAIN", "EBUSY", "EHOSTDOWN", "EHOSTUNREACH", "EIO", "ENOENT", "ESTALE", "ETIMEDOUT")
)
"""Of a journal on a file system that is away, or not mounted again yet."""

Found = TypeVar("Found")


def said_by(error: BaseException) -> str:
    """Return what the database itself said, without the statement; else the error's own text.

    Optuna wraps a database's errors in one whose text says nothing of them.

    >>> said_by(sqlalchemy.exc.OperationalError("SELECT 1", {}, sqlite3.OperationalError("disk is full")))
    'disk is full'
    """
    inner = _inner(error)
    return str(inner.orig) if isinstance(inner, sqlalchemy.exc.DBAPIError) else str(inner)


def is_passing(error: BaseException) -> bool:
    """Return whether a storage's error may pass by itself: it is away, busy or locked, not full or wrong.

    >>> is_passing(FileNotFoundError(errno.ENOENT, "gone")), is_passing(OSError(errno.ENOSPC, "full"))
    (True, False)
    """
    inner = _inner(error)
    if isinstance(inner, (sqlalchemy.exc.PendingRollbackError, sqlalchemy.exc.TimeoutError)):
        return True  # what Optuna does next in a session whose connection was lost; no free connection
    if isinstance(inner, sqlalchemy.exc.DBAPIError):
        return _is_passing_answer(inner)
    return isinstance(inner, OSError) and inner.errno in _ERRNOS


def _is_passing_answer(error: sqlalchemy.exc.DBAPIError) -> bool:
    said = error.orig
    if isinstance(said, sqlite3.Error):
        return str(getattr(said, "sqlite_errorname", "")).startswith(_SQLITE)
    state = sqlstate(error)
    if state is not None:
        return state.startswith(_SQLSTATES)
    code = next(iter(said.args), None) if said is not None else None
    if isinstance(code, int):
        return code in _MYSQL
    unanswered = (sqlalchemy.exc.OperationalError, sqlalchemy.exc.InterfaceError)
    return error.connection_invalidated or isinstance(error, unanswered)


def sqlstate(error: sqlalchemy.exc.DBAPIError) -> str | None:
    """Return the code of an answer of PostgreSQL; None where no database answered, and of other databases."""
    return getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)


def _inner(error: BaseException) -> BaseException:
    """Return what Optuna's own error was raised from; any other error as it is."""
    cause = error.__cause__
    return cause if isinstance(error, StorageInternalError) and cause is not None else error


class PatientStorage(BaseStorage):
    """Another storage, each call to it made again with growing pauses while it is away.

    What a database rolled back is done again as a whole. Where it committed and only its answer was lost, a
    call is made twice: attributes, parameters and the end of a trial come out the same, but a trial may be
    created twice; one of the two is then in the queue, or taken for a lost process's trial later.

    A process that was forked off is refused: two processes that talk over one connection garble both.

    Args:
        storage: Where things are kept.
        patience_s: How long a call waits. When it was in vain, later calls are made once each, until one
            succeeds: ending a sweep does not wait again.
        clock: Seconds from any origin.
        sleep: Waits for some seconds.

    Attributes:
        begun: The trial that was last begun by this object; whoever asks for one may forget it before.
    """

    def __init__(
        self,
        storage: BaseStorage,
        *,
        patience_s: float = PATIENCE_S,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._storage = storage
        self._patience_s = patience_s
        self._clock = clock
        self._sleep = sleep
        self._pid = os.getpid()
        self._is_given_up = False
        self.begun: int | None = None

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._pid = os.getpid()  # it was sent to another process, which opens its own connections

    @contextlib.contextmanager
    def hurried(self, patience_s: float) -> Iterator[None]:
        """Wait no longer than this meanwhile."""
        before, self._patience_s = self._patience_s, min(self._patience_s, patience_s)
        try:
            yield
        finally:
            self._patience_s = before

    def _patiently(self, call: Callable[[], Found]) -> Found:
        if os.getpid() != self._pid:
            raise StorageInternalError(
                f"the storage was opened by process {self._pid}, of which {os.getpid()} is a fork:"
                " open it again in the new process"
            )
        n_failures, begun_s, pause_s = 0, 0.0, _FIRST_PAUSE_S
        while True:
            try:
                found = call()
            except (OSError, StorageInternalError, sqlalchemy.exc.SQLAlchemyError) as error:
                if not is_passing(error):
                    raise
                n_failures += 1
                begun_s = begun_s if n_failures > 1 else self._clock()
                self._refuse_to_wait(self._clock() - begun_s + pause_s, error)
                if n_failures == _SILENT_FAILURES:
                    _log.warning(
                        "the storage does not answer (%s): waiting for it, %.0f s at most",
                        _one_line(said_by(error)),
                        self._patience_s,
                    )
            else:
                if n_failures >= _SILENT_FAILURES:
                    _log.warning("the storage answers again after %.0f s", self._clock() - begun_s)
                self._is_given_up = False
                return found
            self._sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _refuse_to_wait(self, waited_s: float, error: BaseException) -> None:
        if self._is_given_up or waited_s > self._patience_s:
            self._is_given_up = True
            raise StorageInternalError(
                f"the storage has not answered for {self._patience_s:.0f} s: {_one_line(said_by(error))}"
            ) from None  # the cause is told; two errors of which one wraps the other help nobody

    # studies

    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        return self._patiently(lambda: self._storage.create_new_study(directions, study_name))

    def delete_study(self, study_id: int) -> None:
        self._patiently(lambda: self._storage.delete_study(study_id))

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        self._patiently(lambda: self._storage.set_study_user_attr(study_id, key, value))

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        self._patiently(lambda: self._storage.set_study_system_attr(study_id, key, value))

    def get_study_id_from_name(self, study_name: str) -> int:
        return self._patiently(lambda: self._storage.get_study_id_from_name(study_name))

    def get_study_name_from_id(self, study_id: int) -> str:
        return self._patiently(lambda: self._storage.get_study_name_from_id(study_id))

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        return self._patiently(lambda: self._storage.get_study_directions(study_id))

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        return self._patiently(lambda: self._storage.get_study_user_attrs(study_id))

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        return self._patiently(lambda: self._storage.get_study_system_attrs(study_id))

    def get_all_studies(self) -> list[Any]:
        return self._patiently(self._storage.get_all_studies)

    # trials

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        trial_id = self._patiently(lambda: self._storage.create_new_trial(study_id, template_trial))
        if template_trial is None:
            self.begun = trial_id
        return trial_id

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        self._patiently(
            lambda: self._storage.set_trial_param(trial_id, param_name, param_value_internal, distribution)
        )

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        return self._patiently(
            lambda: self._storage.get_trial_id_from_study_id_trial_number(study_id, trial_number)
        )

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        attempts: list[None] = []

        def told() -> bool:
            attempts.append(None)
            try:
                return self._storage.set_trial_state_values(trial_id, state, values)
            except UpdateFinishedTrialError:
                trial = self._storage.get_trial(trial_id)
                if len(attempts) > 1 and trial.state == state and (trial.values or []) == list(values or []):
                    return True  # the first attempt did it, and its answer was lost
                raise

        is_set = self._patiently(told)
        if state == TrialState.RUNNING and is_set:
            self.begun = trial_id
        return is_set

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        self._patiently(
            lambda: self._storage.set_trial_intermediate_value(trial_id, step, intermediate_value)
        )

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._patiently(lambda: self._storage.set_trial_user_attr(trial_id, key, value))

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._patiently(lambda: self._storage.set_trial_system_attr(trial_id, key, value))

    def get_trial(self, trial_id: int) -> FrozenTrial:
        return self._patiently(lambda: self._storage.get_trial(trial_id))

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,  # noqa: FBT001, FBT002  (Optuna's interface)
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        return self._patiently(lambda: self._storage.get_all_trials(study_id, deepcopy, states))

    def get_best_trial(self, study_id: int) -> FrozenTrial:
        return self._patiently(lambda: self._storage.get_best_trial(study_id))

    def remove_session(self) -> None:
        self._storage.remove_session()


def hurried(storage: BaseStorage, patience_s: float = _HURRY_S) -> contextlib.AbstractContextManager[None]:
    """Have a storage, if it is a patient one, wait no longer than this: for what is done on the way out."""
    return storage.hurried(patience_s) if isinstance(storage, PatientStorage) else contextlib.nullcontext()


def _one_line(text: str) -> str:
    return " ".join(text.split())
