"""A worker killed in any stage of a trial: the trial is run again, once; nothing is lost or doubled."""

import subprocess
import sys
import textwrap
from collections import Counter

import pytest

import moo
from moo import workers

STAGES = ("ask", "build", "export", "measure", "fit", "score", "tell")

TASK = """
    import os, signal
    from datetime import timedelta

    import numpy as np
    import optuna
    import torch

    import objectives._torch
    from moo import workers
    from objectives import Split, Splits, TorchTask
    from profilers import OnnxRuntimeProfiler

    STAGES = {stages!r}  # trial 1 is killed in the first, and so on
    workers._UNSIGNED_GRACE = timedelta(seconds=1)  # nothing takes longer to sign here
    running = [0]

    def die(stage):
        if STAGES.index(stage) + 1 != running[0]:
            return
        try:
            open(f"killed in {{stage}}", "x").close()
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)

    def dying(stage, call):
        def called(*arguments, **named):
            die(stage)
            return call(*arguments, **named)
        return called

    ask = optuna.Study.ask

    def asked(study, *arguments, **named):
        trial = ask(study, *arguments, **named)
        running[0] = trial.number
        die("ask")
        return trial

    optuna.Study.ask = asked
    optuna.Study.tell = dying("tell", optuna.Study.tell)
    objectives._torch.Exporter.write = dying("export", objectives._torch.Exporter.write)

    class Profiler(OnnxRuntimeProfiler):
        measure = dying("measure", OnnxRuntimeProfiler.measure)

    class Small(TorchTask):
        profiler = Profiler()

        def data(self):
            inputs = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
            part = Split(inputs, (inputs[:, 0] > 0).astype("int64"))
            return Splits(part, part, part)

        def build(self, trial):
            die("build")
            return torch.nn.Linear(4, trial.suggest_int("width", 2, 1000))

        def fit(self, model, trial, data, report):
            die("fit")
            with open("fitted", "a") as file:
                file.write(f"{{trial.number}}\\n")

        def score(self, outputs, targets):
            die("score")
            return {{"accuracy": 0.5}}
"""


@pytest.mark.slow
def test_a_worker_may_be_killed_in_every_stage(tmp_path) -> None:
    (tmp_path / "small.py").write_text(textwrap.dedent(TASK.format(stages=STAGES)))
    words = ["small.py:Small", "--trials", "8", "--maximize", "accuracy", "--minimize", "latency_p50"]
    more = ["--trial-timeout", "1000", "--sampler", "random", "--seed", "0"]  # a limit makes it a worker
    code = "from moo.cli import main; main()"
    ran = subprocess.run(
        [sys.executable, "-c", code, "run", *words, *more],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert ran.returncode == 0, ran.stderr
    assert "8 trials, 8 complete" in ran.stdout
    assert sorted(path.name for path in tmp_path.glob("killed *")) == sorted(f"killed in {s}" for s in STAGES)
    trials = moo.load_study(f"sqlite:///{tmp_path}/moo-runs/small/study.db").optuna_study.trials
    attempts = {trial.number: trial.user_attrs[workers.ATTEMPTS] for trial in trials}
    assert attempts == {0: 1, 1: 1} | dict.fromkeys(range(2, 8), 2)  # one that nobody signed had not begun
    fitted = Counter(map(int, (tmp_path / "fitted").read_text().split()))
    was_trained = {STAGES.index(stage) + 1 for stage in ("export", "measure", "score")}
    assert fitted == {number: 2 if number in was_trained else 1 for number in range(8)}
