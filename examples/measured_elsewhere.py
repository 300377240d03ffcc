"""How to search something that measures itself: any function of a trial can be a task.

Here: which block size makes a matrix product in numpy fast, with how much scratch memory?
"""

import time

import numpy as np

import moo
from objectives import FunctionTask
from profilers import quantile_interval

GENERATOR = np.random.default_rng(0)
A, B = GENERATOR.random((2, 256, 256))


def blocked_product(trial):
    block = 2 ** trial.suggest_int("log2_block", 4, 8)
    latencies_s = []
    for _ in range(21):
        begun = time.perf_counter()
        c = np.zeros_like(A)
        for i in range(0, 256, block):
            for k in range(0, 256, block):
                c[i : i + block] += A[i : i + block, k : k + block] @ B[k : k + block]
        latencies_s.append(time.perf_counter() - begun)
    median = quantile_interval(np.array(latencies_s), 0.5)
    return {
        "latency_p50": moo.Estimate(median.value, median.low, median.high),
        "scratch_bytes": 8 * block * 256,
    }


task = FunctionTask(
    blocked_product,
    metrics=[moo.Metric(name="scratch_bytes", dimension="bytes", direction="minimize")],
    baseline={"log2_block": 6},
)

if __name__ == "__main__":
    study = moo.optimize(
        task,
        minimize=["latency_p50", "scratch_bytes"],
        constraints=["latency_p50 <= 4 x baseline"],
        n_trials=12,
        seed=0,
    )
    print(study.front()[["trial", "param_log2_block", "latency_p50", "scratch_bytes"]])
