"""Files that a stranger edited or made: an answer, or one line and exit status 2; never a traceback.

Each test is an attack that was tried by hand on the command line first.
"""

import io
import json
import math
import os
import sqlite3
import zipfile
from pathlib import Path

import numpy as np
import onnx
import optuna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from rich.table import Table

import moo
from moo.bundle import Tensor
from moo.cli import main
from moo.cli._bundle_model import made_calls
from moo.cli._confirm_plan import refuse_code
from moo.cli._summary import output_console
from moo.confirmation import Measured, assess
from moo.decision import recommend
from moo.errors import InputError, MeasureError, StorageError
from moo.evaluation import Artefact, Estimate, Evaluation
from moo.foreign import foreign_results
from moo.metrics import BUILT_IN
from moo.problem import Problem
from moo.storage import claim_folder
from objectives import FunctionTask
from objectives._confirm import retrained_evaluation
from profilers import (
    DocumentError,
    FakeProfiler,
    ModelError,
    ModelFile,
    Protocol,
    Runtime,
    load_measurements,
    save_measurements,
)
from tests.faults.hostile import VALUES, edited, places

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
MOST = 2100  # signs in a line that is told


class Evil:
    """Leaves a mark where it is unpickled."""

    def __reduce__(self):
        return (Path.touch, (Path("unpickled"),))


def refused(capsys, *words: str | Path) -> str:
    """Run a command that is to be refused, and return the line."""
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in words])
    written = capsys.readouterr()
    assert left.value.code == 2, written
    assert written.err.startswith("moo: ")
    assert written.err.count("\n") == 1
    assert written.err[:-1].isprintable()
    assert len(written.err) < MOST
    return written.err


# documents of moo profile


@pytest.fixture(scope="module")
def document(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("document") / "p.json"
    protocol = Protocol(launches=2)
    save_measurements(path, [FakeProfiler().measure("m.onnx", Runtime(), protocol=protocol)])
    return path


@QUICK
@given(data=st.data())
def test_a_document_with_anything_anywhere_is_compared_or_refused(document, data, capsys) -> None:
    whole = json.loads(document.read_text())
    at = data.draw(st.sampled_from([at for at in places(whole) if at]))
    changed = edited(whole, at, data.draw(st.sampled_from(VALUES)))
    other = document.with_name("other.json")
    other.write_text(json.dumps(changed))
    with pytest.raises(SystemExit) as left:
        main(["compare", str(document), str(other)])
    written = capsys.readouterr()
    assert left.value.code in (None, 0, 2)
    assert "\x1b" not in written.out + written.err
    (written.out + written.err).encode()
    if left.value.code == 2:
        assert written.err.count("\n") == 1
        assert len(written.err) < MOST


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[" * 200_000, "maximum recursion"),
        (b'{"schema":"moo.profile/1","measurements":' + b"[" * 50_000, "maximum recursion"),
        (b'{"schema":"moo.profile/1","schema":"moo.profile/1"}', "the key 'schema' twice"),
        (b'{"schema":"moo.profile/1","measurements":NaN}', "the number NaN"),
        (b'{"schema":"moo.profile/1","bytes":' + b"9" * 10_000 + b"}", "Exceeds the limit"),
        (b'{"schema":"\\ud800"}', "surrogates not allowed"),
        (b'{"schema":"\xff\xfe"}', "expected JSON in UTF-8"),
        ('{"schema":"moo.profile/1"}'.encode("utf-16"), "expected JSON in UTF-8"),
        (b'{"schema":"' + b"a" * 10**7 + b'"}', "expected schema 'moo.profile/1', got 'aaa"),
        (b"a" * 10**7, "expected JSON, got something else"),
        (bytes(1000), "expected JSON, got something else"),
        (b'{"__proto__":{"schema":"moo.profile/1"}}', "expected schema 'moo.profile/1', got None"),
    ],
    ids=range(12),
)
def test_bytes_that_are_no_document_are_one_line(tmp_path, content, said) -> None:
    (tmp_path / "p.json").write_bytes(content)
    with pytest.raises(DocumentError) as caught:
        load_measurements(tmp_path / "p.json")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < MOST


