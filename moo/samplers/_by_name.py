"""From the name a person types to a sampler whose proposals depend on seed and history alone."""

from __future__ import annotations

import contextlib
import importlib.util
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from moo.errors import InputError, did_you_mean
from moo.samplers._grid import GridSampler
from moo.samplers.auto import AutoSampler
from moo.samplers.constrained_tpe import ConstrainedTPESampler
from moo.samplers.ehvi import EHVISampler
from moo.samplers.nsga2 import NSGA2Sampler

__all__ = ["SAMPLER_NAMES", "make_sampler", "trial_seed"]


@dataclass(frozen=True)
class _OptunaSampler:
    """One of Optuna's own, and what it cannot do.

    Attributes:
        build: Makes it from a seed.
        package: What it needs to be installed besides.
        takes_several_objectives: It searches for a front.
        heeds_constraints: It searches where they hold, or does not learn at all.
        takes_categories: It searches over unordered choices.
        stops_by_itself: It calls `Study.stop`, which only `Study.optimize` allows.
        is_sequence: Its trials are places in one sequence, so they share one seed.
    """

    build: Callable[[int], BaseSampler]
    package: str | None = None
    takes_several_objectives: bool = True
    heeds_constraints: bool = True
    takes_categories: bool = True
    stops_by_itself: bool = False
    is_sequence: bool = False


_OURS: Mapping[str, Callable[[int, int | None], BaseSampler]] = MappingProxyType(
    {
        "auto": lambda seed, n_trials: AutoSampler(seed=seed, n_trials=n_trials),
        "ehvi": lambda seed, _: EHVISampler(seed=seed),
        "grid": lambda seed, _: GridSampler(seed=seed),
        "nsga2": lambda seed, _: NSGA2Sampler(seed=seed),
        "tpe": lambda seed, _: ConstrainedTPESampler(seed=seed),
    }
)

_OPTUNAS: Mapping[str, _OptunaSampler] = MappingProxyType(
    {
        "brute-force": _OptunaSampler(
            lambda seed: optuna.samplers.BruteForceSampler(seed=seed), stops_by_itself=True
        ),
        "cmaes": _OptunaSampler(
            lambda seed: optuna.samplers.CmaEsSampler(seed=seed),
            package="cmaes",
            takes_several_objectives=False,
            heeds_constraints=False,
            takes_categories=False,
        ),
        "gp": _OptunaSampler(lambda seed: optuna.samplers.GPSampler(seed=seed), package="torch"),
        # 20: after 200 trials, better than Optuna's default of 50
        "nsga3": _OptunaSampler(lambda seed: optuna.samplers.NSGAIIISampler(seed=seed, population_size=20)),
        "optuna-tpe": _OptunaSampler(lambda seed: optuna.samplers.TPESampler(seed=seed)),
        "qmc": _OptunaSampler(
            lambda seed: optuna.samplers.QMCSampler(seed=seed, scramble=True), is_sequence=True
        ),
        "random": _OptunaSampler(lambda seed: optuna.samplers.RandomSampler(seed=seed)),
    }
)

SAMPLER_NAMES = tuple(sorted((*_OURS, *_OPTUNAS)))
"""The names that `make_sampler` knows."""


def trial_seed(seed: int, number: int) -> int:
    """Return the seed of one trial: the same for the same study seed and trial number.

    >>> trial_seed(0, 1) == trial_seed(0, 1) != trial_seed(0, 2)
    True
    """
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


def make_sampler(
    name: str | BaseSampler,
    *,
    seed: int,
    n_objectives: int = 1,
    is_constrained: bool = False,
    n_trials: int | None = None,
) -> BaseSampler:
    """Return the sampler of this name, or the sampler given.

    A named sampler proposes from the seed, the trial's number and the finished trials only, so a
    resumed study goes on as the uninterrupted one would have. One that is given keeps its own
    random state.

    Args:
        name: One of `SAMPLER_NAMES`, or a sampler.
        seed: Of the study.
        n_objectives: Of the study.
        is_constrained: Whether the study has constraints.
        n_trials: How many trials are planned; None if that is not known.

    Raises:
        InputError: For a name that is not known, and for a sampler that cannot do what the study needs.
            What it cannot do about a parameter is told when that parameter is first asked for.
    """
    if isinstance(name, BaseSampler):
        return name
    if name in _OURS:
        return _OURS[name](seed, n_trials)
    if name not in _OPTUNAS:
        raise InputError(f"sampler: unknown name {name!r}; {did_you_mean(str(name), SAMPLER_NAMES)}")
    entry = _OPTUNAS[name]
    if n_objectives > 1 and not entry.takes_several_objectives:
        raise InputError(
            f"sampler: {name} takes one objective, and the study has {n_objectives}: use auto, or keep one"
            " objective and bound the other metrics with constraints, which auto heeds"
        )
    if is_constrained and not entry.heeds_constraints:
        raise InputError(f"sampler: {name} knows no constraints, and the study has some: use auto")
    if entry.package is not None and importlib.util.find_spec(entry.package) is None:
        raise InputError(
            f"sampler: {name} needs the package {entry.package}: run 'pip install {entry.package}',"
            " or use auto"
        )
    return _SeededForEachTrial(name, entry, seed)


class _SeededForEachTrial(BaseSampler):
    """Builds one of Optuna's samplers anew for each trial, seeded by study seed and trial number.

    Optuna's samplers draw from one stream for as long as the process lives; begun again with the
    same seed they would repeat their first draws. Those wrapped here keep what they know in the
    study's storage, so building them costs microseconds; `gp` alone loses something, the
    hyperparameters its next fit would have started from.
    """

    def __init__(self, name: str, entry: _OptunaSampler, seed: int) -> None:
        self._name = name
        self._entry = entry
        self._seed = seed
        self._inner = self._build(0)

    def __str__(self) -> str:
        return str(self._inner)

    def _build(self, number: int) -> BaseSampler:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return self._entry.build(
                self._seed if self._entry.is_sequence else trial_seed(self._seed, number)
            )

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
        """See `optuna.samplers.BaseSampler`.

        Raises:
            InputError: For a categorical parameter where the sampler cannot search over one.
        """
        if isinstance(param_distribution, CategoricalDistribution) and not self._entry.takes_categories:
            raise InputError(
                f"sampler: {self._name} searches over numbers, and parameter {param_name!r} is"
                " categorical: use auto"
            )
        return self._inner.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """See `optuna.samplers.BaseSampler`."""
        # outside Study.optimize a sampler may not stop the study; a sweep looks for itself whether to end
        allowed = (RuntimeError,) if self._entry.stops_by_itself else ()
        with contextlib.suppress(*allowed):
            self._inner.after_trial(study, trial, state, values)

    def reseed_rng(self) -> None:
        """Do nothing: the seed follows from the trial's number, in any process."""
