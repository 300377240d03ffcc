"""What a person types and reads; scripted profilers, and one run of real models."""

import json
from pathlib import Path

import numpy as np
import pytest

from moo.cli import _compare_models, _profilers, main
from moo.cli._feeds import feeds_from
from moo.errors import InputError
from profilers import (
    FakeProfiler,
    LaunchError,
    ModelError,
    Protocol,
    Runtime,
    load_measurements,
    save_measurements,
)
from tests.profilers import models

FACTORS = {"a": 1.0, "b": 1.2, "c": 0.8, "same": 1.0}


def latency_s(path: str, runtime: Runtime, launch: int) -> np.ndarray:
    """Calls of 1 ms a row times the model's factor, each launch a little different."""
    shift = np.random.default_rng([launch, *path.encode()]).standard_normal()
    return np.full(40, 1e-3 * runtime.batch * FACTORS[Path(path).stem] * np.exp(0.001 * shift))


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def scripted(monkeypatch) -> dict[str, FakeProfiler]:
    """The profilers that are used, by provider, and those that are to be used."""
    used: dict[str, FakeProfiler] = {}

    def profiler_for(provider: str, time_limit_s: float) -> FakeProfiler:
        fake = FakeProfiler(latency_s=latency_s, providers=("cpu", "torch"))
        return used.setdefault(provider, fake)

    monkeypatch.setattr(_profilers, "profiler_for", profiler_for)
    return used


def save(
    name: str, *stems: str, runtimes: tuple[Runtime, ...] = (Runtime(),), n: int = 5, cpu: str = "x"
) -> str:
    """Write a file of measurements on the machine `cpu` and return its path."""
    fake = FakeProfiler(latency_s=latency_s)
    measured = [
        fake.measure(f"{stem}.onnx", runtime, protocol=Protocol(launches=n))
        for stem in stems
        for runtime in runtimes
    ]
    for measurement in measured:
        identity = {"cpu_model": cpu, "fake": True}
        object.__setattr__(measurement, "environment", {"identity": identity, "state": {}, "fingerprint": ""})
    save_measurements(name, measured)
    return name


def compare(*words: str) -> int:
    with pytest.raises(SystemExit) as exit_:
        main(["compare", *words])
    assert isinstance(exit_.value.code, int)
    return exit_.value.code


def refused(capsys, *words: str) -> str:
    """The one line on stderr with which the words are refused."""
    assert compare(*words) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    assert streams.err.startswith("moo: error: ")
    assert streams.err.count("\n") == 1
    return streams.err


# models


def test_models_are_compared_with_the_first(scripted, capsys) -> None:
    assert compare("a.onnx", "b.onnx", "same.onnx", "c.onnx") == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if ".onnx" in line]
    assert [line[0] for line in lines] == ["a.onnx", "b.onnx", "same.onnx", "c.onnx"]
    assert [word for line in lines for word in line if word in ("reference", "SLOWER", "SAME", "FASTER")] == [
        "reference",
        "SLOWER",
        "SAME",
        "FASTER",
    ]


def test_the_file_has_all_that_was_found(scripted) -> None:
    assert compare("a.onnx", "b.onnx", "--json", "o.json", "--seed", "3") == 0
    document = json.loads(Path("o.json").read_text())
    assert document["schema"] == "moo.compare/1"
    (comparison,) = document["comparisons"]
    assert (comparison["verdict"], comparison["how"], document["seed"]) == ("SLOWER", "paired", 3)
    assert comparison["effect"]["low"] < 1.2 < comparison["effect"]["high"]
    blocks = document["measurements"][1]["block_medians_s"]
    assert (len(blocks), sum(map(len, blocks))) == (comparison["n_launches"][1], comparison["n_rounds"])
    assert document["failed"] == []
    beside = load_measurements(document["profile"])  # with the raw samples
    assert [found.model.path for found in beside] == ["a.onnx", "b.onnx"]
    assert sum(len(found.latency_ns) for found in beside[1].launches) >= sum(map(len, blocks))


def test_an_option_given_once_is_for_all_and_else_one_each(scripted, capsys) -> None:
    found = _compare_models._option_sets(["a.b=1", "a.b=2", "c.d=x"], 2)
    assert found == [{"a.b": "1", "c.d": "x"}, {"a.b": "2", "c.d": "x"}]
    said = refused(capsys, "a.onnx", "b.onnx", "c.onnx", "--option", "a.b=1", "--option", "a.b=2")
    assert "--option: expected a.b once, or once for each of 3 models" in said


def test_slower_is_a_failure_only_where_asked_for(scripted) -> None:
    assert compare("a.onnx", "b.onnx", "--fail-if-slower") == 1
    assert compare("a.onnx", "c.onnx", "same.onnx", "--fail-if-slower") == 0


