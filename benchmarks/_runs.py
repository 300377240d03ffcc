"""The matrix of runs, sampler x problem x seed, and the file that remembers which are done."""

from __future__ import annotations

import csv
import multiprocessing
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import optuna

from benchmarks._searches import make_search, run_search
from benchmarks.problems import problem


@dataclass(frozen=True)
class Run:
    """What identifies a run."""

    sampler: str
    problem: str
    seed: int
    trials: int
    staged: bool


@dataclass(frozen=True)
class RunRow(Run):
    """A row of the file of runs; `scores` are those after 10, 20, ... trials, separated by spaces."""

    group: str
    n_constraints: int
    first_feasible: int | None
    n_duplicates: int
    overhead_ms: float
    scores: str


COLUMNS = tuple(column.name for column in fields(RunRow))


def execute(run: Run) -> RunRow:
    """Search as `run` says."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    searched = problem(run.problem)
    search = make_search(run.sampler, searched, seed=run.seed, is_staged=run.staged)
    result = run_search(search, searched, run.trials)
    return RunRow(
        **asdict(run),
        group=searched.group,
        n_constraints=len(searched.constraint_names),
        first_feasible=result.first_feasible,
        n_duplicates=result.n_duplicates,
        overhead_ms=round(result.overhead_ms, 4),
        scores=" ".join(f"{score:.6f}" for score in result.scores),
    )


def execute_missing(runs: Iterable[Run], path: Path, *, n_jobs: int) -> Iterator[tuple[Run, str | None]]:
    """Execute the runs that `path` lacks, appending each as it finishes.

    Yields each of them with None, or with the reason why it failed; a failed run is not stored, so that a
    restart tries it again. The processes are spawned: they load numpy anew, with the number of threads that
    the environment names.
    """
    done = runs_in(path)
    waiting = [run for run in runs if run not in done]
    _mend(path)
    with ProcessPoolExecutor(n_jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        started = {pool.submit(execute, run): run for run in waiting}
        for future in as_completed(started):
            error = future.exception()
            if error is None:
                _append(path, future.result())
            yield started[future], None if error is None else f"{type(error).__name__}: {error}"


def runs_in(path: Path) -> set[Run]:
    """The runs that the file holds; none where there is no file. A half-written last line is passed over."""
    if not path.exists():
        return set()
    return {
        Run(row["sampler"], row["problem"], int(row["seed"]), int(row["trials"]), row["staged"] == "True")
        for row in csv.DictReader(_whole_lines(path.read_text()))
    }


def _whole_lines(text: str) -> list[str]:
    return text[: text.rfind("\n") + 1].splitlines()


def _mend(path: Path) -> None:
    """Make the file end after a whole line: the header, or the last row that was written completely."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = _whole_lines(path.read_text()) if path.exists() else []
    path.write_text("\n".join(lines or [",".join(COLUMNS)]) + "\n")


def _append(path: Path, row: RunRow) -> None:
    with path.open("a", newline="") as file:
        csv.DictWriter(file, COLUMNS, lineterminator="\n").writerow(asdict(row))
