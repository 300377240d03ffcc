"""The page in a real browser: what a person does in it, and what it must never do."""

import csv
import io
import itertools
import json
import re
from pathlib import Path

import numpy as np
import pytest

import reports
from moo.decision import recommend
from moo.metrics import BUILT_IN, format_value
from moo.pareto import nondominated
from reports._choice import choose
from reports._found import found
from reports._html import page as page_files
from tests.reports import pages, samples
from tests.reports.browser import chromium, needs_browser, open_page

pytestmark = needs_browser()


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return reports.write(samples.digits(), tmp_path_factory.mktemp("digits"))


@pytest.fixture(scope="module")
def one_page(browser, digits):
    page = open_page(browser, digits)
    yield page
    page.page.context.close()


@pytest.fixture
def opened(one_page):
    """The page of `digits`, as it starts: all its state is in its address."""
    one_page.go_to("")
    one_page.page.mouse.move(0, 0)
    one_page.page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    one_page.settled()
    yield one_page
    assert one_page.log == []


STUDIES = {
    "digits": samples.digits(),
    "bounded": samples.bounded(),
    "hostile": samples.hostile(),
    "labelled": pages.labelled(),
    "devices": pages.on_devices(),
    "confirmed": pages.confirmed(),
    "empty": samples.pairs([]),
    "one": samples.pairs([(0.9, 0.001)]),
    "no complete": samples.no_complete(),
    "all infeasible": samples.constrained([(0.9, 0.002, 1.0), (0.8, 0.003, 0.5)]),
    "one objective": samples.many_objectives(1),
    "five objectives": samples.many_objectives(5),
    "thirty metrics": pages.many_metrics(30),
    "table": pages.table(),
}


def write_page(results, folder, *, assets="inside"):
    """The page without the figures beside it, which take longer."""
    folder.mkdir(exist_ok=True)
    for name, text in page_files(results, choose(results), found(results), assets=assets).items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder / "index.html"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Paths of the pages of `STUDIES`, by name; each is written once."""
    paths = {}

    def path_of(name):
        if name not in paths:
            paths[name] = write_page(STUDIES[name], tmp_path_factory.mktemp("page"))
        return paths[name]

    return path_of


@pytest.mark.parametrize("name", STUDIES)
def test_a_page_is_drawn_silently_asks_for_nothing_and_recommends_what_python_does(browser, name, written):
    path, expected = written(name), recommend(STUDIES[name])
    page = open_page(browser, path, color_scheme="dark", viewport={"width": 375, "height": 900})
    for scheme, width in (("dark", 375), ("light", 1300)):  # as a telephone that is turned, and at dawn
        page.page.set_viewport_size({"width": width, "height": 900})
        page.page.emulate_media(color_scheme=scheme)
        page.page.evaluate("window.scrollTo(0, document.documentElement.scrollHeight)")
        page.settled()
        page.settled()
        assert page.page.evaluate("document.documentElement.scrollWidth") <= width
        assert (n_points(page) > 0) is (name != "empty")
        if name != "empty":
            assert share_of_points(page) > 0.6
            assert_decides_alike(page, expected)
    assert page.log == []
    assert page.asked == [path.as_uri()]
    page.page.context.close()


def n_points(page):
    """How many candidates the front's chart shows: elements, and marks on the canvas behind them."""
    return page.page.locator("#front-chart path.point").count() + page.page.evaluate(
        "moo.page?.chart.marks().length ?? 0"
    )


def share_of_points(page):
    """How much of the chart's width is for the points."""
    return page.page.evaluate(
        "() => { const chart = document.querySelector('#front-chart .plot');"
        " return chart.querySelector('.nsewdrag').getBoundingClientRect().width / chart.clientWidth; }"
    )


def assert_decides_alike(page, expected):
    shown = page.state(
        "[model.decision.best, model.decision.runnerUp].map((i) => (i === null ? null : model.data.ids[i]))"
    )
    if expected is None:
        assert shown == [None, None]
        return
    assert shown == [expected.trial.number, expected.runner_up and expected.runner_up.number]
    assert page.front == {trial.number for trial in expected.front}
    ranges = page.state("model.decision.ranges.map(({ low, high }) => [low, high])")
    known = [[each.low, each.high] for each in expected.ranges.values()]
    assert np.array(ranges).ravel() == pytest.approx(
        np.array(known if len(known) > 1 else []).ravel(), abs=1e-9
    )


