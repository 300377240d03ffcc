import logging
import sys
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from moo.errors import ExportError, InputError
from objectives._compression import _conversion, _onnx_files
from objectives._compression._calibration import checked_rows, chosen_rows
from objectives._compression._compress import Compression, CompressionFacts, compress
from profilers import ModelFile

WEIGHTS = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
ROWS = np.random.default_rng(1).normal(size=(40, 6)).astype(np.float32)


def product(
    path: Path, *, rows="n", opset: int = 17, ir_version: int = 8, weights: np.ndarray = WEIGHTS
) -> Path:
    """A model of one matrix product, `y = x @ weights`."""
    kind = TensorProto.FLOAT16 if weights.dtype == np.float16 else TensorProto.FLOAT
    inputs = [helper.make_tensor_value_info("x", kind, [rows, len(weights)])]
    if ir_version < 4:  # constants are declared as inputs too
        inputs.append(helper.make_tensor_value_info("w", kind, weights.shape))
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "product",
        inputs,
        [helper.make_tensor_value_info("y", kind, [rows, weights.shape[1]])],
        [numpy_helper.from_array(weights, "w")],
    )
    opsets = [helper.make_opsetid("", opset)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=ir_version), path)
    return path


def run(path: Path, **feeds: np.ndarray) -> list[np.ndarray]:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, feeds)


@pytest.fixture
def source(tmp_path) -> Path:
    return product(tmp_path / "source.onnx")


@pytest.fixture
def target(tmp_path) -> Path:
    return tmp_path / "target.onnx"


# the text


@st.composite
def compressions(draw) -> Compression:
    precision = draw(st.sampled_from(["fp32", "fp16", "bf16", "int8-dynamic", "int8-static"]))
    types = st.lists(st.sampled_from(["Softmax", "Add", "Gather"]), max_size=3).map(tuple)
    given: dict = {}
    if precision != "fp32":
        given["exclude"] = draw(types)
    if precision.startswith("int8"):
        given["per_channel"] = draw(st.booleans())
        given["reduce_range"] = draw(st.sampled_from([None, True, False]))
    if precision == "int8-static":
        given["calibration"] = draw(st.sampled_from(["minmax", "entropy", "percentile"]))
        if given["calibration"] == "percentile":
            given["percentile"] = draw(st.floats(50, 100, exclude_min=True))
        given["activations"] = draw(st.sampled_from(["quint8", "qint8"]))
        given["rows"], given["batch"] = draw(st.integers(1, 10**6)), draw(st.integers(1, 10**6))
    return Compression(precision=precision, **given)


@given(compressions())
def test_a_record_is_read_back_from_its_text(compression) -> None:
    text = str(compression)
    assert Compression.parse(text) == compression
    assert not set(text) & set(" ,()[]'\"")


def test_options_may_come_in_any_order_and_defaults_are_not_printed() -> None:
    text = "int8-static:quint8:rows=256:minmax:exclude=Softmax+Add:per-channel"
    assert str(Compression.parse(text)) == "int8-static:per-channel:exclude=Add+Softmax"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("int4", "precision: expected one of fp32, fp16, bf16, int8-dynamic, int8-static, got 'int4'"),
        ("", "precision: expected one of"),
        ("int8-static:per_channel", "knows no option 'per_channel': did you mean per-channel?"),
        ("int8-static:rows=many", "rows=many: expected a number"),
        ("int8-static:rows=0", "rows: expected a whole number of at least 1, got 0"),
        ("int8-static:batch=-1", "batch: expected a whole number"),
        ("int8-static:percentile=120", "percentile: expected more than 50 and at most 100, got 120.0"),
        ("int8-static:percentile=nan", "percentile: expected more than 50"),
        ("int8-static:entropy:percentile", "says calibration twice"),
        ("int8-static:exclude=", "exclude: expected names of operator types"),
        (
            "int8-dynamic:entropy",
            "int8-dynamic: has no option calibration: leave it out, or choose int8-static",
        ),
        ("fp16:per-channel", "fp16: has no option per_channel"),
        ("fp32:exclude=Add", "fp32: has no option exclude"),
    ],
)
def test_a_text_that_means_nothing_is_refused_in_one_line(text, said) -> None:
    with pytest.raises(InputError) as caught:
        Compression.parse(text)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"calibration": "kl"}, "calibration: expected one of minmax, entropy, percentile, got 'kl'"),
        ({"activations": "int8"}, "activations: expected one of quint8, qint8"),
        ({"exclude": "Softmax"}, "exclude: expected names"),
        ({"rows": True}, "rows: expected a whole number"),
        ({"percentile": 99.0}, "means nothing with calibration minmax"),
    ],
)
def test_a_record_that_means_nothing_is_refused(given, said) -> None:
    with pytest.raises(InputError, match=said):
        Compression(precision="int8-static", **given)


