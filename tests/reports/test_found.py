import json
import math
import statistics
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moo.evaluation import Estimate
from moo.problem import Problem
from moo.results import FinishedTrial, Results
from reports._curves import MAX_CURVES, MAX_QUANTITIES, MAX_STEPS, learning_curves
from reports._data import group_of
from reports._ended import endings, training_time, when_ended
from reports._found import _slice_notes, found
from reports._found_charts import MAX_NAME
from reports._history import MAX_VALUES, best_so_far, evenly
from reports._slices import MAX_CHOICES, MAX_PARAMS, MAX_POINTS, slices
from tests.reports import samples

MARKUP = "<b>$x$</b>\u202e\n%{y} & é"


def with_params(params, *, values=None, distributions=None):
    points = values or [(0.5 + i / 1000, 0.001 * (1 + i % 7)) for i in range(len(params))]
    base = samples.pairs(points)
    trials = tuple(replace(t, params=each) for t, each in zip(base.trials, params, strict=True))
    return replace(base, trials=trials, distributions=distributions or {})


def reporting(curves, *, states=None, **seconds):
    """Results whose trials reported these curves."""
    base = samples.pairs([(0.9 + i / 1e4, 0.001 * (i + 1)) for i in range(len(curves))])
    trials = []
    for i, curve in enumerate(curves):
        evaluation = replace(base.trials[i].evaluation, curve=tuple(curve), seconds=seconds)
        trials.append(replace(base.trials[i], evaluation=evaluation, state=(states or {}).get(i, "complete")))
    return replace(base, trials=tuple(trials))


@given(
    points=st.lists(
        st.tuples(st.sampled_from([0.5, 0.6, 0.7, 0.8]), st.sampled_from([0.001, 0.002, 0.003])), max_size=12
    )
)
@settings(max_examples=60, deadline=None)
def test_the_best_so_far_is_the_best_of_every_prefix(points):
    bests = best_so_far(samples.pairs(points))
    assert len(bests) == (2 if points else 0)
    for best, column, better in zip(bests, (0, 1), (max, min), strict=False):
        values = [point[column] for point in points]
        at = dict(best.steps)
        current = None
        for number in range(len(values)):
            current = at.get(number, current)
            assert current * best.axis.factor == pytest.approx(better(values[: number + 1]))
        for (number, _), leader in zip(best.steps[:-1], best.leaders[:-1], strict=True):
            assert leader.number == number


def test_the_best_so_far_counts_feasible_candidates_alone():
    results = samples.constrained([(0.9, 0.003, 0.5), (0.8, 0.002, -0.5), (0.7, 0.004, -0.1)])
    accuracy, latency = best_so_far(results)
    assert accuracy.steps == ((1, 80.0), (2, 80.0))
    assert latency.steps == ((1, pytest.approx(2.0)), (2, pytest.approx(2.0)))
    assert accuracy.n_values == 2


def test_many_values_are_thinned_but_the_best_line_uses_all():
    points = [(0.5, 0.001)] * (MAX_VALUES + 100)
    points[333] = (0.9, 0.001)
    (accuracy, _) = best_so_far(samples.pairs(points))
    assert len(accuracy.values) == MAX_VALUES
    assert (333, 90.0) in accuracy.steps


@given(n=st.integers(0, 50), limit=st.integers(2, 20))
def test_thinning_keeps_both_ends_and_the_order(n, limit):
    kept = evenly(list(range(n)), limit)
    assert len(kept) == min(n, limit)
    assert list(kept) == sorted(set(kept))
    assert not n or (kept[0], kept[-1]) == (0, n - 1)


def test_every_slice_holds_every_value_in_the_units_of_the_axis():
    results = samples.digits()
    on_front = {trial.number for trial in results.front}
    for each in slices(results):
        name = each.axis.metric.name
        for part in each.slices:
            expected = {
                (t.number, group_of(results, t, on_front), t.estimate(name).value / each.axis.factor)
                for t in results.trials
                if t.state != "failed" and part.param.name in t.params and t.estimate(name).value is not None
            }
            assert {(p.trial.number, p.group, p.y) for p in part.points} == expected
            assert part.n_points == len(expected)
            for point in part.points:
                value = point.trial.params[part.param.name]
                if part.param.choices:
                    assert part.param.choices[round(point.x)] == value
                else:
                    assert point.x == value


def test_slices_come_in_the_order_of_their_importance():
    order = {"accuracy": ["kernel_0", "width", "no such parameter"]}
    accuracy, latency, _ = slices(samples.digits(), order)
    assert [part.param.name for part in accuracy.slices][:3] == ["kernel_0", "width", "blocks"]
    assert next(part.param.name for part in latency.slices) == "width"


