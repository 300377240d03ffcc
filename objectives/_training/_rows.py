"""The rows that a torch model is trained on, and in which batches."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from moo.errors import FitError
from objectives._data import Split

__all__ = ["Rows", "batches", "check_types", "n_batches"]

_RESIDENT_SHARE = 0.25  # of a GPU's free memory: data that takes less is copied there once


@dataclass(frozen=True)
class Rows:
    """Inputs and targets as tensors, on the device where they are small and else brought there in batches."""

    inputs: Tensor
    targets: Tensor
    device: torch.device

    @classmethod
    def of(cls, split: Split, name: str, device: torch.device) -> Rows:
        """Return the rows of a split.

        Raises:
            FitError: For what are no numbers.
        """
        inputs, targets = (_tensor(values, f"data(), {name}") for values in split)
        size = sum(tensor.numel() * tensor.element_size() for tensor in (inputs, targets))
        if device.type == "cuda" and size < _RESIDENT_SHARE * torch.cuda.mem_get_info(device)[0]:
            inputs, targets = inputs.to(device), targets.to(device)
        return cls(inputs, targets, device)

    def __len__(self) -> int:
        return len(self.inputs)

    def take(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return inputs and targets of the rows of these numbers, on the device."""
        rows = rows.to(self.inputs.device)
        return self.inputs[rows].to(self.device), self.targets[rows].to(self.device)

    @property
    def has_labels(self) -> bool:
        """Whether the targets are whole numbers or truth values."""
        return not self.targets.is_floating_point() and not self.targets.is_complex()


def _tensor(values: Any, what: str) -> Tensor:
    if isinstance(values, Tensor):
        return values.detach()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of arrays that cannot be written to: nobody does
            return torch.as_tensor(np.asarray(values))
    except TypeError as error:  # text and objects
        kind = np.asarray(values).dtype
        raise FitError(f"{what}: expected numbers, got {kind}: encode them as numbers in data()") from error


def check_types(model: nn.Module, rows: Rows) -> None:
    """Refuse float inputs of another type than the model's, of which torch says neither name nor remedy."""
    first = next((p.dtype for p in model.parameters() if p.is_floating_point()), None)
    given = rows.inputs.dtype
    if first is not None and rows.inputs.is_floating_point() and given != first:
        names = [str(kind).removeprefix("torch.") for kind in (first, given)]
        raise FitError(
            f"data(), train: expected inputs of the model's {names[0]}, got {names[1]}:"
            f" have data() return them as {names[0]}"
        )


def n_batches(n: int, batch_size: int) -> int:
    """Return how many steps an epoch of n rows has.

    >>> n_batches(9, 4), n_batches(10, 4)
    (2, 3)
    """
    full, left = divmod(n, batch_size)
    return max(full + (left > 0) - (left == 1 and batch_size > 1), 1)


def batches(order: Tensor, batch_size: int) -> list[Tensor]:
    """Return the rows of each step; a single row that is left over joins the batch before it."""
    batches = list(order.split(batch_size))
    if len(batches) > 1 and len(batches[-1]) == 1 and batch_size > 1:
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches
