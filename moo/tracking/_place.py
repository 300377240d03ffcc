"""What tracking keeps in a study's folder: which study it is, a lock, and what Weights & Biases has."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import uuid
from collections.abc import Iterator
from pathlib import Path

__all__ = ["Place"]

_FOLDER = ".moo-tracking"


class Place:
    """A study's folder, and `.moo-tracking` in it.

    The identity is drawn once a folder: a study that is deleted with its folder and begun again is another
    one, and one whose folder was moved is the same.

    Args:
        folder: The study's folder; it is created where it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._own = folder / _FOLDER
        self._own.mkdir(parents=True, exist_ok=True)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes that track the same study from writing meanwhile.

        A file system without locks goes without.
        """
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(OSError):
                file = stack.enter_context((self._own / "lock").open("w"))
                fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def identity(self) -> str:
        """Return which study this is; to be called under `alone`."""
        file = self._own / "study"
        known = file.read_text(encoding="utf-8").strip() if file.exists() else ""
        if not known:
            known = uuid.uuid4().hex
            file.write_text(known + "\n", encoding="utf-8")
        return known

    def sent(self, target: str) -> set[int]:
        """Return the numbers of the trials that `target` has, as `note_sent` kept them."""
        file = self._ledger(target)
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        return {int(line) for line in lines if line.isdecimal()}

    def note_sent(self, target: str, number: int) -> None:
        """Keep that `target` has a trial."""
        with self._ledger(target).open("a", encoding="utf-8") as file:
            file.write(f"{number}\n")

    def _ledger(self, target: str) -> Path:
        return self._own / f"sent-{hashlib.sha256(target.encode()).hexdigest()[:16]}"
