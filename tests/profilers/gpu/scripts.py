"""GPUs that say what the tests tell them to."""

from profilers import GpuProcess, ScriptedGpu, ScriptedGpus

UUIDS = ("GPU-1a2b0000-aaaa", "GPU-1a3c0000-bbbb", "GPU-9f000000-cccc")
EQUAL = ("H200", "H200", "H200")
PCI = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}


def scripted() -> ScriptedGpus:
    """One device that three processes use and whose counter counts; one that tells less."""
    steps = iter(range(10**6))
    processes = (GpuProcess(12, 300), GpuProcess(11, None), GpuProcess(10, 100))
    return ScriptedGpus(
        [
            ScriptedGpu(UUIDS[0], processes=lambda: processes, energy_mj=lambda: next(steps) // 2),
            ScriptedGpu(UUIDS[1], processes="permission denied"),
        ]
    )
