"""The numbers that the page's script decides and draws from: every candidate, column by column.

Values are in SI units and unrounded, so that a bound of the reader's decides as it would in Python;
interval ends, which are only drawn, have six digits. What is not known is null.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from moo.decision import scales
from moo.metrics import Metric, shown_unit, takes_logarithm
from moo.problem import Constraint
from moo.results import Estimate, FinishedTrial, Results
from reports._axes import axis_unit, better_direction, choose_metrics
from reports._data import page_candidates
from reports._record import plain
from reports._style import CHOSEN, COLOUR_SCALE, LOOKS, RULED_OUT
from reports._text import bound_text, one_line

_HELD = {False: "0", None: "1", True: "2"}  # as `decide.js` has them: broken, not known, held
_PROBED = range(15, -13, -1)  # powers of ten at which a metric's units are asked for


def page_data(results: Results, chosen: int | None) -> dict[str, Any]:
    """Return what the script gets, as plain values for strict JSON.

    Args:
        results: The study.
        chosen: The number of the recommended trial, or None.
    """
    trials = page_candidates(results)
    place = {trial.number: index for index, trial in enumerate(trials)}
    metrics = {metric.name: index for index, metric in enumerate(results.metrics)}
    axes, scale = choose_metrics(results.problem), scales(results)
    return {
        "study": one_line(results.study_name),
        "isSearch": results.is_search,
        "metrics": [_metric(results, metric, trials) for metric in results.metrics],
        "objectives": [
            {
                "metric": metrics[objective.metric.name],
                "sign": objective.sign,
                "isLog": scale[objective.metric.name] == "log10",
            }
            for objective in results.problem.objectives
        ],
        "constraints": [
            _constraint(constraint, bound, metrics, trials)
            for constraint, bound in zip_longest(results.problem.constraints, results.bounds)
        ],
        "params": [_param(name, trials) for name in results.param_names],
        "tags": _texts([" ".join(t.evaluation.tags) if t.evaluation is not None else "" for t in trials]),
        "ids": [trial.number for trial in trials],
        "labels": [trial.label for trial in trials],
        "isPruned": "".join("1" if trial.state == "pruned" else "0" for trial in trials),
        "broken": _broken_otherwise(results, trials),
        "ruledOut": _known(trials, results.ruled_out),
        "pOnFront": _known(trials, lambda trial: results.probability(trial, "p_on_front")),
        "pFeasible": _known(trials, lambda trial: results.probability(trial, "p_feasible")),
        "baseline": None if results.baseline is None else place[results.baseline.number],
        "chosen": None if chosen is None else place[chosen],
        "axes": {
            "x": None if axes.x is None else axes.x.name,
            "y": axes.y.name,
            "colour": None if axes.colour is None else axes.colour.name,
        },
        "looks": {
            group: {"name": look.name, "symbol": look.symbol, "size": look.size, "colour": look.colour}
            for group, look in [*LOOKS.items(), ("ruledOut", RULED_OUT)]
        },
        "colours": {"chosen": CHOSEN, "scale": COLOUR_SCALE},
    }


def _metric(results: Results, metric: Metric, trials: Sequence[FinishedTrial]) -> dict[str, Any]:
    known = _values(trials, metric)
    _, factor = axis_unit(metric, known)
    units = _units(metric)
    estimates = [trial.estimate(metric.name) for trial in trials]
    has_ends = any(
        (e.low, e.high) != (e.value, e.value) and (e.low, e.high) != (None, None) for e in estimates
    )
    is_exact = not has_ends and any(e.low is not None for e in estimates)
    return {
        "name": metric.name,
        "title": one_line(metric.title),
        "direction": better_direction(metric, results.problem),
        "isFraction": metric.dimension == "fraction",
        "isCount": metric.dimension == "count",
        "isPlain": metric.dimension == "number",
        "units": units,
        "unit": next(suffix for suffix, each in units if each == factor),
        "factor": factor,
        "isLog": takes_logarithm(metric, known),
        "value": [_number(estimate.value) for estimate in estimates],
        "isExact": is_exact,
        "low": None if not has_ends else [_end(estimate.low, estimate) for estimate in estimates],
        "high": None if not has_ends else [_end(estimate.high, estimate) for estimate in estimates],
    }


def _units(metric: Metric) -> list[tuple[str, float]]:
    """Return the units that a person reads, the largest first: suffix and factor."""
    return list(dict.fromkeys(shown_unit(10.0**exponent, metric) for exponent in _PROBED))


def _constraint(
    constraint: Constraint, bound: float | None, metrics: Mapping[str, int], trials: Iterable[FinishedTrial]
) -> dict[str, Any]:
    violations = (trial.violations.get(constraint.key) for trial in trials)
    held = (None if violation is None else violation <= 0 for violation in violations)
    return {
        "text": bound_text(constraint, bound),
        "metric": metrics[constraint.metric.name],
        "isRelative": constraint.is_relative,
        "sense": constraint.sense,
        "bound": bound,
        "held": "".join(_HELD[each] for each in held),
    }


def _broken_otherwise(results: Results, trials: Sequence[FinishedTrial]) -> list[int]:
    """Return the candidates that violate what is no constraint of the problem."""
    known = {constraint.key for constraint in results.problem.constraints}
    return [
        index
        for index, trial in enumerate(trials)
        if any(not violation <= 0 for key, violation in trial.violations.items() if key not in known)
    ]


def _param(name: str, trials: Sequence[FinishedTrial]) -> dict[str, Any]:
    """Return a parameter's column: numbers with null, else the distinct settings and which each trial has."""
    found = [plain(trial.params[name]) if name in trial.params else None for trial in trials]
    if all(
        value is None or (isinstance(value, int | float) and not isinstance(value, bool)) for value in found
    ):
        return {"name": name, "numbers": found}
    return {"name": name, **_texts(found)}


def _texts(column: Sequence[Any]) -> dict[str, Any]:
    """Return the distinct values, and for each row the place of its own among them; -1 for none."""
    places: dict[tuple[str, str], int] = {}
    values: list[Any] = []
    codes = []
    for value in column:
        if value is None:
            codes.append(-1)
            continue
        key = (type(value).__name__, str(value))
        if key not in places:
            places[key] = len(values)
            values.append(value)
        codes.append(places[key])
    return {"values": values, "codes": codes}


def _known(trials: Sequence[FinishedTrial], ask: Callable[[FinishedTrial], Any]) -> list[list[Any]]:
    """Return place and answer for each candidate that has one."""
    answers = ((index, ask(trial)) for index, trial in enumerate(trials))
    return [[index, answer] for index, answer in answers if answer is not None]


def _values(trials: Iterable[FinishedTrial], metric: Metric) -> list[float]:
    values = (trial.estimate(metric.name).value for trial in trials)
    return [value for value in values if value is not None and math.isfinite(value)]


def _number(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _end(end: float | None, estimate: Estimate) -> float | None:
    """Return an end of an interval in few digits, but whole where it decides for want of a value."""
    number = _number(end)
    return number if number is None or estimate.value is None else float(f"{number:.6g}")
