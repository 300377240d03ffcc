"""Results of any Optuna study, whoever ran it: what it stored, read and never written to."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

import optuna
import sqlalchemy
import sqlalchemy.exc
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from moo import storage as stored
from moo.damage import undamaged
from moo.errors import ProblemError, StorageError, did_you_mean
from moo.evaluation import Estimate, Evaluation
from moo.journal import JOURNAL_ENDINGS
from moo.judging import bounds_on, judged_trials
from moo.metrics import Direction, Metric
from moo.naming import listed, metric_names, split_constraint
from moo.problem import Problem
from moo.results import FinishedTrial, Results, State
from moo.samplers import NOISE
from moo.study import Study

__all__ = ["foreign_results", "is_storage"]

_DATABASES = (".db", ".sqlite", ".sqlite3")

_SQLITE_BEGINS = b"SQLite format 3\0"
_JOURNAL_BEGINS = b'{"op_code"'
_DIRECTIONS: Mapping[StudyDirection, Direction] = {
    StudyDirection.MAXIMIZE: "maximize",
    StudyDirection.MINIMIZE: "minimize",
}
_STATES: Mapping[TrialState, State] = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}
_MOST_NAMES = 20  # of studies that a message lists
_Z = 1.959964  # half a 95% interval in standard deviations


def foreign_results(
    storage: str | Path,
    study_name: str | None = None,
    *,
    maximize: Iterable[str] = (),
    minimize: Iterable[str] = (),
    constraints: Iterable[str] = (),
) -> Results:
    """Return what a study has so far, whether this project ran it or anybody else with Optuna.

    Of a foreign study, the values are metrics called as its `metric_names` say, else `value` or `value_0`,
    `value_1`, ..; so are numbers among the user attributes, and the constraints (`trial.constraints`: those
    set by name, and those of a sampler's `constraints_func`), which hold at 0 or less. All are plain
    numbers: a study does not say their unit. A standard deviation that a trial has under `moo:noise` makes
    an interval. A pruned trial has its curve and no value, since Optuna's is only the last step's.

    Nothing is written: a database file is opened to be read only.

    Args:
        storage: A database URL, the path of an SQLite file, or of a journal file.
        study_name: Its name; None where the storage holds just one.
        maximize: Values and user attributes to maximise in place of the study's own objectives.
        minimize: Likewise, to minimise.
        constraints: Bounds on values and user attributes, beside the study's own.

    Raises:
        StorageError: If there is no such storage or study.
        ProblemError: For objectives or constraints on a study of this project, which has its own; for a
            metric that is not there, or what `Problem.parse` refuses.
    """
    database, shown = _opened(storage), stored.hide_password(str(storage))
    wanted = listed(maximize), listed(minimize), listed(constraints)
    with undamaged(study_name or shown):
        study = _study(database, study_name, shown)
        if stored.STUDY not in study.user_attrs:
            return _results(study, *wanted)
        problem = _own_problem(database, study)
    if any(wanted):
        own = [f"{objective.direction} {objective.metric.name}" for objective in problem.objectives]
        own += [str(constraint) for constraint in problem.constraints]
        raise ProblemError(
            f"study {study.study_name!r} was run with its own objectives and constraints ({'; '.join(own)}):"
            " give none here; for others, read the candidates.csv of its report as a table"
        )
    return Study(study, database, problem).results()


def _own_problem(database: BaseStorage, study: optuna.Study) -> Problem:
    """Return what a study of this project was begun with."""
    record = stored.stored_record(database, study.study_name)
    assert record is not None  # it has the attribute
    return Problem.from_json(record["problem"])


def is_storage(path: Path) -> bool:
    """Return whether a file is a study's storage, by its ending or how it begins; else it may be a table."""
    if path.suffix.lower() in (*_DATABASES, *JOURNAL_ENDINGS):
        return True
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return file.read(len(_SQLITE_BEGINS)).startswith((_SQLITE_BEGINS, _JOURNAL_BEGINS))
    except OSError:
        return False


def _opened(storage: str | Path) -> BaseStorage:
    url = str(storage)
    if "://" in url:
        file = stored.sqlite_file(url)
        return _database(url) if file is None else _file(file)
    return _file(Path(storage))


def _file(path: Path) -> BaseStorage:
    try:
        if path.exists() and not path.is_file():  # reading a pipe or device may never end
            got = "a folder" if path.is_dir() else "a pipe or device"
            raise StorageError(f"storage '{path}': expected a file, got {got}")
        with path.open("rb") as file:
            head = file.read(len(_SQLITE_BEGINS))
    except FileNotFoundError:
        raise StorageError(f"storage '{path}': there is no such file") from None
    except OSError as error:
        raise StorageError(f"storage '{path}' cannot be read: {error.strerror or error}") from error
    if head == _SQLITE_BEGINS:
        read_only = sqlalchemy.URL.create(
            "sqlite", database=f"file:{quote(str(path.absolute()))}", query={"mode": "ro", "uri": "true"}
        )
        return _database(read_only.render_as_string(hide_password=False), f"'{path}'")
    if head.startswith(_JOURNAL_BEGINS):
        return _journal(path)
    got = "an empty file" if not head else "a file that is neither"
    raise StorageError(f"storage '{path}': expected an SQLite database or a journal of Optuna, got {got}")


def _database(url: str, shown: str | None = None) -> BaseStorage:
    """Return a database that has studies' tables: Optuna would make them where there are none."""
    shown = shown or repr(stored.hide_password(url))
    try:
        engine = sqlalchemy.create_engine(url)
        try:
            has_tables = sqlalchemy.inspect(engine).has_table("studies")
        finally:
            engine.dispose()
        if not has_tables:
            raise StorageError(f"storage {shown}: the database holds no study of Optuna")
        return optuna.storages.get_storage(url)
    except ImportError as error:
        said = stored.missing_driver(url, error)
        raise StorageError(f"storage {shown}: its driver is not installed: {said}") from error
    except (sqlalchemy.exc.SQLAlchemyError, RuntimeError, ValueError, OSError) as error:
        raise StorageError(f"storage {shown} cannot be opened: {stored.first_line(error)}") from error


def _journal(path: Path) -> BaseStorage:
    try:
        return JournalStorage(JournalFileBackend(str(path)))
    except (ValueError, KeyError, TypeError, AssertionError, OSError) as error:
        said = stored.first_line(error)
        raise StorageError(f"storage '{path}' is no journal that Optuna can read: {said}") from error


def _study(database: BaseStorage, name: str | None, shown: str) -> optuna.Study:
    names = [study.study_name for study in database.get_all_studies()]
    listing = ", ".join([*names[:_MOST_NAMES], *(["..."] if len(names) > _MOST_NAMES else [])])
    if not names:
        raise StorageError(f"storage {shown!r} holds no study")
    if name is None and len(names) > 1:
        raise StorageError(f"storage {shown!r} holds {len(names)} studies: name one of them: {listing}")
    if name is not None and name not in names:
        raise StorageError(f"storage {shown!r} has no study {name!r}; it holds: {listing}")
    return optuna.load_study(study_name=names[0] if name is None else name, storage=database)


@dataclasses.dataclass(frozen=True)
class _Names:
    """The metrics of a study: of its values, in their order; of constraints and attributes, by key."""

    values: tuple[Metric, ...]
    constraints: Mapping[str, Metric]
    attrs: Mapping[str, Metric]

    @property
    def metrics(self) -> dict[str, Metric]:
        """Every metric by its name."""
        every = (*self.values, *self.constraints.values(), *self.attrs.values())
        return {metric.name: metric for metric in every}

    @property
    def by_text(self) -> dict[str, Metric]:
        """Every metric by what a person may call it; values come first."""
        values = {metric.label or metric.name: metric for metric in reversed(self.values)}
        return {**self.metrics, **self.constraints, **self.attrs, **values}


def _names(study: optuna.Study, trials: Sequence[FrozenTrial]) -> _Names:
    directions = [_DIRECTIONS[direction] for direction in study.directions]
    several = [f"value {index}" for index in range(len(directions))]
    values = study.metric_names or (several if len(directions) > 1 else ["value"])
    constraints = list(dict.fromkeys(key for trial in trials for key in trial.constraints))
    told = [(key, value) for trial in trials for key, value in trial.user_attrs.items()]
    attrs = list(dict.fromkeys(key for key, value in told if _is_number(value)))
    held = [f"constraint {key}" if key.isdigit() else key for key in constraints]
    names = metric_names([*values, *held, *attrs], fallback="number")
    of_values, rest = names[: len(values)], names[len(values) :]
    return _Names(
        values=tuple(
            Metric(name=name, label=_label(name, text), direction=direction)
            for name, text, direction in zip(of_values, values, directions, strict=True)
        ),
        constraints={
            key: Metric(name=name, label=f"constraint {key}")
            for key, name in zip(constraints, rest[: len(held)], strict=True)
        },
        attrs={
            key: Metric(name=name, label=_label(name, key))
            for key, name in zip(attrs, rest[len(held) :], strict=True)
        },
    )


def _label(name: str, text: str) -> str:
    return "" if name == text else text


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)  # a switch is no quantity


