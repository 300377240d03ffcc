"""A family of scikit-learn estimators, served by ONNX Runtime."""

from __future__ import annotations

import abc
import dataclasses
import tempfile
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone, is_classifier, is_regressor
from sklearn.compose import ColumnTransformer
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from moo.errors import ExportError, FitError, InputError, ScoreError, TaskLoadError
from moo.evaluation import Estimate, Evaluation, TrialContext
from moo.metrics import Metric
from objectives._data import Split, Splits
from objectives._pipeline import LATENCIES, Deployment, Score, Stopwatch, machine_part
from objectives._report import Report
from objectives._scores import Outputs, Scorer, ScorerLike, cross_validated_estimate, resolve_scorers
from objectives._task import Task
from profilers import QUICK, OnnxRuntimeProfiler, Profiler, Protocol, Runtime, environment, smallest_n

if TYPE_CHECKING:
    import onnx
    import optuna

__all__ = ["AGREEMENT", "DIFFERS_TAG", "TARGET_OPSET", "SklearnTask", "count_parameters"]

INPUT_NAME = "input"
TARGET_OPSET = {"": 18, "ai.onnx.ml": 3}
"""What skl2onnx converts to: old enough that every ONNX Runtime since 1.14 runs it."""
DIFFERS_TAG = "differs_from_estimator"
"""The tag of a candidate of which at least one validation row came out otherwise than in scikit-learn."""
AGREEMENT = Metric(
    name="agreement",
    label="rows as in the estimator",
    dimension="fraction",
    direction="maximize",
    low=0.0,
    high=1.0,
)
"""The share of validation rows on which artefact and estimator agree."""

