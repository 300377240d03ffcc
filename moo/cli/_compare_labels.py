"""Names for what is measured or compared, each different."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from profilers import Runtime

__all__ = ["SETTINGS", "differing", "labels", "model_names", "numbers", "setting", "told_apart"]

SETTINGS = {
    "provider": "provider",
    "intra_op_num_threads": "threads",
    "batch": "batch",
    "graph_optimization_level": "optimization",
    "allow_spinning": "spinning",
    "enable_arena": "arena",
    "options": "options",
}
"""What a person reads, by the field of a runtime."""


def labels(models: Sequence[str], runtimes: Sequence[Runtime]) -> list[str]:
    """Return a label for each: the model, the settings that are not the same for all, a number if need be.

    >>> from profilers import Runtime
    >>> labels(["x/a.onnx", "x/a.onnx"], [Runtime(), Runtime(allow_spinning=True)])
    ['a.onnx, spinning off', 'a.onnx, spinning on']
    """
    fields = differing(runtimes)
    return told_apart(
        [
            ", ".join(
                [model, *(f"{SETTINGS[field]} {_text(runtime, field)}" for field in _of(runtime, fields))]
            )
            for model, runtime in zip(model_names(models), runtimes, strict=True)
        ]
    )


def model_names(models: Sequence[str]) -> list[str]:
    """Return for each path the shortest end of it that no other path ends with, or all of it.

    >>> model_names(["x/a/model.onnx", "x/b/model.onnx", "x/c.onnx", "x/c.onnx"])
    ['a/model.onnx', 'b/model.onnx', 'c.onnx', 'c.onnx']
    """
    paths = [PurePath(model).parts for model in models]
    n_ends = Counter(path[-n:] for path in set(paths) for n in range(1, len(path) + 1))
    return [
        str(PurePath(*next((path[-n:] for n in range(1, len(path)) if n_ends[path[-n:]] == 1), path)))
        for path in paths
    ]


def differing(runtimes: Sequence[Runtime]) -> list[str]:
    """Return the fields that are not the same for all runtimes that have them."""
    return [
        field
        for field in SETTINGS
        if len({_text(runtime, field) for runtime in runtimes if _of(runtime, [field])}) > 1
    ]


def setting(runtime: Runtime, field: str) -> str:
    """Return a field as a person reads it; `-` where the runtime has no such setting.

    >>> from profilers import Runtime
    >>> setting(Runtime(), "enable_arena"), setting(Runtime(provider="torch"), "enable_arena")
    ('on', '-')
    """
    return _text(runtime, field) if _of(runtime, [field]) else "-"


def _of(runtime: Runtime, fields: Sequence[str]) -> list[str]:
    """Return those of the fields that the runtime has."""
    return [field for field in fields if runtime.has(field)]


def _text(runtime: Runtime, field: str) -> str:
    value = getattr(runtime, field)
    if isinstance(value, tuple):
        return " ".join(f"{name}={text}" for name, text in value) or "none"
    return ("on" if value else "off") if isinstance(value, bool) else str(value)


def told_apart(names: Sequence[str]) -> list[str]:
    """Return the names, numbered where they come more than once.

    >>> told_apart(["a", "b", "a"])
    ['a #1', 'b', 'a #2']
    """
    return [name + number for name, number in zip(names, numbers(names), strict=True)]


def numbers(names: Sequence[str]) -> list[str]:
    """Return what to add to each name to tell it from the others: nothing where it comes once.

    >>> numbers(["a", "b", "a"])
    [' #1', '', ' #2']
    """
    counts = Counter(names)
    seen: Counter[str] = Counter()
    found = []
    for name in names:
        seen[name] += 1
        found.append("" if counts[name] == 1 else f" #{seen[name]}")
    return found
