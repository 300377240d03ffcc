"""What each column of a table is: a metric, the end of an interval, a parameter; and the problem on them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from moo.cells import Cells
from moo.errors import ProblemError, did_you_mean
from moo.metrics import BUILT_IN, Metric
from moo.naming import metric_names, parameter_names, split_constraint
from moo.problem import Problem

__all__ = [
    "Columns",
    "as_number",
    "columns_of",
    "is_known",
    "is_wrong",
    "label_column",
    "problem_on",
    "remedy",
]

_MISSING = frozenset({"", "-", "nan", "+nan", "-nan", "n/a", "na", "#n/a", "null", "none"})
_OF_OURS = frozenset({"trial", "state", "feasible", "on_front", "baseline"})


@dataclass(frozen=True, kw_only=True)
class Columns:
    """What each column is.

    Args:
        metrics: The metric by column.
        ends: The columns with the lower and upper ends of a column's intervals.
        params: The parameter's name by column.
        special: Columns of our own table that hold neither; empty for any other table.
    """

    metrics: Mapping[str, Metric]
    ends: Mapping[str, tuple[str, str]]
    params: Mapping[str, str]
    special: frozenset[str] = frozenset()

    @property
    def is_ours(self) -> bool:
        """Whether this is the `candidates.csv` of a report."""
        return bool(self.special)


def columns_of(cells: Cells) -> Columns:
    """Return what each column of a table is."""
    is_ours = set(cells.columns) >= _OF_OURS
    return _columns_of_ours(cells) if is_ours else _columns_of_any(cells)


def _columns_of_any(cells: Cells) -> Columns:
    numeric = [column for column, texts in cells.columns.items() if _are_numbers(texts)]
    ends = _ends(numeric)
    inner = {end for pair in ends.values() for end in pair}
    values = [column for column in numeric if column not in inner]
    names = metric_names(values)
    texts = [c for c, cell in cells.columns.items() if c not in numeric and any(map(is_known, cell))]
    params = parameter_names(texts, names)
    return Columns(
        metrics={
            column: _metric(name, column, cells.columns[column])
            for column, name in zip(values, names, strict=True)
        },
        ends=ends,
        params=dict(zip(texts, params, strict=True)),
    )


def _columns_of_ours(cells: Cells) -> Columns:
    """Return the columns of a `candidates.csv`: a metric is what has both ends, however empty it is."""
    known = (*_OF_OURS, "label", "p_on_front", "p_feasible", "tags", "reason", "duration_s")
    special = frozenset(known).intersection(cells.columns)
    rest = [column for column in cells.columns if column not in special]
    ends = _ends(rest)
    inner = {end for pair in ends.values() for end in pair}
    params = [column for column in rest if column.startswith("param_") and column not in {*ends, *inner}]
    values = [column for column in rest if column not in {*params, *inner}]
    values = [column for column in values if column in ends or _are_numbers(cells.columns[column])]
    names = metric_names(values)
    return Columns(
        metrics={
            column: _metric(name, column, cells.columns[column])
            for column, name in zip(values, names, strict=True)
        },
        ends=ends,
        params={column: column.removeprefix("param_") for column in params},
        special=special,
    )


def _ends(columns: Sequence[str]) -> dict[str, tuple[str, str]]:
    there = set(columns)
    pairs = {column: (f"{column}_low", f"{column}_high") for column in columns}
    return {column: pair for column, pair in pairs.items() if there.issuperset(pair)}


def _metric(name: str, column: str, texts: Sequence[str]) -> Metric:
    """Return the built-in metric of this name if the values can be its own, else a plain number."""
    built_in = BUILT_IN.get(name)
    if built_in is None:
        return Metric(name=name, label="" if name == column else column)
    low = -math.inf if built_in.low is None else built_in.low
    high = math.inf if built_in.high is None else built_in.high
    values = (as_number(text) for text in texts)
    if all(value is None or low <= value <= high for value in values):
        return built_in
    return dataclasses.replace(built_in, dimension="number", low=None, high=None)


def problem_on(
    cells: Cells,
    columns: Columns,
    *,
    maximize: Sequence[str],
    minimize: Sequence[str],
    constraints: Sequence[str],
) -> Problem:
    """Return the problem that a person typed with the names of columns.

    Raises:
        ProblemError: For no objective, a column that is not there or holds no numbers, or what
            `Problem.parse` refuses.
    """
    if not maximize and not minimize:
        numeric = ", ".join(columns.metrics) or "none"
        raise ProblemError(
            f"no objective: name a column to maximize or to minimize; columns of numbers: {numeric}"
        )

    def names(given: Sequence[str], argument: str) -> list[str]:
        return [_named_metric(cells, columns, text, argument).name for text in given]

    return Problem.parse(
        maximize=names(maximize, "maximize"),
        minimize=names(minimize, "minimize"),
        constraints=[_constraint(cells, columns, text) for text in constraints],
        metrics={metric.name: metric for metric in columns.metrics.values()},
    )


def label_column(cells: Cells, columns: Columns, label: str | None) -> str | None:
    """Return the column that names the candidates; of our own table its own, unless a person names another.

    Raises:
        ProblemError: If there is no such column.
    """
    if label is None:
        return "label" if "label" in columns.special else None
    if label.strip() not in cells.columns:
        raise _no_column("label", label, cells.columns)
    return label.strip()


def _named_metric(cells: Cells, columns: Columns, text: str, argument: str) -> Metric:
    """Return the metric of a column that a person named, by its heading or by the metric's name."""
    column = text.strip()
    if column in columns.metrics:
        return columns.metrics[column]
    by_name = {metric.name: metric for metric in columns.metrics.values()}
    if column in by_name:
        return by_name[column]
    if column not in cells.columns or column in columns.special:
        there = [name for name in cells.columns if name not in columns.special]
        raise _no_column(argument, text, there)
    _refuse_texts(cells, column, argument)
    raise ProblemError(
        f"{argument}: the column {column!r} holds the ends of intervals: name {column.rpartition('_')[0]!r}"
    )


