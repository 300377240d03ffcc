"""Trials of scikit-learn tasks: real conversion and real ONNX Runtime; the timing is scripted but for two."""

import dataclasses
import hashlib
import json
import sys
import warnings

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    AdaBoostClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
    Ridge,
    RidgeClassifier,
    SGDClassifier,
)
from sklearn.metrics import mean_absolute_error
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_predict, cross_val_score
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.svm import SVC, SVR, LinearSVC
from sklearn.tree import DecisionTreeClassifier

import moo
from moo.errors import ExportError, FitError, InputError, MeasureError, ScoreError, TaskLoadError
from moo.metrics import Metric
from objectives import Splits
from objectives._scoring._scores import Scorer, cross_validated_estimate
from objectives._sklearn._task import DIFFERS_TAG, TARGET_OPSET, SklearnTask, _seeded, count_parameters
from profilers import FakeProfiler, LaunchError, OnnxRuntimeProfiler, Runtime

WINE, CANCER, DIABETES = (load(return_X_y=True) for load in (load_wine, load_breast_cancer, load_diabetes))


class RunsForReal(FakeProfiler):
    """Outputs are ONNX Runtime's, in a child process; times are scripted."""

    def run(self, model_path, runtime, inputs):
        return OnnxRuntimeProfiler().run(model_path, runtime, inputs)


def halves(inputs, targets) -> Splits:
    """Every other row to train on, the rest to validate."""
    if isinstance(inputs, pd.DataFrame):
        return Splits((inputs.iloc[::2], targets[::2]), (inputs.iloc[1::2], targets[1::2]))
    return Splits((inputs[::2], targets[::2]), (inputs[1::2], targets[1::2]))


def task(estimator, data=WINE, **attributes) -> SklearnTask:
    """A task whose trials are all this estimator."""
    methods = {"data": lambda self: halves(*data), "build": lambda self, trial: estimator}
    chosen = {"profiler": RunsForReal(), "folds": None, "runtime": Runtime(batch=64), **attributes}
    return type("Family", (SklearnTask,), {**methods, **chosen})()


def scaled(estimator):
    return make_pipeline(StandardScaler(), estimator)


def session_outputs(evaluation, context, feeds):
    return onnxruntime.InferenceSession(context.root / evaluation.artefact.path).run(None, feeds)


# a trial, whole


def test_a_trial_is_measured_and_scored_as_served(trial, context) -> None:
    family = task(scaled(LogisticRegression()), profiler=OnnxRuntimeProfiler(), runtime=Runtime())
    evaluation = family.evaluate(trial, context)
    content = (context.root / evaluation.artefact.path).read_bytes()
    assert hashlib.sha256(content).hexdigest() == evaluation.artefact.sha256
    assert len(content) == evaluation.metrics["file_size"].value
    validation = halves(*WINE).validation
    labels, _ = session_outputs(evaluation, context, {"input": validation.inputs.astype(np.float32)})
    correct = labels == validation.targets
    accuracy = evaluation.metrics["accuracy"]
    assert accuracy.value == correct.mean() > 0.9
    assert accuracy.low < accuracy.value <= accuracy.high
    assert np.array_equal(np.load(context.root / evaluation.files["correct"])["accuracy"], correct)
    assert 0 < evaluation.metrics["latency_p50"].value < 0.01
    assert evaluation.metrics["parameters"].value == 13 * 3 + 3
    assert "not counted" in evaluation.metrics["macs"].reason
    assert evaluation.metrics["agreement"].value == 1
    assert evaluation.curve == ()
    assert {"data", "build", "fit", "export", "run", "check", "measure", "score"} <= set(evaluation.seconds)