def _results(
    study: optuna.Study, maximize: list[str], minimize: list[str], constraints: list[str]
) -> Results:
    frozen = study.get_trials(deepcopy=False)
    finished = [trial for trial in frozen if trial.state.is_finished()]
    names = _names(study, finished)
    problem = _problem(names, maximize, minimize, constraints)
    trials = [_finished(trial, names) for trial in finished]
    bounds = bounds_on(problem, trials, "study")
    return Results(
        study_name=study.study_name,
        problem=problem,
        trials=judged_trials(problem, bounds, trials),
        bounds=bounds,
        extra_metrics=names.metrics,
        distributions=stored.distributions(finished),
        n_running=sum(trial.state == TrialState.RUNNING for trial in frozen),
    )


def _problem(names: _Names, maximize: list[str], minimize: list[str], constraints: list[str]) -> Problem:
    by_text = names.by_text

    def named(text: str, argument: str) -> str:
        metric = by_text.get(text.strip())
        if metric is None:
            hint = did_you_mean(text.strip(), by_text)
            raise ProblemError(f"{argument}: the study has no number {text.strip()!r}: {hint}")
        return metric.name

    texts = [f"{metric.name} <= 0" for metric in names.constraints.values()]
    for text in constraints:
        head, rest = split_constraint(text, by_text)
        texts.append(f"{named(head, f'constraint {text!r}')} {rest}" if rest else text)
    if maximize or minimize:
        return Problem.parse(
            maximize=[named(text, "maximize") for text in maximize],
            minimize=[named(text, "minimize") for text in minimize],
            constraints=texts,
            metrics=names.metrics,
        )
    parsed = Problem.parse(
        maximize=[metric.name for metric in names.values if metric.direction == "maximize"],
        minimize=[metric.name for metric in names.values if metric.direction == "minimize"],
        constraints=texts,
        metrics=names.metrics,
    )
    order = [metric.name for metric in names.values]
    objectives = sorted(parsed.objectives, key=lambda objective: order.index(objective.metric.name))
    return dataclasses.replace(parsed, objectives=tuple(objectives))


