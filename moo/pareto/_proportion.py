"""How far a share of draws may be from the probability that it estimates."""

from __future__ import annotations

import numpy as np

from moo.pareto._arrays import FloatArray

__all__ = ["standard_error"]


def standard_error(counts: FloatArray, n_draws: int, /) -> FloatArray:
    """Return the Monte Carlo standard error of `counts / n_draws`, for independent draws.

    It is the standard deviation of the Beta posterior under Jeffreys' prior (L. D. Brown, T. T. Cai and
    A. DasGupta, "Interval estimation for a binomial proportion", Statistical Science 16(2), 2001):
    sqrt(p (1 - p) / n_draws) but for shares near 0 and 1, where that would claim certainty.

    >>> standard_error(np.array([0.0, 500.0]), 1000).round(4).tolist()
    [0.0007, 0.0158]
    """
    yes, no, total = counts + 0.5, n_draws - counts + 0.5, n_draws + 1.0
    return np.asarray(np.sqrt(yes * no / (total + 1.0)) / total)
