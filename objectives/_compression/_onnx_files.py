"""ONNX models as files: preparing them for quantisation, saving, opening and comparing them."""

from __future__ import annotations

import contextlib
import logging
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto

from moo.errors import ExportError
from objectives._quiet import silenced

__all__ = [
    "Prepared",
    "check_no_crash",
    "check_same_signature",
    "integer_kernels",
    "one_line",
    "open_session",
    "prepare",
    "quiet",
    "save",
]

_INLINE_LIMIT_BYTES = 2**30  # a protobuf file ends at 2 GiB; larger weights go beside the file
_PER_CHANNEL_OPSET = 13  # the first whose QuantizeLinear has an axis
_NUMBERS = {"float": "f4", "double": "f8", "float16": "f2", "bool": "?"} | {
    f"{sign}int{bits}": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)
}
_GUESSED_SIZES = (2, 1, 16)  # of symbolic dimensions, tried in turn


@dataclass(frozen=True)
class Prepared:
    """A model ready for quantisation.

    Attributes:
        path: Of its file.
        model: What is in it, each node with a name of its own.
        nodes: Its nodes but for constants.
        is_large: Whether its weights are beside the file.
        failed_steps: Steps that failed and were left out, with the reason.
    """

    path: Path
    model: ModelProto
    nodes: tuple[NodeProto, ...]
    is_large: bool
    failed_steps: tuple[str, ...]


def prepare(original: ModelProto, folder: Path, n_threads: int, *, needs_opset_13: bool) -> Prepared:
    """Return the model with shapes inferred and ONNX Runtime's basic optimisation done.

    These are the steps of ONNX Runtime's own preparation (`quant_pre_process`), each on its own, so
    that what fails is known, threads are set, and nothing is printed.

    Raises:
        ExportError: If the opset is too old and cannot be converted.
    """
    failed: list[str] = []
    model = _with_opset_13(original) if needs_opset_13 else original
    try:
        model = _with_symbolic_shapes(model)
    except Exception as error:  # whatever it meets in a model
        failed.append(f"symbolic shape inference: {one_line(error)}")
    is_large = _weight_bytes(model) > _INLINE_LIMIT_BYTES
    shaped = save(model, folder / "shaped" / "model.onnx")
    optimised = folder / "optimised.onnx"
    try:
        open_session(shaped, n_threads, "ORT_ENABLE_BASIC", written_to=optimised, is_external=is_large)
    except ExportError as error:
        failed.append(f"optimisation: {error}")
        optimised = shaped
    inferred = optimised.with_name("inferred.onnx")
    try:
        onnx.shape_inference.infer_shapes_path(str(optimised), str(inferred))
        model = onnx.load(inferred)
    except Exception as error:  # as above
        failed.append(f"shape inference: {one_line(error)}")
        model = onnx.load(optimised)
    _name_nodes(model)
    path = save(model, folder / "prepared" / "model.onnx", is_external=is_large)
    nodes = tuple(node for node in model.graph.node if node.op_type != "Constant")
    return Prepared(path, model, nodes, is_large, tuple(failed))


def _with_symbolic_shapes(model: ModelProto) -> ModelProto:
    """Return the model with the shapes that ONNX Runtime's symbolic inference finds.

    The steps are those of its `infer_shapes`, which writes a file into the working folder where it fails.
    """
    from onnxruntime.tools.symbolic_shape_infer import SymbolicShapeInference  # needs sympy

    inference = SymbolicShapeInference(int_max=2**31 - 1, auto_merge=True, guess_output_rank=False, verbose=0)
    inference._preprocess(model)
    is_whole = False
    while inference.run_:
        is_whole = inference._infer_impl()
    inference._update_output_from_vi()
    if not is_whole:
        raise ExportError("some shapes cannot be told")
    found: ModelProto = inference.out_mp_
    return found


