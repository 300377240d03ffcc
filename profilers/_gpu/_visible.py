"""Which devices CUDA sees, and in which order it counts them."""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from profilers._child._onnxruntime import ON_A_GPU
from profilers._child._torch import CUDA
from profilers._errors import GpuError
from profilers._gpu._monitor import MIG_REASON, GpuMonitor, listed

PROVIDERS = (*ON_A_GPU, CUDA)


def gpu_index(provider: str) -> int | None:
    """The GPU that a provider runs on, by the count of CUDA; None for one that runs on none.

    >>> gpu_index("cuda"), gpu_index("torch-cuda:1"), gpu_index("cpu")
    (0, 1, None)
    """
    name, _, index = provider.partition(":")
    return int(index or 0) if name in PROVIDERS else None


@dataclass(frozen=True, slots=True)
class CudaGpu:
    """A device as CUDA counts it.

    Attributes:
        index: The device by the count of NVML.
        assumption: What this rests on where CUDA's order cannot be known; None where it is sure.
    """

    index: int
    assumption: str | None = None


def cuda_gpu(monitor: GpuMonitor, index: int, *, environ: Mapping[str, str] = os.environ) -> CudaGpu:
    """The device that CUDA, and so a runtime's device id, counts as `index`.

    Args:
        monitor: Reads the devices.
        index: By the count of CUDA: among the visible ones, in their order.
        environ: Where CUDA_VISIBLE_DEVICES and CUDA_DEVICE_ORDER are, as the measured process has them.

    Raises:
        ValueError: If CUDA sees no device of that index.
        GpuError: If it sees none at all, or a MIG slice, or if its order cannot be known.
    """
    devices = range(monitor.n_devices)
    visible = visible_gpus(
        [monitor.uuid(device).value for device in devices],
        [monitor.facts(device).name for device in devices],
        visible=environ.get("CUDA_VISIBLE_DEVICES"),
        order=environ.get("CUDA_DEVICE_ORDER"),
    )
    if not visible:
        raise GpuError(
            "none_visible",
            "CUDA_VISIBLE_DEVICES hides every GPU: it is empty, its first entry is not there, or one is "
            "in it twice",
        )
    if not 0 <= index < len(visible):
        raise ValueError(f"GPU index must be one of {listed(len(visible))} that CUDA sees, got {index!r}")
    return visible[index]


def visible_gpus(
    uuids: Sequence[str | None], names: Sequence[str | None], *, visible: str | None, order: str | None
) -> tuple[CudaGpu, ...]:
    """The devices that CUDA sees, in the order in which it counts them; none where all are hidden.

    By NVIDIA's documentation entries are indices, UUIDs or enough of the beginning of one, and the first that
    is not there ends the list. By what PyTorch's own count does (``torch/cuda/__init__.py``): all entries
    are of the kind of the first, an index may have other characters behind it, the beginning of two UUIDs
    is not there, and an entry that comes twice hides all.

    CUDA's own order, FASTEST_FIRST, is that of a speed which it guesses; NVML's is that of the bus. They
    agree for sure with CUDA_DEVICE_ORDER=PCI_BUS_ID, with UUIDs, and with one device. Devices of one name
    are taken to be in the order of the bus, and the answer says so; for different ones nothing is known.

    Args:
        uuids: Of each device, by NVML's count, shape (n,); None where it cannot be read.
        names: Of each device, shape (n,).
        visible: CUDA_VISIBLE_DEVICES; None where it is not set.
        order: CUDA_DEVICE_ORDER; None where it is not set.

    Raises:
        GpuError: If the first visible device is a MIG slice, or if indices are used and mean nothing sure.

    >>> visible_gpus(["GPU-1a", "GPU-2b"], ["H200", "H200"], visible="GPU-2", order=None)
    (CudaGpu(index=1, assumption=None),)
    """
    entries = None if visible is None else [entry.strip() for entry in visible.split(",")]
    if entries is not None and entries[0].startswith("MIG-"):
        raise GpuError("mig", f"CUDA_VISIBLE_DEVICES names a MIG slice: {MIG_REASON}")
    if entries is not None and entries[0].startswith("GPU-"):
        return tuple(CudaGpu(index) for index in _until_absent(_by_uuid(entry, uuids) for entry in entries))
    indices = (
        range(len(uuids)) if entries is None else _until_absent(_by_index(e, len(uuids)) for e in entries)
    )
    assumption = _order_assumption(names, order) if indices else None
    return tuple(CudaGpu(index, assumption) for index in indices)


def _until_absent(indices: Iterable[int | None]) -> list[int]:
    """The indices before the first None; none at all if one came before."""
    found: list[int] = []
    for index in indices:
        if index is None:
            break
        if index in found:
            return []
        found.append(index)
    return found


def _by_uuid(entry: str, uuids: Sequence[str | None]) -> int | None:
    fitting = [index for index, uuid in enumerate(uuids) if (uuid or "").startswith(entry)]
    return fitting[0] if entry.startswith("GPU-") and len(fitting) == 1 else None


def _by_index(entry: str, n_devices: int) -> int | None:
    number = re.match(r"[+-]?[0-9]+", entry)
    return int(number[0]) if number and 0 <= int(number[0]) < n_devices else None


def _order_assumption(names: Sequence[str | None], order: str | None) -> str | None:
    """What it rests on that an index of CUDA's is the same of NVML's."""
    if len(names) <= 1 or order == "PCI_BUS_ID":
        return None
    if None in names or len(set(names)) > 1:
        raise GpuError(
            "order_unknown",
            "CUDA counts different GPUs by a speed that it guesses, so that no index is sure: set "
            "CUDA_DEVICE_ORDER=PCI_BUS_ID, or name UUIDs in CUDA_VISIBLE_DEVICES",
        )
    return "equal GPUs are taken to be in the order of the bus: CUDA_DEVICE_ORDER=PCI_BUS_ID makes it sure"
