"""From finished trials to files that a person decides from: HTML page, PNG figure, CSV and JSON.

Reads `moo.Results` only; torch, onnxruntime and Optuna are never imported. The drawing libraries
are imported when something is drawn.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reports._write import write

__all__ = ["write"]


def __getattr__(name: str) -> Any:
    if name == "write":
        return import_module("reports._write").write
    raise AttributeError(f"module 'reports' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
