"""What the arrays of a finished ONNX model mean, so that they can be scored by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moo.errors import ScoreError
from objectives._scoring._outputs import Outputs, margins

__all__ = ["finite_rows", "outputs_of"]

_OVERRIDE = "override scored() for anything else"


def finite_rows(arrays: Sequence[NDArray[Any]]) -> NDArray[np.bool_]:
    """Return for each row whether all its numbers are finite, shape (n,); text is.

    >>> finite_rows([np.array([[1.0, np.nan], [2.0, 3.0]])])
    array([False,  True])
    """
    found = np.ones(len(arrays[0]), np.bool_)
    for array in arrays:
        if array.dtype.kind == "f" and len(array) == len(found):
            found &= np.isfinite(array.reshape(len(array), -1)).all(axis=1)
    return found


def outputs_of(arrays: Sequence[NDArray[Any]], targets: NDArray[Any], last_operator: str) -> Outputs:
    """Return the outputs of a classifier or a regressor, told apart by the targets.

    Float targets are values, and the first output must have as many. Others are labels. A model that puts
    out labels, as those of scikit-learn do, is taken at its word, with scores from its next output where
    the columns can be told. Else the first output has a score for each class 0, 1, .., shape (n,
    classes), or one for class 1, shape (n,) or (n, 1); after a Softmax or Sigmoid these are probabilities
    (brought to a sum of 1, which half precision misses), else decision values.

    Args:
        arrays: In the model's order, finite.
        targets: Shape (n,), or (n, targets) for several values.
        last_operator: Which computes the first output.

    Raises:
        ScoreError: Where they are neither.

    >>> outputs_of([np.array([[0.1, 2.0], [3.0, 0.5]])], np.array([1, 1]), "Gemm").predictions
    array([1, 0])
    """
    if targets.dtype.kind == "f":
        return _values(arrays[0], targets)
    if targets.ndim != 1:
        raise ScoreError(f"expected one label a sample, got targets of shape {targets.shape}: {_OVERRIDE}")
    if arrays[0].dtype.kind != "f":
        return _labelled(arrays, targets)
    return _scored(arrays[0], targets, is_probability=last_operator in ("Sigmoid", "Softmax"))


def _values(values: NDArray[Any], targets: NDArray[Any]) -> Outputs:
    if values.size != targets.size or len(values) != len(targets):
        raise ScoreError(
            f"the model gives shape {values.shape} for float targets of shape {targets.shape}: for a"
            f" classifier return labels as whole numbers; {_OVERRIDE}"
        )
    return Outputs(values.reshape(targets.shape))


def _labelled(arrays: Sequence[NDArray[Any]], targets: NDArray[Any]) -> Outputs:
    if arrays[0].size != len(targets):
        raise ScoreError(
            f"the model gives {arrays[0].dtype} of shape {arrays[0].shape} for {len(targets)} labels:"
            f" {_OVERRIDE}"
        )
    labels = arrays[0].reshape(-1)
    if (labels.dtype.kind in "OUS") != (targets.dtype.kind in "OUS"):
        raise ScoreError(f"the model gives labels of {labels.dtype}, the targets are {targets.dtype}")
    if labels.dtype.kind == "O":
        labels = labels.astype(str)
    classes = np.unique(np.concatenate([labels, targets.astype(labels.dtype)]))
    scores = next(
        (a for a in arrays[1:] if a.dtype.kind == "f" and a.ndim == 2 and len(a) == len(labels)), None
    )
    n_columns = 0 if scores is None else scores.shape[1]
    if labels.dtype.kind in "iu" and classes[0] >= 0 and classes[-1] < n_columns:
        classes = np.arange(n_columns)
    if scores is None or n_columns != len(classes):
        return Outputs(labels, classes=classes)
    is_probability = ((scores >= -1e-3) & (scores <= 1 + 1e-3)).all() and np.allclose(
        scores.sum(1), 1, atol=0.02
    )
    if is_probability:
        return Outputs(labels, probabilities=_normal(scores), classes=classes)
    return Outputs(labels, decision_values=margins(scores), classes=classes)


def _scored(scores: NDArray[Any], targets: NDArray[Any], *, is_probability: bool) -> Outputs:
    if scores.ndim not in (1, 2) or len(scores) != len(targets):
        raise ScoreError(
            f"expected scores of shape (n, classes), got {scores.shape} for {len(targets)} labels:"
            f" {_OVERRIDE}"
        )
    n_classes = 2 if scores.ndim == 1 or scores.shape[1] == 1 else scores.shape[1]
    is_whole = targets.dtype.kind in "iub"
    if not is_whole or targets.min() < 0 or targets.max() >= n_classes:
        got = f"targets go from {targets.min()} to {targets.max()}" if is_whole else f"are {targets.dtype}"
        raise ScoreError(
            f"the model tells {n_classes} classes apart, so labels must be whole numbers from 0 to"
            f" {n_classes - 1}, but {got}"
        )
    classes = np.arange(n_classes)
    if scores.size > len(targets):
        if is_probability:
            return Outputs(scores.argmax(axis=1), probabilities=_normal(scores), classes=classes)
        return Outputs(scores.argmax(axis=1), decision_values=margins(scores), classes=classes)
    one = scores.reshape(-1)
    if is_probability:
        above = one.astype(np.float64).clip(0, 1)
        predictions = (above > 0.5).astype(np.intp)
        return Outputs(predictions, probabilities=np.stack([1 - above, above], axis=1), classes=classes)
    if ((one >= 0) & (one <= 1)).all() and len(one) > 1:
        raise ScoreError(
            "the only score of each sample is within 0 and 1, but no Sigmoid computes it, so that it is not"
            f" known where class 1 begins: {_OVERRIDE}"
        )
    return Outputs((one > 0).astype(np.intp), decision_values=one, classes=classes)


def _normal(probabilities: NDArray[Any]) -> NDArray[Any]:
    clipped = probabilities.astype(np.float64).clip(0)
    sums = clipped.sum(axis=1, keepdims=True)
    even = np.full_like(clipped, 1 / clipped.shape[1])
    return np.asarray(np.divide(clipped, sums, out=even, where=sums > 0))