def test_a_sweep_runs_from_its_baseline_to_a_front(tmp_path) -> None:
    class Trees(SklearnTask):
        profiler = RunsForReal()
        score = ("f1_macro", "log_loss")
        folds = 3

        def data(self):
            return halves(*WINE)

        def baseline(self):
            return {"n_estimators": 4}

        def build(self, trial):
            return RandomForestClassifier(trial.suggest_int("n_estimators", 3, 30))

    study = moo.optimize(
        Trees(),
        maximize=["f1_macro"],
        minimize=["log_loss", "file_size"],
        n_trials=3,
        folder=tmp_path,
        seed=0,
    )
    trials = study.results().trials
    assert [trial.state for trial in trials] == ["complete"] * 3, [trial.reason for trial in trials]
    assert trials[0].params == {"n_estimators": 4}
    assert {"f1_macro", "log_loss", "file_size"} <= set(study.front().columns)


@pytest.mark.parametrize(
    ("data", "estimator"),
    [
        *((CANCER, e) for e in (scaled(SVC()), scaled(RidgeClassifier()), scaled(SGDClassifier()))),
        (CANCER, scaled(MLPClassifier((8,), max_iter=20))),
        (CANCER, GradientBoostingClassifier(n_estimators=5)),
        (CANCER, StackingClassifier([("a", GaussianNB()), ("b", DecisionTreeClassifier())])),
        (WINE, scaled(SVC())),
        (WINE, scaled(RidgeClassifier())),
        (WINE, scaled(KNeighborsClassifier())),
        (WINE, make_pipeline(StandardScaler(), PCA(3), LogisticRegression())),
        (WINE, ExtraTreesClassifier(10)),
        (WINE, AdaBoostClassifier(n_estimators=5)),
        (DIABETES, Ridge()),
        (DIABETES, RandomForestRegressor(10)),
        (DIABETES, GradientBoostingRegressor(n_estimators=5)),
        (DIABETES, scaled(SVR())),
        (DIABETES, scaled(KNeighborsRegressor())),
        (DIABETES, scaled(MLPRegressor(max_iter=5))),
    ],
    ids=lambda value: "" if isinstance(value, tuple) else str(value).replace("\n", "")[:40],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_artefact_says_what_the_estimator_says(data, estimator, trial, context) -> None:
    score = "r2" if data is DIABETES else "accuracy"
    evaluation = task(estimator, data, score=score).evaluate(trial, context)
    assert evaluation.metrics["agreement"].value == 1
    assert DIFFERS_TAG not in evaluation.tags
    if score == "r2":
        estimate = evaluation.metrics["r2"]
        assert estimate.low < estimate.value < estimate.high
    fitted = _seeded(estimator, context.seed).fit(*halves(*data).train)
    assert evaluation.metrics[score].value == pytest.approx(fitted.score(*halves(*data).validation), rel=1e-5)


def test_the_model_is_float32_with_a_named_batch_and_stated_opsets(trial, context) -> None:
    task(scaled(RandomForestClassifier(5))).evaluate(trial, context)
    model = onnx.load(context.folder / "model.onnx")
    onnx.checker.check_model(model)
    (given,) = model.graph.input
    assert given.name == "input"
    assert given.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    assert [d.dim_param or d.dim_value for d in given.type.tensor_type.shape.dim] == ["batch", 13]
    assert [o.type.HasField("tensor_type") for o in model.graph.output] == [True, True]
    assert all(entry.version <= TARGET_OPSET[entry.domain] for entry in model.opset_import)
    assert len({entry.domain for entry in model.opset_import}) == len(model.opset_import)


@pytest.mark.parametrize("labels", [["no", "yes", "maybe"], [10, 20, 30], [0.0, 1.0, 2.0]])
def test_labels_may_be_of_any_kind(labels, trial, context) -> None:
    data = WINE[0], np.array(labels)[WINE[1]]
    evaluation = task(scaled(LogisticRegression()), data).evaluate(trial, context)
    assert evaluation.metrics["accuracy"].value > 0.9


@pytest.mark.parametrize("kind", ["str", "category", "object"])
def test_targets_may_be_a_column_of_a_frame(kind, trial, context) -> None:
    targets = pd.Series(np.array(["no", "yes", "maybe"])[WINE[1]]).astype(kind)
    frame = pd.DataFrame(WINE[0]).add_prefix("x")
    evaluation = task(scaled(LogisticRegression()), (frame, targets), folds=2, score=("accuracy", "f1_macro"))
    assert evaluation.evaluate(trial, context).metrics["f1_macro"].value > 0.9


def test_truth_values_are_labels(trial, context) -> None:
    evaluation = task(scaled(LogisticRegression()), (CANCER[0], CANCER[1] == 1), score="f1", folds=2)
    assert evaluation.evaluate(trial, context).metrics["f1"].value > 0.9


def test_several_targets_are_regressed_together(trial, context) -> None:
    data = DIABETES[0], np.stack([DIABETES[1], DIABETES[1] ** 2], axis=1)
    found = task(Ridge(), data, score="r2").evaluate(trial, context).metrics
    fitted = Ridge().fit(*halves(*data).train)
    assert found["r2"].value == pytest.approx(fitted.score(*halves(*data).validation), rel=1e-5)


# tables


def people(n: int = 120):
    generator = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "age (years)": generator.integers(18, 90, n),
            "income": generator.normal(3, 1, n),
            "town": generator.choice(["Rome", "Oslo", "Lima"], n),
            "member": generator.random(n) < 0.5,
        }
    )
    is_rich = frame["income"] + (frame["town"] == "Oslo") > 3.5
    return frame, np.where(is_rich, "rich", "poor")


