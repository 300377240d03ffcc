"""What the README shows is run as it is written, in the order it is written."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import moo
from tests.profilers import models

one_after_the_other = pytest.mark.xdist_group("readme")  # one process runs them all, in order

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", README, flags=re.DOTALL | re.MULTILINE)
    return [text for name, text in fenced if name == language]


def run(words: list[str], folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, **environment}
    return subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True)


def with_task(place: Path) -> Path:
    """Put the README's task into a folder."""
    (place / "my_task.py").write_text(blocks("python")[0])
    return place


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with the README's task in it, in which the README's `moo run` is run first."""
    return with_task(tmp_path_factory.mktemp("readme"))


@pytest.fixture
def own_folder(tmp_path) -> Path:
    """A folder with the README's task in it."""
    return with_task(tmp_path)


NEED_A_MODEL = ("moo profile", "moo compare", "moo doctor")
MEASURING = [shlex.split(block) for block in blocks("sh") if block.startswith(NEED_A_MODEL)]
"""The commands that need a model, and no study."""


def test_each_command_is_run_here() -> None:
    known = ("make demo", "moo run", "moo confirm", "moo report", "moo bundle", "ray start", *NEED_A_MODEL)
    assert [block for block in blocks("sh") if not block.startswith(known)] == []


def test_the_first_screen_is_the_two_commands() -> None:
    assert blocks("sh")[0].split("\n") == ["make demo", "make test", ""]


@pytest.mark.slow
def test_make_demo_searches_and_reports(tmp_path) -> None:
    out = tmp_path / "demo"
    done = run(["make", "-C", str(ROOT), "demo", f"VENV={sys.prefix}", f"DEMO=--trials 3 --out {out}"], ROOT)
    assert done.returncode == 0, done.stderr
    assert "Study digits: 3 trials" in done.stdout  # one of them may cost too much to be trained
    assert {"index.html", "front.png", "candidates.csv", "report.json"} <= {f.name for f in out.iterdir()}


@one_after_the_other
@pytest.mark.slow
def test_the_task_and_its_command_run_as_written(folder) -> None:
    command = next(block for block in blocks("sh") if block.startswith("moo run"))
    done = run(shlex.split(command), folder)
    assert done.returncode == 0, done.stderr
    assert "12 trials, 12 complete" in done.stdout
    assert (folder / "moo-runs" / "perceptron" / "index.html").exists()


@one_after_the_other
@pytest.mark.slow
def test_the_python_that_follows_resumes_the_same_study(folder) -> None:
    (script,) = (block for block in blocks("python") if "print(front[[" in block)
    done = run([sys.executable, "-c", script], folder)
    assert done.returncode == 0, done.stderr
    assert "param_width" in done.stdout
    url = f"sqlite:///{folder}/moo-runs/perceptron/study.db"
    assert len(moo.load_study(url).optuna_study.trials) == 12


@one_after_the_other
@pytest.mark.slow
def test_the_second_look_confirms_what_was_found(folder) -> None:
    (command,) = (block for block in blocks("sh") if block.startswith("moo confirm"))
    done = run(shlex.split(command), folder)
    assert done.returncode == 0, done.stderr
    assert (folder / "moo-runs" / "perceptron" / "confirm.json").exists()
    front = moo.load_study(f"sqlite:///{folder}/moo-runs/perceptron/study.db").front()
    assert front["p_on_front"].notna().any()


@pytest.mark.slow
def test_the_report_of_a_table_is_written_as_shown(tmp_path) -> None:
    (command,) = (block for block in blocks("sh") if block.startswith("moo report"))
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    done = run(shlex.split(command), tmp_path)
    assert done.returncode == 0, done.stderr
    (shown,) = (block for block in blocks("") if "rows, " in block)
    assert done.stdout.startswith(shown)
    assert (tmp_path / "zoo" / "index.html").exists()


@one_after_the_other
@pytest.mark.slow
def test_what_is_shipped_is_verified(folder) -> None:
    (both,) = (block for block in blocks("sh") if block.startswith("moo bundle"))
    for command in both.splitlines():
        done = run(shlex.split(command), folder)
        assert done.returncode == 0, done.stdout + done.stderr
    assert "Nothing is broken" in done.stdout
    served = run([sys.executable, "serve.py"], folder / "shipped")
    assert served.returncode == 0, served.stderr
    assert served.stdout.count("close to what is expected: True") == 4


@pytest.mark.slow
def test_what_costs_too_much_is_not_trained_and_halving_stops_others(own_folder) -> None:
    (script,) = (block for block in blocks("python") if "halving:" in block)
    done = run([sys.executable, "-c", script], own_folder)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 10
    assert any("before training: violates parameters <= 15k" in line for line in lines)
    assert any("others do better with as much training" in line for line in lines)


