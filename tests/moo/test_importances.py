import json
import logging
import re
import warnings

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, distribution_to_json
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

from moo.evaluation import Estimate, Evaluation
from moo.importances import BEST_SHARE, MAX_TRIALS, MIN_TRIALS, importances
from moo.metrics import Metric
from moo.problem import Problem
from moo.results import FinishedTrial, Results

COST, GAIN = Metric(name="cost"), Metric(name="gain")
KNOWN = {"cost": COST, "gain": GAIN}
COSTS = Problem.parse(minimize=["cost"], metrics=KNOWN)


def study(params, values, *, problem=COSTS, name="cost", **options):
    trials = tuple(
        FinishedTrial(
            number=number,
            state="complete",
            params=each,
            evaluation=Evaluation(metrics={} if value is None else {name: Estimate(float(value))}),
        )
        for number, (each, value) in enumerate(zip(params, values, strict=True))
    )
    return Results("study", problem, trials, extra_metrics=KNOWN, **options)


def cube(n, d, *, seed=0):
    rows = np.random.default_rng(seed).random((n, d))
    return rows, [{f"x{j}": float(value) for j, value in enumerate(row)} for row in rows]


def distribution(**options):
    return json.loads(distribution_to_json(FloatDistribution(0.0, 1.0, **options)))


def test_the_shares_are_those_that_optuna_computes():
    rows, params = cube(60, 4)
    values = rows @ [3.0, 1.0, 0.5, 0.0]
    found = importances(study(params, values, distributions={f"x{j}": distribution() for j in range(4)}))
    own = optuna.create_study()
    spaces = {f"x{j}": FloatDistribution(0.0, 1.0) for j in range(4)}
    for each, value in zip(params, values, strict=True):
        own.add_trial(optuna.trial.create_trial(params=each, distributions=spaces, value=float(value)))
    expected = get_param_importances(own, evaluator=PedAnovaImportanceEvaluator(target_quantile=BEST_SHARE))
    assert {name: each.share for name, each in found["cost"].by_param.items()} == pytest.approx(expected)
    assert list(found["cost"].by_param) == list(expected)


def test_parameters_that_decide_are_told_apart_and_in_the_order_of_their_effect():
    rows, params = cube(200, 5)
    known = importances(study(params, rows @ [4.0, 2.0, 0.0, 0.0, 0.0]))["cost"].by_param
    assert list(known)[:2] == ["x0", "x1"]
    assert [known[name].is_told_apart for name in ("x0", "x1")] == [True, True]
    assert known["x0"].low > known["x2"].high


def test_a_metric_that_no_parameter_decides_has_hardly_any_told_apart():
    told = []
    for seed in range(12):
        _, params = cube(60, 3, seed=seed)
        noise = np.random.default_rng(100 + seed).random(60)
        told += [each.is_told_apart for each in importances(study(params, noise))["cost"].by_param.values()]
    assert len(told) == 36
    assert sum(told) <= 6  # 1.8 are expected; more than 6 come once in 400 times


def test_intervals_hold_the_shares_of_other_samples_of_the_same_size():
    known = []
    for seed in range(10):
        rows, params = cube(60, 3, seed=seed)
        known.append(importances(study(params, rows @ [2.0, 1.0, 0.0]))["cost"].by_param["x0"])
    middle = float(np.mean([each.share for each in known]))
    assert sum(each.low <= middle <= each.high for each in known) >= 7
    assert all(each.low <= each.share <= each.high for each in known)


@given(seed=st.integers(0, 2**31), n=st.integers(MIN_TRIALS, 60))
@settings(max_examples=10, deadline=None)
def test_shares_are_between_0_and_1_and_sum_to_1(seed, n):
    rows, params = cube(n, 3, seed=seed)
    known = importances(study(params, rows[:, 0]))["cost"].by_param.values()
    assert sum(each.share for each in known) == pytest.approx(1.0)
    assert all(0 <= each.low <= each.share <= each.high <= 1 for each in known)


def test_maximising_is_minimising_the_negative():
    rows, params = cube(50, 3)
    values = rows @ [1.0, 2.0, 0.0]
    gains = Problem.parse(maximize=["gain"], metrics=KNOWN)
    one = importances(study(params, values))["cost"].by_param
    two = importances(study(params, -values, problem=gains, name="gain"))["gain"].by_param
    assert one == two


@pytest.mark.parametrize(("bound", "sign"), [("cost <= 1", 1.0), ("cost >= 1", -1.0)])
def test_a_constrained_metric_is_better_where_its_constraint_says(bound, sign):
    rows, params = cube(50, 2)
    values = np.where(rows[:, 0] < 0.3, 10 * rows[:, 1], 5.0) * sign
    plain = importances(study(params, values * sign))["cost"].by_param
    problem = Problem.parse(minimize=["gain"], constraints=[bound], metrics=KNOWN)
    assert importances(study(params, values, problem=problem))["cost"].by_param == plain


