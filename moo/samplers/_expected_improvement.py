"""Logarithms of expected improvements under independent normal predictions. Arrays only; all is minimised.

The hypervolume that a point adds to a front is summed over boxes that tile what the front does not
dominate (Emmerich et al., CEC 2011; Yang et al., J. Global Optimization 2019; for autodifferentiation
Daulton et al., NeurIPS 2020, eq. 2). Over a box [l, u] its expectation is the product over objectives of
tau(u) - tau(l), where tau(c) = E max(c - Y, 0) = sd h((c - mean) / sd). Logarithms are taken throughout,
so that candidates far from any improvement can be told apart, and have a gradient (Ament et al., NeurIPS
2023).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfcx, log_ndtr, ndtr

__all__ = [
    "Boxes",
    "log_expected_improvement",
    "log_expected_improvement_with_gradient",
    "log_h",
    "log_probability_below",
]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_LOG_SQRT_2PI = 0.5 * math.log(2.0 * math.pi)
_FAR = -1e3  # beyond it the asymptote has more digits than erfcx leaves


def log_h(z: FloatArray, /) -> FloatArray:
    """Return log(phi(z) + z Phi(z)), to six digits or more for any z (Ament et al. 2023, eq. 9).

    >>> [round(float(x), 4) for x in log_h(np.array([1.0, 0.0, -1.0, -1e4]))]
    [0.08, -0.9189, -2.4851, -50000019.3396]
    """
    result = np.empty_like(z)
    is_near = z > -1.0
    near, far = z[is_near], z[~is_near]
    result[is_near] = np.log(np.exp(-0.5 * near * near - _LOG_SQRT_2PI) + near * ndtr(near))
    # h = phi (1 - |z| Phi / phi), and Phi / phi = sqrt(pi / 2) erfcx(|z| / sqrt 2)
    bounded = np.maximum(far, _FAR)
    ratio = 1.0 + bounded * math.sqrt(0.5 * math.pi) * erfcx(-bounded * math.sqrt(0.5))
    log_ratio = np.where(far < _FAR, -2.0 * np.log(-far), np.log(ratio))
    result[~is_near] = log_ratio - 0.5 * far * far - _LOG_SQRT_2PI
    return result


def log_probability_below(
    means: FloatArray, sds: FloatArray, threshold: float, /
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return log P(Y <= threshold) and its derivatives by mean and by sd, of the shape of `means`.

    Gardner et al. (ICML 2014), Gelbart et al. (UAI 2014).
    """
    z = (threshold - means) / sds
    value = log_ndtr(z)
    slope = np.exp(-0.5 * z * z - _LOG_SQRT_2PI - value) / sds
    return value, -slope, -z * slope


@dataclass(frozen=True, eq=False)
class Boxes:
    """Disjoint boxes that tile what lies below a reference point and is not dominated by a front.

    Attributes:
        levels: For each objective the ascending coordinates that boxes end at; the first is -inf.
        lower: Shape (b, m): each box's lower end, as an index into the levels.
        upper: Likewise its upper end.
    """

    levels: tuple[FloatArray, ...]
    lower: IntArray
    upper: IntArray

    @classmethod
    def of(cls, front: FloatArray, reference: FloatArray, /) -> Boxes:
        """Return the boxes for a front, shape (f, m), that may hold dominated points or none.

        At most f + 1 boxes for two objectives, 2 f + 1 for three; O(f^(m-1)) steps.
        """
        inside = front[(front < reference).all(axis=1)]
        levels = tuple(
            np.concatenate([[-np.inf], np.unique(column), [end]])
            for column, end in zip(inside.T, reference, strict=True)
        )
        ranks = np.array(
            [np.searchsorted(level, column) for level, column in zip(levels, inside.T, strict=True)]
        )
        boxes = _tile(
            [tuple(map(int, point)) for point in ranks.T], tuple(len(level) - 1 for level in levels)
        )
        ends = np.array(boxes, dtype=np.int64)
        return cls(levels, ends[:, :, 0], ends[:, :, 1])


_Point = tuple[int, ...]
_Box = tuple[tuple[int, int], ...]


