"""The state of the GPU that a model runs on, read before, between and after timed work; never within."""

import os
from collections.abc import Callable, Collection
from functools import partial
from typing import Any

from profilers._child._torch import SCRIPTED
from profilers._errors import GpuError
from profilers._gpu._clocks import summarise_states
from profilers._gpu._monitor import GpuMonitor, process_memory
from profilers._gpu._nvml import NvmlGpus
from profilers._gpu._processes import process_tree
from profilers._gpu._records import Answer, GpuFacts, GpuProcess, GpuState
from profilers._gpu._scripted import ScriptedGpu, ScriptedGpus
from profilers._gpu._visible import CudaGpu, cuda_gpu, gpu_index

SCRIPTED_MEMORY_BYTES = 3_000_000


class GpuWatch:
    """Keeps the states of one GPU; where it cannot be read, the reason.

    A measurement counts without it, so nothing is raised.

    Args:
        open_gpus: Gives what reads the GPUs.
        index: The device, by the count of CUDA.
        own_pids: The processes that are no others.
    """

    def __init__(
        self, open_gpus: Callable[[], GpuMonitor], index: int, own_pids: Callable[[], Collection[int]]
    ) -> None:
        self._own_pids = own_pids
        self._states: list[GpuState] = []
        self._gpus: GpuMonitor | None = None
        self._gpu = CudaGpu(index)
        self._facts: GpuFacts | None = None
        self._memory: Answer[int]
        self._reason: str | None = None
        try:
            self._gpus = open_gpus()
            self._gpu = cuda_gpu(self._gpus, index)
            self._facts = self._gpus.facts(self._gpu.index)
            self._memory = process_memory(self._gpus, self._gpu.index, os.getpid())
        except (GpuError, ValueError) as error:
            self._reason = str(error)
            self._memory = Answer(None, self._reason)

    def read(self) -> None:
        """Keep the state now; takes as long as a few calls of the driver."""
        if self._gpus is None or self._reason is not None:
            return
        self._states.append(self._gpus.state(self._gpu.index, own_pids=self._own_pids()))

    def facts(self) -> dict[str, Any]:
        """What the device is and was, as plain JSON.

        Returns:
            `name`, `capability`, `total_memory_bytes`, `uuid_hash`; `process_memory_bytes`, what this process
            held on the device when the watch began, CUDA's own context included, and `process_memory_reason`
            why that is None; `clocks`, as `summarise_states` says, and `clocks_reason` why that is None;
            `assumption`, on what it rests that this is the device which was used.
        """
        facts = self._facts
        return {
            "name": facts and facts.name,
            "capability": facts and facts.compute_capability,
            "total_memory_bytes": facts and facts.total_memory_bytes,
            "uuid_hash": facts and facts.uuid_hash,
            "process_memory_bytes": self._memory.value,
            "process_memory_reason": self._memory.reason,
            "clocks": summarise_states(self._states) if self._reason is None else None,
            "clocks_reason": self._reason,
            "assumption": self._gpu.assumption,
        }

    def close(self) -> None:
        """Let go of the driver."""
        if self._gpus is not None:
            self._gpus.close()


def watch_for(provider: str, *, root_pid: int) -> GpuWatch | None:
    """The watch over the GPU of a provider; None where it runs on none.

    Args:
        provider: Such as "cuda:1". That of the scripted device has a scripted GPU, which only this process
            uses.
        root_pid: The process that started the measurement: all below it, as another candidate that waits for
            its turn, are no others.
    """
    if provider == SCRIPTED:
        return GpuWatch(_scripted_gpus, 0, partial(process_tree, root_pid))
    index = gpu_index(provider)
    return None if index is None else GpuWatch(NvmlGpus, index, partial(process_tree, root_pid))


def _scripted_gpus() -> GpuMonitor:
    return ScriptedGpus([ScriptedGpu(processes=lambda: [GpuProcess(os.getpid(), SCRIPTED_MEMORY_BYTES)])])
