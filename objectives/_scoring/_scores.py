"""Quality by name or by function, from what an artefact put out, with its interval.

Any scorer of scikit-learn works by its name, on outputs instead of an estimator. A metric keeps
the name that a person types after `--maximize` or `--minimize`: scikit-learn turns errors round
(`neg_mean_absolute_error`, greater is better) because it only maximises; here the metric is
`mean_absolute_error`, in its own unit and with the direction `minimize`, so that bounds such as
`mean_absolute_error <= 0.9 x baseline` mean what they say. Both names are understood.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from moo.errors import InputError, ScoreError
from moo.evaluation import Estimate
from moo.metrics import BUILT_IN, Metric
from objectives._scoring._intervals import bootstrap_estimate, cross_validated_estimate
from objectives._scoring._outputs import Outputs
from objectives._scoring._sklearn_scores import scorer_name, sklearn_metric, sklearn_score

__all__ = [
    "Compute",
    "Outputs",
    "Scorer",
    "ScorerLike",
    "bootstrap_estimate",
    "cross_validated_estimate",
    "own_metrics",
    "resolve_scorer",
    "resolve_scorers",
    "task_scorers",
]

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


def own_metrics(scorers: Sequence[Scorer]) -> tuple[Metric, ...]:
    """Return the metrics of scorers that a task declares: all but the built-in ones.

    >>> own_metrics(resolve_scorers(["accuracy", "r2"]))
    (Metric(name='r2', ...),)
    """
    metrics = [scorer.metric for scorer in scorers]
    return tuple(metric for metric in metrics if metric != BUILT_IN.get(metric.name))


def task_scorers(score: Any) -> tuple[Scorer, ...]:
    """Return the scorers of a task's `score`, which as a function in its class has become a method.

    Raises:
        InputError: As `resolve_scorers` does.
    """
    bound: Any = getattr(score, "__func__", None)
    is_function = bound is not None and bound.__code__.co_argcount == 2
    return resolve_scorers(bound if is_function else score)


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
    if given == "accuracy":  # which needs no scikit-learn
        return Scorer(BUILT_IN["accuracy"], _correct)
    name = scorer_name(given)
    return Scorer(sklearn_metric(name), functools.partial(sklearn_score, name))


def _correct(targets: NDArray[Any], outputs: Outputs) -> NDArray[np.bool_]:
    if outputs.classes is None or outputs.predictions.shape != targets.shape:
        raise ScoreError("accuracy needs one label a sample: for a regressor set score = 'r2' or another")
    return np.asarray(outputs.predictions == targets, dtype=np.bool_)
