"""How long a report takes and what it weighs: `python -m benchmarks.reports [run|page]`.

`run` builds the reports of a small and a large study and of a large table, each in a process of its own,
times the parts, weighs the files, opens each page in Chromium and moves its first slider; `page` writes the
page from what is stored. Seconds are of the processor, so that a busy machine changes them little; those of
the browser are of the wall.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from moo.evaluation import Artefact, Estimate, Evaluation
from moo.problem import Problem
from moo.results import FinishedTrial, Results

RESULTS = Path(__file__).with_name("results")
ROWS = RESULTS / "reports.json"
CASES = {"50 trials": 50, "10,000 trials": 10_000, "200,000 rows": 200_000}
N_MOVES = 15
FIRST_SLIDER = "#bounds input[type=range]"


def study(n: int, *, seed: int = 0) -> Results:
    """Return a made sweep of n trials: 10 parameters, 4 metrics, learning curves, some ended early."""
    rng = np.random.default_rng(seed)
    problem = Problem.parse(
        maximize=["accuracy"],
        minimize=["latency_p50", "file_size"],
        constraints=["latency_p95 <= 400 us", "file_size <= 4 MB"],
    )
    trials = tuple(_trial(number, problem, rng) for number in range(n))
    return Results(f"{n:,} trials", problem, trials, bounds=problem.bounds(), task="made")


def _trial(number: int, problem: Problem, rng: np.random.Generator) -> FinishedTrial:
    params: dict[str, Any] = {
        "width": int(rng.integers(4, 65)),
        "blocks": int(rng.integers(1, 6)),
        "kernel": int(rng.choice([3, 5, 7])),
        "activation": str(rng.choice(["relu", "gelu", "hardswish"])),
        "is_residual": bool(rng.random() < 0.5),
        "learning_rate": float(10 ** rng.uniform(-4, -1)),
        "weight_decay": float(10 ** rng.uniform(-6, -2)),
        "dropout": float(rng.uniform(0, 0.5)),
        "precision": str(rng.choice(["fp32", "int8-static"])),
        "intra_op_num_threads": int(rng.choice([1, 2])),
    }
    if rng.random() < 0.04:
        return FinishedTrial(
            number=number, state="failed", params=params, stage="export", reason="no such operator"
        )
    size = 4.0 * params["blocks"] * (params["width"] * params["kernel"]) ** 2
    size *= 0.3 if params["precision"] != "fp32" else 1.0
    latency = (40e-6 + 1e-10 * size) * float(rng.lognormal(0, 0.3)) * (1 + 0.1 * params["blocks"])
    tuned = 1 - 0.1 * (np.log10(params["learning_rate"]) + 2.5) ** 2 - 0.2 * params["dropout"] ** 2
    quality = float(tuned * (0.99 - 2 / np.sqrt(size)) + rng.normal(0, 0.004))
    accuracy = round(min(1.0, max(0.1, quality)) * 1797) / 1797
    metrics = {
        "accuracy": Estimate(accuracy, max(0.0, accuracy - 0.01), min(1.0, accuracy + 0.01)),
        "latency_p50": Estimate(latency, latency * 0.98, latency * 1.03),
        "latency_p95": Estimate(latency * 1.2, latency * 1.15, latency * 1.3),
        "file_size": Estimate.exact(round(size)),
    }
    rules = [(c.key, c.violation(metrics[c.metric.name], c.bound())) for c in problem.constraints]
    violations = {key: violation for key, violation in rules if violation is not None}
    is_pruned = bool(number) and max(violations.values()) > 1
    n_steps = 4 if is_pruned else 20
    curve = tuple(
        (step, {"accuracy": accuracy * (1 - 0.5 / step), "loss": 1 / step}) for step in range(1, n_steps + 1)
    )
    if is_pruned:
        del metrics["accuracy"]
    return FinishedTrial(
        number=number,
        state="pruned" if is_pruned else "complete",
        params=params,
        evaluation=Evaluation(
            metrics=metrics,
            tags=("single_launch", "ok"),
            artefact=Artefact(path=f"trials/{number}/model.onnx", sha256=f"{number:064x}", bytes=round(size)),
            runtime={"provider": "cpu", "intra_op_num_threads": params["intra_op_num_threads"], "batch": 1},
            curve=curve,
            seconds={"fit": 2.0, "measure": 1.0},
        ),
        violations=violations,
        reason="stopped by halving" if is_pruned else None,
        is_baseline=number == 0,
        duration_s=4.0,
    )


def table(path: Path, n: int, *, seed: int = 0) -> None:
    """Write a made table of n rows and 10 columns: a label, 4 metrics, 5 settings."""
    import pandas as pd

    rng = np.random.default_rng(seed)
    size = np.exp(rng.normal(2, 1.2, n))
    frame = pd.DataFrame(
        {
            "model": [f"model-{number % 40}/{number}" for number in range(n)],
            "top1": (84 - 30 / np.sqrt(size) + rng.normal(0, 2, n)).round(3),
            "ms_per_img": (0.3 * size * np.exp(rng.normal(0, 0.4, n))).round(4),
            "size_mb": size.round(3),
            "memory_mb": (40 + 3 * size + rng.normal(0, 4, n)).round(2),
            "img_size": rng.choice([160, 192, 224, 256, 288], n),
            "family": rng.choice(["resnet", "vit", "convnext", "efficientnet"], n),
            "runtime": rng.choice(["onnx", "torch"], n),
            "precision": rng.choice(["fp32", "fp16", "int8"], n),
            "note": rng.choice(["", "distilled", "pretrained"], n),
        }
    )
    frame.to_csv(path, index=False)


def run(arguments: argparse.Namespace) -> int:
    """Build each case's reports in a process of its own, and store what it took."""
    rows = {} if not ROWS.exists() else json.loads(ROWS.read_text())
    for case in arguments.case or CASES:
        words = [sys.executable, "-m", "benchmarks.reports", "one", case]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True, env=environment)
        rows[case] = json.loads(done.stdout.splitlines()[-1])
        ROWS.write_text(json.dumps(rows, indent=1) + "\n")
        print(case, rows[case], flush=True)
    return write_page(arguments)