def _constraint(cells: Cells, columns: Columns, text: str) -> str:
    """Return the constraint with the metric's name in place of the column's heading."""
    head, rest = split_constraint(text, cells.columns)
    if not head or not rest:
        return text  # which is no constraint, as `Constraint.parse` will say
    return f"{_named_metric(cells, columns, head, f'constraint {text!r}').name} {rest}"


def _no_column(argument: str, text: str, columns: Iterable[str]) -> ProblemError:
    return ProblemError(
        f"{argument}: the table has no column {text.strip()!r}: {did_you_mean(text.strip(), columns)}"
    )


def _refuse_texts(cells: Cells, column: str, argument: str) -> None:
    texts = cells.columns[column]
    for index, text in enumerate(texts):
        if is_wrong(text):
            raise ProblemError(
                f"{argument}: column {column!r}, {cells.place(index)}: expected a number, got {text[:60]!r}:"
                f" {remedy(text)}"
            )
    if not any(map(is_known, texts)):
        raise ProblemError(f"{argument}: the column {column!r} has no value in any row: name another column")


def remedy(text: str) -> str:
    """Return what to do with a cell that is no number."""
    if text.strip().endswith("%"):
        return "write the number without the percent sign"
    if "," in text and as_number(text.replace(",", "")) is not None:
        return "write a point before decimals and nothing between thousands"
    return "write a number, or leave the cell empty"


def is_known(text: str) -> bool:
    """Return whether a cell says anything: it is not empty, nor `-`, `n/a`, `nan` and the like."""
    return text.strip().lower() not in _MISSING


def as_number(text: str) -> float | None:
    """Return the number a cell holds, infinity included; None where it holds anything else, or nothing."""
    try:
        value = float(text)
    except ValueError:
        return None
    return None if value != value or "_" in text else value  # NaN is no number, nor is 1_000


def is_wrong(text: str) -> bool:
    """Return whether a cell holds what is no number, nor stands for a missing one."""
    return as_number(text) is None and is_known(text)


def _are_numbers(texts: Sequence[str]) -> bool:
    has_number = False
    for text in set(texts):
        if as_number(text) is not None:
            has_number = True
        elif is_known(text):
            return False
    return has_number
