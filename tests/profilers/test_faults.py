"""What goes wrong around a child: refusals of the system, what a model leaves running, others' load."""

import errno
import json
import os
import subprocess
import tempfile
import time
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import psutil
import pytest

from profilers import (
    FakeProfiler,
    Feeds,
    Launch,
    LaunchError,
    ModelError,
    OnnxRuntimeProfiler,
    Protocol,
    Runtime,
    TorchProfiler,
    load_measurements,
    save_measurements,
)
from profilers._child._job import Job
from profilers._launcher import OpenChild, run_child
from profilers._measuring import request_for
from profilers._tags import is_contended
from tests.profilers import models

BRIEF = Protocol(min_calls=72, max_calls=80, min_time_s=0.001, precision_budget_s=0.01, warmup_budget_s=0.05)
STARTS_ANOTHER = """
import os, subprocess
from pathlib import Path
import torch

def make():
    other = subprocess.Popen(["sleep", "77"])
    Path(__file__).with_name("pid").write_text(str(other.pid))
    return torch.nn.Linear(4, 2), (torch.zeros(1, 4),)

def by_shell():
    os.system("sleep 77 & echo $! > " + str(Path(__file__).with_name("pid")))
    return torch.nn.Linear(4, 2), (torch.zeros(1, 4),)

def and_fail():
    make()
    raise ValueError("no model today")
"""


@pytest.fixture
def temporary(tmp_path, monkeypatch) -> Path:
    """The folder for temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def refuse(*words, **options) -> None:
    raise OSError(errno.ENOSPC, "No space left on device", "input_0.npy")


def begin_once(begin) -> None:
    begin({"model": "m.onnx", "job": "run"}, {"x": np.zeros(2)}, time_limit_s=5)


@pytest.mark.parametrize("begin", [run_child, OpenChild])
@pytest.mark.parametrize(
    "refused",
    [(np, "save"), (Path, "write_text"), (subprocess, "Popen"), (tempfile, "mkdtemp"), (os, "pipe")],
)
def test_what_the_system_refuses_is_one_line_and_leaves_nothing(
    temporary, monkeypatch, begin, refused
) -> None:
    monkeypatch.setattr(*refused, refuse)
    n_files = psutil.Process().num_fds()
    with pytest.raises(LaunchError, match="model m.onnx: .*No space left on device") as caught:
        begin_once(begin)
    assert "\n" not in str(caught.value)
    assert list(temporary.iterdir()) == []
    assert psutil.Process().num_fds() == n_files


@pytest.mark.parametrize("time_limit_s", [1e8, float("inf")])
def test_a_limit_that_the_system_cannot_wait_for_is_none(tmp_path, time_limit_s) -> None:
    path = models.chain(tmp_path / "m.onnx")
    profiler = OnnxRuntimeProfiler(time_limit_s=time_limit_s)
    assert profiler.measure(path, Runtime(), protocol=BRIEF).launches
    with profiler.open(path, Runtime(), protocol=BRIEF) as launch:
        launch.visit()
        assert launch.closed()[1]


def is_alive(pid_file: Path) -> bool:
    """Whether the process runs; one that is killed but not reaped by the system's first does not."""
    try:
        return psutil.Process(int(pid_file.read_text())).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def has_ended(pid_file: Path) -> bool:
    """Whether it ends now; the kernel takes a moment over a signal."""
    deadline = time.monotonic() + 10
    while is_alive(pid_file) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not is_alive(pid_file)


@pytest.fixture
def source(tmp_path) -> Path:
    pytest.importorskip("torch", reason="torch is not installed")
    path = tmp_path / "starts.py"
    path.write_text(STARTS_ANOTHER)
    return path


@pytest.mark.parametrize("function", ["make", "by_shell"])
def test_what_a_model_starts_ends_with_its_process(source, function) -> None:
    runtime = Runtime(provider="torch")
    TorchProfiler(time_limit_s=60).run(
        f"{source}:{function}", runtime, {"input": np.zeros((1, 4), np.float32)}
    )
    assert has_ended(source.with_name("pid"))


def test_what_a_model_starts_ends_with_its_open_launch(source) -> None:
    with TorchProfiler().open(f"{source}:make", Runtime(provider="torch"), protocol=BRIEF) as launch:
        launch.visit()
        assert is_alive(source.with_name("pid"))
        launch.closed()
    assert has_ended(source.with_name("pid"))


def test_what_a_model_starts_ends_where_the_model_fails(source) -> None:
    with pytest.raises((ModelError, LaunchError), match="no model today"):
        TorchProfiler().open(f"{source}:and_fail", Runtime(provider="torch"), protocol=BRIEF)
    assert has_ended(source.with_name("pid"))


def launch_with(**fields) -> Launch:
    """A launch of one quiet thread."""
    known = {"memory_tag": None, "involuntary_switches": 0, "provider": "cpu", "calls_per_block": 1}
    times = dict.fromkeys(("import_s", "session_s", "first_call_s"), 0.0)
    counts = {"warmup_calls": 0, "warmup_agreed": True, "peak_memory_bytes": 1, "base_memory_bytes": 1}
    samples = {name: np.full(100, 1_000_000) for name in ("latency_ns", "thread_cpu_ns")}
    return Launch(**samples, **known, **times, **counts, **fields)


@pytest.mark.parametrize(
    ("fields", "is_so"), [({}, False), ({"steal_share": 0.02}, False), ({"steal_share": 0.03}, True)]
)
def test_time_that_the_hypervisor_took_is_contention(fields, is_so) -> None:
    assert is_contended(launch_with(**fields), 1) is is_so


@pytest.mark.parametrize(("throttled_s", "is_so"), [(None, False), (0.0, False), (0.01, True)])
def test_a_launch_that_a_quota_stopped_is_tagged(throttled_s, is_so) -> None:
    found = FakeProfiler().measure("m.onnx", Runtime(), protocol=Protocol(launches=5))
    launches = (*found.launches[1:], launch_with(throttled_s=throttled_s))
    assert ("throttled" in replace(found, launches=launches).tags) is is_so


def test_a_document_from_before_there_were_such_fields_can_be_read(tmp_path) -> None:
    path = tmp_path / "m.json"
    save_measurements(path, [FakeProfiler().measure("m.onnx", Runtime())])
    document = json.loads(path.read_text())
    for launch in document["measurements"][0]["launches"]:
        for name in ("steal_share", "pressure_share", "throttled_s"):
            del launch[name]
    path.write_text(json.dumps(document))
    (found,) = load_measurements(path)
    assert found.launches[0].throttled_s is None


def test_a_profile_counts_its_whole_calls_and_opens_one_session_at_a_time(tmp_path, monkeypatch) -> None:
    alive: list[int] = []
    real = onnxruntime.InferenceSession

    class Counted(real):
        def __init__(self, *words, **options) -> None:
            alive.append(sum(session() is not None for session in sessions))
            super().__init__(*words, **options)
            sessions.append(weakref.ref(self))

    sessions: list[weakref.ref] = []
    monkeypatch.setattr(onnxruntime, "InferenceSession", Counted)
    path = models.chain(tmp_path / "m.onnx")
    request = request_for("onnxruntime", path, Runtime(), Feeds()) | {"inputs": None, "profile_s": 0.01}
    facts = Job(request, tmp_path).profile()
    assert alive == [0, 0, 0]
    runs = {row["node_name"]: row["n_runs"] for row in facts["operators"]}
    assert set(runs.values()) == {facts["n_calls"]}
