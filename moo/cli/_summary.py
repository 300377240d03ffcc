"""How a sweep ends on the terminal: what was done, the front as a table, where the report is."""

from __future__ import annotations

from collections import Counter

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from moo.cli._plain import PlainConsole
from moo.decision import recommend
from moo.devices import on_place, places
from moo.metrics import format_estimate, format_probability, format_value
from moo.problem import describe_bound, describe_difference
from moo.results import FinishedTrial, Results, opened_lines, paired_text

__all__ = ["WIDE", "output_console", "print_summary"]

_MOST_REASONS = 5
WIDE = 120  # columns of a terminal with room for intervals and tags on one line


def output_console(*, stderr: bool = False) -> Console:
    """Return the console; wide enough for the table where the output is no terminal."""
    console = PlainConsole(stderr=stderr, highlight=False)
    return (
        console
        if console.is_terminal
        else PlainConsole(stderr=stderr, highlight=False, width=160, color_system=None)
    )


def print_summary(console: Console, results: Results) -> None:
    """Print counts, reasons of failure, the bounds that held, the front, and which candidate to take."""
    console.print(escape(f"Study {results.study_name}: {results.counts}."))
    pruned = [trial for trial in results.trials if trial.state == "pruned"]
    if pruned:
        n_trained = sum(_trained_s(trial) > 0 for trial in pruned)
        where = f"{len(pruned) - n_trained} before training, {n_trained} in it"
        console.print(f"  pruned: {where}; all training took {sum(map(_trained_s, results.trials)):.0f} s")
    for reason, count in results.failures[:_MOST_REASONS]:
        console.print(escape(f"  {count} failed: {reason}"), soft_wrap=True)
    if len(results.failures) > _MOST_REASONS:
        console.print(f"  and {len(results.failures) - _MOST_REASONS} other reasons")
    for constraint, bound in zip(results.problem.constraints, results.bounds, strict=True):
        console.print(
            escape(f"  bound: {constraint if bound is None else describe_bound(constraint, bound)}")
        )
    if results.front:
        is_wide = console.width >= WIDE
        console.print(_front_table(results, is_wide=is_wide))
        if not is_wide:
            console.print(escape(f"Tags of these candidates: {_tag_counts(results) or 'none'}"))
    else:
        console.print("No candidate is feasible: the report shows those nearest to it.")
    for line in place_lines(results):
        console.print(escape(line), soft_wrap=True)
    console.print(escape(recommended_line(results)), end="")
    console.print(escape(gains_line(results)), end="")
    for line in opened_lines(results.openings):
        console.print(escape(line), soft_wrap=True)


def place_lines(results: Results) -> list[str]:
    """Return a line on the front of each place that candidates were measured in, where there are several."""
    found = []
    for prefix, name in places(results).items():
        numbers = [str(trial.number) for trial in on_place(results, prefix).front]
        trials = (
            f"trial{'' if len(numbers) == 1 else 's'} {', '.join(numbers)}" if numbers else "nothing feasible"
        )
        found.append(f"Front on {name}: {trials}.")
    return found


def recommended_line(results: Results) -> str:
    """Return a line on which candidate to take; nothing where there is none.

    With equal weights: the knee of the front, or of what a stored confirmation leaves of it.
    """
    found = recommend(results)
    if found is None:
        return ""
    values = ", ".join(
        f"{o.metric.name} {format_value(found.trial.estimate(o.metric.name).value, o.metric)}"
        for o in results.problem.objectives
    )
    after = "" if found.runner_up is None else f"; then {found.runner_up.name}"
    if results.confirmation is None:
        sure = "not confirmed"
    else:
        p = results.probability(found.trial, "p_on_front")
        sure = "not measured again" if p is None else f"P(front) {format_probability(p)}"
    return f"Recommended (equal weights): {found.trial.name} ({values}; {sure}){after}.\n"


def gains_line(results: Results) -> str:
    """Return a line on how the recommended candidate differs from the baseline; nothing without both.

    A score that both have on the same samples is compared sample by sample, with McNemar's test.
    """
    found, baseline = recommend(results), results.baseline
    if found is None or baseline is None or found.trial is baseline:
        return ""
    texts = []
    for objective in results.problem.objectives:
        metric, paired = objective.metric, found.trial.paired_difference(objective.metric.name)
        value, origin = found.trial.estimate(metric.name).value, baseline.estimate(metric.name).value
        if paired is not None:
            texts.append(f"{metric.name} {paired_text(paired)} on the same {paired.n:,} samples")
        elif value is not None and origin is not None:
            texts.append(f"{metric.name} {describe_difference(value, origin, metric)}")
    return f"Against the baseline, {baseline.name}: {'; '.join(texts)}.\n"


def _trained_s(trial: FinishedTrial) -> float:
    """Return the seconds of training, 0 where there was none or nobody said."""
    return 0.0 if trial.evaluation is None else trial.evaluation.seconds.get("fit", 0.0)


def _front_table(results: Results, *, is_wide: bool) -> Table:
    """Return the front and the baseline; intervals below their values where the terminal is narrow."""
    table = Table(
        box=box.SIMPLE_HEAD,
        title="Front, with 95% intervals",
        title_justify="left",
        pad_edge=False,
        padding=(0, 1) if is_wide else 0,
    )
    table.add_column("trial", justify="right", no_wrap=True)
    for metric in results.problem.metrics:
        table.add_column(metric.name, justify="right", no_wrap=is_wide, overflow="fold")
    if results.confirmation is not None:
        table.add_column("P(front)" if is_wide else "P(front)\nP(feas.)", justify="right", no_wrap=True)
    if results.confirmation is not None and is_wide:
        table.add_column("P(feasible)", justify="right", no_wrap=True)
    if is_wide:
        table.add_column("tags")
    for trial in _shown(results):
        cells, sure = _cells(results, trial), _probabilities(results, trial)
        if is_wide:
            row = [*cells, *sure, " ".join(_tags(trial))]
        else:
            row = [cell.replace(" [", "\n[").replace(" base", "\nbase") for cell in cells]
            row += ["\n".join(sure)] if sure else []
        table.add_row(*map(escape, row), style=None if trial in results.front else "dim")
    return table


def _shown(results: Results) -> list[FinishedTrial]:
    """Return the front, and the baseline below it where it is not on it."""
    baseline = results.baseline
    return [*results.front, *([baseline] if baseline is not None and baseline not in results.front else [])]


def _cells(results: Results, trial: FinishedTrial) -> list[str]:
    name = f"{trial.number} baseline" if trial.is_baseline else str(trial.number)
    values = [format_estimate(trial.estimate(m.name), m) for m in results.problem.metrics]
    return [name, *values]


def _probabilities(results: Results, trial: FinishedTrial) -> list[str]:
    """Return P(on the front) and P(feasible) of the stored confirmation; nothing without one."""
    if results.confirmation is None:
        return []
    found = [results.probability(trial, name) for name in ("p_on_front", "p_feasible")]
    return ["-" if p is None else format_probability(p) for p in found]


def _tags(trial: FinishedTrial) -> tuple[str, ...]:
    return trial.evaluation.tags if trial.evaluation is not None else ()


def _tag_counts(results: Results) -> str:
    """Return each tag of the candidates shown with its count, such as `single_launch 9, imprecise 2`."""
    counts = Counter(tag for trial in _shown(results) for tag in _tags(trial))
    return ", ".join(f"{tag} {count}" for tag, count in counts.most_common())