def chosen_by_hand(record, bounds, weights):
    """The rule once more, from report.json alone: bounds on metrics by name, each `(sense, bound)`."""
    signs = np.array([-1.0 if o["direction"] == "maximize" else 1.0 for o in record["objectives"]])
    is_log = [o["scale"] == "log10" for o in record["objectives"]]

    def losses_of(some):
        values = [[c["metrics"][o["metric"]]["value"] for o in record["objectives"]] for c in some]
        return np.array(values, dtype=float).reshape(len(some), len(signs)) * signs

    def marks_of(some):
        return np.where(is_log, np.log10(np.where(is_log, losses_of(some), 1.0)), losses_of(some))

    kept = [
        c
        for c in record["candidates"]
        if c["state"] == "complete"
        and c["ruled_out"] is None
        and all(_keeps(c, name, *b) for name, b in bounds.items())
    ]
    on_front = nondominated(losses_of(kept)) if kept else []
    front = list(itertools.compress(kept, on_front))
    if not front:
        return None, set()
    as_set = set(record["recommended"]["front"]) if record["recommended"] else set()
    by = marks_of([c for c in record["candidates"] if c["id"] in as_set] or front)
    marks = marks_of(front)
    ideal = np.minimum(marks.min(axis=0), by.min(axis=0))
    spans = np.where(by.max(axis=0) > ideal, by.max(axis=0), marks.max(axis=0)) - ideal
    scaled = (marks - ideal) / np.where(spans > 0, spans, 1.0)
    keys = zip(
        (scaled * weights).max(axis=1).round(12), (scaled * weights).sum(axis=1).round(12), strict=True
    )
    best = min(zip(keys, range(len(front)), strict=True))[1]
    return front[best]["id"], {c["id"] for c in front}


def _keeps(candidate, name, sense, bound):
    value = candidate["metrics"][name]["value"]
    return value is not None and (value <= bound if sense == "<=" else value >= bound)


@pytest.mark.parametrize("seed", range(3))
def test_any_bounds_and_weights_choose_what_python_chooses(opened, digits, seed):
    record, rng = json.loads((digits.parent / "report.json").read_text()), np.random.default_rng(seed)
    names = opened.state("model.bounds.map((bound) => [bound.metric.name, bound.sense, bound.metric.factor])")
    bounds = {c["metric"]: (c["sense"], c["bound"]) for c in record["constraints"]}
    for index, (name, sense, factor) in enumerate(names):
        values = [c["metrics"][name]["value"] for c in record["candidates"] if name in c["metrics"]]
        low, high = np.quantile(values, [0.25, 1.0])
        bound = rng.uniform(low, high) if sense == "<=" else rng.uniform(*np.quantile(values, [0.0, 0.6]))
        typed = float(f"{bound / factor:.4g}")
        opened.type_number(f"#bound-{index}-field", typed)
        bounds[name] = (sense, float(f"{typed * factor:.15g}"))
        assert (opened.recommended, opened.front) == chosen_by_hand(record, bounds, [1 / 3] * 3)
    weights = np.full(3, 1 / 3)
    for k in rng.permutation(3):
        share = int(rng.integers(0, 101)) / 100
        rest = np.delete(weights, k)
        rest = rest / rest.sum() if rest.sum() > 0 else np.full(2, 0.5)
        weights = np.insert(rest * (1 - share), k, share)
        opened.slide(f"#weight-{k}-slider", 100 * share)
        assert (opened.recommended, opened.front) == chosen_by_hand(record, bounds, weights)


def test_a_slider_sets_its_field_and_the_other_way_round(opened):
    opened.slide("#bound-0-slider", 60)
    typed = float(opened.page.input_value("#bound-0-field"))
    assert 100 < typed < 400
    place = opened.page.input_value("#bound-0-slider")
    opened.type_number("#bound-0-field", typed * 2)
    assert int(opened.page.input_value("#bound-0-slider")) > int(place)
    opened.type_number("#bound-0-field", "")
    assert opened.state("model.bounds[0].at === Infinity")


