"""The energy meter against a folder that looks like /sys/class/powercap."""

import os
from pathlib import Path

import pytest

from profilers._energy import EnergyMeter, EnergyPerCall, EnergyReading, energy_per_call, joules_between

RANGE_UJ = 262_143_328_850


def zone(root: Path, folder: str, name: str, energy_uj: int, range_uj: int = RANGE_UJ) -> Path:
    path = root / folder
    path.mkdir(parents=True)
    (path / "name").write_text(f"{name}\n")
    (path / "energy_uj").write_text(f"{energy_uj}\n")
    (path / "max_energy_range_uj").write_text(f"{range_uj}\n")
    return path


@pytest.fixture
def root(tmp_path) -> Path:
    """Two packages, a part of the first, the whole board, and a second door to the first package."""
    root = tmp_path / "powercap"
    (root / "intel-rapl").mkdir(parents=True)
    zone(root, "intel-rapl:0", "package-0", 1_000_000)
    zone(root, "intel-rapl:1", "package-1", 2_000_000)
    zone(root, "intel-rapl:0:0", "core", 77)
    zone(root, "intel-rapl:2", "psys", 99)
    zone(root, "intel-rapl-mmio:0", "package-0", 55)
    return root


def meter(root: Path, *, is_virtual_machine: bool = False) -> EnergyMeter:
    return EnergyMeter(root, is_virtual_machine=is_virtual_machine, clock_s=lambda: 3.0)


def reading(time_s: float, *counters_uj: int, range_uj: int = RANGE_UJ) -> EnergyReading:
    return EnergyReading(time_s, counters_uj, (range_uj,) * len(counters_uj))


def test_whole_packages_are_read_and_nothing_twice(root) -> None:
    assert meter(root).read() == EnergyReading(3.0, (1_000_000, 2_000_000), (RANGE_UJ, RANGE_UJ))
    assert meter(root).unavailable_reason() is None


def test_packages_are_summed(root) -> None:
    before = meter(root).read()
    (root / "intel-rapl:0/energy_uj").write_text("4000000")
    (root / "intel-rapl:1/energy_uj").write_text("2500000")
    assert joules_between(before, meter(root).read()) == 3.5


def test_a_counter_that_came_round_once_is_taken_for_that() -> None:
    assert joules_between(reading(0.0, RANGE_UJ - 999_999), reading(10.0, 2_000_000)) == 3.0


def test_packages_come_round_on_their_own() -> None:
    assert joules_between(reading(0, RANGE_UJ, 0), reading(10, 999_999, 1_000_000)) == 2.0


def test_a_window_in_which_a_counter_may_come_round_twice_gives_nothing() -> None:
    assert joules_between(reading(0, 0), reading(262.0, 5_000_000)) == 5.0
    assert joules_between(reading(0, 0), reading(263.0, 5_000_000)) is None


def test_energy_is_divided_by_the_calls_gross_and_net() -> None:
    found = energy_per_call(reading(0, 0), reading(10, 400_000_000), 1000, idle_watts=15.0)
    assert found == EnergyPerCall(0.4, 0.25, None)


def test_without_the_power_of_the_idle_machine_there_is_no_net() -> None:
    found = energy_per_call(reading(0, 0), reading(10, 400_000_000), 1000)
    assert found == EnergyPerCall(0.4, None, "the power of the idle machine was not measured")


def test_there_is_no_net_energy_below_nothing() -> None:
    found = energy_per_call(reading(0, 0), reading(10, 100_000_000), 1000, idle_watts=10.0)
    assert found == EnergyPerCall(0.1, None, "the idle machine would have used as much")


@pytest.mark.parametrize(
    ("seconds", "energy_uj", "reason"),
    [
        (4.9, 400_000_000, "needs 5 s or more, got 4.9 s"),
        (300.0, 400_000_000, "a counter may have come round more than once in 300 s"),
        (10.0, 0, "the counters stood still"),
    ],
)
def test_a_window_that_says_nothing_is_refused_with_its_reason(seconds, energy_uj, reason) -> None:
    found = energy_per_call(reading(0, 0), reading(seconds, energy_uj), 1000, idle_watts=1.0)
    assert found == EnergyPerCall(None, None, reason)


@pytest.mark.parametrize(
    ("n_calls", "idle_watts", "said"),
    [(0, None, "n_calls"), (1, -1.0, "idle_watts"), (1, float("nan"), "idle_watts")],
)
def test_wrong_arguments_are_refused(n_calls, idle_watts, said) -> None:
    with pytest.raises(ValueError, match=said):
        energy_per_call(reading(0, 0), reading(10, 1), n_calls, idle_watts=idle_watts)


@pytest.mark.parametrize("after", [reading(10, 1, 1), reading(10, 1, range_uj=5), reading(-1, 1)])
def test_readings_that_do_not_belong_together_are_refused(after) -> None:
    with pytest.raises(ValueError, match=r"^(before and )?after must"):
        joules_between(reading(0, 0), after)


def test_no_powercap_folder_is_a_reason(tmp_path) -> None:
    reason = meter(tmp_path / "none").unavailable_reason()
    assert reason == "the kernel shows no energy counters (no folder powercap)"


def test_a_virtual_machine_is_named_as_the_reason(tmp_path) -> None:
    reason = meter(tmp_path / "none", is_virtual_machine=True).unavailable_reason()
    assert reason.startswith("virtual machine, and the kernel shows no energy counters")


def test_a_folder_without_packages_is_a_reason(tmp_path) -> None:
    zone(tmp_path, "intel-rapl:0", "psys", 1)
    assert "no processor package" in meter(tmp_path).unavailable_reason()
    with pytest.raises(FileNotFoundError, match="no processor package"):
        meter(tmp_path).read()


def test_a_file_for_root_only_is_named_without_its_folder(root, monkeypatch) -> None:
    refuse(monkeypatch, root / "intel-rapl:1/energy_uj")
    reason = meter(root).unavailable_reason()
    assert reason == "permission denied: intel-rapl:1/energy_uj cannot be read by this user"
    assert str(root) not in reason


def refuse(monkeypatch, file: Path) -> None:
    """Refuse one file as the kernel would; permissions themselves do not stop a test that runs as root."""
    read_text = Path.read_text

    def guarded(self: Path, *arguments: object, **options: object) -> str:
        if self == file:
            raise PermissionError(13, os.strerror(13), str(self))
        return read_text(self, *arguments, **options)

    monkeypatch.setattr(Path, "read_text", guarded)


def test_a_folder_that_cannot_be_read_is_a_reason(tmp_path) -> None:
    (tmp_path / "powercap").write_text("a file")
    reason = meter(tmp_path / "powercap").unavailable_reason()
    assert reason == "the folder powercap cannot be read: Not a directory"
    with pytest.raises(OSError, match="Not a directory"):
        meter(tmp_path / "powercap").read()


def test_a_file_that_is_not_there_or_holds_no_number_is_named(root) -> None:
    (root / "intel-rapl:0/energy_uj").write_text("nonsense")
    reason = meter(root).unavailable_reason()
    assert reason == "intel-rapl:0/energy_uj cannot be read: no whole number in it"
    (root / "intel-rapl:0/energy_uj").unlink()
    reason = meter(root).unavailable_reason()
    assert reason == "intel-rapl:0/energy_uj cannot be read: No such file or directory"


def test_this_machine_reads_energy_or_says_why_not() -> None:
    here = EnergyMeter()
    reason = here.unavailable_reason()
    if reason is None:
        assert joules_between(here.read(), here.read()) >= 0
    else:
        assert reason
