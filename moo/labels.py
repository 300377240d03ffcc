"""What each row of a table is called: no two the same."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from moo.cells import Cells
from moo.columns import Columns, is_known
from moo.problem import Problem

__all__ = ["row_labels", "shown"]


def row_labels(
    cells: Cells, columns: Columns, problem: Problem, named_by: str | None, numbers: Sequence[int]
) -> Sequence[str | None]:
    """Return what each row is called; None in our own table for a trial without a name."""
    if columns.is_ours:
        texts = [""] * cells.n_rows if named_by is None else cells.columns[named_by]
        return [
            label if text.strip() else None
            for text, label in zip(texts, _labels(texts, numbers), strict=True)
        ]
    if named_by is None:
        return [f"row {number}" for number in numbers]
    asked = {metric.name for metric in problem.metrics}
    settings = {
        column: texts
        for column, texts in cells.columns.items()
        if column != named_by
        and (
            column in columns.params
            or (column in columns.metrics and _is_setting(columns, column, texts, asked))
        )
    }
    return _labels(cells.columns[named_by], numbers, settings)


def _is_setting(columns: Columns, column: str, texts: Sequence[str], asked: set[str]) -> bool:
    """Return whether a column of numbers reads as a setting: whole numbers that nobody asked to judge by."""
    return columns.metrics[column].name not in asked and all(
        re.fullmatch(r"\d{1,9}", text.strip()) for text in texts
    )


def _labels(
    texts: Sequence[str], numbers: Sequence[int], settings: Mapping[str, Sequence[str]] | None = None
) -> list[str]:
    """Return what each row is called, no two the same.

    Rows with the same name are told apart by the first setting that differs in all of them, else by number.

    >>> _labels(["a", "b", "a", ""], [0, 1, 2, 3])
    ['a (row 0)', 'b', 'a (row 2)', 'row 3']
    >>> _labels(["a", "a", "b", "b"], [0, 1, 2, 3], {"img_size": ["224", "288", "224", "224"]})
    ['a (img_size 224)', 'a (img_size 288)', 'b (row 2)', 'b (row 3)']
    """
    names = [shown(text) or f"row {number}" for text, number in zip(texts, numbers, strict=True)]
    alike: dict[str, list[int]] = {}
    for index, text in enumerate(names):
        alike.setdefault(text, []).append(index)
    used = {text for text, rows in alike.items() if len(rows) == 1}
    labels = list(names)
    for text, rows in alike.items():
        if len(rows) > 1:
            notes = _telling_apart(rows, settings or {}) or [f"row {numbers[index]}" for index in rows]
            for index, note in zip(rows, notes, strict=True):
                label = f"{text} ({note})"
                while label in used:
                    label = f"{label} (row {numbers[index]})"
                used.add(label)
                labels[index] = label
    return labels


def _telling_apart(rows: Sequence[int], settings: Mapping[str, Sequence[str]]) -> list[str] | None:
    """Return a note on each of some rows, from the first setting that all of them have and none shares."""
    for name, texts in settings.items():
        found = [texts[index].strip() for index in rows]
        if all(map(is_known, found)) and len(set(found)) == len(found):
            return [f"{name} {text[:40]}" for text in found]
    return None


def shown(text: str) -> str:
    """Return a text without the apostrophe that keeps a spreadsheet from running it as a formula.

    >>> shown("'=1+1 "), shown("'quoted'")
    ('=1+1', "'quoted'")
    """
    text = text.strip()
    return text[1:] if re.match(r"'[=+\-@\t\r\n]", text) else text