def test_a_model_that_cannot_be_measured_is_named_and_the_others_are_compared(monkeypatch, capsys) -> None:
    broken = FakeProfiler(errors={0: LaunchError("killed by SIGKILL")}, providers=("torch",))
    fake = FakeProfiler(latency_s=latency_s)
    monkeypatch.setattr(_profilers, "profiler_for", lambda name, limit: broken if name == "torch" else fake)
    assert compare("a.onnx", "b.onnx", "broken.pt2", "--mode", "quick", "--json", "o.json") == 1
    streams = capsys.readouterr()
    assert "moo: broken.pt2, provider torch could not be measured: killed by SIGKILL\n" in streams.err
    assert "slower" in streams.out
    assert json.loads(Path("o.json").read_text())["failed"][0]["reason"] == "killed by SIGKILL"


@pytest.mark.parametrize(("error", "status"), [(ModelError("no graph"), 2), (LaunchError("died"), 1)])
def test_with_fewer_than_two_left_there_is_one_line(error, status, monkeypatch, capsys) -> None:
    broken = FakeProfiler(errors={0: error})
    monkeypatch.setattr(_profilers, "profiler_for", lambda name, limit: broken)
    assert compare("a.onnx", "b.onnx") == status
    streams = capsys.readouterr()
    assert streams.out == ""
    assert streams.err == f"moo: error: fewer than two could be measured: {error}\n"


def test_one_value_is_for_all_models_and_several_are_one_each(scripted, capsys) -> None:
    assert compare("a.onnx", "a.onnx", "--batch", "1,2", "--threads", "4", "--json", "o.json") == 0
    document = json.loads(Path("o.json").read_text())
    runtimes = [entry["runtime"] for entry in document["measurements"]]
    assert [(run["batch"], run["intra_op_num_threads"]) for run in runtimes] == [(1, 4), (2, 4)]
    assert [entry["label"] for entry in document["measurements"]] == ["a.onnx, batch 1", "a.onnx, batch 2"]
    assert "The batches differ" in capsys.readouterr().out


def test_a_model_with_itself_is_the_same(scripted, capsys) -> None:
    assert compare("same.onnx", "same.onnx", "--fail-if-slower") == 0
    out = capsys.readouterr().out
    assert "same.onnx #2" in out
    assert " SAME " in out


def test_each_kind_of_model_has_its_usual_provider(scripted) -> None:
    assert compare("a.onnx", "b.pt2") == 0
    assert set(scripted) == {"cpu", "torch"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["a.onnx"], "expected two or more models or files to compare, got 1"),
        (["a.onnx", "b.json"], "got model a.onnx and file b.json"),
        (["a.onnx", "b.txt"], "got 'b.txt'"),
        (["a.onnx", "b.onnx", "--threads", "1,2,3"], "--threads: expected one value, or one for each of 2"),
        (["a.onnx", "b.onnx", "--threads", "0"], "--threads: expected numbers above 0, got '0'"),
        (["a.onnx", "b.onnx", "--batch", "many"], "--batch: expected numbers above 0, got 'many'"),
        (["a.onnx", "b.onnx", "--mode", "slow"], "--mode: expected one of quick, standard, rigorous"),
        (["a.onnx", "b.onnx", "--provider", "npu"], "--provider: provider must be one of cpu"),
        (["a.onnx", "b.onnx", "--time-limit", "0"], "--time-limit: expected seconds above 0"),
        (["a.onnx", "b.onnx", "--dim", "n"], "--dim: expected NAME=SIZE, got 'n'"),
        (["a.onnx", "b.onnx", "--json", "nowhere/o.json"], "--json: folder nowhere does not exist"),
        (["a.json", "b.json", "--mode", "quick"], "--mode: expected only with models"),
        (["a.json", "b.json"], "a.json: cannot be read"),
    ],
)
def test_wrong_input_is_one_line(words, said, scripted, capsys) -> None:
    assert said in refused(capsys, *words)


# files


def test_files_are_compared_by_equal_runtimes(capsys) -> None:
    twice = (Runtime(), Runtime(batch=8))
    save("a.json", "a", runtimes=twice)
    save("b.json", "b", runtimes=(*twice, Runtime(batch=64)))
    assert compare("a.json", "b.json", "--json", "o.json") == 0
    document = json.loads(Path("o.json").read_text())
    pairs = [(item["reference"], item["candidate"], item["verdict"]) for item in document["comparisons"]]
    assert pairs == [
        (f"a.json: a.onnx, batch {batch}", f"b.json: b.onnx, batch {batch}", "SLOWER") for batch in (1, 8)
    ]
    assert document["without_partner"] == ["b.json: b.onnx, batch 64"]
    assert "b.json: b.onnx, batch 64: not compared" in capsys.readouterr().out


def test_files_of_one_launch_get_no_verdict_but_the_reason(capsys) -> None:
    assert compare(save("a.json", "a", n=1), save("c.json", "c"), "--fail-if-slower") == 0
    out = capsys.readouterr().out
    assert "AMBIGUOUS" in out
    assert "No verdict for c.json: the spread between launches needs at least 2 of each, got 1 and 5" in out


def test_an_upgrade_between_two_files_of_one_machine_is_told_beside_the_verdict(capsys) -> None:
    names = [save(name, "a") for name in ("old.json", "new.json")]
    for name, version in zip(names, ("1.30", "1.31"), strict=True):
        document = json.loads(Path(name).read_text())
        document["environment"]["software"] = {"onnxruntime": version}
        Path(name).write_text(json.dumps(document))
    assert compare(*names) == 0
    out = capsys.readouterr().out
    assert "SAME" in out
    assert "onnxruntime changed (1.30, 1.31) between the files" in out


