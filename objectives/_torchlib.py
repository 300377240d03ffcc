"""One table of operators for all exports of a process."""

from __future__ import annotations

import contextlib
import functools
import importlib
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["operators_kept"]


@contextlib.contextmanager
def operators_kept() -> Iterator[None]:
    """Let torch's exporter use the operators of onnxscript that it parsed in the first export.

    torch 2.13 asks onnxscript for them in each export, and onnxscript parses the source of some 500
    functions each time: about half of a small model's export, twice in each trial. They do not change
    within a process. Where these private parts of torch are not as known, the exporter is left as it is.
    """
    try:
        from torch.onnx._internal._lazy_import import onnxscript_apis  # type: ignore[attr-defined]

        module: Any = importlib.import_module(onnxscript_apis._name)  # type: ignore[attr-defined]
        original = module.get_torchlib_ops
    except (ImportError, AttributeError):
        yield
        return
    module.get_torchlib_ops = functools.partial(_parsed, original)
    try:
        yield
    finally:
        module.get_torchlib_ops = original


@functools.cache
def _parsed(original: Callable[[], list[Any]]) -> tuple[Any, ...]:
    return tuple(original())
