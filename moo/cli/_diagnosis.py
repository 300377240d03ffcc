"""What `moo doctor` finds out: the data step, a document that can be written as JSON."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import moo
from profilers import GpuEnergyMeter, GpuError, NvmlGpus, environment
from profilers._canary import NOISY_OTHER_BUSY_CORES, NOISY_STEAL_SHARE, canary
from profilers._energy import EnergyMeter
from profilers._environment import distribution_version, has_peak_memory, onnxruntime_distributions
from profilers._probe import OnnxRuntimeProbe, probe_onnxruntime

__all__ = ["SCHEMA", "Ability", "Gpus", "advice", "diagnose", "find_gpus"]

SCHEMA = "moo.doctor/1"
_PACKAGES = ("onnx", "torch", "onnxscript", "scikit-learn", "skl2onnx", "optuna", "scipy", "nvidia-ml-py")
_MEMORY_PRESSURE = 1.0  # percent of the last 10 s in which some process waited for memory
_CPU, _CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


@dataclass(frozen=True, slots=True)
class Ability:
    """Something that can be measured or run on a machine, or the reason why not.

    Attributes:
        name: What.
        missing: Why it cannot be done here; None where it can.
    """

    name: str
    missing: str | None


@dataclass(frozen=True, slots=True)
class Gpus:
    """NVIDIA's GPUs of this machine, or the reason why none can be read.

    Attributes:
        devices: `facts` and `state` of each, as `profilers` has them; none where they cannot be read.
        missing: Why there are none.
        energy_missing: Why the energy of one of them cannot be measured; None where that of each can.
    """

    devices: list[dict[str, Any]]
    missing: str | None
    energy_missing: str | None


def find_gpus() -> Gpus:
    """Return the GPUs that NVIDIA's driver tells of."""
    try:
        with NvmlGpus() as gpus:
            indices = range(gpus.n_devices)
            devices = [
                {"facts": asdict(gpus.facts(index)), "state": asdict(gpus.state(index))} for index in indices
            ]
            reasons = [GpuEnergyMeter(gpus, index).unavailable_reason() for index in indices]
    except GpuError as error:
        return Gpus([], str(error), str(error))
    return Gpus(devices, None, next((reason for reason in reasons if reason), None))


def diagnose(*, window_s: float = 1.0) -> dict[str, Any]:
    """Return all facts of this machine, as `moo.doctor/1`; takes some two seconds.

    Args:
        window_s: How long to watch how quiet the machine is.
    """
    probe = probe_onnxruntime()
    machine = environment()  # before the canary, which is load itself
    gpus = find_gpus()
    sample = canary(window_s=window_s)
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "versions": _versions(),
        "environment": machine,
        "gpus": gpus.devices,
        "execution_providers": probe.providers,
        "abilities": [asdict(ability) for ability in _abilities(probe, gpus)],
        "canary": {"verdict": sample.verdict, **asdict(sample)},
    }
    return {**document, "advice": advice(document)}


def advice(document: Mapping[str, Any]) -> list[str]:
    """Return what would make measurements on this machine better; nothing of it is done."""
    identity, state = document["environment"]["identity"], document["environment"]["state"]
    sample, packages = document["canary"], document["versions"]["onnxruntime"]
    governor, quota = identity["governor"], identity["cgroup_cpu_quota"]
    n_cores = len(identity["affinity"] or []) or identity["logical_cores"]
    others, n_throttled = sample["other_busy_cores"] or 0.0, state["cgroup_n_throttled"] or 0
    rows = [
        (
            others > NOISY_OTHER_BUSY_CORES,
            f"Other processes use {others:.1f} of {identity['logical_cores']} cores: stop them, or measure "
            "at a quieter time.",
        ),
        (
            sample["verdict"] != "quiet",
            "This machine was not quiet just now: measure with more launches, and read the tags.",
        ),
        (
            max(sample["steal_share"] or 0.0, state["steal_share_since_boot"] or 0.0) > NOISY_STEAL_SHARE,
            "The hypervisor gives time to other machines: a dedicated host would keep it.",
        ),
        (
            governor not in ("none", "performance", None),
            f"The frequency governor is {governor}: performance keeps the clock steadier.",
        ),
        (
            quota is not None and n_cores is not None and quota < n_cores,
            f"The control group allows {quota or 0:g} of {n_cores} cores: measure with no more threads.",
        ),
        (
            n_throttled > 0,
            f"The control group has stopped its processes {n_throttled} times for their quota: such pauses "
            "are part of the tail latency.",
        ),
        (
            (state["memory_pressure_avg10"] or 0.0) > _MEMORY_PRESSURE,
            "Processes wait for memory: free some, or latencies hold the time of that.",
        ),
        (
            any(
                (ability["missing"] or "").startswith("permission denied")
                for ability in document["abilities"]
            ),
            "The processor counts its energy: an administrator could let this user read the counters.",
        ),
        (
            len(packages) > 1,
            f"{' and '.join(packages)} overwrite each other's files: keep one of them.",
        ),
        (
            bool(identity["is_virtual_machine"]),
            "In a virtual machine absolute times hold for this instance: confirm them where the model will "
            "run.",
        ),
    ]
    return [text for applies, text in rows if applies]


