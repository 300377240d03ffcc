"""Ranges of activations for static quantisation, found on rows of training data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnxruntime.quantization.calibrate import (
    EntropyCalibrater,
    HistogramCollector,
    MinMaxCalibrater,
    PercentileCalibrater,
)

from moo.errors import ExportError, InputError, did_you_mean
from objectives._compression._compress import Compression

__all__ = ["activation_ranges", "checked_rows", "chosen_rows"]

_DTYPES = {  # ONNX Runtime's name of a type: numpy's
    "tensor(float)": np.dtype(np.float32),
    "tensor(double)": np.dtype(np.float64),
    "tensor(float16)": np.dtype(np.float16),
    "tensor(bool)": np.dtype(np.bool_),
    **{f"tensor({s}int{b})": np.dtype(f"{s}int{b}") for s in ("", "u") for b in (8, 16, 32, 64)},
}
_ENTROPY_BINS = 512  # of which a range takes the middle 128 or more: with ONNX Runtime's 128 it has no choice


def checked_rows(session: Any, calibration: Mapping[str, NDArray[Any]] | None) -> dict[str, NDArray[Any]]:
    """Return the rows in the order of the model's inputs, each array as it was given.

    Args:
        session: An ONNX Runtime session of the model.
        calibration: Arrays by input name, shape (n, ...).

    Raises:
        InputError: For a missing or unknown input, another type or shape than the model's, no rows,
            unequal numbers of rows, or numbers that are not finite.
    """
    if calibration is None:
        raise InputError("calibration: int8-static needs rows of training data by input name, got none")
    inputs = {item.name: item for item in session.get_inputs()}
    for name in sorted(set(calibration) - set(inputs)):
        raise InputError(f"calibration: the model has no input {name!r}: {did_you_mean(name, inputs)}")
    for name in inputs:
        if name not in calibration:
            raise InputError(f"calibration: has no rows for the model's input {name!r}: add them")
    rows = {name: np.asarray(calibration[name]) for name in inputs}
    for name, array in rows.items():
        _check_array(inputs[name], array)
    lengths = {name: len(array) for name, array in rows.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} {n}" for name, n in lengths.items())
        raise InputError(f"calibration: expected as many rows for each input, got {listed}")
    return rows


def _check_array(item: Any, array: NDArray[Any]) -> None:
    """Refuse rows that one input cannot take."""
    what = f"calibration, input {item.name!r}"
    expected = _DTYPES.get(item.type)
    if expected is None:
        raise InputError(f"{what}: is {item.type}, which cannot be calibrated with: choose int8-dynamic")
    if array.dtype != expected:
        raise InputError(
            f"{what}: expected {expected}, got {array.dtype}: convert it with astype({str(expected)!r})"
        )
    shape = tuple(item.shape or ())
    dimensions = ", ".join("any" if not isinstance(size, int) else str(size) for size in shape[1:])
    fits = len(shape) == array.ndim and all(
        not isinstance(size, int) or size == given
        for size, given in zip(shape[1:], array.shape[1:], strict=True)
    )
    if array.ndim == 0 or (shape and not fits):
        raise InputError(f"{what}: expected shape (rows, {dimensions}), got {array.shape}")
    if len(array) == 0:
        raise InputError(f"{what}: expected at least one row, got none")
    if array.dtype.kind == "f":
        n_bad = array.size - int(np.count_nonzero(np.isfinite(array)))
        if n_bad:
            raise InputError(
                f"{what}: expected finite numbers, got {n_bad} of {array.size} that are not:"
                " leave out those rows"
            )


def chosen_rows(
    rows: Mapping[str, NDArray[Any]], session: Any, compression: Compression, seed: int
) -> tuple[dict[str, NDArray[Any]], int]:
    """Return at most `compression.rows` of the rows, in the order given, and how many to run in a call.

    A model with a fixed batch size is run with that; rows that fill no call are left out.

    Raises:
        InputError: If there are fewer rows than the model's fixed batch size.

    The same seed chooses the same rows.
    """
    n_rows = len(next(iter(rows.values())))
    n_chosen = min(n_rows, compression.rows)
    batch = min(compression.batch, n_chosen)
    fixed = {item.shape[0] for item in session.get_inputs() if item.shape and isinstance(item.shape[0], int)}
    if fixed:
        batch = max(fixed)
        n_chosen = min(n_rows, max(n_chosen, batch)) // batch * batch
        if n_chosen == 0 or len(fixed) > 1:
            raise InputError(
                f"calibration: the model takes {' and '.join(map(str, sorted(fixed)))} rows a call,"
                f" got {n_rows} in all"
            )
    chosen = np.sort(np.random.default_rng(seed).choice(n_rows, n_chosen, replace=False))
    return {name: array[chosen] for name, array in rows.items()}, batch


class _Batches:
    """Hands rows to ONNX Runtime's calibrator, one batch, then None."""

    def __init__(self, feed: Mapping[str, NDArray[Any]]) -> None:
        self._feeds: Iterator[Mapping[str, NDArray[Any]]] = iter([feed])

    def get_next(self) -> Mapping[str, NDArray[Any]] | None:
        """Return the next feed, None after the last."""
        return next(self._feeds, None)


