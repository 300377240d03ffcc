"""One trial of a torch task, whole: real export, real child processes, real numbers."""

import dataclasses
import hashlib
import json

import numpy as np
import onnxruntime
import pytest
import torch

from moo.errors import ExportError, FitError, MeasureError, ScoreError
from moo.metrics import Metric
from objectives import Splits
from objectives._serving import trial_protocol
from profilers import FakeProfiler, LaunchError, OnnxRuntimeProfiler, Runtime, TimeLimitError
from tests.objectives.conftest import Linear, blobs


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    import optuna

    from moo.evaluation import TrialContext

    root = tmp_path_factory.mktemp("sweep")
    folder = root / "trials" / "00000"
    folder.mkdir(parents=True)
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask()
    task = Linear()
    evaluation = task.evaluate(trial, TrialContext(root=root, folder=folder, seed=0))
    return root, task, trial, evaluation


def test_the_artefact_is_what_its_hash_and_size_say(evaluated) -> None:
    root, _, _, evaluation = evaluated
    content = (root / evaluation.artefact.path).read_bytes()
    assert hashlib.sha256(content).hexdigest() == evaluation.artefact.sha256
    assert len(content) == evaluation.artefact.bytes == evaluation.metrics["file_size"].value


def test_accuracy_is_that_of_the_artefact_on_the_validation_data(evaluated) -> None:
    root, task, _, evaluation = evaluated
    inputs, targets = task.data().validation.numpy()
    session = onnxruntime.InferenceSession(root / evaluation.artefact.path)
    correct = session.run(None, {"input": inputs})[0].argmax(1) == targets
    estimate = evaluation.metrics["accuracy"]
    assert estimate.value == correct.mean() > 0.9
    assert estimate.low < estimate.value <= estimate.high
    assert np.array_equal(np.load(root / evaluation.files["correct"])["accuracy"], correct)


def test_latency_is_the_median_of_the_raw_samples_that_are_kept(evaluated) -> None:
    root, _, _, evaluation = evaluated
    document = json.loads((root / evaluation.files["measurement"]).read_text())
    launch = document["measurements"][0]["launches"][0]
    samples = np.load(root / evaluation.files["samples"])["latency_ns_0"]
    estimate = evaluation.metrics["latency_p50"]
    assert samples.dtype == np.int64
    assert estimate.value == pytest.approx(np.median(samples) / launch["calls_per_block"] / 1e9, rel=0.01)
    assert estimate.low <= estimate.value <= estimate.high


def test_a_tail_that_was_refused_has_no_value_but_an_upper_end(evaluated) -> None:
    estimate = evaluated[3].metrics["latency_p95"]
    assert estimate.value is None
    assert "too short to time alone" in estimate.reason
    assert estimate.high > 0


def test_parameters_and_macs_are_those_of_the_model(evaluated) -> None:
    _, _, trial, evaluation = evaluated
    width = trial.params["width"]
    assert evaluation.metrics["parameters"].value == 4 * width + width + width * 2 + 2
    assert evaluation.metrics["macs"].value == 4 * width + width * 2


def test_the_rest_of_the_evaluation_is_there(evaluated) -> None:
    _, task, _, evaluation = evaluated
    assert evaluation.metrics["peak_memory"].value > 1e6
    assert evaluation.metrics["load_time"].value > 0
    assert "single_launch" in evaluation.tags
    assert evaluation.environment == task.setting()["environment"]["fingerprint"]
    assert evaluation.runtime["batch"] == 1
    assert len(evaluation.curve) == 20
    assert set(evaluation.seconds) == {"data", "build", "fit", "export", "run", "measure", "score"}


def test_the_same_seed_trains_the_same_model(evaluated, trial, context) -> None:
    torch.rand(7)  # whatever was drawn before does not matter
    evaluation = Linear().evaluate(trial, context)
    inputs = np.zeros((1, 4), np.float32)
    first, second = (
        onnxruntime.InferenceSession(root / e.artefact.path).run(None, {"input": inputs})[0]
        for root, e in ((evaluated[0], evaluated[3]), (context.root, evaluation))
    )
    assert np.array_equal(first, second)


def test_training_never_sees_the_test_data(with_fit, trial, context) -> None:
    seen = []
    task = with_fit(fit=lambda self, model, trial, data, report: seen.append(data.test))
    task.evaluate(trial, context)
    assert seen == [None]


def test_the_baseline_is_launched_several_times(trial, context) -> None:
    evaluation = Linear().evaluate(trial, dataclasses.replace(context, is_baseline=True))
    assert "single_launch" not in evaluation.tags
    assert evaluation.metrics["peak_memory"].low is not None


def test_a_batch_larger_than_the_validation_data_is_measured(with_fit, trial, context) -> None:
    evaluation = with_fit(runtime=Runtime(batch=64)).evaluate(trial, context)
    assert evaluation.metrics["accuracy"].value > 0.9
    assert evaluation.runtime["batch"] == 64


@pytest.mark.parametrize(("metric", "n"), [("latency_p50", 72), ("latency_p95", 72), ("latency_p99", 368)])
def test_enough_calls_are_timed_for_the_percentile_that_the_problem_needs(context, metric, n) -> None:
    protocol = trial_protocol(Linear().protocol, dataclasses.replace(context, metrics=(metric,)))
    assert protocol.min_calls == n
    assert (protocol.time_budget_s > 15) == (metric != "latency_p50")


