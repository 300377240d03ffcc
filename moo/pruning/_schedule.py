"""At which steps trials are compared, and with which others: rungs and brackets."""

from __future__ import annotations

import math
from dataclasses import dataclass

from moo.errors import InputError

__all__ = ["Schedule"]

_GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0
_ROUNDING = 1e-12
_LONGEST = 2**53  # steps of any training


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The rungs of asynchronous successive halving, and Hyperband's brackets.

    Rung k of bracket b begins at min_resource * eta^(s + b + k) steps, rounded up, where s is
    `min_early_stopping_rate`: Li et al. 2020, Algorithm 2. Bracket b is the successive halving that begins b
    rungs later, and gets as many trials as in Li et al. 2018, "Hyperband", Algorithm 1:
    ceil(B / (B - b) * eta^(B - 1 - b)) of every round, for B brackets.

    Args:
        eta: Reduction factor, above 1: one in eta trials goes on at each rung.
        min_resource: Steps before the first rung, 1 or more.
        max_resource: Steps of a whole training, or None where they are not known. No rung is there or beyond:
            it would save nothing.
        min_early_stopping_rate: How many of the first rungs are left out.
        brackets: How many successive halvings run side by side, each ranking its own trials.

    Raises:
        InputError: For an option out of its range, or rungs that begin after `max_resource`.
    """

    eta: float = 3
    min_resource: int = 1
    max_resource: int | None = None
    min_early_stopping_rate: int = 0
    brackets: int = 1

    def __post_init__(self) -> None:
        _check_number("eta", self.eta)
        _check_whole("min_resource", self.min_resource, 1)
        _check_whole("min_early_stopping_rate", self.min_early_stopping_rate, 0)
        _check_whole("brackets", self.brackets, 1)
        if self.max_resource is not None:
            _check_whole("max_resource", self.max_resource, 1)
            if self.max_resource < self.min_resource:
                raise InputError(
                    f"max_resource: expected at least min_resource, which is {self.min_resource},"
                    f" got {self.max_resource}"
                )
        self._check_first_rungs()

    def _check_first_rungs(self) -> None:
        limit = _LONGEST if self.max_resource is None else self.max_resource
        room = math.log(limit / self.min_resource, self.eta) + _ROUNDING
        for name, exponent in (
            ("min_early_stopping_rate", self.min_early_stopping_rate),
            ("brackets", self.min_early_stopping_rate + self.brackets - 1),
        ):
            if exponent > room:
                within = "any training" if self.max_resource is None else f"max_resource, {limit}"
                raise InputError(
                    f"{name}: expected the first rung within {within}, got min_resource * eta ^ {exponent}:"
                    f" choose a smaller {name}"
                )

    def _begin(self, bracket: int, rung: int = 0) -> int:
        exponent = self.min_early_stopping_rate + bracket + rung
        if float(self.eta).is_integer():
            return int(self.min_resource * int(self.eta) ** exponent)
        return math.ceil(self.min_resource * self.eta**exponent * (1.0 - _ROUNDING))

    def rung_at(self, step: int, bracket: int) -> int | None:
        """Return the step at which the highest rung that a step has passed begins.

        Returns:
            None before the first rung, and where training is over anyway.

        >>> schedule = Schedule(eta=3, max_resource=27)
        >>> [schedule.rung_at(step, 0) for step in (0, 1, 2, 3, 10, 26, 27)]
        [None, 1, 1, 3, 9, 9, None]
        """
        first = self._begin(bracket)
        if step < first or (self.max_resource is not None and step >= self.max_resource):
            return None
        rung = max(0, int(math.log(step / first, self.eta)) - 1)
        while self._begin(bracket, rung + 1) <= step:
            rung += 1
        while self._begin(bracket, rung) > step:
            rung -= 1
        return self._begin(bracket, rung)

    def bracket_of(self, number: int) -> int:
        """Return the bracket of a trial: the same in every process, and spread evenly over the numbers.

        Any run of consecutive trials has nearly the brackets' shares, and no period of the numbers is theirs:
        the multiples of the golden ratio, modulo 1, choose.

        >>> [Schedule(brackets=2).bracket_of(number) for number in range(10)]
        [1, 0, 1, 0, 0, 1, 0, 1, 0, 0]
        """
        sizes = [
            math.ceil(self.brackets / (self.brackets - bracket) * self.eta ** (self.brackets - 1 - bracket))
            for bracket in range(self.brackets)
        ]
        place = ((number + 1) * _GOLDEN) % 1.0 * sum(sizes)
        for bracket, size in enumerate(sizes):
            place -= size
            if place < 0:
                return bracket
        return self.brackets - 1


def _check_number(name: str, value: object) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or value <= 1:  # type: ignore[arg-type, operator]
        raise InputError(f"{name}: expected a number above 1, got {value!r}")


def _check_whole(name: str, value: object, low: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise InputError(f"{name}: expected a whole number of {low} or more, got {value!r}")
