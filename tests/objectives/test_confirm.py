"""Stored artefacts once more: checked, launched, scored on test data; a configuration retrained."""

import dataclasses
import json

import numpy as np
import onnxruntime
import optuna
import pytest

from moo.errors import FitError, MeasureError, ScoreError, TrialError
from moo.evaluation import Artefact, Evaluation, TrialContext
from moo.pairing import correct_samples
from objectives import FunctionTask, Split, Splits
from objectives._confirm import (
    Remeasured,
    quality_on_test,
    retrained_evaluation,
    stored_runtime,
)
from objectives._sklearn._task import SklearnTask
from profilers import QUICK, FakeProfiler, OnnxRuntimeProfiler, Protocol, Runtime
from tests.objectives.conftest import Linear, blobs

FAST = Protocol(min_time_s=0.02, precision_budget_s=0.02, warmup_budget_s=0.1)


class Fast(Linear):
    protocol = FAST


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """One evaluated trial: root, task, params, evaluation."""
    root = tmp_path_factory.mktemp("sweep")
    folder = root / "trials" / "00000"
    folder.mkdir(parents=True)
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask()
    task = Fast()
    evaluation = task.evaluate(trial, TrialContext(root=root, folder=folder, seed=0))
    return root, task, trial.params, evaluation


@pytest.fixture
def again(swept, tmp_path):
    root, _, params, evaluation = swept
    return Remeasured(
        root=root,
        evaluation=evaluation,
        params=params,
        folder=tmp_path / "launches",
        profiler=FakeProfiler(latency_s=lambda path, runtime, index: [1e-3 * (1 + index)] * 80),
    )


def test_a_launch_of_the_real_artefact_is_kept_and_read_back(swept, tmp_path) -> None:
    root, task, params, evaluation = swept
    model = Remeasured(
        root=root,
        evaluation=evaluation,
        params=params,
        folder=tmp_path,
        profiler=OnnxRuntimeProfiler(),
        task=task,
    )
    model.launch(3)
    found = model.measurement()
    assert len(found.launches) == 1
    assert found.inputs[0]["source"] == "given"
    assert found.model.sha256 == evaluation.artefact.sha256
    assert model.launches[3].protocol.min_time_s == FAST.min_time_s
    other = dataclasses.replace(model)
    assert other.load(3)
    assert not other.load(4)
    for name, array in model.samples(3)[0].items():
        assert np.array_equal(other.samples(3)[0][name], array)


def test_without_a_task_the_inputs_have_the_shapes_of_the_search(swept, tmp_path) -> None:
    root, _, params, evaluation = swept
    model = Remeasured(
        root=root, evaluation=evaluation, params=params, folder=tmp_path, profiler=OnnxRuntimeProfiler()
    )
    model.launch(0)
    before = json.loads((root / evaluation.files["measurement"]).read_text())["measurements"][0]
    assert [entry["shape"] for entry in model.measurement().inputs] == [e["shape"] for e in before["inputs"]]
    ratio = model.metrics()["peak_memory"].value / evaluation.metrics["peak_memory"].value
    assert 0.95 < ratio < 1.05  # a process that makes inputs itself holds a tenth more


def test_a_launch_gives_samples_to_each_metric(again) -> None:
    again.launch(0)
    samples, bounded = again.samples(0)
    assert samples["latency_p50"] == pytest.approx([1e-3] * 80)
    assert samples["throughput"] == pytest.approx([1e-3] * 80)
    assert samples["peak_memory"].tolist() == [1_000_000]
    assert samples["load_time"] == pytest.approx([0.01])
    assert "device_memory" not in samples
    assert bounded == frozenset()


def test_tails_of_calls_in_blocks_are_upper_limits(again) -> None:
    blocks = FakeProfiler(latency_s=[1e-5] * 80, calls_per_block=10)
    model = dataclasses.replace(again, profiler=blocks)
    model.launch(0)
    samples, bounded = model.samples(0)
    assert bounded == {"latency_p95", "latency_p99"}
    assert samples["latency_p50"] == pytest.approx([1e-5] * 80)
    assert samples["latency_p95"] == pytest.approx([1e-4] * 80)
    assert model.metrics()["latency_p95"].value is None


