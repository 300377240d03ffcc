"""Converts ONNX models to other precisions with ONNX Runtime's own tools, and checks what came out.

Every step works on files in a folder of its own beside the target, which goes away whatever happens.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto

from moo.errors import ExportError, InputError, did_you_mean
from objectives._compression._calibration import activation_ranges, checked_rows, chosen_rows
from objectives._compression._compress import Compression, CompressionFacts
from objectives._compression._graph import with_float_inputs, with_own_gemm_constants, with_signature
from objectives._compression._onnx_files import (
    Prepared,
    check_no_crash,
    check_same_signature,
    integer_kernels,
    one_line,
    open_session,
    prepare,
    quiet,
    save,
)
from profilers import ModelFile, ProfilerError, environment

__all__ = ["convert", "reduced_range"]

_VNNI = frozenset({"avx512_vnni", "avx_vnni", "amx_int8"})
_INTEGER_OPERATORS = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QGemm"})
_HALVES = {TensorProto.FLOAT16: "float16", TensorProto.BFLOAT16: "bfloat16"}


@dataclass(frozen=True)
class _Converted:
    """A converted model, and which nodes of the prepared one are in the lower precision."""

    model: ModelProto
    reduced: Mapping[str, int]
    calibration_rows: int = 0


def convert(
    source: Path,
    target: Path,
    compression: Compression,
    calibration: Mapping[str, NDArray[Any]] | None,
    *,
    seed: int,
    n_threads: int,
) -> CompressionFacts:
    """See `compress`."""
    before = _checked_source(source, target)
    check_possible(compression)
    with (
        tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as name,
        quiet(),
    ):
        folder = Path(name)
        original = _loaded(source)
        if compression.precision == "fp32":
            return _copied(source, target, original, before, folder, n_threads)
        _check_is_float32(original)
        session = open_session(source, n_threads)
        rows = None
        if compression.needs_calibration or calibration is not None:
            rows = checked_rows(session, calibration)
        prepared = prepare(original, folder, n_threads, needs_opset_13="int8" in compression.precision)
        has_range, reason = reduced_range(compression)
        converted = _in_precision(
            prepared, compression, rows, session, folder, seed, n_threads, has_reduced_range=bool(has_range)
        )
        staged = folder / "staged" / target.name
        if converted.reduced:
            save(with_signature(converted.model, original), staged)
        else:
            _stage_copy(source, original, before, staged)
        if compression.precision == "fp16" or compression.exclude:  # graphs of mixed types
            check_no_crash(staged)
        checked = check_same_signature(session, staged, rows, n_threads)
        facts = CompressionFacts(
            compression=str(compression),
            bytes_before=before.bytes,
            bytes_after=ModelFile.read(staged).bytes,
            opset_before=_opset(original),
            opset_after=_opset(converted.model if converted.reduced else original),
            nodes=dict(sorted(Counter(node.op_type for node in prepared.nodes).items())),
            reduced=dict(sorted(converted.reduced.items())),
            integer_kernels=integer_kernels(staged, folder, n_threads),
            calibration_rows=converted.calibration_rows,
            reduce_range=has_range,
            reduce_range_reason=reason,
            checked_rows=checked,
            failed_steps=prepared.failed_steps,
            tools=_tools(),
        )
        del session
        _move(staged, target)
    return facts


def reduced_range(
    compression: Compression, instruction_sets: Sequence[str] | None = None, machine: str | None = None
) -> tuple[bool | None, str | None]:
    """Return whether weights have 7 bits, and why; both None where they are no integers.

    As ONNX Runtime's documentation of quantisation advises: on x86 processors without VNNI, the sum of
    two products of 8-bit integers may not fit 16 bits, and is clipped.

    Args:
        compression: Its own choice counts first.
        instruction_sets: Of the processor; this machine's where None is given for the machine.
        machine: Its architecture, such as x86_64.
    """
    if not compression.precision.startswith("int8"):
        return None, None
    if compression.reduce_range is not None:
        return compression.reduce_range, "as asked"
    if machine is None:
        identity = environment()["identity"]
        instruction_sets, machine = identity["instruction_sets"], identity["machine"] or "unknown"
    if machine.lower() not in ("x86_64", "amd64", "i386", "i686", "x86"):
        return False, f"{machine} is no x86"
    if instruction_sets is None:
        return True, "the processor's instruction sets are unknown"
    found = sorted(_VNNI.intersection(instruction_sets))
    return not found, f"the processor has {found[0]}" if found else "the processor has no VNNI"


def _checked_source(source: Path, target: Path) -> ModelFile:
    """Return the source's identity; refuse paths that cannot be used."""
    if target.exists() and source.exists() and target.samefile(source):
        raise InputError(f"target: expected another file than the source, got {target}")
    if not target.parent.is_dir():
        raise InputError(f"target: {target.parent} is no folder: create it")
    if target.exists() and not target.is_file():
        raise InputError(f"target: expected the path of a file, got {target}")
    try:
        found = ModelFile.read(source)
    except ProfilerError as error:
        raise InputError(f"source: {error}") from error
    data = onnx.load(source, load_external_data=False).graph.initializer
    locations = {entry.value for tensor in data for entry in tensor.external_data if entry.key == "location"}
    for name in sorted(locations):
        for file in (target, target.with_name(f"{target.name}.data")):
            if file.exists() and file.samefile(source.parent / name):
                raise InputError(f"target: {file} holds the source's weights: choose another name")
    return found


