"""Which point of a front to take when nothing else was said."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["knee"]


def knee(losses: ArrayLike, /) -> int | None:
    """Return the index of the point whose worst normalised loss is smallest.

    Each loss is scaled to [0, 1] between the front's best and worst value; the choice is the
    weighted Chebyshev distance to the ideal point with equal weights (Bowman 1976, "On the
    relationship of the Tchebycheff norm and the efficient frontier"), ties broken by the sum.
    It depends on the extremes of the front: a new extreme point can move it.

    Args:
        losses: The front, shape (n, m), all minimised, all finite.

    Returns:
        An index, or None for an empty front.

    >>> knee([[0.0, 1.0], [0.3, 0.3], [1.0, 0.0]])
    1
    """
    points = np.asarray(losses, dtype=np.float64)
    if len(points) == 0:
        return None
    spans = np.ptp(points, axis=0)
    scaled = (points - points.min(axis=0)) / np.where(spans > 0, spans, 1.0)
    return int(np.lexsort((scaled.sum(axis=1), scaled.max(axis=1)))[0])
