"""Samplers. Each is an `optuna.samplers.BaseSampler` and can be used with Optuna alone."""

from moo.samplers._by_name import SAMPLER_NAMES, make_sampler, trial_seed
from moo.samplers._exhaustion import SpaceWatch
from moo.samplers._history import NOISE
from moo.samplers.auto import AutoSampler
from moo.samplers.constrained_tpe import ConstrainedTPESampler
from moo.samplers.ehvi import EHVISampler
from moo.samplers.nsga2 import NSGA2Sampler

__all__ = [
    "NOISE",
    "SAMPLER_NAMES",
    "AutoSampler",
    "ConstrainedTPESampler",
    "EHVISampler",
    "NSGA2Sampler",
    "SpaceWatch",
    "make_sampler",
    "trial_seed",
]