def _finished(trial: FrozenTrial, names: _Names) -> FinishedTrial:
    """Return a foreign trial as a row of the results; it is not judged yet."""
    of_values, of_constraints = _noise(trial)
    metrics: dict[str, Estimate] = {}
    if trial.state == TrialState.COMPLETE:
        sds = [*of_values, *[None] * len(names.values)]
        for metric, value, sd in zip(names.values, trial.values, sds, strict=False):
            metrics[metric.name] = _estimate(value, sd)
    for key, value in trial.constraints.items():
        metrics[names.constraints[key].name] = _estimate(value, of_constraints.get(key))
    for key, metric in names.attrs.items():
        if _is_number(trial.user_attrs.get(key)):
            metrics[metric.name] = _estimate(trial.user_attrs[key])
    curve = _curve(trial, names.values[0].name)
    return FinishedTrial(
        number=trial.number,
        state=_STATES[trial.state],
        params=trial.params,
        evaluation=Evaluation(metrics=metrics, curve=curve),
        stage="objective" if trial.state == TrialState.FAIL else None,
        reason=_reason(trial),
        duration_s=None if trial.duration is None else trial.duration.total_seconds(),
    )


def _noise(trial: FrozenTrial) -> tuple[Sequence[object], Mapping[str, object]]:
    """Return the deviations of values and of constraints; none where anybody stored something else there."""
    noise = trial.user_attrs.get(NOISE)
    found = noise if isinstance(noise, dict) else {}
    values, constraints = found.get("objectives"), found.get("constraints")
    return values if isinstance(values, list) else [], constraints if isinstance(constraints, dict) else {}


def _estimate(value: float | None, sd: object = None) -> Estimate:
    """Return a value with the 95% interval that its standard deviation makes, if it has one."""
    try:
        number = math.nan if value is None else float(value)
    except OverflowError:  # whole numbers have any size
        return Estimate(None, reason="stored as a number beyond 64 bits")
    try:
        deviation = float(sd) if isinstance(sd, int | float) and _is_number(sd) else math.nan
    except OverflowError:
        deviation = math.nan
    if math.isnan(number):
        return Estimate(None, reason="stored as no number")
    low, high = number - _Z * deviation, number + _Z * deviation
    if not (deviation >= 0 and math.isfinite(low) and math.isfinite(high)):
        return Estimate(number)
    return Estimate(number, low, high)


def _curve(trial: FrozenTrial, name: str) -> tuple[tuple[int, Mapping[str, float]], ...]:
    """Return what was reported step by step, as values of the first objective; finite ones."""
    steps = sorted(trial.intermediate_values.items())
    return tuple((step, {name: float(value)}) for step, value in steps if math.isfinite(value))


def _reason(trial: FrozenTrial) -> str | None:
    if trial.state == TrialState.FAIL:
        return "the trial failed; Optuna stores no reason"
    if trial.state == TrialState.PRUNED:
        return "pruned" if trial.last_step is None else f"pruned after step {trial.last_step}"
    return None
