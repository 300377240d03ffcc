"""The default training: held against torch's own schedules and a loop written out by hand."""

import itertools
import math

import numpy as np
import optuna
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score
from torch import nn

from moo.errors import FitError, InputError
from moo.metrics import Metric
from objectives import Report, Split, Splits
from objectives._scoring._scores import Scorer, resolve_scorer
from objectives._training._rows import batches, n_batches
from objectives._training._schedules import SCHEDULES, learning_rate_factor, momentum_of_cycle
from objectives._training._train import MEAN_SQUARED_ERROR, _groups, suggest_training, train
from tests.objectives.conftest import blobs

DATA = Splits(blobs(61, 0), blobs(40, 1))


def line(n: int, seed: int, columns: int = 4) -> Split:
    """Values that are a linear function of the inputs, shape (n,)."""
    inputs = np.random.default_rng(seed).normal(size=(n, columns)).astype(np.float32)
    return Split(inputs, (inputs @ np.arange(1, columns + 1) + 3).astype(np.float32))


LINE = Splits(line(200, 0), line(50, 1))


def network(n_outputs: int = 2, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, n_outputs))


def silent(epoch: int, **values: float) -> None:
    pass


def weights(model: nn.Module) -> torch.Tensor:
    return nn.utils.parameters_to_vector(model.parameters()).detach().clone()


# schedules


@settings(deadline=None)
@given(st.integers(2, 200), st.floats(0.0, 0.95))
def test_one_cycle_is_that_of_torch(n_steps, warmup) -> None:
    assume(warmup * n_steps > 1.001)  # below, torch starts somewhere past the peak, or divides by zero
    optimizer = torch.optim.AdamW([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=n_steps, pct_start=warmup)
    for step in range(n_steps):
        group = optimizer.param_groups[0]
        assert learning_rate_factor("one-cycle", step, n_steps, warmup) == pytest.approx(
            group["lr"], rel=1e-6, abs=1e-9
        )
        assert momentum_of_cycle("one-cycle", step, n_steps, warmup) == pytest.approx(group["betas"][0])
        optimizer.step()
        if step + 1 < n_steps:
            theirs.step()


def test_cosine_without_warmup_is_that_of_torch() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=30)
    for step in range(30):
        assert learning_rate_factor("cosine", step, 30, 0) == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        theirs.step()


@given(st.sampled_from(sorted(SCHEDULES)), st.integers(1, 300), st.none() | st.floats(0, 0.99))
def test_a_rate_is_above_zero_never_above_the_largest_and_reaches_it(schedule, n_steps, warmup) -> None:
    factors = [learning_rate_factor(schedule, step, n_steps, warmup) for step in range(n_steps)]
    assert all(0 < factor <= 1 for factor in factors)
    if schedule in ("cosine", "constant"):
        assert max(factors) == 1
    rising = [b > a for a, b in itertools.pairwise(factors)]
    assert rising == sorted(rising, reverse=True)  # it never rises again once it has fallen


def test_a_step_schedule_is_divided_by_ten_after_half_and_three_quarters() -> None:
    factors = [learning_rate_factor("step", step, 100, 0.1) for step in (0, 9, 10, 49, 50, 74, 75, 99)]
    assert factors == pytest.approx([1 / 11, 10 / 11, 1, 1, 0.1, 0.1, 0.01, 0.01])


def test_other_schedules_leave_the_momentum_alone() -> None:
    assert [momentum_of_cycle(name, 0, 10) for name in ("cosine", "step", "constant")] == [None] * 3


# steps


@given(st.integers(1, 200), st.integers(1, 70))
def test_an_epoch_sees_each_row_once_and_no_row_is_alone(n, batch_size) -> None:
    found = batches(torch.arange(n), batch_size)
    assert torch.cat(found).tolist() == list(range(n))
    assert len(found) == n_batches(n, batch_size)
    assert all(len(batch) == batch_size for batch in found[:-1])
    if n > 1 and batch_size > 1:
        assert min(len(batch) for batch in found) >= 2


