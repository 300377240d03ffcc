"""Rounds of fresh launches: all candidates first, then those that are still in doubt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from moo.confirmation._assessment import Assessment

__all__ = ["DOUBT", "FEWEST_ROUNDS", "MOST_ROUNDS", "Race", "RaceEnd", "is_undecided"]

FEWEST_ROUNDS = 5  # each candidate is in; fewer launches say too little of how launches spread
MOST_ROUNDS = 40
DOUBT = 0.05  # a probability below, or above 1 minus this, is beyond doubt

RaceEnd = Literal["decided", "rounds", "launches", "time", "stopped"]
"""Why it ended: nothing in doubt that launches could settle, or a budget, or someone said stop."""


def is_undecided(assessment: Assessment) -> NDArray[np.bool_]:
    """Return which candidates are worth more launches, shape (n,).

    Those with P(on the front) or P(feasible) above 5% and below 95%, but for those that even exact cost would
    leave as they are: their doubt is about the score, on so many validation samples.
    """
    found = assessment.probability
    in_doubt = np.zeros(len(found.p_on_front), dtype=np.bool_)
    for p in (found.p_on_front, found.p_feasible):
        in_doubt |= (p > DOUBT) & (p < 1 - DOUBT)
    return np.asarray(in_doubt & (assessment.changeable > DOUBT))


@dataclass(frozen=True, kw_only=True)
class Race:
    """Launches candidates in rounds until nothing is in doubt, or a budget is out.

    In each round every candidate that takes part is launched once, in an order of the round's own, so that a
    drift of the machine hits all alike. All take part in the first five rounds. After those and after each
    later one the candidates are assessed, and only the undecided take part in the next.

    Probabilities are looked at after each round, and a candidate is left alone when one has crossed a limit:
    of many looks, some cross by luck. That is why the first look comes after five rounds, and why a candidate
    comes back where later rounds of others put it in doubt again.

    Args:
        launch: `(candidate, round)`: makes one launch; False where the candidate failed and is out.
        assess: Of all candidates that are not out: the assessment and their numbers, in its order.
        keep: Told the order of a round that is whole.
        seed: Of the orders.
        most_launches: In all, after the first five rounds; None for no limit.
        is_late: Whether the time is out, asked before each round after the first five.
        should_stop: Asked before each launch; a round that is cut off is not kept.
    """

    launch: Callable[[int, int], bool]
    assess: Callable[[], tuple[Assessment, Sequence[int]]]
    keep: Callable[[int, Sequence[int]], None]
    seed: int
    most_launches: int | None = None
    is_late: Callable[[], bool] = lambda: False
    should_stop: Callable[[], bool] = lambda: False

    def run(self, numbers: Sequence[int], *, n_rounds_done: int = 0, n_launches_done: int = 0) -> RaceEnd:
        """Run the rounds that are missing and return why it ended.

        Args:
            numbers: Of the candidates that are not out.
            n_rounds_done: Rounds that an earlier run kept.
            n_launches_done: Launches in them.
        """
        n_launches, still_in = n_launches_done, list(numbers)
        for number in range(n_rounds_done, MOST_ROUNDS):
            taking_part = still_in
            if number >= FEWEST_ROUNDS:
                found, order = self.assess()
                taking_part = [
                    one for one, is_open in zip(order, is_undecided(found), strict=True) if is_open
                ]
                if not taking_part:
                    return "decided"
                if self.is_late():
                    return "time"
                if self.most_launches is not None and n_launches + len(taking_part) > self.most_launches:
                    return "launches"
            if not taking_part:
                return "decided"
            launched = self._round(number, taking_part)
            if launched is None:
                return "stopped"
            still_in = [one for one in still_in if one in launched or one not in taking_part]
            n_launches += len(taking_part)
        return "rounds"

    def _round(self, number: int, taking_part: Sequence[int]) -> list[int] | None:
        """Launch each once and return those that did not fail; None where it was cut off."""
        order = np.random.default_rng([self.seed, number]).permutation(sorted(taking_part)).tolist()
        launched = []
        for candidate in order:
            if self.should_stop():
                return None
            if self.launch(candidate, number):
                launched.append(candidate)
        self.keep(number, order)
        return launched
