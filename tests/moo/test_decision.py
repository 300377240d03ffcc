import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import moo
from moo.confirmation import TEST_OPENED
from moo.decision import contenders, recommend, scales
from moo.errors import InputError, ProblemError
from moo.evaluation import Estimate, Evaluation
from moo.judging import judged_trials
from moo.metrics import Metric
from moo.problem import Constraint, Problem
from moo.results import FinishedTrial, Results
from objectives import FunctionTask
from tests.moo.pareto.strategies import dominates
from tests.moo.random_results import random_results


def considered(results: Results) -> dict[int, list[float]]:
    """Losses of each trial that counts, by number: the rule's first line, written out."""
    found = {}
    entries = {
        entry["trial"]: entry["confirmed"] for entry in (results.confirmation or {}).get("candidates", [])
    }
    for trial in results.trials:
        numbers = [trial.estimate(o.metric.name).value for o in results.problem.objectives]
        known = all(str(c) in trial.violations for c in results.problem.constraints)
        verdict = entries.get(trial.number)
        if (
            trial.state == "complete"
            and known
            and all(violation <= 0 for violation in trial.violations.values())
            and all(number is not None and math.isfinite(number) for number in numbers)
            and not (verdict and (verdict["verdict"] == "off" or verdict["p_feasible"] < 0.5))
        ):
            ways = [1 if o.direction == "minimize" else -1 for o in results.problem.objectives]
            found[trial.number] = [way * number for way, number in zip(ways, numbers, strict=True)]
    return found


def front_of(losses: dict[int, list[float]]) -> list[int]:
    return [i for i in losses if not any(dominates(other, losses[i]) for other in losses.values())]


def best_first(results: Results, losses: dict[int, list[float]], weights: list[float]) -> list[int]:
    front = front_of(losses)
    columns = []
    for j, objective in enumerate(results.problem.objectives):
        every = [t.estimate(objective.metric.name).value for t in results.trials if t.state == "complete"]
        every = [value for value in every if value is not None and math.isfinite(value)]
        is_log = (
            objective.direction == "minimize"
            and objective.metric.dimension != "fraction"
            and min(every) > 0
            and max(every) > 10 * min(every)
        )
        column = [math.log10(losses[i][j]) if is_log else losses[i][j] for i in front]
        span = max(column) - min(column)
        columns.append([(value - min(column)) / span if span else 0.0 for value in column])
    shares = [weight / sum(weights) for weight in weights]
    ranked = []
    for number, row in zip(front, zip(*columns, strict=True), strict=True):
        terms = [share * value for share, value in zip(shares, row, strict=True)]
        ranked.append((round(max(terms), 9), round(sum(terms), 9), round(sum(row), 9), number))
    return [number for *_, number in sorted(ranked)]


@settings(max_examples=300, deadline=None)
@given(random_results(), st.data())
def test_the_recommendation_is_that_of_the_rule_written_out(results: Results, data) -> None:
    names = [o.metric.name for o in results.problem.objectives]
    weights = [
        data.draw(st.integers(0 if index else 1, 4), label=f"weight of {name}")
        for index, name in enumerate(names)
    ]
    losses = considered(results)
    found = recommend(results, weights=dict(zip(names, weights, strict=True)))
    if not losses:
        assert found is None
        return
    order = best_first(results, losses, weights)
    assert found.trial.number == order[0]
    assert (found.runner_up and found.runner_up.number) == (order[1] if len(order) > 1 else None)
    assert sorted(t.number for t in found.front) == sorted(order)
    assert [losses[t.number] for t in found.front] == sorted(losses[i] for i in order)
    assert found.n_considered == len(losses)
    assert max(found.terms.values()) == pytest.approx(found.score)
    assert found.weights == pytest.approx({n: w / sum(weights) for n, w in zip(names, weights, strict=True)})
    for name in names:
        span = found.ranges[name]
        assert span.low <= span.weight == found.weights[name] <= span.high
        assert (span.rival_below is None) == (span.low == 0)
        assert (span.rival_above is None) == (span.high == 1)


@settings(max_examples=150, deadline=None)
@given(random_results(min_trials=2).filter(lambda r: len(r.problem.objectives) > 1))
def test_at_the_ends_of_a_weight_s_range_the_rival_takes_over(results: Results) -> None:
    found, losses = recommend(results), considered(results)
    if found is None:
        return
    names = list(found.weights)
    for name, span in found.ranges.items():
        for rival, at in (
            (span.rival_below, span.low * 0.999),
            (span.rival_above, span.high + (1 - span.high) * 0.001),
        ):
            if rival is None:
                continue
            share = (1 - at) / (len(names) - 1)
            moved = [at if other == name else share for other in names]
            assert best_first(results, losses, moved)[0] != found.trial.number
            assert rival in found.front


