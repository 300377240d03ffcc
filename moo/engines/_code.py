"""A person's own code, pickled so that a machine without their files can run it."""

from __future__ import annotations

import contextlib
import pickle
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from moo.errors import InputError

__all__ = ["pickled_by_value"]

_OURS = ("moo", "objectives", "profilers", "reports")


def pickled_by_value(what: Any, pickler: Any) -> bytes:
    """Return something pickled, with the code of the modules that are not installed inside.

    What is installed (and this project) is imported where it is loaded, so it must be installed there too.

    Args:
        what: Such as a task.
        pickler: A `cloudpickle`.

    Raises:
        InputError: If a part of it cannot be pickled, with the reason.
    """
    with _by_value(pickler):
        try:
            return bytes(pickler.dumps(what))
        except (pickle.PicklingError, TypeError, AttributeError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise InputError(
                f"the task cannot be sent to another machine: {reason}."
                " Make it where it is needed (in data() or build()), not in the module or the constructor"
            ) from error


@contextlib.contextmanager
def _by_value(pickler: Any) -> Iterator[None]:
    own = [module for name, module in list(sys.modules.items()) if _is_own(name, module)]
    known = set(pickler.list_registry_pickle_by_value())
    added = [module for module in own if module.__name__ not in known]
    for module in added:
        pickler.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in added:
            pickler.unregister_pickle_by_value(module)


def _is_own(name: str, module: object) -> bool:
    """Return whether a module is the person's: from a file that was not installed, and none of ours."""
    if not isinstance(module, ModuleType) or name != module.__name__ or name.split(".")[0] in _OURS:
        return False
    file = getattr(module, "__file__", None)
    return name != "__main__" and file is not None and not _is_installed(Path(file))


def _is_installed(file: Path) -> bool:
    paths = sysconfig.get_paths()
    places = {Path(paths[kind]).resolve() for kind in ("stdlib", "platstdlib", "purelib", "platlib")}
    return any(file.resolve().is_relative_to(place) for place in places)
