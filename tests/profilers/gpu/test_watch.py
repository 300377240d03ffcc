"""The state of a GPU around timed work: scripted in this process, and in real child processes."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from profilers import GpuError, GpuProcess, Protocol, Runtime, ScriptedGpu, ScriptedGpus, summarise_states
from profilers._gpu._processes import process_tree
from profilers._gpu._scripted import CALM, PLAIN
from profilers._gpu._watch import SCRIPTED_MEMORY_BYTES, GpuWatch, watch_for
from profilers._tags import find_tags
from profilers._torch import TorchProfiler
from tests.profilers.gpu.driver import environ
from tests.profilers.gpu.scripts import UUIDS

OWN = GpuProcess(os.getpid(), 500)
HOT = replace(CALM, temperature_c=90.0, clock_reasons=("sw_thermal",))
BRIEF = Protocol(
    min_calls=72, max_calls=80, min_time_s=0.001, precision_budget_s=0.01, warmup_budget_s=0.05, launches=1
)
SCRIPTED = Runtime(provider="torch-scripted")


def watch(*devices: ScriptedGpu, index: int = 0, pid_mismatch: str | None = None) -> GpuWatch:
    return GpuWatch(lambda: ScriptedGpus(devices, pid_mismatch=pid_mismatch), index, lambda: {OWN.pid})


def refuse() -> ScriptedGpus:
    raise GpuError("no_library", "the driver is not there")


def test_states_are_kept_and_told_together() -> None:
    watched = watch(ScriptedGpu(states=[CALM, HOT, CALM], processes=lambda: [OWN]))
    for _ in range(3):
        watched.read()
    facts = watched.facts()
    assert facts["clocks"] == summarise_states([CALM, HOT, CALM])
    assert facts["clocks"]["throttled"] is True
    assert (facts["clocks_reason"], facts["assumption"]) == (None, None)
    assert (facts["process_memory_bytes"], facts["process_memory_reason"]) == (500, None)
    assert (facts["name"], facts["capability"]) == (PLAIN.name, PLAIN.compute_capability)
    assert facts["total_memory_bytes"] == PLAIN.total_memory_bytes
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts


def test_a_watch_asks_the_device_that_cuda_counts_so(monkeypatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", f"{UUIDS[1]},{UUIDS[0]}")
    hot = ScriptedGpu(UUIDS[1], states=[HOT])
    for index, heat in ((0, 90.0), (1, CALM.temperature_c)):
        watched = watch(ScriptedGpu(UUIDS[0]), hot, index=index)
        watched.read()
        assert watched.facts()["clocks"]["temperature_c"] == {"min": heat, "max": heat}


def test_other_processes_are_counted_at_each_reading() -> None:
    others = iter([0, 0, 2, 1])
    watched = watch(
        ScriptedGpu(processes=lambda: [OWN, *(GpuProcess(1 + k, 9) for k in range(next(others)))])
    )
    for _ in range(3):
        watched.read()
    assert watched.facts()["clocks"]["n_other_processes"] == 2


def test_the_memory_of_the_process_is_that_at_the_beginning() -> None:
    held = iter([500, 700, 900])
    watched = watch(ScriptedGpu(processes=lambda: [GpuProcess(OWN.pid, next(held))]))
    watched.read()
    assert watched.facts()["process_memory_bytes"] == 500


def test_in_a_container_neither_its_memory_nor_others_are_known_and_the_clocks_are() -> None:
    watched = watch(ScriptedGpu(processes=lambda: [GpuProcess(1, 10)]), pid_mismatch="in a container")
    watched.read()
    facts = watched.facts()
    assert (facts["process_memory_bytes"], facts["process_memory_reason"]) == (None, "in a container")
    assert facts["clocks"]["n_other_processes"] is None
    assert facts["clocks"]["throttled"] is False


def test_gpus_that_cannot_be_read_leave_the_reason_and_raise_nothing() -> None:
    watched = GpuWatch(refuse, 0, tuple)
    watched.read()
    facts = watched.facts()
    reasons = {name: value for name, value in facts.items() if value is not None}
    assert reasons == {
        "clocks_reason": "the driver is not there",
        "process_memory_reason": "the driver is not there",
    }
    watched.close()


def test_a_device_that_cuda_does_not_see_is_a_reason_too() -> None:
    watched = watch(ScriptedGpu(), index=3)
    watched.read()
    assert watched.facts()["clocks"] is None
    assert "GPU index must be one of 0" in watched.facts()["clocks_reason"]


def test_a_closed_watch_has_let_go() -> None:
    gpus = ScriptedGpus([ScriptedGpu()])
    watched = GpuWatch(lambda: gpus, 0, tuple)
    watched.close()
    with pytest.raises(ValueError, match="closed"):
        gpus.facts(0)


@pytest.mark.parametrize("provider", ["cpu", "torch", "torch-compile"])
def test_nothing_is_watched_on_the_processor(provider) -> None:
    assert watch_for(provider, root_pid=os.getpid()) is None


def test_a_process_that_has_ended_has_nothing_below_it() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    assert process_tree(ended.pid) == {os.getpid(), ended.pid}


# In children.


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    pytest.importorskip("torch", reason="torch is not installed")
    path = tmp_path_factory.mktemp("models") / "linear.py"
    path.write_text("import torch\n\n\ndef make():\n    return torch.nn.Linear(4, 2), (torch.zeros(1, 4),)\n")
    return f"{path}:make"


def test_a_measurement_has_the_states_before_between_and_after_the_timed_phases(model) -> None:
    (launch,) = TorchProfiler().measure(model, SCRIPTED, protocol=BRIEF).launches
    assert launch.device["clocks"]["n_states"] == 4  # steady, hot and cold, and before
    assert launch.device["clocks"]["throttled"] is False
    assert launch.device["clocks"]["n_other_processes"] == 0
    assert launch.device["process_memory_bytes"] == SCRIPTED_MEMORY_BYTES
    assert launch.device["memory_bytes"] == {"allocated_peak": 1_000_000, "reserved_peak": 2_000_000}
    assert launch.device["name"] == "scripted device"  # in the framework's words


def test_visits_have_a_state_before_and_after_each(model) -> None:
    with TorchProfiler().open(model, SCRIPTED, protocol=BRIEF) as opened:
        for _ in range(3):
            opened.visit()
        measurement, _ = opened.closed()
    assert measurement.launches[0].device["clocks"]["n_states"] == 4


def test_a_model_on_the_processor_has_no_device(model) -> None:
    (launch,) = TorchProfiler().measure(model, Runtime(provider="torch"), protocol=BRIEF).launches
    assert launch.device is None


@pytest.mark.parametrize(
    ("clocks", "tags"),
    [
        ({"throttled": False, "n_other_processes": 0}, set()),
        ({"throttled": None, "n_other_processes": None}, set()),
        (None, set()),
        ({"throttled": True, "n_other_processes": 0}, {"throttled"}),
        ({"throttled": False, "n_other_processes": 1}, {"contended"}),
    ],
)
def test_a_slowed_or_shared_gpu_is_tagged_and_an_unknown_one_is_not(model, clocks, tags, quiet) -> None:
    one, other = quiet.launches[0], replace(quiet.launches[0], device={"clocks": clocks})
    found = set(find_tags(replace(quiet, launches=(one, other))))
    assert found & {"throttled", "contended"} == tags


@pytest.fixture(scope="module")
def quiet(model):
    """A measurement whose launch nothing disturbed, on the processor's side."""
    measurement = TorchProfiler().measure(model, SCRIPTED, protocol=BRIEF)
    undisturbed = replace(
        measurement.launches[0],
        thread_cpu_ns=measurement.launches[0].latency_ns,
        involuntary_switches=0,
        steal_share=0.0,
        throttled_s=0.0,
    )
    return replace(measurement, launches=(undisturbed,))


