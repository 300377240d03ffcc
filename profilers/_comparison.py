"""Which of two candidates is faster, and how sure that is: from rounds taken in turn, or from two files.

The launch is the unit of replication: whatever was timed, each launch gives one number, the logarithm of a
median or the median of differences of logarithms.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

import numpy as np

from profilers._environment import fingerprint
from profilers._measurement import Measurement
from profilers._statistics import Array, Statistic
from profilers._student import typical, typical_ratio
from profilers._tags import FEWEST_LAUNCHES, has_trend, is_contended

SAME_WITHIN = 0.01  # of no effect


class Verdict(StrEnum):
    """What a comparison says of the candidate."""

    FASTER = "FASTER"
    SLOWER = "SLOWER"
    SAME = "SAME"
    AMBIGUOUS = "AMBIGUOUS"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The latency of a candidate against that of a reference.

    Attributes:
        reference: What it is compared with.
        candidate: What is compared.
        effect: Ratio of the median latencies, candidate / reference: above 1 the candidate is slower. Its `n`
            counts launches, the fewer of both; with one there is no interval, and the reason says so.
        how: "paired" where both were timed in turns in the same rounds, so that a drift of the machine
            cancels; "unpaired" where they were measured apart, and a drift from one to the other is in the
            effect, unseen.
        n_launches: Of the reference and of the candidate.
        n_rounds: Rounds over all launches; None where there were none.
        tags: What is in doubt, of either, sorted.
    """

    reference: str
    candidate: str
    effect: Statistic
    how: Literal["paired", "unpaired"]
    n_launches: tuple[int, int]
    n_rounds: int | None = None
    tags: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """See `verdict_of`."""
        return verdict_of(self.effect)

    def to_json(self) -> dict[str, Any]:
        """The fields and the verdict as a plain dict."""
        effect = self.effect
        return {
            "reference": self.reference,
            "candidate": self.candidate,
            "verdict": str(self.verdict),
            "effect": {"value": effect.value, "low": effect.low, "high": effect.high},
            "reason": effect.reason,
            "how": self.how,
            "n_launches": list(self.n_launches),
            "n_rounds": self.n_rounds,
            "tags": list(self.tags),
        }


def verdict_of(effect: Statistic) -> Verdict:
    """SAME where the whole interval lies within 1% of no effect, on either side on a logarithmic scale.

    Else FASTER or SLOWER where the interval leaves out 1, and AMBIGUOUS where it does not or is not known.

    >>> [str(verdict_of(Statistic(1.0, *ends, 5))) for ends in ((0.8, 0.9), (1.001, 1.009), (0.9, 1.1))]
    ['FASTER', 'SAME', 'AMBIGUOUS']
    """
    if effect.low is None or effect.high is None:
        return Verdict.AMBIGUOUS
    if effect.low >= 1 / (1 + SAME_WITHIN) and effect.high <= 1 + SAME_WITHIN:
        return Verdict.SAME
    if effect.low > 1:
        return Verdict.SLOWER
    return Verdict.FASTER if effect.high < 1 else Verdict.AMBIGUOUS


def compare_paired(
    reference: Sequence[Array],
    candidate: Sequence[Array],
    *,
    labels: tuple[str, str] = ("reference", "candidate"),
    confidence: float = 0.95,
    tags: Iterable[str] = (),
) -> Comparison:
    """Compare two that were timed in turns: launches of rounds, in each of which both had a block of calls.

    Each launch gives the median over its rounds of the difference of the logarithms; a drift that is slower
    than a round cancels. The interval is Student's over launches. With several candidates each comparison
    stands alone: nothing is corrected for their number, so of 20 that are equal to the reference one is
    expected to get a wrong verdict.

    Args:
        reference: Median seconds of a call in each block, shape (n_rounds,), an array for each launch.
        candidate: The same of the other, in the same order.
        labels: Names of both.
        confidence: Of the interval; more than 95% where one looks again and again (`look_confidence`).
        tags: What is in doubt of either.

    Raises:
        ValueError: If launches or rounds do not match, or a time is not a number above 0.

    >>> rounds = [np.array([1.0, 1.1, 1.2]), np.array([1.3, 1.3, 1.2]), np.array([0.9, 1.0, 1.1])]
    >>> comparison = compare_paired(rounds, [2 * times for times in rounds])
    >>> str(comparison.verdict), round(comparison.effect.value, 6), comparison.n_rounds
    ('SLOWER', 2.0, 9)
    """
    shapes = [[len(times) for times in launches] for launches in (reference, candidate)]
    if shapes[0] != shapes[1] or not shapes[0] or not all(shapes[0]):
        raise ValueError(
            f"both must have the same launches and rounds, got rounds {shapes[0]} and {shapes[1]}"
        )
    differences = [
        float(np.median(_logarithms(ours) - _logarithms(theirs)))
        for theirs, ours in zip(reference, candidate, strict=True)
    ]
    n = len(differences)
    return Comparison(
        reference=labels[0],
        candidate=labels[1],
        effect=typical(differences, confidence=confidence),
        how="paired",
        n_launches=(n, n),
        n_rounds=sum(shapes[0]),
        tags=_with_launches(tags, n),
    )


