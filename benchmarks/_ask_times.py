"""How long a sampler takes to propose a trial, by the number of trials it has to look at."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, create_trial

from benchmarks._problem import Outcome, Task
from benchmarks._searches import OPTUNA_SAMPLERS, OptunaSearch, make_search

N_ASKS = 15
LARGEST_STUDY = {"optuna-gp": 200}
"""Beyond these an ask takes many seconds."""


@dataclass(frozen=True)
class AskTime:
    """The median time of an ask with all its suggestions, in a study that holds `trials` trials."""

    sampler: str
    trials: int
    median_ms: float


def timing_task() -> Task:
    """Eight mixed parameters, two objectives, two constraints that a third of random trials satisfies."""
    space = {
        "width": FloatDistribution(0.25, 1.0, step=0.125),
        "depth": IntDistribution(1, 12),
        "units": IntDistribution(16, 512, log=True),
        "dropout": FloatDistribution(0.0, 0.6),
        "learning_rate": FloatDistribution(1e-4, 1e-1, log=True),
        "activation": CategoricalDistribution(("relu", "tanh", "gelu")),
        "precision": CategoricalDistribution(("fp32", "fp16", "int8")),
        "threads": CategoricalDistribution((1, 2, 4, 8)),
    }

    def evaluate(params: dict[str, Any]) -> Outcome:
        million_weights = 1e-6 * params["depth"] * (params["width"] * params["units"]) ** 2
        error = 0.1 + 0.05 * abs(np.log10(params["learning_rate"]) + 2.5) + 0.1 * params["dropout"] ** 2
        error += 0.2 / (1.0 + 10.0 * million_weights) + 0.02 * (params["precision"] == "int8")
        latency_ms = 0.1 * params["depth"] + 8.0 * million_weights / params["threads"] ** 0.8
        return Outcome(
            losses=(float(error), latency_ms),
            constraints={"size_mb": 4.0 * million_weights - 0.5, "depth": params["depth"] - 8.0},
        )

    return Task(
        name="timing",
        group="timing",
        space=space,
        evaluate=evaluate,
        n_objectives=2,
        constraint_names=("size_mb", "depth"),
    )


def measure_ask_times(samplers: Sequence[str], n_trials: int) -> list[AskTime]:
    """The time of an ask of each sampler, each with a study of its own that holds the same random trials.

    The samplers take turns, so that a disturbance of the machine meets all of them. One ask before the
    first measured one is not counted: it loads what is loaded once.
    """
    task = timing_task()
    trials = _random_trials(task, n_trials)
    searches = {name: _prefilled(name, task, trials) for name in samplers if _is_timed(name, n_trials)}
    times_ms: dict[str, list[float]] = {name: [] for name in searches}
    for turn in range(N_ASKS + 1):
        for name, search in searches.items():
            started = time.perf_counter()
            params = search.ask()
            elapsed_ms = 1e3 * (time.perf_counter() - started)
            search.tell(task.evaluate(params))
            if turn > 0:
                times_ms[name].append(elapsed_ms)
    return [AskTime(name, n_trials, round(statistics.median(ms), 3)) for name, ms in times_ms.items()]


def _is_timed(sampler: str, n_trials: int) -> bool:
    return sampler in OPTUNA_SAMPLERS and n_trials <= LARGEST_STUDY.get(sampler, n_trials)


def _prefilled(sampler: str, task: Task, trials: Sequence[FrozenTrial]) -> OptunaSearch:
    search = make_search(sampler, task, seed=0)
    assert isinstance(search, OptunaSearch)
    search.study.add_trials(trials)
    return search


def _random_trials(task: Task, n_trials: int) -> list[FrozenTrial]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    trials = []
    for _ in range(n_trials):
        params = task.suggest(study.ask())
        outcome = task.evaluate(params)
        trials.append(
            create_trial(
                values=outcome.losses,
                params=params,
                distributions={name: task.space[name] for name in params},
                constraints=outcome.constraints,
            )
        )
    return trials
