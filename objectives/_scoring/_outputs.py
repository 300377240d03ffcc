"""What a model put out for some samples, in one form whatever made it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moo.errors import ScoreError

__all__ = ["RESPONSES", "Outputs", "margins"]

RESPONSES = {
    "predictions": "labels or values",
    "probabilities": "probabilities",
    "decision_values": "decision values",
}
"""The fields of `Outputs` with a value for each sample, and what a person calls them."""

_ROUNDING = 1e-5  # of a sum of float32 probabilities over the trees of a forest, with room


@dataclass(frozen=True, eq=False)
class Outputs:
    """What a model put out for n samples.

    Args:
        predictions: Labels or regression values, shape (n,), or (n, targets) for several targets;
            None to take the class with the largest probability or decision value.
        probabilities: Of each class, shape (n, classes), or None. What float32 rounding leaves below
            0 or above 1 is put there: scikit-learn refuses it.
        decision_values: Shape (n, classes), or (n,) for two classes, where above zero means the
            second; or None.
        classes: The labels in the order of the columns, ascending; None for a regressor.

    Raises:
        ScoreError: For shapes that do not fit, or numbers that are not finite.
    """

    predictions: Any
    probabilities: Any = None
    decision_values: Any = None
    classes: Any = None

    def __post_init__(self) -> None:
        for name in (*RESPONSES, "classes"):
            given = getattr(self, name)
            object.__setattr__(self, name, None if given is None else np.asarray(given))
        if self.probabilities is not None:
            object.__setattr__(self, "probabilities", _without_rounding(self.probabilities))
        if self.predictions is None:
            object.__setattr__(self, "predictions", self._likeliest())
        for name in RESPONSES:
            self._check(name)

    def __len__(self) -> int:
        return len(self.predictions)

    def take(self, rows: NDArray[np.intp]) -> Outputs:
        """Return the outputs for these samples, which may repeat."""
        taken = {
            name: None if (values := getattr(self, name)) is None else values[rows] for name in RESPONSES
        }
        return replace(self, **taken)

    @property
    def kinds(self) -> tuple[str, ...]:
        """What there is, in words.

        >>> Outputs(["a", "b"], classes=["a", "b"]).kinds
        ('labels',)
        """
        names = {**RESPONSES, "predictions": "values" if self.classes is None else "labels"}
        return tuple(names[name] for name in RESPONSES if getattr(self, name) is not None)

    def _likeliest(self) -> NDArray[Any]:
        scores = self.decision_values if self.probabilities is None else self.probabilities
        if scores is None or self.classes is None:
            raise ScoreError("outputs: expected predictions, or probabilities or decision values and classes")
        index = (scores > 0).astype(np.intp) if scores.ndim == 1 else scores.argmax(axis=1)
        return np.asarray(self.classes[index])

    def _check(self, name: str) -> None:
        values = getattr(self, name)
        if values is None:
            return
        if values.ndim not in (1, 2) or len(values) != len(self.predictions):
            raise ScoreError(
                f"outputs: expected {RESPONSES[name]} for {len(self.predictions)} samples,"
                f" got shape {values.shape}"
            )
        n_classes = None if self.classes is None or values.ndim == 1 else len(self.classes)
        if name != "predictions" and n_classes is not None and values.shape[1] != n_classes:
            raise ScoreError(
                f"outputs: expected {RESPONSES[name]} for {n_classes} classes, got {values.shape[1]}"
            )
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            n_bad = np.count_nonzero(~np.isfinite(values))
            raise ScoreError(f"{n_bad} of {values.size} {RESPONSES[name]} are not finite")


def _without_rounding(probabilities: NDArray[Any]) -> NDArray[Any]:
    """Return probabilities held within 0 and 1; unchanged where one is beyond by more than rounding."""
    clipped = probabilities.clip(0, 1)
    is_rounding = np.abs(clipped - probabilities).max(initial=0) <= _ROUNDING
    return clipped if is_rounding else probabilities


def margins(scores: NDArray[Any]) -> NDArray[Any]:
    """Return scores of classes as decision values: of two classes, how far the second is above the first.

    >>> margins(np.array([[1.0, 3.0]])), margins(np.array([[1.0, 3.0, 2.0]]))
    (array([2.]), array([[1., 3., 2.]]))
    """
    return scores[:, 1] - scores[:, 0] if scores.ndim == 2 and scores.shape[1] == 2 else scores
