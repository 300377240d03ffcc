"""From the name a person types to a sampler whose proposals depend on seed and history alone."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from moo.errors import InputError, did_you_mean

__all__ = ["SAMPLER_NAMES", "make_sampler", "trial_seed"]

# Optuna's own behind each name. NSGA-II: a population of 20 does better than its default of 50
# for the budgets of 50 to 500 trials that measured sweeps have.
_FACTORIES: Mapping[str, Callable[[int], BaseSampler]] = MappingProxyType(
    {
        "gp": lambda seed: optuna.samplers.GPSampler(seed=seed),
        "nsga2": lambda seed: optuna.samplers.NSGAIISampler(seed=seed, population_size=20),
        "nsga3": lambda seed: optuna.samplers.NSGAIIISampler(seed=seed, population_size=20),
        "random": lambda seed: optuna.samplers.RandomSampler(seed=seed),
        "tpe": lambda seed: optuna.samplers.TPESampler(seed=seed),
    }
)

SAMPLER_NAMES = tuple(sorted(_FACTORIES))
"""The names that `make_sampler` knows."""


def trial_seed(seed: int, number: int) -> int:
    """Return the seed of one trial: the same for the same study seed and trial number.

    >>> trial_seed(0, 1) == trial_seed(0, 1) != trial_seed(0, 2)
    True
    """
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


def make_sampler(name: str | BaseSampler, *, seed: int) -> BaseSampler:
    """Return the sampler of this name, or the sampler given.

    A named sampler proposes from the seed, the trial's number and the finished trials only, so a
    resumed study goes on as the uninterrupted one would have. One that is given keeps its own
    random state.

    Raises:
        InputError: For a name that is not known.
    """
    if isinstance(name, BaseSampler):
        return name
    if name not in _FACTORIES:
        raise InputError(f"sampler: unknown name {name!r}; {did_you_mean(str(name), SAMPLER_NAMES)}")
    return _SeededForEachTrial(_FACTORIES[name], seed)


class _SeededForEachTrial(BaseSampler):
    """Builds the wrapped sampler anew for each trial, seeded by study seed and trial number.

    Optuna's samplers draw from one stream for as long as the process lives; begun again with the
    same seed they would repeat their first draws. Those wrapped here keep everything else in the
    study's storage, so building them costs microseconds and loses nothing.
    """

    def __init__(self, factory: Callable[[int], BaseSampler], seed: int) -> None:
        self._factory = factory
        self._seed = seed
        self._inner = self._build(0)

    def __str__(self) -> str:
        return str(self._inner)

    def _build(self, number: int) -> BaseSampler:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return self._factory(trial_seed(self._seed, number))

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Seed for this trial."""
        self._inner = self._build(trial.number)
        self._inner.before_trial(study, trial)

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """See `optuna.samplers.BaseSampler`."""
        return self._inner.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """See `optuna.samplers.BaseSampler`."""
        return self._inner.sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """See `optuna.samplers.BaseSampler`."""
        return self._inner.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """See `optuna.samplers.BaseSampler`."""
        self._inner.after_trial(study, trial, state, values)

    def reseed_rng(self) -> None:
        """Do nothing: the seed follows from the trial's number, in any process."""
