"""Optuna's journal file, kept whole where a disk fills up or a process is killed in the middle of a line."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any, BinaryIO

from optuna.exceptions import StorageInternalError
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

__all__ = ["JOURNAL_ENDINGS", "open_journal"]

JOURNAL_ENDINGS = (".log", ".journal", ".jsonl")
_BLOCK = 4096


def open_journal(path: Path) -> JournalStorage:
    """Return the storage that a journal file is; the file is made where there is none.

    Any Optuna reads and goes on with the same file.

    Raises:
        StorageInternalError: If a line of it cannot be read, or is none of Optuna's.
        OSError: If the file cannot be opened.
    """
    where = str(path.absolute())  # the lock is a link to it, from its own folder
    try:
        return JournalStorage(_WholeLines(where))
    except (KeyError, TypeError, ValueError, AssertionError) as error:
        raise StorageInternalError(f"{path} is no journal that Optuna can read: {error!r}") from None


class _WholeLines(JournalFileBackend):
    """A journal in which every line is whole but for the last, which the next writer removes if it is not.

    Optuna's own appends to half a line, and no line from there on can be read.
    """

    def __init__(self, path: str) -> None:
        self._where = path
        self._writing = JournalFileSymlinkLock(path)
        super().__init__(path, self._writing)

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
        try:
            yield from super().read_logs(log_number_from)
        except ValueError as error:
            raise StorageInternalError(f"the journal {self._where} is damaged: {error}") from None

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        self._writing.acquire()
        try:
            self._append(logs)
        finally:
            with contextlib.suppress(RuntimeError):  # this process was halted: another took the lock
                self._writing.release()

    def _append(self, logs: list[dict[str, Any]]) -> None:
        content = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs).encode()
        with Path(self._where).open(
            "r+b", buffering=0
        ) as file:  # never made anew: it would be another journal
            end = _end_of_whole_lines(file)
            file.truncate(end)
            file.seek(end)
            try:
                while content:
                    content = content[file.write(content) :]
                os.fsync(file.fileno())
            except OSError:
                file.truncate(end)
                raise


def _end_of_whole_lines(file: BinaryIO) -> int:
    """Return how many bytes the file's whole lines have."""
    end = file.seek(0, os.SEEK_END)
    while end > 0:
        begin = max(0, end - _BLOCK)
        file.seek(begin)
        newline = file.read(end - begin).rfind(b"\n")
        if newline >= 0:
            return begin + newline + 1
        end = begin
    return 0
