"""The demo's task: handwritten digits, read by a family of small convolutional networks.

The data are the 1,797 images of 8 x 8 pixels that scikit-learn ships ("Optical Recognition of
Handwritten Digits", E. Alpaydin and C. Kaynak, UCI Machine Learning Repository, 1998). Written as
a person would write a task of their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from moo.errors import TaskLoadError
from objectives._data import Split, Splits
from objectives._report import Report
from objectives._torch import TorchTask
from objectives._training._train import suggest_training, train
from profilers import Runtime

if TYPE_CHECKING:
    import optuna

__all__ = ["Digits"]

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "hardswish": nn.Hardswish}


class Digits(TorchTask):
    """Which small network reads a form of 64 digits fast enough?

    The form comes as one batch: a call is 64 images, on one thread.
    """

    runtime = Runtime(batch=64, intra_op_num_threads=1)

    def data(self) -> Splits:
        """Return 1,077 images to train on, 360 to choose by, and 360 that stay unseen."""
        try:
            from sklearn.datasets import load_digits
            from sklearn.model_selection import train_test_split
        except ModuleNotFoundError as error:
            raise TaskLoadError("Digits needs scikit-learn: pip install 'moo-deploy[sklearn]'") from error
        pixels, labels = load_digits(return_X_y=True)
        images = (pixels / 16).astype(np.float32).reshape(-1, 1, 8, 8)
        rest_x, test_x, rest_y, test_y = train_test_split(
            images, labels, test_size=360, stratify=labels, random_state=0
        )
        train_x, valid_x, train_y, valid_y = train_test_split(
            rest_x, rest_y, test_size=360, stratify=rest_y, random_state=0
        )
        return Splits(Split(train_x, train_y), Split(valid_x, valid_y), Split(test_x, test_y))

    def baseline(self) -> dict[str, Any]:
        """Return the network that is taken to be in service: three layers, widening."""
        return {
            "depth": 3,
            "width_1": 24,
            "width_2": 32,
            "width_3": 48,
            "kernel": 3,
            "activation": "relu",
            "dropout": 0.1,
            "learning_rate": 3e-3,
            "weight_decay": 1e-3,
            "batch_size": 64,
            "epochs": 8,
        }

    def build(self, trial: optuna.Trial) -> nn.Module:
        """Return convolution, normalisation and activation for each layer, then a linear classifier."""
        depth = trial.suggest_int("depth", 2, 4)
        widths = [trial.suggest_int(f"width_{i}", 8, 64, step=8) for i in range(1, depth + 1)]
        kernel = trial.suggest_categorical("kernel", [3, 5])
        activation = ACTIVATIONS[trial.suggest_categorical("activation", sorted(ACTIVATIONS))]
        dropout = trial.suggest_float("dropout", 0.0, 0.5)
        layers: list[nn.Module] = []
        for index, (n_in, n_out) in enumerate(zip([1, *widths], widths, strict=False)):
            layers += [nn.Conv2d(n_in, n_out, kernel, padding=kernel // 2, bias=False)]
            layers += [nn.BatchNorm2d(n_out), activation()]
            layers += [nn.MaxPool2d(2)] if index in (0, 2) else []
        return nn.Sequential(
            *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout), nn.Linear(widths[-1], 10)
        )

    def fit(self, model: nn.Module, trial: optuna.Trial, data: Splits, report: Report) -> None:
        """Train with AdamW under a one-cycle learning rate."""
        train(model, data, report, **suggest_training(trial, epochs=(3, 12), schedule="one-cycle"))
