"""NVML's return codes in plain words: why nothing can be read, or one value not."""

from typing import Any

from profilers._errors import GpuError, Refusal
from profilers._gpu._records import NOT_SUPPORTED

TOO_OLD = ("the installed nvidia-ml-py is too old to ask for it", "the driver is too old to tell it")
REFUSALS: dict[int, tuple[Refusal, str]] = {  # by NVML_ERROR_* of nvml.h
    4: ("no_permission", "NVIDIA's devices may not be opened by this user: ask for access to them"),
    9: ("no_driver", "NVIDIA's driver is not loaded: is there a GPU, and did its kernel module load?"),
    12: ("no_library", "NVIDIA's driver is not installed, or not shown to this container (no libnvidia-ml)"),
    13: ("too_old", "NVIDIA's driver is too old for the installed nvidia-ml-py: upgrade the driver"),
    15: ("lost", "the GPU has fallen off the bus, or cannot be reached: see the kernel's log"),
    18: (
        "mismatch",
        "NVIDIA's driver and its library are of different versions: reload the driver, or reboot",
    ),
    25: ("too_old", "NVIDIA's driver is too old for the installed nvidia-ml-py: upgrade the driver"),
}
REASONS = {  # the same, of one call among many
    3: NOT_SUPPORTED,
    4: "permission denied",
    13: TOO_OLD[1],
    15: "the GPU cannot be reached any more",
    25: TOO_OLD[1],
}


def refusal(error: Any) -> GpuError:
    """What an error of pynvml's becomes that ends all reading."""
    kind, message = REFUSALS.get(error.value, ("failed", f"NVIDIA's driver refuses: {_own_words(error)}"))
    return GpuError(kind, message)


def reason_of(error: Any) -> str:
    """Why one call among many gave no value."""
    return REASONS.get(error.value) or f"NVML says: {_own_words(error)}"


def _own_words(error: Any) -> str:
    return str(error).strip().rstrip(".") or f"error {error.value}"
