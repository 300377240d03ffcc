"""What a benchmark problem is: a space, an evaluation and the front a perfect search would find."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import moocore
import numpy as np
from numpy.typing import ArrayLike, NDArray
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import BaseTrial

NADIR_FACTOR = 1.1


@dataclass(frozen=True)
class Outcome:
    """What one evaluation gives.

    Attributes:
        losses: One value for each objective, all minimised.
        constraints: Raw values in the unit a user would have (ms over the bound, MB over the bound);
            a constraint holds where its value is at most zero.
    """

    losses: tuple[float, ...]
    constraints: dict[str, float]

    @property
    def is_feasible(self) -> bool:
        """Whether all constraints hold."""
        return all(value <= 0.0 for value in self.constraints.values())


@dataclass(frozen=True, eq=False)
class Task:
    """A search space and how to evaluate one of its configurations.

    Attributes:
        name: Unique over all groups.
        group: The group of problems that results are averaged over.
        space: The distribution of each parameter, in the order of suggestion.
        evaluate: Maps the active parameters to an `Outcome`; deterministic.
        n_objectives: How many losses an outcome has.
        constraint_names: The keys of an outcome's constraints, in their order.
        conditions: For a conditional parameter, an earlier one and the values at which it is active.
        late_constraints: The constraints that only the objectives' evaluation can tell. All others are known
            before it, so that a staged search need not evaluate what breaks them.
    """

    name: str
    group: str
    space: dict[str, BaseDistribution]
    evaluate: Callable[[dict[str, Any]], Outcome]
    n_objectives: int
    constraint_names: tuple[str, ...]
    conditions: Mapping[str, tuple[str, tuple[Any, ...]]] = field(default_factory=dict)
    late_constraints: frozenset[str] = frozenset()

    @property
    def directions(self) -> tuple[Literal["minimize"], ...]:
        """The direction of each objective: all are minimised."""
        return tuple("minimize" for _ in range(self.n_objectives))

    def is_active(self, name: str, params: Mapping[str, Any]) -> bool:
        """Whether parameter `name` exists, given the parameters before it."""
        if name not in self.conditions:
            return True
        parent, values = self.conditions[name]
        return parent in params and params[parent] in values

    def suggest(self, trial: BaseTrial) -> dict[str, Any]:
        """Suggest all active parameters, in the order of the space."""
        params: dict[str, Any] = {}
        for name, distribution in self.space.items():
            if self.is_active(name, params):
                params[name] = _suggest(trial, name, distribution)
        return params

    def configurations(self) -> Iterator[dict[str, Any]]:
        """Every configuration of a finite space.

        Raises:
            ValueError: A parameter is continuous.
        """
        yield from self._completions({}, list(self.space))

    def _completions(self, params: dict[str, Any], remaining: list[str]) -> Iterator[dict[str, Any]]:
        if not remaining:
            yield params
            return
        name, *others = remaining
        if not self.is_active(name, params):
            yield from self._completions(params, others)
            return
        for value in finite_values(self.space[name]):
            yield from self._completions({**params, name: value}, others)


@dataclass(frozen=True, eq=False)
class Problem(Task):
    """A task with the constrained front against which a search is scored.

    Attributes:
        front: `(n, m)` losses of the true (or best known) constrained front, no point dominated.
        reference: The reference point of the hypervolume, in loss units. Unless a problem says otherwise
            it lies at 1.1 of the nadir once the front's ideal is 0 and its nadir is 1; a linear scaling of
            the losses does not change the ratio of two hypervolumes, so nothing else is normalised.
        best_hypervolume: The hypervolume of `front`.
    """

    front: NDArray[np.float64] = field(kw_only=True)
    reference: tuple[float, ...] = field(kw_only=True)
    best_hypervolume: float = field(kw_only=True)

    @classmethod
    def from_front(
        cls, task: Task, front: ArrayLike, /, *, reference: tuple[float, ...] | None = None
    ) -> Self:
        """The problem of coming close to `front`, which may hold dominated points."""
        losses = moocore.filter_dominated(np.asarray(front, dtype=float))
        if reference is None:
            ideal, nadir = losses.min(axis=0), losses.max(axis=0)
            reference = tuple((ideal + NADIR_FACTOR * (nadir - ideal)).tolist())
        return cls(
            name=task.name,
            group=task.group,
            space=task.space,
            evaluate=task.evaluate,
            n_objectives=task.n_objectives,
            constraint_names=task.constraint_names,
            conditions=task.conditions,
            late_constraints=task.late_constraints,
            front=losses,
            reference=reference,
            best_hypervolume=float(moocore.hypervolume(losses, ref=reference)),
        )

    def score(self, feasible_losses: ArrayLike) -> float:
        """The hypervolume of `(n, m)` feasible losses over the best known one; 0 for no points."""
        losses = np.asarray(feasible_losses, dtype=float)
        if losses.size == 0:
            return 0.0
        return float(moocore.hypervolume(losses, ref=self.reference)) / self.best_hypervolume


def _suggest(trial: BaseTrial, name: str, distribution: BaseDistribution) -> Any:
    match distribution:
        case FloatDistribution(low=low, high=high, step=step, log=log):
            return trial.suggest_float(name, low, high, step=step, log=log)
        case IntDistribution(low=low, high=high, step=step, log=log):
            return trial.suggest_int(name, low, high, step=step, log=log)
        case CategoricalDistribution(choices=choices):
            return trial.suggest_categorical(name, choices)
    raise ValueError(f"parameter {name!r}: unknown distribution {distribution!r}")


def finite_values(distribution: BaseDistribution) -> list[Any]:
    """All values of a discrete distribution, ascending or as listed.

    Raises:
        ValueError: The distribution is continuous.
    """
    match distribution:
        case CategoricalDistribution(choices=choices):
            return list(choices)
        case IntDistribution(low=low, high=high, step=step):
            return list(range(low, high + 1, step))
        case FloatDistribution(low=low, high=high, step=float(step)):
            return [low + k * step for k in range(round((high - low) / step) + 1)]
    raise ValueError(f"{distribution!r} has no finite list of values")
