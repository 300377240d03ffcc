"""The energy of a call, with a counter in a folder that moves as it is told."""

from pathlib import Path

import pytest

from profilers import EnergyMeter, FakeProfiler, OnnxRuntimeProfiler, Runtime, measure_energy
from profilers._child._timing import UNTIMED_CALLS
from profilers._fake import CALLS_OF_A_VISIT
from tests.profilers import models

IDLE_WATTS, BUSY_WATTS = 10.0, 30.0


class Package:
    """A processor package that uses power while time passes; time passes only when told to."""

    def __init__(self, root: Path) -> None:
        self._file = root / "intel-rapl:0" / "energy_uj"
        self._file.parent.mkdir(parents=True)
        (self._file.parent / "name").write_text("package-0")
        (self._file.parent / "max_energy_range_uj").write_text(str(10**12))
        self._file.write_text("0")
        self.now_s = 0.0
        self.meter = EnergyMeter(root, is_virtual_machine=False, clock_s=lambda: self.now_s)

    def use(self, seconds: float, watts: float) -> None:
        self.now_s += seconds
        self._file.write_text(str(int(self._file.read_text()) + int(1e6 * watts * seconds)))


@pytest.fixture
def package(tmp_path) -> Package:
    return Package(tmp_path / "powercap")


def busy(profiler: FakeProfiler, package: Package, seconds: float, monkeypatch) -> None:
    """Have a visit use power."""
    opened = profiler.open

    def open_busy(*words, **options):
        launch = opened(*words, **options)
        visit = launch.visit
        monkeypatch.setattr(launch, "visit", lambda: (package.use(seconds, BUSY_WATTS), visit()))
        return launch

    monkeypatch.setattr(profiler, "open", open_busy)


def test_energy_is_that_of_the_window_over_its_calls_and_net_of_the_waiting_machine(
    package, monkeypatch
) -> None:
    profiler = FakeProfiler(calls_per_block=3)
    busy(profiler, package, 6.0, monkeypatch)
    found = measure_energy(
        profiler, "m", Runtime(), meter=package.meter, wait=lambda seconds: package.use(seconds, IDLE_WATTS)
    )
    n_calls = (CALLS_OF_A_VISIT + UNTIMED_CALLS) * 3
    assert found.gross_j == pytest.approx(6.0 * BUSY_WATTS / n_calls)
    assert found.net_j == pytest.approx(6.0 * (BUSY_WATTS - IDLE_WATTS) / n_calls)
    assert found.reason is None


def test_a_visit_that_was_too_short_gives_no_energy(package, monkeypatch) -> None:
    profiler = FakeProfiler()
    busy(profiler, package, 1.0, monkeypatch)
    found = measure_energy(profiler, "m", Runtime(), meter=package.meter, wait=lambda s: package.use(s, 1.0))
    assert found.gross_j is None
    assert "needs 5 s or more" in found.reason


def test_without_counters_nothing_is_run_and_the_reason_is_given(tmp_path) -> None:
    meter = EnergyMeter(tmp_path / "none", is_virtual_machine=True)
    found = measure_energy(OnnxRuntimeProfiler(), models.chain(tmp_path / "m.onnx"), Runtime(), meter=meter)
    assert found.gross_j is None
    assert "virtual machine" in found.reason
