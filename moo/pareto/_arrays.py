"""What is asked of arrays that come in, and losses on the scale of their front."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from moo.pareto._dominance import nondominated

__all__ = [
    "BoolArray",
    "FloatArray",
    "Front",
    "IndexArray",
    "check_candidate",
    "front_of",
    "loss_rows",
    "mask_of",
    "vector",
]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
IndexArray = NDArray[np.int64]

# the difference of two numbers below this is finite
_MOST = 1e307


def loss_rows(losses: ArrayLike, /, *, finite: bool) -> FloatArray:
    """Return losses as an array of shape (n, m), m > 0; an empty list has one column.

    Args:
        losses: Shape (n, m).
        finite: Whether infinities are refused, and what is too large to subtract.

    Raises:
        ValueError: For another shape, or a NaN.
    """
    rows = np.asarray(losses, dtype=np.float64)
    if rows.shape == (0,):
        rows = rows.reshape(0, 1)
    if rows.ndim != 2 or rows.shape[1] == 0:
        raise ValueError(f"losses: expected shape (n, m) with m > 0, got {rows.shape}")
    if np.isnan(rows).any():
        raise ValueError(
            f"losses: expected no NaN, got one in row {_first(np.isnan(rows))}; leave such candidates out"
        )
    if finite and (np.abs(rows) > _MOST).any():
        row = _first(np.abs(rows) > _MOST)
        raise ValueError(
            f"losses: expected finite numbers within {_MOST:g}, got {rows[row].tolist()} in row {row}; "
            "leave such candidates out"
        )
    return rows


def _first(is_wrong: BoolArray) -> int:
    return int(np.flatnonzero(is_wrong.reshape(len(is_wrong), -1).any(axis=1))[0])


def vector(values: ArrayLike, name: str, size: int, /) -> FloatArray:
    """Return one number for each loss, shape (m,), none of them NaN.

    Raises:
        ValueError: Naming the argument, for another shape or a NaN.
    """
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.shape != (size,):
        raise ValueError(f"{name}: expected one number for each of {size} losses, got shape {numbers.shape}")
    if np.isnan(numbers).any():
        raise ValueError(f"{name}: expected no NaN, got {numbers.tolist()}")
    return numbers


def mask_of(feasible: ArrayLike | None, shape: tuple[int, ...], /) -> BoolArray:
    """Return which candidates are feasible; all of them where nothing is said.

    Raises:
        ValueError: For another shape, or what is not boolean.
    """
    if feasible is None:
        return np.ones(shape, dtype=np.bool_)
    mask = np.asarray(feasible)
    if mask.shape != shape or (mask.size and mask.dtype != np.bool_):
        raise ValueError(f"feasible: expected booleans of shape {shape}, got {mask.dtype} of {mask.shape}")
    return mask.astype(np.bool_)


def check_candidate(name: str, index: int, n: int, /) -> None:
    """Refuse the index of a candidate that is not there.

    Raises:
        IndexError: Naming the argument.
    """
    if not 0 <= index < n:
        raise IndexError(f"{name}: expected one of {n} candidates, numbered from 0, got {index}")


@dataclass(frozen=True, eq=False)
class Front:
    """The non-dominated feasible candidates, and the scale that they span.

    Attributes:
        members: Their rows, ascending, shape (f,), f > 0.
        losses: Shape (f, m).
        ideal: The best value of each loss on the front, shape (m,).
        nadir: The worst.
        spans: Nadir minus ideal; 1 where they are equal.
        scaled: Losses from 0 (ideal) to 1 (nadir), shape (f, m); 0 where all are equal.
    """

    members: IndexArray
    losses: FloatArray
    ideal: FloatArray
    nadir: FloatArray
    spans: FloatArray
    scaled: FloatArray


def front_of(losses: FloatArray, feasible: ArrayLike | None, /) -> Front | None:
    """Return the front of finite losses, shape (n, m); None where no candidate is feasible."""
    mask = mask_of(feasible, (len(losses),))
    if not mask.any():
        return None
    rows = np.flatnonzero(mask)
    members = rows[nondominated(losses[rows])]
    points = losses[members]
    ideal, nadir = points.min(axis=0), points.max(axis=0)
    spans = np.where(nadir > ideal, nadir - ideal, 1.0)
    return Front(members, points, ideal, nadir, spans, (points - ideal) / spans)
