"""Many trials of a task that does nothing: `python -m benchmarks.load [--trials 10000] [--limit 1800]`.

What remains of a trial is what a sweep itself costs: asking, storing, telling. For each sampler one process
runs a study on an SQLite file; with `--storage URL` of a PostgreSQL, `--workers` processes run one study
together. Beside them run Optuna's own samplers in Optuna's own loop, on an SQLite file too. Time and memory
are noted as trials finish, so that growth shows. In the end each trial must be there once, finished, and ours
with a configuration of its own: else there is an error and no line. A sweep that reaches its time limit is
checked and noted with as many trials as it had.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
import psutil
from optuna.trial import FrozenTrial, TrialState

import moo
from moo.results import FinishedTrial, Results
from objectives import FunctionTask

RESULTS = Path(__file__).with_name("results")
ROWS = RESULTS / "load.jsonl"
SAMPLERS = ("random", "tpe", "nsga2", "ehvi", "auto")
PEERS = ("optuna random", "optuna tpe", "optuna nsga2")
STEPS = (100, 300, 1000, 3000, 10_000)


def nothing(trial: Any) -> dict[str, float]:
    """Return two objectives of three parameters that conflict."""
    x, y = trial.suggest_float("x", 0, 1), trial.suggest_float("y", 0, 1)
    width = trial.suggest_int("width", 1, 10**6)
    return {"accuracy": x * 0.9 + width * 1e-8, "latency_p50": 1e-3 * (0.1 + x * x + y)}


class Notes:
    """Notes time and memory after so many trials.

    Args:
        steps: The numbers of finished trials to note at.
    """

    def __init__(self, steps: Sequence[int]) -> None:
        self._steps = steps
        self._n_finished = 0
        self._begun = time.perf_counter()
        self.found: list[dict[str, float]] = []

    def begun(self, results: Results, n_trials: int) -> None:
        """Begin to count."""

    def trial_finished(self, trial: FinishedTrial | FrozenTrial) -> None:  # noqa: ARG002  # as an observer is told
        """Note where a step is reached."""
        self._n_finished += 1
        if self._n_finished in self._steps:
            self.note()

    def note(self) -> None:
        """Note how many have finished, in which time, and the memory of this process."""
        memory = psutil.Process().memory_info().rss
        seconds = time.perf_counter() - self._begun
        self.found.append({"n": self._n_finished, "s": round(seconds, 2), "rss_mib": round(memory / 2**20)})


def main() -> int:
    """Run what is asked for, then print the page of all rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--limit", type=float, default=1800.0, help="seconds a sweep")
    parser.add_argument("--samplers", nargs="*", default=[*SAMPLERS, *PEERS], choices=[*SAMPLERS, *PEERS])
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--storage", help="a database; by default an SQLite file in a temporary folder")
    parser.add_argument("--rows", type=Path, default=ROWS)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one is not None:
        sweep(**json.loads(arguments.one))
        return 0
    for sampler in arguments.samplers:
        settings = {
            "sampler": sampler,
            "n_trials": arguments.trials,
            "limit_s": arguments.limit,
            "n_workers": arguments.workers,
            "storage": arguments.storage,
            "rows": str(arguments.rows),
        }
        words = [sys.executable, "-m", "benchmarks.load", "--one", json.dumps(settings)]
        subprocess.run(words, check=True)  # a process of its own: memory starts anew
    text = page([json.loads(line) for line in arguments.rows.read_text(encoding="utf-8").splitlines()])
    arguments.rows.with_suffix(".md").write_text(text, encoding="utf-8")
    print(text)
    return 0


