"""What `moo run` needs of several processes: the task made anew in each, and what waiting cost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Literal

from moo.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from moo.engines import RayEngine
    from moo.results import FinishedTrial
    from objectives import Task

__all__ = ["chosen_engine", "task_maker", "waited_line"]

_WORTH_SAYING_S = 1.0


def task_maker(spec: str, provider: str | None = None, *, is_served_here: bool = True) -> Callable[[], Task]:
    """Return what makes the task that a person named, in any process."""
    return partial(_made, spec, provider, is_served_here)


def _made(spec: str, provider: str | None, is_served_here: bool) -> Task:  # noqa: FBT001
    from moo.cli._tasks import load_task, served_by

    return served_by(load_task(spec), provider, is_served_here=is_served_here)


def chosen_engine(name: str, devices: Sequence[str]) -> Literal["local"] | RayEngine:
    """Return the engine that a person named.

    Raises:
        InputError: For another name, or devices without Ray.
    """
    if name == "ray":
        from moo.engines import RayEngine

        return RayEngine(devices=tuple(devices))
    if name != "local":
        raise InputError(f"--engine: expected local or ray, got {name!r}")
    if devices:
        raise InputError(f"--device: {', '.join(devices)} is a part of a Ray cluster: add --engine ray")
    return "local"


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
