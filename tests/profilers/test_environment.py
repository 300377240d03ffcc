"""The machine's facts are facts or None, and say nothing about who owns it."""

import getpass
import json
import platform
from pathlib import Path

import pytest

from profilers import _environment as facts
from profilers import environment, fingerprint


@pytest.fixture(scope="module")
def machine() -> dict:
    return environment()


def test_it_can_be_written_as_strict_json(machine) -> None:
    assert json.loads(json.dumps(machine, allow_nan=False)) == machine


def test_it_holds_every_row_of_its_tables(machine) -> None:
    assert set(machine["identity"]) == set(facts.IDENTITY)
    assert set(machine["state"]) == set(facts.STATE)


def test_it_names_no_host_user_or_path(machine) -> None:
    text = json.dumps(machine)
    words = set(text.replace('"', " ").replace(",", " ").split())
    assert str(Path.home()) not in text
    assert platform.node() not in words
    assert getpass.getuser() not in words


def test_the_fingerprint_is_that_of_the_identity(machine) -> None:
    assert machine["fingerprint"] == fingerprint(machine)
    assert fingerprint({"identity": machine["identity"]}) == fingerprint(machine)
    assert fingerprint({"identity": machine["identity"] | {"logical_cores": -1}}) != fingerprint(machine)


def test_the_fingerprint_does_not_depend_on_the_order_of_facts(machine) -> None:
    reverse = dict(reversed(machine["identity"].items()))
    assert fingerprint({"identity": reverse}) == fingerprint(machine)


def test_the_fingerprint_is_the_same_a_moment_later(machine) -> None:
    assert environment()["fingerprint"] == machine["fingerprint"]


def test_facts_that_cannot_be_read_are_none(monkeypatch) -> None:
    monkeypatch.setattr(facts, "_text", lambda path: None)
    monkeypatch.setattr(facts, "_psutil", lambda: None)
    monkeypatch.setattr(facts, "_version", lambda distribution: None)
    found = environment()["identity"]
    unknown = {"cpu_model", "instruction_sets", "physical_cores", "cgroup_cpu_quota", "total_memory_bytes"}
    unknown |= {"is_virtual_machine", "hypervisor", "onnxruntime"}
    assert {name for name in unknown if found[name] is not None} == set()
    assert found["governor"] == "none"


def test_a_cpu_quota_is_found_on_the_way_up_in_version_2(monkeypatch) -> None:
    files = {
        "/proc/self/cgroup": "0::/pod/box",
        "/sys/fs/cgroup/pod/box/cpu.max": "max 100000",
        "/sys/fs/cgroup/pod/cpu.max": "150000 100000",
    }
    monkeypatch.setattr(facts, "_text", lambda path: files.get(str(path)))
    assert facts.cgroup_cpu_quota() == 1.5


def test_a_cpu_quota_is_found_in_version_1(monkeypatch) -> None:
    files = {
        "/proc/self/cgroup": "5:memory:/box\n4:cpu,cpuacct:/box",
        "/sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_quota_us": "50000",
        "/sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_period_us": "100000",
        "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1",
        "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000",
    }
    monkeypatch.setattr(facts, "_text", lambda path: files.get(str(path)))
    assert facts.cgroup_cpu_quota() == 0.5


@pytest.mark.parametrize("text", ["", "full avg10=1.00", "some total=5", "nonsense"])
def test_pressure_that_is_not_there_is_none(text) -> None:
    assert facts.parse_pressure(text) is None
