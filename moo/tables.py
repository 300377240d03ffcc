"""Results from a table that nobody here measured: any CSV or Parquet file, one row a candidate."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from moo.cells import Cells, read_cells
from moo.columns import Columns, as_number, columns_of, is_wrong, label_column, problem_on, remedy
from moo.errors import InputError
from moo.evaluation import Estimate, Evaluation
from moo.judging import bounds_on, judged_trials
from moo.labels import row_labels, shown
from moo.metrics import BUILT_IN
from moo.naming import listed
from moo.problem import Problem
from moo.results import FinishedTrial, Results, State

__all__ = ["read_table"]

_EMPTY = Estimate(None, reason="the cell is empty")
_STATES: Mapping[str, State] = {"complete": "complete", "pruned": "pruned", "failed": "failed"}


def read_table(
    path: str | Path,
    *,
    maximize: Iterable[str] = (),
    minimize: Iterable[str] = (),
    constraints: Iterable[str] = (),
    label: str | None = None,
    name: str | None = None,
) -> Results:
    """Return a table's rows as the finished trials of a study: one row a candidate, numbered from 0.

    Every column of numbers is a metric, in the unit it is written in: a plain number, but for a column with
    the name of a built-in metric and values that it can have, which is taken in SI units (`latency_p50` in
    seconds, `accuracy` from 0 to 1). Columns `x_low` and `x_high` beside a column `x` are the ends of its
    interval. Every other column is a parameter. `candidates.csv` of a report is read back as what it was
    written from: trial numbers, labels, states, parameters, tags and the baseline.

    A cell that is empty, or holds `-`, `n/a` or `nan`, is a value that is not known. A row that lacks some
    objectives is complete and never on the front; one that lacks all of them has failed.

    Args:
        path: A CSV file (UTF-8; cells parted by commas, semicolons or tabs) or a Parquet file.
        maximize: Columns to maximise.
        minimize: Columns to minimise.
        constraints: Bounds on columns, such as `param_count <= 30`.
        label: The column that names the candidates; a name that several rows have gets
            the setting that tells them apart, else its row's number.
        name: What the study is called; None for the file's name.

    Raises:
        InputError: If the file is no table (see `moo.cells.read_cells`), or a cell cannot be used.
        ProblemError: For a column that is not there or holds no numbers, or what `Problem.parse` refuses.
    """
    cells = read_cells(Path(path))
    columns = columns_of(cells)
    problem = problem_on(
        cells,
        columns,
        maximize=listed(maximize),
        minimize=listed(minimize),
        constraints=listed(constraints),
    )
    named_by = label_column(cells, columns, label)
    metrics = {c: m for c, m in columns.metrics.items() if c != named_by or m in problem.metrics}
    estimates = {
        metric.name: _estimates(cells, column, columns.ends.get(column)) for column, metric in metrics.items()
    }
    trials = _trials(cells, columns, problem, estimates, named_by)
    bounds = bounds_on(problem, trials, "table")
    return Results(
        study_name=Path(path).stem if name is None else name,
        problem=problem,
        trials=judged_trials(problem, bounds, trials),
        bounds=bounds,
        task=f"table {Path(path).name}",
        extra_metrics={m.name: m for m in metrics.values() if BUILT_IN.get(m.name) != m},
        is_search=False,
    )


def _estimates(cells: Cells, column: str, ends: tuple[str, str] | None) -> list[Estimate]:
    """Return each row's estimate; equal cells share one."""
    texts = cells.columns[column]
    if ends is None:
        plain = {text: _plain_estimate(text) for text in set(texts)}
        return [plain[text] for text in texts]
    known: dict[tuple[str, str, str], Estimate] = {}
    triples = list(zip(texts, cells.columns[ends[0]], cells.columns[ends[1]], strict=True))
    for index, triple in enumerate(triples):
        if triple not in known:
            known[triple] = _interval(cells, column, index, triple)
    return [known[triple] for triple in triples]


def _plain_estimate(text: str) -> Estimate:
    value = as_number(text)
    return _EMPTY if value is None else Estimate(value)


