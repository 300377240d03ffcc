"""Which metrics a chart shows, in which unit, on which scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from moo.metrics import Direction, Metric, shown_unit, takes_logarithm
from moo.problem import Problem
from moo.results import Estimate, FinishedTrial
from reports._text import one_line

LARGEST = (
    1e200  # what is larger, or on a logarithmic scale smaller than its inverse, has no place: ticks overflow
)
_LARGEST_EXPONENT = 240.0


@dataclass(frozen=True)
class AxisMetrics:
    """What a front chart shows.

    Args:
        x: The metric along x, or None for the trial's number.
        y: The metric along y.
        colour: The third objective, or None with one or two.
    """

    x: Metric | None
    y: Metric
    colour: Metric | None


@dataclass(frozen=True)
class Span:
    """A known value and the ends of its interval, as far as they are known."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One axis: what, in which unit, on which scale.

    Args:
        title: What it shows, in words.
        unit: The unit of the numbers on it, empty for plain numbers.
        factor: One unit in SI units.
        is_log: Whether the scale is logarithmic.
        is_count: Whether large numbers read best with a suffix: 10k.
        metric: The metric shown, or None for the trial's number.
        direction: The better direction, or None where there is none.
        low: Lower end of the view, in the axis' unit.
        high: Upper end of the view, in the axis' unit.
    """

    title: str
    unit: str
    factor: float
    is_log: bool
    is_count: bool
    metric: Metric | None
    direction: Direction | None
    low: float = 0.0
    high: float = 1.0

    @property
    def label(self) -> str:
        """Title, unit and the better direction."""
        better = {None: "", "minimize": "lower is better", "maximize": "higher is better"}[self.direction]
        notes = ", ".join(note for note in (self.unit, better) if note)
        return f"{self.title} ({notes})" if notes else self.title

    def estimate(self, trial: FinishedTrial) -> Estimate:
        """Return the trial's estimate on this axis, in SI units."""
        if self.metric is None:
            return Estimate(float(trial.number))
        return trial.estimate(self.metric.name)


def choose_metrics(problem: Problem) -> AxisMetrics:
    """Return what to show where: y the first maximised objective, x the first minimised one.

    Where all directions are alike, x is the first objective and y the second if all are minimised,
    else the other way round. A single objective is shown along y, against the first constrained
    metric, or the trial's number where nothing else is constrained.
    """
    names = {objective.metric.name for objective in problem.objectives}
    low = [objective.metric for objective in problem.objectives if objective.direction == "minimize"]
    high = [objective.metric for objective in problem.objectives if objective.direction == "maximize"]
    if len(names) == 1:
        others = [c.metric for c in problem.constraints if c.metric.name not in names]
        return AxisMetrics(others[0] if others else None, (low + high)[0], None)
    y = high[0] if high else low[1]
    x = next(metric for metric in [*low, *high] if metric.name != y.name)
    rest = (o.metric for o in problem.objectives if o.metric.name not in (x.name, y.name))
    return AxisMetrics(x, y, next(rest, None))


def make_axis(metric: Metric | None, values: Sequence[float], problem: Problem) -> Axis:
    """Return the axis that suits these values in SI units: one unit, log where they span a factor 10.

    Fractions stay linear. The view is left as it is.
    """
    if metric is None:
        return Axis(
            title="trial", unit="", factor=1.0, is_log=False, is_count=False, metric=None, direction=None
        )
    unit, factor = axis_unit(metric, values)
    return Axis(
        title=one_line(metric.title),
        unit=unit,
        factor=factor,
        is_log=takes_logarithm(metric, values),
        is_count=metric.dimension == "count",
        metric=metric,
        direction=better_direction(metric, problem),
    )


def axis_unit(metric: Metric, values: Sequence[float]) -> tuple[str, float]:
    """Return unit and factor to SI in which the middle one of these values reads well.

    >>> from moo.metrics import BUILT_IN
    >>> axis_unit(BUILT_IN["latency_p50"], [0.0001, 0.0004, 0.002])
    ('us', 1e-06)
    """
    sizes = sorted(abs(value) for value in values if value)
    if not sizes or metric.dimension == "count":
        sizes = [0.0]
    unit, factor = shown_unit(sizes[len(sizes) // 2], metric)
    return unit.strip(), factor


def better_direction(metric: Metric, problem: Problem) -> Direction | None:
    """Return the direction in which the problem, else the metric, is better."""
    wanted = (o.direction for o in problem.objectives if o.metric.name == metric.name)
    return next(wanted, metric.direction)


def place(number: float | None, axis: Axis) -> float | None:
    """Return a number in SI units in the axis' unit; None where the axis has no place for it."""
    if number is None or not abs(number / axis.factor) <= LARGEST or (axis.is_log and number < 1 / LARGEST):
        return None
    return number / axis.factor


def widen(low: float, high: float, *, is_log: bool, share: float) -> tuple[float, float]:
    """Return the range with a share of its width added at both ends; some width where it has none.

    >>> widen(1.0, 3.0, is_log=False, share=0.5)
    (0.0, 4.0)
    """
    if is_log:
        low, high = widen(math.log10(low), math.log10(high), is_log=False, share=share)
        return 10 ** max(low, -_LARGEST_EXPONENT), 10 ** min(high, _LARGEST_EXPONENT)
    width = (high - low) or 0.1 * abs(high) or 1.0
    return low - share * width, high + share * width
