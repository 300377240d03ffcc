"""The frozen table of finished trials that every reader gets, whatever stored them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from moo.evaluation import Estimate, Evaluation
from moo.metrics import Metric, known_metrics
from moo.pareto import PairedDifference, nondominated, paired_difference
from moo.problem import Problem, is_feasible

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Estimate", "FinishedTrial", "Results", "opened_lines", "paired_text"]

State = Literal["complete", "pruned", "failed"]

_PROBABILITIES = ("p_on_front", "p_feasible")
_NOT_MEASURED = Estimate(None, reason="not measured")
_LEAST_P_FEASIBLE = 0.5  # a confirmed candidate below it is more likely infeasible than not


@dataclass(frozen=True, kw_only=True)
class FinishedTrial:
    """One finished trial.

    Args:
        number: The trial's number in its study, from 0.
        state: `complete`, `pruned` or `failed`.
        params: The configuration: parameter values by name; conditional ones may be absent.
        evaluation: Its metric values, or None where it never got that far.
        violations: Unit-free violation by constraint text; zero or less holds; a constraint that
            was never set is absent.
        stage: The stage that failed, or None.
        reason: Why it failed or was pruned, in one line, or None.
        is_baseline: Whether this is the configuration that gains are stated against.
        parent: Number of the trial whose trained model this one deploys otherwise; None for one of its own.
        paired: By metric how many validation samples it and the baseline share, on how many only it is right,
            and on how many only the baseline; empty where that is not known.
        duration_s: Wall time in seconds, or None where it is not known.
        label: What a person calls it, such as a model's name; None: its number says it.
    """

    number: int
    state: State
    params: Mapping[str, Any]
    evaluation: Evaluation | None = None
    violations: Mapping[str, float] = field(default_factory=dict)
    stage: str | None = None
    reason: str | None = None
    is_baseline: bool = False
    parent: int | None = None
    paired: Mapping[str, Sequence[int]] = field(default_factory=dict)
    duration_s: float | None = None
    label: str | None = None

    @property
    def name(self) -> str:
        """What a person calls it: its label, or `trial 12` where it has none."""
        return self.label or f"trial {self.number}"

    def paired_difference(self, metric: str) -> PairedDifference | None:
        """Return how a score differs from the baseline's on the same samples; None if that is not known."""
        counts = self.paired.get(metric)
        return None if counts is None else paired_difference(*counts)

    def estimate(self, metric: str) -> Estimate:
        """Return a metric's estimate; one without a value where there is none."""
        if self.evaluation is None:
            return _NOT_MEASURED
        return self.evaluation.metrics.get(metric, _NOT_MEASURED)


def commonest_failures(trials: Iterable[FinishedTrial]) -> list[tuple[str, int]]:
    """Return each reason of failure with its count, the commonest first.

    Reasons that differ in numbers alone, such as a measured time, count as one; the first is shown.
    """
    shown: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for trial in trials:
        if trial.state == "failed":
            reason = f"{trial.stage}: {trial.reason}"
            pattern = re.sub(r"\d+(?:\.\d+)?", "#", reason)
            shown.setdefault(pattern, reason)
            counts[pattern] += 1
    return [(shown[pattern], count) for pattern, count in counts.most_common()]


def paired_text(found: PairedDifference) -> str:
    """Return a paired difference in points, with its interval and test.

    >>> paired_text(paired_difference(360, 3, 10))
    '-1.9 points [-3.9, 0.1], p = 0.092'
    """
    value, low, high = (100 * number for number in (found.value, found.low, found.high))
    p = "p < 0.001" if found.p_value < 0.001 else f"p = {found.p_value:.2g}"
    return f"{value:+.1f} points [{low:.1f}, {high:.1f}], {p}"


