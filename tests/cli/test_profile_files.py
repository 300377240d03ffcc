"""What `--json` may replace, and what it leaves alone."""

import json
import os

import pytest

from moo.cli._compare_output import Outcome, write_outcome
from moo.cli._profile_files import check_writable, save
from moo.cli.profile import Failure
from moo.errors import InputError, MooError
from profilers import DocumentError, FakeProfiler, Protocol, Runtime, load_measurements, save_measurements

WRONG = Failure("a.onnx", Runtime(), "no such file", is_input=True)
DIED = Failure("a.onnx", Runtime(), "killed", is_input=False)


@pytest.fixture
def measured() -> list:
    return [FakeProfiler().measure("a.onnx", Runtime(), protocol=Protocol(launches=2))]


def test_a_new_file_and_one_of_ours_may_be_written(tmp_path, measured) -> None:
    path = tmp_path / "out.json"
    check_writable(path)
    save(path, measured, [], [])
    for schema in (None, "moo.profile/"):
        check_writable(path, ["a.onnx"], schema=schema)


@pytest.mark.parametrize("name", ["m.onnx", "out.csv", "out", ".json"])
def test_only_names_that_end_in_json_are_written(tmp_path, name) -> None:
    with pytest.raises(InputError, match="ends in .json"):
        check_writable(tmp_path / name)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "{}", '{"schema": 1}', '{"schema": "other/1"}'])
def test_a_file_of_something_else_is_not_replaced(tmp_path, text) -> None:
    path = tmp_path / "out.json"
    path.write_text(text)
    with pytest.raises(InputError, match="exists and is no file of moo.profile or moo.compare"):
        check_writable(path)


def test_a_command_replaces_only_what_it_writes(tmp_path) -> None:
    path = tmp_path / "out.json"
    path.write_text('{"schema": "moo.profile/1"}')
    check_writable(path, schema="moo.profile/")
    with pytest.raises(InputError, match="no file of moo.compare"):
        check_writable(path, schema="moo.compare/")


def test_a_file_that_is_read_is_not_written(tmp_path, measured) -> None:
    path, link = tmp_path / "a.json", tmp_path / "link.json"
    save(path, measured, [], [])
    link.symlink_to(path)
    for subject in (path, link, tmp_path / "." / "a.json"):
        with pytest.raises(InputError, match="is one of the files to read"):
            check_writable(path, [subject])


@pytest.mark.parametrize("name", ["out.csv", "out.samples"])
def test_what_lies_beside_it_is_not_replaced(tmp_path, name) -> None:
    (tmp_path / name).write_text("age,income\n")
    check_writable(tmp_path / "out.json", schema="moo.compare/")
    with pytest.raises(InputError, match=name):
        check_writable(tmp_path / "out.json", schema="moo.profile/")


def test_with_nothing_but_wrong_input_the_old_document_stays(tmp_path, measured) -> None:
    path = tmp_path / "out.json"
    save(path, [], [WRONG], [])
    assert list(tmp_path.iterdir()) == []
    save(path, measured, [], [])
    before = path.read_bytes()
    save(path, [], [WRONG], [])
    assert path.read_bytes() == before
    save(path, [], [WRONG, DIED], [])
    assert len(json.loads(path.read_text())["failed"]) == 2


def test_a_table_that_cannot_be_written_is_one_line_and_the_document_is_there(tmp_path, measured) -> None:
    (tmp_path / "out.csv").mkdir()
    with pytest.raises(DocumentError, match="out.csv: cannot be written"):
        save(tmp_path / "out.json", measured, [], [])
    assert len(load_measurements(tmp_path / "out.json")) == 1


def test_a_machine_that_changed_meanwhile_is_told_and_the_rows_before_stay(tmp_path, measured) -> None:
    path = tmp_path / "out.json"
    save(path, measured, [], [])
    later = FakeProfiler().measure("b.onnx", Runtime(), protocol=Protocol(launches=2))
    object.__setattr__(later, "environment", {"identity": {"governor": "powersave"}, "state": {}})
    with pytest.raises(DocumentError, match="expected all of one machine"):
        save(path, [*measured, later], [], [])
    assert len(load_measurements(path)) == 1


@pytest.mark.parametrize(("code", "kind"), [(28, MooError), (2, InputError), (13, InputError)])
def test_a_comparison_that_cannot_be_written_is_one_line(tmp_path, monkeypatch, code, kind) -> None:
    def fails(path, write):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("profilers.write_whole", fails)
    with pytest.raises(MooError, match=os.strerror(code)) as caught:
        write_outcome(tmp_path / "out.json", Outcome((), {}, (), {}))
    assert type(caught.value) is kind


@pytest.mark.parametrize("what", ["environment", "samples"])
def test_comparing_broken_files_is_one_line_and_status_2(moo, tmp_path, measured, what) -> None:
    path = tmp_path / "a.json"
    save_measurements(path, measured)
    document = json.loads(path.read_text())
    if what == "samples":
        (tmp_path / document["measurements"][0]["samples"]).write_bytes(b"PK")
    else:
        path.write_text(json.dumps(document | {"environment": {}}))
    found = moo("compare", str(path), str(path))
    assert (found.status, found.out, found.err.count("\n")) == (2, "", 1)
