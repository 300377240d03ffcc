"""scikit-learn's scorers by name, asked about outputs instead of an estimator.

The scorer itself asks an estimator for the response that its metric needs, and knows which column is
the positive class: it is given one that only repeats the outputs, by scikit-learn's public interface.
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moo.errors import InputError, ScoreError, TaskLoadError, did_you_mean
from moo.metrics import Metric
from objectives._scoring._outputs import RESPONSES, Outputs

__all__ = ["scorer_name", "sklearn_metric", "sklearn_score"]

_FRACTIONS = (
    "accuracy",
    "average_precision",
    "balanced_accuracy",
    "f1",
    "jaccard",
    "precision",
    "recall",
    "roc_auc",
    "top_k_accuracy",
)
_AT_MOST_ONE = ("d2", "explained_variance", "r2")


def scorer_name(given: str) -> str:
    """Return scikit-learn's name of a scorer, of which `neg_` may be left out.

    Raises:
        InputError: For an unknown name.
        TaskLoadError: Where scikit-learn is not installed.

    >>> scorer_name("mean_absolute_error")
    'neg_mean_absolute_error'
    """
    known: dict[str, str] = {name.removeprefix("neg_"): name for name in _sklearn().get_scorer_names()}
    if given not in {*known, *known.values()}:
        raise InputError(f"score: unknown scorer {given!r}: {did_you_mean(given, known)}")
    return known[given.removeprefix("neg_")]


def sklearn_metric(scorer: str) -> Metric:
    """Return the metric of scikit-learn's scorer of this name: errors are minimised, as they are.

    >>> sklearn_metric("neg_mean_absolute_error").direction
    'minimize'
    """
    name = scorer.removeprefix("neg_")

    def is_one_of(families: tuple[str, ...]) -> bool:
        return any(name == family or name.startswith(f"{family}_") for family in families)

    if name != scorer:
        return Metric(name=name, direction="minimize", low=0.0)
    if is_one_of(_FRACTIONS):
        return Metric(name=name, direction="maximize", dimension="fraction", low=0.0, high=1.0)
    return Metric(name=name, direction="maximize", high=1.0 if is_one_of(_AT_MOST_ONE) else None)


def sklearn_score(name: str, targets: NDArray[Any], outputs: Outputs) -> float:
    """Return what scikit-learn's scorer says of an estimator that answers with these outputs.

    Raises:
        ScoreError: Where the metric needs what the outputs have not, or its value is not finite.
    """
    scorer = _sklearn().get_scorer(name)
    answering, asked = _answering(outputs)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            value = float(scorer(answering, np.arange(len(outputs)), targets))
        except AttributeError as error:
            needs = " or ".join(dict.fromkeys(RESPONSES[response] for response in asked))
            raise ScoreError(
                f"{name.removeprefix('neg_')} needs {needs}, but the model gives only"
                f" {' and '.join(outputs.kinds)}: choose another score, or a model that gives them"
            ) from error
    if not math.isfinite(value):
        why = str(caught[-1].message).splitlines()[0] if caught else "undefined on these samples"
        raise ScoreError(f"{name.removeprefix('neg_')} is {value}: {why}")
    return (-value if name.startswith("neg_") else value) + 0.0


def _answering(outputs: Outputs) -> tuple[Any, list[str]]:
    """Return a fitted estimator that answers with these outputs, and a list of what it was asked for."""
    asked: list[str] = []
    return _answering_classes()[outputs.classes is None](outputs, asked), asked


@functools.cache
def _answering_classes() -> tuple[Any, Any]:
    """Return the classes of a classifier and a regressor that only repeat given outputs."""
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.utils.metaestimators import available_if

    def has(response: str) -> Callable[[Any], bool]:
        def check(self: Any) -> bool:
            self.asked.append(response)
            return getattr(self.outputs, response) is not None

        return check

    class Answering(BaseEstimator):  # type: ignore[misc, unused-ignore]  # scikit-learn has no types
        def __init__(self, outputs: Outputs, asked: list[str]) -> None:
            self.outputs, self.asked = outputs, asked

        def predict(self, inputs: Any) -> Any:
            del inputs
            return self.outputs.predictions

        @available_if(has("probabilities"))  # type: ignore[untyped-decorator, unused-ignore]
        def predict_proba(self, inputs: Any) -> Any:
            del inputs
            return self.outputs.probabilities

        @available_if(has("decision_values"))  # type: ignore[untyped-decorator, unused-ignore]
        def decision_function(self, inputs: Any) -> Any:
            del inputs
            return self.outputs.decision_values

    class AnsweringClassifier(ClassifierMixin, Answering):  # type: ignore[misc, unused-ignore]
        @property
        def classes_(self) -> Any:
            return self.outputs.classes

    class AnsweringRegressor(RegressorMixin, Answering):  # type: ignore[misc, unused-ignore]
        pass

    return AnsweringClassifier, AnsweringRegressor


def _sklearn() -> Any:
    try:
        import sklearn.metrics
    except ModuleNotFoundError as error:
        raise TaskLoadError(
            "a score by name needs scikit-learn, which is not installed: pip install 'moo-deploy[sklearn]'"
        ) from error
    return sklearn.metrics