@pytest.mark.parametrize(
    ("values", "record", "is_log"),
    [
        ([0.1, 0.2], {"name": "FloatDistribution", "attributes": {"log": True}}, True),
        ([0.1, 100.0], {"name": "FloatDistribution", "attributes": {"log": False}}, False),
        ([0.1, 100.0], None, True),
        ([0.1, 9.0], None, False),
        ([-1.0, 100.0], None, False),
        ([0.0, 100.0], {"name": "FloatDistribution", "attributes": {"log": True}}, False),
    ],
)
def test_a_number_is_shown_on_the_scale_it_was_drawn_on(values, record, is_log):
    distributions = {} if record is None else {"a": record}
    results = with_params([{"a": value} for value in values], distributions=distributions)
    assert [part.param.is_log for each in slices(results) for part in each.slices] == [is_log, is_log]


def test_choices_stand_apart_with_a_jitter_that_is_always_the_same():
    params = [{"kind": kind, "n": 1} for kind in ["b", "a", None, True, "a", float("nan")]]
    one, two = (slices(with_params(params))[0] for _ in range(2))
    (part,) = one.slices  # `n` has one value alone
    assert [point.x for point in part.points] == [point.x for point in two.slices[0].points]
    assert all(abs(point.x - round(point.x)) < 0.301 for point in part.points)
    assert part.param.choices == ("a", "b", "nan", "yes", "\u2013")


def test_numbers_that_were_choices_stand_by_size():
    record = {"name": "CategoricalDistribution", "attributes": {"choices": [8, 16, 128]}}
    results = with_params([{"n": n} for n in (128, 8, 16)], distributions={"n": record})
    assert slices(results)[0].slices[0].param.choices == ("8", "16", "128")


def test_what_is_too_much_to_draw_is_thinned_and_said():
    n = MAX_POINTS + 200
    params = [{f"p{j}": i for j in range(MAX_PARAMS + 2)} | {"name": f"m{i % 40}"} for i in range(n)]
    points = [(0.5, 0.01 + i * 1e-5) for i in range(n - 1)] + [(0.9, 0.001)]
    each = slices(with_params(params, values=points))[0]
    assert (len(each.slices), each.n_params_left_out) == (MAX_PARAMS, 3)
    assert all(len(part.points) == MAX_POINTS + 1 for part in each.slices)
    assert all(part.points[-1].group == "front" for part in each.slices)
    notes = " ".join(_slice_notes([each]))
    assert "3 less important parameters are left out" in notes
    assert f"At most {MAX_POINTS}" in notes
    named = slices(with_params([{"name": f"m{i % 40}"} for i in range(80)]))[0].slices[0]
    assert (len(named.param.choices), named.n_other_choices) == (MAX_CHOICES, 40 - MAX_CHOICES)


def test_curves_are_what_training_reported_in_the_unit_of_the_metric():
    curve = [
        (1, {"accuracy": 0.5, MARKUP: 3.0}),
        (2, {"accuracy": 0.75, MARKUP: math.nan}),
        (3, {MARKUP: 1.0}),
    ]
    curves = learning_curves(reporting([curve, curve[:1], curve], states={2: "pruned"}))
    accuracy, other = curves.quantities
    assert [(c.trial.number, c.group, c.steps) for c in accuracy.curves] == [
        (2, "stopped", ((1, 50.0), (2, 75.0))),
        (0, "front", ((1, 50.0), (2, 75.0))),
    ]
    assert other.curves[0].steps == ((1, 3.0), (3, 1.0))
    assert (other.axis.unit, other.axis.direction) == ("", None)


def test_a_trial_that_deploys_the_model_of_another_has_no_curve_of_its_own():
    results = reporting([[(1, {"accuracy": 0.5}), (2, {"accuracy": 0.6})]] * 2)
    results = replace(results, trials=(results.trials[0], replace(results.trials[1], parent=0)))
    assert [quantity.n_curves for quantity in learning_curves(results).quantities] == [1]


def test_many_long_curves_are_thinned_and_further_quantities_named():
    steps = [(s, {f"q{j}": s + j for j in range(MAX_QUANTITIES + 1)}) for s in range(3 * MAX_STEPS)]
    results = reporting([steps] * (MAX_CURVES + 20))
    worse = [(0.1, 1.0 + i) for i in range(len(results.trials) - 1)]
    base = samples.pairs([(0.9, 0.001), *worse])
    pairs_ = zip(results.trials, base.trials, strict=True)
    trials = tuple(
        replace(t, evaluation=replace(t.evaluation, metrics=b.evaluation.metrics)) for t, b in pairs_
    )
    curves = learning_curves(replace(results, trials=trials))
    assert curves.left_out == (f"q{MAX_QUANTITIES}",)
    for quantity in curves.quantities:
        assert len(quantity.curves) == MAX_CURVES + 1
        assert quantity.curves[-1].group == "front"
        assert all(len(c.steps) == MAX_STEPS and c.steps[-1][0] == 3 * MAX_STEPS - 1 for c in quantity.curves)


