import io
import math
import warnings
from dataclasses import replace
from functools import cache

import matplotlib as mpl
import matplotlib.image
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from moo.importances import Importance, MetricImportances
from moo.metrics import BUILT_IN
from reports import _figures, _figures_found, _figures_parallel
from reports._choice import choose
from reports._data import front_chart
from reports._figures import front_png
from reports._figures_found import hypervolume_png, importances_png
from reports._figures_paper import DPI, WIDTH_IN
from reports._figures_parallel import parallel_png
from reports._found import found
from reports._parallel import MAX_AXES, MAX_LINES, parallel_chart
from reports._pngs import pngs
from tests.reports import samples

STUDIES = {
    "digits": samples.digits(),
    "bounded": samples.bounded(),
    "hostile": samples.hostile(),
    "empty": samples.pairs([]),
    "one": samples.pairs([(0.9, 0.001)]),
    "no complete": samples.no_complete(),
    "infinite": samples.pairs([(0.99, math.inf), (0.9, 0.001), (0.95, 0.002)]),
    "zero": samples.pairs([(0.0, 0.0), (0.5, 0.01)]),
    "wide": samples.pairs([(0.9, 1e-6), (0.95, 1.0), (0.97, 50.0)]),
    "five": samples.many_objectives(5),
}


@cache
def how_of(name):
    return found(STUDIES[name])


def files(results, how=None):
    return pngs(results, front_chart(results, choose(results).number), how or found(results))


def pixels(png):
    return matplotlib.image.imread(io.BytesIO(png))


def with_label(results, label):
    return replace(results, trials=tuple(replace(trial, label=label) for trial in results.trials))


@pytest.mark.parametrize("name", STUDIES)
def test_every_png_is_there_with_something_on_it_unless_a_reason_says_why_not(name):
    made = files(STUDIES[name], how_of(name))
    assert {file for file, png in made.items() if png is None} == set(how_of(name).absent)
    assert made["front.png"] is not None
    for png in filter(None, made.values()):
        image = pixels(png)
        assert image.shape[1] == WIDTH_IN * DPI
        assert 900 <= image.shape[0] <= 6000
        assert image.std() > 0.01


def test_the_same_data_make_the_same_bytes_and_other_data_others():
    one, two, other = (files(samples.digits(25, seed=seed)) for seed in (0, 0, 1))
    assert set(one) == {"front.png", "parallel.png", "hypervolume.png", "importances.png"}
    for name in one:
        assert one[name] == two[name]
        assert one[name] != other[name]


def test_drawing_changes_no_setting_of_matplotlib():
    before = dict(mpl.rcParams)
    files(samples.hostile(), how_of("hostile"))
    assert dict(mpl.rcParams) == before


