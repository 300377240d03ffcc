"""The table of metrics: name, unit, direction, stage. One row each, and the formatter.

Inside, every value is in SI seconds, joules, bytes, counts, or a fraction (accuracy 0.97, not
97). Units appear only where a person reads or types: `format_value` and `parse_quantity` are
the two doors.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, get_args

from moo.errors import ProblemError, did_you_mean
from moo.evaluation import Estimate
from moo.shapes import checked

__all__ = [
    "BUILT_IN",
    "Dimension",
    "Direction",
    "Metric",
    "Stage",
    "exact_texts",
    "find_metric",
    "format_difference",
    "format_ends",
    "format_estimate",
    "format_probability",
    "format_value",
    "known_metrics",
    "parse_quantity",
    "shown_unit",
    "takes_logarithm",
]

Direction = Literal["maximize", "minimize"]
Stage = Literal["static", "measured", "trained", "held-out"]
Dimension = Literal["time", "bytes", "count", "fraction", "rate", "energy", "number"]

_SHAPE = {
    "name": str,
    "label?": str,
    "dimension?": frozenset(get_args(Dimension)),
    "direction?": (frozenset(get_args(Direction)), None),
    "stage?": frozenset(get_args(Stage)),
    "low?": (float, None),
    "high?": (float, None),
}


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A named quantity that an evaluation can have.

    Args:
        name: What a person types: letters of any script, digits and underscores; lower case by custom. Kept
            in Unicode's form NFC, so that what looks alike is alike.
        label: What a person reads on an axis.
        dimension: Which units it takes; `number` takes none.
        direction: The direction that is better, or None where the user must say.
        stage: When it becomes known: before training (`static`, `measured`) or after.
        low: Smallest value possible, or None.
        high: Largest value possible, or None.
    """

    name: str
    label: str = ""
    dimension: Dimension = "number"
    direction: Direction | None = None
    stage: Stage = "trained"
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", unicodedata.normalize("NFC", self.name))
        if not self.name.isidentifier():
            raise ProblemError(
                f"metric name {self.name!r}: expected letters, digits and underscores, such as 'f1_macro'"
            )

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Metric:
        """Return the metric whose fields were kept as JSON.

        Raises:
            ValueError: For what are none.
            ProblemError: For a name that cannot be.
        """
        fields = {name.removesuffix("?") for name in _SHAPE}
        checked(record, _SHAPE, "metric")
        return cls(**{name: value for name, value in record.items() if name in fields})

    @property
    def title(self) -> str:
        """The label, or the name with spaces where there is no label."""
        return self.label or self.name.replace("_", " ")


def _row(
    name: str, label: str, dimension: Dimension, direction: Direction, stage: Stage, high: float | None = None
) -> Metric:
    return Metric(
        name=name, label=label, dimension=dimension, direction=direction, stage=stage, low=0.0, high=high
    )


BUILT_IN: Mapping[str, Metric] = MappingProxyType(
    {
        metric.name: metric
        for metric in (
            _row("accuracy", "accuracy", "fraction", "maximize", "trained", 1.0),
            _row("latency_p50", "latency p50", "time", "minimize", "measured"),
            _row("latency_p95", "latency p95", "time", "minimize", "measured"),
            _row("latency_p99", "latency p99", "time", "minimize", "measured"),
            _row("throughput", "throughput", "rate", "maximize", "measured"),
            _row("parameters", "parameters", "count", "minimize", "static"),
            _row("macs", "multiply-accumulates", "count", "minimize", "static"),
            _row("file_size", "file size", "bytes", "minimize", "measured"),
            _row("peak_memory", "peak memory", "bytes", "minimize", "measured"),
            _row("device_latency_p50", "device latency p50", "time", "minimize", "measured"),
            _row("cold_latency_p50", "cold device latency p50", "time", "minimize", "measured"),
            _row("device_memory", "device memory", "bytes", "minimize", "measured"),
            _row("load_time", "load time", "time", "minimize", "measured"),
        )
    }
)
"""The metrics every task has, by name."""


def known_metrics(extra: Mapping[str, Metric] | None = None) -> dict[str, Metric]:
    """Return the built-in metrics and a task's own, by name; the task's own win."""
    return {**BUILT_IN, **(extra or {})}


