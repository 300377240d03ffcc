"""What is gained and what is paid when one candidate is taken for another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from moo.pareto._arrays import FloatArray, check_candidate, loss_rows

__all__ = ["Exchange", "exchange"]


@dataclass(frozen=True, eq=False)
class Exchange:
    """The differences between two candidates, and the price of one loss in another.

    Attributes:
        absolute: Loss of the other minus that of the origin, shape (m,); below 0 is gained.
        relative: That as a fraction of the magnitude of the origin's loss, shape (m,); NaN where this is 0.
        rates: How much of loss k (column) is paid for each unit gained in loss j (row), above 0, shape
            (m, m); NaN where j is not gained or k is not paid.
    """

    absolute: FloatArray
    relative: FloatArray
    rates: FloatArray


def exchange(losses: ArrayLike, origin: int, other: int, /) -> Exchange:
    """Return what is gained and paid, loss by loss, when `other` is taken for `origin`.

    The rates are the trade-offs of V. Chankong and Y. Y. Haimes, Multiobjective Decision Making (1983), as
    finite differences between the two.

    Args:
        losses: Shape (n, m), all minimised, all finite.
        origin: The candidate to go from, from 0.
        other: The candidate to go to.

    Raises:
        ValueError: For another shape, a NaN or an infinity.
        IndexError: For a candidate that is not there.

    >>> found = exchange([[0.04, 2.0], [0.02, 3.0]], 0, 1)
    >>> found.relative.round(3).tolist(), found.rates.round(3).tolist()
    ([-0.5, 0.5], [[nan, 50.0], [nan, nan]])
    """
    points = loss_rows(losses, finite=True)
    for name, index in (("origin", origin), ("other", other)):
        check_candidate(name, index, len(points))
    change = points[other] - points[origin]
    size = np.abs(points[origin])
    nothing = np.full(change.shape, np.nan)
    relative = np.divide(change, size, out=nothing, where=size > 0)
    gained, paid = -change[:, None], change[None, :]
    rates = np.divide(
        paid, gained, out=np.full((change.size, change.size), np.nan), where=(gained > 0) & (paid > 0)
    )
    return Exchange(change, relative, rates)
