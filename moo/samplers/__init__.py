"""Samplers by name. Each is an `optuna.samplers.BaseSampler` and can be used with Optuna alone."""

from moo.samplers._by_name import SAMPLER_NAMES, make_sampler, trial_seed

__all__ = ["SAMPLER_NAMES", "make_sampler", "trial_seed"]
