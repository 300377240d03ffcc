"""Who is measured again: the front of the search, and those near it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from moo.confirmation._assessment import Measured, assess
from moo.confirmation._race import DOUBT
from moo.evaluation import Estimate
from moo.metrics import Metric
from moo.pareto import nondominated
from moo.results import FinishedTrial, Results

__all__ = ["LAUNCH_SPREAD", "MOST_CANDIDATES", "Candidate", "Choice", "choose_candidates"]

Role = Literal["front", "neighbour", "baseline"]

MOST_CANDIDATES = 24  # measured again; the front comes first, and the baseline is not counted
LAUNCH_SPREAD = 0.05  # of a value: what launches of one model differ by, and one launch cannot show
_MOST_SCREENED = 256  # trials whose probabilities are computed; those behind so many are far
_N_DRAWS = 1000
_FEW_LAUNCHES = {"single_launch", "few_launches"}


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A trial to be measured again.

    Args:
        trial: As the search left it.
        role: On the search's front, near it, or the baseline beside both.
        p_on_front: By the search's own intervals; None for a baseline that was not screened.
        p_feasible: The same.
    """

    trial: FinishedTrial
    role: Role
    p_on_front: float | None
    p_feasible: float | None


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Who is measured again, and who would have been but for the cap.

    Args:
        candidates: The front, by P(on the front), then neighbours, then the baseline where it is neither.
        left_out: Numbers of trials that are beyond the cap.
        n_front: Candidates of the search's front, those left out among them.
    """

    candidates: tuple[Candidate, ...]
    left_out: tuple[int, ...]
    n_front: int


def choose_candidates(
    results: Results,
    *,
    correct: Mapping[int, Mapping[str, NDArray[np.bool_]]],
    seed: int,
    most: int = MOST_CANDIDATES,
) -> Choice:
    """Return the search's front, and every trial that may be on it by the search's own intervals.

    A trial is near where P(on the front) is not below 5%; to be on the front it must be feasible, so that
    one that merely seems infeasible is near too. The interval of one launch or a few is widened by what
    launches differ by, 5%. Candidates beyond the 256 best layers' worth of trials are not looked at.

    Args:
        results: Of the search.
        correct: By trial number, which validation samples are right, by metric; what is not kept is absent.
        seed: Of the draws.
        most: The cap on candidates, the baseline not counted.

    Returns:
        No candidate at all where no trial is feasible.
    """
    if not results.front:
        return Choice(candidates=(), left_out=(), n_front=0)
    screened = _nearest(results)
    measured = [_measured(results, trial, correct.get(trial.number, {})) for trial in screened]
    found = assess(results.problem, measured, n_draws=_N_DRAWS, seed=seed, bounds=results.bounds)
    p_on_front, p_feasible = found.probability.p_on_front, found.probability.p_feasible
    on_front = {trial.number for trial in results.front}
    wanted = [
        Candidate(
            trial=trial,
            role="front" if trial.number in on_front else "neighbour",
            p_on_front=float(p_on_front[index]),
            p_feasible=float(p_feasible[index]),
        )
        for index, trial in enumerate(screened)
        if trial.number in on_front or p_on_front[index] >= DOUBT
    ]
    wanted.sort(key=lambda c: (c.role != "front", -(c.p_on_front or 0.0), c.trial.number))
    chosen = wanted[:most]
    baseline = results.baseline
    if baseline is not None and baseline.number not in {c.trial.number for c in chosen}:
        index = next((i for i, trial in enumerate(screened) if trial.number == baseline.number), None)
        known = (None, None) if index is None else (float(p_on_front[index]), float(p_feasible[index]))
        chosen.append(Candidate(trial=baseline, role="baseline", p_on_front=known[0], p_feasible=known[1]))
    numbers = {candidate.trial.number for candidate in chosen}
    left_out = tuple(c.trial.number for c in wanted if c.trial.number not in numbers)
    return Choice(candidates=tuple(chosen), left_out=left_out, n_front=len(on_front))


def _nearest(results: Results) -> list[FinishedTrial]:
    """Return the baseline and the first layers of trials, whatever they violate, up to the cap."""
    left = [trial for trial in results.complete if not np.isnan(results.losses((trial,))).any()]
    front = {trial.number for trial in results.front}
    found = [trial for trial in left if trial.number in front]
    left = [trial for trial in left if trial.number not in front]
    while left and len(found) < _MOST_SCREENED:
        layer = nondominated(results.losses(tuple(left)))
        found += [trial for trial, is_in in zip(left, layer, strict=True) if is_in]
        left = [trial for trial, is_in in zip(left, layer, strict=True) if not is_in]
    found = found[: max(_MOST_SCREENED, len(front))]
    baseline = results.baseline
    if baseline is not None and all(trial.number != baseline.number for trial in found):
        found.append(baseline)
    return found


def _measured(results: Results, trial: FinishedTrial, correct: Mapping[str, NDArray[np.bool_]]) -> Measured:
    tags: Sequence[str] = trial.evaluation.tags if trial.evaluation is not None else ()
    is_narrow = bool(_FEW_LAUNCHES & set(tags))
    estimates = {
        metric.name: _widened(trial.estimate(metric.name), metric)
        if is_narrow
        else trial.estimate(metric.name)
        for metric in results.problem.metrics
    }
    return Measured(number=trial.number, estimates=estimates, correct=correct, is_baseline=trial.is_baseline)


def _widened(estimate: Estimate, metric: Metric) -> Estimate:
    """Return the estimate with the spread between launches in its interval; what is exact stays so."""
    value, low, high = estimate.value, estimate.low, estimate.high
    if metric.stage != "measured" or value is None or (low is not None and low == high):
        return estimate
    spread = LAUNCH_SPREAD * abs(value)
    below = 0.0 if low is None else value - low
    above = 0.0 if high is None else high - value
    return Estimate(value, value - math.hypot(below, spread), value + math.hypot(above, spread))
