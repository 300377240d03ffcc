"""Optuna's pruners, for one objective, behind the call that all pruners here have."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import optuna
from optuna.pruners import BasePruner

from moo.errors import InputError
from moo.problem import Problem
from moo.pruning._interface import NOTHING, Pruner, checked_step, checked_values
from moo.storage import BASELINE

__all__ = ["OptunaPruner"]

STOPPED = "moo:stopped_at"
"""User attribute of a trial that a pruner of Optuna's stopped: the step."""


class OptunaPruner(Pruner):
    """Reports the one objective to Optuna and asks its pruner, which reads the study's direction.

    The pruner is asked, not set on the study: under Hyperband Optuna would show a sampler the trials of one
    bracket only. Every step with the objective is one write. Of a step reported twice Optuna keeps the first
    value. Costs and violations are not looked at.

    Args:
        pruner: One of Optuna's, or any other `optuna.pruners.BasePruner`.
        problem: With one objective.

    Raises:
        InputError: If the problem has several objectives.
    """

    def __init__(self, pruner: BasePruner, problem: Problem) -> None:
        if len(problem.objectives) != 1:
            raise InputError(
                f"pruner: {type(pruner).__name__} takes one objective, and the problem has"
                f" {len(problem.objectives)}: use halving"
            )
        self._pruner = pruner
        self._name = problem.objectives[0].metric.name

    def __repr__(self) -> str:
        return f"OptunaPruner({type(self._pruner).__name__})"

    def report(
        self,
        trial: optuna.Trial,
        step: int,
        values: Mapping[str, float],
        costs: Mapping[str, float | None] = NOTHING,  # noqa: ARG002
        violations: Mapping[str, float | None] = NOTHING,  # noqa: ARG002
    ) -> bool:
        """See `Pruner.report`: without the objective in `values`, nothing is decided."""
        step = checked_step(step)
        value = checked_values(values).get(self._name)
        attrs = trial.user_attrs
        if attrs.get(STOPPED) is not None:
            return True  # its process ended before that was stored, and Optuna's pruners decide once
        if value is None:
            return False
        with warnings.catch_warnings():  # a trial that is run again reports its first steps again
            warnings.filterwarnings("ignore", message="The reported value is ignored")
            trial.report(value, step)
        stored = trial.study.get_trials(deepcopy=False)[trial.number]
        if attrs.get(BASELINE) or not self._pruner.prune(trial.study, stored):
            return False
        trial.set_user_attr(STOPPED, step)
        return True
