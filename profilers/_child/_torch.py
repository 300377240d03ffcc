"""Runs a PyTorch model on the CPU, as it is or compiled."""

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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

EAGER, COMPILED = "torch", "torch-compile"
PROVIDERS = (EAGER, COMPILED)


class TorchRunner:
    """See `Runner`."""

    def __init__(self, model: str, runtime: Mapping[str, Any]) -> None:
        self._path, self._runtime = model, runtime
        self._model: LoadedModel
        self._module: Any = None
        self._mode: Any = None

    def import_runtime(self) -> None:
        """See `Runner`."""
        keep_files_here()
        import torch  # noqa: F401  (timed here)

    def load(self) -> None:
        """See `Runner`; what is to be compiled is compiled in the first call."""
        import torch

        torch.set_num_threads(self._runtime["intra_op_num_threads"])
        torch.set_num_interop_threads(1)
        if self._runtime["provider"] == COMPILED:
            check_compiler()
        self._model = load_model(self._path)
        module = self._model.module
        self._module = torch.compile(module) if self._runtime["provider"] == COMPILED else module
        self._mode = torch.inference_mode()
        self._mode.__enter__()  # for good, so that entering is no part of a call

    def inputs(self) -> list[InputSpec]:
        """See `Runner`."""
        return list(self._model.inputs)

    def output_names(self) -> list[str]:
        """See `Runner`."""
        return self._model.output_names()

    def prepared(self, feed: Mapping[str, Any]) -> Arguments:
        """See `Runner`."""
        return self._model.arguments(
            {spec.name: tensor_of(feed[spec.name], spec.declared) for spec in self._model.inputs}
        )

    def call(self, prepared: Arguments) -> Any:
        """See `Runner`."""
        try:
            return self._module(*prepared[0], **prepared[1])
        except FAULTS as error:
            raise RuntimeError(described(error)) from error

    def outputs(self, called: Any) -> list[Any]:
        """See `Runner`."""
        return [array_of(leaf) for _, leaf in named_leaves(called)]

    def facts(self) -> dict[str, Any]:
        """See `Runner`; `parameters` are counted as in `ModelFile`."""
        return {
            "provider": self._runtime["provider"],
            "available_providers": list(PROVIDERS),
            "parameters": n_parameters(self._model.module),
        }


def keep_files_here() -> None:
    """Have torch, not yet imported, write into the folder of this job alone, and compile in this process.

    The folder is new, so nothing that was compiled before makes a first call look cheap.
    """
    here = Path.cwd()
    os.environ["TMPDIR"] = str(here)
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(here / "inductor")
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


def array_of(leaf: Any) -> Any:
    """A tensor as an array, as bits where numpy does not have its type; anything else as it is."""
    import torch

    if not isinstance(leaf, torch.Tensor):
        return leaf
    carrier = BIT_TYPES.get(str(leaf.dtype))
    tensor = leaf.detach().cpu().resolve_conj().resolve_neg()
    return (tensor if carrier is None else tensor.contiguous().view(getattr(torch, carrier))).numpy()


def n_parameters(module: Any) -> int:
    """Numbers in the parameters and buffers: all floats and integers of 8 bits or less."""
    tensors = [*module.parameters(), *module.buffers()]
    return sum(tensor.numel() for tensor in tensors if tensor.is_floating_point() or _is_byte(tensor))


def _is_byte(tensor: Any) -> bool:
    return tensor.element_size() == 1 and "bool" not in str(tensor.dtype)
