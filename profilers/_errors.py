"""What goes wrong while a model is measured or run.

::

    Exception
    └── ProfilerError          anything below; catch this to fail one candidate and go on
        ├── DocumentError      a file of measurements that is missing, broken, or of another schema
        ├── ModelError         the model or its inputs: unreadable, not ONNX, missing external data,
        │                      unsupported operator, inputs that do not fit
        ├── ProviderError      what was to run it is not here, or its libraries do not load
        │   └── MissingLibraryError   a Python package is not installed, or cannot be imported
        ├── GpuError           a GPU cannot be read, by NVIDIA's driver: `kind` says why in a word
        ├── LaunchError        the child process died or broke: not known to be the model's fault
        └── TimeLimitError     the child was still at work at its time limit, and was killed

Wrong arguments (a provider that is not there, a batch of zero rows) are `ValueError`, as everywhere in
Python.
"""

from typing import Literal

Refusal = Literal[
    "not_installed",
    "no_library",
    "no_driver",
    "mismatch",
    "too_old",
    "no_permission",
    "no_device",
    "lost",
    "failed",
    "none_visible",
    "order_unknown",
    "mig",
    "no_counter",
    "others_unknown",
    "busy",
    "unused",
    "reset",
]

_INSTALL = {
    "onnxruntime": "pip install onnxruntime (onnxruntime-gpu for a GPU)",
    "torch": "pip install 'moo-deploy[torch]'",
}


class ProfilerError(Exception):
    """A model could not be measured or run; the message is one line that says why and what to do."""


class ModelError(ProfilerError):
    """The model, or the inputs given to it, cannot be used: trying again would fail the same way."""


class ProviderError(ProfilerError):
    """What was to run the model is not here: no device, no driver, a library that does not load."""


class MissingLibraryError(ProviderError):
    """A package that runs or reads models cannot be imported; the message says how to install it.

    Attributes:
        name: The package, as it is imported.
    """

    def __init__(self, name: str, reason: str = "") -> None:
        how = _INSTALL.get(name, f"pip install {name}")
        what = f"{name} cannot be imported here ({reason})" if reason else f"{name} is not installed here"
        super().__init__(f"{what}: install it with: {how}")
        self.name = name


class GpuError(ProfilerError):
    """A GPU cannot be read; the message is one line that says why and what to do.

    Attributes:
        kind: The reason in a word, of which each has its own.
    """

    def __init__(self, kind: Refusal, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class LaunchError(ProfilerError):
    """The child process could not be started, ran out of memory, or died.

    Of one that died the message holds the exit status or signal and the last line on stderr.
    """


class TimeLimitError(ProfilerError):
    """The child process was killed, with its process group, because its time was over."""


class DocumentError(ProfilerError):
    """A file of measurements cannot be read: missing, broken, or of another schema."""
