"""Measurements in a file: what is written is read again, and what is broken is named."""

import json
from dataclasses import replace
from pathlib import Path

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


def samples(path) -> list:
    """The files of samples that the document names."""
    return [path.parent / entry["samples"] for entry in json.loads(path.read_text())["measurements"]]


def test_what_was_written_is_read_again(path, measurements) -> None:
    for before, after in zip(measurements, load_measurements(path), strict=True):
        assert after.to_json() == before.to_json()
        assert (after.launches[1].latency_ns == before.launches[1].latency_ns).all()
        assert after.latency(0.5) == before.latency(0.5)


def test_a_new_document_replaces_the_samples_of_the_old_one(path, measurements) -> None:
    save_measurements(path, measurements[:1])
    assert len(list((path.parent / "out.samples").iterdir())) == 1
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
        (lambda d: d.update(environment={}), "expected one with an identity"),
        (lambda d: d.update(environment=[]), "expected one with an identity"),
        (lambda d: d["environment"].update(identity=3), "expected one with an identity"),
        (lambda d: d.update(measurements={"a": 1}), "measurements: expected a list"),
        (lambda d: d.update(measurements=[1]), "TypeError"),
        (lambda d: d.update(protocol=[]), "TypeError"),
        (lambda d: d["measurements"][0].update(model="a"), "TypeError"),
        (lambda d: d["measurements"][0]["model"].update(path=5), "path: expected str, got 5"),
        (lambda d: d["measurements"][0].update(launches=[3, 4]), "AttributeError|TypeError"),
        (lambda d: d["measurements"][0]["launches"][0].update(calls_per_block="x"), "calls_per_block"),
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
    np.savez(samples(path)[0], latency_ns_0=np.array([print], dtype=object))
    with pytest.raises(DocumentError):
        load_measurements(path)


def test_a_missing_file_is_named(tmp_path) -> None:
    with pytest.raises(DocumentError, match="cannot be read"):
        load_measurements(tmp_path / "none.json")


@pytest.mark.parametrize("content", ["", "cut", "damaged", "array"])
def test_broken_samples_are_named_in_one_line(path, content) -> None:
    file = samples(path)[0]
    whole = file.read_bytes()
    if content == "array":
        with file.open("wb") as opened:
            np.save(opened, np.arange(3))
    else:
        middle = len(whole) // 2
        damaged = whole[: middle - 9] + bytes(9) + whole[middle:]
        file.write_bytes({"": b"", "cut": whole[:middle], "damaged": damaged}[content])
    with pytest.raises(DocumentError) as caught:
        load_measurements(path)
    assert "\n" not in str(caught.value)


def test_files_that_no_document_named_are_left_alone(path, measurements) -> None:
    own = path.parent / "out.samples" / "own.npz"
    own.write_text("a person's")
    (path.parent / "kept.npz").write_text("a person's")
    document = json.loads(path.read_text())
    document["measurements"][0]["samples"] = "out.samples/../kept.npz"
    path.write_text(json.dumps(document))
    save_measurements(path, [])
    assert own.read_text() == (path.parent / "kept.npz").read_text() == "a person's"


def test_another_row_leaves_the_files_of_those_before_as_they_are(path, measurements) -> None:
    before = [(file.name, file.stat().st_ino, file.stat().st_mtime_ns) for file in samples(path)]
    save_measurements(path, [*measurements, measurements[0]])
    after = [(file.name, file.stat().st_ino, file.stat().st_mtime_ns) for file in samples(path)]
    assert after[:2] == before
    assert len(load_measurements(path)) == 3


class Killed(BaseException):
    """In the place of a signal that no handler sees."""


@pytest.mark.parametrize("n_files", range(5))
def test_killed_at_any_moment_it_leaves_a_whole_document(path, n_files, monkeypatch) -> None:
    left, put, remove = iter(range(n_files)), Path.replace, Path.unlink
    fake = FakeProfiler(latency_s=[0.002] * 80)
    new = [fake.measure(name, Runtime()) for name in ("c", "d", "e")]

    def killed_before_putting(self, target):
        if next(left, None) is None:
            raise Killed
        return put(self, target)

    def killed_before_removing(self, missing_ok=False):
        if not self.name.startswith("."):
            raise Killed
        remove(self, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "replace", killed_before_putting)
    monkeypatch.setattr(Path, "unlink", killed_before_removing)
    with pytest.raises(Killed):
        save_measurements(path, new)
    monkeypatch.undo()
    names = [measurement.model.path for measurement in load_measurements(path)]
    assert names == (["a", "b"] if n_files < 4 else ["c", "d", "e"])


def test_broken_samples_are_written_anew(path, measurements) -> None:
    samples(path)[0].write_bytes(b"")
    save_measurements(path, measurements)
    assert len(load_measurements(path)) == 2


@pytest.mark.parametrize("what", ["file", "link", "dangling"])
def test_samples_go_into_a_folder_of_ours_alone(tmp_path, measurements, what) -> None:
    folder = tmp_path / "out.samples"
    if what == "file":
        folder.write_text("a person's")
    else:
        (tmp_path / "there").mkdir()
        folder.symlink_to(tmp_path / ("there" if what == "link" else "nowhere"))
    with pytest.raises(DocumentError, match="expected a folder for the samples"):
        save_measurements(tmp_path / "out.json", measurements)
    assert not (tmp_path / "out.json").exists()


def test_a_folder_that_is_gone_is_one_line(tmp_path, measurements) -> None:
    with pytest.raises(DocumentError, match="cannot be written .No such file or directory"):
        save_measurements(tmp_path / "gone" / "out.json", measurements)


def test_a_full_disk_is_one_line_and_the_old_document_stays(path) -> None:
    resource = pytest.importorskip("resource")
    fake = FakeProfiler(latency_s=[0.002] * 20_000)
    new = [fake.measure("c", Runtime())]
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(DocumentError, match="cannot be written"):
            save_measurements(path, new)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [measurement.model.path for measurement in load_measurements(path)] == ["a", "b"]


def test_measurements_of_several_machines_or_protocols_are_refused(tmp_path, measurements) -> None:
    other = {"identity": {"fake": False}, "state": {}}
    for change in ({"environment": other}, {"protocol": Protocol(launches=3)}, {"environment": {}}):
        with pytest.raises(ValueError, match="measurements: expected"):
            save_measurements(tmp_path / "out.json", [measurements[0], replace(measurements[1], **change)])
    assert list(tmp_path.iterdir()) == []


def test_each_has_the_state_and_the_reason_that_it_had(tmp_path, measurements) -> None:
    environments = [dict(found.environment) | {"state": {"load": i}} for i, found in enumerate(measurements)]
    reasons = (None, "the runtime has none")
    changed = [
        replace(found, environment=environment, profile_reason=reason)
        for found, environment, reason in zip(measurements, environments, reasons, strict=True)
    ]
    save_measurements(tmp_path / "out.json", changed)
    loaded = load_measurements(tmp_path / "out.json")
    assert [found.environment for found in loaded] == environments
    assert [found.profile_reason for found in loaded] == [*reasons]
