"""What runs a model, and what it says of the model's inputs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from profilers._child._device import Device

Feed = dict[str, Any]


@dataclass(frozen=True, slots=True)
class InputSpec:
    """An input, as the model declares it.

    Attributes:
        name: Its name.
        dtype: numpy's name of the type, such as "float32"; "str" for text; None for what is no tensor.
        shape: Each dimension's size, its name or expression where it is symbolic, or None.
        declared: The type in the runtime's own words, for messages.
    """

    name: str
    dtype: str | None
    shape: tuple[int | str | None, ...]
    declared: str


class Runner(Protocol):
    """One model in one runtime.

    Attributes:
        device: Where the work is done, if it has a clock of its own; there from `load` on.
    """

    device: Device | None

    def import_runtime(self) -> None:
        """Import what runs models; timed as a stage of its own."""

    def load(self) -> None:
        """Load and prepare the model; timed as a stage of its own.

        Raises:
            UnusableModelError: If the model cannot be used.
        """

    def inputs(self) -> list[InputSpec]:
        """The inputs, in the model's order."""

    def output_names(self) -> list[str]:
        """The outputs, in the model's order."""

    def prepared(self, feed: Mapping[str, Any]) -> Any:
        """The feed as `call` takes it, so that no conversion is timed."""

    def call(self, prepared: Any) -> Any:
        """Run the model once, to its end: this, and only this, is timed."""

    def enqueue(self, prepared: Any) -> Any:
        """Run the model once without waiting for the device; called only where there is one."""

    def outputs(self, called: Any) -> list[Any]:
        """What `call` gave, as numpy arrays in the order of `output_names`."""

    def facts(self) -> dict[str, Any]:
        """`provider`: short name of what really runs the model; `available_providers`: what could."""

    def compile_facts(self) -> dict[str, float | None]:
        """Seconds that compiling took so far, by name; empty where nothing is compiled."""


def make_runner(request: Mapping[str, Any]) -> Runner:
    """The runner of a request, whose module is imported only here."""
    if request["runner"] == "torch":
        from profilers._child._torch import TorchRunner

        return TorchRunner(request["model"], request["runtime"])
    from profilers._child._onnxruntime import OnnxRuntimeRunner

    return OnnxRuntimeRunner(request["model"], request["runtime"])
