"""What a running trial has shown so far, and whether that is enough to end it early.

A trial's cost is known before it is trained. A constraint that the cost violates beyond doubt ends the
trial there; while it trains, a pruner may. What was learnt by then is kept: the metric values, the violations
of the constraints that were known, and the whole configuration that was proposed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from moo.evaluation import Estimate, Evaluation
from moo.metrics import format_estimate
from moo.outcome import known_bounds
from moo.problem import Problem
from moo.pruning import NoPruning, Pruner

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

__all__ = ["Staging"]

_BEFORE_TRAINING = ("static", "measured")


class Staging:
    """One trial, from its first number to its last.

    Args:
        trial: The running trial.
        problem: Objectives and constraints.
        pruner: Asked at each step of training.
        baseline: The baseline's metrics, which relative bounds rest on; None while they are not known.
        is_baseline: Whether this is the baseline, which is never ended early.
    """

    def __init__(
        self,
        trial: optuna.Trial,
        problem: Problem,
        pruner: Pruner,
        *,
        baseline: Mapping[str, Estimate] | None,
        is_baseline: bool,
    ) -> None:
        self._trial = trial
        self._problem = problem
        self._pruner = pruner
        self._is_baseline = is_baseline
        bounds = zip(problem.constraints, known_bounds(problem, baseline), strict=True)
        self._bounds = [(constraint, bound) for constraint, bound in bounds if bound is not None]
        self.partial: Evaluation | None = None

    @property
    def needs_cost(self) -> bool:
        """Whether anything is decided by measured cost before the training ends."""
        if self._is_baseline:
            return False
        metrics = [constraint.metric for constraint, _ in self._bounds]
        if not isinstance(self._pruner, NoPruning):
            metrics += [objective.metric for objective in self._problem.objectives]
        return any(metric.stage == "measured" for metric in metrics)

    def violated(self, metrics: Mapping[str, Estimate], *, beyond_doubt: bool = True) -> list[str]:
        """Return a line for each constraint that these metrics violate.

        Args:
            metrics: Estimates by name; constraints on others are left out.
            beyond_doubt: Only those that the whole interval violates; else the value decides.
        """
        found = []
        for constraint, bound in self._bounds:
            estimate = metrics.get(constraint.metric.name)
            if estimate is None:
                continue
            if beyond_doubt:
                is_violated = constraint.is_surely_violated(estimate, bound)
            else:
                is_violated = (constraint.violation(estimate, bound) or 0.0) > 0
            if is_violated:
                found.append(f"{constraint}: {format_estimate(estimate, constraint.metric)}")
        return found

    def keep(self, partial: Evaluation) -> None:
        """Remember what is known by now, in place of what was before."""
        self.partial = partial

    def check(self, partial: Evaluation) -> None:
        """Remember what is known before training, and end the trial if that is enough.

        Raises:
            optuna.TrialPruned: If a constraint is violated beyond doubt.
        """
        self.keep(partial)
        violated = [] if self._is_baseline else self.violated(partial.metrics)
        if violated:
            raise optuna.TrialPruned(f"before training: violates {'; '.join(violated)}")

    def should_stop(self, step: int, values: Mapping[str, float]) -> bool:
        """Return whether the pruner stops the trial at this step; it never stops the baseline."""
        if self._is_baseline:
            return False
        metrics = {} if self.partial is None else self.partial.metrics
        costs = {name: estimate.value for name, estimate in metrics.items()}
        violations = dict(self._violations(metrics))
        return self._pruner.report(self._trial, step, values, costs, violations)

    def settle(self, trials: Sequence[FrozenTrial]) -> None:
        """Write to a trial that ends early the violations that are known and the whole configuration.

        Parameters that only training would have asked for are set to what was proposed, where every complete
        trial has them: samplers must not take them for parameters that some trials do not have.

        Args:
            trials: Those of the study.
        """
        metrics = {} if self.partial is None else self.partial.metrics
        for key, violation in self._violations(metrics):
            if key not in self._trial.constraints:
                self._trial.set_constraint(key, violation)
        complete = [trial.params for trial in trials if trial.state == optuna.trial.TrialState.COMPLETE]
        always = set.intersection(*(set(params) for params in complete)) if complete else set()
        distributions = {
            name: distribution
            for trial in trials
            if trial.state == optuna.trial.TrialState.COMPLETE
            for name, distribution in trial.distributions.items()
        }
        for name in self._trial.relative_params:
            if name in always and name not in self._trial.params:
                _suggest(self._trial, name, distributions[name])

    def _violations(self, metrics: Mapping[str, Estimate]) -> list[tuple[str, float]]:
        """Return the violations that are known before the trial ends, by the constraints' keys."""
        found = []
        for constraint, bound in self._bounds:
            if constraint.metric.stage in _BEFORE_TRAINING and constraint.metric.name in metrics:
                violation = constraint.violation(metrics[constraint.metric.name], bound)
                if violation is not None:
                    found.append((constraint.key, violation))
        return found


def _suggest(trial: optuna.Trial, name: str, distribution: optuna.distributions.BaseDistribution) -> None:
    """Have a trial take its proposed value of a parameter."""
    if isinstance(distribution, FloatDistribution):
        low, high, step = distribution.low, distribution.high, distribution.step
        trial.suggest_float(name, low, high, step=step, log=distribution.log)
    elif isinstance(distribution, IntDistribution):
        low, high = distribution.low, distribution.high
        trial.suggest_int(name, low, high, step=distribution.step, log=distribution.log)
    elif isinstance(distribution, CategoricalDistribution):
        trial.suggest_categorical(name, distribution.choices)
