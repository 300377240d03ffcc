"""The cells of a table on disk, CSV or Parquet, as texts by column; nothing is understood yet."""

from __future__ import annotations

import contextlib
import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from moo.errors import InputError

if TYPE_CHECKING:
    from _csv import Reader

    import pandas as pd

__all__ = ["Cells", "read_cells"]

_DELIMITERS = (",", ";", "\t")
_SNIFFED_RECORDS = 20
_PARQUET = (".parquet", ".pq")
_MOST_BYTES = 2**30
_MAGIC_PARQUET = b"PAR1"


@dataclass(frozen=True, kw_only=True)
class Cells:
    """A table as texts; an empty text is an empty cell.

    Args:
        path: Where it was read.
        columns: The cells by column, each of length n > 0.
        lines: The line of the file on which each row begins, from 1; empty where the file has none.
    """

    path: Path
    columns: dict[str, list[str]]
    lines: Sequence[int] = ()

    @property
    def n_rows(self) -> int:
        """Number of rows, n."""
        return len(next(iter(self.columns.values())))

    def place(self, index: int) -> str:
        """Return where a row stands, as a person finds it: by line, or by row counted from 0."""
        return f"line {self.lines[index]}" if self.lines else f"row {index}"


def read_cells(path: Path) -> Cells:
    """Return the cells of a CSV or Parquet file.

    CSV is UTF-8, with or without a byte order mark, its cells parted by commas, semicolons or tabs, its first
    line the names of the columns. A column without a name is called `column 3` after its place; one that only
    counts the rows, as pandas writes it, is left out. A file is Parquet by its ending or its first bytes.

    Raises:
        InputError: If there is no such file, it is no table, has no row, has one name twice, or a line has
            more or fewer cells than the heading.
    """
    try:
        if path.is_dir():
            raise InputError(
                f"table '{path}': expected a CSV or Parquet file, got a folder; name a file in it"
            )
        if path.exists() and not path.is_file():  # reading it may never end
            raise InputError(f"table '{path}': expected a CSV or Parquet file, got a pipe or device")
        size = path.stat().st_size
        if size > _MOST_BYTES:
            raise InputError(
                f"table '{path}': expected at most {_MOST_BYTES} bytes, got {size}: take fewer rows"
            )
        content = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"table '{path}': there is no such file") from None
    except OSError as error:
        raise InputError(f"table '{path}' cannot be read: {error.strerror or error}") from error
    if not content.strip():
        raise InputError(f"table '{path}' is empty: expected a line of column names, and a line for each row")
    if path.suffix.lower() in _PARQUET or content.startswith(_MAGIC_PARQUET):
        return _from_parquet(path)
    return _from_csv(path, _decoded(path, content))


def _decoded(path: Path, content: bytes) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError(f"table '{path}': expected UTF-8 text, got UTF-16: save it as CSV in UTF-8")
    if b"\0" in content:
        raise InputError(
            f"table '{path}': expected CSV text or Parquet, got a file that is neither: save the table as CSV"
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"table '{path}', line {line}: expected UTF-8 text, got the byte 0x{content[error.start]:02x}:"
            " save it as CSV in UTF-8"
        ) from None


def _from_csv(path: Path, text: str) -> Cells:
    records: list[list[str]] = []
    lines: list[int] = []
    reader = _reader(text, _delimiter(text))
    try:
        begins = 1
        for record in reader:
            if any(cell.strip() for cell in record):
                records.append(record)
                lines.append(begins)
            begins = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"table '{path}', line {reader.line_num}: no CSV: {error}") from None
    if not records:
        raise InputError(f"table '{path}' is empty: expected a line of column names, and a line for each row")
    names, rows = [name.strip() for name in records[0]], records[1:]
    for row, line in zip(rows, lines[1:], strict=True):
        if len(row) != len(names):
            raise InputError(
                f"table '{path}', line {line}: expected {len(names)} cells as in the heading, got {len(row)}:"
                " mend the line, or put a text with the delimiter in it in quotes"
            )
    _check_rows(path, len(rows))
    columns = [list(column) for column in zip(*rows, strict=True)]
    return Cells(path=path, columns=_named(path, names, columns), lines=lines[1:])


def _reader(text: str, delimiter: str) -> Reader:
    return csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True)


def _delimiter(text: str) -> str:
    """Return the delimiter that gives the first lines the same number of cells, and the most of them."""

    def quality(delimiter: str) -> tuple[bool, int]:
        widths: list[int] = []
        with contextlib.suppress(csv.Error):  # what is wrong in the file is said when all of it is read
            for record in _reader(text, delimiter):
                widths += [len(record)] if record else []
                if len(widths) == _SNIFFED_RECORDS:
                    break
        is_even = len(set(widths)) == 1 and widths[0] > 1
        return is_even, widths[0] if widths else 0

    return max(_DELIMITERS, key=quality)  # of equals the first


def _from_parquet(path: Path) -> Cells:
    import pandas as pd

    try:
        frame = pd.read_parquet(path, engine="pyarrow")
    except ImportError:
        raise InputError(
            f"table '{path}': Parquet is read with pyarrow, which is not installed: pip install pyarrow, or"
            " save the table as CSV"
        ) from None
    except (OSError, ValueError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"table '{path}' is no Parquet file: {first}") from error
    if any(name is not None for name in frame.index.names):
        frame = frame.reset_index()
    _check_rows(path, len(frame))
    names = [str(name).strip() for name in frame.columns]
    columns = [_texts(frame.iloc[:, index]) for index in range(len(names))]
    return Cells(path=path, columns=_named(path, names, columns))


def _texts(series: pd.Series) -> list[str]:
    """Return each value as the shortest text that is read back as the same value."""
    is_missing = series.isna().to_numpy()
    values = series.to_numpy()
    return ["" if missing else str(value) for value, missing in zip(values, is_missing, strict=True)]


def _check_rows(path: Path, n_rows: int) -> None:
    if n_rows == 0:
        raise InputError(f"table '{path}' has column names and no row: expected one row for each candidate")


def _named(path: Path, names: list[str], columns: list[list[str]]) -> dict[str, list[str]]:
    places: dict[str, list[int]] = {}
    named: dict[str, list[str]] = {}
    for place, (given, cells) in enumerate(zip(names, columns, strict=True), start=1):
        name = given or f"column {place}"
        if given or not _counts_rows(cells):
            places.setdefault(name, []).append(place)
            named[name] = cells
    twice = next((name for name, found in places.items() if len(found) > 1), None)
    if twice is not None:
        where = " and ".join(map(str, places[twice]))
        raise InputError(
            f"table '{path}': the column name {twice!r} is there {len(places[twice])} times (columns"
            f" {where}): give each column a name of its own"
        )
    if not named:
        raise InputError(f"table '{path}' has no named column: expected a line of column names")
    return named


def _counts_rows(cells: list[str]) -> bool:
    return all(cell == str(index) for index, cell in enumerate(cells))
