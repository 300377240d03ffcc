"""Bundles as a stranger may have written them: real files; the machine that runs the model is scripted."""

import ast
import contextlib
import dataclasses
import hashlib
import io
import json
import os
import resource
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moo import bundle as bundles
from moo.bundle import Bundle, Described, Found, Model, Promise, Sample, Tensor, Tolerance, Verdict
from moo.bundle._arrays import read_arrays, write_arrays
from moo.bundle._json import parsed
from moo.bundle._outputs import difference, tolerance_of
from moo.bundle._promises import held
from moo.errors import InputError, MeasureError, SweepError
from moo.evaluation import Estimate
from moo.metrics import BUILT_IN, Metric

RUNTIME = {
    "provider": "cpu",
    "intra_op_num_threads": 1,
    "graph_optimization_level": "all",
    "allow_spinning": False,
    "enable_arena": True,
    "batch": 2,
    "options": {},
    "precision": "fp32",
}
X = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
INPUTS = (Tensor("x", "float32", ("batch", 3)),)
OUTPUTS = (Tensor("y", "float32", ("batch", 3)),)
CONTENT = b"a model of a scripted machine"
HERE = {"fingerprint": "here", "identity": {"cpu_model": "A"}, "software": {"onnxruntime": "1"}}


class Scripted:
    """A machine on which every model doubles its input; what it measures is given."""

    def __init__(self, **changes) -> None:
        self.runs = 0
        self.factor, self.fails, self.data = 2.0, False, ()
        self.found = Found(
            metrics={"latency_p50": Estimate(1.0e-3, 0.99e-3, 1.01e-3)},
            n_launches=5,
            fingerprint="here",
            environment=HERE,
        )
        vars(self).update(changes)

    def describe(self, path: Path) -> Described:
        content = path.read_bytes()
        sha256 = hashlib.sha256(content).hexdigest()
        return Described(sha256=sha256, bytes=len(content), data=self.data, inputs=INPUTS, outputs=OUTPUTS)

    def run(self, path, runtime, inputs):
        self.runs += 1
        if self.fails:
            raise MeasureError("the process died")
        return {"y": inputs["x"] * np.float32(self.factor)}

    def measure(self, path, runtime, protocol, sample):
        return self.found


def promise(name="latency_p50", *ends, n=5, metric=None) -> Promise:
    value, low, high = ends or (1.0e-3, 0.98e-3, 1.02e-3)
    estimate = Estimate(value, low, high, None if value is not None else "refused")
    return Promise(metric=metric or BUILT_IN[name], estimate=estimate, source="search", n_launches=n)


def sound(**changes) -> Bundle:
    whole = {
        "candidate": {"study": "s", "trial": 3, "task": {"name": "t"}, "params": {"width": 4}},
        "model": Model(
            path="model/model.onnx", sha256=hashlib.sha256(CONTENT).hexdigest(), bytes=len(CONTENT)
        ),
        "runtime": RUNTIME,
        "inputs": INPUTS,
        "outputs": OUTPUTS,
        "sample": Sample(
            source="made", n_calls=2, n_rows=2, tolerances={"y": tolerance_of("float32", "fp32")}
        ),
        "promises": (promise(), promise("accuracy", 0.9, 0.8, 0.95, n=None)),
        "protocol": {"mode": "quick", "launches": 1},
        "environment": HERE,
        "tags": ("single_launch",),
    }
    return Bundle(**(whole | changes))


def written(folder: Path, bundle: Bundle | None = None, **options) -> Path:
    source = folder.with_name(f"{folder.name}-source")
    source.write_bytes(CONTENT)
    bundles.write(
        folder,
        bundle or sound(),
        model_files={"model/model.onnx": source},
        sample_inputs={"x": X},
        expected_outputs={"y": 2 * X},
        **options,
    )
    return folder


@pytest.fixture
def folder(tmp_path) -> Path:
    return written(tmp_path / "b")


def record_of(folder: Path) -> dict:
    return json.loads((folder / "bundle.json").read_text())


def rewrite(folder: Path, change) -> None:
    """Change bundle.json as one could who wants it believed."""
    record = record_of(folder)
    change(record)
    (folder / "bundle.json").write_text(json.dumps(record))


def rehashed(folder: Path) -> None:
    """State the hashes of the files as they are now."""

    def change(record):
        for file in record["files"]:
            content = (folder / file["path"]).read_bytes()
            file["sha256"], file["bytes"] = hashlib.sha256(content).hexdigest(), len(content)

    rewrite(folder, change)


def outcomes(folder: Path, machine: Scripted | None = None, **options) -> dict[str, str]:
    found = bundles.verify(folder, machine=machine or Scripted(), **options)
    return {check.name: str(check.outcome) for check in found.checks}


