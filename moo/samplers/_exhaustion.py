"""When every configuration of a finite space has been tried."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import optuna
from optuna.trial import FrozenTrial

from moo.samplers._history import History, Observations

__all__ = ["LISTABLE", "SpaceWatch", "exhaustion"]

LISTABLE = 20_000
"""A finite space of at most this many configurations may be listed."""


def exhaustion(history: History) -> str | None:
    """Return a sentence where nothing new is left to try, else None.

    What is running, queued or failed counts as tried; while a running trial has not stored all of its
    parameters, nothing is known to be exhausted. A space with a continuous parameter never ends,
    and of one with conditional parameters and more than `LISTABLE` configurations it is not known, nor
    where the range of a parameter depends on others.
    """
    if not history.has_parameters or not history.has_known_size:
        return None
    space = history.search_space()
    if not space:
        return "the only configuration has been tried" if history.has_finished_trials else None
    observations = history.observations(space)
    counts = None if observations.n_unseen else _n_untried_and_all(observations)
    if counts is None or counts[0] > 0:
        return None
    return f"all {counts[1]} configurations have been tried"


def _n_untried_and_all(observations: Observations) -> tuple[int, int] | None:
    """Return how many configurations are untried, of how many; None where that cannot be told."""
    space, tried = observations.space, observations.codes
    if not np.isfinite(space.size):
        return None
    if not space.conditions and not np.isnan(observations.rows).any():
        n_tried = len(np.unique(tried))
        return max(int(space.size) - n_tried, 0), int(space.size)
    if space.size > LISTABLE:
        return None
    every = space.without_inactive(space.all_rows)
    n_untried = int((~observations.are_tried(every)).sum())
    return n_untried, len(np.unique(tried)) if observations.absences else len(every)


class SpaceWatch:
    """Tells when a study has nothing new left to try, whatever its sampler."""

    def __init__(self) -> None:
        self._history = History()

    def exhausted(self, study: optuna.Study, trials: Sequence[FrozenTrial] | None = None) -> str | None:
        """Return a sentence where every configuration of a finite space has been tried, else None.

        Args:
            study: The study.
            trials: All of its trials, where they have just been read.
        """
        self._history.read(study, trials)
        return exhaustion(self._history)
