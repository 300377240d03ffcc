"""`moo verify` as a person types it: real bundles on real ONNX Runtime; times scripted where they count."""

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from moo import bundle as bundles
from moo.bundle._arrays import write_arrays
from moo.cli._bundle_machine import ThisMachine
from moo.cli._bundle_model import batches, described, given_calls, made_calls
from moo.cli._bundle_output import print_verification
from moo.errors import InputError, MeasureError
from profilers import FakeProfiler, ModelFile, OnnxRuntimeProfiler, environment
from tests.cli.shipping import KINDS, number_of, record_of, sweep
from tests.profilers import models


class Scripted(FakeProfiler):
    """Scripted times of the real model, with its real outputs, on this machine or another one."""

    is_here = True

    def measure(self, model_path, runtime, **options):
        found = super().measure(model_path, runtime, **options)
        here = environment() if self.is_here else found.environment
        return dataclasses.replace(found, model=ModelFile.read(model_path), environment=here)

    def run(self, model_path, runtime, inputs):
        session = onnxruntime.InferenceSession(model_path, providers=["CPUExecutionProvider"])
        outputs = session.run(None, dict(inputs))
        return dict(zip([item.name for item in session.get_outputs()], outputs, strict=True))


@pytest.fixture(scope="module")
def shipped(tmp_path_factory) -> Path:
    """A folder with a bundle of each kind."""
    from moo.cli import main

    folder = sweep(tmp_path_factory.mktemp("shipped"))
    for kind in KINDS:
        with pytest.raises(SystemExit) as left:
            main(["bundle", str(folder / "out"), str(number_of(folder, kind)), "--out", str(folder / kind)])
        assert not left.value.code
    return folder


@pytest.fixture
def bundled(shipped, tmp_path) -> Callable[[str], Path]:
    """Copies the bundle of a kind, for a test to do with what it likes."""

    def copy(kind: str) -> Path:
        return Path(shutil.copytree(shipped / kind, tmp_path / kind))

    return copy


def scripted(monkeypatch, profiler: FakeProfiler) -> None:
    monkeypatch.setattr("moo.cli._profilers.profiler_for", lambda provider, time_limit_s: profiler)


def rehashed(folder: Path, change=lambda record: None) -> None:
    """State the hashes of the files as they are now, as one could who wants them believed."""
    record = record_of(folder)
    change(record)
    for file in record["files"]:
        content = (folder / file["path"]).read_bytes()
        file["sha256"], file["bytes"] = hashlib.sha256(content).hexdigest(), len(content)
    (folder / "bundle.json").write_text(json.dumps(record))


def promised(folder: Path, name: str) -> dict:
    return next(one for one in record_of(folder)["promises"] if one["metric"]["name"] == name)


# sound bundles, for real


@pytest.mark.parametrize("kind", KINDS)
def test_files_and_outputs_of_every_kind_hold(moo, bundled, kind) -> None:
    folder = bundled(kind)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    done = moo("verify", str(folder), "--no-measure")
    assert done.status == 0, done.out
    assert done.out.count("PASSED") == 5
    assert "no promise was held against anything: --no-measure" in done.out
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("kind", ["int8", "batch8", "external"])
def test_what_is_measured_here_for_real_is_told_beside_the_promise(moo, bundled, kind) -> None:
    folder = bundled(kind)
    done = moo("verify", str(folder), "--json")
    record = json.loads(done.out)
    assert record["schema"] == "moo.verify/1"
    assert record["n_launches"] == 5
    assert record["fingerprint"]["found"] == record["fingerprint"]["promised"]
    found = {one["metric"]: one for one in record["promises"]}
    assert found["file_size"]["verdict"] == found["peak_memory"]["verdict"] == "KEPT"
    assert found["accuracy"]["verdict"] == "NOT COMPARABLE"
    assert found["latency_p50"]["verdict"] in ("KEPT", "BROKEN")  # on a machine that others use
    assert found["latency_p50"]["found"]["low"] > 0
    assert done.status == int(any(one["verdict"] == "BROKEN" for one in record["promises"]))


def test_a_bundle_holds_wherever_it_is_moved(moo, bundled, tmp_path, monkeypatch) -> None:
    folder = bundled("external").rename(tmp_path / "a folder [bold] of \u00e9t\u00e9")
    monkeypatch.chdir(folder)
    assert moo("verify", ".", "--no-measure").status == 0


# promises, on scripted times