# seven bits or eight


@pytest.mark.parametrize(
    ("text", "sets", "machine", "expected"),
    [
        ("int8-static", ["avx2"], "x86_64", (True, "the processor has no VNNI")),
        ("int8-dynamic", ["avx2", "avx512_vnni"], "x86_64", (False, "the processor has avx512_vnni")),
        ("int8-static", ["avx2", "avx_vnni"], "AMD64", (False, "the processor has avx_vnni")),
        ("int8-static", None, "x86_64", (True, "the processor's instruction sets are unknown")),
        ("int8-static", ["asimd"], "aarch64", (False, "aarch64 is no x86")),
        ("int8-static:full-range", ["avx2"], "x86_64", (False, "as asked")),
        ("int8-static:reduce-range", ["avx512_vnni"], "x86_64", (True, "as asked")),
        ("fp16", ["avx2"], "x86_64", (None, None)),
    ],
)
def test_weights_have_seven_bits_where_the_processor_has_no_vnni(text, sets, machine, expected) -> None:
    assert _conversion.reduced_range(Compression.parse(text), sets, machine) == expected


@pytest.mark.parametrize(("text", "largest"), [("full-range", 127), ("reduce-range", 64)])
@pytest.mark.parametrize("precision", ["int8-static", "int8-dynamic"])
def test_the_bits_of_the_weights_are_those_asked_for(source, target, precision, text, largest) -> None:
    facts = compress(source, target, Compression.parse(f"{precision}:{text}"), {"x": ROWS})
    weights = [
        numpy_helper.to_array(t)
        for t in onnx.load(target).graph.initializer
        if t.data_type == TensorProto.INT8
    ]
    assert abs(max((w for w in weights if w.shape == WEIGHTS.shape), key=np.size)).max() == largest
    assert facts.reduce_range is (text == "reduce-range")


# against arithmetic by hand


def test_a_static_product_is_the_one_rounded_by_hand(source, target) -> None:
    facts = compress(source, target, Compression.parse("int8-static"), {"x": ROWS})
    most = 64 if facts.reduce_range else 127  # as the processor allows
    y = ROWS @ WEIGHTS

    def rounded(array: np.ndarray, low: float, high: float) -> np.ndarray:
        """To 256 levels from low to high, one of which is zero."""
        scale = (max(high, 0) - min(low, 0)) / 255
        zero = np.rint(-min(low, 0) / scale)
        return (np.clip(np.rint(array / scale) + zero, 0, 255) - zero) * scale

    weight_scale = np.abs(WEIGHTS).max() / most
    weights = np.clip(np.rint(WEIGHTS / weight_scale), -most, most) * weight_scale
    expected = rounded(rounded(ROWS, ROWS.min(), ROWS.max()) @ weights, y.min(), y.max())
    step = (y.max() - y.min()) / 255
    (got,) = run(target, x=ROWS)
    assert np.abs(got - expected).max() < 2.01 * step
    assert np.mean(np.abs(got - expected) < step / 2) > 0.75
    assert np.abs(got - y).max() > step / 4  # rounded it was


