"""What a task does to its process, people to files and machines to clocks: one trial at most is hurt."""

import ast
import json
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

import moo
from moo import workers
from moo.cli import main
from objectives import FunctionTask
from profilers import ModelError, ModelFile, OnnxRuntimeProfiler, ProfilerError, Protocol, Runtime
from tests.faults.processes import begin, finish, script
from tests.profilers import models

ROOT = Path(__file__).parents[2]


def cheap(trial):
    width = trial.suggest_int("width", 1, 1000)
    return {"accuracy": width / 1001, "latency_p50": width * 1e-6}


def sweep(folder, **changes):
    arguments = {"maximize": ["accuracy"], "minimize": ["latency_p50"], "n_trials": 3, "seed": 0}
    return moo.optimize(
        FunctionTask(cheap), sampler="random", folder=folder / "out", **{**arguments, **changes}
    )


def states(folder):
    trials = moo.load_study(f"sqlite:///{folder}/out/study.db").results().trials
    return {trial.number: trial.state for trial in trials}


# what a task does to its process

HARMFUL = """
    import os, resource, sys
    import moo
    from objectives import FunctionTask

    def leaves(trial):
        os._exit(0)

    def prints(trial):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        megabyte = "x" * (2**20 - 1)
        for _ in range(512):
            print(megabyte)
            print(megabyte, file=sys.stderr)
        grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak
        assert grown_kib < 32 * 1024, grown_kib

    def forks(trial):
        os.fork()  # and both processes go on

    def task(trial):
        width = trial.suggest_int("width", 1, 1000)
        if trial.number == 1:
            globals()[sys.argv[1]](trial)
        return {"accuracy": width / 1001}

    moo.optimize(FunctionTask(task), maximize=["accuracy"], sampler="random", n_trials=4, folder="out")
    with open("ended", "a") as file:
        file.write("once")
"""


def test_a_task_that_leaves_at_once_is_tried_twice_and_the_rest_goes_on(tmp_path) -> None:
    script(tmp_path, HARMFUL)
    for _ in range(3):
        assert finish(begin(tmp_path, "leaves"))[0][0] == 0
    assert (tmp_path / "ended").read_text() == "once"
    assert states(tmp_path) == {0: "complete", 1: "failed", 2: "complete", 3: "complete"}
    failed = moo.load_study(f"sqlite:///{tmp_path}/out/study.db").results().failed[0]
    assert (failed.stage, failed.reason) == (
        "process",
        "its process ended 2 times without a word (killed, or out of memory)",
    )


