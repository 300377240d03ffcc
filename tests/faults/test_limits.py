"""A trial that takes more time, memory or room than it may has failed; the sweep goes on."""

import itertools
import json
import os
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

import moo
from moo.cli import main
from moo.cli._workers import task_maker
from moo.errors import InputError, SweepError
from moo.limits import Limits, Running, TrialWatch, tree_bytes
from moo.log import LOG
from objectives import FunctionTask

MIB = 2**20
TASK = """
    import os, re, sys, time
    from pathlib import Path
    from objectives import FunctionTask, Task
    from moo.evaluation import Estimate, Evaluation

    def hang_in_c():
        re.match("(a+)+$", "a" * 60 + "b")  # holds the interpreter for longer than anybody lives

    def leak():
        kept = []
        while True:
            kept.append(bytearray(2**20) + b"x")
            time.sleep(0.001)

    def fork():
        if os.fork() == 0:
            Path("child").write_text(str(os.getpid()))
            time.sleep(1000)
        while not Path("child").exists():
            time.sleep(0.01)
        time.sleep(1000)

    def harmful(trial):
        width = trial.suggest_int("width", 1, 10**6)
        if trial.number == 1:
            globals()[os.environ["HARM"]]()
        return {"accuracy": width / (10**6 + 1)}

    kept = []

    def leaves_behind(trial):
        width = trial.suggest_int("width", 1, 10**6)
        kept.append(b"x" * (300 * 2**20))
        if len(kept) > 1:
            time.sleep(1000)  # until it is ended for what the trial before leaked
        return {"accuracy": width / (10**6 + 1)}

    def hangs_as_baseline(trial):
        width = trial.suggest_int("width", 1, 10**6)
        time.sleep(1000)

    class Large(Task):
        def evaluate(self, trial, context):
            trial.suggest_int("width", 1, 10**6)
            if trial.number == 1:
                (context.folder / "model.onnx").write_bytes(bytes(2 * 2**20))
                while os.environ.get("HARM") == "endless":
                    time.sleep(0.1)
            return Evaluation(metrics={"accuracy": Estimate.exact(0.5)})

    task = FunctionTask(harmful)
    leaky = FunctionTask(leaves_behind)
    stuck = FunctionTask(hangs_as_baseline, baseline={"width": 5})
    large = Large()
"""


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    (tmp_path / "limited.py").write_text(textwrap.dedent(TASK))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


def sweep(name: str, **changes) -> moo.Study:
    make_task = task_maker(f"limited.py:{name}", None)
    arguments = {"maximize": ["accuracy"], "n_trials": 3, "sampler": "random", "seed": 0, "folder": "out"}
    return moo.optimize(make_task(), make_task=make_task, **{**arguments, **changes})


def ends(study: moo.Study) -> dict[int, tuple[str, str | None]]:
    return {trial.number: (trial.state, trial.stage) for trial in study.results().trials}


ONE_FAILED = {0: ("complete", None), 1: ("failed", "limit"), 2: ("complete", None)}


