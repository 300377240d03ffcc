"""The choice by weighted distance to the ideal point, and for which other weights it would be the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from moo.pareto._arrays import BoolArray, FloatArray, IndexArray, front_of, loss_rows, mask_of
from moo.pareto._weights import WeightRanges, shares_of_weights

__all__ = ["ChebyshevChoice", "chebyshev_choice", "chebyshev_ranges", "knee"]

# scores that differ by less are equal but for rounding
_NO_DIFFERENCE = 1e-12
# how far beyond a range's end rivals are compared that reach it together
_BEYOND = 1e-6


@dataclass(frozen=True, eq=False)
class ChebyshevChoice:
    """The candidate whose worst weighted, scaled loss is smallest, and why.

    Attributes:
        index: The candidate, a row of the losses given.
        score: Its largest term: its weighted distance to the ideal point.
        terms: Weight times scaled loss, shape (m,).
        runner_up: The choice if this candidate were not there, on the same scale; None where it is alone on
            the front.
        gap: The runner-up's score minus this one's; None likewise. At least 0, but for rounding.
        weights: The weights, scaled to sum to 1, shape (m,).
        ideal: The best value of each loss: 0 on the scale. Shape (m,).
        nadir: The worst on the front that makes the scale: 1 on the scale.
        members: The front: rows of the losses given, ascending, shape (f,).
        scaled: Their scaled losses, shape (f, m).
    """

    index: int
    score: float
    terms: FloatArray
    runner_up: int | None
    gap: float | None
    weights: FloatArray
    ideal: FloatArray
    nadir: FloatArray
    members: IndexArray
    scaled: FloatArray


def chebyshev_choice(
    losses: ArrayLike,
    /,
    weights: ArrayLike,
    *,
    feasible: ArrayLike | None = None,
    logarithmic: ArrayLike | None = None,
    scaled_by: ArrayLike | None = None,
) -> ChebyshevChoice | None:
    """Return the candidate whose largest weighted, scaled loss is smallest.

    Each loss is scaled from 0, its best value on the front of the feasible candidates, to 1, its worst; where
    the whole front is equal in it, it is 0. The score is max_j w_j s_j: the weighted Chebyshev distance to
    the ideal point (V. J. Bowman, "On the relationship of the Tchebycheff norm and the efficient frontier of
    multiple-criteria objectives", Lecture Notes in Economics and Mathematical Systems 130, 1976). Unlike a
    weighted sum it reaches every candidate on the front, whatever the front's form. Equal scores (within
    1e-12) go to the smaller sum_j w_j s_j, which is the limit of the augmented norm for a vanishing
    augmentation (R. E. Steuer and E.-U. Choo, "An interactive weighted Tchebycheff procedure for multiple
    objective programming", Mathematical Programming 26, 1983); then to the smaller unweighted sum; then to
    the earlier row. A dominated candidate changes nothing. The scale depends on the front's extremes: a new
    one can change the choice.

    Args:
        losses: Shape (n, m), all minimised, all finite.
        weights: Shape (m,), at least 0, not all 0; any scale.
        feasible: Booleans of shape (n,); None: all are feasible.
        logarithmic: Booleans of shape (m,): losses that are scaled by their log10, so that equal factors
            count the same; they must be above 0. None: none of them.
        scaled_by: Booleans of shape (n,): whose front makes the scale, so that leaving candidates out by
            `feasible` does not move it, and changes nothing as long as the choice is not left out. A feasible
            candidate that is better than all of these extends the scale; one that is worse has more than 1.
            None, or where none of them is there: the front itself.

    Returns:
        None where no candidate is feasible.

    Raises:
        ValueError: For another shape, a NaN or an infinity, weights that cannot be, or a logarithm of what is
            not above 0.

    >>> front = [[1.0, 60.0], [3.0, 20.0], [5.0, 10.0]]
    >>> choice = chebyshev_choice(front, [1.0, 1.0])
    >>> choice.index, choice.terms.tolist(), choice.runner_up
    (1, [0.25, 0.1], 0)
    """
    points = loss_rows(losses, finite=True)
    shares = shares_of_weights(weights, points.shape[1])
    found = _scaled_front(points, feasible, logarithmic, scaled_by)
    if found is None:
        return None
    members, ideal, nadir, scaled = found
    best, following = _best_two(scaled, shares)
    scores = (scaled * shares).max(axis=1)
    return ChebyshevChoice(
        index=int(members[best]),
        score=float(scores[best]),
        terms=scaled[best] * shares,
        runner_up=None if following is None else int(members[following]),
        gap=None if following is None else float(scores[following] - scores[best]),
        weights=shares,
        ideal=ideal,
        nadir=nadir,
        members=members,
        scaled=scaled,
    )


def chebyshev_ranges(
    losses: ArrayLike,
    /,
    weights: ArrayLike,
    *,
    feasible: ArrayLike | None = None,
    logarithmic: ArrayLike | None = None,
    scaled_by: ArrayLike | None = None,
) -> WeightRanges | None:
    """Return, for each weight, between which values nobody has a smaller score than the choice.

    One weight t moves from 0 to 1, the others keep their proportions and all sum to 1; where all others are
    0 they rise as equals. With a_i the scaled loss of that weight and b_i the largest of the others, each
    times its proportion, the score of i is max(t a_i, (1 - t) b_i), and the choice c keeps the smallest one
    from max_i b_c / (a_i + b_c) over those with b_i < b_c, to min_i b_i / (a_c + b_i) over those with
    a_i < a_c: exact but for rounding (what differs by less than 1e-12 is equal). Another candidate may have
    the same score over a stretch within. This is one weight at a time. O(f m^2) for f candidates on the
    front.

    Args:
        losses: Shape (n, m), all minimised, all finite.
        weights: Shape (m,), at least 0, not all 0; any scale.
        feasible: Booleans of shape (n,); None: all are feasible.
        logarithmic: As `chebyshev_choice`.
        scaled_by: As `chebyshev_choice`.

    Returns:
        None where no candidate is feasible.

    Raises:
        ValueError: As `chebyshev_choice`.

    >>> found = chebyshev_ranges([[1.0, 60.0], [3.0, 20.0], [5.0, 10.0]], [1.0, 1.0])
    >>> found.low.round(3).tolist(), found.high.round(3).tolist()
    ([0.167, 0.333], [0.667, 0.833])
    >>> found.rival_below.tolist(), found.rival_above.tolist()
    ([2, 0], [0, 2])
    """
    points = loss_rows(losses, finite=True)
    shares = shares_of_weights(weights, points.shape[1])
    found = _scaled_front(points, feasible, logarithmic, scaled_by)
    if found is None:
        return None
    members, _, _, scaled = found
    best, _ = _best_two(scaled, shares)
    ends = [_range(scaled, shares, best, loss) for loss in range(shares.size)]
    rivals = np.array([[below, above] for _, below, _, above in ends])
    named = np.append(members, -1)  # so that nobody, -1, stays -1
    return WeightRanges(
        index=int(members[best]),
        weights=shares,
        low=np.array([low for low, _, _, _ in ends]),
        high=np.array([high for _, _, high, _ in ends]),
        rival_below=named[rivals[:, 0]],
        rival_above=named[rivals[:, 1]],
    )


def knee(losses: ArrayLike, /) -> int | None:
    """Return the index of the point whose worst normalised loss is smallest.

    Each loss is scaled to [0, 1] between the front's best and worst value; the choice is that of
    `chebyshev_choice` with equal weights. It depends on the extremes of the front: a new extreme point can
    move it.

    Args:
        losses: The front, shape (n, m), all minimised, all finite.

    Returns:
        An index, or None for an empty front.

    Raises:
        ValueError: For another shape, a NaN or an infinity.

    >>> knee([[0.0, 1.0], [0.3, 0.3], [1.0, 0.0]])
    1
    """
    points = loss_rows(losses, finite=False)
    if not np.isfinite(points).all():
        raise ValueError("losses: expected finite numbers, got an infinity; leave such candidates out")
    if len(points) == 0:
        return None
    n_losses = points.shape[1]
    _, _, scaled = _scaled(points, points, np.zeros(n_losses, dtype=np.bool_))
    return _best(scaled, np.full(n_losses, 1.0 / n_losses), np.arange(len(points)))


def _scaled_front(
    points: FloatArray,
    feasible: ArrayLike | None,
    logarithmic: ArrayLike | None,
    scaled_by: ArrayLike | None,
) -> tuple[IndexArray, FloatArray, FloatArray, FloatArray] | None:
    """Members, ideal, nadir and scaled losses of the front, which is that of the losses as they are."""
    takes_log = _columns(logarithmic, points.shape[1])
    front = front_of(points, feasible)
    if front is None:
        return None
    by = front if scaled_by is None else front_of(points, scaled_by) or front
    for each in (front, by):
        logged = each.losses[:, takes_log]
        if (logged <= 0).any():
            raise ValueError(f"logarithmic: expected losses above 0 there, got {logged.min():g} on the front")
    return front.members, *_scaled(front.losses, by.losses, takes_log)


def _columns(logarithmic: ArrayLike | None, n_losses: int) -> BoolArray:
    if logarithmic is None:
        return np.zeros(n_losses, dtype=np.bool_)
    try:
        return mask_of(logarithmic, (n_losses,))
    except ValueError as error:
        raise ValueError(str(error).replace("feasible:", "logarithmic:", 1)) from None


def _scaled(
    points: FloatArray, by: FloatArray, takes_log: BoolArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Ideal, nadir, and the points on the scale between them; 0 where these are equal.

    Nobody is below 0: who is better than all that make the scale extends it. Where these have no range, the
    points themselves make it.
    """
    ideal = np.minimum(points.min(axis=0), by.min(axis=0))
    nadir = np.where(by.max(axis=0) > ideal, by.max(axis=0), points.max(axis=0))
    used, low, high = points.copy(), ideal.copy(), nadir.copy()
    for each in (used.T, low, high):
        each[takes_log] = np.log10(each[takes_log])
    scaled = (used - low) / np.where(high > low, high - low, 1.0)
    return ideal, nadir, scaled


def _best_two(scaled: FloatArray, weights: FloatArray) -> tuple[int, int | None]:
    rows = np.arange(len(scaled))
    best = _best(scaled, weights, rows)
    return best, _best(scaled, weights, rows[rows != best]) if len(rows) > 1 else None


def _best(scaled: FloatArray, weights: FloatArray, rows: IndexArray) -> int:
    """The row with the smallest largest term; of equal ones the smaller weighted, then unweighted sum."""
    terms = scaled[rows] * weights
    kept = rows
    for values in (terms.max(axis=1), terms.sum(axis=1), scaled[rows].sum(axis=1)):
        among = values[np.searchsorted(rows, kept)]
        kept = kept[among <= among.min() + _NO_DIFFERENCE]
    return int(kept[0])


def _range(scaled: FloatArray, weights: FloatArray, best: int, loss: int) -> tuple[float, int, float, int]:
    """Low, who is better below it, high, who is better above it: rows of `scaled`, -1 for nobody."""
    others = np.delete(weights, loss)
    rest = others if others.sum() > 0 else np.ones_like(others)
    proportions = np.insert(rest / rest.sum() if rest.size else rest, loss, 0.0)
    a, b = scaled[:, loss], (scaled * proportions).max(axis=1)
    weight, low, below, high, above = float(weights[loss]), 0.0, -1, 1.0, -1
    rivals = np.flatnonzero(a < a[best] - _NO_DIFFERENCE)
    if len(rivals):
        ends = b[rivals] / (a[best] + b[rivals])
        high = float(ends.min())
        together = rivals[ends <= high + _NO_DIFFERENCE]
        above = _best(scaled, _moved(proportions, loss, high + (1.0 - high) * _BEYOND), together)
    rivals = np.flatnonzero(b < b[best] - _NO_DIFFERENCE)
    if len(rivals):
        ends = b[best] / (a[rivals] + b[best])
        low = float(ends.max())
        together = rivals[ends >= low - _NO_DIFFERENCE]
        below = _best(scaled, _moved(proportions, loss, low * (1.0 - _BEYOND)), together)
    return min(low, weight), below, max(high, weight), above


def _moved(proportions: FloatArray, loss: int, weight: float) -> FloatArray:
    moved = proportions * (1.0 - weight)
    moved[loss] = weight
    return moved
