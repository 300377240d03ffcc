"""Which points no other point dominates."""

from __future__ import annotations

import moocore
import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["nondominated"]


def nondominated(losses: ArrayLike, /) -> NDArray[np.bool_]:
    """Return which points are non-dominated.

    A point dominates another if it is no worse in every loss and better in at least one. Equal
    points do not dominate each other: all of them stay. A point with a NaN is never on the front
    and dominates nothing.

    Args:
        losses: Shape (n, m), all minimised. Infinities are allowed.

    Returns:
        Booleans of shape (n,). O(n log n) for two and three losses.

    >>> nondominated([[1, 2], [2, 1], [2, 2], [1, 2]]).tolist()
    [True, True, False, True]
    """
    points = np.asarray(losses, dtype=np.float64)
    if points.ndim != 2:
        raise ValueError(f"expected losses of shape (n, m), got {points.shape}")
    known = ~np.isnan(points).any(axis=1)
    mask = np.zeros(len(points), dtype=np.bool_)
    if known.any():
        mask[known] = _best(points[known])
    return mask


def _best(points: NDArray[np.float64]) -> NDArray[np.bool_]:
    if points.shape[1] == 1:
        return np.asarray(points[:, 0] == points[:, 0].min(), dtype=np.bool_)
    # dominance depends on the order alone, and moocore (0.3.2) is wrong or crashes on infinities
    ranks = np.column_stack([np.unique(column, return_inverse=True)[1] for column in points.T])
    return np.asarray(moocore.is_nondominated(ranks.astype(np.float64), keep_weakly=True), dtype=np.bool_)
