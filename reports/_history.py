"""The data step of the charts over trials: the hypervolume, and the best value of each objective so far."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from moo.metrics import format_value
from moo.pareto import hypervolume_history
from moo.results import FinishedTrial, Results
from reports._axes import LARGEST, Axis, make_axis
from reports._text import one_line

_T = TypeVar("_T")

MAX_VALUES = 500  # points of one objective beside its best line


@dataclass(frozen=True)
class History:
    """How the hypervolume grew.

    Args:
        steps: Trial number and share of the final hypervolume, at the first trial, wherever it
            grew, and at the last; empty where no complete feasible trial has every loss.
        reference: The reference point in words: `latency p50 620 us`.
    """

    steps: tuple[tuple[int, float], ...]
    reference: tuple[str, ...]


@dataclass(frozen=True)
class BestSoFar:
    """How the best value of one objective changed, in the unit of its axis.

    Args:
        axis: The objective's axis.
        steps: Trial number and best value among the complete feasible trials so far: at the first of these,
            wherever it got better, and at the last trial.
        leaders: The trial that set the value of each step.
        values: The complete feasible trials with their values, at most `MAX_VALUES` of them.
        n_values: How many there are.
    """

    axis: Axis
    steps: tuple[tuple[int, float], ...]
    leaders: tuple[FinishedTrial, ...]
    values: tuple[tuple[FinishedTrial, float], ...]
    n_values: int


def best_so_far(results: Results) -> tuple[BestSoFar, ...]:
    """Return, for each objective that any complete feasible trial has a finite value of, its best so far.

    The rows of a table have no history.
    """
    if not results.is_search:
        return ()
    feasible = tuple(trial for trial in results.complete if results.is_feasible(trial))
    losses = results.losses(feasible)
    found = []
    for column, objective in enumerate(results.problem.objectives):
        places = np.flatnonzero(np.abs(losses[:, column]) <= LARGEST).tolist()
        if not places:
            continue
        values = [float(losses[place, column]) * objective.sign for place in places]
        axis = make_axis(objective.metric, values, results.problem)
        known = [(feasible[place], value / axis.factor) for place, value in zip(places, values, strict=True)]
        leads = _leads([value * objective.sign for _, value in known])
        steps = [(known[index][0].number, known[index][1]) for index in leads]
        leaders = [known[index][0] for index in leads]
        if results.trials[-1].number > steps[-1][0]:
            steps.append((results.trials[-1].number, steps[-1][1]))
            leaders.append(leaders[-1])
        drawn = evenly(known, MAX_VALUES)
        found.append(BestSoFar(axis, tuple(steps), tuple(leaders), tuple(drawn), len(known)))
    return tuple(found)


def evenly(items: Sequence[_T], n: int) -> Sequence[_T]:
    """Return at most n of the items, the first and the last among them, evenly spread.

    >>> evenly([0, 1, 2, 3, 4], 3)
    [0, 2, 4]
    """
    if len(items) <= n:
        return items
    return [items[int(index)] for index in np.linspace(0, len(items) - 1, n).round()]


def _leads(losses: Sequence[float]) -> list[int]:
    """Return the places at which the smallest loss so far gets smaller."""
    best, found = math.inf, []
    for index, loss in enumerate(losses):
        if loss < best:
            best = loss
            found.append(index)
    return found


def history(results: Results) -> History:
    """Return the hypervolume over trials of the complete feasible candidates.

    The reference point is the worst value that these have in each loss plus 10% of their range
    (where the range is zero: of the value). The rows of a table have no history.
    """
    if not results.is_search:
        return History((), ())
    feasible = tuple(trial for trial in results.complete if results.is_feasible(trial))
    losses = results.losses(feasible)
    kept = np.all(np.abs(losses) <= LARGEST, axis=1)
    losses, numbers = (
        losses[kept],
        [t.number for t, keep in zip(feasible, kept.tolist(), strict=True) if keep],
    )
    if not numbers:
        return History((), ())
    worst, span = losses.max(axis=0), np.ptp(losses, axis=0)
    margin = np.where(span > 0, span, np.where(worst != 0, np.abs(worst), 1.0))
    reference = worst + 0.1 * margin
    in_ranges = (losses - worst) / margin  # of which the shares are the same, and nothing overflows
    volumes = hypervolume_history(in_ranges, np.full(len(worst), 0.1))
    steps = _growth(numbers, (volumes / volumes[-1]).tolist(), results.trials[-1].number)
    words = tuple(
        f"{one_line(o.metric.title)} {format_value(float(loss) * o.sign, o.metric)}"
        for o, loss in zip(results.problem.objectives, reference, strict=True)
    )
    return History(steps, words)


def _growth(numbers: Sequence[int], shares: Sequence[float], last: int) -> tuple[tuple[int, float], ...]:
    steps = [(numbers[0], shares[0])]
    for number, share in zip(numbers, shares, strict=True):
        if share > steps[-1][1]:
            steps.append((number, share))
    if last > steps[-1][0]:
        steps.append((last, steps[-1][1]))
    return tuple(steps)
