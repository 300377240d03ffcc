"""Runs an ONNX model with ONNX Runtime."""

from collections.abc import Mapping
from typing import Any

from profilers._child._errors import UnusableModelError
from profilers._child._runner import Feed, InputSpec

LEVELS = {
    "disable": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "all": "ORT_ENABLE_ALL",
}
CUSTOM_OPERATORS = "custom_ops_library"  # the one option that is no entry of the session's configuration
PROVIDERS = {"cpu": "CPUExecutionProvider"}  # our short name: ONNX Runtime's
DTYPES = {  # ONNX Runtime's name of the type: numpy's
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(bool)": "bool",
    "tensor(string)": "str",
    **{f"tensor({sign}int{bits})": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}
# types numpy does not have are handed over as their bits: ONNX's number of the type, and what carries it
BIT_TYPES = {
    "tensor(bfloat16)": (16, "uint16"),
    "tensor(float8e4m3fn)": (17, "uint8"),
    "tensor(float8e4m3fnuz)": (18, "uint8"),
    "tensor(float8e5m2)": (19, "uint8"),
    "tensor(float8e5m2fnuz)": (20, "uint8"),
}


class OnnxRuntimeRunner:
    """See `Runner`."""

    def __init__(self, model: str, runtime: Mapping[str, Any]) -> None:
        self._model, self._runtime = model, runtime
        self._session: Any = None
        self._output_names: list[str] = []
        self._by_value = False

    def import_runtime(self) -> None:
        """See `Runner`."""
        import numpy as np  # noqa: F401  (timed here)
        import onnxruntime  # type: ignore[import-untyped, unused-ignore]  # noqa: F401

    def load(self) -> None:
        """See `Runner`."""
        import onnxruntime

        try:
            self._session = open_session(self._model, self._runtime)
        except Exception as error:
            if not type(error).__module__.startswith("onnxruntime"):  # its errors have no base of their own
                raise
            raise UnusableModelError(
                f"{error}: onnxruntime {onnxruntime.__version__} cannot load it, "
                "export it again with an opset and operators that it has"
            ) from error
        self._output_names = [item.name for item in self._session.get_outputs()]
        types = [item.type for item in [*self._session.get_inputs(), *self._session.get_outputs()]]
        self._by_value = any(name in BIT_TYPES for name in types)

    def inputs(self) -> list[InputSpec]:
        """See `Runner`."""
        return [
            InputSpec(item.name, _dtype(item.type), tuple(item.shape or ()), item.type)
            for item in self._session.get_inputs()
        ]

    def output_names(self) -> list[str]:
        """See `Runner`."""
        return self._output_names

    def output_shapes(self) -> list[tuple[int | str | None, ...]]:
        """The outputs' shapes as the model declares them, which need not be true, in its order."""
        return [tuple(item.shape or ()) for item in self._session.get_outputs()]

    def prepared(self, feed: Mapping[str, Any]) -> Feed:
        """See `Runner`."""
        if not self._by_value:
            return dict(feed)
        from onnxruntime import OrtValue

        codes = {
            item.name: BIT_TYPES[item.type][0]
            for item in self._session.get_inputs()
            if item.type in BIT_TYPES
        }
        text = [name for name, array in feed.items() if array.dtype == object]
        if text:
            raise UnusableModelError(
                f"input {text[0]!r} must be no text where another input or output is "
                f"{' or '.join(BIT_TYPES)}, got text: onnxruntime takes no such mixture"
            )
        return {
            name: OrtValue.ortvalue_from_numpy_with_onnx_type(array, codes[name])
            if name in codes
            else OrtValue.ortvalue_from_numpy(array)
            for name, array in feed.items()
        }

    def call(self, prepared: Feed) -> Any:
        """See `Runner`."""
        if self._by_value:
            return self._session.run_with_ort_values(self._output_names, prepared)
        return self._session.run(self._output_names, prepared)

    def outputs(self, called: Any) -> list[Any]:
        """See `Runner`."""
        if not self._by_value:
            return list(called)
        for item in self._session.get_outputs():
            if item.type in BIT_TYPES:
                raise UnusableModelError(
                    f"output {item.name!r} must be of a type that numpy has, got {item.type}: "
                    "end the model with a Cast to float"
                )
        return [value.numpy() for value in called]

    def reopened(self, attributes: Mapping[str, Any], entries: Mapping[str, str]) -> Any:
        """A session for the same model and runtime with more options, for ONNX Runtime's own profile."""
        return open_session(self._model, self._runtime, attributes, entries)

    def facts(self) -> dict[str, Any]:
        """See `Runner`."""
        import onnxruntime

        short_names = {long: short for short, long in PROVIDERS.items()}
        provider = self._session.get_providers()[0]
        return {
            "provider": short_names.get(provider, provider),
            "available_providers": onnxruntime.get_available_providers(),
        }


def open_session(
    model: str,
    runtime: Mapping[str, Any],
    attributes: Mapping[str, Any] | None = None,
    entries: Mapping[str, str] | None = None,
) -> Any:
    """An ONNX Runtime session with every knob set explicitly.

    Args:
        model: Path of the model.
        runtime: The fields of a `Runtime`.
        attributes: Further attributes of the session's options.
        entries: Further entries of the session's configuration.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = runtime["intra_op_num_threads"]
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    level = LEVELS[runtime["graph_optimization_level"]]
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    options.enable_cpu_mem_arena = runtime["enable_arena"]
    options.log_severity_level = 3
    for name, value in (attributes or {}).items():
        setattr(options, name, value)
    spinning = "1" if runtime["allow_spinning"] else "0"
    chosen = {name: value for name, value in runtime["options"].items() if name != CUSTOM_OPERATORS}
    if CUSTOM_OPERATORS in runtime["options"]:
        options.register_custom_ops_library(runtime["options"][CUSTOM_OPERATORS])
    for key, entry in {"session.intra_op.allow_spinning": spinning, **chosen, **(entries or {})}.items():
        options.add_session_config_entry(key, entry)
    return onnxruntime.InferenceSession(model, options, providers=[PROVIDERS[runtime["provider"]]])


def _dtype(declared: str) -> str | None:
    return BIT_TYPES[declared][1] if declared in BIT_TYPES else DTYPES.get(declared)
