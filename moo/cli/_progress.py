"""What a person sees while a sweep runs; nothing where there is no terminal."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Column

from moo.cli._summary import WIDE
from moo.metrics import format_value
from moo.problem import Objective
from moo.results import FinishedTrial, Results

__all__ = ["ProgressDisplay", "log_to", "status_line"]


class _ConsoleHandler(logging.Handler):
    """Prints each record as one line, above the progress bar where there is one."""

    def __init__(self, console: Console, level: int) -> None:
        super().__init__(level)
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        self._console.print(escape(record.getMessage()), soft_wrap=True)


@contextlib.contextmanager
def log_to(console: Console, *, is_verbose: bool = False) -> Iterator[None]:
    """Show what the library says of its choices, and its warnings; if wanted, each event of a study's log."""
    shown = logging.DEBUG if is_verbose else logging.INFO
    logger, handler = logging.getLogger("moo"), _ConsoleHandler(console, shown)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(shown)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)


class ProgressDisplay:
    """Trials done, size of the front, best feasible value of each objective, time left.

    Args:
        console: Where it is drawn; nothing is drawn where it is no terminal.

    Attributes:
        finished: The trials that finished in this run, by whichever process.
    """

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            MofNCompleteColumn(table_column=Column(no_wrap=True, min_width=5)),
            BarColumn(bar_width=24 if console.width >= WIDE else 8),
            TextColumn("{task.fields[status]}", table_column=Column(no_wrap=True, overflow="ellipsis")),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self.finished: list[FinishedTrial] = []
        self._results: Results | None = None
        self._bar = TaskID(0)
        self._n_trials = 0
        self._n_before = 0
        self._begun_s = 0.0

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def begun(self, results: Results, n_trials: int) -> None:
        """Show how far an earlier run came."""
        self._results = results
        self._n_trials, self._n_before = n_trials, len(self._results.trials)
        self._begun_s = time.monotonic()
        self._bar = self._progress.add_task("trials", total=n_trials, status="")
        self._show()

    def trial_finished(self, trial: FinishedTrial) -> None:
        """Show the trial's part in the whole."""
        assert self._results is not None, "begun() comes first"
        self.finished.append(trial)
        if not self._progress.disable:
            self._results = dataclasses.replace(self._results, trials=(*self._results.trials, trial))
            self._show()

    def _show(self) -> None:
        assert self._results is not None
        done = len(self._results.trials)
        status = status_line(self._results, self._seconds_left(done))
        self._progress.update(self._bar, completed=done, status=status)

    def _seconds_left(self, done: int) -> float | None:
        ran = done - self._n_before
        if ran == 0:
            return None
        return (time.monotonic() - self._begun_s) / ran * max(self._n_trials - done, 0)


def status_line(results: Results, seconds_left: float | None) -> str:
    """Return time left, the front's size, the best feasible value of each objective, and failures."""
    parts = []
    if seconds_left is not None:
        minutes, seconds = divmod(round(seconds_left), 60)
        parts.append(f"{minutes}:{seconds:02d} left")
    parts.append(f"front {len(results.front)}")
    parts += [_best(results, objective) for objective in results.problem.objectives]
    if results.failed:
        parts.append(f"{len(results.failed)} failed")
    return " · ".join(parts)


def _best(results: Results, objective: Objective) -> str:
    """Return the front's best value; the best feasible value of one objective is always on the front."""
    metric = objective.metric
    values = [trial.estimate(metric.name).value for trial in results.front]
    known = [value for value in values if value is not None]
    best = min(known, key=lambda value: value * objective.sign) if known else None
    return f"{metric.name} {format_value(best, metric)}"
