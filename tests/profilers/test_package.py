"""The package as others meet it."""

import subprocess
import sys

import profilers


def test_the_public_names_are_sorted_and_there() -> None:
    constants = [name for name in profilers.__all__ if name.isupper()]
    others = [name for name in profilers.__all__ if not name.isupper()]
    classes = [name for name in others if name[0].isupper()]
    functions = [name for name in others if name[0].islower()]
    assert profilers.__all__ == sorted(constants) + sorted(classes) + sorted(functions)
    assert all(hasattr(profilers, name) for name in profilers.__all__)


def test_importing_it_loads_no_runtime() -> None:
    program = (
        "import sys, profilers; print(*sorted({'onnxruntime', 'torch', 'onnx', 'psutil'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_every_error_is_a_profiler_error() -> None:
    for error in (profilers.ModelError, profilers.LaunchError, profilers.TimeLimitError):
        assert issubclass(error, profilers.ProfilerError)
