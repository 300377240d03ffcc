"""Objectives and constraints: signs, feasibility and unit-free violations live here only."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from moo.errors import ProblemError
from moo.evaluation import Estimate
from moo.metrics import (
    Direction,
    Metric,
    exact_texts,
    find_metric,
    format_difference,
    format_value,
    known_metrics,
    parse_quantity,
)
from moo.shapes import ANY, EACH, checked

__all__ = ["Constraint", "Objective", "Problem"]

_SHAPE = {"objectives": [str], "constraints": [str], "metrics": {EACH: ANY}}

Sense = Literal["<=", ">="]
Relation = Literal["absolute", "factor", "offset"]


@dataclass(frozen=True)
class Objective:
    """A metric to optimise, and the direction that is better."""

    metric: Metric
    direction: Direction

    @property
    def sign(self) -> float:
        """The factor that turns the metric into a loss: -1 for what is maximised."""
        return -1.0 if self.direction == "maximize" else 1.0


@dataclass(frozen=True)
class Constraint:
    """A bound on a metric, absolute or relative to the baseline.

    Args:
        metric: What is bounded.
        sense: `<=` or `>=`.
        amount: The bound in SI units (`absolute`), a factor (`factor`: `amount` x baseline), or
            a difference in SI units (`offset`: baseline + `amount`).
        relation: What `amount` means.
    """

    metric: Metric
    sense: Sense
    amount: float
    relation: Relation = "absolute"

    @classmethod
    def parse(cls, text: str, metrics: Mapping[str, Metric] | None = None) -> Constraint:
        """Return the constraint that a person typed.

        Args:
            text: `metric <= bound` or `metric >= bound`. A bound is a quantity with its unit
                (`5 ms`, `64 MiB`, `92%`), a multiple of the baseline (`0.5 x baseline`) or a
                difference to it (`baseline - 1%`, in points; `baseline + 8 MiB`).
            metrics: Metrics beside the built-in ones, by name.

        Raises:
            ProblemError: For what cannot be read, or a bound that can never hold.

        >>> Constraint.parse("latency_p95 <= 5 ms").amount
        0.005
        >>> str(Constraint.parse("accuracy>=baseline-1%"))
        'accuracy >= baseline - 1%'
        """
        match = re.fullmatch(r"\s*([^\s<>=!]+)\s*([<>=!]+)\s*(.*?)\s*", str(text), flags=re.DOTALL)
        if match is None or not match[3]:
            raise ProblemError(
                f"constraint {text!r}: expected 'metric <= bound', such as 'latency_p95 <= 5 ms'"
            )
        if match[2] not in ("<=", ">="):
            raise ProblemError(f"constraint {text!r}: expected <= or >=, got {match[2]!r}")
        try:
            metric = find_metric(match[1], known_metrics(metrics))
            amount, relation = _parse_bound(match[3], metric)
        except ProblemError as error:
            raise ProblemError(f"constraint {text!r}: {error}") from None
        constraint = cls(metric, "<=" if match[2] == "<=" else ">=", amount, relation)
        constraint._check_possible(text)
        return constraint

    def _check_possible(self, text: str) -> None:
        name, low, high = self.metric.name, self.metric.low, self.metric.high
        if self.relation == "factor":
            if self.amount <= 0:
                raise ProblemError(
                    f"constraint {text!r}: expected a positive factor of the baseline, got {self.amount:g}"
                )
            return
        if self.relation == "offset":
            return
        is_above_low = self.metric.dimension in (
            "time",
            "bytes",
            "rate",
            "energy",
        )  # nothing takes none at all
        is_below = low is not None and (self.amount < low or (is_above_low and self.amount == low))
        if self.sense == "<=" and is_below:
            raise ProblemError(
                f"constraint {text!r} can never hold: {name} is not below {format_value(low, self.metric)}"
            )
        if self.sense == ">=" and high is not None and self.amount > high:
            raise ProblemError(
                f"constraint {text!r} can never hold: {name} is at most {format_value(high, self.metric)}"
            )

    @property
    def is_relative(self) -> bool:
        """Whether the bound needs the baseline's value."""
        return self.relation != "absolute"

    @cached_property
    def key(self) -> str:
        """The name under which the trial's constraint value is stored."""
        return str(self)

    def bound(self, baseline: Estimate | None = None) -> float:
        """Return the bound in SI units.

        Args:
            baseline: The baseline's estimate of this metric; needed for relative bounds only.

        Raises:
            ProblemError: If the bound is relative and there is no baseline value, or it can never
                hold.

        >>> Constraint.parse("latency_p95 <= 0.5 x baseline").bound(Estimate(0.004))
        0.002
        """
        if not self.is_relative:
            return self.amount
        if baseline is None or baseline.value is None:
            reason = "not measured" if baseline is None else baseline.reason or "not known"
            raise ProblemError(f"constraint '{self}' needs the baseline's {self.metric.name}: {reason}")
        value = baseline.value
        bound = self.amount * value if self.relation == "factor" else value + self.amount
        low, high = self.metric.low, self.metric.high
        if (self.sense == "<=" and low is not None and bound < low) or (
            self.sense == ">=" and high is not None and bound > high
        ):
            raise ProblemError(
                f"constraint '{self}' can never hold: it comes to {format_value(bound, self.metric)}"
            )
        return bound

    def violation(self, estimate: Estimate, bound: float) -> float | None:
        """Return the unit-free violation: how far beyond the bound, as a fraction of the bound.

        Zero or less holds. It is a plain difference where the bound is zero. Where the value is
        not known, an end of its interval decides if it can; else None: undecided.

        >>> Constraint.parse("latency_p95 <= 5 ms").violation(Estimate(0.006), 0.005)
        0.2
        """
        sign = 1.0 if self.sense == "<=" else -1.0
        scale = abs(bound) or 1.0

        def beyond(value: float) -> float:
            return float(f"{sign * (value - bound) / scale:.12g}")

        if estimate.value is not None:
            return beyond(estimate.value)
        best, worst = (estimate.low, estimate.high) if sign > 0 else (estimate.high, estimate.low)
        if worst is not None and beyond(worst) <= 0:
            return beyond(worst)
        if best is not None and beyond(best) > 0:
            return beyond(best)
        return None

    def is_surely_violated(self, estimate: Estimate, bound: float) -> bool:
        """Whether the whole interval lies beyond the bound; a value without an interval is never sure.

        >>> constraint = Constraint.parse("latency_p95 <= 5 ms")
        >>> [constraint.is_surely_violated(Estimate(0.006, *ends), 0.005) for ends in ((), (0.004, 0.007))]
        [False, False]
        >>> constraint.is_surely_violated(Estimate(0.006, 0.0055, 0.007), 0.005)
        True
        """
        best = estimate.low if self.sense == "<=" else estimate.high
        return best is not None and (best > bound if self.sense == "<=" else best < bound)

    def violation_sd(self, estimate: Estimate, bound: float) -> float | None:
        """Return the standard deviation of the violation, None where the estimate has no interval.

        >>> constraint = Constraint.parse("latency_p95 <= 5 ms")
        >>> round(constraint.violation_sd(Estimate(0.006, 0.00502, 0.00698), 0.005), 3)
        0.1
        """
        return None if estimate.sd is None else estimate.sd / (abs(bound) or 1.0)

    def __str__(self) -> str:
        name = self.metric.name
        if self.relation == "factor":
            return f"{name} {self.sense} {self.amount:.15g} x baseline"
        if self.relation == "offset":
            if self.amount == 0:
                return f"{name} {self.sense} baseline"
            sign = "-" if self.amount < 0 else "+"
            return f"{name} {self.sense} baseline {sign} {_typed(abs(self.amount), self.metric)}"
        return f"{name} {self.sense} {_typed(self.amount, self.metric)}"