def _versions() -> dict[str, Any]:
    """Return the version of what takes part in a measurement; None where it is not installed."""
    packages = {name: distribution_version(name) for name in _PACKAGES}
    return {"moo": moo.__version__, "onnxruntime": onnxruntime_distributions(), **packages}


def _abilities(probe: OnnxRuntimeProbe, gpus: Gpus) -> list[Ability]:
    """Return what a study may want, from the commonest to the rarest."""
    runtime = probe.reason if onnxruntime_distributions() else "onnxruntime is not installed"
    cpu = None if probe.providers.get(_CPU) == "runs" else runtime or f"{_CPU} does not run"
    peak = None if has_peak_memory() else "the kernel cannot reset VmHWM: resident memory stands in, tagged"
    arena = None if probe.has_arena_memory else "the profile of this onnxruntime does not hold it"
    operators = None if probe.has_operator_times else "the profile of this onnxruntime does not hold them"
    energy = EnergyMeter().unavailable_reason()
    driver = _cuda_missing()
    onnx_cuda = None if probe.providers.get(_CUDA) == "runs" else _without_cuda(probe)
    torch = _not_installed("torch", "onnxscript", extra="torch")
    return [
        Ability("latency", cpu),
        Ability("tail latency", cpu),
        Ability("peak memory", cpu or peak),
        Ability("arena memory", cpu or arena),
        Ability("times of operators", cpu or operators),
        Ability("energy of the processor", energy),
        Ability("CUDA driver and GPU", driver),
        Ability("CUDA in ONNX Runtime", runtime or onnx_cuda),
        Ability("CUDA in torch", torch or _torch_without_cuda() or driver),
        Ability("GPU clocks and memory (NVML)", gpus.missing),
        Ability("energy of the GPU", gpus.energy_missing),
        Ability("torch models", torch),
        Ability("torch.compile", torch or _compiler_missing()),
        Ability("scikit-learn models", _not_installed("scikit-learn", "skl2onnx", extra="sklearn")),
    ]


def _not_installed(*packages: str, extra: str) -> str | None:
    missing = [name for name in packages if distribution_version(name) is None]
    if not missing:
        return None
    verb = "is" if len(missing) == 1 else "are"
    return (
        f"{' and '.join(missing)} {verb} not installed: the extra {extra!r} of moo-deploy has what it needs"
    )


def _without_cuda(probe: OnnxRuntimeProbe) -> str:
    if _CUDA not in probe.providers:
        return f"the installed package has no {_CUDA}: onnxruntime-gpu has it"
    return f"{_CUDA} is in the package and does not run: driver, CUDA or cuDNN libraries are missing"


def _torch_without_cuda() -> str | None:
    """Return why the installed torch cannot use a GPU; it is not imported, which takes seconds."""
    spec = find_spec("torch")
    for folder in (spec.submodule_search_locations if spec is not None else None) or ():
        if not _torch_is_built_with_cuda((Path(folder) / "version.py").read_text(encoding="utf-8")):
            number = distribution_version("torch")
            return f"torch {number} is built without CUDA: install one with it, as pytorch.org says"
    return None


def _torch_is_built_with_cuda(source: str) -> bool:
    """Return what torch's own file of versions says, where `cuda` is a text or None.

    >>> _torch_is_built_with_cuda("cuda: Optional[str] = '12.8'"), _torch_is_built_with_cuda("cuda = None")
    (True, False)
    """
    return re.search(r"""^cuda\b[^=\n]*=\s*['"]""", source, re.MULTILINE) is not None


def _cuda_missing() -> str | None:
    """Return why CUDA finds no device, which may be so where NVML finds some; None where it finds some."""
    library = "libcuda.so.1"
    try:
        driver = ctypes.CDLL(library)
        n_devices = ctypes.c_int(0)
        status = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(n_devices))
    except (OSError, AttributeError):  # no such library, or no such function in it
        return f"{library} of NVIDIA's driver is not there"
    if status != 0:
        return f"{library} is there and does not start: status {status}"
    return None if n_devices.value else f"{library} is there and finds no GPU"


def _compiler_missing() -> str | None:
    """Return why torch.compile cannot build code for the processor, by the rules of its CPU backend."""
    compiler = os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")
    if shutil.which(compiler) is None:
        return f"there is no C++ compiler {Path(compiler).name}"
    if not os.access(Path(sysconfig.get_path("include")) / "Python.h", os.R_OK):
        return "Python.h is not there: install Python's development package"
    return None