def test_batch_normalisation_survives_a_single_row_that_is_left_over() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))
    facts = train(model, DATA, silent, epochs=1, batch_size=20)  # 61 rows
    assert facts.n_steps == 3


def test_training_is_adamw_as_written_out_by_hand() -> None:
    model, expected = network(), network()
    generator = torch.Generator().manual_seed(5)
    train(
        model,
        DATA,
        silent,
        epochs=3,
        batch_size=16,
        learning_rate=0.01,
        weight_decay=0.1,
        schedule="constant",
        gradient_clip=None,
        generator=generator,
        device="cpu",
    )
    generator.manual_seed(5)
    inputs, targets = (torch.from_numpy(array) for array in DATA.train)
    matrices, biases = ([p for p in expected.parameters() if p.ndim == ndim] for ndim in (2, 1))
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": biases, "weight_decay": 0.0}], lr=0.01
    )
    for _ in range(3):
        for rows in torch.randperm(61, generator=generator).split(16):
            optimizer.zero_grad()
            nn.functional.cross_entropy(expected(inputs[rows]), targets[rows]).backward()
            optimizer.step()
    assert torch.allclose(weights(model), weights(expected), atol=1e-6)


def test_one_seed_gives_one_model_and_another_gives_another() -> None:
    def trained(seed: int) -> torch.Tensor:
        model = network()
        torch.manual_seed(seed)
        train(model, DATA, silent, epochs=2, device="cpu")
        return weights(model)

    assert torch.equal(trained(1), trained(1))
    assert not torch.equal(trained(1), trained(2))


def test_biases_and_norms_do_not_decay() -> None:
    model = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.LayerNorm((4, 4)), nn.Flatten(), nn.Linear(48, 2)
    )
    decay, others = _groups(model, 0.3)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    assert [names[id(p)] for p in decay["params"]] == ["0.weight", "4.weight"]
    assert (decay["weight_decay"], others["weight_decay"]) == (0.3, 0.0)
    assert len(others["params"]) == len(names) - 2


def test_frozen_parameters_stay_as_they_are() -> None:
    model = network()
    model[0].requires_grad_(False)
    before, head = weights(model[0]), weights(model[2])
    train(model, DATA, silent, epochs=1)
    assert torch.equal(weights(model[0]).cpu(), before)
    assert not torch.equal(weights(model[2]).cpu(), head)


@pytest.mark.parametrize(("clip", "is_within"), [(1e-4, True), (None, False)])
def test_gradients_are_no_longer_than_the_clip(clip, is_within) -> None:
    model = network()
    train(model, DATA, silent, epochs=1, gradient_clip=clip)
    norm = math.sqrt(sum(float(p.grad.square().sum()) for p in model.parameters()))
    assert (norm <= 1.01e-4) == is_within


# losses


@pytest.mark.parametrize("n_outputs", [1, 2])
def test_two_classes_are_learnt_from_one_logit_or_two(n_outputs) -> None:
    facts = train(network(n_outputs), DATA, silent, epochs=20, batch_size=16, learning_rate=0.03)
    assert facts.metric == "accuracy"
    assert facts.scores[-1] > 0.9
    assert facts.losses[-1] < facts.losses[0] / 2


@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
def test_values_are_learnt_whatever_the_shape_of_their_column(shape) -> None:
    data = Splits(*(Split(s.inputs, s.targets.reshape(shape)) for s in (LINE.train, LINE.validation)))
    report = Report([MEAN_SQUARED_ERROR])
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    facts = train(model, data, report, epochs=40, learning_rate=0.3, device="cpu")
    with torch.no_grad():
        values = model(torch.from_numpy(LINE.validation.inputs)).numpy().reshape(-1)
    expected = np.mean((values - LINE.validation.targets) ** 2)
    assert facts.scores[-1] == pytest.approx(expected, rel=1e-4)
    assert expected < 0.1 < np.var(LINE.validation.targets)
    assert report.curve[-1] == (40, {"mean_squared_error": facts.scores[-1]})