def lines_of(folder: Path, name: str, machine: Scripted | None = None) -> str:
    checks = bundles.verify(folder, machine=machine or Scripted()).checks
    return " ".join(line for check in checks if check.name == name for line in check.lines)


# a sound one


def test_a_sound_bundle_passes_every_check_and_keeps_its_promises(folder) -> None:
    found = bundles.verify(folder, machine=Scripted())
    assert [str(check.outcome) for check in found.checks] == ["PASSED"] * 5
    assert [one.verdict for one in found.promises] == [Verdict.KEPT, Verdict.NOT_COMPARABLE]
    assert not found.is_broken
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["schema"] == "moo.verify/1"


def test_what_is_read_is_what_was_written(folder) -> None:
    found, sha256 = bundles.read(folder)
    assert dataclasses.replace(found, files=()) == sound()
    assert sha256 == hashlib.sha256((folder / "bundle.json").read_bytes()).hexdigest()
    assert {file.path for file in found.files} == {
        *("README.md", "runtime.json", "serve.py"),
        *("sample_inputs.npz", "expected_outputs.npz", "model/model.onnx"),
    }


def test_without_a_machine_the_files_alone_are_checked_and_nothing_is_run(folder) -> None:
    found = bundles.verify(folder)
    assert [str(check.outcome) for check in found.checks] == ["PASSED"] * 3 + ["NOT CHECKED"] * 2
    assert found.promises == ()


def test_the_script_is_no_part_of_what_is_run(folder) -> None:
    (folder / "serve.py").write_text("raise SystemExit(9)")
    rehashed(folder)
    assert set(outcomes(folder).values()) == {"PASSED"}


# changed


@pytest.mark.parametrize(
    "path", ["model/model.onnx", "runtime.json", "expected_outputs.npz", "sample_inputs.npz", "README.md"]
)
def test_a_flipped_byte_in_any_file_is_told_and_the_model_is_not_run(folder, path) -> None:
    content = bytearray((folder / path).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / path).write_bytes(bytes(content))
    machine = Scripted()
    found = bundles.verify(folder, machine=machine)
    assert found.is_broken
    assert "was changed: its SHA-256" in found.checks[0].lines[0]
    assert path in found.checks[0].lines[0]
    assert machine.runs == 0
    assert found.promises == ()


def test_a_missing_file_and_one_of_another_size_are_told(folder) -> None:
    (folder / "README.md").unlink()
    (folder / "serve.py").write_text("x")
    lines = lines_of(folder, "files")
    assert "README.md: is missing" in lines
    assert "serve.py: has 1 bytes, expected" in lines


def test_a_runtime_edited_with_its_hash_is_told_by_what_bundle_json_says(folder) -> None:
    (folder / "runtime.json").write_text(json.dumps({**RUNTIME, "intra_op_num_threads": 64}))
    rehashed(folder)
    assert outcomes(folder)["runtime"] == "BROKEN"
    assert "differ in 'intra_op_num_threads'" in lines_of(folder, "runtime")


def test_expected_outputs_edited_with_their_hash_are_told_by_the_outputs(folder) -> None:
    write_arrays(folder / "expected_outputs.npz", {"y": 3 * X})
    rehashed(folder)
    assert outcomes(folder) == {
        **dict.fromkeys(("files", "runtime", "sample", "model"), "PASSED"),
        "outputs": "BROKEN",
    }


def test_a_swapped_model_with_its_hash_in_files_is_told_by_its_identity(folder) -> None:
    (folder / "model" / "model.onnx").write_bytes(b"another model")
    rehashed(folder)
    assert outcomes(folder)["model"] == "BROKEN"


def test_a_swapped_model_with_every_hash_edited_is_told_by_the_pin_alone(folder) -> None:
    pin = bundles.read(folder)[1]
    (folder / "model" / "model.onnx").write_bytes(b"another model")
    rehashed(folder)
    other = {"sha256": hashlib.sha256(b"another model").hexdigest(), "bytes": 13}
    rewrite(folder, lambda record: record["model"].update(other))
    assert set(outcomes(folder).values()) == {"PASSED"}  # as the documentation says
    with pytest.raises(InputError, match="--sha256: expected bundle.json with"):
        bundles.verify(folder, machine=Scripted(), sha256=pin)


def test_external_data_that_the_bundle_does_not_list_are_told(folder) -> None:
    assert "its data are ['model/more.bin'], expected []" in lines_of(
        folder, "model", Scripted(data=("more.bin",))
    )


