"""Whether a latency bound holds: the exact binomial test, as early as the samples allow."""

import math
from dataclasses import dataclass
from typing import Literal

from profilers._measurement import Measurement

Verdict = Literal["PASS", "FAIL", "UNDECIDED"]
ONLY_BLOCKS = "a call is too short to time alone, and blocks of calls can only show that a tail is short"


@dataclass(frozen=True, slots=True)
class LatencyBound:
    """The claim that the `q`-quantile of the time of a call is at most `limit_s`.

    Attributes:
        q: Strictly between 0 and 1.
        limit_s: Seconds, above 0.

    Raises:
        ValueError: If a field is out of range.
    """

    q: float
    limit_s: float

    def __post_init__(self) -> None:
        """Check both fields."""
        if not 0 < self.q < 1:
            raise ValueError(f"q must be strictly between 0 and 1, got {self.q!r}")
        if not self.limit_s > 0:
            raise ValueError(f"limit_s must be greater than 0, got {self.limit_s!r}")


@dataclass(frozen=True, slots=True)
class BoundVerdict:
    """What a measurement says of a bound.

    Attributes:
        verdict: PASS or FAIL where the test decides, else UNDECIDED.
        confidence: Of the verdict, from 0 to 1; None while undecided.
        n: Samples: calls, or blocks of calls.
        n_over: How many took longer than the limit.
        reason: Why it is undecided; None otherwise.
        is_final: Whether more launches cannot change it.
    """

    verdict: Verdict
    confidence: float | None
    n: int
    n_over: int
    reason: str | None = None
    is_final: bool = False


def bound_verdict(measurement: Measurement, bound: LatencyBound, *, confidence: float = 0.95) -> BoundVerdict:
    """Decide whether the bound holds, from the samples of all launches.

    If the q-quantile is above the limit, a call exceeds the limit with probability at least 1 - q; so few
    calls over it refute that (PASS), and many refute the opposite (FAIL). With K over the limit of n, the
    p-values are P(B <= K) and P(B >= K) for B ~ Binomial(n, 1 - q) (Clopper and Pearson 1934, "The use of
    confidence or fiducial limits illustrated in the case of the binomial"). Each may be (1 - confidence) / 2,
    divided by the number of launches that the protocol allows, because the question may be asked after each
    (Bonferroni). A launch that alone decides the opposite leaves it undecided.

    The test takes calls as independent. Calls of one launch are alike, so a verdict from one launch holds
    for that launch (tag `single_launch`).

    Where calls are timed in blocks, a tail can pass but not fail: a call takes at most as long as its block,
    so P(call > limit) <= P(block > limit).
    """
    is_tail_of_blocks = bound.q != 0.5 and any(launch.calls_per_block > 1 for launch in measurement.launches)
    counts = []
    for launch in measurement.launches:
        seconds = launch.latency_ns / 1e9 if is_tail_of_blocks else launch.call_s()
        counts.append((len(seconds), int((seconds > bound.limit_s).sum())))
    n, n_over = (sum(part) for part in zip(*counts, strict=True))
    protocol = measurement.protocol
    n_looks = protocol.max_launches or protocol.launches
    level = (1 - confidence) / 2 / n_looks
    p_pass, p_fail = _p_values(n, n_over, bound.q)
    p_value = min(p_pass, p_fail)
    leaning: Verdict = "PASS" if p_pass <= p_fail else "FAIL"
    if is_tail_of_blocks and leaning == "FAIL":
        return BoundVerdict("UNDECIDED", None, n, n_over, ONLY_BLOCKS, is_final=p_value <= level)
    reason = _why_undecided(leaning, p_value, level, counts, bound.q)
    if reason is not None:
        return BoundVerdict("UNDECIDED", None, n, n_over, reason)
    return BoundVerdict(leaning, max(0.0, 1 - p_value * n_looks), n, n_over, is_final=True)


def _why_undecided(
    leaning: Verdict, p_value: float, level: float, counts: list[tuple[int, int]], q: float
) -> str | None:
    if p_value > level:
        n = sum(part[0] for part in counts)
        needed = math.ceil(math.log(level) / math.log(q))
        if n < needed:
            return f"{n} samples are too few: at least {needed} are needed"
        return "the share of calls over the limit is too near to what the bound allows"
    opposite = [_p_values(n, n_over, q)[0 if leaning == "FAIL" else 1] for n, n_over in counts]
    if len(counts) > 1 and min(opposite) <= level:
        return "launches disagree"
    return None


def _p_values(n: int, n_over: int, q: float) -> tuple[float, float]:
    """P(B <= n_over) and P(B >= n_over) for B ~ Binomial(n, 1 - q)."""
    from scipy.special import bdtr, bdtrc  # half a second: only where there is a bound

    return float(bdtr(n_over, n, 1 - q)), float(bdtrc(n_over - 1, n, 1 - q)) if n_over else 1.0
