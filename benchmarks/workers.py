"""What several workers do to latencies: `python -m benchmarks.workers`.

The same configurations of the digits task, proposed at random under one seed, are searched by one worker, by
several, and by several that do not wait for one another's measurements. The sampler's proposals depend on the
seed and the number of the trial alone, so the sweeps are compared candidate by candidate. A second sweep by
one worker says how far two sweeps agree that differ in nothing. Each sweep is a process of its own, in the
order given, as often as `--repeats` says; a line is written for each, and what the file holds is not run
again. The page is written beside the results.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

RESULTS = Path(__file__).with_name("results")
ROWS = RESULTS / "workers.jsonl"
REFERENCE = "1 worker"
AGAIN = "1 worker, again"
TOGETHER = "{} workers, quiet window"
BESIDE = "{} workers, none"
METRIC = "latency_p50"


def ways(n_workers: int) -> dict[str, tuple[int, bool]]:
    """Return each way to run the sweep: how many workers, and whether one measures alone."""
    return {
        REFERENCE: (1, True),
        AGAIN: (1, True),
        TOGETHER.format(n_workers): (n_workers, True),
        BESIDE.format(n_workers): (n_workers, False),
    }


def main() -> int:
    """Run what is missing, then print the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", type=Path, default=ROWS)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one is not None:
        sweep(**json.loads(arguments.one))
        return 0
    done = {(row["way"], row["repeat"], row["n_trials"], row["seed"]) for row in _rows(arguments.rows)}
    for repeat in range(arguments.repeats):
        for way, (n_workers, is_quiet) in ways(arguments.workers).items():
            if (way, repeat, arguments.trials, arguments.seed) in done:
                continue
            settings = {
                "way": way,
                "repeat": repeat,
                "n_trials": arguments.trials,
                "seed": arguments.seed,
                "n_workers": n_workers,
                "is_quiet": is_quiet,
                "rows": str(arguments.rows),
            }
            words = [sys.executable, "-m", "benchmarks.workers", "--one", json.dumps(settings)]
            subprocess.run(words, check=True)
    text = page(_rows(arguments.rows))
    arguments.rows.with_suffix(".md").write_text(text)
    print(text)
    return 0


def sweep(
    *, way: str, repeat: int, n_trials: int, seed: int, n_workers: int, is_quiet: bool, rows: str
) -> None:
    """Run one sweep and append its line."""
    import moo
    from benchmarks.workers import digits_without_window  # by the name under which workers import it
    from objectives.digits import Digits

    with tempfile.TemporaryDirectory() as name:
        begun = time.perf_counter()
        study = moo.optimize(
            Digits(),
            maximize=["accuracy"],
            minimize=[METRIC],
            n_trials=n_trials,
            sampler="random",
            seed=seed,
            folder=name,
            n_workers=n_workers,
            make_task=None if is_quiet else digits_without_window,
        )
        seconds = time.perf_counter() - begun
        trials = study.results().complete
    latencies = {}
    for trial in trials:
        estimate = trial.estimate(METRIC)
        key = json.dumps(dict(sorted(trial.params.items())))
        latencies[key] = [estimate.low, estimate.value, estimate.high]
    spent = [trial.evaluation.seconds for trial in trials if trial.evaluation is not None]
    row = {
        "way": way,
        "repeat": repeat,
        "n_trials": n_trials,
        "seed": seed,
        "n_cores": os.cpu_count(),
        "seconds": round(seconds, 2),
        "measurements_waited_s": round(sum(one.get("wait", 0.0) for one in spent), 2),
        "trainings_waited_s": round(sum(one.get("paused", 0.0) for one in spent), 2),
        "n_contended": sum("contended" in trial.evaluation.tags for trial in trials if trial.evaluation),
        "latencies": latencies,
    }
    with Path(rows).open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def digits_without_window() -> Any:
    """Make the task in a worker that from now on waits for nobody's measurement, and nobody for its."""
    from moo.quiet import QuietWindow
    from objectives.digits import Digits

    without: dict[str, Any] = {"working": _nothing, "measuring": _nothing, "pause": _at_once}
    for name, member in without.items():
        setattr(QuietWindow, name, member)
    return Digits()


def _at_once(_self: object) -> float:
    return 0.0


@contextmanager
def _nothing(_self: object) -> Iterator[None]:
    yield


def page(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the page in Markdown: each way against the reference of the same repeat."""
    import pandas as pd

    from benchmarks._report import markdown, versions

    found = []
    for way in dict.fromkeys(row["way"] for row in rows):
        group = [row for row in rows if row["way"] == way]
        pairs = [pair for row in group if way != REFERENCE for pair in _pairs(row, rows)]
        ratios = [mine[1] / theirs[1] for mine, theirs in pairs]
        n_agree = sum(overlap(mine, theirs) for mine, theirs in pairs)
        waits = [row["measurements_waited_s"] + row["trainings_waited_s"] for row in group]
        n_candidates = sum(len(row["latencies"]) for row in group)
        found.append(
            {
                "way": way,
                "agree": f"{n_agree} of {len(pairs)}" if pairs else "",
                "median ratio": f"{np.median(ratios):.3f}" if ratios else "",
                "90% of ratios": "{:.2f} to {:.2f}".format(*np.quantile(ratios, [0.05, 0.95]))
                if ratios
                else "",
                "contended": f"{sum(row['n_contended'] for row in group)} of {n_candidates}",
                "trials a minute": f"{60 * n_candidates / sum(row['seconds'] for row in group):.1f}",
                "waited a sweep": f"{np.mean(waits):.1f} s",
            }
        )
    return (
        "# Several workers, and what they measure\n\n"
        "The median latency of each candidate, against a sweep by one worker. Agree: the 95% intervals"
        " overlap.\n\n"
        f"{markdown(pd.DataFrame(found))}\n\n{versions()}\n\n`python -m benchmarks.workers`\n"
    )


def _pairs(
    row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
) -> list[tuple[list[float], list[float]]]:
    """Return the candidates that a sweep shares with the reference of its repeat: both their intervals."""
    same = ("repeat", "n_trials", "seed")
    references = [r for r in rows if r["way"] == REFERENCE and all(r[key] == row[key] for key in same)]
    theirs = references[0]["latencies"] if references else {}
    both = [(row["latencies"][key], theirs[key]) for key in row["latencies"] if key in theirs]
    return [(a, b) for a, b in both if None not in a and None not in b]


def overlap(one: Sequence[float], other: Sequence[float]) -> bool:
    """Return whether two intervals, each as low, value, high, have a point in common.

    >>> overlap([1, 2, 3], [3, 4, 5]), overlap([1, 2, 3], [4, 5, 6])
    (True, False)
    """
    return one[0] <= other[2] and other[0] <= one[2]


def _rows(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


if __name__ == "__main__":
    sys.exit(main())
