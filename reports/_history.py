"""The data step of the hypervolume chart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from moo.metrics import format_value
from moo.pareto import hypervolume_history
from moo.results import Results
from reports._text import one_line


@dataclass(frozen=True)
class History:
    """How the hypervolume grew.

    Args:
        steps: Trial number and share of the final hypervolume, at the first trial, wherever it
            grew, and at the last; empty where no complete feasible trial has every loss.
        reference: The reference point in words: `latency p50 620 us`.
    """

    steps: tuple[tuple[int, float], ...]
    reference: tuple[str, ...]


def history(results: Results) -> History:
    """Return the hypervolume over trials of the complete feasible candidates.

    The reference point is the worst value that these have in each loss plus 10% of their range
    (where the range is zero: of the value).
    """
    feasible = tuple(trial for trial in results.complete if results.is_feasible(trial))
    losses = results.losses(feasible)
    kept = np.all(np.isfinite(losses), axis=1)
    losses, numbers = (
        losses[kept],
        [t.number for t, keep in zip(feasible, kept.tolist(), strict=True) if keep],
    )
    if not numbers:
        return History((), ())
    worst, span = losses.max(axis=0), np.ptp(losses, axis=0)
    margin = np.where(span > 0, span, np.where(worst != 0, np.abs(worst), 1.0))
    reference = worst + 0.1 * margin
    volumes = hypervolume_history(losses, reference)
    steps = _growth(numbers, (volumes / volumes[-1]).tolist(), results.trials[-1].number)
    words = tuple(
        f"{one_line(o.metric.title)} {format_value(float(loss) * o.sign, o.metric)}"
        for o, loss in zip(results.problem.objectives, reference, strict=True)
    )
    return History(steps, words)


def _growth(numbers: Sequence[int], shares: Sequence[float], last: int) -> tuple[tuple[int, float], ...]:
    steps = [(numbers[0], shares[0])]
    for number, share in zip(numbers, shares, strict=True):
        if share > steps[-1][1]:
            steps.append((number, share))
    if last > steps[-1][0]:
        steps.append((last, steps[-1][1]))
    return tuple(steps)