def verdicts(moo, folder: Path, monkeypatch, factor: float, *words: str, **attributes) -> tuple[int, dict]:
    seconds = factor * promised(folder, "latency_p50")["value"]
    memory = promised(folder, "peak_memory")["value"]
    profiler = Scripted(latency_s=[seconds] * 500, peak_memory_bytes=int(memory), session_s=1e-4)
    vars(profiler).update(attributes)
    scripted(monkeypatch, profiler)
    done = moo("verify", str(folder), "--json", *words)
    found = json.loads(done.out)
    return done.status, {one["metric"]: one for one in found["promises"]}


def test_three_times_slower_is_broken_and_a_little_slower_than_one_launch_is_not(
    moo, bundled, monkeypatch
) -> None:
    folder = bundled("plain")
    status, found = verdicts(moo, folder, monkeypatch, 3.0)
    assert (status, found["latency_p50"]["verdict"]) == (1, "BROKEN")
    assert found["peak_memory"]["verdict"] == "KEPT"
    status, found = verdicts(moo, folder, monkeypatch, 1.1)
    assert found["latency_p50"]["verdict"] == "KEPT"


def test_on_another_machine_nothing_is_broken_by_being_slower(moo, bundled, monkeypatch) -> None:
    folder = bundled("plain")
    status, found = verdicts(moo, folder, monkeypatch, 3.0, is_here=False)
    assert (status, found["latency_p50"]["verdict"]) == (0, "NOT COMPARABLE")
    assert found["latency_p50"]["reason"].startswith("another machine: ")
    assert "cpu_model" in found["latency_p50"]["reason"]
    here = 3 * promised(folder, "latency_p50")["value"]
    assert found["latency_p50"]["found"]["value"] == pytest.approx(here, rel=0.01)
    assert found["file_size"]["verdict"] == "KEPT"


def test_the_mode_and_the_bundles_own_protocol_decide_how_often_it_is_launched(
    moo, bundled, monkeypatch
) -> None:
    folder = bundled("plain")
    scripted(monkeypatch, Scripted())
    for words, n in (((), 5), (("--mode", "quick"), 1), (("--mode", "standard"), 10)):
        assert json.loads(moo("verify", str(folder), "--json", *words).out)["n_launches"] == n


def test_the_table_says_what_was_promised_found_and_how_it_ended(moo, bundled, monkeypatch) -> None:
    folder = bundled("plain")
    scripted(monkeypatch, Scripted(latency_s=[1.0] * 500, peak_memory_bytes=2**20))
    done = moo("verify", str(folder))
    assert done.status == 1
    assert "Promised beside found here in 5 launches" in done.out
    row = next(line for line in done.out.splitlines() if line.lstrip().startswith("latency_p50"))
    assert row.split()[-3:] == ["1", "s", "BROKEN"]
    assert "BROKEN: latency_p50, " in done.out.splitlines()[-1]


