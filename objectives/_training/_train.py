"""Training a torch classifier or regressor, as one would by default.

A task's `fit` in two lines::

    def fit(self, model, trial, data, report):
        train(model, data, report, **suggest_training(trial))
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn

from moo.errors import FitError, InputError
from objectives._data import Splits
from objectives._scoring._scores import ScorerLike
from objectives._training._rows import Rows, batches, check_types, n_batches
from objectives._training._schedules import learning_rate_factor, momentum_of_cycle
from objectives._training._scores import MEAN_SQUARED_ERROR, Best, training_scorer, validation_score
from objectives._training._steps import Loss, Stepper, default_loss

if TYPE_CHECKING:
    import optuna

__all__ = ["MEAN_SQUARED_ERROR", "TrainingFacts", "suggest_training", "train"]

_NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


@dataclass(frozen=True, kw_only=True)
class TrainingFacts:
    """What happened in a training.

    Attributes:
        losses: The mean training loss of each epoch that ran.
        scores: The validation score after each of them.
        metric: The score's name.
        best_epoch: The first epoch with the best score, counted from 1; the last where the score has no
            direction.
        kept_epoch: The epoch whose weights the model has.
        n_steps: Steps of the optimiser.
        stopped_early: Whether patience ended it.
        device: Where the model is.
        precision: What the products were computed in: float32, bfloat16 or float16.
    """

    losses: tuple[float, ...]
    scores: tuple[float, ...]
    metric: str
    best_epoch: int
    kept_epoch: int
    n_steps: int
    stopped_early: bool
    device: str
    precision: str


def train(
    model: nn.Module,
    data: Splits,
    report: Callable[..., None],
    *,
    epochs: int = 20,
    batch_size: int = 64,
    learning_rate: float = 3e-3,
    weight_decay: float = 1e-2,
    schedule: str = "one-cycle",
    warmup: float | None = None,
    loss: Loss | None = None,
    score: ScorerLike | None = None,
    gradient_clip: float | None = 1.0,
    patience: int | None = None,
    mixed_precision: bool | Literal["auto"] = "auto",
    device: str | torch.device = "auto",
    generator: torch.Generator | None = None,
) -> TrainingFacts:
    """Train a model in place with AdamW, and return what happened.

    After each epoch the model is scored on the validation data, in float32, and the score reported:
    `report(epoch, accuracy=...)`, epochs counted from 1. The model is left on its device in evaluation
    mode, also where the report ends the trial.

    On the CPU the same seed of torch, and the same generator, give the same weights. On a GPU sums may be
    taken in another order.

    Args:
        model: Takes one tensor of rows. It returns a tensor: logits of classes, shape (n, classes, ...),
            one logit a sample for two classes, or values in the shape of the targets.
        data: Train and validation data, arrays or tensors; float inputs of the model's own type.
        report: Called as `report(epoch, **{metric: value})`, as tasks are given.
        epochs: Passes over the training data, at most.
        batch_size: Rows in a step. A last batch of fewer rows is trained on too; where it would be a
            single row, which has no batch statistics, that joins the batch before it.
        learning_rate: The largest in the schedule.
        weight_decay: Of weights; biases, norms and other parameters of fewer than two dimensions have none.
        schedule: one-cycle, cosine, step or constant: see `learning_rate_factor`. Over all epochs, also
            where patience ends the training before.
        warmup: Share of the steps in which the rate rises; None for the schedule's own.
        loss: `(outputs, targets)` to a number; None for cross-entropy where targets are whole numbers
            (binary where the model gives one logit a sample), else the mean squared error.
        score: A scorer's name, a function or a `Scorer`, as in `objectives._scoring._scores`; None for
            accuracy where targets are whole numbers, else mean_squared_error. The task must know its metric.
        gradient_clip: Largest norm of all gradients together; None for no limit.
        patience: Epochs without a better score after which training ends; the weights of the best epoch
            are then put back, also where it was not ended early. None to train on and keep the last. A
            score that chose the epoch is a little too good.
        mixed_precision: Whether products are computed in bfloat16 (float16 where the GPU has none);
            "auto" for yes on a GPU, no on a CPU.
        device: Where to train; "auto" for a GPU that CUDA sees, else the CPU.
        generator: Of the order of rows, on the CPU; None for torch's own, which dropout uses in any case.

    Raises:
        InputError: For an argument that cannot be.
        FitError: If the loss is not finite, with the step; if the data does not fit.
    """
    _check_numbers(epochs=epochs, batch_size=batch_size, patience=patience)
    _check_rates(learning_rate, weight_decay, gradient_clip)
    learning_rate_factor(schedule, 0, 1, warmup)  # refuses what cannot be
    place = _device(device)
    rows, held_out = Rows.of(data.train, "train", place), Rows.of(data.validation, "validation", place)
    check_types(model, rows)
    scorer = training_scorer(score, rows, patience)
    model.to(place)
    kind = _autocast_type(mixed_precision, place)
    optimizer = torch.optim.AdamW(_groups(model, weight_decay), lr=learning_rate)
    n_steps = epochs * n_batches(len(rows), batch_size)
    stepper = Stepper(
        model=model,
        optimizer=optimizer,
        loss=default_loss if loss is None else loss,
        learning_rate=learning_rate,
        schedule=lambda step: (
            learning_rate_factor(schedule, step, n_steps, warmup),
            momentum_of_cycle(schedule, step, n_steps, warmup),
        ),
        gradient_clip=gradient_clip,
        precision=kind,
        scaler=torch.amp.GradScaler(place.type, enabled=kind is torch.float16),
    )
    best = Best(scorer.metric, patience)
    losses: list[float] = []
    try:
        for epoch in range(1, epochs + 1):
            model.train()
            order = torch.randperm(len(rows), generator=generator)
            losses.append(stepper.run(rows.take(batch) for batch in batches(order, batch_size)))
            best.update(epoch, validation_score(model, held_out, scorer, batch_size), model)
            report(epoch, **{scorer.metric.name: best.scores[-1]})
            if best.is_over:
                break
    finally:
        model.eval()
    return TrainingFacts(
        losses=tuple(losses),
        scores=tuple(best.scores),
        metric=scorer.metric.name,
        best_epoch=best.epoch,
        kept_epoch=best.put_back(model),
        n_steps=stepper.n_done,
        stopped_early=best.is_over and len(losses) < epochs,
        device=str(place),
        precision=str(kind or torch.float32).removeprefix("torch."),
    )


def suggest_training(
    trial: optuna.Trial,
    *,
    learning_rate: float | tuple[float, float] = (3e-4, 3e-2),
    weight_decay: float | tuple[float, float] = (1e-5, 1e-1),
    batch_size: int | Sequence[int] = (32, 64, 128),
    epochs: int | tuple[int, int] = (3, 30),
    schedule: str | Sequence[str] = ("one-cycle", "cosine"),
) -> dict[str, Any]:
    """Return what a trial chooses for `train`, by a suggestion for each argument of the same name.

    Args:
        trial: Optuna's trial.
        learning_rate: Ends of a range, searched on a logarithmic scale; a number is fixed and no parameter.
        weight_decay: As the learning rate.
        batch_size: Some to choose among; a number is fixed.
        epochs: Ends of a range; a number is fixed.
        schedule: Some to choose among; a name is fixed.

    >>> import optuna
    >>> sorted(suggest_training(optuna.trial.FixedTrial({"learning_rate": 0.01}), weight_decay=0.0,
    ...     batch_size=64, epochs=5, schedule="cosine").items())  # doctest: +NORMALIZE_WHITESPACE
    [('batch_size', 64), ('epochs', 5), ('learning_rate', 0.01), ('schedule', 'cosine'),
     ('weight_decay', 0.0)]
    """
    chosen: dict[str, Any] = {}
    for name, given in (("learning_rate", learning_rate), ("weight_decay", weight_decay)):
        is_fixed = isinstance(given, int | float)
        chosen[name] = given if is_fixed else trial.suggest_float(name, *_ends(name, given), log=True)
    for name, options in (("batch_size", batch_size), ("schedule", schedule)):
        is_fixed = isinstance(options, int | str)
        chosen[name] = options if is_fixed else trial.suggest_categorical(name, list(options))  # type: ignore[arg-type]
    is_fixed = isinstance(epochs, int)
    chosen["epochs"] = epochs if is_fixed else trial.suggest_int("epochs", *_ends("epochs", epochs))
    return chosen


def _ends(name: str, given: Any) -> tuple[Any, Any]:
    if not isinstance(given, tuple | list) or len(given) != 2 or not given[0] <= given[1]:
        raise InputError(f"{name}: expected a number, or a range (low, high), got {given!r}")
    return given[0], given[1]


# what was asked for


def _check_numbers(*, epochs: int, batch_size: int, patience: int | None) -> None:
    for name, count in (("epochs", epochs), ("batch_size", batch_size), ("patience", patience)):
        is_absent = name == "patience" and count is None
        if not is_absent and (not isinstance(count, int) or isinstance(count, bool) or count < 1):
            raise InputError(f"{name}: expected a whole number of at least 1, got {count!r}")


def _check_rates(learning_rate: float, weight_decay: float, gradient_clip: float | None) -> None:
    if not 0 < learning_rate < math.inf:
        raise InputError(f"learning_rate: expected a number above 0, got {learning_rate!r}")
    if not 0 <= weight_decay < math.inf:
        raise InputError(f"weight_decay: expected a number of at least 0, got {weight_decay!r}")
    if gradient_clip is not None and not gradient_clip > 0:
        raise InputError(f"gradient_clip: expected a number above 0, or None, got {gradient_clip!r}")


def _device(given: str | torch.device) -> torch.device:
    if given == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        place = torch.device(given)
        torch.empty(0, device=place)
    except Exception as error:  # torch has a type of its own for each backend
        line = next(iter(str(error).splitlines()), "no message")
        raise InputError(f"device: {given!r} cannot be used ({line}): choose 'auto' or 'cpu'") from error
    return place


def _autocast_type(mixed_precision: bool | Literal["auto"], place: torch.device) -> torch.dtype | None:  # noqa: FBT001
    if mixed_precision not in (True, False, "auto"):
        raise InputError(f"mixed_precision: expected True, False or 'auto', got {mixed_precision!r}")
    if place.type != "cuda":
        if mixed_precision is True:
            raise InputError(f"mixed_precision: needs a GPU, but the device is {place}: choose 'auto'")
        return None
    if not mixed_precision:
        return None
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16


def _groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Return the parameters that are trained in two groups: those that decay, and those that do not."""
    of_norms = {id(p) for m in model.modules() if isinstance(m, _NORMS) for p in m.parameters(recurse=False)}
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trained:
        raise FitError("build(): the model has no parameters to train: every one has requires_grad False")
    decay = [p for p in trained if p.ndim >= 2 and id(p) not in of_norms]
    chosen = {id(p) for p in decay}
    others = [p for p in trained if id(p) not in chosen]
    groups = ((decay, weight_decay), (others, 0.0))
    return [{"params": members, "weight_decay": rate} for members, rate in groups if members]