def check_possible(compression: Compression) -> None:
    if compression.precision == "bf16":
        raise InputError(
            f"compression {compression}: ONNX Runtime's CPU provider, the one served, has no bfloat16 kernels"
            " for MatMul or Conv: choose fp16 or int8-static"
        )
    known = {schema.name for schema in onnx.defs.get_all_schemas()} | {*_dynamic_types(), *_static_types()}
    for name in compression.exclude:
        if name not in known:
            raise InputError(f"compression, exclude: knows no operator type {name!r}: {_near(name, known)}")


def _near(name: str, known: set[str]) -> str:
    hint = did_you_mean(name, known)
    return hint if hint.startswith("did") else "see https://onnx.ai/onnx/operators"


def _loaded(source: Path) -> ModelProto:
    """Return the model with its external data."""
    try:
        return onnx.load(source)
    except Exception as error:  # missing or short data files, each with an error of its own
        raise InputError(f"source {source}: its external data cannot be read: {one_line(error)}") from error


def _check_is_float32(model: ModelProto) -> None:
    """Refuse a model that somebody has converted before."""
    integers = Counter(
        node.op_type
        for node in model.graph.node
        if node.op_type in _INTEGER_OPERATORS
        or node.op_type.startswith("QLinear")
        or "Integer" in node.op_type
    )
    if integers:
        listed = ", ".join(f"{name} {n}" for name, n in sorted(integers.items()))
        raise ExportError(
            f"the source is quantised already ({listed}): convert the float32 model that it was made from"
        )
    types = {tensor.data_type for tensor in model.graph.initializer}
    types |= {item.type.tensor_type.elem_type for item in [*model.graph.input, *model.graph.output]}
    types |= {a.t.data_type for node in model.graph.node for a in node.attribute if a.HasField("t")}
    for code in sorted(types & set(_HALVES)):
        raise ExportError(
            f"the source holds {_HALVES[code]} already: convert the float32 model that it was made from"
        )


def _copied(
    source: Path, target: Path, original: ModelProto, before: ModelFile, folder: Path, n_threads: int
) -> CompressionFacts:
    """Copy the model into place and return what there is to say of it."""
    staged = folder / "staged" / target.name
    session = open_session(source, n_threads)
    _stage_copy(source, original, before, staged)
    checked = check_same_signature(session, staged, None, n_threads)
    after = ModelFile.read(staged).bytes
    del session
    _move(staged, target)
    return CompressionFacts(
        compression="fp32",
        bytes_before=before.bytes,
        bytes_after=after,
        opset_before=_opset(original),
        opset_after=_opset(original),
        nodes=dict(
            sorted(Counter(n.op_type for n in original.graph.node if n.op_type != "Constant").items())
        ),
        checked_rows=checked,
        tools=_tools(),
    )


def _stage_copy(source: Path, original: ModelProto, before: ModelFile, staged: Path) -> None:
    """Copy the model as it is: byte for byte, but for the name of its data file where it has one."""
    if before.bytes > source.stat().st_size:
        save(original, staged, is_external=True)
    else:
        staged.parent.mkdir()
        shutil.copyfile(source, staged)


def _in_precision(
    prepared: Prepared,
    compression: Compression,
    rows: Mapping[str, NDArray[Any]] | None,
    session: Any,
    folder: Path,
    seed: int,
    n_threads: int,
    *,
    has_reduced_range: bool,
) -> _Converted:
    try:
        if compression.precision == "fp16":
            return _half(prepared, compression)
        if compression.precision == "int8-dynamic":
            return _dynamic(prepared, compression, folder, has_reduced_range=has_reduced_range)
        assert rows is not None
        chosen, batch = chosen_rows(rows, session, compression, seed)
        types = sorted(set(_static_types()) - set(compression.exclude))
        ranges = None
        if {node.op_type for node in prepared.nodes} & set(types):
            ranges = activation_ranges(
                prepared.path,
                chosen,
                batch,
                types,
                compression,
                open_session=lambda path: open_session(path, n_threads, "ORT_DISABLE_ALL"),
                is_large=prepared.is_large,
            )
        n_rows = len(next(iter(chosen.values())))
        if ranges is None:
            return _Converted(prepared.model, {}, n_rows)
        return _static(prepared, compression, ranges, types, n_rows, has_reduced_range=has_reduced_range)
    except (ExportError, InputError):
        raise
    except Exception as error:  # whatever ONNX Runtime's tools meet in a model
        raise ExportError(
            f"ONNX Runtime could not convert the model to {compression}: {one_line(error)}"
        ) from error


