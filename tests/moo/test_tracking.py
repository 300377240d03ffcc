"""Studies in MLflow and Weights & Biases: the real packages, writing to folders."""

import contextlib
import dataclasses
import importlib.util
import json
import logging
import os
import shutil
import signal
import socketserver
import sqlite3
import threading

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import moo
from moo.errors import InputError
from moo.evaluation import Artefact
from moo.tracking import Observers, Tracker, make_tracker, track
from moo.tracking._artefacts import artefact_files
from moo.tracking._courier import Courier, Reply
from moo.tracking._mlflow import ENVIRONMENT, tracking_uri
from moo.tracking._records import study_record, trial_record
from objectives import FunctionTask

needs_mlflow = pytest.mark.skipif(
    importlib.util.find_spec("mlflow") is None, reason="mlflow is not installed: pip install '.[mlflow]'"
)
needs_wandb = pytest.mark.skipif(
    importlib.util.find_spec("wandb") is None, reason="wandb is not installed: pip install '.[wandb]'"
)
PROBLEM = moo.Problem.parse(
    maximize=["accuracy"], minimize=["latency_p50"], constraints=["latency_p50 <= 900 us"]
)


def trial(number, **changes):
    evaluation = moo.Evaluation(
        metrics={"accuracy": moo.Estimate.exact(0.9), "latency_p50": moo.Estimate(3e-4, 2e-4, 4e-4)},
        tags=("contended",),
        runtime={"provider": "cpu"},
        environment="f00d",
        curve=((1, {"accuracy": 0.5}), (2, {"accuracy": 0.8})),
        seconds={"train": 1.5},
    )
    known = {
        "number": number,
        "state": "complete",
        "params": {"width": 7 + number, "rate[0]": 0.1},
        "evaluation": evaluation,
        "violations": {"latency_p50 <= 900 us": -0.5},
        "duration_s": 2.0,
    }
    return moo.FinishedTrial(**(known | changes))


def results(*trials):
    return moo.Results(study_name="digits", problem=PROBLEM, trials=trials)


PRUNED = trial(1, state="pruned", reason="latency_p50 beyond doubt", violations={})
FAILED = trial(2, state="failed", stage="task", reason="ValueError: no", evaluation=None, violations={})


# what is sent


def test_a_trial_is_sent_with_intervals_violations_curve_and_why() -> None:
    record = trial_record(trial(0), results(trial(0)))
    assert record["metrics"] == {
        "accuracy": 0.9,
        "accuracy_low": 0.9,
        "accuracy_high": 0.9,
        "latency_p50": 3e-4,
        "latency_p50_low": 2e-4,
        "latency_p50_high": 4e-4,
        "violation/latency_p50 at most 900 us": -0.5,
        "seconds/train": 1.5,
        "duration_s": 2.0,
    }
    assert record["curve"] == [[1, {"curve/accuracy": 0.5}], [2, {"curve/accuracy": 0.8}]]
    assert record["tags"].items() >= {"moo.feasible": "true", "moo.runtime.provider": "cpu"}.items()
    failed = trial_record(FAILED, results(FAILED))
    assert failed["tags"]["moo.stage"] == "task"
    assert failed["reason"] == failed["tags"]["moo.reason"] == "ValueError: no"
    assert "moo.feasible" not in failed["tags"]


def test_what_was_not_measured_is_a_tag_with_its_reason_and_no_metric() -> None:
    evaluation = moo.Evaluation(metrics={"energy": moo.Estimate(None, high=2.0, reason="no counter")})
    record = trial_record(trial(0, evaluation=evaluation), results())
    assert record["tags"]["moo.missing.energy"] == "no counter"
    assert {name for name in record["metrics"] if name.startswith("energy")} == {"energy_high"}


def test_a_study_is_sent_with_its_question_its_counts_and_its_front() -> None:
    record = study_record(results(trial(0), PRUNED, FAILED))
    assert record["metrics"] == {"trials": 3, "complete": 1, "pruned": 1, "failed": 1, "front_size": 1}
    assert record["tags"]["moo.front"] == "0"
    assert record["tags"]["moo.objectives"] == "maximize accuracy, minimize latency_p50"


def model_with_external_data(folder):
    weights = numpy_helper.from_array(np.arange(600, dtype=np.float32), "w")
    nodes = [helper.make_node("Add", ["x", "w"], ["y"])]
    ends = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [600]) for name in "xy"]
    model = helper.make_model(helper.make_graph(nodes, "g", ends[:1], ends[1:], [weights]))
    folder.mkdir(parents=True)
    onnx.save(model, folder / "m.onnx", save_as_external_data=True, location="m.bin", size_threshold=0)
    return Artefact(path="trials/m.onnx", sha256="0" * 64, bytes=3000)


