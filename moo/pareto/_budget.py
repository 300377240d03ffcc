"""The best candidate within limits, and what wider limits would buy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from moo.pareto._arrays import FloatArray, IndexArray, loss_rows, mask_of, vector

__all__ = ["BudgetChoice", "Relaxation", "budget_choice"]


@dataclass(frozen=True)
class Relaxation:
    """What one wider bound would buy, all the others kept.

    Attributes:
        loss: Whose bound.
        bound: The smallest bound that lets the candidate in: its own loss.
        increase: That minus the bound given, above 0.
        index: The candidate that it lets in.
        gain: By how much its most important loss is smaller than that of the choice, above 0; None where
            nothing is within the bounds given.
    """

    loss: int
    bound: float
    increase: float
    index: int
    gain: float | None


@dataclass(frozen=True, eq=False)
class BudgetChoice:
    """The best candidate within the bounds, and why.

    Attributes:
        index: The candidate, a row of the losses given; None where nothing is within the bounds.
        n_within: How many feasible candidates are within the bounds.
        slack: Each bound minus the candidate's loss, at least 0, `inf` where there is no bound, shape (m,);
            None where there is no candidate.
        runner_up: The choice if this candidate were not there; None where there is no other within the
            bounds.
        gap: The runner-up's most important loss minus this one's; None likewise. Below 0 only with
            tolerances.
        relaxations: What wider bounds would buy, by loss, then the nearest first: each step is better in the
            most important loss than everything before it.
    """

    index: int | None
    n_within: int
    slack: FloatArray | None
    runner_up: int | None
    gap: float | None
    relaxations: tuple[Relaxation, ...]


def budget_choice(
    losses: ArrayLike,
    /,
    order: Sequence[int],
    *,
    bounds: ArrayLike | None = None,
    tolerances: ArrayLike | None = None,
    feasible: ArrayLike | None = None,
) -> BudgetChoice:
    """Return the candidate that is best in the most important loss, within bounds on the others.

    Of the feasible candidates within the bounds, those best in `order[0]` are kept, to within its
    tolerance; of these those best in `order[1]`, and so on; what is left is decided by the order without
    tolerances, then by the earlier row. The losses not named follow in their own order. The choice is never
    dominated by a feasible candidate, for that would be within the bounds and kept too. Sources: the bounds,
    Y. Y. Haimes, L. S. Lasdon and D. A. Wismer, "On a bicriterion formulation of the problems of integrated
    system identification and system optimization", IEEE Transactions on Systems, Man, and Cybernetics 1(3),
    1971 (the epsilon-constraint method); the order with tolerances, F. M. Waltz, "An engineering approach:
    hierarchical optimization criteria", IEEE Transactions on Automatic Control 12(2), 1967.

    Args:
        losses: Shape (n, m), all minimised, all finite.
        order: Losses from the most important one, numbered from 0.
        bounds: The largest allowed value of each loss, shape (m,); `inf` is no bound. None: no bounds.
        tolerances: How much worse than the best still counts as equal, in each loss's unit, shape (m,), at
            least 0. None: 0.
        feasible: Booleans of shape (n,); None: all are feasible.

    Returns:
        With `index` None where nothing is within the bounds; `relaxations` then tell which single bound
        would let something in.

    Raises:
        ValueError: For another shape, a NaN or an infinite loss, an order that is empty, names a loss twice
            or one that is not there, or tolerances below 0.

    >>> errors_and_latencies = [[0.09, 1.0], [0.05, 4.0], [0.03, 6.0], [0.02, 9.0]]
    >>> choice = budget_choice(errors_and_latencies, [0], bounds=[np.inf, 5.0])
    >>> choice.index, choice.runner_up, choice.slack.tolist()
    (1, 0, [inf, 1.0])
    >>> [(step.bound, step.index, round(step.gain, 9)) for step in choice.relaxations]
    [(6.0, 2, 0.02), (9.0, 3, 0.03)]
    """
    points = loss_rows(losses, finite=True)
    n_losses = points.shape[1]
    ranked = _order(order, n_losses)
    limits = np.full(n_losses, np.inf) if bounds is None else vector(bounds, "bounds", n_losses)
    slackness = np.zeros(n_losses) if tolerances is None else vector(tolerances, "tolerances", n_losses)
    if (slackness < 0).any():
        raise ValueError(f"tolerances: expected numbers of at least 0, got {slackness.tolist()}")
    candidates = np.flatnonzero(mask_of(feasible, (len(points),)))
    within = candidates[(points[candidates] <= limits).all(axis=1)]
    index = _best(points, within, ranked, slackness)
    runner_up = None if index is None else _best(points, within[within != index], ranked, slackness)
    first = points[:, ranked[0]]
    return BudgetChoice(
        index=index,
        n_within=len(within),
        slack=None if index is None else limits - points[index],
        runner_up=runner_up,
        gap=None if index is None or runner_up is None else float(first[runner_up] - first[index]),
        relaxations=tuple(
            step
            for loss in np.flatnonzero(limits < np.inf).tolist()
            for step in _steps(points, candidates, ranked, limits, loss, index)
        ),
    )


def _order(order: Sequence[int], n_losses: int) -> list[int]:
    named = list(order)
    if not named or len(set(named)) < len(named) or any(loss not in range(n_losses) for loss in named):
        raise ValueError(f"order: expected different losses from 0 to {n_losses - 1}, got {named}")
    return named + [loss for loss in range(n_losses) if loss not in named]


def _best(points: FloatArray, rows: IndexArray, order: list[int], tolerances: FloatArray) -> int | None:
    if len(rows) == 0:
        return None
    kept = rows
    for loss in order:
        column = points[kept, loss]
        kept = kept[column <= column.min() + tolerances[loss]]
    return int(_sorted(points, kept, order)[0])


def _sorted(points: FloatArray, rows: IndexArray, order: list[int]) -> IndexArray:
    return np.asarray(rows[np.lexsort(points[rows][:, order[::-1]].T)])


def _steps(
    points: FloatArray, rows: IndexArray, order: list[int], limits: FloatArray, loss: int, index: int | None
) -> list[Relaxation]:
    """What a wider bound on one loss buys, the nearest first."""
    first = order[0]
    others = np.delete(np.arange(limits.size), loss)
    allowed = rows[(points[rows][:, others] <= limits[others]).all(axis=1)]
    inside = allowed[points[allowed, loss] <= limits[loss]]
    best = float(points[inside, first].min()) if len(inside) else np.inf
    steps = []
    outside = allowed[points[allowed, loss] > limits[loss]]
    for row in _sorted(points, outside, [loss, *(other for other in order if other != loss)]).tolist():
        value = float(points[row, first])
        if value < best:
            best, bound = value, float(points[row, loss])
            gain = None if index is None else float(points[index, first]) - value
            steps.append(Relaxation(loss, bound, bound - float(limits[loss]), row, gain))
    return steps
