"""The samplers that are compared, each behind the same `ask` and `tell`."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler

from benchmarks._problem import Outcome, Problem, Task
from benchmarks._pymoo_search import PymooSearch

CHECKPOINT_STEP = 10


def _ours(class_name: str) -> Callable[[int], BaseSampler]:
    def make(seed: int) -> BaseSampler:
        sampler: BaseSampler = getattr(import_module("moo.samplers"), class_name)(seed=seed)
        return sampler

    return make


OURS: Mapping[str, Callable[[int], BaseSampler]] = {
    "moo-tpe": _ours("ConstrainedTPESampler"),
    "moo-nsga2": _ours("NSGA2Sampler"),
    "moo-ehvi": _ours("EHVISampler"),
    "moo-auto": _ours("AutoSampler"),
}

OPTUNA_SAMPLERS: Mapping[str, Callable[[int], BaseSampler]] = {
    **OURS,
    "optuna-tpe": lambda seed: TPESampler(seed=seed),
    "optuna-tpe-multivariate": lambda seed: TPESampler(seed=seed, multivariate=True),
    "optuna-nsga2-20": lambda seed: NSGAIISampler(seed=seed, population_size=20),
    "optuna-nsga2-50": lambda seed: NSGAIISampler(seed=seed, population_size=50),
    "optuna-random": lambda seed: RandomSampler(seed=seed),
    "optuna-gp": lambda seed: GPSampler(seed=seed),
}

PYMOO_NSGA2 = "pymoo-nsga2"
SAMPLER_NAMES = (*OPTUNA_SAMPLERS, PYMOO_NSGA2)


class Search(Protocol):
    """Proposes configurations and learns from their outcomes."""

    def ask(self) -> dict[str, Any]:
        """The active parameters to evaluate next."""

    def tell(self, outcome: Outcome) -> None:
        """The outcome of what was asked for last."""


class OptunaSearch:
    """A sampler in a study kept in memory, whose trials are told complete, feasible or not.

    Staged, a trial that breaks a constraint known early is told pruned instead: it has the early constraints
    and neither the late ones nor objective values.
    """

    def __init__(self, task: Task, sampler: BaseSampler, *, is_staged: bool = False) -> None:
        self._task = task
        self._is_staged = is_staged
        self._study = optuna.create_study(directions=list(task.directions), sampler=sampler)
        self._trial: optuna.Trial | None = None

    @property
    def study(self) -> optuna.Study:
        """The study of all trials so far."""
        return self._study

    def ask(self) -> dict[str, Any]:
        """The active parameters to evaluate next."""
        self._trial = self._study.ask()
        return self._task.suggest(self._trial)

    def tell(self, outcome: Outcome) -> None:
        """The outcome of what was asked for last."""
        assert self._trial is not None
        early = {
            name: value
            for name, value in outcome.constraints.items()
            if name not in self._task.late_constraints
        }
        is_pruned = self._is_staged and any(value > 0.0 for value in early.values())
        for name, value in (early if is_pruned else outcome.constraints).items():
            self._trial.set_constraint(name, value)
        if is_pruned:
            self._study.tell(self._trial, state=optuna.trial.TrialState.PRUNED)
        else:
            self._study.tell(self._trial, outcome.losses)


def make_search(sampler: str, task: Task, *, seed: int, is_staged: bool = False) -> Search:
    """The named sampler, ready to search `task`.

    Raises:
        ValueError: The name is unknown, or pymoo is to be told pruned trials.
    """
    if sampler == PYMOO_NSGA2:
        if is_staged:
            raise ValueError(f"{PYMOO_NSGA2} knows no pruned trials: leave it out of a staged run")
        return PymooSearch(task, seed=seed)
    if sampler not in OPTUNA_SAMPLERS:
        raise ValueError(f"sampler {sampler!r} is not known; choose from {', '.join(SAMPLER_NAMES)}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return OptunaSearch(task, OPTUNA_SAMPLERS[sampler](seed), is_staged=is_staged)


@dataclass(frozen=True)
class SearchResult:
    """What one search found, and what it spent on deciding.

    Attributes:
        scores: The score after 10, 20, ... trials; infeasible trials count as trials.
        first_feasible: The number of the first feasible trial, from 1; None without one.
        n_duplicates: Trials whose parameters an earlier trial had.
        overhead_ms: Mean time of a trial spent in the sampler: ask, all suggestions and tell.
    """

    scores: tuple[float, ...]
    first_feasible: int | None
    n_duplicates: int
    overhead_ms: float


def run_search(search: Search, problem: Problem, n_trials: int) -> SearchResult:
    """Search for `n_trials` and score what was found, every ten trials."""
    overhead_s = 0.0
    seen: set[frozenset[tuple[str, Any]]] = set()
    feasible_losses: list[tuple[float, ...]] = []
    first_feasible: int | None = None
    scores: list[float] = []
    for number in range(1, n_trials + 1):
        started = time.perf_counter()
        params = search.ask()
        asked = time.perf_counter()
        outcome = problem.evaluate(params)
        evaluated = time.perf_counter()
        search.tell(outcome)
        overhead_s += time.perf_counter() - evaluated + asked - started
        seen.add(frozenset(params.items()))
        if outcome.is_feasible:
            feasible_losses.append(outcome.losses)
            first_feasible = first_feasible or number
        if number % CHECKPOINT_STEP == 0:
            scores.append(problem.score(feasible_losses))
    return SearchResult(
        scores=tuple(scores),
        first_feasible=first_feasible,
        n_duplicates=n_trials - len(seen),
        overhead_ms=1e3 * overhead_s / n_trials,
    )
