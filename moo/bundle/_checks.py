"""What a bundle is checked for, from what costs nothing to what runs the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moo.bundle._arrays import read_arrays
from moo.bundle._files import BUNDLE_FILE, files_in, problem_with
from moo.bundle._json import parsed, read_bytes
from moo.bundle._machine import Machine
from moo.bundle._outputs import difference
from moo.bundle._promises import Found
from moo.bundle._record import Bundle, Tensor
from moo.errors import InputError, InstallError, MeasureError

__all__ = ["Check", "Checks", "Outcome"]

_MOST_LINES = 5


class Outcome(StrEnum):
    """What a check found."""

    PASSED = "PASSED"
    BROKEN = "BROKEN"
    NOT_CHECKED = "NOT CHECKED"


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Args:
        name: `files`, `runtime`, `sample`, `model` or `outputs`.
        outcome: What was found.
        lines: What is wrong or why it was not checked; else what was seen, in a line.
    """

    name: str
    outcome: Outcome
    lines: tuple[str, ...] = ()


class Checks:
    """The checks of one bundle, each resting on those before it."""

    def __init__(
        self, folder: Path, bundle: Bundle, machine: Machine | None, tell: Callable[[str], None]
    ) -> None:
        self.folder, self.bundle = folder, bundle
        self.checks: list[Check] = []
        self.notes: list[str] = []
        self.sample: dict[str, NDArray[Any]] = {}
        self.expected: dict[str, NDArray[Any]] = {}
        tell("files")
        self._add("files", self._files)
        self._add("runtime", self._runtime)
        self._add("sample", self._sample)
        if machine is None:
            for name in ("model", "outputs"):
                self.checks.append(Check(name, Outcome.NOT_CHECKED, ("no machine to run it was given",)))
            return
        tell("model")
        self._add("model", lambda: self._model(machine))
        tell("outputs")
        self._add("outputs", lambda: self._outputs(machine))

    def measured(self, machine: Machine) -> tuple[Found | None, str]:
        """Return what the model costs here, or why that is not known."""
        if any(check.outcome is Outcome.BROKEN and check.name != "outputs" for check in self.checks):
            return None, "what is broken is not measured"
        try:
            found = machine.measure(self._path, self.bundle.runtime, self.bundle.protocol, self.sample)
        except MeasureError as error:
            self.checks.append(Check("cost", Outcome.BROKEN, (str(error),)))
            return None, "it cannot be measured here"
        return found, ""

    @property
    def _path(self) -> Path:
        return self.folder / self.bundle.model.path

    def _add(self, name: str, look: Callable[[], tuple[list[str], str]]) -> None:
        """Take the lines of what is wrong, and what to say where nothing is."""
        broken = next((check.name for check in self.checks if check.outcome is not Outcome.PASSED), None)
        if broken is not None:
            self.checks.append(Check(name, Outcome.NOT_CHECKED, (f"{broken}: not as it should be",)))
            return
        try:
            lines, seen = look()
        except InstallError:  # which says nothing of the bundle
            raise
        except (InputError, MeasureError) as error:
            lines, seen = [str(error)], ""
        self.checks.append(
            Check(name, Outcome.BROKEN, tuple(lines)) if lines else Check(name, Outcome.PASSED, (seen,))
        )

    def _files(self) -> tuple[list[str], str]:
        problems = [problem_with(self.folder, file) for file in self.bundle.files]
        own = {BUNDLE_FILE, *(file.path for file in self.bundle.files)}
        extra = [path for path in files_in(self.folder) if path not in own]
        if extra:
            more = f" and {len(extra) - _MOST_LINES} more" if len(extra) > _MOST_LINES else ""
            shown = ", ".join(map(ascii, extra[:_MOST_LINES]))
            self.notes.append(f"not part of the bundle, and not looked at: {shown}{more}")
        return [p for p in problems if p is not None], f"{len(self.bundle.files)} as they were hashed"

    def _runtime(self) -> tuple[list[str], str]:
        found = parsed(read_bytes(self.folder / "runtime.json"), "runtime.json")
        told = dict(self.bundle.runtime)
        names = sorted({*found, *told}, key=str)
        differ = [
            name for name in names if (name in found, found.get(name)) != (name in told, told.get(name))
        ]
        if differ:
            return [f"runtime.json and {BUNDLE_FILE} differ in {', '.join(map(ascii, differ))}"], ""
        return [], f"{told['provider']}, threads {told['intra_op_num_threads']}, batch {told['batch']}"

    def _sample(self) -> tuple[list[str], str]:
        sample, bundle = self.bundle.sample, self.bundle
        self.sample = read_arrays(self.folder / sample.inputs)
        self.expected = read_arrays(self.folder / sample.outputs)
        lines = [
            *_misfits("input", bundle.inputs, self.sample, sample.n_calls),
            *_misfits("output", bundle.outputs, self.expected, sample.n_calls),
        ]
        return lines, f"{sample.n_calls} calls of {sample.n_rows}, {sample.source} inputs"

    def _model(self, machine: Machine) -> tuple[list[str], str]:
        model, found = self.bundle.model, machine.describe(self._path)
        home = PurePosixPath(model.path).parent
        data = tuple(sorted((home / path).as_posix() for path in found.data))
        lines = []
        if (found.sha256, found.bytes) != (model.sha256, model.bytes):
            lines.append(f"its SHA-256 is {found.sha256[:12]}.., expected {model.sha256[:12]!r}..")
        if data != tuple(sorted(model.data)):
            lines.append(f"its data are {list(data)}, expected {sorted(model.data)}")
        for kind, told, seen in (
            ("inputs", self.bundle.inputs, found.inputs),
            ("outputs", self.bundle.outputs, found.outputs),
        ):
            if told != seen:
                lines.append(f"its {kind} are not those that {BUNDLE_FILE} says")
        return lines, f"{model.bytes} bytes, {len(found.inputs)} in, {len(found.outputs)} out"

    def _outputs(self, machine: Machine) -> tuple[list[str], str]:
        lines = list(self._differences(machine))
        return lines[:_MOST_LINES], f"{self.bundle.sample.n_calls} calls within tolerance"

    def _differences(self, machine: Machine) -> Iterator[str]:
        scales = {name: _scale(array) for name, array in self.expected.items()}
        for call in range(self.bundle.sample.n_calls):
            inputs = {name: np.asarray(array[call]) for name, array in self.sample.items()}
            outputs = machine.run(self._path, self.bundle.runtime, inputs)
            for name, array in self.expected.items():
                if name not in outputs:
                    yield f"call {call + 1}: no output {name!r}"
                    continue
                tolerance = self.bundle.sample.tolerances[name]
                reason = difference(
                    np.asarray(array[call]), np.asarray(outputs[name]), tolerance, scale=scales[name]
                )
                if reason is not None:
                    yield f"call {call + 1}, output {name!r}: {reason}"