def test_intervals_are_those_of_as_many_looks_as_there_may_be(again) -> None:
    for number in range(5):
        again.launch(number)
    assert again.measurement().protocol.launches == 5
    assert again.measurement().protocol.max_launches == 40


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda path: path.unlink(), "is missing"),
        (lambda path: path.write_bytes(b"not a model"), "expected an ONNX file"),
        (
            lambda path: path.write_bytes(path.with_name("other.onnx").read_bytes()),
            "was changed since the search",
        ),
    ],
)
def test_an_artefact_that_is_not_the_searchs_is_refused(swept, again, tmp_path, change, said) -> None:
    root, task, _, evaluation = swept
    content = (root / evaluation.artefact.path).read_bytes()
    path = tmp_path / evaluation.artefact.path
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    context = TrialContext(root=tmp_path, folder=tmp_path, seed=9)
    (tmp_path / "retrained").mkdir()
    context = dataclasses.replace(context, folder=tmp_path / "retrained")
    other = task.retrained({"width": 3}, context)
    path.with_name("other.onnx").write_bytes((tmp_path / other.artefact.path).read_bytes())
    model = dataclasses.replace(again, root=tmp_path)
    model.check()
    change(path)
    with pytest.raises(MeasureError, match=said):
        model.launch(0)


def test_a_trial_without_an_artefact_is_refused(again) -> None:
    none = dataclasses.replace(again, evaluation=Evaluation(metrics={}))
    with pytest.raises(MeasureError, match="the trial kept no artefact"):
        none.check()


def test_a_failing_process_is_the_candidates_failure(again) -> None:
    model = dataclasses.replace(again, profiler=FakeProfiler(providers=("cuda",)))
    with pytest.raises(MeasureError, match="provider must be one of cuda"):
        model.launch(0)


def test_the_protocol_falls_back_where_the_searchs_is_gone(again) -> None:
    lost = dataclasses.replace(again.evaluation, files={})
    model = dataclasses.replace(again, evaluation=lost, fallback=dataclasses.replace(QUICK, min_calls=77))
    model.launch(0)
    assert model.measurement().protocol.min_calls == 77


def test_the_runtime_is_that_of_the_search_and_the_precision_is_no_part_of_it() -> None:
    runtime = Runtime(batch=4, intra_op_num_threads=2)
    stored = Evaluation(metrics={}, runtime={**runtime.to_json(), "precision": "int8-dynamic"})
    assert stored_runtime(stored) == runtime


def test_correctness_is_read_and_a_broken_file_counts_as_none(swept, tmp_path) -> None:
    root, _, _, evaluation = swept
    correct = correct_samples(root, evaluation)["accuracy"]
    assert correct.mean() == evaluation.metrics["accuracy"].value
    (tmp_path / evaluation.files["correct"]).parent.mkdir(parents=True)
    (tmp_path / evaluation.files["correct"]).write_bytes(b"PK")
    assert correct_samples(tmp_path, evaluation) == {}
    assert correct_samples(root, None) == {}


# retraining and the test data


def retrain(swept, folder, seed, task=None):
    root, own, params, _ = swept
    return retrained_evaluation(
        task or own, params, root=root, folder=root / folder, seed=seed, metrics=["accuracy"]
    )


def test_retraining_keeps_the_params_and_changes_the_weights(swept) -> None:
    root, _, _, evaluation = swept
    same, other = retrain(swept, "a/0", 0), retrain(swept, "a/1", 1)
    assert same.metrics["parameters"] == other.metrics["parameters"] == evaluation.metrics["parameters"]
    assert same.artefact.sha256 != other.artefact.sha256
    assert same.artefact.path == "a/0/model.onnx"
    assert (root / other.artefact.path).is_file()