def test_the_error_of_a_regressor_is_the_metric_that_scikit_learn_scores() -> None:
    assert resolve_scorer("neg_mean_squared_error").metric == MEAN_SQUARED_ERROR


def test_a_loss_of_ones_own_is_what_is_minimised() -> None:
    seen = []

    def loss(outputs, targets):
        seen.append(len(targets))
        return nn.functional.l1_loss(outputs.squeeze(1), targets)

    facts = train(nn.Linear(4, 1), LINE, silent, epochs=2, batch_size=64, loss=loss, schedule="cosine")
    assert seen == [64, 64, 64, 8] * 2
    assert facts.n_steps == 8


def test_a_loss_that_is_not_finite_is_told_with_its_step() -> None:
    calls = []

    def loss(outputs, targets):
        calls.append(None)
        return outputs.sum() * (math.nan if len(calls) == 6 else 1e-3)

    with pytest.raises(FitError, match=r"the loss is nan at step 6 \(learning rate 0.003\): lower") as caught:
        train(
            network(), DATA, silent, epochs=3, batch_size=16, schedule="constant", loss=loss, warmup=0
        )  # 4 steps an epoch
    assert "\n" not in str(caught.value)
    assert len(calls) == 8


def test_outputs_that_are_not_finite_are_told() -> None:
    model = nn.Linear(4, 2)
    with torch.no_grad():
        model.weight.fill_(math.inf)
    with pytest.raises(FitError, match="training diverged"):
        train(model, DATA, silent, epochs=1, loss=lambda outputs, targets: (outputs * 0).nan_to_num().sum())


# scores, and when it ends


def test_the_accuracy_reported_is_that_of_the_model() -> None:
    report, model = Report(), network()
    facts = train(model, DATA, report, epochs=3, device="cpu")
    inputs, targets = DATA.validation
    with torch.no_grad():
        correct = model(torch.from_numpy(inputs)).argmax(1).numpy() == targets
    assert [step for step, _ in report.curve] == [1, 2, 3]
    assert report.curve[-1][1]["accuracy"] == facts.scores[-1] == correct.mean()


@pytest.mark.parametrize("n_outputs", [1, 2])
def test_a_score_by_name_is_that_of_scikit_learn(n_outputs) -> None:
    model = network(n_outputs)
    facts = train(model, DATA, silent, epochs=2, score="roc_auc", device="cpu")
    inputs, targets = DATA.validation
    with torch.no_grad():
        logits = model(torch.from_numpy(inputs)).numpy()
    above = logits[:, -1] - (0 if n_outputs == 1 else logits[:, 0])
    assert facts.scores[-1] == pytest.approx(roc_auc_score(targets, above))


def scripted(values: list[float], direction: str | None) -> Scorer:
    """A score that goes by a script, one value an epoch."""
    left = iter(values)
    return Scorer(Metric(name="scripted", direction=direction), lambda targets, outputs: next(left))


@pytest.mark.parametrize(("direction", "sign"), [("maximize", 1), ("minimize", -1)])
def test_patience_ends_training_and_puts_the_best_weights_back(direction, sign) -> None:
    model, after = network(), {}

    def report(epoch: int, **values: float) -> None:
        after[epoch] = weights(model)

    values = [sign * value for value in (0.1, 0.5, 0.9, 0.9, 0.2, 1.0)]
    facts = train(model, DATA, report, epochs=6, score=scripted(values, direction), patience=2)
    assert facts.scores == tuple(values[:5])
    assert (facts.best_epoch, facts.kept_epoch, facts.stopped_early) == (3, 3, True)
    assert torch.equal(weights(model), after[3])
    assert not torch.equal(after[3], after[5])