def test_without_a_feasible_candidate_it_says_which_bound_is_the_reason(opened):
    opened.type_number("#bound-0-field", 1)
    assert opened.recommended is None
    text = opened.page.inner_text("#answer")
    assert re.search(
        r"No candidate keeps your bounds. Without latency p95 at most 1 us, \d+ candidates would", text
    )
    least = min(
        t.estimate("latency_p95").value
        for t in samples.digits().complete
        if t.estimate("peak_memory").value <= 48 * 2**20
    )
    assert (
        f"The least latency p95 among these is {format_value(least, BUILT_IN['latency_p95'])}: trial " in text
    )


def test_what_was_moved_is_said_beside_what_the_study_has_and_is_taken_back(opened):
    before = opened.recommended
    opened.type_number("#bound-2-field", 97.4)
    assert opened.recommended != before
    assert f"As the study was set: trial {before}" in opened.page.inner_text("#answer")
    assert f"With your settings: trial {opened.recommended}" in opened.page.inner_text("#moved")
    opened.page.click(".answer [data-do=reset]")
    opened.settled()
    assert opened.recommended == before
    assert not opened.page.is_visible("#moved")


def test_a_change_is_read_out(opened):
    opened.type_number("#bound-2-field", 97.4)
    opened.page.wait_for_timeout(700)
    assert f"trial {opened.recommended}" in opened.page.inner_text("#spoken")


def test_pointing_at_a_candidate_shows_it_everywhere(opened):
    row = opened.page.locator("#candidates tbody tr").nth(2)
    number = opened.state(f"model.data.ids[{row.get_attribute('data-place')}]")
    row.hover()
    assert opened.page.is_visible(".ring")
    assert opened.page.inner_text(".tip").startswith(f"trial {number}\n")
    ring, chart = (
        opened.page.locator(".ring").bounding_box(),
        opened.page.locator("#front-chart").bounding_box(),
    )
    x = ring["x"] + ring["width"] / 2
    assert chart["x"] < x < chart["x"] + chart["width"]
    opened.page.locator("#front-chart").scroll_into_view_if_needed()
    opened.page.mouse.move(5, 5)
    assert not opened.page.is_visible(".ring")
    point = opened.page.locator("#front-chart path.point").last.bounding_box()
    opened.page.mouse.move(point["x"] + point["width"] / 2, point["y"] + point["height"] / 2, steps=4)
    opened.page.wait_for_selector("#candidates tr.hovered", timeout=5000)
    assert opened.page.is_visible(".ring")


def test_the_ring_stands_on_the_point(opened):
    opened.page.click("#candidates [data-tab=all]")
    opened.settled()
    row = opened.page.locator("#candidates tbody tr[data-place='0']")
    row.hover()
    ring, star = (
        opened.page.locator(".ring").bounding_box(),
        opened.page.evaluate(
            """() => { const points = [...document.querySelectorAll('#front-chart .trace path.point')];
        const star = points.find((p) => p.__data__ && p.__data__.data === 0) || null;
        return star && star.getBoundingClientRect().toJSON(); }"""
        ),
    )
    assert star is not None
    assert ring["x"] + ring["width"] / 2 == pytest.approx(star["x"] + star["width"] / 2, abs=2)


def test_a_range_dragged_on_an_axis_is_selected_everywhere(opened):
    opened.page.locator("#parallel-chart").scroll_into_view_if_needed()
    box = opened.page.locator("#parallel-chart .lines").bounding_box()
    x = box["x"] + 56
    opened.page.mouse.move(x, box["y"] + 40)
    opened.page.mouse.down()
    opened.page.mouse.move(x, box["y"] + 130, steps=4)
    opened.page.mouse.up()
    opened.settled()
    selected = opened.state("[...view.selected].map((i) => model.columns.get('accuracy').value[i])")
    others = opened.state(
        "model.all.filter((i) => !view.selected.has(i) && !model.isPruned[i])"
        ".map((i) => model.columns.get('accuracy').value[i])"
    )
    assert selected
    assert min(selected) >= max(others)
    assert f"Selected ({len(selected)})" in opened.page.inner_text("#candidates .tabs")


