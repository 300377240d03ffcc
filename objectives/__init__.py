"""From a trial to metric values: the tasks a person writes, and the pipeline behind them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from objectives._data import Split, Splits
from objectives._report import Report
from objectives._task import FunctionTask, Task

if TYPE_CHECKING:
    from objectives._torch import TorchTask

__all__ = ["FunctionTask", "Report", "Split", "Splits", "Task", "TorchTask"]


def __getattr__(name: str) -> Any:
    if name == "TorchTask":  # torch is an extra: loaded by whoever asks for it
        try:
            from objectives._torch import TorchTask
        except ModuleNotFoundError as error:
            from moo.errors import TaskLoadError

            raise TaskLoadError(
                f"TorchTask needs {error.name}, which is not installed: pip install 'moo-deploy[torch]'"
            ) from error
        return TorchTask
    raise AttributeError(f"module 'objectives' has no attribute {name!r}")
