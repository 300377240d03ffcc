"""Processes that work on one study, as scripts that a person would write."""

import subprocess
import sys
import textwrap
from pathlib import Path

WORKER = """
    import sys, time
    from pathlib import Path
    import moo
    from objectives import FunctionTask

    storage, n_trials, pause_s = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])

    def slow(trial):
        width = trial.suggest_int("width", 1, 10**9)
        with open("evaluated", "a") as file:
            file.write(f"{trial.number}\\n")
        time.sleep(pause_s)
        return {"accuracy": width / (10**9 + 1), "latency_p50": width * 1e-12}

    moo.optimize(FunctionTask(slow), maximize=["accuracy"], minimize=["latency_p50"], sampler="random",
                 seed=0, n_trials=n_trials, storage=storage, folder="out")
"""


def script(folder: Path, text: str) -> Path:
    path = folder / "script.py"
    path.write_text(textwrap.dedent(text))
    return path


def begin(folder: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "script.py", *words],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(*processes: subprocess.Popen[str]) -> list[tuple[int, str, str]]:
    """Wait for processes; return status, output and errors of each."""
    streams = [process.communicate(timeout=300) for process in processes]
    return [(process.returncode, *said) for process, said in zip(processes, streams, strict=True)]