@pytest.mark.slow
def test_one_training_serves_all_deployments_of_the_task_that_says_so(own_folder) -> None:
    (script,) = (block for block in blocks("python") if "class Deployed" in block)
    (own_folder / "deployed.py").write_text(script)
    words = "moo run deployed.py:Deployed --trials 1 --seed 0 --maximize accuracy --minimize latency_p50"
    done = run(words.split(), own_folder)
    assert done.returncode == 0, done.stderr
    assert "6 trials, 6 complete" in done.stdout


@pytest.mark.slow
def test_the_task_with_a_metric_of_its_own_runs(own_folder) -> None:
    (addition,) = (block for block in blocks("python") if "class Calibrated" in block)
    (own_folder / "calibrated.py").write_text("from my_task import Perceptron\n" + addition)
    objectives = "--maximize accuracy --minimize brier --minimize latency_p50"
    done = run(f"moo run calibrated.py:Calibrated --trials 2 {objectives}".split(), own_folder)
    assert done.returncode == 0, done.stderr
    assert "brier" in done.stdout


@pytest.fixture(scope="module")
def with_models(tmp_path_factory) -> Path:
    """A folder with the models that the README's commands name."""
    place = tmp_path_factory.mktemp("models")
    for name, depth in (("model.onnx", 2), ("other.onnx", 4)):
        models.chain(place / name, width=64, depth=depth)
    return place


@pytest.mark.slow
def test_the_profiler_alone_measures_a_model(with_models) -> None:
    (script,) = (block for block in blocks("python") if "OnnxRuntimeProfiler()" in block)
    done = run([sys.executable, "-c", script], with_models)
    assert done.returncode == 0, done.stderr
    assert "Statistic(value=" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("words", MEASURING, ids=" ".join)
def test_the_commands_that_measure_run_as_written(with_models, words) -> None:
    done = run(words, with_models)
    if "cuda" in words and done.returncode == 2:  # no GPU here: two rows, each with the reason
        assert done.stderr.count("has no CUDAExecutionProvider") == 2
        return
    assert done.returncode == 0, done.stderr
    assert done.stdout
    if "--json" in words:
        written = {file.name for file in with_models.iterdir()}
        assert {"profile.json", "profile.csv", "profile.samples"} <= written


def test_every_shell_command_is_one_of_those_run_here() -> None:
    words = [line.split()[:2] for block in blocks("sh") for line in block.strip().split("\n")]
    assert words == [
        ["make", "demo"],
        ["make", "test"],
        ["moo", "run"],
        ["moo", "confirm"],
        ["moo", "report"],
        ["moo", "bundle"],
        ["moo", "verify"],
        *(command[:2] for command in MEASURING),
        ["moo", "run"],
        ["moo", "run"],
        ["ray", "start"],
        ["moo", "run"],
        ["ray", "stop"],
    ]


def test_every_metric_in_the_readme_is_in_the_table_and_the_other_way_round() -> None:
    from moo.metrics import BUILT_IN

    rows = re.search(r"\| metric \| unit.*?\n\n", README, flags=re.DOTALL)
    assert rows is not None
    assert set(re.findall(r"`(\w+)`", rows[0])) == set(BUILT_IN)


@pytest.mark.slow
def test_the_samplers_run_under_optuna_alone(tmp_path) -> None:
    (script,) = (block for block in blocks("python") if "import AutoSampler" in block)
    done = run([sys.executable, "-c", f"{script}\nprint(len(study.best_trials), 'on the front')"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert "on the front" in done.stdout


def test_every_sampler_in_the_readme_is_one_that_can_be_named_and_the_other_way_round() -> None:
    from moo.samplers import SAMPLER_NAMES

    rows = re.search(r"\| name \| what it is.*?\n\n", README, flags=re.DOTALL)
    assert rows is not None
    firsts = re.findall(r"^\|([^|]*)\|", rows[0], flags=re.MULTILINE)
    assert {name for cell in firsts for name in re.findall(r"`([\w-]+)`", cell)} == set(SAMPLER_NAMES)


def test_the_scores_in_the_readme_are_those_of_the_results() -> None:
    results = pd.read_csv(ROOT / "benchmarks" / "results" / "samplers.csv")
    of_all = results[results["group"] == "all"].set_index(["comparison", "sampler"])
    quoted = re.findall(r"^\| `([a-z0-9-]+)` \| (0\.\d\d.*) \|$", README, flags=re.MULTILINE)
    assert len(quoted) >= 8
    for sampler, cells in quoted:
        for budget, cell in zip((50, 100, 200), cells.split(" | "), strict=True):
            if cell.strip():
                assert float(cell) == pytest.approx(
                    of_all.xs(sampler, level="sampler")[f"score_{budget}"].dropna().iloc[0], abs=0.006
                )