def test_a_range_of_an_axis_is_selected_by_keyboard(opened):
    accuracy = "[...view.selected].map((i) => model.columns.get('accuracy').value[i])"
    everything = opened.state(
        "model.all.filter((i) => !model.isPruned[i]).map((i) => model.columns.get('accuracy').value[i])"
    )
    opened.page.focus("#parallel-chart .handle >> nth=0")
    for _ in range(14):
        opened.page.keyboard.press("ArrowUp")
        opened.settled()
    lowest, highest = min(everything), max(everything)
    from_ = lowest + 0.7 * (highest - lowest)
    assert sorted(opened.state(accuracy)) == sorted(value for value in everything if value >= from_)
    for _ in range(2):
        opened.page.keyboard.press("Shift+ArrowDown")
        opened.settled()
    to = lowest + 0.9 * (highest - lowest)
    assert sorted(opened.state(accuracy)) == sorted(value for value in everything if from_ <= value <= to)
    assert "to" in opened.page.get_attribute("#parallel-chart .handle >> nth=0", "aria-valuetext")
    range_shown = opened.page.locator("#parallel-chart svg rect")
    assert range_shown.count() == 1
    opened.page.keyboard.press("Escape")
    opened.settled()
    assert opened.state("view.selected.size") == 0
    assert range_shown.count() == 0


def test_a_box_selects_what_is_in_it_on_the_front_and_off_it(opened):
    opened.page.evaluate("document.querySelector('#front').scrollIntoView()")
    opened.page.click("#front-chart [data-title='Box Select']")
    area = opened.page.locator("#front-chart .nsewdrag").bounding_box()
    frame = opened.page.locator("#front-chart").bounding_box()
    left, top = area["x"] + 40, area["y"] + 40  # at the very corner one drags the axes
    right, bottom = left + area["width"] / 2, area["y"] + area["height"] - 40
    opened.page.mouse.move(left, top)
    opened.page.mouse.down()
    opened.page.mouse.move(right, bottom, steps=4)
    opened.page.mouse.up()
    opened.page.wait_for_function("() => moo.page.view.selected.size > 0")
    opened.settled()
    shown = "[...new Set([...moo.page.chart.marks(), ...model.decision.front, model.data.baseline])]"
    spots = opened.state(f"{shown}.map((i) => [i, moo.page.chart.whereIs(i)])")
    inside = {
        i
        for i, spot in spots
        if spot and left < spot["x"] + frame["x"] < right and top < spot["y"] + frame["y"] < bottom
    }
    assert set(opened.state("[...view.selected]")) == inside
    assert inside - set(opened.state("model.decision.front"))
    opened.page.click("#front-chart [data-title='Zoom']")
    opened.settled()
    assert opened.page.locator("#front-chart .select-outline").count() == 0  # the marks say it


def test_a_mark_off_the_front_is_pointed_at_and_pinned(opened):
    opened.page.evaluate("document.querySelector('#front').scrollIntoView()")
    place = opened.state("moo.page.chart.marks().findLast((i) => moo.page.chart.whereIs(i))")
    spot, frame = (
        opened.state(f"moo.page.chart.whereIs({place})"),
        opened.page.locator("#front-chart").bounding_box(),
    )
    opened.page.mouse.move(frame["x"] + spot["x"], frame["y"] + spot["y"], steps=2)
    assert opened.page.inner_text(".tip").startswith(f"trial {opened.state(f'model.data.ids[{place}]')}\n")
    opened.page.mouse.down()
    opened.page.mouse.up()
    opened.settled()
    assert opened.state("view.pins") == [place]


def test_a_slider_leaves_the_rows_that_stay_as_they_are(opened):
    opened.page.evaluate(
        "document.querySelectorAll('#candidates tbody tr').forEach((row) => { row.wasThere = true; })"
    )
    before = opened.front
    opened.type_number("#bound-0-field", 250)
    assert opened.front != before
    kept = opened.state(
        "[...document.querySelectorAll('#candidates tbody tr')]"
        ".map((row) => [model.data.ids[row.dataset.place], row.wasThere === true])"
    )
    assert {number for number, was_there in kept if was_there} == before & opened.front
    assert [number for number, _ in kept] == opened.state(
        "model.decision.front.map((i) => model.data.ids[i])"
    )


