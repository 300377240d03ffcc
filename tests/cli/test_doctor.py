"""The page is drawn from scripted documents; one test each looks at this machine."""

import copy
import getpass
import importlib.util
import json
import os
import platform
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from moo.cli import _diagnosis, main
from moo.cli._diagnosis import advice
from moo.cli.doctor import WIDTH, page
from profilers import GpuError, GpuProcess, ScriptedGpu, ScriptedGpus
from profilers._gpu._scripted import CALM, PLAIN

NO_GPU = _diagnosis.Gpus([], "why", "why no energy")


@pytest.fixture(scope="module")
def document() -> dict:
    return _diagnosis.diagnose(window_s=0.02)


@pytest.fixture
def calm(document) -> dict:
    """The document of a real machine with a governor, that is quiet."""
    calm = copy.deepcopy(document)
    calm["environment"]["identity"] |= {
        "governor": "performance",
        "is_virtual_machine": False,
        "cgroup_cpu_quota": None,
        "logical_cores": 8,
        "affinity": list(range(8)),
    }
    calm["environment"]["state"] |= {
        "steal_share_since_boot": 0.0,
        "cgroup_n_throttled": 0,
        "memory_pressure_avg10": 0.0,
    }
    calm["canary"] |= {"verdict": "quiet", "other_busy_cores": 0.01, "steal_share": 0.0}
    calm["versions"]["onnxruntime"] = ["onnxruntime 1.31.1"]
    return calm


def moo_doctor(*words: str) -> int:
    with pytest.raises(SystemExit) as exit_:
        main(["doctor", *words])
    assert isinstance(exit_.value.code, int)
    return exit_.value.code


