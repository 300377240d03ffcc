"""Measuring a model on the machine that will run it, usable with no study at all.

::

    from profilers import STANDARD, OnnxRuntimeProfiler, Runtime

    measurement = OnnxRuntimeProfiler().measure("model.onnx", Runtime(batch=8), protocol=STANDARD)
    measurement.latency(0.5)     # Statistic: seconds, with a 95% interval
    measurement.tags             # what to know about its validity

| step of the flow | file |
|---|---|
| what every profiler does | `_interface.py`; `_onnxruntime.py`, `_torch.py`, `_fake.py` |
| measuring in another place | `_remote.py` |
| how long and how often | `_protocol.py`; `_measuring.py` launches children until it is enough |
| starting a child, reading what it left | `_launcher.py` |
| in the child: model, inputs, timing, memory | `_child/` |
| samples, statistics, intervals, tags | `_launch.py`, `_measurement.py`, `_statistics.py`, `_tags.py` |
| bounds; which one is faster | `_bound.py`; `_interleaved.py`, `_comparison.py`, `_student.py` |
| memory and operators by ONNX Runtime's own profile | `_ort_profile.py` |
| energy | `_energy.py`, `_energy_run.py` |
| GPUs: what they are, state, memory, energy | `_gpu/` |
| the machine, and how quiet it is | `_environment.py`, `_proc.py`, `_probe.py`, `_canary.py` |
| files | `_document.py`, `_model.py` |

Importing this package loads neither onnxruntime nor torch, for models live in child processes, nor pynvml.
"""

from profilers._bound import BoundVerdict, LatencyBound, bound_verdict
from profilers._canary import NOISY_OTHER_BUSY_CORES, NOISY_STEAL_SHARE, Canary, canary
from profilers._child._onnxruntime import PROVIDERS as ONNXRUNTIME_PROVIDERS
from profilers._comparison import Comparison, Verdict, compare_paired, compare_unpaired
from profilers._document import load_measurements, save_measurements
from profilers._energy import (
    EnergyCounters,
    EnergyMeter,
    EnergyPerCall,
    EnergyReading,
    energy_per_call,
    joules_between,
)
from profilers._energy_run import measure_energy
from profilers._environment import (
    distribution_version,
    environment,
    fingerprint,
    has_peak_memory,
    onnxruntime_distributions,
)
from profilers._errors import (
    DocumentError,
    GpuError,
    LaunchError,
    MissingLibraryError,
    ModelError,
    ProfilerError,
    ProviderError,
    TimeLimitError,
)
from profilers._fake import FakeProfiler
from profilers._gpu._clocks import summarise_states
from profilers._gpu._energy import GpuEnergyMeter
from profilers._gpu._monitor import GpuMonitor, process_memory
from profilers._gpu._nvml import NvmlGpus
from profilers._gpu._records import Answer, GpuFacts, GpuProcess, GpuState
from profilers._gpu._scripted import ScriptedGpu, ScriptedGpus
from profilers._gpu._visible import CudaGpu, cuda_gpu
from profilers._interface import OpenLaunch, Profiler
from profilers._interleaved import Interleaved, compare_interleaved
from profilers._launch import Launch, write_whole
from profilers._measurement import Measurement
from profilers._measuring import Feeds, is_settled
from profilers._model import ModelFile
from profilers._onnxruntime import OnnxRuntimeProfiler
from profilers._ort_profile import ArenaMemory, OperatorTime, RuntimeProfile
from profilers._probe import OnnxRuntimeProbe, probe_onnxruntime
from profilers._protocol import MODES, QUICK, RIGOROUS, STANDARD, Protocol
from profilers._remote import RemoteProfiler, Send
from profilers._runtime import OPTIMIZATION_LEVELS, Runtime
from profilers._statistics import Statistic, bootstrap_interval, quantile_interval, smallest_n
from profilers._torch import TorchProfiler
from profilers._visits import Candidate

__all__ = [
    "MODES",
    "NOISY_OTHER_BUSY_CORES",
    "NOISY_STEAL_SHARE",
    "ONNXRUNTIME_PROVIDERS",
    "OPTIMIZATION_LEVELS",
    "QUICK",
    "RIGOROUS",
    "STANDARD",
    "Answer",
    "ArenaMemory",
    "BoundVerdict",
    "Canary",
    "Candidate",
    "Comparison",
    "CudaGpu",
    "DocumentError",
    "EnergyCounters",
    "EnergyMeter",
    "EnergyPerCall",
    "EnergyReading",
    "FakeProfiler",
    "Feeds",
    "GpuEnergyMeter",
    "GpuError",
    "GpuFacts",
    "GpuMonitor",
    "GpuProcess",
    "GpuState",
    "Interleaved",
    "LatencyBound",
    "Launch",
    "LaunchError",
    "Measurement",
    "MissingLibraryError",
    "ModelError",
    "ModelFile",
    "NvmlGpus",
    "OnnxRuntimeProbe",
    "OnnxRuntimeProfiler",
    "OpenLaunch",
    "OperatorTime",
    "Profiler",
    "ProfilerError",
    "Protocol",
    "ProviderError",
    "RemoteProfiler",
    "Runtime",
    "RuntimeProfile",
    "ScriptedGpu",
    "ScriptedGpus",
    "Send",
    "Statistic",
    "TimeLimitError",
    "TorchProfiler",
    "Verdict",
    "bootstrap_interval",
    "bound_verdict",
    "canary",
    "compare_interleaved",
    "compare_paired",
    "compare_unpaired",
    "cuda_gpu",
    "distribution_version",
    "energy_per_call",
    "environment",
    "fingerprint",
    "has_peak_memory",
    "is_settled",
    "joules_between",
    "load_measurements",
    "measure_energy",
    "onnxruntime_distributions",
    "probe_onnxruntime",
    "process_memory",
    "quantile_interval",
    "save_measurements",
    "smallest_n",
    "summarise_states",
    "write_whole",
]