_TAIL_BUDGET_S = 40.0  # within the profiler's limit of 60 s for a process, warm-up and loading included
_BASELINE_LAUNCHES = 6  # the fewest that give the median over launches an interval
_CANNOT = {
    "HistGradientBoosting": "use GradientBoosting or RandomForest, which convert",
    "LinearSVC": "use SVC(kernel='linear'), SGDClassifier or LogisticRegression, which convert",
    "FunctionTransformer": "do what it does in data(), and again where the model is served",
    "TransformedTargetRegressor": "transform the targets in data() and the values in a score of your own",
}
_OTHERWISE = "random forests, gradient boosting, linear models, SVMs, k neighbours and MLPs convert"


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
            `objectives._scores`), a `Scorer`, or several of these.
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
        """The metrics of `score`, and the share of rows on which artefact and estimator agree."""
        return (*(scorer.metric for scorer in self._scorers), AGREEMENT)

    def setting(self) -> dict[str, Any]:
        """Return the machine, the protocol and the runtime.

        Raises:
            InputError: If `folds` or `score` cannot be, or skl2onnx is not installed.
        """
        self._check()
        machine = environment()
        return {
            **super().setting(),
            "environment": machine,
            "machine": machine_part(machine),
            "protocol": self.protocol.to_json(),
            "runtime": self.runtime.to_json(),
        }

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
            estimator, fitting, data.validation, context.folder / "model.onnx", watch, self._timing(context)
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
        tags = _with_tag(evaluation.tags, DIFFERS_TAG) if candidate.n_differing else evaluation.tags
        return dataclasses.replace(evaluation, curve=report.curve, files=files, tags=tags)

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
            signature = _Signature.of(fitted, scoring.inputs)
            names = _write(_convert(fitted, signature.types), path)
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
            expected = _estimator_outputs(fitted, scoring.inputs)
            outputs = _artefact_outputs(arrays, expected)
            n_differing = _checked_difference(outputs, expected, self.tolerance, self.allowed_share)
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
        pool, splits = self._pool, self._fold_rows(estimator)
        values: dict[str, list[float]] = {scorer.metric.name: [] for scorer in self._scorers}
        correct: dict[str, NDArray[np.bool_]] = {}
        with tempfile.TemporaryDirectory(prefix=".folds-", dir=folder) as name:
            for step, (train, test) in enumerate(splits, start=1):
                fitting, scoring, path = _rows(pool, train), _rows(pool, test), Path(name) / f"{step}.onnx"
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

    def _fold_rows(self, estimator: BaseEstimator) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
        """Return the numbers of the rows to fit and to score on, for each fold."""
        targets, n_folds = np.asarray(self._pool.targets), self.folds or 0
        fewest = len(targets)
        if is_classifier(estimator):
            fewest = int(np.unique(targets, return_counts=True)[1].min())
        if fewest < n_folds:
            of_what = "the smallest class" if is_classifier(estimator) else "the data"
            raise FitError(
                f"folds = {n_folds}: expected at least as many samples in {of_what}, got {fewest}:"
                " set fewer folds, or None to score on the validation data"
            )
        kind = StratifiedKFold if is_classifier(estimator) else KFold
        return list(kind(n_folds, shuffle=True, random_state=0).split(np.zeros(len(targets)), targets))

    def _timing(self, context: TrialContext) -> Protocol:
        """Return the protocol, with the calls and the time that the problem's percentiles need.

        The baseline, which bounds rest on, is launched several times.
        """
        protocol = self.protocol
        if context.is_baseline:
            protocol = dataclasses.replace(protocol, launches=max(protocol.launches, _BASELINE_LAUNCHES))
        needed = max((smallest_n(q) for name, q in LATENCIES.items() if name in context.metrics), default=0)
        if needed <= smallest_n(0.5):
            return protocol
        return dataclasses.replace(
            protocol,
            min_calls=max(protocol.min_calls, needed),
            max_calls=max(protocol.max_calls, needed),
            time_budget_s=max(protocol.time_budget_s, _TAIL_BUDGET_S),
        )

    def _check(self) -> None:
        """Refuse what no trial can do anything about."""
        _to_onnx()
        if self.folds is not None and (
            not isinstance(self.folds, int) or isinstance(self.folds, bool) or self.folds < 2
        ):
            raise InputError(f"folds: expected an integer of at least 2, or None, got {self.folds!r}")

    @property
    def _scorers(self) -> tuple[Scorer, ...]:
        """The scorers of `score`. A function assigned in the class has become a method: undo that."""
        score = self.score
        bound = getattr(score, "__func__", None)
        if bound is not None and bound.__code__.co_argcount == 2:
            score = bound
        return resolve_scorers(score)

    @cached_property
    def _splits(self) -> Splits:
        data = self.data()
        if not isinstance(data, Splits):
            raise FitError(f"data() must return objectives.Splits, got {type(data).__name__}")
        return data

    @cached_property
    def _pool(self) -> Split:
        """Train and validation data, in this order."""
        train, validation = self._splits.train, self._splits.validation
        targets = np.concatenate([np.asarray(train.targets), np.asarray(validation.targets)])
        if isinstance(train.inputs, pd.DataFrame):
            return Split(pd.concat([train.inputs, validation.inputs], ignore_index=True), targets)
        return Split(np.concatenate([np.asarray(train.inputs), np.asarray(validation.inputs)]), targets)


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
        name = type(_predictor(self.fitted)).__name__
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


def _with_tag(tags: Iterable[str], tag: str) -> tuple[str, ...]:
    return tuple(sorted({*tags, tag} - {"ok"}))


def _rows(split: Split, rows: NDArray[np.intp]) -> Split:
    is_frame = isinstance(split.inputs, pd.DataFrame)
    return Split(split.inputs.iloc[rows] if is_frame else split.inputs[rows], split.targets[rows])


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


# Parameters


_LEARNED = (
    ("coefs_", "intercepts_"),  # multi-layer perceptrons
    ("support_vectors_", "dual_coef_", "intercept_"),
    ("coef_", "intercept_"),
    ("theta_", "var_", "class_prior_"),  # naive Bayes
)


