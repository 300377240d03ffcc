"""Runs a PyTorch model, as it is, compiled or as a CUDA graph, on the processor or on a GPU."""

import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from profilers._child._device import CudaDevice, Device, ScriptedDevice
from profilers._child._runner import InputSpec
from profilers._child._torch_models import (
    BIT_TYPES,
    FAULTS,
    Arguments,
    LoadedModel,
    described,
    load_model,
    named_leaves,
)

EAGER, COMPILED, CUDA, SCRIPTED = "torch", "torch-compile", "torch-cuda", "torch-scripted"
PROVIDERS = (EAGER, COMPILED, CUDA, SCRIPTED)
OPTIONS = {  # the first of each is what is meant where nothing is said
    "precision": ("fp32", "tf32", "fp16", "bf16"),
    "layout": ("contiguous", "channels-last"),
    "compile": ("off", "default", "reduce-overhead", "max-autotune"),
    "graph": ("off", "on"),
}
ON_A_GPU = {"precision": ("tf32",), "compile": OPTIONS["compile"][1:], "graph": ("on",)}  # only there
WARM_CALLS = 3  # before a CUDA graph is captured, on a stream of their own


class TorchRunner:
    """See `Runner`; without a device where the model runs on the processor."""

    def __init__(self, model: str, runtime: Mapping[str, Any]) -> None:
        self._path, self._runtime = model, runtime
        chosen = {name: values[0] for name, values in OPTIONS.items()} | runtime["options"]
        self._precision, self._layout = chosen["precision"], chosen["layout"]
        self._compile, self._is_graphed = chosen["compile"], chosen["graph"] == "on"
        self._base = runtime["provider"].partition(":")[0]
        if self._base == COMPILED:
            self._compile = "default"
        self._model: LoadedModel
        self._module: Any = None
        self._mode: Any = None
        self.device: Device | None = None

    def import_runtime(self) -> None:
        """See `Runner`."""
        keep_files_here()
        import torch  # noqa: F401  (timed here)

    def load(self) -> None:
        """See `Runner`; what is to be compiled or captured is so in the first call."""
        import torch

        torch.set_num_threads(self._runtime["intra_op_num_threads"])
        torch.set_num_interop_threads(1)
        self.device = open_device(self._runtime["provider"])
        if self._base == COMPILED:
            check_compiler()
        with out_of_memory_told():
            self._model = load_model(self._path, self.device.torch_name if self.device else "cpu")
        if self._base == CUDA:
            set_tf32(is_on=self._precision == "tf32")  # after the model's file, which may set it too
        module = self._model.module
        if (dtype := dtype_of(self._precision)) is not None:
            module.to(dtype)
        if self._layout == "channels-last":
            module.to(memory_format=torch.channels_last)
        if self._compile != "off":
            module = torch.compile(module, mode=self._compile)
        self._module = Graphed(module) if self._is_graphed and self._base == CUDA else module
        self._mode = torch.inference_mode()
        self._mode.__enter__()  # for good, so that entering is no part of a call

    def inputs(self) -> list[InputSpec]:
        """See `Runner`."""
        return list(self._model.inputs)

    def output_names(self) -> list[str]:
        """See `Runner`."""
        return self._model.output_names(self._placed)

    def prepared(self, feed: Mapping[str, Any]) -> Arguments:
        """See `Runner`."""
        with out_of_memory_told():
            placed = {
                spec.name: self._placed(tensor_of(feed[spec.name], spec.declared))
                for spec in self._model.inputs
            }
        return self._model.arguments(placed)

    def call(self, prepared: Arguments) -> Any:
        """See `Runner`; on a GPU the call ends when it has nothing left to do."""
        called = self.enqueue(prepared)
        if self.device is not None:
            self.device.synchronize()
        return called

    def enqueue(self, prepared: Arguments) -> Any:
        """See `Runner`."""
        try:
            return self._module(*prepared[0], **prepared[1])
        except FAULTS as error:
            raise RuntimeError(described(error)) from error
        except RuntimeError:
            with out_of_memory_told():
                raise

    def outputs(self, called: Any) -> list[Any]:
        """See `Runner`; numbers of a lower precision that was asked for are given as float32."""
        is_lowered = dtype_of(self._precision) is not None
        return [array_of(leaf, is_lowered=is_lowered) for _, leaf in named_leaves(called)]

    def facts(self) -> dict[str, Any]:
        """See `Runner`; `parameters` are counted as in `ModelFile`."""
        return {
            "provider": self._runtime["provider"],
            "available_providers": list(PROVIDERS),
            "parameters": n_parameters(self._model.module),
        }

    def compile_facts(self) -> dict[str, float | None]:
        """See `Runner`."""
        return {} if self._compile == "off" else compile_seconds()

    def _placed(self, tensor: Any) -> Any:
        """The tensor where the model is, of the type and in the layout that it is run in."""
        import torch

        if not isinstance(tensor, torch.Tensor):
            return tensor
        dtype = dtype_of(self._precision) if tensor.is_floating_point() else None
        tensor = tensor.to(self.device.torch_name if self.device else "cpu", dtype or tensor.dtype)
        is_last = self._layout == "channels-last" and tensor.dim() == 4
        return tensor.contiguous(memory_format=torch.channels_last) if is_last else tensor