def test_a_bound_that_only_the_value_keeps_is_said_to_be_doubtful(opened):
    found = opened.state("model.decision.best")
    high = opened.state(f"model.columns.get('latency_p95').high[{found}]")
    value = opened.state(f"model.columns.get('latency_p95').value[{found}]")
    opened.type_number("#bound-0-field", 1e6 * (value + (high - value) / 2))
    assert opened.state("model.decision.best") == found
    assert "Not sure to keep its bound: latency p95" in opened.page.inner_text("#answer")


def test_who_is_best_in_one_objective_under_the_bounds_is_said(opened):
    opened.type_number("#bound-0-field", 200)
    found = recommend(samples.digits(), constraints=["latency_p95 <= 200 us"])
    most = max(found.front, key=lambda trial: trial.estimate("accuracy").value)
    assert f"Highest accuracy: trial {most.number}, with" in opened.page.inner_text("#ends")


def test_of_two_that_only_their_order_parts_it_says_so(browser, tmp_path):
    opened = open_page(browser, write_page(samples.pairs([(0.90, 0.001), (0.96, 0.002)]), tmp_path))
    assert "this one and trial 1 tie for the best balance" in opened.page.inner_text("#answer")
    opened.slide("#weight-0-slider", 60)
    assert "this is the best balance" in opened.page.inner_text("#answer")
    opened.page.context.close()


def test_a_candidate_that_lacks_an_objective_is_not_called_dominated(browser, tmp_path):
    results = samples.pairs([(0.90, 0.001), (0.96, 0.002), (0.95, 0.003), (0.99, float("inf"))])
    opened = open_page(browser, write_page(results, tmp_path))
    text = opened.page.inner_text("#switches")
    assert "feasible, dominated (1)" in text
    assert "an objective not known (1)" in text
    opened.page.context.close()


def test_on_paper_each_number_stands_under_its_heading(opened):
    opened.page.emulate_media(media="print")
    cells = opened.page.evaluate(
        "() => ['thead', 'tbody'].map((part) => [...document.querySelector(`#candidates ${part} tr`).cells]"
        ".map((cell) => cell.getBoundingClientRect()).filter((box) => box.width).map((box) => box.left))"
    )
    opened.page.evaluate("document.documentElement.classList.add('paper')")
    too_wide = opened.page.evaluate(
        "() => [...document.querySelectorAll('.scroll')]"
        ".filter((one) => one.scrollWidth > one.clientWidth + 1).map((one) => one.getAttribute('aria-label'))"
    )
    opened.page.evaluate("document.documentElement.classList.remove('paper')")
    opened.page.emulate_media(media="screen")
    assert cells[0] == cells[1]
    assert too_wide == []  # it would have the browser shrink every page


def test_paper_has_whole_charts_of_its_own_width_in_light_colours_and_the_screen_its_own_again(opened):
    sizes = """() => {
      const box = (one) => [one.clientWidth, one.clientHeight];
      const svg = document.querySelector("#front-chart .main-svg");
      const wide = document.querySelector("#parallel-chart canvas").getBoundingClientRect().width;
      return { chart: [Number(svg.getAttribute("width")), Number(svg.getAttribute("height"))],
               place: box(document.querySelector("#front-chart .plot")), wide, ground: svg.style.background,
               ink: document.querySelector("#front-chart .xtitle").style.fill };
    }"""
    opened.page.emulate_media(color_scheme="dark")
    opened.page.wait_for_function(f"() => ({sizes})().ink === 'rgb(230, 233, 237)'")
    before = opened.page.evaluate(sizes)
    opened.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    paper = opened.page.evaluate(sizes)
    assert paper["chart"] == paper["place"]
    assert max(paper["chart"][0], paper["wide"]) <= 1020
    assert (paper["ground"], paper["ink"]) == ("rgb(255, 255, 255)", "rgb(28, 33, 40)")
    n_off = opened.state(
        "model.all.filter((i) => moo.groups[i] !== 'front' && i !== model.data.baseline).length"
    )
    assert opened.page.locator("#front-chart path.point").count() >= n_off  # nor here
    assert opened.page.locator("#parallel-chart .paths path").count() >= len(
        opened.front
    )  # no canvas is printed
    opened.page.evaluate("dispatchEvent(new Event('afterprint'))")
    opened.page.wait_for_function(f"() => ({sizes})().chart[0] === {before['chart'][0]}")
    opened.settled()
    assert opened.page.evaluate(sizes) == before
    assert opened.page.locator("#parallel-chart .paths").count() == 0
    opened.page.emulate_media(color_scheme="light")
    opened.settled()


