"""Write a report's files into a folder."""

from __future__ import annotations

import os
from pathlib import Path
from secrets import token_hex

from moo.errors import InputError
from moo.results import Results


def write(results: Results, folder: str | Path) -> Path:
    """Write `index.html`, `front.png`, `candidates.csv` and `report.json`; return the page's path.

    The folder is made if it is not there. Each file appears whole or not at all: a report that is
    read while it is written again is never half there.

    Args:
        results: The study's finished trials, in whatever state the study is.
        folder: Where to write.

    Raises:
        InputError: If the folder cannot be written.
    """
    from reports._choice import choose
    from reports._data import front_chart
    from reports._figures import front_png
    from reports._history import history
    from reports._html import page
    from reports._record import candidates_csv, report_json

    folder = Path(folder)
    choice = choose(results)
    chart = front_chart(results, choice.number)
    files = {
        "report.json": report_json(results, choice).encode(),
        "candidates.csv": candidates_csv(results).encode(errors="replace"),
        "front.png": front_png(chart),
        "index.html": page(results, choice, chart, history(results)).encode(errors="replace"),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            _replace(folder / name, content)
    except OSError as error:
        raise InputError(
            f"report folder '{folder}': expected a folder that can be written, got "
            f"{error.strerror or error}; name another one"
        ) from error
    return folder / "index.html"


def _replace(path: Path, content: bytes) -> None:
    """Put the content in place in one step: written under another name beside it, then renamed."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{token_hex(4)}")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