def count_parameters(estimator: BaseEstimator) -> Estimate:
    """Return the number of learned parameters of a fitted estimator, or of the last step of a pipeline.

    Counted are coefficients and intercepts of linear models, weights and biases of perceptrons,
    support vectors with their coefficients, means and variances of naive Bayes, and the nodes of
    trees; of an ensemble, those of its members. Preprocessing does not count. Where the word has no
    meaning (k neighbours keep the data) there is no value.

    >>> from sklearn.linear_model import LinearRegression
    >>> count_parameters(LinearRegression().fit([[0, 1], [1, 0], [2, 2]], [0, 1, 2])).value
    3
    """
    predictor = _predictor(estimator)
    count = _count(predictor)
    if count is None:
        return Estimate(None, reason=f"{type(predictor).__name__} has no parameters that could be counted")
    return Estimate.exact(count)


def _predictor(estimator: BaseEstimator) -> BaseEstimator:
    while isinstance(estimator, Pipeline):
        estimator = estimator.steps[-1][1]
    return estimator


def _count(estimator: BaseEstimator) -> int | None:
    tree = getattr(estimator, "tree_", None)
    if tree is not None:
        return int(tree.node_count)
    members = getattr(estimator, "estimators_", None)
    if members is not None:
        final = getattr(estimator, "final_estimator_", None)
        everyone = [*np.ravel(np.asarray(members, dtype=object)), *([] if final is None else [final])]
        counts = [_count(_predictor(member)) for member in everyone]
        return None if None in counts else sum(count for count in counts if count is not None)
    is_through_origin = estimator.get_params().get("fit_intercept") is False
    for names in _LEARNED:
        parts = {name: getattr(estimator, name, None) for name in names}
        if all(part is not None for part in parts.values()):
            if is_through_origin:
                parts.pop("intercept_", None)
            return sum(_size(part) for part in parts.values())
    return None


def _size(part: Any) -> int:
    return sum(np.size(one) for one in part) if isinstance(part, list) else int(np.size(part))


# Inputs


@dataclass(frozen=True)
class _Signature:
    """The inputs of an artefact: name and type for the converter, and the rows to feed."""

    types: list[tuple[str, Any]]
    arrays: list[NDArray[Any]]

    @classmethod
    def of(cls, estimator: BaseEstimator, inputs: Any) -> _Signature:
        """Return one input for all columns, or one for each.

        Raises:
            FitError: For inputs that have no two dimensions, or a column that is neither numbers nor text.
        """
        if not isinstance(inputs, pd.DataFrame):
            return cls._whole(np.asarray(inputs), type(inputs).__name__)
        columns = {str(name): _column(str(name), inputs[name]) for name in inputs.columns}
        of_text = [array.dtype == object for array in columns.values()]
        if _has_part(estimator, ColumnTransformer) or (any(of_text) and not all(of_text)):
            types = [(name, _type(array)) for name, array in columns.items()]
            return cls(types, list(columns.values()))
        return cls._whole(np.hstack(list(columns.values())), "DataFrame")

    @classmethod
    def _whole(cls, inputs: NDArray[Any], kind: str) -> _Signature:
        if inputs.ndim != 2:
            raise FitError(
                f"data(): expected inputs of shape (n, features), or a data frame, got {kind}"
                f" of shape {inputs.shape}"
            )
        if inputs.dtype.kind in "OUS":
            array = _text("the inputs", inputs.astype(object))
        else:
            array = _float32("the inputs", inputs)
        return cls([(INPUT_NAME, _type(array))], [array])


def _column(name: str, column: pd.Series[Any]) -> NDArray[Any]:
    """Return a column as an array of shape (n, 1), of float32 or text."""
    if pd.api.types.is_numeric_dtype(column.dtype):  # truth values too
        return np.asarray(column.to_numpy(dtype=np.float32, na_value=np.nan)).reshape(-1, 1)
    return _text(f"column {name!r}", column.to_numpy(dtype=object).reshape(-1, 1))


def _text(what: str, values: NDArray[Any]) -> NDArray[Any]:
    odd = [value for value in values.flat if not isinstance(value, str)]
    if odd:
        raise FitError(
            f"data(): {what}: expected numbers, or text in every row, got {odd[0]!r}: fill what is missing,"
            " and give columns of different kinds as a data frame"
        )
    return values


