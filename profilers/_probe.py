"""What the installed ONNX Runtime can do here, found out by doing it in a child process.

That a provider is listed says only that the package was built with it: whether it runs is known when it has
run something. This file is also the child's program, started by path: it imports the standard library, numpy
and onnxruntime only.
"""

import base64
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

MODEL = base64.b64decode(  # y = x + x for one float, in ONNX's IR version 7 and operator set 13
    "CAcSADo1Cg4KAXgKAXgSAXkiA0FkZBIBZ1oPCgF4EgoKCAgBEgQKAggBYg8KAXkSCgoICAESBAoCCAFCBAoAEA0="
)

Outcome = Literal["runs", "idle", "fails"]


@dataclass(frozen=True, slots=True)
class OnnxRuntimeProbe:
    """What was found.

    Attributes:
        providers: By name of each execution provider that the package lists: "runs"; "idle" where it opens
            and leaves the tiny model to the CPU, which a provider for other models may do; or "fails".
        has_operator_times: Whether its profile holds the time of each operator.
        has_arena_memory: Whether its profile holds the memory its arena holds.
        reason: Why nothing was found; None where something was.
    """

    providers: dict[str, Outcome]
    has_operator_times: bool
    has_arena_memory: bool
    reason: str | None = None


def probe_onnxruntime(*, time_limit_s: float = 60.0) -> OnnxRuntimeProbe:
    """Open and run a tiny model with each provider of the installed ONNX Runtime, in a child process."""
    with tempfile.TemporaryDirectory(prefix="moo-probe-") as folder:
        try:
            done = subprocess.run(
                [sys.executable, "-P", str(Path(__file__).absolute()), folder],
                capture_output=True,
                text=True,
                timeout=time_limit_s,
                cwd=folder,
            )
        except subprocess.TimeoutExpired:
            return _nothing(f"it did not open a tiny model within {time_limit_s:g} s")
        except OSError as error:
            return _nothing(f"no process could be started to open a tiny model: {error.strerror}")
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["nothing on stderr"])[-1]
        return _nothing(f"a process that opens a tiny model fails: {last.partition(': ')[0]}")
    return OnnxRuntimeProbe(**json.loads(done.stdout.splitlines()[-1]))


def _nothing(reason: str) -> OnnxRuntimeProbe:
    return OnnxRuntimeProbe({}, has_operator_times=False, has_arena_memory=False, reason=reason)


def _probe(folder: Path) -> dict[str, Any]:
    """The facts of `OnnxRuntimeProbe`; in the child."""
    import onnxruntime

    operators = _operators("CPUExecutionProvider", folder)
    return {
        "providers": {name: _outcome(name, folder) for name in onnxruntime.get_available_providers()},
        "has_operator_times": bool(operators),
        "has_arena_memory": any("mem_arena_held" in facts for facts in operators),
    }


def _outcome(provider: str, folder: Path) -> Outcome:
    """What becomes of a model that is opened with the provider: a missing one raises or stays out."""
    try:
        operators = _operators(provider, folder)
    except Exception:  # the provider's own code, which may raise anything: it does not run
        return "fails"
    return "runs" if any(facts.get("provider") == provider for facts in operators) else "idle"


def _operators(provider: str, folder: Path) -> list[dict[str, Any]]:
    """What the profile of one call says of each operator."""
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.enable_profiling = True
    options.profile_file_prefix = str(folder / provider)
    session = onnxruntime.InferenceSession(MODEL, options, providers=[provider])
    if provider not in session.get_providers():
        raise RuntimeError(f"{provider} did not open")
    session.run(None, {"x": np.ones(1, np.float32)})
    events = json.loads(Path(session.end_profiling()).read_text())
    return [event["args"] for event in events if event.get("cat") == "Node"]


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    sys.stdout.write(json.dumps(_probe(Path(sys.argv[1]))) + "\n")
