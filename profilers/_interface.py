"""What every profiler does, whatever runs the model."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from numpy.typing import NDArray

from profilers._measurement import Measurement
from profilers._measuring import Feeds
from profilers._protocol import QUICK
from profilers._protocol import Protocol as MeasurementProtocol
from profilers._runtime import Runtime


class OpenLaunch(Protocol):
    """A launch that is warm and timed in visits, so that several can take turns on one machine."""

    def visit(self) -> None:
        """Time some calls now; nothing else of this launch runs at any other time."""

    def closed(self) -> tuple[Measurement, tuple[int, ...]]:
        """End the process; returns the measurement, of one launch, and the samples taken in each visit."""

    def __enter__(self) -> Self:
        """Give itself."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the process if it still runs."""


class Profiler(Protocol):
    """Measures models and runs them; a new way to run models is a new class with these three methods."""

    def measure(
        self,
        model_path: str | Path,
        runtime: Runtime,
        *,
        protocol: MeasurementProtocol = QUICK,
        feeds: Feeds | None = None,
        until: Callable[[Measurement], bool] | None = None,
    ) -> Measurement:
        """The model's cost under `runtime`, by the rules of `protocol`.

        Args:
            model_path: The model's file.
            runtime: How to run it.
            protocol: How long and how often to time it; each launch is a process of its own.
            feeds: What to feed it; None to have all made from the model's signature.
            until: Asked after each launch whether what is there is enough, in place of the precision that
                the protocol seeks; the protocol's most launches and budget hold all the same.

        Raises:
            ValueError: If the provider is not there.
            ModelError: If the model or the inputs cannot be used.
            LaunchError: If the process that runs the model died.
            TimeLimitError: If a launch took longer than the profiler's limit.
        """
        ...

    def open(
        self,
        model_path: str | Path,
        runtime: Runtime,
        *,
        protocol: MeasurementProtocol = QUICK,
        feeds: Feeds | None = None,
    ) -> OpenLaunch:
        """One launch, warm, to be timed in visits. Raises the same errors as `measure`.

        The protocol says how it is warmed up, how many calls are timed at most, and how long a visit takes
        (`min_time_s`).
        """
        ...

    def run(
        self, model_path: str | Path, runtime: Runtime, inputs: Mapping[str, NDArray[Any]]
    ) -> dict[str, NDArray[Any]]:
        """The model's outputs by name for all rows of `inputs`, run in batches of `runtime.batch`.

        The last batch is smaller where the rows do not divide evenly. Raises the same errors as `measure`.
        """
        ...