def test_a_conditional_parameter_is_compared_among_the_trials_that_have_it():
    rows, params = cube(120, 3)
    params = [
        {"kind": "a" if row[0] < 0.5 else "b", **({"depth": each["x1"]} if row[0] < 0.5 else {})}
        for row, each in zip(rows, params, strict=True)
    ]
    values = np.where(rows[:, 0] < 0.5, rows[:, 1], 0.6 + rows[:, 2])
    known = importances(study(params, values))["cost"].by_param
    assert known["depth"].is_told_apart
    assert set(known) == {"kind", "depth"}


@pytest.mark.parametrize(
    ("params", "values", "reason"),
    [
        ([{}] * 30, range(30), "no parameters"),
        ([{"a": i, "b": -i} for i in range(19)], range(19), "at least 20 trials with a value, has 19"),
        ([{"a": i, "b": -i} for i in range(30)], [None] * 11 + [1.0] * 19, "at least 20 .* has 19"),
        ([{"a": i, "b": -i} for i in range(30)], [None] * 30, "has 0"),
        ([{"a": 1, "b": "x"}] * 30, range(30), "no parameter can be compared"),
        (
            [{"a": i, "b": "x"} for i in range(30)],
            range(30),
            "one parameter can be compared.*always the same",
        ),
        ([{"a": i, "b": f"m{i}"} for i in range(30)], range(30), "one parameter.*30 choices in 30 trials"),
        ([{"a": i, "b": -i} for i in range(30)], [1.0] * 30, "all trials have the same value"),
        ([{"a": i, "b": -i} for i in range(30)], [float("inf")] * 30, "has 0"),
    ],
)
def test_where_nothing_can_be_told_there_is_a_reason_and_no_number(params, values, reason):
    found = importances(study(params, values))["cost"]
    assert found.by_param == {}
    assert re.search(reason, found.reason)


def test_failed_trials_do_not_count_and_pruned_ones_do():
    rows, params = cube(40, 2)
    base = study(params, rows[:, 0])
    trials = [
        FinishedTrial(**{**vars(t), "state": "failed" if t.number < 10 else "pruned"}) for t in base.trials
    ]
    found = importances(Results("study", COSTS, tuple(trials), extra_metrics=KNOWN))["cost"]
    assert (found.n_trials, found.n_used) == (30, 30)
    assert found.by_param["x0"].is_told_apart


def test_many_trials_are_thinned_and_that_is_said():
    rows, params = cube(MAX_TRIALS + 300, 2)
    found = importances(study(params, rows[:, 0]))["cost"]
    assert (found.n_trials, found.n_used) == (MAX_TRIALS + 300, MAX_TRIALS)


def test_a_distribution_that_lacks_a_value_seen_is_inferred_anew():
    rows, params = cube(40, 2)
    params[3]["x0"] = 2.5
    found = importances(study(params, rows[:, 0], distributions={"x0": distribution(), "x1": {"name": "?"}}))
    assert found["cost"].by_param["x0"].is_told_apart


def test_values_that_no_distribution_holds_are_taken_as_text():
    rows, params = cube(40, 1)
    mixed = [float("inf"), None, ["a", 1], True, 1, np.int64(7)]
    for number, each in enumerate(params):
        each["<b>$odd$</b>"] = mixed[number % 2] if rows[number, 0] < 0.5 else mixed[2 + number % 4]
    found = importances(study(params, rows[:, 0]))["cost"]
    assert set(found.by_param) == {"x0", "<b>$odd$</b>"}


def test_a_stored_choice_of_which_one_value_was_seen_is_left_out():
    rows, params = cube(40, 2)
    stored = json.loads(distribution_to_json(CategoricalDistribution(("a", "b"))))
    params = [{**each, "kind": "a"} for each in params]
    found = importances(study(params, rows[:, 0], distributions={"kind": stored}))["cost"]
    assert found.left_out == {"kind": "always the same value"}


def test_the_same_seed_gives_the_same_numbers_and_nothing_is_told_on_the_way(caplog, capfd):
    rows, params = cube(40, 2)
    results = study(params, rows[:, 0])
    before = optuna.logging.get_verbosity()
    with warnings.catch_warnings(), caplog.at_level(logging.INFO):
        warnings.simplefilter("error")
        assert importances(results) == importances(results)
    assert importances(results) != importances(results, seed=1)
    assert optuna.logging.get_verbosity() == before
    assert capfd.readouterr() == ("", "")
