"""What training says of itself while it runs."""

from __future__ import annotations

import math
from collections.abc import Iterable

from moo.errors import FitError, did_you_mean
from moo.metrics import Metric, known_metrics

__all__ = ["Report"]


class Report:
    """Records quality as training goes: `report(step, accuracy=0.91)`.

    Args:
        metrics: The task's own metrics beside the built-in ones.
    """

    def __init__(self, metrics: Iterable[Metric] = ()) -> None:
        self._known = known_metrics({metric.name: metric for metric in metrics})
        self._curve: list[tuple[int, dict[str, float]]] = []

    def __call__(self, step: int, **values: float) -> None:
        """Record the values of a step.

        Args:
            step: Counts up; several calls may share one step only if their names differ.
            values: Quality by metric name.

        Raises:
            FitError: For an unknown metric, a step that goes back, or a value that is not finite.
        """
        step = int(step)
        if self._curve and step < self._curve[-1][0]:
            raise FitError(f"report: steps count up, got {step} after {self._curve[-1][0]}")
        for name, value in values.items():
            if name not in self._known:
                raise FitError(f"report: unknown metric {name!r}; {did_you_mean(name, self._known)}")
            if not math.isfinite(value):
                raise FitError(f"report: {name} is {value} at step {step}: training diverged")
        self._curve.append((step, {name: float(value) for name, value in values.items()}))

    @property
    def curve(self) -> tuple[tuple[int, dict[str, float]], ...]:
        """What was reported so far: step, then values by name."""
        return tuple(self._curve)
