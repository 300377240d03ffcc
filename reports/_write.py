"""Write a report's files into a folder."""

from __future__ import annotations

import os
from pathlib import Path
from secrets import token_hex

from moo.errors import InputError
from moo.results import Results


def write(results: Results, folder: str | Path, *, assets: str = "inside") -> Path:
    """Write `index.html`, PNG figures, `candidates.csv` and `report.json`; return the page's path.

    The figures are `front.png`, and where there is something to draw, which the page says, `parallel.png`,
    `hypervolume.png` and `importances.png`.

    The folder is made if it is not there. Each file appears whole or not at all: a report that is
    read while it is written again is never half there.

    Args:
        results: The study's finished trials, in whatever state the study is.
        folder: Where to write.
        assets: `inside`: the page is one file. `beside`: plotly and the page's script stand in two files
            beside it, named after their content, so that many reports weigh little and share them.

    Raises:
        InputError: If the folder cannot be written, or `assets` is something else.
    """
    from reports._choice import choose
    from reports._data import front_chart
    from reports._found import found
    from reports._html import page
    from reports._pngs import pngs
    from reports._record import candidates_csv, report_json

    if assets not in ("inside", "beside"):
        raise InputError(f"assets: expected 'inside' or 'beside', got {assets!r}")
    folder = Path(folder)
    choice = choose(results)
    chart = front_chart(results, choice.number)
    files = {
        "report.json": report_json(results, choice).encode(),
        "candidates.csv": candidates_csv(results).encode(errors="replace"),
    }
    how = found(results)
    figures = pngs(results, chart, how)
    files |= {name: content for name, content in figures.items() if content is not None}
    whole = page(results, choice, how, assets="beside" if assets == "beside" else "inside")
    files |= {name: text.encode(errors="replace") for name, text in reversed(whole.items())}  # the page last
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in figures.keys() - files.keys():
            (folder / name).unlink(
                missing_ok=True
            )  # of an earlier report: this one has nothing to draw there
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
