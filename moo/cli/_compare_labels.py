"""Names for what is compared, each different."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from profilers import Runtime

__all__ = ["labels", "told_apart"]

_KNOBS = {
    "provider": "provider",
    "intra_op_num_threads": "threads",
    "batch": "batch",
    "graph_optimization_level": "optimization",
    "allow_spinning": "spinning",
    "enable_arena": "arena",
}


def labels(models: Sequence[str], runtimes: Sequence[Runtime]) -> list[str]:
    """Return a label for each: the model, the settings that are not the same for all, a number if need be.

    >>> from profilers import Runtime
    >>> labels(["a.onnx", "a.onnx"], [Runtime(), Runtime(batch=2)])
    ['a.onnx, batch 1', 'a.onnx, batch 2']
    """
    differing = [field for field in _KNOBS if len({getattr(runtime, field) for runtime in runtimes}) > 1]
    return told_apart(
        [
            ", ".join([model, *(f"{_KNOBS[field]} {getattr(runtime, field)}" for field in differing)])
            for model, runtime in zip(models, runtimes, strict=True)
        ]
    )


def told_apart(names: Sequence[str]) -> list[str]:
    """Return the names, numbered where they come more than once.

    >>> told_apart(["a", "b", "a"])
    ['a #1', 'b', 'a #2']
    """
    counts = Counter(names)
    seen: Counter[str] = Counter()
    told = []
    for name in names:
        seen[name] += 1
        told.append(name if counts[name] == 1 else f"{name} #{seen[name]}")
    return told
