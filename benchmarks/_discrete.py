"""Small deployment choices with conditional parameters: made-up formulas, all configurations enumerable."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from benchmarks._problem import Outcome, Problem, Task

PRECISION_BYTES = {"fp32": 4, "fp16": 2, "int8": 1}
PRECISION_SPEED = {"fp32": 1.0, "fp16": 1.15, "int8": 2.3}
CALIBRATION_ERROR = {"minmax": 0.022, "entropy": 0.012, "percentile": 0.009}
GRAPH_SPEED = {"basic": 1.0, "extended": 1.2, "all": 1.25}
COMPILE_SPEED = {"default": 1.1, "reduce-overhead": 1.3, "max-autotune": 1.45}
COMPILE_MEMORY_MB = {"default": 40.0, "reduce-overhead": 150.0, "max-autotune": 220.0}


def deploy_precision() -> Task:
    """Error and latency (ms) of a network by precision, threads, width and depth; 384 configurations.

    Eight-bit weights need a calibration, which other precisions do not have. Bounded: the file (MB) and
    the threads' share of the host (core milliseconds an inference).
    """
    space = {
        "precision": CategoricalDistribution(tuple(PRECISION_BYTES)),
        "calibration": CategoricalDistribution(tuple(CALIBRATION_ERROR)),
        "per_channel": CategoricalDistribution((False, True)),
        "log2_threads": IntDistribution(0, 3),
        "width": FloatDistribution(0.5, 1.0, step=0.25),
        "depth": IntDistribution(1, 4),
    }
    conditions = {"calibration": ("precision", ("int8",)), "per_channel": ("precision", ("int8",))}

    def evaluate(params: dict[str, Any]) -> Outcome:
        threads, width, depth = 2 ** params["log2_threads"], params["width"], params["depth"]
        million_weights = 6.0 * width**2 * depth
        error = 0.04 + 0.21 * million_weights**-0.55 + 0.004 * abs(depth - 3) / width
        if params["precision"] == "fp16":
            error += 0.001 * depth
        if params["precision"] == "int8":
            error += (
                CALIBRATION_ERROR[params["calibration"]] * (0.5 if params["per_channel"] else 1.0) / width
            )
        overhead_ms = 0.4 * depth + (0.3 * depth if params.get("per_channel") else 0.0) + 0.25 * (threads - 1)
        work_ms = 2.6 * million_weights / PRECISION_SPEED[params["precision"]]
        latency_ms = overhead_ms + work_ms * (0.12 + 0.88 / threads)
        return Outcome(
            losses=(error, latency_ms),
            constraints={
                "size_mb": million_weights * PRECISION_BYTES[params["precision"]] - 24.0,
                "core_ms": threads * latency_ms - 40.0,
            },
        )

    return Task(
        name="deploy-precision",
        group="discrete-small",
        space=space,
        evaluate=evaluate,
        n_objectives=2,
        constraint_names=("size_mb", "core_ms"),
        conditions=conditions,
    )


def deploy_serving() -> Task:
    """Error and log10 cost a request (core ms) of a served model; 480 configurations.

    Each runtime has its own switches, an early exit its own threshold. Bounded: the latency of a batch
    (ms) and the memory (MB).
    """
    space = {
        "log2_scale": IntDistribution(0, 3),
        "runtime": CategoricalDistribution(("onnxruntime", "torch")),
        "graph": CategoricalDistribution(tuple(GRAPH_SPEED)),
        "compile": CategoricalDistribution(tuple(COMPILE_SPEED)),
        "log2_batch": IntDistribution(0, 3),
        "early_exit": CategoricalDistribution((False, True)),
        "threshold": FloatDistribution(0.6, 0.9, step=0.1),
    }
    conditions = {
        "graph": ("runtime", ("onnxruntime",)),
        "compile": ("runtime", ("torch",)),
        "threshold": ("early_exit", (True,)),
    }

    def evaluate(params: dict[str, Any]) -> Outcome:
        scale, batch = 2.0 ** params["log2_scale"], 2 ** params["log2_batch"]
        error = 0.05 + 0.18 * scale**-0.6
        work_ms = 4.0 * scale
        if params["early_exit"]:
            share_left_early = 1.0 - params["threshold"] ** 1.5
            error += 0.11 * share_left_early / math.sqrt(scale)
            work_ms *= 1.06 - 0.9 * share_left_early
        if params["runtime"] == "onnxruntime":
            work_ms /= GRAPH_SPEED[params["graph"]]
            overhead_ms, memory_mb = 1.5, 60.0 + (25.0 if params["graph"] == "all" else 0.0)
        else:
            work_ms /= COMPILE_SPEED[params["compile"]]
            overhead_ms, memory_mb = 2.5, 90.0 + COMPILE_MEMORY_MB[params["compile"]]
        latency_ms = overhead_ms + work_ms * batch**0.85
        return Outcome(
            losses=(error, math.log10(latency_ms / batch)),
            constraints={
                "latency_ms": latency_ms - 45.0,
                "memory_mb": memory_mb + 24.0 * scale + 6.0 * scale * batch - 330.0,
            },
        )

    return Task(
        name="deploy-serving",
        group="discrete-small",
        space=space,
        evaluate=evaluate,
        n_objectives=2,
        constraint_names=("latency_ms", "memory_mb"),
        conditions=conditions,
    )


DISCRETE_TASKS: Mapping[str, Callable[[], Task]] = {
    "deploy-precision": deploy_precision,
    "deploy-serving": deploy_serving,
}


def discrete_problem(name: str) -> Problem:
    """A small discrete task with its true front, found by enumeration."""
    task = DISCRETE_TASKS[name]()
    outcomes = [task.evaluate(params) for params in task.configurations()]
    return Problem.from_front(task, [outcome.losses for outcome in outcomes if outcome.is_feasible])