def opened_lines(openings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a line on when the test data were opened; none where they never were.

    >>> opened_lines([{"time": "2026-01-02T03:04:05+00:00", "trials": [1, 4], "again": False}])
    ['Test data opened once: 2026-01-02T03:04:05+00:00 for trials 1, 4.']
    """
    if not openings:
        return []
    times = "; ".join(f"{one['time']} for trials {', '.join(map(str, one['trials']))}" for one in openings)
    if len(openings) == 1:
        return [f"Test data opened once: {times}."]
    return [
        f"Test data opened {len(openings)} times (--again): {times}. What was chosen after the first time has"
        " been chosen on them: they say too much good of it."
    ]


@dataclass(frozen=True)
class Results:
    """The finished trials of a study, and the problem they answer.

    Args:
        study_name: The study's name.
        problem: Objectives and constraints.
        trials: Finished trials by number, ascending.
        bounds: Each constraint's bound in SI units, or None where a relative bound's baseline is
            not known yet.
        task: What was searched, in words, or None.
        environment: The machine the measurements come from, as `profilers.environment` gives it,
            or None.
        protocol: How it was measured, as plain JSON, or None.
        extra_metrics: The task's own metrics by name.
        confirmation: What `moo confirm` found and stored, as plain JSON (`moo.confirm/1`), or None.
        distributions: From where each parameter was drawn, by name: what Optuna's `distribution_to_json`
            writes, as plain JSON; empty where nobody searched.
        is_search: Whether trials followed one another; False for the rows of a table: their order says
            nothing.
        test_opened: Each time that the test data were opened: `time`, `trials`, `again`; where this is empty,
            what the confirmation holds of them is used (`openings`).
        n_running: Trials that some process is running now, or was when it was lost.
        devices: Names of the devices that candidates were measured on, the first one first; none where that
            was the machine that ran the study.
    """

    study_name: str
    problem: Problem
    trials: tuple[FinishedTrial, ...]
    bounds: tuple[float | None, ...] = ()
    task: str | None = None
    environment: Mapping[str, Any] | None = None
    protocol: Mapping[str, Any] | None = None
    extra_metrics: Mapping[str, Metric] = field(default_factory=dict)
    confirmation: Mapping[str, Any] | None = None
    distributions: Mapping[str, Any] = field(default_factory=dict)
    is_search: bool = True
    test_opened: tuple[Mapping[str, Any], ...] = ()
    n_running: int = 0
    devices: tuple[str, ...] = ()

    @cached_property
    def complete(self) -> tuple[FinishedTrial, ...]:
        """The trials that have a value for each objective."""
        return tuple(trial for trial in self.trials if trial.state == "complete")

    @cached_property
    def failed(self) -> tuple[FinishedTrial, ...]:
        """The trials that failed."""
        return tuple(trial for trial in self.trials if trial.state == "failed")

    @cached_property
    def baseline(self) -> FinishedTrial | None:
        """The complete baseline trial, or None."""
        return next((trial for trial in self.complete if trial.is_baseline), None)

    def is_feasible(self, trial: FinishedTrial) -> bool | None:
        """Return whether a trial keeps every constraint; None where one was never set."""
        if not is_feasible(trial.violations.values()):
            return False
        return True if all(key in trial.violations for key in self.constraint_keys) else None

    @cached_property
    def constraint_keys(self) -> tuple[str, ...]:
        """The names under which a trial's violations are stored, one a constraint."""
        return tuple(constraint.key for constraint in self.problem.constraints)

    def losses(self, trials: tuple[FinishedTrial, ...]) -> NDArray[np.float64]:
        """Return objective losses, shape (n, m), all minimised; NaN where a value is missing."""
        names = [objective.metric.name for objective in self.problem.objectives]
        values = [[trial.estimate(name).value for name in names] for trial in trials]
        return self.problem.losses(np.array(values, dtype=np.float64).reshape(-1, len(names)))

    @cached_property
    def front(self) -> tuple[FinishedTrial, ...]:
        """The non-dominated feasible candidates, best in the first objective first."""
        feasible = tuple(trial for trial in self.complete if self.is_feasible(trial))
        losses = self.losses(feasible)
        members = np.flatnonzero(nondominated(losses)) if len(feasible) else np.array([], dtype=int)
        order = members[np.lexsort(losses[members].T[::-1])] if len(members) else members
        return tuple(feasible[index] for index in order)

    @cached_property
    def counts(self) -> str:
        """How many trials there are and what became of them, in words."""
        n, n_pruned = len(self.trials), sum(trial.state == "pruned" for trial in self.trials)
        n_feasible = sum(self.is_feasible(trial) is True for trial in self.complete)
        what = "trial" if self.is_search else "row"
        parts = [f"{n:,} {what}{'' if n == 1 else 's'}"]
        parts.append(
            f"{len(self.complete):,} complete ({n_feasible:,} feasible, {len(self.front):,} on the front)"
        )
        parts += [f"{n_pruned:,} pruned"] if n_pruned else []
        parts += [f"{len(self.failed):,} failed"] if self.failed else []
        parts += [f"{self.n_running:,} more running"] if self.n_running else []
        return ", ".join(parts)

    @cached_property
    def failures(self) -> list[tuple[str, int]]:
        """Each reason of failure with its count, the commonest first."""
        return commonest_failures(self.failed)

    @cached_property
    def metrics(self) -> tuple[Metric, ...]:
        """Every metric that any trial has, those of the problem first."""
        known = {**known_metrics(self.extra_metrics), **{m.name: m for m in self.problem.metrics}}
        names = [metric.name for metric in self.problem.metrics]
        seen = {name for trial in self.trials if trial.evaluation for name in trial.evaluation.metrics}
        names += [name for name in known if name in seen and name not in names]
        names += sorted(seen - set(names))
        return tuple(known.get(name) or Metric(name=name) for name in names)

    @cached_property
    def param_names(self) -> tuple[str, ...]:
        """Every parameter's name, in the order first seen."""
        return tuple(dict.fromkeys(name for trial in self.trials for name in trial.params))

    def table(self) -> pd.DataFrame:
        """Return one row a finished trial: state, feasibility, metrics with intervals, parameters.

        Columns: `trial`, `label`, `state`, `feasible`, `on_front`, `baseline`; for each metric its name,
        `<name>_low` and `<name>_high` in SI units; `p_on_front` and `p_feasible` of the stored
        confirmation; `param_<name>` for each parameter; `tags`, `reason`, `duration_s`. What is unknown
        is missing (NaN or None).
        """
        import pandas as pd

        frame = pd.DataFrame(self._columns())
        for name in _PROBABILITIES:
            frame[name] = frame[name].astype("float64")
        for name in self.param_names:  # a whole number stays one where some trials lack the parameter
            values = [trial.params[name] for trial in self.trials if name in trial.params]
            if all(type(value) is int for value in values):
                frame[f"param_{name}"] = frame[f"param_{name}"].astype("Int64")
        return frame

    def front_table(self) -> pd.DataFrame:
        """Return the front, one row a candidate, best in the first objective first.

        Columns: `trial`; `label` where any candidate on it has one; for each metric its name,
        `<name>_low` and `<name>_high` in SI units; `p_on_front` and `p_feasible`; `param_<name>` for
        each parameter; `tags`. The two probabilities are those of the stored confirmation, and missing
        where there is none: in a search one process launch says nothing of the spread between launches.
        """
        rows = self.table().set_index("trial", drop=False).loc[[trial.number for trial in self.front]]
        rows = rows.drop(columns=["state", "feasible", "on_front", "baseline", "reason", "duration_s"])
        if rows["label"].isna().all():
            rows = rows.drop(columns="label")
        return rows.reset_index(drop=True)

    @cached_property
    def _confirmed_entries(self) -> Mapping[int, Mapping[str, Any]]:
        return {entry["trial"]: entry for entry in (self.confirmation or {}).get("candidates", ())}

    def confirmed(self, trial: FinishedTrial) -> Mapping[str, Any] | None:
        """Return a trial's entry in the stored confirmation (`moo.confirm/1`); None where it has none."""
        return self._confirmed_entries.get(trial.number)

    def probability(self, trial: FinishedTrial, name: str) -> float | None:
        """Return `p_on_front` or `p_feasible` of the stored confirmation; None where it has none."""
        verdict = (self.confirmed(trial) or {}).get("confirmed")
        return None if verdict is None else verdict[name]

    def ruled_out(self, trial: FinishedTrial) -> str | None:
        """Return why the stored confirmation rules a trial out; None where it does not.

        It does where P(on the front) left no doubt that the trial is off, and where P(feasible) is below
        one half.
        """
        verdict = (self.confirmed(trial) or {}).get("confirmed")
        if verdict is None:
            return None
        if verdict["p_feasible"] < _LEAST_P_FEASIBLE:
            why = f": {verdict['reason']}" if verdict["reason"] else ""
            return f"measured again, it is likely infeasible (P(feasible) {verdict['p_feasible']:.2f}){why}"
        if verdict["verdict"] == "off":
            why = f": {verdict['reason']}" if verdict["reason"] else ""
            return f"measured again, it is off the front{why}"
        return None

    @property
    def openings(self) -> tuple[Mapping[str, Any], ...]:
        """Each time that the test data were opened, the first one first."""
        return self.test_opened or tuple((self.confirmation or {}).get("test_opened", ()))

    def _columns(self) -> dict[str, list[Any]]:
        """Return the table column by column: that is several times faster than row by row."""
        trials, on_front = self.trials, {trial.number for trial in self.front}
        columns: dict[str, list[Any]] = {
            "trial": [trial.number for trial in trials],
            "label": [trial.label for trial in trials],
            "state": [trial.state for trial in trials],
            "feasible": [None if t.state == "failed" else self.is_feasible(t) for t in trials],
            "on_front": [trial.number in on_front for trial in trials],
            "baseline": [trial.is_baseline for trial in trials],
        }
        for metric in self.metrics:
            estimates = [trial.estimate(metric.name) for trial in trials]
            columns[metric.name] = [estimate.value for estimate in estimates]
            columns[f"{metric.name}_low"] = [estimate.low for estimate in estimates]
            columns[f"{metric.name}_high"] = [estimate.high for estimate in estimates]
        for name in _PROBABILITIES:
            columns[name] = [self.probability(trial, name) for trial in trials]
        for name in self.param_names:
            columns[f"param_{name}"] = [trial.params.get(name) for trial in trials]
        evaluations = [trial.evaluation for trial in trials]
        columns["tags"] = [None if each is None else " ".join(each.tags) for each in evaluations]
        columns["reason"] = [trial.reason for trial in trials]
        columns["duration_s"] = [trial.duration_s for trial in trials]
        return columns
