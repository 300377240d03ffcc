"""Real PyTorch models in real child processes: archives and functions, as they are and compiled."""

import shutil
import sys
import warnings
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from profilers import Feeds, LaunchError, ModelError, Protocol, Runtime, TimeLimitError
from profilers._child._errors import UnusableModelError
from profilers._child._torch import tensor_of
from profilers._child._torch_models import load_model
from profilers._torch import TorchProfiler

torch = pytest.importorskip("torch", reason="torch is not installed")

BRIEF = Protocol(min_calls=72, max_calls=80, min_time_s=0.001, precision_budget_s=0.01, warmup_budget_s=0.05)
PROFILER = TorchProfiler()
EAGER = Runtime(provider="torch")


class Perceptron(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))

    def forward(self, x):
        return self.layers(x)


class Recurrent(torch.nn.Module):
    """Tokens and a mask go in, and a state that comes out again."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(10, 4)
        self.cell = torch.nn.LSTM(4, 3, batch_first=True)

    def forward(self, tokens, mask, hidden, cell):
        y, state = self.cell(self.embedding(tokens) * mask.unsqueeze(-1), (hidden, cell))
        return {"y": y, "state": state}


def seeded(module: type) -> torch.nn.Module:
    torch.manual_seed(0)
    return module().eval()


def export(path: Path, module: torch.nn.Module, inputs: tuple, axes: tuple | None = None) -> Path:
    """Writes an archive in which the given axis of each input is the batch."""
    batch = torch.export.Dim("batch", max=1024)
    shapes = None if axes is None else tuple({axis: batch} for axis in axes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of the weights that an LSTM keeps in a list
        torch.export.save(torch.export.export(module, inputs, dynamic_shapes=shapes), path)
    return path


@pytest.fixture(scope="module")
def archives(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("archives")


@pytest.fixture(scope="module")
def perceptron(archives) -> Path:
    return export(archives / "perceptron.pt2", seeded(Perceptron), (torch.zeros(2, 4),), (0,))


@pytest.fixture(scope="module")
def recurrent(archives) -> Path:
    tokens = torch.zeros(2, 5, dtype=torch.int64)
    inputs = (
        tokens,
        tokens == 0,
        torch.zeros(1, 2, 3),
        torch.zeros(1, 2, 3),
    )  # one tensor twice is one input
    return export(archives / "recurrent.pt2", seeded(Recurrent), inputs, (0, 0, 1, 1))


def write(folder: Path, program: str) -> str:
    """The function `make` in a file that starts with torch imported."""
    (folder / "model.py").write_text(f"import torch\n{program}")
    return f"{folder / 'model.py'}:make"


def function(body: str) -> str:
    """A function whose model is `forward`, so that a test shows no more than that."""
    return f"class M(torch.nn.Module):\n    {body}\n"


# archives


def test_outputs_of_an_archive_are_those_of_torch(perceptron) -> None:
    x = np.random.default_rng(0).standard_normal((7, 4)).astype(np.float32)
    outputs = PROFILER.run(perceptron, replace(EAGER, batch=3), {"x": x})
    with torch.inference_mode():
        expected = seeded(Perceptron)(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(outputs["output_0"], expected, rtol=1e-5, atol=1e-6)


def test_a_measurement_of_an_archive_tells_all_stages_and_the_size(perceptron) -> None:
    protocol = replace(BRIEF, profile_s=0.1)
    measurement = PROFILER.measure(perceptron, replace(EAGER, batch=3), protocol=protocol)
    (launch,) = measurement.launches
    assert min(launch.import_s, launch.session_s, launch.first_call_s) > 0
    assert launch.provider == "torch"
    assert measurement.model.parameters == 4 * 8 + 8 + 8 * 2 + 2
    assert measurement.model.bytes == perceptron.stat().st_size
    assert measurement.inputs[0] == {"name": "x", "dtype": "float32", "shape": [3, 4], "source": "made"}
    assert measurement.profile is None
    assert measurement.profile_reason == "only ONNX Runtime has a profile of its own"


def test_a_model_with_tokens_a_mask_and_state_is_measured(recurrent) -> None:
    measurement = PROFILER.measure(recurrent, replace(EAGER, batch=3), protocol=BRIEF)
    described = {entry["name"]: (entry["dtype"], entry["shape"]) for entry in measurement.inputs}
    assert described == {
        "tokens": ("int64", [3, 5]),
        "mask": ("bool", [3, 5]),
        "hidden": ("float32", [1, 3, 3]),
        "cell": ("float32", [1, 3, 3]),
    }
    assert measurement.assumed_dimensions == ()


def test_outputs_in_dicts_and_tuples_have_names_of_their_own(recurrent) -> None:
    generator = np.random.default_rng(0)
    inputs = {
        "tokens": generator.integers(0, 10, (3, 5)),
        "mask": generator.integers(0, 2, (3, 5), bool),
        "hidden": generator.standard_normal((1, 3, 3)).astype(np.float32),
        "cell": generator.standard_normal((1, 3, 3)).astype(np.float32),
    }
    outputs = PROFILER.run(recurrent, replace(EAGER, batch=3), inputs)
    with torch.inference_mode():
        expected = seeded(Recurrent)(*(torch.from_numpy(array) for array in inputs.values()))
    assert list(outputs) == ["y", "state_0", "state_1"]
    for name, tensor in zip(outputs, (expected["y"], *expected["state"]), strict=True):
        np.testing.assert_allclose(outputs[name], tensor.numpy(), rtol=1e-5, atol=1e-6)


def test_a_fixed_batch_must_be_the_one_asked_for(tmp_path) -> None:
    path = export(tmp_path / "fixed.pt2", seeded(Perceptron), (torch.zeros(2, 4),))
    assert PROFILER.run(path, replace(EAGER, batch=2), {"x": np.ones((4, 4), np.float32)})
    with pytest.raises(ModelError, match=r"no input takes a batch of 3, got 'x' \[2, 4\]"):
        PROFILER.measure(path, replace(EAGER, batch=3), protocol=BRIEF)


def test_an_input_of_another_shape_is_refused_in_one_line(perceptron) -> None:
    with pytest.raises(ModelError, match="input 'x' must have shape") as caught:
        PROFILER.run(perceptron, EAGER, {"x": np.ones((2, 5), np.float32)})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("n_missing", [100, 5000])  # without 100 bytes, an archive inside it is the last
def test_a_part_of_an_archive_is_refused(perceptron, tmp_path, n_missing) -> None:
    (tmp_path / "part.pt2").write_bytes(perceptron.read_bytes()[:-n_missing])
    with pytest.raises(ModelError, match=r"expected a \.pt2 archive .*, got something else or a part of one"):
        PROFILER.measure(tmp_path / "part.pt2", EAGER, protocol=BRIEF)


def test_another_zip_file_is_refused(tmp_path) -> None:
    with zipfile.ZipFile(tmp_path / "other.pt2", "w") as archive:
        archive.writestr("a/archive_format", "pt2")
    with pytest.raises(ModelError, match=r"torch\.export\.load fails with .*: export it again") as caught:
        PROFILER.measure(tmp_path / "other.pt2", EAGER, protocol=BRIEF)
    assert "\n" not in str(caught.value)


def test_an_archive_with_machine_code_is_refused_before_torch_reads_it(perceptron, tmp_path) -> None:
    path = shutil.copy(perceptron, tmp_path / "code.pt2")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("code/data/aotinductor/model/model.so", b"")
    with pytest.raises(
        ModelError, match="expected an archive of weights and operators, got one with machine"
    ):
        PROFILER.measure(path, EAGER, protocol=BRIEF)


def test_an_archive_whose_examples_are_pickled_objects_is_not_unpickled(perceptron, tmp_path) -> None:
    path, witness = tmp_path / "pickled.pt2", tmp_path / "witness"
    torch.save((Toucher(witness),), tmp_path / "examples.pt")
    with zipfile.ZipFile(perceptron) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            is_examples = "sample_inputs" in name
            new.writestr(name, (tmp_path / "examples.pt").read_bytes() if is_examples else old.read(name))
    with pytest.raises(ModelError, match="got one with pickled objects: export it without"):
        PROFILER.measure(path, EAGER, protocol=BRIEF)
    assert not witness.exists()


class Toucher:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


# functions


def test_a_function_gives_the_model_and_its_inputs(tmp_path) -> None:
    body = "def forward(self, x, *rest): return x + rest[0].sum() + rest[1]"
    examples = "(torch.zeros(2, 3), torch.zeros(2, 1), torch.tensor(0.0))"
    model = write(tmp_path, function(body) + f"def make(): return M(), {examples}\n")
    measurement = PROFILER.measure(model, replace(EAGER, batch=4), protocol=BRIEF)
    shapes = {entry["name"]: entry["shape"] for entry in measurement.inputs}
    assert shapes == {"x": [4, 3], "rest_0": [4, 1], "rest_1": []}
    assert measurement.model.path == model
    assert measurement.model.bytes == (tmp_path / "model.py").stat().st_size


def test_every_type_is_run_and_scalars_go_to_every_batch(tmp_path) -> None:
    body = "def forward(self, **x): return {**x, 'brain': x['half'].bfloat16()}"
    names = {"tokens": "int64", "mask": "bool", "half": "float16", "wide": "uint16", "byte": "int8"}
    examples = ", ".join(f"{name}=torch.zeros(2, dtype=torch.{dtype})" for name, dtype in names.items())
    model = write(tmp_path, function(body) + f"def make(): return M(), dict({examples}, s=torch.zeros(()))\n")
    inputs = {name: np.array([0, 1, 1], dtype) for name, dtype in names.items()}
    outputs = PROFILER.run(model, replace(EAGER, batch=3), inputs | {"s": np.array(0.5, np.float32)})
    assert {name: outputs[name].dtype for name in names} == {name: np.dtype(names[name]) for name in names}
    assert outputs["s"] == 0.5
    assert outputs["brain"].tolist() == [0, 0x3F80, 0x3F80]


def test_bits_are_given_for_a_type_that_numpy_does_not_have(tmp_path) -> None:
    body = "def forward(self, x): return x.float()"
    model = write(tmp_path, function(body) + "def make(): return M(), (torch.zeros(2, 1).bfloat16(),)\n")
    outputs = PROFILER.run(model, EAGER, {"x": np.array([[0x3F80], [0x4000]], np.uint16)})
    assert outputs["output_0"].tolist() == [[1], [2]]


def test_a_model_is_run_in_evaluation_and_without_gradients(tmp_path) -> None:
    body = "def forward(self, x): return x + torch.is_inference_mode_enabled() + 2 * self.training"
    model = write(tmp_path, function(body) + "def make(): return M(), (torch.zeros(2, 1),)\n")
    assert PROFILER.run(model, EAGER, {"x": np.zeros((1, 1), np.float32)})["output_0"] == 1


def test_threads_are_those_asked_for(tmp_path) -> None:
    body = "def forward(self, x): return x + 10 * torch.get_num_threads() + torch.get_num_interop_threads()"
    model = write(tmp_path, function(body) + "def make(): return M(), (torch.zeros(2, 1),)\n")
    runtime = replace(EAGER, intra_op_num_threads=2)
    assert PROFILER.run(model, runtime, {"x": np.zeros((1, 1), np.float32)})["output_0"] == 21


def test_files_beside_the_function_are_found(tmp_path) -> None:
    (tmp_path / "sibling.py").write_text("import torch\nMODEL = torch.nn.ReLU()\n")
    model = write(tmp_path, "from sibling import MODEL\ndef make(): return MODEL, (torch.zeros(2, 1),)\n")
    assert PROFILER.run(model, EAGER, {"input": -np.ones((1, 1), np.float32)})["output_0"] == 0
    assert not (tmp_path / "__pycache__").exists()


@pytest.fixture
def modules(monkeypatch):
    """Whatever a function's file imports is forgotten again."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("1 / 0", "the file raised ZeroDivisionError: division by zero"),
        ("def make(): raise KeyError('w')", "function 'make' raised KeyError: 'w'"),
        ("def other(): pass", "the file has no function 'make'"),
        ("def make(): return 3", "must return a tuple of a torch.nn.Module and its example inputs, got int"),
        ("def make(): return torch.zeros, ()", r"got \['builtin_function_or_method', 'tuple'\]"),
        (
            "def make(): return torch.nn.ReLU(), 3",
            "example inputs must be a dict by name or a tuple, got int",
        ),
        ("def make(): return torch.nn.ReLU(), {'z': 1}", "example inputs must be what forward takes"),
    ],
)
def test_what_is_wrong_with_a_function_is_said(tmp_path, modules, program, message) -> None:
    with pytest.raises(UnusableModelError, match=message):
        load_model(write(tmp_path, program))