def test_an_artefact_is_its_file_and_its_external_data_within_the_limit(tmp_path) -> None:
    artefact = vars(model_with_external_data(tmp_path / "trials"))
    names = [file.name for file in artefact_files(tmp_path, artefact, max_bytes=3000)]
    assert names == ["m.onnx", "m.bin"]
    assert artefact_files(tmp_path, artefact, max_bytes=2999) == []
    (tmp_path / "trials" / "m.bin").unlink()
    assert artefact_files(tmp_path, artefact, max_bytes=3000) == []


# wrong input


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("mlfow:x", "tracker: unknown service 'mlfow'; did you mean mlflow"),
        ("neptune", "unknown service 'neptune'; known: mlflow, wandb"),
        ("http://ann:secret@h:5000", r"expected a service first, such as 'mlflow:http://ann:\*\*\*@h:5000'"),
        ("mlflow://h:5000", "expected mlflow: and then an address or a name"),
        ("wandb:team/", "expected wandb:project or wandb:entity/project"),
    ],
)
def test_a_wrong_target_is_refused_in_one_line_without_a_password(tmp_path, target, said) -> None:
    with pytest.raises(InputError, match=said) as caught:
        make_tracker(target, folder=tmp_path)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["mlflow", "wandb"])
def test_a_missing_package_is_refused_with_its_extra(tmp_path, monkeypatch, kind) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=rf"not installed: pip install 'moo-deploy\[{kind}\]'"):
        make_tracker(kind, folder=tmp_path)


@needs_mlflow
def test_a_server_that_cannot_be_reached_is_refused_before_anything_runs(tmp_path) -> None:
    with pytest.raises(InputError, match="cannot be reached") as caught:
        make_tracker("mlflow:http://ann:secret@127.0.0.1:9", folder=tmp_path)
    assert "secret" not in str(caught.value)


def test_a_folder_that_is_a_store_of_files_stays_one_and_any_other_gets_a_database(tmp_path) -> None:
    (tmp_path / "old" / "0").mkdir(parents=True)
    (tmp_path / "old" / "0" / "meta.yaml").touch()
    assert tracking_uri(str(tmp_path / "old"), tmp_path) == ((tmp_path / "old").as_uri(), None)
    artefacts = (tmp_path / "new" / "artifacts").as_uri()
    assert tracking_uri(str(tmp_path / "new"), tmp_path) == (f"sqlite:///{tmp_path}/new/mlflow.db", artefacts)
    assert tracking_uri("http://h:5000", tmp_path) == ("http://h:5000", None)


# a service that fails, by a script


class Scripted:
    """Stands in for the courier: answers as told, at once or never."""

    def __init__(self, *, fails=False, hangs=False) -> None:
        self.fails, self.hangs = fails, hangs
        self.asked, self.waits, self._replies, self._pending = [], [], [], []

    def send(self, message):
        self.asked.append(message["trial"]["number"] if message["do"] == "trial" else message["do"])
        self._pending.append(message)

    def wait(self, seconds):
        self.waits.append(seconds)
        if self.hangs:
            return False
        self._replies += [Reply(m, error="no route" if self.fails else None) for m in self._pending]
        self._pending = []
        return True

    def replies(self):
        found, self._replies = self._replies, []
        return found

    def close(self, seconds):
        pass


def followed(courier, clock=lambda: 0.0):
    tracker = Tracker(courier, shown="mlflow:x", clock=clock, now=lambda: 0.0)
    tracker.begun(results(), 3)
    return tracker


def test_after_a_failure_nothing_is_tried_for_a_minute_and_then_all_that_is_missing(caplog) -> None:
    time_s, courier = [0.0], Scripted(fails=True)
    tracker = followed(courier, lambda: time_s[0])
    time_s[0] = 61.0
    tracker.trial_finished(trial(0))
    time_s[0] = 100.0
    tracker.trial_finished(trial(1))
    assert courier.asked == ["study", 0]
    courier.fails, time_s[0] = False, 130.0
    tracker.trial_finished(trial(2))
    assert courier.asked == ["study", 0, 0, 1, 2]
    assert tracker.n_unsent == 0
    assert [record.getMessage() for record in caplog.records if "no route" in record.getMessage()] == [
        "tracking in mlflow:x: no route; the sweep goes on, and what is missing is tried again at its end"
    ]


