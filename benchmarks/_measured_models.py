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
    return _write(path, nodes, width, width, weights)


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
    return _write(path, nodes, 1, 1, [shape])


def _write(path: Path, nodes: list, width_in: int, width_out: int, constants: list) -> Path:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", width_in])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", width_out])
    graph = helper.make_graph(nodes, "graph", [x], [y], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)
    return path
