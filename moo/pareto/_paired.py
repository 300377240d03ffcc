"""Two candidates scored on the same samples: only those that one of them has right tell them apart."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

__all__ = ["PairedDifference", "paired_difference"]

_QUANTILE = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True, kw_only=True)
class PairedDifference:
    """How much larger one candidate's share of correct samples is than the other's.

    Attributes:
        value: The difference, from -1 to 1.
        low: Lower end of its 95% interval.
        high: Upper end.
        p_value: Of McNemar's exact test, that neither is right more often.
        n: Samples.
        n_better: Those that only the one has right.
        n_worse: Those that only the other has right.
    """

    value: float
    low: float
    high: float
    p_value: float
    n: int
    n_better: int
    n_worse: int


def paired_difference(n: int, n_better: int, n_worse: int) -> PairedDifference:
    """Return the difference of two shares of the same samples.

    The interval is Wald's after half a sample was added to each of the four cells (A. Agresti and Y. Min,
    "Simple improved confidence intervals for comparing matched proportions", Statistics in Medicine 24,
    2005), cut at -1 and 1. The test is exact: given how many samples tell the two apart, those that speak for
    one are binomial with 1/2 (Q. McNemar, Psychometrika 12, 1947).

    Args:
        n: Samples, one at least.
        n_better: Those that only the one has right.
        n_worse: Those that only the other has right.

    Raises:
        ValueError: If the counts cannot be.

    >>> found = paired_difference(360, 3, 10)
    >>> round(found.value, 4), round(found.low, 4), round(found.high, 4), round(found.p_value, 3)
    (-0.0194, -0.0395, 0.0008, 0.092)
    """
    if n < 1 or min(n_better, n_worse) < 0 or n_better + n_worse > n:
        raise ValueError(
            f"counts: expected n >= 1 and n_better + n_worse from 0 to n, got {n}, {n_better} and {n_worse}"
        )
    differ = n_better + n_worse
    size, balance = n + 2, n_better - n_worse
    centre = balance / size
    width = _QUANTILE * math.sqrt(differ + 1 - balance**2 / size) / size
    return PairedDifference(
        value=balance / n,
        low=max(-1.0, centre - width),
        high=min(1.0, centre + width),
        p_value=_mcnemar(min(n_better, n_worse), differ),
        n=n,
        n_better=n_better,
        n_worse=n_worse,
    )


def _mcnemar(fewer: int, differ: int) -> float:
    """Return twice the chance of so few heads or fewer in so many throws of a coin, at most 1."""
    whole = math.lgamma(differ + 1) - differ * math.log(2)
    logs = (whole - math.lgamma(heads + 1) - math.lgamma(differ - heads + 1) for heads in range(fewer + 1))
    return min(1.0, 2 * math.fsum(map(math.exp, logs)))
