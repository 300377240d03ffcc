"""`serve.py` of a bundle: what loads and runs its model with onnxruntime and numpy alone."""

__all__ = ["SERVE"]

SERVE = '''"""Loads and runs this model with onnxruntime and numpy alone; `python serve.py` tries it on the sample."""

import json
from pathlib import Path

import numpy as np
import onnxruntime as ort

HERE = Path(__file__).resolve().parent
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}
LEVELS = {"disable": "DISABLE_ALL", "basic": "ENABLE_BASIC", "extended": "ENABLE_EXTENDED", "all": "ENABLE_ALL"}


def load():
    runtime = json.loads((HERE / "runtime.json").read_text(encoding="utf-8"))
    session, provider = {"session.intra_op.allow_spinning": str(int(runtime["allow_spinning"]))}, {}
    for key, value in runtime["options"].items():
        if key not in ("io", "graph"):  # ways to call it, not to set it up
            (session if "." in key else provider)[key] = value
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = runtime["intra_op_num_threads"], 1
    options.enable_cpu_mem_arena = runtime["enable_arena"]
    level = "ORT_" + LEVELS[runtime["graph_optimization_level"]]
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, level)
    for key, value in session.items():
        options.add_session_config_entry(key, value)
    name, _, device = runtime["provider"].partition(":")
    provider |= {} if name == "cpu" else {"device_id": device or "0"}
    return ort.InferenceSession(HERE / "@MODEL@", options, providers=[(PROVIDERS[name], provider)])


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
"""Its text; `@MODEL@` stands for the path of the model."""
