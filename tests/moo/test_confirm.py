"""The second look: draws from launches, who is launched again, who is chosen, what is said of the fallen."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from moo.confirmation import (
    FEWEST_ROUNDS,
    Measured,
    Race,
    RoundLaunch,
    assess,
    choose_candidates,
    fallen,
    is_undecided,
    retraining_seed,
    spread,
)
from moo.confirmation._launches import RoundWeights, launch_draws, launch_value
from moo.evaluation import Estimate, Evaluation
from moo.problem import Problem
from moo.results import FinishedTrial, Results
from moo.samplers import trial_seed

TWO = Problem.parse(maximize=["accuracy"], minimize=["latency_p50"])
BOUNDED = Problem.parse(
    maximize=["accuracy"], minimize=["latency_p50"], constraints=["latency_p95 <= 1 ms", "parameters <= 9 k"]
)


def launches(medians_s, *, spread_s: float = 0.0, n: int = 40, generator=None) -> list[RoundLaunch]:
    generator = generator or np.random.default_rng(0)
    made = []
    for number, median in enumerate(medians_s):
        calls = median * np.exp(spread_s * generator.standard_normal(n))
        samples = {"latency_p50": calls, "latency_p95": calls, "throughput": calls}
        made.append(RoundLaunch(round=number, samples=samples))
    return made


def measured(number: int, accuracy: float, medians_s, **changes) -> Measured:
    estimates = {"accuracy": Estimate.exact(accuracy), "parameters": Estimate.exact(5000)}
    return Measured(number=number, estimates=estimates, launches=launches(medians_s), **changes)


# draws


def test_paired_draws_agree_with_students_t_on_the_differences() -> None:
    generator, errors = np.random.default_rng(3), []
    for _ in range(40):
        drift, n = generator.normal(0, 0.1, 8), 8
        one, two = (drift + generator.normal(0, 0.02, n) + shift for shift in (0.0, 0.01))
        rounds = RoundWeights.draw(n, 1500, generator)
        # the median of medians is not their mean, so the rate, one over a mean, is the statistic to compare
        rates = [
            launch_draws(launches(1e-3 * np.exp(logs), n=1), "throughput", rounds, generator)
            for logs in (one, two)
        ]
        difference = two - one
        t = difference.mean() / (difference.std(ddof=1) / np.sqrt(n))
        errors.append(np.mean(rates[0] > rates[1]) - stats.t.cdf(t, 6))  # eight rounds are seven runs
    assert np.abs(errors).mean() < 0.06


def test_of_equal_candidates_few_are_told_apart_whatever_drifts() -> None:
    """Brute force: the experiment over and over; a wrong verdict at 5% on either side is rare."""
    generator, n_wrong, n_cases = np.random.default_rng(1), 0, 150
    for _ in range(n_cases):
        drift = generator.normal(0, 0.05, FEWEST_ROUNDS)
        pair = [1e-3 * np.exp(drift + generator.normal(0, 0.05, FEWEST_ROUNDS)) for _ in range(2)]
        rounds = RoundWeights.draw(FEWEST_ROUNDS, 400, generator)
        one, two = (
            launch_draws(
                launches(medians, spread_s=0.05, generator=generator), "latency_p50", rounds, generator
            )
            for medians in pair
        )
        p = np.mean(one < two)
        n_wrong += p < 0.05 or p > 0.95
    assert n_wrong / n_cases < 0.14  # 10% is what two limits of 5% mean; 0.14 is two standard errors above


def test_a_drift_that_all_rounds_share_hides_no_difference() -> None:
    drift = np.array([1.0, 1.5, 0.7, 2.0, 1.2, 0.9])
    found = assess(
        Problem.parse(minimize=["latency_p50"]),
        [measured(0, 0.9, 1e-3 * drift), measured(1, 0.9, 1.02e-3 * drift)],
        n_draws=400,
        seed=0,
    )
    assert found.probability.p_on_front.tolist() == [1.0, 0.0]


@given(
    st.lists(st.integers(1, 1000), min_size=1, max_size=30),
    st.integers(1, 4),
    st.sampled_from([("latency_p50", 0.5), ("latency_p95", 0.95)]),
)
def test_of_equal_launches_the_value_is_the_pooled_order_statistic(values, n, case) -> None:
    metric, q = case
    arrays = [np.array(values, dtype=np.float64) * (1 + index) for index in range(n)]
    made = [RoundLaunch(round=i, samples={metric: array}) for i, array in enumerate(arrays)]
    pooled = np.sort(np.concatenate(arrays))
    expected = next(x for x in pooled if np.mean(pooled <= x) >= q - 1e-12)
    assert launch_value(made, metric) == expected


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(3)), st.floats(0.1, 10))
def test_order_and_unit_of_the_candidates_change_no_probability(order, factor) -> None:
    medians = [[1e-3, 1.1e-3, 1.3e-3, 0.9e-3, 1e-3], [1.05e-3] * 5, [1.2e-3, 0.8e-3, 1e-3, 1e-3, 1.1e-3]]

    def p_of(order, factor):
        them = [measured(i, [0.9, 0.91, 0.9][i], factor * np.array(medians[i])) for i in order]
        found = assess(TWO, them, n_draws=200, seed=4).probability.p_on_front
        return dict(zip(order, found, strict=True))

    assert p_of(order, factor) == pytest.approx(p_of(range(3), 1.0), abs=0.011)


def test_scores_on_the_same_samples_are_told_apart_by_their_differences() -> None:
    generator = np.random.default_rng(0)
    right = generator.random(400) < 0.8
    better = right.copy()
    better[np.flatnonzero(~right)[:12]] = True  # right wherever the other is, and on 12 more
    pair = [
        measured(number, correct.mean(), [1e-3] * 5, correct={"accuracy": correct})
        for number, correct in enumerate((right, better))
    ]
    found = assess(TWO, pair, n_draws=1000, seed=0)
    assert found.sources["accuracy"] == "samples"
    assert found.probability.p_on_front[0] < 0.001  # by two separate intervals it would be a half


def test_a_bound_relative_to_the_baseline_moves_with_it() -> None:
    problem = Problem.parse(minimize=["parameters"], constraints=["latency_p50 <= 0.9 x baseline"])
    drift = np.array([1.0, 1.6, 0.8, 1.3, 2.0])
    pair = [
        measured(0, 0.9, 1e-3 * drift, is_baseline=True),
        measured(1, 0.9, 0.85e-3 * drift),
        measured(2, 0.9, 0.95e-3 * drift),
    ]
    assert assess(problem, pair, n_draws=300, seed=0).probability.p_feasible.tolist() == [0.0, 1.0, 0.0]


def test_without_the_baseline_its_bound_is_that_of_the_study() -> None:
    problem = Problem.parse(minimize=["parameters"], constraints=["latency_p50 <= 0.9 x baseline"])
    one = [measured(1, 0.9, [1e-3] * 5)]
    assert assess(problem, one, n_draws=9, seed=0, bounds=[2e-3]).probability.p_feasible.tolist() == [1.0]
    with pytest.raises(ValueError, match="the baseline's latency_p50 is not known"):
        assess(problem, one, n_draws=9, seed=0, bounds=[None])


def test_a_metric_of_which_nothing_is_known_is_an_error() -> None:
    lost = Measured(number=3, estimates={"accuracy": Estimate(None)}, launches=launches([1e-3] * 5))
    with pytest.raises(ValueError, match="accuracy: nothing is known of it in trial 3"):
        assess(TWO, [lost], n_draws=9, seed=0)


# racing


class Scripted:
    """Launches by script; remembers who was launched in which round, and which rounds were kept."""

    def __init__(self, latency_s, accuracy, *, fails=()):
        self.latency_s, self.accuracy, self.fails = latency_s, accuracy, set(fails)
        self.made: dict[int, list[RoundLaunch]] = {number: [] for number in latency_s}
        self.order: dict[int, list[int]] = {}
        self.kept: list[int] = []
        self.out: set[int] = set()

    def launch(self, number: int, round_number: int) -> bool:
        self.order.setdefault(round_number, []).append(number)
        if (number, round_number) in self.fails:
            self.out.add(number)
            return False
        calls = np.atleast_1d(self.latency_s[number](round_number))
        self.made[number].append(RoundLaunch(round=round_number, samples={"latency_p50": calls}))
        return True

    def assess(self):
        numbers = [number for number in self.latency_s if number not in self.out]
        them = [
            Measured(
                number=number,
                estimates={"accuracy": Estimate.exact(self.accuracy[number])},
                launches=self.made[number],
            )
            for number in numbers
        ]
        return assess(TWO, them, n_draws=400, seed=0), numbers

    def race(self, **changes):
        def keep(number, order):
            assert order == self.order[number]
            self.kept.append(number)

        race = Race(launch=self.launch, assess=self.assess, keep=keep, seed=5)
        return dataclasses.replace(race, **changes).run(list(self.latency_s))


def noisy(median_s: float, seed: int, sd: float = 0.1):
    return lambda number: median_s * np.exp(np.random.default_rng([seed, number]).normal(0, sd)) * np.ones(20)


def near_tie(**changes) -> Scripted:
    """0 is far ahead, 1 and 2 too near to tell, 3 far behind."""
    latency_s = {0: noisy(1e-3, 0), 1: noisy(2e-3, 1), 2: noisy(2e-3, 2), 3: noisy(9e-3, 3)}
    return Scripted(latency_s, {0: 0.80, 1: 0.90, 2: 0.90, 3: 0.85}, **changes)


def test_all_take_part_in_five_rounds_and_then_only_the_undecided() -> None:
    script = near_tie()
    end = script.race(most_launches=40)
    assert end in ("launches", "decided")
    assert all(sorted(script.order[number]) == [0, 1, 2, 3] for number in range(FEWEST_ROUNDS))
    later = [script.order[number] for number in script.order if number >= FEWEST_ROUNDS]
    assert later
    assert all(set(order) <= {1, 2} for order in later)
    assert script.kept == sorted(script.order)


def test_the_order_is_each_rounds_own_and_the_same_again() -> None:
    first, second = near_tie(), near_tie()
    first.race(most_launches=30)
    second.race(most_launches=30)
    assert first.order == second.order
    assert len({tuple(first.order[number]) for number in range(FEWEST_ROUNDS)}) > 1


def test_nothing_in_doubt_ends_the_race_after_five_rounds() -> None:
    latency_s = {0: noisy(1e-3, 0, 0.01), 1: noisy(2e-3, 1, 0.01)}
    script = Scripted(latency_s, {0: 0.8, 1: 0.9})
    assert script.race() == "decided"
    assert max(script.order) == FEWEST_ROUNDS - 1


@pytest.mark.parametrize(
    ("change", "end"), [({"is_late": lambda: True}, "time"), ({"most_launches": 1}, "launches")]
)
def test_a_budget_never_takes_the_first_five_rounds(change, end) -> None:
    script = near_tie()
    assert script.race(**change) == end
    assert max(script.order) == FEWEST_ROUNDS - 1


def test_a_round_that_is_cut_off_is_not_kept() -> None:
    script = near_tie()
    asked = itertools.count()
    assert script.race(should_stop=lambda: next(asked) >= 6) == "stopped"
    assert script.kept == [0]
    assert len(script.order[1]) == 2


def test_a_candidate_that_fails_is_out_and_the_others_go_on() -> None:
    script = near_tie(fails={(3, 2)})
    script.race(most_launches=30)
    assert 3 in script.order[2]
    assert all(3 not in script.order[number] for number in script.order if number > 2)
    assert len(script.made[0]) == FEWEST_ROUNDS


def test_doubt_that_rests_on_scores_alone_is_worth_no_launch() -> None:
    generator = np.random.default_rng(2)
    right = {number: generator.random(50) < 0.8 for number in (0, 1)}
    pair = [
        measured(number, 0.8, [latency] * 5, correct={"accuracy": right[number]})
        for number, latency in ((0, 1e-3), (1, 2e-3))
    ]
    found = assess(TWO, pair, n_draws=1000, seed=0)
    assert 0.05 < found.probability.p_on_front[1] < 0.95
    assert is_undecided(found).tolist() == [False, False]


# who is chosen


def trial(number: int, accuracy: float, latency_s: float, **changes) -> FinishedTrial:
    half = 0.02 * latency_s
    metrics = {
        "accuracy": Estimate.exact(accuracy),
        "latency_p50": Estimate(latency_s, latency_s - half, latency_s + half),
    }
    made = FinishedTrial(
        number=number,
        state="complete",
        params={},
        evaluation=Evaluation(metrics=metrics, tags=("ok",)),
    )
    return dataclasses.replace(made, **changes)


def results(*trials: FinishedTrial, problem: Problem = TWO) -> Results:
    return Results("study", problem, trials, tuple(c.amount for c in problem.constraints))


def test_the_front_and_what_may_be_on_it_are_chosen_and_the_baseline_always() -> None:
    found = choose_candidates(
        results(
            trial(0, 0.70, 5e-3, is_baseline=True),
            trial(1, 0.90, 1.00e-3),
            trial(2, 0.90, 1.02e-3),  # behind 1 by one standard error of the difference or so
            trial(3, 0.90, 1.50e-3),
            trial(4, 0.95, 2.00e-3),
        ),
        correct={},
        seed=0,
    )
    roles = {candidate.trial.number: candidate.role for candidate in found.candidates}
    assert roles == {1: "front", 4: "front", 2: "neighbour", 0: "baseline"}
    p = {candidate.trial.number: candidate.p_on_front for candidate in found.candidates}
    generator = np.random.default_rng(0)  # by brute force: 2 is on the front where it is faster than 1
    one, two = (v * (1 + 0.02 / 1.96 * generator.standard_normal(100_000)) for v in (1.0, 1.02))
    assert p[2] == pytest.approx(np.mean(two < one), abs=0.04)


def test_one_launch_hides_the_spread_between_launches_so_its_interval_is_widened() -> None:
    them = [trial(1, 0.9, 1e-3), trial(2, 0.9, 1.06e-3)]
    alone = [
        dataclasses.replace(one, evaluation=dataclasses.replace(one.evaluation, tags=("single_launch",)))
        for one in them
    ]
    assert len(choose_candidates(results(*them), correct={}, seed=0).candidates) == 1
    assert len(choose_candidates(results(*alone), correct={}, seed=0).candidates) == 2


def test_a_trial_that_may_be_feasible_after_all_is_near() -> None:
    problem = Problem.parse(maximize=["accuracy"], constraints=["latency_p50 <= 1 ms"])

    def made(number, accuracy, latency_s):
        violations = {"latency_p50 <= 1 ms": latency_s / 1e-3 - 1}
        return trial(number, accuracy, latency_s, violations=violations)

    found = choose_candidates(
        results(made(0, 0.8, 0.5e-3), made(1, 0.9, 1.01e-3), made(2, 0.95, 3e-3), problem=problem),
        correct={},
        seed=0,
    )
    assert [candidate.trial.number for candidate in found.candidates] == [0, 1]


def test_the_cap_is_told_and_takes_neighbours_first() -> None:
    them = [
        trial(1, 0.90, 1e-3),
        trial(2, 0.90, 1.01e-3),
        trial(3, 0.95, 2e-3),
        trial(0, 0.5, 9e-3, is_baseline=True),
    ]
    found = choose_candidates(results(*them), correct={}, seed=0, most=2)
    assert {candidate.trial.number for candidate in found.candidates} == {0, 1, 3}
    assert found.left_out == (2,)


def test_no_feasible_trial_means_no_candidate() -> None:
    violated = trial(0, 0.9, 1e-3, violations={"latency_p95 <= 1 ms": 0.5, "parameters <= 9 k": -0.1})
    assert choose_candidates(results(violated, problem=BOUNDED), correct={}, seed=0).candidates == ()


# what is said


def test_who_fell_off_is_told_by_its_rival_or_by_the_bound() -> None:
    three = [measured(4, 0.9, [0.5e-3] * 5), measured(7, 0.8, [0.6e-3] * 5), measured(9, 0.95, [2e-3] * 5)]
    found = assess(BOUNDED, three, n_draws=200, seed=0)
    assert fallen(BOUNDED, found, [4, 7, 9], 1, {}) == "dominated by trial 4 in 100% of draws"
    known = {"latency_p95": Estimate(2e-3, 1.9e-3, 2.1e-3)}
    text = fallen(BOUNDED, found, [4, 7, 9], 2, known)
    assert text == "violates latency_p95 <= 1 ms in 100% of draws: 2 ms [1.9, 2.1]"


def test_seeds_of_retraining_are_new_and_repeatable() -> None:
    seeds = [retraining_seed(7, number, index) for number in range(20) for index in range(5)]
    assert len(set(seeds)) == 100
    assert not set(seeds) & {trial_seed(7, number) for number in range(200)}
    assert seeds[:5] == [retraining_seed(7, 0, index) for index in range(5)]


@given(st.lists(st.floats(0, 1), min_size=2, max_size=9))
def test_spread_is_mean_and_sample_deviation(values) -> None:
    found = spread(values)
    assert found["mean"] == pytest.approx(np.mean(values))
    assert found["sd"] == pytest.approx(np.std(values, ddof=1))


def test_no_value_has_no_mean() -> None:
    assert spread([])["mean"] is None


def test_the_front_table_takes_its_probabilities_from_the_stored_confirmation() -> None:
    record = {
        "candidates": [
            {"trial": 1, "confirmed": {"p_on_front": 0.97, "p_feasible": 1.0}},
            {"trial": 4, "confirmed": None},
        ]
    }
    them = (trial(1, 0.9, 1e-3), trial(4, 0.95, 2e-3), trial(5, 0.99, 3e-3))
    table = dataclasses.replace(results(*them), confirmation=record).front_table()
    by_trial = table.set_index("trial")
    assert by_trial.loc[1, ["p_on_front", "p_feasible"]].tolist() == [0.97, 1.0]
    assert by_trial.loc[[4, 5], "p_on_front"].isna().all()
