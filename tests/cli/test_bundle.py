"""`moo bundle` as a person types it: a real sweep, real ONNX Runtime; its script in a clean process."""

import hashlib
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import moo as package
from moo import bundle as bundles
from moo.confirmation import CONFIRMATION
from tests.cli.shipping import KINDS, number_of, record_of, sweep
from tests.profilers import models


def run_alone(folder: Path, code: str) -> str:
    """Run code in a process without this project and what it stands on, but numpy and onnxruntime."""
    blocked = ("moo", "profilers", "objectives", "reports", "onnx", "optuna", "torch", "pandas")
    guard = f"""
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ImportError(name)
sys.meta_path.insert(0, Blocked())
sys.path.insert(0, {str(folder)!r})
"""
    done = subprocess.run(
        [sys.executable, "-I", "-B", "-c", guard + textwrap.dedent(code)],
        cwd="/",
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def swept(tmp_path_factory) -> Path:
    """A folder with the script and a finished sweep in `out`."""
    return sweep(tmp_path_factory.mktemp("swept"))


@pytest.fixture
def bundled(moo, swept, tmp_path) -> Callable[[str], Path]:
    """Bundles the trial of a kind."""

    def make(kind: str) -> Path:
        folder = tmp_path / f"bundle-{kind}"
        if not folder.exists():
            words = ("bundle", str(swept / "out"), str(number_of(swept, kind)), "--out", str(folder))
            done = moo(*words)
            assert done.status == 0, done.err
        return folder

    return make


@pytest.mark.parametrize("kind", KINDS)
def test_the_script_of_a_bundle_runs_it_with_onnxruntime_and_numpy_alone(bundled, kind) -> None:
    out = run_alone(
        bundled(kind),
        """
        import numpy as np, serve
        session = serve.load()
        sample = np.load(serve.HERE / "sample_inputs.npz")
        expected = np.load(serve.HERE / "expected_outputs.npz")
        for call in range(len(sample[sample.files[0]])):
            got = serve.run(session, {name: sample[name][call] for name in sample.files})
            assert sorted(got) == sorted(expected.files)
            for name in got:
                np.testing.assert_allclose(got[name], expected[name][call], rtol=1e-5, atol=1e-5)
        options = session.get_session_options()
        print(options.intra_op_num_threads, session.get_providers()[0], len(sample[sample.files[0]]))
        """,
    )
    threads = 2 if kind == "batch8" else 1
    assert out.split() == [str(threads), "CPUExecutionProvider", "4"]


def test_the_script_tries_itself_on_the_sample(bundled) -> None:
    out = run_alone(
        bundled("plain"),
        "import runpy; runpy.run_path('FOLDER', run_name='__main__')".replace(
            "FOLDER", str(bundled("plain") / "serve.py")
        ),
    )
    assert out.splitlines()[0] == "call 1: y float32 (1, 16), close to what is expected: True"


@pytest.mark.parametrize("kind", KINDS)
def test_expected_outputs_are_those_of_the_artefact_in_plain_onnxruntime(bundled, swept, kind) -> None:
    folder = bundled(kind)
    model = folder / "model" / "model.onnx"
    session = onnxruntime.InferenceSession(model)
    sample = np.load(folder / "sample_inputs.npz")
    expected = np.load(folder / "expected_outputs.npz")
    batch = 8 if kind == "batch8" else 1
    for call in range(4):
        feeds = {name: np.asarray(sample[name][call]) for name in sample.files}
        assert {len(array) for array in feeds.values() if array.ndim} == {batch}
        feeds = {name: a.astype(object) if a.dtype.kind == "U" else a for name, a in feeds.items()}
        np.testing.assert_allclose(session.run(None, feeds)[0], expected["y"][call], rtol=1e-5, atol=1e-6)
    original = swept / "out" / "trials" / f"{number_of(swept, kind):05d}" / "model.onnx"
    assert model.read_bytes() == original.read_bytes()


def test_external_data_travel_with_the_model_and_every_file_is_hashed(bundled) -> None:
    folder = bundled("external")
    record = record_of(folder)
    assert record["model"]["data"] == ["model/weights.bin"]
    listed = {file["path"]: file for file in record["files"]}
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert set(listed) == there - {"bundle.json"}
    for path, file in listed.items():
        content = (folder / path).read_bytes()
        assert (file["sha256"], file["bytes"]) == (hashlib.sha256(content).hexdigest(), len(content))


def test_what_the_search_knows_is_promised_with_the_launches_it_rests_on(bundled, swept) -> None:
    record = record_of(bundled("int8"))
    trial = package.load_study(f"sqlite:///{swept}/out/study.db").results().trials[number_of(swept, "int8")]
    promised = {one["metric"]["name"]: one for one in record["promises"]}
    for name in ("accuracy", "latency_p50", "peak_memory", "file_size"):
        estimate = trial.estimate(name)
        ends = [promised[name][end] for end in ("value", "low", "high")]
        assert ends == [estimate.value, estimate.low, estimate.high]
    counts = {name: one["n_launches"] for name, one in promised.items()}
    assert counts["latency_p50"] == counts["peak_memory"] == 1
    assert counts["accuracy"] is counts["file_size"] is None
    assert {one["source"] for one in promised.values()} == {"search"}
    assert record["runtime"]["precision"] == "int8-dynamic"
    assert record["environment"]["fingerprint"] == trial.evaluation.environment
    assert record["environment"]["identity"]["logical_cores"] >= 1
    assert record["candidate"]["params"] == {"kind": "int8"}
    assert record["inputs"] == [{"name": "x", "dtype": "float32", "shape": ["batch", 16]}]


def test_a_task_gives_the_sample_from_its_validation_data(moo, swept, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(swept)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for kind in ("batch8", "words"):
        out = tmp_path / kind
        done = moo(
            "bundle", "out", str(number_of(swept, kind)), "--out", str(out), "--task", "ships.py:Ships"
        )
        assert done.status == 0, done.err
        assert record_of(out)["sample"]["source"] == "validation"
        assert "made up" not in (out / "README.md").read_text()
        found = np.load(out / "sample_inputs.npz")
        if kind == "batch8":  # 20 rows make two whole calls
            rows = np.random.default_rng(0).normal(size=(20, 16)).astype(np.float32)
            np.testing.assert_array_equal(found["x"], rows[:16].reshape(2, 8, 16))
        else:
            assert found["color"].tolist() == [[["a"]], [["word"]], [["a"]], [["word"]]]
        assert moo("verify", str(out), "--no-measure").status == 0


def test_the_confirmed_values_are_promised_and_the_card_says_which(moo, swept, tmp_path, monkeypatch) -> None:
    shutil.copytree(swept, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    assert moo("confirm", "out", "--launches-budget", "1", "--candidates", "3").status == 0
    study = package.load_study(f"sqlite:///{tmp_path}/out/study.db")
    entries = study.optuna_study.user_attrs[CONFIRMATION]["candidates"]
    entry = next(entry for entry in entries if entry["metrics"]["latency_p50"]["confirmed"])
    done = moo("bundle", "out", str(entry["trial"]), "--out", "b")
    assert done.status == 0, done.err
    record = record_of(tmp_path / "b")
    promised = {one["metric"]["name"]: one for one in record["promises"]}
    latency = promised["latency_p50"]
    assert latency["source"] == "confirmed"
    assert latency["n_launches"] == entry["n_launches"] >= 5
    assert latency["value"] == entry["metrics"]["latency_p50"]["confirmed"]["value"]
    assert promised["accuracy"]["source"] == promised["peak_memory"]["source"] == "search"
    assert record["confirmation"]["p_on_front"] == entry["confirmed"]["p_on_front"]
    card = (tmp_path / "b" / "README.md").read_text()
    assert "| confirmed | 5 |" in card
    assert f"P(on the front) {entry['confirmed']['p_on_front']:.2f}" in card


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("custom", "its runtime's option custom_ops_library=/opt/ops.so loads code"),
        ("torch", "is run by torch: a bundle is run by ONNX Runtime alone"),
        ("nothing", "kept no artefact"),
        ("fails", "is failed (RuntimeError: out of luck"),
    ],
)
def test_what_cannot_be_shipped_is_refused_with_the_reason(moo, swept, tmp_path, kind, said) -> None:
    done = moo("bundle", str(swept / "out"), str(number_of(swept, kind)), "--out", str(tmp_path / "b"))
    assert done.status == 2
    assert said in done.err
    assert done.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_missing_and_a_changed_artefact_are_refused(moo, swept, tmp_path) -> None:
    shutil.copytree(swept, tmp_path, dirs_exist_ok=True)
    number = number_of(tmp_path, "plain")
    model = tmp_path / "out" / "trials" / f"{number:05d}" / "model.onnx"
    words = ("bundle", str(tmp_path / "out"), str(number), "--out", str(tmp_path / "b"))
    models.chain(model, width=16, seed=1)
    assert "was changed since the search" in moo(*words).err
    model.write_bytes(b"no model")
    assert "expected an ONNX file" in moo(*words).err
    model.unlink()
    done = moo(*words)
    assert done.status == 2
    assert "is missing: there is no" in done.err
    assert not (tmp_path / "b").exists()


def test_external_data_outside_the_folder_are_refused(moo, swept, tmp_path) -> None:
    shutil.copytree(swept, tmp_path, dirs_exist_ok=True)
    number = number_of(tmp_path, "external")
    folder = tmp_path / "out" / "trials" / f"{number:05d}"
    shutil.copyfile(folder / "weights.bin", folder.parent / "weights.bin")
    models.point_external_data_to(folder / "model.onnx", "../weights.bin")
    done = moo("bundle", str(tmp_path / "out"), str(number), "--out", str(tmp_path / "b"))
    assert done.status == 2
    assert "is outside the model's folder" in done.err


@pytest.mark.parametrize("source", ["out", "out/study.db", "sqlite:///out/study.db"])
def test_the_study_is_a_folder_its_database_or_a_url(moo, swept, tmp_path, monkeypatch, source) -> None:
    shutil.copytree(swept, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    done = moo("bundle", source, str(number_of(tmp_path, "plain")), "--out", "b")
    assert done.status == 0, done.err
    assert bundles.read("b")[0].title == f"ships, trial {number_of(tmp_path, 'plain')}"
    pin = hashlib.sha256((tmp_path / "b" / "bundle.json").read_bytes()).hexdigest()
    assert f"moo verify b --sha256 {pin}" in done.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere", "0"], "STUDY: expected a sweep's folder, its study.db or a database URL"),
        ([".", "0"], "has no study.db"),
        (["sqlite:///nowhere.db", "0"], "there is no file nowhere.db"),
        (["out", "999"], "has no finished trial 999; its front: "),
        (["out", "0", "--study", "other"], "has no study 'other'; it holds: ships"),
        (["out", "0", "--task", "ships.py:nothing"], "has no 'nothing'"),
        (["out", "0", "--task", "ships.py:Other"], "was begun with task ships"),
        (["out", "0", "--time-limit", "0"], "--time-limit: expected seconds above 0, got 0"),
        (["out", "x"], "Invalid value for 'TRIAL'"),
    ],
)
def test_wrong_input_is_one_line_and_nothing_is_written(
    moo, swept, tmp_path, monkeypatch, words, said
) -> None:
    shutil.copytree(swept, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    done = moo("bundle", *words, "--out", "b")
    assert done.status == 2
    assert said in done.err
    assert done.err.count("\n") == 1
    assert not (tmp_path / "b").exists()


def test_a_place_that_is_taken_is_refused_before_anything_is_run(moo, swept, bundled) -> None:
    place = bundled("plain")
    words = ["bundle", str(swept / "out"), str(number_of(swept, "int8")), "--out", str(place)]
    assert "--overwrite it" in moo(*words).err
    assert "expected a new or empty folder" in moo(*words[:-1], str(swept)).err
    assert moo(*words, "--overwrite").status == 0
    assert record_of(place)["runtime"]["precision"] == "int8-dynamic"