def test_a_document_saved_by_an_editor_that_marks_utf_8_is_read(document) -> None:
    marked = document.with_name("marked.json")
    marked.write_bytes(b"\xef\xbb\xbf" + document.read_bytes())
    assert len(load_measurements(marked)) == 1


def strange(path: Path, what: str) -> Path:
    """Make something that is no file, or that never ends, at a path."""
    if what == "pipe":
        os.mkfifo(path)
    elif what == "device":
        path.symlink_to("/dev/zero")
    elif what == "circle":
        path.symlink_to(path.name)
    elif what == "folder":
        path.mkdir()
    else:
        with path.open("wb") as file:
            file.truncate(3 * 2**30)  # it takes no room
    return path


STRANGE = ("pipe", "device", "circle", "folder", "3 GB")


@pytest.mark.parametrize("what", STRANGE)
def test_a_document_that_is_no_file_or_never_ends_is_refused_unread(tmp_path, document, what, capsys) -> None:
    path = strange(tmp_path / "p.json", what)
    refused(capsys, "compare", document, path)
    refused(capsys, "profile", "m.onnx", "--json", path)
    refused(capsys, "profile", "m.onnx", "--npz", path)


def unfolding(n_mebibytes: int) -> bytes:
    """Return an archive whose arrays are of zeros, and large."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        header = io.BytesIO()
        shape = (n_mebibytes * 2**17,)
        np.lib.format.write_array_header_1_0(header, {"descr": "<i8", "fortran_order": False, "shape": shape})
        with archive.open("latency_ns_0.npy", "w") as file:
            file.write(header.getvalue())
            for _ in range(min(n_mebibytes, 64)):
                file.write(bytes(2**20))
    return content.getvalue()


def saved(**arrays: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.savez(content, **arrays)
    return content.getvalue()


def slipping() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("../../slipped.npy", b"x")
        archive.writestr("/slipped.npy", b"x")
    return content.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        saved(latency_ns_0=np.array([Evil()], dtype=object)),
        saved(latency_ns_0=np.array([np.nan, 1e308])),
        saved(latency_ns_0=np.array([1j])),
        saved(latency_ns_0=np.array(["a"])),
        saved(latency_ns_0=np.array(3)),
        unfolding(64),
        unfolding(8 * 2**20),
        slipping(),
    ],
    ids=["pickle", "floats", "complex", "text", "scalar", "bomb", "8 TB", "slip"],
)
def test_samples_run_nothing_unfold_nothing_and_leave_their_folder_alone(
    tmp_path, monkeypatch, content
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "in" / "p.json"
    path.parent.mkdir()
    save_measurements(path, [FakeProfiler().measure("m.onnx", Runtime(), protocol=Protocol(launches=1))])
    (file,) = path.parent.rglob("*.npz")
    file.write_bytes(content)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DocumentError) as caught:
        load_measurements(path)
    assert "\n" not in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before
    assert not Path("/slipped.npy").exists()


@pytest.mark.parametrize("what", STRANGE)
def test_samples_that_are_no_file_or_never_end_are_refused_unread(tmp_path, what) -> None:
    path = tmp_path / "p.json"
    save_measurements(path, [FakeProfiler().measure("m.onnx", Runtime(), protocol=Protocol(launches=1))])
    (file,) = tmp_path.rglob("*.npz")
    file.unlink()
    strange(file, what)
    with pytest.raises(DocumentError, match="cannot be read|outside its folder"):
        load_measurements(path)


# the database of a study


def measured(trial: optuna.Trial) -> Evaluation:
    width = trial.suggest_int("width", 1, 9)
    return Evaluation(
        metrics={
            "accuracy": Estimate(width / 10, width / 11, width / 9.5),
            "latency_p50": Estimate(width * 1e-3, reason=None),
        },
        tags=("single_launch",),
        artefact=Artefact(path="trials/00000/model.onnx", sha256="0" * 64, bytes=3),
        runtime={"provider": "cpu", "batch": 1, "options": {}},
        files={"correct": "trials/00000/correct.npz"},
        curve=((1, {"accuracy": 0.5}),),
        seconds={"fit": 0.5},
    )


def entry(number: int) -> dict:
    estimate = {"value": 0.5, "low": 0.4, "high": 0.6}
    return {
        "trial": number,
        "role": "front",
        "is_baseline": False,
        "refused": None,
        "n_launches": 5,
        "tags": [],
        "search": {"p_on_front": 0.5, "p_feasible": 1.0},
        "confirmed": {"p_on_front": 0.9, "p_feasible": 1.0, "verdict": "on", "reason": None},
        "metrics": {
            "accuracy": {"search": estimate, "confirmed": None},
            "latency_p50": {"search": estimate, "confirmed": estimate},
        },
        "retrained": {
            "failures": [],
            "validation": {"accuracy": {"n": 1, "mean": 0.5, "sd": None}},
            "test": None,
        },
        "test": {"accuracy": estimate},
    }


CONFIRMATION = {
    "schema": "moo.confirm/1",
    "time": "2026-01-02T03:04:05+00:00",
    "fingerprint": "f",
    "ended": "sure",
    "attempt": 0,
    "n_rounds": 5,
    "n_front": 2,
    "notes": ["a note"],
    "test_opened": [{"time": "2026-01-02T03:04:05+00:00", "trials": [0], "again": False}],
    "candidates": [entry(0), entry(1)],
}


class MeasuredTask(FunctionTask):
    """Fails in its third trial."""

    def evaluate(self, trial, context):
        if trial.number == 2:
            raise RuntimeError("out of luck")
        return measured(trial)


def again(folder: Path, *, n_trials: int) -> moo.Study:
    return moo.optimize(
        MeasuredTask(lambda trial: {}, name="measured"),
        maximize=["accuracy"],
        minimize=["latency_p50"],
        n_trials=n_trials,
        sampler="random",
        seed=0,
        folder=folder,
    )


@pytest.fixture(scope="module")
def database(tmp_path_factory) -> Path:
    """A study's database, with a confirmation in it; beside it a copy, `sound.db`."""
    folder = tmp_path_factory.mktemp("study") / "out"
    study = again(folder, n_trials=3)
    study.optuna_study.set_user_attr("moo:confirmation", CONFIRMATION)
    study.optuna_study.set_user_attr("moo:test_opened", CONFIRMATION["test_opened"])
    path = folder / "study.db"
    path.with_name("sound.db").write_bytes(path.read_bytes())
    return path


