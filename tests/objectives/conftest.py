"""Tiny torch tasks: a linear classifier on made-up data, measured by the scripted profiler."""

from collections.abc import Callable

import numpy as np
import optuna
import pytest
import torch

from moo.evaluation import TrialContext
from objectives import Split, Splits, TorchTask


def blobs(n: int, seed: int) -> Split:
    """Two well-separated classes in four dimensions."""
    generator = np.random.default_rng(seed)
    targets = generator.integers(0, 2, n)
    inputs = generator.normal(size=(n, 4)) + 4 * targets[:, None]
    return Split(inputs.astype(np.float32), targets)


class Linear(TorchTask):
    def data(self) -> Splits:
        return Splits(blobs(60, 0), blobs(40, 1), blobs(40, 2))

    def build(self, trial):
        width = trial.suggest_int("width", 2, 8)
        return torch.nn.Sequential(torch.nn.Linear(4, width), torch.nn.ReLU(), torch.nn.Linear(width, 2))

    def fit(self, model, trial, data, report):
        inputs, targets = (torch.from_numpy(array) for array in data.train)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
        for epoch in range(20):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(inputs), targets)
            loss.backward()
            optimizer.step()
            report(epoch, accuracy=0.5)


@pytest.fixture
def context(tmp_path) -> TrialContext:
    folder = tmp_path / "trials" / "00000"
    folder.mkdir(parents=True)
    return TrialContext(root=tmp_path, folder=folder, seed=0)


@pytest.fixture
def trial() -> optuna.Trial:
    return optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask()


@pytest.fixture
def with_fit() -> Callable[..., TorchTask]:
    """A Linear task with some of its methods replaced."""

    def make(**methods) -> TorchTask:
        return type("Changed", (Linear,), methods)()

    return make