def test_a_gigabyte_of_output_is_not_kept(tmp_path) -> None:
    script(tmp_path, HARMFUL)
    words = [sys.executable, "script.py", "prints"]
    ran = subprocess.run(words, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert ran.returncode == 0
    assert states(tmp_path) == dict.fromkeys(range(4), "complete")


def test_a_task_that_forks_and_goes_on_in_both_is_told_once(tmp_path) -> None:
    script(tmp_path, HARMFUL)
    status, _, errors = finish(begin(tmp_path, "forks"))[0]
    assert status == 0
    assert "open it again in the new process" in errors  # what the fork ended with
    assert (tmp_path / "ended").read_text() == "once"
    assert states(tmp_path) == dict.fromkeys(range(4), "complete")


# what happens to files and clocks between two runs


def test_a_deleted_folder_costs_the_files_and_not_the_study(tmp_path) -> None:
    storage = f"sqlite:///{tmp_path}/study.db"
    before = sweep(tmp_path, storage=storage, n_trials=2).results().trials
    shutil.rmtree(tmp_path / "out")
    after = sweep(tmp_path, storage=storage, n_trials=4).results().trials
    assert after[:2] == before
    assert [(t.number, t.state) for t in after[2:]] == [(2, "complete"), (3, "complete")]
    assert sorted(path.name for path in (tmp_path / "out" / "trials").iterdir()) == ["00002", "00003"]


def hours_ahead(database: Path, hours: int) -> None:
    """Store times as a process would have whose clock was set back since."""
    with sqlite3.connect(database) as connection:
        connection.execute(
            "UPDATE trials SET datetime_start = datetime(datetime_start, ?),"
            " datetime_complete = datetime(datetime_complete, ?)",
            (f"+{hours} hours", f"+{hours} hours"),
        )
    connection.close()


def test_a_clock_that_was_set_back_neither_repeats_nor_skips_a_trial(tmp_path) -> None:
    before = sweep(tmp_path, n_trials=2).results().trials
    hours_ahead(tmp_path / "out" / "study.db", 5)
    after = sweep(tmp_path, n_trials=4).results().trials
    assert after[:2] == before
    assert [trial.number for trial in after] == [0, 1, 2, 3]
    assert all(trial.duration_s >= 0 for trial in after)


def test_an_unsigned_trial_from_the_future_is_taken_over(tmp_path) -> None:
    study = sweep(tmp_path, n_trials=1)
    study.optuna_study.ask()  # and the process was killed
    hours_ahead(tmp_path / "out" / "study.db", 5)
    study = moo.load_study(f"sqlite:///{tmp_path}/out/study.db")
    assert workers.release_stale_trials(study.storage, study.name) == [1]


# what a stranger may have written


def test_a_truncated_model_is_refused_in_one_line(tmp_path) -> None:
    whole = models.chain(tmp_path / "m.onnx", width=16).read_bytes()
    for length in {0, 1, 2, 10, len(whole) // 3, len(whole) // 2, len(whole) - 1}:
        (tmp_path / "cut.onnx").write_bytes(whole[:length])
        with pytest.raises(ModelError) as caught:
            ModelFile.read(tmp_path / "cut.onnx")
        assert "\n" not in str(caught.value)


def test_a_model_of_absurd_shapes_is_refused_in_one_line(tmp_path) -> None:
    sizes = [2**40, 2**40]
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "absurd",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, sizes)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, sizes)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, tmp_path / "absurd.onnx")
    with pytest.raises(ProfilerError) as caught:
        OnnxRuntimeProfiler().measure(tmp_path / "absurd.onnx", Runtime(), protocol=Protocol())
    assert "\n" not in str(caught.value)


def test_a_report_of_a_hostile_table_runs_nothing(tmp_path, capsys) -> None:
    evil = "<script>window.owned=1</script>"
    rows = [f'label,top1,ms\n"{evil}",0.5,1\n"</script>{evil}",0.6,2\n"=cmd|\' /C calc\'!A0",0.7,3\n']
    (tmp_path / "t.csv").write_text(rows[0])
    words = ["report", str(tmp_path / "t.csv"), "--maximize", "top1", "--minimize", "ms", "--label", "label"]
    with pytest.raises(SystemExit) as left:
        main([*words, "--out", str(tmp_path / "page")])
    assert left.value.code == 0, capsys.readouterr()
    page = (tmp_path / "page" / "index.html").read_text(encoding="utf-8")
    assert "window.owned" in page  # shown as text
    assert re.search(r"<script[^>]*>\s*window\.owned", page) is None
    json.loads((tmp_path / "page" / "report.json").read_text())


PICKLES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
UNPICKLING = {"load", "loads", "open", "Unpickler"}
BETWEEN_PROCESSES = {"moo/crew.py"}  # over a pipe, from the process that started this one: no file


@pytest.mark.parametrize("room", ["moo", "objectives", "profilers", "reports"])
def test_no_pickle_is_loaded_and_no_text_is_run(room) -> None:
    wrong = []
    for path in sorted((ROOT / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            where = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.ImportFrom) and node.module in PICKLES:
                wrong += [where for alias in node.names if "load" in alias.name or alias.name == "Unpickler"]
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            options = {word.arg: ast.unparse(word.value) for word in node.keywords}
            is_text_run = called in ("eval", "exec", "compile", "os.system", "yaml.load")
            is_unpickled = called.split(".")[0] in PICKLES and called.split(".")[-1] in UNPICKLING
            is_unpickled &= path.relative_to(ROOT).as_posix() not in BETWEEN_PROCESSES
            is_free_load = called == "torch.load" and options.get("weights_only") != "True"
            if (
                is_text_run
                or is_unpickled
                or is_free_load
                or options.get("allow_pickle") == "True"
                or "shell" in options
            ):
                wrong.append(where)
    assert wrong == []
