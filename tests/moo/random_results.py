"""Any small results: missing and infinite values, constraints known and unknown, some trials ruled out."""

from __future__ import annotations

import math

from hypothesis import strategies as st

from moo.evaluation import Estimate, Evaluation
from moo.metrics import Metric
from moo.problem import Problem
from moo.results import FinishedTrial, Results

CONSTRAINTS = ("cost <= 2", "gain >= 1")
values = st.sampled_from([0.5, 1.0, 1.0, 2.0, 3.0, 7.0, 40.0, 300.0])
rare = st.sampled_from([None, None, math.inf, 0.0, -2.0])


@st.composite
def random_results(draw: st.DrawFn, *, min_trials: int = 0, max_trials: int = 9) -> Results:
    """Objectives `m0`.. of either direction, maybe a fraction; constraints on `cost` and `gain`."""
    names = [f"m{index}" for index in range(draw(st.integers(1, 4)))]
    ways = [draw(st.sampled_from(["minimize", "minimize", "maximize"])) for _ in names]
    dimensions = [draw(st.sampled_from(["number", "number", "fraction"])) for _ in names]
    metrics = {
        name: Metric(name=name, dimension=dimension)
        for name, dimension in zip(names, dimensions, strict=True)
    } | {name: Metric(name=name) for name in ("cost", "gain")}
    problem = Problem.parse(
        maximize=[name for name, way in zip(names, ways, strict=True) if way == "maximize"],
        minimize=[name for name, way in zip(names, ways, strict=True) if way == "minimize"],
        constraints=draw(st.sampled_from([(), CONSTRAINTS[:1], CONSTRAINTS])),
        metrics=metrics,
    )
    n = draw(st.integers(min_trials, max_trials))
    trials = tuple(draw(_trials(number, names, problem)) for number in range(n))
    entries = [draw(_entry(number)) for number in range(n) if draw(st.integers(0, 4)) == 0]
    confirmation = {"candidates": entries, "test_opened": [], "notes": []} if draw(st.booleans()) else None
    return Results(
        "random",
        problem,
        trials,
        bounds=problem.bounds(),
        extra_metrics=metrics,
        confirmation=confirmation,
    )


@st.composite
def _trials(draw: st.DrawFn, number: int, names: list[str], problem: Problem) -> FinishedTrial:
    found = {name: draw(st.one_of(values, values, values, values, values, rare)) for name in names}
    for name in ("cost", "gain"):
        found[name] = draw(st.one_of(st.integers(0, 4).map(float), st.none()))
    estimates = {name: Estimate(value) for name, value in found.items()}
    violations = {c.key: c.violation(estimates[c.metric.name], c.amount) for c in problem.constraints}
    state = draw(st.sampled_from(["complete"] * 6 + ["pruned"]))
    return FinishedTrial(
        number=number,
        state=state,
        params={},
        evaluation=Evaluation(metrics=estimates),
        violations={key: violation for key, violation in violations.items() if violation is not None},
    )


@st.composite
def _entry(draw: st.DrawFn, number: int) -> dict[str, object]:
    verdict = {
        "verdict": draw(st.sampled_from(["on", "off", "undecided"])),
        "p_on_front": 0.5,
        "p_feasible": draw(st.sampled_from([0.2, 0.5, 0.9])),
        "reason": None,
    }
    refused = draw(st.booleans())
    return {
        "trial": number,
        "role": "front",
        "confirmed": None if refused else verdict,
        "refused": "no artefact" if refused else None,
        "n_launches": 5,
        "metrics": {},
        "retrained": None,
        "test": None,
    }
