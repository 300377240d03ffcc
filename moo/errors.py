"""The errors this project raises, as one tree.

::

    MooError
    ├── InputError               the person's input is wrong: exit status 2, nothing written
    │   ├── ProblemError         a metric, objective, constraint, unit or number
    │   ├── InstallError         a package that the command needs is not installed
    │   ├── TaskLoadError        a task that cannot be imported or is no task
    │   ├── StorageError         a storage that cannot be opened
    │   └── StudyMismatchError   a study begun with another problem or task
    ├── TrialError               one trial failed: stored with its reason, the sweep goes on
    │   ├── FitError             the task's own code raised
    │   ├── ExportError          no artefact, or one that computes something else
    │   ├── LimitError           it took more than a trial may
    │   ├── MeasureError         the artefact could not be measured
    │   └── ScoreError           no usable score: NaN, wrong shape, undeclared metric
    ├── LostError                the process that evaluated a trial is gone: the trial is run again, once
    └── SweepError               the sweep as a whole failed: exit status 1
        └── FullDiskError        there is no room for a trial's files

`profilers` can be used without this package and has a tree of its own; what it raises is
wrapped where a trial is evaluated.
"""

from __future__ import annotations

import difflib
import errno
import traceback
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path

__all__ = [
    "BROKEN_ARCHIVE",
    "ExportError",
    "FitError",
    "FullDiskError",
    "InputError",
    "InstallError",
    "LimitError",
    "LostError",
    "MeasureError",
    "MooError",
    "ProblemError",
    "ScoreError",
    "StorageError",
    "StudyMismatchError",
    "SweepError",
    "TaskLoadError",
    "TrialError",
    "cannot_go_on",
    "describe",
    "did_you_mean",
    "is_full_disk",
]


BROKEN_ARCHIVE = (
    *(OSError, ValueError, EOFError, AttributeError, KeyError, MemoryError, NotImplementedError),
    *(RuntimeError, TypeError, zipfile.BadZipFile, zlib.error),
)
"""What `numpy.load` raises at an archive of arrays that somebody has edited or garbled."""


class MooError(Exception):
    """The base of every error this project raises on purpose."""


class InputError(MooError):
    """Wrong input. The message is one line: argument, expected, got, what to do."""


class ProblemError(InputError):
    """A metric, objective, constraint, unit or number that makes no problem."""


class InstallError(InputError):
    """A package that is needed is not installed; the message says how to install it."""


class TaskLoadError(InputError):
    """A task that cannot be imported, or that is not a task."""


class StorageError(InputError):
    """A storage that cannot be opened."""


class StudyMismatchError(InputError):
    """A study that was begun with other objectives, constraints or another task."""


class TrialError(MooError):
    """One trial failed. The class names the stage, the message the reason, in one line."""

    stage = "trial"


class FitError(TrialError):
    """The task's own code (data, build, fit, score) raised."""

    stage = "task"


class ExportError(TrialError):
    """No artefact could be made, or it computes something else than the framework."""

    stage = "export"


class LimitError(TrialError):
    """The trial took more time, memory or room for files than it may."""

    stage = "limit"


class MeasureError(TrialError):
    """The artefact could not be run or measured in its runtime."""

    stage = "measure"


class ScoreError(TrialError):
    """The quality of the artefact could not be scored."""

    stage = "score"


class LostError(MooError):
    """The process that evaluated a trial is gone, whatever became of it. The message says how."""


class SweepError(MooError):
    """The sweep as a whole failed, such as when every trial did."""


class FullDiskError(SweepError):
    """There is no room left for a trial's files: the trial is run again when there is, once."""


def cannot_go_on(reason: str) -> str:
    """Return what a `SweepError` says where the storage or the disk gave out.

    >>> cannot_go_on("disk full")
    'the sweep cannot go on: disk full. What is finished is stored; the same command goes on'
    """
    return f"the sweep cannot go on: {reason}. What is finished is stored; the same command goes on"


def is_full_disk(error: BaseException) -> bool:
    """Return whether an error is, or was raised for, a disk or a quota that is used up.

    >>> is_full_disk(OSError(errno.ENOSPC, "No space left on device"))
    True
    """
    chain: BaseException | None = error
    while chain is not None:
        if isinstance(chain, OSError) and chain.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        chain = chain.__cause__ or chain.__context__
    return False


def describe(error: BaseException) -> str:
    """Return type and message of a person's own error, and the innermost line outside installed packages."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "site-packages" not in f.filename]
    where = f" ({frames[-1].name}, {Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    message = str(error)
    return f"{type(error).__name__}{': ' if message else ''}{message}{where}"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a hint naming the known words nearest to `word`, or all of them.

    >>> did_you_mean("latency", ["latency_p50", "accuracy"])
    'did you mean latency_p50?'
    >>> did_you_mean("xyz", ["b", "a"])
    'known: a, b'
    """
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=3, cutoff=0.6)
    near = near or [name for name in names if word and (word in name or name in word)][:3]
    return f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(names)}"
