"""A torch task ends a trial by its untrained model's cost, and deploys one training in several ways."""

import dataclasses
import json

import numpy as np
import optuna
import pytest

from moo.evaluation import TrialContext
from objectives._choices import Choices
from profilers import FakeProfiler, OnnxRuntimeProfiler, Runtime
from tests.objectives.conftest import Linear


def violated_above(limit_s: float, log: list[str] | None = None):
    """What a sweep says of a bound on the median latency."""

    def violated(metrics, *, beyond_doubt=True):
        estimate = metrics["latency_p50"]
        value = estimate.low if beyond_doubt else estimate.value
        if log is not None:
            log.append("sure" if beyond_doubt else "value")
        return ["latency"] if value > limit_s else []

    return violated


def checking(context: TrialContext, violated) -> TrialContext:
    def check(evaluation) -> None:
        if "latency_p50" in evaluation.metrics and violated(evaluation.metrics):
            raise optuna.TrialPruned("too slow")

    return dataclasses.replace(context, needs_cost=True, check=check, violated=violated)


def test_too_slow_untrained_is_never_trained(context, trial, with_fit) -> None:
    fitted: list[int] = []
    task = with_fit(fit=lambda self, *rest: fitted.append(1), profiler=FakeProfiler(latency_s=[0.002] * 100))
    with pytest.raises(optuna.TrialPruned):
        task.evaluate(trial, checking(context, violated_above(0.001)))
    assert fitted == []


def test_where_cost_depends_on_fitting_nothing_ends_a_trial_before_it(context, trial, with_fit) -> None:
    fitted: list[int] = []
    task = with_fit(
        fit=lambda self, *rest: fitted.append(1),
        profiler=FakeProfiler(latency_s=[0.002] * 100, outputs=real_outputs(context.folder)),
        cost_first=False,
    )
    task.evaluate(trial, checking(context, violated_above(0.001)))
    assert fitted == [1]
    assert task.profiler.n_calls == 2  # outputs, and the trained model's cost


def test_it_takes_several_launches_to_end_a_trial(context, trial) -> None:
    task = Linear()
    task.profiler = FakeProfiler(latency_s=[0.002] * 100)
    with pytest.raises(optuna.TrialPruned):
        task.evaluate(trial, checking(context, violated_above(0.001)))
    document = json.loads((context.folder / "untrained" / "0" / "measurement.json").read_text())
    assert len(document["measurements"][0]["launches"]) == 2


def test_one_launch_is_enough_to_let_it_go_on(context, trial) -> None:
    task, log = Linear(), []
    task.profiler = FakeProfiler(latency_s=[0.002] * 100, outputs=real_outputs(context.folder))
    place = checking(context, violated_above(0.003, log))
    kept = []
    evaluation = task.evaluate(trial, dataclasses.replace(place, keep=kept.append))
    assert kept[0].metrics["latency_p50"].value == evaluation.metrics["latency_p50"].value == 0.002
    assert log[0] == "value"  # asked once, after one launch, and that was enough
    assert task.profiler.n_calls == 3  # untrained; outputs; trained


def test_a_model_is_trained_alike_whether_its_cost_was_asked_for_or_not(context, tmp_path, trial) -> None:
    hashes = []
    for needs_cost in (False, True):
        folder = tmp_path / str(needs_cost)
        folder.mkdir()
        task = Linear()
        task.profiler = FakeProfiler(outputs=real_outputs(folder))
        place = dataclasses.replace(context, root=tmp_path, folder=folder, needs_cost=needs_cost)
        hashes.append((task, task.evaluate(fixed(trial), place), (folder / "model.onnx").read_bytes())[2])
    assert hashes[0] == hashes[1]


def fixed(trial: optuna.Trial) -> optuna.trial.FixedTrial:
    return optuna.trial.FixedTrial({"width": 4})


def real_outputs(folder):
    """What ONNX Runtime gives for the trained artefact."""

    def outputs(inputs):
        import onnxruntime

        session = onnxruntime.InferenceSession(folder / "trained" / "model.onnx")
        return {"output": session.run(None, dict(inputs))[0]}

    return outputs


def test_training_that_changes_the_cost_is_told(context, trial, tmp_path) -> None:
    def latency_s(path, runtime, index):
        return [0.001 if "untrained" in path else 0.002] * 400

    task = Linear()
    task.profiler = FakeProfiler(latency_s=latency_s, outputs=real_outputs(context.folder))
    evaluation = task.evaluate(trial, dataclasses.replace(context, needs_cost=True))
    assert "weights_sensitive" in evaluation.tags
    assert evaluation.metrics["latency_p50"].value == 0.002  # the later one counts


def test_one_training_serves_every_precision_each_through_its_own_runtime(context, with_fit) -> None:
    fitted: list[int] = []

    def fit(self, *arguments) -> None:
        fitted.append(1)
        Linear.fit(self, *arguments)

    task = with_fit(
        fit=fit,
        profiler=OnnxRuntimeProfiler(),
        deploy=Choices(precision=("fp32", "int8-static", "int8-dynamic"), threads=(1, 2), fan_out=True),
    )
    given = {"width": 8, "deploy_precision": "int8-static", "deploy_threads": 1}
    evaluation = task.evaluate(optuna.trial.FixedTrial(given), context)
    assert fitted == [1]
    assert evaluation.runtime["precision"] == "int8-static"
    assert len(evaluation.variants) == 5
    seen = {(given["deploy_precision"], given["deploy_threads"])}
    for params, variant in evaluation.variants:
        seen.add((params["deploy_precision"], params["deploy_threads"]))
        assert variant.runtime["intra_op_num_threads"] == params["deploy_threads"]
        assert (context.root / variant.artefact.path).is_file()
        correct = np.load(context.root / variant.files["correct"])["accuracy"]
        assert variant.metrics["accuracy"].value == pytest.approx(correct.mean())
        if params["deploy_precision"] != "fp32":
            facts = json.loads((context.root / variant.files["compression"]).read_text())
            assert facts["compression"] == params["deploy_precision"]
    assert len(seen) == 6
    assert not (context.folder / "trained").exists()


def test_a_variant_that_cannot_be_run_is_told_and_the_others_count(context, with_fit) -> None:
    task = with_fit(profiler=OnnxRuntimeProfiler(), deploy=Choices(provider=("cpu", "cuda"), fan_out=True))
    evaluation = task.evaluate(
        optuna.trial.FixedTrial({"width": 8, "deploy_provider": "cpu"}),
        dataclasses.replace(context, metrics=("accuracy", "latency_p50")),
    )
    ((params, variant),) = evaluation.variants
    assert params == {"deploy_provider": "cuda"}
    assert "CUDAExecutionProvider" in variant.metrics["latency_p50"].reason
    assert evaluation.metrics["latency_p50"].value > 0


def test_a_candidate_is_measured_in_further_runtimes_under_their_names(context, trial, with_fit) -> None:
    def latency_s(path, runtime, index):
        return [0.001 * runtime.batch] * 400

    task = with_fit(
        also={"batched": Runtime(batch=8)},
        profiler=FakeProfiler(latency_s=latency_s, outputs=real_outputs(context.folder)),
    )
    assert "batched_latency_p95" in [metric.name for metric in task.metrics]
    evaluation = task.evaluate(trial, context)
    assert evaluation.metrics["latency_p50"].value == 0.001
    assert evaluation.metrics["batched_latency_p50"].value == 0.008
    assert evaluation.metrics["batched_device_memory"].reason == "not measured in the runtime batched"
    assert (context.folder / "in-batched" / "samples.npz").is_file()
