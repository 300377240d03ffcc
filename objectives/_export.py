"""From a PyTorch model to an ONNX file that is proved to compute the same."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from moo.errors import ExportError
from objectives._cause import innermost_cause
from objectives._quiet import silenced
from objectives._torchlib import operators_kept

__all__ = ["INPUT_NAME", "Exporter", "check_same_outputs", "export_onnx", "framework_outputs"]

INPUT_NAME = "input"
_INLINE_LIMIT_BYTES = 2**30  # a protobuf file ends at 2 GiB; larger weights go beside the file


def export_onnx(model: torch.nn.Module, example: torch.Tensor, path: Path) -> None:
    """Write a model as ONNX with a symbolic batch dimension.

    Args:
        model: In evaluation mode.
        example: Two rows of real input; its first dimension becomes symbolic.
        path: Of the file; above 1 GiB of weights they go to `<path>.data` beside it.

    Raises:
        ExportError: If torch cannot export the model, or fixes the batch size.
    """
    Exporter(example).write(model, path)


class Exporter:
    """Writes a model as ONNX, and later the same model with other weights, which takes no new translation.

    Translating a small network takes torch seconds, twenty times as long as putting other weights into the
    translation. What a model does beside its parts and weights, such as an attribute that `forward` reads, is
    not compared: after a write that reused a translation, hold the outputs against the model's, and where
    they differ `forget` and write again.

    Args:
        example: Two rows of real input; its first dimension becomes symbolic.
    """

    def __init__(self, example: torch.Tensor) -> None:
        self._example = example
        self._translated: torch.onnx.ONNXProgram | None = None
        self._kind: object = None

    def write(self, model: torch.nn.Module, path: Path) -> bool:
        """Write a model, and return whether an earlier translation was reused.

        Args:
            model: In evaluation mode.
            path: Of the file; above 1 GiB of weights they go to `<path>.data` beside it.

        Raises:
            ExportError: If torch cannot export the model, or fixes the batch size.
        """
        kind, translated = _kind(model), self._translated
        is_reused = translated is not None and kind == self._kind
        with _quiet(), operators_kept():
            try:
                if translated is None or not is_reused:
                    translated = self._translated = _translation(model, self._example)
                    self._kind = kind
                _with_weights(translated, model).save(path, external_data=_size(model) > _INLINE_LIMIT_BYTES)
            except Exception as error:  # whatever the exporter meets in a person's model
                self.forget()
                raise ExportError(f"torch.onnx.export refused the model: {innermost_cause(error)}") from error
        _check_batch_is_symbolic(path)
        return is_reused

    def forget(self) -> None:
        """Translate anew the next time."""
        self._translated = self._kind = None


def _translation(model: torch.nn.Module, example: torch.Tensor) -> torch.onnx.ONNXProgram:
    """Return the model in ONNX's operators, with each weight under its name: nothing is folded yet."""
    program = torch.onnx.export(
        model,
        (example,),
        dynamo=True,
        verbose=False,
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        optimize=False,
    )
    assert program is not None
    program.exported_program = None  # torch's own form of it, which is not needed any more
    return program


def _with_weights(translated: torch.onnx.ONNXProgram, model: torch.nn.Module) -> torch.onnx.ONNXProgram:
    """Return an optimised copy with the model's weights; the translation keeps the names and the shapes."""
    program = torch.onnx.ONNXProgram(translated.model.clone(), None)
    taken = program.model.graph.initializers
    program.apply_weights({name: tensor.detach() for name, tensor in _weights(model) if name in taken})
    program.optimize()
    for value in program.model.graph.inputs[:1]:  # by now: an input that is an output keeps its name before
        value.name = INPUT_NAME
    return program


def _kind(model: torch.nn.Module) -> object:
    """Return what two models have in common that may differ in weights alone."""
    modules = [(name, type(module)) for name, module in model.named_modules(remove_duplicate=False)]
    weights = [(name, tensor.shape, tensor.dtype) for name, tensor in _weights(model)]
    return repr(model), modules, weights