def activation_ranges(
    model: Path,
    rows: Mapping[str, NDArray[Any]],
    batch: int,
    op_types: Sequence[str],
    compression: Compression,
    *,
    open_session: Any,
    is_large: bool,
) -> Any:
    """Return ONNX Runtime's record of the range of each float tensor at an operator of these types.

    The calibrators are handed one batch at a time: given all, they would keep every activation of every
    row in memory before they look at the first.

    Args:
        model: Prepared; the augmented model is written beside it.
        rows: Shape (n, ...) by input name, n a multiple of `batch` where the batch size is fixed.
        batch: Rows in a call.
        op_types: Operator types that will be quantised.
        compression: For the method and the percentile.
        open_session: Returns a session for a path, with no optimisation.
        is_large: Whether weights are kept beside the file.

    Returns:
        None where the model has no such tensor.

    Raises:
        ExportError: If the model does not run on the rows.
    """
    options: dict[str, Any] = {"use_external_data_format": is_large}
    widest = MinMaxCalibrater(
        model, op_types, augmented_model_path=str(model.with_name("widest.onnx")), **options
    )
    if not widest.select_tensors_to_calibrate(widest.model)[0]:
        return None
    ranges = _collected(widest, rows, batch, open_session)
    if compression.calibration == "minmax":
        return ranges
    options["augmented_model_path"] = str(model.with_name("histograms.onnx"))
    calibrator: Any
    if compression.calibration == "entropy":
        calibrator = EntropyCalibrater(model, op_types, num_bins=_ENTROPY_BINS, **options)
    else:  # symmetric: of magnitudes, then cut to the smallest and largest value seen
        calibrator = PercentileCalibrater(
            model, op_types, percentile=compression.percentile, symmetric=True, **options
        )
    calibrator.collector = _histograms(calibrator, ranges)
    return _collected(calibrator, rows, batch, open_session)


def _collected(calibrator: Any, rows: Mapping[str, NDArray[Any]], batch: int, open_session: Any) -> Any:
    """Return what a calibrator finds in all batches."""
    calibrator.augment_graph()
    try:
        calibrator.infer_session = open_session(Path(calibrator.augmented_model_path))
        for start in range(0, len(next(iter(rows.values()))), batch):
            feed = {name: array[start : start + batch] for name, array in rows.items()}
            calibrator.collect_data(_Batches(feed))
        return calibrator.compute_data()
    except Exception as error:  # ONNX Runtime's errors have no base of their own
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ExportError(f"the model does not run on the calibration rows: {reason}") from error
    finally:
        calibrator.infer_session = None


def _histograms(calibrator: Any, ranges: Any) -> HistogramCollector:
    """Return empty histograms, each as wide as its tensor is.

    Left to itself the calibrator takes the bins from the first batch and adds more of the same width:
    a later outlier makes tens of thousands, and the search among them takes minutes.
    """
    collector = HistogramCollector(
        method=calibrator.method,
        symmetric=calibrator.symmetric,
        num_bins=calibrator.num_bins,
        num_quantized_bins=calibrator.num_quantized_bins,
        percentile=calibrator.percentile,
        scenario=calibrator.scenario,
    )
    for name, found in ranges.items():
        low, high = (np.asarray(end).reshape(()) for end in found.range_value)
        width = np.asarray(max(abs(low), abs(high)) or 1.0, dtype=low.dtype)
        start = np.zeros_like(width) if calibrator.symmetric else -width
        edges = np.linspace(start, width, calibrator.num_bins + 1, dtype=low.dtype)
        empty = np.zeros(calibrator.num_bins, dtype=np.int64)
        values = (empty, edges, low, high) if calibrator.symmetric else (empty, edges, low, high, width)
        collector.histogram_dict[name] = values
    return collector
