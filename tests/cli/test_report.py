"""`moo report` as a person types it, on real tables and studies."""

import csv
import json
import random
import re
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

import moo as package
from objectives import FunctionTask

ZOO = "model,top1,ms,params\nsmall,70,1,2\nmiddle,79,2,9\nlarge,80,10,40\n"
OBJECTIVES = ("--maximize", "top1", "--minimize", "ms")
DATA = Path(__file__).parent.parent.parent / "examples" / "data" / "timm_imagenet_cpu_i9.csv"


@pytest.fixture
def zoo(tmp_path) -> str:
    path = tmp_path / "zoo.csv"
    path.write_text(ZOO)
    return str(path)


@pytest.fixture
def out(tmp_path) -> Path:
    return tmp_path / "report"


def recommended(out: Path) -> int | None:
    found = json.loads((out / "report.json").read_text())["recommended"]
    return None if found is None else found["id"]


def knee_by_hand(rows: list[tuple[float, float]]) -> int:
    """The rule of two objectives, the first to maximise, the second to minimise, written once more."""
    front = [
        (i, up, down)
        for i, (up, down) in enumerate(rows)
        if not any(a >= up and b <= down and (a, b) != (up, down) for a, b in rows)
    ]
    is_log = min(d for _, d in rows) > 0 and max(d for _, d in rows) > 10 * min(d for _, d in rows)
    losses = [(-up, np.log10(down) if is_log else down) for _, up, down in front]
    scaled = []
    for column in zip(*losses, strict=True):
        span = max(column) - min(column)
        scaled.append([(value - min(column)) / span if span else 0.0 for value in column])
    worst = [max(pair) for pair in zip(*scaled, strict=True)]
    return front[int(np.argmin(worst))][0]


def test_a_table_becomes_a_report_and_the_recommendation_is_printed(moo, zoo, out) -> None:
    done = moo(
        "report", zoo, *OBJECTIVES, "--constraint", "params <= 40", "--label", "model", "--out", str(out)
    )
    assert done.status == 0
    assert "Recommended: middle (top1 79, ms 2, params 9)." in done.out
    assert f"Report: {out}/index.html" in done.out
    assert {"index.html", "front.png", "candidates.csv", "report.json"} <= {p.name for p in out.iterdir()}
    assert recommended(out) == 1
    assert "<title>" in (out / "index.html").read_text()


def test_json_says_what_was_recommended_and_which_files_were_written(moo, zoo, out) -> None:
    out.mkdir()
    (out / "of somebody else.txt").write_text("stays")
    done = moo("report", zoo, *OBJECTIVES, "--label", "model", "--out", str(out), "--json")
    told = json.loads(done.out)
    assert told["recommended"] == {"id": 1, "label": "middle"}
    assert told["files"][0] == str(out / "index.html")
    assert {Path(path) for path in told["files"]} == {
        path for path in out.iterdir() if path.name != "of somebody else.txt"
    }
    again = json.loads(moo("report", zoo, *OBJECTIVES, "--out", str(out), "--json").out)
    assert again["files"] == told["files"]


def test_the_recommendation_is_the_rule_s_on_the_imagenet_table(moo, out) -> None:
    words = ("report", str(DATA), "--maximize", "top1", "--minimize", "ms_per_img", "--label", "model")
    done = moo(*words, "--out", str(out))
    assert done.status == 0
    assert "1,446 complete" in done.out
    with DATA.open(newline="") as file:
        rows = [(float(row["top1"]), float(row["ms_per_img"])) for row in csv.DictReader(file)]
    assert recommended(out) == knee_by_hand(rows)


