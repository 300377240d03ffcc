"""Fitted estimators deployed in several ways: real conversion, real ONNX Runtime; the timing is scripted."""

import dataclasses
import json

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
from onnx import numpy_helper
from optuna.trial import FixedTrial
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import StratifiedKFold
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import moo
from moo.errors import ExportError, InputError, MeasureError
from objectives import Choices, SklearnTask, Splits
from objectives._compression._compress import Compression, compress
from objectives._sklearn._export import convert, write, write_typed
from objectives._sklearn._inputs import Signature
from objectives._sklearn._task import DIFFERS_TAG, _seeded
from profilers import FakeProfiler, LaunchError, OnnxRuntimeProfiler, Runtime

WINE, CANCER = (load(return_X_y=True) for load in (load_wine, load_breast_cancer))
ALL = ("fp32", "int8-dynamic", "int8-static")
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


class RunsForReal(FakeProfiler):
    """Outputs are ONNX Runtime's, in a child process; times are scripted."""

    def __init__(self, **named):
        super().__init__(**named)
        self.ran = []

    def run(self, model_path, runtime, inputs):
        self.ran.append(runtime)
        return OnnxRuntimeProfiler().run(model_path, runtime, inputs)


def halves(inputs, targets) -> Splits:
    """Every other row to train on, the rest to validate."""
    if isinstance(inputs, pd.DataFrame):
        return Splits((inputs.iloc[::2], targets[::2]), (inputs.iloc[1::2], targets[1::2]))
    return Splits((inputs[::2], targets[::2]), (inputs[1::2], targets[1::2]))


def task(estimator, data=WINE, **attributes) -> SklearnTask:
    """A task whose trials are all this estimator."""
    splits = data if isinstance(data, Splits) else halves(*data)
    methods = {"data": lambda self: splits, "build": lambda self, trial: estimator}
    chosen = {"profiler": RunsForReal(), "folds": None, "runtime": Runtime(batch=64), **attributes}
    return type("Family", (SklearnTask,), {**methods, **chosen})()


@pytest.fixture(autouse=True)
def fits(monkeypatch) -> list[int]:
    """The rows of each fit of a perceptron."""
    found, fit = [], MLPClassifier.fit

    def counted(self, inputs, targets):
        found.append(len(inputs))
        return fit(self, inputs, targets)

    monkeypatch.setattr(MLPClassifier, "fit", counted)
    return found


def perceptron():
    return make_pipeline(StandardScaler(), MLPClassifier((16,), solver="lbfgs", max_iter=200))


def session_outputs(path, array, batch=64):
    """As served: dynamic ranges are those of the rows in one call."""
    session = onnxruntime.InferenceSession(path)
    parts = [session.run(None, {"input": array[i : i + batch]}) for i in range(0, len(array), batch)]
    return [np.concatenate(part) for part in zip(*parts, strict=True)]


def facts_of(evaluation, context):
    return json.loads((context.root / evaluation.files["compression"]).read_text())


def everyone(evaluation, params):
    """The evaluations of a trial by their parameters' values."""
    pairs = [(params, evaluation), *evaluation.variants]
    return {tuple(given.values()): found for given, found in pairs}


# one fit, several deployments


def test_one_fit_serves_every_deployment_each_scored_through_its_own_runtime(context, fits) -> None:
    family = task(perceptron(), deploy=Choices(precision=ALL, threads=(1, 2), fan_out=True))
    params = {"deploy_precision": "int8-static", "deploy_threads": 2}
    found = everyone(family.evaluate(FixedTrial(params), context), params)
    assert len(fits) == 1
    assert set(found) == {(precision, n) for precision in ALL for n in (1, 2)}
    validation = halves(*WINE).validation
    for (precision, threads), evaluation in found.items():
        assert evaluation.runtime["precision"] == precision
        assert evaluation.runtime["intra_op_num_threads"] == threads
        labels, _ = session_outputs(
            context.root / evaluation.artefact.path, validation.inputs.astype(np.float32)
        )
        correct = labels == validation.targets
        assert evaluation.metrics["accuracy"].value == correct.mean()
        assert np.array_equal(np.load(context.root / evaluation.files["correct"])["accuracy"], correct)
        if precision != "fp32":
            assert facts_of(evaluation, context)["reduced"] != {}
            assert "nothing_reduced" not in evaluation.tags
    assert found["fp32", 1].metrics["agreement"].value == 1
    served = {(runtime.intra_op_num_threads) for runtime in family.profiler.ran}
    assert served == {1, 2}
    assert not (context.folder / "fitted").exists()


