"""What an ONNX model says of itself, and inputs for it: rows of the validation data, or made ones."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moo.bundle import Described, Tensor
from moo.errors import InstallError, MeasureError
from profilers import MissingLibraryError, ModelFile, ProfilerError
from profilers._child._errors import UnusableModelError
from profilers._child._inputs import made_array, most_numbers, ranked
from profilers._child._runner import InputSpec
from profilers._child._shapes import Plan, planned
from profilers._model import external_files, load_proto

__all__ = ["batches", "described", "given_calls", "made_calls"]

_N_CALLS = 4  # of a sample: each is run on its own, in a process that loads the model
_COPIES = 4  # of a sample while it is made and written
_DTYPES = {
    "FLOAT": "float32",
    "DOUBLE": "float64",
    "FLOAT16": "float16",
    "BOOL": "bool",
    "STRING": "str",
    **{f"{sign}INT{bits}": f"{sign}int{bits}".lower() for sign in ("", "U") for bits in (8, 16, 32, 64)},
}
Shapes = Mapping[str, Sequence[int]]


def described(path: Path) -> Described:
    """Return the model's identity and signature; its weights are hashed, not loaded.

    Raises:
        MeasureError: If it is no ONNX model, its data lie outside its folder, or an input or output is of a
            type that numpy does not have.
    """
    try:
        file, proto = ModelFile.read(path), load_proto(path)
        data = [found.relative_to(path.parent).as_posix() for found in external_files(path, proto)]
    except MissingLibraryError as error:
        raise InstallError(str(error)) from error
    except ProfilerError as error:
        raise MeasureError(str(error)) from error
    constants = {tensor.name for tensor in proto.graph.initializer}
    inputs = [value for value in proto.graph.input if value.name not in constants]
    return Described(
        sha256=file.sha256,
        bytes=file.bytes,
        data=tuple(sorted(data)),
        inputs=tuple(_tensor("input", value) for value in inputs),
        outputs=tuple(_tensor("output", value) for value in proto.graph.output),
    )


def _tensor(kind: str, value: Any) -> Tensor:
    import onnx

    tensor = value.type.tensor_type
    numbers = onnx.TensorProto.DataType
    known = value.type.HasField("tensor_type") and tensor.elem_type in numbers.values()
    declared = numbers.Name(tensor.elem_type) if known else "no tensor"
    if declared not in _DTYPES:
        raise MeasureError(
            f"{kind} {value.name!r} is {declared.lower()}: expected a tensor of a type that numpy has: end or"
            " begin the model with a Cast (skl2onnx: zipmap=False)"
        )
    shape = tuple(map(_size, tensor.shape.dim)) if tensor.HasField("shape") else None
    return Tensor(value.name, _DTYPES[declared], shape)


def _size(dimension: Any) -> int | str | None:
    if dimension.HasField("dim_value"):
        return int(dimension.dim_value) if dimension.dim_value >= 0 else None
    return str(dimension.dim_param) or None


def _plan(inputs: Sequence[Tensor], batch: int, shown: Shapes) -> Plan:
    """Return the shapes of a call, and which axes count rows, as the profilers plan them."""
    specs = [InputSpec(tensor.name, tensor.dtype, tensor.shape or (), "") for tensor in inputs]
    unranked = [tensor.name for tensor in inputs if tensor.shape is None]
    try:
        specs = [ranked(spec, shown.get(spec.name), unranked) for spec in specs]
        return planned(specs, batch, {}, shown)
    except UnusableModelError as error:
        raise MeasureError(str(error)) from error


def made_calls(inputs: Sequence[Tensor], batch: int, shown: Shapes, seed: int) -> dict[str, NDArray[Any]]:
    """Return inputs for some calls, made as the profilers make them, a call each along the first axis.

    Args:
        inputs: The model's.
        batch: Rows in a call.
        shown: Shapes as they were measured, by input name; dimensions that nobody tells are 1.
        seed: Of what is made.
    """
    plan = _plan(inputs, batch, shown)
    for tensor in inputs:
        if math.prod(plan.shapes[tensor.name]) * _N_CALLS * _COPIES > most_numbers(tensor.dtype):
            shape = list(plan.shapes[tensor.name])
            raise MeasureError(
                f"input {tensor.name!r} must fit in memory, {_N_CALLS} times, got shape {shape}"
            )
    calls = [np.random.default_rng([seed, call]) for call in range(_N_CALLS)]
    specs = [InputSpec(tensor.name, tensor.dtype, (), "") for tensor in inputs]
    return {
        spec.name: _plain([made_array(spec, plan.shapes[spec.name], generator) for generator in calls])
        for spec in specs
    }


def given_calls(
    inputs: Sequence[Tensor], batch: int, rows: Mapping[str, NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    """Return the first rows as inputs for some calls; repeated, where there are too few for one.

    Raises:
        MeasureError: If they are not the model's inputs.
    """
    if sorted(rows) != sorted(tensor.name for tensor in inputs):
        names = sorted(tensor.name for tensor in inputs)
        raise MeasureError(f"the task's inputs are {sorted(rows)}, the model's {names}")
    arrays = {name: np.asarray(array) for name, array in rows.items()}
    axes = _plan(inputs, batch, {name: array.shape for name, array in arrays.items()}).batch_axes
    counts = [arrays[name].shape[axis] for name, axis in axes.items()]
    n_calls = max(1, min([_N_CALLS, *(count // batch for count in counts)]))
    return {
        name: _plain([_rows(array, axes.get(name), batch, call) for call in range(n_calls)])
        for name, array in arrays.items()
    }


def _rows(array: NDArray[Any], axis: int | None, batch: int, call: int) -> NDArray[Any]:
    if axis is None:
        return array
    rows: NDArray[Any] = array.take(np.arange(call * batch, (call + 1) * batch) % array.shape[axis], axis)
    return rows


def _plain(calls: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Return the calls as one array, text as numpy's own, which needs no pickle."""
    array: NDArray[Any] = np.stack([np.asarray(call) for call in calls])
    return array.astype(np.str_) if array.dtype == object else array


def batches(
    inputs: Sequence[Tensor], batch: int, calls: Mapping[str, NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    """Return the calls one after another along the axes that count rows, as the profilers take them.

    Raises:
        MeasureError: If the arrays do not fit the model.
    """
    shapes = {name: array.shape[1:] for name, array in calls.items()}
    axes = _plan(inputs, batch, shapes).batch_axes
    return {name: _joined(array, axes.get(name)) for name, array in calls.items()}


def _joined(calls: NDArray[Any], axis: int | None) -> NDArray[Any]:
    first: NDArray[Any] = calls[0]
    return first if axis is None else np.concatenate(list(calls), axis)
