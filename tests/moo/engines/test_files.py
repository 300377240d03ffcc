"""The files of a trial that was evaluated elsewhere."""

import hashlib

import pytest

from moo.engines._files import digests, fetch
from moo.errors import LostError


def hashed(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def there() -> dict[str, bytes]:
    return {hashed(data): data for data in (b"one", b"two")}


def test_each_file_is_put_where_it_belongs_and_equal_ones_are_fetched_once(tmp_path, there) -> None:
    asked: list[str] = []

    def get(sha256: str) -> bytes:
        asked.append(sha256)
        return there[sha256]

    names = {"t/0/a": hashed(b"one"), "t/0/deep/b": hashed(b"one"), "t/0/c": hashed(b"two")}
    fetch(names, tmp_path, tmp_path / "t" / "0", get)
    assert digests(tmp_path) == names
    assert sorted(asked) == sorted(there)


@pytest.mark.parametrize("name", ["../outside", "t/1/other", "/tmp/absolute", "t/0/../../up"])
def test_nothing_is_written_outside_the_trials_folder(tmp_path, there, name) -> None:
    root = tmp_path / "root"
    with pytest.raises(LostError, match="outside the trial's folder"):
        fetch({name: hashed(b"one")}, root, root / "t" / "0", there.__getitem__)
    assert not list(tmp_path.rglob("*"))


def test_what_arrives_changed_is_refused(tmp_path) -> None:
    with pytest.raises(LostError, match="t/0/a: arrived changed"):
        fetch({"t/0/a": hashed(b"one")}, tmp_path, tmp_path / "t" / "0", lambda sha256: b"other")
    assert digests(tmp_path) == {}


def test_a_folder_without_files_has_no_digests(tmp_path) -> None:
    (tmp_path / "empty").mkdir()
    assert digests(tmp_path) == {}
