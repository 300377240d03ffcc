"""Compares candidates by timing them in turns, so that a drift of the machine hits all of them alike."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from profilers._comparison import Comparison, Verdict, compare_paired, doubts, launch_medians
from profilers._errors import ProfilerError
from profilers._measurement import Measurement
from profilers._protocol import STANDARD, Protocol
from profilers._statistics import Array, Statistic
from profilers._student import look_confidence, typical
from profilers._visits import ROOM, Candidate, Visited, one_set

VISIT_S = 0.04
FEWEST_SETS = 3  # for two launches Student's interval is 13 standard errors wide
FEWEST_ROUNDS = 6
Observer = Callable[[int, tuple[Comparison, ...]], None]


@dataclass(frozen=True, kw_only=True, eq=False)
class Interleaved:
    """What was found by timing in turns.

    Attributes:
        comparisons: Of each candidate with the first, in the order given; none where fewer than two are left.
            One that failed too early, in the protocol's fewest launches, is left out; if it was the first,
            the next takes its place.
        measurements: By label, of the candidates that are not left out, with all their whole launches.
        block_medians_s: By label: the median time of a call in each visit, shape (n_rounds,), an array for
            each launch; what the comparisons were made from, as far as both have the launch.
        failures: By label, why a candidate failed, be it early or late.
        confidence: Of each interval, so that those of all looks together have 95% (`look_confidence`).
        protocol: The rules, as changed for visits.
        seed: Of the order in which they took turns.
    """

    comparisons: tuple[Comparison, ...]
    measurements: Mapping[str, Measurement]
    block_medians_s: Mapping[str, tuple[Array, ...]]
    failures: Mapping[str, ProfilerError]
    confidence: float
    protocol: Protocol
    seed: int

    def median_s(self, label: str) -> Statistic:
        """The median time of a call in seconds, typical of the launches, with its 95% interval.

        It sees the drift of the machine, which the comparisons do not.
        """
        return typical(launch_medians(self.measurements[label]))


def compare_interleaved(
    candidates: Sequence[Candidate],
    *,
    protocol: Protocol = STANDARD,
    seed: int = 0,
    visit_s: float = VISIT_S,
    clock: Callable[[], float] = time.monotonic,
    after_launch: Observer | None = None,
) -> Interleaved:
    """Compare candidates with the first of them, timing all in turns until each verdict is clear.

    A set of launches is one fresh, warm process for each candidate, opened in random order. In each round
    every candidate is visited once, in an order drawn anew, while the others wait and do nothing. Rounds make
    up the time that the protocol gives to a launch, but are 6 at least; where a call takes longer than a
    visit they are fewer, down to 3 (`one_set`). Then all processes end and the next set begins, until no
    verdict is AMBIGUOUS, the protocol's most launches are there, or its budget for each candidate is out; of
    sets there are always the protocol's fewest launches, and 3. A candidate that fails after these keeps its
    whole launches and is opened no more; without the reference it ends.

    Looking after each set and stopping at the first verdict would find differences where there are none; the
    intervals are widened for it (`look_confidence`). For the number of candidates nothing is corrected: each
    comparison stands alone, as in `compare_paired`.

    There are as many processes at once as candidates, each with its model loaded: their memory adds up. One
    with `allow_spinning` may burn a core for a moment after its own visit, in the next one's.

    Args:
        candidates: At least two, the reference first. If it fails, the next takes its place.
        protocol: How long, how often, and how warm; its `min_time_s` is that of all visits of a launch.
        seed: Of the orders.
        visit_s: How long a visit takes; at least three blocks of calls are timed, or one call that takes
            longer than that.
        clock: Seconds, for the budget and the rounds.
        after_launch: Called after each set with the number of sets and what is known so far.

    Raises:
        ValueError: If there are fewer than two candidates, two have the same label, or a provider is not
            there. Every other failure is that of one candidate and reported as such.
    """
    labels = [candidate.label for candidate in candidates]
    if len(labels) < 2 or len(set(labels)) < len(labels):
        raise ValueError(f"candidates must be at least two with a label each, got {labels}")
    rules = _visiting(protocol, visit_s)
    fewest, most = rules.launches, rules.max_launches or rules.launches
    confidence = look_confidence(fewest, most)
    rounds = max(FEWEST_ROUNDS, math.ceil(protocol.min_time_s / visit_s))
    record, generator, started = _Record(candidates, fewest), np.random.default_rng(seed), clock()
    budget_s = rules.total_budget_s * len(candidates)
    comparisons: tuple[Comparison, ...] = ()
    for n in range(1, most + 1):
        record.add(one_set(record.running(), rules, rounds, generator, clock))
        comparisons = record.comparisons(confidence)
        if after_launch is not None:
            after_launch(n, comparisons)
        is_clear = not record.can_get_clearer(comparisons)
        if is_clear and (n >= fewest or not comparisons):
            break
        if n >= fewest and clock() - started > budget_s:
            break
    return record.result(comparisons, confidence, rules, seed)


class _Record:
    """What was timed so far, set by set, and what failed."""

    def __init__(self, candidates: Sequence[Candidate], fewest: int) -> None:
        self._candidates, self._fewest = candidates, fewest
        self._launches: dict[str, list[Visited]] = {candidate.label: [] for candidate in candidates}
        self._failures: dict[str, ProfilerError] = {}

    def running(self) -> list[Candidate]:
        """Those that have not failed."""
        return [candidate for candidate in self._candidates if candidate.label not in self._failures]

    def kept(self) -> list[str]:
        """Those that have not failed, or late enough: the launches of each are those of the first sets."""
        return [
            label
            for label, launches in self._launches.items()
            if label not in self._failures or len(launches) >= self._fewest
        ]

    def add(self, outcomes: Mapping[str, Visited | ProfilerError]) -> None:
        """Take in what came of a set."""
        for label, outcome in outcomes.items():
            if isinstance(outcome, ProfilerError):
                self._failures[label] = outcome
            else:
                self._launches[label].append(outcome)

    def comparisons(self, confidence: float) -> tuple[Comparison, ...]:
        """Of each with the first."""
        reference, *others = self.kept() or [""]
        return tuple(self._compared(reference, label, confidence) for label in others)

    def can_get_clearer(self, comparisons: Sequence[Comparison]) -> bool:
        """Whether another set adds to a comparison that is still ambiguous."""
        return any(
            comparison.verdict == Verdict.AMBIGUOUS
            and not self._failures.keys() & {comparison.reference, comparison.candidate}
            for comparison in comparisons
        )

    def result(
        self, comparisons: tuple[Comparison, ...], confidence: float, rules: Protocol, seed: int
    ) -> Interleaved:
        """All of it."""
        return Interleaved(
            comparisons=comparisons,
            measurements={label: _joined(self._launches[label]) for label in self.kept()},
            block_medians_s={label: _medians_s(self._launches[label]) for label in self.kept()},
            failures=dict(self._failures),
            confidence=confidence,
            protocol=rules,
            seed=seed,
        )

    def _compared(self, reference: str, candidate: str, confidence: float) -> Comparison:
        """From the sets that both have."""
        pairs = list(zip(self._launches[reference], self._launches[candidate], strict=False))
        ours, theirs = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        return compare_paired(
            _medians_s(ours),
            _medians_s(theirs),
            labels=(reference, candidate),
            confidence=confidence,
            tags=doubts(_joined(ours), _joined(theirs)),
        )


def _medians_s(launches: Sequence[Visited]) -> tuple[Array, ...]:
    return tuple(visited.medians_s for visited in launches)


def _joined(launches: Sequence[Visited]) -> Measurement:
    """One measurement of all launches."""
    parts = [visited.measurement for visited in launches]
    return replace(parts[0], launches=tuple(launch for part in parts for launch in part.launches))


def _visiting(protocol: Protocol, visit_s: float) -> Protocol:
    """The protocol with the time of a visit, room for all of them, and enough launches for an interval."""
    launches = max(FEWEST_SETS, protocol.launches)
    total_s = max(FEWEST_ROUNDS * visit_s, protocol.min_time_s + visit_s)
    room = ROOM * math.ceil(total_s / protocol.min_block_s)
    return replace(
        protocol,
        launches=launches,
        max_launches=max(launches, protocol.max_launches or 0),
        min_time_s=visit_s,
        max_calls=max(protocol.max_calls, room),
    )
