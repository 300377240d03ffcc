"""Verdicts on arrays whose truth is known."""

import math
from dataclasses import replace

import numpy as np
import pytest

from profilers import FakeProfiler, Measurement, Protocol, Runtime, Statistic
from profilers._comparison import Comparison, Verdict, compare_paired, compare_unpaired, verdict_of
from profilers._student import look_confidence, typical, typical_ratio

N_LAUNCHES, N_ROUNDS = 5, 8


def launches(seed: int, *, spread: float = 0.002, n: int = N_LAUNCHES) -> list[np.ndarray]:
    """Block medians around 1 ms: launches differ as much as rounds do."""
    generator = np.random.default_rng(seed)
    shifts, noise = generator.standard_normal((n, 1)), generator.standard_normal((n, N_ROUNDS))
    return list(1e-3 * np.exp(spread * (shifts + noise)))


def scaled(times: list[np.ndarray], factor: float) -> list[np.ndarray]:
    return [factor * part for part in times]


def saved(seed: int, n_launches: int = 5, *, factor: float = 1.0, path: str = "m", **changes) -> Measurement:
    """A measurement whose launches differ by about 0.2%."""
    shifts = factor * np.exp(0.002 * np.random.default_rng(seed).standard_normal(n_launches))
    fake = FakeProfiler(latency_s=lambda path, runtime, launch: np.full(40, 1e-3 * shifts[launch]))
    protocol = Protocol(launches=n_launches)
    return replace(fake.measure(path, Runtime(), protocol=protocol), **changes)


@pytest.mark.parametrize(
    ("factor", "verdict"), [(1.0, "SAME"), (1.05, "SLOWER"), (0.95, "FASTER"), (3.0, "SLOWER")]
)
def test_a_known_effect_gets_its_verdict(factor, verdict) -> None:
    comparison = compare_paired(launches(0), scaled(launches(1), factor))
    assert comparison.verdict == verdict
    assert comparison.effect.low <= factor <= comparison.effect.high


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (1 / 1.01, 1.01, "SAME"),
        (1.002, 1.009, "SAME"),
        (1.002, 1.0101, "SLOWER"),
        (0.9900, 0.9999, "FASTER"),
        (0.9902, 0.9999, "SAME"),
        (1.0, 1.02, "AMBIGUOUS"),
        (0.98, 1.0, "AMBIGUOUS"),
        (None, None, "AMBIGUOUS"),
    ],
)
def test_the_verdict_changes_at_its_bounds(low, high, verdict) -> None:
    assert verdict_of(Statistic(1.0, low, high, 5)) == verdict


def inverse(comparison: Comparison) -> tuple[float, float, float]:
    effect = comparison.effect
    return 1 / effect.value, 1 / effect.high, 1 / effect.low


def ends(comparison: Comparison) -> tuple[float, float, float]:
    return comparison.effect.value, comparison.effect.low, comparison.effect.high


def test_swapping_both_gives_the_inverse() -> None:
    a, b = launches(0), scaled(launches(1), 1.1)
    assert ends(compare_paired(b, a)) == pytest.approx(inverse(compare_paired(a, b)))
    assert ends(compare_unpaired(saved(0), saved(1))) == pytest.approx(
        inverse(compare_unpaired(saved(1), saved(0)))
    )


def test_the_order_of_launches_and_of_rounds_changes_nothing() -> None:
    a, b = launches(0), launches(1)
    expected = ends(compare_paired(a, b))
    assert ends(compare_paired(a[::-1], b[::-1])) == pytest.approx(expected)
    assert ends(compare_paired([x[::-1] for x in a], [x[::-1] for x in b])) == pytest.approx(expected)


def test_the_unit_of_time_changes_nothing() -> None:
    a, b = launches(0), launches(1)
    assert ends(compare_paired(scaled(a, 1e9), scaled(b, 1e9))) == pytest.approx(ends(compare_paired(a, b)))


def test_a_drift_that_hits_both_cancels() -> None:
    a, b = launches(0), scaled(launches(1), 1.02)
    drift = np.linspace(1, 2, N_ROUNDS)
    drifted = compare_paired([x * drift for x in a], [x * drift for x in b])
    assert ends(drifted) == pytest.approx(ends(compare_paired(a, b)))


def test_one_round_gone_wrong_changes_no_verdict() -> None:
    a, b = launches(0), launches(1)
    b[2][3] *= 100
    assert compare_paired(a, b).verdict == Verdict.SAME


def test_one_launch_never_gets_a_verdict_however_large_the_effect() -> None:
    alone = compare_paired([np.full(8, 1e-3)], [np.full(8, 9e-3)])
    assert alone.verdict == Verdict.AMBIGUOUS
    assert alone.effect.value == pytest.approx(9)
    assert "needs at least 2" in alone.effect.reason
    assert "single_launch" in alone.tags
    for counts in ((1, 5), (5, 1), (1, 1)):
        apart = compare_unpaired(saved(0, counts[0]), saved(1, counts[1], factor=9))
        assert apart.verdict == Verdict.AMBIGUOUS
        assert f"got {counts[0]} and {counts[1]}" in apart.effect.reason
        assert apart.n_launches == counts


def test_few_launches_are_tagged() -> None:
    assert compare_paired(launches(0, n=3), launches(1, n=3)).tags == ("few_launches",)
    assert compare_paired(launches(0), launches(1), tags=("contended",)).tags == ("contended",)


