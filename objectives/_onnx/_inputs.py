"""What a finished ONNX model takes, and whether the rows a person gives fit it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moo.errors import InputError, did_you_mean

__all__ = ["NamedInputs", "Signature"]

_PASSING = ("Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze")
"""Operators that leave numbers as they are, but for their shape and type."""


class NamedInputs:
    """Inputs of a model that has several: an array for each name, row i of all being sample i.

    Args:
        arrays: Shape (n, ...) each.

    Raises:
        InputError: For none, or different numbers of rows.

    >>> len(NamedInputs(words=np.zeros((3, 7)), numbers=np.zeros((3, 2))))
    3
    """

    def __init__(self, **arrays: Any) -> None:
        self.arrays: dict[str, NDArray[Any]] = {name: np.asarray(array) for name, array in arrays.items()}
        lengths = {name: len(array) if array.ndim else 0 for name, array in self.arrays.items()}
        if len(set(lengths.values())) != 1:
            listed = ", ".join(f"{name} {n}" for name, n in lengths.items()) or "no input"
            raise InputError(f"NamedInputs: expected as many rows for each input, got {listed}")

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))


@dataclass(frozen=True)
class _Input:
    """One input: its type, None for text, and its dimensions, None for whatever; no shape where unranked."""

    dtype: np.dtype[Any] | None
    shape: tuple[int | None, ...] | None

    def check(self, what: str, array: NDArray[Any]) -> None:
        """Refuse rows that the input cannot take."""
        if self.dtype is None:
            if array.dtype.kind not in "OUS":
                raise InputError(f"{what}: expected text, got {array.dtype}")
        elif array.dtype != self.dtype:
            raise InputError(
                f"{what}: expected {self.dtype}, got {array.dtype}:"
                f" convert it with astype({self.dtype.name!r})"
            )
        if self.shape is None:
            return
        if not self.shape:
            raise InputError(
                f"{what}: is one number and not one a row: such a model cannot be run in batches"
            )
        given = array.shape[1:]
        does_fit = len(given) == len(self.shape) - 1 and all(
            size in (None, got) for size, got in zip(self.shape[1:], given, strict=True)
        )
        if not does_fit:
            sizes = ", ".join("any" if size is None else str(size) for size in self.shape[1:])
            raise InputError(
                f"{what}: expected shape (rows{', ' if sizes else ''}{sizes}), got {array.shape}"
            )


@dataclass(frozen=True)
class Signature:
    """The inputs of a model, and how its first output comes about.

    Attributes:
        inputs: By name, in the model's order.
        last_operator: The operator type that computes the first output, changes of shape and type left
            out; empty where there is none.
    """

    inputs: Mapping[str, _Input]
    last_operator: str

    @classmethod
    def read(cls, path: Path) -> Signature:
        """Return the signature of a file that is an ONNX model; its weights are not read."""
        import onnx

        graph = onnx.load(path, load_external_data=False).graph
        weights = {tensor.name for tensor in graph.initializer}
        inputs = {item.name: _input(item.type) for item in graph.input if item.name not in weights}
        producers = {output: node for node in graph.node for output in node.output}
        node = producers.get(graph.output[0].name)
        while node is not None and node.op_type in _PASSING:
            node = producers.get(node.input[0])
        return cls(inputs, "" if node is None else node.op_type)

    @property
    def batch(self) -> int | None:
        """The only number of rows that a call takes; None for any.

        Raises:
            InputError: If the inputs have different ones.
        """
        fixed = {given.shape[0] for given in self.inputs.values() if given.shape} - {None}
        if len(fixed) > 1:
            listed = " and ".join(map(str, sorted(size for size in fixed if size is not None)))
            raise InputError(
                f"the model takes {listed} rows in one call: such a model cannot be run in batches"
            )
        return next(iter(fixed), None)

    def feeds(self, inputs: Any, what: str) -> dict[str, NDArray[Any]]:
        """Return the rows by input name, in the model's order.

        Args:
            inputs: `NamedInputs`; one array or tensor for a model of one input.
            what: Which rows they are, for messages.

        Raises:
            InputError: For a missing or unknown input, or another type or shape than the model's.
        """
        if not isinstance(inputs, NamedInputs):
            if len(self.inputs) != 1:
                names = ", ".join(f"{name}=.." for name in self.inputs)
                raise InputError(
                    f"{what}: the model has {len(self.inputs)} inputs: expected"
                    f" objectives.NamedInputs({names}), got {type(inputs).__name__}"
                )
            inputs = NamedInputs(**{next(iter(self.inputs)): inputs})
        for name in inputs.arrays:
            if name not in self.inputs:
                raise InputError(
                    f"{what}: the model has no input {name!r}: {did_you_mean(name, self.inputs)}"
                )
        for name, expected in self.inputs.items():
            if name not in inputs.arrays:
                raise InputError(f"{what}: has no rows for the model's input {name!r}: add them")
            expected.check(f"{what}, input {name!r}", inputs.arrays[name])
        return {name: inputs.arrays[name] for name in self.inputs}


def _input(kind: Any) -> _Input:
    import onnx

    tensor = kind.tensor_type
    is_text = tensor.elem_type == onnx.TensorProto.STRING
    dtype = None if is_text else np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type))
    if not tensor.HasField("shape"):
        return _Input(dtype, None)
    return _Input(dtype, tuple(d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim))
