"""What one trial may take: time, memory, files. What takes more has failed, and the sweep goes on."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from moo.errors import InputError, LimitError
from moo.metrics import BUILT_IN, format_value, parse_quantity

__all__ = [
    "LOOK_S",
    "Limits",
    "Running",
    "TrialWatch",
    "end_tree",
    "refuse_files",
    "too_long",
    "too_much_memory",
    "tree_bytes",
]

LOOK_S = 0.5
"""Seconds between looks at memory and files."""
_QUIET_LOOK_S = 2.0  # the same while a candidate is timed, which each look might disturb
_BYTES = BUILT_IN["file_size"]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one trial may take; None, the default of each, for no limit.

    Nobody but its author knows how long a training may take, so nothing is limited unless it is said. Time
    and memory are watched from outside, twice a second, so that a trial ends there whatever it does, also in
    C code that never returns: with either, trials run in worker processes, even if it is one.

    Args:
        time_s: Seconds from its beginning to its end, with what it waits for other workers' measurements.
        memory_bytes: Memory of the process that runs it, with the interpreter and all libraries loaded, and
            of all processes below that, the measuring one too; what they share counts once. On a cluster a
            device's measuring is not counted.
        files_bytes: What it leaves in its folder: artefacts, samples and all. Looked at where the trial
            ends, and while it runs if workers do.

    Raises:
        InputError: For anything but a number above 0.
    """

    time_s: float | None = None
    memory_bytes: float | None = None
    files_bytes: float | None = None

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if value is not None and not (is_number and 0 < value < math.inf):
                raise InputError(f"limits: {name}: expected a number above 0, got {value!r}")

    @classmethod
    def parse(
        cls, *, time_s: float | None = None, memory: str | None = None, files: str | None = None
    ) -> Limits:
        """Return the limits that a person typed.

        Raises:
            InputError: As the class, and for a size without a unit.

        >>> Limits.parse(memory="8 GiB").memory_bytes
        8589934592.0
        """
        return cls(
            time_s=time_s,
            memory_bytes=_size("trial_memory", memory),
            files_bytes=_size("trial_files", files),
        )

    @property
    def needs_workers(self) -> bool:
        """Whether trials must run in processes that can be ended from outside."""
        return self.time_s is not None or self.memory_bytes is not None


def _size(name: str, text: str | None) -> float | None:
    return None if text is None else parse_quantity(text, dataclasses.replace(_BYTES, name=name))


def refuse_files(limits: Limits, folder: Path) -> None:
    """Refuse a trial whose files are too large.

    Raises:
        LimitError: With both sizes.
    """
    if limits.files_bytes is not None and (size := _folder_bytes(folder)) > limits.files_bytes:
        raise LimitError(_too_much("its files are", size, limits.files_bytes))


def too_long(limit_s: float) -> str:
    """Return what is said of a trial that took longer than it may.

    >>> too_long(600)
    'took longer than 600 s'
    """
    return f"took longer than {limit_s:g} s"


def too_much_memory(used: float, limit: float) -> str:
    """Return what is said of a trial that took more memory than it may, both in bytes.

    >>> too_much_memory(3 * 2**30, 2 * 2**30)
    'took memory of 3 GiB, more than the limit of 2 GiB'
    """
    return _too_much("took memory of", used, limit)


def _too_much(what: str, size: float, limit: float) -> str:
    return f"{what} {format_value(size, _BYTES)}, more than the limit of {format_value(limit, _BYTES)}"


def _folder_bytes(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):  # removed just now
            total += path.lstat().st_size if not path.is_dir() else 0
    return total


@dataclass(frozen=True, kw_only=True)
class Running:
    """A trial at work.

    Attributes:
        number: Of the trial.
        attempt: How often it was begun.
        process: The process that runs it.
    """

    number: int
    attempt: int
    process: int


class TrialWatch:
    """What running trials have taken, seen from outside.

    Args:
        limits: What they may take.
        folder_of: The folder of a trial's files.
        clock: Seconds from any origin.
        memory_of: The bytes that a process and all below it have, given how many are too many.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        folder_of: Callable[[int], Path],
        clock: Callable[[], float] = time.monotonic,
        memory_of: Callable[[int, float], float] | None = None,
    ) -> None:
        self._limits = limits
        self._folder_of = folder_of
        self._clock = clock
        self._memory_of = memory_of or tree_bytes
        self._begun: Mapping[Running, float] = {}
        self._next_look = -math.inf

    def follow(self, running: Iterable[Running]) -> None:
        """Take note of which trials run now; the time of each counts from when it is first seen."""
        now = self._clock()
        self._begun = {one: self._begun.get(one, now) for one in running}

    def excesses(self, *, is_quiet: bool) -> list[tuple[Running, str]]:
        """Return the trials that took more than they may, and of what.

        Args:
            is_quiet: Whether a candidate is being timed, so that looks are to be rare.
        """
        now = self._clock()
        looks = now >= self._next_look
        if looks:
            self._next_look = now + (_QUIET_LOOK_S if is_quiet else LOOK_S)
        found = []
        for one, begun in self._begun.items():
            reason = self._late(now - begun) or (self._large(one) if looks else "")
            if reason:
                found.append((one, reason))
        return found

    def _late(self, seconds: float) -> str:
        limit = self._limits.time_s
        return too_long(limit) if limit is not None and seconds > limit else ""

    def _large(self, one: Running) -> str:
        memory, files = self._limits.memory_bytes, self._limits.files_bytes
        if memory is not None and (used := self._memory_of(one.process, memory)) > memory:
            return too_much_memory(used, memory)
        if files is not None and (size := _folder_bytes(self._folder_of(one.number))) > files:
            return _too_much("its files are", size, files)
        return ""


def tree_bytes(process: int, limit: float) -> float:
    """Return the resident memory of a process and all below it; 0 for one that has ended.

    What several of them share is counted once, which takes longer to find out: it is done only where the sum
    is above the limit.
    """
    members = _tree(process)
    total = 0.0
    for member in members:
        with contextlib.suppress(psutil.Error):
            total += member.memory_info().rss
    if total <= limit or len(members) == 1:
        return total
    total = 0.0
    for member in members:
        with contextlib.suppress(psutil.Error):
            known = member.memory_full_info()
            total += getattr(known, "pss", known.uss)
    return total


def end_tree(process: int) -> None:
    """Kill a process and all below it."""
    for member in _tree(process):
        with contextlib.suppress(psutil.Error):
            member.kill()


def _tree(process: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        head = psutil.Process(process)
        return [head, *head.children(recursive=True)]
    return []
