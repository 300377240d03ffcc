"""What is stored of a confirmation, and what it says of those that fell off the front."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from moo.confirmation._assessment import Assessment
from moo.evaluation import Estimate
from moo.metrics import format_estimate
from moo.problem import Problem

__all__ = ["CONFIRMATION", "SCHEMA", "TEST_OPENED", "fallen", "retraining_seed", "spread"]

SCHEMA = "moo.confirm/1"
CONFIRMATION = "moo:confirmation"
"""The study's attribute with the finished confirmation."""
TEST_OPENED = "moo:test_opened"
"""The study's attribute with each time that the test data were opened: `time`, `trials`, `again`."""

_RETRAINING = 1  # of the streams that come from a study's seed and a trial's number


def retraining_seed(study_seed: int, number: int, index: int) -> int:
    """Return the seed of one retraining of a trial: none that the search used.

    >>> retraining_seed(0, 3, 0) == retraining_seed(0, 3, 0) != retraining_seed(0, 3, 1)
    True
    """
    sequence = np.random.SeedSequence([study_seed, number], spawn_key=(_RETRAINING, index))
    return int(sequence.generate_state(1)[0])


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Return mean and standard deviation over seeds; one value has no deviation, none no mean.

    >>> spread([0.5, 0.75])
    {'n': 2, 'mean': 0.625, 'sd': 0.1767..., 'values': [0.5, 0.75]}
    >>> spread([0.5])["sd"] is None
    True
    """
    n = len(values)
    mean = math.fsum(values) / n if n else None
    deviation = float(np.std(values, ddof=1)) if n > 1 else None
    return {"n": n, "mean": mean, "sd": deviation, "values": list(values)}


def fallen(
    problem: Problem,
    assessment: Assessment,
    numbers: Sequence[int],
    index: int,
    estimates: Mapping[str, Estimate],
) -> str:
    """Return why a candidate is off the front, in one line: what it violates, or what dominates it.

    Args:
        problem: Objectives and constraints.
        assessment: Of all candidates.
        numbers: Of their trials, in the same order.
        index: The candidate asked about.
        estimates: Of its metrics, as confirmed.
    """
    n_draws, p_infeasible = len(assessment.losses), 1 - float(assessment.probability.p_feasible[index])
    shares = assessment.dominators(index)
    rival = int(np.argmax(shares))
    if p_infeasible >= shares[rival] and p_infeasible > 0:
        violated = 1 - assessment.kept[:, index].mean(axis=0)
        worst = int(np.argmax(violated))
        constraint = problem.constraints[worst]
        estimate = estimates.get(constraint.metric.name, Estimate(None))
        shown = format_estimate(estimate, constraint.metric)
        return f"violates {constraint} in {_share(violated[worst], n_draws)} of draws: {shown}"
    if shares[rival] > 0:
        return f"dominated by trial {numbers[rival]} in {_share(shares[rival], n_draws)} of draws"
    return "not dominated and feasible in every draw"


def _share(share: float, n_draws: int) -> str:
    """Return a share in percent, never as all or none unless it is."""
    if 0 < share < 1:
        share = min(max(share, 0.5 / n_draws), 1 - 0.5 / n_draws)
        return "over 99%" if share > 0.99 else "under 1%" if share < 0.01 else f"{share:.0%}"
    return f"{share:.0%}"
