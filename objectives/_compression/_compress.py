"""How an artefact is made smaller or faster: its precision, as a text, and what the conversion did.

A precision is a candidate to measure, never an assumed gain: dynamic int8 can be slower than float32, and a
CPU without half-precision kernels computes float16 models in float32. What was done is told as facts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from moo.errors import InputError, did_you_mean

__all__ = ["PRECISIONS", "Compression", "CompressionFacts", "compress"]

PRECISIONS = {  # with the options that mean something for each
    "fp32": frozenset[str](),
    "fp16": frozenset({"exclude"}),
    "bf16": frozenset({"exclude"}),
    "int8-dynamic": frozenset({"per_channel", "reduce_range", "exclude"}),
    "int8-static": frozenset(
        {
            "per_channel",
            "reduce_range",
            "exclude",
            "calibration",
            "percentile",
            "activations",
            "rows",
            "batch",
        }
    ),
}
CALIBRATIONS = ("minmax", "entropy", "percentile")
ACTIVATIONS = ("quint8", "qint8")


@dataclass(frozen=True, kw_only=True)
class Compression:
    """A precision with its options; reads and prints as one text, `precision:option:option`.

    The text has no comma, space or bracket, so that lists of them can be typed on a command line,
    and only options that differ from their defaults, in a fixed order: equal records print the same.

    Args:
        precision: fp32 (the model as it is), fp16, bf16, int8-dynamic (weights converted, ranges of
            activations found at each call) or int8-static (ranges found beforehand, on training data).
        per_channel: A scale for each output channel of a weight, not one for the whole weight.
        reduce_range: Weights of 7 bits, which cannot overflow the 16-bit sums of x86 processors without
            VNNI; None leaves it to the processor of this machine.
        calibration: How the range of an activation is found: minmax, entropy (Kullback-Leibler
            divergence), or percentile.
        percentile: Share of an activation's magnitudes, in percent, that the range must hold.
        activations: quint8, which ONNX Runtime advises on x86, or qint8, for ARM.
        exclude: Operator types that the file states in float32, fed by floats that were not rounded.
            ONNX Runtime may still move a rounding past a Reshape or Transpose and compute one in
            integers: `CompressionFacts.integer_kernels` counts what it does.
        rows: Rows to calibrate with, at most.
        batch: Rows in each call while calibrating; one call's activations are in memory at a time.

    Raises:
        InputError: For a word or number that means nothing, or an option that the precision has not.

    >>> str(Compression(precision="int8-static", per_channel=True, exclude=("Softmax",)))
    'int8-static:per-channel:exclude=Softmax'
    """

    precision: str = "fp32"
    per_channel: bool = False
    reduce_range: bool | None = None
    calibration: str = "minmax"
    percentile: float = 99.999
    activations: str = "quint8"
    exclude: tuple[str, ...] = ()
    rows: int = 256
    batch: int = 32

    def __post_init__(self) -> None:
        _check_word("precision", self.precision, PRECISIONS)
        _check_word("calibration", self.calibration, CALIBRATIONS)
        _check_word("activations", self.activations, ACTIVATIONS)
        for name in ("rows", "batch"):
            count = getattr(self, name)
            if not isinstance(count, int) or isinstance(count, bool) or count < 1:
                raise InputError(f"compression, {name}: expected a whole number of at least 1, got {count!r}")
        if not 50 < self.percentile <= 100:
            raise InputError(
                f"compression, percentile: expected more than 50 and at most 100, got {self.percentile!r}"
            )
        if isinstance(self.exclude, str) or not all(
            isinstance(name, str) and name.isidentifier() for name in self.exclude
        ):
            raise InputError(
                "compression, exclude: expected names of operator types such as Softmax,"
                f" got {self.exclude!r}"
            )
        object.__setattr__(self, "exclude", tuple(sorted(set(self.exclude))))
        chosen = {f.name for f in dataclasses.fields(self) if getattr(self, f.name) != f.default}
        for name in sorted(chosen - {"precision"} - PRECISIONS[self.precision]):
            raise InputError(
                f"compression {self.precision}: has no option {name}: leave it out, or choose"
                f" {' or '.join(p for p, options in PRECISIONS.items() if name in options)}"
            )
        if "percentile" in chosen and self.calibration != "percentile":
            raise InputError(
                f"compression, percentile: means nothing with calibration {self.calibration}:"
                " choose calibration percentile"
            )

    @classmethod
    def parse(cls, text: str) -> Compression:
        """Return the record that a text says.

        After the precision, in any order: per-channel, reduce-range or full-range, entropy,
        percentile or percentile=NUMBER, qint8, exclude=TYPE+TYPE, rows=NUMBER, batch=NUMBER; and the
        defaults minmax and quint8.

        Raises:
            InputError: For a text that means nothing.

        >>> Compression.parse("int8-static:percentile=99.9:rows=64").rows
        64
        """
        precision, *options = text.strip().split(":")
        _check_word("precision", precision, PRECISIONS)
        given: dict[str, Any] = {}
        for option in options:
            for name, value in _read_option(option).items():
                if name in given:
                    raise InputError(
                        f"compression {text!r}: {option} says {name.replace('_', ' ')} twice: keep one"
                    )
                given[name] = value
        return cls(precision=precision, **given)

    def __str__(self) -> str:
        return ":".join([self.precision, *(option for option in self._options() if option)])

    def _options(self) -> list[str]:
        ranges = {None: "", True: "reduce-range", False: "full-range"}
        return [
            "per-channel" if self.per_channel else "",
            ranges[self.reduce_range],
            "" if self.calibration == "minmax" else self.calibration + self._percentile(),
            "" if self.activations == "quint8" else self.activations,
            f"exclude={'+'.join(self.exclude)}" if self.exclude else "",
            "" if self.rows == _DEFAULTS["rows"] else f"rows={self.rows}",
            "" if self.batch == _DEFAULTS["batch"] else f"batch={self.batch}",
        ]

    def _percentile(self) -> str:
        return "" if self.percentile == _DEFAULTS["percentile"] else f"={self.percentile!r}"

    @property
    def needs_calibration(self) -> bool:
        """Whether rows of training data are needed."""
        return self.precision == "int8-static"


_DEFAULTS = {f.name: f.default for f in dataclasses.fields(Compression)}
_FLAGS: Mapping[str, Mapping[str, Any]] = {
    "per-channel": {"per_channel": True},
    "reduce-range": {"reduce_range": True},
    "full-range": {"reduce_range": False},
    **{word: {"calibration": word} for word in CALIBRATIONS},
    **{word: {"activations": word} for word in ACTIVATIONS},
}


def _read_option(option: str) -> Mapping[str, Any]:
    """Return what one option of a text sets, by the record's names."""
    word, has_value, value = option.partition("=")
    if not has_value and word in _FLAGS:
        return _FLAGS[word]
    if has_value and word == "exclude":
        return {"exclude": tuple(value.split("+"))}
    if has_value and word in ("rows", "batch"):
        return {word: _number(option, value, int)}
    if has_value and word == "percentile":
        return {"calibration": "percentile", "percentile": _number(option, value, float)}
    known = [*_FLAGS, "exclude=", "rows=", "batch=", "percentile="]
    raise InputError(f"compression: knows no option {option!r}: {did_you_mean(option, known)}")


