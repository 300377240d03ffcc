"""`serve.py` of a bundle: what loads and runs its model with onnxruntime and numpy alone."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

__all__ = ["serve_script"]

_PROVIDERS: Mapping[str, str] = MappingProxyType(
    {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}
)
_LEVELS: Mapping[str, str] = MappingProxyType(
    {"disable": "DISABLE_ALL", "basic": "ENABLE_BASIC", "extended": "ENABLE_EXTENDED", "all": "ENABLE_ALL"}
)
_CALLING = ("io", "graph")  # options that say how it is called, not how it is set up
_SCRIPT = '''"""Loads and runs this model with onnxruntime and numpy alone; `python serve.py` tries it on the sample."""

from pathlib import Path

import numpy as np
import onnxruntime as ort

HERE = Path(__file__).resolve().parent


def load():
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = @THREADS@, 1
    options.enable_cpu_mem_arena = @ARENA@
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_@LEVEL@
    for key, value in @SESSION@.items():
        options.add_session_config_entry(key, value)
    return ort.InferenceSession(HERE / @MODEL@, options, providers=[@PROVIDER@])


def run(session, inputs):
    """The outputs by name of one call, for arrays by input name."""
    feeds = {name: np.asarray(array) for name, array in inputs.items()}
    feeds = {name: a.astype(object) if a.dtype.kind == "U" else a for name, a in feeds.items()}
    return dict(zip([item.name for item in session.get_outputs()], session.run(None, feeds)))


if __name__ == "__main__":
    session, sample, expected = load(), *(np.load(HERE / f) for f in ("sample_inputs.npz", "expected_outputs.npz"))
    for call in range(len(sample[sample.files[0]])):
        for name, got in run(session, {k: sample[k][call] for k in sample.files}).items():
            same = np.allclose(got, expected[name][call], 1e-2, 1e-2) if got.dtype.kind == "f" else "-"
            print(f"call {call + 1}: {name} {got.dtype} {got.shape}, close to what is expected: {same}")
'''  # noqa: E501  (lines of its own)


def serve_script(runtime: Mapping[str, Any], model_path: str) -> str:
    """Return the script, the runtime's settings written out in it.

    Args:
        runtime: As `checked_runtime` passes it.
        model_path: Of the ONNX file, below the bundle's folder.
    """
    name, _, device = str(runtime["provider"]).partition(":")
    session = {"session.intra_op.allow_spinning": str(int(runtime["allow_spinning"]))}
    provider = {} if name == "cpu" else {"device_id": device or "0"}
    for key, value in runtime["options"].items():
        if key not in _CALLING:
            (session if "." in key else provider)[key] = value
    written = {
        "@THREADS@": int(runtime["intra_op_num_threads"]),
        "@ARENA@": bool(runtime["enable_arena"]),
        "@SESSION@": session,
        "@MODEL@": model_path,
        "@PROVIDER@": (_PROVIDERS[name], provider),
    }
    text = _SCRIPT.replace("@LEVEL@", _LEVELS[runtime["graph_optimization_level"]])
    for mark, value in written.items():
        text = text.replace(mark, repr(value))
    return text
