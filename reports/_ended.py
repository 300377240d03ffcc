"""What ended trials early, at which stage, and what that saved."""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from moo.results import FinishedTrial, Results
from reports._text import DASH, one_line

FIT = "fit"  # the stage in which a model is trained, as tasks name it among an evaluation's seconds


@dataclass(frozen=True)
class Ending:
    """Trials that ended alike.

    Args:
        state: `pruned` or `failed`.
        when: The stage, in words.
        reason: In one line; of reasons that differ in numbers alone, the first.
        n_trials: How many.
        steps: First and last step of training after which they ended, or None where none had trained.
    """

    state: str
    when: str
    reason: str
    n_trials: int
    steps: tuple[int, int] | None


@dataclass(frozen=True, kw_only=True)
class TrainingTime:
    """What training took, and an estimate of what ending trials early saved.

    Each number is None where it is not known: nothing is estimated without a complete trial whose training
    was timed.

    Args:
        spent_s: Seconds of training of all trials, or None where no trial's was timed.
        n_timed: Complete trials whose training was timed.
        median_s: Their median training time, in seconds.
        n_before: Trials pruned before training.
        saved_before_s: Estimate of what that saved: `n_before` times the median.
        n_during: Trials pruned in training whose time is known.
        saved_during_s: Estimate of what that saved: of each the median less what it took, never below 0.
    """

    spent_s: float | None
    n_timed: int
    median_s: float | None
    n_before: int
    saved_before_s: float | None
    n_during: int
    saved_during_s: float | None


def endings(results: Results) -> tuple[Ending, ...]:
    """Return how trials ended early, pruned before failed, the commonest first."""
    groups: dict[tuple[str, str, str], list[FinishedTrial]] = {}
    for trial in results.trials:
        if trial.state != "complete":
            pattern = re.sub(r"\d+(?:\.\d+)?", "#", trial.reason or "")
            groups.setdefault((trial.state, when_ended(trial), pattern), []).append(trial)
    found = [
        Ending(state, when, _reason(trials[0]), len(trials), _steps(trials))
        for (state, when, _), trials in groups.items()
    ]
    return tuple(sorted(found, key=lambda ending: (ending.state != "pruned", -ending.n_trials)))


def when_ended(trial: FinishedTrial) -> str:
    """Return at which stage a trial ended that is not complete, in words.

    >>> when_ended(FinishedTrial(number=0, state="failed", params={}, stage="export"))
    'export'
    >>> when_ended(FinishedTrial(number=0, state="pruned", params={}))
    'not recorded'
    """
    if trial.state == "failed":
        return one_line(trial.stage or "") or "not recorded"
    if last_step(trial) is not None or fit_seconds(trial) is not None:
        return "in training"
    if (trial.reason or "").startswith("before training"):
        return "before training"
    if trial.evaluation is not None and trial.evaluation.seconds:
        return "before training"
    return one_line(trial.stage or "") or "not recorded"


def last_step(trial: FinishedTrial) -> int | None:
    """Return the last step of training that a trial reported, or None."""
    curve = trial.evaluation.curve if trial.evaluation is not None else ()
    return max((step for step, _ in curve), default=None)


def fit_seconds(trial: FinishedTrial) -> float | None:
    """Return how long a trial's own training took, or None where it was not timed or is another's."""
    if trial.evaluation is None or trial.parent is not None:
        return None
    return trial.evaluation.seconds.get(FIT)


def training_time(results: Results) -> TrainingTime:
    """Return what training took and an estimate of what was saved; see `TrainingTime`."""
    spent = [seconds for trial in results.trials if (seconds := fit_seconds(trial)) is not None]
    trained = [seconds for trial in results.complete if (seconds := fit_seconds(trial)) is not None]
    pruned = [trial for trial in results.trials if trial.state == "pruned"]
    n_before = sum(when_ended(trial) == "before training" for trial in pruned)
    stopped = [seconds for trial in pruned if (seconds := fit_seconds(trial)) is not None]
    median = statistics.median(trained) if trained else None
    return TrainingTime(
        spent_s=sum(spent) if spent else None,
        n_timed=len(trained),
        median_s=median,
        n_before=n_before,
        saved_before_s=None if median is None else n_before * median,
        n_during=len(stopped),
        saved_during_s=None if median is None else sum(max(0.0, median - seconds) for seconds in stopped),
    )


def _reason(trial: FinishedTrial) -> str:
    return one_line(trial.reason or "") or DASH


def _steps(trials: Sequence[FinishedTrial]) -> tuple[int, int] | None:
    known = [step for trial in trials if (step := last_step(trial)) is not None]
    return (min(known), max(known)) if known else None
