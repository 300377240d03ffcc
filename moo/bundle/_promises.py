"""Whether a promise is kept: what was promised against what was measured where it is to run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from moo.bundle._record import Promise
from moo.evaluation import Estimate

__all__ = ["FEWEST_LAUNCHES", "Found", "Held", "Verdict", "held"]

FEWEST_LAUNCHES = 5  # below, the interval does not see how launches spread
_UNSEEN: Mapping[str, float] = MappingProxyType({"bytes": 0.05})
_UNSEEN_TIME = 0.25  # of launches of one model: quick against standard, benchmarks/results/measuring.md
_UNSEEN_LOAD = 1.0  # the file may come from the disk or from memory, the same in all launches of a row
_EXACT = ("file_size",)
_ABSENT: Mapping[str, str] = MappingProxyType(
    {
        "static": "the task counted it",
        "measured": "is not measured here",
        "trained": "needs the task's data",
        "held-out": "needs the task's data",
    }
)


class Verdict(StrEnum):
    """What became of a promise."""

    KEPT = "KEPT"
    BROKEN = "BROKEN"
    NOT_COMPARABLE = "NOT COMPARABLE"


@dataclass(frozen=True, kw_only=True)
class Found:
    """What was measured here.

    Args:
        metrics: Estimates by metric name.
        n_launches: Fresh processes they rest on.
        fingerprint: Of this machine.
        environment: This machine: `identity` and `software`.
        tags: What is to be known of the measurement's validity.
    """

    metrics: Mapping[str, Estimate]
    n_launches: int
    fingerprint: str | None
    environment: Mapping[str, Any]
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Held:
    """A promise held against what is here.

    Args:
        promise: What was promised.
        found: What is here; None where it was not measured.
        verdict: What became of it.
        reason: Why, in a line; empty where the numbers say it.
    """

    promise: Promise
    found: Estimate | None
    verdict: Verdict
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "metric": self.promise.metric.name,
            "verdict": str(self.verdict),
            "reason": self.reason,
            "source": self.promise.source,
            "promised": self.promise.estimate.to_json(),
            "found": None if self.found is None else self.found.to_json(),
        }


def held(promise: Promise, found: Found, other_machine: str | None) -> Held:
    """Return what became of a promise.

    BROKEN where the whole interval found lies beyond the whole interval promised, on the metric's worse side
    (on either, where the metric has no direction). All else is KEPT, what cannot be told apart included:
    better than promised too. An interval that rests on fewer than 5 launches, or is missing, is widened
    first, because it does not see how launches spread: by 25% of the value for times and rates, by 100% for
    the time to load, by 5% for memory. The size of the file must be the same, on every machine.

    How often it errs: two models of 50-100 us, 24 quick launches each beside work of higher priority that
    kept both processors busy, every measurement contended; pairs of disjoint runs of them in a row, few and
    dependent. Of an unchanged model, verified in 5 launches, a promise of one launch had its p50 called
    broken in 4-5%, one of 5 in 0-4%; verified in one launch (`--mode quick`), 1-10%. The price there: of the
    one model tried, made 30% slower, its p50 told in 12%, twice as slow in 46%. Loading took 3 to 1,700 ms,
    so that it was called broken in a quarter: it is not held where the measurement here is contended.

    NOT COMPARABLE where the machine is another one, where loading was contended, or where the metric cannot
    be measured from a bundle alone, as accuracy cannot.

    Args:
        promise: What was promised.
        found: What was measured here.
        other_machine: What tells this machine from that of the promise; None where nothing does.
    """
    name, promised = promise.metric.name, promise.estimate
    here = found.metrics.get(name)
    if here is None:
        return Held(promise, None, Verdict.NOT_COMPARABLE, _ABSENT[promise.metric.stage])
    if name in _EXACT:
        is_same = here.value == promised.value
        return Held(promise, here, Verdict.KEPT if is_same else Verdict.BROKEN)
    if other_machine is not None:
        return Held(promise, here, Verdict.NOT_COMPARABLE, f"another machine: {other_machine}")
    if name == "load_time" and "contended" in found.tags:
        return Held(promise, here, Verdict.NOT_COMPARABLE, "other work took the processor here")
    theirs = _widened(promise, promised, promise.n_launches)
    ours = _widened(promise, here, found.n_launches)
    if theirs == (None, None) or ours == (None, None):
        missing, estimate = ("promised", promised) if theirs == (None, None) else ("known here", here)
        return Held(promise, here, Verdict.NOT_COMPARABLE, f"nothing is {missing}: {estimate.reason}")
    is_above = ours[0] is not None and theirs[1] is not None and ours[0] > theirs[1]
    is_below = ours[1] is not None and theirs[0] is not None and ours[1] < theirs[0]
    direction = promise.metric.direction
    is_broken = (is_above and direction != "maximize") or (is_below and direction != "minimize")
    is_disturbed = is_broken and "contended" in found.tags and promise.metric.dimension in ("time", "rate")
    reason = "beside other work: verify again when it is quiet" if is_disturbed else ""
    return Held(promise, here, Verdict.BROKEN if is_broken else Verdict.KEPT, reason)


def _widened(
    promise: Promise, estimate: Estimate, n_launches: int | None
) -> tuple[float | None, float | None]:
    """Return the ends of the interval, as far as they are known, moved apart where launches are few."""
    low = estimate.value if estimate.low is None else estimate.low
    high = estimate.value if estimate.high is None else estimate.high
    metric, is_load = promise.metric, promise.metric.name == "load_time"
    has_ends = estimate.low is not None and estimate.high is not None
    if has_ends and n_launches is not None and n_launches >= FEWEST_LAUNCHES and not is_load:
        return low, high
    unseen = _UNSEEN_LOAD if is_load else _UNSEEN.get(metric.dimension, _UNSEEN_TIME)
    return (None if low is None else low / (1 + unseen)), (None if high is None else high * (1 + unseen))