def test_the_page_and_the_file_hold_the_same_machine(tmp_path, capsys) -> None:
    assert moo_doctor("--json", str(tmp_path / "doctor.json")) == 0
    said = capsys.readouterr()
    written = json.loads((tmp_path / "doctor.json").read_text())
    assert written["schema"] == "moo.doctor/1"
    assert said.out == page(written) + "\n"
    assert said.err == ""


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("nowhere/doctor.json", "folder nowhere does not exist"),
        (".", "expected a file to write, got the folder ."),
        ("doctor.txt", "expected a name that ends in .json, got doctor.txt"),
        ("/proc/doctor.json", "/proc/doctor.json cannot be written"),
    ],
)
def test_a_file_that_cannot_be_written_is_one_line_and_status_2(
    path, said, tmp_path, monkeypatch, capsys, document
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(_diagnosis, "diagnose", lambda: document)
    assert moo_doctor("--json", path) == 2
    streams = capsys.readouterr()
    assert streams.err.startswith(f"moo: error: --json: {said}")
    assert streams.err.count("\n") == 1
    assert streams.out == ""


def test_a_folder_that_may_not_be_looked_into_is_one_line(monkeypatch, capsys) -> None:
    def refuse(self: Path) -> bool:
        raise PermissionError(13, os.strerror(13))  # as Python 3.11 does; a test that runs as root sees none

    monkeypatch.setattr(Path, "is_dir", refuse)
    assert moo_doctor("--json", "closed/doctor.json") == 2
    expected = "moo: error: --json: closed/doctor.json cannot be written: Permission denied\n"
    assert capsys.readouterr().err == expected


def test_a_file_of_something_else_is_kept(tmp_path, capsys) -> None:
    file = tmp_path / "package.json"
    file.write_text('{"schema": "theirs"}')
    assert moo_doctor("--json", str(file)) == 2
    assert "exists and is no file of moo.doctor" in capsys.readouterr().err
    assert file.read_text() == '{"schema": "theirs"}'


def test_a_full_disk_is_status_1_and_leaves_the_old_file(tmp_path, monkeypatch, capsys, document) -> None:
    file = tmp_path / "doctor.json"
    file.write_text('{"schema": "moo.doctor/1"}')

    def full(path, write):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(_diagnosis, "diagnose", lambda: document)
    monkeypatch.setattr("profilers.write_whole", full)
    assert moo_doctor("--json", str(file)) == 1
    assert capsys.readouterr().err == f"moo: error: --json: {file} cannot be written: {os.strerror(28)}\n"
    assert file.read_text() == '{"schema": "moo.doctor/1"}'


def test_a_noisy_machine_is_no_error(monkeypatch, capsys, document) -> None:
    noisy = {**document, "canary": {**document["canary"], "verdict": "loaded"}}
    monkeypatch.setattr(_diagnosis, "diagnose", lambda: noisy)
    assert moo_doctor() == 0
    assert "### How quiet it is now: loaded" in capsys.readouterr().out


def test_no_line_is_longer_than_a_page_is_wide(document) -> None:
    long = copy.deepcopy(document)
    long["abilities"][0]["missing"] = "a reason with a great many words " * 9
    assert max(map(len, page(long).splitlines())) <= WIDTH


def test_it_names_no_host_user_or_folder(document) -> None:
    for text in (page(document), json.dumps(document)):
        words = set(text.replace('"', " ").replace(",", " ").split())
        assert not words & {platform.node(), getpass.getuser()}
        assert not any(str(folder) in text for folder in (Path.home(), Path.cwd(), sys.prefix))


def test_the_document_is_strict_json(document) -> None:
    assert json.loads(json.dumps(document, allow_nan=False)) == document


def test_a_machine_that_tells_nothing_still_has_a_page(document) -> None:
    silent = copy.deepcopy(document)
    for part in ("identity", "state"):
        silent["environment"][part] = dict.fromkeys(silent["environment"][part])
    silent["canary"] |= {"other_busy_cores": None, "steal_share": None, "cpu_pressure": None}
    silent["environment"]["state"]["time"] = "2026-01-01T00:00:00+00:00"
    silent["versions"] = dict.fromkeys(silent["versions"]) | {"moo": "0", "onnxruntime": []}
    text = page(silent | {"execution_providers": {}, "advice": advice(silent)})
    assert "processor: unknown" in text
    assert "onnxruntime is not installed" in text
    assert "None" not in text


def test_every_ability_is_said_with_its_reason(document) -> None:
    document = document | {
        "abilities": [{"name": "latency", "missing": None}, {"name": "b", "missing": "why"}]
    }
    assert "- latency: yes\n- b: no: why\n" in page(document)


def test_a_quiet_machine_needs_no_advice(calm) -> None:
    assert advice(calm) == []
    assert "- nothing that this page knows of" in page(calm | {"advice": []})


@pytest.mark.parametrize(
    ("part", "change", "said"),
    [
        ("canary", {"other_busy_cores": 1.26}, "Other processes use 1.3 of 8 cores"),
        ("canary", {"verdict": "noisy"}, "not quiet just now"),
        ("canary", {"steal_share": 0.05}, "hypervisor gives time"),
        ("state", {"steal_share_since_boot": 0.05}, "hypervisor gives time"),
        ("identity", {"governor": "powersave"}, "governor is powersave"),
        ("identity", {"cgroup_cpu_quota": 1.5}, "allows 1.5 of 8 cores"),
        ("state", {"cgroup_n_throttled": 3}, "stopped its processes 3 times"),
        ("state", {"memory_pressure_avg10": 4.0}, "wait for memory"),
        ("identity", {"is_virtual_machine": True}, "virtual machine"),
        ("versions", {"onnxruntime": ["onnxruntime 1", "onnxruntime-gpu 1"]}, "overwrite each other's files"),
    ],
)
def test_each_trouble_has_its_advice(part, change, said, calm) -> None:
    (calm["environment"].get(part) or calm[part]).update(change)
    assert [line for line in advice(calm) if said in line] == advice(calm) != []


def test_counters_for_root_only_have_their_advice(calm) -> None:
    calm["abilities"] = [{"name": "energy of the processor", "missing": "permission denied: intel-rapl:0/x"}]
    assert [line for line in advice(calm) if "could let this user read" in line] == advice(calm) != []


def test_without_onnxruntime_nothing_can_be_timed(monkeypatch) -> None:
    monkeypatch.setattr(_diagnosis, "distribution_version", lambda name: None)
    monkeypatch.setattr(_diagnosis, "onnxruntime_distributions", list)
    probe = _diagnosis.OnnxRuntimeProbe({}, False, False, "it fails")
    missing = {ability.name: ability.missing for ability in _diagnosis._abilities(probe, NO_GPU)}
    assert missing["latency"] == missing["arena memory"] == "onnxruntime is not installed"
    assert missing["torch models"].startswith("torch and onnxscript are not installed: the extra 'torch'")
    assert missing["torch.compile"] == missing["torch models"]


def test_a_provider_that_is_listed_and_does_not_run_is_told_apart() -> None:
    def missing(**providers: str) -> str | None:
        probe = _diagnosis.OnnxRuntimeProbe({"CPUExecutionProvider": "runs", **providers}, True, True)
        return {a.name: a.missing for a in _diagnosis._abilities(probe, NO_GPU)}["CUDA in ONNX Runtime"]

    assert missing(CUDAExecutionProvider="runs") is None
    assert "does not run" in missing(CUDAExecutionProvider="fails")
    assert "onnxruntime-gpu has it" in missing()


def test_a_compiler_that_is_not_there_is_named_without_its_folder(monkeypatch) -> None:
    monkeypatch.setitem(os.environ, "CXX", "/home/someone/bin/c++-99")
    assert _diagnosis._compiler_missing() == "there is no C++ compiler c++-99"


class Driver:
    """A library of NVIDIA's driver, as far as the page asks it."""

    def __init__(self, status: int, n_devices: int) -> None:
        self._status, self._n_devices = status, n_devices

    def cuInit(self, flags: int) -> int:  # noqa: N802  (the driver's name)
        return self._status

    def cuDeviceGetCount(self, count) -> int:  # noqa: N802  (the driver's name)
        count._obj.value = self._n_devices
        return 0


@pytest.mark.parametrize(
    ("driver", "said"),
    [
        (Driver(0, 1), None),
        (Driver(0, 0), "libcuda.so.1 is there and finds no GPU"),
        (Driver(100, 1), "libcuda.so.1 is there and does not start: status 100"),
        (object(), "libcuda.so.1 of NVIDIA's driver is not there"),
    ],
)
def test_the_driver_says_whether_there_is_a_gpu(driver, said, monkeypatch) -> None:
    monkeypatch.setattr(_diagnosis.ctypes, "CDLL", lambda library: driver)
    assert _diagnosis._cuda_missing() == said


def has_gpus(monkeypatch, *devices: ScriptedGpu, pid_mismatch: str | None = None) -> _diagnosis.Gpus:
    monkeypatch.setattr(_diagnosis, "NvmlGpus", lambda: ScriptedGpus(devices, pid_mismatch=pid_mismatch))
    return _diagnosis.find_gpus()


def test_each_gpu_has_its_lines_and_the_file_holds_all_of_it(monkeypatch, document) -> None:
    facts = replace(PLAIN, name="NVIDIA H200", power_limit_w=1000.0, driver_version="570.86")
    state = replace(CALM, sm_clock_hz=1.2e9, temperature_c=88.4, clock_reasons=("power_cap", "sw_thermal"))
    others = [GpuProcess(1, 2**30), GpuProcess(2, None)]
    first = ScriptedGpu("GPU-1", facts, [state], processes=lambda: others, energy_mj=lambda: 1)
    found = has_gpus(monkeypatch, first, ScriptedGpu("GPU-2"))
    text = page(document | {"gpus": found.devices})
    flat = " ".join(text.split())
    assert (
        "### GPUs - GPU 0: NVIDIA H200, 80.0 GiB, compute capability 9.0, driver 570.86 (CUDA 12.8), power "
        "limit 1000 W - GPU 0 now: clock 1200 MHz of 1980 MHz (power_cap, sw_thermal), 88 degrees C, 100 W, "
        "1.0 GiB in use, other processes: 2 - GPU 1: scripted, "
    ) in flat
    assert max(map(len, text.splitlines())) <= WIDTH
    assert json.loads(json.dumps(found.devices, allow_nan=False))[0]["state"]["temperature_c"] == 88.4
    assert "GPU-1" not in json.dumps(found.devices)


def test_a_gpu_that_tells_nothing_still_has_its_lines(monkeypatch, document) -> None:
    nothing = ("uuid_hash", "index", "missing")
    silent = {name: None for name in PLAIN.__dataclass_fields__ if name not in nothing}
    facts = replace(PLAIN, **silent, missing=dict.fromkeys(silent, "why"))
    mute = {name: None for name in CALM.__dataclass_fields__ if name != "missing"}
    state = replace(CALM, **mute, missing=dict.fromkeys(mute, "why"))
    found = has_gpus(monkeypatch, ScriptedGpu("GPU-1", facts, [state]), pid_mismatch="in a container")
    text = page(document | {"gpus": found.devices})
    assert "None" not in text
    assert "other processes: unknown (in a container)" in " ".join(text.split())


def test_a_machine_without_a_gpu_has_no_lines_of_one(document) -> None:
    assert "### GPUs" not in page(document | {"gpus": []})


def test_a_gpu_in_slices_is_said(monkeypatch, document) -> None:
    found = has_gpus(monkeypatch, ScriptedGpu("GPU-1", replace(PLAIN, mig_enabled=True)))
    assert "cut in MIG slices" in " ".join(page(document | {"gpus": found.devices}).split())
    assert "cut in slices" in found.energy_missing


def test_what_gpus_can_be_asked_is_said_with_the_reason(monkeypatch) -> None:
    probe = _diagnosis.OnnxRuntimeProbe({"CPUExecutionProvider": "runs"}, True, True)

    def abilities(found: _diagnosis.Gpus) -> list[str | None]:
        missing = {ability.name: ability.missing for ability in _diagnosis._abilities(probe, found)}
        return [missing["GPU clocks and memory (NVML)"], missing["energy of the GPU"]]

    counting = ScriptedGpu("GPU-1", energy_mj=lambda: 7)
    assert abilities(has_gpus(monkeypatch, counting)) == [None, None]
    clocks, energy = abilities(has_gpus(monkeypatch, counting, ScriptedGpu("GPU-2")))
    assert clocks is None
    assert energy.startswith("GPU 1 shows no energy counter")

    def refuse() -> ScriptedGpus:
        raise GpuError("no_driver", "the driver is not loaded")

    monkeypatch.setattr(_diagnosis, "NvmlGpus", refuse)
    assert abilities(_diagnosis.find_gpus()) == ["the driver is not loaded"] * 2
    assert _diagnosis.find_gpus().devices == []


@pytest.mark.parametrize(
    ("source", "is_built"),
    [
        ("__all__ = ['cuda', 'hip']\ncuda: Optional[str] = '12.8'\nhip: Optional[str] = None", True),
        ("__all__ = ['cuda']\ncuda: Optional[str] = None\nhip: Optional[str] = '6.4'", False),
        ('cuda = "11.8"', True),
        ("cuda = None", False),
        ("", False),
    ],
)
def test_a_torch_without_cuda_is_told_by_its_own_file(source, is_built, monkeypatch, tmp_path) -> None:
    (tmp_path / "version.py").write_text(source)
    spec = importlib.util.spec_from_file_location(
        "torch", tmp_path / "none.py", submodule_search_locations=[str(tmp_path)]
    )
    monkeypatch.setattr(_diagnosis, "find_spec", lambda name: spec)
    monkeypatch.setattr(_diagnosis, "distribution_version", lambda name: "2.13.0+cpu")
    expected = "torch 2.13.0+cpu is built without CUDA: install one with it, as pytorch.org says"
    assert _diagnosis._torch_without_cuda() == (None if is_built else expected)


def test_this_torch_is_told_as_torch_itself_does() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    assert (_diagnosis._torch_without_cuda() is None) == (torch.version.cuda is not None)


@pytest.mark.parametrize(
    ("torch_reason", "driver_reason", "expected"),
    [(None, None, None), (None, "no driver", "no driver"), ("no CUDA", "no driver", "no CUDA")],
)
def test_torch_needs_its_cuda_first_and_then_the_driver(
    monkeypatch, torch_reason, driver_reason, expected
) -> None:
    monkeypatch.setattr(_diagnosis, "_torch_without_cuda", lambda: torch_reason)
    monkeypatch.setattr(_diagnosis, "_cuda_missing", lambda: driver_reason)
    monkeypatch.setattr(_diagnosis, "_not_installed", lambda *packages, extra: None)
    probe = _diagnosis.OnnxRuntimeProbe({"CPUExecutionProvider": "runs"}, True, True)
    missing = {ability.name: ability.missing for ability in _diagnosis._abilities(probe, NO_GPU)}
    assert missing["CUDA in torch"] == expected


def test_the_command_line_names_it_without_loading_anything_heavy() -> None:
    program = (
        "import sys, moo.cli; print([m for m in ('onnxruntime', 'profilers', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "onnxruntime" not in done.stdout
    assert "profilers" not in done.stdout