def test_a_report_s_own_table_gives_the_same_recommendation(moo, out, tmp_path) -> None:
    generator = random.Random(0)
    rows = [(generator.random(), generator.uniform(1, 100)) for _ in range(60)]
    table = tmp_path / "t.csv"
    table.write_text("up,down\n" + "".join(f"{up},{down}\n" for up, down in rows))
    words = ("--maximize", "up", "--minimize", "down")
    assert moo("report", str(table), *words, "--out", str(out)).status == 0
    assert recommended(out) == knee_by_hand(rows)
    again = moo("report", str(out / "candidates.csv"), *words, "--out", str(tmp_path / "again"))
    assert again.status == 0
    assert recommended(tmp_path / "again") == recommended(out)


def test_when_no_row_is_feasible_the_report_is_written_and_says_so(moo, zoo, out) -> None:
    done = moo("report", zoo, *OBJECTIVES, "--constraint", "params <= 1", "--out", str(out))
    assert done.status == 0
    assert "No candidate can be recommended" in done.out
    assert recommended(out) is None
    assert "feasible" in (out / "index.html").read_text()


def test_of_many_objectives_the_first_are_told_on_the_terminal(moo, out, tmp_path) -> None:
    names = [f"m{index}" for index in range(30)]
    table = tmp_path / "t.csv"
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([names, range(30), range(1, 31)])
    done = moo("report", str(table), *(f"--minimize={name}" for name in names), "--out", str(out))
    assert done.status == 0
    assert "Recommended: row 0 (m0 0, m1 1, m2 2, m3 3, m4 4, m5 5, 24 more)." in done.out


def test_where_nothing_is_complete_it_is_said_so(moo, out, tmp_path) -> None:
    study = optuna.create_study(storage=f"sqlite:///{tmp_path}/s.db")
    study.ask()
    done = moo("report", str(tmp_path / "s.db"), "--out", str(out))
    assert (done.status, recommended(out)) == (0, None)
    assert "No candidate can be recommended: none is complete yet." in done.out


def test_hostile_names_are_text_on_the_terminal_and_in_the_page(moo, out, tmp_path) -> None:
    hostile = "<script>alert('x')</script> [red]é 深\n\x1b[31m"
    table = tmp_path / "t.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([[hostile, "na<b>me"], [1, hostile], [2, "b"]])
    words = ("--minimize", hostile, "--label", "na<b>me", "--out", str(out))
    done = moo("report", str(table), *words)
    assert done.status == 0
    assert "alert('x')" in done.out
    assert done.out.replace("\n", "").isprintable()
    assert "<script>alert" not in (out / "index.html").read_text()


# studies


def ran(storage, name="theirs", **options) -> optuna.Study:
    study = optuna.create_study(
        storage=storage, study_name=name, directions=["maximize", "minimize"], **options
    )
    study.optimize(lambda t: (t.suggest_float("x", 0, 1), t.suggest_float("y", 0, 1) ** 2), n_trials=8)
    return study


@pytest.mark.parametrize("source", ["url", "path", "journal"])
def test_any_optuna_study_becomes_a_report(moo, out, tmp_path, source) -> None:
    url, log = f"sqlite:///{tmp_path}/s.db", tmp_path / "s.log"
    study = ran(JournalStorage(JournalFileBackend(str(log))) if source == "journal" else url)
    study.ask()
    given = {"url": url, "path": str(tmp_path / "s.db"), "journal": str(log)}[source]
    done = moo("report", given, "--out", str(out))
    assert done.status == 0
    assert "8 complete" in done.out
    assert "1 more running" in done.out
    assert recommended(out) in {trial.number for trial in study.best_trials}


@pytest.fixture
def sweep(tmp_path) -> Path:
    def cheap(trial):
        width = trial.suggest_int("width", 1, 1000)
        return {"accuracy": width / 1001, "latency_p50": width * 1e-6}

    study = package.optimize(
        FunctionTask(cheap, name="cheap"),
        maximize=["accuracy"],
        minimize=["latency_p50"],
        n_trials=5,
        sampler="random",
        seed=0,
        folder=tmp_path / "sweep",
    )
    return study.folder