def test_what_was_retrained_is_not_retrained_again(swept) -> None:
    root = swept[0]
    first = retrain(swept, "b", 1)
    stamp = (root / first.artefact.path).stat().st_mtime_ns
    assert retrain(swept, "b", 1).metrics == first.metrics
    assert (root / first.artefact.path).stat().st_mtime_ns == stamp
    (root / "b" / "evaluation.json").unlink()  # cut off before the end
    retrain(swept, "b", 1)
    assert (root / first.artefact.path).stat().st_mtime_ns > stamp


def test_a_fit_that_raises_is_told_in_one_line(swept, with_fit) -> None:
    def fit(self, model, trial, data, report):
        raise RuntimeError("diverged\nbadly")

    with pytest.raises(TrialError, match="RuntimeError: diverged badly"):
        retrain(swept, "c", 0, with_fit(fit=fit))
    with pytest.raises(FitError, match=r"build\(\) must return"):
        retrain(swept, "d", 0, with_fit(build=lambda self, trial: None))


def test_a_task_that_trains_nothing_leaves_nothing(swept) -> None:
    task = FunctionTask(lambda trial: {"accuracy": 0.5})
    assert retrain(swept, "e", 0, task) is None
    assert not (swept[0] / "e").exists()
    assert task.served(swept[0], {}, "test") is None


def test_the_test_score_is_that_of_the_artefact_on_the_test_rows(swept) -> None:
    root, task, params, evaluation = swept
    found = quality_on_test(task, evaluation, params, root=root, profiler=OnnxRuntimeProfiler())
    inputs, targets = task.data().test.numpy()
    session = onnxruntime.InferenceSession(root / evaluation.artefact.path)
    correct = session.run(None, {"input": inputs})[0].argmax(1) == targets
    assert found["accuracy"].value == correct.mean()
    assert found["accuracy"].low < correct.mean()


def test_without_test_data_there_is_no_test_score(swept, with_fit) -> None:
    root, _, params, evaluation = swept
    task = with_fit(data=lambda self: Splits(blobs(60, 0), blobs(40, 1)))
    assert task.served(root / evaluation.artefact.path, params, "test") is None
    with pytest.raises(ScoreError, match="has no test data"):
        quality_on_test(task, evaluation, params, root=root, profiler=FakeProfiler())


class Trees(SklearnTask):
    folds = None
    protocol = FAST
    score = ("accuracy", "roc_auc")

    def data(self) -> Splits:
        def named(split):
            return Split(split.inputs, np.array(["no", "yes"])[split.targets])

        return Splits(named(blobs(60, 0)), named(blobs(40, 1)), named(blobs(50, 2)))

    def build(self, trial):
        from sklearn.ensemble import RandomForestClassifier
        from sklearn.svm import SVC

        if trial.suggest_categorical("kind", ["forest", "svm"]) == "svm":
            return SVC(kernel="linear")
        return RandomForestClassifier(trial.suggest_int("n", 3, 9), max_depth=2)


@pytest.mark.parametrize("params", [{"kind": "forest", "n": 5}, {"kind": "svm"}])
def test_a_stored_scikit_learn_artefact_scores_on_test_as_its_estimator_does(tmp_path, params) -> None:
    from sklearn.metrics import roc_auc_score

    task = Trees()
    (tmp_path / "one").mkdir()
    context = TrialContext(root=tmp_path, folder=tmp_path / "one", seed=4)
    evaluation = task.retrained(params, context)
    found = quality_on_test(task, evaluation, params, root=tmp_path, profiler=OnnxRuntimeProfiler())
    inputs, targets = task.data().test.numpy()
    session = onnxruntime.InferenceSession(tmp_path / evaluation.artefact.path)
    labels, scores = session.run(None, {"input": inputs})
    assert found["accuracy"].value == np.mean(labels == targets)
    columns = np.asarray(scores).reshape(len(targets), -1)
    areas = [roc_auc_score(targets == "yes", column) for column in columns.T]
    assert found["roc_auc"].value == pytest.approx(max(areas))  # well-separated: the right column is the best
    assert isinstance(evaluation.artefact, Artefact)
