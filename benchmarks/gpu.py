"""What measurements on a GPU are worth: `python -m benchmarks.gpu {all,events,do_bench,matmul,..} --help`.

`all` does everything in under nine minutes on a machine with one GPU, and leaves out at the end what does not
fit. Each command adds its figures to `results/gpu.json` as soon as it has them, with the driver, clocks and
versions, and writes the page `results/gpu.md`.

It runs from the checkout, with nothing of it installed and no network. What must be importable: torch with
CUDA, and numpy. Triton, which comes with torch, is for `do_bench` and for what is compiled, which takes a C
compiler too; pynvml (nvidia-ml-py) for driver, clocks and energy; psutil for facts of the machine. Without
one of these its figures are missing, and the page says why.

| command | question |
|---|---|
| events | what the wall time of a call has beside that of the GPU: of one bound by the host, one by the GPU |
| do_bench | do our medians agree with those of `triton.testing.do_bench`, which empties the cache too |
| matmul | is an 8192 x 8192 x 8192 product in bf16 as fast through the profiler as in a plain loop |
| graph | what a CUDA graph, and compiling, make of a small model, and what they cost |
| energy | joules of a call |
| coverage | how many 95% intervals hold the median of all runs: over launches, and within one |
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from benchmarks._gpu_page import page
from profilers import (
    Measurement,
    ProfilerError,
    Protocol,
    Runtime,
    Statistic,
    TorchProfiler,
    environment,
    measure_energy,
    quantile_interval,
)

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).with_name("results")
ROW = Protocol(
    mode="gpu", max_calls=2000, min_time_s=0.5, time_budget_s=3.0, precision_budget_s=0.6, warmup_budget_s=2.0
)
MODELS = Path(__file__).with_name("_gpu_models.py")
LAUNCHES = 5  # of a run whose interval is judged
NONE: Mapping[str, str] = MappingProxyType({})  # options
BF16 = {"precision": "bf16"}
AGREEMENT = 0.02  # between medians of two programs
CANDIDATES: tuple[Mapping[str, str], ...] = (  # for a small model
    NONE,
    {"graph": "on"},
    {"compile": "default"},
    {"compile": "reduce-overhead"},
)
TIME_LIMIT_S = 120.0  # of one process


@dataclass(frozen=True, kw_only=True)
class Bench:
    """How the questions are asked; what varies in tests.

    Attributes:
        provider: Where the models run.
        models: The file of the functions that make them.
        n_rows: Of a large batch, by model.
        protocol: Of one launch.
        rounds: How often two programs take turns.
        runs: Intervals to judge, at most.
        end_s: No run is begun later than this, by `clock`.
        clock: Tells seconds.
    """

    provider: str = "torch-cuda"
    models: Path = MODELS
    n_rows: int = 8192
    protocol: Protocol = ROW
    rounds: int = 3
    runs: int = 20
    end_s: float = float("inf")
    clock: Callable[[], float] = time.monotonic

    def measure(
        self, model: str, options: Mapping[str, str] = NONE, *, batch: int = 1, launches: int = 1
    ) -> tuple[Measurement | None, dict[str, Any]]:
        """The measurement of a model and its row; a row with the reason alone where it cannot be measured."""
        runtime = Runtime(provider=self.provider, batch=batch, options=options)
        who = {"model": model, "batch": batch, "options": dict(options)}
        started = time.monotonic()
        try:
            found = TorchProfiler(time_limit_s=TIME_LIMIT_S).measure(
                f"{self.models}:{model}", runtime, protocol=replace(self.protocol, launches=launches)
            )
        except (ProfilerError, ValueError) as error:
            return None, _told(who | {"reason": " ".join(str(error).split())})
        return found, _told(who | _row(found) | {"seconds": time.monotonic() - started})

    def peer(
        self, kind: str, model: str = "", options: Mapping[str, str] = NONE, *, batch: int = 1
    ) -> dict[str, Any]:
        """What another program finds, in a process of its own; see `_gpu_peers`."""
        wanted = {"model": f"{self.models}:{model}", "provider": self.provider, "batch": batch}
        words = [
            sys.executable,
            "-m",
            "benchmarks._gpu_peers",
            kind,
            json.dumps(wanted | {"options": dict(options)}),
        ]
        try:
            done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, timeout=TIME_LIMIT_S)
        except subprocess.TimeoutExpired:
            return {"reason": f"{kind} took more than {TIME_LIMIT_S:g} s"}
        lines = done.stdout.splitlines()
        if done.returncode != 0 or not lines:
            return {"reason": (done.stderr.strip().splitlines() or ["it ended without a word"])[-1]}
        found: dict[str, Any] = json.loads(lines[-1])
        return found


def events(bench: Bench) -> dict[str, Any]:
    """Wall time beside the GPU's, for a call bound by the host and one bound by the GPU."""
    rows = [bench.measure("launches")[1], bench.measure("product", batch=bench.n_rows)[1]]
    return {"rows": rows}