def test_a_service_that_does_not_answer_is_waited_for_once(caplog) -> None:
    courier = Scripted(hangs=True)
    tracker = followed(courier)
    for number in range(3):
        tracker.trial_finished(trial(number))
    assert courier.waits == [5.0, 5.0]  # for the study, and for the first trial
    assert tracker.finish(results(*map(trial, range(3)))) == 3
    assert len([r for r in caplog.records if "no answer" in r.getMessage()]) == 1
    assert "3 of 3 trials are not in mlflow:x" in caplog.text


def test_finish_sends_what_no_observer_heard_of_and_nothing_twice() -> None:
    courier = Scripted()
    tracker = followed(courier)
    tracker.trial_finished(trial(0))
    assert tracker.finish(results(trial(0), trial(1, parent=0))) == 0
    assert courier.asked == ["study", 0, 1, "finish"]


def test_several_observers_are_told_the_same() -> None:
    one, other = Scripted(), Scripted()
    both = Observers(Tracker(courier, shown="x", clock=lambda: 0.0) for courier in (one, other))
    both.begun(results(), 1)
    both.trial_finished(trial(0))
    assert one.asked == other.asked == ["study", 0]


# MLflow itself


class Database:
    """What MLflow's tables hold, read without MLflow."""

    def __init__(self, folder) -> None:
        with contextlib.closing(sqlite3.connect(folder / "mlflow.db")) as connection:
            runs = connection.execute(
                "select run_uuid, status, start_time, end_time from runs where lifecycle_stage = 'active'"
            ).fetchall()
            self.tags, self.params, self.metrics = {}, {}, {}
            for table, found in (("tags", self.tags), ("params", self.params)):
                for key, value, run in connection.execute(f"select key, value, run_uuid from {table}"):
                    found.setdefault(run, {})[key] = value
            for key, value, step, run in connection.execute("select key, value, step, run_uuid from metrics"):
                self.metrics.setdefault(run, {}).setdefault(key, []).append((step, value))
        self.status = {run: status for run, status, _, _ in runs}
        self.seconds = {run: (end - start) / 1000 for run, _, start, end in runs if end}
        self.parents = [run for run in self.status if "mlflow.parentRunId" not in self.tags[run]]
        self.trials = {}
        for run in self.status:
            if run not in self.parents:
                self.trials.setdefault(int(self.tags[run]["moo.trial"]), []).append(run)


@needs_mlflow
def test_a_trial_is_a_run_in_its_studys_run_and_is_written_once(tmp_path) -> None:
    artefact = model_with_external_data(tmp_path / "trials")
    whole = trial(0)
    whole = dataclasses.replace(whole, evaluation=dataclasses.replace(whole.evaluation, artefact=artefact))
    target = f"mlflow:{tmp_path / 'mlflow'}"
    assert track(results(whole, PRUNED), target, folder=tmp_path) == 0
    assert track(results(whole, PRUNED, FAILED), target, folder=tmp_path) == 0
    found = Database(tmp_path / "mlflow")
    (parent,) = found.parents
    runs = {number: run for number, (run,) in found.trials.items()}
    assert {number: found.status[run] for number, run in runs.items()} == {
        0: "FINISHED",
        1: "KILLED",
        2: "FAILED",
    }
    assert {found.tags[run]["mlflow.parentRunId"] for run in runs.values()} == {parent}
    assert found.status[parent] == "FINISHED"
    assert found.tags[parent]["moo.front"] == "0"
    assert found.params[runs[0]] == {"width": "7", "rate_0_": "0.1"}
    assert found.metrics[runs[0]]["latency_p50_high"] == [(0, 4e-4)]
    assert found.metrics[runs[0]]["curve/accuracy"] == [(1, 0.5), (2, 0.8)]
    assert found.metrics[runs[0]]["violation/latency_p50 at most 900 us"] == [(0, -0.5)]
    assert found.tags[runs[2]]["moo.reason"] == "ValueError: no"
    assert found.seconds[runs[0]] == pytest.approx(2.0, abs=0.002)
    sent = tmp_path / "mlflow" / "artifacts" / runs[0] / "artifacts" / "model"
    assert {file.name: file.read_bytes() for file in sent.iterdir()} == {
        name: (tmp_path / "trials" / name).read_bytes() for name in ("m.onnx", "m.bin")
    }


def cheap(trial):
    width = trial.suggest_int("width", 1, 1000)
    return {"accuracy": width / 1001, "latency_p50": width * 1e-6}


def sweep(folder, tracker, n_trials):
    return moo.optimize(
        FunctionTask(cheap, name="cheap"),
        maximize=["accuracy"],
        minimize=["latency_p50"],
        n_trials=n_trials,
        sampler="random",
        seed=0,
        folder=folder,
        observer=tracker,
    )


