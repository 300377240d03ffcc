"""The test data in `moo confirm`: opened once, and on record before anything is shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from moo.cli._confirm_files import now
from moo.cli._confirm_plan import Plan
from moo.cli._confirm_retrain import Retrained
from moo.cli._confirm_rounds import Stopped
from moo.confirmation import TEST_OPENED
from moo.errors import TrialError
from moo.evaluation import Estimate, Evaluation
from objectives._confirm import quality_on_test

if TYPE_CHECKING:
    from objectives import Task

__all__ = ["Tested", "has_test_data", "open_test"]

Quality = Mapping[str, Estimate] | str
"""Estimates by metric name, or why there are none."""


@dataclass(frozen=True)
class Tested:
    """Quality on the test data.

    Args:
        own: Of the search's artefacts, by trial number.
        retrained: Of those trained anew, by trial number.
        notes: What a reader is told of it.
    """

    own: Mapping[int, Quality] = field(default_factory=dict)
    retrained: Mapping[int, Sequence[Quality]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def has_test_data(plan: Plan) -> bool:
    """Return whether the task has rows that nobody has looked at; their scores are not computed."""
    if plan.task is None:
        return False
    number, model = next(iter(plan.models.items()))
    return plan.task.served(model.path, plan.by_number[number].trial.params, "test") is not None


def open_test(
    plan: Plan, survivors: Sequence[int], retrained: Retrained, *, kept: str, should_stop: Callable[[], bool]
) -> Tested:
    """Return quality on the test data; that they were opened is recorded before they are.

    Args:
        plan: Where the candidates come from.
        survivors: Trial numbers.
        retrained: Their models under other seeds.
        kept: What rounds are kept, for the message of `Stopped`.
        should_stop: Asked once, before.

    Raises:
        Stopped: By Ctrl-C, before they were opened.
    """
    task = plan.task
    if task is None or not has_test_data(plan):
        why = "no --task" if task is None else f"task {task.name} has no test data"
        return Tested(notes=(f"no test data were opened: {why}",))
    if should_stop():
        raise Stopped(f"{kept}; the test data were not opened")
    _record_opening(plan, survivors)
    own: dict[int, Quality] = {}
    again: dict[int, list[Quality]] = {}
    for number in survivors:
        trial = plan.by_number[number].trial
        assert trial.evaluation is not None
        own[number] = _tested(plan, task, trial.evaluation, trial.params)
        again[number] = [_tested(plan, task, e, trial.params) for e in retrained.evaluations(number)]
    return Tested(own, again)


def _tested(plan: Plan, task: Task, evaluation: Evaluation, params: Mapping[str, Any]) -> Quality:
    profiler = plan.profiler_for(str(evaluation.runtime.get("provider", "cpu")))
    try:
        return quality_on_test(task, evaluation, params, root=plan.root, profiler=profiler)
    except TrialError as error:
        return f"{error.stage}: {error}"


def _record_opening(plan: Plan, survivors: Sequence[int]) -> None:
    optuna_study = plan.study.optuna_study
    openings = list(optuna_study.user_attrs.get(TEST_OPENED, []))
    if openings and openings[-1].get("plan") == plan.id:
        return  # cut off before anything was shown
    entry = {"time": now(), "trials": list(survivors), "again": bool(openings), "plan": plan.id}
    optuna_study.set_user_attr(TEST_OPENED, [*openings, entry])
