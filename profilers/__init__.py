"""Measuring a model on the machine that will run it, usable with no study at all.

::

    from profilers import OnnxRuntimeProfiler, Runtime

    measurement = OnnxRuntimeProfiler().measure("model.onnx", Runtime(intra_op_num_threads=2))
    measurement.latency(0.5)     # Statistic: seconds, with a 95% interval
    measurement.tags             # what to know about its validity

Importing this package loads neither onnxruntime nor torch: models live in child processes.
"""

from profilers._environment import environment, fingerprint
from profilers._errors import LaunchError, ModelError, ProfilerError, TimeLimitError
from profilers._fake import FakeProfiler
from profilers._interface import Profiler
from profilers._measurement import Launch, Measurement
from profilers._model import ModelFile
from profilers._onnxruntime import OnnxRuntimeProfiler
from profilers._protocol import QUICK, Protocol
from profilers._runtime import Runtime
from profilers._statistics import Statistic, bootstrap_interval, quantile_interval, smallest_n

__all__ = [
    "QUICK",
    "FakeProfiler",
    "Launch",
    "LaunchError",
    "Measurement",
    "ModelError",
    "ModelFile",
    "OnnxRuntimeProfiler",
    "Profiler",
    "ProfilerError",
    "Protocol",
    "Runtime",
    "Statistic",
    "TimeLimitError",
    "bootstrap_interval",
    "environment",
    "fingerprint",
    "quantile_interval",
    "smallest_n",
]