def _float32(what: str, values: NDArray[Any]) -> NDArray[Any]:
    if values.dtype.kind not in "fiub":
        raise FitError(f"data(): {what}: expected numbers or text, got {values.dtype}")
    return np.ascontiguousarray(values, dtype=np.float32)


def _type(array: NDArray[Any]) -> Any:
    from skl2onnx.common.data_types import (  # type: ignore[import-untyped, unused-ignore]
        FloatTensorType,
        StringTensorType,
    )

    kind = StringTensorType if array.dtype == object else FloatTensorType
    return kind([None, array.shape[1]])


# The artefact


def _to_onnx() -> Callable[..., onnx.ModelProto]:
    try:
        from skl2onnx import to_onnx  # type: ignore[import-untyped, unused-ignore]
    except ModuleNotFoundError as error:
        raise TaskLoadError(
            f"SklearnTask needs {error.name}, which is not installed: pip install 'moo-deploy[sklearn]'"
        ) from error
    return to_onnx  # type: ignore[no-any-return, unused-ignore]


def _convert(estimator: BaseEstimator, types: list[tuple[str, Any]]) -> onnx.ModelProto:
    """Return the estimator as an ONNX model: labels and an array of scores, no list of dictionaries.

    Raises:
        ExportError: Where skl2onnx cannot, with what to do instead.
    """
    options: dict[Any, dict[str, Any]] = (
        {id(estimator): {"zipmap": False}} if is_classifier(estimator) else {}
    )
    if _has_trees(_predictor(estimator)) and _has_part(estimator, StandardScaler):
        # divided as scikit-learn does: times the reciprocal, the default, rounds past thresholds
        options[StandardScaler] = {"div": "div"}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _to_onnx()(
                estimator, initial_types=types, options=options or None, target_opset=TARGET_OPSET
            )
    except Exception as error:  # whatever the converter meets in a person's estimator
        names = _names(estimator)
        instead = next((what for word, what in _CANNOT.items() if word in names), _OTHERWISE)
        raise ExportError(f"skl2onnx cannot convert {names} ({_cause(error)}): {instead}") from error


def _has_trees(estimator: BaseEstimator) -> bool:
    members = np.ravel(np.asarray(getattr(estimator, "estimators_", []), dtype=object))
    return any(getattr(one, "tree_", None) is not None for one in [estimator, *members])


def _has_part(estimator: BaseEstimator, kind: type) -> bool:
    return any(isinstance(part, kind) for part in [estimator, *estimator.get_params().values()])


def _names(estimator: BaseEstimator) -> str:
    """Return the estimator's class, with those of its parts where it has some.

    >>> from sklearn.linear_model import Ridge
    >>> _names(Pipeline([("only", Ridge())]))
    'Pipeline(Ridge)'
    """
    parts = [part for part in estimator.get_params().values() if isinstance(part, BaseEstimator)]
    inside = ", ".join(type(part).__name__ for part in parts)
    return f"{type(estimator).__name__}({inside})" if inside else type(estimator).__name__


