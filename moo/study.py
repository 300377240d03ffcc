"""The loop: ask, evaluate, constrain, tell; begun anew or resumed."""

from __future__ import annotations

import re
import secrets
import shutil
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import optuna
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from moo import storage as stored
from moo.errors import FitError, InputError, MeasureError, ProblemError, StorageError, SweepError, TrialError
from moo.evaluation import Estimate, Evaluation, TrialContext
from moo.metrics import Metric
from moo.problem import Problem
from moo.results import FinishedTrial, Results, State
from moo.samplers import make_sampler, trial_seed

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Observer", "Study", "Task", "load_study", "optimize"]

_STATES: Mapping[TrialState, State] = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}
_MAX_REASON = 500


class Task(Protocol):
    """What the loop needs of a task; `objectives.Task` is its home."""

    @property
    def name(self) -> str:
        """A short name, used for the study where none was given."""

    @property
    def metrics(self) -> Iterable[Metric]:
        """The task's own metrics beside the built-in ones."""

    def baseline(self) -> Mapping[str, Any] | None:
        """Return the configuration in service today, or None."""

    def identity(self) -> Mapping[str, str]:
        """Return a digest of each part that must not change within a study."""

    def setting(self) -> Mapping[str, Any]:
        """Return the machine and the protocol, as plain JSON."""

    def evaluate(self, trial: optuna.Trial, context: TrialContext) -> Evaluation:
        """Return what one trial yields."""


class Observer(Protocol):
    """Whoever wants to follow a sweep, such as a progress display."""

    def begun(self, study: Study, n_trials: int) -> None:
        """Be told once, after the study was opened."""

    def trial_finished(self, trial: FinishedTrial) -> None:
        """Be told after each trial, whatever became of it."""


def optimize(
    task: Task,
    *,
    maximize: Iterable[str] = (),
    minimize: Iterable[str] = (),
    constraints: Iterable[str] = (),
    n_trials: int,
    timeout_s: float | None = None,
    sampler: str | BaseSampler = "tpe",
    seed: int | None = None,
    storage: str | None = None,
    study_name: str | None = None,
    folder: str | Path | None = None,
    observer: Observer | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    clock: Callable[[], float] = time.monotonic,
) -> Study:
    """Run a study of a task, or resume it, and return it.

    The same call resumes: what is finished stays, what was cut off is run again under its own
    number, and the study ends with `n_trials` finished trials in all.

    Args:
        task: The model family, such as an `objectives.TorchTask`.
        maximize: Metrics to maximise, by name.
        minimize: Metrics to minimise, by name.
        constraints: Bounds, such as `latency_p95 <= 5 ms` or `accuracy >= baseline - 1%`.
        n_trials: How many finished trials the study has at the end, failed and earlier ones
            included.
        timeout_s: No trial is begun after this many seconds; None for no limit.
        sampler: A name from `moo.samplers.SAMPLER_NAMES`, or any Optuna sampler.
        seed: Makes proposals and training repeatable; None draws one and stores it.
        storage: A database URL; None for an SQLite file in `folder`.
        study_name: None for the task's name.
        folder: Where artefacts, samples and the default database go; None for
            `moo-runs/<study name>`. Nothing is written elsewhere.
        observer: Told of each trial.
        should_stop: Asked before each trial; True ends the sweep there.
        clock: Seconds from any origin; for tests.

    Returns:
        The study, with its front.

    Raises:
        InputError: For wrong input, before anything is written.
        SweepError: If every trial failed, or the baseline did and a bound is relative to it.
    """
    problem = _checked(task, maximize, minimize, constraints, n_trials, timeout_s)
    name = _study_name(study_name, task)
    root = Path(folder) if folder is not None else Path("moo-runs") / name
    fixed_seed = _checked_seed(seed)
    make_sampler(sampler, seed=0)  # an unknown name is refused before anything is written
    identity, setting = task.identity(), task.setting()
    database = _open(storage, root)
    begun = stored.stored_record(database, name)
    used_seed = fixed_seed if fixed_seed is not None else begun["seed"] if begun else secrets.randbits(32)
    optuna_study = stored.open_study(
        database,
        name,
        problem,
        task=identity,
        setting=setting,
        seed=used_seed,
        folder=root,
        sampler=make_sampler(sampler, seed=used_seed),
    )
    root.mkdir(parents=True, exist_ok=True)
    study = Study(optuna_study, database, problem)
    sweep = _Sweep(study, task, root, used_seed, observer)
    sweep.run(
        n_trials,
        until=None if timeout_s is None else clock() + timeout_s,
        clock=clock,
        should_stop=should_stop,
    )
    return study


