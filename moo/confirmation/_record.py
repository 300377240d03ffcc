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
from moo.shapes import ANY, EACH, checked

__all__ = [
    "CONFIRMATION",
    "SCHEMA",
    "TEST_OPENED",
    "checked_confirmation",
    "checked_openings",
    "fallen",
    "retraining_seed",
    "spread",
]

SCHEMA = "moo.confirm/1"
CONFIRMATION = "moo:confirmation"
"""The study's attribute with the finished confirmation."""
TEST_OPENED = "moo:test_opened"
"""The study's attribute with each time that the test data were opened: `time`, `trials`, `again`."""

_TEXT = (str, None)
_OPENED = [{"time": str, "trials": [int], "again": bool, "plan?": str}]
_SPREAD = {"n": int, "mean": (float, None), "sd": (float, None)}
_QUALITY = ({EACH: _SPREAD}, None)
_CONFIRMED = {
    "p_on_front": float,
    "p_feasible": float,
    "p_on_front_se?": float,
    "p_feasible_se?": float,
    "verdict": str,
    "reason": _TEXT,
    "changeable?": float,
}
_ENTRY = {
    "trial": int,
    "role": str,
    "is_baseline": bool,
    "refused": _TEXT,
    "n_launches": int,
    "tags?": [str],
    "search?": {"p_on_front": (float, None), "p_feasible": (float, None)},
    "confirmed": (_CONFIRMED, None),
    "retrained": ({"failures": [str], "artefacts?": [str], "validation": _QUALITY, "test": _QUALITY}, None),
    "test": ({EACH: ANY}, None),
}
_SHAPE = {
    "schema": str,
    "time": str,
    "fingerprint": str,
    "ended": str,
    "study?": str,
    "seed?": int,
    "attempt": int,
    "n_rounds": int,
    "n_front": int,
    "left_out?": [int],
    "notes": [str],
    "test_opened": _OPENED,
}

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


def checked_confirmation(record: Any, problem: Problem) -> dict[str, Any] | None:
    """Return what is stored of a confirmation of that problem; None where nothing is.

    Raises:
        ValueError: If it is not as `moo confirm` writes it.
    """
    if record is None:
        return None
    estimates = {
        metric.name: {"search": {EACH: ANY}, "confirmed": ({EACH: ANY}, None)} for metric in problem.metrics
    }
    checked(record, {**_SHAPE, "candidates": [{**_ENTRY, "metrics": estimates}]}, CONFIRMATION)
    for entry in record["candidates"]:
        told = [one for name in estimates for one in entry["metrics"][name].values()]
        tested = [one for name, one in (entry["test"] or {}).items() if name != "failure"]
        for one in (*told, *tested):
            if one is not None:
                Estimate.from_json(one)
    return dict(record)


def checked_openings(openings: Any) -> tuple[dict[str, Any], ...]:
    """Return each time that the test data were opened, as stored.

    Raises:
        ValueError: If it is not as `moo confirm` writes it.
    """
    return tuple(checked(openings, _OPENED, TEST_OPENED))


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
