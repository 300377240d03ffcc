"""How sure it is that a candidate is on the front, feasible, or better than another: from draws."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from moo.pareto._arrays import BoolArray, FloatArray, check_candidate, mask_of
from moo.pareto._proportion import standard_error

__all__ = ["Comparison", "FrontProbability", "front_probability", "probability_better"]

# pairs of candidates compared at once: a few megabytes
_MOST_PAIRS = 2_000_000


@dataclass(frozen=True, eq=False)
class FrontProbability:
    """How often each candidate is on the front, feasible, and how far behind it is.

    Attributes:
        p_on_front: Share of draws in which the candidate is feasible and no feasible one dominates
            it, shape (n,).
        p_on_front_se: Its Monte Carlo standard error, shape (n,).
        p_feasible: Share of draws in which it is feasible, shape (n,).
        p_feasible_se: Its Monte Carlo standard error, shape (n,).
        expected_rank: Mean over draws of 1 plus the number of feasible candidates that dominate it
            (Fonseca and Fleming 1993); n + 1 in a draw in which it is infeasible, so that rank 1 is
            the front and nothing else. Shape (n,).
        n_draws: How many draws there are.
    """

    p_on_front: FloatArray
    p_on_front_se: FloatArray
    p_feasible: FloatArray
    p_feasible_se: FloatArray
    expected_rank: FloatArray
    n_draws: int


@dataclass(frozen=True, eq=False)
class Comparison:
    """How often one candidate is better than another, loss by loss.

    Attributes:
        p_better: Share of draws in which the first has the smaller loss, shape (m,).
        p_equal: Share of draws in which both have the same; the rest is worse. Shape (m,).
        p_better_se: Monte Carlo standard error of `p_better`, shape (m,).
    """

    p_better: FloatArray
    p_equal: FloatArray
    p_better_se: FloatArray


def front_probability(
    losses: ArrayLike, /, *, feasible: ArrayLike | None = None, violations: ArrayLike | None = None
) -> FrontProbability:
    """Return each candidate's probability of being on the front, of being feasible, and its expected rank.

    In each draw the front is that of the feasible candidates: an infeasible one is not on it and
    dominates nobody. Equal vectors do not dominate each other. An infinite loss is a value like
    others. What candidates have in common (one validation set, one slow minute of the machine) must be
    in the draws: see `estimate_draws` and `resampled_means`.

    The standard errors are those of independent draws, above 0 even where all draws agree. They say how
    much more draws would change; what the draws leave out is not in them.

    Source: ranks, C. M. Fonseca and P. J. Fleming, "Genetic algorithms for multiobjective optimization",
    ICGA 1993; their expectation under noise is 1 plus the sum of the probabilities of being dominated, as
    in E. J. Hughes, "Evolutionary multi-objective ranking with uncertainty and noise", EMO 2001.

    Args:
        losses: Draws of all losses, shape (n_draws, n, m), all minimised.
        feasible: Whether each candidate is feasible in each draw, shape (n_draws, n).
        violations: Or its constraint violations, shape (n_draws, n, k): feasible if all are at most 0.
            Neither: all are feasible.

    Returns:
        Arrays of shape (n,). O(n_draws n^2 m) in time.

    Raises:
        ValueError: For another shape, no draws, a NaN, or both `feasible` and `violations`.

    >>> draws = [[[1.0, 2.0], [2.0, 1.0], [3.0, 3.0]], [[1.0, 1.0], [2.0, 1.5], [0.0, 9.0]]]
    >>> found = front_probability(draws)
    >>> found.p_on_front.tolist(), found.expected_rank.tolist()
    ([1.0, 0.5, 0.5], [1.0, 1.5, 2.0])
    """
    points = _draws(losses, "losses")
    n_draws, n, _ = points.shape
    mask = _feasible(feasible, violations, (n_draws, n))
    on_front, ranks = np.zeros(n), np.zeros(n)
    step = max(1, _MOST_PAIRS // max(1, n * n))
    for start in range(0, n_draws, step):
        batch, is_feasible = points[start : start + step], mask[start : start + step]
        n_dominators = _count_dominators(batch, is_feasible)
        on_front += (is_feasible & (n_dominators == 0)).sum(axis=0)
        ranks += np.where(is_feasible, 1 + n_dominators, n + 1).sum(axis=0)
    n_feasible = mask.sum(axis=0).astype(np.float64)
    return FrontProbability(
        p_on_front=on_front / n_draws,
        p_on_front_se=standard_error(on_front, n_draws),
        p_feasible=n_feasible / n_draws,
        p_feasible_se=standard_error(n_feasible, n_draws),
        expected_rank=ranks / n_draws,
        n_draws=n_draws,
    )


def probability_better(losses: ArrayLike, first: int, second: int, /) -> Comparison:
    """Return the probability that one candidate has the smaller loss than another, for each loss.

    Args:
        losses: Draws of all losses, shape (n_draws, n, m), all minimised.
        first: The candidate asked about, from 0.
        second: The one that it is compared with.

    Returns:
        Arrays of shape (m,). Standard errors as in `front_probability`.

    Raises:
        ValueError: For another shape, no draws, or a NaN.
        IndexError: For a candidate that is not there.

    >>> found = probability_better([[[1.0], [2.0]], [[2.0], [2.0]]], 0, 1)
    >>> found.p_better.tolist(), found.p_equal.tolist()
    ([0.5], [0.5])
    """
    points = _draws(losses, "losses")
    n_draws, n, _ = points.shape
    for name, index in (("first", first), ("second", second)):
        check_candidate(name, index, n)
    one, other = points[:, first], points[:, second]
    better = (one < other).sum(axis=0).astype(np.float64)
    return Comparison(better / n_draws, np.mean(one == other, axis=0), standard_error(better, n_draws))


def _draws(values: ArrayLike, name: str) -> FloatArray:
    draws = np.asarray(values, dtype=np.float64)
    if draws.ndim != 3 or draws.shape[0] == 0:
        raise ValueError(f"{name}: expected draws of shape (n_draws, n, m), n_draws > 0, got {draws.shape}")
    if np.isnan(draws).any():
        candidate = int(np.flatnonzero(np.isnan(draws).any(axis=(0, 2)))[0])
        raise ValueError(f"{name}: expected no NaN, got one for candidate {candidate}; leave it out")
    return draws


def _feasible(feasible: ArrayLike | None, violations: ArrayLike | None, shape: tuple[int, int]) -> BoolArray:
    if violations is None:
        return mask_of(feasible, shape)
    if feasible is not None:
        raise ValueError("expected feasible or violations, got both; give one")
    amounts = _draws(violations, "violations")
    if amounts.shape[:2] != shape:
        raise ValueError(f"violations: expected shape {(*shape, 'k')}, got {amounts.shape}")
    return np.asarray((amounts <= 0).all(axis=2))


def _count_dominators(points: FloatArray, is_feasible: BoolArray) -> FloatArray:
    """How many feasible candidates dominate each, shapes (d, n, m), (d, n) to (d, n)."""
    n_draws, n, n_losses = points.shape
    no_worse = np.repeat(is_feasible[:, :, None], n, axis=2)  # [d, i, j]: i is feasible, no worse than j
    for index in range(n_losses):
        column = points[:, :, index]
        no_worse &= column[:, :, None] <= column[:, None, :]
    # feasible i dominates j if it is no worse and j is not no worse than i: of feasible pairs, not equal
    n_no_worse = np.count_nonzero(no_worse, axis=1)
    n_equal = np.count_nonzero(no_worse & no_worse.transpose(0, 2, 1), axis=1)
    return np.asarray(n_no_worse - n_equal, dtype=np.float64).reshape(n_draws, n)
