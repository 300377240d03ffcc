"""What a person types and reads; each test is a real process or a real call of `main`."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import moo
from moo.cli import main

TASK = """
    import os, time
    from objectives import FunctionTask, Task

    def cheap(trial):
        width = trial.suggest_int("width", 1, 1000)
        time.sleep(float(os.environ.get("SECONDS_A_TRIAL", "0")))
        return {"accuracy": width / 1001, "latency_p50": width * 1e-6}

    def broken(trial):
        raise ValueError(f"no luck with trial {trial.number > 1}")

    class Unfinished(Task):
        pass

    class NeedsMore(Task):
        def __init__(self, path):
            pass

        def evaluate(self, trial, context):
            return None

    task = FunctionTask(cheap, baseline={"width": 500})
    fails = FunctionTask(broken)
    number = 3
"""
OBJECTIVES = ["--maximize", "accuracy", "--minimize", "latency_p50", "--sampler", "random", "--seed", "0"]


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    (tmp_path / "tasks.py").write_text(textwrap.dedent(TASK))
    (tmp_path / "broken_file.py").write_text("import nosuchmodule\n")
    (tmp_path / "syntax.py").write_text("def (:\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


def moo_run(*words: str) -> int:
    with pytest.raises(SystemExit) as exit_:
        main(["run", *words])
    assert isinstance(exit_.value.code, int)
    return exit_.value.code


def moo_process(here: Path, *words: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", "from moo.cli import main; main()", *words],
        cwd=here,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_run_ends_with_the_front_and_a_report(here, capsys) -> None:
    assert (
        moo_run("tasks.py:task", "--trials", "8", *OBJECTIVES, "--constraint", "latency_p50 <= 1 x baseline")
        == 0
    )
    said = capsys.readouterr()
    assert "8 trials, 8 complete" in said.out
    assert "latency_p50 <= 1 x baseline = 500 us" in said.out
    assert "0 baseline" in said.out
    folder = here / "moo-runs" / "cheap"
    assert f"Report: {folder.relative_to(here)}/index.html" in said.out
    assert {"index.html", "front.png", "candidates.csv", "report.json"} <= {f.name for f in folder.iterdir()}
    assert json.loads((folder / "report.json").read_text())["schema"] == "moo.report/1"
    assert said.err == ""


def test_the_same_command_resumes(here, capsys) -> None:
    moo_run("tasks.py:task", "--trials", "3", *OBJECTIVES)
    assert moo_run("tasks.py:task", "--trials", "5", *OBJECTIVES) == 0
    assert "5 trials, 5 complete" in capsys.readouterr().out


def test_out_and_storage_and_study_go_where_they_are_told(here) -> None:
    words = ["--storage", "sqlite:///other.db", "--study", "mine", "--out", "there"]
    assert moo_run("tasks.py:task", "--trials", "2", *OBJECTIVES, *words) == 0
    assert len(moo.load_study("sqlite:///other.db", "mine").results().trials) == 2
    assert (here / "there" / "index.html").exists()
    assert not (here / "moo-runs").exists()


def test_a_sweep_that_fails_throughout_exits_with_1_and_the_commonest_reason(here, capsys) -> None:
    assert moo_run("tasks.py:fails", "--trials", "5", "--maximize", "accuracy") == 1
    said = capsys.readouterr().err
    assert said.startswith(
        "moo: error: all 5 trials failed; the commonest reason, 3 times: task: ValueError: no luck"
    )
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nothing.py:task"], "there is no file nothing.py"),
        (["tasks.py"], "expected file.py:name or package.module:name, got 'tasks.py'"),
        (["tasks.py:tsk"], "tasks.py has no 'tsk'; did you mean task?"),
        (["tasks.py:number"], "is of type int, expected an objectives.Task"),
        (["tasks.py:Unfinished"], "does not define evaluate()"),
        (["tasks.py:NeedsMore"], "NeedsMore() raised TypeError"),
        (["broken_file.py:task"], "does not import: ModuleNotFoundError: No module named 'nosuchmodule'"),
        (["syntax.py:task"], "does not import: SyntaxError"),
        (["no.such.module:task"], "no.such.module does not import"),
        (["tasks:task", "--maximize", "speed"], "unknown metric 'speed'"),
        (["tasks:task", "--constraint", "latency_p50 < 3 ms"], "expected <= or >=, got '<'"),
        (["tasks:task", "--constraint", "latency_p50 <= 3 lightyears"], "unknown unit 'lightyears'"),
        (
            ["tasks:task", "--constraint", "latency_p50 <= 3 ms", "--constraint", "latency_p50 >= 4 ms"],
            "contradict each other",
        ),
        (["tasks:task", "--trials", "0"], "n_trials: expected a whole number of 1 or more, got 0"),
        (["tasks:task", "--trials", "many"], "Invalid value for '--trials': Input should be a valid integer"),
        (["tasks:task", "--sampler", "best"], "unknown name 'best'"),
        (["tasks:task", "--storage", "sqlite:////no/such/folder/x.db"], "there is no folder /no/such/folder"),
        (["tasks:task", "--storage", "x.db"], "expected a URL"),
        (["tasks:task", "--nonsense"], "No such option: --nonsense"),
    ],
)
def test_wrong_input_is_one_line_exit_status_2_and_nothing_written(here, capsys, words, said) -> None:
    before = sorted(here.iterdir())
    defaults = [] if "--trials" in words else ["--trials", "3"]
    objective = [] if "--maximize" in words else ["--maximize", "accuracy"]
    assert moo_run(*words, *defaults, *objective) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.startswith("moo: error: ")
    assert error.count("\n") == 1
    assert [path for path in sorted(here.iterdir()) if path.name != "__pycache__"] == before


def test_no_objective_is_wrong_input(here, capsys) -> None:
    assert moo_run("tasks.py:task", "--trials", "3") == 2
    assert "no objective" in capsys.readouterr().err


def test_debug_shows_the_traceback(here) -> None:
    with pytest.raises(moo.errors.TaskLoadError):
        main(["run", "nothing.py:task", "--trials", "3", "--debug"])


def test_a_changed_constraint_is_refused_and_named(here, capsys) -> None:
    moo_run("tasks.py:task", "--trials", "2", *OBJECTIVES)
    assert moo_run("tasks.py:task", "--trials", "3", *OBJECTIVES, "--constraint", "latency_p50 <= 1 ms") == 2
    assert "constraints were [], now [latency_p50 <= 1 ms]" in capsys.readouterr().err


def wait_for_trials(here: Path, n: int) -> None:
    """Wait until a sweep in another process has finished some trials."""
    folder = here / "moo-runs" / "cheap" / "trials"
    while not folder.exists() or len(list(folder.iterdir())) <= n:
        pass


def test_an_interrupt_finishes_the_trial_in_flight_reports_and_exits_with_130(here) -> None:
    words = ["run", "tasks.py:task", "--trials", "1000", *OBJECTIVES]
    process = moo_process(here, *words, SECONDS_A_TRIAL="0.2")
    wait_for_trials(here, 2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    study = moo.load_study("sqlite:///moo-runs/cheap/study.db")
    n_done = len(study.results().complete)
    assert process.returncode == 130
    assert "stopping after this trial" in err
    assert f"Stopped at {n_done} of 1000 trials" in out
    assert len(study.optuna_study.trials) == n_done >= 2
    assert (here / "moo-runs" / "cheap" / "index.html").exists()


def test_a_second_interrupt_stops_at_once_and_says_so(here) -> None:
    process = moo_process(here, "run", "tasks.py:task", "--trials", "9", *OBJECTIVES, SECONDS_A_TRIAL="9")
    wait_for_trials(here, 0)
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    said = iter(process.stderr.readline, "")
    assert any("Ctrl-C again" in line for line in said), "it ended before it said so"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Stopped at once" in out, err


def test_a_killed_run_is_finished_by_the_same_command(here, capsys) -> None:
    words = ["run", "tasks.py:task", "--trials", "12", *OBJECTIVES]
    process = moo_process(here, *words, SECONDS_A_TRIAL="0.2")
    wait_for_trials(here, 3)
    process.kill()
    process.communicate(timeout=60)
    before = moo.load_study("sqlite:///moo-runs/cheap/study.db").results().trials
    assert moo_run(*words[1:]) == 0
    study = moo.load_study("sqlite:///moo-runs/cheap/study.db")
    assert len(study.optuna_study.trials) == len(study.results().complete) == 12
    assert [t.params for t in study.results().trials[: len(before)]] == [t.params for t in before]


def test_help_names_the_commands(capsys) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["--help"])
    assert exit_.value.code == 0
    assert {"run", "demo"} <= set(capsys.readouterr().out.split())
