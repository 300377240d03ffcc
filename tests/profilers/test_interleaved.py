"""Taking turns, with a profiler that follows a script; some tests run a real, tiny model."""

from collections.abc import Callable

import numpy as np
import pytest

from profilers import (
    QUICK,
    FakeProfiler,
    LaunchError,
    ModelError,
    OnnxRuntimeProfiler,
    Protocol,
    Runtime,
)
from profilers._interleaved import FEWEST_ROUNDS, FEWEST_SETS, Interleaved, compare_interleaved
from profilers._visits import FEWEST_SLOW_ROUNDS, Candidate
from tests.profilers import models

BRIEF = Protocol(launches=3, max_launches=3, min_time_s=0.01, warmup_budget_s=0.02)


def noisy(factor: float, spread: float = 0.001, seed: int = 0) -> Callable:
    """Calls of about 1 ms times the factor, each launch with a time of its own."""

    def latency_s(path: str, runtime: Runtime, launch: int) -> np.ndarray:
        shift = np.random.default_rng([seed, launch]).standard_normal()
        return np.full(10, 1e-3 * factor * np.exp(spread * shift))

    return latency_s


def scripted(label: str, factor: float = 1.0, *, spread: float = 0.001, **script) -> Candidate:
    fake = FakeProfiler(latency_s=noisy(factor, spread, seed=sum(label.encode())), **script)
    return Candidate(label=label, profiler=fake, model_path=f"{label}.onnx")


def verdicts(found: Interleaved) -> dict[str, str]:
    return {comparison.candidate: str(comparison.verdict) for comparison in found.comparisons}


def test_each_is_compared_with_the_first() -> None:
    found = compare_interleaved([scripted("a"), scripted("b"), scripted("c", 1.2), scripted("d", 0.8)])
    assert verdicts(found) == {"b": "SAME", "c": "SLOWER", "d": "FASTER"}
    assert {comparison.reference for comparison in found.comparisons} == {"a"}
    assert not found.failures


def test_it_ends_at_the_fewest_launches_where_all_is_clear() -> None:
    protocol = Protocol(launches=5, max_launches=15)
    found = compare_interleaved([scripted("a"), scripted("b", 2.0)], protocol=protocol)
    assert found.comparisons[0].n_launches == (5, 5)
    assert len(found.measurements["a"].launches) == len(found.block_medians_s["b"]) == 5


def test_it_goes_on_to_the_most_launches_where_nothing_gets_clear() -> None:
    protocol = Protocol(launches=5, max_launches=8)
    found = compare_interleaved([scripted("a", spread=0.3), scripted("b", spread=0.3)], protocol=protocol)
    assert verdicts(found) == {"b": "AMBIGUOUS"}
    assert found.comparisons[0].n_launches == (8, 8)


class Clock:
    """Goes on by so many seconds after each set."""

    def __init__(self, set_s: float) -> None:
        self.now_s, self._set_s = 0.0, set_s

    def __call__(self) -> float:
        return self.now_s

    def after_launch(self, *_) -> None:
        self.now_s += self._set_s


def test_the_budget_ends_it_but_never_before_the_fewest_launches() -> None:
    for set_s, n_launches in ((2.0, 8), (20.0, 5)):
        clock = Clock(set_s)
        found = compare_interleaved(
            [scripted("a", spread=0.3), scripted("b", spread=0.3)],
            protocol=Protocol(launches=5, max_launches=50, total_budget_s=7.0),
            clock=clock,
            after_launch=clock.after_launch,
        )
        assert found.comparisons[0].n_launches == (n_launches, n_launches)


def rounds_of(visit_s: float, *, protocol: Protocol = QUICK) -> list[int]:
    """Rounds of each launch where both candidates take so long for a visit."""
    clock = Clock(0.0)

    class Slow(FakeProfiler):
        def open(self, *words, **options):
            launch = super().open(*words, **options)
            visit = launch.visit

            def slowly() -> None:
                clock.now_s += visit_s
                visit()

            launch.visit = slowly
            return launch

    candidates = [Candidate(label=label, profiler=Slow(), model_path=label) for label in "ab"]
    found = compare_interleaved(candidates, protocol=protocol, clock=clock)
    assert [len(medians) for medians in found.block_medians_s["a"]] == [
        len(medians) for medians in found.block_medians_s["b"]
    ]
    return [len(medians) for medians in found.block_medians_s["a"]]


