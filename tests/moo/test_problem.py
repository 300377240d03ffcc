import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moo.errors import ProblemError
from moo.evaluation import Estimate
from moo.metrics import BUILT_IN, Metric
from moo.problem import Constraint, Problem, describe_bound, describe_difference, is_feasible

CONSTRAINTS = [
    "latency_p95 <= 5 ms",
    "peak_memory <= 64 MiB",
    "accuracy >= 92%",
    "latency_p95 <= 0.5 x baseline",
    "accuracy >= baseline - 1%",
    "peak_memory <= baseline + 8 MiB",
    "parameters <= baseline",
    "latency_p50 <= 123.456789 us",
    "latency_p95 <= 1.2345678 x baseline",
]


@pytest.mark.parametrize("text", CONSTRAINTS)
def test_a_constraint_reads_back_from_its_text(text: str) -> None:
    constraint = Constraint.parse(text)
    assert Constraint.parse(str(constraint)) == constraint


@given(st.floats(min_value=1e-8, max_value=1e8, allow_nan=False))
def test_any_bound_reads_back_exactly(amount: float) -> None:
    constraint = Constraint(BUILT_IN["latency_p95"], "<=", amount)
    assert Constraint.parse(str(constraint)).amount == pytest.approx(amount, rel=1e-14)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("latency_p95", "expected 'metric <= bound'"),
        ("latency_p95 <=", "expected 'metric <= bound'"),
        ("<= 5 ms", "expected 'metric <= bound'"),
        ("latency_p95 < 5 ms", "expected <= or >=, got '<'"),
        ("latency_p95 == 5 ms", "expected <= or >=, got '=='"),
        ("latency <= 5 ms", "unknown metric 'latency': did you mean latency_p"),
        ("latency_p95 <= 5 parsec", "unknown unit 'parsec'"),
        ("latency_p95 <= 5", "no unit"),
        ("latency_p95 <= 0 ms", "can never hold"),
        ("accuracy >= 101%", "can never hold"),
        ("latency_p95 <= -0.5 x baseline", "positive factor"),
        ("latency_p95 <= two x baseline", "expected a number before 'x baseline'"),
        ("latency_p95 <= baseline + 10%", "written as a factor"),
        ("accuracy >= baseline - 1", "needs its %"),
        ("latency_p95 <= baseline * 2 * 3", "expected a number"),
        ("5 ms >= latency_p95", "unknown metric '5'|expected 'metric <= bound'"),
    ],
)
def test_a_constraint_that_makes_no_sense_is_refused_by_name(text: str, said: str) -> None:
    with pytest.raises(ProblemError, match=said) as caught:
        Constraint.parse(text)
    assert repr(text) in str(caught.value)


@given(st.text(max_size=40))
def test_any_text_is_a_constraint_or_refused(text: str) -> None:
    try:
        constraint = Constraint.parse(text)
    except ProblemError:
        return
    assert Constraint.parse(str(constraint)).metric == constraint.metric


def test_relative_bounds_follow_the_baseline() -> None:
    assert Constraint.parse("latency_p95 <= 0.5 x baseline").bound(Estimate(0.004)) == 0.002
    assert Constraint.parse("accuracy >= baseline - 1%").bound(Estimate(0.95)) == pytest.approx(0.94)
    assert Constraint.parse("parameters <= baseline").bound(Estimate(100)) == 100


def test_a_relative_bound_without_a_baseline_is_refused() -> None:
    with pytest.raises(ProblemError, match="needs the baseline's latency_p95"):
        Constraint.parse("latency_p95 <= 0.5 x baseline").bound()


def test_a_violation_is_a_fraction_of_the_bound_whatever_the_unit() -> None:
    in_seconds = Constraint.parse("latency_p95 <= 5 ms").violation(Estimate(0.006), 0.005)
    in_bytes = Constraint.parse("peak_memory <= 5 MB").violation(Estimate(6e6), 5e6)
    assert in_seconds == in_bytes == 0.2
    assert Constraint.parse("accuracy >= 80%").violation(Estimate(0.6), 0.8) == 0.25


