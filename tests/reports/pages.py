"""More results made by hand, for what only the page shows: labels, a confirmation, devices, many metrics."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from moo.evaluation import Estimate
from moo.metrics import BUILT_IN, Metric
from moo.problem import Problem
from moo.results import Results
from tests.reports.samples import HOSTILE, digits, pairs, trial


def labelled() -> Results:
    """Candidates of a table: each with a label, some alike, some hostile."""
    base = digits(20)
    labels = [HOSTILE, "=cmd()", "mobilenet \u6df1\u5ea6", *(f"model-{index}" for index in range(17))]
    trials = tuple(replace(t, label=label) for t, label in zip(base.trials, labels, strict=True))
    return replace(base, trials=trials)


def table() -> Results:
    """Rows of a table, each with a label and one setting."""
    base = pairs([(0.9, 0.001), (0.95, 0.002), (0.97, 0.02), (0.8, 0.003)])
    trials = tuple(
        replace(each, label=f"model-{each.number}", params={"family": "abcd"[each.number % 2]})
        for each in base.trials
    )
    return replace(base, study_name="models", task="table models.csv", trials=trials, is_search=False)


def many_metrics(n: int) -> Results:
    """Two objectives and further metrics that only some candidates have."""
    rng = np.random.default_rng(0)
    metrics = {f"metric_{index}": Metric(name=f"metric_{index}") for index in range(n)}
    problem = Problem.parse(minimize=["metric_0", "metric_1"], metrics=metrics)
    trials = tuple(
        trial(i, {name: float(rng.uniform(1, 50)) for k, name in enumerate(metrics) if k < 2 or (i + k) % 3})
        for i in range(40)
    )
    return Results(f"{n} metrics", problem, trials, extra_metrics=metrics)


def on_devices() -> Results:
    """Candidates measured on a second device too."""
    gpu = replace(BUILT_IN["latency_p50"], name="gpu_latency_p50", label="latency p50 (gpu)")
    base = pairs([(0.9, 0.001), (0.95, 0.002), (0.8, 0.003)], baseline=2)
    trials = []
    for each in base.trials:
        assert each.evaluation is not None
        more = {"gpu_latency_p50": Estimate(1e-4 * (each.number + 1), 0.9e-4 * (each.number + 1), 4e-4)}
        trials.append(
            replace(each, evaluation=replace(each.evaluation, metrics={**each.evaluation.metrics, **more}))
        )
    return replace(base, trials=tuple(trials), extra_metrics={gpu.name: gpu})


def confirmed(reason: str | None = HOSTILE) -> Results:
    """A digits sweep of which three candidates were confirmed: one on the front, one off it, one refused."""
    base = digits(30)
    numbers = [each.number for each in base.front[:3]]
    entries = [_entry(base, numbers[0], "on", 0.995, None), _entry(base, numbers[1], "off", 0.004, reason)]
    refused = {**_entry(base, numbers[2], "on", 1.0, None), "confirmed": None, "refused": reason}
    record = {
        "schema": "moo.confirm/1",
        "study": base.study_name,
        "time": "2026-11-21T10:00:00+00:00",
        "ended": "decided",
        "n_rounds": 6,
        "candidates": [*entries, refused],
        "test_opened": [
            {"time": "2026-11-21T10:01:00+00:00", "trials": numbers, "again": False, "plan": "0"}
        ],
        "notes": ["fed with made inputs of the search's shapes: give --task for its own rows", reason or ""],
    }
    return replace(base, confirmation=record)


def _entry(base: Results, number: int, verdict: str, p: float, reason: str | None) -> dict[str, Any]:
    found = next(each for each in base.trials if each.number == number)
    metrics = {}
    for metric in base.problem.metrics:
        search = found.estimate(metric.name)
        assert search.value is not None
        again = Estimate(search.value * 1.05, search.value * 1.01, search.value * 1.2)
        is_launched = metric.stage == "measured"
        metrics[metric.name] = {
            "search": search.to_json(),
            "confirmed": again.to_json() if is_launched else None,
        }
    return {
        "trial": number,
        "role": "front",
        "is_baseline": found.is_baseline,
        "confirmed": {"p_on_front": p, "p_feasible": 0.97, "verdict": verdict, "reason": reason},
        "refused": None,
        "n_launches": 6,
        "tags": [],
        "metrics": metrics,
        "retrained": {
            "failures": [reason] if reason else [],
            "validation": {"accuracy": {"mean": 0.94, "sd": 0.004, "n": 3}},
            "test": {"accuracy": {"mean": 0.93, "sd": None, "n": 1}},
        },
        "test": {"accuracy": Estimate(0.925, 0.9, 0.95).to_json()},
    }
