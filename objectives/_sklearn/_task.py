"""A family of scikit-learn estimators, served by ONNX Runtime."""

from __future__ import annotations

import abc
import dataclasses
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone, is_classifier, is_regressor

from moo.errors import FitError, InputError
from moo.evaluation import Estimate, Evaluation, TrialContext
from moo.metrics import Metric
from objectives._data import Split, Splits
from objectives._pipeline import Deployment, Score, Stopwatch, with_tags
from objectives._report import Report
from objectives._scoring._intervals import cross_validated_estimate
from objectives._scoring._outputs import Outputs
from objectives._scoring._scores import Scorer, ScorerLike, own_metrics, task_scorers
from objectives._serving import serving_setting, trial_protocol
from objectives._sklearn._check import (
    AGREEMENT,
    DIFFERS_TAG,
    artefact_outputs,
    checked_difference,
    estimator_outputs,
    stored_outputs,
)
from objectives._sklearn._export import TARGET_OPSET, convert, converter, input_names, write
from objectives._sklearn._folds import fold_rows, pooled, rows_of
from objectives._sklearn._inputs import Signature
from objectives._sklearn._size import count_parameters, predictor
from objectives._task import Served, SplitName, Task
from profilers import QUICK, OnnxRuntimeProfiler, Profiler, Protocol, Runtime

if TYPE_CHECKING:
    import optuna

__all__ = ["AGREEMENT", "DIFFERS_TAG", "TARGET_OPSET", "SklearnTask", "count_parameters"]


