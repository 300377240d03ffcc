"""Calls of an ONNX Runtime session whose inputs and outputs lie where the model runs."""

from collections.abc import Mapping
from typing import Any


class Bound:
    """A call with everything in the device's memory beforehand: no copy from or to the host is in it.

    Args:
        session: The session.
        feed: Arrays by input name, shape and type as the model asks for.
        device: ONNX Runtime's name of the device, "cpu" or "cuda".
        index: Among the devices of that name.
    """

    def __init__(self, session: Any, feed: Mapping[str, Any], device: str, index: int) -> None:
        from onnxruntime import OrtValue

        self._session = session
        self._binding = session.io_binding()
        self._given = {
            name: OrtValue.ortvalue_from_numpy(array, device, index) for name, array in feed.items()
        }
        for name, value in self._given.items():
            self._binding.bind_ortvalue_input(name, value)
        for output in session.get_outputs():
            self._binding.bind_output(output.name, device, index)

    def call(self) -> "Bound":
        """Run the model once, to its end."""
        self._session.run_with_iobinding(self._binding)
        return self

    def outputs(self) -> list[Any]:
        """What the last call gave, as arrays."""
        return list(self._binding.copy_outputs_to_cpu())


class Graphed:
    """Calls of a session that captures a CUDA graph: all read and write the same places.

    Each call copies its inputs to where the graph reads them, and its outputs to the host: the whole way of a
    request, as in `session.run`.

    Args:
        session: The session, opened with the provider's option `enable_cuda_graph`.
        plain: One of the same model without it, which tells the shapes of the outputs.
        feed: The first inputs, by name.
        index: Of the GPU.
    """

    def __init__(self, session: Any, plain: Any, feed: Mapping[str, Any], index: int) -> None:
        from onnxruntime import OrtValue

        self._session = session
        self._binding = session.io_binding()
        self._given = {
            name: OrtValue.ortvalue_from_numpy(array, "cuda", index) for name, array in feed.items()
        }
        for name, value in self._given.items():
            self._binding.bind_ortvalue_input(name, value)
        names = [output.name for output in session.get_outputs()]
        self._written = []
        for name, array in zip(names, plain.run(names, dict(feed)), strict=True):
            value = OrtValue.ortvalue_from_shape_and_type(list(array.shape), array.dtype, "cuda", index)
            self._binding.bind_ortvalue_output(name, value)
            self._written.append(value)

    def call(self, feed: Mapping[str, Any]) -> list[Any]:
        """Run the model once; what it gave, as arrays."""
        for name, value in self._given.items():
            value.update_inplace(feed[name])
        self._session.run_with_iobinding(self._binding)
        return [value.numpy() for value in self._written]


def assignment(session: Any) -> dict[str, list[str]] | None:
    """The types of the operators that each provider runs, sorted; None where ONNX Runtime does not tell.

    The session must have been opened with the entry `session.record_ep_graph_assignment_info`.
    """
    try:
        parts = session.get_provider_graph_assignment_info()
    except (AttributeError, RuntimeError):  # before 1.24, or a session that was not asked to
        return None
    found: dict[str, set[str]] = {}
    for part in parts:
        found.setdefault(part.ep_name, set()).update(node.op_type for node in part.get_nodes())
    return {name: sorted(operators) for name, operators in sorted(found.items())}
