"""One attempt at a trial: evaluate it, judge it, and store what it showed, however it ends."""

from __future__ import annotations

import dataclasses
import shutil
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.trial import FrozenTrial, TrialState

from moo import storage as stored
from moo.errors import (
    FitError,
    FullDiskError,
    InputError,
    LimitError,
    LostError,
    SweepError,
    TrialError,
    cannot_go_on,
    describe,
    is_full_disk,
)
from moo.evaluation import Estimate, Evaluation, TrialContext
from moo.limits import Limits, refuse_files
from moo.outcome import MAX_REASON, judged, keep_variants, kept_variants, known_bounds, noise, with_waited
from moo.pairing import PAIRED, correct_samples, paired_counts
from moo.problem import Problem
from moo.pruning import NoPruning, Pruner
from moo.quiet import Window
from moo.samplers import NOISE, trial_seed
from moo.staging import Staging
from moo.task import Task

__all__ = ["Attempt", "Baseline", "Setting"]


@dataclasses.dataclass
class Baseline:
    """What a process knows of the study's baseline.

    Args:
        metrics: Its estimates by metric, which relative bounds rest on; None while they are not known.
        correct: By score, which samples it had right; shape (n samples,).
    """

    metrics: Mapping[str, Estimate] | None = None
    correct: Mapping[str, NDArray[np.bool_]] = dataclasses.field(default_factory=dict)

    def know(self, root: Path, evaluation: Evaluation) -> None:
        """Take it from its evaluation.

        Args:
            root: The sweep's folder.
            evaluation: Of the baseline's trial.
        """
        self.metrics = evaluation.metrics
        self.correct = correct_samples(root, evaluation)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setting:
    """What all attempts of a sweep share.

    Args:
        problem: Objectives and constraints.
        task: What is searched.
        root: The sweep's folder, absolute.
        seed: The study's seed.
        pruner: Stops trials that are not worth training on.
        limits: What a trial may take; here, what its files may.
        window: Keeps this machine quiet for measurements.
        baseline: What is known of the baseline; the baseline's own attempt adds to it.
    """

    problem: Problem
    task: Task
    root: Path
    seed: int
    pruner: Pruner
    limits: Limits
    window: Window
    baseline: Baseline


