"""Which profiler measures for a provider."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from profilers import Profiler

__all__ = ["profiler_for", "usual_provider"]

_ONNXRUNTIME = ("cpu",)
_TORCH = ("torch", "torch-compile")


def profiler_for(provider: str, time_limit_s: float) -> Profiler:
    """Return the profiler for a provider's name.

    Args:
        provider: Such as "cpu" or "torch".
        time_limit_s: How long one child process may take.

    Raises:
        ValueError: If nobody has such a provider, or the limit is not above 0.
    """
    if provider not in (*_ONNXRUNTIME, *_TORCH):
        known = ", ".join((*_ONNXRUNTIME, *_TORCH))
        raise ValueError(f"--provider: expected one of {known}, got {provider!r}")
    if provider in _TORCH:
        from profilers import TorchProfiler

        return TorchProfiler(time_limit_s=time_limit_s)
    from profilers import OnnxRuntimeProfiler

    return OnnxRuntimeProfiler(time_limit_s=time_limit_s)


def usual_provider(model: str) -> str:
    """Return the provider that a model is run by unless another is named.

    >>> usual_provider("a.onnx"), usual_provider("a.pt2"), usual_provider("a.py:make")
    ('cpu', 'torch', 'torch')
    """
    return "cpu" if model.lower().endswith(".onnx") else "torch"