def test_a_share_is_within_the_range_that_is_said_of_it(browser, tmp_path):
    results = samples.pairs([(0.9, 0.001), (0.8, 0.0005)])
    page = open_page(browser, write_page(results, tmp_path))
    for share in (50, 33.3, 66.7, 12.34):
        page.type_number("#weight-0-field", share)
        for index, now in enumerate((share, 100 - share)):
            text = page.page.inner_text(f".slider:has(#weight-{index}-slider) .note")
            low, high = (float(end) for end in re.findall(r"([\d.]+)%", text))
            assert low - 0.05 <= now <= high + 0.05, text
    page.page.context.close()


def test_a_table_is_spoken_of_as_a_table(browser, written):
    page = open_page(browser, written("table"))
    text = page.page.inner_text("main")
    assert "As the report was set" in text
    assert not re.search(r"\btrials?\b|\bstudy\b", text)
    page.page.context.close()


def test_pinned_candidates_stand_side_by_side_and_what_differs_is_marked(opened):
    for row in (0, 2, 4, 5, 6):
        opened.page.locator("#candidates tbody tr").nth(row).locator(".pin").click()
        opened.settled()
    heads = opened.page.locator("#pins thead th")
    assert heads.count() == 4  # the first one made room
    texts = opened.page.locator("#pins tbody tr").all_inner_texts()
    widths = next(text for text in texts if re.match(r"\W*width", text))
    assert widths.startswith("\N{NOT EQUAL TO}") is (len(set(widths.split()[-4:])) > 1)
    assert any("\N{CHECK MARK}" in text for text in texts if "accuracy" in text)


def test_everything_can_be_done_by_keyboard(opened):
    opened.page.focus("#candidates tbody tr[tabindex='0']")
    opened.page.keyboard.press("ArrowDown")
    opened.page.keyboard.press("ArrowDown")
    second = int(opened.page.evaluate("document.activeElement.dataset.place"))
    opened.page.keyboard.press("Enter")
    opened.settled()
    assert opened.state("view.pins") == [second]
    assert opened.page.evaluate("document.activeElement.dataset.place") == str(second)
    opened.page.keyboard.press(" ")
    opened.settled()
    assert opened.state("[...view.selected]") == [second]
    opened.page.focus("#bound-0-slider")
    before = opened.page.input_value("#bound-0-field")
    opened.page.keyboard.press("ArrowLeft")
    opened.settled()
    assert opened.page.input_value("#bound-0-field") != before
    controls = opened.page.locator(":is(button, input, select, summary, [tabindex='0']):visible")
    assert controls.evaluate_all("all => all.every((each) => each.disabled || each.tabIndex >= -1)")
    opened.page.focus("#axis-x")
    opened.page.keyboard.press("ArrowDown")
    opened.settled()
    assert opened.state("view.x") != "latency_p50"


def test_any_two_columns_go_on_the_axes(opened):
    opened.page.select_option("#axis-x", "file_size")
    opened.page.select_option("#axis-y", "param:learning_rate")
    opened.page.select_option("#axis-colour", "none")
    opened.settled()
    assert "file size" in opened.page.text_content("#front-chart .xtitle")
    assert "learning_rate" in opened.page.text_content("#front-chart .ytitle")
    opened.page.uncheck("#log-y")
    opened.settled()
    assert opened.page.evaluate("document.querySelector('.plot').layout.yaxis.type || 'linear'") != "log"


