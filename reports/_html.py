"""The page: one file that loads nothing, from the template, the style sheet and the scripts."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import jinja2
from plotly.offline import get_plotlyjs

from moo.results import Results
from reports._charts import front_figure, history_figure
from reports._choice import Choice
from reports._data import MAX_DRAWN, FrontChart
from reports._history import History
from reports._tables import candidate_table, fact_table, front_table, history_table, outcome_table, tag_table
from reports._text import flatten, one_line


def page(results: Results, choice: Choice, chart: FrontChart, history: History) -> str:
    """Return the page as HTML.

    Texts from outside are escaped by the template, by `script_json` and for plotly by `_charts`; the
    page's Content-Security-Policy lets only the two scripts of this package run, by their hash, and
    lets nothing be loaded or sent.
    """
    scripts = [_script_text(get_plotlyjs()), _script_text(_resource("static/report.js"))]
    figures = {
        "front": front_figure(chart, results),
        "history": history_figure(history) if history.steps else None,
    }
    return _template().render(
        policy=content_security_policy(scripts),
        style=_resource("static/report.css"),
        scripts=scripts,
        figures=script_json(figures),
        study=one_line(results.study_name),
        task=one_line(results.task) if results.task else None,
        choice=choice,
        chart=chart,
        max_drawn=MAX_DRAWN,
        history=history,
        objectives=[f"{o.direction} {one_line(o.metric.title)}" for o in results.problem.objectives],
        constraints=[one_line(constraint) for constraint in results.problem.constraints],
        has_baseline=results.baseline is not None,
        front=front_table(results, choice.number),
        candidates=candidate_table(results, choice.number),
        outcomes=outcome_table(results),
        steps=history_table(history),
        environment=fact_table(flatten(_facts(results.environment or {}))),
        protocol=fact_table(flatten(results.protocol or {})),
        tags=tag_table(results),
    )


def _facts(environment: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts of a machine without the two groups `profilers.environment` puts them in."""
    facts: dict[str, Any] = {}
    for name, value in environment.items():
        is_group = name in ("identity", "software", "state") and isinstance(value, Mapping)
        facts |= dict(value) if is_group else {name: value}
    return facts


def content_security_policy(scripts: list[str]) -> str:
    """Return a policy under which only these scripts run, and nothing is loaded or sent.

    Plotly writes style elements and attributes, so inline styles are let through; they can load
    nothing but `data:` and `blob:` images, which plotly needs to save a chart as an image.
    """
    hashes = " ".join(f"'sha256-{_sha256(script)}'" for script in scripts)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def script_json(value: Any) -> str:
    r"""Return strict JSON that can stand in a script element: nothing in it ends the element.

    >>> script_json({"a": "</script>&"})
    '{"a":"\\u003c/script\\u003e\\u0026"}'
    """
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))  # ASCII only: U+2028 is escaped too
    return text.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026")


def _script_text(source: str) -> str:
    """Return the script as a browser reads it from the page, so that its hash is the same."""
    text = "\n" + source.replace("\r\n", "\n").replace("\r", "\n").strip() + "\n"
    if "</script" in text.lower():
        raise AssertionError("a script that ends its own element")
    return text


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _resource(path: str) -> str:
    return files("reports").joinpath(path).read_text(encoding="utf-8")


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(_resource("templates/index.html.j2"))
