"""The adapter to NVIDIA's driver, against a driver written here in C, through the real pynvml.

Only where errors become refusals is pynvml itself replaced in part; its own exception classes stay.
"""

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

from profilers import GpuError, GpuFacts, GpuState, NvmlGpus
from profilers._environment import salted_hash
from profilers._gpu import _nvml
from tests.profilers.gpu.driver import ROOT, environ, read, read_each

CONTRACT = Path(__file__).with_name("test_monitor.py")


@pytest.fixture(scope="module")
def told(driver) -> dict:
    """What a driver says that supports everything."""
    return read(driver)


def test_the_adapter_tells_what_the_driver_says_in_si_units(told) -> None:
    assert told["facts"] == {
        "index": 1,
        "name": "Stub 1",
        "uuid_hash": salted_hash("GPU-00000001-1111-2222-3333-444444444444"),
        "compute_capability": "9.0",
        "total_memory_bytes": 1_000_000_000_000,
        "used_memory_bytes": 600_000_000_000,
        "driver_version": "570.86.15",
        "cuda_driver_version": "12.8",
        "mig_enabled": False,
        "ecc_enabled": True,
        "persistence_enabled": True,
        "power_limit_w": 700.0,
        "max_sm_clock_hz": 1.98e9,
        "missing": {},
    }
    assert told["state"] == {
        "sm_clock_hz": 1.755e9,
        "memory_clock_hz": 2.619e9,
        "temperature_c": 61.0,
        "power_w": 123.456,
        "utilisation": 0.37,
        "clock_reasons": ["power_cap", "sw_thermal"],
        "performance_state": 2,
        "used_memory_bytes": 600_000_000_000,
        "n_other_processes": 1,
        "other_memory_bytes": 300,
        "missing": {},
    }
    assert told["energy"] == {"value": 5_000_000_000, "reason": None}


def test_the_adapter_tells_the_memory_of_a_process_or_why_not(told) -> None:
    assert told["10"] == {"value": 100, "reason": None}
    assert told["11"] == {"value": None, "reason": "the driver does not tell the memory of a process"}
    assert told["13"] == {"value": None, "reason": "the process does not use this device"}


def test_the_adapter_keeps_the_contract_of_every_monitor(driver) -> None:
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-p", "no:cacheprovider", str(CONTRACT)]
    run = subprocess.run(command, cwd=ROOT, env=environ(driver), capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout
    assert "skipped" not in run.stdout
    assert "11 passed" in run.stdout


VALUES = {  # what each function alone is asked for
    "nvmlDeviceGetName": {"name"},
    "nvmlDeviceGetUUID": {"uuid_hash"},
    "nvmlDeviceGetCudaComputeCapability": {"compute_capability"},
    "nvmlDeviceGetMemoryInfo_v2": {"total_memory_bytes", "used_memory_bytes"},
    "nvmlSystemGetDriverVersion": {"driver_version"},
    "nvmlSystemGetCudaDriverVersion_v2": {"cuda_driver_version"},
    "nvmlDeviceGetMigMode": {"mig_enabled"},
    "nvmlDeviceGetEccMode": {"ecc_enabled"},
    "nvmlDeviceGetPersistenceMode": {"persistence_enabled"},
    "nvmlDeviceGetEnforcedPowerLimit": {"power_limit_w"},
    "nvmlDeviceGetMaxClockInfo": {"max_sm_clock_hz"},
    "nvmlDeviceGetClockInfo": {"sm_clock_hz", "memory_clock_hz"},
    "nvmlDeviceGetTemperatureV": {"temperature_c"},
    "nvmlDeviceGetPowerUsage": {"power_w"},
    "nvmlDeviceGetUtilizationRates": {"utilisation"},
    "nvmlDeviceGetCurrentClocksEventReasons": {"clock_reasons"},
    "nvmlDeviceGetPerformanceState": {"performance_state"},
    "nvmlDeviceGetComputeRunningProcesses_v3": {"n_other_processes", "other_memory_bytes"},
    "nvmlDeviceGetTotalEnergyConsumption": {"energy"},
    "nvmlDeviceGetMPSComputeRunningProcesses_v3": set(),
}


@pytest.fixture(scope="module")
def refused(driver) -> dict[str, dict]:
    """What a driver says whose device does not support one function."""
    return dict(zip(VALUES, read_each(driver, [[f"{name}=3"] for name in VALUES]), strict=True))


@pytest.mark.parametrize("function", VALUES)
def test_what_a_device_does_not_support_is_none_with_that_reason_and_nothing_else(refused, function) -> None:
    found = refused[function]
    missing = found["facts"]["missing"] | found["state"]["missing"]
    if found["energy"]["value"] is None:
        missing["energy"] = found["energy"]["reason"]
    assert missing == dict.fromkeys(VALUES[function], "not supported by this device")


def test_every_value_of_a_record_can_be_refused() -> None:
    names = set(GpuFacts.__dataclass_fields__) | set(GpuState.__dataclass_fields__)
    assert set().union(*VALUES.values()) == (names - {"index", "missing"}) | {"energy"}


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (4, "permission denied"),
        (15, "the GPU cannot be reached any more"),
        (17, "NVML says: The operating system has blocked the request"),
        (29, "NVML says: words of the driver"),
    ],
)
def test_why_one_value_cannot_be_had_is_said(driver, code, reason) -> None:
    found = read(driver, f"nvmlDeviceGetPowerUsage={code}")["state"]
    assert found["power_w"] is None
    assert found["missing"] == {"power_w": reason}


