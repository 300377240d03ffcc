"""What an artefact put out beside what its scikit-learn estimator says of the same rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, is_classifier

from moo.errors import ExportError, FitError, ScoreError
from moo.metrics import Metric
from objectives._scoring._outputs import Outputs

__all__ = [
    "AGREEMENT",
    "DIFFERS_TAG",
    "artefact_outputs",
    "checked_difference",
    "estimator_outputs",
    "stored_outputs",
]

DIFFERS_TAG = "differs_from_estimator"
"""The tag of a candidate of which at least one validation row came out otherwise than in scikit-learn."""
AGREEMENT = Metric(
    name="agreement",
    label="rows as in the estimator",
    dimension="fraction",
    direction="maximize",
    low=0.0,
    high=1.0,
)
"""The share of validation rows on which artefact and estimator agree."""


def estimator_outputs(estimator: BaseEstimator, inputs: Any) -> Outputs:
    """Return what the estimator itself says of the rows as they are, in float64."""
    predictions = np.asarray(estimator.predict(inputs))
    if not is_classifier(estimator):
        return Outputs(predictions)
    if predictions.ndim != 1:
        raise FitError(f"data(): expected one label a sample, got targets of shape {predictions.shape}")
    classes = np.asarray(estimator.classes_)
    if getattr(estimator, "predict_proba", None) is not None:
        return Outputs(predictions, probabilities=estimator.predict_proba(inputs), classes=classes)
    if getattr(estimator, "decision_function", None) is not None:
        return Outputs(predictions, decision_values=estimator.decision_function(inputs), classes=classes)
    return Outputs(predictions, classes=classes)


def artefact_outputs(arrays: Sequence[NDArray[Any]], expected: Outputs) -> Outputs:
    """Return the artefact's arrays in the form of the estimator's.

    Raises:
        ExportError: Where they do not fit.
    """
    try:
        if expected.classes is None:
            return Outputs(np.asarray(arrays[0]).reshape(expected.predictions.shape))
        labels = np.asarray(arrays[0]).reshape(-1).astype(expected.classes.dtype)
        if expected.probabilities is not None:
            return Outputs(labels, probabilities=arrays[1], classes=expected.classes)
        if expected.decision_values is not None:
            values = _decision_values(np.asarray(arrays[1]), expected.decision_values)
            return Outputs(labels, decision_values=values, classes=expected.classes)
        return Outputs(labels, classes=expected.classes)
    except (IndexError, ValueError, ScoreError) as error:
        shapes = ", ".join(str(np.shape(array)) for array in arrays)
        raise ExportError(
            f"the artefact's outputs, of shape {shapes}, are not the estimator's: {error}"
        ) from error


def _decision_values(values: NDArray[Any], expected: NDArray[Any]) -> NDArray[Any]:
    """Return the decision values; for two classes, the column that is the estimator's.

    skl2onnx writes one column, or both signs, and which comes first depends on the estimator.
    """
    if expected.ndim == 2:
        return values
    columns = values.reshape(len(expected), -1).T
    return np.asarray(min(columns, key=lambda column: float(np.abs(column - expected).max(initial=0))))


def checked_difference(artefact: Outputs, estimator: Outputs, tolerance: float, share: float) -> int:
    """Return the number of rows that differ.

    Raises:
        ExportError: If it is more than the share allowed.
    """
    differs, what = np.zeros(len(estimator), np.bool_), []
    for name in ("predictions", "probabilities", "decision_values"):
        ours, theirs = getattr(artefact, name), getattr(estimator, name)
        if theirs is None:
            continue
        if ours.shape != theirs.shape:
            raise ExportError(f"{name}: the artefact gives shape {ours.shape}, the estimator {theirs.shape}")
        if name == "predictions" and estimator.classes is not None:
            rows = ours != theirs
            what += [f"the label on {np.count_nonzero(rows)}"]
        else:
            difference = np.abs(ours.astype(np.float64) - theirs.astype(np.float64)).reshape(len(theirs), -1)
            rows = ~(difference <= tolerance * _scale(name, theirs)).all(axis=1)
            what += [f"{name.replace('_', ' ')} by up to {difference.max():.2g}"]
        differs |= rows
    n_differing = int(np.count_nonzero(differs))
    if n_differing > share * len(differs):
        raise ExportError(
            f"the artefact differs from the estimator on {n_differing} of {len(differs)} rows"
            f" ({', '.join(what)}), allowed is {share:.0%}: it takes float32, so have data() return float32,"
            " that fitting sees the same numbers; and trees need no scaling before them"
        )
    return n_differing


def _scale(name: str, values: NDArray[Any]) -> NDArray[np.float64]:
    """Return what a difference is a fraction of: 1 for probabilities, else the range of each column."""
    if name == "probabilities":
        return np.ones(1)
    columns = values.reshape(len(values), -1).astype(np.float64)
    ranges, sizes = np.ptp(columns, axis=0), np.abs(columns).max(axis=0)
    return np.where(ranges > 0, ranges, np.where(sizes > 0, sizes, 1.0))


def stored_outputs(
    arrays: Sequence[NDArray[Any]], estimator: BaseEstimator, labels: NDArray[Any], targets: NDArray[Any]
) -> Outputs:
    """Return a stored artefact's arrays as outputs, without the fitted estimator that it was made from.

    Args:
        arrays: In the model's order.
        estimator: The same, not fitted.
        labels: What a classifier was fitted on: its classes, ascending.
        targets: Of the rows, for their shape.

    Raises:
        ExportError: Where they do not fit.
    """
    if not is_classifier(estimator):
        return artefact_outputs(arrays, Outputs(np.zeros(targets.shape)))
    predictions = np.asarray(arrays[0]).reshape(-1)
    if getattr(estimator, "predict_proba", None) is not None:
        expected = Outputs(predictions, probabilities=np.asarray(arrays[1]), classes=labels)
    elif getattr(estimator, "decision_function", None) is not None:
        # of two columns for two classes the estimator's is the one that is above zero for the second
        sides = np.where(predictions.astype(labels.dtype) == labels[-1], 1.0, -1.0)
        shape = np.asarray(arrays[1]).shape
        values = sides * float(np.abs(arrays[1]).max(initial=0)) if len(labels) == 2 else np.zeros(shape)
        expected = Outputs(predictions, decision_values=values, classes=labels)
    else:
        expected = Outputs(predictions, classes=labels)
    return artefact_outputs(arrays, expected)
