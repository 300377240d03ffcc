"""`moo run --workers`, and `moo.optimize(n_workers=..)`: real processes, ended in every way."""

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

import moo
from moo import workers
from moo.cli import main
from moo.cli._workers import task_maker
from moo.crew import n_cores, pickled
from moo.errors import InputError
from moo.log import LOG
from objectives import FunctionTask

TASK = """
    import os, signal, time
    from moo.errors import InputError
    from moo.evaluation import Estimate, Evaluation
    from objectives import FunctionTask, Task

    def cheap(trial):
        width = trial.suggest_int("width", 1, 10**6)
        time.sleep(float(os.environ.get("SECONDS_A_TRIAL", "0")))
        return {"accuracy": width / (10**6 + 1), "latency_p50": width * 1e-9}

    def once(name):
        try:
            open(name, "x").close()
        except FileExistsError:
            return False
        return True

    def deadly(trial):
        if trial.number == 2 and once("killed"):
            print("about to die", flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        return cheap(trial)

    def together(trial):
        open(f"begun {trial.number}", "w").close()
        while trial.number == 0 and not os.path.exists("begun 1"):
            time.sleep(0.02)  # which only another process can end
        return cheap(trial)

    def deaf(trial):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # as C code that never looks up
        cheap(trial)
        time.sleep(1000)

    def always_deadly(trial):
        cheap(trial)
        os.kill(os.getpid(), signal.SIGKILL)

    def broken(trial):
        cheap(trial)
        raise ValueError("no luck")

    def refused(trial):
        raise InputError("the data do not fit")

    class Timed(Task):
        def evaluate(self, trial, context):
            width = trial.suggest_int("width", 1, 1000)
            time.sleep(0.2)  # some work
            with context.measuring():
                begun = time.monotonic()
                time.sleep(0.3)
                ended = time.monotonic()
            context.pause()
            with open("measured", "a") as file:
                file.write(f"{begun} {ended}\\n")
            values = {"accuracy": width / 1001, "latency_p50": width * 1e-6}
            return Evaluation(metrics={name: Estimate.exact(value) for name, value in values.items()})

    task = FunctionTask(cheap, baseline={"width": 500})
    both = FunctionTask(together, name="both")
    dies = FunctionTask(deadly, name="dies")
    deafens = FunctionTask(deaf, name="deaf")
    always_dies = FunctionTask(always_deadly, name="always_dies")
    fails = FunctionTask(broken, name="fails")
    cannot = FunctionTask(refused, name="cannot")
    unsendable = FunctionTask(lambda trial: cheap(trial), name="unsendable")
"""
OBJECTIVES = ["--maximize", "accuracy", "--minimize", "latency_p50", "--sampler", "random", "--seed", "0"]
LIMIT_S = 300


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    (tmp_path / "tasks.py").write_text(textwrap.dedent(TASK))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


