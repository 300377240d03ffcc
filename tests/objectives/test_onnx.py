"""Trials of a finished model: real conversion and real ONNX Runtime; the timing is scripted but for one."""

import dataclasses
import itertools
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import optuna
import pytest
from onnx import TensorProto, helper, numpy_helper
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score

import moo
from moo.errors import ExportError, FitError, InputError, ScoreError
from moo.evaluation import TrialContext
from moo.metrics import Metric
from objectives import Split, Splits
from objectives._choices import Choices
from objectives._onnx._inputs import NamedInputs, Signature
from objectives._onnx._outputs import outputs_of
from objectives._onnx._task import NOT_FINITE_TAG, OnnxTask
from objectives._scoring._scores import Scorer
from profilers import FakeProfiler, Runtime
from tests.objectives.conftest import blobs

DATA = Splits(blobs(60, 0), blobs(40, 1), blobs(40, 2))
ALL = ("fp32", "fp16", "int8-dynamic", "int8-static")


class RunsForReal(FakeProfiler):
    """Scripted times, real outputs."""

    def run(self, model_path, runtime, inputs):
        session = onnxruntime.InferenceSession(model_path, providers=["CPUExecutionProvider"])
        rows, outputs = len(next(iter(inputs.values()))), []
        for start in range(0, rows, runtime.batch):
            feeds = {name: array[start : start + runtime.batch] for name, array in inputs.items()}
            outputs.append(session.run(None, feeds))
        names = [item.name for item in session.get_outputs()]
        return dict(zip(names, map(np.concatenate, zip(*outputs, strict=True)), strict=True))


class Linear(OnnxTask):
    profiler = RunsForReal()


def network(
    path: Path, weights: np.ndarray, *, bias: float = 0.0, last: str = "", rows: int | str = "n"
) -> Path:
    """`y = relu(x @ eye) @ weights`, the bias taken from the last column, and an activation."""
    shift = np.zeros(weights.shape[1], np.float32)
    shift[-1] = -bias
    constants = [
        numpy_helper.from_array(np.eye(4, dtype=np.float32), "v"),
        numpy_helper.from_array(weights, "w"),
        numpy_helper.from_array(shift, "b"),
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "v"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "w"], ["m"]),
        helper.make_node("Add", ["m", "b"], ["s" if last else "y"]),
    ]
    nodes += [helper.make_node(last, ["s"], ["y"])] if last else []
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [rows, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [rows, weights.shape[1]])],
        constants,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


TELLS_APART = np.array([[0.0, 0.25]] * 4, dtype=np.float32)  # with a bias of 2


@pytest.fixture
def model(tmp_path) -> Path:
    return network(tmp_path / "served.onnx", TELLS_APART, bias=2, last="Softmax")


def evaluated(task: OnnxTask, context, **params):
    chosen = {"deploy_precision": task.deploy.precision[0], **params}
    return task.evaluate(optuna.trial.FixedTrial(chosen), context)


def outputs_by_hand(path: Path, **feeds: np.ndarray) -> list[np.ndarray]:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, feeds)


# a trial


@pytest.mark.parametrize("precision", ALL)
def test_accuracy_is_that_of_the_converted_model_on_the_validation_data(model, context, precision) -> None:
    task = Linear(model, DATA, deploy=Choices(precision=ALL))
    evaluation = evaluated(task, context, deploy_precision=precision)
    inputs, targets = DATA.validation
    artefact = context.root / evaluation.artefact.path
    correct = outputs_by_hand(artefact, x=inputs)[0].argmax(1) == targets
    assert evaluation.metrics["accuracy"].value == correct.mean() > 0.8
    assert np.array_equal(np.load(context.root / evaluation.files["correct"])["accuracy"], correct)
    assert (artefact.read_bytes() == model.read_bytes()) == (precision == "fp32")


@pytest.mark.parametrize("precision", ALL[1:])
def test_what_the_conversion_did_is_kept(model, context, precision) -> None:
    task = Linear(model, DATA, deploy=Choices(precision=ALL))
    evaluation = evaluated(task, context, deploy_precision=precision)
    facts = json.loads((context.root / evaluation.files["compression"]).read_text())
    assert facts["compression"] == precision == evaluation.runtime["precision"]
    assert sum(facts["reduced"].values()) >= 2
    assert set(facts["tags"]) <= set(evaluation.tags)
    assert facts["calibration_rows"] == (60 if precision == "int8-static" else 0)


