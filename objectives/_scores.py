"""Quality by name or by function, from what an artefact put out, with its interval.

Any scorer of scikit-learn works by its name, on outputs instead of an estimator. A metric keeps
the name that a person types after `--maximize` or `--minimize`: scikit-learn turns errors round
(`neg_mean_absolute_error`, greater is better) because it only maximises; here the metric is
`mean_absolute_error`, in its own unit and with the direction `minimize`, so that bounds such as
`mean_absolute_error <= 0.9 x baseline` mean what they say. Both names are understood.
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from moo.errors import InputError, ScoreError, TaskLoadError, did_you_mean
from moo.evaluation import Estimate
from moo.metrics import BUILT_IN, Metric

__all__ = [
    "Compute",
    "Outputs",
    "Scorer",
    "ScorerLike",
    "bootstrap_estimate",
    "cross_validated_estimate",
    "resolve_scorer",
    "resolve_scorers",
]

N_RESAMPLES = 1000
_SEED = 0  # of the resamples: the same rows are drawn for every candidate, so that they compare
_ROUNDING = 1e-5  # of a sum of float32 probabilities over the trees of a forest, with room
_SAFE_CLASS_SIZE = 20  # a class this large is absent from one of 1000 resamples with probability 2e-6
_FRACTIONS = (
    "accuracy",
    "average_precision",
    "balanced_accuracy",
    "f1",
    "jaccard",
    "precision",
    "recall",
    "roc_auc",
    "top_k_accuracy",
)
_AT_MOST_ONE = ("d2", "explained_variance", "r2")
_RESPONSES = {
    "predictions": "labels or values",
    "probabilities": "probabilities",
    "decision_values": "decision values",
}


@dataclass(frozen=True, eq=False)
class Outputs:
    """What a model put out for n samples.

    Args:
        predictions: Labels or regression values, shape (n,), or (n, targets) for several targets;
            None to take the class with the largest probability or decision value.
        probabilities: Of each class, shape (n, classes), or None. What float32 rounding leaves below
            0 or above 1 is put there: scikit-learn refuses it.
        decision_values: Shape (n, classes), or (n,) for two classes, where above zero means the
            second; or None.
        classes: The labels in the order of the columns, ascending; None for a regressor.

    Raises:
        ScoreError: For shapes that do not fit, or numbers that are not finite.
    """

    predictions: Any
    probabilities: Any = None
    decision_values: Any = None
    classes: Any = None

    def __post_init__(self) -> None:
        for name in (*_RESPONSES, "classes"):
            given = getattr(self, name)
            object.__setattr__(self, name, None if given is None else np.asarray(given))
        if self.probabilities is not None:
            object.__setattr__(self, "probabilities", _without_rounding(self.probabilities))
        if self.predictions is None:
            object.__setattr__(self, "predictions", self._likeliest())
        for name in _RESPONSES:
            self._check(name)

    def __len__(self) -> int:
        return len(self.predictions)

    def take(self, rows: NDArray[np.intp]) -> Outputs:
        """Return the outputs for these samples, which may repeat."""
        taken = {
            name: None if (values := getattr(self, name)) is None else values[rows] for name in _RESPONSES
        }
        return replace(self, **taken)

    @property
    def kinds(self) -> tuple[str, ...]:
        """What there is, in words.

        >>> Outputs(["a", "b"], classes=["a", "b"]).kinds
        ('labels',)
        """
        names = {**_RESPONSES, "predictions": "values" if self.classes is None else "labels"}
        return tuple(names[name] for name in _RESPONSES if getattr(self, name) is not None)

    def _likeliest(self) -> NDArray[Any]:
        scores = self.decision_values if self.probabilities is None else self.probabilities
        if scores is None or self.classes is None:
            raise ScoreError("outputs: expected predictions, or probabilities or decision values and classes")
        index = (scores > 0).astype(np.intp) if scores.ndim == 1 else scores.argmax(axis=1)
        return np.asarray(self.classes[index])

    def _check(self, name: str) -> None:
        values = getattr(self, name)
        if values is None:
            return
        if values.ndim not in (1, 2) or len(values) != len(self.predictions):
            raise ScoreError(
                f"outputs: expected {_RESPONSES[name]} for {len(self.predictions)} samples,"
                f" got shape {values.shape}"
            )
        n_classes = None if self.classes is None or values.ndim == 1 else len(self.classes)
        if name != "predictions" and n_classes is not None and values.shape[1] != n_classes:
            raise ScoreError(
                f"outputs: expected {_RESPONSES[name]} for {n_classes} classes, got {values.shape[1]}"
            )
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            n_bad = np.count_nonzero(~np.isfinite(values))
            raise ScoreError(f"{n_bad} of {values.size} {_RESPONSES[name]} are not finite")


def _without_rounding(probabilities: NDArray[Any]) -> NDArray[Any]:
    """Return probabilities held within 0 and 1; unchanged where one is beyond by more than rounding."""
    clipped = probabilities.clip(0, 1)
    is_rounding = np.abs(clipped - probabilities).max(initial=0) <= _ROUNDING
    return clipped if is_rounding else probabilities


Compute = Callable[[NDArray[Any], Outputs], float | ArrayLike]
"""`(targets, outputs)` to a number, or to a value or a correctness for each sample, shape (n,)."""


@dataclass(frozen=True)
class Scorer:
    """A metric and how it comes from targets and outputs.

    Args:
        metric: Its name, direction and range.
        compute: `(targets, outputs)` to a number or to one for each sample; booleans say which
            samples are correct.
    """

    metric: Metric
    compute: Compute

    def raw(self, targets: NDArray[Any], outputs: Outputs) -> float | NDArray[Any]:
        """Return the number, or one for each sample, shape (n,), as floats or booleans.

        Raises:
            ScoreError: For a function that raised or returned something else, or a value that is
                not finite.
        """
        found = self._computed(targets, outputs)
        try:
            values = np.asarray(found)
            values = values if values.dtype == np.bool_ else values.astype(np.float64)
        except (TypeError, ValueError):
            raise ScoreError(f"{self.metric.name}: expected a number, got {found!r}") from None
        if values.ndim > 1 or (values.ndim == 1 and len(values) != len(targets)):
            raise ScoreError(
                f"{self.metric.name}: expected a number, or one for each of {len(targets)} samples,"
                f" got shape {values.shape}"
            )
        if not np.isfinite(values).all():
            raise ScoreError(f"{self.metric.name} is not finite on {len(targets)} samples")
        return values if values.ndim == 1 else float(values)

    def value(self, targets: NDArray[Any], outputs: Outputs) -> float:
        """Return the number, the mean where there is one for each sample. Raises as `raw` does."""
        return float(np.mean(self.raw(targets, outputs)))

    def scored(self, targets: NDArray[Any], outputs: Outputs) -> Estimate | NDArray[np.bool_]:
        """Return which samples are correct where the metric says so, else an estimate.

        Correctness becomes a fraction with its Wilson interval where an evaluation is made; every
        other metric has a bootstrap interval over the samples. Raises as `raw` does.
        """
        found = self.raw(targets, outputs)
        if isinstance(found, np.ndarray) and found.dtype == np.bool_:
            return found
        if isinstance(found, np.ndarray):
            return bootstrap_estimate(float(found.mean()), lambda rows: float(found[rows].mean()), len(found))
        return bootstrap_estimate(
            found,
            lambda rows: self.value(targets[rows], outputs.take(rows)),
            len(targets),
            strata=None if outputs.classes is None else targets,
        )

    def _computed(self, targets: NDArray[Any], outputs: Outputs) -> Any:
        try:
            return self.compute(targets, outputs)
        except ScoreError:
            raise
        except Exception as error:  # whatever a person's function or scikit-learn's meets in the data
            lines = str(error).strip().splitlines() or ["no message"]
            raise ScoreError(f"{self.metric.name}: {type(error).__name__}: {lines[0]}") from error


ScorerLike = str | Compute | Scorer


def resolve_scorers(given: ScorerLike | Sequence[ScorerLike]) -> tuple[Scorer, ...]:
    """Return the scorers of one or several names and functions.

    Raises:
        InputError: As `resolve_scorer` does, or for two of one name, or none.
    """
    several: Sequence[Any] = given if isinstance(given, (tuple, list)) else [given]
    scorers = tuple(resolve_scorer(one) for one in several)
    names = [scorer.metric.name for scorer in scorers]
    if not names or len(set(names)) < len(names):
        raise InputError(f"score: expected one or more metrics, each once, got {', '.join(names) or 'none'}")
    return scorers


def resolve_scorer(given: ScorerLike) -> Scorer:
    """Return the scorer of a name of `sklearn.metrics.get_scorer_names()`, or of a function.

    A function's metric has its name and no direction: the person says `maximize` or `minimize`.
    For a direction, a range or another name give a `Scorer`.

    Raises:
        InputError: For an unknown name, or what is neither name nor function.
        TaskLoadError: For a name where scikit-learn is not installed.

    >>> resolve_scorer("neg_mean_absolute_error").metric.name
    'mean_absolute_error'
    >>> resolve_scorer("f1_macro").metric.direction
    'maximize'
    """
    if isinstance(given, Scorer):
        return given
    if isinstance(given, str):
        return _by_name(given.strip())
    if not callable(given):
        raise InputError(f"score: expected a metric's name or a function, got {given!r}")
    name = getattr(given, "__name__", "")
    if not name.isidentifier():
        raise InputError(
            f"score: {name or given!r} has no name that a person can type: give a named function, or"
            " Scorer(Metric(name=...), function)"
        )
    return Scorer(Metric(name=name), given)


def _by_name(given: str) -> Scorer:
    known = {name.removeprefix("neg_"): name for name in _sklearn().get_scorer_names()}
    name = given.removeprefix("neg_")
    if given not in {*known, *known.values()}:
        raise InputError(f"score: unknown scorer {given!r}: {did_you_mean(given, known)}")
    if name == "accuracy":
        return Scorer(BUILT_IN["accuracy"], _correct)
    return Scorer(_metric(name, is_error=known[name] != name), functools.partial(_of_sklearn, known[name]))


def _metric(name: str, *, is_error: bool) -> Metric:
    def is_one_of(families: tuple[str, ...]) -> bool:
        return any(name == family or name.startswith(f"{family}_") for family in families)

    if is_error:
        return Metric(name=name, direction="minimize", low=0.0)
    if is_one_of(_FRACTIONS):
        return Metric(name=name, direction="maximize", dimension="fraction", low=0.0, high=1.0)
    return Metric(name=name, direction="maximize", high=1.0 if is_one_of(_AT_MOST_ONE) else None)


def _correct(targets: NDArray[Any], outputs: Outputs) -> NDArray[np.bool_]:
    if outputs.classes is None or outputs.predictions.shape != targets.shape:
        raise ScoreError("accuracy needs one label a sample: for a regressor set score = 'r2' or another")
    return np.asarray(outputs.predictions == targets, dtype=np.bool_)


def _of_sklearn(name: str, targets: NDArray[Any], outputs: Outputs) -> float:
    """Return what scikit-learn's scorer says of an estimator that answers with these outputs.

    The scorer itself asks the estimator for the response that its metric needs, and knows which
    column is the positive class: all of it by scikit-learn's public interface.
    """
    scorer = _sklearn().get_scorer(name)
    answering, asked = _answering(outputs)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            value = float(scorer(answering, np.arange(len(outputs)), targets))
        except AttributeError as error:
            needs = " or ".join(dict.fromkeys(_RESPONSES[response] for response in asked))
            raise ScoreError(
                f"{name.removeprefix('neg_')} needs {needs}, but the model gives only"
                f" {' and '.join(outputs.kinds)}: choose another score, or a model that gives them"
            ) from error
    if not math.isfinite(value):
        why = str(caught[-1].message).splitlines()[0] if caught else "undefined on these samples"
        raise ScoreError(f"{name.removeprefix('neg_')} is {value}: {why}")
    return (-value if name.startswith("neg_") else value) + 0.0


def _answering(outputs: Outputs) -> tuple[Any, list[str]]:
    """Return a fitted estimator that answers with these outputs, and a list of what it was asked for."""
    asked: list[str] = []
    return _answering_classes()[outputs.classes is None](outputs, asked), asked


@functools.cache
def _answering_classes() -> tuple[Any, Any]:
    """Return the classes of a classifier and a regressor that only repeat given outputs."""
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.utils.metaestimators import available_if

    def has(response: str) -> Callable[[Any], bool]:
        def check(self: Any) -> bool:
            self.asked.append(response)
            return getattr(self.outputs, response) is not None

        return check

    class Answering(BaseEstimator):  # type: ignore[misc, unused-ignore]  # scikit-learn has no types
        def __init__(self, outputs: Outputs, asked: list[str]) -> None:
            self.outputs, self.asked = outputs, asked

        def predict(self, inputs: Any) -> Any:
            del inputs
            return self.outputs.predictions

        @available_if(has("probabilities"))  # type: ignore[untyped-decorator, unused-ignore]
        def predict_proba(self, inputs: Any) -> Any:
            del inputs
            return self.outputs.probabilities

        @available_if(has("decision_values"))  # type: ignore[untyped-decorator, unused-ignore]
        def decision_function(self, inputs: Any) -> Any:
            del inputs
            return self.outputs.decision_values

    class AnsweringClassifier(ClassifierMixin, Answering):  # type: ignore[misc, unused-ignore]
        @property
        def classes_(self) -> Any:
            return self.outputs.classes

    class AnsweringRegressor(RegressorMixin, Answering):  # type: ignore[misc, unused-ignore]
        pass

    return AnsweringClassifier, AnsweringRegressor


def _sklearn() -> Any:
    try:
        import sklearn.metrics
    except ModuleNotFoundError as error:
        raise TaskLoadError(
            "a score by name needs scikit-learn, which is not installed: pip install 'moo-deploy[sklearn]'"
        ) from error
    return sklearn.metrics


def bootstrap_estimate(
    value: float,
    value_of: Callable[[NDArray[np.intp]], float],
    n: int,
    *,
    strata: NDArray[Any] | None = None,
    n_resamples: int = N_RESAMPLES,
) -> Estimate:
    """Return a value with its 95% percentile bootstrap interval over the samples.

    Each resample draws n samples with replacement, by a fixed seed: the same for all candidates.
    Where a class has fewer than 20 samples, as many are drawn of each class as there are, so that
    none vanishes. There is no interval where a resample has no value, or all have the same: the
    bootstrap cannot see what the samples do not show (a perfect score is one). The interval is
    widened to hold the value. Percentile and not BCa: that needs the statistic n times more, and
    has no form for strata. What the interval leaves out is the luck of training.

    Source: B. Efron and R. J. Tibshirani, An Introduction to the Bootstrap (1993), section 13.3;
    strata, A. C. Davison and D. V. Hinkley, Bootstrap Methods and Their Application (1997), 3.2.

    Args:
        value: For all samples.
        value_of: The value for the samples of these numbers, shape (n,); it may raise ScoreError.
        n: The number of samples.
        strata: The class of each sample, shape (n,), or None.
        n_resamples: How often `value_of` is called.

    >>> estimate = bootstrap_estimate(4.5, lambda rows: float(rows.mean()), 10)
    >>> 2.5 < estimate.low < 3.2 and 5.8 < estimate.high < 6.5
    True
    """
    generator, groups = np.random.default_rng(_SEED), _groups(n, strata)
    values = np.empty(n_resamples)
    for index in range(n_resamples):
        rows = np.concatenate([generator.choice(group, size=len(group)) for group in groups])
        try:
            values[index] = value_of(rows)
        except ScoreError:
            return Estimate(value)
    if not np.isfinite(values).all() or np.ptp(values) == 0:
        return Estimate(value)
    low, high = np.quantile(values, (0.025, 0.975))
    return Estimate(value, min(float(low), value), max(float(high), value))


def _groups(n: int, strata: NDArray[Any] | None) -> list[NDArray[np.intp]]:
    """Return the numbers of the samples, by class where a small one may vanish from a resample."""
    if strata is not None and strata.ndim == 1:
        _, classes, sizes = np.unique(strata, return_inverse=True, return_counts=True)
        if sizes.min() < _SAFE_CLASS_SIZE:
            return [np.flatnonzero(classes == index) for index in range(len(sizes))]
    return [np.arange(n)]


def cross_validated_estimate(
    values: Sequence[float], *, n_train: float, n_test: float, metric: Metric
) -> Estimate:
    """Return the mean over the folds with its 95% interval, held within the metric's range.

    Folds share training samples, so the variance of their mean is more than s^2 / k. Corrected it
    is (1/k + n_test/n_train) s^2, with Student's t for k - 1 degrees of freedom: C. Nadeau and
    Y. Bengio, Inference for the Generalization Error, Machine Learning 52 (2003), the corrected
    resampled t-test. It was found for random subsets; for k folds it is the usual approximation.
    There is no interval for one fold, or where all folds agree.

    Args:
        values: One for each fold, shape (k,).
        n_train: Samples that a fold is fitted on.
        n_test: Samples that it is scored on.
        metric: For its range.

    >>> cross_validated_estimate([0.8, 0.9], n_train=50, n_test=50, metric=BUILT_IN["accuracy"])
    Estimate(value=0.85..., low=0.0, high=1.0, reason=None)
    """
    k, mean = len(values), float(np.mean(values))
    spread = float(np.std(values, ddof=1)) if k > 1 else 0.0
    if spread == 0:
        return Estimate(mean)
    half = float(stats.t.ppf(0.975, k - 1)) * spread * math.sqrt(1 / k + n_test / n_train)
    low = mean - half if metric.low is None else max(mean - half, metric.low)
    high = mean + half if metric.high is None else min(mean + half, metric.high)
    return Estimate(mean, min(low, mean), max(high, mean))