def by_column(numbers, text):
    return ColumnTransformer(
        [("numbers", StandardScaler(), numbers), ("text", text, ["town"])], remainder="passthrough"
    )


@pytest.mark.parametrize(
    "estimator",
    [
        make_pipeline(
            by_column(["age (years)", "income"], OneHotEncoder(handle_unknown="ignore")), LogisticRegression()
        ),
        make_pipeline(
            by_column(make_column_selector(dtype_include="number"), OrdinalEncoder()),
            DecisionTreeClassifier(max_depth=4),
        ),
        make_pipeline(ColumnTransformer([("only", OneHotEncoder(), ["town"])]), GaussianNB()),
    ],
    ids=["one-hot", "ordinal", "dropped columns"],
)
@pytest.mark.parametrize("folds", [None, 2])
def test_columns_of_a_frame_are_inputs_of_their_own(estimator, folds, trial, context) -> None:
    evaluation = task(estimator, people(), folds=folds).evaluate(trial, context)
    assert evaluation.metrics["agreement"].value == 1
    model = onnx.load(context.folder / "model.onnx")
    assert {value.name for value in model.graph.input} == {"age__years_", "income", "town", "member"}


def test_a_frame_of_numbers_is_one_input(trial, context) -> None:
    frame, targets = people()
    data = frame[["age (years)", "income"]], targets
    evaluation = task(scaled(LogisticRegression()), data, folds=2).evaluate(trial, context)
    assert evaluation.metrics["accuracy"].value > 0.7
    assert [v.name for v in onnx.load(context.folder / "model.onnx").graph.input] == ["input"]


def test_a_frame_of_numbers_whose_columns_are_picked_by_name_has_several(trial, context) -> None:
    frame, targets = people()
    picked = ColumnTransformer([("one", StandardScaler(), ["income"])], remainder="passthrough")
    data = frame[["age (years)", "income"]], targets
    evaluation = task(make_pipeline(picked, LogisticRegression()), data).evaluate(trial, context)
    assert evaluation.metrics["agreement"].value == 1
    assert len(onnx.load(context.folder / "model.onnx").graph.input) == 2