def test_rounds_of_slow_models_are_fewer_down_to_three() -> None:
    protocol = Protocol(launches=3, max_launches=3, min_time_s=0.4)
    assert rounds_of(0.04, protocol=protocol) == [10, 10, 10]
    assert rounds_of(0.11, protocol=protocol) == [10, 10, 10]
    assert rounds_of(0.21, protocol=protocol) == [6, 6, 6]
    assert rounds_of(5.0, protocol=protocol) == [FEWEST_SLOW_ROUNDS] * 3


def test_quick_has_few_launches_and_says_so() -> None:
    found = compare_interleaved([scripted("a"), scripted("b", 2.0)], protocol=QUICK)
    assert found.comparisons[0].n_launches == (FEWEST_SETS, FEWEST_SETS)
    assert found.comparisons[0].n_rounds == FEWEST_SETS * FEWEST_ROUNDS
    assert found.confidence == 0.95
    assert found.comparisons[0].tags == ("few_launches",)


def test_looking_again_and_again_widens_each_interval() -> None:
    once, often = (
        compare_interleaved(
            [scripted("a"), scripted("b", 2.0)], protocol=Protocol(launches=5, max_launches=most)
        )
        for most in (5, 15)
    )
    assert once.comparisons[0].n_launches == often.comparisons[0].n_launches
    assert once.comparisons[0].effect.low > often.comparisons[0].effect.low


def test_a_candidate_that_fails_is_named_and_the_others_are_compared() -> None:
    broken = scripted("broken", errors={2: LaunchError("died")})
    found = compare_interleaved([scripted("a"), broken, scripted("c", 1.2)])
    assert verdicts(found) == {"c": "SLOWER"}
    assert {label: str(error) for label, error in found.failures.items()} == {"broken": "died"}
    assert "broken" not in found.measurements
    assert broken.profiler.n_calls == 3


LONG = Protocol(launches=5, max_launches=8)


def test_a_candidate_that_fails_late_keeps_its_whole_launches() -> None:
    broken = scripted("broken", spread=0.3, errors={6: LaunchError("died")})
    found = compare_interleaved([scripted("a"), broken, scripted("c", spread=0.3)], protocol=LONG)
    assert [comparison.candidate for comparison in found.comparisons] == ["broken", "c"]
    assert [comparison.n_launches for comparison in found.comparisons] == [(6, 6), (8, 8)]
    assert list(found.failures) == ["broken"]
    assert len(found.measurements["broken"].launches) == len(found.block_medians_s["broken"]) == 6
    assert broken.profiler.n_calls == 7


@pytest.mark.parametrize("label", ["a", "b"])
def test_of_two_one_that_fails_late_ends_it_with_what_there_is(label) -> None:
    fails = {label: {5: LaunchError("died")}}
    found = compare_interleaved(
        [scripted(name, spread=0.3, errors=fails.get(name)) for name in "ab"], protocol=LONG
    )
    assert found.comparisons[0].n_launches == (5, 5)
    assert list(found.failures) == [label]
    assert sorted(len(found.measurements[name].launches) for name in "ab") == [5, 6]


def test_one_that_fails_before_the_fewest_launches_is_left_out() -> None:
    found = compare_interleaved(
        [scripted("a"), scripted("b", errors={4: LaunchError("died")}), scripted("c", 1.2)], protocol=LONG
    )
    assert verdicts(found) == {"c": "SLOWER"}
    assert set(found.measurements) == {"a", "c"}


def test_the_next_takes_the_place_of_a_reference_that_fails() -> None:
    broken = scripted("a", errors={0: ModelError("no model")})
    found = compare_interleaved([broken, scripted("b"), scripted("c")])
    assert [(item.reference, item.candidate) for item in found.comparisons] == [("b", "c")]


def test_with_fewer_than_two_left_it_ends_at_once() -> None:
    good = scripted("good")
    found = compare_interleaved([scripted("bad", errors={0: ModelError("no model")}), good])
    assert found.comparisons == ()
    assert good.profiler.n_calls == 1


class Recorder(FakeProfiler):
    """Notes who is opened and visited; visits of a label fail from a number on."""

    def __init__(self, label: str, log: list[str], *, fails_at: int | None = None) -> None:
        super().__init__(latency_s=noisy(1.0))
        self._label, self._log, self._fails_at = label, log, fails_at

    def open(self, *words, **options):
        self._log.append(f"open {self._label}")
        launch = super().open(*words, **options)
        visit, visits = launch.visit, iter(range(1000))

        def recorded() -> None:
            if next(visits) == self._fails_at:
                raise LaunchError("gone")
            self._log.append(self._label)
            visit()

        launch.visit = recorded
        return launch