class Attempt:
    """This process's attempt at a trial.

    Args:
        trial: The running trial.
        setting: What all attempts share.
        stage_ended: Told of each stage, its name and seconds.

    Attributes:
        evaluation: What the task made of the trial; None while it has not, or where it failed.
    """

    def __init__(
        self, trial: optuna.Trial, setting: Setting, *, stage_ended: Callable[[str, float], None]
    ) -> None:
        self._trial = trial
        self._setting = setting
        self._stage_ended = stage_ended
        self._is_baseline = bool(trial.user_attrs.get(stored.BASELINE))
        self._folder = setting.root / "trials" / f"{trial.number:05d}"
        self._staging: Staging | None = None
        self.evaluation: Evaluation | None = None

    def outcome(self, trials: Callable[[], list[FrozenTrial]]) -> list[float] | TrialState:
        """Evaluate the trial: the one place where anything a task does wrong is caught.

        Args:
            trials: Gives those of the study.

        Returns:
            The objective values, or how it ended without them, the reason stored.

        Raises:
            InputError: If it shows that the task's data or a bound cannot be.
            LostError: If whoever evaluated it is lost.
            FullDiskError: If there was no room for its files.
            SweepError: If no trial can go on.
        """
        try:
            self.evaluation = self._evaluated()
            return self._values(self.evaluation)
        except (InputError, LostError, SweepError):
            raise
        except optuna.TrialPruned as pruned:
            self._store_failure("pruned", str(pruned) or "pruned by the task")
            self._store_partial(trials)
            return TrialState.PRUNED
        except (Exception, SystemExit) as error:
            stage = error.stage if isinstance(error, TrialError) else FitError.stage
            reason = str(error) if isinstance(error, TrialError) else describe(error)
            if isinstance(error, LimitError) or is_full_disk(error):
                shutil.rmtree(self._folder, ignore_errors=True)
            if is_full_disk(error):
                raise FullDiskError(cannot_go_on(reason)) from error
            self._store_failure(stage, reason)
            self._store_traceback()
        return TrialState.FAIL

    def _evaluated(self) -> Evaluation:
        """Return what the task makes of the trial; what an earlier attempt stored is not done again."""
        record = self._trial.user_attrs.get(stored.EVALUATION)
        if record is not None:
            variants = tuple(kept_variants(self._trial.user_attrs))
            return dataclasses.replace(Evaluation.from_json(record), variants=variants)
        shutil.rmtree(self._folder, ignore_errors=True)  # what a cut-off attempt left
        self._folder.mkdir(parents=True)
        evaluation = self._setting.task.evaluate(self._trial, self._context())
        if not isinstance(evaluation, Evaluation):
            raise FitError(f"evaluate() must return a moo.Evaluation, got {type(evaluation).__name__}")
        refuse_files(self._setting.limits, self._folder)
        evaluation = self._with_waited(evaluation)
        if self._is_baseline:
            self._refuse_partial_baseline()
        keep_variants(self._trial, evaluation.variants)  # first: with an evaluation it is not evaluated again
        self._trial.set_user_attr(stored.EVALUATION, evaluation.to_json())
        return evaluation

    def _context(self) -> TrialContext:
        """Return what the task is given, and begin the trial's staging."""
        setting = self._setting
        staging = self._staging = Staging(
            self._trial,
            setting.problem,
            setting.pruner,
            baseline=setting.baseline.metrics,
            is_baseline=self._is_baseline,
        )
        context = TrialContext(
            root=setting.root,
            folder=self._folder,
            seed=trial_seed(setting.seed, self._trial.number),
            is_baseline=self._is_baseline,
            metrics=tuple(metric.name for metric in setting.problem.metrics),
            needs_cost=staging.needs_cost,
            keep=staging.keep,
            check=staging.check,
            violated=staging.violated,
            measuring=setting.window.measuring,
            pause=setting.window.pause,
            stage_ended=self._stage_ended,
        )
        if isinstance(setting.pruner, NoPruning):
            return context
        return dataclasses.replace(context, should_stop=staging.should_stop)  # a task may measure more for it

    def _values(self, evaluation: Evaluation) -> list[float]:
        """Set the trial's constraints and return its objective values."""
        trial, problem, baseline = self._trial, self._setting.problem, self._setting.baseline
        bounds = problem.bounds(evaluation.metrics if self._is_baseline else baseline.metrics)
        values, violations = judged(problem, evaluation.metrics, bounds)
        for key, violation in violations.items():
            if key not in trial.constraints:  # set by an earlier attempt, from the same evaluation
                trial.set_constraint(key, violation)
        if self._is_baseline:
            baseline.know(self._setting.root, evaluation)
        elif counts := paired_counts(self._setting.root, evaluation, baseline.correct):
            trial.set_user_attr(PAIRED, counts)
        trial.set_user_attr(NOISE, noise(problem, evaluation.metrics, bounds))
        return values

    def _store_partial(self, trials: Callable[[], list[FrozenTrial]]) -> None:
        """Keep what a trial that ends early has shown."""
        staging, setting = self._staging, self._setting
        if staging is None or staging.partial is None:
            return
        staging.settle(trials())
        bounds = known_bounds(setting.problem, setting.baseline.metrics)
        self._trial.set_user_attr(NOISE, noise(setting.problem, staging.partial.metrics, bounds))
        self._trial.set_user_attr(stored.PARTIAL, self._with_waited(staging.partial).to_json())

    def _refuse_partial_baseline(self) -> None:
        missing = sorted(set(self._trial.params) - set(self._setting.task.baseline() or {}))
        if missing:
            raise FitError(
                f"baseline() leaves out {', '.join(missing)}: expected a value for each parameter it reaches"
            )

    def _store_failure(self, stage: str, reason: str) -> None:
        text = " ".join(reason.split()) or "no reason given"
        self._trial.set_user_attr(stored.FAILURE, {"stage": stage, "reason": text[:MAX_REASON]})

    def _store_traceback(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)  # the task may have removed it
        (self._folder / "error.txt").write_text(traceback.format_exc(), encoding="utf-8")

    def _with_waited(self, evaluation: Evaluation) -> Evaluation:
        """Return the evaluation with what the trial waited for other processes, where it did."""
        return with_waited(evaluation, self._setting.window.take_waited())
