"""Measurements in a file: what is written is read again, and what is broken is named."""

import json

import numpy as np
import pytest

from profilers import (
    DocumentError,
    FakeProfiler,
    LatencyBound,
    Protocol,
    Runtime,
    load_measurements,
    save_measurements,
)


@pytest.fixture
def measurements() -> list:
    protocol = Protocol(launches=2)
    return [FakeProfiler().measure(name, Runtime(batch=2), protocol=protocol) for name in ("a", "b")]


@pytest.fixture
def path(tmp_path, measurements):
    file = tmp_path / "out.json"
    save_measurements(file, measurements)
    return file


def test_what_was_written_is_read_again(path, measurements) -> None:
    for before, after in zip(measurements, load_measurements(path), strict=True):
        assert after.to_json() == before.to_json()
        assert (after.launches[1].latency_ns == before.launches[1].latency_ns).all()
        assert after.latency(0.5) == before.latency(0.5)


def test_a_new_document_replaces_the_samples_of_the_old_one(path, measurements) -> None:
    save_measurements(path, measurements[:1])
    assert [file.name for file in (path.parent / "out.samples").iterdir()] == ["0.npz"]
    assert len(load_measurements(path)) == 1


def test_failures_and_verdicts_are_in_the_document(tmp_path, measurements) -> None:
    file = tmp_path / "out.json"
    failed = [{"model": "c", "runtime": {}, "reason": "no such file"}]
    save_measurements(file, measurements, failed=failed, bounds=[LatencyBound(0.5, 1.0)])
    document = json.loads(file.read_text())
    assert document["failed"] == failed
    assert [entry["bounds"][0]["verdict"] for entry in document["measurements"]] == ["PASS", "PASS"]


def test_a_document_without_measurements_is_read(tmp_path) -> None:
    save_measurements(tmp_path / "out.json", [])
    assert load_measurements(tmp_path / "out.json") == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(schema="moo.profile/9"), "expected schema 'moo.profile/1', got 'moo.profile/9'"),
        (lambda d: d["measurements"][0].update(samples="../x.npz"), "outside its folder"),
        (lambda d: d["measurements"][0].update(samples="out.samples/7.npz"), "cannot be read"),
        (lambda d: d["measurements"][0].update(samples=None), "has no raw samples"),
        (lambda d: d["measurements"][0].pop("launches"), "KeyError: 'launches'"),
        (lambda d: d["measurements"][0]["runtime"].update(batch=0), "batch must be"),
        (lambda d: d["protocol"].update(launches="two"), "launches must be"),
    ],
)
def test_a_document_changed_by_hand_is_refused_in_one_line(path, change, message) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    with pytest.raises(DocumentError, match=message) as caught:
        load_measurements(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "{", "null", '{"a": 1}'])
def test_what_is_no_document_is_refused(tmp_path, text) -> None:
    file = tmp_path / "x.json"
    file.write_text(text)
    with pytest.raises(DocumentError, match="expected"):
        load_measurements(file)


def test_a_pickle_among_the_samples_is_not_loaded(path) -> None:
    np.savez(path.parent / "out.samples" / "0.npz", latency_ns_0=np.array([print], dtype=object))
    with pytest.raises(DocumentError):
        load_measurements(path)


def test_a_missing_file_is_named(tmp_path) -> None:
    with pytest.raises(DocumentError, match="cannot be read"):
        load_measurements(tmp_path / "none.json")
