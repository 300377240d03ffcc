"""What a person says of a model's inputs: sizes, shapes and types, arrays in a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moo.errors import BROKEN_ARCHIVE, InputError

if TYPE_CHECKING:
    from profilers import Feeds

__all__ = ["feeds_from"]

_DTYPES = (
    *(f"float{bits}" for bits in (16, 32, 64)),
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
    "bool",
    "str",
)


def feeds_from(dims: Sequence[str], inputs: Sequence[str], npz: Path | None, seed: int) -> Feeds:
    """Return what to feed, from what was typed; whether it fits a model is for the profiler to say.

    Args:
        dims: Sizes of symbolic dimensions, each `NAME=SIZE`.
        inputs: Shapes and types, each `NAME=SHAPE:DTYPE`, such as `x=1x3x224x224:float32`; no SHAPE for a
            scalar, and `:DTYPE` may be left out.
        npz: A file of numpy with arrays by input name; None without one.
        seed: Of the inputs that are made.

    Raises:
        InputError: If a value cannot be read, or a name comes twice.

    >>> feeds_from(["sequence=128"], ["x=1x3:float32"], None, 0).shapes
    {'x': (1, 3)}
    """
    from profilers import Feeds

    if seed < 0:
        raise InputError(f"--seed: expected a number of at least 0, got {seed}")
    sizes = {name: _size("--dim", text, size) for name, size, text in _pairs("--dim", "NAME=SIZE", dims)}
    specs = _pairs("--input", "NAME=SHAPE:DTYPE", inputs)
    return Feeds(
        arrays={} if npz is None else _arrays(npz),
        shapes={name: _shape(text, spec.partition(":")[0]) for name, spec, text in specs},
        dtypes={name: _dtype(text, spec.partition(":")[2]) for name, spec, text in specs if ":" in spec},
        dims=sizes,
        seed=seed,
    )


def _pairs(option: str, form: str, texts: Sequence[str]) -> list[tuple[str, str, str]]:
    """Return name, value and the whole text of each; names may hold `:` and `=`."""
    pairs = [(*text.rpartition("=")[::2], text) for text in texts]
    for name, _, text in pairs:
        if not name:
            raise InputError(f"{option}: expected {form}, got {text!r}")
    names = [name for name, _, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{option}: expected each name once, got {name!r} {names.count(name)} times")
    return pairs


def _size(option: str, text: str, size: str) -> int:
    if not (size.isascii() and size.isdigit() and int(size) > 0):
        raise InputError(f"{option}: expected sizes above 0, got {size!r} in {text!r}")
    return int(size)


def _shape(text: str, shape: str) -> tuple[int, ...]:
    return tuple(_size("--input", text, size) for size in shape.split("x")) if shape else ()


def _dtype(text: str, dtype: str) -> str:
    if dtype not in _DTYPES:
        raise InputError(f"--input: expected a type of {', '.join(_DTYPES)}, got {dtype!r} in {text!r}")
    return dtype


def _arrays(npz: Path) -> dict[str, Any]:
    import numpy as np

    if npz.exists() and not npz.is_file():
        raise InputError(f"--npz: expected a file of numpy.savez, got {npz}, which is none: save one")
    try:
        with npz.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except OSError as error:
        raise InputError(
            f"--npz: {npz} cannot be read ({error.strerror}): give a file of numpy.savez"
        ) from error
    except BROKEN_ARCHIVE as error:
        raise InputError(
            f"--npz: expected a file of numpy.savez with arrays of numbers or text, got {npz}: save it anew"
        ) from error