@pytest.mark.parametrize("as_frame", [True, False])
def test_text_alone_is_one_input(as_frame, trial, context) -> None:
    frame, targets = people()
    towns = frame[["town"]] if as_frame else frame[["town"]].to_numpy(dtype=object)
    evaluation = task(make_pipeline(OneHotEncoder(), LogisticRegression()), (towns, targets))
    assert evaluation.evaluate(trial, context).metrics["agreement"].value == 1
    assert [v.name for v in onnx.load(context.folder / "model.onnx").graph.input] == ["input"]


def test_missing_numbers_are_imputed_by_the_artefact(trial, context) -> None:
    inputs = WINE[0].copy()
    inputs[::3, 0] = np.nan
    found = task(make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression()), (inputs, WINE[1]))
    assert found.evaluate(trial, context).metrics["agreement"].value == 1


# folds


def test_folds_give_the_quality_of_scikit_learns_cross_validation(trial, context) -> None:
    estimator = scaled(LogisticRegression())
    evaluation = task(estimator, folds=3, score=("accuracy", "log_loss")).evaluate(trial, context)
    train, validation = halves(*WINE).train, halves(*WINE).validation
    inputs, targets = (np.concatenate([a, b]) for a, b in zip(train, validation, strict=True))
    splitter = StratifiedKFold(3, shuffle=True, random_state=0)
    losses = -cross_val_score(estimator, inputs, targets, cv=splitter, scoring="neg_log_loss")
    guesses = cross_val_predict(estimator, inputs, targets, cv=splitter)
    loss = evaluation.metrics["log_loss"]
    assert loss.value == pytest.approx(losses.mean(), rel=1e-5)
    expected = cross_validated_estimate(
        losses, n_train=len(inputs) * 2 / 3, n_test=len(inputs) / 3, metric=Metric(name="log_loss", low=0.0)
    )
    assert (loss.low, loss.high) == pytest.approx((expected.low, expected.high), rel=1e-4)
    correct = np.load(context.root / evaluation.files["correct"])["accuracy"]
    assert np.array_equal(correct, guesses == targets)
    assert evaluation.metrics["accuracy"].value == pytest.approx(correct.mean(), abs=0.01)
    running = [values["log_loss"] for _, values in evaluation.curve]
    assert [step for step, _ in evaluation.curve] == [1, 2, 3]
    assert running == pytest.approx([losses[: k + 1].mean() for k in range(3)], rel=1e-5)
    assert not list(context.folder.glob(".folds*"))


def test_folds_of_a_regressor_are_not_stratified(trial, context) -> None:
    evaluation = task(Ridge(), DIABETES, folds=4, score="mean_absolute_error").evaluate(trial, context)
    pool = [np.concatenate([half[::2], half[1::2]]) for half in DIABETES]
    errors = -cross_val_score(
        Ridge(), *pool, cv=KFold(4, shuffle=True, random_state=0), scoring="neg_mean_absolute_error"
    )
    found = evaluation.metrics["mean_absolute_error"]
    assert found.value == pytest.approx(errors.mean(), rel=1e-5)
    assert found.low < found.value < found.high


@pytest.mark.parametrize(("folds", "rows"), [(None, slice(0, None, 2)), (2, slice(None))])
def test_the_artefact_is_fitted_on_all_that_is_not_held_out(folds, rows, trial, context) -> None:
    evaluation = task(LinearRegression(), DIABETES, folds=folds, score="r2").evaluate(trial, context)
    (found,) = session_outputs(evaluation, context, {"input": DIABETES[0].astype(np.float32)})
    expected = LinearRegression().fit(DIABETES[0][rows], DIABETES[1][rows]).predict(DIABETES[0])
    assert found.ravel() == pytest.approx(expected, rel=1e-4)


def test_cost_is_measured_once_and_before_the_folds(trial, context) -> None:
    seen = []

    class Noting(RunsForReal):
        def run(self, model_path, runtime, inputs):
            seen.append("run")
            return super().run(model_path, runtime, inputs)

        def measure(self, *arguments, **options):
            seen.append("measure")
            return super().measure(*arguments, **options)

    task(scaled(LogisticRegression()), folds=2, profiler=Noting()).evaluate(trial, context)
    assert seen == ["run", "measure", "run", "run"]


