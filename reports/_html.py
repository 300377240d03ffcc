"""The page from templates and scripts: one file that loads nothing, or with its scripts beside it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Any, Literal

import jinja2
from markupsafe import Markup, escape
from plotly.offline import get_plotlyjs

from moo.results import Results
from reports._charts import history_figure
from reports._choice import Choice
from reports._confirmed import confirmed
from reports._devices import device_table
from reports._found import Found, left_out_text
from reports._gains import wanted_text
from reports._page_data import page_data
from reports._tables import fact_table, front_table, history_table, tag_table
from reports._text import flatten, one_line

Assets = Literal["inside", "beside"]

MOST_DRAWN = 800  # as `parallel.js` has it
_SCRIPTS = (
    *("decide", "dom", "format", "model", "address", "sliders", "answer"),
    *("theme", "figures", "cloud", "scatter", "parallel", "table", "pins", "report"),
)  # in the order in which they run
_LOADER = """
for (const name of NAMES) {
  const script = document.createElement("script");
  script.src = name;
  script.async = false; // they run in turn
  document.head.append(script);
}
"""


def page(results: Results, choice: Choice, found: Found, *, assets: Assets = "inside") -> dict[str, str]:
    """Return the page and the files it needs beside it, by name: `index.html` first.

    Texts from outside are escaped by the templates, by `script_json` and for plotly by `_charts`; the page's
    own script sets them as text. With `inside` the page is one file of which the Content-Security-Policy lets
    only the two scripts of this package run, by their hash, and lets nothing be loaded or sent. With `beside`
    these stand in two files beside it, named after their content, which a loader of a few lines, let through
    by its hash, loads: what else might be written into the page cannot run, nor load a script
    (`strict-dynamic`).
    """
    plotly, own = _script_text(get_plotlyjs()), _script_text(own_script())
    scripts, others = [plotly, own], {}
    if assets == "beside":
        others = {f"plotly-{_short_hash(plotly)}.min.js": plotly, f"report-{_short_hash(own)}.js": own}
        scripts = [_script_text(_LOADER.replace("NAMES", json.dumps(list(others))))]
    html = (
        _environment()
        .get_template("index.html.j2")
        .render(
            policy=content_security_policy(scripts, loads_more=assets == "beside"),
            style=_resource("static/report.css"),
            scripts=scripts,
            is_one_file=assets == "inside",
            **_content(results, choice, found),
        )
    )
    return {"index.html": html, **others}


def _content(results: Results, choice: Choice, found: Found) -> dict[str, Any]:
    """Return what the template shows of the results."""
    history = {"history": history_figure(found.history)} if found.history.steps else {}
    data = page_data(results, choice.number)
    return {
        "data": script_json(data),
        "figures": script_json({**history, **found.figures}),
        "study": one_line(results.study_name),
        "task": one_line(results.task) if results.task else None,
        "counts": results.counts,
        "choice": choice,
        "nearest": one_line(choice.trial.name) if choice.trial is not None else None,
        "objectives": [f"{o.direction} {one_line(o.metric.title)}" for o in results.problem.objectives],
        "constraints": [wanted_text(results, constraint) for constraint in results.problem.constraints],
        "n_objectives": len(results.problem.objectives),
        "n_front": len(results.front),
        "has_baseline": results.baseline is not None,
        "is_search": results.is_search,
        "what": "study" if results.is_search else "report",
        "has_notes": any(fact.interval or fact.gain for fact in choice.facts),
        "tells_found": results.is_search or bool(found.figures),
        "has_candidates": bool(data["ids"]),
        "has_intervals": any(metric["low"] is not None for metric in data["metrics"]),
        "is_thinned": len(data["ids"]) > MOST_DRAWN,
        "left_out": left_out_text(results),
        "front": front_table(results, choice.number),
        "confirmed": confirmed(results),
        "found": found,
        "steps": history_table(found.history),
        "devices": device_table(results),
        "environment": fact_table(flatten(_facts(results.environment or {}))),
        "protocol": fact_table(flatten(results.protocol or {})),
        "tags": tag_table(results),
    }


def _facts(environment: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts of a machine without the two groups `profilers.environment` puts them in."""
    facts: dict[str, Any] = {}
    for name, value in environment.items():
        is_group = name in ("identity", "software", "state") and isinstance(value, Mapping)
        facts |= dict(value) if is_group else {name: value}
    return facts


def content_security_policy(scripts: list[str], *, loads_more: bool = False) -> str:
    """Return a policy under which only these scripts run, and nothing is loaded or sent.

    Plotly writes style elements and attributes, so inline styles are let through; they can load
    nothing but `data:` and `blob:` images, which plotly needs to save a chart as an image.

    Args:
        scripts: As they stand in the page.
        loads_more: Whether these may load scripts themselves.
    """
    sources = [f"'sha256-{_sha256(script)}'" for script in scripts]
    sources += ["'strict-dynamic'"] if loads_more else []
    return (
        f"default-src 'none'; script-src {' '.join(sources)}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def own_script() -> str:
    """Return the page's own script: the files of `static/` in turn."""
    return "\n".join(_resource(f"static/{name}.js") for name in _SCRIPTS)


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


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _resource(path: str) -> str:
    return files("reports").joinpath(path).read_text(encoding="utf-8")


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: _resource(f"templates/{name}")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["code"] = code_markup
    return environment


def code_markup(text: str) -> Markup:
    """Return a text as markup: escaped, and what stands between backticks as code.

    >>> code_markup("`moo confirm` <b>")
    Markup('<code>moo confirm</code> &lt;b&gt;')
    """
    return Markup(re.sub(r"`([^`]*)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped
