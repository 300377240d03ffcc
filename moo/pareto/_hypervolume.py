"""How much of the loss space a growing set of points dominates."""

from __future__ import annotations

import moocore
import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["hypervolume_history"]


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
