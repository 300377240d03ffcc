"""The quality of a classifier's outputs, sample by sample, with its interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moo.errors import ScoreError
from moo.evaluation import Estimate

__all__ = ["correct_predictions", "fraction_correct"]

_Z_95 = 1.959963984540054  # the 97.5% quantile of the standard normal distribution


def fraction_correct(correct: NDArray[np.bool_]) -> Estimate:
    """Return the fraction of true entries with its 95% Wilson score interval.

    Wilson (1927), "Probable inference, the law of succession, and statistical inference", JASA
    22: with k of n correct, the centre is (k + z^2/2) / (n + z^2) and the half-width
    z / (n + z^2) * sqrt(k (n - k) / n + z^2 / 4). It stays within [0, 1] and is not empty at
    k = 0 or k = n.

    Args:
        correct: Shape (n,), n >= 1.

    >>> fraction_correct(np.array([True] * 9 + [False]))
    Estimate(value=0.9, low=0.595849..., high=0.982123..., reason=None)
    """
    n, k, z2 = correct.size, int(np.count_nonzero(correct)), _Z_95**2
    centre = (k + z2 / 2) / (n + z2)
    half = _Z_95 / (n + z2) * math.sqrt(k * (n - k) / n + z2 / 4)
    # at k = 0 and k = n one end equals the value up to rounding
    return Estimate(k / n, min(max(centre - half, 0.0), k / n), max(min(centre + half, 1.0), k / n))


def correct_predictions(outputs: Sequence[NDArray[Any]], targets: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which samples a classifier got right, from its first output.

    Args:
        outputs: The model's outputs; the first holds scores of shape (n, classes), or (n,) or
            (n, 1) for two classes, where above zero means class 1.
        targets: Class numbers, shape (n,).

    Raises:
        ScoreError: For shapes that do not fit, class numbers beyond the scores, or scores that
            are not finite: an arg-max over NaN would be a plausible number for a missing one.
    """
    if not outputs:
        raise ScoreError("the model has no output to score")
    scores, labels = np.asarray(outputs[0]), np.asarray(targets)
    if labels.ndim != 1 or scores.ndim not in (1, 2) or len(scores) != len(labels):
        raise ScoreError(
            "accuracy needs scores of shape (n, classes) and targets of shape (n,),"
            f" got {scores.shape} and {labels.shape}: override score() for anything else"
        )
    if not np.isfinite(scores).all():
        n_bad = np.count_nonzero(~np.isfinite(scores))
        raise ScoreError(f"{n_bad} of {scores.size} scores are not finite: training diverged")
    if scores.ndim == 1 or scores.shape[1] == 1:
        _check_two_classes(scores, labels)
        return np.asarray((scores.reshape(-1) > 0) == (labels > 0), dtype=np.bool_)
    if labels.min() < 0 or labels.max() >= scores.shape[1]:
        raise ScoreError(
            f"targets go from {labels.min()} to {labels.max()}, but the model has {scores.shape[1]} classes"
        )
    return np.asarray(scores.argmax(axis=1) == labels, dtype=np.bool_)


def _check_two_classes(scores: NDArray[Any], labels: NDArray[Any]) -> None:
    """Refuse one score a sample where a threshold of zero would mean nothing."""
    if not np.isin(labels, (0, 1)).all():
        raise ScoreError(
            "one score a sample tells two classes apart,"
            f" but targets go from {labels.min()} to {labels.max()}"
        )
    if ((scores >= 0) & (scores <= 1)).all():
        raise ScoreError(
            "the scores are all within 0 and 1, as after a sigmoid: return logits, where above zero means"
            " class 1, or override score()"
        )
