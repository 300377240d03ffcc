"""Which GPUs are in this machine, for the record of its environment."""

import ctypes
import functools
from dataclasses import dataclass
from typing import Any

from profilers._errors import GpuError
from profilers._gpu._nvml import NvmlGpus

LIBRARY = "libnvidia-ml.so.1"


@dataclass(frozen=True, slots=True)
class InstalledGpus:
    """The GPUs of this machine.

    Attributes:
        identities: Name and hashed UUID of each, in the order of the bus; None where NVML cannot be read.
        driver_version: Of NVIDIA's driver; None as before.
    """

    identities: tuple[tuple[str | None, str | None], ...] | None
    driver_version: str | None

    def to_json(self) -> list[dict[str, Any]] | None:
        """The GPUs as plain dicts."""
        if self.identities is None:
            return None
        return [{"name": name, "uuid_hash": uuid_hash} for name, uuid_hash in self.identities]


@functools.cache
def installed_gpus() -> InstalledGpus:
    """The GPUs of this machine, looked for once in a process: neither they nor their driver can change.

    Without the driver's library pynvml is not imported, which takes a hundred times longer than to look.
    """
    try:
        ctypes.CDLL(LIBRARY)
        with NvmlGpus() as gpus:
            facts = [gpus.facts(index) for index in range(gpus.n_devices)]
    except (OSError, GpuError):
        return InstalledGpus(None, None)
    identities = tuple((gpu.name, gpu.uuid_hash) for gpu in facts)
    return InstalledGpus(identities, facts[0].driver_version)
