"""Which of many points are the best where there are several losses. Arrays only."""

from __future__ import annotations

import moocore
import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["best_subset"]

# the exact hypervolume contributions of more points than this take too long, by number of losses
_MAX_POINTS = {2: 2_000, 3: 1_000, 4: 80, 5: 40}
_REFERENCE = 1.1


def best_subset(losses: ArrayLike, n_best: int, /) -> NDArray[np.intp]:
    """Return the indices of the best points: whole fronts first, then by hypervolume.

    Fronts are peeled off until one does not fit whole (non-dominated sorting, Deb et al. 2002). Of
    that one, the points that contribute least to its hypervolume are dropped, a quarter of the
    excess at a time, until it fits (greedy hypervolume subset selection, Bringmann and Friedrich 2010,
    "An efficient algorithm for computing hypervolume contributions"; Ozaki et al. 2022, "Multiobjective
    Tree-Structured Parzen Estimator", break ties so).

    Args:
        losses: Shape (n, m), all minimised, finite.
        n_best: How many, at most n.

    Returns:
        Shape (n_best,): front by front, in no order within a front.

    >>> best_subset([[0.0, 1.0], [0.5, 0.5], [0.51, 0.5], [1.0, 0.0]], 2).tolist()
    [1, 3]
    """
    points = np.asarray(losses, dtype=np.float64)
    left = np.arange(len(points))
    if points.shape[1] == 1:
        return np.argsort(points[:, 0], kind="stable")[:n_best]
    chosen: list[NDArray[np.intp]] = []
    n_missing = min(n_best, len(points))
    while n_missing > 0:
        is_front = moocore.is_nondominated(points[left], keep_weakly=True)
        front, left = left[is_front], left[~is_front]
        if len(front) > n_missing:
            front = front[_widest(points[front], n_missing)]
        chosen.append(front)
        n_missing -= len(front)
    return np.concatenate(chosen) if chosen else np.empty(0, dtype=np.intp)


def _widest(front: NDArray[np.float64], n_kept: int) -> NDArray[np.intp]:
    """Return the indices of a subset of a front that keeps most of its hypervolume."""
    n_losses = front.shape[1]
    spans = np.ptp(front, axis=0)
    scaled = (front - front.min(axis=0)) / np.where(spans > 0, spans, 1.0)
    kept = np.arange(len(front))
    limit = max(_MAX_POINTS.get(n_losses, 0), n_kept if n_losses <= max(_MAX_POINTS) else 0)
    if len(kept) > limit:
        kept = _spread(scaled, max(limit, n_kept))
    while len(kept) > n_kept and n_losses <= max(_MAX_POINTS):
        contributions = moocore.hv_contributions(scaled[kept], ref=np.full(n_losses, _REFERENCE))
        n_dropped = -(-(len(kept) - n_kept) // 4)
        kept = np.delete(kept, np.argsort(contributions, kind="stable")[:n_dropped])
    return kept


def _spread(points: NDArray[np.float64], n_kept: int) -> NDArray[np.intp]:
    """Return indices of points far from each other: each the farthest from those before it."""
    kept = [int(np.argmin(points.sum(axis=1)))]
    distances = np.full(len(points), np.inf)
    for _ in range(n_kept - 1):
        distances = np.minimum(distances, np.abs(points - points[kept[-1]]).sum(axis=1))
        kept.append(int(np.argmax(distances)))
    return np.sort(np.array(kept, dtype=np.intp))