def test_groups_are_switched_off_in_every_chart(opened):
    before = n_points(opened)
    opened.page.uncheck("[data-group=dominated]")
    opened.settled()
    n_hidden = opened.state("moo.groups.filter((group) => group === 'dominated').length")
    assert n_hidden
    assert n_points(opened) == before - n_hidden
    assert opened.page.evaluate("location.hash") == "#hide=dominated"


def test_the_table_is_filtered_and_sorted(opened):
    opened.page.click("#candidates [data-tab=all]")
    opened.page.fill("#filter", "activation=relu width=4")
    opened.settled()
    shown = opened.page.locator("#candidates tbody tr").all_inner_texts()
    expected = [
        t for t in samples.digits().trials if t.state != "failed" and t.params["activation"] == "relu"
    ]
    assert len(shown) == len([t for t in expected if str(t.params["width"]).startswith("4")])
    opened.page.fill("#filter", "")
    opened.settled()
    opened.page.click("#candidates th button:has-text('latency p50')")
    opened.settled()
    values = opened.state(
        "[...document.querySelectorAll('#candidates tbody tr')]"
        ".map((row) => model.columns.get('latency_p50').value[row.dataset.place])"
    )
    assert values == sorted(values)
    assert opened.page.locator("#candidates th[aria-sort=ascending]").count() == 1


def downloaded(opened, button):
    with opened.page.expect_download() as waiting:
        opened.page.click(button)
    return Path(waiting.value.path()).read_bytes().decode()


def test_the_selection_is_taken_along_as_csv_and_json(opened, digits):
    for row in (0, 3):
        opened.page.locator("#candidates tbody tr").nth(row).locator("input").check()
        opened.settled()
    ids = opened.state("[...view.selected].map((i) => model.data.ids[i])")
    rows = list(csv.DictReader(io.StringIO(downloaded(opened, "#export-csv"))))
    assert [int(row["trial"]) for row in rows] == ids
    record = {c["id"]: c for c in json.loads((digits.parent / "report.json").read_text())["candidates"]}
    for row in rows:
        assert float(row["accuracy"]) == record[int(row["trial"])]["metrics"]["accuracy"]["value"]
        assert int(row["param_width"]) == record[int(row["trial"])]["params"]["width"]
    taken = json.loads(downloaded(opened, "#export-json"))
    assert taken["schema"] == "moo.selection/1"
    assert [c["id"] for c in taken["candidates"]] == ids
    assert taken["recommended"] == opened.recommended
    assert {b["metric"]: b["bound"] for b in taken["bounds"]} == {
        "latency_p95": 0.0004,
        "peak_memory": 48 * 2**20,
    }


def test_no_exported_cell_is_a_formula(browser, written):
    page = open_page(browser, written("hostile"))
    page.page.click("#candidates [data-tab=all]")
    rows = list(csv.reader(io.StringIO(downloaded(page, "#export-csv"))))
    cells = [cell for row in rows for cell in row]
    assert "'=1+1" in cells
    starts = [cell for cell in cells if re.match(r"[=+\-@\t\r\n]", cell)]
    assert all(re.fullmatch(r"-?[\d.e-]+", cell) for cell in starts)
    assert samples.HOSTILE in cells
    page.page.context.close()


SEEN = (
    "model.bounds.map((bound) => String(bound.at)), model.weights.map((w) => w.toFixed(6)), view.x, view.y, "
    "view.logY, view.pins, [...view.selected], view.tab, view.filter, model.decision.best"
)


def test_an_address_shows_what_its_sender_saw(browser, opened, digits):
    opened.type_number("#bound-0-field", 310)
    opened.slide("#weight-0-slider", 70)
    opened.page.select_option("#axis-y", "file_size")
    opened.settled()  # the box follows the axis
    opened.page.click("#log-y")
    opened.page.locator("#candidates tbody tr").nth(1).locator(".pin").click()
    opened.page.locator("#candidates tbody tr").nth(2).locator("input").check()
    opened.page.click("#candidates [data-tab=all]")
    opened.page.fill("#filter", "width=3")
    opened.settled()
    opened.settled()
    seen = f"JSON.stringify([{SEEN}])"
    fragment = opened.page.evaluate("location.hash")
    other = open_page(browser, digits, fragment=fragment)
    assert other.state(seen) == opened.state(seen)
    assert other.page.evaluate("location.hash") == fragment
    assert other.log == []
    other.page.context.close()


