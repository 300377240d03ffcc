"""Scores of outputs against scikit-learn's own of the estimator, and intervals against brute force."""

import functools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.datasets import make_classification, make_regression
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.metrics import get_scorer, get_scorer_names, mean_absolute_error

from moo.errors import InputError, ScoreError
from moo.evaluation import Estimate
from moo.metrics import Metric
from objectives._scoring._scores import (
    Outputs,
    Scorer,
    bootstrap_estimate,
    cross_validated_estimate,
    resolve_scorer,
    resolve_scorers,
)

X2, Y2 = make_classification(120, 6, flip_y=0.2, random_state=0)
X3, Y3 = make_classification(150, 6, n_informative=4, n_classes=3, flip_y=0.2, random_state=1)
XR, YR = make_regression(80, 4, noise=30.0, random_state=2)
YR = YR - YR.min() + 1
FRACTION = Metric(name="f", dimension="fraction", low=0.0, high=1.0)


class Positive(LinearRegression):
    """Some metrics take positive values only."""

    def predict(self, X):  # noqa: N803  (scikit-learn's name)
        return super().predict(X).clip(0.1)


@functools.cache
def fitted(kind: str):
    """An estimator, its inputs and targets, and what it puts out."""
    estimator, inputs, targets = {
        "binary": (LogisticRegression(), X2, Y2),
        "binary text": (LogisticRegression(), X2, np.array(["no", "yes"])[Y2]),
        "binary decision": (RidgeClassifier(), X2, Y2),
        "multiclass": (LogisticRegression(), X3, Y3),
        "multiclass decision": (RidgeClassifier(), X3, Y3),
        "regression": (Positive(), XR, YR),
    }[kind]
    estimator.fit(inputs, targets)
    predictions = estimator.predict(inputs)
    if kind == "regression":
        return estimator, inputs, targets, Outputs(predictions)
    if "decision" in kind:
        values = estimator.decision_function(inputs)
        return (
            estimator,
            inputs,
            targets,
            Outputs(predictions, decision_values=values, classes=estimator.classes_),
        )
    outputs = Outputs(predictions, probabilities=estimator.predict_proba(inputs), classes=estimator.classes_)
    return estimator, inputs, targets, outputs


