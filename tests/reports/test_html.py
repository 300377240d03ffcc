import base64
import hashlib
import json
import math
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from moo.evaluation import Estimate
from reports._charts import escaped
from reports._choice import choose
from reports._confirmed import confirmed, probability_text
from reports._devices import device_table
from reports._found import found
from reports._html import own_script, page, script_json
from reports._page_data import page_data
from reports._tables import MAX_ROWS, front_table
from tests.reports import pages, samples


class Page(HTMLParser):
    """Elements with their attributes, and the text of scripts and of everything else."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements, self.scripts, self.texts, self._open = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._open.append(tag)
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_endtag(self, tag):
        self._open.append(f"/{tag}")

    def handle_data(self, data):
        if self._open[-1:] == ["script"]:
            attrs, text = self.scripts[-1]
            self.scripts[-1] = (attrs, text + data)
        elif self._open[-1:] != ["style"]:
            self.texts.append(data)


def render(results, **options):
    return page(results, choose(results), found(results), **options)["index.html"]


def data_of(results):
    return page_data(results, choose(results).number)


@pytest.fixture(scope="module")
def digits():
    return Page(render(samples.digits()))


@pytest.fixture(scope="module")
def hostile():
    return Page(render(samples.hostile()))


def policy(parsed):
    return next(
        a["content"] for tag, a in parsed.elements if a.get("http-equiv") == "Content-Security-Policy"
    )


def test_the_page_loads_nothing(digits):
    assert not [a for _, a in digits.elements if {"src", "href", "action", "srcset", "data"} & set(a)]
    assert not {"link", "iframe", "object", "embed", "img", "form", "base"} & {
        tag for tag, _ in digits.elements
    }


def test_the_policy_allows_exactly_the_scripts_of_the_page(digits):
    runnable = [text for attrs, text in digits.scripts if attrs.get("type") != "application/json"]
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in runnable]
    (allowed,) = re.findall(r"script-src ([^;]*);", policy(digits))
    assert allowed.split() == [f"'sha256-{each}'" for each in hashes]
    assert len(runnable) == 2


def test_the_policy_lets_nothing_else_in_or_out(digits):
    found = policy(digits)
    assert found.startswith("default-src 'none';")
    assert not re.search(r"connect-src|unsafe-eval|https?:|\*", found)


def test_no_element_has_an_inline_handler(digits, hostile):
    for parsed in (digits, hostile):
        assert not [name for _, a in parsed.elements for name in a if name.startswith("on")]


def test_hostile_names_add_no_element(hostile):
    assert [tag for tag, _ in hostile.elements if tag == "script"] == ["script"] * 4
    assert {"b", "i", "a"}.isdisjoint(tag for tag, _ in hostile.elements)


def test_hostile_names_stand_on_the_page_as_they_are(hostile):
    assert any("<script>alert('x')</script>" in text and "$x^2$" in text for text in hostile.texts)


def test_data_and_figures_are_json_without_markup(hostile):
    texts = [text for attrs, text in hostile.scripts if attrs.get("type") == "application/json"]
    assert len(texts) == 2
    for text in texts:
        assert not re.search("[<>&\u2028\u2029]", text)
    assert "history" in json.loads(texts[1])
    assert json.loads(texts[0])["metrics"][0]["name"] == "score"


def test_script_json_escapes_what_could_end_a_script_and_keeps_the_value():
    value = {"a": "</script><!--&\u2028\u2029'\""}
    text = script_json(value)
    assert not re.search("[<>&\u2028\u2029]", text)
    assert json.loads(text) == value


def test_script_json_refuses_what_is_no_json():
    with pytest.raises(ValueError, match="JSON"):
        script_json(float("nan"))


def test_texts_for_plotly_have_no_markup_and_no_mathematics():
    assert (
        escaped('<a href="https://x">$x^2$\n&</a>')
        == '&lt;a href="https://x"&gt;&#36;x^2&#36; &amp;&lt;/a&gt;'
    )


FORBIDDEN = [
    *(
        r"\.innerHTML",
        r"\.outerHTML",
        r"insertAdjacentHTML",
        r"document\.write",
        r"\beval\(",
        r"new Function",
    ),
    *(
        r"\bfetch\(",
        r"XMLHttpRequest",
        r"WebSocket",
        r"sendBeacon",
        r"import\(",
        r"localStorage",
        r"document\.cookie",
    ),
    *(
        r"setAttribute\(\s*[\"']on",
        r"createContextualFragment",
        r"DOMParser",
        r"\bvar ",
        r"[^=!]==[^=]",
        r"!=[^=]",
    ),
]


@pytest.mark.parametrize("pattern", FORBIDDEN)
def test_the_script_has_no_call_that_could_run_or_send_a_text(pattern):
    code = re.sub(r"//[^\n]*", "", own_script())
    assert not re.search(pattern, code)


def test_each_file_of_the_script_is_strict():
    script = own_script()
    begun, ended = re.findall(r"^\(\(\) => \{$", script, re.M), re.findall(r"^\}\)\(\);$", script, re.M)
    assert script.count('"use strict";') == len(begun) == len(ended) > 5


@pytest.mark.skipif(shutil.which("node") is None, reason="no node on the PATH")
def test_the_script_is_read_by_node(tmp_path):
    (tmp_path / "report.js").write_text(own_script(), encoding="utf-8")
    subprocess.run(["node", "--check", "report.js"], cwd=tmp_path, check=True)


def test_every_candidate_is_in_the_data_with_its_numbers_unrounded():
    results = samples.digits()
    data, kept = data_of(results), [t for t in results.trials if t.state != "failed"]
    assert data["ids"] == [t.number for t in kept]
    for column in data["metrics"]:
        assert column["value"] == [t.estimate(column["name"]).value for t in kept]
    for constraint, column in zip(results.problem.constraints, data["constraints"], strict=True):
        held = [t.violations[constraint.key] <= 0 for t in kept]
        assert column["held"] == "".join("2" if each else "0" for each in held)


def test_an_end_that_decides_for_want_of_a_value_is_not_rounded():
    bounded = Estimate(None, None, 0.00040000000012345, reason="too short to time alone")
    results = samples.pairs([(0.9, 0.001), (0.8, 0.002)])
    metrics = {"latency_p50": bounded, "accuracy": Estimate(0.9, 0.8123456789, 1.0)}
    first = replace(results.trials[0], evaluation=replace(results.trials[0].evaluation, metrics=metrics))
    columns = {
        c["name"]: c for c in data_of(replace(results, trials=(first, *results.trials[1:])))["metrics"]
    }
    assert columns["latency_p50"]["high"][0] == 0.00040000000012345
    assert columns["accuracy"]["low"][0] == 0.812346


def test_what_is_exact_and_what_has_no_interval_are_told_apart():
    columns = {c["name"]: c for c in data_of(samples.digits())["metrics"]}
    assert (columns["parameters"]["low"], columns["parameters"]["isExact"]) == (None, True)
    plain = data_of(samples.pairs([(0.9, 0.001)]))["metrics"][0]
    assert (plain["low"], plain["isExact"]) == (None, False)


def test_settings_of_any_kind_keep_their_values():
    values = [1, 1.0, True, "1", None, math.inf, [1, 2]]
    trials = tuple(
        samples.trial(i, {"accuracy": 0.9, "latency_p50": 0.1}, params={"a": v}) for i, v in enumerate(values)
    )
    results = replace(samples.pairs([]), trials=trials)
    (column,) = data_of(results)["params"]
    shown = [None if code < 0 else column["values"][code] for code in column["codes"]]
    assert shown == [1, 1.0, True, "1", None, "inf", [1, 2]]
    assert [type(v) for v in shown] == [int, float, bool, str, type(None), str, list]


def test_the_table_of_a_large_front_is_cut_and_says_so():
    results = samples.pairs([(0.5 + i / 1000, 0.001 + i / 1000) for i in range(300)])
    assert len(front_table(results, None).rows) == MAX_ROWS
    assert f"the first {MAX_ROWS} of 300 candidates" in " ".join(Page(render(results)).texts)


def test_a_confirmation_has_search_confirmed_and_test_in_columns_of_their_own():
    results = pages.confirmed()
    shown = confirmed(results)
    assert shown.costs.headings[1:6] == (
        *("accuracy, search", "latency p50, search", "latency p50, confirmed"),
        *("parameters, search", "latency p95, search"),
    )
    cells = {h: c.text for h, c in zip(shown.costs.headings, shown.costs.rows[1], strict=True)}
    assert (cells["P(on the front)"], cells["verdict"]) == ("< 0.01", "off the front")
    assert shown.quality.headings[2:4] == ("validation (search)", "test")
    assert shown.quality.rows[0][3].text == "92.5%"
    assert any("fell off the front" in line for line in shown.lines)
    assert any(line.startswith("Test data opened once") for line in shown.lines)
    assert shown.costs.rows[2][-1].text == "not measured again"


def test_a_confirmation_with_hostile_reasons_adds_no_element():
    parsed = Page(render(pages.confirmed()))
    assert [tag for tag, _ in parsed.elements if tag == "script"] == ["script"] * 4
    assert any("<script>alert('x')</script>" in text for text in parsed.texts)


def test_without_a_confirmation_nothing_is_called_confirmed(digits):
    assert confirmed(samples.digits()) is None
    assert not [a for _, a in digits.elements if a.get("id") == "confirmed"]


def test_a_probability_is_never_shown_as_certain():
    assert [probability_text(p) for p in (0.0, 1.0)] == ["< 0.01", "> 0.99"]


def test_what_was_measured_on_several_devices_stands_side_by_side():
    table = device_table(pages.on_devices())
    assert table.headings == ("candidate", "on the front of", "latency p50", "latency p50 (gpu)")
    assert [cell.text for cell in table.rows[0]] == ["trial 1", "the first, gpu", "2 ms", "200 us"]
    assert device_table(samples.digits()).rows == ()


def test_beside_the_page_stand_its_scripts_named_after_their_content():
    results = samples.digits()
    files = page(results, choose(results), found(results), assets="beside")
    assert next(iter(files)) == "index.html"
    assert len(files["index.html"]) < 500_000
    for name, text in list(files.items())[1:]:
        assert hashlib.sha256(text.encode()).hexdigest()[:12] in name
        assert name in files["index.html"]
    parsed = Page(files["index.html"])
    assert "'strict-dynamic'" in policy(parsed)
    assert not [a for tag, a in parsed.elements if tag == "script" and "src" in a]


def test_the_page_says_what_is_recommended_and_why(digits):
    whole = " ".join(digits.texts)
    assert f"Recommended: trial {choose(samples.digits()).number}" in whole
    assert "knee of a front" in whole


def test_the_page_explains_the_tags_and_the_reference_point(digits):
    whole = " ".join(digits.texts)
    assert "Measured in one process only" in whole
    assert re.search(r"Reference point: .* accuracy \d+", whole, flags=re.DOTALL)


def test_the_page_gives_reasons_of_failure_with_counts(digits):
    index = digits.texts.index("unsupported operator GridSample")
    assert str(len(samples.digits().failed)) in digits.texts[index : index + 4]


def test_a_page_of_sixty_trials_is_under_six_megabytes():
    assert len(render(samples.digits()).encode()) < 6e6


@pytest.mark.parametrize("results", [samples.pairs([]), samples.no_complete()])
def test_without_a_front_the_page_says_so(results):
    whole = " ".join(Page(render(results)).texts)
    assert "There is no candidate to recommend" in whole
    assert "Recommended" not in whole