def load_study(storage: str, study_name: str | None = None) -> Study:
    """Return a study that `optimize` began, to read its results.

    Args:
        storage: The database URL.
        study_name: Its name; None where the storage holds just one.

    Raises:
        StorageError: If there is no such storage or study.
    """
    _refuse_missing_file(storage)
    database = stored.open_storage(storage)
    names = [entry.study_name for entry in database.get_all_studies()]
    shown = stored.hide_password(storage)
    if study_name is None and len(names) != 1:
        raise StorageError(
            f"storage {shown!r} holds {len(names)} studies ({', '.join(names)}): name one of them"
        )
    name = study_name if study_name is not None else names[0]
    record = stored.stored_record(database, name)
    if record is None:
        raise StorageError(f"storage {shown!r} has no study {name!r}; it holds: {', '.join(names) or 'none'}")
    optuna_study = optuna.load_study(study_name=name, storage=database)
    return Study(optuna_study, database, Problem.from_json(record["problem"]))


@dataclass(frozen=True, eq=False)
class Study:
    """A study of a task: Optuna's study, and the problem it answers.

    Args:
        optuna_study: The study as Optuna knows it; its plots and dashboards work on it.
        storage: Where it lives.
        problem: Objectives and constraints.
    """

    optuna_study: optuna.Study
    storage: BaseStorage
    problem: Problem

    @property
    def name(self) -> str:
        """The study's name."""
        return self.optuna_study.study_name

    @property
    def folder(self) -> Path:
        """Where its trials' files are."""
        return Path(self.optuna_study.user_attrs[stored.STUDY]["folder"])

    def results(self) -> Results:
        """Return the table of finished trials as it is now."""
        frozen = self.optuna_study.get_trials(deepcopy=False, states=tuple(_STATES))
        trials = tuple(finished_trial(trial) for trial in frozen)
        attrs = self.optuna_study.user_attrs
        setting = attrs.get(stored.SETTING, {})
        baseline = next((t for t in trials if t.is_baseline and t.state == "complete"), None)
        return Results(
            study_name=self.name,
            problem=self.problem,
            trials=trials,
            bounds=_known_bounds(self.problem, baseline),
            task=attrs[stored.STUDY]["task"].get("name"),
            environment=setting.get("environment"),
            protocol=setting.get("protocol"),
            extra_metrics={name: Metric(**row) for name, row in setting.get("metrics", {}).items()},
        )

    def front(self) -> pd.DataFrame:
        """Return the non-dominated feasible candidates, one row each, as `Results.front_table`."""
        return self.results().front_table()


def _known_bounds(problem: Problem, baseline: FinishedTrial | None) -> tuple[float | None, ...]:
    evaluation = None if baseline is None else baseline.evaluation
    bounds: list[float | None] = []
    for constraint in problem.constraints:
        estimate = Estimate(None) if evaluation is None else evaluation.metrics.get(constraint.metric.name)
        value = None if estimate is None else estimate.value
        bounds.append(None if constraint.is_relative and value is None else constraint.bound(value))
    return tuple(bounds)


def finished_trial(trial: FrozenTrial) -> FinishedTrial:
    """Return a stored trial as a row of the results."""
    attrs = trial.user_attrs
    record = attrs.get(stored.EVALUATION)
    failure = attrs.get(stored.FAILURE, {})
    return FinishedTrial(
        number=trial.number,
        state=_STATES[trial.state],
        params=trial.params,
        evaluation=None if record is None else Evaluation.from_json(record),
        violations=trial.constraints,
        stage=failure.get("stage"),
        reason=failure.get("reason"),
        is_baseline=bool(attrs.get(stored.BASELINE)),
        duration_s=attrs.get(stored.DURATION),
    )


