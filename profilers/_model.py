"""The identity of a model on disk: its hash and size, with the data files that belong to it."""

import hashlib
import math
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Self

from profilers._errors import MissingLibraryError, ModelError

_MOST_BYTES = 2**31 - 1  # of any protobuf
_LONGEST_LOCATION = 1000


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model file, identified by what is in it.

    Attributes:
        path: The path as it was given.
        sha256: Of the file alone, where the model keeps everything inside it (`sha256sum` agrees). With
            external data it is the SHA-256 of a text: one line with the digest of each file, first the model,
            then the data files ordered by the location the model gives them.
        bytes: Size of the file and its external data files together.
        parameters: Numbers in its constants: all floats and integers of 8 bits or less, so that indices and
            shapes do not count; None where the format does not say.
        unranked_inputs: Inputs that declare no shape at all, which ONNX Runtime cannot tell from scalars; not
            a part of the identity, and not written.
    """

    path: str
    sha256: str
    bytes: int
    parameters: int | None = None
    unranked_inputs: tuple[str, ...] = field(default=(), compare=False, repr=False)

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Hash the ONNX model at `path` and its external data; no tensor outside the file is loaded.

        Raises:
            ModelError: If the file is missing, unreadable or not ONNX, or if external data is missing or lies
                outside the model's folder.
        """
        model_path = Path(path)
        proto = load_proto(model_path)
        files = [model_path, *external_files(model_path, proto)]
        unranked = tuple(value.name for value in proto.graph.input if _is_unranked(value.type))
        identity = cls.of_files(path, files, parameters=_n_parameters(proto))
        return replace(identity, unranked_inputs=unranked)

    @classmethod
    def of_files(cls, path: str | Path, files: Sequence[Path], *, parameters: int | None = None) -> Self:
        """The model at `path` that is made of `files`, at least one, in whatever format.

        Raises:
            ModelError: If a file cannot be read.
        """
        try:
            digests = [_sha256(file) for file in files]
            size = sum(file.stat().st_size for file in files)
        except OSError as error:
            raise ModelError(
                f"{error.filename}: cannot be read ({error.strerror}): check permissions"
            ) from error
        lines = "".join(f"{digest}\n" for digest in digests)
        sha256 = digests[0] if len(files) == 1 else hashlib.sha256(lines.encode()).hexdigest()
        return cls(str(path), sha256, size, parameters)


def load_proto(path: Path) -> Any:
    """The parsed `onnx.ModelProto`, external tensors left on disk."""
    try:
        import onnx  # takes 0.2 s: only when a model is read
    except ImportError as error:
        raise MissingLibraryError(
            "onnx", "" if isinstance(error, ModuleNotFoundError) else str(error)
        ) from None
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped, unused-ignore]

    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):  # reading it may never end
            raise ModelError(f"model {path}: expected an ONNX file, got a pipe or device: give a file's path")
        if found.st_size > _MOST_BYTES:
            raise ModelError(
                f"model {path}: expected an ONNX file of at most {_MOST_BYTES} bytes, got {found.st_size}:"
                " save its weights as external data"
            )
        proto = onnx.load(str(path), format="protobuf", load_external_data=False)
    except OSError as error:
        raise ModelError(
            f"model {path}: cannot be read ({error.strerror}): give the path of an .onnx file"
        ) from error
    except DecodeError as error:
        raise ModelError(
            f"model {path}: expected an ONNX file, got something else or a part of one: export it again"
        ) from error
    if not proto.graph.output:
        raise ModelError(
            f"model {path}: expected an ONNX graph with outputs, got an empty one: export or copy it again"
        )
    return proto


def external_files(model_path: Path, proto: Any) -> list[Path]:
    """The data files the model points to, ordered by location, each once."""
    locations = {
        entry.value
        for tensor in _tensors(proto)
        if tensor.data_location == tensor.EXTERNAL
        for entry in tensor.external_data
        if entry.key == "location"
    }
    return [_checked_file(model_path, location) for location in sorted(locations)]


def _checked_file(model_path: Path, location: str) -> Path:
    """The file at `location`, which must exist in the model's folder.

    As in ONNX Runtime, where the model is itself a symbolic link, the folder it points to counts as its
    folder too.
    """
    what = f"model {model_path}: external data {location[:200]!r}"
    is_absolute = PurePosixPath(location).is_absolute() or PureWindowsPath(location).anchor
    parts = location.replace("\\", "/").split("/")
    file = model_path.parent / location
    homes = (model_path.parent.resolve(), model_path.resolve().parent)
    if "\0" in location or len(location) > _LONGEST_LOCATION:
        raise ModelError(f"{what} is no name that a file can have: export the model again")
    if is_absolute or ".." in parts or not any(file.resolve().is_relative_to(home) for home in homes):
        raise ModelError(
            f"{what} is outside the model's folder: save it beside the model with a relative location"
        )
    if not file.is_file():
        raise ModelError(f"{what} is missing: copy it beside the model")
    return file


def _tensors(proto: Any) -> Iterator[Any]:
    """Every tensor stored in the model: initialisers and attributes, in subgraphs and functions too."""
    yield from _graph_tensors(proto.graph)
    for function in proto.functions:
        yield from _node_tensors(function.node)


def _graph_tensors(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield sparse.values
        yield sparse.indices
    yield from _node_tensors(graph.node)


def _node_tensors(nodes: Any) -> Iterator[Any]:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            if attribute.HasField("g"):
                yield from _graph_tensors(attribute.g)
            for graph in attribute.graphs:
                yield from _graph_tensors(graph)


def _is_unranked(kind: Any) -> bool:
    return kind.HasField("tensor_type") and not kind.tensor_type.HasField("shape")


def _n_parameters(proto: Any) -> int:
    import onnx

    types = onnx.TensorProto.DataType
    wide = {types.Value(f"{sign}INT{bits}") for sign in ("", "U") for bits in (16, 32, 64)}
    others = wide | {types.Value("BOOL"), types.Value("STRING")}
    return sum(math.prod(tensor.dims) for tensor in _tensors(proto) if tensor.data_type not in others)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
