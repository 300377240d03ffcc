import json
from dataclasses import replace

import pytest

from moo.decision import WeightRange
from moo.evaluation import Estimate
from moo.metrics import BUILT_IN, Metric
from moo.problem import Problem
from reports._choice import choose
from reports._firmness import share_text
from reports._gains import changes_text, gain
from reports._record import report_json
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
    assert points["Runner-up"] == (
        "Trial 0, also the nearest on the front with less latency p50, has 50% less latency p50, for 6 "
        "points less accuracy."
    )


def test_it_says_what_its_weakest_objective_is_and_how_far_off():
    why = texts(choose(samples.pairs(THREE)))["Why this one"]
    assert "accuracy, 14% of the way from the front's best (97%) to its worst (90%)" in why
    assert "factors" not in why
    wide = texts(choose(samples.pairs([*THREE, (0.5, 0.0001)])))["Why this one"]
    assert "more than a factor 10: latency p50." in wide


def test_it_says_for_which_weights_it_stays_and_who_is_better_beyond():
    text = texts(choose(samples.pairs(THREE)))["For which weights"]
    assert "as long as accuracy counts for 10% to 87% of the decision and latency p50 for the rest" in text
    assert "below that trial 0 is better, above that trial 2 is better." in text
    assert "slightly" not in text
    close = texts(choose(samples.bounded()))["For which weights"]
    assert "45% to 53%" in close
    assert close.endswith("That is close: slightly other weights change it.")


def test_three_objectives_have_a_range_each():
    text = texts(choose(samples.digits()))["For which weights"]
    for title in ("accuracy for ", "latency p50 for ", "parameters for "):
        assert title in text


def test_what_is_best_whatever_the_weights_says_so():
    assert "whatever share" in choose(samples.pairs([(0.9, 0.001)] * 2)).why
    assert "For which weights" not in texts(choose(samples.pairs(THREE[:1])))


@pytest.mark.parametrize(
    ("low", "weight", "high", "expected"),
    [
        (0.2031, 0.5, 0.6449, "21% to 64%"),
        (0.0, 0.5, 0.6449, "at most 64%"),
        (0.2031, 0.5, 1.0, "at least 21%"),
        (0.0, 0.5, 1.0, "any share"),
        (0.3312, 1 / 3, 0.3348, "33.2% to 33.4%"),
        (1 / 3, 1 / 3, 1 / 3, "33.3333% to 33.3333%"),
    ],
)
def test_a_range_of_a_weight_is_rounded_inwards(low, weight, high, expected):
    assert share_text(WeightRange(weight, low, high, None, None)) == expected


def test_it_says_what_is_gained_against_the_baseline():
    choice = choose(samples.pairs([*THREE, (0.95, 0.004)], baseline=3))
    assert "50% less latency p50" in texts(choice)["Against the baseline"]
    assert [(fact.gain.text, fact.gain.verdict) for fact in choice.facts] == [
        ("+1 points", "better"),
        ("-50%", "better"),
    ]


def test_scores_on_the_same_samples_are_compared_sample_by_sample():
    results = samples.pairs([*THREE, (0.95, 0.004)], baseline=3)
    best = choose(results).trial
    trials = tuple(replace(t, paired={"accuracy": [360, 3, 10]} if t is best else {}) for t in results.trials)
    choice = choose(replace(results, trials=trials))
    assert (
        "On the same 360 samples accuracy differs by -1.9 points [-3.9, 0.1], p = 0.092: "
        "it alone is right on 3 of them, the baseline alone on 10."
    ) in texts(choice)["Against the baseline"]
    recorded = json.loads(report_json(replace(results, trials=trials), choice))["candidates"]
    paired = [one["paired_with_baseline"] for one in recorded if one["paired_with_baseline"]]
    assert [one["accuracy"]["n_worse"] for one in paired] == [10]


def test_without_a_baseline_no_gain_is_stated():
    choice = choose(samples.pairs(THREE, distributions={"width": {}}))
    assert "no gain is stated" in texts(choice)["Against the baseline"]
    assert [fact.gain for fact in choice.facts] == [None, None]
    assert "Against the baseline" not in texts(choose(samples.pairs(THREE)))  # a table has none


def test_the_baseline_itself_can_be_recommended():
    assert "is the baseline itself" in choose(samples.pairs(THREE, baseline=1)).why


def test_it_names_each_constraint_with_what_the_candidate_has():
    choice = choose(samples.constrained([(0.9, 0.001, -0.5)]))
    assert (
        texts(choice)["Constraints"]
        == "It keeps latency p95 \N{LESS-THAN OR EQUAL TO} 1 ms (it has 500 us), 50% to spare."
    )


def test_a_bound_on_a_fraction_has_a_margin_in_points():
    assert "3.7 points to spare" in texts(choose(samples.bounded()))["Constraints"]


def test_an_interval_that_reaches_beyond_a_bound_is_said_to():
    results = samples.constrained([(0.9, 0.001, -0.1)])
    wide = {**results.trials[0].evaluation.metrics, "latency_p95": Estimate(9e-4, 8e-4, 1.1e-3)}
    trial = replace(results.trials[0], evaluation=replace(results.trials[0].evaluation, metrics=wide))
    text = texts(choose(replace(results, trials=(trial,))))["Constraints"]
    assert "10% to spare, though its interval reaches beyond the bound" in text