def _half(prepared: Prepared, compression: Compression) -> _Converted:
    """Float16 inside, the inputs and outputs as they were."""
    paths = sys.path.copy()
    try:  # the package adds its own folder to the paths of everybody
        from onnxruntime.transformers import float16
    finally:
        sys.path[:] = paths
    from onnxruntime.quantization.onnx_model import ONNXModel

    model = ModelProto()
    model.CopyFrom(prepared.model)
    model = float16.convert_float_to_float16(
        model,
        keep_io_types=True,
        disable_shape_infer=True,
        op_block_list=[*float16.DEFAULT_OP_BLOCK_LIST, *compression.exclude],
    )
    wrapped = ONNXModel(model)
    wrapped.topological_sort()  # casts are appended at the end
    model = wrapped.model
    halves = {tensor.name for tensor in model.graph.initializer if tensor.data_type == TensorProto.FLOAT16}
    halves |= {
        item.name for item in model.graph.value_info if item.type.tensor_type.elem_type == TensorProto.FLOAT16
    }
    by_name = {node.name: node for node in model.graph.node}
    reduced = [
        node
        for node in prepared.nodes
        if node.op_type not in ("Cast", "Shape", "Size")  # these compute nothing in floats
        and halves & {*by_name[node.name].input, *by_name[node.name].output}
    ]
    return _Converted(model, Counter(node.op_type for node in reduced))


def _dynamic(
    prepared: Prepared, compression: Compression, folder: Path, *, has_reduced_range: bool
) -> _Converted:
    """Weights in int8; ranges of activations are found at each call."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    types = sorted(set(_dynamic_types()) - set(compression.exclude))
    candidates = {*types, "Gemm"} if "MatMul" in types else set(types)
    excluded = [node.name for node in prepared.nodes if node.op_type in compression.exclude]
    if not candidates & {node.op_type for node in prepared.nodes}:
        return _Converted(prepared.model, {})
    model = ModelProto()
    model.CopyFrom(prepared.model)
    path = folder / "dynamic.onnx"
    quantize_dynamic(
        save(
            with_own_gemm_constants(model), folder / "unshared" / "model.onnx", is_external=prepared.is_large
        ),
        path,
        op_types_to_quantize=types,
        nodes_to_exclude=[*excluded, *(f"{name}_MatMul" for name in excluded)],
        per_channel=compression.per_channel,
        reduce_range=has_reduced_range,
        weight_type=QuantType.QInt8,
        use_external_data_format=prepared.is_large,
    )
    model = onnx.load(path)
    kept = {node.name for node in model.graph.node}
    reduced = [node for node in prepared.nodes if not kept & {node.name, f"{node.name}_MatMul"}]
    return _Converted(model, Counter(node.op_type for node in reduced))


def _static(
    prepared: Prepared,
    compression: Compression,
    ranges: Any,
    types: Sequence[str],
    n_rows: int,
    *,
    has_reduced_range: bool,
) -> _Converted:
    """Weights in int8, and activations between pairs of QuantizeLinear and DequantizeLinear (QDQ)."""
    from onnxruntime.quantization import QDQQuantizer, QuantType

    model = ModelProto()
    model.CopyFrom(prepared.model)
    if compression.per_channel:
        model = with_own_gemm_constants(model)
    activations = {"quint8": QuantType.QUInt8, "qint8": QuantType.QInt8}[compression.activations]
    quantizer = QDQQuantizer(
        model,
        compression.per_channel,
        has_reduced_range,
        QuantType.QInt8,
        activations,
        ranges,
        [],
        [],
        list(types),
        {},
    )
    quantizer.quantize_model()
    quantizer.model.topological_sort()
    model = with_float_inputs(quantizer.model.model, compression.exclude)
    by_name = {node.name: node for node in model.graph.node}
    integers = {output for n in model.graph.node if n.op_type == "DequantizeLinear" for output in n.output}
    reduced = [
        node
        for node in prepared.nodes
        if node.op_type in types
        and (node.name not in by_name or (node.input and by_name[node.name].input[0] in integers))
    ]
    return _Converted(model, Counter(node.op_type for node in reduced), n_rows)


def _dynamic_types() -> list[str]:
    from onnxruntime.quantization.registry import IntegerOpsRegistry

    return list(IntegerOpsRegistry)


def _static_types() -> list[str]:
    from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

    return [*QLinearOpsRegistry, *QDQRegistry]


def _opset(model: ModelProto) -> int:
    """Return the version of the default operator set; 0 where the model uses none."""
    return max((item.version for item in model.opset_import if item.domain in ("", "ai.onnx")), default=0)


def _tools() -> dict[str, str]:
    return {"onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__}


def _move(staged: Path, target: Path) -> None:
    """Put a model in its place: its data first, so that where a model is, it is whole."""
    target.unlink(missing_ok=True)
    data = target.with_name(f"{target.name}.data")
    data.unlink(missing_ok=True)
    for file in sorted(staged.parent.iterdir(), key=lambda file: file == staged):
        file.replace(target.with_name(file.name))