def moo_process(here: Path, *words: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", "from moo.cli import main; main()", "run", *words],
        cwd=here,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def study_of(here: Path, name: str) -> moo.Study:
    return moo.load_study(f"sqlite:///{here}/moo-runs/{name}/study.db")


def logged(here: Path, name: str, event: str) -> list[dict]:
    path = here / "moo-runs" / name / LOG
    text = path.read_text() if path.exists() else ""
    return [r for r in map(json.loads, text.splitlines()) if r["event"] == event]


def wait_for(here: Path, name: str, event: str, n: int) -> list[dict]:
    until = time.monotonic() + LIMIT_S
    while len(found := logged(here, name, event)) < n:
        assert time.monotonic() < until, f"no {n} {event} in time"
        time.sleep(0.05)  # not to take a processor from those it waits for
    return found


def is_whole(study: moo.Study, n_trials: int) -> bool:
    """Whether each trial is there once, finished, and none was begun that nobody asked for."""
    trials = study.optuna_study.trials
    widths = [trial.params["width"] for trial in trials]
    return (
        [trial.number for trial in trials] == list(range(n_trials))
        and len(study.results().complete) == n_trials
        and len(set(widths)) == n_trials
    )


def test_two_workers_finish_a_study_with_nothing_lost_or_doubled(here) -> None:
    process = moo_process(here, "tasks.py:both", "--trials", "9", "--workers", "2", "--verbose", *OBJECTIVES)
    out, err = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, err
    assert "9 trials, 9 complete" in out
    assert "Report: moo-runs/both/index.html" in out
    assert is_whole(study_of(here, "both"), 9)
    begun = logged(here, "both", "trial_begun")
    assert len(begun) == 9
    assert {one["pid"] for one in begun} == {w["process"] for w in logged(here, "both", "worker_started")}
    assert [one["status"] for one in logged(here, "both", "worker_ended")] == [0, 0]
    assert err.count("finished: values") == 9


def test_candidates_are_timed_alone_and_the_wait_is_shown(here) -> None:
    process = moo_process(here, "tasks.py:Timed", "--trials", "6", "--workers", "2", *OBJECTIVES)
    out, err = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, err
    spans = sorted(tuple(map(float, line.split())) for line in (here / "measured").read_text().splitlines())
    assert len(spans) == 6
    assert all(ended <= begun for (_, ended), (begun, _) in itertools.pairwise(spans))
    waited = [trial.evaluation.seconds for trial in study_of(here, "timed").results().complete]
    total = sum(sum(one.get(name, 0.0) for name in ("wait", "paused")) for one in waited)
    assert total > 0
    assert ("measurements waited" in out) == (total >= 1.0)


def test_a_worker_that_dies_is_named_and_its_trial_is_run_again(here) -> None:
    process = moo_process(
        here, "tasks.py:dies", "--trials", "6", "--workers", "2", *OBJECTIVES, SECONDS_A_TRIAL="0.3"
    )
    _, err = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, err
    assert "died: killed by SIGKILL, perhaps for want of memory; it last printed: about to die" in err
    study = study_of(here, "dies")
    assert is_whole(study, 6)
    attempts = [trial.user_attrs[workers.ATTEMPTS] for trial in study.optuna_study.trials]
    assert attempts == [1, 1, 2, 1, 1, 1]


def test_where_every_worker_dies_each_trial_is_given_up_and_the_sweep_says_so(here) -> None:
    process = moo_process(here, "tasks.py:always_dies", "--trials", "2", "--workers", "2", *OBJECTIVES)
    _, err = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 1
    assert "all 2 trials failed" in err.splitlines()[-1]
    assert "its process ended 2 times" in err.splitlines()[-1]


@pytest.mark.parametrize(
    ("task", "status", "said"),
    [("fails", 1, "all 3 trials failed"), ("cannot", 2, "the data do not fit")],
)
def test_an_error_of_a_worker_is_the_commands_own(here, task, status, said) -> None:
    process = moo_process(here, f"tasks.py:{task}", "--trials", "3", "--workers", "2", *OBJECTIVES)
    _, err = process.communicate(timeout=LIMIT_S)
    assert process.returncode == status
    assert said in err.splitlines()[-1]
    assert err.startswith("moo: error: ")


def test_an_interrupt_finishes_the_trials_in_flight_and_the_same_command_goes_on(here, capsys) -> None:
    words = ["tasks.py:task", "--trials", "200", "--workers", "2", *OBJECTIVES]
    process = moo_process(here, *words, SECONDS_A_TRIAL="0.5")
    wait_for(here, "cheap", "trial_begun", 3)
    for one in wait_for(here, "cheap", "worker_started", 2):  # as a terminal does: to all of them
        os.kill(one["process"], signal.SIGINT)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 130, err
    study = study_of(here, "cheap")
    n_done = len(study.optuna_study.trials)
    assert 3 <= n_done < 200
    assert is_whole(study, n_done)
    assert f"Stopped at {n_done} of 200 trials" in out
    assert "stopping after the trials that run" in err
    assert logged(here, "cheap", "study_ended")[-1]["why"] == "stopped"
    with pytest.raises(SystemExit) as ended:
        main(["run", *words[:2], str(n_done + 1), *OBJECTIVES])
    assert ended.value.code == 0
    assert is_whole(study_of(here, "cheap"), n_done + 1)


def test_a_second_interrupt_stops_all_at_once_and_hands_their_trials_back(here) -> None:
    words = ["tasks.py:task", "--trials", "9", "--workers", "2", *OBJECTIVES]
    process = moo_process(here, *words, SECONDS_A_TRIAL="100")
    wait_for(here, "cheap", "trial_begun", 2)
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    while "Ctrl-C again" not in process.stderr.readline():
        pass
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Stopped at once" in out
    trials = study_of(here, "cheap").optuna_study.trials
    assert [(t.state.name, t.user_attrs[workers.ATTEMPTS]) for t in trials] == [("WAITING", 0)] * 2
    for one in logged(here, "cheap", "worker_started"):
        assert not psutil.pid_exists(one["process"])


def test_trials_of_workers_that_do_not_heed_a_second_interrupt_are_handed_back_too(here, monkeypatch) -> None:
    monkeypatch.setattr("moo.crew._GRACE_S", 1.0)

    def interrupted_twice() -> bool:
        if len(logged(here, "deaf", "trial_begun")) == 2:
            raise KeyboardInterrupt
        return False

    make_task = task_maker("tasks.py:deafens", None)
    with pytest.raises(KeyboardInterrupt):
        moo.optimize(
            make_task(),
            make_task=make_task,
            maximize=["accuracy"],
            n_trials=9,
            n_workers=2,
            sampler="random",
            folder="moo-runs/deaf",
            should_stop=interrupted_twice,
        )
    trials = study_of(here, "deaf").optuna_study.trials
    assert [(t.state.name, t.user_attrs[workers.ATTEMPTS]) for t in trials] == [("WAITING", 0)] * 2


def test_workers_end_after_their_trials_where_the_command_is_killed(here) -> None:
    process = moo_process(
        here, "tasks.py:task", "--trials", "200", "--workers", "2", *OBJECTIVES, SECONDS_A_TRIAL="0.5"
    )
    wait_for(here, "cheap", "trial_begun", 2)
    crew = [psutil.Process(one["process"]) for one in logged(here, "cheap", "worker_started")]
    process.kill()
    process.communicate()
    for one in crew:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.wait(60)
    study = study_of(here, "cheap")
    assert is_whole(study, len(study.optuna_study.trials))
    assert len(study.optuna_study.trials) < 20


def test_what_a_worker_prints_is_cut_where_it_is_too_long_and_goes_on(tmp_path, monkeypatch) -> None:
    from moo.crew import _cut, _output_to

    monkeypatch.setattr("moo.crew._MAX_OUTPUT", 1000)
    output = tmp_path / "workers" / "1.txt"
    with _output_to(output) as file:
        assert not isinstance(file, int)
        for n_bytes, n_left in ((1000, 1000), (1, 0), (10, 10)):
            file.write(b"x" * n_bytes)
            file.flush()
            _cut(output)
            assert output.stat().st_size == n_left


def test_workers_share_the_processors_threads_unless_they_are_set(here, monkeypatch) -> None:
    from moo.crew import Crew

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    alone = Crew(b"", folder=here, n_workers=1)
    many = Crew(b"", folder=here, n_workers=1000)
    assert alone._environment["OMP_NUM_THREADS"] == str(n_cores())
    assert many._environment["OMP_NUM_THREADS"] == "1"
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert Crew(b"", folder=here, n_workers=2)._environment["OMP_NUM_THREADS"] == "7"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--workers", "0"], "n_workers: expected a whole number of 1 or more, got 0"),
        (["--workers", "2", "--storage", "sqlite:///:memory:"], "which is in the memory of one: name a file"),
        (["--workers", "many"], "Invalid value for '--workers'"),
    ],
)
def test_wrong_numbers_are_one_line_and_nothing_is_written(here, capsys, words, said) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["run", "tasks.py:task", "--trials", "2", *OBJECTIVES, *words])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
    assert not (here / "moo-runs").exists()


