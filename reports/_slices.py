"""The data step of the slices: each parameter's values against each objective's."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from moo.importances import LOGARITHM_FROM
from moo.results import FinishedTrial, Results
from reports._axes import LARGEST, Axis, make_axis
from reports._data import Group, group_of
from reports._history import evenly
from reports._text import setting_text

MAX_PARAMS = 12  # of one objective: the most important ones
MAX_POINTS = 400  # beside the front, of one parameter
MAX_CHOICES = 20  # of a parameter that is no number: the commonest
GOLDEN = 0.6180339887498949  # its multiples, less their whole part, leave no gap and no pattern


@dataclass(frozen=True)
class ParamAxis:
    """The axis of one parameter.

    Args:
        name: The parameter's name.
        is_log: Whether it was drawn on a logarithmic scale.
        choices: What stands at 0, 1, 2, .. where the values are no numbers; else empty.
    """

    name: str
    is_log: bool = False
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class SlicePoint:
    """One trial: the parameter's value, or its choice's place with some jitter; the objective's value."""

    trial: FinishedTrial
    group: Group
    x: float
    y: float


@dataclass(frozen=True)
class Slice:
    """One parameter against one objective.

    Args:
        param: The parameter's axis.
        points: In the order to draw, the front last; at most `MAX_POINTS` beside the front.
        n_points: How many trials have both values.
        n_other_choices: Choices beyond `MAX_CHOICES`, whose trials are not shown.
    """

    param: ParamAxis
    points: tuple[SlicePoint, ...]
    n_points: int
    n_other_choices: int


@dataclass(frozen=True)
class ObjectiveSlices:
    """All slices of one objective.

    Args:
        axis: The objective's axis.
        slices: One a parameter, the most important first.
        n_params_left_out: Parameters beyond `MAX_PARAMS`.
    """

    axis: Axis
    slices: tuple[Slice, ...]
    n_params_left_out: int


def slices(results: Results, order: Mapping[str, Sequence[str]] | None = None) -> tuple[ObjectiveSlices, ...]:
    """Return the slices of each objective that any trial has a finite value of.

    Pruned trials are there where the objective was known before they ended.

    Args:
        results: The study.
        order: Names of parameters by objective, the most important first; others follow in their own order.
    """
    on_front = {trial.number for trial in results.front}
    trials = [(t, group_of(results, t, on_front)) for t in results.trials if t.state != "failed"]
    found = []
    for objective in results.problem.objectives:
        name = objective.metric.name
        known = [
            (trial, group, value)
            for trial, group in trials
            if (value := trial.estimate(name).value) is not None and abs(value) <= LARGEST
        ]
        if not known:
            continue
        axis = make_axis(objective.metric, [value for _, _, value in known], results.problem)
        placed = [(trial, group, value / axis.factor) for trial, group, value in known]
        first = [param for param in (order or {}).get(name, ()) if param in results.param_names]
        params = list(dict.fromkeys([*first, *results.param_names]))
        made = [_slice(results, param, placed) for param in params]
        varying = [each for each in made if each is not None]
        if varying:
            left_out = max(0, len(varying) - MAX_PARAMS)
            found.append(ObjectiveSlices(axis, tuple(varying[:MAX_PARAMS]), left_out))
    return tuple(found)


_Row = tuple[FinishedTrial, Group, float]


def _slice(results: Results, name: str, placed: Sequence[_Row]) -> Slice | None:
    """Return one parameter's slice; None where it has one value alone."""
    having = [row for row in placed if name in row[0].params]
    values = [trial.params[name] for trial, _, _ in having]
    record = results.distributions.get(name) or {}
    if not _are_numbers(values) or record.get("name") == "CategoricalDistribution":
        return _categorical(name, having)
    if len(set(values)) < 2:
        return None
    points = [SlicePoint(t, group, float(t.params[name]), y) for t, group, y in _thinned(having)]
    return Slice(ParamAxis(name, _is_log(record, values)), tuple(points), len(having), 0)


def _categorical(name: str, having: Sequence[_Row]) -> Slice | None:
    texts = _texts([trial.params[name] for trial, _, _ in having])
    counts = Counter(texts)
    if len(counts) < 2:
        return None
    shown = {text for text, _ in counts.most_common(MAX_CHOICES)}
    choices = sorted(shown, key=_by_number)
    place = {text: index for index, text in enumerate(choices)}
    rows = [row for row, text in zip(having, texts, strict=True) if text in shown]
    points = [
        SlicePoint(trial, group, place[setting_text(trial.params[name])] + _jitter(trial.number), y)
        for trial, group, y in _thinned(rows)
    ]
    axis = ParamAxis(name, choices=tuple(choices))
    return Slice(axis, tuple(points), len(rows), len(counts) - len(shown))


def _texts(values: Sequence[Any]) -> list[str]:
    """Return each setting as a person reads it; equal ones are put in words once."""
    known: dict[tuple[type, Any], str] = {}
    texts = []
    for value in values:
        if not isinstance(value, Hashable):
            texts.append(setting_text(value))
            continue
        key = (type(value), value)
        if key not in known:
            known[key] = setting_text(value)
        texts.append(known[key])
    return texts


def _by_number(text: str) -> tuple[float, str]:
    """Return a key under which texts of numbers stand by size, before all others."""
    try:
        number = float(text)
    except ValueError:
        number = math.inf
    return (math.inf if math.isnan(number) else number), text


def _are_numbers(values: Sequence[object]) -> bool:
    return all(
        isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        for value in values
    )


def _is_log(record: Mapping[str, object], values: Sequence[float]) -> bool:
    """Return whether a number is shown on a logarithmic scale: as it was drawn, where that is known."""
    if not values or min(values) <= 0:
        return False
    attributes = record.get("attributes")
    if isinstance(attributes, Mapping):
        return bool(attributes.get("log"))
    return max(values) > LOGARITHM_FROM * min(values)


def _jitter(number: int) -> float:
    """Return a shift between -0.3 and 0.3, the same for the same trial.

    >>> [round(_jitter(number), 2) for number in range(3)]
    [-0.3, 0.07, -0.16]
    """
    return 0.6 * ((number * GOLDEN) % 1 - 0.5)


def _thinned(rows: Sequence[_Row]) -> Sequence[_Row]:
    """Return the rows to draw: at most `MAX_POINTS` off the front, evenly over the trials, then the front."""
    front = [row for row in rows if row[1] == "front"]
    return [*evenly([row for row in rows if row[1] != "front"], MAX_POINTS), *front]
