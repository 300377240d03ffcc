"""The default sampler: one of ours for each trial, by what is measured to work there."""

from __future__ import annotations

import logging
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from moo.samplers._guided import GuidedSampler, Question, check
from moo.samplers.constrained_tpe import ConstrainedTPESampler
from moo.samplers.ehvi import EHVISampler

__all__ = ["AutoSampler"]

FloatArray = NDArray[np.float64]

_log = logging.getLogger("moo")

_MAX_TRIALS = 300
_MAX_OBJECTIVES = 4
_MAX_PARAMETERS = 50
_MAX_STARTUP = 10


class AutoSampler(GuidedSampler):
    """Chooses among our samplers by the number of trials, objectives and parameters.

    The Gaussian processes of `EHVISampler` make the most of few trials; `ConstrainedTPESampler` costs a
    millisecond however many there are, and copes with what processes do not. Which is used follows from the
    study's trials alone, so a resumed study makes the same choices. Each choice is told once, to the logger
    `moo`, at level INFO.

    Args:
        seed: Makes proposals repeatable; None draws one.
        n_trials: How many trials are planned, if that is known: with fewer than 40, fewer of
            them are drawn at random first.
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
        self._tpe = ConstrainedTPESampler(seed=self._seed)
        self._told: str | None = None

    def _propose(self, question: Question) -> FloatArray:
        reason = _why_not_ehvi(question)
        name = "ehvi" if reason is None else "tpe"
        with self._lock:
            is_news, self._told = self._told != name, name
        if is_news:
            _log.info("sampler auto: %s", _sentence(question, reason))
        sampler = self._ehvi if reason is None else self._tpe
        return sampler._propose(question)


def _why_not_ehvi(question: Question) -> str | None:
    """Return the reason against Gaussian processes, None where there is none."""
    n_known = int(question.observations.teaches.sum())
    n_objectives = question.observations.n_objectives
    n_parameters = question.space.n_parameters
    if n_objectives > _MAX_OBJECTIVES:
        return f"{n_objectives} objectives, and ehvi is for at most {_MAX_OBJECTIVES}"
    if n_parameters > _MAX_PARAMETERS:
        return f"{n_parameters} parameters, and ehvi is for at most {_MAX_PARAMETERS}"
    if n_known >= _MAX_TRIALS:
        return f"{n_known} trials are known, and ehvi is for fewer than {_MAX_TRIALS}"
    return None


def _sentence(question: Question, reason: str | None) -> str:
    if reason is not None:
        return f"tpe (constrained TPE), because there are {reason}"
    observations = question.observations
    n_objectives = observations.n_objectives
    objectives = "1 objective" if n_objectives == 1 else f"{n_objectives} objectives"
    return (
        f"ehvi (Gaussian processes), which makes the most of few trials: {objectives},"
        f" {question.space.n_parameters} parameters, {int(observations.teaches.sum())} trials known;"
        f" tpe takes over at {_MAX_TRIALS}"
    )
