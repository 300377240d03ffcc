"""`report.json` and `candidates.csv`: everything a program needs to redo the choice."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import numpy as np

from moo.decision import scales
from moo.results import Estimate, FinishedTrial, Results
from reports._choice import Choice
from reports._data import candidates

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = "moo.report/1"
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
SI_UNITS = {"time": "s", "bytes": "B", "count": "count", "fraction": "fraction", "rate": "1/s", "energy": "J"}


def report_json(results: Results, choice: Choice) -> str:
    """Return the report as strict JSON: values in SI units, null for what is unknown.

    A number that JSON has no word for (infinity, NaN) is null among the values, and text among
    parameters, environment and protocol, where it is a setting and not a measurement. Each candidate and
    each failure is one line, so that two reports can be compared line by line.
    """
    record = report_record(results, choice)
    entries = [f"{_json(key)}: {_by_line(value)}" for key, value in record.items()]
    return "{\n" + ",\n".join(entries) + "\n}\n"


def report_record(results: Results, choice: Choice) -> dict[str, Any]:
    """Return the report as plain values, of schema `moo.report/1`.

    A program can choose anew from it: the candidates that are complete, feasible, not ruled out and have a
    finite value for each objective; the scale of each objective; and the rule of `moo.decision`.
    """
    baseline, on_front, scale = results.baseline, {trial.number for trial in results.front}, scales(results)
    return {
        "schema": SCHEMA,
        "study": results.study_name,
        "task": results.task,
        "objectives": [
            {
                "metric": objective.metric.name,
                "direction": objective.direction,
                "unit": SI_UNITS.get(objective.metric.dimension, "number"),
                "scale": scale[objective.metric.name],
            }
            for objective in results.problem.objectives
        ],
        "constraints": [
            {"text": str(c), "metric": c.metric.name, "sense": c.sense, "bound": _number(bound)}
            for c, bound in zip_longest(results.problem.constraints, results.bounds)
        ],
        "baseline": None if baseline is None else baseline.number,
        "candidates": [_candidate(results, trial, on_front) for trial in candidates(results)],
        "failed": [{"id": t.number, "stage": t.stage, "reason": t.reason} for t in results.failed],
        "running": results.n_running,
        "recommended": _recommended(choice),
        "confirmation": None if results.confirmation is None else plain(results.confirmation),
        "test_opened": plain(results.openings),
        "environment": None if results.environment is None else plain(results.environment),
        "protocol": None if results.protocol is None else plain(results.protocol),
    }


def _by_line(value: Any) -> str:
    """Return a list of records as one line each, and anything else as one line."""
    if not isinstance(value, list) or not value:
        return _json(value)
    return "[\n " + ",\n ".join(map(_json, value)) + "\n]"


def _json(value: Any) -> str:
    return json.dumps(value, allow_nan=False)  # without indents it is written by C: many times faster


def _recommended(choice: Choice) -> dict[str, Any] | None:
    found = choice.recommendation
    if choice.number is None or found is None:
        return None
    return {
        "id": found.trial.number,
        "why": choice.why,
        "score": found.score,
        "terms": dict(found.terms),
        "weights": dict(found.weights),
        "stable_for": {
            name: {
                "low": span.low,
                "high": span.high,
                "rival_below": _id(span.rival_below),
                "rival_above": _id(span.rival_above),
            }
            for name, span in found.ranges.items()
        },
        "runner_up": _id(found.runner_up),
        "front": [trial.number for trial in found.front],
        "tightest_bounds": {str(slack.constraint): slack.tightest for slack in found.slacks},
        "wider_bounds": [
            {"constraint": str(wider.constraint), "bound": wider.wider, "id": wider.trial.number}
            for wider in found.wider
        ],
    }


def _id(trial: FinishedTrial | None) -> int | None:
    return None if trial is None else trial.number


def label(trial: FinishedTrial) -> str:
    """Return what a person calls the candidate: its own label as it is, or `trial 12 (baseline)`."""
    return trial.label or (f"{trial.name} (baseline)" if trial.is_baseline else trial.name)


def _candidate(results: Results, trial: FinishedTrial, on_front: set[int]) -> dict[str, Any]:
    evaluation = trial.evaluation
    return {
        "id": trial.number,
        "label": label(trial),
        "state": trial.state,
        "params": plain(trial.params),
        "metrics": {name: _estimate(e) for name, e in (evaluation.metrics if evaluation else {}).items()},
        "feasible": results.is_feasible(trial),
        "on_front": trial.number in on_front,
        "p_on_front": results.probability(trial, "p_on_front"),
        "p_feasible": results.probability(trial, "p_feasible"),
        "ruled_out": results.ruled_out(trial),
        "violations": {text: _number(violation) for text, violation in trial.violations.items()},
        "tags": list(evaluation.tags) if evaluation else [],
        "paired_with_baseline": {name: _paired(trial, name) for name in trial.paired},
        "artefact": None
        if evaluation is None or evaluation.artefact is None
        else vars(evaluation.artefact).copy(),
        "runtime": plain(evaluation.runtime) if evaluation else None,
    }


def _paired(trial: FinishedTrial, metric: str) -> dict[str, float] | None:
    found = trial.paired_difference(metric)
    return None if found is None else asdict(found)


def _estimate(estimate: Estimate) -> dict[str, float | None]:
    return {"value": _number(estimate.value), "low": _number(estimate.low), "high": _number(estimate.high)}


def _number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value


def plain(value: Any) -> Any:
    """Return settings as JSON holds them; what it has no word for becomes text.

    >>> plain({"a": (1, float("inf")), 2: None})
    {'a': [1, 'inf'], '2': None}
    """
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return str(value)


def candidates_csv(results: Results) -> str:
    """Return the complete and pruned trials as CSV, in SI units; an unknown value is an empty cell.

    A spreadsheet would run a text that begins with = + - @, a tab or a line break as a
    formula: such texts, names of columns among them, get an apostrophe in front. `report.json` has
    them unchanged.
    """
    table = results.table()
    table = table[table["state"] != "failed"]
    return str(_without_formulas(table).to_csv(index=False, lineterminator="\r\n"))


def _without_formulas(table: pd.DataFrame) -> pd.DataFrame:
    texts = [name for name in table.columns if table[name].dtype.kind in "OUT" or table[name].dtype == "str"]
    safe = table.assign(**{name: table[name].map(_inert).astype(object) for name in texts})
    return safe.rename(columns=_inert)


def _inert(cell: Any) -> Any:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA_STARTS) else cell
