"""Which point of a front to take: by wishes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from moo.pareto._arrays import FloatArray, front_of, loss_rows, vector

__all__ = ["ReferenceChoice", "reference_choice"]


@dataclass(frozen=True, eq=False)
class ReferenceChoice:
    """The candidate nearest to, or furthest beyond, what was wished for, and why.

    Attributes:
        index: The candidate, a row of the losses given.
        value: Its achievement (`reference_choice`); smaller is better, at most 0 where each loss that
            counts reaches its wish.
        misses: How far each loss is beyond its wish, as a fraction of the front's range; 0 or less where the
            wish is reached. In the loss's own unit where the whole front is equal. Shape (m,).
        worst: The loss that decides: the one with the largest miss among those that count; None where the
            whole front is equal.
        runner_up: The next best candidate on the front; None where there is no other.
        gap: Its value minus this one's, at least 0; None likewise.
        ideal: The best value of each loss on the front, shape (m,).
        nadir: The worst, shape (m,).
    """

    index: int
    value: float
    misses: FloatArray
    worst: int | None
    runner_up: int | None
    gap: float | None
    ideal: FloatArray
    nadir: FloatArray


def reference_choice(
    losses: ArrayLike, /, wishes: ArrayLike, *, feasible: ArrayLike | None = None, augmentation: float = 1e-4
) -> ReferenceChoice | None:
    """Return the candidate that comes nearest to the wishes, or goes furthest beyond them.

    It minimises the augmented achievement scalarising function max_j d_j + augmentation * sum_j d_j with
    d_j = (loss_j - wish_j) / (nadir_j - ideal_j): A. P. Wierzbicki, "The use of reference objectives in
    multiobjective optimization", in Multiple Criteria Decision Making Theory and Application, Lecture Notes
    in Economics and Mathematical Systems 177, 1980. The wishes may be out of reach or too modest; every
    candidate that is not nearly dominated is the choice for some wishes, whatever the front's form. A loss in
    which the whole front is equal does not count. Ties go to the smaller sum, then to the earlier row. A
    dominated candidate changes nothing.

    Args:
        losses: Shape (n, m), all minimised, all finite.
        wishes: What would be good enough in each loss (the aspiration level), shape (m,), finite.
        feasible: Booleans of shape (n,); None: all are feasible.
        augmentation: Above 0; it keeps out what is better in one loss by next to nothing.

    Returns:
        None where no candidate is feasible.

    Raises:
        ValueError: For another shape, a NaN or an infinity, or an augmentation that is not above 0.

    >>> front = [[1.0, 60.0], [3.0, 20.0], [5.0, 10.0]]
    >>> choice = reference_choice(front, [4.0, 15.0])
    >>> choice.index, choice.misses.tolist(), choice.worst
    (1, [-0.25, 0.1], 1)
    """
    points = loss_rows(losses, finite=True)
    aims = vector(wishes, "wishes", points.shape[1])
    if not np.isfinite(aims).all():
        raise ValueError(f"wishes: expected finite numbers, got {aims.tolist()}")
    if not 0 < augmentation < np.inf:
        raise ValueError(f"augmentation: expected a number above 0, got {augmentation}")
    front = front_of(points, feasible)
    if front is None:
        return None
    misses = (front.losses - aims) / front.spans
    counting = np.flatnonzero(front.nadir > front.ideal)
    counted = misses[:, counting] if counting.size else misses
    sums = counted.sum(axis=1)
    values = counted.max(axis=1) + augmentation * sums
    order = np.lexsort((sums, values))
    best, following = int(order[0]), order[1:2]
    return ReferenceChoice(
        index=int(front.members[best]),
        value=float(values[best]),
        misses=misses[best],
        worst=int(counting[np.argmax(counted[best])]) if counting.size else None,
        runner_up=int(front.members[following[0]]) if len(following) else None,
        gap=float(values[following[0]] - values[best]) if len(following) else None,
        ideal=front.ideal,
        nadir=front.nadir,
    )
