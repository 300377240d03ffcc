"""Models with awkward inputs and outputs in real child processes: measured, or refused in one line."""

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto

from profilers import Feeds, LaunchError, ModelError, OnnxRuntimeProfiler, ProfilerError, Protocol, Runtime
from tests.profilers import models

BRIEF = Protocol(min_calls=6, max_calls=10, min_time_s=0.001, precision_budget_s=0.01, warmup_budget_s=0.02)
PROFILER = OnnxRuntimeProfiler()


def fed(path: Path, batch: int = 1, **feeds) -> dict[str, list[int]]:
    """The shapes of a measurement's inputs."""
    measurement = PROFILER.measure(path, Runtime(batch=batch), protocol=BRIEF, feeds=Feeds(**feeds))
    assert measurement.launches
    return {entry["name"]: entry["shape"] for entry in measurement.inputs}


def refusal(path: Path, batch: int = 1, **feeds) -> str:
    """Why a model is not measured, without its path."""
    with pytest.raises(ProfilerError) as caught:
        PROFILER.measure(path, Runtime(batch=batch), protocol=BRIEF, feeds=Feeds(**feeds))
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "m.onnx"


def test_recurrent_state_has_the_batch_in_its_midst(path) -> None:
    assert fed(models.recurrent(path), 3, dims={"time": 5}) == {
        "h": [1, 3, 4],
        "c": [1, 3, 4],
        "x": [5, 3, 3],
    }


