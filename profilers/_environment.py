"""The machine a measurement was made on: what it is, and what state it was in.

One table of small functions for each part. A fact that cannot be found is None, never guessed. No host name,
user name or path is in it: people paste it in public. Two machines of one kind are told apart by a salted
hash of their number, from which the number cannot be had.
"""

import hashlib
import json
import os
import platform
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from profilers import _proc
from profilers._child import _memory

if TYPE_CHECKING:
    from profilers._gpu._installed import InstalledGpus

MACHINE_ID = Path("/etc/machine-id")
ONNXRUNTIME_DISTRIBUTIONS = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml")


def environment() -> dict[str, Any]:
    """The machine now.

    `identity` is what it is and `fingerprint` the hash of that; `software` is what runs on it, which may be
    upgraded while the machine stays the same; `state` is what it does.
    """
    facts: dict[str, Any] = {
        "identity": {name: find() for name, find in IDENTITY.items()},
        "software": {name: find() for name, find in SOFTWARE.items()},
        "state": {name: find() for name, find in STATE.items()},
    }
    return facts | {"fingerprint": fingerprint(facts)}


def fingerprint(environment: Mapping[str, Any]) -> str:
    """Twelve hexadecimal digits that change with the identity of the machine, not with its software or state.

    >>> idle = {"identity": {"cpu": "a"}, "state": {"load": 0}}
    >>> fingerprint(idle) == fingerprint(idle | {"state": {"load": 9}})
    True
    """
    text = json.dumps(environment["identity"], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def physical_cores() -> int | None:
    """Cores in the machine, hyper-threads counted once."""
    psutil = _psutil()
    return None if psutil is None else psutil.cpu_count(logical=False)


def total_memory_bytes() -> int | None:
    """Physical memory."""
    psutil = _psutil()
    return None if psutil is None else psutil.virtual_memory().total


def available_memory_bytes() -> int | None:
    """Memory that could be had without swapping."""
    psutil = _psutil()
    return None if psutil is None else psutil.virtual_memory().available


def has_peak_memory() -> bool:
    """Whether the kernel tells the peak of resident memory and can forget it; it forgets this process's."""
    return _memory.reset_peak() and _memory.status_bytes("VmHWM") is not None


def load_average() -> float | None:
    """Runnable processes, averaged over the last minute."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return None


def onnxruntime_distributions() -> list[str]:
    """The installed ONNX Runtime packages and their versions, which decide the providers; not imported."""
    found = {name: distribution_version(name) for name in ONNXRUNTIME_DISTRIBUTIONS}
    return [f"{name} {number}" for name, number in found.items() if number is not None]


def distribution_version(distribution: str) -> str | None:
    """The version of an installed package, which is not imported; None where it is not installed."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def installed_gpus() -> "InstalledGpus":
    """NVIDIA's GPUs as far as NVML tells of them."""
    from profilers._gpu._installed import installed_gpus  # which hashes by `salted_hash`

    return installed_gpus()


def salted_hash(text: str | None) -> str | None:
    """Eight hexadecimal digits that tell one text from another; None for none.

    >>> salted_hash("9f3c"), salted_hash(" "), salted_hash(None)
    ('1f2832bb', None, None)
    """
    if text is None or not text.strip():
        return None
    return hashlib.sha256(b"moo machine " + text.strip().encode()).hexdigest()[:8]


IDENTITY: dict[str, Callable[[], Any]] = {  # nothing that may change while the machine stays the same
    "cpu_model": _proc.cpu_model,
    "machine": lambda: platform.machine() or None,
    "instruction_sets": _proc.instruction_sets,
    "physical_cores": physical_cores,
    "logical_cores": os.cpu_count,
    "affinity": _proc.affinity,
    "cgroup_cpu_quota": _proc.cgroup_cpu_quota,
    "governor": _proc.governor,
    "total_memory_bytes": total_memory_bytes,
    "is_virtual_machine": _proc.is_virtual_machine,
    "hypervisor": _proc.hypervisor,
    "gpus": lambda: installed_gpus().to_json(),
    "number": lambda: salted_hash(_proc.read_text(MACHINE_ID)),
}
SOFTWARE: dict[str, Callable[[], Any]] = {
    "kernel": lambda: f"{platform.system()} {platform.release()}".strip() or None,
    "python": lambda: f"{platform.python_implementation()} {platform.python_version()}",
    "numpy": lambda: distribution_version("numpy"),
    "onnxruntime": lambda: next(iter(onnxruntime_distributions()), None),
    "torch": lambda: distribution_version("torch"),
    "nvidia_driver": lambda: installed_gpus().driver_version,
}
STATE: dict[str, Callable[[], Any]] = {
    "time": lambda: datetime.now(UTC).isoformat(timespec="seconds"),
    "load_average_1min": load_average,
    "cpu_pressure_avg10": lambda: _proc.pressure("cpu"),
    "memory_pressure_avg10": lambda: _proc.pressure("memory"),
    "steal_share_since_boot": _proc.steal_share,
    "cgroup_n_throttled": _proc.n_throttled,
    "core_clocks_hz": _proc.core_clocks_hz,
    "available_memory_bytes": available_memory_bytes,
}


def _psutil() -> Any:
    """The module psutil, or None where it is not installed."""
    try:
        import psutil  # type: ignore[import-untyped, unused-ignore]
    except ImportError:
        return None
    return psutil
