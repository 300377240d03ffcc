"""A sweep by several worker processes: begin them, follow what they finish, replace the last that dies."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable, Collection
from pathlib import Path

import optuna
from optuna.storages import BaseStorage

from moo import storage as stored
from moo import workers
from moo.crew import Crew, Ended, joined
from moo.errors import MooError
from moo.keeper import LimitKeeper
from moo.limits import Limits
from moo.log import LogTail, StudyLog, say_again
from moo.patience import hurried
from moo.problem import Problem
from moo.quiet import QuietWindow
from moo.signals import interrupts_held_back
from moo.sweep import STORAGE_ERRORS
from moo.task import Observer

__all__ = ["Supervisor"]

_log = logging.getLogger("moo")

_LOOK_S = 0.3


class Supervisor:
    """Has workers do a sweep.

    A worker that dies leaves its trial to the others. Where none is left, one more is begun as long as the
    dead ones got somewhere: a trial that kills its process is given up after two attempts, so that ends.

    Args:
        study: Optuna's study; it has been begun.
        storage: Where it lives.
        root: The sweep's folder.
        n_trials: How many finished trials there are to be.
        job: Pickled: what each worker does.
        observer: Told of each trial that any process finished.
        log: Where workers' beginnings and ends go.
        problem: Objectives and constraints.
        limits: What a trial may take.
    """

    def __init__(
        self,
        study: optuna.Study,
        storage: BaseStorage,
        *,
        root: Path,
        n_trials: int,
        job: bytes,
        observer: Observer | None,
        log: StudyLog,
        problem: Problem,
        limits: Limits = Limits(),  # noqa: B008  # frozen
    ) -> None:
        self._study = study
        self._storage = storage
        self._root = root
        self._n_trials = n_trials
        self._job = job
        self._observer = observer
        self._log = log
        self._keeper = LimitKeeper(study, storage, problem, limits, root=root, log=log)
        self._tail = LogTail(root)
        self._told = {trial.number for trial in self._finished()}
        self._said: set[str] = set()
        self._deaths: dict[int, str] = {}
        self._error: MooError | None = None

    def run(
        self,
        n_workers: int,
        *,
        until: float | None,
        clock: Callable[[], float],
        should_stop: Callable[[], bool],
    ) -> None:
        """Run the sweep.

        Raises:
            MooError: What a worker raised, such as `InputError`.
            SweepError: If every worker died before any trial was begun again.
        """
        if self._is_done():
            return
        crew = Crew(self._job, folder=self._root, n_workers=n_workers)
        try:
            with crew:
                self._lead(crew, n_workers, until=until, clock=clock, should_stop=should_stop)
        finally:
            if crew.stopped:
                self._hand_back(crew.stopped)
        self._follow(crew)
        if self._error is not None:
            raise self._error

    def _lead(
        self,
        crew: Crew,
        n_workers: int,
        *,
        until: float | None,
        clock: Callable[[], float],
        should_stop: Callable[[], bool],
    ) -> None:
        """Have the crew work until none of it is left."""
        window = QuietWindow(self._root)
        is_stopping, has_died, reached = False, False, -1
        for _ in range(n_workers):
            self._start(crew)
        while crew.n_alive:
            is_quiet = window.is_taken()
            self._keeper.keep(crew, is_quiet=is_quiet)
            has_died = self._take_ended(crew, is_stopping=is_stopping) or has_died
            if not is_stopping and (
                self._error is not None or should_stop() or (until is not None and clock() >= until)
            ):
                is_stopping = True
                crew.stop()
            if not is_quiet:  # a look costs time that a measurement would miss
                self._follow(crew)
            if crew.n_alive == 0 and has_died and not is_stopping and not self._is_done():
                if (now := self._n_begun()) == reached:
                    raise joined(self._deaths)
                reached, has_died = now, False
                self._start(crew)
            if crew.n_alive:
                time.sleep(_LOOK_S)

    def _hand_back(self, processes: Collection[int]) -> None:
        """Hand back the trials of workers that were stopped at once, where they did not get so far."""
        with interrupts_held_back(), hurried(self._storage), contextlib.suppress(*STORAGE_ERRORS):
            workers.hand_back_of(self._storage, self._study.study_name, processes)

    def _start(self, crew: Crew) -> None:
        number, process = crew.start()
        self._log.write("worker_started", worker=number, process=process)

    def _take_ended(self, crew: Crew, *, is_stopping: bool) -> bool:
        """Take note of who has ended, and replace who was ended for a limit; return whether one died."""
        self._error = self._error or self._keeper.error
        has_died = False
        for one in crew.ended():
            why = self._keeper.ended.get(one.process)
            said = why or (one.why if one.error is None else str(one.error))
            self._log.write(
                "worker_ended",
                level="warning" if said else "info",
                worker=one.worker,
                process=one.process,
                status=one.status,
                why=said,
            )
            if why is not None:
                _log.info("worker %d (process %d) was ended: %s", one.worker, one.process, why)
                if not is_stopping and self._error is None and not self._is_done():
                    self._start(crew)
            elif one.error is not None:
                self._error = self._error or one.error
            elif one.why:
                has_died = True
                self._deaths[one.worker] = one.why
                _log.warning("%s", _death_line(one, crew.n_alive))
        return has_died

    def _follow(self, crew: Crew) -> None:
        """Say what workers said; tell the observer what has finished since, and the keeper what runs."""
        for record in self._tail.new():
            text = str(record.get("message", ""))
            if record["pid"] == os.getpid() or text in self._said:
                continue
            if text:
                self._said.add(text)  # each worker warns of the same
            say_again(record)
        with contextlib.suppress(*STORAGE_ERRORS):  # busy: the next look is soon
            trials = self._study.get_trials(deepcopy=False)
            self._keeper.follow(trials, crew)
            new = [t for t in trials if t.state.is_finished() and t.number not in self._told]
            for trial in new:
                self._told.add(trial.number)
                if self._observer is not None:
                    self._observer.trial_finished(stored.finished_trial(trial))

    def _finished(self) -> list[optuna.trial.FrozenTrial]:
        return [trial for trial in self._study.get_trials(deepcopy=False) if trial.state.is_finished()]

    def _is_done(self) -> bool:
        own = [trial for trial in self._finished() if trial.user_attrs.get(stored.PARENT) is None]
        return len(own) >= self._n_trials

    def _n_begun(self) -> int:
        """Return how often a trial was begun: it grows as long as workers get somewhere."""
        trials = self._study.get_trials(deepcopy=False)
        return sum(int(trial.user_attrs.get(workers.ATTEMPTS, 0)) for trial in trials)


def _death_line(ended: Ended, n_others: int) -> str:
    others = "another is begun" if n_others == 0 else "the others run its trial again"
    return f"worker {ended.worker} (process {ended.process}) died: {ended.why}; {others}"