@settings(max_examples=300, deadline=None)
@given(random_results(min_trials=1).filter(lambda r: r.problem.constraints))
def test_a_wider_bound_is_the_nearest_that_changes_the_recommendation(results: Results) -> None:
    found = recommend(results)
    if found is None:
        return
    named = {wider.constraint: wider for wider in found.wider}
    for constraint in results.problem.constraints:
        sign = 1 if constraint.sense == "<=" else -1
        at = [t.estimate(constraint.metric.name).value for t in results.trials]
        beyond = sorted(
            {v for v in at if v is not None and sign * v > sign * constraint.amount}, key=lambda v: sign * v
        )
        expected = None
        for bound in beyond:
            chosen = best_first(
                results, considered(with_bound(results, constraint, bound)), [1.0] * len(found.weights)
            )
            if chosen[0] != found.trial.number:
                expected = (bound, chosen[0])
                break
        wider = named.get(constraint)
        assert (wider and (wider.wider, wider.trial.number)) == expected
    assert [w.share for w in found.wider] == sorted(w.share for w in found.wider)


def with_bound(results: Results, constraint: Constraint, bound: float) -> Results:
    """The results with one bound moved; that which a confirmation says stays."""
    moved = replace(constraint, amount=bound)
    constraints = tuple(moved if c == constraint else c for c in results.problem.constraints)
    trials = []
    for trial in results.trials:
        found = {c.key: c.violation(trial.estimate(c.metric.name), c.amount) for c in constraints}
        trials.append(replace(trial, violations={key: v for key, v in found.items() if v is not None}))
    problem = replace(results.problem, constraints=constraints)
    return replace(results, problem=problem, trials=tuple(trials), bounds=problem.bounds())


@settings(max_examples=150, deadline=None)
@given(random_results(min_trials=1).filter(lambda r: r.problem.constraints))
def test_the_tightest_bound_still_keeps_the_recommended_and_a_tighter_one_does_not(results: Results) -> None:
    found = recommend(results)
    if found is None:
        return
    assert [slack.constraint for slack in found.slacks] == list(results.problem.constraints)
    for slack in found.slacks:
        kept = considered(with_bound(results, slack.constraint, slack.tightest))
        tighter = slack.tightest - (1e-6 if slack.constraint.sense == "<=" else -1e-6)
        assert found.trial.number in kept
        assert found.trial.number not in considered(with_bound(results, slack.constraint, tighter))


@settings(max_examples=100, deadline=None)
@given(random_results(min_trials=1), st.integers(0, 4))
def test_a_further_bound_counts_as_one_of_the_study(results: Results, bound: int) -> None:
    text = f"cost <= {bound}"
    found = recommend(results, constraints=[text])
    constraint = Constraint.parse(text, results.extra_metrics)
    constraints = tuple(dict.fromkeys([*results.problem.constraints, constraint]))
    whole = replace(results, problem=replace(results.problem, constraints=constraints))
    trials = []
    for trial in results.trials:
        violation = constraint.violation(trial.estimate("cost"), float(bound))
        further = {} if violation is None else {constraint.key: violation}
        trials.append(replace(trial, violations={**trial.violations, **further}))
    whole = replace(whole, trials=tuple(trials), bounds=whole.problem.bounds())
    expected = recommend(whole)
    assert (found and found.trial.number) == (expected and expected.trial.number)
    if found is not None:
        assert found.constraints == constraints
        assert [(w.wider, w.trial.number) for w in found.wider] == [
            (w.wider, w.trial.number) for w in expected.wider
        ]


PROBLEM = Problem.parse(maximize=["accuracy"], minimize=["latency_p50"], constraints=["latency_p95 <= 1 ms"])


def trial(
    number: int, accuracy: float, latency_s: float, p95: Estimate | None = None, **changes
) -> FinishedTrial:
    tail = Estimate(latency_s) if p95 is None else p95
    metrics = {"accuracy": Estimate(accuracy), "latency_p50": Estimate(latency_s), "latency_p95": tail}
    violation = PROBLEM.constraints[0].violation(tail, 1e-3)
    violations = {} if violation is None else {PROBLEM.constraints[0].key: violation}
    made = FinishedTrial(
        number=number,
        state="complete",
        params={},
        evaluation=Evaluation(metrics=metrics),
        violations=violations,
    )
    return replace(made, **changes)