def test_a_model_that_computes_something_else_or_dies_here_is_broken(folder) -> None:
    assert outcomes(folder, Scripted(factor=2.01))["outputs"] == "BROKEN"
    assert outcomes(folder, Scripted(factor=2.0 + 1e-4))["outputs"] == "PASSED"
    assert lines_of(folder, "outputs", Scripted(fails=True)) == "the process died"


def test_extra_files_are_said_and_nothing_else(folder) -> None:
    (folder / "notes.txt").write_text("mine")
    (folder / "model" / "\x1b[2J.bin").write_bytes(b"")
    found = bundles.verify(folder, machine=Scripted())
    assert not found.is_broken
    assert found.notes[0] == r"not part of the bundle, and not looked at: 'notes.txt', 'model/\x1b[2J.bin'"


@pytest.mark.parametrize("path", ["README.md", "model/model.onnx"])
def test_a_symbolic_link_in_place_of_a_file_is_told_though_it_holds_the_same(folder, path) -> None:
    shutil.copyfile(folder / path, folder.parent / "elsewhere")
    (folder / path).unlink()
    (folder / path).symlink_to(folder.parent / "elsewhere")
    assert "is a symbolic link" in lines_of(folder, "files")


def test_a_linked_folder_and_a_pipe_are_told(folder) -> None:
    (folder / "model").rename(folder.parent / "model")
    (folder / "model").symlink_to(folder.parent / "model")
    (folder / "README.md").unlink()
    os.mkfifo(folder / "README.md")
    lines = lines_of(folder, "files")
    assert "model/model.onnx: model is a symbolic link" in lines
    assert "README.md: is no file" in lines


# bundle.json of a stranger


@pytest.mark.parametrize(
    "path",
    [
        *("../x", "/etc/passwd", "a/../../x", "model\\..\\x", "C:/x", "a//b", "", ".", "a/.", "a/.. /b"),
        *("a\nb", "x" * 500, "~/x:y"),
    ],
)
@pytest.mark.parametrize("where", ["files", "model", "sample", "data"])
def test_a_path_outside_the_folder_is_refused_before_it_is_opened(folder, path, where) -> None:
    def change(record):
        if where == "files":
            record["files"][0]["path"] = path
        elif where == "data":
            record["model"]["data"] = [path]
        else:
            record[where]["path" if where == "model" else "inputs"] = path

    rewrite(folder, change)
    with pytest.raises(InputError, match="expected a relative path inside the bundle's folder"):
        bundles.verify(folder, machine=Scripted())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "what cannot be read"),
        (b"{", "what cannot be read"),
        (b"[]", "expected a JSON object, got \\[\\]"),
        (b"\xff\xfe{}", "what cannot be read"),
        (b'{"a": 1, "a": 2}', "the key 'a' twice"),
        (b'{"a": NaN}', "the number NaN"),
        (b'{"a": -Infinity}', "the number -Infinity"),
        (b'{"a": ' + b"9" * 10_000 + b"}", "what cannot be read"),
        (b'{"a": "\\ud800"}', "what cannot be read"),
        (b"[" * 200_000, "nested too deep"),
        (b'{"a":' * 200_000, "nested too deep"),
        (b'{"schema": "moo.bundle/2"}', "expected 'moo.bundle/1', got 'moo.bundle/2'"),
        (b'{"schema": "moo.bundle/1"}', "candidate: expected an object, got nothing"),
    ],
)
def test_json_that_is_none_of_a_bundle_is_one_line(folder, content, said) -> None:
    (folder / "bundle.json").write_bytes(content)
    with pytest.raises(InputError, match=said) as raised:
        bundles.verify(folder, machine=Scripted())
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 500


