"""How a bundle and its verification are shown."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from moo.bundle import Bundle, Outcome, Promise, Verdict, Verification
from moo.cli._plain import plain
from moo.evaluation import Estimate
from moo.metrics import Metric, format_estimate

__all__ = ["print_bundle", "print_verification"]

_STYLES = {
    Verdict.KEPT: "green",
    Verdict.BROKEN: "bold red",
    Verdict.NOT_COMPARABLE: "dim",
    Outcome.PASSED: "green",
    Outcome.BROKEN: "bold red",
    Outcome.NOT_CHECKED: "dim",
}


def print_bundle(console: Console, bundle: Bundle) -> None:
    """Print what a bundle promises, and what a person should know of it."""
    table = _table("Promises, with 95% intervals", ("metric", "promised", "from", "launches"))
    for promise in bundle.promises:
        table.add_row(*map(escape, _row(promise)))
    console.print(table)
    for note in bundle.notes:
        _say(console, note)


def _row(promise: Promise) -> tuple[str, str, str, str]:
    n = "-" if promise.n_launches is None else str(promise.n_launches)
    return promise.metric.name, _shown(promise.estimate, promise.metric), promise.source, n


def print_verification(console: Console, verification: Verification) -> None:
    """Print each check, each promise beside what was found, and the verdict.

    What comes from the bundle is a stranger's text, so that nothing in it is taken for markup, or for orders
    to the terminal.
    """
    bundle = verification.bundle
    _say(console, f"Bundle of {bundle.title}: model {bundle.model.sha256[:12]}..")
    for check in verification.checks:
        style = _STYLES[check.outcome]
        first, *others = check.lines or ("",)
        line = f"  [{style}]{check.outcome:<11}[/] {check.name:<8} {escape(_safe(first))}"
        console.print(line, soft_wrap=True)
        for other in others:
            _say(console, f"{'':23}{other}")
    if verification.promises:
        console.print(_held_table(verification))
    for note in verification.notes:
        _say(console, f"Note: {note}.")
    if verification.found is not None and verification.found.tags != ("ok",):
        _say(console, f"Note: what was measured here is tagged {', '.join(verification.found.tags)}.")
    _say(console, _summary(verification))


def _held_table(verification: Verification) -> Table:
    assert verification.found is not None
    n = verification.found.n_launches
    title = f"Promised beside found here in {n} launch{'' if n == 1 else 'es'}, with 95% intervals"
    table = _table(title, ("metric", "promised", "found here", "verdict", ""))
    for one in verification.promises:
        metric = one.promise.metric
        found = "-" if one.found is None else _shown(one.found, metric)
        cells = [metric.name, _shown(one.promise.estimate, metric), found]
        verdict = f"[{_STYLES[one.verdict]}]{one.verdict}[/]"
        table.add_row(*(escape(_safe(cell)) for cell in cells), verdict, escape(_safe(one.reason)))
    return table


def _summary(verification: Verification) -> str:
    broken = [check.name for check in verification.checks if check.outcome is Outcome.BROKEN]
    broken += [one.promise.metric.name for one in verification.promises if one.verdict is Verdict.BROKEN]
    if broken:
        return f"BROKEN: {', '.join(broken)}."
    if not verification.promises:
        return "Nothing is broken; no promise was held against a measurement."
    n_kept = sum(one.verdict is Verdict.KEPT for one in verification.promises)
    n_others = len(verification.promises) - n_kept
    return f"Nothing is broken: {n_kept} promises kept, {n_others} not comparable here."


def _table(title: str, names: tuple[str, ...]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False, padding=(0, 1))
    for name in names:
        is_number = name in ("promised", "found here", "launches")
        table.add_column(name, justify="right" if is_number else "left", overflow="fold")
    return table


def _shown(estimate: Estimate, metric: Metric) -> str:
    return format_estimate(estimate, metric)


def _say(console: Console, line: str) -> None:
    console.print(escape(_safe(line)), soft_wrap=True)


def _safe(text: str) -> str:
    r"""Return a text as one line, without characters that steer a terminal.

    >>> _safe("a" + chr(27) + "[2J" + chr(10) + "b")
    'a\\x1b[2J\\nb'
    """
    return plain(text).replace("\n", "\\n")