def test_the_test_data_are_served_as_the_model_takes_them(model) -> None:
    task = Linear(model, DATA)
    served = task.served(model, {}, "test")
    (inputs,) = served.inputs.values()
    assert np.array_equal(inputs, DATA.test.inputs)
    guesses = outputs_by_hand(model, **served.inputs)
    assert np.array_equal(served.score(guesses)["accuracy"], guesses[0].argmax(1) == DATA.test.targets)
    assert Linear(model, DATA.validation).served(model, {}, "test") is None


def test_the_stages_are_timed(model, context) -> None:
    seconds = evaluated(Linear(model, DATA), context).seconds
    assert set(seconds) == {"data", "compress", "run", "measure", "score"}


def test_parameters_are_counted_in_the_model_given_and_macs_are_not(model, context) -> None:
    task = Linear(model, DATA, deploy=Choices(precision=("int8-dynamic",)))
    metrics = evaluated(task, context).metrics
    assert metrics["parameters"].value == metrics["parameters"].low == 4 * 4 + 4 * 2 + 2
    assert metrics["macs"].value is None
    assert "not counted" in metrics["macs"].reason


def test_a_trial_is_run_in_the_runtime_that_it_chose(model, context) -> None:
    choices = Choices(threads=(1, 2), batch=(8, 16))
    task = Linear(model, DATA, deploy=choices, runtime=Runtime(allow_spinning=True))
    runtime = evaluated(task, context, deploy_threads=2, deploy_batch=16).runtime
    assert (runtime["intra_op_num_threads"], runtime["batch"]) == (2, 16)
    assert runtime["allow_spinning"] is True


def test_the_same_choices_make_a_model_that_computes_the_same_whatever_the_seed(
    model, context, tmp_path
) -> None:
    task = Linear(model, DATA, deploy=Choices(precision=("int8-static:rows=16",)))
    first = evaluated(task, context)
    other = tmp_path / "trials" / "00001"
    other.mkdir()
    second = evaluated(task, TrialContext(root=tmp_path, folder=other, seed=99))
    outputs = [
        outputs_by_hand(tmp_path / e.artefact.path, x=DATA.validation.inputs)[0] for e in (first, second)
    ]
    assert np.array_equal(*outputs)


def test_a_model_that_a_conversion_ruined_is_scored_as_it_is(context, tmp_path) -> None:
    weights = np.array([[0.0, 1e-6]] * 4, dtype=np.float32)
    weights[0] = 1e6  # one outlier takes the whole range of the integers
    bias = np.array([1e6, 1e6 + 1], dtype=np.float32)
    path = network(tmp_path / "fragile.onnx", (weights * bias).astype(np.float32))
    task = Linear(path, DATA, deploy=Choices(precision=("fp32", "int8-dynamic")))
    evaluation = evaluated(task, context, deploy_precision="int8-dynamic")
    outputs = outputs_by_hand(context.root / evaluation.artefact.path, x=DATA.validation.inputs)[0]
    expected = (outputs.argmax(1) == DATA.validation.targets).mean()
    assert evaluation.metrics["accuracy"].value == expected < 0.8


def test_rows_that_are_not_finite_are_wrong_and_tagged(context, tmp_path) -> None:
    path = network(tmp_path / "root.onnx", TELLS_APART, bias=2, last="Sqrt")  # of what is below zero
    task = Linear(path, DATA)
    evaluation = evaluated(task, context)
    inputs, targets = DATA.validation
    outputs = outputs_by_hand(context.root / evaluation.artefact.path, x=inputs)[0]
    is_finite = np.isfinite(outputs).all(1)
    assert not is_finite.all()
    assert evaluation.metrics["accuracy"].value == ((outputs.argmax(1) == targets) & is_finite).mean()
    assert NOT_FINITE_TAG in evaluation.tags


def test_a_score_that_has_no_value_for_rows_that_are_not_finite_says_so(context, tmp_path) -> None:
    path = network(tmp_path / "root.onnx", TELLS_APART, bias=2, last="Sqrt")
    task = Linear(path, DATA, score="roc_auc")
    with pytest.raises(ScoreError, match=r"roc_auc: \d+ of 40 rows are not finite: the precision is beyond"):
        evaluated(task, context)