@pytest.mark.parametrize(("folds", "n_classes"), [(100, 3), (60, 2)])
def test_more_folds_than_a_class_has_samples_are_refused(folds, n_classes, trial, context) -> None:
    keep = WINE[1] < n_classes
    with pytest.raises(FitError, match=f"folds = {folds}: .* in the smallest class, got (48|59)"):
        task(scaled(LogisticRegression()), (WINE[0][keep], WINE[1][keep]), folds=folds).evaluate(
            trial, context
        )


@pytest.mark.parametrize("folds", [1, 0, 2.0, True, "5"])
def test_folds_that_cannot_be_are_refused_before_the_sweep(folds) -> None:
    with pytest.raises(InputError, match="folds: expected an integer of at least 2, or None, got"):
        task(Ridge(), folds=folds).setting()


# what decides a trial


def test_the_seed_decides_what_build_left_open(trial, context) -> None:
    def model(seed: int) -> bytes:
        forest = make_pipeline(StandardScaler(), RandomForestClassifier(3))
        task(forest).evaluate(trial, dataclasses.replace(context, seed=seed))
        return (context.folder / "model.onnx").read_bytes()

    assert model(0) == model(0) != model(1)


def test_a_seed_that_build_set_stays() -> None:
    voters = StackingClassifier(
        [("a", DecisionTreeClassifier(random_state=7)), ("b", DecisionTreeClassifier())]
    )
    first, second = (_seeded(voters, seed).get_params() for seed in (0, 1))
    assert first["a__random_state"] == second["a__random_state"] == 7
    assert first["b__random_state"] not in (None, second["b__random_state"])


def test_what_build_returned_is_left_as_it_was(trial, context) -> None:
    forest = RandomForestClassifier(3)
    task(forest).evaluate(trial, context)
    assert forest.random_state is None
    assert not hasattr(forest, "estimators_")


def test_the_identity_holds_score_and_folds() -> None:
    first, second = task(Ridge(), score="r2").identity(), task(Ridge(), score="max_error", folds=4).identity()
    assert {key for key in first if first[key] != second.get(key)} == {"score", "folds"}


@pytest.mark.parametrize(("is_baseline", "n_launches"), [(True, 6), (False, 1)])
def test_the_baseline_is_launched_several_times(is_baseline, n_launches, trial, context) -> None:
    place = dataclasses.replace(context, is_baseline=is_baseline)
    task(Ridge(), DIABETES, score="r2").evaluate(trial, place)
    (measured,) = json.loads((context.folder / "measurement.json").read_text())["measurements"]
    assert len(measured["launches"]) == n_launches


# how quality is scored


def mean_error(targets, outputs):
    return float(np.abs(targets - outputs.predictions).mean())


class AsAttribute(SklearnTask):
    score = mean_error
    folds = None
    profiler = RunsForReal()

    def data(self):
        return halves(*DIABETES)

    def build(self, trial):
        return Ridge()


class AsMethod(AsAttribute):
    def score(self, targets, outputs):
        return mean_error(targets, outputs)


class AsScorer(AsAttribute):
    score = Scorer(Metric(name="mean_error", direction="minimize"), mean_error)


@pytest.mark.parametrize(
    ("kind", "name"), [(AsAttribute, "mean_error"), (AsMethod, "score"), (AsScorer, "mean_error")]
)
def test_a_function_of_ones_own_scores(kind, name, trial, context) -> None:
    family = kind()
    assert [metric.name for metric in family.metrics] == [name, "agreement"]
    estimate = family.evaluate(trial, context).metrics[name]
    splits = halves(*DIABETES)
    guesses = Ridge().fit(*splits.train).predict(splits.validation.inputs)
    assert estimate.value == pytest.approx(mean_absolute_error(splits.validation.targets, guesses), rel=1e-5)
    assert estimate.low < estimate.value < estimate.high


