"""One fresh launch of each candidate, timed in turns."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from profilers._errors import LaunchError, ProfilerError
from profilers._interface import OpenLaunch, Profiler
from profilers._measurement import Measurement
from profilers._measuring import Feeds
from profilers._protocol import Protocol
from profilers._runtime import Runtime
from profilers._statistics import Array

FEWEST_SLOW_ROUNDS = 3
ROOM = 4  # times the blocks that fit a visit, should calls get faster after the warm-up


@dataclass(frozen=True, kw_only=True, eq=False)
class Candidate:
    """A model, how to run it, and what with.

    Attributes:
        label: Its name in the comparison.
        profiler: What measures it; candidates may share one.
        model_path: The model's file.
        runtime: How to run it.
        feeds: What to feed it; None to have all made from the model's signature.
    """

    label: str
    profiler: Profiler
    model_path: str | Path
    runtime: Runtime = field(default_factory=Runtime)
    feeds: Feeds | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Visited:
    """One launch: its measurement, and the median of each visit."""

    measurement: Measurement
    medians_s: Array


def one_set(
    candidates: Sequence[Candidate],
    rules: Protocol,
    n_rounds: int,
    generator: np.random.Generator,
    clock: Callable[[], float],
) -> dict[str, Visited | ProfilerError]:
    """Open one launch of each, visit them in turns, and close them; by label what came of it.

    Where visits take much longer than they should, because a call does, rounds are fewer: they end, after
    three at least, once they have taken three times as long as all were to take.
    """
    outcomes: dict[str, Visited | ProfilerError] = {}
    with ExitStack() as stack:
        opened: dict[str, OpenLaunch] = {}
        for index in generator.permutation(len(candidates)):
            candidate = candidates[index]
            try:
                opened[candidate.label] = stack.enter_context(_opened(candidate, rules))
            except ProfilerError as error:
                outcomes[candidate.label] = error
        started, limit_s = clock(), FEWEST_SLOW_ROUNDS * n_rounds * rules.min_time_s * len(opened)
        for n_done in range(n_rounds):
            if n_done >= FEWEST_SLOW_ROUNDS and clock() - started > limit_s:
                break
            labels = [label for label in opened if label not in outcomes]
            for index in generator.permutation(len(labels)):
                try:
                    opened[labels[index]].visit()
                except ProfilerError as error:
                    outcomes[labels[index]] = error
        for label in [label for label in opened if label not in outcomes]:
            try:
                outcomes[label] = _closed(opened[label])
            except ProfilerError as error:
                outcomes[label] = error
    return outcomes


def _opened(candidate: Candidate, rules: Protocol) -> OpenLaunch:
    open_launch = candidate.profiler.open
    return open_launch(candidate.model_path, candidate.runtime, protocol=rules, feeds=candidate.feeds)


def _closed(launch: OpenLaunch) -> Visited:
    measurement, sizes = launch.closed()
    if not all(sizes):
        raise LaunchError(
            f"model {measurement.model.path}: calls got more than {ROOM} times faster after the warm-up: "
            "raise warmup_budget_s or max_calls"
        )
    visits = np.split(measurement.launches[0].call_s(), np.cumsum(sizes)[:-1])
    return Visited(measurement, np.array([np.median(visit) for visit in visits]))
