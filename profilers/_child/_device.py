"""A device with a clock of its own, as timing needs it: CUDA, and one that follows a script."""

from collections.abc import Sequence
from time import perf_counter_ns
from typing import Any, Protocol

from profilers._child._errors import ProviderError

CLEARED_BYTES = 256 * 2**20  # written to empty the L2 cache, several times the largest there is
CYCLES_PER_NS = 2  # of a multiprocessor's clock, about the fastest there is


class Device(Protocol):
    """Where tensors are, and the clock beside it. Work is put in a queue and done later, in order."""

    torch_name: str

    def event(self) -> Any:
        """A mark put in the queue now, which notes the time when the device comes to it."""

    def elapsed_ns(self, start: Any, stop: Any) -> int:
        """Nanoseconds from one mark to another that the device has passed."""

    def synchronize(self) -> None:
        """Wait until the queue is empty."""

    def hold(self, duration_ns: int) -> None:
        """Put work in the queue that takes about that long and touches no memory."""

    def clear_cache(self) -> None:
        """Put work in the queue that leaves nothing of what was there in the device's cache."""

    def reset_peak_memory(self) -> None:
        """Forget the peaks."""

    def memory(self) -> dict[str, int | None]:
        """Bytes: `allocated_peak`, in tensors; `reserved_peak`, held by the framework for them."""

    def facts(self) -> dict[str, Any]:
        """What it is: `name`, `capability`, and the versions that matter."""


class CudaDevice:
    """See `Device`: an NVIDIA GPU through torch, on its current stream.

    Args:
        index: Among the devices that are visible to CUDA.

    Raises:
        ProviderError: If there is no such device, in one line that says why.
    """

    def __init__(self, index: int) -> None:
        import torch

        check_cuda(index)
        self.torch_name = f"cuda:{index}"
        self._index = index
        torch.cuda.set_device(index)
        self._cleared: Any = None

    def event(self) -> Any:
        """See `Device`."""
        import torch

        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def elapsed_ns(self, start: Any, stop: Any) -> int:
        """See `Device`; CUDA's events tell half microseconds."""
        return max(1, round(float(start.elapsed_time(stop)) * 1e6))

    def synchronize(self) -> None:
        """See `Device`."""
        import torch

        torch.cuda.synchronize(self._index)

    def hold(self, duration_ns: int) -> None:
        """See `Device`; a kernel that counts cycles."""
        import torch

        torch.cuda._sleep(CYCLES_PER_NS * duration_ns)

    def clear_cache(self) -> None:
        """See `Device`."""
        import torch

        if self._cleared is None:
            self._cleared = torch.empty(CLEARED_BYTES, dtype=torch.int8, device=self.torch_name)
        self._cleared.zero_()

    def reset_peak_memory(self) -> None:
        """See `Device`."""
        import torch

        torch.cuda.reset_peak_memory_stats(self._index)

    def memory(self) -> dict[str, int | None]:
        """See `Device`."""
        import torch

        return {
            "allocated_peak": torch.cuda.max_memory_allocated(self._index),
            "reserved_peak": torch.cuda.max_memory_reserved(self._index),
        }

    def facts(self) -> dict[str, Any]:
        """See `Device`."""
        import torch

        properties = torch.cuda.get_device_properties(self._index)
        return {
            "name": properties.name,
            "capability": f"{properties.major}.{properties.minor}",
            "total_memory_bytes": properties.total_memory,
            "multiprocessors": properties.multi_processor_count,
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
        }


def check_cuda(index: int) -> None:
    """Check that torch can use that GPU.

    Raises:
        ProviderError: If not, with the reason.
    """
    import torch

    if torch.version.cuda is None:
        raise ProviderError(
            f"torch {torch.__version__} is built without CUDA: install one with it, as pytorch.org says"
        )
    if not torch.cuda.is_available():
        try:
            torch.cuda.init()
            reason = "it sees no device"
        except (RuntimeError, AssertionError) as error:  # no driver, one too old, or no permission
            reason = " ".join(str(error).split())
        raise ProviderError(f"torch finds no GPU: {reason}")
    count = torch.cuda.device_count()
    if index >= count:
        known = "only cuda:0" if count == 1 else f"cuda:0 to cuda:{count - 1}"
        raise ProviderError(f"there is no GPU {index}: expected one of those that are visible, {known}")


class ScriptedDevice:
    """See `Device`: the processor in the part of one, for machines without a GPU.

    Its tensors are the processor's and its queue is always empty, so an event tells the time at which it was
    made, moved on by the script: a call that takes `slow_down` times as long by this device's clock.

    Args:
        slow_down: By how much its clock is faster than the processor's.
        memory: Peaks that it tells; None for one that cannot tell.
    """

    torch_name = "cpu"

    def __init__(
        self, *, slow_down: float = 1.0, memory: Sequence[int] | None = (1_000_000, 2_000_000)
    ) -> None:
        self._slow_down = slow_down
        self._memory = memory
        self.n_cleared = 0

    def event(self) -> int:
        """See `Device`."""
        return perf_counter_ns()

    def elapsed_ns(self, start: int, stop: int) -> int:
        """See `Device`."""
        return max(1, round((stop - start) * self._slow_down))

    def synchronize(self) -> None:
        """See `Device`."""

    def hold(self, duration_ns: int) -> None:
        """See `Device`; its queue is empty, so there is nothing to hold back."""

    def clear_cache(self) -> None:
        """See `Device`; counts."""
        self.n_cleared += 1

    def reset_peak_memory(self) -> None:
        """See `Device`."""

    def memory(self) -> dict[str, int | None]:
        """See `Device`."""
        allocated, reserved = self._memory or (None, None)
        return {"allocated_peak": allocated, "reserved_peak": reserved}

    def facts(self) -> dict[str, Any]:
        """See `Device`."""
        return {"name": "scripted device", "capability": None, "total_memory_bytes": None}
