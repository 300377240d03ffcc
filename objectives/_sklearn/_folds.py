"""Which rows a scikit-learn estimator is fitted on, and which it is scored on."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, is_classifier
from sklearn.model_selection import KFold, StratifiedKFold

from moo.errors import FitError
from objectives._data import Split

__all__ = ["fold_rows", "pooled", "rows_of"]


def pooled(first: Split, second: Split) -> Split:
    """Return the rows of both, in this order."""
    targets = np.concatenate([np.asarray(first.targets), np.asarray(second.targets)])
    if isinstance(first.inputs, pd.DataFrame):
        return Split(pd.concat([first.inputs, second.inputs], ignore_index=True), targets)
    return Split(np.concatenate([np.asarray(first.inputs), np.asarray(second.inputs)]), targets)


def rows_of(split: Split, rows: NDArray[np.intp]) -> Split:
    """Return the rows of these numbers."""
    is_frame = isinstance(split.inputs, pd.DataFrame)
    return Split(split.inputs.iloc[rows] if is_frame else split.inputs[rows], split.targets[rows])


def fold_rows(
    estimator: BaseEstimator, targets: NDArray[np.generic], n_folds: int
) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Return the numbers of the rows to fit and to score on, for each fold.

    They are shuffled by a fixed seed, so that they are the same for all trials, and stratified for
    classifiers.

    Raises:
        FitError: For fewer samples, or samples of a class, than folds.

    >>> from sklearn.linear_model import Ridge
    >>> [sorted(test.tolist()) for _, test in fold_rows(Ridge(), np.arange(4), 2)]
    [[2, 3], [0, 1]]
    """
    fewest = len(targets)
    if is_classifier(estimator):
        fewest = int(np.unique(targets, return_counts=True)[1].min())
    if fewest < n_folds:
        of_what = "the smallest class" if is_classifier(estimator) else "the data"
        raise FitError(
            f"folds = {n_folds}: expected at least as many samples in {of_what}, got {fewest}:"
            " set fewer folds, or None to score on the validation data"
        )
    kind = StratifiedKFold if is_classifier(estimator) else KFold
    return list(kind(n_folds, shuffle=True, random_state=0).split(np.zeros(len(targets)), targets))
