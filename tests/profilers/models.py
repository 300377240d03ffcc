"""Tiny ONNX models for the tests, each written to a path."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def value(name: str, shape: list[int | str | None], kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def write(path: Path, nodes: list, inputs: list, outputs: list, initializers: list | None = None) -> Path:
    graph = helper.make_graph(nodes, "graph", inputs, outputs, initializers or [])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)
    return path


def chain(path: Path, *, width: int = 4, depth: int = 1, rows: int | str = "batch", seed: int = 0) -> Path:
    """`depth` matrix products of `width` x `width`: y = x w_0 w_1 ..."""
    generator = np.random.default_rng(seed)
    names = ["x", *(f"h{i}" for i in range(depth - 1)), "y"]
    weights = [
        numpy_helper.from_array(
            generator.standard_normal((width, width)).astype(np.float32) / width**0.5, f"w{i}"
        )
        for i in range(depth)
    ]
    nodes = [helper.make_node("MatMul", [names[i], f"w{i}"], [names[i + 1]]) for i in range(depth)]
    return write(path, nodes, [value("x", [rows, width])], [value("y", [rows, width])], weights)


def chain_weights(path: Path) -> list[np.ndarray]:
    return [numpy_helper.to_array(item) for item in onnx.load(str(path)).graph.initializer]


def with_external_data(path: Path, *, location: str = "weights.bin", width: int = 16) -> Path:
    """A chain whose weights lie in the file `location` beside it."""
    model = onnx.load(str(chain(path, width=width)))
    onnx.save(model, str(path), save_as_external_data=True, location=location, size_threshold=0)
    return path


def point_external_data_to(path: Path, location: str) -> Path:
    """Change where the model says that its data lies, and nothing else."""
    model = onnx.load(str(path), load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    path.write_bytes(model.SerializeToString())
    return path


def mixed_types(path: Path) -> Path:
    """y = tokens * mask + half + byte + scalar, each of another type."""
    kinds = {"mask": TensorProto.BOOL, "half": TensorProto.FLOAT16, "byte": TensorProto.UINT8}
    nodes = [
        helper.make_node("Cast", [name], [f"{name}_f"], to=TensorProto.FLOAT) for name in ("tokens", *kinds)
    ]
    nodes += [
        helper.make_node("Mul", ["tokens_f", "mask_f"], ["a"]),
        helper.make_node("Add", ["a", "half_f"], ["b"]),
        helper.make_node("Add", ["b", "byte_f"], ["c"]),
        helper.make_node("Add", ["c", "scalar"], ["y"]),
    ]
    shape: list[int | str | None] = ["batch", "sequence"]
    inputs = [value("tokens", shape, TensorProto.INT64)]
    inputs += [value(name, shape, kind) for name, kind in kinds.items()]
    return write(path, nodes, [*inputs, value("scalar", [])], [value("y", shape)])


def text_input(path: Path) -> Path:
    shape: list[int | str | None] = ["batch"]
    text = value("text", shape, TensorProto.STRING)
    node = helper.make_node("Identity", ["text"], ["y"])
    return write(path, [node], [text], [value("y", shape, TensorProto.STRING)])


def text_output(path: Path) -> Path:
    """The label "no" or "yes" for each token, 0 or 1."""
    table = helper.make_tensor("table", TensorProto.STRING, [2], [b"no", b"yes"])
    node = helper.make_node("Gather", ["table", "token"], ["label"])
    shape: list[int | str | None] = ["batch"]
    tokens, labels = value("token", shape, TensorProto.INT64), value("label", shape, TensorProto.STRING)
    return write(path, [node], [tokens], [labels], [table])


def mean_over_rows(path: Path) -> Path:
    """An output that has no row for each input row."""
    node = helper.make_node("ReduceMean", ["x"], ["y"], axes=[0], keepdims=0)
    return write(path, [node], [value("x", ["batch", 2])], [value("y", [2])])


def wide_middle(path: Path, *, width: int) -> Path:
    """A model without weights to speak of, whose middle needs rows * width * 4 bytes."""
    ones = numpy_helper.from_array(np.ones((1, width), np.float32), "ones")
    nodes = [
        helper.make_node("MatMul", ["x", "ones"], ["wide"]),
        helper.make_node("ReduceSum", ["wide"], ["y"], keepdims=1),
    ]
    return write(path, nodes, [value("x", ["batch", 1])], [value("y", [1, 1])], [ones])


def endless_loop(path: Path) -> Path:
    """y = x + 1 + 1 + ..., 2**62 times: it never ends, and needs no memory."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["condition_in"], ["condition_out"]),
            helper.make_node("Add", ["state_in", "one"], ["state_out"]),
        ],
        "body",
        [
            value("iteration", [], TensorProto.INT64),
            value("condition_in", [], TensorProto.BOOL),
            value("state_in", [None, 1]),
        ],
        [value("condition_out", [], TensorProto.BOOL), value("state_out", [None, 1])],
        [numpy_helper.from_array(np.ones((1, 1), np.float32), "one")],
    )
    trips = numpy_helper.from_array(np.array(2**62, np.int64), "trips")
    go_on = numpy_helper.from_array(np.ones((), np.bool_), "go_on")
    node = helper.make_node("Loop", ["trips", "go_on", "x"], ["y"], body=body)
    return write(path, [node], [value("x", ["batch", 1])], [value("y", ["batch", 1])], [trips, go_on])


def unknown_operator(path: Path) -> Path:
    node = helper.make_node("Frobnicate", ["x"], ["y"])
    return write(path, [node], [value("x", ["batch", 2])], [value("y", ["batch", 2])])
