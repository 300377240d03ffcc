"""The choice by weights, and for which other weights it would be the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from moo.pareto._arrays import FloatArray, Front, IndexArray, front_of, loss_rows, vector
from moo.pareto._proportion import standard_error

__all__ = [
    "WeightRanges",
    "WeightShares",
    "WeightedChoice",
    "weight_ranges",
    "weight_shares",
    "weighted_choice",
]

# scaled losses that differ by less are equal but for rounding
_NO_DIFFERENCE = 1e-12
# scores held at once by `weight_shares`
_MOST_SCORES = 4_000_000


@dataclass(frozen=True, eq=False)
class WeightedChoice:
    """The candidate with the smallest weighted sum of scaled losses, and why.

    Attributes:
        index: The candidate, a row of the losses given.
        score: Its weighted sum, from 0 (the ideal point) to 1 (the nadir point).
        terms: What each loss adds to the score, shape (m,).
        runner_up: The next best candidate on the front; None where there is no other.
        gap: The runner-up's score minus this one's, at least 0; None likewise.
        weights: The weights, scaled to sum to 1, shape (m,).
        ideal: The best value of each loss on the front: 0 on the scale. Shape (m,).
        nadir: The worst: 1 on the scale.
    """

    index: int
    score: float
    terms: FloatArray
    runner_up: int | None
    gap: float | None
    weights: FloatArray
    ideal: FloatArray
    nadir: FloatArray


@dataclass(frozen=True, eq=False)
class WeightRanges:
    """For which values of each weight a choice stays best, the other weights scaled in proportion.

    Attributes:
        index: The candidate chosen with the weights given.
        weights: Those, scaled to sum to 1, shape (m,).
        low: The smallest value of each weight with which it is best, shape (m,), from 0 to the weight.
        high: The largest, from the weight to 1.
        rival_below: Who is better just below `low`, shape (m,); -1 where `low` is 0.
        rival_above: Who is better just above `high`; -1 where `high` is 1.
    """

    index: int
    weights: FloatArray
    low: FloatArray
    high: FloatArray
    rival_below: IndexArray
    rival_above: IndexArray


@dataclass(frozen=True, eq=False)
class WeightShares:
    """With which share of all possible weights each candidate is best.

    Attributes:
        shares: Share of draws in which it is best, shape (n,); equal candidates are best together.
        shares_se: Monte Carlo standard error, shape (n,); 0 for a candidate off the front, or alone on it:
            their shares are 0 and 1 whatever is drawn.
        n_draws: How many weight vectors were drawn.
    """

    shares: FloatArray
    shares_se: FloatArray
    n_draws: int


def weighted_choice(
    losses: ArrayLike, /, weights: ArrayLike, *, feasible: ArrayLike | None = None
) -> WeightedChoice | None:
    """Return the candidate whose weighted sum of scaled losses is smallest.

    Each loss is scaled from 0, its best value on the front of the feasible candidates, to 1, its worst; a
    loss in which the whole front is equal does not count. A weight is thus what going from worst to best in
    that loss is worth. Only candidates on the convex part of the front can be chosen, whatever the weights
    (I. Das and J. E. Dennis, "A closer look at drawbacks of minimizing weighted sums of objectives",
    Structural Optimization 14, 1997); `knee` and `reference_choice` reach the others. Ties go to the smaller
    unweighted sum, then to the earlier row. A dominated candidate changes nothing.

    Args:
        losses: Shape (n, m), all minimised, all finite.
        weights: Shape (m,), at least 0, not all 0; any scale.
        feasible: Booleans of shape (n,); None: all are feasible.

    Returns:
        None where no candidate is feasible.

    Raises:
        ValueError: For another shape, a NaN or an infinity, or weights that cannot be.

    >>> front = [[1.0, 60.0], [3.0, 20.0], [5.0, 10.0]]
    >>> choice = weighted_choice(front, [1.0, 1.0])
    >>> choice.index, choice.terms.tolist(), choice.runner_up
    (1, [0.25, 0.1], 0)
    """
    points = loss_rows(losses, finite=True)
    shares = shares_of_weights(weights, points.shape[1])
    front = front_of(points, feasible)
    return None if front is None else _choice(front, shares)


def weight_ranges(
    losses: ArrayLike, /, weights: ArrayLike, *, feasible: ArrayLike | None = None
) -> WeightRanges | None:
    """Return, for each weight, between which values the weighted choice stays the same.

    One weight moves, the others keep their proportions and all sum to 1. Then each candidate's score is a
    straight line over that weight, and the ends are where another one's line crosses that of the choice:
    exact but for rounding (rivals that differ by less than 1e-12 of the front's range are none). Where all
    other weights are 0 they rise as equals. This is one weight at a time; `weight_shares` looks at all
    together. O(f m^2) for f candidates on the front.

    Args:
        losses: Shape (n, m), all minimised, all finite.
        weights: Shape (m,), at least 0, not all 0; any scale.
        feasible: Booleans of shape (n,); None: all are feasible.

    Returns:
        None where no candidate is feasible.

    Raises:
        ValueError: As `weighted_choice`.

    >>> found = weight_ranges([[1.0, 60.0], [3.0, 20.0], [5.0, 10.0]], [1.0, 1.0])
    >>> found.low.round(3).tolist(), found.high.round(3).tolist()
    ([0.286, 0.385], [0.615, 0.714])
    >>> found.rival_below.tolist(), found.rival_above.tolist()
    ([2, 0], [0, 2])
    """
    points = loss_rows(losses, finite=True)
    shares = shares_of_weights(weights, points.shape[1])
    front = front_of(points, feasible)
    if front is None:
        return None
    index = _choice(front, shares).index
    away = front.scaled - front.scaled[np.searchsorted(front.members, index)]
    ends = [_range(away, shares, loss) for loss in range(shares.size)]
    rivals = np.array([[below, above] for _, below, _, above in ends])
    members = np.append(front.members, -1)  # so that nobody, -1, stays -1
    return WeightRanges(
        index=index,
        weights=shares,
        low=np.array([low for low, _, _, _ in ends]),
        high=np.array([high for _, _, high, _ in ends]),
        rival_below=members[rivals[:, 0]],
        rival_above=members[rivals[:, 1]],
    )


def weight_shares(
    losses: ArrayLike,
    /,
    *,
    generator: np.random.Generator,
    n_draws: int = 10_000,
    feasible: ArrayLike | None = None,
) -> WeightShares | None:
    """Return with which share of all weights each candidate is the weighted choice.

    Weights are drawn uniformly from the simplex (a Dirichlet distribution with parameters 1): nothing is
    said about which loss matters more. Source: the rank acceptability index for the first rank of R.
    Lahdelma and P. Salminen, "SMAA-2: stochastic multicriteria acceptability analysis for group decision
    making", Operations Research 49(3), 2001, here with exact losses.

    Args:
        losses: Shape (n, m), all minimised, all finite.
        generator: Where the weights come from; the same generator gives the same shares.
        n_draws: How many weight vectors.
        feasible: Booleans of shape (n,); None: all are feasible.

    Returns:
        None where no candidate is feasible. The shares of distinct candidates sum to 1.

    Raises:
        ValueError: For another shape, a NaN or an infinity, or no draws.

    >>> found = weight_shares([[0.0, 1.0], [1.0, 0.0], [2.0, 2.0]], generator=np.random.default_rng(0))
    >>> found.shares.round(2).tolist(), found.shares_se.round(3).tolist()
    ([0.5, 0.5, 0.0], [0.005, 0.005, 0.0])
    """
    points = loss_rows(losses, finite=True)
    if n_draws < 1:
        raise ValueError(f"n_draws: expected at least 1, got {n_draws}")
    front = front_of(points, feasible)
    if front is None:
        return None
    scaled, inverse = np.unique(front.scaled, axis=0, return_inverse=True)
    counts = np.zeros(len(scaled), dtype=np.int64)
    step = max(1, _MOST_SCORES // len(scaled))
    for start in range(0, n_draws, step):
        drawn = generator.dirichlet(np.ones(points.shape[1]), size=min(step, n_draws - start))
        counts += np.bincount((drawn @ scaled.T).argmin(axis=1), minlength=len(scaled))
    shares, errors = np.zeros(len(points)), np.zeros(len(points))
    shares[front.members] = (counts / n_draws)[inverse.reshape(-1)]
    if len(scaled) > 1:
        errors[front.members] = standard_error(counts.astype(np.float64), n_draws)[inverse.reshape(-1)]
    return WeightShares(shares, errors, n_draws)


def shares_of_weights(weights: ArrayLike, n_losses: int, /) -> FloatArray:
    """Return weights scaled to sum to 1, shape (m,).

    Raises:
        ValueError: For another shape, a NaN, an infinity, a weight below 0, or nothing but 0.
    """
    given = vector(weights, "weights", n_losses)
    if not np.isfinite(given).all() or (given < 0).any() or not (given > 0).any():
        raise ValueError(
            f"weights: expected finite numbers of at least 0, not all of them 0, got {given.tolist()}"
        )
    relative = given / given.max()
    return np.asarray(relative / relative.sum())


def _choice(front: Front, weights: FloatArray) -> WeightedChoice:
    scores = front.scaled @ weights
    order = np.lexsort((front.scaled.sum(axis=1), scores))
    best, following = int(order[0]), order[1:2]
    return WeightedChoice(
        index=int(front.members[best]),
        score=float(scores[best]),
        terms=front.scaled[best] * weights,
        runner_up=int(front.members[following[0]]) if len(following) else None,
        gap=float(scores[following[0]] - scores[best]) if len(following) else None,
        weights=weights,
        ideal=front.ideal,
        nadir=front.nadir,
    )


def _range(away: FloatArray, weights: FloatArray, loss: int) -> tuple[float, int, float, int]:
    """Low, who is better below it, high, who is better above it: rows of `away`, -1 for nobody.

    Args:
        away: Scaled losses less those of the choice, shape (f, m).
        weights: They sum to 1, and none of the rows of `away` has a smaller sum than 0 with them.
        loss: Whose weight moves.
    """
    others = np.delete(weights, loss)
    rest = others if others.sum() > 0 else np.ones_like(others)
    at_zero = np.delete(away, loss, axis=1) @ (rest / rest.sum() if rest.size else rest)
    at_one = away[:, loss]
    weight = float(weights[loss])
    low, below = _crossing(at_zero, at_one)
    from_one, above = _crossing(at_one, at_zero)
    return min(low, weight), below, max(1.0 - from_one, weight), above


def _crossing(near: FloatArray, far: FloatArray) -> tuple[float, int]:
    """The largest t where a line from `near` < 0 (t = 0) to `far` (t = 1) is 0, and which; or 0 and -1.

    Of lines that cross at the same t, the steepest: the lowest just before it.
    """
    rising = np.flatnonzero(near < -_NO_DIFFERENCE)
    if not len(rising):
        return 0.0, -1
    slopes = np.maximum(far[rising], 0.0) - near[rising]
    roots = -near[rising] / slopes
    largest = float(roots.max())
    together = np.flatnonzero(roots >= largest - _NO_DIFFERENCE)
    steepest = together[np.argmax(slopes[together])]
    return largest, int(rising[steepest])
