"""Each example runs as it is, in a folder of its own, within its budget of trials."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
NEED_A_GPU = ("gpu_sweep.py",)
ARGUMENTS = {"digits.py": ["4"], "prune.py": ["4"], "tabular.py": ["4"]}
SHOWN = {"model_zoo.py": "ms_per_img"}


def has_cuda() -> bool:
    from profilers import ONNXRUNTIME_PROVIDERS, probe_onnxruntime

    return probe_onnxruntime().providers.get(ONNXRUNTIME_PROVIDERS["cuda"]) == "runs"


def test_without_a_gpu_the_example_for_one_says_why_and_what_to_do(tmp_path) -> None:
    words = [sys.executable, str(EXAMPLES / "gpu_sweep.py"), "1"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    if done.returncode == 0:
        pytest.skip("there is a GPU here")
    last = done.stderr.strip().splitlines()[-1]
    assert "CUDAExecutionProvider" in last
    assert "install onnxruntime-gpu" in last


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_an_example_runs_and_ends_with_a_front(path: Path, tmp_path) -> None:
    if path.name in NEED_A_GPU and not has_cuda():
        pytest.skip("needs an NVIDIA GPU and onnxruntime-gpu")
    words = [sys.executable, str(path), *ARGUMENTS.get(path.name, [])]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert SHOWN.get(path.name, "latency_p50") in done.stdout


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_an_example_is_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 60