def _weights(model: torch.nn.Module) -> list[tuple[str, torch.Tensor]]:
    """Return parameters and buffers by every name that they have."""
    parameters = model.named_parameters(remove_duplicate=False)
    return [*parameters, *model.named_buffers(remove_duplicate=False)]


def _size(model: torch.nn.Module) -> int:
    """Return the bytes of all weights."""
    return sum(t.numel() * t.element_size() for t in [*model.parameters(), *model.buffers()])


def _check_batch_is_symbolic(path: Path) -> None:
    """Refuse a file whose batch size torch fixed without a word."""
    graph = onnx.load(path, load_external_data=False).graph
    if not graph.input:
        raise ExportError("the exported model takes no input: forward() does not use its argument")
    rows = graph.input[0].type.tensor_type.shape.dim[0]
    if not rows.dim_param:
        raise ExportError(
            f"torch fixed the batch size at {rows.dim_value}: forward() must not depend on the number of rows"
        )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's chatter about absent optional packages from the person."""
    loggers = [
        logging.getLogger(name) for name in ("torch.onnx", "torch.fx", "torch.export", "torch._dynamo")
    ]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with silenced():
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def framework_outputs(model: torch.nn.Module, inputs: torch.Tensor) -> list[NDArray[Any]]:
    """Return the model's outputs on the CPU, as arrays; one for each output.

    Raises:
        ExportError: If the model returns anything but tensors.
    """
    with torch.no_grad():
        returned = model(inputs)
    tensors = [returned] if isinstance(returned, torch.Tensor) else returned
    if not isinstance(tensors, (tuple, list)) or not all(isinstance(t, torch.Tensor) for t in tensors):
        raise ExportError(
            f"the model must return a tensor or a tuple of tensors, got {type(returned).__name__}"
        )
    return [tensor.numpy() for tensor in tensors]


def check_same_outputs(
    artefact: Sequence[NDArray[Any]], framework: Sequence[NDArray[Any]], tolerance: float
) -> None:
    """Refuse an artefact that computes something else than the framework.

    Args:
        artefact: The artefact's outputs in its runtime, the first rows.
        framework: The framework's outputs for the same rows.
        tolerance: Largest difference allowed, as a fraction of the largest magnitude in the row.

    Raises:
        ExportError: If the number of outputs, a shape or a value differs.
    """
    if len(artefact) != len(framework):
        raise ExportError(f"the artefact has {len(artefact)} outputs, the framework {len(framework)}")
    for index, (ours, theirs) in enumerate(zip(artefact, framework, strict=True)):
        if ours.shape != theirs.shape:
            raise ExportError(
                f"output {index}: the artefact gives shape {ours.shape}, the framework {theirs.shape}"
            )
        if not np.array_equal(np.isfinite(ours), np.isfinite(theirs)):
            raise ExportError(
                f"output {index}: the artefact and the framework are not finite in different places"
            )
        difference = _largest_difference(ours, theirs)
        if difference > tolerance:
            raise ExportError(
                f"output {index}: the artefact differs from the framework by {difference:.2g} of a row's"
                f" largest value, allowed is {tolerance:.2g}"
            )


def _largest_difference(ours: NDArray[Any], theirs: NDArray[Any]) -> float:
    """Return the largest difference of finite values, as a fraction of the largest value in its row.

    Rows whose values are all below a thousandth of the largest of all are held against that
    thousandth: there the difference is rounding.
    """
    if theirs.size == 0:
        return 0.0
    pair = [
        np.where(np.isfinite(a), a, 0).astype(np.float64).reshape(len(theirs), -1) for a in (ours, theirs)
    ]
    sizes = np.abs(pair[1]).max(axis=1)
    scales = np.maximum(sizes, sizes.max() / 1000)
    differences = np.abs(pair[0] - pair[1]).max(axis=1)
    return float((differences / np.where(scales > 0, scales, 1.0)).max())
