"""How estimates, differences and settings read: every text that page and figures share."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from moo.metrics import BUILT_IN, Metric, format_difference, format_estimate, format_value
from moo.problem import Constraint, describe_bound, describe_difference
from moo.results import Estimate

DASH = "\N{EN DASH}"


def one_line(text: object) -> str:
    r"""Return the text on one line, control and direction-changing characters as spaces.

    >>> one_line("a\n b\u202e")
    'a b'
    """
    return " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())


def value_text(estimate: Estimate, metric: Metric) -> str:
    """Return the value alone, or what bounds it; a dash where nothing is known.

    >>> value_text(Estimate(None, None, 5e-4), BUILT_IN["latency_p95"])
    '<= 500 us'
    """
    if estimate.value is not None:
        return format_value(estimate.value, metric)
    bounded = format_estimate(estimate, metric)
    return DASH if bounded == "-" else bounded


def bound_text(constraint: Constraint, bound: float | None) -> str:
    """Return a constraint as a report says it: with the metric's title, and what a relative one comes to.

    >>> bound_text(Constraint.parse("latency_p95 <= 0.5 x baseline"), 0.002)
    'latency p95 \u2264 0.5 x baseline = 2 ms'
    """
    text = str(constraint) if bound is None else describe_bound(constraint, bound)
    rest = text.removeprefix(constraint.metric.name)
    for typed, sign in (("<=", "\N{LESS-THAN OR EQUAL TO}"), (">=", "\N{GREATER-THAN OR EQUAL TO}")):
        rest = rest.replace(f" {typed} ", f" {sign} ", 1)
    return one_line(f"{constraint.metric.title}{rest}")


def change_text(value: float, origin: float, metric: Metric) -> str:
    """Return a change in words, such as `31% less latency p50`; no change reads as `the same`.

    Of a plain number the difference itself comes first: nobody knows whether it is in percent.

    >>> from moo.metrics import BUILT_IN
    >>> change_text(0.974, 0.97, BUILT_IN["accuracy"])
    '0.4 points more accuracy'
    >>> change_text(76.9, 76.5, Metric(name="top1"))
    '0.4 (0.5%) more top1'
    """
    if shows_no_change(value, origin, metric):
        return f"the same {one_line(metric.title)}"
    difference = describe_difference(value, origin, metric)
    if difference.startswith("x "):
        return f"{difference[2:]} times the {one_line(metric.title)}"
    more = "more" if value > origin else "less"
    if metric.dimension == "number" and difference.endswith("%"):  # 0.5% of a top1 that is in percent?
        size = format_difference(value - origin, metric).lstrip("+-")
        return f"{size} ({difference.lstrip('+-')}) {more} {one_line(metric.title)}"
    if metric.dimension == "count":
        more = "more" if value > origin else "fewer"
    return f"{difference.lstrip('+-')} {more} {one_line(metric.title)}"


def shows_no_change(value: float, origin: float, metric: Metric) -> bool:
    """Return whether the difference reads as zero."""
    difference = describe_difference(value, origin, metric)
    return not re.search(r"[1-9]", difference.removesuffix("points"))


def overlap(one: Estimate, two: Estimate) -> bool:
    """Return whether the intervals share a value; an end that is not known rules nothing out.

    >>> from moo.evaluation import Estimate
    >>> overlap(Estimate(1.0, 0.9, 1.1), Estimate(1.2, 1.1, 1.3)), overlap(Estimate(1.0), Estimate(2.0))
    (True, False)
    """
    if one.value is None or two.value is None:
        return True
    low, high = (one, two) if one.value <= two.value else (two, one)
    upper = low.value if low.high is None else low.high
    lower = high.value if high.low is None else high.low
    return bool(upper is not None and lower is not None and upper >= lower)


def setting_text(value: object) -> str:
    """Return a parameter or fact as a person reads it.

    >>> setting_text(0.00123456), setting_text(True), setting_text(None), setting_text(["a", 1])
    ('0.001235', 'yes', '\u2013', 'a, 1')
    """
    if value is None:
        return DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(setting_text(item) for item in value) or "none"
    return one_line(value)


def flatten(record: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield name and text of every fact in a nested record.

    >>> list(flatten({"identity": {"total_memory_bytes": 2**30, "cpu": None}}))
    [('identity: total memory', '1 GiB'), ('identity: cpu', '\u2013')]
    """
    for key, value in record.items():
        name = f"{prefix}{one_line(key).replace('_', ' ')}"
        if isinstance(value, Mapping):
            yield from flatten(value, f"{name}: ")
        elif name.endswith(" bytes") and isinstance(value, int | float):
            yield name.removesuffix(" bytes"), format_value(float(value), BUILT_IN["peak_memory"])
        elif name.endswith(" s") and isinstance(value, int | float):
            yield name.removesuffix(" s"), format_value(float(value), BUILT_IN["latency_p50"])
        else:
            yield name, setting_text(value)
