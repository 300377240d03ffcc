"""What goes wrong while a model is measured or run.

::

    Exception
    └── ProfilerError          anything below; catch this to fail one candidate and go on
        ├── DocumentError      a file of measurements that is missing, broken, or of another schema
        ├── ModelError         the model or its inputs: unreadable, not ONNX, missing external data,
        │                      unsupported operator, inputs that do not fit
        ├── LaunchError        the child process died or broke: not known to be the model's fault
        └── TimeLimitError     the child was still at work at its time limit, and was killed

Wrong arguments (a provider that is not there, a batch of zero rows) are `ValueError`, as everywhere in
Python.
"""


class ProfilerError(Exception):
    """A model could not be measured or run; the message is one line that says why and what to do."""


class ModelError(ProfilerError):
    """The model, or the inputs given to it, cannot be used: trying again would fail the same way."""


class LaunchError(ProfilerError):
    """The child process could not be started, ran out of memory, or died.

    Of one that died the message holds the exit status or signal and the last line on stderr.
    """


class TimeLimitError(ProfilerError):
    """The child process was killed, with its process group, because its time was over."""


class DocumentError(ProfilerError):
    """A file of measurements cannot be read: missing, broken, or of another schema."""
