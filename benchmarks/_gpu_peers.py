"""How others time a call on a GPU, in one process. Run as a program of its own, from the checkout.

`python -m benchmarks._gpu_peers {facts,loop,do_bench} REQUEST`, the request being JSON with `model`,
`provider`, `batch` and `options`, prints JSON: facts of the device and its software, the median of a call in
seconds, or why there is none.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from profilers import Runtime, environment
from profilers._child._device import Device
from profilers._child._errors import ProviderError
from profilers._child._inputs import Inputs
from profilers._child._torch import TorchRunner, open_device
from profilers._measuring import Feeds, request_for

N_CALLS = 400
N_QUEUED = 20  # calls between two looks at the clock
WARM_S = 1.0
PACKAGES = ("torch", "triton", "numpy", "nvidia-ml-py")
DO_BENCH_MS = 400  # of warm-up, and of timing


def main(kind: str, text: str) -> None:
    """Print what was found."""
    wanted = json.loads(text)
    try:
        found = facts(wanted["provider"]) if kind == "facts" else {"median_s": PEERS[kind](wanted)}
    except (ProviderError, ImportError, RuntimeError) as error:
        found = {"reason": " ".join(f"{error}".split())}
    print(json.dumps(found))


def facts(provider: str) -> dict[str, Any]:
    """What the device is, its driver, and the versions of the software."""
    device = open_device(provider)
    assert device is not None
    versions = {name: number for name in PACKAGES if (number := version_of(name)) is not None}
    driver = environment()["software"].get("nvidia_driver")
    return {**device.facts(), "driver": driver, "versions": versions}


def version_of(package: str) -> str | None:
    """The version of a package; None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def loop(wanted: Mapping[str, Any]) -> float:
    """The median of a plain loop between marks, after a while in which the clocks settle."""
    device, call = called(wanted)
    end_s = perf_counter() + WARM_S
    while perf_counter() < end_s:
        for _ in range(N_QUEUED):
            call()
        device.synchronize()
    marks = []
    for _ in range(N_CALLS):
        before = device.event()
        call()
        marks.append((before, device.event()))
    device.synchronize()
    return float(np.median([device.elapsed_ns(*pair) for pair in marks])) / 1e9


def do_bench(wanted: Mapping[str, Any]) -> float:
    """The median by Triton, which empties the cache before each call."""
    from triton.testing import (  # type: ignore[import-not-found, unused-ignore]
        do_bench as triton_do_bench,
    )

    _, call = called(wanted)
    median_ms = triton_do_bench(call, warmup=DO_BENCH_MS, rep=DO_BENCH_MS, return_mode="median")
    return float(median_ms) / 1e3


def called(wanted: Mapping[str, Any]) -> tuple[Device, Callable[[], Any]]:
    """The device, and a call of the model on it with inputs such as the profiler makes."""
    runtime = Runtime(**{name: wanted[name] for name in ("provider", "batch", "options")})
    request = request_for("torch", wanted["model"], runtime, Feeds()) | {"inputs": None}
    runner = TorchRunner(wanted["model"], request["runtime"])
    runner.load()
    assert runner.device is not None
    feed = runner.prepared(Inputs(runner.inputs(), request, Path()).feed(0))  # all of it is made
    return runner.device, lambda: runner.enqueue(feed)


PEERS: dict[str, Callable[[Mapping[str, Any]], float]] = {"loop": loop, "do_bench": do_bench}

if __name__ == "__main__":
    main(*sys.argv[1:])
