"""Which small network reads a form of 64 digits fast enough? The demo's sweep, from Python.

Run it as it is, or copy `objectives/digits.py`: a task is `data`, `build` and `fit`.
"""

import sys

import moo
import reports
from objectives.digits import Digits


def main(n_trials: int) -> None:
    study = moo.optimize(
        Digits(),
        maximize=["accuracy"],
        minimize=["latency_p50", "parameters"],
        constraints=["latency_p95 <= 1.5 x baseline", "peak_memory <= baseline + 3 MiB"],
        n_trials=n_trials,
        seed=0,
    )
    front = study.front()
    print(front[["trial", "accuracy", "accuracy_low", "accuracy_high", "latency_p50", "parameters"]])
    print("report:", reports.write(study.results(), study.folder))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 42)