def _typed(value: float, metric: Metric) -> str:
    """Return the shortest text that `parse_quantity` reads back as this very value."""
    shown = [format_value(value, metric), *exact_texts(value, metric)]
    exact = [text for text in shown if parse_quantity(text, metric) == value]
    if exact:
        return min(exact, key=len)
    plain = {"time": "s", "bytes": "B", "energy": "J"}.get(metric.dimension, "")
    return f"{value!r} {plain}".rstrip()


def _parse_bound(text: str, metric: Metric) -> tuple[float, Relation]:
    factor = re.fullmatch(r"(.+?)\s*[x*×]\s*baseline", text)  # noqa: RUF001
    if factor:
        try:
            number = float(factor[1])
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise ProblemError(f"expected a number before 'x baseline', got {factor[1]!r}")
        return number, "factor"
    offset = re.fullmatch(r"baseline\s*(?:([-+])\s*(.+))?", text)
    if offset:
        if offset[1] is None:
            return 0.0, "offset"
        if "%" in offset[2] and metric.dimension != "fraction":
            raise ProblemError(
                f"percent of the baseline is written as a factor, such as '1.1 x baseline', got {text!r}"
            )
        amount = parse_quantity(offset[2], metric)
        if metric.dimension == "fraction" and abs(amount) >= 1:
            raise ProblemError(f"a difference in points needs its %, such as 'baseline - 1%', got {text!r}")
        return (amount if offset[1] == "+" else -amount), "offset"
    return parse_quantity(text, metric), "absolute"