def compare_unpaired(
    reference: Measurement, candidate: Measurement, *, labels: tuple[str, str] | None = None
) -> Comparison:
    """Compare two measurements that were made apart, on the same machine.

    Each launch gives the logarithm of its median, and the interval is that of `typical_ratio`. With one
    launch on a side there is no verdict: the spread within a launch says nothing about the next. As in
    `compare_paired` nothing is corrected for several candidates.

    Not guaranteed: a drift of the machine between the two is taken for the candidate's. And where each
    measurement went on until its own interval was within 2%, as in the mode "standard", which ends early by
    luck, intervals for equals held the truth in 95% to 99% of cases (normal, or t with 2 degrees of freedom),
    but only in 91% to 92% where a quarter of the launches are 7% to 13% slower.

    Raises:
        ValueError: If they are from different machines.
    """
    if fingerprint(reference.environment) != fingerprint(candidate.environment):
        raise ValueError("both measurements must be from the same machine, got different fingerprints")
    sides = [launch_medians(measurement) for measurement in (reference, candidate)]
    counts = (len(sides[0]), len(sides[1]))
    names = labels or (reference.model.path, candidate.model.path)
    return Comparison(
        reference=names[0],
        candidate=names[1],
        effect=typical_ratio(sides[0], sides[1]),
        how="unpaired",
        n_launches=counts,
        tags=_with_launches(doubts(reference, candidate), min(counts)),
    )


def launch_medians(measurement: Measurement) -> Array:
    """The logarithm of the median time of a call in seconds, shape (n_launches,)."""
    medians: Array = np.log([np.median(launch.call_s()) for launch in measurement.launches])
    return medians


def doubts(*measurements: Measurement) -> tuple[str, ...]:
    """The tags that bear on a comparison of medians, of any of the measurements, sorted.

    `inputs_differ` says that inputs of the same name had other shapes although the batches are equal.
    """
    launches = [(m, launch) for m in measurements for launch in m.launches]
    applies = {
        "assumed_dimensions": any(m.assumed_dimensions for m in measurements),
        "contended": any(is_contended(launch, m.runtime.intra_op_num_threads) for m, launch in launches),
        "ep_fallback": any(launch.provider != m.runtime.provider for m, launch in launches),
        "inputs_differ": _inputs_differ(measurements),
        "not_stationary": any(not launch.warmup_agreed or has_trend(launch) for _, launch in launches),
        "throttled": any((launch.throttled_s or 0.0) > 0 for _, launch in launches),
    }
    return tuple(tag for tag, does_apply in applies.items() if does_apply)


def _inputs_differ(measurements: Sequence[Measurement]) -> bool:
    shapes: dict[tuple[int, str], set[tuple[int, ...]]] = {}
    for measurement in measurements:
        for entry in measurement.inputs:
            shapes.setdefault((measurement.runtime.batch, entry["name"]), set()).add(tuple(entry["shape"]))
    return any(len(seen) > 1 for seen in shapes.values())


def _with_launches(tags: Iterable[str], n: int) -> tuple[str, ...]:
    known = {"single_launch"} if n == 1 else {"few_launches"} if n < FEWEST_LAUNCHES else set()
    return tuple(sorted(known | set(tags)))


def _logarithms(times_s: Array) -> Array:
    times = np.asarray(times_s, dtype=np.float64)
    if not (np.isfinite(times) & (times > 0)).all():
        raise ValueError("each time must be a number of seconds above 0")
    logarithms: Array = np.log(times)
    return logarithms
