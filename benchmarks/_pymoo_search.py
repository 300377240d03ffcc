"""pymoo's NSGA-II over mixed variables, asked and told one configuration at a time."""

from __future__ import annotations

import math
from collections import deque
from typing import Any

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from pymoo.algorithms.moo.nsga2 import NSGA2, binary_tournament
from pymoo.core.individual import Individual
from pymoo.core.mixed import MixedVariableDuplicateElimination, MixedVariableMating, MixedVariableSampling
from pymoo.core.population import Population
from pymoo.core.problem import Problem as PymooProblem
from pymoo.core.termination import NoTermination
from pymoo.core.variable import Choice, Integer, Real, Variable
from pymoo.operators.selection.tournament import TournamentSelection

from benchmarks._problem import Outcome, Task


class PymooSearch:
    """NSGA-II as pymoo's guide sets it up for mixed variables; constraints are its raw inequality values.

    pymoo knows no conditional parameters: it sees all of them, and inactive ones are dropped from what is
    evaluated. A generation is handed out one configuration at a time and told back once it is complete.
    """

    def __init__(self, task: Task, *, seed: int, population_size: int = 20) -> None:
        self._task = task
        self._algorithm = NSGA2(
            pop_size=population_size,
            sampling=MixedVariableSampling(),
            mating=MixedVariableMating(
                selection=TournamentSelection(func_comp=binary_tournament),
                eliminate_duplicates=MixedVariableDuplicateElimination(),
            ),
            eliminate_duplicates=MixedVariableDuplicateElimination(),
        )
        problem = PymooProblem(
            vars={name: _variable(distribution) for name, distribution in task.space.items()},
            n_obj=task.n_objectives,
            n_ieq_constr=len(task.constraint_names),
        )
        self._algorithm.setup(problem, seed=seed, termination=NoTermination())
        self._waiting: deque[Individual] = deque()
        self._asked: Individual | None = None
        self._evaluated: list[Individual] = []

    def ask(self) -> dict[str, Any]:
        """The active parameters of the next configuration."""
        if not self._waiting:
            self._next_generation()
        self._asked = self._waiting.popleft()
        params: dict[str, Any] = {}
        for name, distribution in self._task.space.items():
            if self._task.is_active(name, params):
                params[name] = _parameter(self._asked.X[name], distribution)
        return params

    def tell(self, outcome: Outcome) -> None:
        """What the configuration asked for last gave."""
        assert self._asked is not None
        self._asked.F = np.array(outcome.losses)
        self._asked.G = np.array(list(outcome.constraints.values()))
        self._asked.H = np.empty(0)
        self._evaluated.append(self._asked)

    def _next_generation(self) -> None:
        if self._evaluated:
            self._algorithm.tell(infills=Population.create(*self._evaluated))
            self._evaluated = []
        infills = self._algorithm.ask()
        if infills is None:  # nothing new to mate in a nearly exhausted space
            infills = MixedVariableSampling()(
                self._algorithm.problem, self._algorithm.pop_size, random_state=self._algorithm.random_state
            )
        self._waiting.extend(infills)


def _variable(distribution: BaseDistribution) -> Variable:
    """What pymoo varies: a logarithm, the index of a choice, the number of a step."""
    match distribution:
        case CategoricalDistribution(choices=choices):
            return Choice(options=list(range(len(choices))))
        case FloatDistribution(low=low, high=high, step=float(step)):
            return Integer(bounds=(0, round((high - low) / step)))
        case IntDistribution(low=low, high=high, step=step, log=False):
            return Integer(bounds=(0, (high - low) // step))
        case IntDistribution(low=low, high=high):
            return Real(bounds=(math.log(low - 0.5), math.log(high + 0.5)))
        case FloatDistribution(low=low, high=high, log=True):
            return Real(bounds=(math.log(low), math.log(high)))
        case FloatDistribution(low=low, high=high):
            return Real(bounds=(low, high))
    raise ValueError(f"pymoo has no variable for {distribution!r}")


def _parameter(value: Any, distribution: BaseDistribution) -> Any:
    """The inverse of `_variable`: the parameter that a value of pymoo's stands for."""
    match distribution:
        case CategoricalDistribution(choices=choices):
            return choices[int(value)]
        case FloatDistribution(low=low, step=float(step)):
            return low + step * int(value)
        case IntDistribution(low=low, step=step, log=False):
            return low + step * int(value)
        case IntDistribution(low=low, high=high):
            return min(max(round(math.exp(value)), low), high)
        case FloatDistribution(low=low, high=high, log=True):
            return min(max(math.exp(value), low), high)
    return float(value)
