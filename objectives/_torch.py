"""A family of PyTorch models, served by ONNX Runtime."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from moo.errors import FitError
from moo.evaluation import Evaluation, TrialContext
from objectives._accuracy import correct_predictions
from objectives._data import Splits
from objectives._export import INPUT_NAME, check_same_outputs, export_onnx, framework_outputs
from objectives._pipeline import LATENCIES, Deployment, Score, Stopwatch, machine_part
from objectives._report import Report
from objectives._size import count_macs, count_parameters
from objectives._task import Task
from profilers import QUICK, OnnxRuntimeProfiler, Profiler, Protocol, Runtime, environment, smallest_n

if TYPE_CHECKING:
    import optuna

__all__ = ["TorchTask"]

_CHECKED_ROWS = 256
_TAIL_BUDGET_S = 40.0  # within the profiler's limit of 60 s for a process, warm-up and loading included
_BASELINE_LAUNCHES = 6  # the fewest that give the median over launches an interval


class TorchTask(Task):
    """A family of PyTorch models: a person gives `data`, `build` and `fit`.

    A trial is built, fitted, exported to ONNX, run in its runtime, compared with torch on the
    same rows, measured, and scored on the validation data through the runtime.

    Attributes:
        runtime: How candidates are served.
        protocol: How they are timed.
        profiler: What runs and measures them.
        tolerance: Largest difference between the artefact's and torch's outputs, as a fraction
            of the largest output.
    """

    runtime: Runtime = Runtime()
    protocol: Protocol = QUICK
    profiler: Profiler = OnnxRuntimeProfiler()
    tolerance: float = 1e-3

    @abc.abstractmethod
    def data(self) -> Splits:
        """Return the data. Called once; float inputs of shape (n, ...), one row a sample."""

    @abc.abstractmethod
    def build(self, trial: optuna.Trial) -> torch.nn.Module:
        """Return an untrained model for a trial, choosing by `trial.suggest_*`."""

    @abc.abstractmethod
    def fit(self, model: torch.nn.Module, trial: optuna.Trial, data: Splits, report: Report) -> None:
        """Train the model in place.

        Args:
            model: From `build`.
            trial: For the parameters of training.
            data: Train and validation data; the test data is not in it.
            report: `report(step, accuracy=...)` as training goes.
        """

    def score(self, outputs: Sequence[NDArray[Any]], targets: NDArray[Any]) -> Score:
        """Return quality by metric name, from the artefact's outputs on the validation data.

        An array of booleans says which samples are correct; it becomes a fraction with its
        Wilson interval, and is kept so that candidates can be compared sample by sample. The
        default is the accuracy of a classifier.
        """
        return {"accuracy": correct_predictions(outputs, targets)}

    def setting(self) -> dict[str, Any]:
        """Return the machine, the protocol and the runtime."""
        machine = environment()
        return {
            **super().setting(),
            "environment": machine,
            "machine": machine_part(machine),
            "protocol": self.protocol.to_json(),
            "runtime": self.runtime.to_json(),
        }

    def identity(self) -> dict[str, str]:
        """Return the digests of the task's parts, its runtime and protocol among them."""
        return {**super().identity(), "runtime": repr(self.runtime), "protocol": repr(self.protocol)}

    def evaluate(self, trial: optuna.Trial, context: TrialContext) -> Evaluation:
        """Return the evaluation of one trial."""
        watch, report = Stopwatch(), Report(self.metrics)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(context.seed)
            model = self._fitted(trial, watch, report)
        inputs, targets = self._splits.validation.numpy()
        rows = torch.from_numpy(np.ascontiguousarray(inputs[:_CHECKED_ROWS]))
        example = _two_rows(rows)
        static = {"parameters": count_parameters(model), "macs": count_macs(model, example)}
        path = context.folder / "model.onnx"
        with watch.stage("export"):
            export_onnx(model, example, path)
        deployment = Deployment(
            path=path,
            runtime=self.runtime,
            protocol=self._protocol_of(context),
            profiler=self.profiler,
            inputs={INPUT_NAME: inputs},
            targets=targets,
            watch=watch,
        )
        outputs = deployment.outputs()
        check_same_outputs([o[: len(rows)] for o in outputs], framework_outputs(model, rows), self.tolerance)
        measurement = deployment.measure(context.seed)
        evaluation = deployment.evaluation(context, measurement, outputs, self.score, static, self.metrics)
        return dataclasses.replace(evaluation, curve=report.curve)

    def _protocol_of(self, context: TrialContext) -> Protocol:
        """Return the protocol, with the calls and the time that the problem's percentiles need.

        The baseline, which bounds rest on, is launched several times.
        """
        protocol = self.protocol
        if context.is_baseline:
            protocol = dataclasses.replace(protocol, launches=max(protocol.launches, _BASELINE_LAUNCHES))
        needed = max((smallest_n(q) for name, q in LATENCIES.items() if name in context.metrics), default=0)
        if needed > smallest_n(0.5):  # a tail: never refused for want of calls where time can mend it
            return dataclasses.replace(
                protocol,
                min_calls=max(protocol.min_calls, needed),
                max_calls=max(protocol.max_calls, needed),
                time_budget_s=max(protocol.time_budget_s, _TAIL_BUDGET_S),
            )
        return protocol

    def _fitted(self, trial: optuna.Trial, watch: Stopwatch, report: Report) -> torch.nn.Module:
        with watch.stage("data"):
            data = self._splits
        with watch.stage("build"):
            model = self.build(trial)
        if not isinstance(model, torch.nn.Module):
            raise FitError(f"build() must return a torch.nn.Module, got {type(model).__name__}")
        with watch.stage("fit"):
            self.fit(model, trial, data.for_search(), report)
        return model.eval().cpu()

    @cached_property
    def _splits(self) -> Splits:
        data = self.data()
        if not isinstance(data, Splits):
            raise FitError(f"data() must return objectives.Splits, got {type(data).__name__}")
        return data


def _two_rows(rows: torch.Tensor) -> torch.Tensor:
    """Return two rows: the exporter takes a batch of one for a constant."""
    return rows[:2] if len(rows) >= 2 else torch.cat([rows, rows])