def drawn(function, *args):
    """The figure itself, drawn as it would be for print."""
    figure = Figure(figsize=(8, 5), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")
        function(figure, *args)
        figure.canvas.draw()
    return figure


def texts(figure):
    return [text.get_text() for text in figure.findobj(Text) if text.get_visible()]


def test_the_recommended_candidate_is_marked_by_its_label():
    results = with_label(samples.digits(), "resnet$50$")
    chart = front_chart(results, choose(results).number)
    assert "recommended\nresnet$50$" in texts(drawn(_figures._draw, chart))
    assert "baseline (resnet$50$)" in texts(drawn(_figures._draw, chart))
    assert front_png(chart) != front_png(replace(chart, chosen=None))


def test_a_recommended_candidate_off_the_front_is_marked_too():
    chart = front_chart(samples.pairs([(0.9, 0.001), (0.8, 0.002)]), 1)
    assert "recommended\ntrial 1" in texts(drawn(_figures._draw, chart))


@pytest.mark.parametrize("label", ["m", "a model with a name as long as they come, and longer"])
def test_the_label_lies_within_the_axes_and_on_no_point_of_the_front(label):
    results = with_label(samples.pairs([(0.8 + 0.01 * i, 0.001 + 0.0002 * i) for i in range(12)]), label)
    chart = front_chart(results, 6)
    figure = drawn(_figures._draw, chart)
    (axes,) = figure.axes
    (note,) = [text for text in axes.texts if text.get_text().startswith("recommended")]
    box, frame = Text.get_window_extent(note), axes.get_window_extent()
    assert frame.x0 <= box.x0 < box.x1 <= frame.x1
    assert frame.y0 <= box.y0 < box.y1 <= frame.y1
    at = axes.transData.transform([(p.x.value, p.y.value) for p in chart.groups["front"]])
    assert not [place for place in at if box.contains(*place)]


def test_heights_put_the_better_value_higher_whatever_the_direction():
    results = samples.digits()
    chart = parallel_chart(results, None)
    assert [axis.is_reversed for axis in chart.axes] == [False, True, True, True, True]
    lines = [*chart.front, *chart.others]
    for place, axis in enumerate(chart.axes):
        metric = axis.axis.metric.name
        sign = -1 if axis.is_reversed else 1
        values = [sign * line.trial.estimate(metric).value for line in lines]
        heights = [line.heights[place] for line in lines]
        order = np.argsort(values, kind="stable")
        assert (np.diff(np.array(heights)[order]) >= -1e-12).all()


def test_the_front_lies_within_the_axes_of_the_parallel_coordinates():
    chart = parallel_chart(samples.digits(), None)
    heights = [height for line in chart.front for height in line.heights]
    assert 0 <= min(heights) < max(heights) <= 1


def test_heights_are_linear_or_logarithmic_between_the_ends_of_the_axis():
    chart = parallel_chart(samples.pairs([(0.9, 1e-6), (0.95, 1.0), (0.97, 50.0)]), None)
    accuracy, latency = chart.axes
    assert latency.axis.is_log
    assert not accuracy.axis.is_log
    for axis in chart.axes:
        low, high = axis.axis.low, axis.axis.high
        middle = math.sqrt(low * high) if axis.axis.is_log else (low + high) / 2
        ends = [axis.height(low), axis.height(middle), axis.height(high)]
        assert ends == pytest.approx([1, 0.5, 0] if axis.is_reversed else [0, 0.5, 1])


def test_every_complete_candidate_is_a_line_once():
    results = samples.digits()
    chosen = choose(results).number
    chart = parallel_chart(results, chosen)
    off = {line.trial.number for line in chart.others} | {chart.baseline.trial.number}
    front = {line.trial.number for line in chart.front}
    assert off | front == {trial.number for trial in results.complete}
    assert front == {trial.number for trial in results.front}
    assert chart.chosen.trial.number == chosen


def test_a_bound_stands_at_its_height_and_only_within_the_view():
    chart = parallel_chart(samples.bounded(), None)
    accuracy, latency = chart.axes
    assert latency.bounds == (pytest.approx(latency.height(300.0)),)
    assert len(accuracy.bounds) == 1
    far = parallel_chart(samples.constrained([(0.9, 0.002, -0.999), (0.95, 0.003, -0.99)]), None)
    assert far.axes[-1].bounds == ()


def test_a_value_that_is_not_known_breaks_the_line():
    results = samples.pairs([(0.9, 0.001), (0.95, 0.002), (0.8, math.inf)])
    chart = parallel_chart(results, None)
    (line,) = [line for line in [*chart.others, *chart.front] if line.trial.number == 2]
    assert [math.isnan(height) for height in line.heights] == [False, True]


def test_too_many_lines_and_axes_are_thinned_and_counted():
    points = [(0.9 + i / 1e6, 0.001 + i / 1e6) for i in range(MAX_LINES + 50)]
    points += [(0.1, 0.01 + i / 1e6) for i in range(MAX_LINES + 70)]
    chart = parallel_chart(samples.pairs(points), 7)
    assert (len(chart.front), chart.n_front) == (MAX_LINES, MAX_LINES + 50)
    assert (len(chart.others), chart.n_others) == (MAX_LINES, MAX_LINES + 70)
    assert chart.chosen.trial.number == 7
    wide = parallel_chart(samples.many_objectives(MAX_AXES + 2), None)
    assert (len(wide.axes), wide.n_axes_left_out) == (MAX_AXES, 2)
    note = "(300 drawn)"
    assert any(note in text for text in texts(drawn(_figures_parallel._draw, chart, "study")))


def test_names_on_the_figures_are_no_mathematics_and_no_legend_is_hidden():
    results = with_label(samples.hostile(), "_$x^2$")
    chosen = choose(results).number
    how = how_of("hostile")
    figures = [
        drawn(_figures._draw, front_chart(results, chosen)),
        drawn(_figures_parallel._draw, parallel_chart(results, chosen), results.study_name),
        drawn(_figures_found._draw_history, how.history, results.study_name),
        drawn(
            _figures_found._draw_importances,
            [each for each in how.importances if each.by_param],
            ["width", "$x$"],
            results.study_name,
        ),
    ]
    for figure in figures:
        shown = [text for text in figure.findobj(Text) if text.get_visible() and "$" in text.get_text()]
        assert not [text for text in shown if text.get_parse_math()]
    assert "recommended (_$x^2$)" in texts(figures[1])


def test_the_hypervolume_png_follows_its_steps():
    history = how_of("digits").history
    less = replace(history, steps=history.steps[:2])
    assert hypervolume_png(history, "a") != hypervolume_png(less, "a")
    assert hypervolume_png(history, "a") != hypervolume_png(history, "b")


def test_the_importances_png_has_room_for_every_row_and_metric():
    def known(n_params, share):
        rows = {f"p{i}": Importance(share, 0.0, 0.5, is_told_apart=i < 2) for i in range(n_params)}
        return MetricImportances(metric=BUILT_IN["accuracy"], by_param=rows, n_trials=30, n_used=30)

    few, many = importances_png([known(3, 0.2)], "a"), importances_png([known(12, 0.2)], "a")
    assert pixels(many).shape[0] > pixels(few).shape[0]
    assert pixels(importances_png([known(3, 0.2)] * 4, "a")).shape[0] > pixels(few).shape[0]
    assert importances_png([known(3, 0.4)], "a") != few


def test_the_parallel_png_marks_the_recommended_candidate():
    results = samples.digits()
    chart = parallel_chart(results, choose(results).number)
    assert parallel_png(chart, "a") != parallel_png(replace(chart, chosen=None), "a")