def _with_opset_13(model: ModelProto) -> ModelProto:
    """Return the model in opset 13 at least, where a scale for each channel can be said."""
    versions = [item.version for item in model.opset_import if item.domain in ("", "ai.onnx")]
    if not versions or versions[0] >= _PER_CHANNEL_OPSET:
        return model
    try:
        return onnx.version_converter.convert_version(model, _PER_CHANNEL_OPSET)
    except Exception as error:  # an operator without a converter
        raise ExportError(
            f"opset {versions[0]}: int8 needs {_PER_CHANNEL_OPSET} or later, and the model could not be"
            f" converted ({one_line(error)}): export it again with a later opset"
        ) from error


def _name_nodes(model: ModelProto) -> None:
    """Give a name to each node that has none or shares it."""
    seen: set[str] = {""}
    for index, node in enumerate(model.graph.node):
        if node.name in seen:
            node.name = f"{node.op_type}_{index}_of_{len(model.graph.node)}"
        seen.add(node.name)


def _weight_bytes(model: ModelProto) -> int:
    return sum(len(t.raw_data) + 4 * (len(t.float_data) + len(t.int32_data)) for t in model.graph.initializer)


def save(model: ModelProto, path: Path, *, is_external: bool = False) -> Path:
    """Write a model and return its path; above 1 GiB of weights, or on demand, they go to `<path>.data`."""
    path.parent.mkdir(exist_ok=True)
    if is_external or _weight_bytes(model) > _INLINE_LIMIT_BYTES:
        copy = ModelProto()  # the weights of what is saved are taken out of it
        copy.CopyFrom(model)
        onnx.save_model(
            copy, path, save_as_external_data=True, location=f"{path.name}.data", size_threshold=0
        )
    else:
        onnx.save_model(model, path)
    return path