# unit -> factor to SI, for each dimension; upper and lower case are told apart, as SI does
_UNITS: Mapping[Dimension, Mapping[str, float]] = MappingProxyType(
    {
        "time": {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0},
        "bytes": {
            "B": 1.0,
            "kB": 1e3,
            "KB": 1e3,
            "MB": 1e6,
            "GB": 1e9,
            "KiB": 2.0**10,
            "MiB": 2.0**20,
            "GiB": 2.0**30,
        },
        "count": {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "B": 1e9, "T": 1e12},
        "fraction": {"": 1.0, "%": 0.01},
        "rate": {"": 1.0, "/s": 1.0, "1/s": 1.0, "k/s": 1e3, "M/s": 1e6},
        "energy": {"J": 1.0, "mJ": 1e-3, "uJ": 1e-6, "µJ": 1e-6, "μJ": 1e-6},
        "number": {"": 1.0},
    }
)

# what a person reads: the largest unit whose factor is not above the value
_SHOWN: Mapping[Dimension, tuple[tuple[str, float], ...]] = MappingProxyType(
    {
        "time": ((" s", 1.0), (" ms", 1e-3), (" us", 1e-6), (" ns", 1e-9)),
        "bytes": ((" GiB", 2.0**30), (" MiB", 2.0**20), (" KiB", 2.0**10), (" B", 1.0)),
        "count": (("G", 1e9), ("M", 1e6), ("k", 1e3), ("", 1.0)),
        "fraction": (("%", 0.01),),
        "rate": (("M/s", 1e6), ("k/s", 1e3), ("/s", 1.0)),
        "energy": ((" J", 1.0), (" mJ", 1e-3), (" uJ", 1e-6)),
        "number": (("", 1.0),),
    }
)

_LOGARITHM_FROM = 10.0  # largest over smallest value beyond which factors are compared

_QUANTITY = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*([^\s\d]\S*)?\s*")


def parse_quantity(text: str, metric: Metric) -> float:
    """Return what a person typed, such as `5 ms`, in the metric's SI unit.

    Raises:
        ProblemError: For what is no number, a unit that the metric does not take, or a bare
            number where the metric has a unit.

    >>> parse_quantity("5 ms", BUILT_IN["latency_p95"])
    0.005
    >>> parse_quantity("92%", BUILT_IN["accuracy"])
    0.92
    >>> parse_quantity("64 MiB", BUILT_IN["peak_memory"])
    67108864.0
    """
    match = _QUANTITY.fullmatch(text)
    units = _UNITS[metric.dimension]
    if match is None:
        raise ProblemError(f"{metric.name}: expected a number{_with_units(metric)}, got {text.strip()!r}")
    number, unit = float(match[1]), match[2] or ""
    if unit not in units:
        got = f"unknown unit {unit!r}" if unit else "no unit"
        raise ProblemError(f"{got} in {text.strip()!r}: {metric.name} takes {_units(metric) or 'none'}")
    value = number * units[unit]
    # 0.07 x 100 style noise: a decimal number with a decimal unit stays the nearest decimal
    value = float(f"{value:.15g}")
    if not math.isfinite(value):
        raise ProblemError(f"expected a finite number for {metric.name}, got {text.strip()!r}")
    return value


def _units(metric: Metric) -> str:
    ascii_units = (unit for unit in _UNITS[metric.dimension] if unit and unit.isascii())
    return ", ".join(dict.fromkeys(ascii_units))


def _with_units(metric: Metric) -> str:
    units = _units(metric)
    return f" and a unit ({units})" if units else ""


def format_value(value: float | None, metric: Metric) -> str:
    """Return a value as a person reads it: three digits and a unit, `-` for what is unknown.

    >>> format_value(0.00123456, BUILT_IN["latency_p50"])
    '1.23 ms'
    >>> format_value(0.97222, BUILT_IN["accuracy"])
    '97.2%'
    >>> format_value(5226, BUILT_IN["parameters"])
    '5.23k'
    >>> format_value(None, BUILT_IN["parameters"])
    '-'
    """
    if value is None or math.isnan(value):
        return "-"
    if math.isinf(value):
        return "infinite" if value > 0 else "-infinite"
    unit, factor = shown_unit(abs(value), metric)
    text = _three_digits(value / factor)
    if metric.dimension == "fraction" and text == "100" and value < 1:
        text = f"{math.floor(value * 1e4) / 100:g}"  # what is not perfect never reads so
    return f"{text}{unit}"


