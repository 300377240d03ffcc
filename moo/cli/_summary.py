"""How a sweep ends on the terminal: what was done, the front as a table, where the report is."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from moo.metrics import format_estimate
from moo.problem import describe_bound
from moo.results import FinishedTrial, Results

__all__ = ["output_console", "print_summary"]

_MOST_REASONS = 5


def output_console(*, stderr: bool = False) -> Console:
    """Return the console; wide enough for the table where the output is no terminal."""
    console = Console(stderr=stderr, highlight=False)
    return (
        console
        if console.is_terminal
        else Console(stderr=stderr, highlight=False, width=160, color_system=None)
    )


def print_summary(console: Console, results: Results) -> None:
    """Print counts, reasons of failure, the bounds that held and the front."""
    console.print(escape(f"Study {results.study_name}: {results.counts}."))
    for reason, count in results.failures[:_MOST_REASONS]:
        console.print(escape(f"  {count} failed: {reason}"), soft_wrap=True)
    if len(results.failures) > _MOST_REASONS:
        console.print(f"  and {len(results.failures) - _MOST_REASONS} other reasons")
    for constraint, bound in zip(results.problem.constraints, results.bounds, strict=True):
        console.print(
            escape(f"  bound: {constraint if bound is None else describe_bound(constraint, bound)}")
        )
    if results.front:
        console.print(_front_table(results))
    else:
        console.print("No candidate is feasible: the report shows those nearest to it.")


def _front_table(results: Results) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD, title="Front, with 95% intervals", title_justify="left", pad_edge=False
    )
    table.add_column("trial", justify="right")
    for metric in results.problem.metrics:
        table.add_column(metric.name, justify="right", no_wrap=True)
    table.add_column("tags")
    rows = list(results.front)
    if results.baseline is not None and results.baseline not in rows:
        rows.append(results.baseline)
    for trial in rows:
        table.add_row(*_cells(results, trial), style="dim" if trial not in results.front else None)
    return table


def _cells(results: Results, trial: FinishedTrial) -> list[str]:
    name = f"{trial.number} baseline" if trial.is_baseline else str(trial.number)
    values = [format_estimate(trial.estimate(m.name), m) for m in results.problem.metrics]
    tags = trial.evaluation.tags if trial.evaluation is not None else ()
    return [name, *(escape(value) for value in values), escape(" ".join(tags))]
