"""The study's log: whole lines whatever happens, and nobody stopped by it."""

import json
import logging
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import moo
from moo.log import EVENTS, LOG, LogTail, StudyLog, log_line, say_again
from objectives import FunctionTask

OBJECTIVES = {"maximize": ["accuracy"], "minimize": ["latency_p50"]}


def lines(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / LOG).read_text(encoding="utf-8").splitlines()]


def sweep(tmp_path, function, **changes):
    arguments = {**OBJECTIVES, "n_trials": 3, "sampler": "random", "seed": 0, "folder": tmp_path / "out"}
    return moo.optimize(FunctionTask(function, name="logged"), **{**arguments, **changes})


def test_a_sweep_tells_its_beginning_each_trial_and_its_end(tmp_path) -> None:
    def some_fail(trial):
        width = trial.suggest_int("width", 1, 1000)
        if trial.number == 1:
            raise ValueError("no luck")
        return {"accuracy": width / 1001, "latency_p50": width * 1e-6}

    sweep(tmp_path, some_fail, constraints=["latency_p50 <= 1 ms"])
    found = lines(tmp_path / "out")
    assert [record["event"] for record in found] == [
        "study_begun",
        *("trial_begun", "trial_finished"),
        *("trial_begun", "trial_failed"),
        *("trial_begun", "trial_finished"),
        "study_ended",
    ]
    assert [record.get("trial") for record in found] == [None, 0, 0, 1, 1, 2, 2, None]
    assert found[0]["n_trials"] == 3
    assert set(found[2]["values"]) == {"accuracy", "latency_p50"}
    assert list(found[2]["violations"]) == ["latency_p50 <= 1 ms"]
    assert (found[4]["level"], found[4]["stage"]) == ("warning", "task")
    assert "no luck" in found[4]["reason"]
    assert (found[-1]["n_finished"], found[-1]["why"]) == (3, "done")
    times = [datetime.fromisoformat(record["time"]) for record in found]
    assert all(time.utcoffset() == timedelta(0) for time in times)
    assert times == sorted(times)
    assert {record["event"] for record in found} <= EVENTS


def test_a_sweep_that_is_ended_by_an_error_or_stopped_says_why(tmp_path) -> None:
    def fails(trial):
        raise ValueError("never")

    with pytest.raises(moo.errors.SweepError):
        sweep(tmp_path, fails)
    assert "SweepError: all 3 trials failed" in lines(tmp_path / "out")[-1]["why"]
    sweep(tmp_path, fails, study_name="b", folder=tmp_path / "b", should_stop=lambda: True)
    assert lines(tmp_path / "b")[-1]["why"] == "stopped"


def test_warnings_of_the_library_are_in_it_once_and_only_during_the_sweep(tmp_path) -> None:
    def tiny(trial):
        return {"accuracy": trial.suggest_categorical("a", [0.1, 0.2]), "latency_p50": 1e-3}

    sweep(tmp_path, tiny, n_trials=9)
    logging.getLogger("moo").warning("after it")
    said = [record["message"] for record in lines(tmp_path / "out") if record["event"] == "warning"]
    assert len(said) == 1
    assert said[0].endswith("the search ends")


def test_no_password_is_in_it(tmp_path) -> None:
    log = StudyLog(tmp_path)
    log.write("study_begun", storage="postgresql://ann:secret@db/moo")
    with log.with_warnings():
        logging.getLogger("moo").warning("postgresql://ann:%s@db/moo is slow", "secret")
    log.write("trial_failed", trial=0, reason={"deep": ["mysql://bob:secret@db/x"]})
    text = (tmp_path / LOG).read_text()
    assert "secret" not in text
    assert text.count("***") == 3


def test_times_are_utc_whatever_the_clock_says() -> None:
    here = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2)))
    record = StudyLog.__new__(StudyLog)
    record._now = lambda: here
    assert record._record("stage", None, "info", {})["time"] == "2026-01-02T01:04:05.000+00:00"


def test_a_folder_that_cannot_be_written_stops_nothing(tmp_path) -> None:
    StudyLog(tmp_path / "is not there").write("stage", name="fit", seconds=1.0)
    (tmp_path / LOG).mkdir()
    results = sweep(tmp_path, lambda trial: {"accuracy": 0.5, "latency_p50": 1e-3}, folder=tmp_path).results()
    assert len(results.complete) >= 1


def test_after_a_full_disk_the_next_line_is_whole(tmp_path, monkeypatch) -> None:
    import os as os_

    log, write = StudyLog(tmp_path), os_.write

    def partly(file, data):
        return write(file, data[: len(data) // 2])

    def full(file, data):
        raise OSError(28, "No space left on device")

    log.write("stage", name="first")
    for broken in (full, partly):
        monkeypatch.setattr("os.write", broken)
        log.write("stage", name="lost")
    monkeypatch.setattr("os.write", write)
    log.write("stage", name="last")
    tail = LogTail(tmp_path)
    tail._at = 0
    assert [record["name"] for record in tail.new()] == ["first", "last"]


WRITES = """
import sys
from pathlib import Path
from moo.log import StudyLog
log = StudyLog(Path(sys.argv[1]))
for number in range(200):
    log.write("stage", trial=number, name="x" * 300, seconds=1.0)
"""


def test_processes_that_write_at_once_leave_whole_lines(tmp_path) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", WRITES, str(tmp_path)]) for _ in range(3)]
    assert [writer.wait(120) for writer in writers] == [0, 0, 0]
    found = lines(tmp_path)
    for writer in writers:
        assert [record["trial"] for record in found if record["pid"] == writer.pid] == list(range(200))


def test_a_tail_gives_what_is_new_and_waits_for_whole_lines(tmp_path) -> None:
    log = StudyLog(tmp_path)
    log.write("stage", name="before")
    tail = LogTail(tmp_path)
    assert tail.new() == []
    log.write("stage", name="one")
    with (tmp_path / LOG).open("ab") as file:
        file.write(b"no json\n" + b'"text"\n' + b'{"event": "st')
    assert [record["name"] for record in tail.new()] == ["one"]
    with (tmp_path / LOG).open("ab") as file:
        file.write(b'age", "name": "two", "pid": 1}\n')
    assert [record["name"] for record in tail.new()] == ["two"]
    assert tail.new() == []


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner, max_size=3)),
    max_leaves=8,
)


@settings(deadline=None, max_examples=60)
@given(json_values)
def test_any_value_makes_one_line_of_strict_json_that_a_person_can_read(tmp_path_factory, value) -> None:
    folder = tmp_path_factory.mktemp("log")
    StudyLog(folder).write("warning", message=value)
    text = (folder / LOG).read_bytes().decode()
    assert text.count("\n") == 1

    def refuses(constant):
        raise AssertionError(constant)

    record = json.loads(text, parse_constant=refuses)
    assert isinstance(log_line(record), str)


def test_events_of_another_process_are_said_here_as_there(tmp_path, caplog) -> None:
    caplog.set_level(logging.DEBUG, "moo")
    head = {"time": datetime.now(UTC).isoformat(), "level": "info", "pid": 7}
    say_again({**head, "event": "warning", "message": "careful"})
    say_again({**head, "event": "stage", "trial": 3, "name": "fit", "seconds": 1.25})
    assert [record.levelname for record in caplog.records] == ["WARNING", "DEBUG"]
    assert caplog.messages[0] == "careful"
    assert caplog.messages[1].endswith("[7] trial 3, stage: name fit, seconds 1.25")