def test_it_says_which_wider_bound_brings_which_candidate_and_which_tighter_one_rules_it_out():
    text = texts(choose(samples.constrained([(0.9, 0.002, 0.5), (0.8, 0.001, -0.2)])))["What would change it"]
    assert (
        "bound on latency p95 at about 1.5 ms, wider by 50%, it would be trial 0, which has 10 points" in text
    )
    assert "tighter than about 800 us on latency p95 rules it out" in text
    near = [(0.90, 0.001, -0.2), (0.94, 0.0014, -0.2), (0.96, 0.00158, -0.2), (0.97, 0.002, -0.2)]
    moved = texts(choose(samples.constrained([*near, (0.999, 0.0021, 0.3)])))["What would change it"]
    assert "it would be the runner-up, trial 2 (it keeps the bounds already" in moved
    assert "(it keeps the bounds already; what comes in then changes the scale)." in moved
    alone = texts(choose(samples.constrained([(0.9, 0.001, -0.2)])))["What would change it"]
    assert "A wider bound would not change it." in alone


def test_a_label_is_what_a_candidate_is_called():
    results = samples.pairs(THREE)
    named = tuple(replace(t, label=f"net-{t.number}") for t in results.trials)
    choice = choose(replace(results, trials=named))
    assert choice.headline == "Recommended: net-1"
    assert "trial" not in choice.why.lower()
    assert "net-2, the nearest such candidate" in choice.why


def test_a_running_study_is_said_to_be_one():
    assert "3 trials are still running" in choose(samples.pairs(THREE, n_running=3)).why
    assert "1 trial is still running" in choose(samples.pairs([], n_running=1)).why


def test_intervals_of_one_launch_are_said_to_be_too_narrow():
    assert "single process launch" in texts(choose(samples.digits()))["How sure this is"]
    assert "single process launch" not in choose(samples.pairs(THREE)).why


def test_what_is_not_confirmed_says_so_and_what_command_does_it():
    text = texts(choose(samples.digits()))["How sure this is"]
    assert "Not confirmed" in text
    assert "is not known yet" in text
    assert "`moo confirm` measures the front again" in text
    table = texts(choose(samples.pairs(THREE)))["How sure this is"]
    assert "no model here to measure again" in table


def entry(number, **changes):
    verdict = {"verdict": "on", "p_on_front": 0.971, "p_feasible": 0.999, "reason": None}
    metrics = {
        "accuracy": {"search": {"value": 0.96, "low": None, "high": None}, "confirmed": None},
        "latency_p50": {
            "search": {"value": 0.002, "low": None, "high": None},
            "confirmed": {"value": 0.0021, "low": 0.00205, "high": 0.00216},
        },
    }
    found = {"trial": number, "confirmed": verdict, "refused": None, "n_launches": 12, "metrics": metrics}
    return {**found, "retrained": None, "test": None, **changes}


def confirmed(*entries, openings=(), points=THREE):
    confirmation = {"candidates": list(entries), "test_opened": list(openings), "notes": []}
    return choose(samples.pairs(points, confirmation=confirmation))


def test_a_confirmed_candidate_has_probabilities_and_the_values_measured_again():
    choice = confirmed(entry(1))
    assert texts(choice)["How sure this is"] == (
        "Confirmed in 12 fresh launches: P(on the front) 0.97, P(feasible) > 0.99. "
        "Measured again: latency p50 2.1 ms [2.05, 2.16] (the search had 2 ms)."
    )
    assert texts(choice)["Test data"] == "They were not opened."


def test_test_scores_and_other_seeds_are_told_apart_from_the_search():
    spread = {"n": 3, "mean": 0.955, "sd": 0.004, "values": []}
    again = {
        "failures": [],
        "validation": {"accuracy": spread},
        "test": {"accuracy": {**spread, "mean": 0.9}},
    }
    text = texts(confirmed(entry(1, retrained=again, test={"accuracy": Estimate(0.91, 0.9, 0.92).to_json()})))
    assert "On test data: accuracy 91% [90, 92]." in text["How sure this is"]
    assert "on validation data: accuracy 95.5% +- 0.4 points (3 seeds)." in text["How sure this is"]
    assert "on test data: accuracy 90% +- 0.4 points (3 seeds)." in text["How sure this is"]
    failed = texts(confirmed(entry(1, test={"failure": "score: NaN"})))["How sure this is"]
    assert "could not be scored on test data: score: NaN." in failed


def test_an_undecided_verdict_says_why():
    verdict = {
        "verdict": "undecided",
        "p_on_front": 0.6,
        "p_feasible": 1.0,
        "reason": "dominated by trial 0 in 40%",
    }
    text = texts(confirmed(entry(1, confirmed=verdict)))["How sure this is"]
    assert "P(on the front) 0.60, P(feasible) > 0.99. That is undecided: dominated by trial 0 in 40%." in text


