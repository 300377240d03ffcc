"""What training says of itself while it runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

from moo.errors import FitError, did_you_mean
from moo.metrics import Metric, known_metrics

__all__ = ["Report"]


class Report:
    """Records quality as training goes: `report(step, accuracy=0.91)`.

    Args:
        metrics: The task's own metrics beside the built-in ones.
        should_stop: Asked at each report whether the trial is worth going on with; None for never.
        pause: Called at each report, where others' measurements may go first.
    """

    def __init__(
        self,
        metrics: Iterable[Metric] = (),
        should_stop: Callable[[int, Mapping[str, float]], bool] | None = None,
        pause: Callable[[], object] = lambda: None,
    ) -> None:
        self._should_stop = should_stop
        self._pause = pause
        self._known = known_metrics({metric.name: metric for metric in metrics})
        self._curve: list[tuple[int, dict[str, float]]] = []

    def __call__(self, step: int, **values: float) -> None:
        """Record the values of a step.

        Args:
            step: Counts up; several calls may share one step only if their names differ.
            values: Quality by metric name.

        Raises:
            optuna.TrialPruned: If the trial is not worth going on with: let it through.
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
        reported = {name: float(value) for name, value in values.items()}
        self._curve.append((step, reported))
        if self._should_stop is not None and self._should_stop(step, reported):
            from optuna import TrialPruned  # which takes half a second, and is there by now

            raise TrialPruned(f"stopped at step {step}: others do better with as much training")
        self._pause()

    @property
    def curve(self) -> tuple[tuple[int, dict[str, float]], ...]:
        """What was reported so far: step, then values by name."""
        return tuple(self._curve)
