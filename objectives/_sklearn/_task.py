"""A family of scikit-learn estimators, served by ONNX Runtime."""

from __future__ import annotations

import abc
import copy
import dataclasses
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import cache, cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone, is_classifier, is_regressor

from moo.errors import FitError, InputError, TrialError
from moo.evaluation import Evaluation, TrialContext
from moo.metrics import Metric
from objectives._choices import Choices, Chosen
from objectives._compression._compress import Compression
from objectives._data import Split, Splits
from objectives._pipeline import (
    Deployment,
    Score,
    Stopwatch,
    also_metrics,
    measured_elsewhere,
    variant,
    with_compression,
    with_tags,
)
from objectives._report import Report
from objectives._scoring._outputs import Outputs
from objectives._scoring._scores import Scorer, ScorerLike, own_metrics, task_scorers
from objectives._serving import serving_setting, trial_protocol
from objectives._sklearn._check import AGREEMENT, DIFFERS_TAG, stored_outputs
from objectives._sklearn._export import TARGET_OPSET, converter, input_names
from objectives._sklearn._fitted import Candidate, Fitted
from objectives._sklearn._folds import fold_rows, pooled, rows_of
from objectives._sklearn._inputs import Signature
from objectives._sklearn._size import count_parameters
from objectives._sklearn._tally import Tally
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
        deploy: What else may be chosen when a fitted estimator is deployed, such as its precision or the
            threads; with `fan_out` one fit, and one fit a fold, serves them all. int8 reduces the matrix
            products of perceptrons and PCA; trees, linear models and SVMs are single operators that nothing
            reduces: such a candidate is measured all the same, and tagged `nothing_reduced`.
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
            and leave scaling to models that need it. In another precision than float32 any may differ: how
            many agree is the metric `agreement`.
    """

    runtime: Runtime = Runtime()
    deploy: Choices = Choices()
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
        return (*own_metrics(self._scorers), AGREEMENT, *also_metrics(self._elsewhere))

    def setting(self) -> dict[str, Any]:
        """Return the machine, the protocol and the runtime.

        Raises:
            InputError: If `folds` or `score` cannot be, or skl2onnx is not installed.
        """
        self._check()
        return {**super().setting(), **serving_setting(self.runtime, self.protocol, self._machines)}

    def identity(self) -> dict[str, str]:
        """Return the digests of the task's parts, how it is scored, its runtime and protocol among them."""
        return {
            **super().identity(),
            "score": ", ".join(scorer.metric.name for scorer in self._scorers),
            "folds": repr(self.folds),
            "runtime": repr(self.runtime),
            "deploy": repr(self.deploy),
            "protocol": repr(self.protocol),
        }

    def evaluate(self, trial: optuna.Trial, context: TrialContext) -> Evaluation:
        """Return the evaluation of one trial, with those of the same fit in other deployments, if wanted."""
        self._check()
        watch = Stopwatch.of(context)
        report = Report(self.metrics, pause=watch.pause)
        with watch.stage("data"):
            data = self._splits
        chosen = self.deploy.suggested(trial, self.runtime)
        everyone = [chosen, *self.deploy.others(chosen, self.runtime)]
        with watch.stage("build"):
            estimator = _seeded(self.build(trial), context.seed)
        fitting = data.train if self.folds is None else self._pool
        fitted = self._fitted(estimator, fitting, data.validation, context.folder / "fitted", watch)
        cross_validated = cache(
            partial(self._cross_validated, estimator, everyone, context, watch=watch, report=report)
        )

        def quality(index: int, candidate: Candidate) -> tuple[Score, dict[str, NDArray[np.bool_]]]:
            if self.folds is None:
                return self._held_out(candidate), {}
            tally = cross_validated()[index]  # the dear part, once the cost is known
            if isinstance(tally, TrialError):
                raise tally
            return tally.quality(), tally.correct

        def evaluated(index: int, place: TrialContext) -> Evaluation:
            own = watch if place is context else Stopwatch.of(place)
            return self._evaluated(fitted, everyone[index], place, own, partial(quality, index))

        evaluation = evaluated(0, context)
        variants = tuple(
            (other.params, variant(partial(evaluated, index), context, index))
            for index, other in enumerate(everyone[1:], 1)
        )
        shutil.rmtree(fitted.path.parent, ignore_errors=True)  # what counts is beside it
        return dataclasses.replace(evaluation, curve=report.curve, variants=variants)

    def retrained(self, params: Mapping[str, Any], context: TrialContext) -> Evaluation:
        """Return a configuration fitted once more, with the context's seed, in its own deployment alone.

        The folds are the same.
        """
        from optuna.trial import FixedTrial

        alone = copy.copy(self)
        alone.deploy = dataclasses.replace(self.deploy, fan_out=False)
        trial: Any = FixedTrial(dict(params))
        return alone.evaluate(trial, context)

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

    def _fitted(
        self, estimator: BaseEstimator, fitting: Split, scoring: Split, folder: Path, watch: Stopwatch
    ) -> Fitted:
        """Return the estimator fitted, converted, and compared with its model in the task's own runtime."""
        fitted = Fitted.of(estimator, fitting, scoring, folder / "model.onnx", watch)
        plain = self._candidate(
            fitted,
            Chosen(params={}, compression=Compression(), runtime=self.runtime),
            fitted.path,
            self.protocol,
            watch,
        )
        return dataclasses.replace(fitted, plain=plain.arrays)

    def _candidate(
        self, fitted: Fitted, chosen: Chosen, path: Path, protocol: Protocol, watch: Stopwatch
    ) -> Candidate:
        """Return an artefact run as chosen; in float32 it must be as good as the estimator itself."""
        deployment = Deployment(
            path=path,
            runtime=chosen.runtime,
            protocol=protocol,
            profiler=self.profiler,
            inputs=fitted.feeds,
            targets=fitted.targets,
            watch=watch,
        )
        is_exact = chosen.compression.precision == "fp32"
        return Candidate.of(
            fitted,
            deployment,
            tolerance=self.tolerance,
            share=self.allowed_share if is_exact else 1.0,
            arrays=fitted.plain if is_exact and chosen.runtime == self.runtime else None,
        )

    def _evaluated(
        self,
        fitted: Fitted,
        chosen: Chosen,
        place: TrialContext,
        watch: Stopwatch,
        quality: Callable[[Candidate], tuple[Score, Mapping[str, NDArray[np.bool_]]]],
    ) -> Evaluation:
        """Return the evaluation of a fitted estimator in a deployment; quality is asked for last."""
        path = place.folder / "model.onnx"
        with watch.stage("export"):
            facts = fitted.compressed(path, chosen.compression, seed=place.seed)
        candidate = self._candidate(fitted, chosen, path, trial_protocol(self.protocol, place), watch)
        deployment = dataclasses.replace(candidate.deployment, measuring=place.measuring)
        measurement = deployment.measure(place.seed)
        scored, correct = quality(candidate)
        evaluation = candidate.deployment.evaluation(
            place,
            measurement,
            candidate.arrays,
            lambda *_: scored,
            fitted.static(candidate.n_differing),
            self.metrics,
        )
        evaluation = with_compression(evaluation, chosen, facts, place)
        files = {**evaluation.files, **_kept(correct, place)}
        tags = with_tags(evaluation.tags, DIFFERS_TAG) if candidate.n_differing else evaluation.tags
        metrics = {**evaluation.metrics, **measured_elsewhere(deployment.on(self._elsewhere), place)}
        return dataclasses.replace(evaluation, metrics=metrics, files=files, tags=tags)

    def _held_out(self, candidate: Candidate) -> Score:
        targets = candidate.deployment.targets
        with candidate.deployment.watch.stage("score"):
            return {s.metric.name: s.scored(targets, candidate.outputs) for s in self._scorers}

    def _cross_validated(
        self,
        estimator: BaseEstimator,
        everyone: Sequence[Chosen],
        context: TrialContext,
        *,
        watch: Stopwatch,
        report: Report,
    ) -> list[Tally | TrialError]:
        """Return for each deployment its quality over the folds, or why it failed in one.

        A fold's model is fitted once, and compressed and run in each deployment. After each fold the mean so
        far of the first, the trial's own, is reported, the fold's number as the step: where training can be
        stopped early, that is the place.

        Raises:
            TrialError: If the trial's own deployment fails.
        """
        pool = self._pool
        found: list[Tally | TrialError] = [Tally(self._scorers, len(pool)) for _ in everyone]
        splits = fold_rows(estimator, np.asarray(pool.targets), self.folds or 0)
        with tempfile.TemporaryDirectory(prefix=".folds-", dir=context.folder) as name:
            for step, (train, test) in enumerate(splits, start=1):
                folder = Path(name) / f"{step}"
                fitted = self._fitted(estimator, rows_of(pool, train), rows_of(pool, test), folder, watch)
                for index, (tally, chosen) in enumerate(zip(found, everyone, strict=True)):
                    if isinstance(tally, TrialError):
                        continue
                    try:
                        outputs = self._fold_outputs(fitted, chosen, folder, context.seed, watch)
                        with watch.stage("score"):
                            tally.add(test, fitted.targets, outputs)
                    except TrialError as error:
                        if index == 0:
                            raise
                        found[index] = error
                shutil.rmtree(folder)
                own = found[0]
                assert isinstance(own, Tally)
                report(step, **own.means)
        return found

    def _fold_outputs(
        self, fitted: Fitted, chosen: Chosen, folder: Path, seed: int, watch: Stopwatch
    ) -> Outputs:
        """Return what a fold's model puts out, compressed and run as chosen."""
        path = fitted.path
        if chosen.compression.precision != "fp32":
            path = folder / "compressed.onnx"
            with watch.stage("export"):
                fitted.compressed(path, chosen.compression, seed=seed)
        return self._candidate(fitted, chosen, path, self.protocol, watch).outputs

    def _check(self) -> None:
        """Refuse what no trial can do anything about."""
        converter()
        if not isinstance(self.deploy, Choices):
            raise InputError(f"deploy: expected objectives.Choices, got {type(self.deploy).__name__}")
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
