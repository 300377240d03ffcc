"""Whatever is typed, or is in a file: an answer, or one line that says what is wrong with it."""

import contextlib
import os
import shutil
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from moo import bundle as bundles
from moo.errors import InputError, ProblemError, StorageError
from moo.problem import Constraint
from moo.storage import open_storage
from moo.tables import read_table
from tests.moo.test_bundle import Scripted, rehashed, written

QUICK = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))


def assert_one_line(error: Exception) -> None:
    assert str(error).strip()
    assert "\n" not in str(error)
    assert len(str(error)) < 2000


# constraints

WORDS = st.sampled_from(
    [
        *("latency_p95", "accuracy", "peak_memory", "energy", "baseline", "x baseline", "baseline - 1%"),
        *(
            "<=",
            ">=",
            "<",
            "==",
            "5",
            "ms",
            "µs",
            "%",
            "MiB",
            "1e400",
            "-0",
            "nan",
            "inf",
            "x",
            "*",
            "\u00d7",
            "٣",
        ),
        *("0x10", "1_000", "+", "-", "--", ".", "\n", "\0", "\u202e", "9" * 400, "{}", "%s"),
    ]
)
TYPED = st.lists(WORDS | st.text(max_size=6), max_size=7)


@QUICK
@given(parts=TYPED, between=st.sampled_from(["", " ", "  ", "\t"]))
@example(parts=["latency_p95", "<=", "1e400", "ms"], between=" ")
@example(parts=["accuracy", ">=", "baseline", "-", "1e-400%"], between=" ")
def test_a_constraint_is_read_or_refused_and_reads_back_as_it_is_written(parts, between) -> None:
    try:
        constraint = Constraint.parse(between.join(parts))
    except ProblemError as error:
        assert_one_line(error)
    else:
        assert Constraint.parse(str(constraint)).key == constraint.key


# tables

CELLS = st.sampled_from(
    [
        "",
        "-",
        "nan",
        "inf",
        "-inf",
        "1",
        "0.5",
        "1e999",
        "1,5",
        "٣",
        '"',
        '""',
        "=1+1",
        "\r",
        "\x1b[2J",
        "9" * 400,
    ]
)
ROWS = st.lists(st.lists(CELLS | st.text(max_size=5), min_size=1, max_size=4), max_size=6)


@st.composite
def contents(draw) -> bytes:
    """Bytes of a file: anything, or a table with some bytes changed, or cut off."""
    if draw(st.booleans()):
        return draw(st.binary(max_size=300))
    delimiter = draw(st.sampled_from([",", ";", "\t"]))
    heading = delimiter.join(draw(st.permutations(["name", "a", "b", "a_low"])))
    body = "\n".join(delimiter.join(row) for row in draw(ROWS))
    content = bytearray(
        f"{heading}\nx{delimiter}1{delimiter}2{delimiter}0\n{body}".encode("utf-8", "replace")
    )
    for _ in range(draw(st.integers(0, 3))):
        content[draw(st.integers(0, len(content) - 1))] = draw(st.integers(0, 255))
    return bytes(content[: draw(st.integers(1, len(content)))])


@QUICK
@given(content=contents(), suffix=st.sampled_from([".csv", ".tsv", ".parquet", ""]), bound=st.booleans())
@example(content=b"PAR1", suffix=".parquet", bound=False)
@example(content=b"PAR1" + bytes(40) + b"PAR1", suffix=".csv", bound=False)
@example(content=b"a,b\n1,2\n\x00", suffix=".csv", bound=False)
def test_any_bytes_are_a_table_or_refused(tmp_path, content, suffix, bound) -> None:
    path = tmp_path / f"t{suffix}"
    path.write_bytes(content)
    try:
        results = read_table(path, maximize=["a"], minimize=["b"], constraints=["b <= 5"] if bound else [])
    except InputError as error:
        assert_one_line(error)
    else:
        assert {trial.number for trial in results.front} <= {trial.number for trial in results.trials}


# bundles


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    return written(tmp_path_factory.mktemp("sound") / "bundle")


@settings(QUICK, max_examples=60)
@given(data=st.data())
def test_a_bundle_with_files_changed_swapped_cut_or_gone_is_answered_or_refused(
    tmp_path, sound, data
) -> None:
    folder = tmp_path / "bundle"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(sound, folder)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(files))
        other = data.draw(st.sampled_from(files))
        change = data.draw(
            st.sampled_from(["flip", "cut", "grow", "swap", "remove", "folder", "link", "pipe"])
        )
        _change(path, other, change, data)
    is_rehashed = data.draw(st.booleans()) and all(_is_regular(path) for path in files)
    if is_rehashed:  # as one would who wants it believed
        with contextlib.suppress(ValueError):
            rehashed(folder)
    is_changed = any(_differs(path, sound / path.relative_to(folder)) for path in files)
    try:
        found = bundles.verify(folder, machine=Scripted())
    except InputError as error:
        assert_one_line(error)
        assert is_changed or is_rehashed
    else:
        is_changed_beside_the_record = any(
            _differs(path, sound / path.relative_to(folder)) for path in files if path.name != "bundle.json"
        )
        assert found.is_broken or is_rehashed or not is_changed_beside_the_record
        assert is_changed or not found.is_broken


def _is_regular(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _differs(path: Path, original: Path) -> bool:
    return not _is_regular(path) or path.read_bytes() != original.read_bytes()


def _change(path: Path, other: Path, change: str, data) -> None:
    if not _is_regular(path):
        return
    content = path.read_bytes()
    if change == "flip" and content:
        index = data.draw(st.integers(0, len(content) - 1))
        path.write_bytes(content[:index] + bytes([content[index] ^ 0x40]) + content[index + 1 :])
    elif change == "cut":
        path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    elif change == "grow":
        path.write_bytes(content + b"\0{")
    elif change == "swap" and _is_regular(other):
        path.write_bytes(other.read_bytes())
    elif change in ("remove", "folder", "link", "pipe"):
        path.unlink()
        if change == "folder":
            path.mkdir()
        elif change == "link":
            path.symlink_to("/dev/zero")
        elif change == "pipe":
            os.mkfifo(path)


# storages


@settings(QUICK, max_examples=40)
@given(
    secret=st.text(alphabet=st.sampled_from("ab1:/?#[]{}%&=+ \\'\""), min_size=1, max_size=8),
    is_quoted=st.booleans(),
)
def test_no_password_that_cannot_be_used_is_told(secret, is_quoted) -> None:
    password = f"geheim{secret}wort"
    shown = quote(password, safe="") if is_quoted else password
    with pytest.raises(StorageError) as caught:
        open_storage(f"postgresql://ann:{shown}@127.0.0.1:1/moo")
    assert_one_line(caught.value)
    assert "geheim" not in str(caught.value)
    assert "wort" not in str(caught.value)
