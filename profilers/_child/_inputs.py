"""What is fed to a model: made from its signature, or taken from arrays that were given."""

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from profilers._child._errors import UnusableModelError
from profilers._child._runner import Feed, InputSpec
from profilers._child._shapes import planned

MOST_FEEDS = 64  # inputs rotated through; more would only fill the memory that is measured
N_MADE_INPUTS = 4  # inputs to rotate when none are given
LARGEST = 2**48  # bytes of an input where the machine does not tell; numpy has no words for what is beyond
WORDS = ("a", "word", "and another", "")
LETTER = re.compile(r"[^\W\d]")


class Inputs:
    """The feeds of a model.

    Inputs for which the request has arrays are given, in slices of a batch; the others are made. What shapes
    they have, and what the batch is, `plan` says.

    Args:
        signature: The model's inputs.
        request: `runtime`, `inputs` (files by name) and, where there are any, `seed`, `shapes`, `dtypes`,
            `dims`, and in `unranked` the inputs whose shape the model does not declare at all.
        folder: Where the files are.

    Raises:
        UnusableModelError: If an input cannot be made, or what was given does not fit the model.
    """

    def __init__(self, signature: Sequence[InputSpec], request: Mapping[str, Any], folder: Path) -> None:
        self._batch: int = request["runtime"]["batch"]
        self._seed = request.get("seed", 0)
        self._files = {name: folder / file for name, file in (request["inputs"] or {}).items()}
        asked = {name: tuple(shape) for name, shape in request.get("shapes", {}).items()}
        shown = asked | {name: self._stored(name).shape for name in self._files}
        _check_names([*shown, *request.get("dtypes", {})], [spec.name for spec in signature])
        specs = [ranked(spec, shown.get(spec.name), request.get("unranked", ())) for spec in signature]
        self._signature = {spec.name: spec for spec in specs}
        self._check_types(request.get("dtypes", {}))
        for name, shape in shown.items():
            if len(shape) != len(self._signature[name].shape):
                raise _misfit(self._signature[name], shape)
        self.plan = planned(specs, self._batch, request.get("dims", {}), shown)
        self._check_shapes(shown)
        self._check_shapes_asked_for(asked)
        for name in self.made():
            if math.prod(self.plan.shapes[name]) > most_numbers(self._signature[name].dtype):
                raise UnusableModelError(
                    f"input {name!r} must fit in memory, got shape {list(self.plan.shapes[name])}: "
                    "take a smaller batch, or give smaller dims"
                )

    def describe(self) -> list[dict[str, Any]]:
        """What is fed to each input: name, type, shape, and whether it is given or made."""
        return [
            {
                "name": name,
                "dtype": spec.dtype,
                "shape": list(self.plan.shapes[name]),
                "source": "given" if name in self._files else "made",
            }
            for name, spec in self._signature.items()
        ]

    def made(self) -> list[str]:
        """The inputs that are made."""
        return [name for name in self._signature if name not in self._files]

    def rows(self) -> int:
        """Rows in the given inputs, the same for all batched ones; 1 where nothing given is batched."""
        counts = {
            name: self._stored(name).shape[axis]
            for name, axis in sorted(self.plan.batch_axes.items())
            if name in self._files
        }
        if len(set(counts.values())) > 1:
            raise UnusableModelError(f"inputs must have the same number of rows, got {counts}")
        return int(next(iter(counts.values()), 1))

    def check_all_given(self) -> None:
        """Refuse to make inputs, where it is the outputs that count."""
        if self.made():
            raise UnusableModelError(
                f"inputs must be {sorted(self._signature)}, got {sorted(self._files)}: "
                "outputs for inputs that are made up say nothing"
            )

    def check_last_batch(self) -> None:
        """Refuse rows that leave a smaller last batch for a model whose batch is fixed."""
        shapes = {name: self._signature[name].shape[axis] for name, axis in self.plan.batch_axes.items()}
        if self._batch in shapes.values() and self.rows() % self._batch:
            raise UnusableModelError(
                f"inputs must have a multiple of {self._batch} rows, the model's fixed batch, "
                f"got {self.rows()}"
            )

    def count(self) -> int:
        """How many different feeds of a full batch there are."""
        if not any(name in self._files for name in self.plan.batch_axes):
            return N_MADE_INPUTS if self.made() else 1
        rows = self.rows()
        if rows < self._batch:
            raise UnusableModelError(f"inputs must have at least one batch of {self._batch} rows, got {rows}")
        return min(MOST_FEEDS, rows // self._batch)

    def feed(self, index: int) -> Feed:
        """Feed number `index`, in memory of its own."""
        return {name: self._array(spec, index) for name, spec in self._signature.items()}

    def _array(self, spec: InputSpec, index: int) -> Any:
        import numpy as np

        if spec.name not in self._files:
            return made_array(spec, self.plan.shapes[spec.name], np.random.default_rng([self._seed, index]))
        array = self._stored(spec.name)
        axis = self.plan.batch_axes.get(spec.name)
        if axis is not None:
            array = array[(slice(None),) * axis + (slice(index * self._batch, (index + 1) * self._batch),)]
        return array.astype(object) if spec.dtype == "str" else np.array(array, order="C")

    def _stored(self, name: str) -> Any:
        import numpy as np

        return np.load(self._files[name], mmap_mode="r")

    def _check_types(self, asked: Mapping[str, str]) -> None:
        for spec in self._signature.values():
            if spec.dtype is None:
                raise UnusableModelError(
                    f"input {spec.name!r} must be a tensor of numbers, booleans or text, "
                    f"got {spec.declared}: export the model with a tensor of a type that numpy has"
                )
        given = {name: self._stored(name).dtype for name in self._files}
        named = {name: "str" if dtype.kind == "U" else str(dtype) for name, dtype in given.items()}
        for name, dtype in [*asked.items(), *named.items()]:
            spec = self._signature[name]
            if dtype != spec.dtype:
                bits = f", the bits of {spec.declared}" if is_as_bits(spec) else ""
                raise UnusableModelError(
                    f"input {name!r} must be {spec.dtype}{bits}, got {dtype}: convert it first"
                )

    def _check_shapes(self, shown: Mapping[str, Sequence[int]]) -> None:
        for name, shape in shown.items():
            spec = self._signature[name]
            for axis, (size, got) in enumerate(zip(spec.shape, shape, strict=True)):
                is_wrong = isinstance(size, int) and size != got and self.plan.batch_axes.get(name) != axis
                if is_wrong or got < 0:
                    raise _misfit(spec, shape)

    def _check_shapes_asked_for(self, asked: Mapping[str, Sequence[int]]) -> None:
        for name, axis in self.plan.batch_axes.items():
            if name in asked and asked[name][axis] not in (1, self._batch):
                got = asked[name][axis]
                raise UnusableModelError(
                    f"input {name!r}: axis {axis} is the batch, {self._batch}, got {got}: "
                    f"write 1 there, and set the batch itself (--batch {got})"
                )


def ranked(spec: InputSpec, shown: Sequence[int] | None, unranked: Sequence[str]) -> InputSpec:
    """The input with unnamed dimensions where it declares no shape; they are as many as are shown.

    Names without a letter, such as "?", name nothing.
    """
    if spec.name not in unranked:
        sizes = [None if isinstance(size, str) and not LETTER.search(size) else size for size in spec.shape]
        return replace(spec, shape=tuple(sizes))
    if shown is None:
        raise UnusableModelError(
            f"input {spec.name!r} has no shape in the model: give one "
            f"(--input {spec.name}=SHAPE:{spec.dtype}), or an array"
        )
    return replace(spec, shape=(None,) * len(shown))


def is_as_bits(spec: InputSpec) -> bool:
    """Whether the input has a type of floats that numpy does not have."""
    return "float" in spec.declared and spec.dtype is not None and "uint" in spec.dtype


def most_numbers(dtype: str | None) -> int:
    """How many numbers of a type fit in all the memory of the machine."""
    import numpy as np

    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        size = 1 if dtype == "str" else np.dtype(dtype).itemsize
    except (OSError, TypeError, ValueError):  # a system that does not tell; a type told of elsewhere
        return LARGEST
    return memory // size


def _check_names(names: Sequence[str], expected: Sequence[str]) -> None:
    for name in names:
        if name not in expected:
            raise UnusableModelError(f"input {name!r} must be one of the model's inputs, {sorted(expected)}")


def _misfit(spec: InputSpec, shape: Sequence[int]) -> UnusableModelError:
    return UnusableModelError(
        f"input {spec.name!r} must have shape {list(spec.shape)}, got {list(shape)}: reshape it"
    )


def made_array(spec: InputSpec, shape: Sequence[int], generator: Any) -> Any:
    """An array for a model input: floats normal, booleans fair, 8-bit integers of any size, wider 0 or 1.

    Wider integers are mostly indices, such as token numbers, and 0 and 1 are valid in all but the smallest
    tables. Text is one of a few words. Floats that numpy does not have are bits of numbers around 1.
    """
    import numpy as np

    if spec.dtype == "str":
        indices = generator.integers(len(WORDS), size=shape)
        return np.array(np.array(WORDS, dtype=object)[indices], dtype=object).reshape(shape)
    dtype = np.dtype(spec.dtype)
    if dtype.kind == "f":
        normal = generator.standard_normal(shape, np.float64 if dtype.itemsize == 8 else np.float32)
        return np.asarray(normal, dtype)
    if is_as_bits(spec):
        low, high = (0x3F00, 0x4000) if dtype.itemsize == 2 else (0x30, 0x40)
        return generator.integers(low, high, shape, dtype)
    if dtype.itemsize == 1 and dtype.kind != "b":
        limits = np.iinfo(dtype)
        return generator.integers(limits.min, limits.max, shape, dtype, endpoint=True)
    return generator.integers(0, 2, shape, dtype)
