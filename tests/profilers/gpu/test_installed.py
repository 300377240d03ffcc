"""The GPUs in the record of a machine, through the real pynvml and the stand-in for the driver."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from profilers import environment
from profilers._environment import salted_hash
from profilers._gpu import _installed
from profilers._gpu._installed import InstalledGpus, installed_gpus
from tests.profilers.gpu.driver import environ

READER = "import json, profilers; print(json.dumps(profilers.environment()))"


@pytest.fixture(autouse=True)
def forgotten():
    installed_gpus.cache_clear()
    yield
    installed_gpus.cache_clear()


def machine(driver: Path, **more: str) -> dict:
    command = [sys.executable, "-c", READER]
    done = subprocess.run(command, env=environ(driver, **more), capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_the_identity_has_each_gpu_and_the_software_the_driver(driver) -> None:
    found = machine(driver)
    assert found["identity"]["gpus"] == [
        {
            "name": f"Stub {index}",
            "uuid_hash": salted_hash(f"GPU-0000000{index}-1111-2222-3333-444444444444"),
        }
        for index in range(2)
    ]
    assert found["software"]["nvidia_driver"] == "570.86.15"
    assert "1111-2222-3333" not in json.dumps(found)


def test_another_gpu_is_another_machine_and_another_driver_is_not(driver) -> None:
    whole, unnamed, undriven = (
        machine(driver, STUB_REFUSES=refuses)
        for refuses in ("", ",nvmlDeviceGetName=3", ",nvmlSystemGetDriverVersion=3")
    )
    assert unnamed["identity"]["gpus"][0]["name"] is None
    assert unnamed["fingerprint"] != whole["fingerprint"]
    assert undriven["software"]["nvidia_driver"] is None
    assert undriven["fingerprint"] == whole["fingerprint"]


@pytest.mark.parametrize("refuses", [",nvmlInitWithFlags=9", ",nvmlDeviceGetHandleByIndex_v2=4"])
def test_gpus_that_may_not_be_read_are_none(driver, refuses) -> None:
    found = machine(driver, STUB_REFUSES=refuses)
    assert (found["identity"]["gpus"], found["software"]["nvidia_driver"]) == (None, None)


def test_a_machine_without_the_driver_has_none_and_never_loads_pynvml(monkeypatch) -> None:
    monkeypatch.setattr(_installed, "LIBRARY", "libnvidia-ml.so.none")
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert installed_gpus() == InstalledGpus(None, None)
    assert environment()["identity"]["gpus"] is None


def test_they_are_looked_for_once_in_a_process_and_nobody_can_change_what_was_found(monkeypatch) -> None:
    asked: list[str] = []

    def absent(library: str) -> None:
        asked.append(library)
        raise OSError

    monkeypatch.setattr(_installed.ctypes, "CDLL", absent)
    environment()
    environment()
    assert asked == [_installed.LIBRARY]
    found = InstalledGpus((("H200", "0a"),), "570")
    found.to_json().append("another")
    assert found.to_json() == [{"name": "H200", "uuid_hash": "0a"}]