def format_estimate(estimate: Estimate, metric: Metric) -> str:
    """Return value and interval as a person reads them.

    >>> format_estimate(Estimate(5.01e-4, 5e-4, 5.03e-4), BUILT_IN["latency_p50"])
    '501 us [500, 503]'
    >>> format_estimate(Estimate(None, None, 5e-4), BUILT_IN["latency_p95"])
    '<= 500 us'
    """
    if estimate.value is None:
        ends = [(sign, end) for sign, end in ((">=", estimate.low), ("<=", estimate.high)) if end is not None]
        return " ".join(f"{sign} {format_value(end, metric)}" for sign, end in ends) or "-"
    return f"{format_value(estimate.value, metric)} {format_ends(estimate, metric)}".rstrip()


def format_ends(estimate: Estimate, metric: Metric) -> str:
    """Return the interval in brackets, in the value's unit; nothing where there is none.

    There is none where the value or both ends are not known, or the value is exact.

    >>> format_ends(Estimate(9.8e-4, 9e-4, 1.1e-3), BUILT_IN["latency_p50"])
    '[900, 1100]'
    """
    if estimate.value is None or estimate.low == estimate.high:
        return ""
    _, factor = shown_unit(abs(estimate.value), metric)
    low, high = ("-" if end is None else _three_digits(end / factor) for end in (estimate.low, estimate.high))
    return f"[{low}, {high}]"


def format_probability(p: float) -> str:
    """Return a probability that rests on draws; it never reads as certain.

    >>> [format_probability(p) for p in (0.0, 0.123, 0.9999)]
    ['< 0.01', '0.12', '> 0.99']
    """
    return "< 0.01" if p < 0.01 else "> 0.99" if p > 0.99 else f"{p:.2f}"


def shown_unit(magnitude: float, metric: Metric) -> tuple[str, float]:
    """Return the unit's suffix and its factor to SI that suit a magnitude.

    >>> shown_unit(0.0005, BUILT_IN["latency_p50"])
    (' us', 1e-06)
    """
    shown = _SHOWN[metric.dimension]
    if magnitude == 0:
        return next((row for row in shown if row[1] == 1.0), shown[-1])
    return next(((unit, factor) for unit, factor in shown if magnitude >= factor * 0.9995), shown[-1])


def takes_logarithm(metric: Metric, values: Sequence[float]) -> bool:
    """Return whether these values of a metric are told apart by factors rather than by differences.

    So where all are above 0 and the largest is over ten times the smallest; a fraction never is. The one
    rule of a chart's axis and of the scale on which candidates are compared.

    >>> takes_logarithm(BUILT_IN["latency_p50"], [0.001, 0.0101])
    True
    """
    if metric.dimension == "fraction" or not values:
        return False
    return min(values) > 0 and max(values) > _LOGARITHM_FROM * min(values)


def exact_texts(value: float, metric: Metric) -> list[str]:
    """Return the value in each unit that needs few digits for it, as a person might type it.

    >>> exact_texts(3e6, BUILT_IN["file_size"])
    ['3000 kB', '3000 KB', '3 MB', '2929.69 KiB', '2.86102 MiB']
    """
    texts = []
    for unit, factor in _UNITS[metric.dimension].items():
        number = f"{value / factor:.6g}"
        if unit and unit.isascii() and "e" not in number and 1 <= abs(value / factor) < 1e4:
            texts.append(f"{number} {unit}".replace(" %", "%"))
    return texts


def format_difference(value: float, metric: Metric) -> str:
    """Return a signed difference: points for fractions (`+1.2 points`), else value and unit.

    >>> format_difference(-0.004, BUILT_IN["accuracy"])
    '-0.4 points'
    >>> format_difference(0.001, BUILT_IN["latency_p50"])
    '+1 ms'
    """
    if metric.dimension == "fraction":
        return f"{value * 100:+.2g} points"
    sign = "+" if value >= 0 else "-"
    return sign + format_value(abs(value), metric)


def _three_digits(number: float) -> str:
    if number == 0:
        return "0"
    if abs(number) >= 1000:
        return f"{number:.0f}"
    return f"{number:.3g}"


def find_metric(name: str, known: Mapping[str, Metric]) -> Metric:
    """Return the metric of this name.

    Raises:
        ProblemError: If there is none; the message names the nearest.
    """
    if not isinstance(name, str):
        raise ProblemError(f"expected a metric's name, got {name!r}")
    try:
        return known[unicodedata.normalize("NFC", name.strip())]
    except KeyError:
        raise ProblemError(f"unknown metric {name.strip()!r}: {did_you_mean(name.strip(), known)}") from None