def test_rows_that_a_lower_precision_changes_are_counted_and_not_refused(context) -> None:
    family = task(perceptron(), CANCER, deploy=Choices(precision=("fp32", "int8-dynamic")))
    evaluation = family.evaluate(FixedTrial({"deploy_precision": "int8-dynamic"}), context)
    splits = halves(*CANCER)
    fitted = _seeded(perceptron(), context.seed).fit(*splits.train)
    inputs = splits.validation.inputs
    labels, probabilities = session_outputs(
        context.root / evaluation.artefact.path, inputs.astype(np.float32)
    )
    agree = (np.abs(probabilities - fitted.predict_proba(inputs)) <= family.tolerance).all(axis=1)
    agree &= labels == fitted.predict(inputs)
    assert evaluation.metrics["agreement"].value == pytest.approx(agree.mean())
    assert agree.mean() < 1 - family.allowed_share
    assert DIFFERS_TAG in evaluation.tags


@pytest.mark.parametrize("precision", ["int8-dynamic", "int8-static"])
@pytest.mark.parametrize(
    "estimator",
    [RandomForestClassifier(5), make_pipeline(StandardScaler(), LogisticRegression())],
    ids=["forest", "linear"],
)
def test_an_estimator_of_which_nothing_can_be_reduced_is_recorded_as_it_is(
    estimator, precision, context
) -> None:
    family = task(estimator, deploy=Choices(precision=("fp32", precision), fan_out=True))
    params = {"deploy_precision": precision}
    found = everyone(family.evaluate(FixedTrial(params), context), params)
    reduced, plain = found[(precision,)], found[("fp32",)]
    assert "nothing_reduced" in reduced.tags
    assert "nothing_reduced" not in plain.tags
    facts = facts_of(reduced, context)
    assert (facts["reduced"], facts["compression"]) == ({}, precision)
    files = [(context.root / evaluation.artefact.path).read_bytes() for evaluation in (reduced, plain)]
    assert files[0] == files[1]
    assert facts["bytes_before"] == facts["bytes_after"] == len(files[0])
    assert reduced.runtime["precision"] == precision
    assert reduced.metrics["agreement"].value == 1
    assert reduced.metrics["accuracy"] == plain.metrics["accuracy"]


def test_without_choices_an_estimator_is_served_as_it_is(trial, context) -> None:
    evaluation = task(perceptron()).evaluate(trial, context)
    assert trial.params == {}
    assert evaluation.variants == ()
    assert evaluation.runtime["precision"] == "fp32"
    assert "compression" not in evaluation.files


# ranges of activations


def input_range(path) -> tuple[float, float]:
    """What the first QuantizeLinear of a model can hold, in the units of what it is fed."""
    graph = onnx.load(path).graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    node = next(node for node in graph.node if node.op_type == "QuantizeLinear")
    scale, zero = (constants[name].astype(np.float64) for name in node.input[1:3])
    info = np.iinfo(constants[node.input[2]].dtype)
    return float((info.min - zero) * scale), float((info.max - zero) * scale)


@pytest.mark.parametrize("folds", [None, 2])
def test_ranges_are_found_on_the_rows_that_the_estimator_was_fitted_on(folds, context) -> None:
    inputs, targets = WINE[0][:, :2].astype(np.float32), WINE[1]
    splits = Splits((inputs, targets), (inputs * 1000, targets))
    family = task(
        MLPClassifier((16,), solver="lbfgs", max_iter=200),
        splits,
        folds=folds,
        deploy=Choices(precision=("int8-static",)),
        tolerance=1.0,
    )
    evaluation = family.evaluate(FixedTrial({}), context)
    low, high = input_range(context.root / evaluation.artefact.path)
    seen = inputs if folds is None else np.concatenate([inputs, inputs * 1000])
    assert low == pytest.approx(min(0, seen.min()), abs=high / 100)
    assert high == pytest.approx(seen.max(), rel=0.01)
    assert facts_of(evaluation, context)["calibration_rows"] == min(len(seen), 256)


def test_rows_with_a_number_missing_have_no_range(context) -> None:
    inputs = WINE[0].copy()
    inputs[::4, 0] = np.nan  # every other row of the training data
    family = task(
        make_pipeline(SimpleImputer(), StandardScaler(), MLPClassifier((16,), solver="lbfgs", max_iter=200)),
        (inputs, WINE[1]),
        deploy=Choices(precision=("int8-static",)),
    )
    evaluation = family.evaluate(FixedTrial({}), context)
    n_train = len(inputs[::2])
    assert facts_of(evaluation, context)["calibration_rows"] == n_train - len(inputs[::4])