def test_rounding_by_channel_is_finer_where_channels_differ(tmp_path, target) -> None:
    uneven = WEIGHTS * np.float32([1, 1, 1, 1e-3])
    source = product(tmp_path / "uneven.onnx", weights=uneven)
    errors = []
    for text in ("int8-dynamic", "int8-dynamic:per-channel"):
        compress(source, target, Compression.parse(text))
        errors.append(np.abs(run(target, x=ROWS)[0] - ROWS @ uneven)[:, 3].max())
    assert errors[1] < errors[0] / 10


def test_an_outlier_widens_the_range_of_minmax_alone(source, target) -> None:
    rows = np.concatenate([np.tile(ROWS, (50, 1)), np.full((1, 6), 300, np.float32)])
    errors = {}
    for text in ("minmax", "percentile=99.9", "entropy"):
        compression = Compression.parse(f"int8-static:{text}:rows=5000:batch=200")
        compress(source, target, compression, {"x": rows})
        errors[text] = np.abs(run(target, x=ROWS)[0] - ROWS @ WEIGHTS).mean()
    assert errors["percentile=99.9"] < errors["minmax"] / 10
    assert errors["entropy"] < 0.8 * errors["minmax"]


@pytest.mark.parametrize("text", ["minmax", "percentile=99", "entropy"])
def test_ranges_do_not_depend_on_how_many_rows_run_at_a_time(source, target, text) -> None:
    files = []
    for batch in (7, 40):
        compress(source, target, Compression.parse(f"int8-static:{text}:batch={batch}"), {"x": ROWS})
        files.append(target.read_bytes())
    assert files[0] == files[1]


def test_half_precision_keeps_the_types_of_inputs_and_outputs(source, target) -> None:
    facts = compress(source, target, Compression.parse("fp16"))
    (got,) = run(target, x=ROWS)
    exact = ROWS.astype(np.float16).astype(np.float64) @ WEIGHTS.astype(np.float16).astype(np.float64)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, exact, rtol=2e-3, atol=2e-3)
    assert facts.reduced == {"MatMul": 1}
    assert not facts.integer_kernels


# what stays the same


@pytest.mark.parametrize("text", ["fp32", "fp16", "int8-dynamic", "int8-static", "int8-static:per-channel"])
def test_inputs_outputs_and_the_batch_dimension_stay(source, target, text) -> None:
    before = source.read_bytes()
    facts = compress(source, target, Compression.parse(text), {"x": ROWS})
    old, new = onnx.load(source).graph, onnx.load(target).graph
    assert (list(new.input), list(new.output)) == (list(old.input), list(old.output))
    assert [run(target, x=ROWS[:n])[0].shape for n in (1, 7)] == [(1, 4), (7, 4)]
    assert source.read_bytes() == before
    assert sorted(p.name for p in target.parent.iterdir()) == ["source.onnx", "target.onnx"]
    assert (facts.bytes_before, facts.bytes_after) == (len(before), target.stat().st_size)
    onnx.checker.check_model(str(target))


def test_a_copy_is_the_same_file(source, target) -> None:
    facts = compress(source, target, Compression())
    assert target.read_bytes() == source.read_bytes()
    assert facts.tags == ()
    assert facts.nodes == {"MatMul": 1}


@pytest.mark.parametrize("text", ["fp32", "fp16", "int8-dynamic", "int8-static"])
def test_external_data_goes_with_the_model_and_counts(source, tmp_path, monkeypatch, text) -> None:
    monkeypatch.setattr(_onnx_files, "_INLINE_LIMIT_BYTES", 0)
    large = tmp_path / "large"
    large.mkdir()
    onnx.save_model(
        onnx.load(source), large / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0
    )
    target = tmp_path / "out" / "small.onnx"
    target.parent.mkdir()
    facts = compress(large / "m.onnx", target, Compression.parse(text), {"x": ROWS})
    assert sorted(p.name for p in target.parent.iterdir()) == ["small.onnx", "small.onnx.data"]
    assert facts.bytes_after == ModelFile.read(target).bytes
    assert facts.bytes_before == sum(p.stat().st_size for p in large.iterdir())
    assert np.abs(run(target, x=ROWS)[0] - ROWS @ WEIGHTS).max() < 0.1


