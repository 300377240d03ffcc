"""Deployment choices: which precisions and runtimes a trained model is tried in."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from moo.errors import InputError
from objectives._compression._compress import Compression
from profilers import OPTIMIZATION_LEVELS, Runtime

if TYPE_CHECKING:
    import optuna

__all__ = ["Choices", "Chosen"]

_PREFIX = "deploy_"
_FIELDS = {  # of a runtime, by the name of the choice
    "threads": "intra_op_num_threads",
    "optimization": "graph_optimization_level",
    "batch": "batch",
    "provider": "provider",
}


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """How one candidate is deployed.

    Attributes:
        params: The choices by parameter name, as Optuna stores them; only those with an alternative.
        compression: What is done to the artefact.
        runtime: How it is run.
    """

    params: Mapping[str, Any]
    compression: Compression
    runtime: Runtime


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What may be chosen when a trained model is deployed; one value, or none, is fixed.

    Each choice with several values is a categorical parameter of the search, `deploy_precision` and so on.
    With `fan_out`, every trained model is also measured and scored in all other combinations, each recorded
    as a trial of its own: one training serves them all.

    Args:
        precision: Texts that `Compression.parse` reads: fp32, fp16, int8-dynamic, int8-static:per-channel, ..
        threads: Threads inside one operator; none for the task's own runtime, as the next three.
        optimization: Levels of graph optimisation.
        batch: Rows in one call.
        provider: Execution providers.
        fan_out: Whether one training serves all combinations.

    Raises:
        InputError: For a value that cannot be, one given twice, or a precision that nothing here can serve.

    >>> Choices(precision=("fp32", "int8-dynamic"), threads=(1, 2)).n_combinations
    4
    """

    precision: tuple[str, ...] = ("fp32",)
    threads: tuple[int, ...] = ()
    optimization: tuple[str, ...] = ()
    batch: tuple[int, ...] = ()
    provider: tuple[str, ...] = ()
    fan_out: bool = False

    def __post_init__(self) -> None:
        for name in ("precision", *_FIELDS):
            values = getattr(self, name)
            if not isinstance(values, tuple | list) or any(isinstance(v, list | dict | set) for v in values):
                raise InputError(f"choices, {name}: expected a tuple of values, got {values!r}")
            if len(set(values)) < len(values):
                raise InputError(f"choices, {name}: expected each value once, got {values!r}")
            object.__setattr__(self, name, tuple(values))
        if not self.precision:
            raise InputError("choices, precision: expected one at least, such as fp32, got none")
        odd = next((text for text in self.precision if not isinstance(text, str)), None)
        if odd is not None:
            raise InputError(f"choices, precision: expected texts such as fp32, got {odd!r}")
        if not isinstance(self.fan_out, bool):
            raise InputError(f"choices, fan_out: expected True or False, got {self.fan_out!r}")
        texts = tuple(str(Compression.parse(text)) for text in self.precision)
        if len(set(texts)) < len(texts):
            raise InputError(f"choices, precision: expected each meaning once, got {self.precision!r}")
        object.__setattr__(self, "precision", texts)
        self._check_possible()
        wrong = next((level for level in self.optimization if level not in OPTIMIZATION_LEVELS), None)
        if wrong is not None:
            known = ", ".join(OPTIMIZATION_LEVELS)
            raise InputError(f"choices, optimization: expected some of {known}, got {wrong!r}")
        try:
            list(self._all(Runtime()))
        except ValueError as error:
            raise InputError(f"choices: {error}") from error

    def _check_possible(self) -> None:
        """Refuse here what would otherwise end a sweep at the first trial that chooses it."""
        others = [text for text in self.precision if text != "fp32"]
        if others:
            from objectives._compression._conversion import check_possible  # loads onnxruntime

            for text in others:
                check_possible(Compression.parse(text))

    @property
    def n_combinations(self) -> int:
        """How many ways to deploy one model there are."""
        return math.prod(len(options) for options in self._values().values())

    def suggested(self, trial: optuna.Trial, runtime: Runtime) -> Chosen:
        """Return what a trial chooses, by a suggestion for each choice that has several values."""
        values = self._values()
        picked = {
            name: trial.suggest_categorical(_PREFIX + name, list(options)) if len(options) > 1 else options[0]
            for name, options in values.items()
        }
        return self._chosen(picked, runtime)

    def unchanged(self, runtime: Runtime) -> Mapping[str, Any] | None:
        """Return the parameters of the model as it is, fp32 in this runtime; None where that is no choice.

        >>> Choices(precision=("fp32", "fp16"), threads=(1, 2)).unchanged(Runtime())
        {'deploy_precision': 'fp32', 'deploy_threads': 1}
        """
        plain = Compression()
        same = (c for c in self._all(runtime) if c.runtime == runtime and c.compression == plain)
        return next((chosen.params for chosen in same), None)

    def others(self, chosen: Chosen, runtime: Runtime) -> list[Chosen]:
        """Return all other combinations; none without `fan_out`."""
        if not self.fan_out:
            return []
        return [other for other in self._all(runtime) if other.params != chosen.params]

    def _values(self) -> dict[str, tuple[Any, ...]]:
        return {name: getattr(self, name) for name in ("precision", *_FIELDS) if getattr(self, name)}

    def _all(self, runtime: Runtime) -> Iterator[Chosen]:
        values = self._values()
        for picked in itertools.product(*values.values()):
            yield self._chosen(dict(zip(values, picked, strict=True)), runtime)

    def _chosen(self, picked: Mapping[str, Any], runtime: Runtime) -> Chosen:
        fields = {field: picked[name] for name, field in _FIELDS.items() if name in picked}
        several = {name for name, options in self._values().items() if len(options) > 1}
        return Chosen(
            params={_PREFIX + name: value for name, value in picked.items() if name in several},
            compression=Compression.parse(picked["precision"]),
            runtime=replace(runtime, **fields),
        )