class SklearnTask(Task):
    """A family of scikit-learn estimators or pipelines: a person gives `data` and `build`.

    A trial is built, fitted, converted to ONNX (float32 inputs, text columns as they are), run in
    its runtime, compared with the estimator on every validation row, measured, and scored on the
    runtime's outputs. The cost of trees and neighbours depends on fitting, so it is measured after.

    With `folds` the artefact is fitted on train and validation data together, as a person would
    ship it, and its quality is estimated by cross-validation on the same: each fold's model is
    fitted, converted and run like the artefact; a trial fits `folds + 1` times. With `folds = None`
    the artefact is fitted on the train data and scored on the validation data.

    Inputs are arrays of shape (n, features), or data frames. Of a frame that has columns of text,
    or an estimator with a `ColumnTransformer`, each column is an input of its own, shape (n, 1),
    named as skl2onnx makes the names fit; else there is one, `input`. Targets are labels of any
    kind, or numbers of shape (n,) or, for regressors, (n, targets). A `random_state` that
    `build` leaves None is set from the trial's seed.

    Attributes:
        runtime: How candidates are served.
        protocol: How they are timed.
        profiler: What runs and measures them.
        score: A name of `sklearn.metrics.get_scorer_names()`, a function `(targets, outputs)` (see
            `objectives._scoring._scores`), a `Scorer`, or several of these.
        folds: The number of folds, or None to score on the validation data. The folds are
            shuffled, stratified for classifiers, and the same for all trials.
        tolerance: Largest difference of a row from the estimator: of probabilities as they are, of
            decision values and regression values as a fraction of their range.
        allowed_share: Largest share of validation rows that may differ by more, or in their label.
            Float32 inputs may fall on the other side of a tree's threshold: have `data` return float32,
            and leave scaling to models that need it.
    """

    runtime: Runtime = Runtime()
    protocol: Protocol = QUICK
    profiler: Profiler = OnnxRuntimeProfiler()
    score: ScorerLike | Sequence[ScorerLike] = "accuracy"
    folds: int | None = 5
    tolerance: float = 1e-3
    allowed_share: float = 0.01

    @abc.abstractmethod
    def data(self) -> Splits:
        """Return the data. Called once; arrays or pandas frames, one row a sample."""

    @abc.abstractmethod
    def build(self, trial: optuna.Trial) -> BaseEstimator:
        """Return an unfitted classifier, regressor or pipeline, choosing by `trial.suggest_*`."""

    @property
    def metrics(self) -> Sequence[Metric]:  # type: ignore[override]  # follows from `score`
        """The metrics of `score` that are not built in, and the share of rows that agree."""
        return (*own_metrics(self._scorers), AGREEMENT)

    def setting(self) -> dict[str, Any]:
        """Return the machine, the protocol and the runtime.

        Raises:
            InputError: If `folds` or `score` cannot be, or skl2onnx is not installed.
        """
        self._check()
        return {**super().setting(), **serving_setting(self.runtime, self.protocol)}

    def identity(self) -> dict[str, str]:
        """Return the digests of the task's parts, how it is scored, its runtime and protocol among them."""
        return {
            **super().identity(),
            "score": ", ".join(scorer.metric.name for scorer in self._scorers),
            "folds": repr(self.folds),
            "runtime": repr(self.runtime),
            "protocol": repr(self.protocol),
        }

    def evaluate(self, trial: optuna.Trial, context: TrialContext) -> Evaluation:
        """Return the evaluation of one trial."""
        self._check()
        watch, report = Stopwatch(), Report(self.metrics)
        with watch.stage("data"):
            data = self._splits
        with watch.stage("build"):
            estimator = _seeded(self.build(trial), context.seed)
        fitting = data.train if self.folds is None else self._pool
        candidate = self._candidate(
            estimator,
            fitting,
            data.validation,
            context.folder / "model.onnx",
            watch,
            self._timing(context),
        )
        measurement = candidate.deployment.measure(context.seed)
        quality: Score
        correct: dict[str, NDArray[np.bool_]] = {}
        if self.folds is None:
            quality = self._held_out(candidate)
        else:  # the dear part comes after the cost is known
            quality, correct = self._cross_validated(estimator, context.folder, watch, report)
        evaluation = candidate.deployment.evaluation(
            context, measurement, candidate.arrays, lambda *_: quality, candidate.static, self.metrics
        )
        files = {**evaluation.files, **_kept(correct, context)}
        tags = with_tags(evaluation.tags, DIFFERS_TAG) if candidate.n_differing else evaluation.tags
        return dataclasses.replace(evaluation, curve=report.curve, files=files, tags=tags)

    def retrained(self, params: Mapping[str, Any], context: TrialContext) -> Evaluation:
        """Return a configuration fitted once more, with the context's seed, on the same folds."""
        from optuna.trial import FixedTrial

        trial: Any = FixedTrial(dict(params))
        return self.evaluate(trial, context)

    def served(self, path: Path, params: Mapping[str, Any], split: SplitName) -> Served | None:
        """Return the rows of a split as an artefact takes them; None where there is no such split."""
        from optuna.trial import FixedTrial

        rows = getattr(self._splits, split)
        if rows is None:
            return None
        trial: Any = FixedTrial(dict(params))
        estimator, targets = self.build(trial), np.asarray(rows.targets)
        labels = np.unique(np.asarray(self._pool.targets if self.folds else self._splits.train.targets))
        arrays = Signature.of(estimator, rows.inputs).arrays

        def score(outputs: Sequence[NDArray[Any]]) -> Score:
            found = stored_outputs(outputs, estimator, labels, targets)
            return {scorer.metric.name: scorer.scored(targets, found) for scorer in self._scorers}

        return Served(dict(zip(input_names(path), arrays, strict=True)), score)

    def _candidate(
        self,
        estimator: BaseEstimator,
        fitting: Split,
        scoring: Split,
        path: Path,
        watch: Stopwatch,
        protocol: Protocol,
    ) -> _Candidate:
        """Return the estimator fitted, converted, run on the rows to score, and compared there."""
        with watch.stage("fit"):
            fitted = clone(estimator).fit(fitting.inputs, np.asarray(fitting.targets))
        with watch.stage("export"):
            signature = Signature.of(fitted, scoring.inputs)
            names = write(convert(fitted, signature.types), path)
        deployment = Deployment(
            path=path,
            runtime=self.runtime,
            protocol=protocol,
            profiler=self.profiler,
            inputs=dict(zip(names, signature.arrays, strict=True)),
            targets=np.asarray(scoring.targets),
            watch=watch,
        )
        arrays = deployment.outputs()
        with watch.stage("check"):
            expected = estimator_outputs(fitted, scoring.inputs)
            outputs = artefact_outputs(arrays, expected)
            n_differing = checked_difference(outputs, expected, self.tolerance, self.allowed_share)
        return _Candidate(fitted, deployment, arrays, outputs, n_differing)

    def _held_out(self, candidate: _Candidate) -> Score:
        targets = candidate.deployment.targets
        with candidate.deployment.watch.stage("score"):
            return {s.metric.name: s.scored(targets, candidate.outputs) for s in self._scorers}

    def _cross_validated(
        self, estimator: BaseEstimator, folder: Path, watch: Stopwatch, report: Report
    ) -> tuple[Score, dict[str, NDArray[np.bool_]]]:
        """Return the quality over the folds, and which samples were right while they were held out.

        After each fold the mean so far is reported, the fold's number as the step: where training
        can be stopped early, that is the place.
        """
        pool = self._pool
        splits = fold_rows(estimator, np.asarray(pool.targets), self.folds or 0)
        values: dict[str, list[float]] = {scorer.metric.name: [] for scorer in self._scorers}
        correct: dict[str, NDArray[np.bool_]] = {}
        with tempfile.TemporaryDirectory(prefix=".folds-", dir=folder) as name:
            for step, (train, test) in enumerate(splits, start=1):
                fitting, scoring, path = (
                    rows_of(pool, train),
                    rows_of(pool, test),
                    Path(name) / f"{step}.onnx",
                )
                candidate = self._candidate(estimator, fitting, scoring, path, watch, self.protocol)
                with watch.stage("score"):
                    for scorer in self._scorers:
                        raw = scorer.raw(candidate.deployment.targets, candidate.outputs)
                        values[scorer.metric.name].append(float(np.mean(raw)))
                        if isinstance(raw, np.ndarray) and raw.dtype == np.bool_:
                            correct.setdefault(scorer.metric.name, np.zeros(len(pool), np.bool_))[test] = raw
                report(step, **{name: float(np.mean(of_folds)) for name, of_folds in values.items()})
        n_test = len(pool) / len(splits)
        quality = {
            scorer.metric.name: cross_validated_estimate(
                values[scorer.metric.name],
                n_train=len(pool) - n_test,
                n_test=n_test,
                metric=scorer.metric,
            )
            for scorer in self._scorers
        }
        return quality, correct

    def _timing(self, context: TrialContext) -> Protocol:
        return trial_protocol(self.protocol, context)

    def _check(self) -> None:
        """Refuse what no trial can do anything about."""
        converter()
        if self.folds is not None and (
            not isinstance(self.folds, int) or isinstance(self.folds, bool) or self.folds < 2
        ):
            raise InputError(f"folds: expected an integer of at least 2, or None, got {self.folds!r}")

    @property
    def _scorers(self) -> tuple[Scorer, ...]:
        return task_scorers(self.score)

    @cached_property
    def _splits(self) -> Splits:
        data = self.data()
        if not isinstance(data, Splits):
            raise FitError(f"data() must return objectives.Splits, got {type(data).__name__}")
        return data

    @cached_property
    def _pool(self) -> Split:
        """Train and validation data, in this order."""
        return pooled(self._splits.train, self._splits.validation)