def write_page(arguments: argparse.Namespace) -> int:  # noqa: ARG001
    """Print the page that is written beside the results."""
    text = page(json.loads(ROWS.read_text()))
    (RESULTS / "reports.md").write_text(text)
    print(text)
    return 0


def one(case: str) -> dict[str, Any]:
    """Return what one case took and weighs; in a process of its own, so that imports count."""
    with tempfile.TemporaryDirectory() as folder:
        return _measured(case, Path(folder))


def _measured(case: str, folder: Path) -> dict[str, Any]:
    import reports

    seconds: dict[str, float] = {}
    if "rows" in case:
        from moo.tables import read_table

        table(folder / "table.csv", CASES[case])
        options: dict[str, Any] = {"maximize": ["top1"], "minimize": ["ms_per_img"], "label": "model"}
        results, seconds["reading"] = _timed(
            lambda: read_table(folder / "table.csv", constraints=["size_mb <= 30"], **options)
        )
    else:
        results = study(CASES[case])
    started = time.perf_counter()
    page_path, seconds["report"] = _timed(lambda: reports.write(results, folder / "inside"))
    wall_s = time.perf_counter() - started
    beside_path = reports.write(results, folder / "beside", assets="beside")
    return {
        "counts": results.counts,
        "seconds": {**seconds, **_parts(results)},
        "wall_s": wall_s,
        "bytes": {path.name: path.stat().st_size for path in sorted(page_path.parent.iterdir())},
        "bytes_beside": beside_path.stat().st_size,
        "load": os.getloadavg()[0],
        **_in_browser(page_path),
    }


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    started = time.process_time()
    done = work()
    return done, time.process_time() - started


def _parts(results: Results) -> dict[str, float]:
    """Return the processor seconds of each part, when all is imported."""
    from moo.importances import importances
    from reports._choice import choose
    from reports._data import front_chart
    from reports._found import found
    from reports._html import page as html
    from reports._pngs import pngs
    from reports._record import candidates_csv, report_json

    choice, seconds = choose(results), {}
    how = found(results)
    parts: dict[str, Callable[[], Any]] = {
        "choice": lambda: choose(results),
        "importances": lambda: importances(results),
        "how it was found": lambda: found(results),
        "report.json": lambda: report_json(results, choice),
        "candidates.csv": lambda: candidates_csv(results),
        "PNGs": lambda: pngs(results, front_chart(results, choice.number), how),
        "page": lambda: html(results, choice, how),
    }
    for name, part in parts.items():
        _, seconds[name] = _timed(part)
    seconds["how it was found"] -= seconds["importances"]
    return seconds


