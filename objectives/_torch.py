"""A family of PyTorch models, served by ONNX Runtime."""

from __future__ import annotations

import abc
import contextlib
import copy
import dataclasses
import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import optuna
import torch
from numpy.typing import NDArray

from moo.errors import FitError, TrialError
from moo.evaluation import Estimate, Evaluation, TrialContext
from objectives._choices import Choices, Chosen
from objectives._compression._compress import compress
from objectives._data import Splits
from objectives._export import INPUT_NAME, Exporter, check_same_outputs, framework_outputs
from objectives._pipeline import (
    Deployment,
    Score,
    Stopwatch,
    also_metrics,
    best_case,
    measured_elsewhere,
    measured_metrics,
    tags_after,
    variant,
    with_compression,
)
from objectives._report import Report
from objectives._scoring._accuracy import correct_predictions
from objectives._serving import serving_setting, trial_protocol
from objectives._size import count_macs, count_parameters
from objectives._task import Served, SplitName, Task
from objectives._training._train import suggest_training, train
from profilers import QUICK, OnnxRuntimeProfiler, Profiler, Protocol, Runtime, Send

__all__ = ["TorchTask"]

_CHECKED_ROWS = 256


class TorchTask(Task):
    """A family of PyTorch models: a person gives `data` and `build`, and `fit` if the default will not do.

    A trial is built; where a constraint or a pruner asks for it, the untrained model is exported and
    measured, and the trial ends there if its cost violates a constraint beyond doubt. It is fitted, exported
    to ONNX, compared with torch on the same rows, compressed, measured, and scored on the validation data
    through the runtime that would serve it.

    Attributes:
        runtime: How candidates are served.
        also: Further runtimes that each candidate is measured in, by a short name such as `gpu`: what is
            measured there has that name before it, as `gpu_latency_p50`, and can be an objective too.
        deploy: What else may be chosen when a trained model is deployed, such as its precision. With
            `fan_out` a trial ends before it is trained only if no deployment may be feasible, and a pruner
            ranks it by the best that any of them costs, metric by metric.
        cost_first: Whether cost may be measured on the untrained model; False where it depends on fitting,
            as that of a model whose weights are pruned: then nothing ends a trial before it is trained.
        protocol: How they are timed.
        profiler: What runs and measures them.
        tolerance: Largest difference between the artefact's and torch's outputs, as a fraction
            of the largest output.
    """

    runtime: Runtime = Runtime()
    also: Mapping[str, Runtime] = {}
    deploy: Choices = Choices()
    cost_first: bool = True
    protocol: Protocol = QUICK
    profiler: Profiler = OnnxRuntimeProfiler()
    tolerance: float = 1e-3

    def __new__(cls, *arguments: Any, **named: Any) -> Self:  # noqa: ARG004
        """Return a task that also has the metrics of its further runtimes."""
        task = super().__new__(cls)
        if cls.also:
            task.metrics = (*cls.metrics, *also_metrics(cls.also))
        return task

    def measured_on(self, devices: Mapping[str, Send]) -> Self:
        """See `Task.measured_on`; further runtimes (`also`) are measured on the first device."""
        placed = super().measured_on(devices)
        placed.metrics = (*self.metrics, *also_metrics(placed._elsewhere))
        return placed

    @abc.abstractmethod
    def data(self) -> Splits:
        """Return the data. Called once; float inputs of shape (n, ...), one row a sample."""

    @abc.abstractmethod
    def build(self, trial: optuna.Trial) -> torch.nn.Module:
        """Return an untrained model for a trial, choosing by `trial.suggest_*`."""

    def fit(self, model: torch.nn.Module, trial: optuna.Trial, data: Splits, report: Report) -> None:
        """Train the model in place; the default is `train`, its arguments chosen by `suggest_training`.

        Args:
            model: From `build`.
            trial: For the parameters of training.
            data: Train and validation data; the test data is not in it.
            report: `report(step, accuracy=...)` as training goes.
        """
        train(model, data, report, **suggest_training(trial))

    def score(self, outputs: Sequence[NDArray[Any]], targets: NDArray[Any]) -> Score:
        """Return quality by metric name, from the artefact's outputs on the validation data.

        An array of booleans says which samples are correct; it becomes a fraction with its
        Wilson interval, and is kept so that candidates can be compared sample by sample. The
        default is the accuracy of a classifier.
        """
        return {"accuracy": correct_predictions(outputs, targets)}

    def setting(self) -> dict[str, Any]:
        """Return the machine, the protocol and the runtime."""
        return {**super().setting(), **serving_setting(self.runtime, self.protocol, self._machines)}

    def identity(self) -> dict[str, str]:
        """Return the digests of the task's parts, its runtime and protocol among them."""
        own = {name: repr(getattr(self, name)) for name in ("runtime", "also", "deploy", "protocol")}
        return {**super().identity(), **own}

    def evaluate(self, trial: optuna.Trial, context: TrialContext) -> Evaluation:
        """Return the evaluation of one trial: cost first, then training, then all of it as deployed.

        Raises:
            optuna.TrialPruned: If the cost of the untrained model violates a constraint beyond doubt, or
                training is not worth going on with.
        """
        watch = Stopwatch.of(context)
        chosen = self.deploy.suggested(trial, self.runtime)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(context.seed)
            model, data = self._built(trial, watch)
            state = torch.get_rng_state()
            exporter = Exporter(_two_rows(torch.from_numpy(_first(data.validation.inputs))))
            cost = self._cost(model, data, chosen, context, watch, exporter)
            torch.set_rng_state(state)  # so that a model is trained alike, whether its cost was asked for
            report = Report(self.metrics, context.should_stop, watch.pause)
            try:
                with watch.stage("fit"):
                    self.fit(model, trial, data.for_search(), report)
            except optuna.TrialPruned:
                context.keep(dataclasses.replace(cost, curve=report.curve, seconds=watch.seconds))
                raise
        model = model.eval().cpu()
        deployed = self._deployed(model, data, context, watch, exporter)
        evaluation = deployed(chosen, context)
        evaluation = dataclasses.replace(evaluation, curve=report.curve, tags=tags_after(evaluation, cost))
        variants = tuple(
            (other.params, variant(partial(deployed, other), context, index))
            for index, other in enumerate(self.deploy.others(chosen, self.runtime), 1)
        )
        for name in ("untrained", "trained"):  # what counts is beside them
            shutil.rmtree(context.folder / name, ignore_errors=True)
        return dataclasses.replace(evaluation, variants=variants)

    def retrained(self, params: Mapping[str, Any], context: TrialContext) -> Evaluation:
        """Return a configuration trained once more, with the context's seed, in its own deployment alone."""
        alone = copy.copy(self)
        alone.deploy = dataclasses.replace(self.deploy, fan_out=False)
        trial: Any = optuna.trial.FixedTrial(dict(params))
        return alone.evaluate(trial, context)

    def served(self, path: Path, params: Mapping[str, Any], split: SplitName) -> Served | None:  # noqa: ARG002
        """Return the rows of a split as an artefact takes them; None where there is no such split."""
        rows = getattr(self._splits, split)
        if rows is None:
            return None
        inputs, targets = rows.numpy()
        return Served({INPUT_NAME: inputs}, partial(self.score, targets=targets))

    def _cost(
        self,
        model: torch.nn.Module,
        data: Splits,
        chosen: Chosen,
        context: TrialContext,
        watch: Stopwatch,
        exporter: Exporter,
    ) -> Evaluation:
        """Return what is known before training: counts, and where it decides anything measured cost.

        Where one training serves several deployments, the trial ends only if each of them violates a
        constraint beyond doubt; one that cannot be measured is left out, for it cannot be served either.
        A pruner sees the best that any of them can do, as `best_case`, for which all are measured before
        training: about as much time as they take after it. Without a pruner the first that may be feasible
        is enough. What is returned is the cost of the chosen one.
        """
        if not self.cost_first:
            return Evaluation(metrics={})
        model = copy.deepcopy(model).eval()
        counts = Evaluation(metrics=self._counts(model, data))
        context.check(counts)
        if not context.needs_cost:
            return counts
        folder = context.folder / "untrained"
        folder.mkdir()
        whole = folder / "model.onnx"
        with watch.stage("export"):
            exporter.write(model, whole)

        def measured(index: int, candidate: Chosen) -> Evaluation:
            place = dataclasses.replace(context, folder=folder / f"{index}")
            return self._costs_of(whole, candidate, counts.metrics, data, place, watch)

        found = [measured(0, chosen)]
        is_hopeless = bool(context.violated(found[0].metrics))
        for index, other in enumerate(self.deploy.others(chosen, self.runtime), 1):
            if not is_hopeless and context.should_stop is None:
                break
            with contextlib.suppress(TrialError):
                found.append(measured(index, other))
                is_hopeless = is_hopeless and bool(context.violated(found[-1].metrics))
        if is_hopeless:
            context.check(found[0])
        context.keep(best_case(found, self.metrics))
        return found[0]

    def _costs_of(
        self,
        whole: Path,
        chosen: Chosen,
        counts: Mapping[str, Estimate],
        data: Splits,
        place: TrialContext,
        watch: Stopwatch,
    ) -> Evaluation:
        """Return counts and measured cost of an untrained model in a deployment."""
        place.folder.mkdir()
        path = place.folder / "model.onnx"
        with watch.stage("export"):
            facts = compress(
                whole, path, chosen.compression, self._calibration(chosen, data), seed=place.seed
            )
        deployment = self._deployment(path, chosen.runtime, data, place, watch)
        measurement = deployment.measure_until_decided(place)
        metrics = {**counts, **measured_metrics(measurement)}
        evaluation = Evaluation(
            metrics=metrics, tags=measurement.tags, **deployment.record(place, measurement)
        )
        return with_compression(evaluation, chosen, facts, place)

    def _deployed(
        self,
        model: torch.nn.Module,
        data: Splits,
        context: TrialContext,
        watch: Stopwatch,
        exporter: Exporter,
    ) -> Callable[[Chosen, TrialContext], Evaluation]:
        """Return how to evaluate a trained model in a deployment; it is exported and checked here, once."""
        counts = self._counts(model, data)
        folder = context.folder / "trained"
        folder.mkdir()
        whole = folder / "model.onnx"
        exact = self._deployment(whole, self.runtime, data, context, watch)
        plain = self._checked_outputs(model, exact, exporter)

        def evaluate(chosen: Chosen, place: TrialContext) -> Evaluation:
            own = watch if place is context else Stopwatch.of(place)
            with own.stage("export"):
                path = place.folder / "model.onnx"
                facts = compress(
                    whole, path, chosen.compression, self._calibration(chosen, data), seed=context.seed
                )
            deployment = self._deployment(path, chosen.runtime, data, place, own)
            is_as_checked = chosen.compression.precision == "fp32" and chosen.runtime == self.runtime
            outputs = plain if is_as_checked else deployment.outputs()
            measurement = deployment.measure(context.seed)
            evaluation = deployment.evaluation(place, measurement, outputs, self.score, counts, self.metrics)
            evaluation = with_compression(evaluation, chosen, facts, place)
            elsewhere = {
                name: self._deployment(path, runtime, data, place, own) for name, runtime in self.also.items()
            }
            elsewhere |= deployment.on(self._elsewhere)
            metrics = {**evaluation.metrics, **measured_elsewhere(elsewhere, place)}
            return dataclasses.replace(evaluation, metrics=metrics)

        return evaluate

    def _deployment(
        self, path: Path, runtime: Runtime, data: Splits, context: TrialContext, watch: Stopwatch
    ) -> Deployment:
        inputs, targets = data.validation.numpy()
        return Deployment(
            path=path,
            runtime=runtime,
            protocol=trial_protocol(self.protocol, context),
            profiler=self.profiler,
            inputs={INPUT_NAME: inputs},
            targets=targets,
            watch=watch,
            measuring=context.measuring,
        )

    def _checked_outputs(
        self, model: torch.nn.Module, exact: Deployment, exporter: Exporter
    ) -> list[NDArray[Any]]:
        """Export a trained model, and return its outputs, which are torch's.

        Where the untrained model's translation, with the trained weights in it, computes something else, more
        than weights was changed by training: then it is translated anew.
        """
        rows = torch.from_numpy(_first(exact.inputs[INPUT_NAME]))
        while True:
            with exact.watch.stage("export"):
                is_reused = exporter.write(model, exact.path)
            try:
                outputs = exact.outputs()
                first = [output[: len(rows)] for output in outputs]
                check_same_outputs(first, framework_outputs(model, rows), self.tolerance)
            except TrialError:
                if not is_reused:
                    raise
                exporter.forget()
            else:
                return outputs

    def _counts(self, model: torch.nn.Module, data: Splits) -> dict[str, Estimate]:
        example = _two_rows(torch.from_numpy(_first(data.validation.inputs)))
        return {"parameters": count_parameters(model), "macs": count_macs(model, example)}

    def _calibration(self, chosen: Chosen, data: Splits) -> dict[str, NDArray[Any]] | None:
        """Return rows of the training data, where the compression learns ranges from them."""
        if not chosen.compression.needs_calibration:
            return None
        return {INPUT_NAME: np.asarray(data.train.numpy()[0], dtype=np.float32)}

    def _built(self, trial: optuna.Trial, watch: Stopwatch) -> tuple[torch.nn.Module, Splits]:
        with watch.stage("data"):
            data = self._splits
        with watch.stage("build"):
            model = self.build(trial)
        if not isinstance(model, torch.nn.Module):
            raise FitError(f"build() must return a torch.nn.Module, got {type(model).__name__}")
        return model, data

    @cached_property
    def _splits(self) -> Splits:
        data = self.data()
        if not isinstance(data, Splits):
            raise FitError(f"data() must return objectives.Splits, got {type(data).__name__}")
        return data


def _first(inputs: Any) -> NDArray[Any]:
    """Return the rows on which the artefact is compared with torch."""
    return np.ascontiguousarray(np.asarray(inputs)[:_CHECKED_ROWS])


def _two_rows(rows: torch.Tensor) -> torch.Tensor:
    """Return two rows: the exporter takes a batch of one for a constant."""
    return rows[:2] if len(rows) >= 2 else torch.cat([rows, rows])
