"""Changes to an ONNX graph that make it say what was meant, around ONNX Runtime's quantisation tools."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from onnx import ModelProto, NodeProto, numpy_helper

__all__ = ["with_float_inputs", "with_own_gemm_constants", "with_signature"]

_PAIR = ("QuantizeLinear", "DequantizeLinear")


def with_own_gemm_constants(model: ModelProto) -> ModelProto:
    """Return the model, changed in place: each Gemm has a weight of its own, and a bias of shape (n,).

    ONNX Runtime's dynamic quantiser turns a Gemm into a MatMul and transposes its weight in place, so
    that whoever shares the weight, such as the embedding it is tied to, would read it transposed. Its
    static quantiser, by channel, gives the scales of the one to the other, and fails at a bias of
    shape (1, n).
    """
    readers = _readers(model)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type != "Gemm" or node.input[1] not in constants:
            continue
        weight = numpy_helper.to_array(constants[node.input[1]])
        if readers[node.input[1]] > 1:
            _replace(model, node, 1, weight)
        if len(node.input) > 2 and node.input[2] in constants:
            is_transposed = any(item.name == "transB" and item.i for item in node.attribute)
            n_outputs = weight.shape[0 if is_transposed else 1]
            bias = numpy_helper.to_array(constants[node.input[2]])
            if bias.shape != (n_outputs,) and bias.size in (1, n_outputs) and bias.shape[:-1] in ((), (1,)):
                _replace(model, node, 2, np.broadcast_to(bias.reshape(-1), (n_outputs,)))
    _drop_unread(model, set(constants))
    return model


def _replace(model: ModelProto, node: NodeProto, index: int, array: np.ndarray) -> None:
    """Give a node a constant of its own as an input."""
    name = f"{node.input[index]}_of_{node.name}"
    model.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
    node.input[index] = name


def with_float_inputs(model: ModelProto, op_types: Sequence[str]) -> ModelProto:
    """Return the model, changed in place: operators of these types read floats that were never rounded.

    ONNX Runtime quantises the neighbours of an operator that is left out, and then takes the operator
    between two pairs for one that was meant to be computed in integers.
    """
    producers = {output: node for node in model.graph.node for output in node.output}
    for node in model.graph.node:
        for index, name in enumerate(node.input if node.op_type in op_types else ()):
            dequantise = producers.get(name)
            if dequantise is None or dequantise.op_type != "DequantizeLinear":
                continue
            quantise = producers.get(dequantise.input[0])
            if quantise is not None and quantise.op_type == "QuantizeLinear":
                node.input[index] = quantise.input[0]
    suspects: set[str] = set()
    while unused := _unread_pairs(model):
        for node in unused:
            suspects.update(node.input)
            model.graph.node.remove(node)
    _drop_unread(model, suspects)
    return model


def _readers(model: ModelProto) -> Counter[str]:
    """Return how often each name is read in the graph and its branches, outputs included."""
    readers: Counter[str] = Counter()
    waiting = [model.graph]
    while waiting:
        graph = waiting.pop()
        readers.update(item.name for item in graph.output)
        for node in graph.node:
            readers.update(node.input)
            for item in node.attribute:
                waiting += [*item.graphs, *([item.g] if item.HasField("g") else [])]
    return readers


def _unread_pairs(model: ModelProto) -> list[NodeProto]:
    """Return the nodes that quantise or dequantise what nobody reads."""
    read = _readers(model).keys()
    return [node for node in model.graph.node if node.op_type in _PAIR and not read & set(node.output)]


def _drop_unread(model: ModelProto, names: set[str]) -> None:
    """Remove those of these constants that nobody reads."""
    unread = names - _readers(model).keys()
    for tensor in [tensor for tensor in model.graph.initializer if tensor.name in unread]:
        model.graph.initializer.remove(tensor)


def with_signature(model: ModelProto, original: ModelProto) -> ModelProto:
    """Return a model that declares its inputs and outputs as the original does, and keeps its notes."""
    new = ModelProto()
    new.CopyFrom(model)
    weights = {tensor.name for tensor in original.graph.initializer}
    for field, items in (("input", original.graph.input), ("output", original.graph.output)):
        new.graph.ClearField(field)
        getattr(new.graph, field).extend(
            item for item in items if field == "output" or item.name not in weights
        )
    new.ClearField("metadata_props")
    new.metadata_props.extend(original.metadata_props)
    return new
