"""What `moo run` needs of several processes: the task made anew in each, and what waiting cost."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from moo.results import FinishedTrial
    from objectives import Task

__all__ = ["task_maker", "waited_line"]

_WORTH_SAYING_S = 1.0


def task_maker(spec: str, provider: str | None = None) -> Callable[[], Task]:
    """Return what makes the task that a person named, in any process."""
    return partial(_made, spec, provider)


def _made(spec: str, provider: str | None) -> Task:
    from moo.cli._tasks import load_task, served_by

    return served_by(load_task(spec), provider)


def waited_line(trials: Iterable[FinishedTrial]) -> str:
    """Return what it cost that candidates were timed while nothing else ran; nothing where that is little.

    >>> waited_line([])
    ''
    """
    seconds = [trial.evaluation.seconds for trial in trials if trial.evaluation is not None]
    measurements = sum(one.get("wait", 0.0) for one in seconds)
    trainings = sum(one.get("paused", 0.0) for one in seconds)
    if measurements + trainings < _WORTH_SAYING_S:
        return ""
    return (
        "So that each candidate was timed alone, measurements waited"
        f" {measurements:.0f} s, trainings {trainings:.0f} s."
    )
