"""What it saves to know cost first: `python -m benchmarks.staging {run,fanout,curse,summary} --help`.

`run` searches the digits task with constraints that most random configurations break, in three ways: all
trained first, cost first, and cost first with halving. The sampler is random and seeded by trial number, so
all three see the same configurations in the same order and what they find can be compared one to one. Each
search is a process of its own; a line is written for each, and what the file holds is not run again.

`fanout` counts candidates a minute with each trained model deployed in one way and in all. `curse` searches,
confirms the front with `moo confirm`, and counts what fell off: the winner's curse.
"""

from __future__ import annotations

import argparse
import json
import os
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
CONSTRAINTS = ("latency_p50 <= 1.1 x baseline", "parameters <= 22k")
EPOCHS = (3, 12)
MODES = {
    "all trained first": (False, False),
    "cost first": (True, False),
    "cost first, halving": (True, True),
}
"""Whether cost is measured before training, and whether halving stops trainings."""
REFERENCE = (0.5, 1.2)  # error, and latency as a share of the baseline's: the bound is 1.1
PRECISIONS = ("fp32", "int8-static", "int8-dynamic")
THREADS = (1, 2)
ENOUGH = 0.95  # of the hypervolume that all trained first ends with
CONFIRM_S = 150.0


def run(arguments: argparse.Namespace) -> int:
    """Run the searches that are missing, the three ways of a seed one after the other."""
    done = {(row["mode"], row["seed"], row["n_trials"], row["longer"]) for row in _rows("search")}
    for seed in arguments.seeds:
        for mode in MODES:
            settings = {
                "mode": mode,
                "seed": seed,
                "n_trials": arguments.trials,
                "longer": arguments.longer,
            }
            if tuple(settings.values()) not in done:
                _in_a_process("search", **settings)
    return 0


def fanout(arguments: argparse.Namespace) -> int:
    """Deploy each trained model in all ways, or in one that is searched; candidates a minute."""
    for seed in arguments.seeds:
        for fan_out in (False, True):
            _in_a_process("fanout", fan_out=fan_out, seed=seed, n_trials=arguments.trials)
    return 0


def curse(arguments: argparse.Namespace) -> int:
    """Search with the default sampler, then confirm the front on this machine."""
    done = {row["seed"] for row in _rows("curse")}
    for seed in arguments.seeds:
        if seed not in done:
            _in_a_process("curse", seed=seed, n_trials=arguments.trials)
    return 0


def summary(arguments: argparse.Namespace) -> int:  # noqa: ARG001
    """Print the page that is written beside the results."""
    text = page(_rows("search"), _rows("fanout"), _rows("curse"))
    (RESULTS / "staging.md").write_text(text)
    print(text)
    return 0


