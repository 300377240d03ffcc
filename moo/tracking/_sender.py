"""The child process that talks to the tracking service: one JSON line in, one out, until its input ends.

In: `{"do": "check"}`, `{"do": "study", "study": ..}`, `{"do": "trial", "trial": ..}` and
`{"do": "finish", "study": .., "is_whole": ..}`. Out: `{"note": ..}` where it was done, or `{"error": ..}`.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from moo.storage import first_line
from moo.tracking._mlflow import MlflowWriter
from moo.tracking._place import Place
from moo.tracking._wandb import WandbWriter

__all__ = ["Sender", "Writer", "main"]


class Writer(Protocol):
    """What writes to one tracking service; each method raises whatever the service's package raises."""

    def check(self) -> None:
        """Find out whether the service can be reached."""

    def open(self, study: Mapping[str, Any]) -> None:
        """Begin the study, or go on with it."""

    def write(self, trial: Mapping[str, Any]) -> str | None:
        """Write a trial where it is not there; return a note on what of it could not be sent."""

    def finish(self, study: Mapping[str, Any] | None, *, is_whole: bool) -> None:
        """End the study's own run."""


class Sender:
    """Does what the lines say. A study that could not be opened is opened before the next trial.

    Args:
        make: Makes what writes to the service, at the first line that needs it.
        place: The study's folder: one process writes at a time.
    """

    def __init__(self, make: Callable[[], Writer], place: Place) -> None:
        self._make = make
        self._place = place
        self._made: Writer | None = None
        self._study: Mapping[str, Any] | None = None
        self._is_open = False

    def reply(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Return the answer to a message."""
        try:
            with self._place.alone():
                return {"note": self._done(message)}
        except (Exception, SystemExit) as error:  # of packages that raise anything: it must not end a sweep
            return {"error": first_line(error)}

    def _done(self, message: Mapping[str, Any]) -> str | None:
        if self._made is None:
            self._made = self._make()
        writer = self._made
        if message["do"] == "check":
            writer.check()
            return None
        if message["do"] == "study":
            self._study, self._is_open = message["study"], False
        assert self._study is not None
        if not self._is_open:
            writer.open(self._study)
            self._is_open = True
        if message["do"] == "trial":
            return writer.write(message["trial"])
        if message["do"] == "finish":
            writer.finish(message["study"], is_whole=message["is_whole"])
        return None


def main() -> None:
    """Answer the lines of standard input; what packages print goes to standard error.

    The first line says to what: `kind`, `text`, `folder`, `max_artefact_bytes`. It is no argument of the
    command, which every user of the machine can read: it may hold a password.
    """
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    to = json.loads(sys.stdin.readline())
    place = Place(Path(to["folder"]))
    made: type[MlflowWriter | WandbWriter] = MlflowWriter if to["kind"] == "mlflow" else WandbWriter
    sender = Sender(partial(made, to["text"], place, max_artefact_bytes=to["max_artefact_bytes"]), place)
    for line in sys.stdin:
        answers.write(json.dumps(sender.reply(json.loads(line))) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
