"""Whether a model still computes what it did: outputs for the sample, within a tolerance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Tolerance", "difference", "tolerance_of"]


@dataclass(frozen=True)
class Tolerance:
    """How far an output may be off: `|got - expected| <= absolute * scale + relative * |expected|`.

    The scale is the largest magnitude that the output has on the whole sample. Zero and zero: the same
    to the last bit.
    """

    relative: float
    absolute: float


_EXACT = Tolerance(0.0, 0.0)
_OF_PRECISION: Mapping[str, Tolerance] = MappingProxyType(
    {
        "fp32": Tolerance(1e-3, 1e-4),  # sums in another order; TF32 of a GPU
        "fp16": Tolerance(1e-2, 1e-2),
        "bf16": Tolerance(5e-2, 5e-2),
        "int8-dynamic": Tolerance(5e-2, 5e-2),  # a rounding that falls to the other side is a whole step
        "int8-static": Tolerance(5e-2, 5e-2),
    }
)
_OF_DTYPE: Mapping[str, Tolerance] = MappingProxyType({"float16": Tolerance(1e-2, 1e-2)})


def tolerance_of(dtype: str, precision: str) -> Tolerance:
    """Return what is allowed for an output of this type, of a model in this precision.

    Whole numbers, booleans and text must be the same. For floats the precision decides, `fp32` where it is
    not known, and the output's own type where that is coarser.

    >>> tolerance_of("float32", "fp32"), tolerance_of("int64", "int8-dynamic:per-channel").absolute
    (Tolerance(relative=0.001, absolute=0.0001), 0.0)
    """
    if not dtype.startswith("float"):
        return _EXACT
    of_model = _OF_PRECISION.get(precision.partition(":")[0], _OF_PRECISION["fp32"])
    return max(of_model, _OF_DTYPE.get(dtype, _EXACT), key=lambda one: one.absolute)


def difference(
    expected: NDArray[Any], got: NDArray[Any], tolerance: Tolerance, *, scale: float
) -> str | None:
    """Return how an output differs beyond its tolerance, in words; None where it does not.

    Numbers that are not finite must be the same ones in the same places. The scale is that of `Tolerance`.

    >>> difference(np.array([1.0, 2.0]), np.array([1.0, 2.0001]), Tolerance(1e-3, 0.0), scale=2) is None
    True
    >>> difference(np.array([1.0, 2.0]), np.array([1.0, 2.5]), Tolerance(1e-3, 0.0), scale=2)
    '1 of 2 numbers is off by more than 0.001 of itself and 0 of the largest; the worst by 0.5 (2.5, not 2)'
    """
    if expected.shape != got.shape:
        return f"shape {list(got.shape)}, expected {list(expected.shape)}"
    if (expected.dtype.kind, got.dtype.kind) != ("U", "U") and expected.dtype != got.dtype:
        return f"type {got.dtype}, expected {expected.dtype}"
    if expected.dtype.kind != "f":
        n_other = int(np.count_nonzero(expected != got))
        return f"{n_other} of {expected.size} values differ" if n_other else None
    theirs, ours = expected.astype(np.float64), got.astype(np.float64)
    is_finite = np.isfinite(theirs)
    if not np.array_equal(theirs[~is_finite], ours[~is_finite], equal_nan=True) or not np.array_equal(
        is_finite, np.isfinite(ours)
    ):
        return "not finite in other places than expected"
    return _finite_difference(theirs[is_finite], ours[is_finite], tolerance, scale)


def _finite_difference(
    theirs: NDArray[np.float64], ours: NDArray[np.float64], tolerance: Tolerance, scale: float
) -> str | None:
    with np.errstate(over="ignore"):  # of the largest floats of opposite signs
        off = np.abs(ours - theirs)
    is_off = off > tolerance.absolute * scale + tolerance.relative * np.abs(theirs)
    n_off = int(np.count_nonzero(is_off))
    if not n_off:
        return None
    worst = int(np.where(is_off, off, -1.0).argmax())
    return (
        f"{n_off} of {theirs.size} numbers {'is' if n_off == 1 else 'are'} off by more than"
        f" {tolerance.relative:.3g} of itself and {tolerance.absolute:.3g} of the largest; the worst by"
        f" {off[worst]:.3g} ({ours[worst]:.5g}, not {theirs[worst]:.5g})"
    )