def _number(option: str, value: str, kind: Callable[[str], Any]) -> Any:
    try:
        return kind(value)
    except ValueError:
        raise InputError(f"compression, {option}: expected a number after '=', got {value!r}") from None


def _check_word(name: str, word: object, known: Any) -> None:
    if word not in known:
        raise InputError(
            f"compression, {name}: expected one of {', '.join(known)}, got {word!r}:"
            f" {did_you_mean(str(word), known)}"
        )


@dataclass(frozen=True, kw_only=True)
class CompressionFacts:
    """What a conversion did.

    Attributes:
        compression: The text of the `Compression`.
        nodes: Nodes of the model by operator type, as ONNX Runtime's basic optimisation leaves them
            (a batch normalisation is then part of its convolution); constants do not count.
        reduced: Those of them that the file states in the lower precision, or that went into one of these.
        integer_kernels: Nodes by operator type that ONNX Runtime computes in integers on this machine,
            fully optimised; a reduced node that is not among them is computed in floats all the same.
        bytes_before: Of the source, external data included.
        bytes_after: Of the target, external data included.
        calibration_rows: Rows used to find ranges of activations; 0 where none are needed.
        reduce_range: Whether weights have 7 bits; None where they are no integers.
        reduce_range_reason: Why.
        opset_before: The source's version of the default operator set.
        opset_after: The target's.
        checked_rows: Rows on which the output shapes were compared with the source's; 0 where the source
            runs on no made-up input, and only what is declared was compared.
        failed_steps: Steps of the preparation that failed and were left out, with the reason.
        tools: Versions of what did it.
        tags: nothing_reduced: no node got the lower precision, and the target is the source as it was;
            float_kernels: the file states integers, but none is computed in them on this machine;
            not_prepared: a step of the preparation failed, so that less may be reduced than could be.
    """

    compression: str
    bytes_before: int
    bytes_after: int
    opset_before: int
    opset_after: int
    nodes: Mapping[str, int]
    reduced: Mapping[str, int] = field(default_factory=dict)
    integer_kernels: Mapping[str, int] = field(default_factory=dict)
    calibration_rows: int = 0
    reduce_range: bool | None = None
    reduce_range_reason: str | None = None
    checked_rows: int = 0
    failed_steps: tuple[str, ...] = ()
    tools: Mapping[str, str] = field(default_factory=dict)

    @property
    def tags(self) -> tuple[str, ...]:
        """What a reader must be warned of, sorted; empty for nothing."""
        is_reduced, is_integer = bool(self.reduced), self.compression.startswith("int8")
        applies = {
            "float_kernels": is_integer and is_reduced and not self.integer_kernels,
            "not_prepared": bool(self.failed_steps),
            "nothing_reduced": not is_reduced and not self.compression.startswith("fp32"),
        }
        return tuple(tag for tag, does_apply in applies.items() if does_apply)

    @property
    def left(self) -> Mapping[str, int]:
        """Nodes by operator type that stayed in the precision they had."""
        left = {name: n - self.reduced.get(name, 0) for name, n in self.nodes.items()}
        return {name: n for name, n in left.items() if n}

    def summary(self) -> str:
        """Return the facts in a line.

        >>> CompressionFacts(compression="fp16", bytes_before=100, bytes_after=60, opset_before=18,
        ...     opset_after=18, nodes={"Gemm": 2, "Cast": 1}, reduced={"Gemm": 2}).summary()
        'fp16: 2 of 3 nodes (Gemm 2), left as they were: Cast 1; 100 -> 60 bytes'
        """
        if self.compression == "fp32":
            return f"fp32: the model as it is; {self.bytes_before} -> {self.bytes_after} bytes"
        text = f"{self.compression}: {sum(self.reduced.values())} of {sum(self.nodes.values())} nodes"
        text += f" ({_counts(self.reduced)})" if self.reduced else ""
        text += f", left as they were: {_counts(self.left)}" if self.left else ""
        return f"{text}; {self.bytes_before} -> {self.bytes_after} bytes"

    def to_json(self) -> dict[str, Any]:
        """Return the facts as plain JSON, the tags and the line among them."""
        facts = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        plain = {
            name: dict(fact) if isinstance(fact, Mapping) else list(fact) if isinstance(fact, tuple) else fact
            for name, fact in facts.items()
        }
        return {**plain, "tags": list(self.tags), "summary": self.summary()}


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {n}" for name, n in sorted(counts.items()))


