"""Search a model family for the best trade-offs between quality and measured cost.

`optimize` runs or resumes a study of a task; what it returns has the front. The samplers in
`moo.samplers` are Optuna samplers and can be used alone. Importing this package loads neither
torch nor onnxruntime, and Optuna only when a study is touched.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from moo.evaluation import Estimate, Evaluation
    from moo.limits import Limits
    from moo.metrics import Metric
    from moo.problem import Constraint, Objective, Problem
    from moo.results import FinishedTrial, Results
    from moo.study import Study, load_study, optimize

__version__ = "0.1.0"

_HOMES = {
    "Constraint": "moo.problem",
    "Estimate": "moo.evaluation",
    "Evaluation": "moo.evaluation",
    "FinishedTrial": "moo.results",
    "Limits": "moo.limits",
    "Metric": "moo.metrics",
    "Objective": "moo.problem",
    "Problem": "moo.problem",
    "Results": "moo.results",
    "Study": "moo.study",
    "load_study": "moo.study",
    "optimize": "moo.study",
}

_PARTS = ("decision", "engines", "errors", "importances", "pareto", "samplers", "tracking")

__all__ = [
    "Constraint",
    "Estimate",
    "Evaluation",
    "FinishedTrial",
    "Limits",
    "Metric",
    "Objective",
    "Problem",
    "Results",
    "Study",
    "load_study",
    "optimize",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name in _PARTS:
        return import_module(f"moo.{name}")
    raise AttributeError(f"module 'moo' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__", *_PARTS])