@needs_mlflow
def test_a_sender_that_dies_is_started_again_and_half_a_run_is_written_anew(tmp_path) -> None:
    target, folder = f"mlflow:{tmp_path / 'mlflow'}", tmp_path / "out"
    with make_tracker(target, folder=folder, wait_s=60.0) as tracker:
        study = sweep(folder, tracker, 1)
        child = tracker._courier._child
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        with contextlib.closing(sqlite3.connect(tmp_path / "mlflow" / "mlflow.db")) as connection:
            connection.execute(
                "update runs set status = 'RUNNING' where run_uuid in"
                " (select run_uuid from tags where key = 'moo.trial')"
            )
            connection.commit()
        study = sweep(folder, tracker, 2)
        assert tracker.finish(study.results()) == 0
    found = Database(tmp_path / "mlflow")
    assert len(found.parents) == 1
    assert {number: [found.status[run] for run in runs] for number, runs in found.trials.items()} == {
        0: ["FINISHED"],
        1: ["FINISHED"],
    }


@needs_mlflow
def test_a_study_begun_again_in_a_deleted_folder_is_another_one(tmp_path) -> None:
    for _ in range(2):
        track(results(trial(0)), f"mlflow:{tmp_path / 'mlflow'}", folder=tmp_path / "out")
        shutil.rmtree(tmp_path / "out")
    found = Database(tmp_path / "mlflow")
    assert len(found.parents) == len(found.trials[0]) == 2


@needs_mlflow
def test_a_store_of_files_is_written_where_mlflow_allows_it(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    assert track(results(trial(0)), f"mlflow:{(tmp_path / 'runs').as_uri()}", folder=tmp_path) == 0
    (low,) = (tmp_path / "runs").glob("*/*/metrics/latency_p50_low")
    assert float(low.read_text().split()[1]) == 2e-4


class Half(socketserver.BaseRequestHandler):
    """A tracking server that answers the first question and then hangs."""

    def handle(self) -> None:
        asked = self.request.recv(65536)
        if b"experiments/search" not in asked:
            self.server.let_go.wait()
            return
        body = json.dumps({"experiments": []}).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        self.request.sendall(head.encode() + b"Connection: close\r\n\r\n" + body)


@needs_mlflow
def test_a_sweep_ends_though_the_server_hangs_and_its_trials_can_be_sent_later(tmp_path, caplog) -> None:
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Half)
    server.daemon_threads, server.let_go = True, threading.Event()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"mlflow:http://127.0.0.1:{server.server_address[1]}"
    folder = tmp_path / "out"
    with (
        caplog.at_level(logging.WARNING, "moo"),
        make_tracker(address, folder=folder, wait_s=0.1, finish_s=0.1) as tracker,
    ):
        study = sweep(folder, tracker, 3)
        assert tracker.finish(study.results()) == 3
    assert [r.getMessage().split("; ")[0] for r in caplog.records if "no answer" in r.getMessage()] == [
        f"tracking in {address}: no answer within 0.1 s"
    ]
    server.let_go.set()
    server.shutdown()
    server.server_close()
    assert track(study.results(), f"mlflow:{tmp_path / 'mlflow'}", folder=folder) == 0
    assert sorted(Database(tmp_path / "mlflow").trials) == [0, 1, 2]


def test_the_password_is_no_argument_of_the_child(tmp_path) -> None:
    to = {"kind": "mlflow", "text": "http://ann:secret@127.0.0.1:9", "folder": str(tmp_path)}
    courier = Courier(to | {"max_artefact_bytes": 0}, ENVIRONMENT)
    courier.send({"do": "check"})
    assert courier.wait(120.0)
    child = courier._child
    assert child is not None
    assert "secret" not in " ".join(map(str, child.args))
    (reply,) = courier.replies()
    courier.close(10.0)
    assert reply.error
    assert "secret" not in reply.error
    assert child.poll() is not None


# Weights & Biases itself


@needs_wandb
def test_offline_runs_lie_in_the_studys_folder_once_each(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert track(results(trial(0)), "wandb:proj", folder=tmp_path, finish_s=120.0) == 0
    assert track(results(trial(0), FAILED), "wandb:proj", folder=tmp_path, finish_s=120.0) == 0
    files = list(tmp_path.glob("wandb/offline-run-*/*.wandb"))
    texts = [file.read_bytes() for file in files]
    assert {name: sum(name in text for text in texts) for name in (b"trial 0", b"trial 2")} == {
        b"trial 0": 1,
        b"trial 2": 1,
    }
    assert len({file.name for file in files}) == 3  # two trials, and the study's own run, twice resumed
    (first,) = (text for text in texts if b"trial 0" in text)
    assert all(word in first for word in (b"latency_p50_high", b"0.0004", b"curve/accuracy", b"digits"))