SUIT = {
    "binary": "accuracy average_precision balanced_accuracy f1 f1_macro jaccard precision recall roc_auc"
    " neg_log_loss neg_brier_score matthews_corrcoef d2_log_loss_score positive_likelihood_ratio"
    " neg_negative_likelihood_ratio",
    "binary text": "accuracy balanced_accuracy f1_macro roc_auc neg_log_loss",
    "binary decision": "accuracy f1 roc_auc average_precision",
    "multiclass": "accuracy balanced_accuracy f1_macro f1_weighted roc_auc_ovr roc_auc_ovo neg_log_loss"
    " top_k_accuracy recall_macro jaccard_weighted",
    "multiclass decision": "accuracy f1_macro precision_macro",
    "regression": "r2 neg_mean_absolute_error neg_mean_squared_error neg_root_mean_squared_error"
    " neg_median_absolute_error neg_max_error explained_variance neg_mean_absolute_percentage_error"
    " neg_mean_gamma_deviance neg_mean_squared_log_error d2_absolute_error_score",
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning")
@pytest.mark.parametrize(("kind", "name"), [(k, n) for k, names in SUIT.items() for n in names.split()])
def test_a_score_of_outputs_is_scikit_learns_of_the_estimator(kind: str, name: str) -> None:
    estimator, inputs, targets, outputs = fitted(kind)
    scorer = resolve_scorer(name)
    expected = get_scorer(name)(estimator, inputs, targets)
    is_error = name.startswith("neg_")
    assert scorer.value(targets, outputs) == pytest.approx(-expected if is_error else expected, rel=1e-12)
    assert scorer.metric.direction == ("minimize" if is_error else "maximize")
    assert scorer.metric.name == name.removeprefix("neg_")


@pytest.mark.parametrize("kind", SUIT)
@pytest.mark.parametrize("name", get_scorer_names())
def test_every_scorer_gives_a_number_within_its_range_or_says_why_not(name: str, kind: str) -> None:
    _, _, targets, outputs = fitted(kind)
    scorer = resolve_scorer(name)
    low, high = scorer.metric.low, scorer.metric.high
    try:
        value = scorer.value(targets, outputs)
    except ScoreError as error:
        assert scorer.metric.name in str(error)
        assert "\n" not in str(error)
        assert name not in SUIT[kind].split()
    else:
        assert (-math.inf if low is None else low) <= value <= (math.inf if high is None else high)


@pytest.mark.parametrize("name", ["mean_absolute_error", "neg_mean_absolute_error"])
def test_an_error_goes_by_either_name_and_is_minimised(name: str) -> None:
    scorer = resolve_scorer(name)
    assert (scorer.metric.name, scorer.metric.direction) == ("mean_absolute_error", "minimize")
    assert scorer.value(np.array([1.0, 2.0]), Outputs([2.0, 4.0])) == 1.5


def test_accuracy_says_which_samples_are_correct() -> None:
    found = resolve_scorer("accuracy").scored(np.array(["a", "b"]), Outputs(["a", "a"], classes=["a", "b"]))
    assert found.dtype == np.bool_
    assert found.tolist() == [True, False]


def test_labels_follow_from_probabilities_and_decision_values() -> None:
    classes = np.array(["x", "y"])
    assert Outputs(None, probabilities=[[0.9, 0.1]], classes=classes).predictions.tolist() == ["x"]
    assert Outputs(None, decision_values=[0.3, -0.1], classes=classes).predictions.tolist() == ["y", "x"]


def test_what_float32_adds_to_a_probability_of_one_is_taken_off() -> None:
    rounded = Outputs(None, np.array([[1.0000002, 0], [0, 1.0000001]], np.float32), classes=[0, 1])
    assert resolve_scorer("log_loss").value(np.array([0, 1]), rounded) == pytest.approx(0, abs=1e-6)


def test_what_is_no_probability_is_not_made_one() -> None:
    logits = Outputs(None, np.array([[1.2, -0.2], [0.1, 0.9]]), classes=[0, 1])
    with pytest.raises(ScoreError, match="log_loss: ValueError: y_prob"):
        resolve_scorer("log_loss").value(np.array([0, 1]), logits)


@pytest.mark.parametrize(
    ("name", "targets", "outputs", "said"),
    [
        (
            "neg_log_loss",
            [0, 1],
            Outputs([0, 1], classes=[0, 1]),
            "log_loss needs probabilities, but .* labels",
        ),
        (
            "roc_auc",
            [0, 1],
            Outputs([0, 1], classes=[0, 1]),
            "roc_auc needs decision values or probabilities",
        ),
        (
            "neg_log_loss",
            [0.5, 1],
            Outputs([0.5, 1.0]),
            "needs probabilities, but the model gives only values",
        ),
        ("accuracy", [0.5, 1], Outputs([0.5, 1.0]), "for a regressor set score"),
        ("f1", ["a", "b"], Outputs(["a", "b"], classes=["a", "b"]), "f1: ValueError: pos_label=1 is not"),
        ("r2", [1.0], Outputs([1.0]), "r2 is nan: R"),
        ("roc_auc", [1, 1], Outputs([1, 1], [[0, 1], [0, 1.0]], classes=[0, 1]), "roc_auc is nan: Only one"),
    ],
)
def test_what_a_metric_cannot_use_is_said_in_one_line(name, targets, outputs, said) -> None:
    with pytest.raises(ScoreError, match=said) as caught:
        resolve_scorer(name).value(np.array(targets), outputs)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"predictions": [1.0, math.nan]}, "1 of 2 labels or values are not finite"),
        ({"predictions": None}, "expected predictions, or probabilities"),
        ({"predictions": [0], "probabilities": [[1.0]], "classes": [0, 1]}, "for 2 classes, got 1"),
        ({"predictions": [0], "probabilities": [[1, 0], [0, 1]], "classes": [0, 1]}, "for 1 samples"),
    ],
)
def test_outputs_that_do_not_fit_are_refused(arguments, said) -> None:
    with pytest.raises(ScoreError, match=said):
        Outputs(**arguments)


@pytest.mark.parametrize(
    ("score", "said"),
    [
        ("acuracy", "unknown scorer 'acuracy': did you mean accuracy"),
        ("neg_accuracy", "unknown scorer 'neg_accuracy'"),
        (lambda targets, outputs: 1.0, "'<lambda>' has no name that a person can type"),
        (3, "expected a metric's name or a function, got 3"),
        (["f1", "f1"], "each once, got f1, f1"),
        ([], "got none"),
    ],
)
def test_a_score_that_is_none_is_refused(score, said) -> None:
    with pytest.raises(InputError, match=said):
        resolve_scorers(score)


# functions of a person's own


def worst(targets, outputs):
    return float(np.abs(targets - outputs.predictions).max())


def absolute_error(targets, outputs):
    return np.abs(targets - outputs.predictions)


def within_ten(targets, outputs):
    return np.abs(targets - outputs.predictions) < 10


def test_a_function_may_give_a_number_a_value_or_a_correctness_for_each_sample() -> None:
    generator = np.random.default_rng(0)
    targets = generator.normal(0, 10, 200)
    outputs = Outputs(targets + generator.normal(0, 10, 200))
    number, values, correct = (
        resolve_scorer(f).scored(targets, outputs) for f in (worst, absolute_error, within_ten)
    )
    assert number.value == number.high == np.abs(targets - outputs.predictions).max()
    assert number.low < number.value
    assert values.value == pytest.approx(mean_absolute_error(targets, outputs.predictions))
    assert correct.tolist() == (absolute_error(targets, outputs) < 10).tolist()
    assert resolve_scorer(worst).metric == Metric(name="worst")