def ended(state, number=0, *, curve=(), **options):
    seconds = options.pop("seconds", {})
    base = samples.trial(number, {"latency_p50": 0.001}, state=state, **options)
    return replace(base, evaluation=replace(base.evaluation, curve=tuple(curve), seconds=seconds))


@pytest.mark.parametrize(
    ("trial", "when"),
    [
        (
            ended("pruned", seconds={"build": 1.0, "run": 2.0}, reason="before training: violates x"),
            "before training",
        ),
        (ended("pruned", seconds={"measure": 1.0}), "before training"),
        (ended("pruned", seconds={"fit": 1.0}), "in training"),
        (ended("pruned", curve=[(3, {"accuracy": 0.1})]), "in training"),
        (ended("pruned"), "not recorded"),
        (ended("pruned", stage="measure"), "measure"),
        (
            FinishedTrial(number=0, state="pruned", params={}, reason="before training: violates x"),
            "before training",
        ),
        (ended("failed", stage="ex\nport", seconds={"fit": 1.0}), "ex port"),
        (ended("failed"), "not recorded"),
    ],
)
def test_when_a_trial_ended_is_told_from_what_it_left(trial, when):
    assert when_ended(trial) == when


def test_endings_count_reasons_that_differ_in_numbers_alone_as_one():
    stopped = [
        ended("pruned", i, curve=[(i + 1, {"a": 1.0})], reason=f"stopped at step {i + 1}: others do better")
        for i in range(3)
    ]
    failed = [ended("failed", 3 + i, stage="export", reason="no operator") for i in range(4)]
    results = Results("ends", Problem.parse(minimize=["latency_p50"]), (*stopped, *failed))
    pruned, broken = endings(results)
    assert (pruned.n_trials, pruned.when, pruned.steps) == (3, "in training", (1, 3))
    assert pruned.reason == "stopped at step 1: others do better"
    assert (broken.n_trials, broken.when, broken.steps) == (4, "export", None)


def timed():
    trained = [
        ended("complete", i, seconds={"fit": s, "score": 1.0}) for i, s in enumerate([10.0, 20.0, 60.0])
    ]
    before = [
        ended("pruned", 3 + i, seconds={"run": 1.0}, reason="before training: violates x") for i in range(2)
    ]
    during = [ended("pruned", 5, seconds={"fit": 5.0}), ended("pruned", 6, seconds={"fit": 30.0})]
    variant = ended("complete", 7, seconds={"fit": 1000.0}, parent=0)
    return Results("t", Problem.parse(minimize=["latency_p50"]), (*trained, *before, *during, variant))


def test_the_training_saved_is_estimated_from_the_median_of_the_trained():
    time = training_time(timed())
    assert time.spent_s == 10 + 20 + 60 + 5 + 30
    assert (time.n_timed, time.median_s) == (3, statistics.median([10, 20, 60]))
    assert (time.n_before, time.saved_before_s) == (2, 40.0)
    assert (time.n_during, time.saved_during_s) == (2, 15.0)
    notes = " ".join(found(timed()).notes["time"])
    assert "Training took 2.08 min in all" in notes
    assert (
        "saved an estimated 40 s: their number times the median training time of 3 complete trials, 20 s"
        in notes
    )


def test_nothing_is_estimated_where_no_complete_trial_was_timed():
    results = timed()
    time = training_time(replace(results, trials=results.trials[3:7]))
    assert (time.median_s, time.saved_before_s, time.saved_during_s) == (None, None, None)
    assert training_time(samples.digits()).spent_s is None
    assert found(samples.digits()).notes["time"] == ()


STUDIES = {
    "digits": samples.digits(),
    "bounded": samples.bounded(),
    "hostile": samples.hostile(),
    "empty": samples.pairs([]),
    "one": samples.pairs([(0.9, 0.001)]),
    "no complete": samples.no_complete(),
    "infinite": samples.pairs([(0.99, math.inf), (0.9, 0.001), (0.95, 0.002)]),
    "five": samples.many_objectives(5),
    "curves": reporting([[(s, {MARKUP: s * 1.0, "accuracy": 0.1 * s}) for s in range(5)]] * 3, fit=1.0),
}


@cache
def figures_of(name):
    return found(STUDIES[name]).figures