@pytest.mark.parametrize(
    ("example", "got"),
    [
        ("3", "int"),
        ("torch.zeros(2, dtype=torch.complex64)", "torch.complex64"),
        ("torch.eye(2).to_sparse()", "torch.sparse_coo"),
    ],
)
def test_an_input_that_arrays_cannot_carry_has_no_type(tmp_path, modules, example, got) -> None:
    model = write(tmp_path, f"def make(): return torch.nn.ReLU(), ({example},)")
    (spec,) = load_model(model).inputs
    assert (spec.name, spec.dtype, spec.declared) == ("input", None, got)


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("def make(): raise KeyError('w')", "failed at session creation: function 'make' raised KeyError"),
        ("def make(): return torch.nn.ReLU(), (3,)", "input 'input' must be a tensor .*, got int"),
        (
            function("def forward(self, x): raise KeyError('k')")
            + "def make(): return M(), (torch.ones(1),)",
            "failed at first call: .*KeyError: 'k'",
        ),
    ],
)
def test_a_function_at_fault_is_a_model_at_fault(tmp_path, program, message) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        PROFILER.measure(write(tmp_path, program), EAGER, protocol=BRIEF)
    assert "\n" not in str(caught.value)


# what is refused before a child starts


@pytest.mark.parametrize("name", ["m.onnx", "m.py", "m.py:", "m.py:a b", "m.pt"])
def test_a_file_that_is_no_model_for_torch_is_refused(name) -> None:
    with pytest.raises(ModelError, match=r"expected a \.pt2 archive of torch\.export\.save or FILE"):
        PROFILER.measure(name, EAGER)