def test_no_folder_no_bundle_a_linked_and_a_huge_bundle_json_are_refused(folder, tmp_path) -> None:
    with pytest.raises(InputError, match="there is none"):
        bundles.verify(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="expected a file, got none"):
        bundles.verify(tmp_path / "empty")
    (tmp_path / "empty" / "bundle.json").symlink_to(folder / "bundle.json")
    with pytest.raises(InputError, match="got a symbolic link"):
        bundles.verify(tmp_path / "empty")
    with (folder / "bundle.json").open("r+b") as file:
        file.truncate(2**35)  # sparse
    with pytest.raises(InputError, match="expected at most 16777216 bytes"):
        bundles.verify(folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda r: r["files"].append(r["files"][0]), "each file once"),
        (lambda r: r["files"].append({**r["files"][0], "path": "BUNDLE.json"}), "each file once"),
        (lambda r: r["files"][0].update(bytes=-1), "a whole number from 0"),
        (lambda r: r["files"][0].update(bytes=True), "a whole number from 0"),
        (lambda r: r["files"][0].update(sha256="0" * 63), "64 hexadecimal digits"),
        (lambda r: r.update(files=[]), "'model/model.onnx' among them"),
        (lambda r: r.update(inputs=[]), "inputs: expected one at least"),
        (lambda r: r["inputs"].append(r["inputs"][0]), "each name once"),
        (lambda r: r["inputs"][0].update(dtype="object"), "dtype: expected one of"),
        (lambda r: r["inputs"][0].update(shape=[-1]), "shape: expected sizes of 0 or more"),
        (lambda r: r["inputs"][0].update(shape=[2**70]), "shape: expected sizes"),
        (lambda r: r["sample"].update(n_calls=10**9), "n_calls: expected a whole number from 1 to 64"),
        (
            lambda r: r["sample"]["tolerances"]["y"].update(absolute=1e9),
            "absolute: expected from 0 to 0.0001",
        ),
        (lambda r: r["sample"]["tolerances"].clear(), "y: expected an object, got nothing"),
        (lambda r: r["promises"][0]["metric"].update(name="a b"), "metric name 'a b'"),
        (lambda r: r["promises"][0]["metric"].update(dimension="money"), "dimension: expected one of"),
        (lambda r: r["promises"][0]["metric"].update(direction="up"), "direction: expected one of"),
        (lambda r: r["promises"][0].update(low=9), "expected low <= value <= high"),
        (lambda r: r["promises"][0].update(value=10**400), "a number that fits 64 bits"),
        (lambda r: r["protocol"].update(launches=10**6), "launches: expected a whole number from 0 to 100"),
        (lambda r: r["protocol"].update(time_budget_s=1e9), "expected at most 600 seconds"),
        (lambda r: r["runtime"].update(provider="../x"), "provider: expected one of cpu, cuda, tensorrt"),
        (lambda r: r["runtime"].update(intra_op_num_threads=10**6), "from 1 to 1024"),
        (lambda r: r["runtime"].update(enable_arena=1), "enable_arena: expected true or false"),
        (lambda r: r["runtime"].update(options={"a.b": 1}), "options: expected texts by name"),
        (lambda r: r["environment"].update(identity=[]), "identity: expected an object"),
    ],
)
def test_a_field_that_cannot_be_is_refused_in_one_line(folder, change, said) -> None:
    rewrite(folder, change)
    with pytest.raises(InputError, match=said) as raised:
        bundles.verify(folder, machine=Scripted())
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("custom_ops_library", "ops.so", "loads code"),
        ("trt_extra_plugin_lib_paths", "x.so", "loads code"),
        ("gpu_external_alloc", "1234", "loads code"),
        ("session.model_external_initializers_file_folder_path", "x", "names a file"),
        ("ep.context_enable", "1", "names a file"),
        ("a.b", "/etc/passwd", "names a file"),
        ("a.b", "..\\x", "names a file"),
    ],
)
def test_options_that_load_code_or_name_files_are_refused_by_reader_and_writer(
    folder, tmp_path, name, value, said
) -> None:
    rewrite(folder, lambda record: record["runtime"].update(options={name: value}))
    with pytest.raises(InputError, match=said):
        bundles.verify(folder, machine=Scripted())
    with pytest.raises(InputError, match=said):
        written(tmp_path / "c", sound(runtime={**RUNTIME, "options": {name: value}}))
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    "name",
    [
        *("session.set_denormal_as_zero", "session.disable_prepacking", "gpu_mem_limit", "io", "graph"),
        *("session.use_ort_model_bytes_directly", "trt_profile_min_shapes", "cudnn_conv_algo_search"),
    ],
)
def test_plain_options_are_let_be(name) -> None:
    assert bundles.refused_option(name, "1") is None


def test_absurd_shapes_allocate_nothing_and_are_told_by_the_sample(folder) -> None:
    rewrite(folder, lambda record: record["inputs"][0].update(shape=[2**62, 2**62]))
    assert outcomes(folder)["sample"] == "BROKEN"


# arrays


def test_arrays_come_back_as_they_were(tmp_path) -> None:
    arrays = {
        "scalar": np.float64(3.0),
        "empty": np.zeros((0, 3), np.int8),
        "text": np.array([["a", "\u00e9\u4e2d"], ["", "x"]]),
        "turned": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "truth": np.array([True, False]),
        "half": np.array([np.inf, -0.0, np.nan], np.float16),
    }
    write_arrays(tmp_path / "a.npz", arrays)
    back = read_arrays(tmp_path / "a.npz")
    assert set(back) == set(arrays)
    for name, array in arrays.items():
        assert back[name].dtype == np.asarray(array).dtype
        np.testing.assert_array_equal(back[name], array)