@pytest.mark.parametrize("stage", ["run", "measure"])
def test_ctrl_c_tells_nothing_and_leaves_the_bundle_as_it_was(moo, bundled, monkeypatch, stage) -> None:
    folder, profiler = bundled("plain"), Scripted()
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    def stop(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(profiler, stage, stop)
    scripted(monkeypatch, profiler)
    done = moo("verify", str(folder), "--json")
    assert (done.status, done.out) == (130, "")
    assert done.err == "moo: stopped before everything was checked: nothing is told\n"
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


# tampered with


def test_a_flipped_byte_is_told_and_the_model_is_never_run(moo, bundled, monkeypatch) -> None:
    folder, profiler = bundled("external"), Scripted()
    scripted(monkeypatch, profiler)
    path = folder / "model" / "weights.bin"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(bytes(content))
    done = moo("verify", str(folder))
    assert done.status == 1
    assert "model/weights.bin: was changed: its SHA-256 is" in done.out
    assert profiler.n_calls == 0


def test_weights_swapped_with_every_hash_of_files_edited_are_told_by_the_model(moo, bundled) -> None:
    folder = bundled("external")
    path = folder / "model" / "weights.bin"
    path.write_bytes(bytes(len(path.read_bytes())))
    rehashed(folder)
    done = moo("verify", str(folder), "--no-measure")
    assert done.status == 1
    assert "BROKEN      model    its SHA-256 is" in done.out


def test_weights_swapped_with_all_hashes_edited_are_told_by_the_outputs_and_by_the_pin(moo, bundled) -> None:
    folder = bundled("external")
    pin = hashlib.sha256((folder / "bundle.json").read_bytes()).hexdigest()
    assert moo("verify", str(folder), "--no-measure", "--sha256", pin.upper()).status == 0
    path = folder / "model" / "weights.bin"
    path.write_bytes(bytes(len(path.read_bytes())))
    identity = ModelFile.read(folder / "model" / "model.onnx").sha256
    rehashed(folder, lambda record: record["model"].update(sha256=identity))
    done = moo("verify", str(folder), "--no-measure")
    assert done.status == 1
    assert "BROKEN      outputs  call 1, output 'y': 16 of 16 numbers are off by more than" in done.out
    pinned = moo("verify", str(folder), "--sha256", pin)
    assert pinned.status == 2
    assert "this is not the bundle that you were told of" in pinned.err


@pytest.mark.parametrize("location", ["../weights.bin", "/etc/hostname", "..\\weights.bin"])
def test_data_outside_the_folder_are_never_read_whatever_the_hashes_say(moo, bundled, location) -> None:
    folder = bundled("external")
    shutil.copyfile(folder / "model" / "weights.bin", folder / "weights.bin")
    models.point_external_data_to(folder / "model" / "model.onnx", location)
    rehashed(folder)
    done = moo("verify", str(folder))
    assert done.status == 1
    assert "is outside the model's folder" in done.out


def test_data_behind_a_symbolic_link_are_refused_listed_or_not(moo, bundled, tmp_path) -> None:
    folder = bundled("external")
    path = folder / "model" / "weights.bin"
    path.rename(tmp_path / "weights.bin")
    path.symlink_to(tmp_path / "weights.bin")
    assert "weights.bin is a symbolic link" in moo("verify", str(folder)).out

    def unlist(record):
        record["files"] = [file for file in record["files"] if "weights" not in file["path"]]
        record["model"]["data"] = []

    rehashed(folder, unlist)
    done = moo("verify", str(folder))
    assert done.status == 1
    assert "is outside the model's folder" in done.out


def test_a_script_that_was_swapped_is_not_run(moo, bundled, tmp_path) -> None:
    folder = bundled("plain")
    (folder / "serve.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    rehashed(folder)
    assert moo("verify", str(folder), "--no-measure").status == 0
    assert not (tmp_path / "ran").exists()


def test_libraries_of_operators_are_refused(moo, bundled) -> None:
    folder = bundled("plain")
    options = {"custom_ops_library": str(folder / "ops.so")}
    runtime = {**record_of(folder)["runtime"], "options": options}
    (folder / "runtime.json").write_text(json.dumps(runtime))
    rehashed(folder, lambda record: record.update(runtime=runtime))
    done = moo("verify", str(folder))
    assert done.status == 2
    assert "loads code: a bundle holds data alone" in done.err


@pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="needs to be without CUDA"
)
def test_a_provider_that_is_not_here_is_broken_with_the_reason(moo, bundled) -> None:
    folder = bundled("plain")
    runtime = {**record_of(folder)["runtime"], "provider": "cuda"}
    (folder / "runtime.json").write_text(json.dumps(runtime))
    rehashed(folder, lambda record: record.update(runtime=runtime))
    done = moo("verify", str(folder))
    assert done.status == 1
    assert "has no CUDAExecutionProvider" in done.out


def test_arrays_of_objects_are_never_unpickled(moo, bundled, tmp_path) -> None:
    folder = bundled("plain")

    class Runs:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    np.savez(folder / "sample_inputs.npz", x=np.array([Runs()], dtype=object))
    rehashed(folder)
    done = moo("verify", str(folder))
    assert done.status == 1
    assert "BROKEN      sample   sample_inputs.npz: expected arrays of numbers" in done.out
    assert not (tmp_path / "ran").exists()


def test_what_a_stranger_wrote_gives_no_orders_to_the_terminal(moo, bundled) -> None:
    folder = bundled("plain")
    (folder / "\x1b[31mnotes").write_text("")

    def change(record):
        record["candidate"]["study"] = "[bold]s\x1b[2J\r\n\u202e"
        record["promises"][1]["reason"] = "\x07"

    rehashed(folder, change)
    done = moo("verify", str(folder), "--no-measure")
    assert done.status == 0
    assert r"Bundle of [bold]s\x1b[2J\r\n\u202e, trial" in done.out
    assert not {"\x1b", "\x07", "\r", "\u202e"} & set(done.out)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_bundle_json_says_it_is_shown_or_refused(shipped, tmp_path, data) -> None:
    """On a machine that runs nothing, so that many can be tried."""
    folder = tmp_path / "b"
    if not folder.exists():
        shutil.copytree(shipped / "plain", folder)
    record = record_of(shipped / "plain")
    key = data.draw(st.sampled_from(sorted(record)))
    inner = data.draw(st.sampled_from([record, *(v for v in (record[key],) if isinstance(v, dict) and v)]))
    spot = data.draw(st.sampled_from(sorted(inner)))
    odd = st.one_of(st.none(), st.integers(), st.text(max_size=9), st.lists(st.text(max_size=3), max_size=2))
    inner[spot] = data.draw(odd)
    (folder / "bundle.json").write_text(json.dumps(record))
    machine = ThisMachine(profiler_for=lambda provider: Scripted())
    try:
        found = bundles.verify(folder, machine=machine)
    except InputError:
        return
    console = Console(width=160, color_system=None)
    with console.capture() as shown:
        print_verification(console, found)
    assert "\x1b" not in shown.get()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere"], "expected the folder of a bundle, got 'nowhere'"),
        (["."], "bundle.json: expected a file, got none"),
        (["plain", "--mode", "fast"], "--mode: expected one of quick, standard, rigorous, got 'fast'"),
        (["plain", "--mode", "quick", "--no-measure"], "--mode: expected only where something is measured"),
        (["plain", "--sha256", "abc"], "--sha256: expected 64 hexadecimal digits, got 'abc'"),
        (["plain", "--time-limit", "-1"], "--time-limit: expected seconds above 0, got -1"),
        (["broken"], "what cannot be read"),
        (["newer"], "expected 'moo.bundle/1', got 'moo.bundle/2'"),
    ],
)
def test_wrong_input_is_one_line_and_exit_status_2(moo, bundled, tmp_path, monkeypatch, words, said) -> None:
    bundled("plain")
    for name, content in (("broken", "{"), ("newer", '{"schema": "moo.bundle/2"}')):
        (tmp_path / name).mkdir()
        (tmp_path / name / "bundle.json").write_text(content)
    monkeypatch.chdir(tmp_path)
    done = moo("verify", *words)
    assert done.status == 2
    assert said in done.err
    assert done.err.count("\n") == 1
    assert done.out == ""


