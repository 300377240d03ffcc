"""How others time a model: one process, and an interval from within it. Run as a program of its own.

`python -m benchmarks._measuring_peers {plain,torch} MODEL` prints value, low and high in seconds as JSON.
"""

from __future__ import annotations

import json
import sys
from time import perf_counter_ns
from typing import Any

import numpy as np

N_CALLS = 100
N_WARMUP = 10


def main(kind: str, model: str) -> None:
    """Time the model and print the median with its interval by order statistics."""
    from profilers import quantile_interval

    session, feed = _opened(model)
    times = _plain(session, feed) if kind == "plain" else _torch(session, feed)
    found = quantile_interval(times, 0.5)
    print(json.dumps({"value": found.value, "low": found.low, "high": found.high, "n": found.n}))


def _opened(model: str) -> tuple[Any, dict[str, Any]]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    (item,) = session.get_inputs()
    row = np.random.default_rng(0).standard_normal((1, *item.shape[1:])).astype(np.float32)
    return session, {item.name: row}


def _plain(session: Any, feed: dict[str, Any]) -> Any:
    for _ in range(N_WARMUP):
        session.run(None, feed)
    times = []
    for _ in range(N_CALLS):
        before = perf_counter_ns()
        session.run(None, feed)
        times.append((perf_counter_ns() - before) / 1e9)
    return np.array(times)


def _torch(session: Any, feed: dict[str, Any]) -> Any:
    from torch.utils.benchmark import Timer

    timer = Timer("session.run(None, feed)", globals={"session": session, "feed": feed}, num_threads=1)
    return np.array(timer.blocked_autorange(min_run_time=1.0).times)


if __name__ == "__main__":
    main(*sys.argv[1:])
