"""The recommendation in words: which candidate, why, how sure that is, and what would change it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from moo.decision import Recommendation, recommend
from moo.metrics import format_value
from moo.problem import Objective
from moo.results import FinishedTrial, Results, opened_lines
from reports._data import candidates
from reports._firmness import stability_text, wider_text
from reports._gains import (
    Fact,
    better_text,
    changes_text,
    facts,
    has_text,
    margin_text,
    missed_text,
    paired_texts,
    wanted_text,
)
from reports._sureness import sureness_text
from reports._text import one_line

_MOST_NAMED = 5  # of failures, and of candidates ruled out


@dataclass(frozen=True)
class Choice:
    """What the report says to do.

    Args:
        trial: The recommended trial; the nearest to feasible where there is no front; or None.
        is_recommended: Whether `trial` is a recommendation.
        headline: One sentence.
        facts: The trial's objectives.
        points: Heading and text, in the order to read.
        recommendation: The numbers behind the words; None without a recommendation.
    """

    trial: FinishedTrial | None
    is_recommended: bool
    headline: str
    facts: tuple[Fact, ...]
    points: tuple[tuple[str, str], ...]
    recommendation: Recommendation | None = None

    @property
    def number(self) -> int | None:
        """The recommended trial's number, or None without a recommendation."""
        return self.trial.number if self.trial is not None and self.is_recommended else None

    @property
    def why(self) -> str:
        """Every point as one text."""
        return " ".join(text for _, text in self.points)


def choose(results: Results) -> Choice:
    """Return the recommendation of `moo.decision.recommend` with equal weights, in words.

    Without one, it says so and names the candidate with the smallest total violation; without
    a complete trial, it gives the reasons of failure.
    """
    found = recommend(results)
    if found is None:
        return _nearest(results)
    points = [
        ("Why this one", _why(results, found)),
        ("So far", _running(results)),
        ("Constraints", _constraints(results, found)),
        ("Against the baseline", _against_baseline(results, found.trial)),
        *_trades(results, found),
        ("For which weights", stability_text(results, found)),
        ("What would change it", wider_text(results, found)),
        ("How sure this is", sureness_text(results, found)),
        ("Ruled out", _ruled_out(found)),
        ("Test data", _test_data(results)),
    ]
    return Choice(
        trial=found.trial,
        is_recommended=True,
        headline=f"Recommended: {one_line(found.trial.name)}",
        facts=facts(results, found.trial),
        points=_filled(points),
        recommendation=found,
    )