def _cause(error: BaseException) -> str:
    """Return the innermost cause in one short line: the converter's own message may hold every node."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), "no message")
    return f"{type(error).__name__}: {line[:160]}".rstrip(".")


def _write(model: onnx.ModelProto, path: Path) -> list[str]:
    """Write the model with its batch dimension named; returns the names of its inputs, in order."""
    for value in [*model.graph.input, *model.graph.output]:
        if value.type.tensor_type.shape.dim:
            value.type.tensor_type.shape.dim[0].dim_param = "batch"
    versions = {entry.domain: entry.version for entry in model.opset_import}  # skl2onnx may repeat one
    del model.opset_import[:]
    for domain, version in versions.items():
        model.opset_import.add(domain=domain, version=version)
    try:
        path.write_bytes(model.SerializeToString())
    except ValueError as error:  # protobuf ends at 2 GiB
        raise ExportError(f"the model cannot be written as one file of less than 2 GiB: {error}") from error
    return [value.name for value in model.graph.input]


# What came out


def _estimator_outputs(estimator: BaseEstimator, inputs: Any) -> Outputs:
    """Return what the estimator itself says of the rows as they are, in float64."""
    predictions = np.asarray(estimator.predict(inputs))
    if not is_classifier(estimator):
        return Outputs(predictions)
    if predictions.ndim != 1:
        raise FitError(f"data(): expected one label a sample, got targets of shape {predictions.shape}")
    classes = np.asarray(estimator.classes_)
    if getattr(estimator, "predict_proba", None) is not None:
        return Outputs(predictions, probabilities=estimator.predict_proba(inputs), classes=classes)
    if getattr(estimator, "decision_function", None) is not None:
        return Outputs(predictions, decision_values=estimator.decision_function(inputs), classes=classes)
    return Outputs(predictions, classes=classes)


def _artefact_outputs(arrays: Sequence[NDArray[Any]], expected: Outputs) -> Outputs:
    """Return the artefact's arrays in the form of the estimator's.

    Raises:
        ExportError: Where they do not fit.
    """
    try:
        if expected.classes is None:
            return Outputs(np.asarray(arrays[0]).reshape(expected.predictions.shape))
        labels = np.asarray(arrays[0]).reshape(-1).astype(expected.classes.dtype)
        if expected.probabilities is not None:
            return Outputs(labels, probabilities=arrays[1], classes=expected.classes)
        if expected.decision_values is not None:
            values = _decision_values(np.asarray(arrays[1]), expected.decision_values)
            return Outputs(labels, decision_values=values, classes=expected.classes)
        return Outputs(labels, classes=expected.classes)
    except (IndexError, ValueError, ScoreError) as error:
        shapes = ", ".join(str(np.shape(array)) for array in arrays)
        raise ExportError(
            f"the artefact's outputs, of shape {shapes}, are not the estimator's: {error}"
        ) from error


def _decision_values(values: NDArray[Any], expected: NDArray[Any]) -> NDArray[Any]:
    """Return the decision values; for two classes, the column that is the estimator's.

    skl2onnx writes one column, or both signs, and which comes first depends on the estimator.
    """
    if expected.ndim == 2:
        return values
    columns = values.reshape(len(expected), -1).T
    return np.asarray(min(columns, key=lambda column: float(np.abs(column - expected).max(initial=0))))


def _checked_difference(artefact: Outputs, estimator: Outputs, tolerance: float, share: float) -> int:
    """Return the number of rows that differ.

    Raises:
        ExportError: If it is more than the share allowed.
    """
    differs, what = np.zeros(len(estimator), np.bool_), []
    for name in ("predictions", "probabilities", "decision_values"):
        ours, theirs = getattr(artefact, name), getattr(estimator, name)
        if theirs is None:
            continue
        if ours.shape != theirs.shape:
            raise ExportError(f"{name}: the artefact gives shape {ours.shape}, the estimator {theirs.shape}")
        if name == "predictions" and estimator.classes is not None:
            rows = ours != theirs
            what += [f"the label on {np.count_nonzero(rows)}"]
        else:
            difference = np.abs(ours.astype(np.float64) - theirs.astype(np.float64)).reshape(len(theirs), -1)
            rows = ~(difference <= tolerance * _scale(name, theirs)).all(axis=1)
            what += [f"{name.replace('_', ' ')} by up to {difference.max():.2g}"]
        differs |= rows
    n_differing = int(np.count_nonzero(differs))
    if n_differing > share * len(differs):
        raise ExportError(
            f"the artefact differs from the estimator on {n_differing} of {len(differs)} rows"
            f" ({', '.join(what)}), allowed is {share:.0%}: it takes float32, so have data() return float32,"
            " that fitting sees the same numbers; and trees need no scaling before them"
        )
    return n_differing


def _scale(name: str, values: NDArray[Any]) -> NDArray[np.float64]:
    """Return what a difference is a fraction of: 1 for probabilities, else the range of each column."""
    if name == "probabilities":
        return np.ones(1)
    columns = values.reshape(len(values), -1).astype(np.float64)
    ranges, sizes = np.ptp(columns, axis=0), np.abs(columns).max(axis=0)
    return np.where(ranges > 0, ranges, np.where(sizes > 0, sizes, 1.0))