# the model's signature and inputs for it


def test_a_signature_is_as_onnxruntime_tells_it(tmp_path) -> None:
    path = models.mixed_types(tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(path)
    found = described(path)
    assert [tensor.name for tensor in found.inputs] == [item.name for item in session.get_inputs()]
    assert [list(tensor.shape or ()) for tensor in found.inputs] == [i.shape for i in session.get_inputs()]
    assert {tensor.name: tensor.dtype for tensor in found.inputs} == {
        "tokens": "int64",
        "mask": "bool",
        "half": "float16",
        "byte": "uint8",
        "scalar": "float32",
    }


def test_a_type_that_numpy_does_not_have_is_refused(tmp_path) -> None:
    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    kind = onnx.TensorProto.BFLOAT16
    path = models.write(
        tmp_path / "m.onnx", [node], [models.value("x", ["n"], kind)], [models.value("y", ["n"], kind)]
    )
    with pytest.raises(MeasureError, match="input 'x' is bfloat16: expected a tensor of a type that numpy"):
        described(path)


def test_made_inputs_are_the_same_for_the_same_seed_and_run(tmp_path) -> None:
    path = models.mixed_types(tmp_path / "m.onnx")
    inputs = described(path).inputs
    shown = {"tokens": [3, 7]}
    one, same, other = (made_calls(inputs, 3, shown, seed) for seed in (0, 0, 1))
    assert one["tokens"].shape == (4, 3, 7)
    assert one["scalar"].shape == (4,)
    assert all(np.array_equal(one[name], same[name]) for name in one)
    assert not np.array_equal(one["half"], other["half"])
    session = onnxruntime.InferenceSession(path)
    for call in range(4):
        session.run(None, {name: np.asarray(array[call]) for name, array in one.items()})
    write_arrays(tmp_path / "a.npz", one)


def test_rows_become_calls_and_calls_become_rows_again(tmp_path) -> None:
    inputs = described(models.chain(tmp_path / "m.onnx", width=2)).inputs
    rows = np.arange(20, dtype=np.float32).reshape(10, 2)
    calls = given_calls(inputs, 3, {"x": rows})
    assert calls["x"].shape == (3, 3, 2)
    np.testing.assert_array_equal(batches(inputs, 3, calls)["x"], rows[:9])
    few = given_calls(inputs, 4, {"x": rows[:3]})
    np.testing.assert_array_equal(few["x"], rows[[0, 1, 2, 0]][None])
    with pytest.raises(MeasureError, match=r"the task's inputs are \['z'\], the model's \['x'\]"):
        given_calls(inputs, 3, {"z": rows})


def test_this_machine_tells_in_one_line_what_it_cannot_do(tmp_path) -> None:
    machine = ThisMachine(profiler_for=lambda provider: OnnxRuntimeProfiler(time_limit_s=60))
    path = models.chain(tmp_path / "m.onnx")
    for record, said in (
        ({"provider": "cpu", "batch": 0}, "batch must be an integer of at least 1"),
        ({"provider": "npu", "batch": 1}, "provider must be one of"),
    ):
        with pytest.raises(MeasureError, match=said):
            machine.run(path, record, {"x": np.zeros((1, 4), np.float32)})
