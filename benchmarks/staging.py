"""What it saves to know cost first: `python -m benchmarks.staging {run,fanout,summary} --help`.

`run` searches the digits task with constraints that most random configurations break, in three ways: all
trained first, cost first, and cost first with halving. The sampler is random and seeded by trial number, so
all three see the same configurations in the same order and what they find can be compared one to one. Each
search is a process of its own; a line is written for each, and what the file holds is not run again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

RESULTS = Path(__file__).with_name("results")
ROWS = RESULTS / "staging.jsonl"
CONSTRAINTS = ("latency_p50 <= 0.9 x baseline", "parameters <= 30k")
HALVING = "halving:eta=3,min_resource=1,max_resource=12"
MODES = {
    "all trained first": (False, None),
    "cost first": (True, None),
    "cost first, halving": (True, HALVING),
}
REFERENCE = (0.5, 1.0)  # error, and latency as a share of the baseline's: the bound is 0.9
PRECISIONS = ("fp32", "int8-static", "int8-dynamic")
THREADS = (1, 2)


def run(arguments: argparse.Namespace) -> int:
    """Run the searches that are missing, the three ways of a seed one after the other."""
    done = {(row["mode"], row["seed"], row["n_trials"]) for row in _rows("search")}
    for seed in arguments.seeds:
        for mode in MODES:
            if (mode, seed, arguments.trials) not in done:
                _in_a_process("search", mode=mode, seed=seed, n_trials=arguments.trials)
    return 0


def fanout(arguments: argparse.Namespace) -> int:
    """Deploy each trained model in all ways, or in one that is searched; candidates a minute."""
    for seed in arguments.seeds:
        for fan_out in (False, True):
            _in_a_process("fanout", fan_out=fan_out, seed=seed, n_trials=arguments.trials)
    return 0


def summary(arguments: argparse.Namespace) -> int:  # noqa: ARG001
    """Print the page that is written beside the results."""
    text = page(_rows("search"), _rows("fanout"))
    (RESULTS / "staging.md").write_text(text)
    print(text)
    return 0


def page(searches: Sequence[Mapping[str, Any]], fanouts: Sequence[Mapping[str, Any]]) -> str:
    """Return the page in Markdown."""
    import pandas as pd

    from benchmarks._report import markdown

    sections = ["# Cost first"]
    if searches:
        share = np.mean([row["broken_share"] for row in searches if row["mode"] == "all trained first"])
        lines = [_compared(searches, mode) for mode in MODES]
        text = markdown(pd.DataFrame([line for line in lines if line]))
        sections.append(
            "## The same random configurations, three ways\n\n"
            f"{100 * share:.0f}% of them break a constraint.\n\n{text}\n\n`python -m benchmarks.staging run`"
        )
    if fanouts:
        rows = [
            {
                "deployed": "in all ways" if fan_out else "in one way each",
                "candidates a minute": round(float(np.median([_rate(row) for row in group])), 1),
                "candidates": sum(row["n_candidates"] for row in group),
                "trainings": sum(row["n_trained"] for row in group),
            }
            for fan_out in (False, True)
            if (group := [row for row in fanouts if row["fan_out"] == fan_out])
        ]
        text = markdown(pd.DataFrame(rows))
        sections.append(
            f"## One training, several deployments\n\n{text}\n\n`python -m benchmarks.staging fanout`"
        )
    return "\n\n".join(sections) + "\n"


def _compared(searches: Sequence[Mapping[str, Any]], mode: str) -> dict[str, Any] | None:
    """Return a mode's time and hypervolume against training everything, over the seeds that have both."""
    by_seed: dict[int, dict[str, Mapping[str, Any]]] = {}
    for row in searches:
        by_seed.setdefault(row["seed"], {})[row["mode"]] = row
    pairs = [
        (found[mode], found["all trained first"]) for found in by_seed.values() if len(found) == len(MODES)
    ]
    if not pairs:
        return None
    times = [whole["seconds"] / row["seconds"] for row, whole in pairs]
    volumes = [row["hypervolume"] / whole["hypervolume"] for row, whole in pairs if whole["hypervolume"] > 0]
    return {
        "way": mode,
        "seeds": len(pairs),
        "seconds, median": round(float(np.median([row["seconds"] for row, _ in pairs]))),
        "times faster": f"{np.median(times):.2f} ({min(times):.2f} to {max(times):.2f})",
        "hypervolume": f"{np.median(volumes):.3f} ({min(volumes):.3f} to {max(volumes):.3f})"
        if volumes
        else "-",
        "trained": sum(row["n_trained"] for row, _ in pairs),
        "stopped in training": sum(row["n_stopped"] for row, _ in pairs),
        "never trained": sum(row["n_before_training"] for row, _ in pairs),
    }


def _rate(row: Mapping[str, Any]) -> float:
    return 60 * float(row["n_candidates"]) / float(row["seconds"])


def _rows(kind: str) -> list[dict[str, Any]]:
    if not ROWS.exists():
        return []
    rows = [json.loads(line) for line in ROWS.read_text().splitlines()]
    return [row for row in rows if row["kind"] == kind]


def _in_a_process(kind: str, **settings: Any) -> None:
    words = [sys.executable, "-m", "benchmarks.staging", "one", json.dumps({"kind": kind, **settings})]
    row = json.loads(
        subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1]
    )
    with ROWS.open("a") as file:
        file.write(json.dumps(row) + "\n")
    print({name: value for name, value in row.items() if name != "environment"}, flush=True)


def one(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the row of one search; in a process of its own."""
    import optuna

    import moo
    from objectives._choices import Choices
    from objectives.digits import Digits
    from profilers import environment

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    task = Digits()
    options: dict[str, Any] = {"minimize": ["latency_p50"], "constraints": CONSTRAINTS, "sampler": "random"}
    if settings["kind"] == "search":
        task.cost_first, options["pruner"] = MODES[settings["mode"]]
    else:
        task.deploy = Choices(precision=PRECISIONS, threads=THREADS, fan_out=settings["fan_out"])
        options["constraints"] = ()
        task.baseline = lambda: None  # type: ignore[method-assign, assignment, return-value]  # no deployment
    task._splits  # noqa: B018  (read before the clock starts)
    with tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        study = moo.optimize(
            task,
            maximize=["accuracy"],
            n_trials=settings["n_trials"],
            seed=settings["seed"],
            folder=Path(folder) / "study",
            **options,
        )
        seconds = time.monotonic() - started
        trials = study.results().trials
    return {
        **settings,
        "seconds": seconds,
        "hypervolume": _hypervolume(trials) if settings["kind"] == "search" else None,
        "broken_share": float(np.mean([any(v > 0 for v in t.violations.values()) for t in trials])),
        "n_candidates": sum(t.state == "complete" for t in trials),
        "n_trained": sum(t.parent is None and _fit_s(t) > 0 for t in trials),
        "n_stopped": sum(t.state == "pruned" and _fit_s(t) > 0 for t in trials),
        "n_before_training": sum(t.state == "pruned" and _fit_s(t) == 0 for t in trials),
        "n_failed": sum(t.state == "failed" for t in trials),
        "environment": environment(),
    }


def _fit_s(trial: Any) -> float:
    return 0.0 if trial.evaluation is None else trial.evaluation.seconds.get("fit", 0.0)


def _hypervolume(trials: Sequence[Any]) -> float:
    """Return the feasible hypervolume in error and latency, the latter as a share of this run's baseline."""
    from moo.pareto import hypervolume

    (base,) = [t.estimate("latency_p50").value for t in trials if t.is_baseline]
    feasible = [t for t in trials if t.state == "complete" and all(v <= 0 for v in t.violations.values())]
    points = [[1 - t.estimate("accuracy").value, t.estimate("latency_p50").value / base] for t in feasible]
    return hypervolume(np.array(points), np.array(REFERENCE)).value if points else 0.0


def main(words: Sequence[str] | None = None) -> int:
    """Run a command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.staging", description=__doc__)
    commands = parser.add_subparsers(required=True)
    table: dict[str, Callable[[argparse.Namespace], int]] = {"run": run, "fanout": fanout, "summary": summary}
    for name, command in table.items():
        sub = commands.add_parser(name, help=command.__doc__)
        sub.set_defaults(command=command)
        if name != "summary":
            sub.add_argument("--seeds", type=lambda text: range(int(text)), default=range(5), help="how many")
            sub.add_argument("--trials", type=int, default=40 if name == "run" else 6)
    single = commands.add_parser("one")
    single.add_argument("settings", type=json.loads)
    single.set_defaults(command=lambda arguments: print(json.dumps(one(arguments.settings))) or 0)
    arguments = parser.parse_args(words)
    return int(arguments.command(arguments))


if __name__ == "__main__":
    sys.exit(main())