@pytest.mark.parametrize("n_workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_trial_that_hangs_in_c_code_ends_at_its_limit_of_time(here, monkeypatch, n_workers) -> None:
    monkeypatch.setenv("HARM", "hang_in_c")
    study = sweep("task", limits=Limits(time_s=3), n_workers=n_workers)
    assert ends(study) == ONE_FAILED
    assert study.results().failed[0].reason == "took longer than 3 s"
    events = [json.loads(line) for line in Path("out", LOG).read_text().splitlines()]
    ended = [one["why"] for one in events if one["event"] == "worker_ended" and one["why"]]
    assert ended == ["trial 1 took longer than 3 s"]


def test_a_trial_that_leaks_ends_at_its_limit_of_memory(here, monkeypatch) -> None:
    monkeypatch.setenv("HARM", "leak")
    study = sweep("task", limits=Limits(memory_bytes=600 * MIB))
    assert ends(study) == ONE_FAILED
    assert study.results().failed[0].reason.endswith("more than the limit of 600 MiB")
    attempts = [trial.user_attrs["moo:attempts"] for trial in study.optuna_study.trials]
    assert attempts == [1, 2, 1]  # the first time it was not alone in its process


def test_what_earlier_trials_leaked_fails_none(here) -> None:
    study = sweep("leaky", limits=Limits(memory_bytes=600 * MIB), n_trials=2)
    assert ends(study) == {0: ("complete", None), 1: ("complete", None)}


@pytest.mark.slow
def test_what_a_trial_has_forked_ends_with_it(here, monkeypatch) -> None:
    monkeypatch.setenv("HARM", "fork")
    assert ends(sweep("task", limits=Limits(time_s=3))) == ONE_FAILED
    assert not psutil.pid_exists(int(Path("child").read_text()))


def test_too_large_files_fail_a_trial_and_are_removed(here) -> None:
    study = sweep("large", limits=Limits(files_bytes=1 * MIB))
    assert ends(study) == ONE_FAILED
    assert study.results().failed[0].reason == "its files are 2 MiB, more than the limit of 1 MiB"
    assert [path.name for path in Path("out", "trials", "00001").iterdir()] == ["error.txt"]


@pytest.mark.slow
def test_files_that_grow_are_noticed_while_the_trial_runs(here, monkeypatch) -> None:
    monkeypatch.setenv("HARM", "endless")
    study = sweep("large", limits=Limits(files_bytes=1 * MIB, time_s=1000))
    assert ends(study) == ONE_FAILED
    assert not Path("out", "trials", "00001").exists()


def test_a_baseline_that_bounds_rest_on_ends_the_sweep_where_it_hangs(here) -> None:
    with pytest.raises(SweepError, match=r"the baseline failed.*limit: took longer than 2 s"):
        sweep("stuck", limits=Limits(time_s=2), constraints=["accuracy >= baseline - 1%"])


def test_a_baseline_that_fails_where_nothing_rests_on_it_is_one_failed_trial(tmp_path) -> None:
    def fails_at_five(trial):
        width = trial.suggest_int("width", 1, 1000)
        if width == 5:
            raise ValueError("five")
        return {"accuracy": width / 1001}

    task = FunctionTask(fails_at_five, baseline={"width": 5})
    study = moo.optimize(
        task, maximize=["accuracy"], n_trials=4, sampler="random", seed=0, folder=tmp_path / "o"
    )
    assert [trial.state for trial in study.results().trials] == ["failed", "complete", "complete", "complete"]


# from the command line


def test_the_command_takes_limits_and_its_end_tells_the_truth(here, monkeypatch, capsys) -> None:
    monkeypatch.setenv("HARM", "hang_in_c")
    words = ["run", "limited.py:task", "--trials", "3", "--maximize", "accuracy", "--sampler", "random"]
    with pytest.raises(SystemExit) as left:
        main([*words, "--trial-timeout", "3", "--trial-memory", "4 GiB", "--trial-files", "1 GB"])
    out = capsys.readouterr().out
    assert left.value.code == 0
    assert "3 trials, 2 complete" in out
    assert "took longer than 3 s" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--trial-timeout", "0"], "limits: time_s: expected a number above 0, got 0.0"),
        (["--trial-timeout", "nan"], "limits: time_s: expected a number above 0, got nan"),
        (["--trial-memory", "8"], "no unit in '8': trial_memory takes B, kB"),
        (["--trial-memory", "0 GB"], "limits: memory_bytes: expected a number above 0"),
        (["--trial-files", "many"], "trial_files: expected a number and a unit (B, kB"),
    ],
)
def test_wrong_limits_are_one_line_and_nothing_is_written(here, capsys, words, said) -> None:
    with pytest.raises(SystemExit) as left:
        main(["run", "limited.py:task", "--trials", "3", "--maximize", "accuracy", *words])
    assert left.value.code == 2
    assert said in capsys.readouterr().err
    assert not Path("moo-runs").exists()


def test_limits_of_another_type_are_refused(tmp_path) -> None:
    with pytest.raises(InputError, match="expected moo.Limits, such as"):
        moo.optimize(FunctionTask(lambda trial: {}), maximize=["accuracy"], n_trials=1, limits=60)  # type: ignore[arg-type]


def test_a_limit_of_time_needs_a_task_that_another_process_can_make(tmp_path) -> None:
    task = FunctionTask(lambda trial: {"accuracy": 0.5}, name="local")
    with pytest.raises(InputError, match=r"limits: one of time or memory needs a task .*leave the limit out"):
        moo.optimize(
            task, maximize=["accuracy"], n_trials=1, limits=Limits(time_s=9), folder=tmp_path / "out"
        )


# the watch


def watch(limits: Limits, times, memory: float = 0.0) -> TrialWatch:
    clock = iter(times)
    return TrialWatch(
        limits, folder_of=lambda _: Path("nowhere"), clock=lambda: next(clock), memory_of=lambda *_: memory
    )


ONE = Running(number=3, attempt=1, process=7)


def test_time_counts_from_where_an_attempt_is_first_seen() -> None:
    seen = watch(Limits(time_s=10), [0.0, 5.0, 10.0, 10.1])
    seen.follow([ONE])
    seen.follow([ONE])
    assert seen.excesses(is_quiet=False) == []
    assert seen.excesses(is_quiet=False) == [(ONE, "took longer than 10 s")]


def test_another_attempt_or_a_trial_that_ended_counts_anew() -> None:
    again = Running(number=3, attempt=2, process=8)
    seen = watch(Limits(time_s=10), [0.0, 9.0, 15.0, 16.0, 30.0])
    seen.follow([ONE])
    seen.follow([again])
    assert seen.excesses(is_quiet=False) == []
    seen.follow([])
    assert seen.excesses(is_quiet=False) == []


@pytest.mark.parametrize(("is_quiet", "n_looks"), [(False, 10), (True, 3)])
def test_memory_is_looked_at_rarely_while_a_candidate_is_timed(is_quiet, n_looks) -> None:
    looks = []
    times = itertools.count(0.0, 0.5)
    seen = TrialWatch(
        Limits(memory_bytes=1e9),
        folder_of=lambda _: Path("nowhere"),
        clock=lambda: next(times),
        memory_of=lambda process, _: looks.append(process) or 0.0,
    )
    seen.follow([ONE])
    for _ in range(10):
        assert seen.excesses(is_quiet=is_quiet) == []
    assert len(looks) == n_looks


def test_memory_of_this_process_is_known_and_of_none_is_nothing() -> None:
    assert tree_bytes(os.getpid(), 1e15) > 10 * MIB
    assert tree_bytes(2**22 + 1, 1e15) == 0.0
