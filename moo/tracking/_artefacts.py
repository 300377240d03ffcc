"""The files of a trial's artefact."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import onnx

__all__ = ["artefact_files"]


def artefact_files(root: Path, artefact: Mapping[str, Any] | None, *, max_bytes: int) -> list[Path]:
    """Return an artefact's file and the external data files of an ONNX model, which lie beside it.

    Nothing where there is no artefact, where it is larger than `max_bytes` with its data, and where a file is
    not there any more.

    Args:
        root: The study's folder.
        artefact: As `moo.evaluation.Artefact`: `path` below `root`, and `bytes`.
        max_bytes: How large it may be.
    """
    if artefact is None or artefact["bytes"] > max_bytes:
        return []
    path = root / artefact["path"]
    if not path.is_file():
        return []
    if path.suffix != ".onnx":
        return [path]
    graph = onnx.load(path, load_external_data=False).graph
    names = dict.fromkeys(name for tensor in _tensors(graph) for name in _locations(tensor))
    home = path.parent.resolve()
    files = [path, *((home / name).resolve() for name in names)]
    is_whole = all(file.is_file() and file.resolve().is_relative_to(home) for file in files)
    return files if is_whole else []


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            yield attribute.t
            yield from attribute.tensors
            for inner in (attribute.g, *attribute.graphs):
                if inner.node or inner.initializer:
                    yield from _tensors(inner)


def _locations(tensor: onnx.TensorProto) -> list[str]:
    if tensor.data_location != onnx.TensorProto.EXTERNAL:
        return []
    return [entry.value for entry in tensor.external_data if entry.key == "location"]