def sweep(
    *, sampler: str, n_trials: int, limit_s: float, n_workers: int, storage: str | None, rows: str
) -> None:
    """Run one sweep, check that nothing is lost or doubled, and append its line."""
    from benchmarks.load import nothing  # by the name under which workers import it

    notes = Notes([step for step in STEPS if step < n_trials])
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        if sampler in PEERS:
            study = peer(sampler, n_trials, limit_s, f"sqlite:///{folder}/study.db", notes)
            n_finished = len(study.get_trials(deepcopy=False, states=[TrialState.COMPLETE]))
        else:
            ours = moo.optimize(
                FunctionTask(nothing, name=f"load-{sampler}-{os.getpid()}"),
                maximize=["accuracy"],
                minimize=["latency_p50"],
                n_trials=n_trials,
                timeout_s=limit_s,
                sampler=sampler,
                seed=0,
                storage=storage,
                folder=folder,
                n_workers=n_workers,
                observer=notes,
            )
            study, n_finished = ours.optuna_study, len(ours.results().complete)
        seconds = time.perf_counter() - begun
        notes.note()
        n_done, n_repeated = check(study, n_finished, n_trials)
        if n_repeated and sampler not in PEERS:
            raise RuntimeError(f"{n_repeated} configurations were tried twice")
    row = {
        "sampler": sampler,
        "n_trials": n_done,
        "n_asked": n_trials,
        "n_repeated": n_repeated,
        "n_workers": n_workers,
        "storage": (storage or "sqlite").partition(":")[0],
        "seconds": round(seconds, 1),
        "load_average": round(os.getloadavg()[1], 1),
        "n_cores": os.cpu_count(),
        "notes": notes.found,
    }
    with Path(rows).open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def peer(name: str, n_trials: int, limit_s: float, url: str, notes: Notes) -> optuna.Study:
    """Run the same trials with one of Optuna's samplers, by Optuna alone, and return the study."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sampler = {
            "optuna random": optuna.samplers.RandomSampler,
            "optuna tpe": optuna.samplers.TPESampler,
            "optuna nsga2": optuna.samplers.NSGAIISampler,
        }[name](seed=0)
    study = optuna.create_study(directions=["maximize", "minimize"], storage=url, sampler=sampler)
    study.optimize(
        lambda trial: tuple(nothing(trial).values()),
        n_trials=n_trials,
        timeout=limit_s,
        callbacks=[lambda _, trial: notes.trial_finished(trial)],
    )
    return study


def check(study: optuna.Study, n_finished: int, n_trials: int) -> tuple[int, int]:
    """Return how many trials there are, and how many of them repeat a configuration; each is complete, once.

    Raises:
        RuntimeError: If anything was lost or doubled.
    """
    trials = study.get_trials(deepcopy=False)
    numbers = [trial.number for trial in trials]
    if numbers != list(range(n_finished)) or n_finished > n_trials:
        raise RuntimeError(f"{len(trials)} trials of {n_trials}, {n_finished} complete")
    configurations = {json.dumps(trial.params, sort_keys=True) for trial in trials}
    return n_finished, n_finished - len(configurations)


def page(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the page in Markdown: time of a trial and memory as a study grows."""
    import pandas as pd

    from benchmarks._report import markdown, versions

    table = []
    for row in rows:
        steps = list(zip([{"n": 0, "s": 0.0}, *row["notes"]], row["notes"], strict=False))
        each = [
            f"{(b['s'] - a['s']) / (b['n'] - a['n']) * 1e3:.0f} to {b['n']}"
            for a, b in steps
            if b["n"] > a["n"]
        ]
        memory = [f"{one['rss_mib']:.0f}" for one in row["notes"]]
        table.append(
            {
                "sampler": row["sampler"],
                "storage": row["storage"],
                "workers": row["n_workers"],
                "trials": f"{row['n_trials']:,} of {row['n_asked']:,}",
                "repeated": str(row["n_repeated"]),
                "ms a trial": ", ".join(each),
                "MiB": ", ".join(memory),
                "load": f"{row['load_average']:.1f}",
            }
        )
    return (
        "# What a sweep itself costs\n\n"
        "Trials of a task that does nothing. The time of a trial from one count of finished trials to the"
        " next, and the memory of the process (with several workers, of the one that leads them) at each."
        " Load is the machine's average over 5 minutes at the end, this sweep included: above the number of"
        " cores, others took part of them and times are too long. In each line every trial was there once,"
        " complete; repeated are those whose configuration an earlier one had. Where there are fewer trials"
        " than asked for, the time limit came first.\n\n"
        f"{markdown(pd.DataFrame(table))}\n\n{rows[0]['n_cores']} cores. {versions()}\n\n"
        "`python -m benchmarks.load`\n"
    )


if __name__ == "__main__":
    sys.exit(main())
