"""What every profiler does, whatever runs the model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from profilers._measurement import Measurement
from profilers._protocol import QUICK
from profilers._protocol import Protocol as MeasurementProtocol
from profilers._runtime import Runtime


class Profiler(Protocol):
    """Measures models and runs them; a new way to run models is a new class with these two methods."""

    def measure(
        self,
        model_path: str | Path,
        runtime: Runtime,
        *,
        protocol: MeasurementProtocol = QUICK,
        inputs: Mapping[str, NDArray[Any]] | None = None,
        seed: int = 0,
    ) -> Measurement:
        """The model's cost under `runtime`, by the rules of `protocol`.

        Args:
            model_path: The model's file.
            runtime: How to run it.
            protocol: How long and how often to time it; each launch is a process of its own.
            inputs: Arrays by input name with at least `runtime.batch` rows, used in slices of that many rows
                in turn; None to have them made from the model's signature.
            seed: Seed of the inputs that are made.

        Raises:
            ValueError: If the provider is not there.
            ModelError: If the model or the inputs cannot be used.
            LaunchError: If the process that runs the model died.
            TimeLimitError: If a launch took longer than the profiler's limit.
        """
        ...

    def run(
        self, model_path: str | Path, runtime: Runtime, inputs: Mapping[str, NDArray[Any]]
    ) -> dict[str, NDArray[Any]]:
        """The model's outputs by name for all rows of `inputs`, run in batches of `runtime.batch`.

        The last batch is smaller where the rows do not divide evenly. Raises the same errors as `measure`.
        """
        ...
