"""Draws of losses: from estimates with intervals, or from what was measured on the same samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from moo.pareto._arrays import BoolArray, FloatArray, loss_rows, vector

__all__ = ["Distribution", "estimate_draws", "resampled_means"]

Distribution = Literal["split_normal", "split_lognormal"]

# the 97.5% quantile of the standard normal distribution
_Z = 1.959963984540054
# resampling counts held at once
_MOST_COUNTS = 4_000_000


def estimate_draws(
    losses: ArrayLike,
    low: ArrayLike | None = None,
    high: ArrayLike | None = None,
    /,
    *,
    n_draws: int,
    generator: np.random.Generator,
    distribution: Distribution | Sequence[Distribution] = "split_normal",
    correlation: ArrayLike = 0.0,
) -> FloatArray:
    """Return draws of losses from their estimates, value and 95% interval.

    The value is the median of the draws and the interval's ends are their 2.5% and 97.5% quantiles.
    `split_normal` is a normal distribution on each side of the value, each with half of the probability.
    `split_lognormal` is the same of the logarithm, for what is positive and spreads by a factor, such as a
    latency, or of the magnitude where the loss is negative, such as a throughput that is maximised. A draw
    may lie beyond what is possible (an accuracy above 100%).

    Losses of one candidate are drawn independently. Where a constraint bounds what is also an objective,
    draw each metric once and take both from the same draws.

    Args:
        losses: Their values, shape (n, m), all minimised: of what is maximised, value and ends change sign,
            and the ends their places. An infinite one must have no interval.
        low: The intervals' lower ends, shape (n, m); NaN in both ends is no interval: the value is exact.
        high: The upper ends. Both or neither; neither: all values are exact.
        n_draws: How many draws.
        generator: Where they come from; the same generator gives the same draws.
        distribution: One for all losses, or one for each.
        correlation: Of the candidates with each other, within a draw, on the scale of the normal
            distribution: one number in [0, 1], or one for each loss. 0: their noise is independent. 1: one
            error moves all, each by its own interval. It is the share of variance that comes from what
            they have in common.

    Returns:
        Shape (n_draws, n, m).

    Raises:
        ValueError: For another shape, a NaN value, one end without the other, ends that are not
            around the value, a correlation outside [0, 1], or a lognormal interval that reaches zero.

    >>> draws = estimate_draws([[2.0, 7.0]], [[1.0, np.nan]], [[5.0, np.nan]], n_draws=4000,
    ...                        generator=np.random.default_rng(0))
    >>> draws.shape, bool(np.all(draws[:, 0, 1] == 7.0))
    ((4000, 1, 2), True)
    >>> np.round(np.quantile(draws[:, 0, 0], [0.025, 0.5, 0.975])).tolist()
    [1.0, 2.0, 5.0]
    """
    centre = loss_rows(losses, finite=False)
    n, n_losses = centre.shape
    _check_count("n_draws", n_draws)
    kinds = _distributions(distribution, n_losses)
    lower, upper, is_exact = _ends(centre, low, high)
    given = np.asarray(correlation, dtype=np.float64)
    shared = vector(np.full(n_losses, given) if given.ndim == 0 else given, "correlation", n_losses)
    if not np.all((shared >= 0) & (shared <= 1)):
        raise ValueError(f"correlation: expected numbers from 0 to 1, got {shared.tolist()}")
    common = generator.standard_normal((n_draws, 1, n_losses))
    own = generator.standard_normal((n_draws, n, n_losses))
    scores = np.sqrt(shared) * common + np.sqrt(1.0 - shared) * own
    draws = np.repeat(centre[None], n_draws, axis=0)
    for index, kind in enumerate(kinds):
        rows = np.flatnonzero(~is_exact[:, index])
        spread = _split_normal if kind == "split_normal" else _split_lognormal
        value, below, above = centre[rows, index], lower[rows, index], upper[rows, index]
        draws[:, rows, index] = spread(value, below, above, scores[:, rows, index])
    return draws


def resampled_means(samples: ArrayLike, /, *, n_draws: int, generator: np.random.Generator) -> FloatArray:
    """Return bootstrap draws of the candidates' mean loss over one set of samples (paired bootstrap).

    A draw takes as many samples as there are, with replacement, the same ones for all candidates: what is
    hard for all of them moves all of them, and their differences are as sure as the samples make them.
    Source: B. Efron and R. J. Tibshirani, An Introduction to the Bootstrap (1993), chapter 8. Few samples
    give draws that spread too little, by sqrt((n_samples - 1) / n_samples).

    Args:
        samples: The loss of each candidate on each sample, such as 1 for a wrong answer and 0 for a right
            one, shape (n_samples, n).
        n_draws: How many draws.
        generator: Where they come from.

    Returns:
        Shape (n_draws, n). O(n_draws n_samples n).

    Raises:
        ValueError: For another shape, no samples, or what is not finite.

    >>> wrong = [[0, 1], [0, 1], [1, 1], [0, 0]]
    >>> draws = resampled_means(wrong, n_draws=100, generator=np.random.default_rng(0))
    >>> draws.shape, bool(np.all(draws[:, 0] <= draws[:, 1]))
    ((100, 2), True)
    """
    rows = np.asarray(samples, dtype=np.float64)
    if rows.ndim != 2 or len(rows) == 0:
        raise ValueError(f"samples: expected shape (n_samples, n), n_samples > 0, got {rows.shape}")
    if not np.isfinite(rows).all():
        raise ValueError("samples: expected finite numbers; leave out candidates that were not scored on all")
    _check_count("n_draws", n_draws)
    n_samples = len(rows)
    step = max(1, _MOST_COUNTS // n_samples)
    parts = [
        _counts(generator, n_samples, min(step, n_draws - start)) @ rows for start in range(0, n_draws, step)
    ]
    return np.concatenate(parts) / n_samples


def _counts(generator: np.random.Generator, n_samples: int, n_draws: int) -> FloatArray:
    """How often each sample is drawn, shape (n_draws, n_samples); each row sums to n_samples."""
    drawn = generator.integers(n_samples, size=(n_draws, n_samples))
    drawn += n_samples * np.arange(n_draws)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=n_draws * n_samples)
    return counts.reshape(n_draws, n_samples).astype(np.float64)


def _check_count(name: str, count: int) -> None:
    if count < 1:
        raise ValueError(f"{name}: expected at least 1, got {count}")


def _distributions(given: Distribution | Sequence[Distribution], n_losses: int) -> tuple[str, ...]:
    kinds = (given,) * n_losses if isinstance(given, str) else tuple(given)
    known = get_args(Distribution)
    if len(kinds) != n_losses or any(kind not in known for kind in kinds):
        raise ValueError(
            f"distribution: expected one of {', '.join(known)}, or one for each of {n_losses} losses, "
            f"got {given!r}"
        )
    return kinds


def _ends(
    values: FloatArray, low: ArrayLike | None, high: ArrayLike | None
) -> tuple[FloatArray, FloatArray, BoolArray]:
    """The ends of the intervals, those of an exact value at the value itself, and what is exact."""
    if (low is None) != (high is None):
        raise ValueError("low, high: expected both or neither, got one; give both ends of the intervals")
    lower = np.full(values.shape, np.nan) if low is None else np.asarray(low, dtype=np.float64)
    upper = np.full(values.shape, np.nan) if high is None else np.asarray(high, dtype=np.float64)
    if lower.shape != values.shape or upper.shape != values.shape:
        raise ValueError(f"low, high: expected shape {values.shape}, got {lower.shape} and {upper.shape}")
    is_unknown = np.isnan(lower) & np.isnan(upper)
    lower, upper = np.where(is_unknown, values, lower), np.where(is_unknown, values, upper)
    is_exact = (lower == values) & (upper == values)
    is_ordered = np.isfinite(lower) & np.isfinite(upper) & (lower <= values) & (values <= upper)
    if not np.all(is_exact | is_ordered):
        row, column = np.argwhere(~(is_exact | is_ordered))[0].tolist()
        raise ValueError(
            f"low, high: expected finite low <= value <= high, or NaN in both, got {lower[row, column]:g}, "
            f"{values[row, column]:g}, {upper[row, column]:g} for candidate {row}, loss {column}"
        )
    return lower, upper, is_exact


def _split_normal(value: FloatArray, low: FloatArray, high: FloatArray, scores: FloatArray) -> FloatArray:
    return value + np.where(scores > 0, high - value, value - low) * (scores / _Z)


def _split_lognormal(value: FloatArray, low: FloatArray, high: FloatArray, scores: FloatArray) -> FloatArray:
    is_wrong = (low <= 0) & (high >= 0)
    if is_wrong.any():
        row = int(np.flatnonzero(is_wrong)[0])
        raise ValueError(
            f"distribution: a lognormal interval must not reach zero, got {low[row]:g} to {high[row]:g}; "
            "use split_normal"
        )
    return value * np.exp(np.where(scores > 0, np.log(high / value), np.log(value / low)) * (scores / _Z))