def test_the_baseline_is_measured_in_several_launches(model, tmp_path, context) -> None:
    evaluation = evaluated(Linear(model, DATA), dataclasses.replace(context, is_baseline=True))
    document = json.loads((tmp_path / evaluation.files["measurement"]).read_text())
    assert len(document["measurements"][0]["launches"]) >= 6


def test_a_model_that_is_quantised_already_is_refused_by_the_converter(model, context, tmp_path) -> None:
    first = evaluated(Linear(model, DATA, deploy=Choices(precision=("int8-dynamic",))), context)
    again = Linear(context.root / first.artefact.path, DATA, deploy=Choices(precision=("int8-static",)))
    folder = tmp_path / "trials" / "00001"
    folder.mkdir()
    with pytest.raises(ExportError, match="the source is quantised already"):
        evaluated(again, TrialContext(root=tmp_path, folder=folder, seed=0))


# inputs


def two_inputs(path: Path) -> Path:
    """`y = words of an embedding + numbers @ w`, rows of both."""
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["table", "word"], ["e"]),
            helper.make_node("MatMul", ["numbers", "w"], ["m"]),
            helper.make_node("Add", ["e", "m"], ["y"]),
        ],
        "two",
        [
            helper.make_tensor_value_info("word", TensorProto.INT64, ["n"]),
            helper.make_tensor_value_info("numbers", TensorProto.FLOAT, ["n", 4]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])],
        [
            numpy_helper.from_array(np.array([[0, 0], [50, -50]], np.float32), "table"),
            numpy_helper.from_array(TELLS_APART, "w"),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def named(split: Split) -> Split:
    return Split(NamedInputs(numbers=split.inputs, word=np.arange(len(split)) % 2), split.targets)


@pytest.mark.parametrize("precision", ["fp32", "int8-static"])
def test_several_inputs_go_in_by_name(context, tmp_path, precision) -> None:
    data = Splits(named(DATA.train), named(DATA.validation))
    task = Linear(two_inputs(tmp_path / "two.onnx"), data, deploy=Choices(precision=(precision,)))
    evaluation = evaluated(task, context)
    guesses = outputs_by_hand(context.root / evaluation.artefact.path, **data.validation.inputs.arrays)[0]
    expected = (guesses.argmax(1) == data.validation.targets).mean()
    assert evaluation.metrics["accuracy"].value == expected
    assert (guesses.argmax(1)[1::2] == 0).all()


def test_a_model_of_a_fixed_batch_is_run_in_it(context, tmp_path) -> None:
    path = network(tmp_path / "fixed.onnx", TELLS_APART, bias=2, rows=8)
    task = Linear(path, DATA, runtime=Runtime(batch=8), deploy=Choices(precision=("int8-static",)))
    assert evaluated(task, context).metrics["accuracy"].value > 0.8


def test_validation_data_alone_is_enough_without_calibration(model, context) -> None:
    task = Linear(model, DATA.validation, deploy=Choices(precision=("int8-dynamic",)))
    assert evaluated(task, context).metrics["accuracy"].value > 0.8


# scores


def test_labels_of_text_and_probabilities_of_a_scikit_learn_model_are_scored(context, tmp_path) -> None:
    from skl2onnx import to_onnx

    inputs, targets = DATA.train
    words = np.array(["no", "yes"])
    fitted = LogisticRegression().fit(inputs, words[targets])
    path = tmp_path / "words.onnx"
    path.write_bytes(to_onnx(fitted, inputs[:1], options={"zipmap": False}).SerializeToString())
    data = Splits(DATA.train, Split(DATA.validation.inputs, words[DATA.validation.targets]))
    metrics = evaluated(Linear(path, data, score=("accuracy", "neg_log_loss")), context).metrics
    rows, truth = data.validation
    assert metrics["accuracy"].value == fitted.score(rows, truth)
    assert metrics["log_loss"].value == pytest.approx(log_loss(truth, fitted.predict_proba(rows)), rel=1e-3)


@pytest.mark.parametrize("last", ["", "Sigmoid"])
def test_one_score_a_sample_is_a_logit_or_a_probability_by_what_computes_it(context, tmp_path, last) -> None:
    difference = TELLS_APART[:, 1:]
    path = network(tmp_path / "one.onnx", difference, bias=2, last=last)
    evaluation = evaluated(Linear(path, DATA, score=("accuracy", "roc_auc")), context)
    inputs, targets = DATA.validation
    logits = (np.maximum(inputs, 0) @ difference).reshape(-1) - 2
    assert evaluation.metrics["accuracy"].value == ((logits > 0) == targets).mean()
    assert evaluation.metrics["roc_auc"].value == pytest.approx(roc_auc_score(targets, logits))


def test_values_are_scored_against_floats(context, tmp_path) -> None:
    weights = np.ones((4, 1), np.float32)
    inputs = DATA.validation.inputs
    data = Split(inputs, (np.maximum(inputs, 0).sum(1) + 0.5).astype(np.float64))
    task = Linear(network(tmp_path / "sum.onnx", weights), data, score="neg_mean_squared_error")
    assert evaluated(task, context).metrics["mean_squared_error"].value == pytest.approx(0.25, rel=1e-4)


def mean_margin(targets, outputs):
    return np.abs(outputs.probabilities[:, 0] - 0.5).mean()


def test_a_function_is_a_score(model, context) -> None:
    task = Linear(model, DATA, score=mean_margin)
    assert [metric.name for metric in task.metrics] == ["mean_margin"]
    probabilities = outputs_by_hand(model, x=DATA.validation.inputs)[0]
    expected = np.abs(probabilities[:, 0] - 0.5).mean()
    assert evaluated(task, context).metrics["mean_margin"].value == pytest.approx(expected)


class Own(OnnxTask):
    """Everything in a class: the score works on the arrays themselves."""

    profiler = RunsForReal()
    deploy = Choices(precision=("fp32", "fp16"))
    metrics = (Metric(name="largest", direction="maximize"),)

    def data(self):
        return DATA

    def scored(self, outputs, targets):
        return {"largest": float(outputs[0].max()), "accuracy": outputs[0].argmax(1) == targets}


def test_a_subclass_scores_arrays_as_it_likes(model, context) -> None:
    evaluation = evaluated(Own(model), context, deploy_precision="fp32")
    outputs = outputs_by_hand(model, x=DATA.validation.inputs)[0]
    assert evaluation.metrics["largest"].value == pytest.approx(float(outputs.max()))
    assert evaluation.metrics["accuracy"].value == (outputs.argmax(1) == DATA.validation.targets).mean()


@pytest.mark.parametrize(
    ("arrays", "targets", "said"),
    [
        ([np.zeros((2, 3))], [0, 3], "the model tells 3 classes apart"),
        ([np.zeros((2, 3))], [-1, 0], "targets go from -1 to 0"),
        ([np.zeros((2, 3))], ["a", "b"], "labels must be whole numbers"),
        ([np.zeros((2, 3))], [[0], [1]], "expected one label a sample, got targets of shape (2, 1)"),
        ([np.zeros((2, 3))], [0.5, 1.0], "the model gives shape (2, 3) for float targets of shape (2,)"),
        ([np.zeros((2, 3, 4))], [0, 1], "expected scores of shape (n, classes), got (2, 3, 4)"),
        ([np.full((2, 1), 0.5)], [0, 1], "within 0 and 1, but no Sigmoid computes it"),
        ([np.zeros((2, 3), np.int64)], [0, 1], "the model gives int64 of shape (2, 3) for 2 labels"),
        ([np.array(["a", "b"], object)], [0, 1], "the model gives labels of object, the targets are int64"),
    ],
)
def test_outputs_that_mean_nothing_are_told_in_one_line(arrays, targets, said) -> None:
    with pytest.raises(ScoreError) as caught:
        outputs_of(arrays, np.array(targets), "MatMul")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_operator_that_computes_an_output_is_seen_behind_a_change_of_shape(tmp_path) -> None:
    path = network(tmp_path / "a.onnx", TELLS_APART, last="Softmax")
    loaded = onnx.load(path)
    loaded.graph.node[-1].output[0] = "z"
    loaded.graph.node.append(helper.make_node("Identity", ["z"], ["y"]))
    onnx.save(loaded, path)
    assert Signature.read(path).last_operator == "Softmax"


# the search


def test_a_search_tries_every_combination_once_and_ends(model, tmp_path) -> None:
    choices = Choices(precision=("fp32", "int8-dynamic"), threads=(1, 2), batch=(1, 8))
    study = moo.optimize(
        Linear(model, DATA, deploy=choices, runtime=Runtime(intra_op_num_threads=2)),
        maximize=["accuracy"],
        minimize=["latency_p50", "file_size"],
        constraints=["accuracy >= baseline - 5%"],
        n_trials=30,
        seed=0,
        folder=tmp_path / "sweep",
    )
    tried = [
        (t.params["deploy_precision"], t.params["deploy_threads"], t.params["deploy_batch"])
        for t in study.results().trials
    ]
    assert sorted(tried) == sorted(itertools.product(("fp32", "int8-dynamic"), (1, 2), (1, 8)))
    assert tried[0] == ("fp32", 2, 1)


def test_where_every_choice_is_fixed_there_is_one_trial_and_it_is_said(model, tmp_path, caplog) -> None:
    study = moo.optimize(
        Linear(model, DATA),
        maximize=["accuracy"],
        minimize=["latency_p50"],
        n_trials=10,
        seed=0,
        folder=tmp_path / "sweep",
    )
    assert len(study.results().trials) == 1
    assert "the only configuration has been tried: the search ends" in caplog.text


@pytest.mark.slow
def test_a_search_with_real_measurements_ends_with_a_front(model, tmp_path) -> None:
    study = moo.optimize(
        OnnxTask(model, DATA, deploy=Choices(precision=("fp32", "int8-dynamic"))),
        maximize=["accuracy"],
        minimize=["latency_p50"],
        n_trials=2,
        seed=0,
        folder=tmp_path / "sweep",
    )
    front = study.front()
    assert (front["latency_p50"] > 0).all()
    assert front["accuracy"].max() > 0.8


@pytest.mark.parametrize(
    ("choices", "expected"),
    [
        (Choices(), {"deploy_precision": "fp32"}),
        (Choices(precision=ALL), {"deploy_precision": "fp32"}),
        (Choices(precision=ALL, threads=(1, 4)), {"deploy_precision": "fp32", "deploy_threads": 1}),
        (Choices(precision=("fp16", "int8-dynamic")), None),
        (Choices(precision=("int8-dynamic",)), None),
        (Choices(threads=(2, 4)), None),
    ],
)
def test_the_baseline_is_the_model_as_it_is_where_the_choices_hold_it(model, choices, expected) -> None:
    assert Linear(model, DATA, deploy=choices).baseline() == expected


def test_a_baseline_given_is_taken(model) -> None:
    chosen = {"deploy_precision": "fp16"}
    assert Linear(model, DATA, deploy=Choices(precision=ALL), baseline=chosen).baseline() == chosen
    assert Linear(model, DATA, baseline=None).baseline() is None


# identity


def test_the_identity_holds_the_models_content_and_not_its_place(model, tmp_path) -> None:
    copy = tmp_path / "elsewhere" / "served.onnx"
    copy.parent.mkdir()
    copy.write_bytes(model.read_bytes())
    other = network(tmp_path / "elsewhere" / "other.onnx", TELLS_APART * 2, last="Softmax")
    first = Linear(str(model), DATA, name="a").identity()
    assert first == Linear(copy, DATA, name="a").identity()
    second = Linear(other, DATA, name="a").identity()
    assert {key for key in first if first[key] != second[key]} == {"model"}


@pytest.mark.parametrize(
    ("changed", "keys"),
    [
        ({"data": Splits(blobs(60, 0), blobs(40, 7))}, {"data"}),
        ({"deploy": Choices(precision=ALL[1:])}, {"deploy", "baseline"}),
        ({"runtime": Runtime(batch=4)}, {"runtime"}),
        ({"score": "roc_auc"}, {"score"}),
        ({"baseline": None}, {"baseline"}),
    ],
)
def test_the_identity_holds_what_must_not_change(model, changed, keys) -> None:
    given = {"data": DATA, "score": "accuracy"}
    first = Linear(model, **given).identity()
    second = Linear(model, **{**given, **changed}).identity()
    assert {key for key in first | second if first.get(key) != second.get(key)} == keys


def test_a_task_is_named_after_its_model_or_class(tmp_path) -> None:
    path = network(tmp_path / "my net@2.onnx", TELLS_APART)
    assert OnnxTask(path, DATA).name == "my_net_2"
    assert Linear(path, DATA).name == "linear"
    assert OnnxTask(path, DATA, name="served").name == "served"


# bad input


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"model": "nowhere.onnx"}, "model nowhere.onnx: cannot be read (No such file or directory)"),
        ({"model": None}, "model: expected the path of an ONNX file, got none"),
        ({"model": __file__}, "expected an ONNX file, got something else"),
        ({"data": None}, "data: expected objectives.Splits, or a function that returns them, got none"),
        ({"score": "acuracy"}, "score: unknown scorer 'acuracy': did you mean accuracy"),
        ({"deploy": Choices(fan_out=True)}, "deploy, fan_out: a finished model is not trained"),
        (
            {"data": DATA.validation, "deploy": Choices(precision=ALL)},
            "deploy, precision: int8-static needs rows of training data to calibrate with",
        ),
        (
            {"data": Split(DATA.validation.inputs.astype(np.float64), DATA.validation.targets)},
            "data(), validation, input 'x': expected float32, got float64: convert it with astype('float32')",
        ),
        (
            {"data": Split(DATA.validation.inputs[:, :3], DATA.validation.targets)},
            "data(), validation, input 'x': expected shape (rows, 4), got (40, 3)",
        ),
        (
            {"data": Split(DATA.validation.inputs[:, None], DATA.validation.targets)},
            "expected shape (rows, 4), got (40, 1, 4)",
        ),
        (
            {"data": Split(NamedInputs(z=DATA.validation.inputs), DATA.validation.targets)},
            "data(), validation: the model has no input 'z': known: x",
        ),
        ({"baseline": "fp32"}, "baseline: expected a dict, None or 'as it is', got 'fp32'"),
    ],
)
def test_what_cannot_be_is_refused_before_the_search_in_one_line(model, tmp_path, given, said) -> None:
    task = Linear(**{"model": model, "data": DATA, **given})
    with pytest.raises(InputError) as caught:
        moo.optimize(task, maximize=["accuracy"], minimize=["latency_p50"], n_trials=1, folder=tmp_path / "s")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        (
            np.zeros((40, 4), np.float32),
            "the model has 2 inputs: expected objectives.NamedInputs(word=.., num",
        ),
        (NamedInputs(word=np.zeros(40, np.int64)), "has no rows for the model's input 'numbers': add them"),
        (
            NamedInputs(word=np.zeros((40, 1), np.int64), numbers=np.zeros((40, 4), np.float32)),
            "input 'word': expected shape (rows), got (40, 1)",
        ),
    ],
)
def test_inputs_that_are_not_the_models_are_refused(tmp_path, inputs, said) -> None:
    signature = Signature.read(two_inputs(tmp_path / "two.onnx"))
    with pytest.raises(InputError) as caught:
        signature.feeds(inputs, "data(), validation")
    assert said in str(caught.value)


