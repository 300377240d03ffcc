"""Several observers of one sweep, as one."""

from __future__ import annotations

from collections.abc import Iterable

from moo.results import FinishedTrial, Results
from moo.task import Observer

__all__ = ["Observers"]


class Observers:
    """Tells each of several observers, in the order given.

    Args:
        observers: Who is told; an error that one raises reaches the sweep, and the rest are not told.
    """

    def __init__(self, observers: Iterable[Observer]) -> None:
        self._observers = tuple(observers)

    def begun(self, results: Results, n_trials: int) -> None:
        """Tell what an earlier run left, and how many trials there will be."""
        for observer in self._observers:
            observer.begun(results, n_trials)

    def trial_finished(self, trial: FinishedTrial) -> None:
        """Tell of a finished trial."""
        for observer in self._observers:
            observer.trial_finished(trial)
