"""`moo report`: the report of a study, of any Optuna study, or of any table."""

from __future__ import annotations

import json as json_module
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from moo.errors import InputError, StorageError

if TYPE_CHECKING:
    from moo.decision import Recommendation
    from moo.results import FinishedTrial, Results

__all__ = ["report"]

_ASSETS = ("inside", "beside")
_MOST_SHOWN = 6  # metrics of a candidate, on the terminal


def report(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A database URL, a sweep's folder, a .db or journal file of Optuna, or a table: .csv, .tsv,"
            " .parquet.",
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the report.")],
    study: Annotated[
        str | None, typer.Option(help="The study's name, where the storage has several.")
    ] = None,
    maximize: Annotated[
        list[str] | None, typer.Option(help="A column to maximise; may repeat. A study has its own.")
    ] = None,
    minimize: Annotated[list[str] | None, typer.Option(help="A column to minimise; may repeat.")] = None,
    constraint: Annotated[
        list[str] | None, typer.Option(help="A bound on a column such as 'param_count <= 30'; may repeat.")
    ] = None,
    label: Annotated[str | None, typer.Option(help="The column that names a table's rows.")] = None,
    assets: Annotated[
        str,
        typer.Option(metavar="inside|beside", help="Where plotly goes: in the page, or in a file beside it."),
    ] = "inside",
    json: Annotated[  # noqa: FBT002  (how typer declares a flag)
        bool, typer.Option("--json", help="Print what was recommended and written as JSON.")
    ] = False,
) -> int:
    """Write a report that a person decides from: a page, figures, candidates.csv and report.json.

    A table needs objectives, each the name of a column of numbers.
    """
    import optuna

    import reports
    from moo.cli._summary import output_console
    from moo.decision import recommend

    if assets not in _ASSETS:
        raise InputError(f"--assets: expected {' or '.join(_ASSETS)}, got {assets!r}")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    results = _results(source, study, maximize or [], minimize or [], constraint or [], label)
    _refuse_to_replace(Path(source), out)
    before = _stamps(out)
    options: dict[str, Any] = {} if assets == "inside" else {"assets": assets}
    page = reports.write(results, out, **options)
    after = _stamps(out)
    files = [page, *(path for path in sorted(after) if path != page and after[path] != before.get(path))]
    recommendation = recommend(results)
    if json:
        typer.echo(json_module.dumps(_record(results, recommendation, files), indent=1))
        return 0
    console = output_console()
    for line in _lines(results, recommendation):
        console.print(_printable(line), soft_wrap=True, markup=False)
    others = ", ".join(path.name for path in files[1:])
    console.print(_printable(f"Report: {page} (beside it {others})"), soft_wrap=True, markup=False)
    return 0


def _results(
    source: str,
    study: str | None,
    maximize: list[str],
    minimize: list[str],
    constraints: list[str],
    label: str | None,
) -> Results:
    """Return what the source has.

    Raises:
        InputError: If it is nothing that can be reported, or an option does not go with it.
    """
    from moo.foreign import foreign_results, is_storage
    from moo.storage import hide_password
    from moo.tables import read_table

    wanted: dict[str, Any] = {"maximize": maximize, "minimize": minimize, "constraints": constraints}
    path = Path(source)
    if "://" not in source:
        kind = _kind(path)
        if kind == "folder":
            source = str(_database_in(path))
        elif kind is not None:
            raise InputError(
                "SOURCE: expected a database URL, a sweep's folder, a database or journal file, or a table"
                f" (.csv, .tsv, .parquet), got {hide_password(source)!r}, which {kind}"
            )
        elif not is_storage(path):
            if study is not None:
                raise InputError(
                    f"--study: expected a storage to read, but {source!r} is a table: leave it out"
                )
            return read_table(path, label=label, **wanted)
    if label is not None:
        raise InputError("--label: a study has no columns, its candidates are called by trial: leave it out")
    return foreign_results(source, study, **wanted)


def _kind(path: Path) -> str | None:
    """Return "folder", what is wrong with a path, or None for what is there and is none."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return "is not there"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return "folder" if stat.S_ISDIR(found.st_mode) else None


def _database_in(folder: Path) -> Path:
    database = folder / "study.db"
    if not database.is_file():
        raise StorageError(
            f"SOURCE: the folder {folder} has no study.db: give the URL of the sweep's database, or a file"
        )
    return database


def _refuse_to_replace(source: Path, out: Path) -> None:
    """Refuse to write a report over the very table that it is made from."""
    written = out / "candidates.csv"
    if written.exists() and source.exists() and written.samefile(source):
        raise InputError(
            f"--out: the report would replace {source}, from which it is made: name another folder"
        )


def _stamps(folder: Path) -> dict[Path, tuple[int, int]]:
    """Return what tells a file that is written anew from the one before it, by path."""
    if not folder.is_dir():
        return {}
    found = {path: path.stat() for path in folder.iterdir() if path.is_file()}
    return {path: (stat.st_ino, stat.st_mtime_ns) for path, stat in found.items()}


def _lines(results: Results, recommendation: Recommendation | None) -> list[str]:
    counted = f"{results.study_name}: {results.counts}."
    if not any(trial.state == "complete" for trial in results.trials):
        return [counted, "No candidate can be recommended: none is complete yet."]
    if recommendation is None:
        return [counted, "No candidate can be recommended: the report says why, and which is nearest to it."]
    runner_up = recommendation.runner_up
    lines = [counted, f"Recommended: {_described(results, recommendation.trial)}."]
    if runner_up is None:
        return lines
    tie = " By equal weights it is as good: say what counts more." if recommendation.is_toss_up else ""
    return [*lines, f"Runner-up: {_described(results, runner_up)}.{tie}"]


def _described(results: Results, trial: FinishedTrial) -> str:
    """Return a candidate's name with what the problem asks of it."""
    from moo.metrics import format_value

    metrics = results.problem.metrics
    values = [
        f"{metric.title} {format_value(trial.estimate(metric.name).value, metric)}"
        for metric in metrics[:_MOST_SHOWN]
    ]
    more = [f"{len(metrics) - _MOST_SHOWN} more"] if len(metrics) > _MOST_SHOWN else []
    return f"{trial.name} ({', '.join([*values, *more])})"


def _printable(text: str) -> str:
    """Return a text on one line without what would steer a terminal: names come from anywhere."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())


def _record(results: Results, recommendation: Recommendation | None, files: list[Path]) -> Mapping[str, Any]:
    def named(trial: FinishedTrial | None) -> dict[str, Any] | None:
        return None if trial is None else {"id": trial.number, "label": trial.name}

    return {
        "study": results.study_name,
        "recommended": named(recommendation.trial if recommendation else None),
        "runner_up": named(recommendation.runner_up if recommendation else None),
        "files": [str(path) for path in files],
    }
