"""The machine's facts are facts or None, and say nothing about who owns it."""

import getpass
import json
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from profilers import _environment as facts
from profilers import _proc, environment, fingerprint
from profilers._proc import Ticks


@pytest.fixture(scope="module")
def machine() -> dict:
    return environment()


def test_it_can_be_written_as_strict_json(machine) -> None:
    assert json.loads(json.dumps(machine, allow_nan=False)) == machine


def test_it_holds_every_row_of_its_tables(machine) -> None:
    assert set(machine["identity"]) == set(facts.IDENTITY)
    assert set(machine["software"]) == set(facts.SOFTWARE)
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
    monkeypatch.setattr(_proc, "read_text", lambda path: None)
    monkeypatch.setattr(facts, "_psutil", lambda: None)
    monkeypatch.setattr(facts, "distribution_version", lambda distribution: None)
    machine = environment()
    found = machine["identity"] | machine["software"]
    unknown = {"cpu_model", "instruction_sets", "physical_cores", "cgroup_cpu_quota", "total_memory_bytes"}
    unknown |= {"is_virtual_machine", "hypervisor", "onnxruntime", "torch"}
    assert {name for name in unknown if found[name] is not None} == set()
    assert found["governor"] == "none"
    assert {n for n, fact in machine["state"].items() if fact is not None} == {"time", "load_average_1min"}


def test_a_cpu_quota_is_found_on_the_way_up_in_version_2(monkeypatch) -> None:
    files = {
        "/proc/self/cgroup": "0::/pod/box",
        "/sys/fs/cgroup/pod/box/cpu.max": "max 100000",
        "/sys/fs/cgroup/pod/cpu.max": "150000 100000",
    }
    monkeypatch.setattr(_proc, "read_text", lambda path: files.get(str(path)))
    assert _proc.cgroup_cpu_quota() == 1.5


def test_a_cpu_quota_is_found_in_version_1(monkeypatch) -> None:
    files = {
        "/proc/self/cgroup": "5:memory:/box\n4:cpu,cpuacct:/box",
        "/sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_quota_us": "50000",
        "/sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_period_us": "100000",
        "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1",
        "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000",
    }
    monkeypatch.setattr(_proc, "read_text", lambda path: files.get(str(path)))
    assert _proc.cgroup_cpu_quota() == 0.5


@pytest.mark.parametrize("text", ["", "full avg10=1.00", "some total=5", "nonsense"])
def test_pressure_that_is_not_there_is_none(text) -> None:
    assert _proc.parse_pressure(text) is None


def test_a_field_of_the_pressure_can_be_chosen() -> None:
    text = "some avg10=1.25 avg60=0.33 total=77\nfull avg10=9.0 total=5"
    assert (_proc.parse_pressure(text), _proc.parse_pressure(text, "total")) == (1.25, 77.0)


@pytest.mark.parametrize("text", ["", "cpu", "cpu 1 2 3", "cpu0 1 2 3 4 5 6 7 8", "cpu a b c d e f g h"])
def test_ticks_that_are_not_there_are_none(text) -> None:
    assert _proc.parse_ticks(text) is None


def test_time_of_guests_is_not_counted_twice() -> None:
    with_guests = _proc.parse_ticks("cpu 10 5 20 60 1 1 1 2 9 3")
    assert with_guests == _proc.parse_ticks("cpu 10 5 20 60 1 1 1 2") == Ticks(100, 37, 2)


def test_steal_is_a_share_since_a_reading_or_since_boot(monkeypatch) -> None:
    monkeypatch.setattr(_proc, "read_text", lambda path: "cpu 40 0 0 50 0 0 0 10")
    assert _proc.steal_share() == 0.1
    assert _proc.steal_share(Ticks(60, 30, 0)) == 0.25
    assert _proc.steal_share(Ticks(100, 40, 10)) is None  # no time has passed


@pytest.mark.parametrize("text", ["", "nr_periods 7", "nr_throttled many", "nr_throttled"])
def test_a_count_of_throttling_that_is_not_there_is_none(text) -> None:
    assert _proc.parse_n_throttled(text) is None


def test_throttling_is_the_most_of_any_group_on_the_way_up(monkeypatch) -> None:
    files = {
        "/proc/self/cgroup": "0::/pod/box",
        "/sys/fs/cgroup/pod/box/cpu.stat": "nr_periods 10\nnr_throttled 2",
        "/sys/fs/cgroup/pod/cpu.stat": "nr_periods 10\nnr_throttled 5",
        "/sys/fs/cgroup/cpu.stat": "usage_usec 10",
    }
    monkeypatch.setattr(_proc, "read_text", lambda path: files.get(str(path)))
    assert _proc.n_throttled() == 5


def test_throttling_is_found_in_version_1(monkeypatch) -> None:
    files = {"/proc/self/cgroup": "1:cpu:/\n0::/", "/sys/fs/cgroup/cpu/cpu.stat": "nr_throttled 4"}
    monkeypatch.setattr(_proc, "read_text", lambda path: files.get(str(path)))
    assert _proc.n_throttled() == 4


@pytest.mark.parametrize(
    ("texts", "clocks"), [(["1200000", "3400000"], [1.2e9, 3.4e9]), (["1200000", None], None)]
)
def test_clocks_are_those_of_all_usable_cores_or_none(monkeypatch, texts, clocks) -> None:
    monkeypatch.setattr(_proc, "affinity", lambda: [0, 5])
    folder = "/sys/devices/system/cpu/cpu{}/cpufreq/scaling_cur_freq"
    files = {folder.format(0): texts[0], folder.format(5): texts[1]}
    monkeypatch.setattr(_proc, "read_text", lambda path: files.get(str(path)))
    assert _proc.core_clocks_hz() == clocks


def test_no_state_is_in_the_identity(machine) -> None:
    assert not set(facts.IDENTITY) & set(facts.STATE)
    assert fingerprint(machine | {"state": {}}) == machine["fingerprint"]


def test_an_upgrade_leaves_the_machine_what_it_is(machine) -> None:
    upgraded = machine | {"software": machine["software"] | {"onnxruntime": "onnxruntime 99"}}
    assert fingerprint(upgraded) == machine["fingerprint"]


def test_two_machines_of_one_kind_are_told_apart_and_their_number_is_not_told(monkeypatch, tmp_path) -> None:
    found = []
    for number in ("0f3a9c55aa01", "0f3a9c55aa02"):
        (tmp_path / "machine-id").write_text(number + "\n")
        monkeypatch.setattr(facts, "MACHINE_ID", tmp_path / "machine-id")
        found.append(environment())
        assert number not in json.dumps(found[-1])
    assert found[0]["fingerprint"] != found[1]["fingerprint"]


def test_it_imports_neither_torch_nor_onnxruntime() -> None:
    program = (
        "import sys, profilers; profilers.environment(); print({'torch', 'onnxruntime'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_without_a_gpu_there_is_none_and_no_driver(machine) -> None:
    installed = facts.installed_gpus()
    assert machine["identity"]["gpus"] == installed.to_json()
    assert (machine["identity"]["gpus"] is None) == (installed.identities is None)
    assert machine["software"]["nvidia_driver"] == installed.driver_version
