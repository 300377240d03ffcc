"""Energy of a GPU by its own counter; `profilers/_energy.py` calculates.

The counter (nvmlDeviceGetTotalEnergyConsumption of NVML, Volta and newer) holds millijoules of the whole
board since the driver was loaded, those of the host not. Other processes' work is in it too, so a device
that they use is refused, as is one on which the measured model does not run.
"""

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

from profilers._energy import EnergyReading
from profilers._errors import GpuError
from profilers._gpu._monitor import MIG_REASON, GpuMonitor
from profilers._gpu._nvml import NvmlGpus
from profilers._gpu._processes import process_tree
from profilers._gpu._records import NOT_SUPPORTED, Answer
from profilers._gpu._visible import cuda_gpu

RANGE_UJ = 1000 * (2**64 - 1)  # unsigned long long, in mJ
NEEDS_VOLTA = "Volta and newer have one, and no slice or virtual GPU"


class GpuEnergyMeter:
    """The energy counter of one GPU; see `EnergyCounters`.

    Args:
        monitor: Reads the GPUs.
        index: The device, by the count of NVML: see `cuda_gpu`.
        own_pids: The processes that may use the device; None for this one and those below it.
        is_alone: Whether the person vouches that nothing outside this container uses the device: asked for
            only where that cannot be seen.
        expects_own: Whether a reading is refused while none of one's own processes uses the device: then what
            is measured runs elsewhere. Not asked where that cannot be seen.
        clock_s: Seconds, for the time of a reading.

    Raises:
        ValueError: If there is no such device.
    """

    def __init__(
        self,
        monitor: GpuMonitor,
        index: int = 0,
        *,
        own_pids: Callable[[], Collection[int]] | None = None,
        is_alone: bool = False,
        expects_own: bool = True,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._facts = monitor.facts(index)
        self._monitor = monitor
        self._index = index
        self._own_pids = own_pids or process_tree
        self._is_alone = is_alone
        self._expects_own = expects_own
        self._clock_s = clock_s
        self._last_mj = 0

    def read(self) -> EnergyReading:
        """The counter now.

        Raises:
            GpuError: If it cannot be read, if other processes use the device, if one's own do not where that
                is expected, or if the counter began again since the last reading.
        """
        counter = self._monitor.energy_mj(self._index)
        now_s = self._clock_s()  # first these two, as close as can be; then whether they count
        counter_mj = self._accepted(counter, expects_own=self._expects_own)
        if counter_mj < self._last_mj:
            raise GpuError("reset", "the GPU's energy counter began again, as after a reload: measure again")
        self._last_mj = counter_mj
        return EnergyReading(now_s, (1000 * counter_mj,), (RANGE_UJ,))

    def unavailable_reason(self) -> str | None:
        """Why no energy can be measured on this device now, with no model loaded yet; None where it can."""
        try:
            self._accepted(self._monitor.energy_mj(self._index), expects_own=False)
        except GpuError as error:
            return str(error)
        return None

    def _accepted(self, counter: Answer[int], *, expects_own: bool) -> int:
        """Millijoules, if they are those of one's own processes."""
        gpu = f"GPU {self._index}"
        if self._facts.mig_enabled:
            raise GpuError("mig", f"{gpu} is cut in slices: {MIG_REASON}")
        if counter.value is None:
            needs = f" ({NEEDS_VOLTA})" if counter.reason == NOT_SUPPORTED else ""
            raise GpuError("no_counter", f"{gpu} shows no energy counter: {counter.reason}{needs}")
        users = self._monitor.processes(self._index)
        unseen = self._monitor.pid_mismatch or users.reason
        own_pids = self._own_pids()
        n_own = sum(user.pid in own_pids for user in users.value or ())
        n_others = len(users.value or ()) - n_own
        if unseen is not None and not self._is_alone:
            raise GpuError(
                "others_unknown",
                f"whether others use {gpu} cannot be seen ({unseen}): if you know that none does, "
                "say is_alone",
            )
        if n_others and (unseen is None or n_own):  # one's own number is there, so the numbers are ours
            raise GpuError(
                "busy",
                f"other processes use {gpu}, {n_others} now, and their energy is in its counter: stop them, "
                "or measure on a GPU that nothing else uses",
            )
        if expects_own and unseen is None and not n_own:
            raise GpuError(
                "unused",
                f"the model does not run on {gpu}: it runs on the CPU, or CUDA counts GPUs in another order "
                "(CUDA_DEVICE_ORDER=PCI_BUS_ID makes it that of NVML)",
            )
        return counter.value


@contextmanager
def open_gpu_meter(index: int) -> Iterator[GpuEnergyMeter]:
    """The meter of the GPU that CUDA counts as `index`, for as long as the context lasts.

    Raises:
        GpuError: If the GPUs of this machine cannot be read, or which one CUDA means is not known.
        ValueError: If CUDA sees no device of that index.
    """
    with NvmlGpus() as gpus:
        yield GpuEnergyMeter(gpus, cuda_gpu(gpus, index).index)