def test_patience_puts_the_best_weights_back_where_all_epochs_ran() -> None:
    facts = train(network(), DATA, silent, epochs=3, score=scripted([2, 3, 1], "maximize"), patience=1)
    assert (facts.kept_epoch, facts.stopped_early) == (2, False)


def test_without_patience_the_last_weights_are_kept() -> None:
    facts = train(network(), DATA, silent, epochs=3, score=scripted([3, 2, 1], "maximize"))
    assert (facts.best_epoch, facts.kept_epoch, facts.stopped_early) == (1, 3, False)


def test_a_report_that_ends_the_trial_leaves_the_model_in_evaluation_mode() -> None:
    def report(epoch: int, **values: float) -> None:
        raise optuna.TrialPruned("enough")

    model = nn.Sequential(network(), nn.Dropout(0.5))
    with pytest.raises(optuna.TrialPruned):
        train(model, DATA, report, epochs=5)
    assert not any(module.training for module in model.modules())


def test_arrays_that_cannot_be_written_to_are_read() -> None:
    locked = [Split(s.inputs.copy(), s.targets.copy()) for s in (DATA.train, DATA.validation)]
    for split in locked:
        split.inputs.setflags(write=False)
        split.targets.setflags(write=False)
    assert train(network(), Splits(*locked), silent, epochs=1).n_steps == 1


def test_on_the_processor_nothing_is_computed_in_half_precision() -> None:
    facts = train(network(), DATA, silent, epochs=1, device="cpu")
    assert (facts.device, facts.precision) == ("cpu", "float32")


@pytest.mark.gpu
def test_on_a_gpu_products_are_computed_in_half_precision_and_the_model_is_as_good() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no GPU that CUDA sees")
    model = network()
    facts = train(model, DATA, silent, epochs=20, learning_rate=0.03)
    assert facts.device == "cuda"
    assert facts.precision in ("bfloat16", "float16")
    assert {parameter.device.type for parameter in model.parameters()} == {"cuda"}
    assert facts.scores[-1] > 0.9


# bad input


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"epochs": 0}, "epochs: expected a whole number of at least 1, got 0"),
        ({"batch_size": 2.5}, "batch_size: expected a whole number of at least 1, got 2.5"),
        ({"patience": 0}, "patience: expected a whole number of at least 1, got 0"),
        ({"learning_rate": 0.0}, "learning_rate: expected a number above 0, got 0.0"),
        ({"learning_rate": math.nan}, "learning_rate: expected a number above 0"),
        ({"weight_decay": -1}, "weight_decay: expected a number of at least 0, got -1"),
        ({"gradient_clip": 0}, "gradient_clip: expected a number above 0, or None, got 0"),
        ({"schedule": "cosin"}, "schedule: expected one of one-cycle, cosine, step, constant, got 'cosin'"),
        ({"warmup": 1}, "warmup: expected a share of the steps from 0 to less than 1, got 1"),
        ({"device": "tpu3"}, "device: 'tpu3' cannot be used"),
        ({"device": "cpu", "mixed_precision": True}, "mixed_precision: needs a GPU, but the device is cpu"),
        ({"mixed_precision": "fp16"}, "mixed_precision: expected True, False or 'auto', got 'fp16'"),
        ({"score": "acuracy"}, "score: unknown scorer 'acuracy': did you mean accuracy"),
        ({"score": max, "patience": 3}, "patience: needs to know whether more max is better"),
    ],
)
def test_an_argument_that_cannot_be_is_refused_in_one_line(given, said) -> None:
    model = network()
    before = weights(model)
    with pytest.raises(InputError) as caught:
        train(model, DATA, silent, **given)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert torch.equal(weights(model), before)