def test_files_of_two_machines_get_a_table_and_no_verdict(capsys) -> None:
    here, there = save("here.json", "a", "b", cpu="one"), save("there.json", "a", cpu="two")
    assert compare(here, there, "--json", "o.json") == 0
    out = capsys.readouterr().out
    assert "No verdict between machines" in out
    assert "they differ in cpu_model" in out
    assert "slower" not in out
    header, *rows = (line for line in out.splitlines() if "[" in line and "Median" not in line)
    assert header.index("one [") < header.index("two [")
    assert [row.split()[0] for row in rows] == ["a.onnx", "b.onnx"]
    document = json.loads(Path("o.json").read_text())
    assert document["comparisons"] == []
    assert len(document["environments"]) == 2
    assert compare(here, there, "--fail-if-slower") == 1
    assert "nothing could be compared" in capsys.readouterr().err


def test_within_one_of_several_machines_there_are_verdicts(capsys) -> None:
    files = [save("1.json", "a", cpu="one"), save("2.json", "a", cpu="two"), save("3.json", "b", cpu="one")]
    assert compare(*files, "--json", "o.json", "--fail-if-slower") == 1
    (comparison,) = json.loads(Path("o.json").read_text())["comparisons"]
    assert (comparison["reference"], comparison["candidate"]) == ("1.json", "3.json")
    assert "No verdict between machines" in capsys.readouterr().out


def test_files_with_nothing_in_common_are_refused(capsys) -> None:
    files = [save("a.json", "a"), save("b.json", "b", runtimes=(Runtime(batch=2),))]
    assert "expected measurements with the same runtime, got none" in refused(capsys, *files)


def test_a_file_without_measurements_is_refused(capsys) -> None:
    save("a.json", "a")
    save_measurements("b.json", [])
    assert "b.json holds no measurement" in refused(capsys, "a.json", "b.json")


# what is fed


def test_inputs_are_read_from_what_is_typed() -> None:
    feeds = feeds_from(["sequence=128", "n=2"], ["input:0=1x3x4:float32", "scalar=:int64", "y=2"], None, 7)
    assert feeds.dims == {"sequence": 128, "n": 2}
    assert feeds.shapes == {"input:0": (1, 3, 4), "scalar": (), "y": (2,)}
    assert feeds.dtypes == {"input:0": "float32", "scalar": "int64"}
    assert feeds.seed == 7


def test_arrays_are_read_from_a_file() -> None:
    np.savez("inputs.npz", x=np.arange(3), text=np.array(["a", "b"]))
    arrays = feeds_from([], [], Path("inputs.npz"), 0).arrays
    assert arrays["x"].tolist() == [0, 1, 2]
    assert arrays["text"].tolist() == ["a", "b"]


@pytest.mark.parametrize(
    ("dims", "inputs", "said"),
    [
        (["=3"], [], "--dim: expected NAME=SIZE, got '=3'"),
        (["n=0"], [], "--dim: expected sizes above 0, got '0' in 'n=0'"),
        (["n=1", "n=2"], [], "--dim: expected each name once, got 'n' 2 times"),
        ([], ["x"], "--input: expected NAME=SHAPE:DTYPE, got 'x'"),
        ([], ["x=1x-3"], "--input: expected sizes above 0, got '-3' in 'x=1x-3'"),
        ([], ["x=1x3:float99"], "got 'float99' in 'x=1x3:float99'"),
    ],
)
def test_a_malformed_input_is_refused_by_name(dims, inputs, said) -> None:
    with pytest.raises(InputError) as refusal:
        feeds_from(dims, inputs, None, 0)
    assert said in str(refusal.value)


@pytest.mark.parametrize("content", [None, b"", b"no arrays", b"PK\x03\x04 broken"])
def test_a_file_that_holds_no_arrays_is_refused(content) -> None:
    file = Path("inputs.npz")
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InputError, match="--npz: .*inputs.npz"):
        feeds_from([], [], file, 0)


def test_objects_in_a_file_and_single_arrays_are_refused() -> None:
    np.savez("inputs.npz", x=np.array([{}], dtype=object))
    np.save("array.npy", np.ones(3))
    for name in ("inputs.npz", "array.npy"):
        with pytest.raises(InputError, match="--npz: expected a file of numpy.savez"):
            feeds_from([], [], Path(name), 0)


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(InputError, match="--seed"):
        feeds_from([], [], None, -1)


def test_real_models_are_compared(capsys) -> None:
    models.chain(Path("small.onnx"), width=64, depth=1)
    models.chain(Path("large.onnx"), width=64, depth=60)
    assert compare("small.onnx", "large.onnx", "--mode", "quick", "--batch", "2", "--json", "o.json") == 0
    document = json.loads(Path("o.json").read_text())
    assert document["comparisons"][0]["effect"]["value"] > 1
    assert document["measurements"][0]["model"]["bytes"] > 0
    assert "large.onnx" in capsys.readouterr().out