# from Python


def test_a_task_that_other_processes_cannot_make_is_refused_and_told_what_to_do(tmp_path) -> None:
    task = FunctionTask(lambda trial: {"accuracy": 0.5}, name="local")
    with pytest.raises(InputError, match=r"local is none: it cannot be sent .*give make_task"):
        moo.optimize(task, maximize=["accuracy"], n_trials=2, n_workers=2, folder=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


SCRIPT = """
    import moo, sys
    from objectives import FunctionTask

    def mine(trial):
        return {"accuracy": trial.suggest_float("x", 0, 1)}

    if sys.argv[1] == "main":
        task, more = FunctionTask(mine), {}
    elif sys.argv[1] == "module":
        import tasks
        task, more = tasks.task, {}
    else:
        import tasks
        from maker import make
        task, more = tasks.unsendable, {"make_task": make}
    study = moo.optimize(task, maximize=["accuracy"], n_trials=5, n_workers=2, sampler="random",
                         folder="out", **more)
    print(len(study.results().complete))
"""


@pytest.mark.parametrize(
    ("which", "said"),
    [("main", "defined in the script or notebook that runs"), ("module", "5"), ("maker", "5")],
)
def test_a_script_may_use_workers_for_a_task_of_a_module(here, which, said) -> None:
    (here / "maker.py").write_text("import tasks\n\n\ndef make():\n    return tasks.unsendable\n")
    (here / "script.py").write_text(textwrap.dedent(SCRIPT))
    run = subprocess.run(
        [sys.executable, "script.py", which], cwd=here, capture_output=True, text=True, timeout=LIMIT_S
    )
    assert said in (run.stderr if run.returncode else run.stdout).strip().splitlines()[-1]
    assert (run.returncode == 0) == (which != "main")


def test_what_is_sent_to_workers_may_hold_anything_but_names_of_this_script() -> None:
    assert pickled(len, value=b"x" * 10**6)
    with pytest.raises(ValueError, match="cannot be sent to another process"):
        pickled(len, value=lambda: None)
