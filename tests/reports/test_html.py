import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest

from reports._charts import escaped, front_figure
from reports._choice import choose
from reports._data import front_chart
from reports._history import history
from reports._html import page, script_json
from tests.reports import samples


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


def render(results):
    choice = choose(results)
    return page(results, choice, front_chart(results, choice.number), history(results))


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
    assert [tag for tag, _ in hostile.elements if tag == "script"] == ["script"] * 3
    assert {"b", "i", "a"}.isdisjoint(tag for tag, _ in hostile.elements)


def test_hostile_names_stand_on_the_page_as_they_are(hostile):
    assert any("<script>alert('x')</script>" in text and "$x^2$" in text for text in hostile.texts)


def test_the_figures_are_json_without_markup(hostile):
    (text,) = [text for attrs, text in hostile.scripts if attrs.get("type") == "application/json"]
    assert not re.search("[<>&\u2028\u2029]", text)
    assert set(json.loads(text)) == {"front", "history"}


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


def test_hover_texts_hold_only_our_own_markup():
    results = samples.hostile()
    for trace in front_figure(front_chart(results, None), results)["data"]:
        for text in trace.get("hovertext", []):
            assert set(re.findall(r"<[^>]*>", text)) <= {"<b>", "</b>", "<br>"}
            assert "hovertemplate" not in trace


def test_every_point_of_the_chart_is_in_a_table():
    results = samples.digits()
    chart, parsed = front_chart(results, None), Page(render(results))
    names = {int(text) for text in parsed.texts if text.isdigit()}
    assert {p.trial.number for group in chart.groups.values() for p in group} <= names


def test_the_page_says_what_is_recommended_and_why(digits):
    whole = " ".join(digits.texts)
    assert f"Recommended: trial {choose(samples.digits()).number}" in whole
    assert "knee of a front" in whole


def test_the_page_explains_the_tags_and_the_reference_point(digits):
    whole = " ".join(digits.texts)
    assert "Measured in one process only" in whole
    assert re.search(r"Reference point: .* accuracy \d+", whole, flags=re.DOTALL)


def test_the_page_gives_reasons_of_failure_with_counts(digits):
    index = digits.texts.index("export: unsupported operator GridSample")
    assert str(len(samples.digits().failed)) in digits.texts[index : index + 4]


def test_a_page_of_sixty_trials_is_under_six_megabytes():
    assert len(render(samples.digits()).encode()) < 6e6


@pytest.mark.parametrize("results", [samples.pairs([]), samples.no_complete()])
def test_without_a_front_the_page_says_so(results):
    whole = " ".join(Page(render(results)).texts)
    assert "There is no candidate to recommend" in whole
    assert "Recommended" not in whole
