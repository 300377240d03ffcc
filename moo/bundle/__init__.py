"""A folder to ship, and the proof on the target that it still holds.

| step | file |
|---|---|
| what a bundle says: `bundle.json`, `moo.bundle/1` | `_record.py`; `_runtime.py`: what it may be run by |
| writing it, whole or not at all | `_write.py`; `_card.py`: its README; `_serve.py`: its script |
| reading what a stranger wrote | `_json.py`, `_files.py`, `_arrays.py`, `_read.py` |
| verifying it | `_verify.py`; `_checks.py`: files, model, outputs; `_promises.py`: KEPT or BROKEN |
| by what tolerance; by what machine | `_outputs.py`; `_machine.py` |

What is told: a file that was damaged, changed, left out or made a link; a model that computes or costs
something else here; data or libraries outside the folder, which are refused. What is not: a bundle whose
maker lies. Who can change the model can change its hash in `bundle.json`, and the promises; only the SHA-256
of `bundle.json`, got by another way, pins it (`verify(.., sha256=..)`). Nor a file that is changed between
its check and its use. Models are run by ONNX Runtime in a process of their own, which is no sandbox: run none
from strangers.
"""

from moo.bundle._checks import Check, Outcome
from moo.bundle._machine import Described, Machine
from moo.bundle._outputs import Tolerance, tolerance_of
from moo.bundle._promises import FEWEST_LAUNCHES, Found, Held, Verdict
from moo.bundle._read import read
from moo.bundle._record import SCHEMA, Bundle, Model, Promise, Sample, Tensor
from moo.bundle._runtime import loads_code, refused_option
from moo.bundle._verify import Verification, verify
from moo.bundle._write import check_place, write

__all__ = [
    "FEWEST_LAUNCHES",
    "SCHEMA",
    "Bundle",
    "Check",
    "Described",
    "Found",
    "Held",
    "Machine",
    "Model",
    "Outcome",
    "Promise",
    "Sample",
    "Tensor",
    "Tolerance",
    "Verdict",
    "Verification",
    "check_place",
    "loads_code",
    "read",
    "refused_option",
    "tolerance_of",
    "verify",
    "write",
]