def study(*trials: FinishedTrial, **options) -> Results:
    return Results("study", PROBLEM, trials, (1e-3,), **options)


FRONT = (trial(0, 0.8, 1e-4), trial(1, 0.9, 2e-4), trial(2, 0.92, 9e-4))


def confirmation(number: int, **verdict) -> dict:
    found = {"verdict": "on", "p_on_front": 0.99, "p_feasible": 1.0, "reason": "why", **verdict}
    return {"candidates": [{"trial": number, "confirmed": found}]}


def test_the_nearest_candidate_that_is_better_is_named_for_each_objective_with_its_rates() -> None:
    found = recommend(study(*FRONT))
    assert (found.trial.number, found.runner_up.number) == (1, 0)
    assert [(t.trial.number, t.nearest_for) for t in found.trades] == [
        (0, ("latency_p50",)),
        (2, ("accuracy",)),
    ]
    faster = found.trades[0].exchange
    assert faster.absolute == pytest.approx([0.1, -1e-4])
    assert faster.rates[1, 0] == pytest.approx(1000)  # a thousandth of accuracy a microsecond


@pytest.mark.parametrize("verdict", [{"verdict": "off", "p_on_front": 0.01}, {"p_feasible": 0.49}])
def test_what_a_confirmation_rules_out_is_not_recommended_and_says_why(verdict) -> None:
    found = recommend(study(*FRONT, confirmation=confirmation(1, **verdict)))
    assert found.trial.number != 1
    assert [(one.trial.number, "why" in one.reason) for one in found.ruled_out] == [(1, True)]
    assert 1 not in [t.number for t in found.front]


def test_what_a_confirmation_leaves_in_doubt_stays() -> None:
    found = recommend(study(*FRONT, confirmation=confirmation(1, verdict="undecided", p_feasible=0.5)))
    assert (found.trial.number, found.ruled_out) == (1, ())


def test_a_candidate_that_was_dominated_by_one_that_is_ruled_out_comes_to_the_front() -> None:
    behind = trial(3, 0.89, 2.1e-4)
    found = recommend(study(*FRONT, behind, confirmation=confirmation(1, verdict="off")))
    assert found.trial.number == 3


def test_an_interval_s_end_that_keeps_a_bound_is_the_tightest_bound() -> None:
    only = trial(0, 0.9, 1e-4, p95=Estimate(None, None, 4e-4, reason="too few samples"))
    (slack,) = recommend(study(only)).slacks
    assert (slack.tightest, slack.share) == (4e-4, pytest.approx(0.6))


def test_a_relative_bound_takes_the_baseline_s_value() -> None:
    found = recommend(
        study(replace(FRONT[2], is_baseline=True), *FRONT[:2]), constraints="latency_p50 <= 0.15 x baseline"
    )
    assert [t.number for t in found.front] == [0]
    with pytest.raises(ProblemError, match=r"needs the baseline's latency_p50"):
        recommend(study(*FRONT), constraints=["latency_p50 <= 0.5 x baseline"])


def test_one_objective_has_nothing_to_weigh() -> None:
    results = replace(study(*FRONT), problem=replace(PROBLEM, objectives=PROBLEM.objectives[:1]))
    found = recommend(results)
    assert (found.trial.number, found.runner_up, found.score) == (2, None, 0.0)
    assert (found.ranges["accuracy"].low, found.ranges["accuracy"].high) == (0.0, 1.0)


@pytest.mark.parametrize(
    "results",
    [study(), study(trial(0, 0.9, 2e-3)), study(trial(0, 0.9, math.inf, p95=Estimate(1e-4)))],
    ids=["no trial", "infeasible", "infinite"],
)
def test_without_a_candidate_there_is_no_recommendation(results: Results) -> None:
    assert recommend(results) is None


def test_numbers_whose_difference_overflows_count_as_infinite() -> None:
    metrics = {"cost": Metric(name="cost")}
    problem = Problem.parse(minimize=["cost"], metrics=metrics)
    rows = [
        FinishedTrial(
            number=i, state="complete", params={}, evaluation=Evaluation(metrics={"cost": Estimate(v)})
        )
        for i, v in enumerate((-1.7e308, 1.7e308, 3.0))
    ]
    assert recommend(Results("huge", problem, tuple(rows))).trial.number == 2


