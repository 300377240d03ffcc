"""What a measurement is worth: `python -m benchmarks.measuring {coverage,same,slower,modes,memory} --help`.

Each command adds its figures to `results/measuring.json`; `page` turns that into `results/measuring.md`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._measured_models import chain, convolutions, table, wide_middle
from profilers import (
    MODES,
    QUICK,
    STANDARD,
    Candidate,
    OnnxRuntimeProfiler,
    Runtime,
    compare_interleaved,
    environment,
)

RESULTS = Path(__file__).with_name("results")
PEERS = ("torch", "plain")
DEPTH = 60  # of the model timed
RUNTIME = Runtime()
MEMORY = replace(QUICK, max_calls=72, min_calls=10, time_budget_s=0.5, profile_s=0.2)


def coverage(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """How many 95% intervals for the median hold the median of all runs: ours and two peers', in turns."""
    model = convolutions(folder / "m.onnx", depth=DEPTH)
    found: dict[str, list[dict[str, Any]]] = {"ours": [], **{kind: [] for kind in PEERS}}
    for number in range(arguments.runs):
        found["ours"].append(_ours(model))
        for kind in PEERS:
            command = [sys.executable, "-m", "benchmarks._measuring_peers", kind, str(model)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            found[kind].append(json.loads(done.stdout))
        print(f"{number + 1} of {arguments.runs}: p50 {found['ours'][-1]['value']:.3e} s", flush=True)
    return {name: _held(intervals) for name, intervals in found.items()} | {"runs": arguments.runs}


def _ours(model: Path) -> dict[str, Any]:
    started = time.monotonic()
    measurement = OnnxRuntimeProfiler().measure(model, RUNTIME, protocol=STANDARD)
    median = measurement.latency(0.5)
    return {
        "value": median.value,
        "low": median.low,
        "high": median.high,
        "seconds": time.monotonic() - started,
        "launches": len(measurement.launches),
        "tags": list(measurement.tags),
    }


def _held(intervals: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """How many intervals hold the median of all values, and how wide they are."""
    grand = float(np.median([entry["value"] for entry in intervals]))
    held = sum(entry["low"] <= grand <= entry["high"] for entry in intervals)
    widths = [(entry["high"] - entry["low"]) / (2 * entry["value"]) for entry in intervals]
    return {
        "held": held,
        "grand_median_s": grand,
        "half_width": float(np.median(widths)),
        "intervals": intervals,
    }


def same(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """How often a model is found FASTER or SLOWER than itself."""
    model = convolutions(folder / "m.onnx", depth=DEPTH)
    return _compared(model, model, arguments.runs)


def slower(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """How often a model with 5% more work is found SLOWER, alone and beside a busy process."""
    model = convolutions(folder / "m.onnx", depth=DEPTH)
    other = convolutions(folder / "n.onnx", depth=DEPTH + DEPTH // 20)
    quiet = _compared(model, other, arguments.runs)
    with _busy_process():
        return {"quiet": quiet, "beside a busy process": _compared(model, other, arguments.runs)}


def _compared(reference: Path, candidate: Path, n_runs: int) -> dict[str, Any]:
    found = []
    for number in range(n_runs):
        started = time.monotonic()
        candidates = [
            Candidate(label=name, profiler=OnnxRuntimeProfiler(), model_path=path, runtime=RUNTIME)
            for path, name in ((reference, "reference"), (candidate, "candidate"))
        ]
        (comparison,) = compare_interleaved(candidates, protocol=STANDARD, seed=number).comparisons
        found.append(
            {
                "verdict": str(comparison.verdict),
                "effect": comparison.effect.value,
                "low": comparison.effect.low,
                "high": comparison.effect.high,
                "seconds": time.monotonic() - started,
            }
        )
        print(f"{number + 1} of {n_runs}: {found[-1]}", flush=True)
    verdicts = [entry["verdict"] for entry in found]
    return {"verdicts": {name: verdicts.count(name) for name in sorted(set(verdicts))}, "runs": found}


@contextmanager
def _busy_process() -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def modes(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:  # noqa: ARG001
    """What each mode costs, all included, for models of several speeds; rigorous for one of them."""
    models = {
        "fast": chain(folder / "f.onnx", width=64, depth=4),
        "medium": convolutions(folder / "m.onnx", depth=DEPTH),
        "20 MB of weights": chain(folder / "w.onnx", width=512, depth=20),
        "slow": chain(folder / "s.onnx", width=2048, depth=10),
    }
    rows = []
    for name, model in models.items():
        for mode, protocol in MODES.items():
            if mode == "rigorous" and name != "medium":
                continue
            started = time.monotonic()
            measurement = OnnxRuntimeProfiler().measure(model, RUNTIME, protocol=protocol)
            median = measurement.latency(0.5)
            rows.append(
                {
                    "model": name,
                    "mode": mode,
                    "seconds": time.monotonic() - started,
                    "launches": len(measurement.launches),
                    "p50_s": median.value,
                    "half_width": (median.high - median.low) / (2 * median.value),
                    "tags": list(measurement.tags),
                }
            )
            print(rows[-1], flush=True)
    return {"rows": rows}


def memory(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:  # noqa: ARG001
    """The memory of models whose need is known by construction.

    The live peak is compared with the tensors alive at once; the process's peak, which also holds libraries,
    by how much it grows from one model to the next, twice as large, with and without the arena. ONNX Runtime
    may take more than what lives at once, for it packs tensors into one block by their lifetimes; a table of
    constants leaves nothing to pack.
    """
    rows: list[dict[str, Any]] = []
    for n_values in (16_000_000, 32_000_000):
        measurement = OnnxRuntimeProfiler().measure(
            table(folder / "m.onnx", n_values=n_values), RUNTIME, protocol=MEMORY
        )
        peak = measurement.peak_memory().value
        rows.append({"what": "constants", "truth_bytes": 4 * n_values, "process_peak_with_arena": peak})
        print(rows[-1], flush=True)
    for n_functions in (3, 6):
        for n_values in (4_000_000, 8_000_000):
            model = wide_middle(folder / "m.onnx", n_values=n_values, n_functions=n_functions)
            truth = 8 * n_values * n_functions
            row: dict[str, Any] = {"what": f"{2 * n_functions} tensors", "truth_bytes": truth}
            for enable_arena in (True, False):
                runtime = Runtime(enable_arena=enable_arena)
                measurement = OnnxRuntimeProfiler().measure(model, runtime, protocol=MEMORY)
                row[f"process_peak_{'with' if enable_arena else 'without'}_arena"] = (
                    measurement.peak_memory().value
                )
                if enable_arena and measurement.profile is not None:
                    row["live_peak"] = measurement.profile.arena.live_peak_bytes
                    row["arena_peak"] = measurement.profile.arena.in_use_peak_bytes
            rows.append(row)
            print(row, flush=True)
    return {"rows": rows}


COMMANDS: dict[str, Callable[[argparse.Namespace, Path], dict[str, Any]]] = {
    "coverage": coverage,
    "same": same,
    "slower": slower,
    "modes": modes,
    "memory": memory,
}


def main(words: Sequence[str] | None = None) -> int:
    """Run one command and keep what it found."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.measuring", description=__doc__)
    parser.add_argument("command", choices=[*COMMANDS, "page"])
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--out", type=Path, default=RESULTS / "measuring.json")
    arguments = parser.parse_args(words)
    known = json.loads(arguments.out.read_text()) if arguments.out.exists() else {}
    if arguments.command != "page":
        with tempfile.TemporaryDirectory() as name:
            found = COMMANDS[arguments.command](arguments, Path(name))
        known[arguments.command] = found | {"environment": environment()}
        arguments.out.write_text(json.dumps(known, indent=1))
    from benchmarks._measuring_page import page

    arguments.out.with_suffix(".md").write_text(page(known))
    return 0


if __name__ == "__main__":
    sys.exit(main())