def test_nothing_is_said_and_nothing_is_left_behind(source, target, capfd, caplog) -> None:
    root = logging.getLogger()
    state = root.handlers.copy(), root.filters.copy(), sys.path.copy(), logging.getLogger("onnxruntime").level
    with warnings.catch_warnings(record=True) as warned:
        for text in ("fp16", "int8-dynamic", "int8-static:entropy", "int8-static:percentile"):
            compress(source, target, Compression.parse(text), {"x": ROWS})
    assert capfd.readouterr() == ("", "")
    assert not warned
    assert not caplog.records
    now = root.handlers.copy(), root.filters.copy(), sys.path.copy(), logging.getLogger("onnxruntime").level
    assert now == state


def test_a_target_that_fails_leaves_the_old_one_and_no_folder(source, target, monkeypatch) -> None:
    target.write_bytes(b"old")

    def broken(*arguments, **options):
        raise ExportError("no")

    monkeypatch.setattr(_conversion, "check_same_signature", broken)
    for text in ("fp32", "int8-dynamic"):
        with pytest.raises(ExportError):
            compress(source, target, Compression.parse(text))
    assert target.read_bytes() == b"old"
    assert sorted(p.name for p in target.parent.iterdir()) == ["source.onnx", "target.onnx"]


def test_a_new_model_takes_the_data_of_the_old_one_away(source, target) -> None:
    target.write_bytes(b"old")
    target.with_name("target.onnx.data").write_bytes(b"old weights")
    compress(source, target, Compression.parse("fp16"))
    assert sorted(p.name for p in target.parent.iterdir()) == ["source.onnx", "target.onnx"]


# what comes out wrong


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda model: model.graph.output[0].__setattr__("name", "z"), "cannot load|has the outputs"),
        (lambda model: model.graph.input[0].__setattr__("name", "z"), "cannot load|has the inputs"),
        (lambda model: model.graph.node[0].__setattr__("op_type", "NoSuch"), "cannot load"),
    ],
)
def test_a_result_that_does_not_load_or_is_signed_otherwise_is_refused(source, target, change, said) -> None:
    session = _onnx_files.open_session(source, 1)
    model = onnx.load(source)
    change(model)
    onnx.save(model, target)
    with pytest.raises(ExportError, match=said):
        _onnx_files.check_same_signature(session, target, None, 1)


def test_a_result_of_another_shape_is_refused(source, target) -> None:
    session = _onnx_files.open_session(source, 1)
    model = onnx.load(product(target, weights=np.ones((6, 3), np.float32)))
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_param = "k"
    onnx.save(model, target)
    with pytest.raises(ExportError, match=r"output 'y': the converted model gives shape \(2, 3\)"):
        _onnx_files.check_same_signature(session, target, None, 1)


# input that is wrong


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (None, "needs rows of training data by input name, got none"),
        ({}, "has no rows for the model's input 'x'"),
        ({"x": ROWS, "z": ROWS}, "the model has no input 'z'"),
        ({"x": ROWS.astype(np.float64)}, "input 'x': expected float32, got float64: convert it"),
        ({"x": ROWS[:, :5]}, r"input 'x': expected shape \(rows, 6\), got \(40, 5\)"),
        ({"x": ROWS[0]}, r"input 'x': expected shape \(rows, 6\), got \(6,\)"),
        ({"x": ROWS[:0]}, "input 'x': expected at least one row, got none"),
        ({"x": np.where(ROWS > 2, np.nan, ROWS)}, r"expected finite numbers, got \d+ of 240 that are not"),
        ({"x": np.where(ROWS > 2, -np.inf, ROWS)}, "expected finite numbers"),
    ],
)
def test_unusable_calibration_rows_are_refused_in_one_line(source, target, rows, said) -> None:
    with pytest.raises(InputError, match=said) as caught:
        compress(source, target, Compression.parse("int8-static"), rows)
    assert "\n" not in str(caught.value)
    assert not target.exists()


