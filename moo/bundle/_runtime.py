"""How a bundle's model is run: the runtime and the protocol, checked before anything is run by them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from moo.bundle._json import Fields
from moo.errors import InputError

__all__ = ["checked_protocol", "checked_runtime", "loads_code", "refused_option"]

_PROVIDERS = ("cpu", "cuda", "tensorrt")
_LEVELS = ("disable", "basic", "extended", "all")
_MOST_THREADS = 1024
_MOST_ROWS = 2**31
_RUNS_CODE = re.compile(r"librar|lib_|plugin|custom_op|gpu_external|compute_stream", re.IGNORECASE)
_NAMES_A_FILE = re.compile(
    r"path|(?<!pro)file|folder|directory\b|dump|calibration_table|ep\.context", re.IGNORECASE
)
_LIMITS: Mapping[str, int] = MappingProxyType(
    {"launches": 100, "max_launches": 100, "min_calls": 10**6, "max_calls": 10**6, "warmup_window": 10**4}
)
_MOST_SECONDS = 600.0


def loads_code(name: str) -> bool:
    """Return whether an option of that name has code loaded, or called where it says.

    >>> loads_code("custom_ops_library"), loads_code("session.set_denormal_as_zero")
    (True, False)
    """
    return _RUNS_CODE.search(name) is not None


def refused_option(name: str, value: str) -> str | None:
    """Return why an option of the runtime cannot be in a bundle; None where it can.

    Options that name a library have code loaded from it, and those that hold an address have what lies there
    called; those that name a file or folder make the model
    depend on what is not in the bundle, or write there.

    >>> refused_option("session.set_denormal_as_zero", "1") is None
    True
    >>> refused_option("custom_ops_library", "ops.so")
    'custom_ops_library=ops.so loads code: a bundle holds data alone, and what runs it would run that too'
    """
    if loads_code(name):
        return f"{name}={value} loads code: a bundle holds data alone, and what runs it would run that too"
    if _NAMES_A_FILE.search(name) or "/" in value or "\\" in value:
        return f"{name}={value} names a file: a bundle is one folder, and nothing outside it is touched"
    return None


def checked_runtime(fields: Fields) -> dict[str, Any]:
    """Return a runtime as `Evaluation.runtime` has it, `precision` among its fields.

    Raises:
        InputError: For a provider that ONNX Runtime does not have, a value that cannot be, or an option that
            reaches outside the bundle.
    """
    provider = fields.text("provider")
    if not re.fullmatch(rf"(?:{'|'.join(_PROVIDERS)})(?::\d{{1,3}})?", provider):
        raise fields.wrong("provider", f"one of {', '.join(_PROVIDERS)}, which ONNX Runtime has")
    fields.count("intra_op_num_threads", least=1, most=_MOST_THREADS)
    fields.count("batch", least=1, most=_MOST_ROWS)
    fields.word("graph_optimization_level", _LEVELS)
    for name in ("allow_spinning", "enable_arena"):
        if not isinstance(fields.record.get(name), bool):
            raise fields.wrong(name, "true or false")
    options = fields.mapping("options")
    for name, value in options.items():
        if not isinstance(value, str):
            raise fields.wrong("options", "texts by name")
        reason = refused_option(name, value)
        if reason is not None:
            raise InputError(f"{fields.where}, options: {' '.join(reason.split())}"[:500])
    fields.text_or_none("precision")
    return dict(fields.record)


def checked_protocol(fields: Fields) -> dict[str, Any]:
    """Return a protocol of the profilers, none of whose times or counts are beyond reason.

    Raises:
        InputError: For a value that would keep a machine busy for hours.
    """
    for name in fields.record:
        if name.endswith("_s") and fields.number(name) > _MOST_SECONDS:
            raise fields.wrong(name, f"at most {_MOST_SECONDS:g} seconds")
        if name in _LIMITS and fields.record[name] is not None:
            fields.count(name, most=_LIMITS[name])
    return dict(fields.record)
