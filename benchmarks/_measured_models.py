"""Models for the measuring benchmark, whose work and memory are known by construction."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FUNCTIONS = ("Sin", "Cos", "Tanh", "Sigmoid", "Exp", "Abs")


def chain(path: Path, *, width: int, depth: int) -> Path:
    """Write `depth` products of a row with a matrix of `width` x `width`, each followed by a Tanh."""
    generator = np.random.default_rng(0)
    nodes, weights, name = [], [], "x"
    for index in range(depth):
        weight = generator.standard_normal((width, width)).astype(np.float32) / width**0.5
        weights.append(numpy_helper.from_array(weight, f"w{index}"))
        out = "y" if index == depth - 1 else f"t{index}"
        nodes.append(helper.make_node("MatMul", [name, f"w{index}"], [f"m{index}"]))
        nodes.append(helper.make_node("Tanh", [f"m{index}"], [out]))
        name = out
    return _write(path, nodes, _row_of(width), width, weights)


def convolutions(path: Path, *, depth: int) -> Path:
    """Write `depth` 3 x 3 convolutions of 16 channels on 16 x 16 pixels: 1.2 million products each.

    All weights and activations fit the caches of one core, so that other machines' work on the same host,
    which shares the last cache and the memory, changes its time less than that of a large model.
    """
    generator = np.random.default_rng(0)
    nodes, weights, name = [], [], "x"
    for index in range(depth):
        weight = generator.standard_normal((16, 16, 3, 3)).astype(np.float32) / 12
        weights.append(numpy_helper.from_array(weight, f"w{index}"))
        out = "y" if index == depth - 1 else f"t{index}"
        nodes.append(helper.make_node("Conv", [name, f"w{index}"], [out], pads=[1, 1, 1, 1]))
        name = out
    shape = ["batch", 16, 16, 16]
    x, y = (helper.make_tensor_value_info(side, TensorProto.FLOAT, shape) for side in ("x", "y"))
    return _save(path, nodes, x, y, weights)


def wide_middle(path: Path, *, n_values: int, n_functions: int) -> Path:
    """Write a model that holds 2 x `n_functions` tensors of `n_values` floats at once, and never more.

    They are the results of as many functions (at most 6) of one tensor, and, as large as all of them, their
    concatenation.
    """
    shape = numpy_helper.from_array(np.array([1, n_values], np.int64), "shape")
    nodes = [helper.make_node("Expand", ["x", "shape"], ["t"])]
    names = [f"t{index}" for index in range(n_functions)]
    for name, function in zip(names, FUNCTIONS, strict=False):
        nodes.append(helper.make_node(function, ["t"], [name]))
    nodes.append(helper.make_node("Concat", names, ["all"], axis=1))
    nodes.append(helper.make_node("ReduceMean", ["all"], ["y"], axes=[1], keepdims=1))
    return _write(path, nodes, _row_of(1), 1, [shape])


def table(path: Path, *, n_values: int) -> Path:
    """Write a model whose memory is a table of `n_values` floats, of which it looks one row up."""
    constant = np.ones((n_values // 64, 64), np.float32)
    nodes = [helper.make_node("Gather", ["table", "x"], ["y"])]
    x = helper.make_tensor_value_info("x", TensorProto.INT64, ["batch"])
    return _write(path, nodes, x, 64, [numpy_helper.from_array(constant, "table")])


def _row_of(width: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", width])


def _write(path: Path, nodes: list, x: onnx.ValueInfoProto, width_out: int, constants: list) -> Path:
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", width_out])
    return _save(path, nodes, x, y, constants)


def _save(path: Path, nodes: list, x: onnx.ValueInfoProto, y: onnx.ValueInfoProto, constants: list) -> Path:
    graph = helper.make_graph(nodes, "graph", [x], [y], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)
    return path