def test_named_inputs_have_as_many_rows_each() -> None:
    with pytest.raises(InputError, match="as many rows for each input, got a 3, b 2"):
        NamedInputs(a=np.zeros(3), b=np.zeros((2, 3)))
    with pytest.raises(InputError, match="got no input"):
        NamedInputs()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "runtime, batch: the model takes 16 rows a call and no other number, got 1"),
        ({"deploy": Choices(batch=(16, 32))}, "deploy, batch: the model takes 16 rows a call"),
        (
            {"runtime": Runtime(batch=16)},
            "expected a multiple of 16 rows, which the model takes a call, got 40",
        ),
    ],
)
def test_a_fixed_batch_that_does_not_fit_is_refused(tmp_path, given, said) -> None:
    task = Linear(network(tmp_path / "fixed.onnx", TELLS_APART, rows=16), DATA, **given)
    with pytest.raises(InputError) as caught:
        task.setting()
    assert said in str(caught.value)


def test_data_that_is_none_is_refused(model) -> None:
    with pytest.raises(FitError, match=r"data\(\) must return objectives.Splits or a Split, got int"):
        Linear(model, lambda: 3).setting()


def test_a_scorer_with_a_metric_of_its_own_is_declared(model) -> None:
    metric = Metric(name="margin", direction="maximize")
    assert list(Linear(model, DATA, score=[Scorer(metric, mean_margin), "accuracy"]).metrics) == [metric]
