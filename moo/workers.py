"""Which process runs a trial, and what becomes of the trial when that process ends.

Kept in a trial's user attributes: `moo:worker`, who runs it; `moo:attempts`, how often it was begun;
`moo:given_up_by`, who stored it as failed after the last attempt.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from moo.quiet import boot_id
from moo.storage import EVALUATION, FAILURE

__all__ = [
    "hand_back",
    "hand_back_of",
    "queue_again",
    "queue_again_or_give_up",
    "release_stale_trials",
    "worker_identity",
]

WORKER = "moo:worker"
ATTEMPTS = "moo:attempts"
GIVEN_UP_BY = "moo:given_up_by"

MAX_ATTEMPTS = 2
NO_WORD = f"its process ended {MAX_ATTEMPTS} times without a word (killed, or out of memory)"
_UNSIGNED_GRACE = timedelta(seconds=60)  # asking can take seconds: a Gaussian process is fitted in it


def worker_identity() -> dict[str, Any]:
    """Return what tells this process from any other: host, boot, process number and start time."""
    return {
        "host": socket.gethostname(),
        "boot": boot_id(),
        "namespace": _namespace(),
        "pid": os.getpid(),
        "started": _start_time(os.getpid()),
    }


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return None


def _namespace() -> str | None:
    """Return which processes this process number counts among: containers may share a host name."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return None


def _start_time(pid: int) -> float | None:
    """Return when a process started, None where there is none; on Linux a count that no clock moves."""
    stat = _read(f"/proc/{pid}/stat")
    if stat is not None:
        return float(stat.rpartition(")")[2].split()[19])  # field 22 of proc(5), in ticks since boot
    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return None


def _is_gone(worker: Mapping[str, Any], here: Mapping[str, Any]) -> bool:
    """Return whether a worker of this host has ended; one of another host is taken to live."""
    if worker["host"] != here["host"] or worker.get("namespace") != here["namespace"]:
        return False
    if worker["boot"] != here["boot"]:
        return True
    return bool(_start_time(worker["pid"]) != worker["started"])


def release_stale_trials(storage: BaseStorage, name: str) -> list[int]:
    """Put the trials of ended processes back in the queue and return their numbers.

    Such a trial keeps its number and configuration and is run again, so nothing is doubled. One
    that was begun `MAX_ATTEMPTS` times already is stored as failed: it kills its process. Two
    processes may release one trial in the same instant; the one that loses it finds out before it
    tells.

    Returns:
        Numbers of the trials that are no longer running, failed ones among them.
    """
    here = worker_identity()
    study_id = storage.get_study_id_from_name(name)
    released = []
    for trial in storage.get_all_trials(study_id, deepcopy=False, states=(TrialState.RUNNING,)):
        trial_id = storage.get_trial_id_from_study_id_trial_number(study_id, trial.number)
        if not _is_stale(trial, here) or storage.get_trial(trial_id).user_attrs != trial.user_attrs:
            continue
        released.append(trial.number)
        queue_again_or_give_up(storage, trial, trial_id, here)
    return released


def queue_again_or_give_up(
    storage: BaseStorage,
    trial: FrozenTrial,
    trial_id: int,
    here: Mapping[str, Any],
    reason: str = NO_WORD,
) -> None:
    """Put a trial that could not be evaluated back in the queue; fail one that was begun as often as it may.

    Args:
        storage: Where it lives.
        trial: As it was when its process was found gone.
        trial_id: Of the storage.
        here: The process that decides.
        reason: Why it is given up, if it is.
    """
    is_done = trial.user_attrs.get(EVALUATION) is not None
    if trial.user_attrs.get(ATTEMPTS, 1) < MAX_ATTEMPTS or is_done:
        queue_again(storage, trial_id)
        return
    storage.set_trial_user_attr(trial_id, FAILURE, {"stage": "process", "reason": reason})
    storage.set_trial_user_attr(trial_id, GIVEN_UP_BY, here)
    storage.set_trial_state_values(trial_id, TrialState.FAIL)


def hand_back(storage: BaseStorage, trial_id: int) -> None:
    """Put a trial that was cut off on request back in the queue, as if it had not been begun.

    One that runs no more is left as it is.
    """
    trial = storage.get_trial(trial_id)
    if trial.state == TrialState.RUNNING:
        storage.set_trial_user_attr(trial_id, ATTEMPTS, trial.user_attrs.get(ATTEMPTS, 1) - 1)
        queue_again(storage, trial_id)


def hand_back_of(storage: BaseStorage, name: str, processes: Collection[int]) -> None:
    """Hand back what processes of this host were running that were stopped on request and have ended.

    A process does that itself; but one that hangs, or gets no processor in time, is killed before it can.
    """
    here = worker_identity()
    study_id = storage.get_study_id_from_name(name)
    for trial in storage.get_all_trials(study_id, deepcopy=False, states=(TrialState.RUNNING,)):
        worker = trial.user_attrs.get(WORKER)
        if worker is not None and worker["pid"] in processes and _is_gone(worker, here):
            hand_back(storage, storage.get_trial_id_from_study_id_trial_number(study_id, trial.number))


def queue_again(storage: BaseStorage, trial_id: int) -> None:
    """Put a running trial back in the queue, unsigned."""
    storage.set_trial_user_attr(trial_id, WORKER, None)
    storage.set_trial_state_values(trial_id, TrialState.WAITING)


def _is_stale(trial: FrozenTrial, here: Mapping[str, Any]) -> bool:
    worker = trial.user_attrs.get(WORKER)
    if worker is not None:
        return _is_gone(worker, here)
    # unsigned: its process was killed between asking and signing, or is about to sign
    begun = trial.datetime_start
    return begun is None or abs(datetime.now(begun.tzinfo) - begun) > _UNSIGNED_GRACE  # a clock may go back
