"""Small functions of arrays that several samplers need."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["medians"]


def medians(values: NDArray[np.float64], /) -> NDArray[np.float64]:
    """Return the median of what is known in each column, shape (n, p) to (p,); NaN where nothing is.

    `numpy.nanmedian` gives the same, with a warning for an empty column, in many times the time.

    >>> medians(np.array([[1.0, np.nan], [3.0, np.nan], [np.nan, np.nan]])).tolist()
    [2.0, nan]
    """
    if len(values) == 0:
        return np.full(values.shape[1], np.nan)
    n_known = len(values) - np.isnan(values).sum(axis=0)
    ordered = np.sort(values, axis=0)  # NaN last
    columns = np.arange(values.shape[1])
    lower = ordered[np.maximum(n_known - 1, 0) // 2, columns]
    return np.asarray(0.5 * (lower + ordered[n_known // 2, columns]))