def test_values_over_a_factor_ten_are_compared_by_factors_unless_one_is_maximised_or_not_above_zero() -> None:
    wide = study(trial(0, 0.01, 1e-5), trial(1, 0.9, 2e-4), trial(2, 0.9, 9e-3))
    assert scales(wide) == {"accuracy": "linear", "latency_p50": "log10"}
    assert scales(study(*wide.trials, trial(3, 0.5, 0.0)))["latency_p50"] == "linear"
    assert scales(study(*FRONT))["latency_p50"] == "linear"
    assert scales(study(*FRONT, trial(3, 0.5, 1e-2, state="pruned")))["latency_p50"] == "linear"
    assert scales(study())["latency_p50"] == "linear"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": {"acuracy": 1.0}}, "weights: expected objectives, got 'acuracy': did you mean accuracy"),
        ({"weights": {"accuracy": -1.0}}, "at least 0 for accuracy, got -1.0"),
        ({"weights": {"accuracy": math.nan}}, "finite number"),
        ({"weights": {"accuracy": "2"}}, "got '2'"),
        ({"weights": {"accuracy": 0, "latency_p50": 0}}, "expected one above 0"),
        ({"constraints": ["latency <= 1 ms"]}, "unknown metric 'latency'"),
        ({"constraints": ["latency_p50 <= 1"]}, "no unit"),
    ],
)
def test_wrong_weights_and_constraints_are_one_line(options, message) -> None:
    with pytest.raises(InputError, match=message) as caught:
        recommend(study(*FRONT), **options)
    assert "\n" not in str(caught.value)


def test_a_weight_that_is_not_named_counts_one() -> None:
    assert recommend(study(*FRONT), weights={"accuracy": 3}).weights == {
        "accuracy": 0.75,
        "latency_p50": 0.25,
    }


def test_it_reads_in_a_line() -> None:
    named = study(replace(FRONT[1], label="small-net"), FRONT[0])
    assert repr(recommend(named)).startswith("<Recommendation: small-net, runner-up trial 0; 2 on")


def test_many_candidates_outside_a_bound_that_change_nothing_are_looked_at_once_each() -> None:
    rng = np.random.default_rng(0)
    others = [trial(10 + i, 0.5, 2e-3 + 1e-6 * float(rng.random())) for i in range(2000)]
    assert recommend(study(*FRONT, *others)).wider == ()


def cheap(optuna_trial):
    width = optuna_trial.suggest_int("width", 1, 1000)
    return {"accuracy": 1 - 1 / width, "latency_p50": width * 1e-6}


def test_a_stored_study_recommends_as_its_results_do_and_counts_what_still_runs(tmp_path) -> None:
    study = moo.optimize(
        FunctionTask(cheap, name="cheap"),
        maximize=["accuracy"],
        minimize=["latency_p50"],
        constraints=["latency_p50 <= 900 us"],
        n_trials=8,
        sampler="random",
        seed=0,
        folder=tmp_path / "out",
    )
    study.optuna_study.ask()
    opening = {"time": "2026-01-02", "trials": [1], "again": False, "plan": "x"}
    study.optuna_study.set_user_attr(TEST_OPENED, [opening])
    again = moo.load_study(f"sqlite:///{tmp_path}/out/study.db")
    results = again.results()
    found = again.recommend(weights={"accuracy": 2}, constraints=["latency_p50 <= 700 us"])
    assert (
        found.trial
        == recommend(results, weights={"accuracy": 2}, constraints=["latency_p50 <= 700 us"]).trial
    )
    assert found.trial.estimate("latency_p50").value <= 7e-4
    assert (results.n_running, results.openings) == (1, (opening,))


@settings(max_examples=100, deadline=None)
@given(random_results(max_trials=12), st.floats(0, 4), st.floats(0, 4), st.floats(0.1, 5))
def test_among_the_contenders_the_choice_is_the_same_for_any_bounds(results, cost, gain, weight):
    bounds = [f"cost <= {cost:.2f}"] * ("cost <= 2" in results.constraint_keys)
    bounds += [f"gain >= {gain:.2f}"] * ("gain >= 1" in results.constraint_keys)
    metrics = {metric.name: metric for metric in results.metrics}
    moved = Problem(results.problem.objectives, tuple(Constraint.parse(text, metrics) for text in bounds))

    def chosen(trials):
        judged = judged_trials(moved, moved.bounds(), trials)
        among = replace(results, problem=moved, bounds=moved.bounds(), trials=judged)
        found = recommend(among, weights={results.problem.objectives[0].metric.name: weight})
        return found and (found.trial.number, {trial.number for trial in found.front})

    among = contenders(results)
    everyone, few = chosen(results.trials), chosen(among)
    assert (few and few[1]) == (everyone and everyone[1])
    if scales(results) == scales(replace(results, trials=among)):
        assert few == everyone
