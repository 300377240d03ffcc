"""The shape of each input in a call, and which of its axes counts rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from profilers._child._batch import Size, batch_of, is_called_batch
from profilers._child._dimensions import Sizes, evaluated, is_plain, solved, symbols
from profilers._child._errors import UnusableModelError
from profilers._child._runner import InputSpec

Shapes = Mapping[str, Sequence[int]]


@dataclass(frozen=True, slots=True)
class Plan:
    """What each input looks like in a call.

    Attributes:
        shapes: By input name.
        batch_axes: By input name: the axis that counts rows; an input without one is the same in each call.
        batch_names: The symbolic dimensions that are the batch.
        assumed: Symbolic dimensions that were taken to be 1, because nothing says otherwise; unnamed ones as
            "input[axis]".
    """

    shapes: Mapping[str, tuple[int, ...]]
    batch_axes: Mapping[str, int]
    batch_names: tuple[str, ...]
    assumed: tuple[str, ...]

    def row_axis(self, shape: Sequence[Size], batch: int) -> int | None:
        """The axis that counts rows in an output that is declared with this shape; None where none does.

        Where the batch is symbolic, an output whose fixed leading size happens to be the batch has no rows. A
        1 may be one, for exporters often leave it where the batch was.
        """
        named = [axis for axis, size in enumerate(shape) if size in self.batch_names]
        happens_to_fit = bool(self.batch_names) and batch > 1 and shape[:1] == (batch,)
        return named[0] if named else None if happens_to_fit else 0


def planned(signature: Sequence[InputSpec], batch: int, dims: Sizes, shown: Shapes) -> Plan:
    """The shapes of all inputs.

    What the batch is, `batch_of` says. Other symbolic dimensions are as `dims` or `shown` say, or follow from
    these by arithmetic, or else 1.

    Args:
        signature: The inputs.
        batch: Rows in a call.
        dims: Sizes by name or expression.
        shown: Shapes of given arrays, and those asked for, by input name; of the signature's ranks.

    Raises:
        UnusableModelError: If sizes contradict each other or the model, or no input takes the batch.

    >>> ids = InputSpec("ids", "int64", ("batch", 1), "")
    >>> mask = InputSpec("mask", "bool", ("batch", "past + 1"), "")
    >>> past = InputSpec("past", "float32", (2, "batch", "past", 8), "")
    >>> planned([ids, mask, past], 4, {"past": 5}, {}).shapes
    {'ids': (4, 1), 'mask': (4, 6), 'past': (2, 4, 5, 8)}
    >>> planned([ids, mask, past], 4, {}, {"mask": (40, 10)}).shapes["past"]
    (2, 4, 9, 8)
    >>> planned([ids, mask, past], 4, {}, {}).assumed
    ('past',)
    """
    dims = _checked(signature, batch, dims)
    names, axes = batch_of(signature, batch, dims)
    first = {spec.shape[0] for spec in signature if spec.shape}
    guessed = [name for name in names if name not in first and not is_called_batch(name)]
    known = _known(signature, batch, dims, shown, names, axes)
    shapes: dict[str, tuple[int, ...]] = {}
    assumed = guessed if batch == 1 else []
    for spec in signature:
        sizes = [
            batch if axes.get(spec.name) == axis else _size(spec, axis, shown.get(spec.name), known, assumed)
            for axis in range(len(spec.shape))
        ]
        shapes[spec.name] = tuple(sizes)
    return Plan(shapes, axes, names, tuple(dict.fromkeys(assumed)))


def _size(
    spec: InputSpec, axis: int, shown: Sequence[int] | None, known: dict[str, int], assumed: list[str]
) -> int:
    """The size of an axis; what it needs and nobody knows is added to `known` as 1, and to `assumed`."""
    size = spec.shape[axis]
    if isinstance(size, int):
        return size
    if shown is not None:
        return int(shown[axis])
    if size is None:
        assumed.append(f"{spec.name}[{axis}]")
        return 1
    if evaluated(size, known) is None:
        free = [symbol for symbol in symbols(size) if symbol not in known]
        known.update(dict.fromkeys(free, 1))
        assumed += free
    value = evaluated(size, known)
    least = int(any(symbol in assumed for symbol in symbols(size)))  # nobody asked for nothing
    if value is None or value < least:
        raise UnusableModelError(
            f"input {spec.name!r}: dimension {size!r} must be at least {least}, got "
            f"{'none' if value is None else value} with {_words(size, known)}: give sizes (--dim NAME=SIZE)"
        )
    return value


def _words(text: str, known: Sizes) -> str:
    return ", ".join(f"{symbol} = {known[symbol]}" for symbol in symbols(text) if symbol in known)


def _checked(signature: Sequence[InputSpec], batch: int, dims: Sizes) -> dict[str, int]:
    """The sizes that were given, without the batch's own."""
    declared = list(dict.fromkeys(size for spec in signature for size in spec.shape if isinstance(size, str)))
    names = dict.fromkeys([*declared, *(symbol for size in declared for symbol in symbols(size))])
    for name, size in dims.items():
        if name not in names:
            raise UnusableModelError(
                f"dimension {name!r} must be one of the model's symbolic ones, "
                f"{', '.join(map(repr, names)) or 'of which it has none with a name'}"
            )
        if type(size) is not int or size < 0:
            raise UnusableModelError(f"dimension {name!r} must be an integer of at least 0, got {size!r}")
    called_so = {name for name in declared if is_called_batch(name)}
    others = {name: size for name, size in dims.items() if name not in called_so or size != batch}
    wrong = [name for name in others if name in called_so]
    if wrong and called_so <= others.keys():
        raise UnusableModelError(
            f"dimension {wrong[0]!r} is the batch, {batch}, got {others[wrong[0]]}: "
            f"set the batch itself (--batch {others[wrong[0]]})"
        )
    return others


def _known(
    signature: Sequence[InputSpec],
    batch: int,
    dims: Sizes,
    shown: Shapes,
    names: Sequence[str],
    axes: Sizes,
) -> dict[str, int]:
    """Sizes by symbol: those given, the batch's, and those that shapes show."""
    known: dict[str, int] = {}
    for name, size in sorted(dims.items(), key=lambda item: not is_plain(item[0])):
        _bind(known, name, size, "sizes that were given")  # plain names first
    for name in names:
        _bind(known, name, batch, "the batch")
    seen = [
        (size, int(shown[spec.name][axis]), spec.name)
        for spec in signature
        if spec.name in shown
        for axis, size in enumerate(spec.shape)
        if isinstance(size, str) and axes.get(spec.name) != axis
    ]
    for text, got, name in sorted(seen, key=lambda item: not is_plain(item[0])):  # plain names first
        _bind(known, text, got, f"input {name!r}")
    return known


def _bind(known: dict[str, int], text: str, size: int, what: str) -> None:
    """Note the size of a dimension, and so that of the one symbol in it which is not known."""
    if is_plain(text):
        known.setdefault(text, size)
    expected = evaluated(text, known)
    if expected is not None and expected != size:
        raise UnusableModelError(f"{what}: dimension {text!r} must be {expected}, got {size}")
    unknown = [symbol for symbol in symbols(text) if symbol not in known]
    if len(unknown) != 1:
        known.setdefault(text, size)
        return
    found = solved(text, unknown[0], size, known)
    if found is None:
        raise UnusableModelError(
            f"{what}: dimension {text!r} cannot be {size}, no {unknown[0]!r} makes it so: take another size"
        )
    known[unknown[0]] = found
