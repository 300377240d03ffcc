import io
from dataclasses import replace

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


def confirmed(number: int, p_on_front: float, p_feasible: float, verdict: str = "on") -> dict:
    found = {"verdict": verdict, "p_on_front": p_on_front, "p_feasible": p_feasible, "reason": "it was luck"}
    opening = {"time": "2026-01-02T03:04:05+00:00", "trials": [number], "again": False}
    return {"candidates": [{"trial": number, "confirmed": found}], "test_opened": [opening]}


def test_it_ends_with_the_recommendation_in_one_line() -> None:
    (line,) = [line for line in printed(160).splitlines() if line.startswith("Recommended")]
    expected = "trial 1 (accuracy 90%, latency_p50 111 us, parameters 123k; not confirmed); then trial 2."
    assert line == f"Recommended (equal weights): {expected}"


def test_nothing_is_recommended_where_nothing_is_feasible() -> None:
    assert "Recommended" not in printed(80, Results("study", PROBLEM, RESULTS.trials[:1], (1e-3, 80 * 2**20)))


@pytest.mark.parametrize("width", [80, 160])
def test_a_confirmed_study_shows_its_probabilities_and_that_test_data_were_opened(width: int) -> None:
    text = printed(width, replace(RESULTS, confirmation=confirmed(1, 0.9999, 0.87)))
    assert "P(front) > 0.99); then trial 2." in " ".join(text.split())
    for shown in ("P(front)", "> 0.99", "0.87"):
        assert shown in text
    assert "Test data opened once: 2026-01-02T03:04:05+00:00 for trials 1." in text
    assert "P(front)" not in printed(width)


def test_what_a_confirmation_rules_out_is_not_recommended() -> None:
    text = printed(160, replace(RESULTS, confirmation=confirmed(1, 0.0, 1.0, "off")))
    assert "trial 2 (" in text
    assert "not measured again)." in text


def test_test_data_opened_by_a_confirmation_that_was_cut_off_are_said_to_be_opened() -> None:
    openings = tuple({"time": time, "trials": [1], "again": time == "later"} for time in ("once", "later"))
    assert "Test data opened 2 times (--again)" in printed(80, replace(RESULTS, test_opened=openings))


def test_the_recommended_candidate_is_compared_with_the_baseline() -> None:
    paired = tuple(
        replace(t, paired={} if t.is_baseline else {"accuracy": [100, 40, 0]}) for t in RESULTS.trials
    )
    line = next(line for line in printed(160).splitlines() if line.startswith("Against"))
    assert line == "Against the baseline, trial 0: accuracy +40 points; latency_p50 +80%; parameters +0.0%."
    line = next(
        line
        for line in printed(160, replace(RESULTS, trials=paired)).splitlines()
        if line.startswith("Against")
    )
    assert "accuracy +40.0 points [29.5, 48.9], p < 0.001 on the same 100 samples; latency_p50" in line


def test_where_the_baseline_is_the_one_nothing_is_compared() -> None:
    alone = replace(RESULTS, trials=(trial(0, 0.9, is_baseline=True),))
    assert "Against" not in printed(160, alone)
