"""Every configuration of a finite space, once each."""

from __future__ import annotations

from typing import Any

import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial

from moo.errors import InputError
from moo.samplers._guided import GuidedSampler, Question
from moo.samplers._space import SearchSpace

__all__ = ["GridSampler"]


class GridSampler(GuidedSampler):
    """Tries every configuration of a finite space once, in random order.

    Optuna's own must be told the values beforehand and knows no conditional parameters; this one reads
    both off the trials, so that it can be had by name.

    Args:
        seed: Gives the order.
    """

    def __init__(self, *, seed: int | None = None) -> None:
        super().__init__(seed=seed, n_startup_trials=1, when_exhausted="stop")

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """See `optuna.samplers.BaseSampler`.

        Raises:
            InputError: For a continuous parameter.
        """
        if SearchSpace({param_name: param_distribution}).is_continuous.any():
            raise InputError(
                f"sampler: grid needs a finite number of values, and parameter {param_name!r} is continuous:"
                " give it a step or choices, or use qmc, random or auto"
            )
        return super().sample_independent(study, trial, param_name, param_distribution)

    def _propose(self, question: Question) -> NDArray[Any]:
        untried = question.untried()
        return untried if len(untried) else question.draw(1)
