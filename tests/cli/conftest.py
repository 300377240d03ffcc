"""A command as a person types it, in this process: its exit status and what it wrote."""

from collections.abc import Callable
from typing import NamedTuple

import pytest

from moo.cli import main


class Finished(NamedTuple):
    """What a command left."""

    status: int
    out: str
    err: str


@pytest.fixture
def moo(capsys, monkeypatch) -> Callable[..., Finished]:
    """Runs `moo` with some words."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words: str) -> Finished:
        with pytest.raises(SystemExit) as left:
            main(list(words))
        written = capsys.readouterr()
        return Finished(int(left.value.code or 0), written.out, written.err)

    return run