# Through the real pynvml and the stand-in for the driver, as ONNX Runtime's jobs have it.

JOB = """
import json, os, sys
from pathlib import Path
from profilers._child import _job
from profilers._gpu import _nvml

_nvml.FIRST_PID_NAMESPACE = Path("/proc/self/ns/pid").stat().st_ino
job = _job.Job({"runtime": {"provider": sys.argv[1]}, "parent_pid": os.getpid()}, Path())
job.watch = job.opened_watch()
job.look()
job.look()
print(json.dumps(job.device_record()))
"""


def record_of_job(driver: Path, provider: str, **more: str) -> dict:
    command = [sys.executable, "-c", JOB, provider]
    done = subprocess.run(command, env=environ(driver, **more), capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("provider", ["cuda:1", "tensorrt:1"])
def test_a_job_of_onnxruntime_watches_the_gpu_of_its_provider(driver, provider) -> None:
    device = record_of_job(driver, provider, CUDA_DEVICE_ORDER="PCI_BUS_ID")["device"]
    assert device["name"] == "Stub 1"
    assert device["clocks"]["n_states"] == 2
    assert device["clocks"]["sm_clock_hz"] == {"min": 1.755e9, "median": 1.755e9, "max": 1.755e9}
    assert device["clocks"]["reasons"] == {"power_cap": 2, "sw_thermal": 2}
    assert device["clocks"]["n_other_processes"] == 3  # the stand-in's, none of them this one
    assert device["process_memory_bytes"] is None
    assert device["process_memory_reason"] == "the process does not use this device"


def test_a_job_of_onnxruntime_without_a_driver_tells_why_there_are_no_clocks(driver) -> None:
    device = record_of_job(driver, "cuda", STUB_REFUSES=",nvmlInitWithFlags=9")["device"]
    assert device["clocks"] is None
    assert "driver is not loaded" in device["clocks_reason"]


def test_a_job_on_the_processor_loads_nothing_of_gpus(driver) -> None:
    program = JOB + "\nprint([name for name in sys.modules if 'pynvml' in name or '_gpu' in name])"
    command = [
        sys.executable,
        "-c",
        program.replace("from profilers._gpu import _nvml\n", "")
        .replace('_nvml.FIRST_PID_NAMESPACE = Path("/proc/self/ns/pid").stat().st_ino\n', "")
        .replace("from profilers._child import _job", STAND_IN),
        "cpu",
    ]
    done = subprocess.run(command, env=environ(driver), capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["{}", "[]"]


STAND_IN = """
from types import ModuleType
package = ModuleType("profilers")
package.__path__ = [str(Path(os.environ["PYTHONPATH"]) / "profilers")]
sys.modules["profilers"] = package
from profilers._child import _job
"""
