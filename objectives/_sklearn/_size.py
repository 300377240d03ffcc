"""What can be counted in a fitted scikit-learn estimator."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline

from moo.evaluation import Estimate

__all__ = ["count_parameters", "predictor"]

_LEARNED = (
    ("coefs_", "intercepts_"),  # multi-layer perceptrons
    ("support_vectors_", "dual_coef_", "intercept_"),
    ("coef_", "intercept_"),
    ("theta_", "var_", "class_prior_"),  # naive Bayes
)


def count_parameters(estimator: BaseEstimator) -> Estimate:
    """Return the number of learned parameters of a fitted estimator, or of the last step of a pipeline.

    Counted are coefficients and intercepts of linear models, weights and biases of perceptrons,
    support vectors with their coefficients, means and variances of naive Bayes, and the nodes of
    trees; of an ensemble, those of its members. Preprocessing does not count. Where the word has no
    meaning (k neighbours keep the data) there is no value.

    >>> from sklearn.linear_model import LinearRegression
    >>> count_parameters(LinearRegression().fit([[0, 1], [1, 0], [2, 2]], [0, 1, 2])).value
    3
    """
    last = predictor(estimator)
    count = _count(last)
    if count is None:
        return Estimate(None, reason=f"{type(last).__name__} has no parameters that could be counted")
    return Estimate.exact(count)


def predictor(estimator: BaseEstimator) -> BaseEstimator:
    """Return the estimator, or the last step of a pipeline."""
    while isinstance(estimator, Pipeline):
        estimator = estimator.steps[-1][1]
    return estimator


def _count(estimator: BaseEstimator) -> int | None:
    tree = getattr(estimator, "tree_", None)
    if tree is not None:
        return int(tree.node_count)
    members = getattr(estimator, "estimators_", None)
    if members is not None:
        final = getattr(estimator, "final_estimator_", None)
        everyone = [*np.ravel(np.asarray(members, dtype=object)), *([] if final is None else [final])]
        counts = [_count(predictor(member)) for member in everyone]
        return None if None in counts else sum(count for count in counts if count is not None)
    is_through_origin = estimator.get_params().get("fit_intercept") is False
    for names in _LEARNED:
        parts = {name: getattr(estimator, name, None) for name in names}
        if all(part is not None for part in parts.values()):
            if is_through_origin:
                parts.pop("intercept_", None)
            return sum(_size(part) for part in parts.values())
    return None


def _size(part: Any) -> int:
    return sum(np.size(one) for one in part) if isinstance(part, list) else int(np.size(part))