def attributes(database: Path) -> list[tuple[str, int, str, str]]:
    """Return what the study and its trials keep: table, owner, key and JSON."""
    with sqlite3.connect(database) as connection:
        found = [
            (kind, *row)
            for kind in ("study", "trial")
            for row in connection.execute(f"SELECT {kind}_id, key, value_json FROM {kind}_user_attributes")
        ]
    connection.close()
    return found


def copied(database: Path, name: str, *statements: tuple) -> Path:
    """Return a copy of a database in which some statements were executed."""
    other = database.with_name(name)
    other.write_bytes(database.read_bytes())
    connection = sqlite3.connect(other)
    for statement in statements:
        connection.execute(*statement)
    connection.commit()
    connection.close()
    return other


def read_all(database: Path) -> None:
    """Read all that a report, a bundle or a confirmation begins with."""
    results = foreign_results(database)
    results.table()
    recommend(results)
    for trial in results.trials:
        results.ruled_out(trial)
    assert all(isinstance(opening["trials"], list) for opening in results.openings)


def test_the_sound_study_is_read(database) -> None:
    read_all(database)
    assert len(attributes(database)) > 8


@QUICK
@given(data=st.data())
def test_a_study_with_anything_in_any_attribute_is_read_or_refused(database, data) -> None:
    kind, owner, key, text = data.draw(st.sampled_from(attributes(database)))
    record = json.loads(text)
    at = data.draw(st.sampled_from(list(places(record))))
    changed = json.dumps(edited(record, at, data.draw(st.sampled_from(VALUES))))
    other = copied(
        database,
        "edited.db",
        (
            f"UPDATE {kind}_user_attributes SET value_json = ? WHERE {kind}_id = ? AND key = ?",
            (changed, owner, key),
        ),
    )
    try:
        read_all(other)
    except InputError as error:
        assert "\n" not in str(error)
        assert len(str(error)) < MOST


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE trial_user_attributes SET value_json = '{'", "property name"),
        ("UPDATE study_user_attributes SET value_json = '{'", "property name"),
        ("UPDATE trial_params SET distribution_json = '{'", "property name"),
        (
            """UPDATE trial_params SET distribution_json = '{"name": "Evil", "attributes": {}}'""",
            "Unknown distribution",
        ),
        ("UPDATE trial_params SET param_value = 'abc'", "abc"),
        ("UPDATE trials SET datetime_start = 'some day'", "some day"),
        (
            "INSERT INTO trial_system_attributes (trial_id, key, value_json)"
            " VALUES (1, 'constraints', '\"x\"')",
            "constraints",
        ),
    ],
)
def test_a_database_edited_below_optuna_is_one_line(database, statement, said) -> None:
    other = copied(database, "below.db", (statement,))
    for read in (foreign_results, lambda path: moo.load_study(f"sqlite:///{path}").results()):
        with pytest.raises(StorageError, match="cannot be read: ") as caught:
            read(other)
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("moo:worker", "[1]"),
        ("moo:worker", "{}"),
        ("moo:attempts", '"x"'),
        ("moo:evaluation", "[1]"),
        ("moo:setting", "[]"),
    ],
)
def test_a_sweep_does_not_go_on_from_what_was_edited(database, key, value) -> None:
    kind = "study" if key == "moo:setting" else "trial"
    copied(
        database,
        "study.db",
        ("UPDATE trials SET state = 'RUNNING' WHERE number = 0",),
        (f"UPDATE {kind}_user_attributes SET value_json = ? WHERE key = ?", (value, key)),
    )
    try:
        with pytest.raises(StorageError, match="cannot be read: .*expected"):
            again(database.parent, n_trials=4)
    finally:
        database.write_bytes(database.with_name("sound.db").read_bytes())


