"""How it was found: every chart and table of that part of the page, computed once for page and PNGs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from moo.importances import MetricImportances, importances
from moo.metrics import BUILT_IN, format_value
from moo.results import FinishedTrial, Results
from reports._curves import MAX_CURVES, LearningCurves, learning_curves
from reports._data import MAX_ON_PAGE, candidates, page_candidates
from reports._ended import Ending, TrainingTime, endings, training_time
from reports._found_charts import (
    best_figure,
    curves_figure,
    importances_figure,
    shown_params,
    slices_figure,
)
from reports._history import MAX_VALUES, BestSoFar, History, best_so_far, history
from reports._parallel import parallel_chart
from reports._slices import MAX_CHOICES, MAX_POINTS, ObjectiveSlices, slices
from reports._tables import Cell, Table
from reports._text import DASH, one_line

_SECONDS = BUILT_IN["latency_p50"]


@dataclass(frozen=True, kw_only=True)
class Found:
    """How the candidates were found.

    Args:
        history: The growth of the hypervolume.
        bests: The best value of each objective so far.
        importances: What decides each objective and each constrained metric.
        slices: Parameters against objectives.
        curves: What training reported.
        n_complete: Complete trials.
        endings: How the others ended.
        time: What training took, and what was saved.
        absent: Why a PNG of the report is not written, by its file's name.
    """

    history: History
    bests: tuple[BestSoFar, ...]
    importances: tuple[MetricImportances, ...]
    slices: tuple[ObjectiveSlices, ...]
    curves: LearningCurves
    n_complete: int
    endings: tuple[Ending, ...]
    time: TrainingTime
    absent: Mapping[str, str]

    @cached_property
    def figures(self) -> dict[str, dict[str, Any]]:
        """Plotly figures by the name of their place: `best`, `importances`, `curves`, `slices_<metric>`.

        What has nothing to draw is absent. Each layout has its height, and one `xaxis` and `yaxis` a panel.
        The hypervolume is drawn by `reports._charts.history_figure`.
        """
        found = {}
        if self.bests:
            found["best"] = best_figure(self.bests)
        if any(each.by_param for each in self.importances):
            found["importances"] = importances_figure(self.importances)
        if self.curves.quantities:
            found["curves"] = curves_figure(self.curves)
        return found | {
            f"slices_{each.axis.metric.name}": slices_figure(each)
            for each in self.slices
            if each.axis.metric is not None
        }

    @cached_property
    def best_table(self) -> Table:
        """Each trial that was the first to reach the best value of an objective so far."""
        rows = [
            (Cell(best.axis.title), _name(leader), _number(_value(best, value)))
            for best in self.bests
            for (number, value), leader in zip(best.steps, best.leaders, strict=True)
            if number == leader.number
        ]
        return Table(("objective", "trial", "best so far"), tuple(rows))

    @cached_property
    def importance_table(self) -> Table:
        """One row a parameter: its share of the importances for each metric, with the 95% interval."""
        known = [each for each in self.importances if each.by_param]
        names = dict.fromkeys(name for each in known for name in each.by_param)
        rows = [
            (Cell(one_line(name), kind="name"), *(_importance(each, name) for each in known))
            for name in sorted(names, key=lambda name: -max(_share(each, name) for each in known))
        ]
        return Table(("parameter", *(one_line(each.metric.title) for each in known)), tuple(rows))

    @cached_property
    def ending_table(self) -> Table:
        """How the trials ended: state, stage, steps of training, reason, count."""
        dashes = (Cell(DASH), Cell(DASH), Cell(DASH))
        complete = (Cell("complete"), *dashes, _number(f"{self.n_complete:,}"))
        rows = [
            (
                Cell(each.state),
                Cell(each.when),
                Cell(_steps(each.steps), kind="number" if each.steps else ""),
                Cell(each.reason),
                _number(f"{each.n_trials:,}"),
            )
            for each in self.endings
        ]
        return Table(("state", "stage", "at step", "reason", "trials"), (complete, *rows))

    @cached_property
    def curve_table(self) -> Table:
        """One row a drawn curve: its trial, its last step, the last and the best value reported."""
        rows = [
            (
                Cell(each.axis.title),
                _name(curve.trial),
                Cell(curve.group),
                _number(f"{curve.steps[-1][0]:,}"),
                _number(f"{curve.steps[-1][1]:.4g}{_unit(each.axis.unit)}"),
            )
            for each in self.curves.quantities
            for curve in each.curves
        ]
        return Table(("reported", "trial", "", "last step", "last value"), tuple(rows))

    @cached_property
    def notes(self) -> Mapping[str, tuple[str, ...]]:
        """What to say at each figure or in its place, by its name in `figures`; and `time`, `files`."""
        return {
            "best": tuple(_best_notes(self.bests)),
            "importances": tuple(_importance_notes(self.importances)),
            "slices": tuple(_slice_notes(self.slices)),
            "curves": tuple(_curve_notes(self.curves)),
            "time": tuple(_time_notes(self.time)),
            "files": tuple(f"{name} is not written: {reason}." for name, reason in self.absent.items()),
        }


def found(results: Results) -> Found:
    """Return how the candidates were found; computed once for the page and the PNGs."""
    known, grown = importances(results), history(results)
    order = {name: list(each.by_param) for name, each in known.items()}
    return Found(
        history=grown,
        bests=best_so_far(results),
        importances=tuple(known.values()),
        slices=slices(results, order),
        curves=learning_curves(results),
        n_complete=len(results.complete),
        endings=endings(results),
        time=training_time(results),
        absent=_absent(results, grown, known.values()),
    )


def left_out_text(results: Results) -> str | None:
    """Return what to say of candidates that the page's script does not get; None where it gets all.

    `candidates.csv` and `report.json` have them.
    """
    n, n_there = len(candidates(results)), len(page_candidates(results))
    if n == n_there:
        return None
    what = "candidates" if results.is_search else "rows"
    return (
        f"Charts and table on this page hold {n_there:,} of {n:,} {what}: all that bounds and weights can put"
        f" on the front, and of the others {MAX_ON_PAGE:,}, evenly spread. The decision is the same as with"
        " all of them; candidates.csv and report.json hold all."
    )


def _absent(results: Results, grown: History, known: Iterable[MetricImportances]) -> dict[str, str]:
    reasons = {}
    if parallel_chart(results, None) is None:
        reasons["parallel.png"] = "it needs two candidates with a front, and two metrics"
    if not results.is_search:
        reasons["hypervolume.png"] = "the rows of a table have no order in which they were tried"
    elif len(grown.steps) < 2:
        reasons["hypervolume.png"] = "it needs two trials, and a complete feasible one"
    if not any(each.by_param for each in known):
        reasons["importances.png"] = "no importance could be computed"
    return reasons


def _name(trial: FinishedTrial) -> Cell:
    return Cell(one_line(trial.name), kind="name")


def _number(text: str) -> Cell:
    return Cell(text, kind="number")


def _unit(unit: str) -> str:
    return unit if unit in ("", "%") else f" {unit}"


def _value(best: BestSoFar, value: float) -> str:
    return format_value(value * best.axis.factor, best.axis.metric) if best.axis.metric else f"{value:g}"


def _share(each: MetricImportances, name: str) -> float:
    return each.by_param[name].share if name in each.by_param else 0.0


def _importance(each: MetricImportances, name: str) -> Cell:
    found = each.by_param.get(name)
    if found is None:
        return Cell(DASH)
    note = f"[{100 * found.low:.0f}, {100 * found.high:.0f}]"
    if found.is_told_apart:
        return Cell(f"{100 * found.share:.0f}%", note, kind="number")
    return Cell(f"{100 * found.share:.0f}%", note, kind="number quiet", hint="not told apart from chance")


def _steps(steps: tuple[int, int] | None) -> str:
    if steps is None:
        return DASH
    return f"{steps[0]:,}" if steps[0] == steps[1] else f"{steps[0]:,} to {steps[1]:,}"


def _best_notes(bests: Iterable[BestSoFar]) -> Iterable[str]:
    if any(best.n_values > len(best.values) for best in bests):
        yield f"At most {MAX_VALUES:,} points a panel are drawn, evenly over the trials; lines use all."


def _importance_notes(known: Iterable[MetricImportances]) -> Iterable[str]:
    known = list(known)
    drawn = [each for each in known if each.by_param]
    n_params = max((len(each.by_param) for each in drawn), default=0)
    if drawn:
        yield (
            "Which parameters decide whether a trial is among the best quarter in a metric (PED-ANOVA), as "
            "shares of 100%. Bars are 95% intervals from halves of the trials. Hollow: no larger than when "
            "the values are shuffled, so it may be chance. A sampler that soon went to the best region "
            "leaves little to tell apart."
        )
    if n_params > len(shown_params(drawn)):
        yield f"The chart shows the {len(shown_params(drawn))} largest of {n_params}; the table has all."
    thinned = [each for each in drawn if each.n_used < each.n_trials]
    if thinned:
        yield f"Computed from {thinned[0].n_used:,} of {thinned[0].n_trials:,} trials, evenly spread."
    for name, reason in {n: reason for each in drawn for n, reason in each.left_out.items()}.items():
        yield f"{one_line(name)} is not compared: {reason}."
    reasons = dict.fromkeys(each.reason for each in known if each.reason)
    for reason in reasons:
        titles = [one_line(each.metric.title) for each in known if each.reason == reason]
        yield f"Importance for {', '.join(titles)} not computed: {reason}."


def _slice_notes(known: Iterable[ObjectiveSlices]) -> Iterable[str]:
    known = list(known)
    each_slice = [part for each in known for part in each.slices]
    left_out = max((each.n_params_left_out for each in known), default=0)
    if left_out:
        yield f"{left_out:,} less important parameters are left out."
    if any(part.n_points > len(part.points) for part in each_slice):
        yield f"At most {MAX_POINTS:,} points beside the front are drawn a panel, evenly over the trials."
    if any(part.n_other_choices for part in each_slice):
        yield f"Of a parameter with more choices the {MAX_CHOICES} commonest are shown."


def _curve_notes(curves: LearningCurves) -> Iterable[str]:
    if any(each.n_curves > len(each.curves) for each in curves.quantities):
        yield f"At most {MAX_CURVES} curves beside the front are drawn, evenly over the trials."
    if curves.left_out:
        yield f"Reported too, and not drawn: {', '.join(curves.left_out)}."


def _time_notes(time: TrainingTime) -> Iterable[str]:
    if time.spent_s is not None:
        yield f"Training took {_duration(time.spent_s)} in all."
    if time.median_s is None or time.saved_before_s is None or time.saved_during_s is None:
        return
    basis = f"the median training time of {time.n_timed:,} complete trials, {_duration(time.median_s)}"
    if time.n_before:
        yield (
            f"Not training the {time.n_before:,} trials that were pruned before it saved an estimated "
            f"{_duration(time.saved_before_s)}: their number times {basis}."
        )
    if time.n_during:
        yield (
            f"Stopping {time.n_during:,} trials in training saved an estimated "
            f"{_duration(time.saved_during_s)}: what each took less than {basis}."
        )


def _duration(seconds: float) -> str:
    """Return a duration as a person reads it.

    >>> _duration(0.5), _duration(300), _duration(9000)
    ('500 ms', '5 min', '2.5 h')
    """
    for unit, factor in (("h", 3600), ("min", 60)):
        if seconds >= 2 * factor:
            return f"{seconds / factor:.3g} {unit}"
    return format_value(seconds, _SECONDS)
