"""What a bundle says of itself: `bundle.json`, of the schema `moo.bundle/1`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from moo.bundle._files import BUNDLE_FILE, ListedFile, checked_path
from moo.bundle._json import Fields
from moo.bundle._outputs import Tolerance, tolerance_of
from moo.bundle._runtime import checked_protocol, checked_runtime
from moo.errors import InputError
from moo.evaluation import Estimate
from moo.metrics import Dimension, Direction, Metric, Stage

__all__ = ["SCHEMA", "Bundle", "Model", "Promise", "Sample", "Source", "Tensor"]

SCHEMA = "moo.bundle/1"
Source = Literal["search", "confirmed"]
_DTYPES = (
    *("float16", "float32", "float64", "bool", "str"),
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
)
_MOST_CALLS = 64


@dataclass(frozen=True)
class Tensor:
    """An input or output: name, numpy's type ("str" for text), and shape.

    In the shape a number is fixed, a text is a symbolic dimension, None is any size; no shape at all: any.
    """

    name: str
    dtype: str
    shape: tuple[int | str | None, ...] | None

    @classmethod
    def from_json(cls, fields: Fields) -> Tensor:
        """Return the tensor that `asdict` gave."""
        shape = fields.record.get("shape")
        if shape is not None and not (isinstance(shape, list) and all(map(_is_size, shape))):
            raise fields.wrong("shape", "sizes of 0 or more, names or nulls")
        return cls(
            fields.text("name"),
            fields.word("dtype", _DTYPES),
            None if shape is None else tuple(shape),
        )


def _is_size(size: object) -> bool:
    return size is None or isinstance(size, str) or (type(size) is int and 0 <= size < 2**63)


@dataclass(frozen=True, kw_only=True)
class Model:
    """The model's files.

    Args:
        path: Of the ONNX file, below the bundle's folder.
        data: Of its external data files.
        sha256: Its identity: of the file, or of the lines with the digests of all files where there are
            several (see `profilers.ModelFile`).
        bytes: Of all files together.
    """

    path: str
    sha256: str
    bytes: int
    data: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Inputs and the outputs expected for them, a call each along the first axis of every array.

    Args:
        source: From where the inputs are: rows of the validation data, or made as the profilers make them.
        n_calls: How many calls.
        n_rows: Rows in a call.
        tolerances: How far an output may be off, by its name.
        inputs: The file with the inputs by name.
        outputs: The file with the outputs by name.
    """

    source: Literal["validation", "made"]
    n_calls: int
    n_rows: int
    tolerances: Mapping[str, Tolerance]
    inputs: str = "sample_inputs.npz"
    outputs: str = "expected_outputs.npz"


