"""Search of a mixed space for the rows where a function is largest."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from moo.samplers._guided import Question
from moo.samplers._space import SearchSpace

__all__ = ["maximise", "mutants", "neighbours"]

FloatArray = NDArray[np.float64]

Score = Callable[[FloatArray], FloatArray]
"""Rows (q, d) to values (q,)."""
ScoreWithGradient = Callable[[FloatArray], tuple[FloatArray, FloatArray]]
"""Rows (q, d) to values (q,) and gradients (q, d), 0 for what is not continuous."""

_N_DRAWN = 300
_N_MUTANTS = 500
_N_CLIMBERS = 6
_N_ROUNDS = 6  # of steps to the best discrete neighbour
_N_STEPS = 25  # of L-BFGS-B
_APART = 0.05  # climbers differ by more than this in some coordinate
_MOST_LISTED = 2_000  # in a space of at most so many configurations every untried one is scored
_MOST_LEVELS = 12  # of a column whose every level is a neighbour


def maximise(
    question: Question, parents: FloatArray, score: Score, with_gradient: ScoreWithGradient
) -> FloatArray:
    """Return settled rows, the best first.

    All that is untried in a small space. Else uniform draws and mutants of the parents are scored; the best
    six go from discrete neighbour to better neighbour, then the best six that are apart climb in the
    continuous coordinates.

    Args:
        question: Whose random numbers are used.
        parents: Shape (n, d): complete rows known to be good.
        score: To maximise.
        with_gradient: The same with its gradient.
    """
    space = question.space
    listed = question.untried() if space.size <= _MOST_LISTED else parents[:0]
    if len(listed):
        return np.asarray(listed[np.argsort(-score(listed), kind="stable")])
    rows = question.draw(_N_DRAWN)
    if len(parents):
        children = question.settle(mutants(space, parents, _N_MUTANTS, question.rng))
        rows = np.concatenate([rows, children])
    is_new = question.is_new(rows)
    rows = rows[is_new] if is_new.any() else rows[:1]
    values = score(rows)
    best = np.argsort(-values, kind="stable")[:_N_CLIMBERS]
    if not space.is_continuous.all():
        moved, moved_values = _climb_discrete(question, rows[best], values[best], score)
        rows, values = np.concatenate([rows, moved]), np.concatenate([values, moved_values])
    if (space.is_continuous & np.isnan(question.fixed)).any():
        climbed, climbed_values = _climb_continuous(question, _apart(rows, values), with_gradient)
        rows, values = np.concatenate([rows, climbed]), np.concatenate([values, climbed_values])
    return question.settle(rows[np.argsort(-values, kind="stable")])


def mutants(space: SearchSpace, parents: FloatArray, n_rows: int, rng: np.random.Generator) -> FloatArray:
    """Return rows near parents, unsettled, shape (n_rows, d).

    A third is crossed with another parent, uniformly or along the line between the two. All but these
    have one coordinate or a few changed: a choice drawn anew, a level or more up or down, a number moved
    by a step of 0.003 to 0.3, one in ten of them to the edge of the range: fronts often lie there.
    """
    d = space.n_parameters
    rows, others = (parents[rng.integers(len(parents), size=n_rows)] for _ in range(2))
    between = rows + rng.random((n_rows, 1)) * (others - rows)
    is_along = ~space.is_categorical & (rng.random((n_rows, 1)) < 0.5)
    swapped = np.where(rng.random((n_rows, d)) < 0.5, others, rows)
    is_crossed = rng.random((n_rows, 1)) < 1.0 / 3.0
    rows = np.where(is_crossed, np.where(is_along, between, swapped), rows)
    is_moved = rng.random((n_rows, d)) < rng.choice([0.0, 1.0, 3.0], (n_rows, 1)) / d
    is_moved[np.arange(n_rows), rng.integers(d, size=n_rows)] |= ~is_crossed[:, 0]
    steps = rng.standard_normal((n_rows, d)) * 10.0 ** rng.uniform(-2.5, -0.5, (n_rows, 1))
    moved = np.clip(rows + steps, 0.0, 1.0)
    to_edge = space.is_continuous & (rng.random((n_rows, d)) < 0.1)
    moved = np.where(to_edge, np.round(moved), moved)
    n_levels = np.maximum(space.n_levels, 1)
    by_levels = rows + np.sign(steps) * np.ceil(np.abs(steps) * n_levels) / n_levels
    moved = np.where(space.is_continuous, moved, by_levels)
    moved = np.where(space.is_categorical, space.from_uniform(rng.random((n_rows, d))), moved)
    return np.asarray(np.where(is_moved, moved, rows))


def neighbours(space: SearchSpace, row: FloatArray, /) -> FloatArray:
    """Return the rows that differ from one row in one discrete coordinate, shape (n, d).

    By any level where a column has few or is categorical, else by 1, 2, 4, .. levels.
    """
    found = [np.empty((0, space.n_parameters))]
    for column in map(int, np.flatnonzero(~space.is_continuous)):
        n_levels, here = int(space.n_levels[column]), space.level_of(column, float(row[column]))
        if n_levels > _MOST_LEVELS and not space.is_categorical[column]:
            jumps = 2 ** np.arange(int(np.log2(n_levels)))
            there = np.concatenate([here - jumps, here + jumps])
            there = there[(there >= 0) & (there < n_levels)]
        else:
            there = np.delete(np.arange(n_levels), here)
        rows = np.repeat(row[None], len(there), axis=0)
        rows[:, column] = space.level_values(column, there)
        found.append(rows)
    return np.concatenate(found)


def _climb_discrete(
    question: Question, rows: FloatArray, values: FloatArray, score: Score
) -> tuple[FloatArray, FloatArray]:
    """Return the rows, each moved to its best new neighbour as long as that is better, and their values."""
    rows, values = np.array(rows), np.array(values)
    moving = np.arange(len(rows))
    for _ in range(_N_ROUNDS):
        near = [question.settle(neighbours(question.space, rows[i])) for i in moving]
        if sum(map(len, near)) == 0:
            break
        every = np.concatenate(near)
        scored = np.where(question.is_new(every), score(every), -np.inf)
        still_moving = []
        for i, end, size in zip(moving, np.cumsum([len(part) for part in near]), map(len, near), strict=True):
            best = end - size + int(np.argmax(scored[end - size : end]))
            if scored[best] > values[i]:
                rows[i], values[i] = every[best], scored[best]
                still_moving.append(i)
        moving = np.array(still_moving, dtype=np.int64)
    return rows, values


def _apart(rows: FloatArray, values: FloatArray) -> FloatArray:
    """Return the best rows that are apart from one another."""
    kept: list[FloatArray] = []
    for row in rows[np.argsort(-values, kind="stable")[: 40 * _N_CLIMBERS]]:
        if all(np.abs(row - other).max() > _APART for other in kept):
            kept.append(row)
            if len(kept) == _N_CLIMBERS:
                break
    return np.stack(kept)


def _climb_continuous(
    question: Question, rows: FloatArray, with_gradient: ScoreWithGradient
) -> tuple[FloatArray, FloatArray]:
    """Return the rows after quasi-Newton steps in the continuous coordinates, within their ranges.

    One problem for all rows, whose objective is the sum of their values (as in BoTorch).
    """
    free = question.space.is_continuous & np.isnan(question.fixed)
    now = np.array(rows)
    best, best_values = np.array(rows), np.full(len(rows), -np.inf)

    def objective(flat: FloatArray) -> tuple[float, FloatArray]:
        now[:, free] = flat.reshape(len(now), -1)
        values, gradients = with_gradient(now)
        is_better = values > best_values
        best[is_better], best_values[is_better] = now[is_better], values[is_better]
        return -float(values.sum()), -gradients[:, free].ravel()

    minimize(
        objective,
        rows[:, free].ravel(),
        jac=True,
        method="L-BFGS-B",
        bounds=[(0.0, 1.0)] * (len(rows) * int(free.sum())),
        options={"maxiter": _N_STEPS, "maxfun": 2 * _N_STEPS},
    )
    return best, best_values
