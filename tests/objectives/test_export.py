import contextlib

import numpy as np
import onnx
import pytest
import torch

import objectives._export as export
from moo.errors import ExportError
from profilers import ModelFile

ROWS = torch.ones(2, 3)


def test_large_weights_go_beside_the_file_and_count(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(export, "_INLINE_LIMIT_BYTES", 0)
    path = tmp_path / "model.onnx"
    export.export_onnx(torch.nn.Linear(3, 400).eval(), ROWS, path)
    assert path.with_name("model.onnx.data").exists()
    assert ModelFile.read(path).bytes == sum(file.stat().st_size for file in tmp_path.iterdir()) > 4800


def test_the_batch_dimension_is_symbolic(tmp_path) -> None:
    export.export_onnx(torch.nn.Linear(3, 2).eval(), ROWS, tmp_path / "model.onnx")
    shape = onnx.load(tmp_path / "model.onnx").graph.input[0].type.tensor_type.shape
    assert [d.dim_param or d.dim_value for d in shape.dim] == ["batch", 3]


@pytest.mark.parametrize(
    ("artefact", "framework", "said"),
    [
        ([np.zeros(2)], [np.zeros(2), np.zeros(2)], "has 1 outputs, the framework 2"),
        ([np.zeros((2, 1))], [np.zeros(2)], "gives shape"),
        ([np.array([1.0, np.nan])], [np.array([1.0, 1.0])], "not finite in different places"),
        ([np.array([[100.0, 1.2]])], [np.array([[100.0, 1.0]])], "differs from the framework by 0.002"),
        (
            [np.array([[1e4, 0], [0.2, 0.1]])],
            [np.array([[1e4, 0], [0.1, 0.2]])],
            "differs from the framework by 0.01",
        ),
        ([np.array([True, False])], [np.array([True, True])], "differs from the framework by 1"),
    ],
)
def test_outputs_that_differ_are_refused(artefact, framework, said) -> None:
    with pytest.raises(ExportError, match=said):
        export.check_same_outputs(artefact, framework, 1e-3)


@pytest.mark.parametrize(
    ("artefact", "framework"),
    [
        ([np.array([[100.0, 1.05]])], [np.array([[100.0, 1.0]])]),
        ([np.array([np.nan, 1.0])], [np.array([np.nan, 1.0])]),
        ([np.zeros(2)], [np.zeros(2)]),
        ([np.zeros((0, 2))], [np.zeros((0, 2))]),
    ],
)
def test_outputs_that_agree_pass(artefact, framework) -> None:
    assert export.check_same_outputs(artefact, framework, 1e-3) is None


def test_operators_are_parsed_once_and_the_files_are_the_same(tmp_path, monkeypatch) -> None:
    from onnxscript._framework_apis import torch_2_11 as asked

    calls = []
    original = asked.get_torchlib_ops
    monkeypatch.setattr(asked, "get_torchlib_ops", lambda: calls.append(1) or original())
    model, example = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.GELU()).eval(), torch.rand(2, 4)
    for name in "ab":
        export.export_onnx(model, example, tmp_path / name)
    assert calls == [1]
    monkeypatch.setattr(export, "operators_kept", contextlib.nullcontext)
    export.export_onnx(model, example, tmp_path / "c")
    assert calls == [1, 1]
    assert len({(tmp_path / name).read_bytes() for name in "abc"}) == 1