def do_bench(bench: Bench) -> dict[str, Any]:
    """Our cold medians beside Triton's, in turns."""
    models = {"product": bench.n_rows, "convolutions": max(1, bench.n_rows // 64)}
    return {"rows": [_in_turns(bench, "do_bench", name, n, "cold") for name, n in models.items()]}


def matmul(bench: Bench) -> dict[str, Any]:
    """A large product in bf16 through the profiler beside a plain loop, in turns."""
    row = _in_turns(bench, "loop", "large_product", bench.n_rows, "hot", BF16)
    operations = 2 * bench.n_rows * 8192**2
    return {"rows": [row | {"operations": operations}]}


def _in_turns(
    bench: Bench, kind: str, model: str, batch: int, clock: str, options: Mapping[str, str] = NONE
) -> dict[str, Any]:
    """The medians by the profiler and by a peer over several rounds, and whether they agree."""
    ours, theirs, reasons, rows = [], [], [], []
    for _ in range(bench.rounds):
        found, row = bench.measure(model, options, batch=batch)
        peer = bench.peer(kind, model, options, batch=batch)
        rows.append(row)
        reasons += [entry["reason"] for entry in (row, peer) if "reason" in entry]
        if reasons:
            break
        value = None if found is None else found.device_latency(0.5, is_cold=clock == "cold").value
        if value is not None and "median_s" in peer:
            ours.append(value)
            theirs.append(peer["median_s"])
    who = {
        "model": model,
        "batch": batch,
        "options": dict(options),
        "peer": kind,
        "clock": clock,
        "rows": rows,
    }
    if not ours:
        return who | {"reason": next(iter(dict.fromkeys(reasons)), "no round was made")}
    ratio = float(np.median(ours) / np.median(theirs))
    medians = {"ours_s": ours, "theirs_s": theirs, "ratio": ratio}
    return _told(who | medians | {"agrees": abs(ratio - 1) <= AGREEMENT})


def graph(bench: Bench) -> dict[str, Any]:
    """A small model as it is, as a CUDA graph, and compiled."""
    return {"rows": [bench.measure("small_network", options)[1] for options in CANDIDATES]}


def energy(bench: Bench) -> dict[str, Any]:
    """Joules of a large product in bf16 and of a call of a small network."""
    rows = []
    for model, batch, options in (
        ("large_product", bench.n_rows, BF16),
        ("small_network", 1, NONE),
    ):
        runtime = Runtime(provider=bench.provider, batch=batch, options=options)
        who = {"model": model, "batch": batch, "options": dict(options)}
        profiler = TorchProfiler(time_limit_s=TIME_LIMIT_S)
        try:
            found = asdict(measure_energy(profiler, f"{bench.models}:{model}", runtime))
        except (ProfilerError, ValueError, OSError) as error:
            found = {"gross_j": None, "net_j": None, "reason": " ".join(str(error).split())}
        rows.append(_told(who | found))
    return {"rows": rows}


def coverage(bench: Bench) -> dict[str, Any]:
    """How many 95% intervals hold the median of all runs: over launches, and within a single one."""
    runs: list[Measurement] = []
    reason = "no run was begun in time"
    while len(runs) < bench.runs and bench.clock() < bench.end_s:
        found, row = bench.measure("small_network", launches=LAUNCHES)
        if found is None:
            reason = row["reason"]
            break
        runs.append(found)
    if not runs:
        return {"reason": reason}
    over = {
        "wall": [found.latency(0.5) for found in runs],
        "device": [found.device_latency(0.5) for found in runs],
    }
    launches = [launch for found in runs for launch in found.launches]
    within = {
        "wall": [quantile_interval(launch.call_s(), 0.5) for launch in launches],
        "device": [quantile_interval(_device_s(launch.device_ns), 0.5) for launch in launches],
    }
    return {
        clock: {
            f"over {LAUNCHES} launches": held(over[clock], over[clock]),
            "within one launch": held(within[clock], over[clock]),
        }
        for clock in over
    }


def held(intervals: Sequence[Statistic], runs: Sequence[Statistic]) -> dict[str, Any]:
    """How many intervals hold the median of all runs, and how wide they are.

    >>> one = Statistic(1.0, 0.9, 1.1, 9, None, None)
    >>> held([one, replace(one, low=1.05)], [one, one])["held"]
    1
    """
    known = [
        (s.value, s.low, s.high) for s in intervals if s.value and s.low is not None and s.high is not None
    ]
    grand = float(np.median([run.value for run in runs if run.value is not None]))
    return {
        "held": sum(low <= grand <= high for _, low, high in known),
        "n": len(known),
        "half_width": float(np.median([(high - low) / (2 * value) for value, low, high in known])),
        "grand_median_s": grand,
    }


def _device_s(device_ns: Any) -> Any:
    assert device_ns is not None
    return device_ns / 1e9


def _row(found: Measurement) -> dict[str, Any]:
    """What is kept of a measurement."""
    device = found.launches[0].device or {}
    names = ("compile_s", "autotune_s", "memory_bytes", "clocks", "clocks_reason")
    return {
        "wall_s": _interval(found.latency(0.5)),
        "hot_s": _interval(found.device_latency(0.5)),
        "cold_s": _interval(found.device_latency(0.5, is_cold=True)),
        "first_call_s": found.launches[0].first_call_s,
        "tags": list(found.tags),
        **{name: device.get(name) for name in names},
    }


def _interval(found: Statistic) -> dict[str, Any]:
    return {"value": found.value, "low": found.low, "high": found.high, "n": found.n}


def _told(row: dict[str, Any]) -> dict[str, Any]:
    """The row, after a line that says what was just done."""
    print(", ".join(f"{name} {row[name]}" for name in ("model", "options", "ratio", "reason") if name in row))
    sys.stdout.flush()
    return row


COMMANDS: dict[
    str, Callable[[Bench], dict[str, Any]]
] = {  # in the order of `all`; the last takes what is left
    "events": events,
    "do_bench": do_bench,
    "matmul": matmul,
    "graph": graph,
    "energy": energy,
    "coverage": coverage,
}


def run(bench: Bench, commands: Sequence[str], out: Path) -> None:
    """Do the commands in turn, and keep what each found before the next is begun."""
    known = json.loads(out.read_text()) if out.exists() else {}
    about = {"facts": bench.peer("facts"), "environment": environment()}
    for name in commands:
        if bench.clock() >= bench.end_s:
            print(f"{name}: left out, the time is over")
            continue
        started = time.monotonic()
        known[name] = COMMANDS[name](bench) | about | {"seconds": time.monotonic() - started}
        out.write_text(json.dumps(known, indent=1) + "\n")
        out.with_suffix(".md").write_text(page(known))


def main(words: Sequence[str] | None = None, bench: Bench | None = None) -> int:
    """Run a command, or all; exit status 2 where there is no GPU."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("command", choices=["all", *COMMANDS, "page"])
    parser.add_argument("--minutes", type=float, default=8.5, help="begin nothing later than this")
    parser.add_argument("--rounds", type=int, default=3, help="in which two programs take turns")
    parser.add_argument("--runs", type=int, default=20, help="of coverage, at most")
    parser.add_argument("--out", type=Path, default=RESULTS / "gpu.json")
    arguments = parser.parse_args(words)
    if arguments.command == "page":
        if not arguments.out.exists():
            print(f"benchmarks.gpu: --out: there is no {arguments.out}: run a command first", file=sys.stderr)
            return 2
        arguments.out.with_suffix(".md").write_text(page(json.loads(arguments.out.read_text())))
        return 0
    asked = bench or Bench()
    end_s = asked.clock() + 60 * arguments.minutes
    asked = replace(asked, rounds=arguments.rounds, runs=arguments.runs, end_s=end_s)
    facts = asked.peer("facts")
    if "reason" in facts:
        print(f"benchmarks.gpu: {facts['reason']}", file=sys.stderr)
        return 2
    run(asked, list(COMMANDS) if arguments.command == "all" else [arguments.command], arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