def zipped(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def npy(header: str) -> bytes:
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def test_hostile_archives_are_one_line_each(tmp_path) -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    header = "{{'descr': {}, 'fortran_order': False, 'shape': {}}}"
    cases = {
        "objects": {"x.npy": buffer.getvalue()},
        "huge": {"x.npy": npy(header.format("'<f8'", "(10000000000000000000,)"))},
        "negative": {"x.npy": npy(header.format("'<f8'", "(-1,)"))},
        "record": {"x.npy": npy(header.format("[('a', '<f8')]", "()")) + bytes(8)},
        "nested": {"x.npy": npy("(" * 9000)},
        "code": {"x.npy": npy("__import__('os').system('false')")},
        "other member": {"x.txt": b"hello"},
        "no header": {"x.npy": b""},
        "short": {"x.npy": npy(header.format("'<f8'", "(3,)")) + bytes(8)},
        "long": {"x.npy": npy(header.format("'<f8'", "()")) + bytes(800)},
        "of nothing": {"x.npy": npy(header.format("'<U0'", "(1000000000000,)"))},
    }
    for name, members in cases.items():
        path = zipped(tmp_path / "x.npz", members)
        with pytest.raises(InputError, match="the bundle is damaged") as raised:
            read_arrays(path)
        assert "\n" not in str(raised.value), name


def test_a_truncated_archive_and_a_compressed_one_are_refused(tmp_path) -> None:
    path = tmp_path / "x.npz"
    write_arrays(path, {"x": X})
    whole = path.read_bytes()
    for length in (0, 1, 30, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match="the bundle is damaged"):
            read_arrays(path)
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(10**6))
    with pytest.raises(InputError, match="the compressed member"):
        read_arrays(zipped(path, {"x.npy": buffer.getvalue()}, zipfile.ZIP_DEFLATED))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_an_archive_with_any_bytes_changed_is_read_or_refused(tmp_path, data) -> None:
    path = tmp_path / "x.npz"
    write_arrays(path, {"x": X, "s": np.array(["a", "b"])})
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(content))
    try:
        found = read_arrays(path)
    except InputError as error:
        assert "the bundle is damaged" in str(error)
    else:
        assert all(array.dtype.kind in "fiubU" for array in found.values())


# any bundle.json