@pytest.mark.parametrize(
    ("model", "data", "said"),
    [
        (
            nn.Linear(4, 2),
            Splits(*(Split(s.inputs.astype(np.float64), s.targets) for s in (DATA.train, DATA.validation))),
            "expected inputs of the model's float32, got float64",
        ),
        (
            nn.Linear(4, 2),
            Splits(*(Split(s.inputs, s.targets + 1) for s in (DATA.train, DATA.validation))),
            "targets go from 1 to 2, but the model has 2 classes",
        ),
        (
            nn.Linear(4, 2),
            Splits(*(Split(s.inputs, s.targets.astype(str)) for s in (DATA.train, DATA.validation))),
            "expected numbers, got <U",
        ),
        (nn.Linear(4, 3), LINE, "the model gives shape (64, 3) for targets of shape (64,)"),
        (
            nn.Sequential(nn.Unflatten(1, (2, 2)), nn.Linear(2, 2)),
            Splits(*(Split(s.inputs, np.tile(s.targets[:, None], 3)) for s in (DATA.train, DATA.validation))),
            "cross-entropy needs logits of shape (n, classes)",
        ),
        (nn.LSTM(4, 2), DATA, "the model returns tuple, no tensor: give train() a loss"),
        (nn.ReLU(), DATA, "the model has no parameters to train"),
    ],
)
def test_data_that_does_not_fit_the_model_is_told_in_one_line(model, data, said) -> None:
    with pytest.raises(FitError) as caught:
        train(model, data, silent, device="cpu")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_loss_for_each_row_is_refused() -> None:
    with pytest.raises(FitError, match=r"loss: expected one number a batch, got \(61, 2\): take the mean"):
        train(network(), DATA, silent, loss=lambda outputs, targets: outputs, batch_size=64)


def test_a_regressor_that_declares_no_error_is_told_its_name() -> None:
    with pytest.raises(FitError, match="report: unknown metric 'mean_squared_error'"):
        train(nn.Linear(4, 1), LINE, Report(), epochs=1)


# the parameters of a search


def test_a_trial_chooses_each_argument_within_its_range() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(30):
        trial = study.ask()
        chosen = suggest_training(trial, epochs=(2, 5))
        assert chosen == trial.params
        assert 3e-4 <= chosen["learning_rate"] <= 3e-2
        assert 1e-5 <= chosen["weight_decay"] <= 1e-1
        assert chosen["batch_size"] in (32, 64, 128)
        assert 2 <= chosen["epochs"] <= 5
        assert chosen["schedule"] in ("one-cycle", "cosine")
    assert trial.distributions["learning_rate"].log
    assert trial.distributions["weight_decay"].log


def test_what_is_fixed_is_no_parameter() -> None:
    trial = optuna.create_study().ask()
    fixed = {
        "learning_rate": 0.01,
        "weight_decay": 0,
        "batch_size": 32,
        "epochs": 4,
        "schedule": "step",
    }
    assert suggest_training(trial, **fixed) == fixed
    assert trial.params == {}


def test_what_a_trial_chooses_can_be_trained_with() -> None:
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1)).ask()
    facts = train(network(), DATA, silent, **suggest_training(trial, epochs=(1, 2)))
    assert len(facts.losses) == trial.params["epochs"]


@pytest.mark.parametrize("given", [{"epochs": (5, 2)}, {"learning_rate": (1e-3,)}, {"weight_decay": "low"}])
def test_a_range_that_is_none_is_refused(given) -> None:
    with pytest.raises(InputError, match=f"{next(iter(given))}: expected a number, or a range"):
        suggest_training(optuna.create_study().ask(), **given)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 40), st.integers(1, 50), st.sampled_from(sorted(SCHEDULES)), st.integers(1, 3))
def test_any_size_of_data_and_batch_trains_for_all_its_steps(n, batch_size, schedule, epochs) -> None:
    data = Splits(blobs(n, 3), blobs(5, 4))
    facts = train(network(), data, silent, epochs=epochs, batch_size=batch_size, schedule=schedule)
    assert facts.n_steps == epochs * n_batches(n, batch_size)
    assert all(math.isfinite(loss) for loss in facts.losses)