@pytest.mark.parametrize("name", STUDIES)
def test_every_figure_is_strict_json_and_every_trace_is_on_an_axis_of_its_layout(name):
    for figure in figures_of(name).values():
        json.dumps(figure, allow_nan=False)
        layout = figure["layout"]
        assert layout["height"] > 100
        for trace in figure["data"]:
            for letter in ("x", "y"):
                assert trace[f"{letter}axis"].replace(letter, f"{letter}axis") in layout
            assert len(trace["x"]) == len(trace["y"])


@pytest.mark.parametrize("name", STUDIES)
def test_no_panel_overlaps_another(name):
    for figure in figures_of(name).values():
        layout = figure["layout"]
        boxes = [
            (*layout[key]["domain"], *layout[key.replace("x", "y", 1)]["domain"])
            for key in layout
            if key.startswith("xaxis")
        ]
        assert all(0 <= a < b <= 1 and 0 <= c < d <= 1 for a, b, c, d in boxes)
        for index, (a, b, c, d) in enumerate(boxes):
            for e, f, g, h in boxes[index + 1 :]:
                assert b <= e or f <= a or d <= g or h <= c


def test_no_text_from_outside_reaches_plotly_as_markup():
    base = samples.hostile()
    trials = tuple(
        replace(t, label=MARKUP, params={**t.params, MARKUP: i % 2}) for i, t in enumerate(base.trials)
    )
    figures = found(replace(base, trials=trials)).figures
    texts = list(strings(figures))
    assert any("&lt;b&gt;" in text for text in texts)
    assert not [text for text in texts if "<b>" in text or "<script" in text or "$" in text]
    templates = [t["hovertemplate"] for figure in figures.values() for t in figure["data"]]
    assert not [text for text in templates if "é" in text]


def strings(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from strings(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from strings(item)


def test_names_beside_panels_are_short():
    how = found(with_params([{"x" * 500: i, "y": -i} for i in range(30)]))
    assert all(len(text) <= MAX_NAME for text in how.figures["importances"]["layout"]["yaxis"]["ticktext"])


def test_the_tables_hold_what_the_charts_show():
    how = found(samples.digits())
    assert next(row[0].text for row in how.importance_table.rows) == "width"
    assert how.importance_table.headings[1:] == (
        *("accuracy", "latency p50", "parameters"),
        *("latency p95", "peak memory"),
    )
    complete, *_ = how.ending_table.rows
    assert complete[-1].text == str(len(samples.digits().complete))
    assert sum(int(row[-1].text) for row in how.ending_table.rows) == len(samples.digits().trials)
    assert len(how.best_table.rows) == sum(
        number == leader.number
        for best in how.bests
        for (number, _), leader in zip(best.steps, best.leaders, strict=True)
    )


def test_the_curve_table_has_a_row_for_each_drawn_curve():
    how = found(STUDIES["curves"])
    assert len(how.curve_table.rows) == sum(len(quantity.curves) for quantity in how.curves.quantities) == 6


@pytest.mark.parametrize(
    ("results", "absent"),
    [
        (samples.digits(), set()),
        (samples.pairs([]), {"parallel.png", "hypervolume.png", "importances.png"}),
        (samples.pairs([(0.9, 0.001)]), {"parallel.png", "hypervolume.png", "importances.png"}),
        (samples.pairs([(0.9, 0.001), (0.8, 0.002)]), {"importances.png"}),
        (samples.many_objectives(1), {"parallel.png", "importances.png"}),
    ],
)
def test_what_is_not_drawn_has_a_reason(results, absent):
    how = found(results)
    assert set(how.absent) == absent
    assert len(how.notes["files"]) == len(absent)


def test_importances_that_cannot_be_told_are_explained():
    notes = " ".join(found(samples.pairs([(0.9, 0.001)])).notes["importances"])
    assert "Importance for accuracy, latency p50 not computed: the trials have no parameters." in notes


def test_a_constant_value_makes_charts_too():
    base = samples.pairs([(0.9, 0.001)] * 30)
    trials = tuple(replace(t, params={"a": t.number, "b": t.number % 3}) for t in base.trials)
    how = found(replace(base, trials=trials))
    assert {each.reason for each in how.importances} == {"all trials have the same value"}
    assert len(how.slices) == 2


def test_an_unknown_end_of_an_interval_changes_nothing_of_how_it_was_found():
    base = samples.pairs([(0.9, 0.001), (0.95, 0.002)])
    metrics = {"accuracy": Estimate(0.9, 0.8, None), "latency_p50": Estimate(0.001)}
    evaluation = replace(base.trials[0].evaluation, metrics=metrics)
    changed = replace(base, trials=(replace(base.trials[0], evaluation=evaluation), base.trials[1]))
    assert found(changed).figures == found(base).figures
    assert np.isfinite([value for best in found(changed).bests for _, value in best.steps]).all()
