import contextlib

import numpy as np
import onnx
import pytest
import torch
from torch.nn.utils import prune

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


class TwoLayers(torch.nn.Module):
    """With a buffer, a tied weight, a norm that starts as it ends, and a factor that is no weight."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.first, self.second, self.norm = (
            torch.nn.Linear(4, 4),
            torch.nn.Linear(4, 4),
            torch.nn.BatchNorm1d(4),
        )
        self.second.weight = self.first.weight
        self.register_buffer("shift", torch.rand(4), persistent=False)
        self.factor = 1.0

    def forward(self, rows):
        return self.norm(self.second(torch.relu(self.first(rows)))) * self.factor + self.shift


def shaken(model: torch.nn.Module) -> torch.nn.Module:
    with torch.no_grad():
        for tensor in [*model.parameters(), *model.buffers()]:
            tensor.add_(torch.rand_like(tensor) if tensor.is_floating_point() else 1)
    return model.eval()


def test_a_reused_translation_is_written_as_a_new_one_would_be(tmp_path) -> None:
    exporter = export.Exporter(torch.rand(2, 4))
    model = TwoLayers(0).eval()
    assert not exporter.write(model, tmp_path / "untrained")
    assert exporter.write(shaken(model), tmp_path / "reused")
    export.export_onnx(model, torch.rand(2, 4), tmp_path / "anew")
    assert (tmp_path / "reused").read_bytes() == (tmp_path / "anew").read_bytes()
    assert (tmp_path / "reused").read_bytes() != (tmp_path / "untrained").read_bytes()


def pruned(model: TwoLayers) -> None:
    prune.l1_unstructured(model.first, "weight", amount=0.5)


def replaced(model: TwoLayers) -> None:
    model.second = torch.nn.Sequential(model.second, torch.nn.ReLU())


@pytest.mark.parametrize("change", [pruned, replaced, torch.nn.Module.double], ids=lambda f: f.__name__)
def test_a_model_of_other_parts_is_translated_anew(change, tmp_path) -> None:
    exporter = export.Exporter(torch.rand(2, 4))
    model = TwoLayers(0).eval()
    exporter.write(model, tmp_path / "untrained")
    change(model)
    if change is torch.nn.Module.double:
        exporter._example = exporter._example.double()
    assert not exporter.write(model, tmp_path / "changed")
