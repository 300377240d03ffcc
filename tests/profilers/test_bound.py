"""Whether a bound holds: against the binomial distribution, and what leaves it open."""

import numpy as np
import pytest
from scipy.stats import binom

from profilers import FakeProfiler, LatencyBound, Protocol, Runtime, bound_verdict

P95 = LatencyBound(0.95, 0.002)


def measured(*launches, calls_per_block: int = 1, **protocol):
    """A measurement whose launches have these calls, in milliseconds."""
    fake = FakeProfiler(
        latency_s=lambda path, runtime, index: np.asarray(launches[index]) / 1e3,
        calls_per_block=calls_per_block,
    )
    return fake.measure("m", Runtime(), protocol=Protocol(launches=len(launches), **protocol))


def calls(n: int, n_over: int) -> list[float]:
    return [3.0] * n_over + [1.0] * (n - n_over)


def test_no_call_over_the_limit_passes_from_the_smallest_sample_that_can_tell() -> None:
    assert bound_verdict(measured(calls(72, 0)), P95).verdict == "PASS"
    found = bound_verdict(measured(calls(71, 0)), P95)
    assert found.verdict == "UNDECIDED"
    assert found.reason == "71 samples are too few: at least 72 are needed"


@pytest.mark.parametrize(("n", "n_over"), [(400, 7), (400, 30), (400, 33), (400, 60), (2000, 80)])
def test_the_verdict_is_that_of_the_binomial_distribution(n, n_over) -> None:
    found = bound_verdict(measured(calls(n, n_over)), P95)
    p_pass, p_fail = binom.cdf(n_over, n, 0.05), binom.sf(n_over - 1, n, 0.05)
    expected = "PASS" if p_pass <= 0.025 else "FAIL" if p_fail <= 0.025 else "UNDECIDED"
    assert (found.verdict, found.n, found.n_over) == (expected, n, n_over)
    if expected == "UNDECIDED":
        assert found.confidence is None
    else:
        assert found.confidence == pytest.approx(1 - min(p_pass, p_fail))


def test_a_protocol_that_may_go_on_asks_for_more_at_each_look() -> None:
    assert bound_verdict(measured(calls(72, 0), max_launches=15), P95).verdict == "UNDECIDED"
    assert bound_verdict(measured(calls(125, 0), max_launches=15), P95).verdict == "PASS"


def test_wrong_verdicts_are_rarer_than_they_may_be_even_with_a_look_after_each_launch() -> None:
    generator = np.random.default_rng(0)
    n_wrong = 0
    for _ in range(300):
        launches = [generator.choice([1.0, 3.0], 200, p=[0.95, 0.05]) for _ in range(6)]
        verdicts = [
            bound_verdict(measured(*launches[: n + 1], max_launches=6), P95).verdict for n in range(6)
        ]
        n_wrong += any(verdict != "UNDECIDED" for verdict in verdicts)
    assert n_wrong <= 15 + 10  # 5% of 300, and what chance adds


def test_launches_that_disagree_leave_it_undecided() -> None:
    found = bound_verdict(measured(calls(800, 0), calls(800, 0), calls(400, 45)), P95)
    assert (found.verdict, found.reason) == ("UNDECIDED", "launches disagree")


def test_blocks_can_show_that_a_tail_is_short_but_not_that_it_is_long() -> None:
    quick, slow = [0.01] * 400, [1.0] * 400
    assert bound_verdict(measured(quick, calls_per_block=10), P95).verdict == "PASS"
    found = bound_verdict(measured(slow, calls_per_block=10), P95)
    assert found.verdict == "UNDECIDED"
    assert "too short to time alone" in found.reason
    assert found.is_final
    assert found.confidence is None


def test_a_median_is_decided_from_blocks_too() -> None:
    assert (
        bound_verdict(measured([3.0] * 100, calls_per_block=10), LatencyBound(0.5, 0.002)).verdict == "FAIL"
    )


@pytest.mark.parametrize(("q", "limit_s"), [(0.0, 1.0), (1.0, 1.0), (0.5, 0.0), (0.5, float("nan"))])
def test_a_bound_that_cannot_be_is_refused(q, limit_s) -> None:
    with pytest.raises(ValueError, match="must be"):
        LatencyBound(q, limit_s)
