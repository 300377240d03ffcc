"""Steps of an optimiser, and the losses they go down."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from moo.errors import FitError

__all__ = ["Loss", "Stepper", "default_loss", "values_like"]

Loss = Callable[[Any, Tensor], Tensor]
"""`(outputs, targets)` of a batch to one number."""


@dataclass(kw_only=True)
class Stepper:
    """Takes one step of the optimiser for each batch."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    loss: Loss
    learning_rate: float
    schedule: Callable[[int], tuple[float, float | None]]
    gradient_clip: float | None
    precision: torch.dtype | None
    scaler: torch.amp.GradScaler
    n_done: int = field(default=0, init=False)

    def run(self, batches: Iterator[tuple[Tensor, Tensor]]) -> float:
        """Train on these batches and return their mean loss.

        Raises:
            FitError: If a loss is not finite; found at the end, so that a GPU is not waited for each step.
        """
        first = self.n_done
        losses = torch.stack([self._step(inputs, targets) for inputs, targets in batches]).cpu()
        bad = torch.nonzero(~torch.isfinite(losses)).flatten()
        if len(bad):
            step = first + int(bad[0])
            raise FitError(
                f"training diverged: the loss is {losses[bad[0]]:g} at step {step + 1} (learning rate"
                f" {self.learning_rate * self.schedule(step)[0]:.2g}): lower the learning rate"
            )
        return float(losses.mean())

    def _step(self, inputs: Tensor, targets: Tensor) -> Tensor:
        factor, momentum = self.schedule(self.n_done)
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate * factor
            if momentum is not None:
                group["betas"] = (momentum, group["betas"][1])
        self.optimizer.zero_grad()
        with torch.autocast(inputs.device.type, dtype=self.precision, enabled=self.precision is not None):
            value = self.loss(self.model(inputs), targets)
        if not isinstance(value, Tensor) or value.numel() != 1:
            got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise FitError(f"loss: expected one number a batch, got {got}: take the mean over the rows")
        self.scaler.scale(value).backward()
        if self.gradient_clip is not None:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), self.gradient_clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.n_done += 1
        return value.detach().float().reshape(())


def default_loss(outputs: Any, targets: Tensor) -> Tensor:
    """Return cross-entropy for whole numbers, the mean squared error for others."""
    if not isinstance(outputs, Tensor):
        raise FitError(f"the model returns {type(outputs).__name__}, no tensor: give train() a loss")
    if targets.is_floating_point():
        return nn.functional.mse_loss(values_like(outputs, targets), targets.to(outputs.dtype))
    if outputs.numel() == targets.numel() and outputs.shape[1:].numel() == targets.shape[1:].numel() == 1:
        flat = outputs.reshape(-1)
        return nn.functional.binary_cross_entropy_with_logits(flat, targets.reshape(-1).to(flat.dtype))
    _check_labels(outputs, targets)
    return nn.functional.cross_entropy(outputs, targets.long())


def values_like(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return values in the shape of the targets; (n, 1) beside (n,) would be compared all with all."""
    if outputs.shape[:1] != targets.shape[:1] or outputs.numel() != targets.numel():
        raise FitError(
            f"the model gives shape {tuple(outputs.shape)} for targets of shape {tuple(targets.shape)}:"
            " give train() a loss, or the model an output for each target"
        )
    return outputs.reshape(targets.shape)


def _check_labels(outputs: Tensor, targets: Tensor) -> None:
    if outputs.ndim < 2 or targets.shape != outputs.shape[:1] + outputs.shape[2:]:
        raise FitError(
            f"cross-entropy needs logits of shape (n, classes) and labels of shape (n,), got"
            f" {tuple(outputs.shape)} and {tuple(targets.shape)}: give train() a loss"
        )
    if outputs.is_cuda:
        return  # a label beyond the classes is refused by the device, and looking would have to wait for it
    low, high = int(targets.min()), int(targets.max())
    if low < 0 or high >= outputs.shape[1]:
        raise FitError(f"targets go from {low} to {high}, but the model has {outputs.shape[1]} classes")