def test_an_older_driver_is_asked_by_the_older_names(driver) -> None:
    found = read(
        driver,
        "nvmlDeviceGetTemperatureV=13",
        "nvmlDeviceGetCurrentClocksEventReasons=13",
        "nvmlDeviceGetComputeRunningProcesses_v3=13",
        "nvmlDeviceGetMemoryInfo_v2=13",
        "nvmlDeviceGetGraphicsRunningProcesses_v3=3",
    )["state"]
    assert found["temperature_c"] == 62.0
    assert found["clock_reasons"] == ["hw_slowdown"]
    assert found["n_other_processes"] == 1  # number 20, of the second version
    assert found["other_memory_bytes"] == 1
    assert found["missing"] == {"used_memory_bytes": "the driver is too old to tell it"}


def test_a_refused_list_of_processes_is_not_taken_for_none_there(driver) -> None:
    found = read(driver, "nvmlDeviceGetGraphicsRunningProcesses_v3=4")["state"]
    assert found["n_other_processes"] is None
    assert found["missing"]["n_other_processes"] == "permission denied"


def test_an_unknown_performance_state_is_none(driver) -> None:
    found = read(driver, STUB_PSTATE="32")["state"]
    assert found["performance_state"] is None
    assert found["missing"] == {"performance_state": "NVML does not know it"}


REFUSALS = [
    (4, "no_permission", "opened by this user"),
    (9, "no_driver", "driver is not loaded"),
    (12, "no_library", "no libnvidia-ml"),
    (13, "too_old", "too old"),
    (15, "lost", "fallen off the bus"),
    (18, "mismatch", "different versions"),
    (25, "too_old", "too old"),
    (999, "failed", "Unknown Error"),
]


@pytest.mark.parametrize(("code", "kind", "said"), [row for row in REFUSALS if row[0] != 12])
def test_a_driver_that_does_not_start_is_refused_in_a_line(driver, code, kind, said) -> None:
    found = read(driver, f"nvmlInitWithFlags={code}")
    assert found["kind"] == kind
    assert said in found["message"]
    assert "\n" not in found["message"]


def test_a_device_that_may_not_be_opened_is_refused_when_it_is_asked_for(driver) -> None:
    assert read(driver, "nvmlDeviceGetHandleByIndex_v2=4")["kind"] == "no_permission"


def test_a_driver_without_a_device_is_refused(driver) -> None:
    found = read(driver, STUB_EMPTY="1")
    assert found["kind"] == "no_device"
    assert "finds no GPU" in found["message"]


@pytest.mark.parametrize(("code", "kind", "said"), REFUSALS)
def test_each_error_of_nvml_has_its_refusal(monkeypatch, code, kind, said) -> None:
    pynvml = pytest.importorskip("pynvml")

    def start() -> None:
        raise pynvml.NVMLError(code)

    monkeypatch.setattr(pynvml, "nvmlInit", start)
    with pytest.raises(GpuError, match=said) as caught:
        NvmlGpus()
    assert caught.value.kind == kind
    assert type(caught.value.__cause__).__mro__[1] is pynvml.NVMLError


def test_a_missing_pynvml_is_said_with_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(GpuError, match=r"pip install 'moo-deploy\[gpu\]'") as caught:
        NvmlGpus()
    assert caught.value.kind == "not_installed"


def test_a_machine_without_a_driver_is_refused_or_has_gpus() -> None:
    pytest.importorskip("pynvml")
    try:
        ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        with pytest.raises(GpuError, match="no libnvidia-ml"):
            NvmlGpus()


def test_a_container_is_told_by_its_namespace_of_processes(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    assert "in a container" in _nvml._find_pid_mismatch(tmp_path)
    assert "cannot be read" in _nvml._find_pid_mismatch(tmp_path / "none")
    monkeypatch.setattr(_nvml, "FIRST_PID_NAMESPACE", tmp_path.stat().st_ino)
    assert _nvml._find_pid_mismatch(tmp_path) is None
    monkeypatch.setattr(sys, "platform", "win32")
    assert _nvml._find_pid_mismatch(tmp_path / "none") is None
