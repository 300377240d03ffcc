"""GPUs as NVIDIA's driver tells of them (NVML): what they are, how they are doing, and who else uses them.

| what | file |
|---|---|
| the records, each value or its reason | `_records.py` |
| what reads GPUs | `_monitor.py`; `_nvml.py` with `_refusals.py`, `_scripted.py` |
| which device is which by CUDA's count; which processes are one's own | `_visible.py`; `_processes.py` |
| which are in this machine | `_installed.py` |
| why clocks were not higher; states together | `_clocks.py` |
| the state of a GPU around timed work | `_watch.py` |
| energy | `_energy.py` |

NVML refuses much on some devices: no ECC on a laptop, no utilisation under MIG, no processes under WSL. So
whatever may be refused is either a value or a reason, and a record without a value says why in `missing`.
Nothing is ever filled in.

Units are those of SI: Hz, W, bytes; temperatures are in degrees Celsius, utilisations are shares. NVML's
own, MHz, mW and percent, end in `_nvml.py`. A device's UUID is used to find it and never written:
`uuid_hash` stands for it.

Sources: nvml.h and NVIDIA's NVML API reference (units, bits, return codes); CUDA Programming Guide, "CUDA
Environment Variables" (CUDA_VISIBLE_DEVICES, CUDA_DEVICE_ORDER). No driver, no pynvml and no psutil is
loaded before a GPU is asked for.
"""