def _scale(array: NDArray[Any]) -> float:
    """Return the largest finite magnitude of an output; 0 for what is no float."""
    if array.dtype.kind != "f":
        return 0.0
    finite = np.abs(array[np.isfinite(array)].astype(np.float64))
    return float(finite.max(initial=0.0))


def _misfits(
    kind: str, tensors: tuple[Tensor, ...], arrays: Mapping[str, NDArray[Any]], n_calls: int
) -> Iterator[str]:
    """Yield in what the arrays of a sample are not of the tensors declared."""
    names = [tensor.name for tensor in tensors]
    if sorted(names) != sorted(arrays):
        yield f"has {kind}s {sorted(arrays)}, expected {sorted(names)}"
        return
    for tensor in tensors:
        array = arrays[tensor.name]
        dtype = "str" if array.dtype.kind == "U" else str(array.dtype)
        sizes = None if tensor.shape is None else (n_calls, *tensor.shape)
        does_fit = array.ndim > 0 and array.shape[0] == n_calls and dtype == tensor.dtype
        if (
            does_fit and sizes is not None and kind == "input"
        ):  # what a model declares of outputs may be wrong
            does_fit = len(sizes) == array.ndim and all(
                not isinstance(size, int) or size == got for size, got in zip(sizes, array.shape, strict=True)
            )
        if not does_fit:
            declared = "any" if sizes is None else list(sizes)
            yield f"{kind} {tensor.name!r} is {dtype} {list(array.shape)}, expected {tensor.dtype} {declared}"