def test_a_value_on_the_bound_holds() -> None:
    assert Constraint.parse("latency_p95 <= 5 ms").violation(Estimate(0.005), 0.005) == 0


@pytest.mark.parametrize(
    ("text", "estimate", "expected"),
    [
        ("latency_p95 <= 5 ms", Estimate(None, None, 0.004), -0.2),
        ("latency_p95 <= 5 ms", Estimate(None, None, 0.006), None),
        ("latency_p95 <= 5 ms", Estimate(None, 0.006, None), 0.2),
        ("latency_p95 <= 5 ms", Estimate(None), None),
        ("accuracy >= 50%", Estimate(None, 0.6, 0.9), -0.2),
        ("accuracy >= 50%", Estimate(None, 0.1, 0.4), 0.2),
    ],
)
def test_an_unknown_value_is_decided_by_its_ends_or_not_at_all(text, estimate, expected) -> None:
    constraint = Constraint.parse(text)
    assert constraint.violation(estimate, constraint.amount) == expected


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "no objective"),
        ({"maximize": ["speed"]}, "unknown metric 'speed'"),
        ({"maximize": ["latency_p50"]}, "expected minimize"),
        ({"minimize": ["parameters", "parameters"]}, "given twice"),
        ({"minimize": ["f1"], "maximize": ["f1"], "metrics": {"f1": Metric(name="f1")}}, "given twice"),
        ({"minimize": [3]}, "expected text, got 3"),
        (
            {"minimize": ["parameters"], "constraints": ["latency_p95 <= 1 ms", "latency_p95 >= 2 ms"]},
            "contradict each other",
        ),
        (
            {
                "minimize": ["parameters"],
                "constraints": ["latency_p95 <= 0.5 x baseline", "latency_p95 >= 0.6 x baseline"],
            },
            "contradict each other",
        ),
    ],
)
def test_a_problem_that_makes_no_sense_is_refused(arguments, said: str) -> None:
    with pytest.raises(ProblemError, match=said):
        Problem.parse(**arguments)


def test_relative_bounds_that_contradict_absolute_ones_are_refused_once_the_baseline_is_known() -> None:
    problem = Problem.parse(
        maximize=["accuracy"], constraints=["latency_p95 <= 1 ms", "latency_p95 >= 0.5 x baseline"]
    )
    assert problem.bounds({"latency_p95": Estimate(0.001)}) == (0.001, 0.0005)
    with pytest.raises(ProblemError, match="contradict each other"):
        problem.bounds({"latency_p95": Estimate(0.004)})


def test_losses_turn_the_sign_of_what_is_maximised_only() -> None:
    problem = Problem.parse(maximize=["accuracy"], minimize=["parameters"])
    assert problem.losses([[0.9, 10], [np.nan, 20]]).tolist()[0] == [-0.9, 10]
    assert np.isnan(problem.losses([[np.nan, 20]])[0, 0])


def test_a_problem_reads_back_from_its_json_with_the_tasks_own_metrics() -> None:
    own = {"f1": Metric(name="f1", dimension="fraction", direction="maximize", low=0.0, high=1.0)}
    problem = Problem.parse(maximize=["f1"], minimize=["latency_p50"], constraints=["f1 >= 50%"], metrics=own)
    assert Problem.from_json(problem.to_json()) == problem


def test_no_constraint_is_feasible() -> None:
    assert is_feasible([])


def test_texts_for_people() -> None:
    constraint = Constraint.parse("latency_p95 <= 0.5 x baseline")
    assert describe_bound(constraint, 0.002) == "latency_p95 <= 0.5 x baseline = 2 ms"
    assert describe_difference(0.95, 0.94, BUILT_IN["accuracy"]) == "+1 points"
    assert describe_difference(2e6, 1e6, BUILT_IN["parameters"]) == "+100%"


def test_a_bound_on_the_smallest_value_possible_may_hold() -> None:
    misses = {"misses": Metric(name="misses", dimension="count", low=0.0)}
    assert Constraint.parse("misses <= 0", misses).amount == 0