@pytest.mark.parametrize(
    ("estimator", "score", "said"),
    [
        (
            RidgeClassifier(),
            "neg_log_loss",
            "log_loss needs probabilities, but the model gives only labels and",
        ),
        (LogisticRegression(), "f1", "f1: ValueError"),
        (Ridge(), "accuracy", "for a regressor set score"),
    ],
)
def test_a_score_that_the_model_cannot_give_fails_the_trial(estimator, score, said, trial, context) -> None:
    with pytest.raises(ScoreError, match=said):
        task(scaled(estimator), score=score).evaluate(trial, context)


# what fails, and what it says


@pytest.mark.parametrize(
    ("data", "estimator", "said"),
    [
        (
            CANCER,
            HistGradientBoostingClassifier(max_iter=2),
            r"HistGradientBoostingClassifier \(.*\): use GradientBoosting",
        ),
        (WINE, HistGradientBoostingClassifier(max_iter=2), "HistGradientBoostingClassifier"),
        (DIABETES, HistGradientBoostingRegressor(max_iter=2), "HistGradientBoostingRegressor"),
        (WINE, scaled(LinearSVC()), r"Pipeline\(StandardScaler, LinearSVC\) .*: use SVC"),
        (WINE, make_pipeline(FunctionTransformer(np.log1p), GaussianNB()), "do what it does in data"),
    ],
    ids=["two classes", "three classes", "regressor", "linear svc", "function"],
)
def test_an_estimator_that_does_not_convert_fails_in_one_line(data, estimator, said, trial, context) -> None:
    with pytest.raises(ExportError, match=said) as caught:
        task(estimator, data).evaluate(trial, context)
    assert str(caught.value).startswith("skl2onnx cannot convert ")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
    assert caught.value.stage == "export"


def turned(n_rows: int):
    """A profiler in which the labels of the first rows come out otherwise."""

    class Turned(RunsForReal):
        def run(self, model_path, runtime, inputs):
            outputs = super().run(model_path, runtime, inputs)
            first = next(iter(outputs))
            outputs[first][:n_rows] = (outputs[first][:n_rows] + 1) % 3
            return outputs

    return Turned()


def test_rows_that_differ_are_counted_and_told(trial, context) -> None:
    evaluation = task(scaled(LogisticRegression()), profiler=turned(1), allowed_share=0.02).evaluate(
        trial, context
    )
    assert evaluation.metrics["agreement"].value == pytest.approx(1 - 1 / 89)
    assert DIFFERS_TAG in evaluation.tags
    assert "ok" not in evaluation.tags
    assert list(evaluation.tags) == sorted(evaluation.tags)


def test_too_many_rows_that_differ_are_refused(trial, context) -> None:
    with pytest.raises(ExportError, match=r"on 3 of 89 rows \(the label on 3, .*\), allowed is 2%"):
        task(scaled(LogisticRegression()), profiler=turned(3), allowed_share=0.02).evaluate(trial, context)


def test_inputs_that_float32_cannot_tell_apart_are_refused(trial, context) -> None:
    inputs = 1e9 + np.arange(200.0).reshape(-1, 1)  # float32 counts in steps of 64 there
    targets = np.arange(200) // 3 % 2
    with pytest.raises(ExportError, match="it takes float32, so have data.. return float32"):
        task(scaled(KNeighborsClassifier(1)), (inputs, targets)).evaluate(trial, context)


@pytest.mark.parametrize("estimator", [RandomForestClassifier(20), DecisionTreeClassifier()])
def test_trees_behind_a_scaler_agree_on_every_row_of_float32(estimator, trial, context) -> None:
    """Pixels are whole numbers and thresholds half ones: scaled in another way they differ by the hundred."""
    inputs, targets = load_digits(return_X_y=True)
    family = task(scaled(estimator), (inputs.astype(np.float32), targets))
    assert family.evaluate(trial, context).metrics["agreement"].value == 1


