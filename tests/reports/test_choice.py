from dataclasses import replace

import pytest

from moo.evaluation import Estimate
from moo.metrics import BUILT_IN
from reports._choice import choose
from reports._gains import gain
from reports._text import change_text
from tests.reports import samples

THREE = [(0.90, 0.001), (0.96, 0.002), (0.97, 0.010)]


def texts(choice):
    return dict(choice.points)


def test_the_recommendation_is_the_knee_of_the_front():
    assert choose(samples.pairs(THREE)).number == 1


def test_it_says_what_the_neighbours_on_the_front_give_and_cost():
    points = texts(choose(samples.pairs(THREE)))
    assert "Trial 2" in points["For more accuracy"]
    assert "1 points more accuracy, for 400% more latency p50" in points["For more accuracy"]
    assert "50% less latency p50, for 6 points less accuracy" in points["For less latency p50"]


def test_it_says_what_is_gained_against_the_baseline():
    choice = choose(samples.pairs([*THREE, (0.95, 0.004)], baseline=3))
    assert "50% less latency p50" in texts(choice)["Against the baseline"]
    assert [(fact.gain.text, fact.gain.verdict) for fact in choice.facts] == [
        ("+1 points", "better"),
        ("-50%", "better"),
    ]


def test_without_a_baseline_no_gain_is_stated():
    choice = choose(samples.pairs(THREE))
    assert "no gain is stated" in texts(choice)["Against the baseline"]
    assert [fact.gain for fact in choice.facts] == [None, None]


def test_the_baseline_itself_can_be_recommended():
    assert "is the baseline itself" in choose(samples.pairs(THREE, baseline=1)).why


def test_it_names_each_constraint_with_what_the_candidate_has():
    choice = choose(samples.constrained([(0.9, 0.001, -0.5)]))
    assert "latency_p95 <= 1 ms (it has 500 us)" in texts(choice)["Constraints"]


def test_intervals_of_one_launch_are_said_to_be_too_narrow():
    assert "single process launch" in texts(choose(samples.digits()))["How sure this is"]
    assert "single process launch" not in choose(samples.pairs(THREE)).why


def test_no_probability_is_claimed():
    assert "No probability" in choose(samples.digits()).why


def test_one_candidate_on_the_front_has_no_neighbours():
    assert "alone on the front" in choose(samples.pairs([(0.9, 0.001), (0.8, 0.002)])).why


def test_all_infeasible_names_the_smallest_total_violation_and_recommends_nothing():
    choice = choose(samples.constrained([(0.9, 0.002, 0.5), (0.8, 0.001, 0.2)]))
    assert choice.number is None
    assert choice.trial is not None
    assert choice.trial.number == 1
    assert "latency_p95 <= 1 ms is missed by 20%" in choice.why


def test_an_undecided_constraint_is_no_small_violation():
    results = samples.constrained([(0.9, 0.002, 0.5), (0.8, 0.001, 0.2)])
    second = replace(results.problem.constraints[0], amount=0.5)
    problem = replace(results.problem, constraints=(*results.problem.constraints, second))
    first = replace(results.trials[0], violations={**results.trials[0].violations, second.key: -0.1})
    choice = choose(replace(results, problem=problem, trials=(first, results.trials[1]), bounds=(0.001, 0.5)))
    assert choice.trial is not None
    assert choice.trial.number == 0


def test_without_a_complete_trial_it_says_so_with_the_reasons():
    choice = choose(samples.no_complete())
    assert choice.number is None
    assert "None of the 3 trials is complete" in choice.why
    assert "1 x export: no such operator" in choice.why


def test_an_empty_study_says_so():
    assert "no finished trial" in choose(samples.pairs([])).why


def test_an_infinite_value_is_never_recommended():
    assert choose(samples.pairs([(0.99, float("inf")), (0.9, 0.001), (0.95, 0.002)])).number != 0


def test_equal_candidates_are_no_neighbours():
    choice = choose(samples.pairs([(0.9, 0.001), (0.9, 0.001)]))
    assert not [heading for heading, _ in choice.points if heading.startswith("For")]


@pytest.mark.parametrize("n_objectives", [1, 2, 3, 4, 5])
def test_every_number_of_objectives_gets_a_recommendation(n_objectives):
    results = samples.many_objectives(n_objectives)
    choice = choose(results)
    assert choice.trial in results.front
    assert len(choice.facts) == n_objectives


def test_overlapping_intervals_are_said_to_overlap():
    results = samples.pairs([(0.90, 0.001), (0.91, 0.002)], baseline=0)
    wide = {"accuracy": Estimate(0.91, 0.89, 0.93), "latency_p50": Estimate(0.002)}
    second = replace(results.trials[1], evaluation=replace(results.trials[1].evaluation, metrics=wide))
    results = replace(results, trials=(results.trials[0], second))
    found = [gain(results, second, objective) for objective in results.problem.objectives]
    assert [each.is_clear for each in found] == [False, True]


@pytest.mark.parametrize(
    ("value", "origin", "metric", "expected"),
    [
        (0.5, 1.0, "latency_p50", "50% less latency p50"),
        (1.0, 1.0, "latency_p50", "the same latency p50"),
        (1.0001, 1.0, "latency_p50", "the same latency p50"),
        (1.001, 1.0, "latency_p50", "0.1% more latency p50"),
        (20.0, 1.0, "latency_p50", "20 times the latency p50"),
        (1.0, 0.0, "latency_p50", "1 s more latency p50"),
        (50, 100, "parameters", "50% fewer parameters"),
        (0.97, 0.97, "accuracy", "the same accuracy"),
        (0.9, 0.97, "accuracy", "7 points less accuracy"),
    ],
)
def test_a_change_reads_in_words(value, origin, metric, expected):
    assert change_text(value, origin, BUILT_IN[metric]) == expected
