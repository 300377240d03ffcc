"""A torch task ends a trial by its untrained model's cost, and deploys one training in several ways."""

import dataclasses
import json

import numpy as np
import optuna
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import objectives._export as export
from moo.evaluation import Estimate, Evaluation, TrialContext
from moo.metrics import Metric
from objectives._choices import Choices
from objectives._pipeline import best_case
from profilers import FakeProfiler, LaunchError, OnnxRuntimeProfiler, Runtime
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


def counted_translations(monkeypatch) -> list[int]:
    counted: list[int] = []
    original = export._translation
    monkeypatch.setattr(export, "_translation", lambda *given: counted.append(1) or original(*given))
    return counted


def test_a_trained_model_is_not_translated_again(context, trial, monkeypatch) -> None:
    translations = counted_translations(monkeypatch)
    task = Linear()
    task.profiler = FakeProfiler(outputs=real_outputs(context.folder))
    task.evaluate(trial, dataclasses.replace(context, needs_cost=True))
    assert translations == [1]


def test_training_that_changes_more_than_weights_is_translated_anew(
    context, trial, monkeypatch, with_fit
) -> None:
    class Scaled(torch.nn.Linear):
        factor = 1.0

        def forward(self, rows):
            return super().forward(rows) * self.factor

    def fit(self, model, *rest) -> None:
        model.factor = -3.0

    translations = counted_translations(monkeypatch)
    task = with_fit(build=lambda self, trial: Scaled(4, 2), fit=fit)
    task.profiler = FakeProfiler(outputs=real_outputs(context.folder))
    task.evaluate(trial, dataclasses.replace(context, needs_cost=True))
    assert translations == [1, 1]  # what is served is the model as it is now: `evaluate` compares them


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
    chosen = {"width": 8, "deploy_precision": "int8-static", "deploy_threads": 1}
    evaluation = task.evaluate(optuna.trial.FixedTrial(chosen), context)
    assert fitted == [1]
    assert evaluation.runtime["precision"] == "int8-static"
    assert len(evaluation.variants) == 5
    seen = {(chosen["deploy_precision"], chosen["deploy_threads"])}
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


# one training, several deployments: what ends a trial before it


def by_threads(context: TrialContext, *, fails: int | None = None, **latency_s: float) -> FakeProfiler:
    """Latencies by number of threads, as `t1=0.002`; a number of threads that fails to launch."""

    def latencies(path, runtime, index):
        if runtime.intra_op_num_threads == fails:
            raise LaunchError("killed")
        return [latency_s[f"t{runtime.intra_op_num_threads}"]] * 400

    return FakeProfiler(latency_s=latencies, outputs=real_outputs(context.folder))


FANNED = Choices(threads=(1, 2, 3), fan_out=True)
GIVEN = {"width": 4, "deploy_threads": 1}


@pytest.mark.parametrize(
    ("deploy", "latency_s", "is_trained"),
    [
        (FANNED, {"t1": 0.002, "t2": 0.003, "t3": 0.0005}, True),
        (FANNED, {"t1": 0.0005, "t2": 0.003, "t3": 0.002}, True),
        (FANNED, {"t1": 0.002, "t2": 0.003, "t3": 0.0011}, False),
        (dataclasses.replace(FANNED, fan_out=False), {"t1": 0.002, "t2": 0.0005, "t3": 0.0005}, False),
    ],
)
def test_a_trial_ends_before_training_just_where_each_of_its_deployments_is_too_slow(
    context, with_fit, deploy, latency_s, is_trained
) -> None:
    fitted: list[int] = []
    task = with_fit(
        fit=lambda self, *rest: fitted.append(1), profiler=by_threads(context, **latency_s), deploy=deploy
    )
    kept = []
    place = dataclasses.replace(checking(context, violated_above(0.001)), keep=kept.append)
    if is_trained:
        evaluation = task.evaluate(optuna.trial.FixedTrial(GIVEN), place)
        assert evaluation.metrics["latency_p50"].value == latency_s["t1"]
        assert len(evaluation.variants) == 2
    else:
        with pytest.raises(optuna.TrialPruned):
            task.evaluate(optuna.trial.FixedTrial(GIVEN), place)
    assert fitted == [1] * is_trained


def test_a_deployment_that_cannot_be_measured_keeps_no_trial_alive(context, with_fit) -> None:
    profiler = by_threads(context, fails=2, t1=0.002, t3=0.002)
    task = with_fit(fit=lambda self, *rest: pytest.fail("trained"), profiler=profiler, deploy=FANNED)
    with pytest.raises(optuna.TrialPruned):
        task.evaluate(optuna.trial.FixedTrial(GIVEN), checking(context, violated_above(0.001)))


def test_the_first_deployment_that_may_be_feasible_is_enough_without_a_pruner(context, with_fit) -> None:
    task = with_fit(profiler=by_threads(context, t1=0.0005, t2=0.002, t3=0.0002), deploy=FANNED)
    task.evaluate(optuna.trial.FixedTrial(GIVEN), checking(context, violated_above(0.001)))
    assert task.profiler.n_calls == 1 + 1 + 3 + 2  # untrained; checked; trained, the others' outputs too


def test_a_pruner_sees_the_best_of_all_deployments_and_the_trial_keeps_its_own_cost(
    context, with_fit
) -> None:
    kept, asked = [], []

    def should_stop(step, values):
        asked.append(kept[-1].metrics["latency_p50"].value)
        return len(asked) == 2

    task = with_fit(profiler=by_threads(context, fails=2, t1=0.002, t3=0.0005), deploy=FANNED)
    place = checking(context, violated_above(0.01))
    place = dataclasses.replace(place, keep=kept.append, should_stop=should_stop)
    with pytest.raises(optuna.TrialPruned):
        task.evaluate(optuna.trial.FixedTrial(GIVEN), place)
    assert asked == [0.0005, 0.0005]
    assert kept[-1].metrics["latency_p50"].value == 0.002
    assert kept[-1].runtime["intra_op_num_threads"] == 1
    assert len(kept[-1].curve) == 2


MEASURED = ("latency_p50", "throughput", "file_size", "parameters")
numbers = st.one_of(st.none(), st.integers(1, 5))
several = st.lists(st.fixed_dictionaries(dict.fromkeys(MEASURED, numbers)), min_size=1, max_size=4)


@settings(deadline=None)
@given(several)
def test_the_best_case_has_each_metrics_own_best(values) -> None:
    found = best_case([Evaluation(metrics={n: Estimate(v) for n, v in one.items()}) for one in values])
    for name in MEASURED:
        known = [one[name] for one in values if one[name] is not None]
        best = max if name == "throughput" else min
        assert found.metrics[name].value == (best(known) if known else None)


def test_a_metric_without_a_direction_is_that_of_the_first() -> None:
    odd = Metric(name="odd")
    several = [Evaluation(metrics={"odd": Estimate(value)}) for value in (2, 1, 3)]
    assert best_case(several, [odd]).metrics["odd"].value == 2


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
    assert evaluation.metrics["batched_device_memory"].reason == "not measured in batched"
    assert (context.folder / "in-batched" / "samples.npz").is_file()
