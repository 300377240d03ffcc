"""Commands where a package is not installed: one line on what to install, exit status 2, and no verdict."""

import sys
from pathlib import Path

import pytest

from moo.cli._bundle_machine import ThisMachine
from profilers import MissingLibraryError, ModelFile, OnnxRuntimeProfiler
from tests.moo.test_bundle import Scripted as ScriptedMachine
from tests.moo.test_bundle import written
from tests.profilers import models


@pytest.fixture
def without(tmp_path, monkeypatch):
    """Keeps a package from being imported, here and in the processes that run models."""

    def keep_out(name: str) -> None:
        monkeypatch.setitem(sys.modules, name, None)
        folder = tmp_path / "site"
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(f"import sys\nsys.modules[{name!r}] = None\n")
        monkeypatch.setenv("PYTHONPATH", str(folder))

    return keep_out


@pytest.fixture
def model(tmp_path) -> Path:
    path = tmp_path / "m.onnx"
    models.chain(path, width=4)
    return path


ONNXRUNTIME = "onnxruntime is not installed here: install it with: pip install onnxruntime"


def test_a_model_is_not_measured_without_onnxruntime_and_the_line_says_why(moo, model, without) -> None:
    without("onnxruntime")
    done = moo("profile", str(model), "--mode", "quick")
    assert (done.status, done.err.count("\n")) == (2, 1)
    assert ONNXRUNTIME in done.err


def test_verify_without_onnxruntime_is_no_verdict_about_the_bundle(
    moo, tmp_path, without, monkeypatch
) -> None:
    """The whole command, with the bundle of a scripted machine: all but the run of the model is sound."""
    folder = written(tmp_path / "b")
    without("onnxruntime")
    monkeypatch.setattr(ThisMachine, "describe", lambda self, path: ScriptedMachine().describe(path))
    monkeypatch.setattr(
        OnnxRuntimeProfiler, "run", lambda *_: (_ for _ in ()).throw(MissingLibraryError("onnxruntime"))
    )
    done = moo("verify", str(folder), "--no-measure")
    assert (done.status, done.out) == (2, "")
    assert done.err == f"moo: error: {ONNXRUNTIME} (onnxruntime-gpu for a GPU)\n"


def test_models_are_not_read_without_onnx(moo, tmp_path, model, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingLibraryError, match="onnx is not installed here: .* pip install onnx"):
        ModelFile.read(model)
    done = moo("verify", str(written(tmp_path / "b")), "--no-measure")
    assert (done.status, done.out) == (2, "")
    assert "onnx is not installed here" in done.err


def test_a_package_that_cannot_be_imported_is_told_from_one_that_is_not_there() -> None:
    broken = MissingLibraryError("onnxruntime", "libc is too old")
    assert "onnxruntime cannot be imported here (libc is too old): install it with" in str(broken)


@pytest.mark.parametrize("package", ["pandas", "plotly"])
def test_a_package_that_every_command_may_need_is_one_line(moo, tmp_path, monkeypatch, package) -> None:
    def missing(*_words, **_options):
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)

    monkeypatch.setattr("moo.cli.report._results", missing)
    done = moo("report", "x.csv", "--out", str(tmp_path / "page"))
    assert (done.status, done.err.count("\n")) == (2, 1)
    assert f"{package} is not installed here" in done.err
