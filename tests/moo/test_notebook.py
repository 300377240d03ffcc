"""What a notebook shows of a study."""

from html.parser import HTMLParser

import moo
from moo.notebook import MOST_ROWS, results_html
from objectives import FunctionTask
from tests.reports import pages, samples


class Cells(HTMLParser):
    """The texts of a table's cells, row by row, and every tag seen."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.rows, self.tags, self.is_in_cell = [], [], False
        self.feed(html)

    def handle_starttag(self, tag, attrs) -> None:
        assert not attrs
        self.tags.append(tag)
        if tag == "tr":
            self.rows.append([])
        self.is_in_cell = tag in ("td", "th")

    def handle_endtag(self, tag) -> None:
        self.is_in_cell = False

    def handle_data(self, data) -> None:
        if self.is_in_cell:
            self.rows[-1].append(data)


def test_the_front_is_a_table_with_intervals_and_parameters() -> None:
    results = samples.digits()
    found = Cells(results_html(results))
    assert len(found.rows) == 1 + min(len(results.front), MOST_ROWS)
    assert found.rows[0][0] == "candidate"
    assert found.rows[1][0] == results.front[0].name
    assert "[" in found.rows[1][1]
    assert found.rows[0][-len(results.param_names) :] == list(results.param_names)


def test_a_long_front_is_cut_and_says_so() -> None:
    results = samples.pairs([(0.5 + i / 100, 0.001 * (i + 1)) for i in range(MOST_ROWS + 5)])
    html = results_html(results)
    assert "and 5 more on the front" in html
    assert len(Cells(html).rows) == 1 + MOST_ROWS


def test_names_from_outside_are_texts() -> None:
    assert set(Cells(results_html(samples.hostile())).tags) <= {
        *("p", "b", "code", "table", "thead", "tbody", "tr", "td", "th")
    }


def test_what_a_confirmation_says_is_there() -> None:
    found = Cells(results_html(pages.confirmed()))
    assert {"P(on the front)", "P(feasible)"} <= set(found.rows[0])


def test_nothing_feasible_is_said() -> None:
    assert "No candidate can be recommended" in results_html(samples.pairs([]))


def test_a_study_shows_itself(tmp_path) -> None:
    task = FunctionTask(lambda trial: {"accuracy": trial.suggest_float("x", 0, 1), "latency_p50": 0.001})
    study = moo.optimize(task, maximize=["accuracy"], n_trials=3, sampler="random", seed=0, folder=tmp_path)
    html = study._repr_html_()
    assert "3 trials" in html
    assert "Recommended" in html
