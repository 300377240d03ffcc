"""Ends the trials of worker processes that take more than they may, and stores them as failed."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable
from pathlib import Path

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from moo import storage as stored
from moo import workers
from moo.crew import Crew
from moo.errors import LimitError, SweepError
from moo.limits import Limits, Running, TrialWatch
from moo.locks import TELLING, locked_at_once
from moo.log import StudyLog
from moo.problem import Problem
from moo.sweep import STORAGE_ERRORS, baseline_failed

__all__ = ["LimitKeeper"]


class LimitKeeper:
    """Holds a crew's trials to their limits.

    What took too long, or left too large files, has failed. What took too much memory has failed if it was
    the first trial of its worker or was begun before; else it is begun once more, since what took the memory
    may be what an earlier trial leaked.

    Args:
        study: Optuna's study.
        storage: Where it lives.
        problem: Objectives and constraints.
        limits: What a trial may take.
        root: The sweep's folder.
        log: Where failures go.

    Attributes:
        ended: Why processes were ended, by their numbers.
        error: What ends the sweep: a baseline that bounds rest on took too much.
    """

    def __init__(
        self,
        study: optuna.Study,
        storage: BaseStorage,
        problem: Problem,
        limits: Limits,
        *,
        root: Path,
        log: StudyLog,
    ) -> None:
        self._study = study
        self._storage = storage
        self._problem = problem
        self._root = root
        self._log = log
        self._watch = TrialWatch(limits, folder_of=self._folder)
        self.ended: dict[int, str] = {}
        self.error: SweepError | None = None

    def follow(self, trials: Iterable[FrozenTrial], crew: Crew) -> None:
        """Take note of what the crew runs now."""
        ours = crew.processes
        running = (trial for trial in trials if trial.state == TrialState.RUNNING)
        self._watch.follow(one for trial in running if (one := _running(trial)) and one.process in ours)

    def keep(self, crew: Crew, *, is_quiet: bool) -> None:
        """End what takes too much.

        A storage that is busy, or a trial that is just being told, has time until the next look.

        Args:
            crew: Whose trials they are.
            is_quiet: Whether a candidate is being timed, so that looks are to be rare.
        """
        for one, reason in self._watch.excesses(is_quiet=is_quiet):
            with locked_at_once(self._root / TELLING) as is_alone, contextlib.suppress(*STORAGE_ERRORS):
                if is_alone and (trial := self._still_running(one)) is not None:
                    crew.end(one.process)
                    self.ended[one.process] = f"trial {one.number} {reason}"
                    self._settle(trial, one, reason)

    def _still_running(self, one: Running) -> FrozenTrial | None:
        trials = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        return next((trial for trial in trials if _running(trial) == one), None)

    def _settle(self, trial: FrozenTrial, one: Running, reason: str) -> None:
        study_id = self._storage.get_study_id_from_name(self._study.study_name)
        trial_id = self._storage.get_trial_id_from_study_id_trial_number(study_id, trial.number)
        is_evaluated = trial.user_attrs.get(stored.EVALUATION) is not None
        is_another_chance = "memory" in reason and one.attempt < workers.MAX_ATTEMPTS
        if is_evaluated or (is_another_chance and self._ran_others(trial)):
            workers.queue_again(self._storage, trial_id)
            return
        shutil.rmtree(self._folder(trial.number), ignore_errors=True)
        failure = {"stage": LimitError.stage, "reason": reason}
        with contextlib.suppress(UpdateFinishedTrialError):
            self._storage.set_trial_user_attr(trial_id, stored.FAILURE, failure)
            self._storage.set_trial_state_values(trial_id, TrialState.FAIL)
        self._log.write("trial_failed", trial=trial.number, level="warning", **failure)
        if trial.user_attrs.get(stored.BASELINE) and self._problem.needs_baseline:
            failed = stored.finished_trial(self._storage.get_trial(trial_id))
            self.error = SweepError(baseline_failed(failed))

    def _ran_others(self, trial: FrozenTrial) -> bool:
        """Whether its process has begun another trial before."""
        worker = trial.user_attrs.get(workers.WORKER)
        others = (other for other in self._study.get_trials(deepcopy=False) if other.number != trial.number)
        return any(other.user_attrs.get(workers.WORKER) == worker for other in others)

    def _folder(self, number: int) -> Path:
        return self._root / "trials" / f"{number:05d}"


def _running(trial: FrozenTrial) -> Running | None:
    worker = trial.user_attrs.get(workers.WORKER)
    if worker is None:
        return None
    attempt = int(trial.user_attrs.get(workers.ATTEMPTS, 1))
    return Running(number=trial.number, attempt=attempt, process=int(worker["pid"]))