def test_a_candidate_that_the_confirmation_left_out_or_refused_says_so():
    assert "was not among those measured again" in confirmed(entry(0)).why
    refused = entry(1, confirmed=None, refused="the artefact is gone")
    assert "could not be measured again: the artefact is gone." in confirmed(refused).why


OFF = {"verdict": "off", "p_on_front": 0.01, "p_feasible": 1.0, "reason": "dominated by trial 0 in 99%"}


def test_who_is_ruled_out_is_named_with_the_reason_and_another_is_recommended():
    choice = confirmed(entry(1, confirmed=OFF))
    assert choice.number != 1
    assert texts(choice)["Ruled out"] == (
        "Trial 1: measured again, it is off the front: dominated by trial 0 in 99%."
    )


def test_where_everyone_is_ruled_out_nobody_is_recommended():
    choice = confirmed(entry(0, confirmed=OFF), points=THREE[:1])
    assert choice.number is None
    assert "rules out every feasible candidate" in choice.why
    assert "Trial 0: measured again" in choice.why


def test_test_data_that_were_opened_are_stated_and_opened_again_too():
    opening = {"time": "2026-01-02", "trials": [1], "again": False}
    assert texts(confirmed(entry(1), openings=[opening]))["Test data"] == (
        "Test data opened once: 2026-01-02 for trials 1."
    )
    twice = texts(choose(samples.pairs(THREE, test_opened=(opening, {**opening, "again": True}))))[
        "Test data"
    ]
    assert "opened 2 times" in twice
    assert "too much good" in twice


def test_one_candidate_on_the_front_has_no_neighbours():
    assert "alone on the front" in choose(samples.pairs([(0.9, 0.001), (0.8, 0.002)])).why


def test_all_infeasible_names_the_smallest_total_violation_and_recommends_nothing():
    choice = choose(samples.constrained([(0.9, 0.002, 0.5), (0.8, 0.001, 0.2)]))
    assert choice.number is None
    assert choice.trial is not None
    assert choice.trial.number == 1
    assert "latency p95 \N{LESS-THAN OR EQUAL TO} 1 ms is missed by 20% (it has 1.2 ms)" in choice.why


def test_a_missed_bound_on_a_fraction_is_missed_by_points():
    base = samples.pairs([(0.905, 0.001)])
    problem = Problem.parse(maximize=["accuracy"], minimize=["latency_p50"], constraints=["accuracy >= 92%"])
    trial = replace(base.trials[0], violations={"accuracy >= 92%": 0.0163})
    choice = choose(replace(base, problem=problem, trials=(trial,), bounds=(0.92,)))
    assert "accuracy \N{GREATER-THAN OR EQUAL TO} 92% is missed by 1.5 points (it has 90.5%)" in choice.why


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
    assert not [heading for heading, _ in choice.points if heading.startswith(("For more", "For less"))]


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
    assert "accuracy (the intervals overlap)" in changes_text(results, results.trials[0], second)


def test_a_difference_on_the_same_samples_decides_and_not_whether_two_intervals_overlap():
    results = samples.pairs([(0.97, 0.001), (0.94, 0.0005)], baseline=0)
    wide = {"accuracy": Estimate(0.94, 0.92, 0.96), "latency_p50": Estimate(0.0005)}
    evaluation = replace(results.trials[1].evaluation, metrics=wide)
    second = replace(results.trials[1], evaluation=evaluation, paired={"accuracy": [360, 1, 12]})
    wide = {"accuracy": Estimate(0.97, 0.95, 0.99), "latency_p50": Estimate(0.001)}
    first = replace(
        results.trials[0], evaluation=replace(results.trials[0].evaluation, metrics=wide), is_baseline=True
    )
    results = replace(results, trials=(first, second))
    assert gain(results, second, results.problem.objectives[0]).is_clear
    assert "overlap" not in changes_text(results, first, second)


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


@pytest.mark.parametrize(
    ("value", "origin", "expected"),
    [
        (76.9, 76.5, "0.4 (0.5%) more top1"),
        (76.5, 76.9, "0.4 (0.5%) less top1"),
        (30.0, 1.0, "30 times the top1"),
        (-100.0, -3.0, "97 less top1"),
        (2.0, -3.0, "5 more top1"),
        (0.0, -3.0, "3 more top1"),
    ],
)
def test_a_change_of_a_plain_number_says_the_difference_and_no_percent_of_what_is_below_zero(
    value, origin, expected
):
    assert change_text(value, origin, Metric(name="top1")) == expected


def test_of_two_that_only_their_order_parts_it_says_so():
    why = texts(choose(samples.pairs([(0.90, 0.001), (0.96, 0.002)])))["Why this one"]
    assert why.startswith("With equal weights it is as well balanced as trial 1, and no other of the 2")
    assert "knee" not in why
    assert "only their order decided" not in texts(choose(samples.pairs(THREE)))["Why this one"]


def test_hostile_texts_stay_on_one_line():
    choice = choose(samples.hostile())
    assert "\n" not in choice.why + choice.headline
    assert "\u202e" not in choice.why
