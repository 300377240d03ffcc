"""The probe runs the installed ONNX Runtime in a child process, never in this one."""

import subprocess
import sys

from profilers import _probe
from profilers._probe import probe_onnxruntime


def test_the_processor_runs_a_model_with_its_profile() -> None:
    found = probe_onnxruntime()
    assert found.reason is None
    assert found.providers["CPUExecutionProvider"] == "runs"
    assert set(found.providers.values()) <= {"runs", "idle", "fails"}
    assert found.has_operator_times


def test_a_runtime_that_does_not_answer_is_a_reason() -> None:
    assert probe_onnxruntime(time_limit_s=0.001).reason == "it did not open a tiny model within 0.001 s"


def test_a_runtime_that_breaks_is_a_reason_without_paths(monkeypatch, tmp_path) -> None:
    program = tmp_path / "broken.py"
    program.write_text("raise ImportError('no /home/someone/lib.so')")
    monkeypatch.setattr(_probe, "__file__", str(program))
    found = probe_onnxruntime()
    assert found.reason == "a process that opens a tiny model fails: ImportError"
    assert found.providers == {}


def test_a_process_that_cannot_be_started_is_a_reason(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nothing"))
    reason = "no process could be started to open a tiny model: No such file or directory"
    assert probe_onnxruntime().reason == reason


def test_this_process_stays_without_the_runtime() -> None:
    program = "import sys; from profilers._probe import probe_onnxruntime as probe; probe(); "
    program += "print('onnxruntime' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