def _checked(
    task: Task,
    maximize: Iterable[str],
    minimize: Iterable[str],
    constraints: Iterable[str],
    n_trials: int,
    timeout_s: float | None,
) -> Problem:
    if isinstance(n_trials, bool) or not isinstance(n_trials, int) or n_trials < 1:
        raise InputError(f"n_trials: expected a whole number of 1 or more, got {n_trials!r}")
    if timeout_s is not None and not timeout_s > 0:
        raise InputError(f"timeout_s: expected seconds above 0, got {timeout_s!r}")
    own = {metric.name: metric for metric in task.metrics}
    problem = Problem.parse(maximize=maximize, minimize=minimize, constraints=constraints, metrics=own)
    relative = next((c for c in problem.constraints if c.is_relative), None)
    if relative is not None and task.baseline() is None:
        raise ProblemError(
            f"constraint '{relative}' is relative to the baseline, but the task {task.name} has none:"
            " define its baseline() or give an absolute bound"
        )
    return problem


def _checked_seed(seed: int | None) -> int | None:
    if seed is None:
        return None
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise InputError(f"seed: expected a whole number of 0 or more, got {seed!r}")
    return seed


def _study_name(given: str | None, task: Task) -> str:
    if given is None:
        return task.name
    if not re.fullmatch(r"[\w .+-]{1,100}", given) or given.strip(" .") != given:
        raise InputError(f"study name: expected letters, digits, '-', '_', '.' or spaces, got {given!r}")
    return given


def _open(storage: str | None, root: Path) -> BaseStorage:
    """Open the storage; without a URL, an SQLite file in the sweep's folder, which is made for it."""
    if root.exists() and not root.is_dir():
        raise InputError(f"folder: expected a folder, got the file {root}")
    if storage is not None:
        return stored.open_storage(storage)
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"folder: {root} cannot be created: {error.strerror}") from error
    return stored.open_storage(f"sqlite:///{root / 'study.db'}")


def _refuse_missing_file(storage: str) -> None:
    """Refuse to read an SQLite file that is not there: SQLite would create it."""
    match = re.fullmatch(r"sqlite(?:\+\w+)?:///([^?]+)(?:\?.*)?", storage)
    if match is not None and match[1] != ":memory:" and not Path(match[1]).exists():
        raise StorageError(f"storage {storage!r}: there is no file {match[1]}")


