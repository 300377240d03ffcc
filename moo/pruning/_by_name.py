"""From the text a person types, such as `halving:eta=3,max_resource=81`, to a pruner."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import optuna
from optuna.pruners import BasePruner

from moo.errors import InputError, did_you_mean
from moo.problem import Problem
from moo.pruning._halving import SuccessiveHalving
from moo.pruning._interface import NoPruning, Pruner
from moo.pruning._optuna import OptunaPruner

__all__ = ["PRUNER_NAMES", "make_pruner"]


@dataclass(frozen=True)
class _Option:
    """What an option takes.

    Attributes:
        kind: A whole number, any number, or a name that is checked elsewhere.
        low: Smallest value.
        high: Largest value.
        word: A word that may stand in place of the number.
        is_required: It has no default.
    """

    kind: Literal["whole", "number", "name"] = "whole"
    low: float = 0
    high: float = math.inf
    word: str | None = None
    is_required: bool = False

    def parse(self, where: str, text: str) -> Any:
        """Return the value that a person typed.

        Raises:
            InputError: If it is none.
        """
        if self.kind == "name" or text == self.word:
            return text
        try:
            value: float = int(text) if self.kind == "whole" else float(text)
        except ValueError:
            value = math.nan
        if not self.low <= value <= self.high:
            raise InputError(f"{where}: expected {self._expected()}, got {text!r}")
        return value

    def _expected(self) -> str:
        what = "a whole number" if self.kind == "whole" else "a number"
        if math.isfinite(self.high):
            what += f" from {self.low:g} to {self.high:g}"
        elif math.isfinite(self.low):
            what += f" of {self.low:g} or more"
        return what if self.word is None else f"{what}, or {self.word}"


_ANY = _Option("number", low=-math.inf)
_COUNT = _Option(low=0)
_POSITIVE = _Option(low=1)
_WHEN = MappingProxyType({"n_startup_trials": _COUNT, "n_warmup_steps": _COUNT, "interval_steps": _POSITIVE})

# the ranges of our own options are `Schedule`'s
_HALVING = MappingProxyType(
    {
        "eta": _ANY,
        "min_resource": _Option(low=-math.inf),
        "max_resource": _Option(low=-math.inf, word="none"),
        "min_early_stopping_rate": _Option(low=-math.inf),
        "brackets": _Option(low=-math.inf),
    }
)


@dataclass(frozen=True)
class _OptunaPruner:
    """One of Optuna's own: how it is made, and its options by Optuna's names."""

    build: Callable[..., BasePruner]
    options: Mapping[str, _Option]


def _hyperband(**options: Any) -> BasePruner:
    low, high = options.get("min_resource", 1), options.get("max_resource", "auto")
    if high != "auto" and high < low:
        raise ValueError(f"max_resource: expected at least min_resource, which is {low}, got {high}")
    return optuna.pruners.HyperbandPruner(**options)


_OPTUNAS: Mapping[str, _OptunaPruner] = MappingProxyType(
    {
        "hyperband": _OptunaPruner(
            _hyperband,
            {
                "min_resource": _POSITIVE,
                "max_resource": _Option(low=1, word="auto"),
                "reduction_factor": _Option(low=2),
                "bootstrap_count": _COUNT,
            },
        ),
        "median": _OptunaPruner(optuna.pruners.MedianPruner, {**_WHEN, "n_min_trials": _POSITIVE}),
        "patient": _OptunaPruner(
            optuna.pruners.PatientPruner,
            {
                "patience": _Option(low=0, is_required=True),
                "min_delta": _Option("number"),
                "wrapped_pruner": _Option("name"),
            },
        ),
        "percentile": _OptunaPruner(
            optuna.pruners.PercentilePruner,
            {"percentile": _Option("number", high=100, is_required=True), **_WHEN, "n_min_trials": _POSITIVE},
        ),
        "successive-halving": _OptunaPruner(
            optuna.pruners.SuccessiveHalvingPruner,
            {
                "min_resource": _Option(low=1, word="auto"),
                "reduction_factor": _Option(low=2),
                "min_early_stopping_rate": _COUNT,
                "bootstrap_count": _COUNT,
            },
        ),
        "threshold": _OptunaPruner(
            optuna.pruners.ThresholdPruner,
            {"lower": _ANY, "upper": _ANY, "n_warmup_steps": _COUNT, "interval_steps": _POSITIVE},
        ),
        "wilcoxon": _OptunaPruner(
            optuna.pruners.WilcoxonPruner,
            {"p_threshold": _Option("number", high=1), "n_startup_steps": _COUNT},
        ),
    }
)

PRUNER_NAMES = tuple(sorted(("halving", "nop", *_OPTUNAS)))
"""The names that `make_pruner` knows."""


def make_pruner(text: str | Pruner | BasePruner | None, problem: Problem) -> Pruner:
    """Return the pruner that a person typed, or the one given.

    Args:
        text: `name` or `name:key=value,key=value`. `halving` is for any number of objectives and takes `eta`,
            `min_resource`, `max_resource`, `min_early_stopping_rate` and `brackets`; `nop`, or None, never
            stops a trial. The others are Optuna's, for one objective, with Optuna's options. `patient` takes
            a `wrapped_pruner` by name, and further options are that one's. A pruner of Optuna's may be given
            itself.
        problem: Objectives, with their directions.

    Raises:
        InputError: For an unknown name or option, a value out of its range, or a pruner that takes one
            objective where there are several.

    >>> problem = Problem.parse(maximize=["accuracy"], minimize=["parameters"])
    >>> make_pruner("halving:eta=4,max_resource=64", problem)
    SuccessiveHalving(eta=4.0, min_resource=1, max_resource=64, min_early_stopping_rate=0, brackets=1)
    """
    if text is None:
        return NoPruning()
    if isinstance(text, Pruner):
        return text
    if isinstance(text, optuna.pruners.NopPruner):
        return NoPruning()
    if isinstance(text, BasePruner):
        return OptunaPruner(text, problem)
    if not isinstance(text, str):
        raise InputError(
            f"pruner: expected a name, such as 'halving:eta=3', or a pruner, got {type(text).__name__}"
        )
    name, colon, rest = (part.strip() for part in text.partition(":"))
    if name not in PRUNER_NAMES:
        raise InputError(f"pruner: unknown name {name!r}; {did_you_mean(name, PRUNER_NAMES)}")
    if name in _OPTUNAS and len(problem.objectives) > 1:
        raise InputError(
            f"pruner: {name} takes one objective, and the problem has {len(problem.objectives)}: use halving"
        )
    typed = _typed_options(name, rest) if colon else {}
    if name == "nop":
        _parsed(name, typed, {})
        return NoPruning()
    if name == "halving":
        return _halving(typed, problem)
    return OptunaPruner(_optunas(name, typed), problem)


def _typed_options(name: str, text: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for entry in text.split(","):
        key, equals, value = (part.strip() for part in entry.partition("="))
        if not (key and equals and value):
            raise InputError(f"pruner {name}: expected options as key=value,key=value, got {entry.strip()!r}")
        if key in options:
            raise InputError(f"pruner {name}: {key} is given twice: expected each option once")
        options[key] = value
    return options


def _parsed(name: str, typed: Mapping[str, str], known: Mapping[str, _Option]) -> dict[str, Any]:
    for key in typed:
        if key not in known:
            hint = did_you_mean(key, known) if known else "it takes none"
            raise InputError(f"pruner {name}: unknown option {key!r}; {hint}")
    missing = next((key for key, option in known.items() if option.is_required and key not in typed), None)
    if missing is not None:
        raise InputError(f"pruner {name}: {missing} is missing: give it, such as '{name}:{missing}=10'")
    return {key: known[key].parse(f"pruner {name}: {key}", value) for key, value in typed.items()}


def _halving(typed: Mapping[str, str], problem: Problem) -> Pruner:
    options = _parsed("halving", typed, _HALVING)
    if options.get("max_resource") == "none":
        options["max_resource"] = None
    try:
        return SuccessiveHalving(problem, **options)
    except InputError as error:
        raise InputError(f"pruner halving: {error}") from None


def _optunas(name: str, typed: Mapping[str, str]) -> BasePruner:
    entry = _OPTUNAS[name]
    wrapped = typed.get("wrapped_pruner")
    own = {key: value for key, value in typed.items() if wrapped is None or key in entry.options}
    options = _parsed(name, own, entry.options)
    if name == "patient":
        others = {key: value for key, value in typed.items() if key not in own}
        options["wrapped_pruner"] = None if wrapped is None else _wrapped(wrapped, others)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return entry.build(**options)
    except (TypeError, ValueError) as error:
        reason = str(error).rstrip(".")
        raise InputError(f"pruner {name}: {reason[:1].lower()}{reason[1:]}") from error


def _wrapped(name: str, typed: Mapping[str, str]) -> BasePruner:
    names = sorted(set(_OPTUNAS) - {"patient"})
    if name not in names:
        raise InputError(
            f"pruner patient: wrapped_pruner: unknown name {name!r}; {did_you_mean(name, names)}"
        )
    return _optunas(name, typed)