def compress(
    source: Path,
    target: Path,
    compression: Compression,
    calibration: Mapping[str, NDArray[Any]] | None = None,
    *,
    seed: int = 0,
    n_threads: int = 1,
) -> CompressionFacts:
    """Write a model in another precision, with the same inputs and outputs, and return what was done.

    Names, types and dimensions of inputs and outputs stay as they are, so that feeds and scores stay
    valid. A model in which nothing could be reduced is told by a tag and not refused. How much quality
    it cost is not judged here.

    Args:
        source: An ONNX model; not touched. float32, unless it is only copied.
        target: Where the model comes to be, whole or not at all; a model there is replaced. Above 1 GiB of
            weights they go to `<target>.data` beside it.
        compression: The precision and its options.
        calibration: Rows of training data by input name, shape (n, ...) each, for int8-static; of any
            other precision, rows to check the output shapes with, made up where it is None.
        seed: Of the choice of rows.
        n_threads: Threads of ONNX Runtime.

    Raises:
        InputError: For unusable paths, calibration rows or operator types.
        ExportError: If the model cannot be converted, or the result does not load or has other outputs.
    """
    from objectives._compression._conversion import (
        convert,  # loads onnxruntime: only where a model is converted
    )

    return convert(source, target, compression, calibration, seed=seed, n_threads=n_threads)
