"""Which dimension of a model's inputs is the batch."""

import re
from collections.abc import Sequence
from typing import TypeGuard

from profilers._child._dimensions import Sizes, evaluated, is_plain
from profilers._child._errors import UnusableModelError
from profilers._child._runner import InputSpec

BATCH_WORD = re.compile(r"[a-z]*batch(size|dim|axis)?")
BATCH_LETTERS = ("n", "b", "bs", "bsz")
# names that tf2onnx and torch's older exporter make up, another one for each place
MADE_UP = re.compile(r"unk__\d+|.*_dynamic_axes_\d+")

Size = int | str | None


def batch_of(
    signature: Sequence[InputSpec], batch: int, dims: Sizes
) -> tuple[tuple[str, ...], dict[str, int]]:
    """The names of the batch, and by input name the axis that counts rows.

    The batch is each symbolic dimension that is called so (`batch`, `batch_size`, ..), wherever it is. Where
    none is, it is one that leads a shape: `N` or the like, else the one that leads most shapes, and of those
    the one that occurs in most. Leading dimensions without a name, or with one that an exporter made up,
    count as it. Dimensions in `dims` are not the batch; the next one leads in their stead. In a model with no
    symbolic leading dimension, inputs whose fixed leading dimension equals the batch are batched.

    Raises:
        UnusableModelError: If no input takes the batch, and it is not 1.

    >>> state = InputSpec("h", "float32", ("s0", "s1", 4), "")
    >>> batch_of([state, InputSpec("x", "float32", ("s1", "s2"), "")], 8, {})
    (('s1',), {'h': 1, 'x': 0})
    """
    everywhere = [size for spec in signature for size in dict.fromkeys(spec.shape) if isinstance(size, str)]
    leads = {spec.name: axis for spec in signature if (axis := _leading_axis(spec.shape, dims)) is not None}
    leading = [spec.shape[leads[spec.name]] for spec in signature if spec.name in leads]
    unnamed = {
        size for size in leading if size is None or (_is_made_up(size) and everywhere.count(size) == 1)
    }
    own = [size for size in leading if isinstance(size, str) and size not in unnamed]
    names = list(_batch_names(everywhere, own, dims))
    axes: dict[str, int] = {}
    for spec in signature:
        named = [axis for axis, size in enumerate(spec.shape) if size in names]
        if named:
            axes[spec.name] = named[0]
        elif spec.name in leads and spec.shape[leads[spec.name]] in unnamed:
            axes[spec.name] = leads[spec.name]
    if not axes:
        return (), _fixed_batch_axes(signature, batch)
    found = [spec.shape[axes[spec.name]] for spec in signature if spec.name in axes]
    return tuple(dict.fromkeys(size for size in found if isinstance(size, str))), axes


def _is_made_up(size: Size) -> TypeGuard[str]:
    return isinstance(size, str) and MADE_UP.fullmatch(size) is not None


def _leading_axis(shape: Sequence[Size], dims: Sizes) -> int | None:
    """The first axis whose size was not given."""
    is_given = [isinstance(size, str) and evaluated(size, dims) is not None for size in shape]
    return is_given.index(False) if False in is_given else None


def _batch_names(everywhere: Sequence[str], leading: Sequence[str], dims: Sizes) -> Sequence[str]:
    """All that are called so, else the likeliest one of those that lead."""
    called_so = [name for name in everywhere if is_called_batch(name) and name not in dims]
    if called_so:
        return called_so
    likely = [name for name in leading if name.lower() in BATCH_LETTERS]
    likely = likely or [name for name in leading if is_plain(name)] or list(leading)
    return sorted(likely, key=lambda name: (-leading.count(name), -everywhere.count(name)))[:1]


def is_called_batch(name: str) -> bool:
    """Whether a symbolic dimension says that it is the batch.

    >>> [is_called_batch(name) for name in ("batch", "Batch_Size", "text_batch_size", "batch*heads", "N")]
    [True, True, True, False, False]
    """
    letters = "".join(re.findall(r"[a-z]", name.lower()))
    return is_plain(name) and BATCH_WORD.fullmatch(letters) is not None


def _fixed_batch_axes(signature: Sequence[InputSpec], batch: int) -> dict[str, int]:
    batched = {spec.name: 0 for spec in signature if spec.shape and spec.shape[0] == batch}
    if batch > 1 and not batched:
        shapes = ", ".join(f"{spec.name!r} {list(spec.shape)}" for spec in signature)
        raise UnusableModelError(
            f"no input takes a batch of {batch}, got {shapes or 'a model without inputs'}: "
            "set the batch to the fixed size, or export with a dynamic batch"
        )
    return batched
