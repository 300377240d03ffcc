"""Real models in real child processes: what is measured, what is refused, and what is left behind."""

import os
import signal
import sys
import tempfile
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from profilers import (
    Feeds,
    LaunchError,
    ModelError,
    OnnxRuntimeProfiler,
    Protocol,
    Runtime,
    TimeLimitError,
    _launcher,
)
from tests.profilers import models

BRIEF = Protocol(min_calls=72, max_calls=80, min_time_s=0.001, precision_budget_s=0.01, warmup_budget_s=0.05)
PROFILER = OnnxRuntimeProfiler()


def is_resource_tracker(process: psutil.Process) -> bool:
    try:
        return "multiprocessing.resource_tracker" in " ".join(process.cmdline())
    except psutil.Error:  # it has just ended
        return False


def children_of_this_process() -> list[psutil.Process]:
    """All but Python's own resource tracker, which a test that used multiprocessing leaves running."""
    return [child for child in psutil.Process().children() if not is_resource_tracker(child)]


@pytest.fixture
def temporary(tmp_path, monkeypatch) -> Path:
    """The folder in which temporary folders are made."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def worker(tmp_path, monkeypatch):
    """Puts a program of one's own in the place of the child's."""

    def replace(program: str) -> None:
        path = tmp_path / "worker.py"
        path.write_text(program)
        monkeypatch.setattr(_launcher, "WORKER", path)

    return replace


def test_calls_too_short_to_time_alone_are_timed_in_blocks(tmp_path) -> None:
    measurement = PROFILER.measure(models.chain(tmp_path / "m.onnx"), Runtime())
    (launch,) = measurement.launches
    assert launch.calls_per_block > 1
    assert measurement.latency(0.5).value < 50e-6
    assert measurement.latency(0.95).value is None
    assert measurement.latency(0.95).high >= measurement.latency(0.5).value


def test_a_large_validation_set_of_a_fast_model_is_timed_in_blocks_all_the_same(tmp_path) -> None:
    inputs = {"x": np.ones((60_000, 4), np.float32)}
    measurement = PROFILER.measure(models.chain(tmp_path / "m.onnx"), Runtime(), feeds=Feeds(arrays=inputs))
    assert measurement.launches[0].calls_per_block > 1
    assert measurement.launches[0].warmup_calls < 2000


def test_blocks_are_sought_even_when_there_is_no_time_to_warm_up(tmp_path) -> None:
    protocol = Protocol(max_calls=72, warmup_budget_s=1e-9)
    measurement = PROFILER.measure(models.chain(tmp_path / "m.onnx"), Runtime(), protocol=protocol)
    assert measurement.launches[0].calls_per_block > 1


def test_long_calls_are_timed_one_by_one_with_a_tail(tmp_path) -> None:
    path = models.chain(tmp_path / "m.onnx", width=512, depth=10)
    (launch,) = (measurement := PROFILER.measure(path, Runtime())).launches
    assert launch.calls_per_block == 1
    assert len(launch.latency_ns) >= 72
    assert measurement.latency(0.95).value >= measurement.latency(0.5).value


def test_all_stages_are_recorded(tmp_path) -> None:
    measurement = PROFILER.measure(models.chain(tmp_path / "m.onnx"), Runtime(), protocol=BRIEF)
    (launch,) = measurement.launches
    assert min(launch.import_s, launch.session_s, launch.first_call_s) > 0
    assert launch.warmup_calls > 0
    assert launch.involuntary_switches >= 0
    assert launch.thread_cpu_ns.min() > 0
    assert launch.provider == "cpu"
    assert "CPUExecutionProvider" in measurement.environment["state"]["available_providers"]


def test_a_median_is_given_however_early_the_budget_ends_but_tagged_imprecise(tmp_path) -> None:
    protocol = Protocol(time_budget_s=1e-9, precision_budget_s=1e-9)
    measurement = PROFILER.measure(models.chain(tmp_path / "m.onnx"), Runtime(), protocol=protocol)
    assert len(measurement.launches[0].latency_ns) == 6
    assert measurement.latency(0.5).value is not None
    assert measurement.latency(0.95).needs_n == 72
    assert "imprecise" in measurement.tags


def test_a_warm_up_without_time_is_tagged(tmp_path) -> None:
    protocol = Protocol(max_calls=72, warmup_budget_s=1e-9)
    measurement = PROFILER.measure(models.chain(tmp_path / "m.onnx"), Runtime(), protocol=protocol)
    assert "not_stationary" in measurement.tags


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc/self/clear_refs")
def test_peak_memory_grows_by_what_the_model_needs(tmp_path) -> None:
    width = 2**20
    path = models.wide_middle(tmp_path / "m.onnx", width=width)
    small, large = (
        PROFILER.measure(path, Runtime(batch=batch), protocol=BRIEF).peak_memory().value for batch in (1, 9)
    )
    needed = 8 * width * 4
    assert 0.95 * needed < large - small < 2.2 * needed  # the second call takes memory of its own


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc/self/clear_refs")
def test_peak_memory_holds_one_batch_of_inputs_however_many_are_rotated(tmp_path) -> None:
    path = models.chain(tmp_path / "m.onnx", width=64)
    rows = np.ones((2**16, 64), np.float32)  # 16 MiB, of which one call gets 1/64
    few, many = (
        PROFILER.measure(path, Runtime(batch=1024), protocol=BRIEF, feeds=Feeds(arrays={"x": rows[:n]}))
        .peak_memory()
        .value
        for n in (1024, 2**16)
    )
    assert many - few < 4 * 2**20


def test_an_input_of_every_supported_type_is_made(tmp_path) -> None:
    path = models.mixed_types(tmp_path / "m.onnx")
    assert PROFILER.measure(path, Runtime(batch=3), protocol=BRIEF).launches


def test_every_supported_type_is_run_and_scalars_go_to_every_batch(tmp_path) -> None:
    inputs = {
        "tokens": np.arange(10, dtype=np.int64).reshape(5, 2),
        "mask": np.array([[True, False]] * 5),
        "half": np.full((5, 2), 0.5, np.float16),
        "byte": np.full((5, 2), 200, np.uint8),
        "scalar": np.array(1000.0, np.float32),
    }
    outputs = PROFILER.run(models.mixed_types(tmp_path / "m.onnx"), Runtime(batch=2), inputs)
    assert outputs["y"].tolist() == (inputs["tokens"] * inputs["mask"] + 1200.5).tolist()


def test_external_data_is_found_beside_the_model(tmp_path, monkeypatch) -> None:
    models.with_external_data(tmp_path / "m.onnx")
    monkeypatch.chdir(tmp_path)
    outputs = PROFILER.run("m.onnx", Runtime(), {"x": np.zeros((2, 16), np.float32)})
    assert outputs["y"].shape == (2, 16)


def test_text_outputs_are_returned_as_text(tmp_path) -> None:
    path = models.text_output(tmp_path / "m.onnx")
    outputs = PROFILER.run(path, Runtime(batch=2), {"token": np.array([0, 1, 1])})
    assert outputs["label"].tolist() == ["no", "yes", "yes"]


def test_no_rows_give_outputs_without_rows(tmp_path) -> None:
    outputs = PROFILER.run(models.chain(tmp_path / "m.onnx"), Runtime(), {"x": np.zeros((0, 4), np.float32)})
    assert outputs["y"].shape == (0, 4)


def test_an_output_without_rows_cannot_be_joined(tmp_path) -> None:
    path = models.mean_over_rows(tmp_path / "m.onnx")
    with pytest.raises(ModelError, match="output 'y' must have one row for each input row"):
        PROFILER.run(path, Runtime(batch=3), {"x": np.ones((6, 2), np.float32)})


def test_threads_optimisation_and_spinning_change_no_output(tmp_path) -> None:
    path = models.chain(tmp_path / "m.onnx")
    inputs = {"x": np.ones((2, 4), np.float32)}
    plain = PROFILER.run(path, Runtime(), inputs)
    other = PROFILER.run(
        path,
        Runtime(intra_op_num_threads=2, graph_optimization_level="disable", allow_spinning=True, batch=2),
        inputs,
    )
    np.testing.assert_allclose(plain["y"], other["y"], rtol=1e-5)


def test_a_fixed_batch_must_be_the_one_asked_for(tmp_path) -> None:
    path = models.chain(tmp_path / "m.onnx", rows=8)
    assert PROFILER.measure(path, Runtime(batch=8), protocol=BRIEF).launches
    with pytest.raises(ModelError, match=r"no input takes a batch of 4, got 'x' \[8, 4\]"):
        PROFILER.measure(path, Runtime(batch=4), protocol=BRIEF)


def test_a_fixed_batch_leaves_no_smaller_last_one(tmp_path) -> None:
    path = models.chain(tmp_path / "m.onnx", rows=8)
    assert PROFILER.run(path, Runtime(batch=8), {"x": np.ones((16, 4), np.float32)})["y"].shape == (16, 4)
    with pytest.raises(ModelError, match="must have a multiple of 8 rows, the model's fixed batch, got 13"):
        PROFILER.run(path, Runtime(batch=8), {"x": np.ones((13, 4), np.float32)})


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"z": np.ones((2, 4), np.float32)}, r"input 'z' must be one of the model's inputs, \['x'\]"),
        ({}, r"inputs must be \['x'\], got \[\]"),
        ({"x": np.ones((2, 4))}, "input 'x' must be float32, got float64"),
        ({"x": np.ones(4, np.float32)}, r"input 'x' must have shape \['batch', 4\], got \[4\]"),
        ({"x": np.ones((2, 5), np.float32)}, r"input 'x' must have shape \['batch', 4\], got \[2, 5\]"),
        ({"x": np.array([["text"]])}, "input 'x' must be float32, got str"),
        ({"x": np.array([[1, "text"]], object)}, "input 'x' must be an array of numbers, booleans or text"),
    ],
)
def test_inputs_that_do_not_fit_are_refused_by_name(tmp_path, inputs, message) -> None:
    with pytest.raises(ModelError, match=message):
        PROFILER.run(models.chain(tmp_path / "m.onnx"), Runtime(), inputs)


def test_inputs_with_different_rows_are_refused(tmp_path) -> None:
    inputs = {
        "tokens": np.zeros((5, 2), np.int64),
        "mask": np.ones((4, 2), bool),
        "half": np.zeros((5, 2), np.float16),
        "byte": np.zeros((5, 2), np.uint8),
        "scalar": np.array(0, np.float32),
    }
    with pytest.raises(ModelError, match=r"inputs must have the same number of rows, got .*'mask': 4"):
        PROFILER.run(models.mixed_types(tmp_path / "m.onnx"), Runtime(), inputs)


def test_an_unknown_operator_is_named(tmp_path) -> None:
    with pytest.raises(ModelError, match="Frobnicate") as caught:
        PROFILER.measure(models.unknown_operator(tmp_path / "m.onnx"), Runtime(), protocol=BRIEF)
    assert "\n" not in str(caught.value)


def test_an_endless_model_is_killed_at_its_time_limit(tmp_path, temporary) -> None:
    with pytest.raises(TimeLimitError, match=r"expected to be done in 0.5 s, was still at .* and was killed"):
        OnnxRuntimeProfiler(time_limit_s=0.5).measure(models.endless_loop(tmp_path / "m.onnx"), Runtime())
    assert children_of_this_process() == []
    assert list(temporary.iterdir()) == []


def test_a_child_killed_from_outside_is_reported_by_signal(tmp_path) -> None:
    path = models.endless_loop(tmp_path / "m.onnx")

    def kill_child() -> None:
        children = []
        while not children:
            children = children_of_this_process()
        children[0].kill()

    killer = threading.Thread(target=kill_child, daemon=True)
    killer.start()
    with pytest.raises(LaunchError, match="was killed by SIGKILL at .*: memory has probably run out, take a"):
        PROFILER.run(path, Runtime(), {"x": np.ones((1, 1), np.float32)})
    killer.join()


def test_a_child_that_crashes_is_reported_with_its_last_words(tmp_path, worker) -> None:
    worker(
        "import os, signal, sys\n"
        "print('first\\nlast words', file=sys.stderr, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGSEGV)"
    )
    with pytest.raises(LaunchError, match=r"was killed by SIGSEGV at start: last words"):
        PROFILER.measure(models.chain(tmp_path / "m.onnx"), Runtime())


@pytest.mark.parametrize("status", [0, 3])
def test_a_child_that_leaves_no_result_is_reported_by_status(tmp_path, worker, status) -> None:
    worker(f"raise SystemExit({status})")
    with pytest.raises(LaunchError, match=f"ended with exit status {status} at start: nothing on stderr"):
        PROFILER.measure(models.chain(tmp_path / "m.onnx"), Runtime())


def test_a_failure_that_is_not_the_models_is_not_called_so(tmp_path, worker) -> None:
    worker(
        "import json, sys, pathlib\n"
        "error = {'error': {'kind': 'MemoryError', 'message': 'no room'}}\n"
        "pathlib.Path(sys.argv[1]).with_name('result.json').write_text(json.dumps(error))"
    )
    with pytest.raises(LaunchError, match="failed at start with MemoryError: no room"):
        PROFILER.measure(models.chain(tmp_path / "m.onnx"), Runtime())


def test_an_interrupt_leaves_no_process_and_no_file(tmp_path, temporary) -> None:
    path = models.endless_loop(tmp_path / "m.onnx")

    is_over = threading.Event()

    def interrupt() -> None:
        while not is_over.is_set():
            if children_of_this_process():
                os.kill(os.getpid(), signal.SIGINT)
                return

    interrupter = threading.Thread(target=interrupt)
    interrupter.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            PROFILER.measure(path, Runtime())
    finally:
        is_over.set()
    interrupter.join()
    assert children_of_this_process() == []
    assert list(temporary.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="needs prctl")
def test_a_child_dies_with_its_parent(tmp_path) -> None:
    path = models.endless_loop(tmp_path / "m.onnx")
    program = (
        "from profilers import OnnxRuntimeProfiler, Runtime\n"
        f"OnnxRuntimeProfiler().measure({str(path)!r}, Runtime())"
    )
    parent = psutil.Popen([sys.executable, "-c", program], env=os.environ | {"TMPDIR": str(tmp_path)})
    stage = None
    while stage is None or stage.read_text() != "first call":  # the child has asked the kernel to die by then
        stage = next(tmp_path.glob("*/stage"), None)
    (child,) = parent.children()
    parent.kill()
    parent.wait()
    _, alive = psutil.wait_procs([child], timeout=10)
    assert alive == []


def test_nothing_is_left_in_the_temporary_folder(tmp_path, temporary) -> None:
    PROFILER.measure(models.chain(tmp_path / "m.onnx"), Runtime(), protocol=BRIEF)
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("time_limit_s", [0, -1, float("nan")])
def test_a_time_limit_must_be_positive(time_limit_s) -> None:
    with pytest.raises(ValueError, match="time_limit_s must be greater than 0"):
        OnnxRuntimeProfiler(time_limit_s=time_limit_s)


def test_a_model_that_is_replaced_between_launches_is_refused(tmp_path) -> None:
    path = models.chain(tmp_path / "m.onnx")

    def replaced(_: object) -> bool:
        models.chain(path, depth=2)
        return False

    with pytest.raises(ModelError, match="was changed while it was measured"):
        PROFILER.measure(path, Runtime(), protocol=replace(BRIEF, launches=2), until=replaced)
