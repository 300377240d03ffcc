"""A study of a task: begin it or resume it, and read it."""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict

import optuna
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from moo import storage as stored
from moo import workers
from moo.confirmation import CONFIRMATION, TEST_OPENED, checked_confirmation, checked_openings
from moo.crew import Orders, pickled
from moo.damage import SETTING, undamaged
from moo.decision import Recommendation, recommend
from moo.errors import InputError, ProblemError, StorageError, TaskLoadError
from moo.limits import Limits
from moo.log import StudyLog
from moo.metrics import BUILT_IN, Metric
from moo.problem import Problem
from moo.pruning import Pruner, make_pruner
from moo.quiet import OpenWindow, Window
from moo.results import FinishedTrial, Results
from moo.samplers import make_sampler
from moo.shapes import checked
from moo.supervisor import Supervisor
from moo.sweep import STORAGE_ERRORS, Sweep
from moo.task import Observer, Task

if TYPE_CHECKING:
    import pandas as pd

    from moo.engines import RayEngine, RayFleet

__all__ = ["Study", "load_study", "optimize"]

_ANY_LIMIT = "limits: one of time or memory"
_FINISHED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


def optimize(
    task: Task,
    *,
    maximize: Iterable[str] = (),
    minimize: Iterable[str] = (),
    constraints: Iterable[str] = (),
    n_trials: int,
    timeout_s: float | None = None,
    sampler: str | BaseSampler = "auto",
    pruner: str | Pruner | None = None,
    seed: int | None = None,
    storage: str | None = None,
    study_name: str | None = None,
    folder: str | Path | None = None,
    n_workers: int = 1,
    limits: Limits | None = None,
    make_task: Callable[[], Task] | None = None,
    engine: Literal["local", "ray"] | RayEngine = "local",
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
        pruner: What stops trials that are not worth training on: `halving` or `hyperband`, with options as in
            `halving:eta=4,min_resource=2`; for one objective also Optuna's by name; None for none.
        seed: Makes proposals and training repeatable; None draws one and stores it.
        storage: A database URL; None for an SQLite file in `folder`.
        study_name: None for the task's name.
        folder: Where artefacts, samples and the default database go; None for
            `moo-runs/<study name>`. Nothing is written elsewhere.
        n_workers: Processes of this machine that share the sweep; with 1 it runs in this one. While one of
            them measures the others pause, where their tasks report. They share the processors' threads, too.
            On a cluster, how many trials are evaluated at a time.
        limits: What one trial may take: time, memory, files; None for no limit. One that takes more has
            failed, and the sweep goes on. With a limit of time or memory even one worker is a process of its
            own.
        make_task: Makes the task in a worker process, for a task that cannot be pickled; it is imported there
            by its name. None to send the task itself.
        engine: Where trials are evaluated: on this machine, or on a Ray cluster, as `moo.engines.RayEngine`
            says; `ray` for one with nothing chosen. The study and all files stay here.
        observer: Told of each trial.
        should_stop: Asked before each trial; True ends the sweep there.
        clock: Seconds from any origin; for tests.

    Returns:
        The study, with its front.

    Raises:
        InputError: For wrong input: before anything is written, unless it takes a trial to find out (data
            that do not fit, a relative bound that can never hold).
        SweepError: If every trial failed, or the baseline did and a bound is relative to it.
    """
    if isinstance(task, type):
        raise TaskLoadError(f"task: expected an instance, got the class {task.__name__}: call it")
    name = _checked_name(task.name if study_name is None else study_name)
    root = (Path("moo-runs") / name if folder is None else Path(folder)).absolute()
    _checked_workers(n_workers)
    with _fleet(engine) as fleet:
        placed = task if fleet is None else fleet.placed(task)
        plan = _Plan(
            problem=_checked(placed, maximize, minimize, constraints, n_trials, timeout_s),
            name=name,
            root=root,
            n_trials=n_trials,
            sampler=sampler,
            pruner=pruner,
            seed=_checked_seed(seed),
            storage=storage,
            limits=_checked_limits(limits),
        )
        plan.make_sampler(0)  # one that is unknown or cannot do this is refused before anything is written
        make_pruner(pruner, plan.problem)
        is_crew = fleet is None and (n_workers > 1 or plan.limits.needs_workers)
        job = _worker_job(task, make_task, plan, n_workers) if is_crew else None
        begun = _begin(placed, plan)
        ends: _Ends = {
            "until": None if timeout_s is None else clock() + timeout_s,
            "clock": clock,
            "should_stop": should_stop,
        }
        with begun.told(observer, n_workers, engine) as log:
            if fleet is not None:
                _run_on(fleet, placed, begun, n_workers, observer, ends)
            elif job is None:
                begun.sweep(placed, observer=observer).run(n_trials, **ends)
            else:
                supervisor = Supervisor(
                    begun.study.optuna_study,
                    begun.study.storage,
                    root=root,
                    n_trials=n_trials,
                    job=job,
                    observer=observer,
                    log=log,
                    problem=plan.problem,
                    limits=plan.limits,
                )
                supervisor.run(n_workers, **ends)
                begun.sweep(placed, observer=None).refuse_total_failure()
    return begun.study


@contextmanager
def _fleet(engine: Literal["local", "ray"] | RayEngine) -> Iterator[RayFleet | None]:
    """Open what trials are evaluated on, if not on this machine."""
    if engine == "local":
        yield None
        return
    from moo.engines import RayEngine

    chosen = RayEngine() if engine == "ray" else engine
    if not isinstance(chosen, RayEngine):
        raise InputError(f"engine: expected local, ray or a moo.engines.RayEngine, got {engine!r}")
    with chosen.opened() as fleet:
        yield fleet


def _run_on(
    fleet: RayFleet,
    task: Task,
    begun: _Begun,
    n_workers: int,
    observer: Observer | None,
    ends: _Ends,
) -> None:
    """Run a sweep's trials on a cluster, so many at a time."""
    from moo.engines import OneAtATime

    told = None if observer is None else OneAtATime(observer)
    seats = [fleet.seat(task, begun.plan.limits) for _ in range(n_workers)]
    sweeps = [begun.sweep(seat, observer=told, window=OpenWindow()) for seat in seats]

    def share(sweep: Sweep, is_over: Callable[[], bool]) -> None:
        sweep.share(begun.plan.n_trials, until=ends["until"], clock=ends["clock"], should_stop=is_over)

    shares = {seat: partial(share, sweep) for seat, sweep in zip(seats, sweeps, strict=True)}
    fleet.run(shares, ends["should_stop"])
    sweeps[0].refuse_total_failure()


class _Ends(TypedDict):
    """When a sweep ends before it is done."""

    until: float | None
    clock: Callable[[], float]
    should_stop: Callable[[], bool]


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """What a study is begun with, in this process and in each that helps it."""

    problem: Problem
    name: str
    root: Path
    n_trials: int
    sampler: str | BaseSampler
    pruner: str | Pruner | None
    seed: int | None
    storage: str | None
    limits: Limits

    def make_sampler(self, seed: int) -> BaseSampler:
        return make_sampler(
            self.sampler,
            n_objectives=len(self.problem.objectives),
            is_constrained=bool(self.problem.constraints),
            n_trials=self.n_trials,
            seed=seed,
        )


@dataclass(frozen=True, kw_only=True)
class _Begun:
    """A study that is begun or resumed, and what the shares of its sweep are made of."""

    study: Study
    plan: _Plan
    seed: int

    def sweep(self, task: Task, *, observer: Observer | None, window: Window | None = None) -> Sweep:
        """Return a share of the sweep."""
        return Sweep(
            self.study.optuna_study,
            self.study.storage,
            self.plan.problem,
            task,
            root=self.plan.root,
            seed=self.seed,
            observer=observer,
            pruner=make_pruner(self.plan.pruner, self.plan.problem),
            limits=self.plan.limits,
            window=window,
        )

    @contextmanager
    def told(self, observer: Observer | None, n_workers: int, engine: str | RayEngine) -> Iterator[StudyLog]:
        """Tell the observer and the log of the sweep's begin, and the log of its end."""
        plan = self.plan
        if observer is not None:
            observer.begun(self.study.results(), plan.n_trials)
        log = StudyLog(plan.root)
        log.write(
            "study_begun",
            study=plan.name,
            n_trials=plan.n_trials,
            n_finished=len(self.study.finished),
            seed=self.seed,
            sampler=plan.sampler if isinstance(plan.sampler, str) else type(plan.sampler).__name__,
            storage=plan.storage,
            n_workers=n_workers,
            engine=engine if isinstance(engine, str) else str(engine),
            limits={name: value for name, value in asdict(plan.limits).items() if value is not None},
        )
        with log.with_warnings(), _told_end(log, self.study, plan.n_trials):
            yield log


def _begin(task: Task, plan: _Plan) -> _Begun:
    """Begin a study, or resume it."""
    identity, setting = task.identity(), task.setting()
    database = _open(plan.storage, plan.root)
    before = stored.stored_record(database, plan.name)
    seed = plan.seed if plan.seed is not None else before["seed"] if before else secrets.randbits(32)
    optuna_study = stored.open_study(
        database,
        plan.name,
        plan.problem,
        task=identity,
        setting=setting,
        seed=seed,
        folder=plan.root,
        sampler=plan.make_sampler(seed),
    )
    return _Begun(study=Study(optuna_study, database, plan.problem), plan=plan, seed=seed)


@contextmanager
def _told_end(log: StudyLog, study: Study, n_trials: int) -> Iterator[None]:
    """Put into the log how the sweep ended."""
    why = "stopped at once"
    try:
        yield
        why = ""
    except Exception as error:
        why = f"{type(error).__name__}: {stored.first_line(error)}"
        raise
    finally:
        try:
            n_finished: int | None = len(study.finished)
        except STORAGE_ERRORS:
            n_finished = None
        whole = n_finished is not None and n_finished >= n_trials
        said = why or ("done" if whole else "stopped")
        log.write("study_ended", level="warning" if why else "info", n_finished=n_finished, why=said)


def _checked_workers(n_workers: int) -> None:
    if isinstance(n_workers, bool) or not isinstance(n_workers, int) or n_workers < 1:
        raise InputError(f"n_workers: expected a whole number of 1 or more, got {n_workers!r}")


def _checked_limits(limits: Limits | None) -> Limits:
    if limits is not None and not isinstance(limits, Limits):
        raise InputError(f"limits: expected moo.Limits, such as moo.Limits(time_s=600), got {limits!r}")
    return limits or Limits()


def _worker_job(task: Task, make_task: Callable[[], Task] | None, plan: _Plan, n_workers: int) -> bytes:
    """Return what each worker does, pickled.

    Raises:
        InputError: For a storage that no other process sees, or a task that cannot be had in another process.
    """
    why = f"n_workers: {n_workers}" if n_workers > 1 else f"{_ANY_LIMIT} takes two processes, and"
    if re.fullmatch(r"sqlite(\+\w+)?://(/?|/:memory:.*)", plan.storage or ""):
        raise InputError(
            f"{why} processes cannot share the storage {plan.storage!r}, which is in the memory"
            " of one: name a file, or leave storage out"
        )
    given = {"task": task} if make_task is None else {"make_task": make_task}
    what, leave = ("n_workers: more than one", "n_workers") if n_workers > 1 else (_ANY_LIMIT, "the limit")
    try:
        return pickled(_worker, plan=plan, verbosity=optuna.logging.get_verbosity(), **given)
    except ValueError as error:
        raise InputError(
            f"{what} needs a task that other processes can make, but {task.name} is none:"
            f" {error}. Move it into a module and import it, give make_task, or leave {leave} out"
        ) from error


def _worker(
    orders: Orders,
    *,
    plan: _Plan,
    verbosity: int,
    task: Task | None = None,
    make_task: Callable[[], Task] | None = None,
) -> Callable[[], None]:
    """Join a study in a worker process; return its share of the sweep, which is yet to be done."""
    optuna.logging.set_verbosity(verbosity)
    made = task if make_task is None else make_task()
    assert made is not None, "one of both is given"
    if isinstance(plan.sampler, BaseSampler):
        plan.sampler.reseed_rng()  # else all workers would propose the same
    sweep, log = _begin(made, plan).sweep(made, observer=None), StudyLog(plan.root)

    def share() -> None:
        with log.with_warnings():
            sweep.share(plan.n_trials, until=None, clock=time.monotonic, should_stop=orders.should_stop)

    return share


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
    shown = stored.hide_password(storage)
    with undamaged(shown):
        names = [entry.study_name for entry in database.get_all_studies()]
    if study_name is None and len(names) != 1:
        raise StorageError(
            f"storage {shown!r} holds {len(names)} studies ({', '.join(names)}): name one of them"
        )
    name = study_name if study_name is not None else names[0]
    with undamaged(name):
        record = stored.stored_record(database, name)
        if record is None:
            raise StorageError(
                f"storage {shown!r} has no study {name!r}; it holds: {', '.join(names) or 'none'}"
            )
        optuna_study = optuna.load_study(study_name=name, storage=database)
        return Study(optuna_study, database, Problem.from_json(record["problem"]))


@dataclass(frozen=True, eq=False, repr=False)
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

    def __repr__(self) -> str:
        return f"Study(name={self.name!r}, folder={str(self.folder)!r})"

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        from moo.notebook import results_html

        return results_html(self.results())

    @property
    def name(self) -> str:
        """The study's name."""
        return self.optuna_study.study_name

    @property
    def finished(self) -> list[FrozenTrial]:
        """Optuna's finished trials, whatever became of them."""
        return self.optuna_study.get_trials(deepcopy=False, states=_FINISHED)

    @property
    def running(self) -> list[tuple[int, str]]:
        """Trials that some process is running now, or was when it was lost: number and host."""
        trials = self.optuna_study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        signed = [(trial.number, trial.user_attrs.get(workers.WORKER) or {}) for trial in trials]
        return [(number, str(worker.get("host", "unknown host"))) for number, worker in signed]

    @property
    def folder(self) -> Path:
        """Where its trials' files are."""
        return Path(self.optuna_study.user_attrs[stored.STUDY]["folder"])

    def results(self) -> Results:
        """Return the table of finished trials as it is now.

        Raises:
            StorageError: If something stored is not as it was written.
        """
        with undamaged(self.name):
            return self._results()

    def _results(self) -> Results:
        frozen = self.finished
        trials = tuple(stored.finished_trial(trial) for trial in frozen)
        attrs = self.optuna_study.user_attrs
        setting = checked(attrs.get(stored.SETTING, {}), SETTING, stored.SETTING)
        baseline = next((t for t in trials if t.is_baseline and t.state == "complete"), None)
        return Results(
            study_name=self.name,
            problem=self.problem,
            trials=trials,
            bounds=_known_bounds(self.problem, baseline),
            task=attrs[stored.STUDY]["task"].get("name"),
            environment=setting.get("environment"),
            protocol=setting.get("protocol"),
            extra_metrics={name: Metric.from_json(row) for name, row in setting.get("metrics", {}).items()},
            confirmation=checked_confirmation(attrs.get(CONFIRMATION), self.problem),
            distributions=stored.distributions(frozen),
            test_opened=checked_openings(attrs.get(TEST_OPENED, [])),
            n_running=len(self.running),
            devices=tuple(setting.get("devices", ())),
        )

    def front(self) -> pd.DataFrame:
        """Return the non-dominated feasible candidates, one row each, as `Results.front_table`."""
        return self.results().front_table()

    def recommend(
        self, *, weights: Mapping[str, float] | None = None, constraints: Iterable[str] | None = None
    ) -> Recommendation | None:
        """Return which candidate to take, why, and what would change it, as `moo.decision.recommend`."""
        return recommend(self.results(), weights=weights, constraints=constraints)


def _known_bounds(problem: Problem, baseline: FinishedTrial | None) -> tuple[float | None, ...]:
    measured = {} if baseline is None or baseline.evaluation is None else baseline.evaluation.metrics
    bounds: list[float | None] = []
    for constraint in problem.constraints:
        estimate = measured.get(constraint.metric.name)
        is_known = not constraint.is_relative or (estimate is not None and estimate.value is not None)
        bounds.append(constraint.bound(estimate) if is_known else None)
    return tuple(bounds)


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
    own = _own_metrics(task)
    problem = Problem.parse(maximize=maximize, minimize=minimize, constraints=constraints, metrics=own)
    baseline = _baseline(task)
    relative = next((c for c in problem.constraints if c.is_relative), None)
    if relative is not None and baseline is None:
        raise ProblemError(
            f"constraint '{relative}' is relative to the baseline, but the task {task.name} has none:"
            " define its baseline() or give an absolute bound"
        )
    return problem


def _own_metrics(task: Task) -> dict[str, Metric]:
    for metric in task.metrics:
        if not isinstance(metric, Metric):
            raise TaskLoadError(f"metrics of the task {task.name}: expected moo.Metric, got {metric!r}")
        if metric.name in BUILT_IN:
            raise TaskLoadError(
                f"metrics of the task {task.name}: {metric.name} is built in; take another name"
            )
    return {metric.name: metric for metric in task.metrics}


def _baseline(task: Task) -> Mapping[str, Any] | None:
    try:
        params = task.baseline()
    except Exception as error:  # the person's own code, before any trial could store it
        raise TaskLoadError(f"baseline() raised {type(error).__name__}: {error}") from error
    if params is not None and not isinstance(params, Mapping):
        raise TaskLoadError(f"baseline() must return a dict of parameter values, got {type(params).__name__}")
    return params


def _checked_seed(seed: int | None) -> int | None:
    if seed is None:
        return None
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise InputError(f"seed: expected a whole number of 0 or more, got {seed!r}")
    return seed


def _checked_name(name: str) -> str:
    if not re.fullmatch(r"[\w .+-]{1,100}", name) or name.strip(" .") != name:
        raise InputError(f"study name: expected letters, digits, '-', '_', '.' or spaces, got {name!r}")
    return name


def _open(storage: str | None, root: Path) -> BaseStorage:
    """Open the storage; without a URL, an SQLite file in the sweep's folder, which is made for it."""
    if root.exists() and not root.is_dir():
        raise InputError(f"folder: expected a folder, got the file {root}")
    there = next(parent for parent in (root, *root.parents) if parent.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise InputError(f"folder: {root} cannot be written, because of {there}")
    if storage is not None:
        return stored.open_storage(storage)
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"folder: {root} cannot be created: {error.strerror}") from error
    return stored.open_storage(f"sqlite:///{root / 'study.db'}")


def _refuse_missing_file(storage: str) -> None:
    """Refuse to read an SQLite or journal file that is not there: it would be created."""
    path = stored.sqlite_file(storage) or stored.journal_file(storage)
    if path is not None and not path.exists():
        raise StorageError(f"storage {stored.hide_password(storage)!r}: there is no file {path}")
