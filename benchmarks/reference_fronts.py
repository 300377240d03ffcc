"""Search the best known fronts of the problems without a known one: `python -m benchmarks.reference_fronts`.

It takes some ten minutes and rewrites `reference_fronts.json`; names of problems as arguments redo only
those. What is stored is the front of several long searches together with what was stored before, thinned.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

import moocore
import numpy as np
import optuna
from numpy.typing import NDArray
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.optimize import minimize

from benchmarks._analytic import PYMOO_PROBLEMS, SEARCHED_FRONTS
from benchmarks._problem import Task
from benchmarks._pymoo_search import PymooSearch
from benchmarks._stored_fronts import FORMAT_VERSION, STORED_FRONTS_PATH, stored_fronts
from benchmarks._tuning import TUNING_TASKS

FloatArray = NDArray[np.float64]

N_SEEDS = 4
POPULATION_SIZE = 200
N_GENERATIONS = 500
N_RANDOM = 1_000
N_TUNING_EVALUATIONS = 8_000
TUNING_POPULATION_SIZE = 50
N_STORED = 800


def search_formula(name: str) -> FloatArray:
    """The `(n, m)` losses that long runs of NSGA-II end with, over several seeds."""
    fronts = []
    for seed in range(N_SEEDS):
        result = minimize(
            PYMOO_PROBLEMS[name](), NSGA2(pop_size=POPULATION_SIZE), ("n_gen", N_GENERATIONS), seed=seed
        )
        fronts.append(result.F)
    return np.vstack(fronts)


def search_training(task: Task) -> FloatArray:
    """The feasible `(n, m)` losses of random configurations and of NSGA-II over several seeds."""
    return np.array(list(_feasible_losses(task)))


def _feasible_losses(task: Task) -> Iterator[tuple[float, ...]]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(N_RANDOM):
        outcome = task.evaluate(task.suggest(study.ask()))
        if outcome.is_feasible:
            yield outcome.losses
    for seed in range(N_SEEDS):
        search = PymooSearch(task, seed=seed, population_size=TUNING_POPULATION_SIZE)
        for _ in range(N_TUNING_EVALUATIONS // N_SEEDS):
            outcome = task.evaluate(search.ask())
            search.tell(outcome)
            if outcome.is_feasible:
                yield outcome.losses


def thinned(front: FloatArray, n_points: int) -> FloatArray:
    """At most `n_points` of a front: the ends of each objective and an even choice along the first."""
    ordered: FloatArray = front[np.lexsort(front.T[::-1])]
    if len(ordered) <= n_points:
        return ordered
    ends = [*ordered.argmin(axis=0), *ordered.argmax(axis=0)]
    even = np.linspace(0, len(ordered) - 1, n_points - len(ends)).round().astype(int)
    thin: FloatArray = ordered[np.unique([*ends, *even])]
    return thin


def main(names: list[str]) -> None:
    """Search and store the fronts of the named problems, of all if none is named."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    fronts = stored_fronts() if STORED_FRONTS_PATH.exists() else {}
    for name in names or [*SEARCHED_FRONTS, *TUNING_TASKS]:
        found = search_training(TUNING_TASKS[name]()) if name in TUNING_TASKS else search_formula(name)
        known = np.array(fronts[name]) if name in fronts else np.empty((0, found.shape[1]))
        front = moocore.filter_dominated(np.vstack([found, known]).round(9))
        fronts[name] = thinned(front, N_STORED).tolist()
        print(f"{name}: {len(front)} points, {len(fronts[name])} stored")
    STORED_FRONTS_PATH.write_text(json.dumps({"version": FORMAT_VERSION, "fronts": fronts}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