def people(n: int = 80):
    generator = np.random.default_rng(0)
    frame = pd.DataFrame({"age": generator.normal(size=n), "town": generator.choice(["Rome", "Oslo"], n)})
    return frame, np.where(frame["age"] + (frame["town"] == "Oslo") > 0.5, "rich", "poor")


def mixed():
    columns = ColumnTransformer([("age", StandardScaler(), ["age"]), ("town", OneHotEncoder(), ["town"])])
    return make_pipeline(columns, MLPClassifier((16,), solver="lbfgs", max_iter=200))


def test_columns_of_text_go_with_dynamic_ranges(context) -> None:
    family = task(mixed(), people(), deploy=Choices(precision=("int8-dynamic",)))
    evaluation = family.evaluate(FixedTrial({}), context)
    assert facts_of(evaluation, context)["reduced"] != {}
    assert evaluation.metrics["accuracy"].value > 0.8


def test_a_precision_that_text_rules_out_fails_alone_with_what_to_do(tmp_path, context) -> None:
    choices = Choices(precision=("fp32", "int8-static"), fan_out=True)
    with pytest.raises(
        ExportError, match=r"tensor\(string\), which cannot be calibrated with: choose int8-dyn"
    ):
        task(mixed(), people(), deploy=choices).evaluate(
            FixedTrial({"deploy_precision": "int8-static"}), context
        )

    class Mixed(SklearnTask):
        deploy = choices
        folds = None
        profiler = RunsForReal()

        def data(self):
            return halves(*people())

        def baseline(self):
            return {"deploy_precision": "fp32"}

        def build(self, trial):
            return mixed()

    study = moo.optimize(
        Mixed(), maximize=["accuracy"], minimize=["file_size"], n_trials=1, folder=tmp_path / "out", seed=0
    )
    own, variant = study.results().trials
    assert (own.state, variant.state, variant.parent) == ("complete", "failed", own.number)
    assert "choose int8-dynamic" in variant.reason


# folds


def test_folds_score_each_deployment_as_a_loop_by_hand_does(context, fits) -> None:
    family = task(
        perceptron(),
        folds=3,
        score=("accuracy", "log_loss"),
        deploy=Choices(precision=("fp32", "int8-static"), threads=(1, 2), fan_out=True),
    )
    params = {"deploy_precision": "fp32", "deploy_threads": 1}
    whole = family.evaluate(FixedTrial(params), context)
    found = everyone(whole, params)
    assert len(fits) == 3 + 1  # not a fit more for a deployment
    pool = [np.concatenate([half[::2], half[1::2]]) for half in WINE]
    pool[0] = pool[0].astype(np.float64)
    estimator, folder = _seeded(perceptron(), context.seed), context.root / "by hand"
    folder.mkdir()
    losses, correct = {name: [] for name in ("fp32", "int8-static")}, {}
    for train, test in StratifiedKFold(3, shuffle=True, random_state=0).split(*pool):
        fitted = clone(estimator).fit(pool[0][train], pool[1][train])
        signature = Signature.of(fitted, pool[0][test])
        source, typed = folder / "source.onnx", folder / "typed.onnx"
        write(convert(fitted, signature.types), source)
        write_typed(source, typed)
        for name, of_folds in losses.items():
            target = folder / f"{name}.onnx"
            rows = {"input": pool[0][train].astype(np.float32)}
            compress(typed, target, Compression.parse(name), rows, seed=context.seed)
            labels, probabilities = session_outputs(target, signature.arrays[0])
            rights = probabilities[np.arange(len(test)), pool[1][test]].astype(np.float64)
            rights = np.maximum(rights, np.finfo(np.float32).eps)  # int8 may round one to nothing
            of_folds.append(-np.log(rights).mean())  # as served: a quantised softmax may not sum to one
            correct.setdefault(name, np.zeros(len(pool[0]), bool))[test] = labels == pool[1][test]
    for (precision, _), evaluation in found.items():
        estimate = evaluation.metrics["log_loss"]
        assert estimate.value == pytest.approx(np.mean(losses[precision]), rel=1e-4)
        assert estimate.low < estimate.value < estimate.high
        kept = np.load(context.root / evaluation.files["correct"])["accuracy"]
        assert np.array_equal(kept, correct[precision])
    assert losses["fp32"] != losses["int8-static"]
    assert [values["log_loss"] for _, values in whole.curve] == pytest.approx(
        [np.mean(losses["fp32"][: k + 1]) for k in range(3)], rel=1e-4
    )
    assert not list(context.folder.glob(".folds*"))