def _interval(cells: Cells, column: str, index: int, triple: tuple[str, str, str]) -> Estimate:
    wrong = next((text for text in triple if is_wrong(text)), None)
    if wrong is not None:
        raise InputError(
            f"column {column!r}, {cells.place(index)}: expected a number, got {wrong[:60]!r}: {remedy(wrong)}"
        )
    value, low, high = (as_number(text) for text in triple)
    try:
        return Estimate(value, low, high, None if value is not None else _EMPTY.reason)
    except ValueError:
        raise InputError(
            f"column {column!r}, {cells.place(index)}: expected {column}_low <= {column} <= {column}_high,"
            f" got {low}, {value}, {high}: rename the two columns if they are no interval"
        ) from None


def _trials(
    cells: Cells,
    columns: Columns,
    problem: Problem,
    estimates: Mapping[str, list[Estimate]],
    named_by: str | None,
) -> tuple[FinishedTrial, ...]:
    n_rows = cells.n_rows
    numbers = _numbers(cells) if columns.is_ours else list(range(n_rows))
    labels = row_labels(cells, columns, problem, named_by, numbers)
    objectives = [estimates[objective.metric.name] for objective in problem.objectives]
    reason = f"no value of {', '.join(o.metric.name for o in problem.objectives)}"
    params = [
        (
            name,
            [_setting(text) for text in cells.columns[column]] if columns.is_ours else cells.columns[column],
        )
        for column, name in columns.params.items()
        if column != named_by
    ]
    read = _ours(cells) if columns.is_ours else _plain
    trials = []
    for index in range(n_rows):
        evaluation = Evaluation(metrics={name: found[index] for name, found in estimates.items()})
        trial = FinishedTrial(
            number=numbers[index],
            state="complete",
            params={name: values[index] for name, values in params if values[index] != ""},
            evaluation=evaluation,
            label=labels[index],
        )
        trial = read(index, trial)
        if trial.state == "complete" and all(found[index].value is None for found in objectives):
            trial = dataclasses.replace(trial, state="failed", stage="table", reason=reason)
        trials.append(trial)
    return tuple(sorted(trials, key=lambda trial: trial.number))


def _plain(index: int, trial: FinishedTrial) -> FinishedTrial:  # noqa: ARG001
    return trial


def _ours(cells: Cells) -> Callable[[int, FinishedTrial], FinishedTrial]:
    """Return what adds to a row what only a `candidates.csv` has."""
    empty = [""] * cells.n_rows
    states, baselines = cells.columns["state"], cells.columns["baseline"]
    tags, reasons, durations = (cells.columns.get(name, empty) for name in ("tags", "reason", "duration_s"))

    def read(index: int, trial: FinishedTrial) -> FinishedTrial:
        state = _STATES.get(states[index].strip().lower())
        if state is None:
            raise InputError(
                f"column 'state', {cells.place(index)}: expected complete, pruned or failed, got"
                f" {states[index][:60]!r}"
            )
        evaluation = trial.evaluation or Evaluation(metrics={})
        return dataclasses.replace(
            trial,
            state=state,
            evaluation=dataclasses.replace(evaluation, tags=tuple(shown(tags[index]).split())),
            reason=shown(reasons[index]) or None,
            is_baseline=baselines[index].strip().lower() == "true",
            duration_s=as_number(durations[index]),
        )

    return read


def _numbers(cells: Cells) -> list[int]:
    """Return the trial numbers of a `candidates.csv`."""
    found: dict[int, int] = {}
    for index, text in enumerate(cells.columns["trial"]):
        if not re.fullmatch(r"\s*\d{1,15}\s*", text, flags=re.ASCII) or int(text) in found:
            raise InputError(
                f"column 'trial', {cells.place(index)}: expected a whole number that no other row has, got"
                f" {text[:60]!r}"
            )
        found[int(text)] = index
    return list(found)


def _setting(text: str) -> Any:
    """Return a parameter's value as it was before it was written."""
    if text in ("True", "False"):
        return text == "True"
    if re.fullmatch(r"[-+]?\d{1,18}", text, flags=re.ASCII):
        return int(text)
    number = as_number(text)
    return shown(text) if number is None or not text.strip() else number