@pytest.mark.parametrize("what", STRANGE)
def test_a_database_that_is_no_file_or_never_ends_is_refused_unread(tmp_path, what, capsys) -> None:
    path = strange(tmp_path / "study.db", what)
    refused(capsys, "report", path, "--out", tmp_path / "page")
    refused(capsys, "bundle", path, "0", "--out", tmp_path / "ship")
    refused(
        capsys, "report", strange(tmp_path / "t.csv", what), "--minimize", "a", "--out", tmp_path / "page"
    )


@pytest.mark.parametrize("path", ["/etc/passwd", "../../secret", "a/../../secret", ""])
def test_no_file_outside_the_studys_folder_is_named_by_an_evaluation(path) -> None:
    record = Evaluation(metrics={}, artefact=Artefact(path="a", sha256="", bytes=0)).to_json()
    for changed in ({"artefact": {**record["artefact"], "path": path}}, {"files": {"correct": path}}):
        with pytest.raises(ValueError, match="expected a path inside the folder"):
            Evaluation.from_json({**record, **changed})


@pytest.mark.parametrize("shape", [(1, 2**50), (1, 2**70), (10**9, 10**9)])
def test_a_sample_of_shapes_that_no_memory_holds_is_refused(shape) -> None:
    tensor = Tensor("x", "float32", ("rows", "width"))
    with pytest.raises(MeasureError, match="input 'x' must fit in memory"):
        made_calls((tensor,), 1, {"x": shape}, 0)


@pytest.mark.parametrize("content", ["[" * 100_000, "[]", "{}", '{"seed": 0, "params": {}, "evaluation": 3}'])
def test_what_was_kept_of_a_retraining_and_is_damaged_is_done_again(tmp_path, content) -> None:
    (tmp_path / "evaluation.json").write_text(content)
    task = FunctionTask(lambda trial: {})  # trains nothing
    assert retrained_evaluation(task, {}, root=tmp_path, folder=tmp_path, seed=0, metrics=()) is None


def test_a_marker_of_a_folder_that_is_no_text_or_no_file_is_one_line(tmp_path) -> None:
    marker = tmp_path / ".moo-study"
    marker.write_bytes(b"\xff\xfe\0\n")
    with pytest.raises(InputError, match="holds the study"):
        claim_folder(tmp_path, "mine")
    marker.unlink()
    os.mkfifo(marker)
    with pytest.raises(InputError, match="is no file"):
        claim_folder(tmp_path, "mine")