@pytest.mark.parametrize("name", ["missing.pt2", "missing.py:make"])
def test_a_missing_file_is_named(tmp_path, name) -> None:
    with pytest.raises(ModelError, match="missing.* cannot be read"):
        PROFILER.run(tmp_path / name, EAGER, {})


def test_an_unknown_provider_is_refused_with_those_that_are_there() -> None:
    with pytest.raises(
        ValueError, match="provider must be one of torch, torch-compile, torch-cuda, got 'cpu'"
    ):
        PROFILER.measure("m.pt2", Runtime())


@pytest.mark.parametrize(
    "knob", [{"graph_optimization_level": "basic"}, {"allow_spinning": True}, {"enable_arena": False}]
)
def test_knobs_that_torch_does_not_have_are_refused(knob) -> None:
    (name,) = knob
    with pytest.raises(ValueError, match=f"{name} does not apply to provider torch"):
        PROFILER.open("m.pt2", replace(EAGER, **knob))


@pytest.mark.parametrize("time_limit_s", [0, -1, float("nan")])
def test_a_time_limit_must_be_positive(time_limit_s) -> None:
    with pytest.raises(ValueError, match="time_limit_s must be greater than 0"):
        TorchProfiler(time_limit_s=time_limit_s)


def test_a_time_limit_ends_a_function_that_does_not_return(tmp_path) -> None:
    model = write(tmp_path, "def make():\n    while True: pass\n")
    with pytest.raises(TimeLimitError, match="was still at session creation and was killed"):
        TorchProfiler(time_limit_s=5).measure(model, EAGER)


