"""A finished ONNX model, and the ways to deploy it."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from moo.errors import FitError, InputError, ScoreError
from moo.evaluation import Estimate, Evaluation, TrialContext
from moo.metrics import Metric
from objectives._choices import Choices
from objectives._compression._compress import Compression, compress
from objectives._data import Split, Splits
from objectives._identity import function_parts
from objectives._onnx._inputs import Signature
from objectives._onnx._outputs import finite_rows, outputs_of
from objectives._pipeline import (
    Deployment,
    Score,
    Stopwatch,
    also_metrics,
    measured_elsewhere,
    with_compression,
    with_tags,
)
from objectives._scoring._scores import Scorer, ScorerLike, own_metrics, task_scorers
from objectives._serving import serving_setting, trial_protocol
from objectives._task import Served, SplitName, Task
from profilers import QUICK, ModelFile, OnnxRuntimeProfiler, Profiler, ProfilerError, Protocol, Runtime

if TYPE_CHECKING:
    import optuna

__all__ = ["NOT_FINITE_TAG", "OnnxTask"]

NOT_FINITE_TAG = "not_finite"
"""The tag of a candidate of which at least one validation row came out infinite or as no number."""

_FIXED = "deploy_precision"  # a parameter also where nothing else is one

Data = Splits | Split | Callable[[], Splits | Split]


class OnnxTask(Task):
    """A finished model: the search is over its deployment only, scored on the person's data.

    Each trial converts the model to the precision chosen, runs it in the runtime chosen, measures it, and
    scores what it put out for the validation data, whatever that is: a model that a conversion ruined has
    the accuracy that it has. The space is finite, and the search ends when all of it has been tried; where
    every choice is fixed that is one trial.

    Give all of it to the constructor, or set it in a subclass that defines `data`::

        OnnxTask("model.onnx", splits, deploy=Choices(precision=("fp32", "int8-static"), threads=(1, 2)))

    Args:
        model: Path of the model, float32 where other precisions are chosen.
        data: Rows to score and to calibrate with, or what returns them when first needed. A `Split` alone is
            validation data: all but int8-static can do without training data. Inputs are one array, or
            `NamedInputs` for a model that has several.
        deploy: What may be chosen; `fan_out` means nothing here.
        score: A name of `sklearn.metrics.get_scorer_names()`, a function `(targets, outputs)` (see
            `objectives._scoring._scores`), a `Scorer`, or several of these. Targets that are whole numbers
            or text are labels, floats are values; `outputs_of` says how arrays become outputs.
        runtime: How the model is served now, and whatever is not chosen.
        protocol: How candidates are timed.
        profiler: What runs and measures them.
        baseline: A value for each parameter, None for none; "as it is" for the float32 model in the runtime
            given, if the choices hold it, else none.
        name: The task's name; None for the model file's, or a subclass's.
    """

    model: str | Path | None = None
    deploy: Choices = Choices()
    score: ScorerLike | Sequence[ScorerLike] = "accuracy"
    runtime: Runtime = Runtime()
    protocol: Protocol = QUICK
    profiler: Profiler = OnnxRuntimeProfiler()

    def __init__(
        self,
        model: str | Path | None = None,
        data: Data | None = None,
        *,
        deploy: Choices | None = None,
        score: ScorerLike | Sequence[ScorerLike] | None = None,
        runtime: Runtime | None = None,
        protocol: Protocol | None = None,
        profiler: Profiler | None = None,
        baseline: Mapping[str, Any] | Literal["as it is"] | None = "as it is",
        name: str | None = None,
    ) -> None:
        given = {
            "model": model,
            "deploy": deploy,
            "score": score,
            "runtime": runtime,
            "protocol": protocol,
            "profiler": profiler,
        }
        vars(self).update({key: value for key, value in given.items() if value is not None})
        self._data, self._baseline, self._name = data, baseline, name

    @property
    def name(self) -> str:
        """The name given; else a subclass's, or the model file's."""
        if self._name is not None:
            return self._name
        return (
            super().name
            if type(self) is not OnnxTask
            else re.sub(r"[^\w.+-]+", "_", self._path.stem).strip("._") or "model"
        )

    @property
    def metrics(self) -> Sequence[Metric]:  # type: ignore[override]  # follows from `score`
        """The metrics of `score` that are not built in."""
        return (*own_metrics(self._scorers), *also_metrics(self._elsewhere))

    def data(self) -> Splits | Split:
        """Return the data: what was given to the constructor. Called once."""
        if self._data is None:
            raise InputError("data: expected objectives.Splits, or a function that returns them, got none")
        return self._data() if callable(self._data) else self._data

    def baseline(self) -> Mapping[str, Any] | None:
        """Return the baseline given, or by default the model as it is now.

        That is a value for each choice with an alternative: fp32, and those of `runtime`. None where the
        choices do not hold it.
        """
        if not isinstance(self._baseline, str):
            return self._baseline
        if self._baseline != "as it is":
            raise InputError(f"baseline: expected a dict, None or 'as it is', got {self._baseline!r}")
        unchanged = self.deploy.unchanged(self.runtime)
        return unchanged if unchanged is None or unchanged else {_FIXED: self.deploy.precision[0]}

    def scored(self, outputs: Sequence[NDArray[Any]], targets: NDArray[Any]) -> Score:
        """Return quality by metric name, from the artefact's outputs on the validation data.

        Override it, with `metrics`, for outputs that are neither labels, scores of classes nor values. Rows
        that are not finite count as wrong where the score is the correctness of each.

        Args:
            outputs: The arrays, in the model's order, shape (n, ...) each.
            targets: Shape (n, ...).

        Raises:
            ScoreError: If the score is undefined on them.
        """
        is_finite = finite_rows(outputs)
        clean = [
            np.nan_to_num(array, posinf=0, neginf=0) if array.dtype.kind == "f" else array
            for array in outputs
        ]
        meaning = outputs_of(clean, targets, self._signature.last_operator)
        quality: dict[str, float | Estimate | NDArray[np.bool_]] = {}
        for scorer in self._scorers:
            found = scorer.scored(targets, meaning)
            if not is_finite.all():
                if not isinstance(found, np.ndarray):
                    raise ScoreError(
                        f"{scorer.metric.name}: {np.count_nonzero(~is_finite)} of {len(is_finite)} rows are"
                        " not finite: the precision is beyond this model's range"
                    )
                found = found & is_finite
            quality[scorer.metric.name] = found
        return quality

    def setting(self) -> dict[str, Any]:
        """Return the machine, the protocol and the runtime.

        Raises:
            InputError: If the model, the data, the choices or the score cannot be.
        """
        self._check()
        return {**super().setting(), **serving_setting(self.runtime, self.protocol, self._machines)}

    def identity(self) -> dict[str, str]:
        """Return the digests of the model, the data, the choices, and how candidates are measured."""
        own = {name: repr(getattr(self, name)) for name in ("deploy", "runtime", "protocol")}
        plain = super().identity()
        return {
            **{key: plain[key] for key in plain if key not in ("_baseline", "_name")},
            **self._data_identity(),
            **own,
            "baseline": repr(self.baseline()),
            "model": self._file.sha256,
            "score": ", ".join(scorer.metric.name for scorer in self._scorers),
        }

    def evaluate(self, trial: optuna.Trial, context: TrialContext) -> Evaluation:
        """Return the evaluation of one trial."""
        self._check()
        watch = Stopwatch.of(context)
        with watch.stage("data"):
            data = self._splits
        chosen = self.deploy.suggested(trial, self.runtime)
        if not chosen.params:  # a study of trials without any parameter would not be known to be exhausted
            trial.suggest_categorical(_FIXED, list(self.deploy.precision))
        path = context.folder / "model.onnx"
        with watch.stage(
            "compress"
        ):  # on the same rows in all trials, so that they differ by the choices alone
            facts = compress(self._path, path, chosen.compression, self._calibration(chosen.compression))
        deployment = Deployment(
            path=path,
            runtime=chosen.runtime,
            protocol=trial_protocol(self.protocol, context),
            profiler=self.profiler,
            inputs=self._signature.feeds(data.validation.inputs, "data(), validation"),
            targets=np.asarray(data.validation.targets),
            watch=watch,
            measuring=context.measuring,
        )
        outputs = deployment.outputs()
        measurement = deployment.measure(context.seed)
        evaluation = deployment.evaluation(
            context, measurement, outputs, self.scored, self._static, self.metrics
        )
        if not finite_rows(outputs).all():
            evaluation = dataclasses.replace(evaluation, tags=with_tags(evaluation.tags, NOT_FINITE_TAG))
        metrics = {**evaluation.metrics, **measured_elsewhere(deployment.on(self._elsewhere), context)}
        evaluation = dataclasses.replace(evaluation, metrics=metrics)
        return with_compression(evaluation, chosen, facts, context)

    @property
    def _static(self) -> dict[str, Estimate]:
        """What can be counted: of the model given, for a conversion leaves as many parameters."""
        count = self._file.parameters
        parameters = (
            Estimate(None, reason="the file does not say") if count is None else Estimate.exact(count)
        )
        macs = Estimate(None, reason="multiply-accumulates of an ONNX file are not counted")
        return {"parameters": parameters, "macs": macs}

    def _calibration(self, compression: Compression) -> dict[str, NDArray[Any]] | None:
        """Return rows of the training data, where the conversion learns ranges from them."""
        if not compression.needs_calibration:
            return None
        assert self._train is not None
        return self._signature.feeds(self._train.inputs, "data(), train")

    def _check(self) -> None:
        """Refuse what no trial can do anything about."""
        if self.deploy.fan_out:
            raise InputError(
                "deploy, fan_out: a finished model is not trained, so there is nothing to share: leave it out"
            )
        task_scorers(self.score)
        validation = self._splits.validation
        self._signature.feeds(validation.inputs, "data(), validation")
        calibrated = [text for text in self.deploy.precision if Compression.parse(text).needs_calibration]
        if calibrated and self._train is None:
            raise InputError(
                f"deploy, precision: {calibrated[0]} needs rows of training data to calibrate with,"
                " but data() gives validation data alone: return objectives.Splits(train, validation)"
            )
        if calibrated and self._train is not None:
            self._signature.feeds(self._train.inputs, "data(), train")
        self._check_batch(len(validation))

    def _check_batch(self, n_rows: int) -> None:
        batch = self._signature.batch
        if batch is None:
            return
        other = next((size for size in self.deploy.batch or (self.runtime.batch,) if size != batch), None)
        if other is not None:
            where = "deploy, batch" if self.deploy.batch else "runtime, batch"
            raise InputError(f"{where}: the model takes {batch} rows a call and no other number, got {other}")
        if n_rows % batch:
            raise InputError(
                f"data(), validation: expected a multiple of {batch} rows, which the model takes a call,"
                f" got {n_rows}: leave some out"
            )

    def _data_identity(self) -> dict[str, str]:
        if self._data is None:
            return {}  # the method of a subclass, whose source counts
        if not isinstance(self._data, Splits | Split):
            return function_parts(self._data)
        digest = hashlib.sha256()
        for split in (self._train, self._splits.validation):
            for array in () if split is None else _arrays(split):
                digest.update(f"{array.dtype}{array.shape}".encode())
                digest.update(
                    np.ascontiguousarray(array.astype(str) if array.dtype == object else array).data
                )
        return {"data": digest.hexdigest()[:12]}

    @property
    def _path(self) -> Path:
        if self.model is None:
            raise InputError("model: expected the path of an ONNX file, got none: OnnxTask('model.onnx', ..)")
        return Path(self.model)

    @cached_property
    def _file(self) -> ModelFile:
        try:
            return ModelFile.read(self._path)
        except ProfilerError as error:
            raise InputError(str(error)) from error

    def served(self, path: Path, params: Mapping[str, Any], split: SplitName) -> Served | None:  # noqa: ARG002
        """Return the rows of a split as the model takes them; None where there is no such split."""
        rows = getattr(self._splits, split)
        if rows is None:
            return None
        targets = np.asarray(rows.targets)
        inputs = self._signature.feeds(rows.inputs, f"data(), {split}")
        return Served(inputs, lambda outputs: self.scored(outputs, targets))

    @cached_property
    def _signature(self) -> Signature:
        return Signature.read(Path(self._file.path))

    @property
    def _scorers(self) -> tuple[Scorer, ...]:
        return task_scorers(self.score)

    @cached_property
    def _given(self) -> Splits | Split:
        data = self.data()
        if not isinstance(data, Splits | Split):
            raise FitError(f"data() must return objectives.Splits or a Split, got {type(data).__name__}")
        return data

    @cached_property
    def _splits(self) -> Splits:
        """The data; where only validation data was given, it stands for the training data too."""
        return self._given if isinstance(self._given, Splits) else Splits(self._given, self._given)

    @property
    def _train(self) -> Split | None:
        return self._given.train if isinstance(self._given, Splits) else None


def _arrays(split: Split) -> list[NDArray[Any]]:
    named = getattr(split.inputs, "arrays", {"": split.inputs})
    return [np.asarray(array) for array in [*named.values(), split.targets]]
