"""Runs an ONNX model with ONNX Runtime."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from profilers._child._binding import Bound, Graphed, assignment
from profilers._child._device import Device
from profilers._child._errors import ProviderError, UnusableModelError
from profilers._child._runner import InputSpec

LEVELS = {
    "disable": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "all": "ORT_ENABLE_ALL",
}
CUSTOM_OPERATORS = "custom_ops_library"  # the one option that is no entry of the session's configuration
PROVIDERS = {  # our short name: ONNX Runtime's
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
ON_A_GPU = ("cuda", "tensorrt")
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
REASONS = [  # of a provider that does not load, in its log or an error; what tells most first
    re.compile(r"((?:Failed to load (?:shared )?library|LoadLibrary failed|CUDA failure \d).*)"),
    re.compile(r"((?:Unknown|Failed to parse) provider option.*)"),
    re.compile(r"\[E:[^\]]*\](.*)"),
    re.compile(r"^(?:.*?\[W:[^\]]*\])?(.*(?:Failed|[Ee]rror).*)", re.MULTILINE),
    re.compile(r"(.+)"),
]
NEEDED = re.compile(r"Require cuDNN \S+ and CUDA [\d.]+\*?")
OWN_OPTIONS = {  # the first of each is what is meant where nothing is said
    "io": ("host", "device"),
    "graph": ("off", "on"),
}
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
        chosen = {name: values[0] for name, values in OWN_OPTIONS.items()} | runtime["options"]
        self._is_bound, self._is_graphed = chosen["io"] == "device", chosen["graph"] == "on"
        self._provider, _, index = runtime["provider"].partition(":")
        self._index = int(index or 0)
        self._graphed: Graphed | None = None
        self.device: Device | None = None

    def import_runtime(self) -> None:
        """See `Runner`."""
        import numpy as np  # noqa: F401  (timed here)
        import onnxruntime  # type: ignore[import-untyped, unused-ignore]  # noqa: F401

    def load(self) -> None:
        """See `Runner`."""
        import onnxruntime

        check_available(self._provider)
        try:
            self._session = open_session(self._model, self._runtime)
        except Exception as error:
            if isinstance(error, RuntimeError | ValueError) and self._provider in ON_A_GPU:
                reason = telling_line(str(error))
                raise ProviderError(
                    f"provider {self._runtime['provider']} does not load: {reason}"
                ) from error
            if not type(error).__module__.startswith("onnxruntime"):  # its errors have no base of their own
                raise
            is_for_graph = self._is_graphed and "cannot use the" in str(error)
            raise UnusableModelError(
                f"{error}: "
                + (
                    "leave graph=on out"
                    if is_for_graph
                    else f"onnxruntime {onnxruntime.__version__} cannot load it, "
                    "export it again with an opset and operators that it has"
                )
            ) from error
        self._output_names = [item.name for item in self._session.get_outputs()]
        if self._session.get_providers()[0] != PROVIDERS[self._provider]:
            raise ProviderError(f"provider {self._runtime['provider']} does not load: {log_line()}")
        types = [item.type for item in [*self._session.get_inputs(), *self._session.get_outputs()]]
        self._by_value = any(name in BIT_TYPES for name in types)
        unbound = sorted({name for name in types if DTYPES.get(name, "str") == "str"})
        if unbound and (self._is_bound or self._is_graphed):  # some of these end the process
            raise UnusableModelError(
                f"io=device and graph=on cannot hand over {', '.join(unbound)}: leave them out"
            )

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

    def prepared(self, feed: Mapping[str, Any]) -> Any:
        """See `Runner`."""
        import numpy as np

        if self._is_bound or self._is_graphed:
            feed = {name: np.asarray(array) for name, array in feed.items()}  # of a scalar too
        if self._is_bound:
            return Bound(self._session, feed, "cpu" if self._provider == "cpu" else "cuda", self._index)
        if self._is_graphed and self._graphed is None:  # here, so that no call has the other session in it
            options = {k: v for k, v in self._runtime["options"].items() if k != "graph"}
            plain = open_session(self._model, {**self._runtime, "options": options})
            self._graphed = Graphed(self._session, plain, feed, self._index)
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

    def call(self, prepared: Any) -> Any:
        """See `Runner`."""
        if self._is_bound:
            return prepared.call()
        if self._graphed is not None:
            return self._graphed.call(prepared)
        if self._by_value:
            return self._session.run_with_ort_values(self._output_names, prepared)
        return self._session.run(self._output_names, prepared)

    def enqueue(self, prepared: Any) -> Any:
        """See `Runner`; there is no clock of a device to ask."""
        return self.call(prepared)

    def compile_facts(self) -> dict[str, float | None]:
        """See `Runner`."""
        return {}

    def outputs(self, called: Any) -> list[Any]:
        """See `Runner`."""
        if self._is_bound:
            return list(called.outputs())
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

        return {
            "provider": self._runtime["provider"],  # or loading had failed
            "available_providers": onnxruntime.get_available_providers(),
            "assignment": assignment(self._session) if self._provider in ON_A_GPU else None,
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
    chosen = {name: value for name, value in runtime["options"].items() if "." in name}
    if CUSTOM_OPERATORS in runtime["options"]:
        options.register_custom_ops_library(runtime["options"][CUSTOM_OPERATORS])
    for key, entry in {"session.intra_op.allow_spinning": spinning, **chosen, **(entries or {})}.items():
        options.add_session_config_entry(key, entry)
    if runtime["provider"].partition(":")[0] in ON_A_GPU:
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    return onnxruntime.InferenceSession(
        model,
        options,
        providers=[provider_of(runtime), *after_it(runtime["provider"])],
        enable_fallback=0,  # else a provider that fails is replaced, even in the midst of calls
    )


def provider_of(runtime: Mapping[str, Any]) -> str | tuple[str, dict[str, str]]:
    """The provider as a session takes it, with its options.

    >>> provider_of({"provider": "cuda:1", "options": {"graph": "on", "gpu_mem_limit": "1000"}})[1]
    {'device_id': '1', 'enable_cuda_graph': '1', 'gpu_mem_limit': '1000'}
    """
    provider, _, index = runtime["provider"].partition(":")
    if provider not in ON_A_GPU:
        return PROVIDERS[provider]
    own = (*OWN_OPTIONS, CUSTOM_OPERATORS)
    given = {name: value for name, value in runtime["options"].items() if "." not in name and name not in own}
    graph = {"enable_cuda_graph" if provider == "cuda" else "trt_cuda_graph_enable": "1"}
    is_graphed = runtime["options"].get("graph") == "on"
    return PROVIDERS[provider], {"device_id": index or "0"} | (graph if is_graphed else {}) | given


def after_it(provider: str) -> list[tuple[str, dict[str, str]]]:
    """What takes the operators that the provider does not: for TensorRT, CUDA before the CPU."""
    name, _, index = provider.partition(":")
    return [(PROVIDERS["cuda"], {"device_id": index or "0"})] if name == "tensorrt" else []


def check_available(provider: str) -> None:
    """Check that this build of ONNX Runtime has the provider at all.

    Raises:
        ProviderError: If not.
    """
    import onnxruntime

    available = onnxruntime.get_available_providers()
    if PROVIDERS[provider] not in available:
        raise ProviderError(
            f"provider {provider}: the installed onnxruntime {onnxruntime.__version__} has no "
            f"{PROVIDERS[provider]}, only {', '.join(available)}: install onnxruntime-gpu in its place"
        )


def log_line(path: Path = Path("stderr")) -> str:
    """Why a provider does not load, by what ONNX Runtime wrote to this process's log."""
    return telling_line(path.read_text(errors="replace") if path.exists() else "")


def telling_line(text: str) -> str:
    """The part of ONNX Runtime's own words that names what is at fault, and which versions it needs.

    Sources, places in them and the name of the machine are left out.

    >>> telling_line("[E:onnxruntime:Default, a.cc:9 Get] b.cc:1 [ONNXRuntimeError] : 1 : FAIL : Failed "
    ...              "to load library liba.so with error: libb.so: cannot open shared object file")
    'Failed to load library liba.so with error: libb.so: cannot open shared object file'
    """
    text = COLOURS.sub("", text)
    found = next((found for pattern in REASONS if (found := pattern.search(text))), None)
    reason = "its log does not say why" if found is None else " ".join(found[1].split(" ; ")[0].split())
    needed = NEEDED.search(text)
    return reason if needed is None or needed[0] in reason else f"{reason} ({needed[0]})"


def _dtype(declared: str) -> str | None:
    return BIT_TYPES[declared][1] if declared in BIT_TYPES else DTYPES.get(declared)
