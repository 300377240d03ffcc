"""From what a scikit-learn estimator takes to the inputs of its artefact."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer

from moo.errors import FitError

__all__ = ["Signature", "has_part"]

INPUT_NAME = "input"


@dataclass(frozen=True)
class Signature:
    """The inputs of an artefact: name and type for the converter, and the rows to feed."""

    types: list[tuple[str, Any]]
    arrays: list[NDArray[Any]]

    @classmethod
    def of(cls, estimator: BaseEstimator, inputs: Any) -> Signature:
        """Return one input for all columns, or one for each.

        Raises:
            FitError: For inputs that have no two dimensions, or a column that is neither numbers nor text.
        """
        if not isinstance(inputs, pd.DataFrame):
            return cls._whole(np.asarray(inputs), type(inputs).__name__)
        columns = {str(name): _column(str(name), inputs[name]) for name in inputs.columns}
        of_text = [array.dtype == object for array in columns.values()]
        if has_part(estimator, ColumnTransformer) or (any(of_text) and not all(of_text)):
            types = [(name, _type(array)) for name, array in columns.items()]
            return cls(types, list(columns.values()))
        return cls._whole(np.hstack(list(columns.values())), "DataFrame")

    @classmethod
    def _whole(cls, inputs: NDArray[Any], kind: str) -> Signature:
        if inputs.ndim != 2:
            raise FitError(
                f"data(): expected inputs of shape (n, features), or a data frame, got {kind}"
                f" of shape {inputs.shape}"
            )
        if inputs.dtype.kind in "OUS":
            array = _text("the inputs", inputs.astype(object))
        else:
            array = _float32("the inputs", inputs)
        return cls([(INPUT_NAME, _type(array))], [array])


def _column(name: str, column: pd.Series[Any]) -> NDArray[Any]:
    """Return a column as an array of shape (n, 1), of float32 or text."""
    if pd.api.types.is_numeric_dtype(column.dtype):  # truth values too
        return np.asarray(column.to_numpy(dtype=np.float32, na_value=np.nan)).reshape(-1, 1)
    return _text(f"column {name!r}", column.to_numpy(dtype=object).reshape(-1, 1))


def _text(what: str, values: NDArray[Any]) -> NDArray[Any]:
    odd = [value for value in values.flat if not isinstance(value, str)]
    if odd:
        raise FitError(
            f"data(): {what}: expected numbers, or text in every row, got {odd[0]!r}: fill what is missing,"
            " and give columns of different kinds as a data frame"
        )
    return values


def _float32(what: str, values: NDArray[Any]) -> NDArray[Any]:
    if values.dtype.kind not in "fiub":
        raise FitError(f"data(): {what}: expected numbers or text, got {values.dtype}")
    return np.ascontiguousarray(values, dtype=np.float32)


def _type(array: NDArray[Any]) -> Any:
    from skl2onnx.common.data_types import (  # type: ignore[import-untyped, unused-ignore]
        FloatTensorType,
        StringTensorType,
    )

    kind = StringTensorType if array.dtype == object else FloatTensorType
    return kind([None, array.shape[1]])


def has_part(estimator: BaseEstimator, kind: type) -> bool:
    """Return whether the estimator, or one of its parts, is of a kind."""
    return any(isinstance(part, kind) for part in [estimator, *estimator.get_params().values()])