def _filled(points: Sequence[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    return tuple(point for point in points if point[1])


def first_word(trial: FinishedTrial) -> str:
    """Return a candidate's name as a sentence begins with it: `Trial 12`, or its label as it is."""
    return one_line(trial.label) if trial.label else f"Trial {trial.number}"


def _why(results: Results, found: Recommendation) -> str:
    objectives, n_front = results.problem.objectives, len(found.front)
    if n_front == 1:
        what = one_line(objectives[0].metric.title) if len(objectives) == 1 else "any objective"
        return f"It is alone on the front: no feasible candidate is better in {what}."
    worst = max(objectives, key=lambda objective: found.scaled[objective.metric.name])
    if found.scaled[worst.metric.name] == 0:
        return f"The {n_front:,} candidates on the front have the same values. It is the first of them."
    factors = _by_factors(found, objectives)
    if found.is_toss_up and found.runner_up is not None:
        return (
            f"With equal weights it is as well balanced as {one_line(found.runner_up.name)}, and no other of "
            f"the {n_front:,} candidates on the front is better: between the two only their order decided. "
            f"Its weakest objective is {_way_text(found, worst)}. Say what counts more.{factors}"
        )
    return (
        f"It is the knee of a front of {n_front:,} candidates, those that no other feasible one beats in "
        f"everything: the best balanced of them, when all objectives count alike. Its weakest objective is "
        f"{_way_text(found, worst)}; every other candidate is at least as far off in some "
        f"objective.{factors}"
    )


def _way_text(found: Recommendation, objective: Objective) -> str:
    """Return how far an objective is off: `accuracy, 35% of the way from the front's best (98%) to ...`."""
    metric = objective.metric
    values = [trial.estimate(metric.name).value or 0.0 for trial in found.front]
    best, worst = sorted((min(values), max(values)), reverse=objective.direction == "maximize")
    return (
        f"{one_line(metric.title)}, {found.scaled[metric.name]:.0%} of the way from the front's best "
        f"({format_value(best, metric)}) to its worst ({format_value(worst, metric)})"
    )


def _by_factors(found: Recommendation, objectives: Sequence[Objective]) -> str:
    titles = [one_line(o.metric.title) for o in objectives if found.scales[o.metric.name] == "log10"]
    if not titles:
        return ""
    return f" Compared by factors, since candidates differ by more than a factor 10: {' and '.join(titles)}."


def _running(results: Results) -> str:
    n = results.n_running
    if not n:
        return ""
    return f"{n:,} trial{' is' if n == 1 else 's are'} still running: this is the study as it is now."


def _constraints(results: Results, found: Recommendation) -> str:
    slacks = {slack.constraint: slack for slack in found.slacks}
    texts = []
    for constraint in results.problem.constraints:
        text = f"{wanted_text(results, constraint)} (it has {has_text(found.trial, constraint)})"
        slack = slacks.get(constraint)
        texts.append(text if slack is None else f"{text}, {margin_text(found.trial, slack)}")
    return f"It keeps {'; '.join(texts)}." if texts else ""


def _against_baseline(results: Results, trial: FinishedTrial) -> str:
    baseline = results.baseline
    if baseline is None:
        was_searched = bool(results.distributions)  # a table of models has no baseline to miss
        return "There is no complete baseline, so no gain is stated." if was_searched else ""
    if trial is baseline:
        return "It is the baseline itself: the search found nothing better balanced."
    changes = changes_text(results, baseline, trial)
    texts = [f"Compared with {one_line(baseline.name)} it has {changes}.", *paired_texts(results, trial)]
    return " ".join(texts)


def _trades(results: Results, found: Recommendation) -> list[tuple[str, str]]:
    """Return the runner-up, and for each objective the nearest candidate that is better in it."""
    points = []
    wishes = {o.metric.name: better_text(o) for o in results.problem.objectives}
    for trade in found.trades:
        nearest = " and ".join(wishes[name] for name in trade.nearest_for)
        changes = changes_text(results, found.trial, trade.trial)
        if trade.trial is found.runner_up:
            also = f", also the nearest on the front with {nearest}," if nearest else ""
            points.append(("Runner-up", f"{first_word(trade.trial)}{also} has {changes}."))
        else:
            text = f"{first_word(trade.trial)}, the nearest such candidate on the front, has {changes}."
            points.append((f"For {nearest}", text))
    return points


def _ruled_out(found: Recommendation) -> str:
    return _listed(f"{first_word(one.trial)}: {one_line(one.reason)}" for one in found.ruled_out)


def _test_data(results: Results) -> str:
    if results.openings:
        return one_line(" ".join(opened_lines(results.openings)))
    return "" if results.confirmation is None else "They were not opened."


def _nearest(results: Results) -> Choice:
    undecided = sum(results.is_feasible(trial) is None for trial in results.complete)
    points = [
        ("Why", _why_none(results, undecided)),
        ("So far", _running(results)),
        ("Ruled out", _listed(_ruled_out_texts(results))),
        ("Failures", _failures(results)),
        ("Test data", _test_data(results)),
    ]
    broken = [trial for trial in candidates(results) if total_violation(trial) > 0]
    decided = [trial for trial in broken if _is_decided(results, trial)]
    trial = min(decided or broken, key=total_violation, default=None)
    if trial is not None:
        points.insert(1, ("Nearest to feasible", _what_is_broken(results, trial)))
    return Choice(
        trial=trial,
        is_recommended=False,
        headline="There is no candidate to recommend",
        facts=() if trial is None else facts(results, trial),
        points=_filled(points),
    )


def _is_decided(results: Results, trial: FinishedTrial) -> bool:
    return all(key in trial.violations for key in results.constraint_keys)


def total_violation(trial: FinishedTrial) -> float:
    """Return the sum of a trial's violations above zero, unit-free."""
    return sum(max(0.0, violation) for violation in trial.violations.values())


def _why_none(results: Results, n_undecided: int) -> str:
    n, feasible = len(results.complete), [trial for trial in results.complete if results.is_feasible(trial)]
    if not results.trials:
        return "The study has no finished trial."
    if n == 0:
        return f"None of the {len(results.trials):,} trials is complete."
    if feasible and any(results.ruled_out(trial) for trial in feasible):
        return "The confirmation rules out every feasible candidate with a finite value for each objective."
    if feasible:
        return "No feasible trial has a finite value for each objective."
    if n_undecided:
        return (
            f"No complete trial is known to be feasible; {n_undecided:,} of {n:,} lack a constraint's value."
        )
    what = "trial" if results.is_search else "row"
    return (
        f"All {n:,} complete {what}s are infeasible." if n > 1 else f"The only complete {what} is infeasible."
    )


def _ruled_out_texts(results: Results) -> list[str]:
    feasible = [trial for trial in results.complete if results.is_feasible(trial)]
    reasons = [(trial, results.ruled_out(trial)) for trial in feasible]
    return [f"{first_word(trial)}: {one_line(reason)}" for trial, reason in reasons if reason]


def _what_is_broken(results: Results, trial: FinishedTrial) -> str:
    known = {constraint.key: constraint for constraint in results.problem.constraints}
    texts = []
    for key, violation in trial.violations.items():
        if violation > 0 and key in known:
            missed = missed_text(results, trial, known[key], violation)
            has = has_text(trial, known[key])
            texts.append(f"{wanted_text(results, known[key])} is missed by {missed} (it has {has})")
        elif violation > 0:
            texts.append(f"{one_line(key)} is missed by {violation:.3g}")
    state = "" if trial.state == "complete" else f" ({trial.state})"
    return f"{first_word(trial)}{state} has the smallest total violation: {'; '.join(texts)}."


def _failures(results: Results) -> str:
    return _listed((f"{count:,} x {one_line(reason)}" for reason, count in results.failures), "reasons")


def _listed(texts: Iterable[str], what: str = "candidates") -> str:
    named = list(texts)
    more = len(named) - _MOST_NAMED
    listed = "; ".join(text.rstrip(".") for text in named[:_MOST_NAMED])
    return (f"{listed}; and {more:,} other {what}." if more > 0 else f"{listed}.") if listed else ""
