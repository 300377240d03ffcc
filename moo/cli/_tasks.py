"""From `file.py:name` or `package.module:name` to a task."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from moo.errors import InputError, TaskLoadError, did_you_mean
from objectives import Task
from profilers import ONNXRUNTIME_PROVIDERS, Runtime, probe_onnxruntime

__all__ = ["load_task", "served_by"]


def load_task(spec: str) -> Task:
    """Return the task that a person named.

    Args:
        spec: `file.py:name` or `package.module:name`; the name is a task or a class of tasks that
            needs no arguments.

    Raises:
        TaskLoadError: If it cannot be imported or is no task.
    """
    place, colon, name = spec.rpartition(":")
    if not colon or not place or not name.isidentifier():
        raise TaskLoadError(f"TASK: expected file.py:name or package.module:name, got {spec!r}")
    module = _load_file(Path(place)) if place.endswith(".py") else _import(place)
    if not hasattr(module, name):
        known = [word for word, value in vars(module).items() if _is_task(value)]
        hint = did_you_mean(name, known) if known else "it has no task at all"
        raise TaskLoadError(f"TASK: {place} has no {name!r}; {hint}")
    return _as_task(spec, getattr(module, name))


def served_by(task: Task, provider: str | None, *, is_served_here: bool = True) -> Task:
    """Return the task with its candidates served by that provider of ONNX Runtime; None for its own.

    Args:
        task: The task.
        provider: Such as `cuda`.
        is_served_here: Whether by this machine, so that it can be tried.

    Raises:
        InputError: If the task serves nothing, or the provider is not here or does not run a tiny model.
    """
    runtime = getattr(task, "runtime", None)
    if provider is None or getattr(runtime, "provider", None) == provider:
        return task
    if not isinstance(runtime, Runtime):
        raise InputError(f"--provider: task {task.name} is served by no runtime: leave it out")
    try:
        served = replace(runtime, provider=provider)
    except ValueError as error:
        raise InputError(f"--provider: {error}") from error
    if is_served_here:
        _check_provider(served.provider_name)
    task.runtime = served  # type: ignore[attr-defined]  # it has one
    return task


def _check_provider(name: str) -> None:
    if name not in ONNXRUNTIME_PROVIDERS:
        known = ", ".join(ONNXRUNTIME_PROVIDERS)
        raise InputError(f"--provider: expected one of {known}, got {name!r}")
    if name == "cpu":
        return
    probe = probe_onnxruntime()
    outcome = probe.providers.get(ONNXRUNTIME_PROVIDERS[name])
    if outcome in (None, "fails"):
        here = ", ".join(known for known, long in ONNXRUNTIME_PROVIDERS.items() if long in probe.providers)
        why = probe.reason or ("it does not open" if outcome else "the installed onnxruntime has none")
        raise InputError(f"--provider: {name} cannot be used here: {why}: have one of {here}, see moo doctor")


def _is_task(value: object) -> bool:
    if inspect.isclass(value):
        return (
            issubclass(value, Task)
            and not inspect.isabstract(value)
            and value.__module__ != "objectives._task"
        )
    return isinstance(value, Task)


def _as_task(spec: str, found: object) -> Task:
    if inspect.isclass(found) and issubclass(found, Task):
        missing = sorted(getattr(found, "__abstractmethods__", ()))
        if missing:
            raise TaskLoadError(f"TASK: {spec} does not define {', '.join(f'{m}()' for m in missing)}")
        with _their_code(f"{spec}() raised"):
            return found()
    if isinstance(found, Task):
        return found
    raise TaskLoadError(f"TASK: {spec} is {_article(found)}, expected an objectives.Task or a class of them")


def _article(found: object) -> str:
    return f"the class {found.__name__}" if inspect.isclass(found) else f"of type {type(found).__name__}"


def _import(place: str) -> ModuleType:
    sys.path.insert(
        0, str(Path.cwd())
    )  # as `python -m` does: a person's own package is found where they stand
    with _their_code(f"{place} does not import:"):
        return importlib.import_module(place)


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise TaskLoadError(f"TASK: there is no file {path}")
    sys.path.insert(0, str(path.resolve().parent))  # as `python file.py` does: its neighbours are found
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise TaskLoadError(f"TASK: {path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    with _their_code(f"{path} does not import:"):
        spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def _their_code(what: str) -> Iterator[None]:
    """Turn whatever a person's own code raises while it is loaded into one line."""
    try:
        yield
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        raise TaskLoadError(f"TASK: {what} {type(error).__name__}: {' '.join(str(error).split())}") from error