class FailsInFolds(RunsForReal):
    """Two threads fail while folds are scored, from the second call on."""

    def __init__(self, threads: int = 2, **named):
        super().__init__(**named)
        self.threads, self.n_failed = threads, 0

    def run(self, model_path, runtime, inputs):
        if ".folds" in str(model_path) and runtime.intra_op_num_threads == self.threads:
            self.n_failed += 1
            if self.n_failed > 1:
                raise LaunchError("killed")
        return super().run(model_path, runtime, inputs)


def test_a_deployment_that_fails_in_a_fold_costs_the_others_nothing(context) -> None:
    place = {"metrics": ("accuracy", "latency_p50")}
    family = task(
        make_pipeline(StandardScaler(), LogisticRegression()),
        folds=3,
        profiler=FailsInFolds(),
        deploy=Choices(threads=(1, 2, 3), fan_out=True),
        runtime=Runtime(),
    )
    evaluation = family.evaluate(FixedTrial({"deploy_threads": 1}), dataclasses.replace(context, **place))
    assert evaluation.metrics["accuracy"].value > 0.9
    (two, failed), (three, whole) = evaluation.variants
    assert (two, three) == ({"deploy_threads": 2}, {"deploy_threads": 3})
    assert failed.metrics["accuracy"].value is None
    assert "killed" in failed.metrics["accuracy"].reason
    assert whole.metrics["accuracy"].value == evaluation.metrics["accuracy"].value
    assert family.profiler.n_failed == 2  # not asked again in the third fold


def test_a_trials_own_deployment_that_fails_in_a_fold_fails_the_trial(context) -> None:
    family = task(Ridge(), load_regression(), folds=3, profiler=FailsInFolds(threads=1), score="r2")
    with pytest.raises(MeasureError, match="killed"):
        family.evaluate(FixedTrial({}), context)


def load_regression():
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(60, 3))
    return inputs, inputs @ [1.0, 2.0, 3.0] + generator.normal(size=60)


# sweeps


class Forests(SklearnTask):
    deploy = Choices(threads=(1, 2), batch=(1, 16), optimization=("basic", "all"))
    folds = None
    score = "accuracy"

    def __init__(self):
        self.profiler = RunsForReal(latency_s=lambda path, runtime, index: [1e-4 * runtime.batch] * 100)

    def data(self):
        return halves(*WINE)

    def build(self, trial):
        return RandomForestClassifier(trial.suggest_int("n_estimators", 2, 5), random_state=0)


def test_deployments_are_parameters_of_the_search(tmp_path) -> None:
    study = moo.optimize(
        Forests(),
        maximize=["accuracy"],
        minimize=["latency_p50"],
        n_trials=6,
        folder=tmp_path,
        seed=0,
        sampler="random",
    )
    trials = study.results().complete
    assert len(trials) == 6
    for trial in trials:
        runtime = trial.evaluation.runtime
        assert trial.params["deploy_threads"] == runtime["intra_op_num_threads"]
        assert trial.params["deploy_batch"] == runtime["batch"]
        assert trial.params["deploy_optimization"] == runtime["graph_optimization_level"]
        assert trial.estimate("latency_p50").value == pytest.approx(1e-4 * runtime["batch"])
    assert len({t.params["deploy_batch"] for t in trials}) == 2


def test_a_configuration_is_fitted_once_more_in_its_own_deployment_alone(context, fits) -> None:
    family = task(perceptron(), deploy=Choices(precision=("fp32", "int8-dynamic"), fan_out=True))
    again = family.retrained({"deploy_precision": "int8-dynamic"}, context)
    assert (again.runtime["precision"], again.variants, len(fits)) == ("int8-dynamic", (), 1)
    assert family.deploy.fan_out


def test_other_choices_make_another_task() -> None:
    one, other = (task(Ridge(), deploy=Choices(threads=threads)) for threads in ((1,), (1, 2)))
    assert one.identity()["deploy"] != other.identity()["deploy"]


def test_choices_of_another_kind_are_refused_before_the_sweep(tmp_path) -> None:
    family = task(Ridge(), deploy={"threads": (1, 2)})
    with pytest.raises(InputError, match="deploy: expected objectives.Choices, got dict"):
        moo.optimize(family, maximize=["accuracy"], n_trials=1, folder=tmp_path / "out")
    assert not (tmp_path / "out").exists()