def test_trees_behind_a_scaler_of_float64_are_refused_with_what_to_do(trial, context) -> None:
    with pytest.raises(ExportError, match=r"float32, .* and trees need no scaling before them"):
        task(scaled(RandomForestClassifier(20)), load_digits(return_X_y=True)).evaluate(trial, context)


@pytest.mark.parametrize(
    ("data", "estimator", "said"),
    [
        (WINE, None, "build.. must return a scikit-learn classifier, .* got NoneType"),
        (WINE, StandardScaler(), "got StandardScaler"),
        ((np.array([["a"], [1]] * 20, object), np.arange(40) % 2), OneHotEncoder(), "got OneHotEncoder"),
    ],
)
def test_what_is_no_model_is_refused(data, estimator, said, trial, context) -> None:
    with pytest.raises(FitError, match=said):
        task(estimator, data).evaluate(trial, context)


def with_text(value):
    frame, targets = people()
    frame["town"] = frame["town"].astype(object)
    frame.loc[[50, 51], "town"] = value
    return frame, targets


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (with_text(np.nan), "column 'town': expected numbers, or text in every row, got nan"),
        (with_text(None), "column 'town': expected numbers, or text in every row, got None"),
    ],
)
def test_columns_that_are_neither_numbers_nor_text_are_refused(data, said, trial, context) -> None:
    encoder = by_column(["income"], OneHotEncoder(handle_unknown="ignore"))
    with pytest.raises(FitError, match=said):
        task(make_pipeline(encoder, LogisticRegression()), data).evaluate(trial, context)


def test_data_of_another_kind_are_refused(trial, context) -> None:
    family = task(Ridge())
    type(family).data = lambda self: None
    with pytest.raises(FitError, match="objectives.Splits, got NoneType"):
        family.evaluate(trial, context)


def test_a_child_that_dies_fails_the_trial(trial, context) -> None:
    family = task(scaled(LogisticRegression()), profiler=FakeProfiler(errors={0: LaunchError("killed")}))
    with pytest.raises(MeasureError, match="killed"):
        family.evaluate(trial, context)


def test_a_missing_converter_is_told_before_the_sweep(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "skl2onnx", None)
    with pytest.raises(
        TaskLoadError, match=r"SklearnTask needs skl2onnx, .*: pip install 'moo-deploy\[sklearn\]'"
    ):
        task(Ridge()).setting()


# parameters


@pytest.mark.parametrize(
    ("estimator", "expected"),
    [
        (LogisticRegression(), 4 + 1),
        (LogisticRegression(fit_intercept=False), 4),
        (scaled(MLPClassifier((5, 3), max_iter=5)), (4 * 5 + 5) + (5 * 3 + 3) + (3 + 1)),
        (GaussianNB(), 2 * 4 + 2 * 4 + 2),
        (DecisionTreeClassifier(max_depth=1), 3),
        (GradientBoostingClassifier(n_estimators=4, max_depth=1), 4 * 3),
        (RandomForestClassifier(7, max_depth=1), 7 * 3),
        (StackingClassifier([("a", DecisionTreeClassifier(max_depth=1))], LogisticRegression()), 3 + 2),
    ],
    ids=lambda value: str(value).replace("\n", "")[:40],
)
def test_parameters_are_those_counted_by_hand(estimator, expected: int) -> None:
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(60, 4))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator.fit(inputs, inputs[:, 0] + 0.1 * inputs[:, 1] > 0)
    assert count_parameters(estimator).value == expected


def test_neighbours_have_no_parameters() -> None:
    estimate = count_parameters(scaled(KNeighborsClassifier()).fit(*WINE))
    assert estimate.value is None
    assert estimate.reason == "KNeighborsClassifier has no parameters that could be counted"