@dataclass(frozen=True)
class _Candidate:
    """A fitted estimator, its artefact, and what that put out for the rows to score."""

    fitted: BaseEstimator
    deployment: Deployment
    arrays: Sequence[NDArray[Any]]
    outputs: Outputs
    n_differing: int

    @property
    def static(self) -> dict[str, Estimate]:
        """What can be counted, the rows that came out as in the estimator among it."""
        name = type(predictor(self.fitted)).__name__
        return {
            "parameters": count_parameters(self.fitted),
            "macs": Estimate(None, reason=f"multiply-accumulates of {name} are not counted"),
            AGREEMENT.name: Estimate.exact(1 - self.n_differing / len(self.outputs)),
        }


def _kept(correct: Mapping[str, NDArray[np.bool_]], context: TrialContext) -> dict[str, str]:
    """Keep which samples were right, so that candidates can be compared sample by sample."""
    if not correct:
        return {}
    arrays: dict[str, Any] = {**correct}
    np.savez_compressed(context.folder / "correct.npz", **arrays)
    return {"correct": (context.folder.relative_to(context.root) / "correct.npz").as_posix()}


def _seeded(estimator: object, seed: int) -> BaseEstimator:
    """Return a copy in which each `random_state` that is None has a seed."""
    if not isinstance(estimator, BaseEstimator) or not (is_classifier(estimator) or is_regressor(estimator)):
        raise FitError(
            "build() must return a scikit-learn classifier, regressor or pipeline that ends in one,"
            f" got {type(estimator).__name__}"
        )
    copy, generator = clone(estimator), np.random.default_rng(seed)
    unset = sorted(
        name
        for name, value in copy.get_params().items()
        if name.split("__")[-1] == "random_state" and value is None
    )
    copy.set_params(**{name: int(generator.integers(2**31)) for name in unset})
    return copy