def test_the_mean_of_values_has_the_interval_of_the_metric_by_name() -> None:
    targets = np.random.default_rng(0).normal(size=50)
    outputs = Outputs(np.zeros(50))
    by_name = resolve_scorer("mean_absolute_error").scored(targets, outputs)
    own = resolve_scorer(absolute_error).scored(targets, outputs)
    assert (own.low, own.value, own.high) == pytest.approx((by_name.low, by_name.value, by_name.high))


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda t, o: "good", "m: expected a number, got 'good'"),
        (lambda t, o: np.zeros(3), r"one for each of 2 samples, got shape \(3,\)"),
        (lambda t, o: math.nan, "m is not finite"),
        (lambda t, o: {}["x"], "m: KeyError: 'x'"),
    ],
)
def test_a_function_that_gives_something_else_is_refused(function, said) -> None:
    scorer = Scorer(Metric(name="m"), function)
    with pytest.raises(ScoreError, match=said):
        scorer.value(np.zeros(2), Outputs(np.zeros(2)))


# intervals


def test_the_bootstrap_agrees_with_scipys() -> None:
    sample = np.random.default_rng(0).gamma(2.0, size=80)
    ours = bootstrap_estimate(np.median(sample), lambda rows: float(np.median(sample[rows])), 80)
    theirs = stats.bootstrap(
        (sample,), np.median, method="percentile", n_resamples=5000, rng=1
    ).confidence_interval
    assert (ours.low, ours.high) == pytest.approx(theirs, rel=0.05)


def test_the_bootstrap_covers_the_truth_about_as_often_as_it_says() -> None:
    generator, covered = np.random.default_rng(0), 0
    for _ in range(200):
        sample = generator.exponential(size=100)
        estimate = bootstrap_estimate(
            sample.mean(), lambda rows, s=sample: float(s[rows].mean()), 100, n_resamples=200
        )
        covered += estimate.low <= 1.0 <= estimate.high
    assert 178 <= covered <= 197


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20))
def test_an_interval_holds_the_value_and_keeps_to_the_samples(values: list[float]) -> None:
    sample = np.array(values)
    estimate = bootstrap_estimate(
        float(sample.mean()), lambda rows: float(sample[rows].mean()), len(sample), n_resamples=50
    )
    if estimate.low is None:
        assert estimate.high is None
    else:
        slack = 1e-9 * np.abs(sample).max()
        assert sample.min() - slack <= estimate.low <= estimate.value
        assert estimate.value <= estimate.high <= sample.max() + slack


@pytest.mark.parametrize(("sizes", "is_kept"), [((57, 2, 1), True), ((19, 40), True), ((40, 60), False)])
def test_a_small_class_never_vanishes_from_a_resample(sizes, is_kept) -> None:
    strata, seen = np.repeat(np.arange(len(sizes)), sizes), []

    def count(rows):
        seen.append(tuple(np.bincount(strata[rows], minlength=len(sizes))))
        return float(rows.sum())

    bootstrap_estimate(0.0, count, len(strata), strata=strata, n_resamples=30)
    assert (set(seen) == {sizes}) == is_kept
    assert {sum(counts) for counts in seen} == {sum(sizes)}


def test_the_same_rows_are_drawn_for_every_candidate() -> None:
    drawn = [[], []]
    for rows_of in drawn:
        bootstrap_estimate(0.0, lambda rows, r=rows_of: r.append(rows) or 0.0, 10, n_resamples=5)
    assert np.array_equal(*drawn)
    assert len({tuple(rows) for rows in drawn[0]}) == 5


def test_a_perfect_score_has_no_interval_rather_than_an_exact_one() -> None:
    perfect = resolve_scorer("f1_macro").scored(Y2, Outputs(Y2, classes=[0, 1]))
    assert perfect == Estimate(1.0)


@pytest.mark.parametrize("missing", [math.nan, math.inf, None])
def test_a_resample_without_a_value_leaves_no_interval(missing) -> None:
    def value_of(rows):
        if rows[0] != 0:
            return float(rows.sum())
        if missing is None:
            raise ScoreError("undefined")
        return missing

    assert bootstrap_estimate(1.0, value_of, 10) == Estimate(1.0)


@pytest.mark.parametrize(("n_train", "n_test"), [(80, 20), (90, 10), (1, 1)])
def test_the_variance_of_folds_is_corrected_for_what_they_share(n_train: int, n_test: int) -> None:
    values = [0.5, 0.52, 0.49, 0.51, 0.48]
    wide = Metric(name="m")
    estimate = cross_validated_estimate(values, n_train=n_train, n_test=n_test, metric=wide)
    plain = stats.t.interval(0.95, 4, np.mean(values), stats.sem(values))
    factor = (estimate.high - estimate.value) / (plain[1] - estimate.value)
    assert factor == pytest.approx(math.sqrt(1 + 5 * n_test / n_train))
    assert estimate.value - estimate.low == pytest.approx(estimate.high - estimate.value)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=10))
def test_an_interval_of_folds_holds_the_mean_and_keeps_to_the_range(values: list[float]) -> None:
    estimate = cross_validated_estimate(values, n_train=80, n_test=20, metric=FRACTION)
    assert estimate.value == pytest.approx(np.mean(values))
    if estimate.low is None:
        assert np.ptp(values) < 1e-12
    else:
        assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1
