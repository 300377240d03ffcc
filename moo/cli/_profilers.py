"""Which profiler measures for a provider."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from profilers import Profiler

__all__ = ["profiler_for", "provider_for"]

_ONNXRUNTIME = ("cpu", "cuda", "tensorrt")
_TORCH = ("torch", "torch-compile", "torch-cuda")


def profiler_for(provider: str, time_limit_s: float) -> Profiler:
    """Return the profiler for a provider's name.

    Args:
        provider: Such as "cpu", "torch" or "cuda:1".
        time_limit_s: How long one child process may take.

    Raises:
        ValueError: If nobody has such a provider, or the limit is not above 0.
    """
    name = provider.partition(":")[0]
    if name not in (*_ONNXRUNTIME, *_TORCH):
        known = ", ".join((*_ONNXRUNTIME, *_TORCH))
        raise ValueError(f"--provider: expected one of {known}, got {provider!r}")
    if name in _TORCH:
        from profilers import TorchProfiler

        return TorchProfiler(time_limit_s=time_limit_s)
    from profilers import OnnxRuntimeProfiler

    return OnnxRuntimeProfiler(time_limit_s=time_limit_s)


def provider_for(model: str, named: str | None) -> str:
    """Return the provider that a model is run by: the one named, or else its usual one.

    `cuda` stands for torch on a GPU where the model is torch's.

    >>> [provider_for(model, None) for model in ("a.onnx", "a.pt2", "a.py:make")]
    ['cpu', 'torch', 'torch']
    >>> provider_for("a.onnx", "cuda:1"), provider_for("a.pt2", "cuda:1")
    ('cuda:1', 'torch-cuda:1')
    """
    is_onnx = model.lower().endswith(".onnx")
    if named is None:
        return "cpu" if is_onnx else "torch"
    return f"torch-{named}" if named.partition(":")[0] == "cuda" and not is_onnx else named