@dataclass(frozen=True, kw_only=True)
class Promise:
    """A metric's value with its 95% interval, as the bundle promises it.

    Args:
        metric: Which.
        estimate: The value.
        source: Whether it is the search's, or of `moo confirm`.
        n_launches: Fresh processes it rests on; None where it was not measured in any.
    """

    metric: Metric
    estimate: Estimate
    source: Source
    n_launches: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        about = {"source": self.source, "n_launches": self.n_launches}
        return {"metric": vars(self.metric).copy(), **self.estimate.to_json(), **about}

    @classmethod
    def from_json(cls, fields: Fields) -> Promise:
        """Return the promise that `to_json` wrote."""
        metric = fields.fields("metric")
        direction = metric.text_or_none("direction")
        if direction is not None:
            metric.word("direction", get_args(Direction))
        value, low, high = (fields.number_or_none(name) for name in ("value", "low", "high"))
        return cls(
            metric=metric.made(
                "name",
                lambda: Metric(
                    name=metric.text("name"),
                    label=metric.text("label"),
                    dimension=metric.word("dimension", get_args(Dimension)),
                    direction=direction,  # type: ignore[arg-type]  # one of its words
                    stage=metric.word("stage", get_args(Stage)),
                    low=metric.number_or_none("low"),
                    high=metric.number_or_none("high"),
                ),
            ),
            estimate=fields.made("value", lambda: Estimate(value, low, high, fields.text_or_none("reason"))),
            source=fields.word("source", get_args(Source)),
            n_launches=None if fields.record.get("n_launches") is None else fields.count("n_launches"),
        )


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """All that a bundle says: what the model is, how it is run, what it promises.

    Args:
        candidate: Where it comes from, as plain JSON: `study`, `trial`, `task`, `params` and more.
        model: Its files.
        runtime: How it is run, as `Evaluation.runtime` has it.
        inputs: What it takes.
        outputs: What it gives.
        sample: Inputs with expected outputs.
        promises: Of each metric.
        protocol: How it was timed, as the profilers' `Protocol` says it; None where that is not known.
        environment: The machine it was measured on: `fingerprint`, `identity`, `software`.
        confirmation: What `moo confirm` found, as plain JSON; None without one.
        tags: What is to be known of the measurement's validity.
        notes: What a person should know, a line each.
        made: When and by which version.
        files: All files but `bundle.json`.
    """

    candidate: Mapping[str, Any]
    model: Model
    runtime: Mapping[str, Any]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    sample: Sample
    promises: tuple[Promise, ...]
    protocol: Mapping[str, Any] | None = None
    environment: Mapping[str, Any] = field(default_factory=dict)
    confirmation: Mapping[str, Any] | None = None
    tags: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    made: Mapping[str, str] = field(default_factory=dict)
    files: tuple[ListedFile, ...] = ()

    @property
    def title(self) -> str:
        """The study and the trial, in words."""
        return f"{self.candidate['study']}, trial {self.candidate['trial']}"

    @property
    def precision(self) -> str:
        """The precision that the runtime tells; fp32 where it tells none."""
        return str(self.runtime.get("precision") or "fp32")

    def to_json(self) -> dict[str, Any]:
        """Return the versioned JSON form."""
        return {
            "schema": SCHEMA,
            "made": dict(self.made),
            "candidate": dict(self.candidate),
            "model": asdict(self.model),
            "runtime": dict(self.runtime),
            "inputs": [asdict(tensor) for tensor in self.inputs],
            "outputs": [asdict(tensor) for tensor in self.outputs],
            "sample": asdict(self.sample),
            "promises": [promise.to_json() for promise in self.promises],
            "protocol": None if self.protocol is None else dict(self.protocol),
            "environment": dict(self.environment),
            "confirmation": None if self.confirmation is None else dict(self.confirmation),
            "tags": list(self.tags),
            "notes": list(self.notes),
            "files": [asdict(file) for file in self.files],
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Bundle:
        """Return the bundle that `to_json` wrote; nothing in the record is believed before it is checked.

        Raises:
            InputError: For another schema, a field that is missing or of another type, a path outside the
                folder, a file that is not listed, or a runtime that reaches outside.
        """
        whole = Fields(record, BUNDLE_FILE)
        if whole.record.get("schema") != SCHEMA:
            raise InputError(
                f"{whole.wrong('schema', repr(SCHEMA))}, or of another version: verify it with the moo that"
                " wrote it"
            )
        candidate = whole.fields("candidate")
        candidate.text("study"), candidate.count("trial")
        environment = whole.fields("environment")
        environment.text_or_none("fingerprint")
        environment.mapping_or_none("identity"), environment.mapping_or_none("software")
        runtime = checked_runtime(whole.fields("runtime"))
        outputs = _tensors(whole, "outputs")
        protocol = whole.fields("protocol") if whole.mapping_or_none("protocol") is not None else None
        bundle = cls(
            candidate=candidate.record,
            model=_model(whole.fields("model")),
            runtime=runtime,
            inputs=_tensors(whole, "inputs"),
            outputs=outputs,
            sample=_sample(whole.fields("sample"), outputs, str(runtime.get("precision") or "fp32")),
            promises=tuple(Promise.from_json(fields) for fields in whole.each("promises")),
            protocol=None if protocol is None else checked_protocol(protocol),
            environment=environment.record,
            confirmation=whole.mapping_or_none("confirmation"),
            tags=whole.texts("tags"),
            notes=whole.texts("notes"),
            made=whole.mapping("made"),
            files=tuple(ListedFile.from_json(fields) for fields in whole.each("files")),
        )
        _check_listed(bundle, whole)
        return bundle


def _tensors(whole: Fields, name: str) -> tuple[Tensor, ...]:
    found = tuple(Tensor.from_json(fields) for fields in whole.each(name))
    if not found or len({tensor.name for tensor in found}) < len(found):
        raise whole.wrong(name, "one at least, each name once")
    return found


def _model(fields: Fields) -> Model:
    data = [Fields({"path": path}, f"{fields.where}, data") for path in fields.texts("data")]
    return Model(
        path=checked_path(fields, "path"),
        sha256=fields.text("sha256"),
        bytes=fields.count("bytes"),
        data=tuple(checked_path(entry, "path") for entry in data),
    )


def _sample(fields: Fields, outputs: tuple[Tensor, ...], precision: str) -> Sample:
    stated = fields.fields("tolerances")
    tolerances = {}
    for tensor in outputs:
        found = stated.fields(tensor.name)
        known = tolerance_of(tensor.dtype, precision)
        tolerances[tensor.name] = Tolerance(found.number("relative"), found.number("absolute"))
        for name, most in asdict(known).items():
            if not 0 <= found.number(name) <= most:
                raise found.wrong(name, f"from 0 to {most:g}, for {tensor.dtype} in {precision}")
    return Sample(
        source=fields.word("source", ("validation", "made")),
        n_calls=fields.count("n_calls", least=1, most=_MOST_CALLS),
        n_rows=fields.count("n_rows", least=1),
        tolerances=tolerances,
        inputs=checked_path(fields, "inputs"),
        outputs=checked_path(fields, "outputs"),
    )


def _check_listed(bundle: Bundle, whole: Fields) -> None:
    """Refuse a bundle that uses a file it does not list, or lists one twice, or itself."""
    paths = [file.path for file in bundle.files]
    folded = [path.casefold() for path in paths]  # some file systems do not tell upper case from lower
    if len(set(folded)) < len(folded) or BUNDLE_FILE in folded:
        raise whole.wrong("files", f"each file once, and not {BUNDLE_FILE}")
    used = (bundle.model.path, *bundle.model.data, bundle.sample.inputs, bundle.sample.outputs)
    for path in (*used, "runtime.json"):
        if path not in paths:
            raise InputError(f"{whole.where}, files: expected {path!r} among them: the bundle is damaged")