@dataclass(frozen=True)
class Problem:
    """What a study optimises, and under which constraints.

    Args:
        objectives: One or more, each on another metric.
        constraints: None or more.
    """

    objectives: tuple[Objective, ...]
    constraints: tuple[Constraint, ...] = ()

    @classmethod
    def parse(
        cls,
        *,
        maximize: Iterable[str] = (),
        minimize: Iterable[str] = (),
        constraints: Iterable[str] = (),
        metrics: Mapping[str, Metric] | None = None,
    ) -> Problem:
        """Return the problem that a person typed.

        Args:
            maximize: Names of the metrics to maximise.
            minimize: Names of the metrics to minimise.
            constraints: Texts that `Constraint.parse` reads.
            metrics: Metrics beside the built-in ones, by name.

        Raises:
            ProblemError: For an unknown metric, no objective, one metric twice, a metric
                optimised against its direction, or constraints that contradict each other.
        """
        known = known_metrics(metrics)
        wanted: list[tuple[Direction, str]] = [
            *(("maximize", name) for name in _names(maximize, "maximize")),
            *(("minimize", name) for name in _names(minimize, "minimize")),
        ]
        objectives = tuple(Objective(_objective_metric(name, way, known), way) for way, name in wanted)
        if not objectives:
            raise ProblemError("no objective: expected at least one metric to maximize or minimize, got none")
        names = [objective.metric.name for objective in objectives]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ProblemError(f"objective {twice!r} is given twice: expected each metric once")
        parsed = tuple(
            dict.fromkeys(Constraint.parse(text, metrics) for text in _names(constraints, "constraints"))
        )
        _check_consistent(parsed)
        return cls(objectives, parsed)

    @property
    def directions(self) -> list[Direction]:
        """`maximize` or `minimize` for each objective, as Optuna takes them."""
        return [objective.direction for objective in self.objectives]

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Every metric that an objective or a constraint needs, objectives first, each once."""
        used = [o.metric for o in self.objectives] + [c.metric for c in self.constraints]
        return tuple({metric.name: metric for metric in used}.values())

    @property
    def needs_baseline(self) -> bool:
        """Whether any bound is relative to the baseline."""
        return any(constraint.is_relative for constraint in self.constraints)

    def losses(self, values: Sequence[Sequence[float]] | NDArray[np.float64]) -> NDArray[np.float64]:
        """Return objective values as losses: all minimised.

        Args:
            values: Objective values, shape (n, m), one column for each objective in order.

        Returns:
            Losses of shape (n, m); a NaN stays a NaN.
        """
        signs = np.array([objective.sign for objective in self.objectives])
        losses: NDArray[np.float64] = np.asarray(values, dtype=np.float64).reshape(-1, signs.size) * signs
        return losses

    def bounds(self, baseline: Mapping[str, Estimate] | None = None) -> tuple[float, ...]:
        """Return each constraint's bound in SI units.

        Raises:
            ProblemError: If a relative bound's baseline value is missing, or the bounds that
                follow from it contradict each other.
        """
        known = baseline or {}
        bounds = [constraint.bound(known.get(constraint.metric.name)) for constraint in self.constraints]
        _check_bounds(self.constraints, bounds)
        return tuple(bounds)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form that is stored with a study: texts that a person can read."""
        return {
            "objectives": [f"{o.direction} {o.metric.name}" for o in self.objectives],
            "constraints": [str(c) for c in self.constraints],
            "metrics": {m.name: vars(m).copy() for m in self.metrics},
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Problem:
        """Return the problem that `to_json` wrote.

        Raises:
            ValueError: For what it did not.
            ProblemError: For a metric or constraint that cannot be.
        """
        checked(record, _SHAPE, "problem")
        metrics = {name: Metric.from_json(row) for name, row in record["metrics"].items()}
        objectives = []
        for text in record["objectives"]:
            direction, _, name = text.partition(" ")
            if direction not in get_args(Direction) or name not in metrics:
                raise ValueError(f"problem/objectives: expected a direction and a metric, got {text!r}")
            objectives.append(Objective(metrics[name], direction))
        constraints = tuple(Constraint.parse(text, metrics) for text in record["constraints"])
        return cls(tuple(objectives), constraints)


def is_feasible(violations: Iterable[float]) -> bool:
    """Return whether every violation holds: zero or less.

    >>> is_feasible([]), is_feasible([-0.1, 0.0]), is_feasible([0.2])
    (True, True, False)
    """
    return all(violation <= 0 for violation in violations)


def describe_bound(constraint: Constraint, bound: float) -> str:
    """Return the constraint as a person reads it, a relative bound with what it comes to.

    >>> describe_bound(Constraint.parse("latency_p95 <= 0.5 x baseline"), 0.002)
    'latency_p95 <= 0.5 x baseline = 2 ms'
    """
    return (
        f"{constraint} = {format_value(bound, constraint.metric)}"
        if constraint.is_relative
        else str(constraint)
    )


def _names(given: Iterable[str], argument: str) -> list[str]:
    if isinstance(given, str):
        return [given]
    names = list(given)
    wrong = next((name for name in names if not isinstance(name, str)), None)
    if wrong is not None:
        raise ProblemError(f"{argument}: expected text, got {wrong!r}")
    return names


def _objective_metric(name: str, direction: Direction, known: Mapping[str, Metric]) -> Metric:
    try:
        metric = find_metric(name, known)
    except ProblemError as error:
        raise ProblemError(f"{direction}: {error}") from None
    if metric.direction not in (None, direction):
        raise ProblemError(f"{direction} {name}: expected {metric.direction}, its better direction")
    return metric


def _check_consistent(constraints: Sequence[Constraint]) -> None:
    by_relation = sorted(constraints, key=lambda c: c.relation)
    for _, group in itertools.groupby(by_relation, key=lambda c: c.relation):
        same = list(group)
        _check_bounds(same, [constraint.amount for constraint in same])


def _check_bounds(constraints: Sequence[Constraint], bounds: Sequence[float]) -> None:
    for (one, low), (two, high) in itertools.permutations(zip(constraints, bounds, strict=True), 2):
        if one.metric.name == two.metric.name and one.sense == ">=" and two.sense == "<=" and low > high:
            raise ProblemError(f"constraints contradict each other: '{two}' and '{one}' cannot both hold")


def describe_difference(value: float, baseline: float, metric: Metric) -> str:
    """Return how a value differs from the baseline's: points, or percent of the baseline.

    Of what is not above 0 there are no percent: the difference itself.

    >>> from moo.metrics import BUILT_IN
    >>> describe_difference(0.0005, 0.001, BUILT_IN["latency_p50"])
    '-50%'
    >>> describe_difference(0.02, 0.001, BUILT_IN["latency_p50"])
    'x 20'
    """
    if metric.dimension == "fraction" or baseline <= 0 or value < 0:
        return format_difference(value - baseline, metric)
    percent = (value - baseline) / baseline * 100
    if percent >= 1000:
        return f"x {value / baseline:.3g}"
    return f"{percent:+.1f}%" if abs(percent) < 1 or percent < -99 else f"{percent:+.0f}%"