def open_session(
    model: Path,
    n_threads: int,
    level: str = "ORT_ENABLE_ALL",
    *,
    written_to: Path | None = None,
    is_external: bool = False,
) -> Any:
    """Return an ONNX Runtime session on the CPU that says nothing.

    Args:
        model: Path of the model.
        n_threads: Threads within an operator.
        level: How far the graph is optimised.
        written_to: Where the optimised model is written.
        is_external: Whether its weights are written beside it.

    Raises:
        ExportError: If ONNX Runtime cannot load the model.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = n_threads, 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    options.log_severity_level = 4
    if written_to is not None:
        options.optimized_model_filepath = str(written_to)
        if is_external:
            key = "session.optimized_model_external_initializers_file_name"
            options.add_session_config_entry(key, f"{written_to.name}.data")
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no base of their own
        raise ExportError(f"ONNX Runtime cannot load the model: {one_line(error)}") from error


_OPENING = """
import sys, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads, options.log_severity_level = 1, 4
onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
"""


def check_no_crash(model: Path) -> None:
    """Refuse a model at which ONNX Runtime ends the process, as its optimiser does at some mixed graphs.

    Raises:
        ExportError: If a process of its own is killed by a signal while it opens the model.
    """
    done = subprocess.run([sys.executable, "-c", _OPENING, str(model)], capture_output=True, check=False)
    if done.returncode < 0:
        raise ExportError(
            f"ONNX Runtime {onnxruntime.__version__} crashes (signal {-done.returncode}) while it loads the"
            " converted model: leave out other operator types, or none"
        )


def integer_kernels(model: Path, folder: Path, n_threads: int) -> dict[str, int]:
    """Return the nodes by operator type that compute in integers once ONNX Runtime has optimised fully."""
    written = folder / "loaded" / "model.onnx"
    written.parent.mkdir()
    open_session(model, n_threads, written_to=written, is_external=True)
    nodes = onnx.load(written, load_external_data=False).graph.node
    return dict(sorted(Counter(node.op_type for node in nodes if _is_integer(node)).items()))


def _is_integer(node: NodeProto) -> bool:
    """Return whether an operator computes in integers of 8 bits, not only converts to them."""
    name = node.op_type
    if name in ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"):
        return False
    is_own = node.domain.startswith("com.microsoft") and name[:1] == "Q" and name[1:2].isupper()
    return is_own or name.startswith(("QLinear", "DynamicQuantize")) or "Integer" in name


def check_same_signature(
    source: Any, target: Path, rows: Mapping[str, NDArray[Any]] | None, n_threads: int
) -> int:
    """Refuse a model with other inputs or outputs than the source's; return the rows both were run on.

    Args:
        source: A session of the source.
        target: The converted model.
        rows: Real inputs, of which the first are used; made up where None.
        n_threads: Threads of ONNX Runtime.

    Raises:
        ExportError: If the model does not load or run, or a name, type or shape differs. Dimensions
            that depend on values, being neither fixed nor an input's, may differ.
    """
    session = open_session(target, n_threads)
    for kind in ("inputs", "outputs"):
        theirs, ours = ([(i.name, i.type) for i in getattr(s, f"get_{kind}")()] for s in (source, session))
        if ours != theirs:
            raise ExportError(f"the converted model has the {kind} {ours}, the source {theirs}")
    for feed in _feeds(source, rows):
        try:
            expected = source.run(None, feed)
        except Exception:  # noqa: S112  (made-up inputs need not suit a model)
            continue
        try:
            returned = session.run(None, feed)
        except Exception as error:  # ONNX Runtime's errors have no base of their own
            raise ExportError(f"the converted model does not run: {one_line(error)}") from error
        for item, ours, theirs in zip(source.get_outputs(), returned, expected, strict=True):
            _check_same_shape(item, _known_symbols(source), ours, theirs)
        return max((len(a) for a in feed.values() if np.ndim(a)), default=1)
    return 0


def _known_symbols(session: Any) -> set[str]:
    return {size for item in session.get_inputs() for size in item.shape or () if isinstance(size, str)}


def _check_same_shape(item: Any, symbols: set[str], ours: Any, theirs: Any) -> None:
    if not isinstance(theirs, np.ndarray):  # a sequence or map, of the same type as its signature says
        return
    declared = item.shape or ()
    is_known = [isinstance(size, int) or size in symbols for size in declared] or [True] * theirs.ndim
    same = len(ours.shape) == len(theirs.shape) == len(is_known) and all(
        a == b for a, b, known in zip(ours.shape, theirs.shape, is_known, strict=True) if known
    )
    if not same:
        raise ExportError(
            f"output {item.name!r}: the converted model gives shape {ours.shape}, the source {theirs.shape}"
        )


def _feeds(session: Any, rows: Mapping[str, NDArray[Any]] | None) -> Iterator[dict[str, Any]]:
    """Yield inputs to try: real rows, as many as the model takes, then zeros of guessed sizes."""
    items = session.get_inputs()
    fixed = [item.shape[0] for item in items if item.shape and isinstance(item.shape[0], int)]
    if rows is not None:
        yield {name: array[: max(fixed, default=2)] for name, array in rows.items()}
    for size in _GUESSED_SIZES:
        feed = {item.name: _zeros(item, size) for item in items}
        if all(array is not None for array in feed.values()):
            yield feed


def _zeros(item: Any, size: int) -> NDArray[Any] | None:
    """Return zeros for an input; None for what is no tensor."""
    shape = tuple(given if isinstance(given, int) else size for given in item.shape or ())
    name = item.type.removeprefix("tensor(").removesuffix(")")
    if name == "string":
        return np.full(shape, "", dtype=object)
    return np.zeros(shape, dtype=_NUMBERS[name]) if name in _NUMBERS else None


def one_line(error: BaseException) -> str:
    """Return an error's first line, without ONNX Runtime's code in front, or its type where it is empty."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].removeprefix("[ONNXRuntimeError] : ") if lines else type(error).__name__


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the chatter of ONNX Runtime's tools from the person; other libraries' messages go on."""
    root, own = logging.getLogger(), logging.getLogger("onnxruntime")
    level, silent = own.level, logging.NullHandler()

    def is_other(record: logging.LogRecord) -> bool:
        return "onnxruntime" not in record.pathname

    root.addFilter(is_other)  # it logs warnings to the root, which would otherwise set up handlers for all
    root.addHandler(silent)
    own.setLevel(logging.CRITICAL)
    try:
        with silenced():
            yield
    finally:
        own.setLevel(level)
        root.removeHandler(silent)
        root.removeFilter(is_other)