def log_of(seed: int, **fails_at: int) -> list[str]:
    log: list[str] = []
    candidates = [
        Candidate(label=label, profiler=Recorder(label, log, fails_at=fails_at.get(label)), model_path=label)
        for label in "abc"
    ]
    compare_interleaved(candidates, protocol=QUICK, seed=seed)
    return log


def test_in_each_round_each_is_visited_once_in_random_order() -> None:
    first_set = log_of(0)[: 3 + 3 * FEWEST_ROUNDS]
    assert sorted(first_set[:3]) == ["open a", "open b", "open c"]
    rounds = [tuple(first_set[start : start + 3]) for start in range(3, len(first_set), 3)]
    assert all(sorted(order) == ["a", "b", "c"] for order in rounds)
    assert len(set(rounds)) > 1


def test_the_seed_decides_the_order() -> None:
    assert log_of(0) == log_of(0) != log_of(1)


def test_one_that_fails_within_a_round_is_visited_no_more() -> None:
    log = log_of(0, b=2)
    assert log.count("b") == 2
    assert log.count("open b") == 1
    assert log.count("a") == log.count("c") == FEWEST_SETS * FEWEST_ROUNDS


def test_progress_is_told_after_each_set() -> None:
    told: list[tuple[int, int]] = []
    compare_interleaved(
        [scripted("a"), scripted("b")],
        protocol=QUICK,
        after_launch=lambda n, comparisons: told.append((n, len(comparisons))),
    )
    assert told == [(1, 1), (2, 1), (3, 1)]


@pytest.mark.parametrize("labels", ["a", "aa"])
def test_too_few_or_unnamed_candidates_are_refused(labels) -> None:
    with pytest.raises(ValueError, match="at least two with a label each"):
        compare_interleaved([scripted(label) for label in labels])


def test_a_provider_that_is_not_there_is_the_callers_fault() -> None:
    elsewhere = Candidate(label="b", profiler=FakeProfiler(), model_path="b", runtime=Runtime(provider="npu"))
    with pytest.raises(ValueError, match="provider"):
        compare_interleaved([scripted("a"), elsewhere])


def test_a_visit_without_calls_is_a_failure_not_a_number() -> None:
    class Tired(FakeProfiler):
        def open(self, *words, **options):
            launch = super().open(*words, **options)
            closed = launch.closed
            launch.closed = lambda: (closed()[0], (10, 0))
            return launch

    tired = Candidate(label="b", profiler=Tired(), model_path="b")
    found = compare_interleaved([scripted("a"), tired, scripted("c")], protocol=QUICK)
    assert "faster after the warm-up" in str(found.failures["b"])


def test_the_typical_median_of_each_is_told_with_its_interval() -> None:
    found = compare_interleaved([scripted("a"), scripted("b", 2.0)])
    median = found.median_s("b")
    assert median.low < 2e-3 < median.high


def test_a_real_model_with_sixty_times_the_work_is_slower(tmp_path) -> None:
    small = models.chain(tmp_path / "small.onnx", width=64, depth=1)
    large = models.chain(tmp_path / "large.onnx", width=64, depth=60)
    candidates = [
        Candidate(label=path.stem, profiler=OnnxRuntimeProfiler(), model_path=path) for path in (small, large)
    ]
    found = compare_interleaved(candidates, protocol=BRIEF, visit_s=0.002, clock=lambda: 0.0)
    assert found.comparisons[0].effect.value > 1
    assert len(found.block_medians_s["small"][0]) == FEWEST_ROUNDS
    assert found.measurements["large"].model.sha256 != found.measurements["small"].model.sha256


def test_a_real_model_that_cannot_be_opened_leaves_the_others(tmp_path) -> None:
    paths = [models.chain(tmp_path / "a.onnx"), models.unknown_operator(tmp_path / "bad.onnx")]
    paths.append(models.chain(tmp_path / "c.onnx"))
    profiler = OnnxRuntimeProfiler()
    candidates = [Candidate(label=path.stem, profiler=profiler, model_path=path) for path in paths]
    found = compare_interleaved(candidates, protocol=BRIEF, visit_s=0.002)
    assert list(verdicts(found)) == ["c"]
    assert isinstance(found.failures["bad"], ModelError)
