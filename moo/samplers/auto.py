"""The default sampler: one of ours for each trial, by what is measured to work there.

Mean share of the best known hypervolume, `benchmarks/samplers.py` (tables in `benchmarks/results/`): after
50, 100 and 200 trials EHVI has 0.725, 0.835 and 0.905, NSGA-II 0.673, 0.810 and 0.876, and both are far ahead
of constrained TPE; EHVI was so too in a try with five objectives and with 60 parameters, numbers or
categories (80 trials, 2 seeds). An ask of EHVI takes 20 to 150 ms and one of NSGA-II a few, so up to the
200th trial, where the comparison ends, EHVI costs some seconds in all, whatever a trial costs. From there on
NSGA-II, which then knows EHVI's trials, goes on.
Taking turns, one trial each, was between the two (56 searches: 0.669 and 0.814 after 50 and 100 trials; EHVI
0.700 and 0.822, NSGA-II 0.674 and 0.804).
"""

from __future__ import annotations

import logging
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from moo.samplers._guided import GuidedSampler, Question, check
from moo.samplers.ehvi import EHVISampler
from moo.samplers.nsga2 import NSGA2Sampler

__all__ = ["AutoSampler"]

FloatArray = NDArray[np.float64]

_log = logging.getLogger("moo")

_N_BY_EHVI = 200
_MAX_STARTUP = 10


class AutoSampler(GuidedSampler):
    """Chooses among our samplers by how much the study knows.

    The Gaussian processes of `EHVISampler` make the most of few trials, and `NSGA2Sampler` goes on from there
    at a small part of the cost. Which is used follows from the study's trials alone, so a resumed study
    makes the same choices. Each choice is told once, to the logger `moo`, at level INFO.

    Args:
        seed: Makes proposals repeatable; None draws one.
        n_trials: How many trials are planned, if that is known: with fewer than 40, fewer of them are drawn
            by Latin hypercube sampling first.
        when_exhausted: Once every configuration of a finite space was tried, `repeat` goes on with repeats,
            after a warning, and `stop` ends `study.optimize`.

    Raises:
        InputError: If an argument is out of range.
    """

    def __init__(
        self,
        *,
        seed: int | None = None,
        n_trials: int | None = None,
        when_exhausted: Literal["repeat", "stop"] = "repeat",
    ) -> None:
        check(
            n_trials is None or (isinstance(n_trials, int) and n_trials >= 1),
            "n_trials",
            "an integer >= 1",
            n_trials,
        )
        n_startup = _MAX_STARTUP if n_trials is None else min(_MAX_STARTUP, max(3, n_trials // 4))
        super().__init__(seed=seed, n_startup_trials=n_startup, when_exhausted=when_exhausted)
        self._ehvi = EHVISampler(seed=self._seed)
        self._nsga2 = NSGA2Sampler(seed=self._seed)
        self._told: str | None = None

    def _propose(self, question: Question) -> FloatArray:
        n_known = int(question.observations.teaches.sum())
        if n_known < _N_BY_EHVI:
            self._tell_once(
                f"ehvi, which makes the most of few trials; nsga2 goes on after {_N_BY_EHVI}", question
            )
            return self._ehvi._propose(question)
        self._tell_once(
            f"nsga2, which costs little and does well once {_N_BY_EHVI} trials are known", question
        )
        return self._nsga2._propose(question)

    def _tell_once(self, choice: str, question: Question) -> None:
        with self._lock:
            is_news, self._told = self._told != choice, choice
        if is_news:
            _log.info("sampler auto: %s (%s)", choice, _situation(question))


def _situation(question: Question) -> str:
    counts = {
        "objective": question.observations.n_objectives,
        "constraint": question.observations.n_constraints,
        "parameter": question.space.n_parameters,
    }
    return ", ".join(f"{count} {noun}{'' if count == 1 else 's'}" for noun, count in counts.items())
