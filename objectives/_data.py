"""The data of a task, split once and for all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moo.errors import InputError

__all__ = ["Split", "Splits"]


@dataclass(frozen=True)
class Split:
    """Inputs and targets of the same samples, in the same order.

    Args:
        inputs: Array or tensor, shape (n, ...).
        targets: Array or tensor, shape (n, ...).
    """

    inputs: Any
    targets: Any

    def __iter__(self) -> Iterator[Any]:
        """Unpack as `inputs, targets`."""
        return iter((self.inputs, self.targets))

    def __len__(self) -> int:
        return len(self.inputs)

    def numpy(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return inputs and targets as arrays; a tensor on the CPU is not copied."""
        return np.asarray(self.inputs), np.asarray(self.targets)


@dataclass(frozen=True)
class Splits:
    """Train, validation and test data.

    Args:
        train: What models are fitted on.
        validation: What the search scores them on.
        test: What nobody looks at during the search; None where it is kept elsewhere.

    Raises:
        InputError: For an empty split, or inputs and targets of different lengths.
    """

    train: Split
    validation: Split
    test: Split | None = None

    def __post_init__(self) -> None:
        for name in ("train", "validation", "test"):
            given = getattr(self, name)
            if given is not None:
                object.__setattr__(self, name, _checked(name, given))

    def for_search(self) -> Splits:
        """Return the splits without the test data: what training may see."""
        return replace(self, test=None)


def _checked(name: str, given: Split | Sequence[Any]) -> Split:
    if not isinstance(given, Split):
        if not isinstance(given, (tuple, list)) or len(given) != 2:
            raise InputError(f"data(), {name}: expected (inputs, targets), got {type(given).__name__}")
        given = Split(*given)
    sizes = len(given.inputs), len(given.targets)
    if sizes[0] != sizes[1] or sizes[0] == 0:
        raise InputError(
            f"data(), {name}: expected a target for each input and at least one,"
            f" got {sizes[0]} inputs and {sizes[1]} targets"
        )
    return given