def page(
    searches: Sequence[Mapping[str, Any]],
    fanouts: Sequence[Mapping[str, Any]],
    curses: Sequence[Mapping[str, Any]],
) -> str:
    """Return the page in Markdown."""
    import pandas as pd

    from benchmarks._report import markdown

    sections = ["# Cost first"]
    for longer in sorted({row["longer"] for row in searches}):
        group = [row for row in searches if row["longer"] == longer]
        whole = [row for row in group if row["mode"] == "all trained first"]
        share = np.mean([row["broken_share"] for row in whole])
        taken = np.mean([row["seconds"] for row in whole]) / np.mean([row["n_trials"] for row in whole])
        lines = [_compared(group, mode) for mode in MODES]
        text = markdown(pd.DataFrame([line for line in lines if line]))
        heading = "The same random configurations, three ways"
        sections.append(
            f"## {heading}{f', trained {longer} times as long' if longer > 1 else ''}\n\n"
            f"{100 * share:.0f}% of them break a constraint; trained first, a trial takes {taken:.1f} s."
            " Against that, seed by seed: how many times faster all trials were done, and"
            f" {ENOUGH:.0%} of its final hypervolume was reached (0: never); median (smallest to largest)."
            f"\n\n{text}\n\n"
            f"`python -m benchmarks.staging run{f' --longer {longer}' if longer > 1 else ''}`"
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
    if curses:
        text = markdown(pd.DataFrame([_cursed(curses, which) for which in ("fastest", "all")]))
        sections.append(
            "## The front that a search reports, confirmed\n\nOff: P(on the front) is at most .05 once it was"
            " measured again in interleaved rounds. Too fast: the search's latency below the whole confirmed"
            f" interval; too slow: above it.\n\n{text}\n\n`python -m benchmarks.staging curse`"
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
        "times faster": _spread(times, ".2f"),
        "times faster to 95%": _spread(_reached_sooner(pairs), ".2f"),
        "hypervolume": _spread(volumes, ".3f"),
        "trained": sum(row["n_trained"] for row, _ in pairs),
        "stopped in training": sum(row["n_stopped"] for row, _ in pairs),
        "never trained": sum(row["n_before_training"] for row, _ in pairs),
    }


def _reached_sooner(pairs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> list[float]:
    """Return how many times sooner each search had enough hypervolume; 0 for one that never did."""
    ratios = []
    for row, whole in pairs:
        enough = ENOUGH * whole["hypervolume"]
        first = [next((at for at, volume in r["history"] if volume >= enough), None) for r in (row, whole)]
        ratios.append(first[1] / first[0] if first[0] else 0.0)
    return ratios


def _spread(numbers: Sequence[float], form: str) -> str:
    if not numbers:
        return "-"
    return f"{np.median(numbers):{form}} ({min(numbers):{form}} to {max(numbers):{form}})"


def _cursed(curses: Sequence[Mapping[str, Any]], which: str) -> dict[str, Any]:
    """Return what confirming said of each search's fastest candidate, or of all on its front."""
    found = [entry for row in curses for entry in (row["front"][:1] if which == "fastest" else row["front"])]
    return {
        "of the front": f"the {which}" if which == "fastest" else which,
        "searches": len(curses),
        "candidates": len(found),
        "off": sum(entry["verdict"] == "off" for entry in found),
        "undecided": sum(entry["verdict"] == "undecided" for entry in found),
        "too fast": sum(entry["search"] < entry["low"] for entry in found),
        "too slow": sum(entry["search"] > entry["high"] for entry in found),
        "confirmed latency, % of the search's": _spread(
            [100 * entry["confirmed"] / entry["search"] for entry in found], ".1f"
        ),
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
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}  # two threads would wait for whatever else runs
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    row = json.loads(done.stdout.splitlines()[-1])
    with ROWS.open("a") as file:
        file.write(json.dumps(row) + "\n")
    print({name: value for name, value in row.items() if name != "environment"}, flush=True)


def one(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the row of one search; in a process of its own."""
    import optuna

    import moo
    from objectives import Choices
    from objectives.digits import Digits
    from profilers import environment

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    task: Any = Digits()
    options: dict[str, Any] = {"minimize": ["latency_p50"], "constraints": CONSTRAINTS, "sampler": "random"}
    if settings["kind"] == "search":
        task, options["pruner"] = _searched(settings["longer"], *MODES[settings["mode"]])
    elif settings["kind"] == "fanout":
        task.deploy = Choices(precision=PRECISIONS, threads=THREADS, fan_out=settings["fan_out"])
        options["constraints"] = ()
        task.baseline = lambda: None  # type: ignore[method-assign, assignment, return-value]  # no deployment
    else:
        options["sampler"] = "auto"
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
        row = {**settings, "seconds": time.monotonic() - started, "environment": environment()}
        results = study.results()
        if settings["kind"] == "curse":
            return {**row, "front": _confirmed(results, Path(folder))}
    trials = results.trials
    return {
        **row,
        "hypervolume": _hypervolume(trials) if settings["kind"] == "search" else None,
        "history": _history(trials) if settings["kind"] == "search" else None,
        "broken_share": float(np.mean([any(v > 0 for v in t.violations.values()) for t in trials])),
        "n_candidates": sum(t.state == "complete" for t in trials),
        "n_trained": sum(t.parent is None and _fit_s(t) > 0 for t in trials),
        "n_stopped": sum(t.state == "pruned" and _fit_s(t) > 0 for t in trials),
        "n_before_training": sum(t.state == "pruned" and _fit_s(t) == 0 for t in trials),
        "n_failed": sum(t.state == "failed" for t in trials),
    }


def _searched(longer: int, cost_first: bool, is_halved: bool) -> tuple[Any, str | None]:  # noqa: FBT001
    """Return the digits' task with each training so many times as long, and the pruner of a way."""
    from objectives import suggest_training, train
    from objectives.digits import Digits

    least, most = (longer * epochs for epochs in EPOCHS)

    class Longer(Digits):
        def baseline(self) -> dict[str, Any]:
            whole = super().baseline()
            return {**whole, "epochs": longer * whole["epochs"]}

        def fit(self, model: Any, trial: Any, data: Any, report: Any) -> None:
            train(model, data, report, **suggest_training(trial, epochs=(least, most), schedule="one-cycle"))

    task = Longer()
    task.cost_first = cost_first
    # rungs from the fewest epochs of the space on: before, one-cycle schedules of other lengths say little
    return task, f"halving:eta=2,min_resource={least},max_resource={most}" if is_halved else None


def _confirmed(results: Any, folder: Path) -> list[dict[str, Any]]:
    """Confirm the search's front, and return what became of each candidate on it, the fastest first."""
    words = ["confirm", str(folder / "study"), "--timeout", str(CONFIRM_S)]
    command = [sys.executable, "-c", "from moo.cli import main; main()", *words]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    record = json.loads((folder / "study" / "confirm.json").read_text())
    entries = {entry["trial"]: entry for entry in record["candidates"] if entry["confirmed"] is not None}
    found = []
    for trial in sorted(results.front, key=lambda t: t.estimate("latency_p50").value):
        entry = entries.get(trial.number)
        if entry is not None:
            again = entry["metrics"]["latency_p50"]["confirmed"]
            found.append(
                {
                    "trial": trial.number,
                    "verdict": entry["confirmed"]["verdict"],
                    "p_on_front": entry["confirmed"]["p_on_front"],
                    "search": trial.estimate("latency_p50").value,
                    "confirmed": again["value"],
                    "low": again["low"],
                    "high": again["high"],
                }
            )
    return found


def _history(trials: Sequence[Any]) -> list[tuple[float, float]]:
    """Return seconds of trials so far and the hypervolume reached, at each trial that enlarged it."""
    steps, elapsed = [(0.0, 0.0)], 0.0
    for count, trial in enumerate(trials, 1):
        elapsed += trial.duration_s
        volume = _hypervolume(trials[:count])
        if volume > steps[-1][1]:
            steps.append((elapsed, volume))
    return steps


def _fit_s(trial: Any) -> float:
    return 0.0 if trial.evaluation is None else trial.evaluation.seconds.get("fit", 0.0)


def _hypervolume(trials: Sequence[Any]) -> float:
    """Return the feasible hypervolume in error and latency, the latter as a share of this run's baseline."""
    from moo.pareto import hypervolume

    base = next(t.estimate("latency_p50").value for t in trials if t.is_baseline)
    feasible = [t for t in trials if t.state == "complete" and all(v <= 0 for v in t.violations.values())]
    points = [[1 - t.estimate("accuracy").value, t.estimate("latency_p50").value / base] for t in feasible]
    return hypervolume(np.array(points), np.array(REFERENCE)).value if points else 0.0


def main(words: Sequence[str] | None = None) -> int:
    """Run a command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.staging", description=__doc__)
    commands = parser.add_subparsers(required=True)
    table: dict[str, Callable[[argparse.Namespace], int]] = {
        "run": run,
        "fanout": fanout,
        "curse": curse,
        "summary": summary,
    }
    for name, command in table.items():
        sub = commands.add_parser(name, help=command.__doc__)
        sub.set_defaults(command=command)
        if name != "summary":
            sub.add_argument("--seeds", type=lambda text: range(int(text)), default=range(5), help="how many")
            if name == "run":
                sub.add_argument("--longer", type=int, default=1, help="times that each training is longer")
            sub.add_argument("--trials", type=int, default={"run": 40, "fanout": 6, "curse": 60}[name])
    single = commands.add_parser("one")
    single.add_argument("settings", type=json.loads)
    single.set_defaults(command=lambda arguments: print(json.dumps(one(arguments.settings))) or 0)
    arguments = parser.parse_args(words)
    return int(arguments.command(arguments))


if __name__ == "__main__":
    sys.exit(main())
