"""One process's share of a sweep: ask, evaluate, constrain, tell, until the study is full."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import optuna
import sqlalchemy.exc
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from moo import storage as stored
from moo import workers
from moo.attempt import Attempt, Baseline, Setting
from moo.errors import FullDiskError, LostError, SweepError, cannot_go_on
from moo.limits import Limits
from moo.locks import TELLING, locked
from moo.log import StudyLog
from moo.outcome import VARIANT, Variants, forget_variants, variant_trial
from moo.pairing import paired_counts
from moo.patience import PatientStorage, hurried
from moo.problem import Problem
from moo.pruning import NoPruning, Pruner
from moo.quiet import QuietWindow, Waiting, Window
from moo.results import FinishedTrial, commonest_failures
from moo.samplers import SpaceWatch
from moo.signals import interrupts_held_back
from moo.task import Observer, Task

__all__ = ["STORAGE_ERRORS", "Sweep", "baseline_failed"]

_log = logging.getLogger("moo")

STORAGE_ERRORS = (OSError, StorageInternalError, sqlalchemy.exc.SQLAlchemyError)
"""What is raised where the storage or the disk gives out."""

_PAUSE_S = 0.2
_ASK_LOCK = ".moo-ask-lock"
_SHORTEST_S = 0.1  # of stages and waits that the log tells of


class Sweep:
    """Runs trials of a task in a study that other processes may work on too.

    Args:
        study: Optuna's study.
        storage: Where it lives.
        problem: Objectives and constraints.
        task: What is searched.
        root: The sweep's folder, absolute.
        seed: The study's seed.
        observer: Told of each trial this process finished.
        pruner: Stops trials that are not worth training on; None for never.
        log: Where events go; None for the study's own, in its folder.
        window: Keeps this machine quiet for measurements; None for the study's own, in its folder.
        limits: What a trial may take; here, what its files may.
    """

    def __init__(
        self,
        study: optuna.Study,
        storage: BaseStorage,
        problem: Problem,
        task: Task,
        *,
        root: Path,
        seed: int,
        observer: Observer | None,
        pruner: Pruner | None = None,
        log: StudyLog | None = None,
        window: Window | None = None,
        limits: Limits = Limits(),  # noqa: B008  # frozen
    ) -> None:
        self._study = study
        self._storage = storage
        self._problem = problem
        self._task = task
        self._root = root
        self._observer = observer
        self._number = 0  # of the trial that runs
        self._log = log or StudyLog(root)
        self._window: Window = window or QuietWindow(root, on_wait=self._tell_wait)
        self._worker = workers.worker_identity()
        self._baseline = Baseline()
        self._setting = Setting(
            problem=problem,
            task=task,
            root=root,
            seed=seed,
            pruner=pruner or NoPruning(),
            limits=limits,
            window=self._window,
            baseline=self._baseline,
        )
        self._space = SpaceWatch()
        self._n_settled = 0  # of the study's first trials: all of them are finished
        self._n_own = 0  # of those, the ones that are no variants

    def run(
        self,
        n_trials: int,
        *,
        until: float | None,
        clock: Callable[[], float],
        should_stop: Callable[[], bool],
    ) -> None:
        """Run trials until the study has `n_trials` finished ones.

        Raises:
            InputError: If a trial finds that the task's data or a bound cannot be.
            SweepError: If every trial failed, the baseline did and bounds are relative to it, or
                the storage or the disk gave out.
        """
        self.share(n_trials, until=until, clock=clock, should_stop=should_stop)
        self.refuse_total_failure()

    def share(
        self,
        n_trials: int,
        *,
        until: float | None,
        clock: Callable[[], float],
        should_stop: Callable[[], bool],
    ) -> None:
        """Do as `run` until nothing is left for this process, whatever others still run, and however it went.

        Raises:
            InputError: As `run`.
            SweepError: As `run`, but for every trial's failure.
        """
        try:
            step = "run"
            while step != "done":
                step = self._turn(n_trials, lambda: should_stop() or (until is not None and clock() >= until))
                if step == "wait":
                    time.sleep(_PAUSE_S)
        except STORAGE_ERRORS as error:
            raise SweepError(cannot_go_on(stored.first_line(error))) from error

    def _turn(self, n_trials: int, is_over: Callable[[], bool]) -> Literal["run", "wait", "done"]:
        """Run a trial, if there is one to run.

        Processes of this host take turns from counting the trials to asking for one, so that none is asked
        for twice. Whatever they do, they do not do it while one of them measures.
        """
        self._window.take_waited()
        with contextlib.ExitStack() as work:
            with locked(self._root / _ASK_LOCK):
                work.enter_context(self._window.working())
                step = "done" if is_over() else self._next_step(n_trials)
                if step == "done":
                    return "done"
                if step == "wait":
                    return "wait"
                with self._asking():
                    trial = self._study.ask()
                    self._number, trial_id = trial.number, self._trial_id(trial.number)
                with self._handed_back(trial_id):
                    self._sign(trial)
            with self._handed_back(trial_id):
                self._run_trial(trial, trial_id)
        return "run"

    # what to do next

    def _is_exhausted(self, trials: list[FrozenTrial]) -> bool:
        """Whether nothing is queued and every configuration of a finite space has been tried."""
        if any(trial.state == TrialState.WAITING for trial in self._unsettled(trials)):
            return False
        reason = self._space.exhausted(self._study, trials)
        if reason is not None:
            _log.warning("%s: the search ends", reason)
        return reason is not None

    def _next_step(self, n_trials: int) -> Literal["run", "wait", "done"]:
        trials = self._trials()
        rest = self._unsettled(trials)
        if any(trial.state == TrialState.RUNNING for trial in rest) and self._release_stale_trials():
            trials = self._trials()
            rest = self._unsettled(trials)
        running = [trial for trial in rest if trial.state == TrialState.RUNNING]
        n_finished = self._n_own + sum(_is_own_and_finished(trial) for trial in rest)
        if n_finished >= n_trials:
            return "done"
        if n_finished + len(running) >= n_trials:
            is_unsigned = any(not trial.user_attrs.get(workers.WORKER) for trial in running)
            return "wait" if is_unsigned else "done"
        where = "known" if self._baseline.metrics is not None else self._find_baseline(trials)
        if where == "here":
            return "run"  # it is in the queue
        if self._is_exhausted(trials):
            return "done"
        return "wait" if where == "elsewhere" and self._problem.needs_baseline else "run"

    def _unsettled(self, trials: list[FrozenTrial]) -> list[FrozenTrial]:
        """Return the trials from the first one on that is not finished; count those before it just once.

        A study of ten thousand trials is looked through several times a trial, and what is finished stays so.
        """
        while self._n_settled < len(trials) and trials[self._n_settled].state.is_finished():
            self._n_own += _is_own_and_finished(trials[self._n_settled])
            self._n_settled += 1
        return trials[self._n_settled :]

    def _release_stale_trials(self) -> list[int]:
        with self._alone():
            return workers.release_stale_trials(self._storage, self._study.study_name)

    def _find_baseline(self, trials: list[FrozenTrial]) -> Literal["known", "here", "elsewhere", "none"]:
        """Take the baseline from the study; where it is not there yet, put it in the queue."""
        params = self._task.baseline()
        if params is None:
            return "none"
        ours = [trial for trial in trials if trial.user_attrs.get(stored.BASELINE)]
        for trial in ours:
            finished = stored.finished_trial(trial) if trial.state == TrialState.COMPLETE else None
            if finished is not None and finished.evaluation is not None:
                self._baseline.know(self._root, finished.evaluation)
                return "known"
        if any(trial.state == TrialState.RUNNING for trial in ours):
            return "elsewhere"
        self._refuse_dead_baseline(ours)
        if ours and not self._problem.needs_baseline and all(trial.state.is_finished() for trial in ours):
            return "none"  # it failed, and nothing rests on it
        if not any(trial.state == TrialState.WAITING for trial in ours):
            self._study.enqueue_trial(dict(params), user_attrs={stored.BASELINE: True})
        return "here"

    def _refuse_dead_baseline(self, ours: list[FrozenTrial]) -> None:
        """End where the baseline just took its process with it for the last time."""
        for trial in ours:
            finished = stored.finished_trial(trial) if trial.state == TrialState.FAIL else None
            is_new = trial.user_attrs.get(workers.GIVEN_UP_BY) == self._worker
            if finished is not None and is_new and self._problem.needs_baseline:
                raise SweepError(baseline_failed(finished))

    # one trial

    def _run_trial(self, trial: optuna.Trial, trial_id: int) -> None:
        begun = time.monotonic()
        attempt = Attempt(trial, self._setting, stage_ended=self._tell_stage)
        try:
            outcome = attempt.outcome(self._trials)
        except LostError as error:
            _log.warning("trial %d: %s", trial.number, error)
            self._let_go(trial_id)
            return
        except FullDiskError:
            self._let_go(trial_id, "there was no room for its files, twice")
            raise
        with self._alone():
            if self._storage.get_trial(trial_id).user_attrs.get(workers.WORKER) != self._worker:
                return  # another process took it for stale and runs it: its outcome counts
            trial.set_user_attr(stored.DURATION, round(time.monotonic() - begun, 3))
            variants = () if attempt.evaluation is None else attempt.evaluation.variants
            frozen = self._told(trial, trial_id, outcome, variants)
        self._report(frozen, n_variants=len(variants))

    def _let_go(self, trial_id: int, reason: str = workers.NO_WORD) -> None:
        """Leave a trial that could not be evaluated to whoever is next, or give it up after its last try."""
        with self._alone():
            trial = self._storage.get_trial(trial_id)
            if trial.user_attrs.get(workers.WORKER) != self._worker:
                return
            workers.queue_again_or_give_up(self._storage, trial, trial_id, self._worker, reason)
            left = self._storage.get_trial(trial_id)
        if left.state.is_finished():
            self._report(left)

    def _alone(self) -> contextlib.AbstractContextManager[None]:
        """Keep this host's other processes from taking trials away, or telling theirs, in the meantime.

        Only a process of the same host takes a trial for stale. Without locks two processes that resume in
        the same instant may add the same variants.
        """
        return locked(self._root / TELLING)

    def _sign(self, trial: optuna.Trial) -> None:
        if trial.user_attrs.get(stored.FAILURE) is not None:
            trial.set_user_attr(stored.FAILURE, None)
        trial.set_user_attr(workers.ATTEMPTS, trial.user_attrs.get(workers.ATTEMPTS, 0) + 1)
        trial.set_user_attr(workers.WORKER, self._worker)
        self._log.write(
            "trial_begun",
            trial=trial.number,
            attempt=trial.user_attrs[workers.ATTEMPTS],
            is_baseline=bool(trial.user_attrs.get(stored.BASELINE)),
        )

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        """Put the trial that was begun back in the queue where asking for it is cut off.

        Nobody has signed it yet: the others would wait for a minute, in case somebody is about to.
        """
        storage = self._storage
        if not isinstance(storage, PatientStorage):
            yield
            return

        def undo() -> None:
            if storage.begun is not None:
                workers.queue_again(storage, storage.begun)

        storage.begun = None
        with self._undone(undo):
            yield

    def _handed_back(self, trial_id: int) -> contextlib.AbstractContextManager[None]:
        """Put the trial back in the queue where the block is cut off."""
        return self._undone(lambda: workers.hand_back(self._storage, trial_id))

    @contextlib.contextmanager
    def _undone(self, undo: Callable[[], None]) -> Iterator[None]:
        """Do something where the block is cut off, which no further Ctrl-C prevents."""
        try:
            yield
        except BaseException:
            with (
                interrupts_held_back(),
                hurried(self._storage),
                contextlib.suppress(*STORAGE_ERRORS, UpdateFinishedTrialError),
            ):
                undo()
            raise

    def _told(
        self,
        trial: optuna.Trial,
        trial_id: int,
        outcome: list[float] | TrialState,
        variants: Variants,
    ) -> FrozenTrial:
        """Tell the study how a trial ended, and return the trial.

        Its variants are added before: if this process dies in between, the trial is still a running one,
        which another process takes over and completes.
        """
        if not isinstance(outcome, list):
            return self._study.tell(trial, state=outcome)
        if variants:
            self._add_variants(self._storage.get_trial(trial_id), variants)
            forget_variants(trial)
        return self._study.tell(trial, outcome)

    def _add_variants(self, parent: FrozenTrial, variants: Variants) -> None:
        """Add a trial for each variant, but for those that an earlier attempt has added."""
        ours = [trial for trial in self._trials() if trial.user_attrs.get(stored.PARENT) == parent.number]
        there = {trial.user_attrs.get(VARIANT) for trial in ours}
        bounds = self._problem.bounds(self._baseline.metrics)
        for index, (params, variant) in enumerate(variants):
            if index not in there:
                counts = paired_counts(self._root, variant, self._baseline.correct)
                added = variant_trial(self._problem, bounds, parent, index, params, variant, counts)
                self._study.add_trial(added)

    def _report(self, frozen: FrozenTrial, *, n_variants: int = 0) -> None:
        """Tell the observer; end the sweep where the baseline it needs has failed."""
        finished = stored.finished_trial(frozen)
        self._tell_end(finished, frozen.values, n_variants)
        if self._observer is not None:
            self._observer.trial_finished(finished)
        if finished.is_baseline and finished.state != "complete" and self._problem.needs_baseline:
            raise SweepError(baseline_failed(finished))

    # the log

    def _tell_wait(self, who: Waiting, seconds: float) -> None:
        if seconds >= _SHORTEST_S:
            self._log.write(f"{who}_waited", trial=self._number, seconds=round(seconds, 3))

    def _tell_stage(self, name: str, seconds: float) -> None:
        if seconds >= _SHORTEST_S:
            self._log.write("stage", trial=self._number, name=name, seconds=round(seconds, 3))

    def _tell_end(self, trial: FinishedTrial, values: list[float] | None, n_variants: int) -> None:
        if trial.state != "complete":
            level = "warning" if trial.state == "failed" else "info"
            facts = {"stage": trial.stage, "reason": trial.reason}
            self._log.write(f"trial_{trial.state}", trial=trial.number, level=level, **facts)
            return
        names = [objective.metric.name for objective in self._problem.objectives]
        self._log.write(
            "trial_finished",
            trial=trial.number,
            values=dict(zip(names, values or (), strict=False)),
            violations=trial.violations,
            seconds=trial.duration_s,
            n_variants=n_variants,
        )

    def refuse_total_failure(self) -> None:
        """End where nothing but failures came of the study.

        Raises:
            SweepError: With the commonest reason.
        """
        finished = [trial for trial in self._trials() if trial.state.is_finished()]
        if not finished or any(trial.state != TrialState.FAIL for trial in finished):
            return
        failed = [stored.finished_trial(trial) for trial in finished]
        reason, count = commonest_failures(failed)[0]
        times = "once" if count == 1 else f"{count} times"
        raise SweepError(
            f"all {len(failed)} trials failed; the commonest reason, {times}: {reason}."
            f" Tracebacks: {self._root / 'trials'}/*/error.txt"
        )

    def _trials(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    def _trial_id(self, number: int) -> int:
        study_id = self._storage.get_study_id_from_name(self._study.study_name)
        return self._storage.get_trial_id_from_study_id_trial_number(study_id, number)


def _is_own_and_finished(trial: FrozenTrial) -> bool:
    """Whether a trial is finished and no variant of another one."""
    return trial.state.is_finished() and trial.user_attrs.get(stored.PARENT) is None


def baseline_failed(trial: FinishedTrial) -> str:
    """Return what is said where a sweep ends for want of its baseline."""
    return f"the baseline failed, and bounds are relative to it: {trial.stage}: {trial.reason}"