@pytest.mark.parametrize(
    ("reference", "candidate"),
    [
        ([], []),
        ([np.ones(3)], [np.ones(3), np.ones(3)]),
        ([np.ones(3)], [np.ones(4)]),
        ([np.ones(0)], [np.ones(0)]),
        ([np.array([1.0, 0.0])], [np.ones(2)]),
        ([np.array([1.0, math.nan])], [np.ones(2)]),
    ],
)
def test_what_cannot_be_compared_is_refused(reference, candidate) -> None:
    with pytest.raises(ValueError, match="must"):
        compare_paired(reference, candidate)


def test_equal_times_without_any_spread_are_the_same() -> None:
    same = [np.full(N_ROUNDS, 1e-3)] * 5
    assert ends(compare_paired(same, same)) == (1, 1, 1)


def test_saved_measurements_are_compared_by_their_launches() -> None:
    comparison = compare_unpaired(saved(0, path="a"), saved(1, 7, factor=1.05, path="b"))
    assert (comparison.reference, comparison.candidate) == ("a", "b")
    assert comparison.verdict == Verdict.SLOWER
    assert (comparison.how, comparison.n_launches, comparison.n_rounds) == ("unpaired", (5, 7), None)


def test_measurements_of_two_machines_are_never_compared() -> None:
    elsewhere = saved(1, environment={"identity": {"cpu_model": "another"}})
    with pytest.raises(ValueError, match="same machine"):
        compare_unpaired(saved(0), elsewhere)


def test_doubts_of_either_are_kept() -> None:
    moved = saved(1, assumed_dimensions=("sequence",))
    assert compare_unpaired(saved(0), moved).tags == ("assumed_dimensions",)


def test_inputs_of_other_shapes_are_tagged() -> None:
    short, long = ({"name": "x", "shape": [1, n]} for n in (8, 128))
    assert "inputs_differ" in compare_unpaired(saved(0, inputs=(short,)), saved(1, inputs=(long,))).tags
    assert compare_unpaired(saved(0, inputs=(short,)), saved(1, inputs=(short,))).tags == ()


def test_a_comparison_as_json_has_its_verdict_and_interval() -> None:
    document = compare_paired(launches(0), scaled(launches(1), 2), labels=("a", "b")).to_json()
    assert (document["reference"], document["candidate"], document["verdict"]) == ("a", "b", "SLOWER")
    assert document["effect"]["low"] < 2 < document["effect"]["high"]
    assert document["n_rounds"] == N_LAUNCHES * N_ROUNDS


# what the intervals promise


def drawn(kind: str, generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Noise of a kind; where it is not centred, it is so for both that are compared."""
    draw = {
        "normal": generator.standard_normal,
        "heavy": lambda size: generator.standard_t(2, size),
        "skewed": lambda size: generator.pareto(1.5, size),
        "two humps": lambda size: 10.0 * (generator.random(size) < 0.25) + generator.standard_normal(size),
    }
    return draw[kind](shape)


def differences(kind: str, n: int, n_launches: int, seed: int = 0) -> np.ndarray:
    """Medians over rounds of the differences of two equals, shape (n, n_launches)."""
    generator = np.random.default_rng(seed)
    shifts = drawn(kind, generator, (n, 2, n_launches, 1))
    noise = drawn(kind, generator, (n, 2, n_launches, N_ROUNDS))
    both = 0.01 * (shifts + noise)
    return np.median(both[:, 1] - both[:, 0], axis=2)


KINDS = ("normal", "heavy", "skewed", "two humps")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_launches", [3, 5, 10])
def test_paired_intervals_hold_the_truth(kind, n_launches) -> None:
    effects = [typical(row) for row in differences(kind, 4000, n_launches)]
    assert np.mean([effect.low <= 1 <= effect.high for effect in effects]) > 0.94  # 0.95 less 3 errors


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("counts", [(2, 5), (5, 5), (5, 15)])
def test_unpaired_intervals_hold_the_truth(kind, counts) -> None:
    generator = np.random.default_rng(0)
    effects = [
        typical_ratio(*(0.01 * drawn(kind, generator, (count,)) for count in counts)) for _ in range(4000)
    ]
    assert np.mean([effect.low <= 1 <= effect.high for effect in effects]) > 0.94


def first_verdict(row: np.ndarray, fewest: int, confidence: float) -> Verdict:
    """What one says who looks after each launch and stops at the first verdict."""
    looks = range(fewest, len(row) + 1)
    verdicts = (verdict_of(typical(row[:n], confidence=confidence)) for n in looks)
    return next((verdict for verdict in verdicts if verdict != Verdict.AMBIGUOUS), Verdict.AMBIGUOUS)


@pytest.mark.parametrize("kind", KINDS)
def test_stopping_at_the_first_verdict_finds_no_more_differences_than_it_may(kind) -> None:
    confidence = look_confidence(5, 15)
    found = [first_verdict(row, 5, confidence) for row in differences(kind, 1000, 15, seed=1)]
    wrong = np.mean([verdict in (Verdict.FASTER, Verdict.SLOWER) for verdict in found])
    assert wrong < 0.07  # 0.05 and 3 errors


def test_without_the_wider_level_it_would_find_them() -> None:
    found = [first_verdict(row, 5, 0.95) for row in differences("normal", 1000, 15, seed=1)]
    assert np.mean([verdict in (Verdict.FASTER, Verdict.SLOWER) for verdict in found]) > 0.1


def test_a_single_look_needs_no_wider_level() -> None:
    assert look_confidence(5, 5) == 0.95
    assert 0.95 < look_confidence(5, 6) < look_confidence(5, 15) < 1
    with pytest.raises(ValueError, match="fewest"):
        look_confidence(1, 5)
