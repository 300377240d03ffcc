"""Which network is fast on the CPU, and which on the GPU? Not the same: one sweep, both measured.

Needs an NVIDIA GPU and onnxruntime-gpu. A wide, shallow network keeps a GPU busy and a CPU waiting; a deep,
narrow one is the other way round, for each layer costs a GPU a launch. So the fronts differ.
"""

import sys
from collections.abc import Mapping

import moo
import reports
from objectives.digits import Digits
from profilers import Runtime


class OnBoth(Digits):
    """The demo's networks, each measured on the GPU too."""

    also: Mapping[str, Runtime] = {"gpu": Runtime(provider="cuda", batch=64, options={"io": "device"})}


def main(n_trials: int) -> None:
    study = moo.optimize(
        OnBoth(),
        maximize=["accuracy"],
        minimize=["latency_p50", "gpu_latency_p50"],
        n_trials=n_trials,
        seed=0,
        folder="moo-runs/gpu-sweep",
    )
    front = study.front()
    print(front[["trial", "accuracy", "latency_p50", "gpu_latency_p50"]])
    for column in ("latency_p50", "gpu_latency_p50"):
        best = front.loc[front.accuracy >= front.accuracy.max() - 0.01].sort_values(column).iloc[0]
        print(f"within a point of the best accuracy, least {column}: trial {best.trial:.0f}")
    print("report:", reports.write(study.results(), study.folder))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 40)