def test_one_validation_sample_is_enough(with_fit, trial, context) -> None:
    task = with_fit(data=lambda self: Splits(blobs(60, 0), blobs(1, 1)))
    assert task.evaluate(trial, context).metrics["accuracy"].value in (0.0, 1.0)


# what fails, and what it says


class FixedBatch(torch.nn.Module):
    def forward(self, x):
        return x.reshape(2, 4) if len(x) == 2 else x[:1]


class Untraceable(torch.nn.Module):
    def forward(self, x):
        return x if float(x.sum()) > 0 else -x


class TwoFaced(torch.nn.Module):
    """Computes something else while it is exported."""

    def forward(self, x):
        return x * (2.0 if torch.compiler.is_exporting() else 1.0)


class ReturnsText(torch.nn.Module):
    def forward(self, x):
        return {"logits": x}


def untrained(module: type[torch.nn.Module]):
    return {"build": lambda self, trial: module(), "fit": lambda self, *_: None}


@pytest.mark.parametrize(
    ("module", "said"),
    [(FixedBatch, "torch fixed the batch size at 2"), (Untraceable, "torch.onnx.export refused the model: ")],
)
def test_a_model_that_does_not_export_fails_in_one_line(with_fit, trial, context, module, said) -> None:
    with pytest.raises(ExportError, match=said) as caught:
        with_fit(**untrained(module)).evaluate(trial, context)
    assert "\n" not in str(caught.value)


def test_an_artefact_that_computes_something_else_is_refused(with_fit, trial, context) -> None:
    with pytest.raises(ExportError, match="differs from the framework by 1 of a row"):
        with_fit(**untrained(TwoFaced)).evaluate(trial, context)


def test_outputs_that_are_no_tensors_are_refused(with_fit, trial, context) -> None:
    with pytest.raises(ExportError, match="must return a tensor or a tuple of tensors, got dict"):
        with_fit(**untrained(ReturnsText)).evaluate(trial, context)


def test_a_model_that_diverged_has_no_accuracy(with_fit, trial, context) -> None:
    def diverge(self, model, trial, data, report):
        for parameter in model.parameters():
            torch.nn.init.constant_(parameter, float("nan"))

    with pytest.raises(ScoreError, match="scores are not finite: training diverged"):
        with_fit(fit=diverge).evaluate(trial, context)


@pytest.mark.parametrize(
    ("score", "said"),
    [
        ({"accuracy": float("nan")}, "accuracy is NaN"),
        ({"f1": 0.5}, "unknown metric 'f1'"),
        (0.5, "metric values by name"),
        ({"accuracy": 98.0}, "accuracy is 98: expected 0 to 1, a fraction"),
        ({"accuracy": 0.9, "latency_p50": 1e-9}, "latency_p50: that is measured or counted, not scored"),
    ],
)
def test_a_score_that_is_no_number_fails(with_fit, trial, context, score, said) -> None:
    with pytest.raises(ScoreError, match=said):
        with_fit(score=lambda self, outputs, targets: score).evaluate(trial, context)


def test_a_metric_of_the_tasks_own_is_scored(with_fit, trial, context) -> None:
    task = with_fit(
        metrics=(Metric(name="margin", direction="maximize"),),
        score=lambda self, outputs, targets: {"margin": float(np.ptp(outputs[0]))},
    )
    assert task.evaluate(trial, context).metrics["margin"].value > 0


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"accuracy": float("nan")}, "accuracy is nan at step 0"),
        ({"speed": 1.0}, "unknown metric 'speed'"),
    ],
)
def test_a_report_that_makes_no_sense_fails(with_fit, trial, context, values, said) -> None:
    task = with_fit(fit=lambda self, model, trial, data, report: report(0, **values))
    with pytest.raises(FitError, match=said):
        task.evaluate(trial, context)


def test_a_report_that_goes_back_fails(with_fit, trial, context) -> None:
    def fit(self, model, trial, data, report):
        report(2, accuracy=0.1)
        report(1, accuracy=0.2)

    with pytest.raises(FitError, match="steps count up, got 1 after 2"):
        with_fit(fit=fit).evaluate(trial, context)


@pytest.mark.parametrize(
    ("method", "said"),
    [("build", "torch.nn.Module, got NoneType"), ("data", "objectives.Splits, got NoneType")],
)
def test_a_method_that_returns_nothing_fails_by_name(with_fit, trial, context, method, said) -> None:
    with pytest.raises(FitError, match=said):
        with_fit(**{method: lambda self, *_: None}).evaluate(trial, context)


@pytest.mark.parametrize("error", [LaunchError("the process was killed by SIGSEGV"), TimeLimitError("60 s")])
def test_a_child_that_dies_or_hangs_fails_the_trial(with_fit, trial, context, error) -> None:
    task = with_fit(profiler=FakeProfiler(errors={0: error}))
    with pytest.raises(MeasureError, match=str(error)):
        task.evaluate(trial, context)


def test_a_real_child_past_its_limit_fails_the_trial(with_fit, trial, context) -> None:
    task = with_fit(profiler=OnnxRuntimeProfiler(time_limit_s=0.01))
    with pytest.raises(MeasureError, match="was killed"):
        task.evaluate(trial, context)
