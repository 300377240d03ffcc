import io

import pytest
from rich.console import Console

from moo.cli._progress import status_line
from moo.cli._summary import print_summary
from moo.evaluation import Estimate, Evaluation
from moo.problem import Problem
from moo.results import FinishedTrial, Results

PROBLEM = Problem.parse(
    maximize=["accuracy"],
    minimize=["latency_p50", "parameters"],
    constraints=["latency_p95 <= 1 ms", "peak_memory <= 80 MiB"],
)


def trial(number: int, accuracy: float, **changes) -> FinishedTrial:
    metrics = {
        "accuracy": Estimate(accuracy, accuracy - 0.011, accuracy + 0.012),
        "latency_p50": Estimate(123.4e-6 * accuracy, 111.1e-6 * accuracy, 131.2e-6 * accuracy),
        "parameters": Estimate.exact(123456),
        "latency_p95": Estimate(234.5e-6, 222.2e-6, 245.6e-6),
        "peak_memory": Estimate(60e6, 59.9e6, 60.1e6),
    }
    made = {
        "number": number,
        "state": "complete",
        "params": {},
        "evaluation": Evaluation(metrics=metrics, tags=("contended", "single_launch")),
        "violations": {str(constraint): -0.1 for constraint in PROBLEM.constraints},
    }
    return FinishedTrial(**{**made, **changes})


RESULTS = Results(
    "study",
    PROBLEM,
    (
        trial(0, 0.5, is_baseline=True, violations={str(PROBLEM.constraints[0]): 1.0}),
        trial(1, 0.9),
        trial(2, 0.8),
        FinishedTrial(number=3, state="failed", params={}, stage="export", reason="[no] luck"),
    ),
    (1e-3, 80 * 2**20),
)


def printed(width: int, results: Results = RESULTS) -> str:
    stream = io.StringIO()
    print_summary(Console(file=stream, width=width, color_system=None), results)
    return stream.getvalue()


@pytest.mark.parametrize("width", [80, 100, 160])
def test_nothing_of_the_front_is_cut_off_whatever_the_width(width: int) -> None:
    text = printed(width)
    assert "…" not in text
    for shown in (
        "90%",
        "[88.9, 91.2]",
        "111 us",
        "[100, 118]",
        "123k",
        "57.2 MiB",
        "[57.1, 57.3]",
        "baseline",
    ):
        assert shown in text
    assert "single_launch" in text
    assert max(map(len, text.splitlines())) <= width


def test_failures_are_counted_with_their_reason() -> None:
    assert "1 failed: export: [no] luck" in printed(80)


def test_a_study_without_a_feasible_candidate_says_so() -> None:
    results = Results("study", PROBLEM, RESULTS.trials[:1], (1e-3, 80 * 2**20))
    assert "No candidate is feasible" in printed(80, results)


def test_the_status_line_tells_front_best_values_failures_and_time_left() -> None:
    line = status_line(RESULTS, 75.0)
    assert line == "1:15 left · front 2 · accuracy 90% · latency_p50 98.7 us · parameters 123k · 1 failed"


def test_the_status_line_of_an_empty_study_has_dashes() -> None:
    results = Results("study", PROBLEM, (), (1e-3, 80 * 2**20))
    assert status_line(results, None) == "front 0 · accuracy - · latency_p50 - · parameters -"
