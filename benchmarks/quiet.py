"""What a training beside does to a latency, with the quiet window and without: `python -m benchmarks.quiet`.

One model is measured again and again as a sweep measures it, in turns: while nobody else works, once more so,
while trainings wait at their next step (the quiet window), and while they go on. The four of one turn lie
seconds apart, in an order drawn anew, so that what the machine does in a minute falls out of their ratios;
`benchmarks.workers` compares whole sweeps, minutes apart, where it does not. A training is a process of its
own: torch steps of a small network, each within the window and followed by a look whether to pause, as `moo`
does it. All of it is written to `results/quiet.json`; `--page` writes the page from it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._measured_models import convolutions
from benchmarks.workers import overlap
from moo.quiet import OpenWindow, QuietWindow
from profilers import QUICK, OnnxRuntimeProfiler, Runtime

RESULTS = Path(__file__).with_name("results")
FOUND = RESULTS / "quiet.json"
DEPTH = 60  # of the model timed: near a millisecond
ALONE, AGAIN, PAUSED, BESIDE = "alone", "alone, again", "quiet window", "no window"
WAYS = (ALONE, AGAIN, PAUSED, BESIDE)
QUANTILES = {"p50": 0.5, "p95": 0.95}
MAX_OTHERS = 2


def main() -> int:
    """Measure, then print the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--page", action="store_true", help="write the page from what is stored")
    parser.add_argument("--train", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--deaf", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.train is not None:
        train(OpenWindow() if arguments.deaf else QuietWindow(arguments.train))
        return 0
    if not arguments.page:
        found = {str(n): measured(arguments.turns, n) for n in range(1, MAX_OTHERS + 1)}
        FOUND.write_text(json.dumps({"n_cores": os.cpu_count(), "by_n_others": found}, indent=1) + "\n")
    text = page(json.loads(FOUND.read_text(encoding="utf-8")))
    FOUND.with_suffix(".md").write_text(text, encoding="utf-8")
    print(text)
    return 0


def measured(n_turns: int, n_others: int) -> list[dict[str, Any]]:
    """Return for each turn what each way measured: low, value, high in seconds, and the tags."""
    generator = np.random.default_rng(n_others)
    turns = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = convolutions(folder / "model.onnx", depth=DEPTH)
        for number in range(n_turns):
            order = [WAYS[index] for index in generator.permutation(len(WAYS))]
            turns.append({way: _one(way, model, folder, n_others) for way in order})
            medians = {way: f"{turns[-1][way]['p50'][1] * 1e6:.0f} us" for way in WAYS}
            print(f"{n_others} beside, turn {number + 1} of {n_turns}: {medians}", flush=True)
    return turns


def _one(way: str, model: Path, folder: Path, n_others: int) -> dict[str, Any]:
    others = n_others if way in {PAUSED, BESIDE} else 0
    with contextlib.ExitStack() as stack:
        for _ in range(others):
            stack.enter_context(_training(folder, is_deaf=way == BESIDE))
        stack.enter_context(QuietWindow(folder).measuring())
        found = OnnxRuntimeProfiler().measure(model, Runtime(), protocol=QUICK)
    quantiles = {name: found.latency(q) for name, q in QUANTILES.items()}
    return {name: [q.low, q.value, q.high] for name, q in quantiles.items()} | {"tags": list(found.tags)}


@contextlib.contextmanager
def _training(folder: Path, *, is_deaf: bool) -> Iterator[None]:
    """Have another process train meanwhile; it has begun when this does."""
    words = [sys.executable, "-m", "benchmarks.quiet", "--train", str(folder), *["--deaf"] * is_deaf]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}  # as two workers of a machine of two cores
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        try:
            if process.stdout.readline() != "begun\n":
                raise RuntimeError("the training did not begin")
            yield
        finally:
            process.kill()


def train(window: OpenWindow | QuietWindow) -> None:
    """Train a small convolutional network on noise, for ever."""
    import torch

    torch.manual_seed(0)
    body = torch.nn.Sequential(
        torch.nn.Conv2d(3, 32, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(32, 32, 3, padding=1)
    )
    optimizer = torch.optim.SGD(body.parameters(), lr=1e-3)
    images = torch.randn(32, 3, 32, 32)
    with window.working():
        for step in range(10**9):
            optimizer.zero_grad()
            body(images).square().mean().backward()
            optimizer.step()
            window.pause()
            if step == 2:
                print("begun", flush=True)


def page(found: Mapping[str, Any]) -> str:
    """Return the page in Markdown: each way against the first of the same turn."""
    import pandas as pd

    from benchmarks._report import markdown, versions

    rows = [
        _row(way, name, n_others, turns)
        for n_others, turns in found["by_n_others"].items()
        for name in QUANTILES
        for way in WAYS
        if way != ALONE
    ]
    return (
        "# What a training beside it does to a latency\n\n"
        "The p50 and the p95 of one ONNX model, measured as sweeps measure it (one launch, one thread), over"
        " those of the same turn while nobody else worked: the median of the turns' ratios with its 95%"
        " interval, and in how many turns both 95% intervals overlap.\n\n"
        f"{markdown(pd.DataFrame(rows))}\n\n{found['n_cores']} cores. {versions()}\n\n"
        "`python -m benchmarks.quiet`\n"
    )


def _row(way: str, name: str, n_others: str, turns: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    from profilers._statistics import quantile_interval

    ratios = np.array([turn[way][name][1] / turn[ALONE][name][1] for turn in turns])
    middle = quantile_interval(ratios, 0.5)  # no ends where turns are few
    ends = "" if middle.low is None or middle.high is None else f" ({middle.low:.2f} to {middle.high:.2f})"
    n_agree = sum(overlap(turn[way][name], turn[ALONE][name]) for turn in turns)
    contended = sum("contended" in turn[way]["tags"] for turn in turns)
    return {
        "quantile": name,
        "trainings beside": "0" if way == AGAIN else n_others,
        "way": way,
        "ratio": f"{np.median(ratios):.3f}{ends}",
        "90% of ratios": "{:.2f} to {:.2f}".format(*np.quantile(ratios, [0.05, 0.95])),
        "intervals agree": f"{n_agree} of {len(turns)}",
        "tagged contended": f"{contended} of {len(turns)}",
    }


if __name__ == "__main__":
    sys.exit(main())