def test_inputs_must_have_as_many_rows(tmp_path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Add", ["a", "b"], ["y"])],
        "sum",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 2]) for name in "ab"],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])],
    )
    path = tmp_path / "sum.onnx"
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    rows = {"a": np.ones((3, 2), np.float32), "b": np.ones((4, 2), np.float32)}
    with pytest.raises(InputError, match="as many rows for each input, got a 3, b 4"):
        checked_rows(_onnx_files.open_session(path, 1), rows)


def test_rows_are_chosen_by_the_seed_and_no_more_than_asked_for(source) -> None:
    session = _onnx_files.open_session(source, 1)
    compression = Compression.parse("int8-static:rows=9:batch=4")
    chosen = [chosen_rows({"x": ROWS}, session, compression, seed) for seed in (1, 1, 2)]
    arrays = [rows["x"] for rows, _ in chosen]
    assert [len(array) for array in arrays] == [9, 9, 9]
    assert len(np.unique(arrays[0], axis=0)) == 9
    np.testing.assert_array_equal(arrays[0], arrays[1])
    assert not np.array_equal(arrays[0], arrays[2])
    assert chosen[0][1] == 4


@pytest.mark.parametrize(("n_rows", "n_used"), [(40, 40), (15, 8), (8, 8)])
def test_a_fixed_batch_size_is_kept_to(tmp_path, target, n_rows, n_used) -> None:
    source = product(tmp_path / "fixed.onnx", rows=8)
    facts = compress(source, target, Compression.parse("int8-static"), {"x": ROWS[:n_rows]})
    assert facts.calibration_rows == n_used
    assert facts.checked_rows == 8


def test_fewer_rows_than_a_fixed_batch_are_refused(tmp_path, target) -> None:
    source = product(tmp_path / "fixed.onnx", rows=8)
    with pytest.raises(InputError, match="the model takes 8 rows a call, got 7 in all"):
        compress(source, target, Compression.parse("int8-static"), {"x": ROWS[:7]})


def test_paths_that_cannot_be_used_are_refused(source, tmp_path) -> None:
    fp16 = Compression.parse("fp16")
    for path, said in [
        (source, "another file than the source"),
        (tmp_path / "no" / "m.onnx", "is no folder"),
        (tmp_path, "expected the path of a file"),
    ]:
        with pytest.raises(InputError, match=said):
            compress(source, path, fp16)
    with pytest.raises(InputError, match="cannot be read"):
        compress(tmp_path / "none.onnx", tmp_path / "m.onnx", fp16)
    (tmp_path / "text.onnx").write_text("hello")
    with pytest.raises(InputError, match="source: model .* expected"):
        compress(tmp_path / "text.onnx", tmp_path / "m.onnx", fp16)


def test_a_target_that_would_take_the_sources_weights_away_is_refused(source, tmp_path) -> None:
    moved = tmp_path / "moved.onnx"
    onnx.save_model(
        onnx.load(source), moved, save_as_external_data=True, location="m.onnx.data", size_threshold=0
    )
    with pytest.raises(InputError, match=r"m\.onnx\.data holds the source's weights"):
        compress(moved, tmp_path / "m.onnx", Compression.parse("fp16"))
    assert run(moved, x=ROWS)[0].shape == (40, 4)


def test_an_operator_type_that_nobody_knows_is_refused(source, target) -> None:
    with pytest.raises(InputError, match="knows no operator type 'Sotfmax': did you mean Softmax"):
        compress(source, target, Compression.parse("fp16:exclude=Sotfmax"))


