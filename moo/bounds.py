"""The constraints of a study and those asked for beside them: who keeps all, and with how much to spare."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from moo.evaluation import Estimate
from moo.problem import Constraint
from moo.results import FinishedTrial, Results

__all__ = ["Bounded", "Slack", "tightest_bound"]


@dataclass(frozen=True)
class Slack:
    """How far inside a constraint the recommended candidate is.

    Args:
        constraint: Which.
        bound: Its bound in SI units.
        tightest: The tightest bound that the candidate keeps, in SI units; with a tighter one it falls.
        share: How far `tightest` is inside, as a fraction of the bound (of 1 where the bound is 0).
    """

    constraint: Constraint
    bound: float
    tightest: float
    share: float


@dataclass(frozen=True, eq=False)
class Bounded:
    """The constraints of the study and those asked for.

    Args:
        results: The study.
        bounds: Each one's bound in SI units where it is known, the study's first.
        further: Those asked for, with their names.
    """

    results: Results
    bounds: Mapping[Constraint, float | None]
    further: Mapping[Constraint, str]

    @classmethod
    def of(cls, results: Results, texts: Iterable[str] | None) -> Bounded:
        """Return the study's constraints and those typed.

        Raises:
            ProblemError: For one that cannot be read, or is relative to a baseline that is not there.
        """
        known = {metric.name: metric for metric in results.metrics}
        typed = [texts] if isinstance(texts, str) else texts or ()
        asked = [Constraint.parse(text, known) for text in typed]
        own = results.problem.constraints
        bounds = dict.fromkeys(own) | dict(zip(own, results.bounds, strict=False))
        further = {constraint: constraint.key for constraint in asked if constraint not in own}
        baseline = results.baseline
        for constraint in further:
            known_there = None if baseline is None else baseline.estimate(constraint.metric.name)
            bounds[constraint] = constraint.bound(known_there)
        return cls(results, bounds, further)

    def holds(self, trial: FinishedTrial) -> bool:
        """Whether a trial is known to keep every constraint."""
        return self.results.is_feasible(trial) is True and all(
            violation is not None and violation <= 0 for violation in self._further(trial).values()
        )

    def only_broken(self, trial: FinishedTrial) -> str | None:
        """Return the key of the one constraint that a trial breaks, all others kept for sure; else None."""
        found: dict[str, float | None] = {**dict.fromkeys(self.results.constraint_keys), **trial.violations}
        found |= self._further(trial)
        broken = [key for key, violation in found.items() if violation is None or violation > 0]
        return broken[0] if len(broken) == 1 and found[broken[0]] is not None else None

    def _further(self, trial: FinishedTrial) -> dict[str, float | None]:
        found: dict[str, float | None] = {}
        for constraint, key in self.further.items():
            bound = self.bounds[constraint]
            assert bound is not None, "that of one asked for was computed"
            found[key] = constraint.violation(trial.estimate(constraint.metric.name), bound)
        return found

    def slacks(self, trial: FinishedTrial) -> tuple[Slack, ...]:
        """Return how far inside each constraint a feasible trial is, as far as bound and value are known."""
        found = []
        for constraint, bound in self.bounds.items():
            tightest = tightest_bound(constraint, trial.estimate(constraint.metric.name))
            if bound is not None and tightest is not None:
                share = abs(tightest - bound) / (abs(bound) or 1.0)
                found.append(Slack(constraint, bound, tightest, share))
        return tuple(found)


def tightest_bound(constraint: Constraint, estimate: Estimate) -> float | None:
    """Return the tightest bound that an estimate keeps; None where none is known to be kept."""
    if estimate.value is not None:
        return estimate.value
    return estimate.high if constraint.sense == "<=" else estimate.low