def test_no_library_is_loaded_because_a_study_says_so() -> None:
    options = {"custom_ops_library": "evil.so"}
    with pytest.raises(MeasureError, match="option custom_ops_library loads code: give --task"):
        refuse_code(Evaluation(metrics={}, runtime={"options": options}))
    refuse_code(Evaluation(metrics={}, runtime={"options": {"session.set_denormal_as_zero": "1"}}))


def test_an_interval_that_has_no_end_is_drawn_as_none() -> None:
    latency = BUILT_IN["latency_p50"]
    problem = Problem.parse(maximize=["accuracy"], minimize=["latency_p50"])
    ends = {"accuracy": Estimate(0.5), latency.name: Estimate(1.0, 0.5, math.inf)}
    candidates = [Measured(number=number, estimates=ends, correct={}) for number in (0, 1)]
    found = assess(problem, candidates, n_draws=4, seed=0)
    assert found.sources[latency.name] == "value"


@pytest.mark.parametrize("options", [True, [], "a", {"a": 1}, {1: "a"}, {"a": None}])
def test_options_of_a_runtime_that_are_no_texts_by_name_are_refused(options) -> None:
    with pytest.raises(ValueError, match="options must be text by name"):
        Runtime(options=options)


def test_a_console_shows_no_orders_to_the_terminal(capsys) -> None:
    table = Table("a\x1b[2J")
    table.add_row("b\x1b]0;title\x07\nc\u202e")
    output_console().print(table)
    output_console().print("d\x1b[31m")
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert all(text in out for text in (r"a\x1b[2J", r"b\x1b]0;title", r"c\u202e", r"d\x1b"))


# ONNX files


def graph(shape=(1, 4), weights=()) -> onnx.ModelProto:
    node = (
        helper.make_node("Add", ["x", "w"], ["y"]) if weights else helper.make_node("Identity", ["x"], ["y"])
    )
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", "y")]
    made = helper.make_graph([node], "g", ends[:1], ends[1:], initializer=list(weights))
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def with_data_at(*locations: str) -> onnx.ModelProto:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4])
    tensor.data_location = TensorProto.EXTERNAL
    for location in locations:
        tensor.external_data.add(key="location", value=location)
    return graph(weights=[tensor])


@pytest.mark.parametrize(
    ("locations", "said"),
    [
        (("a" * 100_000,), "is no name that a file can have"),
        (("data.bin\0../x",), "is no name that a file can have"),
        (("data.bin", "../secret.bin"), "outside the model's folder"),
        (("pipe.bin",), "is missing"),
        (("zero.bin",), "outside the model's folder"),
        ((".",), "is missing"),
        (("",), "is missing"),
    ],
    ids=range(7),
)
def test_external_data_that_is_elsewhere_or_no_file_is_never_opened(tmp_path, locations, said) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(64))
    (tmp_path / "m/data.bin").write_bytes(bytes(64))
    os.mkfifo(tmp_path / "m/pipe.bin")
    (tmp_path / "m/zero.bin").symlink_to("/dev/zero")
    path = tmp_path / "m/model.onnx"
    path.write_bytes(with_data_at(*locations).SerializeToString())
    with pytest.raises(ModelError, match=said) as caught:
        ModelFile.read(path)
    assert len(str(caught.value)) < MOST


@pytest.mark.parametrize("what", STRANGE)
def test_a_model_that_is_no_file_or_never_ends_is_refused_unread(tmp_path, what, capsys) -> None:
    path = strange(tmp_path / "m.onnx", what)
    assert str(path) in refused(capsys, "profile", path, "--mode", "quick")


@pytest.mark.parametrize("shape", [(2**62,), (10**9, 10**9), (2**40,), (2,) * 60])
def test_shapes_that_no_memory_holds_are_told_before_anything_is_allocated(tmp_path, shape, capsys) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(graph(shape).SerializeToString())
    said = refused(capsys, "profile", path, "--mode", "quick")
    assert "input 'x' must fit in memory" in said
