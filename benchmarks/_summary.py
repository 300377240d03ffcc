"""From the file of runs to the figures that are quoted, over the pairs that all compared samplers have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import wilcoxon

from benchmarks._searches import CHECKPOINT_STEP, OURS, SAMPLER_NAMES
from benchmarks.problems import GROUPS

BUDGETS = (50, 100, 200)
ALL = "all"
PAIR = ["problem", "seed"]


@dataclass(frozen=True, eq=False)
class Comparison:
    """Runs of several samplers on the same pairs of problem and seed.

    Attributes:
        runs: One row for each run, with the columns of the file.
        scores: One row for each run, in the same order, one column for each number of evaluations.
    """

    runs: pd.DataFrame
    scores: pd.DataFrame

    @property
    def samplers(self) -> list[str]:
        """The compared samplers, ours first."""
        present = set(self.runs["sampler"])
        return [name for name in SAMPLER_NAMES if name in present]

    @property
    def budgets(self) -> list[int]:
        """The numbers of evaluations that tables quote, as far as the runs go."""
        return [budget for budget in BUDGETS if budget in self.scores.columns]

    @property
    def groups(self) -> list[str]:
        """All problems together, then the groups of problems."""
        present = set(self.runs["group"])
        return [ALL, *sorted(present, key=[*GROUPS, *present].index)]

    @property
    def n_pairs(self) -> int:
        """How many pairs of problem and seed are compared."""
        return len(self.runs[PAIR].drop_duplicates())

    def of_group(self, group: str) -> Comparison:
        """The part on one group of problems; on all of them for "all"."""
        mask = self.runs["group"].eq(group) | (group == ALL)
        return Comparison(self.runs[mask], self.scores[mask])

    def by_pair(self, n_evaluations: int) -> pd.DataFrame:
        """The scores after so many evaluations: a row for each pair, a column for each sampler."""
        table = self.runs[["sampler", *PAIR]].assign(score=self.scores[n_evaluations])
        return table.pivot(index=PAIR, columns="sampler", values="score")[self.samplers]

    def mean_curves(self) -> pd.DataFrame:
        """The mean score of each sampler (a column) by the number of evaluations (the index)."""
        return self.scores.groupby(self.runs["sampler"]).mean().T[self.samplers]


def read_runs(path: Path, *, is_staged: bool = False) -> pd.DataFrame:
    """The stored runs."""
    runs = pd.read_csv(path)
    return runs[runs["staged"].eq(is_staged)]


def samplers_of(runs: pd.DataFrame, *, n_trials: int) -> list[str]:
    """The samplers with a run of at least so many trials."""
    return list(runs.loc[runs["trials"] >= n_trials, "sampler"].unique())


def compare(runs: pd.DataFrame, samplers: Sequence[str], *, n_trials: int) -> Comparison:
    """The first `n_trials` of these samplers on the pairs of problem and seed that all of them have.

    What a longer run spent in all, its duplicates and its time, is left out.
    """
    chosen = runs[runs["sampler"].isin(samplers) & (runs["trials"] >= n_trials)]
    chosen = chosen.sort_values("trials", kind="stable").drop_duplicates(["sampler", *PAIR])
    n_samplers = chosen.groupby(PAIR)["sampler"].transform("nunique")
    chosen = chosen[n_samplers.eq(chosen["sampler"].nunique())].reset_index(drop=True)
    if chosen["trials"].gt(n_trials).any():
        chosen = chosen.drop(columns=["n_duplicates", "overhead_ms"])
        chosen["first_feasible"] = chosen["first_feasible"].where(chosen["first_feasible"] <= n_trials)
        chosen["trials"] = n_trials
    n_checkpoints = n_trials // CHECKPOINT_STEP
    scores = pd.DataFrame(
        [[float(word) for word in text.split()][:n_checkpoints] for text in chosen["scores"]]
    )
    scores.columns = pd.Index(CHECKPOINT_STEP * (np.arange(scores.shape[1]) + 1))
    return Comparison(chosen, scores)


def score_table(comparison: Comparison) -> pd.DataFrame:
    """A row for each group (and all) and sampler: mean scores and ranks, and what the search spent.

    Each run weighs the same. The first feasible trial is the median over constrained problems, a run without
    one counted as one trial more than it had. Ranks start at 1 (best); ties share the mean of their ranks.
    """
    return pd.DataFrame(
        [row for group in comparison.groups for row in _score_rows(comparison.of_group(group), group)]
    )


def _score_rows(part: Comparison, group: str) -> Iterator[dict[str, object]]:
    scores = {budget: part.by_pair(budget) for budget in part.budgets}
    ranks = {budget: table.rank(axis=1, ascending=False) for budget, table in scores.items()}
    by_sampler = part.runs.groupby("sampler")
    first_feasible = _median_first_feasible(part.runs[part.runs["n_constraints"] > 0])
    for sampler in part.samplers:
        yield {
            "group": group,
            "sampler": sampler,
            "pairs": part.n_pairs,
            **{f"score_{budget}": table[sampler].mean() for budget, table in scores.items()},
            **{f"rank_{budget}": table[sampler].mean() for budget, table in ranks.items()},
            "first_feasible": first_feasible.get(sampler),
            **_spent(by_sampler.get_group(sampler)),
        }


def _spent(runs: pd.DataFrame) -> dict[str, object]:
    if "overhead_ms" not in runs:
        return {}
    return {"n_duplicates": runs["n_duplicates"].mean(), "overhead_ms": runs["overhead_ms"].median()}


def _median_first_feasible(constrained_runs: pd.DataFrame) -> dict[object, float]:
    first = constrained_runs["first_feasible"].fillna(constrained_runs["trials"] + 1)
    return first.groupby(constrained_runs["sampler"]).median().to_dict()


def paired_tests(comparison: Comparison) -> pd.DataFrame:
    """Each of ours against each peer: mean difference, wins, losses and Wilcoxon's two-sided p.

    The test is the signed-rank test over pairs of problem and seed; pairs of equal score are left out of it,
    and without any other p is 1.
    """
    rows = []
    for budget in comparison.budgets:
        scores = comparison.by_pair(budget)
        for ours in (name for name in comparison.samplers if name in OURS):
            for peer in (name for name in comparison.samplers if name not in OURS):
                difference = scores[ours] - scores[peer]
                rows.append(
                    {
                        "sampler": ours,
                        "peer": peer,
                        "evaluations": budget,
                        "mean_difference": difference.mean(),
                        "wins": int((difference > 0).sum()),
                        "losses": int((difference < 0).sum()),
                        "p": float(wilcoxon(difference).pvalue) if difference.any() else 1.0,
                    }
                )
    return pd.DataFrame(rows)


def evaluations_to_reach(comparison: Comparison, peer: str, budget: int) -> pd.DataFrame:
    """For each group, when the mean score of each of ours first reaches the peer's after `budget`.

    To the next ten evaluations; empty where it is never reached.
    """
    rows = []
    for group in comparison.groups:
        curves = comparison.of_group(group).mean_curves()
        target = curves.loc[budget, peer]
        for ours in (name for name in curves.columns if name in OURS):
            reached = curves.index[curves[ours] >= target]
            rows.append(
                {
                    "group": group,
                    "sampler": ours,
                    f"{peer} after {budget}": target,
                    "evaluations": reached[0] if len(reached) else None,
                }
            )
    return pd.DataFrame(rows)