def test_a_sweep_s_folder_becomes_a_report_and_its_table_can_be_read_under_others(moo, sweep, out) -> None:
    assert moo("report", str(sweep), "--out", str(out)).status == 0
    assert recommended(out) is not None
    refused = moo("report", str(sweep), "--minimize", "accuracy", "--out", str(out))
    assert refused.status == 2
    assert "was run with its own objectives" in refused.err
    done = moo(
        "report",
        str(out / "candidates.csv"),
        *("--minimize", "latency_p50", "--constraint", "accuracy >= 50%", "--out", str(out / "other")),
    )
    assert done.status == 0


def test_several_studies_are_listed_and_one_is_named(moo, out, tmp_path) -> None:
    url = f"sqlite:///{tmp_path}/s.db"
    for name in ("one", "two"):
        ran(url, name)
    refused = moo("report", url, "--out", str(out))
    assert (refused.status, out.exists()) == (2, False)
    assert "holds 2 studies: name one of them: one, two" in refused.err
    assert moo("report", url, "--study", "two", "--out", str(out)).status == 0


# what is refused: status 2, one line, nothing written


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["zoo.csv", "--out", "report"], "no objective: name a column .*: top1, ms, params"),
        (["zoo.csv", "--maximize", "top", "--out", "report"], "did you mean top1"),
        (["zoo.csv", "--maximize", "model", "--out", "report"], "column 'model', line 2: expected a number"),
        (["zoo.csv", "--minimize", "ms", "--maximize", "ms", "--out", "report"], "given twice"),
        (["zoo.csv", "--minimize", "ms", "--label", "x", "--out", "report"], "has no column 'x'"),
        (["zoo.csv", "--minimize", "ms", "--study", "s", "--out", "report"], "--study: .* is a table"),
        (["zoo.csv", "--minimize", "ms", "--assets", "x", "--out", "report"], "--assets: expected inside or"),
        (["zoo.csv", "--minimize", "ms"], "Missing option '--out'"),
        (["none.csv", "--out", "report"], "SOURCE: expected .* got 'none.csv', which is not there"),
        ([".", "--out", "report"], "has no study.db"),
        (["empty.csv", "--minimize", "ms", "--out", "report"], "is empty"),
        (["noise.csv", "--minimize", "ms", "--out", "report"], "a file that is neither"),
        (["noise.db", "--out", "report"], "expected an SQLite database or a journal of Optuna"),
        (["sqlite:///none.db", "--out", "report"], "there is no such file"),
        (["s.db", "--study", "x", "--out", "report"], "has no study 'x'; it holds: theirs"),
        (["s.db", "--label", "x", "--out", "report"], "--label: a study has no columns"),
        (["postgresql://ann:s3cret@localhost:1/x", "--out", "report"], r"ann:\*\*\*@localhost"),
        (["postgresql:/ann:x@s3cret@h/x", "--out", "report"], r"ann:\*\*\*@h/x', which is not there"),
        (["x" * 300, "--out", "report"], "which cannot be read .File name too long"),
        (["zoo.csv", "--minimize", "ms", "--out", "zoo.csv"], "report folder 'zoo.csv'"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(moo, zoo, tmp_path, monkeypatch, words, said) -> None:
    monkeypatch.chdir(tmp_path)
    ran("sqlite:///s.db")
    (tmp_path / "empty.csv").touch()
    for name in ("noise.csv", "noise.db"):
        (tmp_path / name).write_bytes(random.Random(0).randbytes(4096))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    done = moo("report", *words)
    assert done.status == 2
    assert done.out == ""
    assert len(done.err.strip().splitlines()) == 1
    assert "s3cret" not in done.err
    assert re.search(said, done.err), done.err
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_table_is_not_replaced_by_its_own_report(moo, zoo, tmp_path) -> None:
    own = tmp_path / "candidates.csv"
    own.write_text(ZOO)
    done = moo("report", str(own), *OBJECTIVES, "--out", str(tmp_path))
    assert done.status == 2
    assert "the report would replace" in done.err
    assert own.read_text() == ZOO
