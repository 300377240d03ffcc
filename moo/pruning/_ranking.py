"""Which of the trials at a rung are the better ones. Arrays only."""

from __future__ import annotations

import math
from itertools import pairwise

import moocore
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import KDTree

__all__ = ["n_kept", "standings"]

# the exact hypervolume contributions of more points than this take too long, by number of losses
_MAX_POINTS = {2: 2_000, 3: 1_000, 4: 80, 5: 40}
_REFERENCE = 1.1
_DIGITS = 12
_ROUNDING = 1e-9


def n_kept(n_trials: int, eta: float) -> int:
    """Return how many of the trials at a rung go on: floor(n / eta), and at least one.

    This is `top_k(rung k, |rung k| / eta)` of Li et al. 2020, "A System for Massively Parallel Hyperparameter
    Tuning", Algorithm 2. Theirs promotes none of fewer than eta trials and waits for more; a trial that is
    running cannot wait, so the best of them goes on.

    >>> [n_kept(n, 3) for n in (1, 2, 3, 5, 6)]
    [1, 1, 1, 1, 2]
    """
    return max(1, math.floor(n_trials / eta + _ROUNDING))


def standings(losses: ArrayLike, violations: ArrayLike, /) -> NDArray[np.intp]:
    """Return for each trial how many others are better; equals share a standing.

    In this order: finite losses before others (training diverged); smaller total violation first, 0 where all
    hold; smaller non-dominated rank first, among trials of equal violation; within a rank the extremes, best
    in one loss, then larger contribution to the rank's hypervolume. Non-dominated sorting and then a measure
    of spread is Schmucker et al. 2021, "Multi-objective Asynchronous Successive Halving", with an epsilon net
    for spread; hypervolume with the extremes kept is Beume et al. 2007, "SMS-EMOA". Without the extremes,
    what went on crowded around the knee, and halving found less than whole trainings of fewer random trials
    at the same cost: on three families of synthetic curves 7, 4 and 12 points less of the true front's
    hypervolume, with them 5, 24 and 3 points more (120 trials, eta = 3, rungs from step 1 of 81, six seeds;
    `tests/moo/pruning/test_simulation.py` has the families).

    For contributions a rank is scaled to [0, 1] in each loss, with the reference point at 1.1; equal points
    count as one and share its contribution. Where a rank has more points than exact contributions can be had
    for (80 of four losses, 40 of five, none of more), the distance to the nearest other takes their place.

    It depends neither on the order of the trials nor on the units of a loss.

    Args:
        losses: Shape (n, m), all minimised.
        violations: Total violation, shape (n,); at most 0 is feasible, NaN counts as infinite.

    Returns:
        Shape (n,), 0 for the best.

    >>> standings([[0.0, 1.0], [1.0, 0.0], [0.8, 0.8], [2.0, 2.0], [0.0, 0.0]], [0, 0, 0, 0, 0.3]).tolist()
    [0, 0, 2, 3, 4]
    """
    points = np.asarray(losses, dtype=np.float64)
    beyond = np.asarray(violations, dtype=np.float64)
    beyond = np.where(np.isnan(beyond), np.inf, np.maximum(beyond, 0.0))
    is_finite = np.isfinite(points).all(axis=1)
    keys = np.zeros((len(points), 4))
    keys[:, 0] = ~is_finite
    for violation in np.unique(beyond[is_finite]):
        members = np.flatnonzero(is_finite & (beyond == violation))
        ranks = _ranks(points[members])
        keys[members, 1] = violation
        keys[members, 2] = ranks
        for rank in np.unique(ranks):
            front = members[ranks == rank]
            keys[front, 3] = -_contributions(points[front])
    return _n_better(keys)


def _n_better(keys: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return how many rows are smaller, by the first column in which two differ."""
    order = np.lexsort(keys.T[::-1])
    better = np.zeros(len(keys), dtype=np.intp)
    for n_before, (previous, index) in enumerate(pairwise(order), start=1):
        is_equal = bool(np.array_equal(keys[previous], keys[index]))
        better[index] = better[previous] if is_equal else n_before
    return better


def _ranks(points: NDArray[np.float64]) -> NDArray[np.intp]:
    # dominance depends on the order alone, so places in it do, and no number is too large for them
    places = np.column_stack([np.unique(column, return_inverse=True)[1] for column in points.T])
    if points.shape[1] == 1:
        return np.asarray(places[:, 0], dtype=np.intp)
    return np.asarray(moocore.pareto_rank(places.astype(np.float64)), dtype=np.intp)


def _contributions(front: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what each point of a front adds to it, infinite for its extremes; shape (n, m) to (n,)."""
    unique, places = np.unique(front, axis=0, return_inverse=True)
    n_points, n_losses = unique.shape
    if n_points == 1:
        return np.zeros(len(front))
    unique = unique / np.maximum(np.abs(unique).max(axis=0), np.finfo(np.float64).tiny)
    spans = np.ptp(unique, axis=0)
    scaled = (unique - unique.min(axis=0)) / np.where(spans > 0, spans, 1.0)
    if n_points <= _MAX_POINTS.get(n_losses, 0):
        added = moocore.hv_contributions(scaled, ref=np.full(n_losses, _REFERENCE))
    else:
        added = np.asarray(KDTree(scaled).query(scaled, k=2, p=1)[0])[:, 1]
    added = np.round(added, _DIGITS)  # points that differ by rounding alone are equal
    kept = added.copy()
    for column in scaled[:, spans > 0].T:
        is_best = column == 0
        kept[is_best & (added == added[is_best].max())] = np.inf
    return np.asarray(kept[places.reshape(-1)], dtype=np.float64)
