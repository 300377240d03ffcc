"""The problems that samplers are measured on, by name and by group; all objectives are minimised."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial

import optuna

from benchmarks._analytic import CONSTRAINED, UNCONSTRAINED, analytic_problem
from benchmarks._discrete import DISCRETE_TASKS, discrete_problem
from benchmarks._problem import Outcome, Problem, Task
from benchmarks._tables import HPOLIB_SETTINGS, NAS_DATASETS, NAS_QUANTILES, hpolib_problem, nas_problem

__all__ = ["GROUPS", "Outcome", "Problem", "Task", "description", "problem", "problems", "select"]

N_DESCRIBED = 1_000


def _tuning_problem(name: str) -> Problem:
    from benchmarks._tuning import tuning_problem  # scikit-learn is loaded by those who need it

    return tuning_problem(name)


_BUILDERS: Mapping[str, Mapping[str, Callable[[], Problem]]] = {
    "nas": {
        f"nas-{dataset}-q{round(100 * quantile)}": partial(nas_problem, dataset, quantile)
        for dataset in NAS_DATASETS
        for quantile in NAS_QUANTILES
    },
    "hpolib": {setting.name: partial(hpolib_problem, setting) for setting in HPOLIB_SETTINGS},
    "analytic-constrained": {name: partial(analytic_problem, name) for name in CONSTRAINED},
    "analytic": {name: partial(analytic_problem, name) for name in UNCONSTRAINED},
    "tuning": {
        name: partial(_tuning_problem, name)
        for name in ("tree-digits", "kinds-digits", "boosting-diabetes", "kernel-friedman")
    },
    "discrete-small": {name: partial(discrete_problem, name) for name in DISCRETE_TASKS},
}

GROUPS: Mapping[str, tuple[str, ...]] = {group: tuple(names) for group, names in _BUILDERS.items()}
"""The names of the problems of each group; "tuning" is held out, no sampler is tuned on it."""


@cache
def problem(name: str) -> Problem:
    """One problem, built on first use.

    Raises:
        ValueError: No problem has this name.
    """
    for builders in _BUILDERS.values():
        if name in builders:
            return builders[name]()
    known = ", ".join(name for names in GROUPS.values() for name in names)
    raise ValueError(f"problem {name!r} is not known; choose from {known}")


def problems() -> dict[str, Problem]:
    """All problems by name."""
    return {name: problem(name) for names in GROUPS.values() for name in names}


def select(groups_or_names: str, /) -> list[str]:
    """The problem names meant by a comma-separated list of groups and names; "all" means all.

    Raises:
        ValueError: A word is neither a group nor a problem.
    """
    words = list(GROUPS) if groups_or_names == "all" else groups_or_names.split(",")
    names = [name for word in words for name in GROUPS.get(word, (word,))]
    known = {name for names in GROUPS.values() for name in names}
    if unknown := sorted(set(names) - known):
        raise ValueError(f"{', '.join(unknown)}: neither a group nor a problem; see benchmarks/problems.py")
    return list(dict.fromkeys(names))


def description(name: str) -> dict[str, object]:
    """A row about one problem; the feasible share is that of a thousand random configurations."""
    described = problem(name)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    outcomes = [described.evaluate(described.suggest(study.ask())) for _ in range(N_DESCRIBED)]
    return {
        "group": described.group,
        "problem": name,
        "parameters": len(described.space),
        "conditional": len(described.conditions),
        "objectives": described.n_objectives,
        "constraints": len(described.constraint_names),
        "feasible share": sum(outcome.is_feasible for outcome in outcomes) / N_DESCRIBED,
        "front points": len(described.front),
    }
