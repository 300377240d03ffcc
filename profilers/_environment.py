"""The machine a measurement was made on: what it is, and what state it was in.

One table of small functions for each part. A fact that cannot be found is None, never guessed. No host name,
user name or path is in it: people paste it in public.
"""

import hashlib
import json
import os
import platform
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

INSTRUCTION_SETS = frozenset(
    {"sse4_2", "avx", "avx2", "fma", "f16c", "avx_vnni"}
    | {"avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx512_bf16", "avx512_fp16"}
    | {"amx_tile", "amx_int8", "amx_bf16"}
    | {"asimd", "asimddp", "asimdhp", "i8mm", "bf16", "sve", "sve2"}
)
ONNXRUNTIME_DISTRIBUTIONS = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml")


def environment() -> dict[str, Any]:
    """The machine now: `identity`, what it is; `fingerprint`, the hash of that; `state`, what it does."""
    facts: dict[str, Any] = {
        "identity": {name: find() for name, find in IDENTITY.items()},
        "state": {name: find() for name, find in STATE.items()},
    }
    return facts | {"fingerprint": fingerprint(facts)}


def fingerprint(environment: Mapping[str, Any]) -> str:
    """Twelve hexadecimal digits that change with the identity of the machine and not with its state.

    >>> idle = {"identity": {"cpu": "a"}, "state": {"load": 0}}
    >>> fingerprint(idle) == fingerprint(idle | {"state": {"load": 9}})
    True
    """
    text = json.dumps(environment["identity"], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def cpu_model() -> str | None:
    """The processor's name, as the kernel tells it."""
    return _cpuinfo("model name")


def instruction_sets() -> list[str] | None:
    """Those of the processor's instruction sets that decide how fast a model runs, sorted."""
    flags = _cpuinfo("flags") or _cpuinfo("Features")
    return None if flags is None else sorted(INSTRUCTION_SETS.intersection(flags.split()))


def physical_cores() -> int | None:
    """Cores in the machine, hyper-threads counted once."""
    psutil = _psutil()
    return None if psutil is None else psutil.cpu_count(logical=False)


def affinity() -> list[int] | None:
    """The logical cores this process may use, sorted."""
    try:
        return sorted(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return None


def cgroup_cpu_quota() -> float | None:
    """Cores' worth of time the control group allows; None where there is no limit, or none can be read.

    The smallest limit on the way up to the root counts, in version 2 as in version 1.
    """
    limits = [quota for text in _cgroup_texts() if (quota := parse_cpu_quota(text)) is not None]
    return min(limits, default=None)


def parse_cpu_quota(text: str) -> float | None:
    """Cores' worth of time in "quota period", both in microseconds; None where there is no limit.

    >>> parse_cpu_quota("150000 100000"), parse_cpu_quota("max 100000"), parse_cpu_quota("-1 100000")
    (1.5, None, None)
    """
    fields = text.split()
    if len(fields) != 2 or not all(field.isdigit() for field in fields) or int(fields[1]) == 0:
        return None
    return int(fields[0]) / int(fields[1])


def governor() -> str | None:
    """The frequency governor of the first core; "none" where Linux controls no frequency."""
    if sys.platform != "linux":
        return None
    return _text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor") or "none"


def total_memory_bytes() -> int | None:
    """Physical memory."""
    psutil = _psutil()
    return None if psutil is None else psutil.virtual_memory().total


def is_virtual_machine() -> bool | None:
    """Whether the processor says that a hypervisor runs it; None where it cannot say."""
    flags = _cpuinfo("flags")
    return None if flags is None else "hypervisor" in flags.split()


def hypervisor() -> str | None:
    """The product name the firmware gives, in a virtual machine."""
    return _text("/sys/class/dmi/id/product_name") if is_virtual_machine() else None


def onnxruntime_distribution() -> str | None:
    """The installed ONNX Runtime package and its version, which decide the providers; it is not imported."""
    found = {name: _version(name) for name in ONNXRUNTIME_DISTRIBUTIONS}
    return next((f"{name} {number}" for name, number in found.items() if number is not None), None)


def load_average() -> float | None:
    """Runnable processes, averaged over the last minute."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return None


def cpu_pressure() -> float | None:
    """Percent of the last 10 s in which some process waited for a processor."""
    return parse_pressure(_text("/proc/pressure/cpu") or "")


def parse_pressure(text: str) -> float | None:
    """The 10 s average of the line "some" in a pressure file of Linux.

    >>> parse_pressure("some avg10=1.25 avg60=0.33 avg300=0.18 total=3348967")
    1.25
    """
    for line in text.splitlines():
        kind, *fields = line.split() or [""]
        averages = dict(field.split("=", 1) for field in fields if "=" in field)
        if kind == "some" and "avg10" in averages:
            return float(averages["avg10"])
    return None


def available_memory_bytes() -> int | None:
    """Memory that could be had without swapping."""
    psutil = _psutil()
    return None if psutil is None else psutil.virtual_memory().available


IDENTITY: dict[str, Callable[[], Any]] = {
    "cpu_model": cpu_model,
    "machine": lambda: platform.machine() or None,
    "instruction_sets": instruction_sets,
    "physical_cores": physical_cores,
    "logical_cores": os.cpu_count,
    "affinity": affinity,
    "cgroup_cpu_quota": cgroup_cpu_quota,
    "governor": governor,
    "total_memory_bytes": total_memory_bytes,
    "kernel": lambda: f"{platform.system()} {platform.release()}".strip() or None,
    "is_virtual_machine": is_virtual_machine,
    "hypervisor": hypervisor,
    "python": lambda: f"{platform.python_implementation()} {platform.python_version()}",
    "numpy": lambda: _version("numpy"),
    "onnxruntime": onnxruntime_distribution,
}
STATE: dict[str, Callable[[], Any]] = {
    "time": lambda: datetime.now(UTC).isoformat(timespec="seconds"),
    "load_average_1min": load_average,
    "cpu_pressure_avg10": cpu_pressure,
    "available_memory_bytes": available_memory_bytes,
}


def _psutil() -> Any:
    """The module psutil, or None where it is not installed."""
    try:
        import psutil  # type: ignore[import-untyped, unused-ignore]
    except ImportError:
        return None
    return psutil


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _text(path: str | Path) -> str | None:
    try:
        return Path(path).read_text(errors="replace").strip() or None
    except OSError:
        return None


def _cpuinfo(field: str) -> str | None:
    """A field of the first processor in /proc/cpuinfo."""
    for line in (_text("/proc/cpuinfo") or "").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == field:
            return value.strip()
    return None


def _cgroup_texts() -> list[str]:
    """Quota and period of every control group from this process's own up to the root, version 2 and 1."""
    texts = []
    for line in (_text("/proc/self/cgroup") or "").splitlines():
        _, controllers, group = line.split(":", 2)
        own = Path(group)
        for level in (own, *own.parents):
            if controllers == "":
                texts.append(_text(f"/sys/fs/cgroup{level}/cpu.max"))
            elif "cpu" in controllers.split(","):
                folder = f"/sys/fs/cgroup/{controllers}{level}"
                quota, period = _text(f"{folder}/cpu.cfs_quota_us"), _text(f"{folder}/cpu.cfs_period_us")
                texts.append(f"{quota} {period}")
    return [text for text in texts if text]