def _tile(points: list[_Point], tops: _Point) -> list[_Box]:
    """Return boxes that tile what no point dominates, in ranks: sweep the last coordinate.

    Between two neighbouring values of the last coordinate the undominated region is that of the points
    at or below it, one dimension less. A box that stays the same from slab to slab is drawn out.
    """
    if len(tops) == 1:
        return [((0, min((point[0] for point in points), default=tops[0])),)]
    starts = sorted({0, *(point[-1] for point in points)})
    since: dict[_Box, int] = {}
    done: list[_Box] = []
    for start in starts:
        slab = _tile([point[:-1] for point in points if point[-1] <= start], tops[:-1])
        drawn_out = {box: since.pop(box, start) for box in slab}
        done += [(*box, (begun, start)) for box, begun in since.items()]
        since = drawn_out
    return done + [(*box, (begun, tops[-1])) for box, begun in since.items()]


def log_expected_improvement(means: FloatArray, sds: FloatArray, boxes: Boxes, /) -> FloatArray:
    """Return the logarithm of the expected hypervolume improvement, shape (q,).

    Args:
        means: Shape (q, m).
        sds: Shape (q, m), positive.
        boxes: For the front and the reference point. With one objective they are one interval, and
            this is the logarithm of the classic expected improvement.
    """
    log_products, _ = _log_products(means, sds, boxes)
    highest = log_products.max(axis=1)
    return np.asarray(highest + np.log(np.exp(log_products - highest[:, None]).sum(axis=1)))


def log_expected_improvement_with_gradient(
    means: FloatArray, sds: FloatArray, boxes: Boxes, /
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the same, and its derivatives by means and by sds, shape (q, m) each."""
    log_products, sides = _log_products(means, sds, boxes)
    highest = log_products.max(axis=1, keepdims=True)
    shares = np.exp(log_products - highest)
    total = shares.sum(axis=1, keepdims=True)
    shares /= total
    by_mean, by_sd = np.empty_like(means), np.empty_like(sds)
    for j, (z, log_width) in enumerate(sides):
        lower, upper = boxes.lower[:, j], boxes.upper[:, j]
        # d tau / d mean = -Phi, d tau / d sd = phi, each over the width of the side
        log_cdf, log_pdf = _from_minus_infinity(log_ndtr(z)), _from_minus_infinity(-0.5 * z * z)
        cdf = np.exp(log_cdf[:, upper] - log_width) - np.exp(log_cdf[:, lower] - log_width)
        pdf = np.exp(log_pdf[:, upper] - log_width) - np.exp(log_pdf[:, lower] - log_width)
        by_mean[:, j] = -(shares * cdf).sum(axis=1) / sds[:, j]
        by_sd[:, j] = (shares * pdf).sum(axis=1) * math.exp(-_LOG_SQRT_2PI) / sds[:, j]
    return (highest + np.log(total))[:, 0], by_mean, by_sd


def _log_products(
    means: FloatArray, sds: FloatArray, boxes: Boxes
) -> tuple[FloatArray, list[tuple[FloatArray, FloatArray]]]:
    """Return the logarithm of each box's expectation, shape (q, b), and each objective's part.

    That is z of its levels, shape (q, levels - 1), and log((tau(u) - tau(l)) / sd), shape (q, b).
    """
    log_products = np.repeat(np.log(sds).sum(axis=1)[:, None], len(boxes.lower), axis=1)
    sides = []
    for j, levels in enumerate(boxes.levels):
        z = (levels[1:] - means[:, j, None]) / sds[:, j, None]
        log_tau = _from_minus_infinity(log_h(z))
        log_width = _log_difference(log_tau[:, boxes.upper[:, j]], log_tau[:, boxes.lower[:, j]])
        log_products += log_width
        sides.append((z, log_width))
    return log_products, sides


def _from_minus_infinity(values: FloatArray) -> FloatArray:
    """Return values at the levels, with that at the first one, -inf, put before."""
    return np.concatenate([np.full((len(values), 1), -np.inf), values], axis=1)


def _log_difference(larger: FloatArray, smaller: FloatArray) -> FloatArray:
    """Return log(exp(larger) - exp(smaller)); finite where rounding made them equal."""
    return np.asarray(larger + np.log(-np.expm1(np.minimum(smaller - larger, -1e-200))))
