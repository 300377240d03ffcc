"""Metric names for what others named freely: columns of a table, values and attributes of a study."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

from moo.metrics import BUILT_IN

__all__ = ["is_metric_name", "listed", "metric_names", "parameter_names", "split_constraint"]

_COLUMNS_OF_RESULTS = frozenset(
    {
        *("trial", "label", "state", "feasible", "on_front", "baseline", "p_on_front", "p_feasible"),
        *("tags", "reason", "duration_s"),
    }
)
"""What `Results.table` has beside metrics and parameters: no metric may be called so."""

_ENDS = ("_low", "_high")
_LONGEST = 60


def is_metric_name(text: str) -> bool:
    """Return whether a text can be a metric's name as it is.

    >>> is_metric_name("\u6df1\u5ea6"), is_metric_name("1st"), is_metric_name("e\u0301")
    (True, False, False)
    """
    return text.isidentifier() and unicodedata.is_normalized("NFC", text)


def metric_names(texts: Sequence[str], *, fallback: str = "column") -> list[str]:
    """Return a name for each text that a metric may have, all different, in the same order.

    A text that is such a name keeps it, unless a table of results needs it for something else. Of any other,
    letters of any script, digits and underscores are kept; where none is left the name is `fallback` and the
    place, from 1.
    No name that is made here is one of a built-in metric, which has a unit of its own.

    Args:
        texts: As a person wrote them.
        fallback: What a text without any letter or digit is called.

    >>> metric_names(["top1", "Top-1 (%)", "param count", "param_count", "深度", "(%)"])
    ['top1', 'Top_1', 'param_count_2', 'param_count', '深度', 'column_6']
    >>> metric_names(["ms", "ms_low", "tags", "1st"])
    ['ms', 'ms_low_2', 'tags_2', '_1st']
    """
    names = [""] * len(texts)
    used: set[str] = set()
    for index in sorted(range(len(texts)), key=lambda index: _rank(texts[index])):
        text = texts[index]
        wanted = text if is_metric_name(text) else _from_letters(text) or f"{fallback}_{index + 1}"
        name, number = wanted, 2
        while not _is_free(name, used) or (name in BUILT_IN and name != text):
            name, number = f"{wanted}_{number}", number + 1
        names[index] = name
        used.add(name)
    return names


def parameter_names(texts: Sequence[str], metrics: Sequence[str]) -> list[str]:
    """Return a name for each parameter, such that `param_<name>` is no metric's and none is there twice.

    >>> parameter_names(["count", "arch"], ["param_count"])
    ['count_2', 'arch']
    """
    used = {*metrics, *(f"{metric}{end}" for metric in metrics for end in _ENDS)}
    names = []
    for text in texts:
        name, number = text, 2
        while f"param_{name}" in used:
            name, number = f"{text}_{number}", number + 1
        used.add(f"param_{name}")
        names.append(name)
    return names


def split_constraint(text: str, heads: Iterable[str]) -> tuple[str, str]:
    """Return what a constraint is on, as its writer called it, and the rest from the sign on.

    Args:
        text: Such as `Params (M) <= 30`.
        heads: What it may be on; the longest that fits counts. Where none does, it is all before the sign.

    >>> split_constraint("a <= b <= 3", ["a", "a <= b"])
    ('a <= b', '<= 3')
    >>> split_constraint("nothing", [])
    ('nothing', '')
    """
    given = text.strip()
    fitting = [head for head in heads if re.match(re.escape(head) + r"\s*[<>=!]", given)]
    head = max(fitting, key=len) if fitting else re.split(r"[<>=!]", given, maxsplit=1)[0]
    return head.strip(), given[len(head) :].strip()


def listed(given: Iterable[str]) -> list[str]:
    """Return names as a list; one name alone may be given as it is."""
    return [given] if isinstance(given, str) else list(given)


def _rank(text: str) -> int:
    """Return who chooses first: names that are kept as they are, then ends of intervals, then the rest."""
    return 2 if not is_metric_name(text) else 1 if text.endswith(_ENDS) else 0


def _from_letters(text: str) -> str:
    plain = unicodedata.normalize("NFKC", text)
    kept = "".join(sign if f"a{sign}".isidentifier() and sign != "_" else " " for sign in plain)
    name = unicodedata.normalize("NFC", "_".join(kept.split())[:_LONGEST].strip("_"))
    return f"_{name}" if name and not name.isidentifier() else name


def _is_free(name: str, used: set[str]) -> bool:
    if name in used or name in _COLUMNS_OF_RESULTS:
        return False
    is_end = any(name.endswith(end) and name.removesuffix(end) in used for end in _ENDS)
    return not is_end and not any(f"{name}{end}" in used for end in _ENDS)