class Graphed:
    """A module whose work is captured as a CUDA graph in the first call and replayed in all.

    Each call copies its inputs to where the graph reads them, which is a part of it, and gives the graph's
    own outputs, which the next call writes over. The graph has a pool of memory of its own.
    """

    def __init__(self, module: Any) -> None:
        self._module = module
        self._graph: Any = None
        self._given: list[Any] = []
        self._called: Any = None

    def __call__(self, *positional: Any, **named: Any) -> Any:
        """Replay, after capturing if need be."""
        import torch
        from torch.utils import _pytree

        if self._graph is None:
            self._capture(positional, named)
        for kept, leaf in zip(self._given, _pytree.tree_leaves((positional, named)), strict=True):
            if isinstance(kept, torch.Tensor):
                kept.copy_(leaf)
        self._graph.replay()
        return self._called

    def _capture(self, positional: Any, named: Any) -> None:
        """Capture for inputs of these shapes, in this layout."""
        import torch
        from torch.utils import _pytree

        leaves, structure = _pytree.tree_flatten((positional, named))
        self._given = [leaf.clone() if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves]
        positional, named = _pytree.tree_unflatten(self._given, structure)
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_CALLS):
                self._module(*positional, **named)
        torch.cuda.current_stream().wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._called = self._module(*positional, **named)


def open_device(provider: str) -> Device | None:
    """The device of a provider; None where the model runs on the processor.

    Raises:
        ProviderError: If it is not there.
    """
    base, _, index = provider.partition(":")
    if base == CUDA:
        return CudaDevice(int(index or 0))
    return ScriptedDevice() if base == SCRIPTED else None


@contextmanager
def out_of_memory_told() -> Iterator[None]:
    """Turn torch's error for want of a GPU's memory into Python's own, which is no fault of the model.

    Raises:
        MemoryError: In its place.
    """
    import torch

    try:
        yield
    except torch.OutOfMemoryError as error:
        raise MemoryError(str(error)) from error


def set_tf32(*, is_on: bool) -> None:
    """Have products, convolutions and recurrent layers of float32 use TF32, or the whole of float32.

    Both ways of torch are set, the older first: where they differ, reading the older one is an error from 2.9
    on, and inductor reads it.
    """
    import torch

    backends: Any = torch.backends  # which mypy does not know whole
    torch.set_float32_matmul_precision("high" if is_on else "highest")
    backends.cudnn.allow_tf32 = is_on
    with suppress(AttributeError):  # before 2.9
        for part in (backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn):
            part.fp32_precision = "tf32" if is_on else "ieee"


def dtype_of(precision: str) -> Any:
    """Torch's type for a precision that the whole model is turned to; None where it stays as it is."""
    import torch

    return {"fp16": torch.float16, "bf16": torch.bfloat16}.get(precision)


def compile_seconds() -> dict[str, float | None]:
    """What `torch.compile` spent in this process: `compile_s` in all, `autotune_s` of it on trying kernels.

    None where this version of torch does not tell.
    """
    try:
        from torch._dynamo.utils import get_compilation_metrics

        entries = get_compilation_metrics()
    except ImportError:
        return {"compile_s": None, "autotune_s": None}

    def seconds(*names: str) -> float | None:
        values = [getattr(entry, name, None) for entry in entries for name in names]
        known = [value for value in values if value is not None]
        return sum(known) / 1e6 if known else None

    return {
        "compile_s": seconds("duration_us"),
        "autotune_s": seconds("compile_time_autotune_time_us", "runtime_triton_autotune_time_us"),
    }


def keep_files_here() -> None:
    """Have torch, not yet imported, write into the folder of this job alone, and compile in this process.

    The folder is new, so nothing that was compiled before makes a first call look cheap.
    """
    here = Path.cwd()
    os.environ["TMPDIR"] = str(here)
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(here / "inductor")
    os.environ["TRITON_CACHE_DIR"] = str(here / "triton")
    os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"


def check_compiler() -> None:
    """Check that the C++ compiler that inductor calls is there.

    Raises:
        FileNotFoundError: If it is not, which is no fault of the model.
    """
    compiler = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    if shutil.which(compiler) is None:
        raise FileNotFoundError(
            f"provider {COMPILED} needs a C++ compiler and there is no {compiler!r}: install it, or set CXX"
        )


def tensor_of(array: Any, declared: str) -> Any:
    """The array as a tensor of torch's type `declared`, in the same memory."""
    import numpy as np
    import torch

    tensor = torch.from_numpy(np.asarray(array))
    if declared in BIT_TYPES:
        return tensor.view(getattr(torch, declared.removeprefix("torch.")))
    return tensor


def array_of(leaf: Any, *, is_lowered: bool = False) -> Any:
    """A tensor as an array, as bits where numpy does not have its type; anything else as it is.

    Args:
        leaf: What a model gave.
        is_lowered: Whether 16-bit floating-point numbers come from a precision that was asked for, and are
            given as float32.
    """
    import torch

    if not isinstance(leaf, torch.Tensor):
        return leaf
    if is_lowered and leaf.dtype in (torch.float16, torch.bfloat16):
        leaf = leaf.float()
    carrier = BIT_TYPES.get(str(leaf.dtype))
    tensor = leaf.detach().cpu().resolve_conj().resolve_neg()
    return (tensor if carrier is None else tensor.contiguous().view(getattr(torch, carrier))).numpy()


def n_parameters(module: Any) -> int:
    """Numbers in the parameters and buffers: all floats and integers of 8 bits or less."""
    tensors = [*module.parameters(), *module.buffers()]
    return sum(tensor.numel() for tensor in tensors if tensor.is_floating_point() or _is_byte(tensor))


def _is_byte(tensor: Any) -> bool:
    return tensor.element_size() == 1 and "bool" not in str(tensor.dtype)