HOSTILE_FRAGMENTS = [
    "#x=%3Cscript%3Ealert(1)%3C/script%3E&y=__proto__&colour=constructor",
    "#bounds=latency_p95%3C=NaN,latency_p95%3C=1e999,__proto__=1,accuracy%3E=any&weights=-1,2,3",
    "#weights=0,0,0&pins=99999999,-1,1e3,0,0&selected=" + "7," * 5000,
    "#filter=%00%E0%A4%A&tab=__proto__&sort=+constructor&page=99999999999",
    "#axes=%25E0%25A4%25A,toString,accuracy&hide=front,__proto__,intervals&logX=2",
    "#" + "a=" * 20000,
    "#%",
]


@pytest.mark.parametrize("fragment", HOSTILE_FRAGMENTS, ids=range(len(HOSTILE_FRAGMENTS)))
def test_a_hostile_address_does_no_harm(opened, fragment):
    opened.go_to(fragment)
    assert opened.recommended == recommend(samples.digits()).trial.number
    assert opened.page.locator("#candidates table").count() == 1


def test_a_page_that_starts_with_a_hostile_address_is_drawn(browser, digits):
    fragment = "#" + "&".join(each[1:] for each in HOSTILE_FRAGMENTS[:5])
    page = open_page(browser, digits, fragment=fragment)
    assert page.log == []
    assert page.recommended == recommend(samples.digits()).trial.number
    assert page.page.locator("#front-chart path.point").count() > 0
    page.page.context.close()


def test_a_script_that_is_written_into_the_page_does_not_run(browser, tmp_path):
    for assets in ("inside", "beside"):
        path = write_page(samples.digits(20), tmp_path / assets, assets=assets)
        (path.parent / "other.js").write_text("document.title = 'ran'")
        injected = (
            "<script>document.title = 'ran'</script><script src='other.js'></script>"
            "<img src=x onerror=\"document.title = 'ran'\">"
        )
        path.write_text(
            path.read_text(encoding="utf-8").replace("</main>", f"{injected}</main>"), encoding="utf-8"
        )
        page = open_page(browser, path)
        page.page.wait_for_selector("#candidates tbody tr")
        assert page.page.title() != "ran"
        assert sum("Content Security Policy" in line for line in page.log) >= 3
        page.page.context.close()


def test_hostile_names_run_nothing_and_stand_as_they_are(browser, written):
    page = open_page(browser, written("hostile"))
    page.page.locator("#candidates tbody tr").first.hover()
    page.page.locator("#candidates tbody tr .pin").first.click()
    page.settled()
    assert page.log == []
    assert page.page.locator("script").count() == 4
    assert "<script>alert('x')</script>" in page.page.inner_text(".tip")
    assert page.page.locator("main :is(b, i, img, iframe)").count() == 0
    page.page.context.close()


def test_with_its_scripts_beside_it_the_page_works_and_asks_for_these_alone(browser, tmp_path):
    path = write_page(samples.digits(20), tmp_path, assets="beside")
    assert path.stat().st_size < 500_000
    page = open_page(browser, path)
    page.page.wait_for_selector("#front-chart path.point")
    names = {url.rsplit("/", 1)[1] for url in page.asked}
    assert names == {"index.html", *(each.name for each in tmp_path.glob("*.js"))}
    assert len(names) == 3
    assert page.log == []
    page.page.context.close()


def test_only_a_page_of_rows_is_in_the_table_and_a_slider_is_answered(browser, tmp_path):
    results = samples.digits(500)
    page = open_page(browser, write_page(results, tmp_path))
    page.page.click("#candidates [data-tab=all]")
    page.settled()
    assert page.page.locator("#candidates tbody tr").count() == 50
    page.page.click(".pager button:has-text('Next')")
    page.settled()
    assert page.page.inner_text("#candidates [role=status]").startswith("51\N{EN DASH}100 of")
    page.type_number("#bound-0-field", 200)
    constraint = recommend(results, constraints=["latency_p95 <= 200 us"])
    assert page.recommended == constraint.trial.number
    page.page.context.close()
