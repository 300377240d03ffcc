"""The identity of a model covers all of its files, and only files it may have."""

import hashlib

import pytest

from profilers import ModelError, ModelFile
from tests.profilers import models


def test_a_model_in_one_file_has_the_hash_and_size_of_the_file(tmp_path) -> None:
    path = models.chain(tmp_path / "m.onnx")
    identity = ModelFile.read(path)
    assert identity.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert identity.bytes == path.stat().st_size
    assert identity.path == str(path)


def test_external_data_counts_in_size_and_hash(tmp_path) -> None:
    path = models.with_external_data(tmp_path / "m.onnx")
    data = tmp_path / "weights.bin"
    before = ModelFile.read(path)
    assert before.bytes == path.stat().st_size + data.stat().st_size
    content = bytearray(data.read_bytes())
    content[0] ^= 1
    data.write_bytes(content)
    after = ModelFile.read(path)
    assert after.bytes == before.bytes
    assert after.sha256 != before.sha256


def test_the_hash_with_external_data_can_be_checked_by_hand(tmp_path) -> None:
    path = models.with_external_data(tmp_path / "m.onnx")
    files = (path, tmp_path / "weights.bin")
    lines = "".join(hashlib.sha256(file.read_bytes()).hexdigest() + "\n" for file in files)
    assert ModelFile.read(path).sha256 == hashlib.sha256(lines.encode()).hexdigest()


def test_the_hash_does_not_depend_on_where_the_model_lies(tmp_path) -> None:
    hashes = set()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        hashes.add(ModelFile.read(models.with_external_data(tmp_path / name / f"{name}.onnx")).sha256)
    assert len(hashes) == 1


def test_missing_external_data_is_named(tmp_path) -> None:
    path = models.with_external_data(tmp_path / "m.onnx")
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(ModelError, match=r"external data 'weights.bin' is missing"):
        ModelFile.read(path)


@pytest.mark.parametrize(
    "location", ["../secret.bin", "a/../../secret.bin", "/etc/hostname", "C:\\secret.bin", "..\\x"]
)
def test_external_data_outside_the_folder_is_refused(tmp_path, location) -> None:
    (tmp_path / "secret.bin").write_bytes(b"secret")
    (tmp_path / "model").mkdir()
    path = models.point_external_data_to(models.with_external_data(tmp_path / "model" / "m.onnx"), location)
    with pytest.raises(ModelError, match="outside the model's folder"):
        ModelFile.read(path)


def test_a_link_that_leads_out_of_the_folder_is_refused(tmp_path) -> None:
    (tmp_path / "model").mkdir()
    path = models.with_external_data(tmp_path / "model" / "m.onnx")
    (tmp_path / "model" / "weights.bin").rename(tmp_path / "elsewhere.bin")
    (tmp_path / "model" / "weights.bin").symlink_to(tmp_path / "elsewhere.bin")
    with pytest.raises(ModelError, match="outside the model's folder"):
        ModelFile.read(path)


def test_a_model_and_its_data_may_both_be_links_into_one_store(tmp_path) -> None:
    for name in ("store", "model"):
        (tmp_path / name).mkdir()
    stored = models.with_external_data(tmp_path / "store" / "m.onnx")
    for name in ("m.onnx", "weights.bin"):
        (tmp_path / "model" / name).symlink_to(tmp_path / "store" / name)
    assert ModelFile.read(tmp_path / "model" / "m.onnx").sha256 == ModelFile.read(stored).sha256


def test_a_missing_file_is_refused(tmp_path) -> None:
    with pytest.raises(ModelError, match=r"none.onnx: cannot be read \(No such file"):
        ModelFile.read(tmp_path / "none.onnx")


def test_a_folder_is_refused(tmp_path) -> None:
    with pytest.raises(ModelError, match="Is a directory"):
        ModelFile.read(tmp_path)


@pytest.mark.parametrize(
    "content", [b"this is a text, and no model at all\n" * 9, b"\x00" * 100, b"\xff" * 100]
)
def test_a_file_that_is_not_onnx_is_refused(tmp_path, content) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="expected an ONNX file"):
        ModelFile.read(path)


def test_an_empty_file_is_refused(tmp_path) -> None:
    path = tmp_path / "m.onnx"
    path.touch()
    with pytest.raises(ModelError, match="expected an ONNX graph with outputs"):
        ModelFile.read(path)


def test_a_model_cut_short_is_refused_wherever_it_was_cut(tmp_path) -> None:
    whole = models.chain(tmp_path / "m.onnx").read_bytes()
    for length in range(1, len(whole) - 10, 7):
        path = tmp_path / "cut.onnx"
        path.write_bytes(whole[:length])
        with pytest.raises(ModelError, match="expected an ONNX"):
            ModelFile.read(path)
