"""How good a torch model is on the validation data while it trains, and which epoch was the best."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from moo.errors import FitError, InputError
from moo.metrics import BUILT_IN, Metric
from objectives._scoring._outputs import Outputs, margins
from objectives._scoring._scores import Scorer, ScorerLike, resolve_scorer
from objectives._training._rows import Rows
from objectives._training._steps import values_like

__all__ = ["MEAN_SQUARED_ERROR", "Best", "training_scorer", "validation_score"]

MEAN_SQUARED_ERROR = Metric(name="mean_squared_error", direction="minimize", low=0.0)
"""What a regressor reports by default; a task with float targets declares it in its `metrics`."""

_SCORED_ROWS = 512  # in a call, at least: nothing is kept for gradients


def training_scorer(given: ScorerLike | None, rows: Rows, patience: int | None) -> Scorer:
    """Return the scorer that was asked for, or the default for such targets.

    Raises:
        InputError: For patience with a score that has no direction, or no such score.
    """
    if given is None:
        default = Scorer(BUILT_IN["accuracy"], _accuracy)
        return default if rows.has_labels else Scorer(MEAN_SQUARED_ERROR, _squared_error)
    scorer = resolve_scorer(given)
    if patience is not None and scorer.metric.direction is None:
        raise InputError(
            f"patience: needs to know whether more {scorer.metric.name} is better: give"
            f" Scorer(Metric(name={scorer.metric.name!r}, direction=...), function)"
        )
    return scorer


def _accuracy(targets: NDArray[Any], outputs: Outputs) -> float:
    return float(np.mean(outputs.predictions == targets))


def _squared_error(targets: NDArray[Any], outputs: Outputs) -> float:
    return float(np.mean((outputs.predictions.astype(np.float64) - targets) ** 2))


@torch.no_grad()
def validation_score(model: nn.Module, rows: Rows, scorer: Scorer, batch_size: int) -> float:
    """Return the score of the model, in evaluation mode from here on.

    Raises:
        FitError: For outputs that are not finite, or that have no score.
    """
    model.eval()
    parts = []
    for batch in torch.arange(len(rows)).split(max(batch_size, _SCORED_ROWS)):
        outputs = model(rows.take(batch)[0])
        if not isinstance(outputs, Tensor):
            raise FitError(
                f"the model returns {type(outputs).__name__}, which has no score here: write a fit()"
            )
        parts.append(outputs.float().cpu())
    outputs, targets = torch.cat(parts), rows.targets.cpu()
    if not torch.isfinite(outputs).all():
        raise FitError("training diverged: the validation outputs are not finite: lower the learning rate")
    return scorer.value(targets.numpy(), _outputs(outputs, targets, has_labels=rows.has_labels))


def _outputs(outputs: Tensor, targets: Tensor, *, has_labels: bool) -> Outputs:
    """Return a classifier's logits with its labels and probabilities, or a regressor's values."""
    if not has_labels:
        return Outputs(values_like(outputs, targets).numpy())
    if targets.ndim != 1:
        raise FitError(
            f"no score here for labels of shape {tuple(targets.shape)}, one a sample is expected:"
            " write a fit()"
        )
    if outputs.numel() == len(targets):
        logits = outputs.reshape(-1)
        above = torch.sigmoid(logits)
        probabilities, decision_values = torch.stack([1 - above, above], dim=1), logits
    else:
        probabilities, decision_values = torch.softmax(outputs, dim=1), outputs
    classes, values = np.arange(probabilities.shape[1]), decision_values.numpy()
    return Outputs(
        (values > 0).astype(np.intp) if values.ndim == 1 else values.argmax(axis=1),
        probabilities=probabilities.numpy(),
        decision_values=margins(values),
        classes=classes,
    )


class Best:
    """Keeps the scores, and with patience the weights of the best epoch."""

    def __init__(self, metric: Metric, patience: int | None) -> None:
        self._direction = metric.direction
        self._patience = patience
        self._weights: dict[str, Tensor] = {}
        self.scores: list[float] = []
        self.epoch = 0

    def update(self, epoch: int, score: float, model: nn.Module) -> None:
        """Note the score of an epoch, and keep the weights where they are the best so far."""
        sign = -1 if self._direction == "minimize" else 1
        is_better = not self.scores or sign * score > sign * self.scores[self.epoch - 1]
        self.scores.append(score)
        if is_better or self._direction is None:
            self.epoch = epoch
            if self._patience is not None:
                self._weights = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @property
    def is_over(self) -> bool:
        """Whether no epoch was better for as long as patience lasts."""
        return self._patience is not None and len(self.scores) - self.epoch >= self._patience

    def put_back(self, model: nn.Module) -> int:
        """Return the epoch whose weights the model now has: the best with patience, else the last."""
        if self._patience is None:
            return len(self.scores)
        model.load_state_dict(self._weights)
        return self.epoch