class _Sweep:
    """One process's share of a sweep."""

    def __init__(self, study: Study, task: Task, root: Path, seed: int, observer: Observer | None) -> None:
        self._study = study
        self._task = task
        self._root = root
        self._seed = seed
        self._observer = observer
        self._worker = stored.worker_identity()
        self._baseline: Mapping[str, Estimate] | None = None

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
            SweepError: As `optimize`.
        """
        self._find_baseline()
        if self._observer is not None:
            self._observer.begun(self._study, n_trials)
        while not should_stop() and (until is None or clock() < until) and self._is_wanted(n_trials):
            self._run_trial()
        self._refuse_total_failure()

    def _is_wanted(self, n_trials: int) -> bool:
        trials = self._study.optuna_study.get_trials(deepcopy=False)
        n_finished = sum(trial.state.is_finished() for trial in trials)
        n_running = sum(trial.state == TrialState.RUNNING for trial in trials)
        if n_running:
            n_running -= len(stored.release_stale_trials(self._study.storage, self._study.name))
        return n_finished + n_running < n_trials

    def _find_baseline(self) -> None:
        """Take the baseline from the study, or put it first in the queue."""
        trials = self._study.optuna_study.get_trials(deepcopy=False)
        known = [
            finished_trial(t) for t in trials if t.user_attrs.get(stored.BASELINE) and t.state.is_finished()
        ]
        complete = next((t for t in known if t.state == "complete" and t.evaluation is not None), None)
        if complete is not None and complete.evaluation is not None:
            self._baseline = complete.evaluation.metrics
            return
        params = self._task.baseline()
        queued = any(t.user_attrs.get(stored.BASELINE) and not t.state.is_finished() for t in trials)
        if params is not None and not queued:
            self._study.optuna_study.enqueue_trial(dict(params), user_attrs={stored.BASELINE: True})

    def _run_trial(self) -> None:
        trial = self._study.optuna_study.ask()
        trial.set_user_attr(stored.WORKER, self._worker)
        trial.set_user_attr(stored.ATTEMPTS, trial.user_attrs.get(stored.ATTEMPTS, 0) + 1)
        begun = time.monotonic()
        try:
            outcome = self._outcome(trial)
        except KeyboardInterrupt:
            trial.set_user_attr(stored.ATTEMPTS, trial.user_attrs[stored.ATTEMPTS] - 1)
            self._study.storage.set_trial_state_values(trial._trial_id, TrialState.WAITING)
            raise
        trial.set_user_attr(stored.DURATION, round(time.monotonic() - begun, 3))
        self._tell(trial, outcome)

    def _outcome(self, trial: optuna.Trial) -> list[float] | TrialState:
        """Evaluate a trial: the one place where anything a task does wrong is caught."""
        folder = self._root / "trials" / f"{trial.number:05d}"
        shutil.rmtree(folder, ignore_errors=True)  # what a cut-off attempt left
        folder.mkdir(parents=True)
        context = TrialContext(
            root=self._root,
            folder=folder,
            seed=trial_seed(self._seed, trial.number),
            is_baseline=bool(trial.user_attrs.get(stored.BASELINE)),
        )
        try:
            return self._evaluate(trial, context)
        except optuna.TrialPruned as pruned:
            self._store_failure(trial, "pruned", str(pruned) or "pruned by the task")
            return TrialState.PRUNED
        except TrialError as error:
            self._store_failure(trial, error.stage, str(error), folder)
        except (Exception, SystemExit) as error:
            self._store_failure(trial, FitError.stage, _describe(error), folder)
        return TrialState.FAIL

    def _evaluate(self, trial: optuna.Trial, context: TrialContext) -> list[float]:
        evaluation = self._task.evaluate(trial, context)
        if context.is_baseline:
            self._refuse_partial_baseline(trial)
        trial.set_user_attr(stored.EVALUATION, evaluation.to_json())
        values = [_value(evaluation.metrics, o.metric.name) for o in self._study.problem.objectives]
        reference = evaluation.metrics if context.is_baseline else self._baseline
        bounds = self._study.problem.bounds(reference)
        for constraint, bound in zip(self._study.problem.constraints, bounds, strict=True):
            estimate = _estimate(evaluation.metrics, constraint.metric.name)
            violation = constraint.violation(estimate, bound)
            if violation is None:
                raise MeasureError(f"'{constraint}' cannot be decided: {estimate.reason or 'no value'}")
            if constraint.key not in trial.constraints:
                trial.set_constraint(constraint.key, violation)
        if context.is_baseline:
            self._baseline = evaluation.metrics
        return values

    def _refuse_partial_baseline(self, trial: optuna.Trial) -> None:
        missing = sorted(set(trial.params) - set(self._task.baseline() or {}))
        if missing:
            raise FitError(
                f"baseline() leaves out {', '.join(missing)}: expected a value for each parameter it reaches"
            )

    def _store_failure(
        self, trial: optuna.Trial, stage: str, reason: str, folder: Path | None = None
    ) -> None:
        text = " ".join(reason.split()) or "no reason given"
        trial.set_user_attr(stored.FAILURE, {"stage": stage, "reason": text[:_MAX_REASON]})
        if folder is not None:
            (folder / "error.txt").write_text(traceback.format_exc(), encoding="utf-8")

    def _tell(self, trial: optuna.Trial, outcome: list[float] | TrialState) -> None:
        study = self._study.optuna_study
        frozen = study.tell(trial, outcome) if isinstance(outcome, list) else study.tell(trial, state=outcome)
        finished = finished_trial(frozen)
        if self._observer is not None:
            self._observer.trial_finished(finished)
        if finished.is_baseline and finished.state != "complete" and self._study.problem.needs_baseline:
            raise SweepError(
                f"the baseline failed, and bounds are relative to it: {finished.stage}: {finished.reason}"
            )

    def _refuse_total_failure(self) -> None:
        results = self._study.results()
        if results.failures and len(results.failed) == len(results.trials):
            reason, count = results.failures[0]
            raise SweepError(
                f"all {len(results.failed)} trials failed; the commonest reason, {count} times: {reason}"
            )


def _estimate(metrics: Mapping[str, Estimate], name: str) -> Estimate:
    return metrics.get(name, Estimate(None, reason=f"the task gave no {name}"))


def _value(metrics: Mapping[str, Estimate], name: str) -> float:
    estimate = _estimate(metrics, name)
    if estimate.value is None:
        raise MeasureError(f"no {name}: {estimate.reason or 'no value'}")
    return estimate.value


def _describe(error: BaseException) -> str:
    """Return type, message and the innermost line outside installed packages."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "site-packages" not in f.filename]
    where = f" ({frames[-1].name}, {Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    message = str(error)
    return f"{type(error).__name__}{': ' if message else ''}{message}{where}"
