"""What whoever runs a trial tells a pruner, and the pruner that never stops one."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from moo.errors import FitError

if TYPE_CHECKING:
    import optuna

__all__ = ["NOTHING", "NoPruning", "Pruner", "checked_step", "checked_values"]

NOTHING: Mapping[str, float | None] = MappingProxyType({})


class Pruner(abc.ABC):
    """Decides while a trial trains whether it is worth going on."""

    @abc.abstractmethod
    def report(
        self,
        trial: optuna.Trial,
        step: int,
        values: Mapping[str, float],
        costs: Mapping[str, float | None] = NOTHING,
        violations: Mapping[str, float | None] = NOTHING,
    ) -> bool:
        """Take what training says at a step, and return whether the trial should stop now.

        A trial that a sweep marked as the baseline is never stopped: bounds and gains rest on it.

        Args:
            trial: The running trial.
            step: How much training it has had, 0 or more; the resource. Several calls may share a step.
            values: What was reported, by metric name, in the metrics' own directions.
            costs: What is known without training, by metric name: static and measured metrics. None is
                unknown.
            violations: Unit-free violations of the constraints known by now, by any key; at most 0 holds,
                None is undecided. `trial.constraints` has this form.

        Returns:
            True to stop now.

        Raises:
            FitError: For a step that is no whole number of 0 or more, or a value that is no number.
        """


class NoPruning(Pruner):
    """Never stops a trial, and writes nothing."""

    def report(
        self,
        trial: optuna.Trial,  # noqa: ARG002
        step: int,
        values: Mapping[str, float],
        costs: Mapping[str, float | None] = NOTHING,  # noqa: ARG002
        violations: Mapping[str, float | None] = NOTHING,  # noqa: ARG002
    ) -> bool:
        """See `Pruner.report`: always False, for input that any pruner would take."""
        checked_step(step)
        checked_values(values)
        return False

    def __repr__(self) -> str:
        return "NoPruning()"


def checked_step(step: object) -> int:
    """Return a step as an integer.

    Raises:
        FitError: If it is no whole number of 0 or more.

    >>> checked_step(3.0)
    3
    """
    try:
        number = int(step)  # type: ignore[call-overload]
        is_whole = bool(number == step)
    except (TypeError, ValueError, OverflowError):
        number, is_whole = -1, False
    if not is_whole or number < 0:
        raise FitError(f"report: step: expected a whole number of 0 or more, got {step!r}")
    return int(number)


def checked_values(values: Mapping[str, float]) -> dict[str, float]:
    """Return reported values as plain floats, NaN and infinities among them.

    Raises:
        FitError: If one is no number.

    >>> checked_values({"accuracy": True})
    {'accuracy': 1.0}
    """
    checked = {}
    for name, value in values.items():
        try:
            checked[name] = float(value)
        except (TypeError, ValueError) as error:
            raise FitError(f"report: {name}: expected a number, got {value!r}") from error
    return checked