def _in_browser(path: Path) -> dict[str, Any]:
    """Open the page and move its first slider; wall milliseconds, or nothing where no browser is."""
    try:
        from tests.reports.browser import CHROMIUM, chromium, open_page
    except ImportError:
        return {}
    if CHROMIUM is None:
        return {}
    with chromium() as browser:
        started = time.perf_counter()
        opened = open_page(browser, path)
        open_ms = 1000 * (time.perf_counter() - started)
        moves = []
        for place in np.linspace(150, 40, N_MOVES).round().tolist():
            started = time.perf_counter()
            opened.slide(FIRST_SLIDER, place)
            moves.append(1000 * (time.perf_counter() - started))
        assert opened.log == [], "the page complains"
        opened.page.context.close()
    return {"open_ms": open_ms, "slide_ms": moves[1:]}  # the first one warms up


def page(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the page in Markdown; a case that was not run is absent."""
    known = [case for case in CASES if case in rows]
    parts = list(dict.fromkeys(part for case in known for part in rows[case]["seconds"]))
    files = list(dict.fromkeys(name for case in known for name in rows[case]["bytes"]))
    lines = [
        "# What a report costs",
        "",
        "`python -m benchmarks.reports run`: made studies of 10 parameters, 4 metrics and learning curves; a"
        " made table of 10 columns. Seconds are of the processor; `report` is all of `reports.write` with its"
        " imports (with `reading`: what `moo report` takes); the parts below it are timed once more, when all"
        " is imported. The slider's milliseconds are of the wall, from the event to the picture: the median"
        " and the slowest.",
        "",
        *_table(["", *known], _seconds_rows(rows, known, parts)),
        "",
        *_table(["", *known], _size_rows(rows, known, files)),
    ]
    return "\n".join(lines) + "\n"


def _seconds_rows(
    rows: Mapping[str, Mapping[str, Any]], known: Sequence[str], parts: Sequence[str]
) -> list[list[str]]:
    found = [
        [f"{part}, CPU s", *(_number(rows[case]["seconds"].get(part), ".2f") for case in known)]
        for part in parts
    ]
    found.append(["report, wall s", *(_number(rows[case]["wall_s"], ".1f") for case in known)])
    found.append(["page opens, ms", *(_number(rows[case].get("open_ms"), ",.0f") for case in known)])
    found.append(["slider, ms", *(_moves(rows[case].get("slide_ms", ())) for case in known)])
    return [*found, ["load of the machine", *(_number(rows[case]["load"], ".1f") for case in known)]]


def _size_rows(
    rows: Mapping[str, Mapping[str, Any]], known: Sequence[str], files: Sequence[str]
) -> list[list[str]]:
    found = [
        [f"{name}, kB", *(_kilobytes(rows[case]["bytes"].get(name)) for case in known)] for name in files
    ]
    return [*found, ["page, plotly beside, kB", *(_kilobytes(rows[case]["bytes_beside"]) for case in known)]]


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    rule = ["---"] + ["---:"] * (len(headings) - 1)
    return ["| " + " | ".join(row) + " |" for row in (headings, rule, *rows)]


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else f"{value:{form}}"


def _kilobytes(n_bytes: int | None) -> str:
    return "-" if n_bytes is None else f"{n_bytes / 1000:,.0f}"


def _moves(milliseconds: Sequence[float]) -> str:
    return f"{statistics.median(milliseconds):.0f} ({max(milliseconds):.0f})" if milliseconds else "-"


def main(words: Sequence[str] | None = None) -> int:
    """Run what the words say."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reports", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("run", help="build, time and weigh; then write the page")
    command.add_argument("--case", choices=CASES, action="append", help="one case alone; may repeat")
    commands.add_parser("page", help="write the page from what is stored")
    commands.add_parser("one", help="one case, for a process of its own").add_argument("case", choices=CASES)
    arguments = parser.parse_args(words)
    if arguments.command == "one":
        print(json.dumps(one(arguments.case)))
        return 0
    return run(arguments) if arguments.command == "run" else write_page(arguments)


if __name__ == "__main__":
    sys.exit(main())
