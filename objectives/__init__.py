"""From a trial to metric values: the tasks a person writes, and the pipeline behind them.

| step of the flow | where |
|---|---|
| what a person subclasses | `_task.py`; `_torch.py`, `_sklearn/`, `_onnx/` |
| data, split once | `_data.py` |
| training, what it reports | `_training/`, `_report.py` |
| to ONNX, and the check against the framework | `_export.py`, `_sklearn/_export.py` |
| deployment choices, compression | `_choices.py`, `_compression/` |
| run, measured, scored | `_pipeline.py`, `_scoring/` |
| the second look | `_confirm.py` |
| counts | `_size.py` |
| what must not change within a study | `_identity.py` |
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from objectives._choices import Choices
from objectives._data import Split, Splits
from objectives._report import Report
from objectives._task import FunctionTask, Task

if TYPE_CHECKING:
    from objectives._onnx._inputs import NamedInputs
    from objectives._onnx._task import OnnxTask
    from objectives._scoring._scores import Scorer
    from objectives._sklearn._task import SklearnTask
    from objectives._torch import TorchTask
    from objectives._training._train import MEAN_SQUARED_ERROR, suggest_training, train

__all__ = [
    "MEAN_SQUARED_ERROR",
    "Choices",
    "FunctionTask",
    "NamedInputs",
    "OnnxTask",
    "Report",
    "Scorer",
    "SklearnTask",
    "Split",
    "Splits",
    "Task",
    "TorchTask",
    "suggest_training",
    "train",
]

_LAZY = {  # what needs an extra is loaded by whoever asks for it: its module, and the extra
    "MEAN_SQUARED_ERROR": ("objectives._training._train", "torch"),
    "NamedInputs": ("objectives._onnx._inputs", "torch"),
    "OnnxTask": ("objectives._onnx._task", "sklearn"),
    "Scorer": ("objectives._scoring._scores", "sklearn"),
    "SklearnTask": ("objectives._sklearn._task", "sklearn"),
    "suggest_training": ("objectives._training._train", "torch"),
    "TorchTask": ("objectives._torch", "torch"),
    "train": ("objectives._training._train", "torch"),
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'objectives' has no attribute {name!r}")
    module, extra = _LAZY[name]
    try:
        return getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        from moo.errors import TaskLoadError

        raise TaskLoadError(
            f"{name} needs {error.name}, which is not installed: pip install 'moo-deploy[{extra}]'"
        ) from error