def test_recurrent_state_is_run_in_batches_as_in_one(path) -> None:
    generator = np.random.default_rng(0)
    shapes = {"h": (1, 5, 4), "c": (1, 5, 4), "x": (6, 5, 3)}
    inputs = {name: generator.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    whole, parts = (PROFILER.run(models.recurrent(path), Runtime(batch=n), inputs) for n in (5, 2))
    assert whole["y"].shape == (6, 1, 5, 4)
    for name, array in whole.items():
        np.testing.assert_allclose(parts[name], array, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("feeds", "past"),
    [
        ({}, 1),
        ({"dims": {"past_length": 0}}, 0),
        ({"dims": {"past_length": 7}}, 7),
        ({"shapes": {"past": [1, 7, 8]}}, 7),
        ({"arrays": {"mask": np.ones((5, 8), bool)}}, 7),
    ],
)
def test_a_mask_is_one_longer_than_the_past(path, feeds, past) -> None:
    shapes = {"ids": [2, 1], "mask": [2, past + 1], "past": [2, past, 8]}
    assert fed(models.decoder(path), 2, **feeds) == shapes


def test_arrays_that_disagree_on_the_past_are_refused(path) -> None:
    arrays = {"mask": np.ones((2, 8), bool), "past": np.ones((2, 9, 8), np.float32)}
    message = refusal(models.decoder(path), 2, arrays=arrays)
    assert "input 'mask': dimension 'past_length + 1' must be 10, got 8" in message


@pytest.mark.parametrize(
    ("kind", "to"),
    [
        (TensorProto.UINT16, None),
        (TensorProto.DOUBLE, None),
        (TensorProto.FLOAT16, None),
        (TensorProto.BFLOAT16, TensorProto.FLOAT),
        (TensorProto.FLOAT, TensorProto.BFLOAT16),
        (TensorProto.FLOAT8E4M3FN, TensorProto.FLOAT),
        (TensorProto.BOOL, None),
        (TensorProto.STRING, None),
    ],
)
@pytest.mark.parametrize("shape", [["batch", 3], ["batch", 0], []])
def test_tensors_of_all_types_are_made(path, kind, to, shape) -> None:
    models.identity(path, shape, kind, to=to, opset=19)
    assert list(fed(path)) == ["x"]


def test_text_and_numbers_in_columns_are_made_and_run(path) -> None:
    models.text_input(path)
    assert fed(path, 3) == {"color": [3, 1], "size": [3, 1]}
    inputs = {"color": np.array([["a"], ["word"], ["else"]]), "size": np.ones((3, 1), np.float32)}
    assert PROFILER.run(path, Runtime(batch=2), inputs)["y"].tolist() == [[1, 2], [2, 2], [-1, 2]]


def test_bfloat16_inputs_are_given_as_bits(path) -> None:
    models.identity(path, ["n"], TensorProto.BFLOAT16, to=TensorProto.FLOAT)
    outputs = PROFILER.run(path, Runtime(batch=2), {"x": np.array([0x3F80, 0x4000, 0xC000], np.uint16)})
    assert outputs["y"].tolist() == [1, 2, -2]


@pytest.mark.parametrize("kind", [TensorProto.BFLOAT16, TensorProto.FLOAT8E4M3FN])
def test_outputs_of_a_type_that_numpy_lacks_are_refused_rather_than_given_as_bits(path, kind) -> None:
    models.identity(path, ["n"], to=kind, opset=19)
    with pytest.raises(ModelError, match="output 'y' must be of a type that numpy has, got tensor"):
        PROFILER.run(path, Runtime(), {"x": np.ones(2, np.float32)})


@pytest.mark.parametrize("name", ["sequence length", "a.b", "unk__12", "s77", "seq-len", "class"])
def test_dimensions_with_names_of_all_kinds_are_given_sizes(path, name) -> None:
    assert fed(models.identity(path, ["batch", name]), 2, dims={name: 5}) == {"x": [2, 5]}


def test_a_dimension_without_a_size_is_told_with_the_failure_it_may_have_caused(path) -> None:
    message = refusal(models.convolution(path, ["N", 3, "H", "W"]))
    assert "with the symbolic dimensions 'H', 'W' taken as 1, for want of a size: " in message
    assert message.endswith("give sizes with dims (--dim NAME=SIZE), or shapes (--input NAME=SHAPE:DTYPE)")
    assert fed(path, 2, dims={"H": 8, "W": 9}) == {"x": [2, 3, 8, 9]}


def test_unnamed_dimensions_are_given_a_shape(path) -> None:
    assert "dimensions 'x[2]', 'x[3]' taken as 1" in refusal(models.convolution(path, [None, 3, None, None]))
    assert fed(path, 2, shapes={"x": [1, 3, 8, 9]}) == {"x": [2, 3, 8, 9]}


def test_inputs_that_were_made_are_told_with_the_failure_they_may_have_caused(path) -> None:
    message = refusal(models.decoder(path, vocabulary=1), dims={"past_length": 1})
    assert "with inputs that were made, 'ids' [1, 1], " in message
    assert message.endswith("give real ones (--npz FILE)")


def test_an_input_without_any_shape_is_told_from_a_scalar(path) -> None:
    assert "input 'x' has no shape in the model: give one" in refusal(models.identity(path, None))
    assert fed(path, 2, shapes={"x": [1, 3]}) == {"x": [2, 3]}
    assert PROFILER.run(path, Runtime(batch=2), {"x": np.ones((3, 2), np.float32)})["y"].shape == (3, 2)


def test_an_input_that_has_a_value_already_is_left_alone(path) -> None:
    assert fed(models.default_input(path), 2) == {"x": [2, 2]}


def test_a_model_without_inputs_is_a_row(path) -> None:
    assert fed(models.no_inputs(path)) == {}
    assert PROFILER.run(path, Runtime(), {})["y"].tolist() == [1, 1]
    assert "no input takes a batch of 4, got a model without inputs" in refusal(path, 4)


def test_a_scalar_that_steers_a_branch_is_made(path) -> None:
    assert fed(models.control_flow(path), 2) == {"which": [], "x": [2, 2]}


@pytest.mark.parametrize(
    ("model", "name", "kind"),
    [
        (models.sequence_input, "items", "seq(tensor(float))"),
        (models.optional_input, "maybe", "optional(tensor(float))"),
    ],
)
def test_inputs_that_are_no_tensors_are_refused_by_name(path, model, name, kind) -> None:
    expected = f"input {name!r} must be a tensor of numbers, booleans or text, got {kind}: export the model"
    assert expected in refusal(model(path))


@pytest.mark.parametrize("model", [models.sequence_output, models.probability_maps])
def test_outputs_that_are_no_tensors_are_timed_but_not_returned(path, model) -> None:
    assert fed(model(path), 2) == {"x": [2, 2]}
    with pytest.raises(ModelError, match="output 'y' must be a tensor, got list: export it as one"):
        PROFILER.run(path, Runtime(batch=2), {"x": np.ones((4, 2), np.float32)})


def test_an_output_whose_length_happens_to_be_the_batch_is_not_joined(path) -> None:
    models.mean_over_rows(path)
    with pytest.raises(ModelError, match="output 'y' must have one row for each input row"):
        PROFILER.run(path, Runtime(batch=2), {"x": np.ones((4, 2), np.float32)})


def test_nothing_is_made_where_outputs_count(path) -> None:
    with pytest.raises(ModelError, match=r"inputs must be \['color', 'size'\], got \['color'\]: outputs for"):
        PROFILER.run(models.text_input(path), Runtime(), {"color": np.array([["a"]])})


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (models.custom_operator, "my.own:Frobnicate"),
        (lambda path: models.identity(path, [1], opset=99), "Opset 99"),
    ],
)
def test_what_onnxruntime_does_not_know_is_told_with_its_version(path, write, message) -> None:
    refused = refusal(write(path))
    assert message in refused
    assert refused.endswith("cannot load it, export it again with an opset and operators that it has")


@pytest.mark.parametrize("content", [b"", b"plain text", b"<!DOCTYPE html>", b"PK\x03\x04" + bytes(100)])
def test_files_that_are_no_models_are_refused(path, content) -> None:
    path.write_bytes(content)
    assert "expected an ONNX" in refusal(path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_truncated_files_are_refused(path, share) -> None:
    content = models.chain(path, width=16).read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert "expected an ONNX" in refusal(path)


def test_external_data_that_is_cut_short_is_refused(path) -> None:
    models.with_external_data(path)
    path.with_name("weights.bin").write_bytes(b"short")
    assert "file_length: 5 are out of bounds" in refusal(path)


@pytest.mark.parametrize("batch", [10**12, 10**30])
def test_a_batch_that_no_memory_holds_is_refused_with_what_to_do(path, batch) -> None:
    assert "take a smaller batch, or give smaller dims" in refusal(models.chain(path), batch)


def test_memory_that_runs_out_in_the_model_is_not_called_its_fault(path) -> None:
    models.wide_middle(path, width=2**20)
    with pytest.raises(LaunchError, match="MemoryError: .*: take a smaller batch, or give smaller dims"):
        PROFILER.measure(path, Runtime(batch=2**20), protocol=BRIEF)
