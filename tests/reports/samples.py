"""Results made by hand: a digits sweep as it would look, and awkward ones."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from moo.evaluation import Artefact, Estimate, Evaluation
from moo.metrics import Metric
from moo.problem import Problem
from moo.results import FinishedTrial, Results

HOSTILE = "<script>alert('x')</script>\"</script><!-- $x^2$ %{x} \n\u2028 &amp; 深度学习 \u202e é"

ENVIRONMENT: dict[str, Any] = {
    "identity": {
        "cpu_model": "Intel(R) Xeon(R) Processor",
        "machine": "x86_64",
        "instruction_sets": ["avx2", "avx512_vnni", "avx512f", "fma"],
        "physical_cores": 2,
        "cgroup_cpu_quota": None,
        "total_memory_bytes": 25276502016,
        "is_virtual_machine": True,
    },
    "software": {
        "python": "CPython 3.11.7",
        "onnxruntime": "onnxruntime 1.31.1",
    },
    "state": {"time": "2026-11-21T09:54:43+00:00", "load_average_1min": 1.43},
    "fingerprint": "a6db6006291d",
}
PROTOCOL: dict[str, Any] = {"mode": "quick", "launches": 1, "min_calls": 72, "time_budget_s": 2.0}


def digits(n: int = 60, *, seed: int = 0, study_name: str = "digits on one core") -> Results:
    """A sweep of small convolutional networks: three objectives, two constraints, every state."""
    rng = np.random.default_rng(seed)
    problem = Problem.parse(
        maximize=["accuracy"],
        minimize=["latency_p50", "parameters"],
        constraints=["latency_p95 <= 400 us", "peak_memory <= 48 MiB"],
    )
    trials = tuple(_digits_trial(number, problem, rng) for number in range(n))
    return Results(
        study_name,
        problem,
        trials,
        bounds=problem.bounds(),
        task="examples/digits.py:Digits",
        environment=ENVIRONMENT,
        protocol=PROTOCOL,
    )


def _digits_trial(number: int, problem: Problem, rng: np.random.Generator) -> FinishedTrial:
    blocks, width = int(rng.integers(1, 4)), int(rng.choice([4, 8, 16, 24, 32, 48, 64]))
    params: dict[str, Any] = {
        "width": width,
        "blocks": blocks,
        "activation": str(rng.choice(["relu", "hardswish"])),
        "learning_rate": float(10 ** rng.uniform(-4, -1.5)),
    }
    params |= {f"kernel_{block}": int(rng.choice([3, 5])) for block in range(blocks)}
    if number == 0:
        params |= {"width": 32, "blocks": 2, "learning_rate": 0.001}
        width, blocks = 32, 2
    if number and rng.random() < 0.05:
        return FinishedTrial(
            number=number,
            state="failed",
            params=params,
            stage="export",
            reason="unsupported operator GridSample",
        )
    evaluation = _digits_evaluation(number, params, width, blocks, rng)
    violations = {
        constraint.key: constraint.violation(evaluation.metrics[constraint.metric.name], constraint.amount)
        for constraint in problem.constraints
    }
    worst = max(violations.values())
    is_pruned = bool(number) and worst > 0.35
    if is_pruned:
        metrics = {name: value for name, value in evaluation.metrics.items() if name != "accuracy"}
        evaluation = replace(evaluation, metrics=metrics, artefact=None)
    broken = next((key for key, violation in violations.items() if violation == worst), "")
    return FinishedTrial(
        number=number,
        state="pruned" if is_pruned else "complete",
        params=params,
        evaluation=evaluation,
        violations=violations,
        stage="measure" if is_pruned else None,
        reason=f"violates {broken} beyond doubt" if is_pruned else None,
        is_baseline=number == 0,
        duration_s=float(rng.uniform(4, 20)),
    )


def _digits_evaluation(
    number: int, params: dict[str, Any], width: int, blocks: int, rng: np.random.Generator
) -> Evaluation:
    kernels = [params.get(f"kernel_{block}", 3) for block in range(blocks)]
    parameters = 650 + 12 * width + sum(width * width * kernel * kernel for kernel in kernels)
    latency = 70e-6 + 1.8e-9 * parameters * float(rng.lognormal(0, 0.15)) + 25e-6 * blocks
    mistuned = abs(math.log10(params["learning_rate"]) + 2.7) / 2
    accuracy = (
        0.992 - 0.35 / math.sqrt(parameters / 60) - 0.03 * mistuned**2 - float(abs(rng.normal(0, 0.004)))
    )
    accuracy = round(min(0.997, max(0.1, accuracy)) * 360) / 360
    half = 1.96 * math.sqrt(accuracy * (1 - accuracy) / 360)
    p95 = latency * float(rng.uniform(1.05, 1.4))
    memory = 2.0**20 * (24 + parameters / 9000 + float(rng.uniform(0, 2)))
    return Evaluation(
        metrics={
            "accuracy": Estimate(accuracy, accuracy - half, min(1.0, accuracy + half)),
            "latency_p50": Estimate(latency, latency * 0.985, latency * 1.02),
            "latency_p95": Estimate(p95, p95 * 0.96, p95 * 1.09),
            "latency_p99": Estimate(None, reason="needs 368 samples, has 120"),
            "parameters": Estimate.exact(float(parameters)),
            "file_size": Estimate.exact(float(parameters * 4 + 1800)),
            "peak_memory": Estimate(memory, memory * 0.98, memory * 1.02),
        },
        tags=("single_launch", "too_few_for_p99") if rng.random() < 0.8 else ("contended", "single_launch"),
        artefact=Artefact(
            path=f"trials/{number}/model.onnx", sha256=f"{number:064x}", bytes=parameters * 4 + 1800
        ),
        runtime={"provider": "cpu", "intra_op_num_threads": 1, "batch": 1},
        environment="a6db6006291d",
    )


def trial(number: int, values: dict[str, float | None], **options: Any) -> FinishedTrial:
    """A complete trial with these metric values, without intervals."""
    metrics = {name: Estimate(value) for name, value in values.items()}
    return FinishedTrial(
        number=number,
        state=options.pop("state", "complete"),
        params=options.pop("params", {}),
        evaluation=Evaluation(metrics=metrics, tags=options.pop("tags", ())),
        **options,
    )


def pairs(points: Iterable[tuple[float, float]], *, baseline: int | None = None, **options: Any) -> Results:
    """Results with accuracy and latency_p50 in seconds, one complete trial a point, no constraint."""
    trials = tuple(
        trial(number, {"accuracy": accuracy, "latency_p50": latency}, is_baseline=number == baseline)
        for number, (accuracy, latency) in enumerate(points)
    )
    problem = Problem.parse(maximize=["accuracy"], minimize=["latency_p50"])
    return Results("pairs", problem, trials, **options)


def constrained(points: Sequence[tuple[float, float, float]]) -> Results:
    """Results with accuracy, latency_p50, and the violation of the one constraint."""
    problem = Problem.parse(
        maximize=["accuracy"], minimize=["latency_p50"], constraints=["latency_p95 <= 1 ms"]
    )
    trials = tuple(
        trial(
            number,
            {"accuracy": accuracy, "latency_p50": latency, "latency_p95": 0.001 * (1 + violation)},
            violations={"latency_p95 <= 1 ms": violation},
        )
        for number, (accuracy, latency, violation) in enumerate(points)
    )
    return Results("constrained", problem, trials, bounds=(0.001,))


def many_objectives(n_objectives: int, n: int = 30, *, seed: int = 0) -> Results:
    """Results with 1 to 5 minimised user metrics, uniformly distributed."""
    rng = np.random.default_rng(seed)
    names = [f"cost_{index}" for index in range(n_objectives)]
    metrics = {name: Metric(name=name) for name in names}
    problem = Problem.parse(minimize=names, metrics=metrics)
    rows = rng.uniform(1, 2, (n, n_objectives))
    trials = tuple(
        trial(i, {name: float(value) for name, value in zip(names, row, strict=True)})
        for i, row in enumerate(rows)
    )
    return Results(f"{n_objectives} objectives", problem, trials, extra_metrics=metrics)


def no_complete() -> Results:
    """Every trial failed or was pruned."""
    base = constrained([(0.9, 0.002, 1.0), (0.9, 0.003, 2.0)])
    pruned = tuple(
        replace(t, state="pruned", reason="violates latency_p95 <= 1 ms beyond doubt") for t in base.trials
    )
    failed = FinishedTrial(number=2, state="failed", params={}, stage="export", reason="no such operator")
    return replace(base, trials=(*pruned, failed))


def hostile() -> Results:
    """A digits sweep with a hostile text in every field that takes text."""
    base = digits(30)
    nasty = Metric(name="score", label=HOSTILE, direction="maximize")
    problem = Problem.parse(maximize=["score"], minimize=["latency_p50"], metrics={"score": nasty})
    trials = tuple(_hostile_trial(each) for each in base.trials)
    return Results(
        HOSTILE,
        problem,
        trials,
        task=HOSTILE,
        environment={HOSTILE: HOSTILE, "nested": {HOSTILE: [HOSTILE]}},
        protocol={HOSTILE: HOSTILE},
        extra_metrics={"score": nasty},
    )


def _hostile_trial(each: FinishedTrial) -> FinishedTrial:
    evaluation = each.evaluation
    if evaluation is not None:
        accuracy = evaluation.metrics.get("accuracy", Estimate(None, reason=HOSTILE))
        evaluation = replace(
            evaluation,
            metrics={**evaluation.metrics, "score": accuracy},
            tags=(HOSTILE, "single_launch"),
            runtime={HOSTILE: HOSTILE},
        )
    return replace(
        each,
        params={HOSTILE: HOSTILE, "=cmd()": "=1+1", "bad": float("inf"), **each.params},
        evaluation=evaluation,
        violations={},
        stage=each.stage and HOSTILE,
        reason=each.reason and HOSTILE,
    )


def bounded() -> Results:
    """A digits sweep with two objectives, each of them bounded too."""
    base = digits()
    problem = Problem.parse(
        maximize=["accuracy"],
        minimize=["latency_p50"],
        constraints=["latency_p50 <= 300 us", "accuracy >= baseline - 4%"],
    )
    assert base.baseline is not None
    assert base.baseline.evaluation is not None
    bounds = problem.bounds(base.baseline.evaluation.metrics)
    trials = tuple(replace(each, violations=_violations(each, problem, bounds)) for each in base.trials)
    return replace(base, problem=problem, bounds=bounds, trials=trials)


def _violations(each: FinishedTrial, problem: Problem, bounds: Sequence[float]) -> dict[str, float]:
    pairs_ = zip(problem.constraints, bounds, strict=True)
    found = {c.key: c.violation(each.estimate(c.metric.name), bound) for c, bound in pairs_}
    return {key: violation for key, violation in found.items() if violation is not None}
