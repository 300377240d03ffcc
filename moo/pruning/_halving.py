"""Asynchronous successive halving for any number of objectives.

The asynchronous rule is Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning", Algorithm 2;
that trials are ranked by non-dominated sorting where there are several objectives is Schmucker et al. 2021,
"Multi-objective Asynchronous Successive Halving". What differs here:

- a trial is decided on once at each rung, while it runs, and is stopped for good or goes on at once: it
  cannot be suspended and promoted later, as in the papers;
- what is known without training, such as latency, is part of the vector that is ranked, and constraints known
  by then come before it: feasible trials first, then smaller violation;
- within a rank its extremes come first, then the contribution to its hypervolume (`moo.pruning._ranking`).

What is decided in particular cases:

- *fewer than eta trials at a rung*: the best of them go on, so the first always does, and so do two that do
  not dominate each other; equals share their fate;
- *stopped trials* stay in the rung's record, and so do those in the queue again because their process ended:
  they reached it;
- *failed trials* do not count: what they showed cannot be deployed, and should take the place of nothing;
- *NaN and infinite values* rank last, and such a trial is stopped even if it is alone: it diverged;
- *an objective missing* in a report: nothing is decided until it is there, at this step or a later one;
- *a rung jumped over*: the trial is ranked at the highest rung it passed, with what it shows by then;
- *the maximum resource is not given*: a trial that has had as many steps as any complete one is not stopped;
- *a stopped trial run again*, because its process ended too early to store that: stopped at its first report.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import optuna
from optuna.trial import FrozenTrial, TrialState

from moo.problem import Problem
from moo.pruning._interface import NOTHING, Pruner, checked_step, checked_values
from moo.pruning._ranking import n_kept, standings
from moo.pruning._rungs import RUNGS, Rung, read_rungs, rungs_to_json
from moo.pruning._schedule import Schedule
from moo.storage import BASELINE, EVALUATION

__all__ = ["SuccessiveHalving"]

_log = logging.getLogger("moo")


@dataclass
class _Latest:
    """What a running trial reported at its latest step, and a rung that waits for the rest of it."""

    step: int = -1
    values: dict[str, float] = field(default_factory=dict)
    waiting: tuple[int, str] | None = None


class SuccessiveHalving(Pruner):
    """Lets the best one in `eta` of the trials go on at each rung.

    Any number of processes may work on the study: what it knows is in the storage, and each rung costs a
    trial one write. Objectives that training yields are taken from the reports, others from the known costs.

    Args:
        problem: Objectives, with their directions.
        eta: Reduction factor, above 1.
        min_resource: Step of the first rung, 1 or more.
        max_resource: Steps of a whole training; None where they are not known.
        min_early_stopping_rate: How many of the first rungs are left out, s in Li et al. 2020.
        brackets: How many halvings run side by side, each beginning a rung later than the one before, as in
            Hyperband; their shares of the trials are Hyperband's.

    Raises:
        InputError: For an option out of its range.
    """

    def __init__(
        self,
        problem: Problem,
        *,
        eta: float = 3,
        min_resource: int = 1,
        max_resource: int | None = None,
        min_early_stopping_rate: int = 0,
        brackets: int = 1,
    ) -> None:
        self._problem = problem
        self._schedule = Schedule(
            eta=eta,
            min_resource=min_resource,
            max_resource=max_resource,
            min_early_stopping_rate=min_early_stopping_rate,
            brackets=brackets,
        )
        self._latest: WeakKeyDictionary[optuna.Trial, _Latest] = WeakKeyDictionary()
        self._has_warned = False

    def __repr__(self) -> str:
        options = ", ".join(f"{name}={value!r}" for name, value in vars(self._schedule).items())
        return f"SuccessiveHalving({options})"

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_latest": None}  # trials run where they were begun

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update({**state, "_latest": WeakKeyDictionary()})

    def report(
        self,
        trial: optuna.Trial,
        step: int,
        values: Mapping[str, float],
        costs: Mapping[str, float | None] = NOTHING,
        violations: Mapping[str, float | None] = NOTHING,
    ) -> bool:
        """See `Pruner.report`.

        Raises:
            FitError: See `Pruner.report`.
            StudyMismatchError: If the study has rungs of another format.
        """
        step = checked_step(step)
        reported = self._reported(trial, step, checked_values(values))
        attrs = trial.user_attrs
        rungs = read_rungs(attrs)
        if any(rung.is_stopped for rung in rungs.values()):
            return True
        bracket = self._schedule.bracket_of(trial.number)
        resource = self._schedule.rung_at(step, bracket)
        if resource is None or resource in rungs:
            return False
        objectives = self._objective_values(reported, costs)
        if not self._is_whole(trial, resource, objectives):
            return False
        trials = trial.study.get_trials(deepcopy=False)
        if self._schedule.max_resource is None and step >= _longest_training(trials):
            return False
        others = [other for other in trials if other.number != trial.number]
        rung = Rung(
            resource=resource,
            step=step,
            bracket=bracket,
            values=objectives,
            violation=sum(max(0.0, v) if v == v else math.inf for v in violations.values() if v is not None),
            is_stopped=False,
        )
        is_stopped = not attrs.get(BASELINE) and self._is_worse(rung, _same_rung(others, rung))
        decided = Rung(**{**vars(rung), "is_stopped": is_stopped})
        trial.set_user_attr(RUNGS, rungs_to_json([*rungs.values(), decided]))
        return is_stopped

    def _reported(self, trial: optuna.Trial, step: int, values: dict[str, float]) -> dict[str, float]:
        """Return all that was reported at this step; of one metric, what was reported last."""
        latest = self._latest.setdefault(trial, _Latest())
        latest.values = {**latest.values, **values} if step == latest.step else values
        latest.step = step
        return latest.values

    def _objective_values(
        self, reported: Mapping[str, float], costs: Mapping[str, float | None]
    ) -> dict[str, float]:
        """Return the values of the objectives that are known; what training yields is what it reported."""
        known: dict[str, float] = {}
        for metric in (objective.metric for objective in self._problem.objectives):
            is_trained = metric.stage in ("trained", "held-out")
            sources: Sequence[Mapping[str, float | None]] = (
                (reported, costs) if is_trained else (costs, reported)
            )
            value = next((s[metric.name] for s in sources if s.get(metric.name) is not None), None)
            if value is not None:
                known[metric.name] = float(value)
        return known

    def _is_whole(self, trial: optuna.Trial, resource: int, known: Mapping[str, float]) -> bool:
        """Return whether every objective is known; warn once where a whole rung went by without."""
        latest = self._latest[trial]
        if latest.waiting is not None and latest.waiting[0] < resource and not self._has_warned:
            self._has_warned = True
            _log.warning(
                "pruner: trial %d passed the rung at step %d undecided: %s was neither reported nor known;"
                " report every objective that training yields",
                trial.number,
                *latest.waiting,
            )
        missing = [o.metric.name for o in self._problem.objectives if o.metric.name not in known]
        latest.waiting = (resource, ", ".join(missing)) if missing else None
        return not missing

    def _is_worse(self, rung: Rung, others: Sequence[Rung]) -> bool:
        """Return whether a trial is not among those of its rung that go on."""
        everyone = [rung, *others]
        names = [objective.metric.name for objective in self._problem.objectives]
        losses = self._problem.losses(
            [[entry.values.get(name, math.nan) for name in names] for entry in everyone]
        )
        if not all(math.isfinite(value) for value in losses[0]):
            return True
        standing = standings(losses, [entry.violation for entry in everyone])[0]
        return bool(standing >= n_kept(len(everyone), self._schedule.eta))


def _same_rung(trials: Sequence[FrozenTrial], rung: Rung) -> list[Rung]:
    """Return what trials showed at a rung of a bracket, those apart that failed."""
    counted = (trial for trial in trials if trial.state != TrialState.FAIL)
    reached = (read_rungs(trial.user_attrs).get(rung.resource) for trial in counted)
    return [entry for entry in reached if entry is not None and entry.bracket == rung.bracket]


def _longest_training(trials: Sequence[FrozenTrial]) -> float:
    """Return the last step of the complete trial that has most, infinite where none is known."""
    steps = [
        step
        for trial in trials
        if trial.state == TrialState.COMPLETE
        for step in (
            *(rung.step for rung in read_rungs(trial.user_attrs).values()),
            *(entry[0] for entry in ((trial.user_attrs.get(EVALUATION) or {}).get("curve") or [])[-1:]),
        )
    ]
    return max(steps, default=math.inf)