def places(value, path=()):
    """Every place in a JSON value."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    st.sampled_from(["..", "/etc/passwd", "\x1b[2J", "float32", "search", "[bold]", "0" * 64]),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=3),
    st.integers(10**15, 10**25),
)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_bundle_json_says_verify_answers_or_raises_its_named_error(folder, data) -> None:
    original = (folder / "bundle.json").read_text()
    record = json.loads(original)
    for _ in range(data.draw(st.integers(1, 3))):
        spots = [place for place in places(record) if place]
        place = data.draw(st.sampled_from(spots))
        inner = record
        for key in place[:-1]:
            inner = inner[key]
        if data.draw(st.booleans()):
            inner[place[-1]] = data.draw(ODD)
        else:
            del inner[place[-1]]
    try:
        (folder / "bundle.json").write_text(json.dumps(record))
        try:
            found = bundles.verify(folder, machine=Scripted())
        except InputError as error:
            assert str(error)
            assert len(str(error)) < 2000
        else:
            json.dumps(found.to_json(), allow_nan=False)
    finally:
        (folder / "bundle.json").write_text(original)


@given(st.binary(max_size=200))
def test_any_bytes_are_json_or_refused(content) -> None:
    with contextlib.suppress(InputError):
        assert isinstance(parsed(content, "it"), dict)


# outputs


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=8),
    st.floats(0, 0.1),
    st.floats(0, 0.1),
    st.data(),
)
def test_a_difference_is_told_just_where_the_formula_says(values, relative, absolute, data) -> None:
    expected = np.array(values)
    got = expected + np.array(
        data.draw(st.lists(st.floats(-1e5, 1e5), min_size=len(values), max_size=len(values)))
    )
    scale = max(abs(value) for value in values)
    is_off = any(
        abs(ours - theirs) > absolute * scale + relative * abs(theirs)
        for ours, theirs in zip(got.tolist(), values, strict=True)
    )
    found = difference(expected, got, Tolerance(relative, absolute), scale=scale)
    assert (found is not None) == is_off


def test_types_shapes_and_what_is_not_finite_must_be_the_same() -> None:
    loose = Tolerance(1.0, 1.0)
    a = np.array([1.0, np.nan, np.inf])
    assert difference(a, a.copy(), loose, scale=1) is None
    assert "not finite" in str(difference(a, np.array([1.0, np.inf, np.nan]), loose, scale=1))
    assert "not finite" in str(difference(a, np.array([1.0, np.nan, -np.inf]), loose, scale=1))
    assert "not finite" in str(difference(a, np.array([np.nan, np.nan, np.inf]), loose, scale=1))
    assert "shape [1], expected [3]" in str(difference(a, a[:1], loose, scale=1))
    assert "type float32" in str(difference(a, a.astype(np.float32), loose, scale=1))
    assert difference(np.array(["a"]), np.array(["a"], "<U9"), loose, scale=0) is None
    assert "1 of 2 values differ" in str(difference(np.array([1, 2]), np.array([1, 3]), loose, scale=2))
    assert difference(np.zeros((0, 2)), np.zeros((0, 2)), loose, scale=0) is None


def test_a_lower_precision_is_held_less_tightly_and_whole_numbers_exactly() -> None:
    kinds = ["fp32", "fp16", "bf16", "int8-static:per-channel"]
    absolute = [tolerance_of("float32", kind).absolute for kind in kinds]
    assert absolute == sorted(absolute)
    assert tolerance_of("float32", "unheard of") == tolerance_of("float32", "fp32")
    assert tolerance_of("float16", "fp32") == tolerance_of("float32", "fp16")
    for dtype in ("int64", "bool", "str", "uint8"):
        assert tolerance_of(dtype, "int8-dynamic") == Tolerance(0.0, 0.0)


# promises


def found_here(name: str, *ends: float | None, n: int = 5) -> Found:
    estimate = Estimate(*ends, None if ends[0] is not None else "refused")  # type: ignore[arg-type]
    return Found(metrics={name: estimate}, n_launches=n, fingerprint="here", environment=HERE)


@pytest.mark.parametrize(
    ("name", "ends", "verdict"),
    [
        ("latency_p50", (1.03e-3, 1.021e-3, 1.04e-3), "BROKEN"),
        ("latency_p50", (1.03e-3, 1.019e-3, 1.04e-3), "KEPT"),
        ("latency_p50", (0.5e-3, 0.49e-3, 0.51e-3), "KEPT"),
        ("throughput", (1.03e-3, 1.021e-3, 1.04e-3), "KEPT"),
        ("throughput", (0.5e-3, 0.49e-3, 0.51e-3), "BROKEN"),
    ],
)
def test_broken_is_what_lies_wholly_beyond_on_the_worse_side(name, ends, verdict) -> None:
    assert held(promise(name), found_here(name, *ends), None).verdict == verdict


def test_a_metric_without_direction_is_broken_on_either_side() -> None:
    other = Metric(name="drift", stage="measured")
    for ends in ((2.0, 1.9, 2.1), (0.5, 0.4, 0.6)):
        one = promise("drift", 1.0, 0.9, 1.1, metric=other)
        assert held(one, found_here("drift", *ends), None).verdict == "BROKEN"


@pytest.mark.parametrize(
    ("n_promised", "n_found", "factor"), [(5, 5, 1.0), (1, 5, 1.25), (5, 4, 1.25), (1, 1, 1.25**2)]
)
def test_few_launches_widen_an_interval_by_a_quarter(n_promised, n_found, factor) -> None:
    one = promise("latency_p50", 1.0, 1.0, 1.0, n=n_promised)
    for share, verdict in ((0.999, "KEPT"), (1.001, "BROKEN")):
        low = share * factor
        found = found_here("latency_p50", low, low, low, n=n_found)
        assert held(one, found, None).verdict == verdict


@pytest.mark.parametrize(("share", "verdict"), [(0.999, "KEPT"), (1.001, "BROKEN")])
def test_the_time_to_load_is_held_loosely_however_many_launches_there_are(share, verdict) -> None:
    """Launches in a row find the file in the same place, on the disk or in memory."""
    one, low = promise("load_time", 1.0, 1.0, 1.0, n=20), share * 4
    assert held(one, found_here("load_time", low, low, low, n=20), None).verdict == verdict


def test_a_time_that_is_broken_beside_other_work_says_that_it_was() -> None:
    one, found = promise("latency_p50"), found_here("latency_p50", 9e-3, 8.9e-3, 9.1e-3)
    busy = held(one, dataclasses.replace(found, tags=("contended",)), None)
    assert (busy.verdict, held(one, found, None).reason) == ("BROKEN", "")
    assert "beside other work" in busy.reason
    kept = dataclasses.replace(found_here("latency_p50", 0.5e-3, 0.5e-3, 0.5e-3), tags=("contended",))
    assert held(one, kept, None).reason == ""


def test_the_time_to_load_is_not_held_where_other_work_took_the_processor() -> None:
    one, found = promise("load_time", 1.0, 1.0, 1.0), found_here("load_time", 9.0, 9.0, 9.0)
    busy = dataclasses.replace(found, tags=("contended", "imprecise"))
    assert held(one, found, None).verdict == "BROKEN"
    assert held(one, busy, None).verdict == "NOT COMPARABLE"


def test_the_size_of_the_file_is_the_same_or_broken_on_any_machine() -> None:
    one = promise("file_size", 100, 100, 100, n=None)
    assert held(one, found_here("file_size", 100, 100, 100), "cpu_model").verdict == "KEPT"
    assert held(one, found_here("file_size", 99, 99, 99), "cpu_model").verdict == "BROKEN"


def test_unknown_ends_are_not_told_apart_and_nothing_at_all_is_not_comparable() -> None:
    bounded = found_here("latency_p95", None, None, 9.0)
    assert held(promise("latency_p95", 1e-3, 1e-3, 1e-3), bounded, None).verdict == "KEPT"
    nothing = found_here("latency_p95", None, None, None)
    one = held(promise("latency_p95", 1e-3, 1e-3, 1e-3), nothing, None)
    assert (one.verdict, one.reason) == (Verdict.NOT_COMPARABLE, "nothing is known here: refused")
    one = held(promise("latency_p95", None, None, None), bounded, None)
    assert one.reason == "nothing is promised: refused"


def test_on_another_machine_it_says_what_it_is_here_and_why_it_is_another(folder) -> None:
    there = {"identity": {"cpu_model": "B"}, "software": {"onnxruntime": "2"}}
    base = Scripted().found
    machine = Scripted(found=dataclasses.replace(base, fingerprint="there", environment=there))
    found = bundles.verify(folder, machine=machine)
    assert found.promises[0].verdict == Verdict.NOT_COMPARABLE
    assert found.promises[0].reason == "another machine: cpu_model"
    assert found.promises[0].found == base.metrics["latency_p50"]
    assert not found.is_broken


def test_other_software_on_the_same_machine_is_a_note(folder) -> None:
    base = Scripted().found
    newer = {**HERE, "software": {"onnxruntime": "2"}}
    found = bundles.verify(folder, machine=Scripted(found=dataclasses.replace(base, environment=newer)))
    assert found.notes == ("onnxruntime was '1', is '2'",)


# the place


def test_it_is_there_whole_or_not_at_all(tmp_path, monkeypatch) -> None:
    def full(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(SweepError, match="No space left on device"):
        written(tmp_path / "b")
    assert [path.name for path in tmp_path.iterdir()] == ["b-source"]


def test_an_empty_folder_is_filled_and_one_with_files_is_refused(tmp_path) -> None:
    (tmp_path / "b").mkdir()
    written(tmp_path / "b")
    with pytest.raises(InputError, match="holds a bundle: choose another folder, or --overwrite"):
        written(tmp_path / "b")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="which holds other files"):
        written(tmp_path / "other", overwrite=True)
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "b")
    for name in ("file", "link"):
        with pytest.raises(InputError, match="expected a new folder"):
            written(tmp_path / name, overwrite=True)


def test_a_bundle_is_replaced_but_not_with_a_persons_own_files_in_it(tmp_path) -> None:
    folder = written(tmp_path / "b")
    (folder / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match=r"holds files that are not the bundle's, mine.txt"):
        written(folder, overwrite=True)
    (folder / "mine.txt").unlink()
    written(folder, sound(tags=("contended",)), overwrite=True)
    assert bundles.read(folder)[0].tags == ("contended",)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "b-source"]


def test_a_replacement_that_fails_leaves_the_old_one(tmp_path, monkeypatch) -> None:
    folder, plain = written(tmp_path / "b"), Path.rename
    before = (folder / "bundle.json").read_bytes()

    def fails_for_the_new(self, target):
        if Path(target) == folder and not self.name.endswith(".old"):
            raise OSError(5, "Input/output error")
        return plain(self, target)

    monkeypatch.setattr(Path, "rename", fails_for_the_new)
    with pytest.raises(SweepError, match="Input/output error"):
        written(folder, sound(tags=("contended",)), overwrite=True)
    assert (folder / "bundle.json").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "b-source"]


def cut_off_while_replacing(folder: Path) -> Path:
    """Leave what a writer leaves that is killed between its two renames."""
    return folder.rename(folder.with_name(f".{folder.name}.0123abcd.old"))


def test_a_bundle_moved_aside_by_a_writer_that_was_killed_is_told_by_the_reader_and_the_writer(
    folder,
) -> None:
    before = (folder / "bundle.json").read_bytes()
    aside = cut_off_while_replacing(folder)
    with pytest.raises(InputError, match=r"left the one before in .*/\.b\.0123abcd\.old"):
        bundles.verify(folder)
    with pytest.raises(InputError, match="rename it back, or --overwrite it"):
        written(folder)
    assert (aside / "bundle.json").read_bytes() == before


def test_replacing_a_bundle_that_was_moved_aside_leaves_the_new_one_alone(folder) -> None:
    cut_off_while_replacing(folder)
    others = [folder.with_name(name) for name in (".b.old", ".b.0123abcd.older", ".bb.0123abcd.old")]
    for other in others:
        other.mkdir()
    written(folder, sound(tags=("contended",)), overwrite=True)
    assert bundles.read(folder)[0].tags == ("contended",)
    left = {path.name for path in folder.parent.iterdir()}
    assert left == {"b", "b-source", *(other.name for other in others)}


def test_a_killed_writer_leaves_one_of_the_two_bundles_whole(folder) -> None:
    """For real: a process that dies between the renames, and the next one."""
    code = (
        "import os, sys; from pathlib import Path; from tests.moo.test_bundle import sound, written\n"
        "plain = Path.rename\n"
        "def dies(self, target):\n"
        "    plain(self, target); os._exit(9)\n"
        "Path.rename = dies\n"
        "written(Path(sys.argv[1]), sound(tags=('contended',)), overwrite=True)\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code, str(folder)], cwd=root)
    assert done.returncode == 9
    assert not folder.exists()
    with pytest.raises(InputError, match="left the one before in ") as raised:
        bundles.verify(folder)
    aside = Path(str(raised.value).rpartition(" in ")[2])
    assert bundles.read(aside)[0].tags == ("single_launch",)
    written(folder, sound(tags=("throttled",)), overwrite=True)
    assert bundles.read(folder)[0].tags == ("throttled",)
    assert not aside.exists()


@pytest.mark.parametrize("what", ["model", "sample"])
def test_a_disk_that_is_full_leaves_nothing_and_says_so(tmp_path, what) -> None:
    """For real: the system refuses files above a size."""
    source = tmp_path / "m"
    source.write_bytes(bytes(400_000 if what == "model" else 10))
    big = np.zeros((2, 50_000, 3), np.float32) if what == "sample" else X
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
    try:
        with pytest.raises(SweepError, match="cannot be written .File too large.: make room, or choose"):
            bundles.write(
                tmp_path / "b",
                sound(),
                model_files={"model/model.onnx": source},
                sample_inputs={"x": big},
                expected_outputs={"y": X},
            )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


# the script


@pytest.mark.parametrize("level", ["disable", "basic", "extended", "all"])
def test_the_script_has_the_settings_of_the_runtime_written_out(tmp_path, level) -> None:
    options = {"session.set_denormal_as_zero": "1", "gpu_mem_limit": "9'\"\n", "io": "bound"}
    runtime = {**RUNTIME, "provider": "cuda:3", "graph_optimization_level": level, "options": options}
    text = (written(tmp_path / "b", sound(runtime=runtime)) / "serve.py").read_text()
    calls = {ast.unparse(node) for node in ast.walk(ast.parse(text)) if isinstance(node, ast.expr)}
    assert repr({"session.intra_op.allow_spinning": "0", "session.set_denormal_as_zero": "1"}) in calls
    assert repr(("CUDAExecutionProvider", {"device_id": "3", "gpu_mem_limit": "9'\"\n"})) in calls
    name = "DISABLE_ALL" if level == "disable" else f"ENABLE_{level.upper()}"
    assert f"ort.GraphOptimizationLevel.ORT_{name}" in calls
    assert "@" not in text
    assert sum(bool(line.strip()) for line in text.splitlines()) <= 28


# the card


def test_the_card_says_what_is_not_known_and_leaves_markup_as_text(tmp_path) -> None:
    odd = {
        "study": "<script>alert(1)</script>",
        "trial": 3,
        "task": {"name": "t|x"},
        "params": {"a_b": "[x](y)\n# z"},
        "constraints": [{"text": "latency_p50 <= 1 ms", "holds": False}],
        "is_on_front": False,
    }
    folder = written(tmp_path / "b", sound(candidate=odd))
    card = (folder / "README.md").read_text()
    assert "<script>" not in card
    assert r"| a\_b | \[x\](y) \# z |" in card
    assert "## Licence\n\nUnknown: nobody told moo one." in card
    assert r"latency\_p50 \<= 1 ms: **violated**" in card
    assert "| `latency_p50` | 1 ms \\[0.98, 1.02\\] | search | 5 |" in card
    assert "not on the front of its study" in card
    assert "`moo confirm` measures the front again" in card


def test_the_public_names_are_sorted_and_there() -> None:
    constants_first = sorted(
        bundles.__all__, key=lambda name: (not name.isupper(), not name[0].isupper(), name)
    )
    assert list(bundles.__all__) == constants_first
    assert all(hasattr(bundles, name) for name in bundles.__all__)
