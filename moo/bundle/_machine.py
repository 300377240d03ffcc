"""What a machine must be able to do for a bundle to be verified on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from moo.bundle._arrays import Arrays
from moo.bundle._promises import Found
from moo.bundle._record import Tensor

__all__ = ["Described", "Machine"]


@dataclass(frozen=True, kw_only=True)
class Described:
    """What a model is, by its files.

    Args:
        sha256: Its identity, as `Model.sha256`.
        bytes: Of all its files.
        data: Where its external data are, below its own folder, sorted.
        inputs: What it takes.
        outputs: What it gives.
    """

    sha256: str
    bytes: int
    data: tuple[str, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


class Machine(Protocol):
    """Reads, runs and measures models; `moo verify` wires the profilers to it.

    Each method raises `MeasureError` where the model cannot be read, run or measured.
    """

    def describe(self, path: Path) -> Described:
        """Return what the model is; none of its weights is loaded, and no data outside its folder."""
        ...

    def run(self, path: Path, runtime: Mapping[str, Any], inputs: Arrays) -> Mapping[str, NDArray[Any]]:
        """Return the outputs by name of one call, in a process of its own."""
        ...

    def measure(
        self,
        path: Path,
        runtime: Mapping[str, Any],
        protocol: Mapping[str, Any] | None,
        sample: Arrays,
    ) -> Found:
        """Return what the model costs here.

        Args:
            path: The model.
            runtime: How it is run.
            protocol: How it was timed; None where the bundle does not say.
            sample: Inputs by name, a call each along the first axis.
        """
        ...
