"""Tiny ONNX models for the tests, each written to a path."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def value(
    name: str, shape: list[int | str | None] | None, kind: int = TensorProto.FLOAT
) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def write(
    path: Path,
    nodes: list,
    inputs: list,
    outputs: list,
    initializers: list | None = None,
    *,
    opset: int = 17,
    domains: dict[str, int] | None = None,
) -> Path:
    graph = helper.make_graph(nodes, "graph", inputs, outputs, initializers or [])
    opsets = [
        helper.make_opsetid(domain, version) for domain, version in {"": opset, **(domains or {})}.items()
    ]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
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
    """A number for each text and, of a second input, its double: rows of columns, as a table gives them."""
    keys = {"keys_strings": ["a", "word"], "values_floats": [1.0, 2.0], "default_float": -1.0}
    nodes = [
        helper.make_node("LabelEncoder", ["color"], ["code"], domain="ai.onnx.ml", **keys),
        helper.make_node("Add", ["size", "size"], ["double"]),
        helper.make_node("Concat", ["code", "double"], ["y"], axis=1),
    ]
    inputs = [value("color", [None, 1], TensorProto.STRING), value("size", [None, 1])]
    return write(path, nodes, inputs, [value("y", [None, 2])], domains={"ai.onnx.ml": 3})


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


def custom_operator(path: Path) -> Path:
    node = helper.make_node("Frobnicate", ["x"], ["y"], domain="my.own")
    return write(path, [node], [value("x", [2])], [value("y", [2])], domains={"my.own": 1})


def identity(
    path: Path,
    shape: list[int | str | None] | None,
    kind: int = TensorProto.FLOAT,
    *,
    to: int | None = None,
    opset: int = 17,
) -> Path:
    """y = x, of any shape and type, of type `to` where that is given."""
    name, keywords = ("Identity", {}) if to is None else ("Cast", {"to": to})
    node = helper.make_node(name, ["x"], ["y"], **keywords)
    inputs, outputs = [value("x", shape, kind)], [value("y", shape, kind if to is None else to)]
    return write(path, [node], inputs, outputs, opset=opset)


def recurrent(path: Path, *, hidden: int = 4) -> Path:
    """An LSTM with its state as inputs and outputs, whose batch is not in front."""
    generator = np.random.default_rng(0)
    shapes = {"w": (1, 4 * hidden, 3), "r": (1, 4 * hidden, hidden)}
    weights = [
        numpy_helper.from_array(generator.standard_normal(shape).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    node = helper.make_node(
        "LSTM", ["x", "w", "r", "", "", "h", "c"], ["y", "h_new", "c_new"], hidden_size=hidden
    )
    state: list[int | str | None] = [1, "batch", hidden]
    inputs = [value("h", state), value("c", state), value("x", ["time", "batch", 3])]
    outputs = [value("y", ["time", 1, "batch", hidden]), value("h_new", state), value("c_new", state)]
    return write(path, [node], inputs, outputs, weights)


def decoder(path: Path, *, vocabulary: int = 2) -> Path:
    """A step of attention over past keys, with a mask that is one longer than the past."""
    table = numpy_helper.from_array(np.eye(vocabulary, 8, dtype=np.float32), "table")
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["new"]),
        helper.make_node("Concat", ["past", "new"], ["keys"], axis=1),
        helper.make_node("Transpose", ["keys"], ["keys_t"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["new", "keys_t"], ["scores"]),
        helper.make_node("Cast", ["mask"], ["mask_f"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask_f", "one"], ["mask_r"]),
        helper.make_node("Mul", ["scores", "mask_r"], ["y"]),
    ]
    inputs = [
        value("ids", ["batch", 1], TensorProto.INT64),
        value("mask", ["batch", "past_length + 1"], TensorProto.BOOL),
        value("past", ["batch", "past_length", 8]),
    ]
    one = numpy_helper.from_array(np.array([1]), "one")
    return write(path, nodes, inputs, [value("y", ["batch", 1, None])], [table, one])


def convolution(path: Path, shape: list[int | str | None]) -> Path:
    """A 3 x 3 convolution without padding."""
    kernel = numpy_helper.from_array(np.ones((1, 3, 3, 3), np.float32), "kernel")
    node = helper.make_node("Conv", ["x", "kernel"], ["y"])
    return write(path, [node], [value("x", shape)], [value("y", [None] * 4)], [kernel])


def sequence_output(path: Path) -> Path:
    node = helper.make_node("SplitToSequence", ["x"], ["y"])
    outputs = [helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, None)]
    return write(path, [node], [value("x", ["batch", 2])], outputs)


def probability_maps(path: Path) -> Path:
    """What scikit-learn's classifiers become: a map from label to probability for each row."""
    node = helper.make_node("ZipMap", ["x"], ["y"], domain="ai.onnx.ml", classlabels_strings=["no", "yes"])
    kind = helper.make_map_type_proto(
        TensorProto.STRING, helper.make_tensor_type_proto(TensorProto.FLOAT, [])
    )
    output = helper.make_value_info("y", helper.make_sequence_type_proto(kind))
    return write(path, [node], [value("x", ["batch", 2])], [output], domains={"ai.onnx.ml": 3})


def sequence_input(path: Path) -> Path:
    node = helper.make_node("SequenceLength", ["items"], ["y"])
    inputs = [helper.make_tensor_sequence_value_info("items", TensorProto.FLOAT, [2])]
    return write(path, [node], inputs, [value("y", [], TensorProto.INT64)])


def optional_input(path: Path) -> Path:
    kind = helper.make_optional_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, [2]))
    node = helper.make_node("OptionalGetElement", ["maybe"], ["y"])
    return write(path, [node], [helper.make_value_info("maybe", kind)], [value("y", [2])])


def no_inputs(path: Path) -> Path:
    node = helper.make_node("Constant", [], ["y"], value=numpy_helper.from_array(np.ones(2, np.float32)))
    return write(path, [node], [], [value("y", [2])])


def default_input(path: Path) -> Path:
    """y = x + w, where w is an input that has a value already."""
    weights = numpy_helper.from_array(np.ones(2, np.float32), "w")
    node = helper.make_node("Add", ["x", "w"], ["y"])
    return write(path, [node], [value("x", ["n", 2]), value("w", [2])], [value("y", ["n", 2])], [weights])


def control_flow(path: Path) -> Path:
    """y = 2 x or x x, as a scalar says."""
    both = [
        helper.make_graph([helper.make_node(name, ["x", "x"], [out])], name, [], [value(out, None)])
        for name, out in (("Add", "sum"), ("Mul", "product"))
    ]
    node = helper.make_node("If", ["which"], ["y"], then_branch=both[0], else_branch=both[1])
    inputs = [value("which", [], TensorProto.BOOL), value("x", ["batch", 2])]
    return write(path, [node], inputs, [value("y", ["batch", 2])])