def test_bfloat16_is_refused_on_the_cpu_which_has_no_kernels_for_it(source, target) -> None:
    with pytest.raises(InputError, match="no bfloat16 kernels"):
        compress(source, target, Compression.parse("bf16"))
    model = onnx.load(source)
    halves = helper.make_tensor("w", TensorProto.BFLOAT16, WEIGHTS.shape, WEIGHTS.ravel().tolist())
    model.graph.initializer[0].CopyFrom(halves)
    for item in (*model.graph.input, *model.graph.output):
        item.type.tensor_type.elem_type = TensorProto.BFLOAT16
    onnx.save(model, target)
    with pytest.raises(ExportError, match="Could not find an implementation for MatMul"):
        _onnx_files.open_session(target, 1)  # the day it loads, the refusal can go


@pytest.mark.parametrize("text", ["fp16", "int8-dynamic", "int8-static"])
def test_a_model_converted_before_is_refused(source, tmp_path, target, text) -> None:
    half = product(tmp_path / "half.onnx", weights=WEIGHTS.astype(np.float16))
    with pytest.raises(ExportError, match="holds float16 already"):
        compress(half, target, Compression.parse(text), {"x": ROWS})
    for before, said in [("int8-static", "DequantizeLinear 3"), ("int8-dynamic", "MatMulInteger 1")]:
        integers = tmp_path / "integers.onnx"
        compress(source, integers, Compression.parse(before), {"x": ROWS})
        with pytest.raises(ExportError, match=f"is quantised already .*{said}"):
            compress(integers, target, Compression.parse(text), {"x": ROWS})


def test_a_model_converted_before_is_copied(source, tmp_path, target) -> None:
    integers = tmp_path / "integers.onnx"
    compress(source, integers, Compression.parse("int8-static"), {"x": ROWS})
    compress(integers, target, Compression())
    assert target.read_bytes() == integers.read_bytes()


@pytest.mark.parametrize("text", ["int8-dynamic", "int8-static:per-channel", "fp16"])
@pytest.mark.parametrize(("opset", "ir_version"), [(7, 3), (9, 3), (12, 7)])
def test_an_old_opset_is_converted_for_integers_and_said(tmp_path, target, opset, ir_version, text) -> None:
    source = product(tmp_path / "old.onnx", opset=opset, ir_version=ir_version)
    facts = compress(source, target, Compression.parse(text), {"x": ROWS})
    assert (facts.opset_before, facts.opset_after) == (opset, opset if text == "fp16" else 13)
    assert np.abs(run(target, x=ROWS)[0] - ROWS @ WEIGHTS).max() < 0.1


def test_an_old_opset_that_cannot_be_converted_is_refused(tmp_path, target) -> None:
    model = onnx.load(product(tmp_path / "old.onnx", opset=8))
    model.graph.node[0].op_type, model.graph.node[0].domain = "NoSuch", ""
    onnx.save(model, tmp_path / "old.onnx")
    with pytest.raises(ExportError, match="cannot load|export it again with a later opset"):
        compress(tmp_path / "old.onnx", target, Compression.parse("int8-dynamic"))


# the facts


def test_facts_are_plain_json_and_a_line() -> None:
    facts = CompressionFacts(
        compression="int8-static",
        bytes_before=9,
        bytes_after=9,
        opset_before=18,
        opset_after=18,
        nodes={"TreeEnsemble": 7},
        failed_steps=("shape inference: no",),
    )
    assert facts.summary() == "int8-static: 0 of 7 nodes, left as they were: TreeEnsemble 7; 9 -> 9 bytes"
    plain = facts.to_json()
    assert plain["tags"] == ["not_prepared", "nothing_reduced"]
    assert plain["nodes"] == {"TreeEnsemble": 7}
    assert plain["failed_steps"] == ["shape inference: no"]
