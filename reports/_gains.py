"""Differences between candidates: gains against the baseline, and what one is traded for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from moo.decision import Slack
from moo.metrics import Metric, format_difference, format_ends, format_estimate
from moo.problem import Constraint, Objective, describe_difference
from moo.results import FinishedTrial, Results, paired_text
from reports._text import bound_text, change_text, one_line, overlap, shows_no_change, value_text

Verdict = Literal["better", "worse", "same"]


@dataclass(frozen=True)
class Gain:
    """A difference to the baseline.

    Args:
        text: Such as `-31%`.
        verdict: Which of the two is better.
        is_clear: Whether the intervals are disjoint, or the difference on the same samples excludes none.
    """

    text: str
    verdict: Verdict
    is_clear: bool


@dataclass(frozen=True)
class Fact:
    """One objective's value of a candidate, ready to read."""

    title: str
    value: str
    interval: str
    gain: Gain | None


def facts(results: Results, trial: FinishedTrial) -> tuple[Fact, ...]:
    """Return the trial's objectives, each with its gain."""
    found = []
    for objective in results.problem.objectives:
        estimate, metric = trial.estimate(objective.metric.name), objective.metric
        value = value_text(estimate, metric)
        title = one_line(metric.title)
        found.append(Fact(title, value, format_ends(estimate, metric), gain(results, trial, objective)))
    return tuple(found)


def gain(results: Results, trial: FinishedTrial, objective: Objective) -> Gain | None:
    """Return how an objective differs from the baseline's; None where that is not known."""
    if results.baseline is None or trial is results.baseline:
        return None
    one, origin = trial.estimate(objective.metric.name), results.baseline.estimate(objective.metric.name)
    if one.value is None or origin.value is None:
        return None
    text = describe_difference(one.value, origin.value, objective.metric)
    if shows_no_change(one.value, origin.value, objective.metric):
        return Gain("no change", "same", is_clear=False)
    better = (one.value - origin.value) * objective.sign < 0
    is_clear = differs(results, results.baseline, trial, objective.metric)
    return Gain(text, "better" if better else "worse", is_clear=is_clear)


def differs(results: Results, origin: FinishedTrial, to: FinishedTrial, metric: Metric) -> bool:
    """Return whether two candidates differ beyond their intervals.

    Two intervals that overlap say little where both were scored on the same samples: against the baseline
    the interval of the paired difference decides.
    """
    paired = to.paired_difference(metric.name) if origin is results.baseline else None
    if paired is not None:
        return not paired.low <= 0 <= paired.high
    return not overlap(origin.estimate(metric.name), to.estimate(metric.name))


def changes_text(results: Results, origin: FinishedTrial, to: FinishedTrial) -> str:
    """Return what is gained, for what: `31% less latency p50, for 0.4 points less accuracy`."""
    texts: dict[Verdict, list[str]] = {"better": [], "worse": [], "same": []}
    for objective in results.problem.objectives:
        one, two = origin.estimate(objective.metric.name), to.estimate(objective.metric.name)
        if one.value is None or two.value is None:
            texts["same"].append(f"{one_line(objective.metric.title)} not known")
            continue
        text = change_text(two.value, one.value, objective.metric)
        if shows_no_change(one.value, two.value, objective.metric):
            texts["same"].append(text)
            continue
        note = "" if differs(results, origin, to, objective.metric) else " (the intervals overlap)"
        is_better = (two.value - one.value) * objective.sign < 0
        texts["better" if is_better else "worse"].append(text + note)
    gained, paid = " and ".join(texts["better"]), " and ".join(texts["worse"])
    trade = f"{gained}, for {paid}" if gained and paid else gained or paid
    return "; ".join(part for part in (trade, ", ".join(texts["same"])) if part)


def paired_texts(results: Results, trial: FinishedTrial) -> list[str]:
    """Return a sentence for each score that the trial and the baseline have on the same samples."""
    texts = []
    for metric in results.problem.metrics:
        found = trial.paired_difference(metric.name)
        if found is not None:
            texts.append(
                f"On the same {found.n:,} samples {one_line(metric.title)} differs by {paired_text(found)}: "
                f"it alone is right on {found.n_better:,} of them, the baseline alone on {found.n_worse:,}."
            )
    return texts


def missing(trial: FinishedTrial, metric: str) -> str | None:
    """Return why a value is not known, on one line; None where it is known or nothing was said."""
    estimate = trial.estimate(metric)
    return one_line(estimate.reason) if estimate.value is None and estimate.reason else None


def better_text(objective: Objective) -> str:
    """Return what more of an objective's good is: `more accuracy`, `less latency p50`, `fewer parameters`."""
    fewer = "fewer" if objective.metric.dimension == "count" else "less"
    return f"{'more' if objective.direction == 'maximize' else fewer} {one_line(objective.metric.title)}"


def wanted_text(results: Results, constraint: Constraint) -> str:
    """Return a constraint in words, a relative one with what it comes to."""
    bound = dict(zip(results.problem.constraints, results.bounds, strict=False)).get(constraint)
    return bound_text(constraint, bound)


def has_text(trial: FinishedTrial, constraint: Constraint) -> str:
    """Return what a candidate has of a constraint's metric."""
    return format_estimate(trial.estimate(constraint.metric.name), constraint.metric)


def margin_text(trial: FinishedTrial, slack: Slack) -> str:
    """Return how much a candidate has to spare, and whether its interval leaves that in doubt."""
    spare = _size_text(slack.tightest, slack.bound, slack.constraint, slack.share)
    estimate, is_upper = trial.estimate(slack.constraint.metric.name), slack.constraint.sense == "<="
    end = estimate.high if is_upper else estimate.low
    is_beyond = end is not None and (end > slack.bound if is_upper else end < slack.bound)
    return f"{spare} to spare{', though its interval reaches beyond the bound' if is_beyond else ''}"


def missed_text(results: Results, trial: FinishedTrial, constraint: Constraint, violation: float) -> str:
    """Return by how much a candidate misses a bound: points of a fraction, else percent of the bound."""
    bound = dict(zip(results.problem.constraints, results.bounds, strict=False)).get(constraint)
    value = trial.estimate(constraint.metric.name).value
    if bound is None or value is None:
        return _percent(violation)
    return _size_text(value, bound, constraint, violation)


def _size_text(value: float, bound: float, constraint: Constraint, share: float) -> str:
    if constraint.metric.dimension == "fraction":
        return f"{abs(value - bound) * 100:.2g} points"
    if bound == 0:
        return format_difference(abs(value), constraint.metric).lstrip("+")
    return _percent(share)


def _percent(share: float) -> str:
    if share >= 10:
        return f"a factor {share + 1:.3g}"
    return f"{share:.0%}" if share >= 0.1 else f"{share * 100:.2g}%"
