"""How much of the loss space a front dominates, and what each of its points adds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import moocore
import numpy as np
from numpy.typing import ArrayLike, NDArray

from moo.pareto._arrays import BoolArray, FloatArray, loss_rows, mask_of, vector
from moo.pareto._dominance import nondominated

__all__ = ["Hypervolume", "hypervolume", "hypervolume_history", "reference_point"]


@dataclass(frozen=True, eq=False)
class Hypervolume:
    """A hypervolume with what it is measured to.

    Attributes:
        value: The volume between the front and the reference point, in the product of the losses' units.
        reference: The reference point, shape (m,); None where there was no point to choose it from.
        chosen: `given`, or `nadir`: the worst values on the front plus a margin.
        margin: The margin as a fraction of the front's range; None where the point was given.
        contributions: What the front would lose without each candidate, shape (n,): 0 for one that is
            infeasible, dominated, not better than the reference in every loss, or there twice. Dominated
            candidates do not take the place of the missing one.
    """

    value: float
    reference: FloatArray | None
    chosen: Literal["given", "nadir"]
    margin: float | None
    contributions: FloatArray


def reference_point(losses: ArrayLike, /, *, margin: float = 0.1) -> FloatArray:
    """Return the worst value of each loss plus a margin.

    The margin is a fraction of the loss's range; where the range is zero, of the value's magnitude, or of
    1 where that is zero too. Of a front this is the nadir point plus the margin, so that the extreme
    points count; how much depends on the margin. On an even linear front of C(h + m - 1, m - 1) points, all
    count alike with a margin of 1 / h (H. Ishibuchi et al., "How to specify a reference point in hypervolume
    calculation for fair performance comparison", Evolutionary Computation 26(3), 2018).

    Args:
        losses: Shape (n, m), n > 0, all minimised, all finite.
        margin: Above 0.

    Returns:
        Shape (m,).

    Raises:
        ValueError: For no point, a NaN or an infinity, or a margin that is not above 0.

    >>> reference_point([[0.0, 5.0], [10.0, 5.0]]).tolist()
    [11.0, 5.5]
    """
    points = loss_rows(losses, finite=True)
    _check_margin(margin)
    if len(points) == 0:
        raise ValueError("losses: expected at least one point, got none; give the reference point")
    worst, ranges = points.max(axis=0), np.ptp(points, axis=0)
    scale = np.where(ranges > 0, ranges, np.where(worst != 0, np.abs(worst), 1.0))
    return np.asarray(worst + margin * scale)


def hypervolume(
    losses: ArrayLike,
    /,
    reference: ArrayLike | None = None,
    *,
    margin: float = 0.1,
    feasible: ArrayLike | None = None,
) -> Hypervolume:
    """Return the hypervolume of the feasible candidates' front, its reference point, and who adds what.

    A candidate with an infinite loss adds nothing and does not move the reference point.

    Args:
        losses: Shape (n, m), all minimised. `-inf` is refused: its volume has no end.
        reference: Shape (m,), finite; only what is better than it in every loss counts. None: the worst
            values on the front plus a margin (`reference_point`), which move when the front does: give the
            same point to compare two fronts.
        margin: Used where no reference is given.
        feasible: Booleans of shape (n,); None: all are feasible.

    Returns:
        Volume 0 where nothing counts.

    Raises:
        ValueError: For another shape, a NaN, `-inf`, or a margin that is not above 0.

    >>> found = hypervolume([[1.0, 2.0], [2.0, 1.0], [2.5, 2.5]], [3.0, 3.0])
    >>> found.value, found.contributions.tolist()
    (3.0, [1.0, 1.0, 0.0])
    """
    points = loss_rows(losses, finite=False)
    if np.isneginf(points).any():
        raise ValueError("losses: expected no -inf, got one; its hypervolume has no end, leave it out")
    _check_margin(margin)
    counts = mask_of(feasible, (len(points),)) & np.isfinite(points).all(axis=1)
    counts[counts] = nondominated(points[counts])
    corner = _corner(points[counts], reference, margin)
    contributions = np.zeros(len(points))
    value = 0.0
    if corner is not None:
        counts &= (points < corner).all(axis=1)
        value, contributions[counts] = _volume(points[counts], corner)
    return Hypervolume(
        value=value,
        reference=corner,
        chosen="nadir" if reference is None else "given",
        margin=margin if reference is None else None,
        contributions=contributions,
    )


def _check_margin(margin: float) -> None:
    if not 0 < margin < np.inf:
        raise ValueError(f"margin: expected a number above 0, got {margin}")


def _corner(front: FloatArray, reference: ArrayLike | None, margin: float) -> FloatArray | None:
    if reference is None:
        return reference_point(front, margin=margin) if len(front) else None
    corner = vector(reference, "reference", front.shape[1])
    if not np.isfinite(corner).all():
        raise ValueError(f"reference: expected finite numbers, got {corner.tolist()}")
    return corner


def _volume(front: FloatArray, corner: FloatArray) -> tuple[float, FloatArray]:
    """The volume and the contributions of a front that lies inside the corner; equal points are allowed."""
    if len(front) == 0:
        return 0.0, np.zeros(0)
    if corner.size == 1:  # moocore has no volume of one loss; a front of one loss is equal points
        length = float(corner[0] - front[0, 0])
        return length, np.full(len(front), length if len(front) == 1 else 0.0)
    return _exact(front, corner)


def _exact(front: FloatArray, corner: FloatArray) -> tuple[float, FloatArray]:
    unique, inverse, counts = np.unique(front, axis=0, return_inverse=True, return_counts=True)
    value = float(moocore.hypervolume(unique, ref=corner))
    alone: BoolArray = counts == 1
    gains = np.asarray(moocore.hv_contributions(unique, ref=corner), dtype=np.float64)
    return value, np.where(alone, np.maximum(gains, 0.0), 0.0)[inverse.reshape(-1)]


def hypervolume_history(losses: ArrayLike, /, reference: ArrayLike) -> NDArray[np.float64]:
    """Return the hypervolume after each point.

    Args:
        losses: Shape (n, m), all minimised, in the order found. A row with a NaN adds nothing.
        reference: Shape (m,); only what is better than it in every loss counts.

    Returns:
        Shape (n,), never decreasing.

    >>> hypervolume_history([[1.0, 1.0], [0.0, 1.5]], [2.0, 2.0]).tolist()
    [1.0, 1.5]
    """
    points = np.asarray(losses, dtype=np.float64)
    corner = np.asarray(reference, dtype=np.float64)
    history = np.zeros(len(points))
    front = np.empty((0, corner.size))
    volume = 0.0
    for index, point in enumerate(points):
        inside = bool(np.all(point < corner))  # False for a NaN
        if inside and not bool(np.any(np.all(front <= point, axis=1))):
            front = np.vstack([front[~np.all(front >= point, axis=1)], point])
            volume = (
                float(moocore.hypervolume(front, ref=corner))
                if corner.size > 1
                else float(corner[0] - point[0])
            )
        history[index] = volume
    return history