# visits


def test_a_launch_is_timed_in_visits(perceptron) -> None:
    with PROFILER.open(perceptron, EAGER, protocol=BRIEF) as launch:
        launch.visit()
        measurement, visits = launch.closed()
    assert visits[0] == len(measurement.launches[0].latency_ns)
    assert measurement.model.parameters == 58


# compiled


def test_without_a_compiler_nothing_is_compiled_and_the_message_says_why(perceptron, monkeypatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(LaunchError, match="torch-compile needs a C.. compiler and there is no 'no-such-comp"):
        PROFILER.measure(perceptron, replace(EAGER, provider="torch-compile"))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
def test_a_compiled_model_is_measured_and_its_compiling_is_in_the_first_call(
    perceptron, tmp_path, monkeypatch
) -> None:
    for name in ("HOME", "TMPDIR", "TORCHINDUCTOR_CACHE_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    runtime = replace(EAGER, provider="torch-compile", batch=2)
    inputs = Feeds(arrays={"x": np.ones((4, 4), np.float32)})
    (launch,) = PROFILER.measure(perceptron, runtime, protocol=BRIEF, feeds=inputs).launches
    assert launch.provider == "torch-compile"
    assert launch.first_call_s > 100 * np.median(launch.call_s())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
def test_outputs_of_a_compiled_model_are_those_of_torch(perceptron) -> None:
    x = np.random.default_rng(0).standard_normal((4, 4)).astype(np.float32)
    runtime = replace(EAGER, provider="torch-compile", batch=2)
    outputs = PROFILER.run(perceptron, runtime, {"x": x})
    np.testing.assert_allclose(
        outputs["output_0"], PROFILER.run(perceptron, EAGER, {"x": x})["output_0"], 1e-5, 1e-6
    )


def test_a_tensor_shares_the_memory_of_its_array() -> None:
    array = np.zeros(3, np.float32)
    tensor_of(array, "torch.float32")[0] = 1
    assert array[0] == 1
