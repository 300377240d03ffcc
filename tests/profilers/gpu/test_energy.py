"""The energy of a GPU, with counters that follow a script; what is refused, and the arithmetic by hand."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from profilers import (
    EnergyMeter,
    EnergyPerCall,
    EnergyReading,
    FakeProfiler,
    GpuEnergyMeter,
    GpuError,
    GpuFacts,
    GpuProcess,
    ModelError,
    NvmlGpus,
    Runtime,
    ScriptedGpu,
    ScriptedGpus,
    energy_per_call,
    joules_between,
    measure_energy,
)
from profilers._child._timing import UNTIMED_CALLS
from profilers._fake import CALLS_OF_A_VISIT
from profilers._gpu import _energy
from profilers._gpu._processes import process_tree
from profilers._gpu._scripted import PLAIN

OWN, OTHER = GpuProcess(10, 100), GpuProcess(11, 200)
IDLE_WATTS, BUSY_WATTS = 90.0, 500.0


class Board:
    """A GPU that uses power while time passes; time passes only when told to."""

    def __init__(
        self,
        *,
        processes: Callable[[], Sequence[GpuProcess]] | str = lambda: [OWN],
        pid_mismatch: str | None = None,
        facts: GpuFacts = PLAIN,
        is_alone: bool = False,
    ) -> None:
        self.now_s, self.counter_mj = 100.0, 7_000_000_000
        device = ScriptedGpu(facts=facts, processes=processes, energy_mj=lambda: self.counter_mj)
        self.gpus = ScriptedGpus([device], pid_mismatch=pid_mismatch)
        self.meter = GpuEnergyMeter(
            self.gpus, own_pids=lambda: {OWN.pid}, is_alone=is_alone, clock_s=lambda: self.now_s
        )

    def use(self, seconds: float, watts: float) -> None:
        self.now_s += seconds
        self.counter_mj += round(1e3 * watts * seconds)

    def measure(self, *, seconds: float = 6.0, watts: float = BUSY_WATTS) -> EnergyPerCall:
        """A model of 3 calls a block, whose visit takes so long and draws so much."""
        profiler = FakeProfiler(calls_per_block=3)
        opened = profiler.open

        def open_busy(*words, **options):
            launch = opened(*words, **options)
            visit = launch.visit
            launch.visit = lambda: (self.use(seconds, watts), visit())
            return launch

        profiler.open = open_busy
        return measure_energy(
            profiler, "m", Runtime(), meter=self.meter, wait=lambda s: self.use(s, IDLE_WATTS)
        )


def refusal(act: Callable[[], object]) -> GpuError:
    with pytest.raises(GpuError) as caught:
        act()
    assert "\n" not in str(caught.value)
    return caught.value


def test_a_reading_is_the_counter_in_microjoules_with_its_time() -> None:
    board = Board()
    assert board.meter.read() == EnergyReading(100.0, (7_000_000_000_000,), (1000 * (2**64 - 1),))
    assert board.meter.unavailable_reason() is None


def test_two_readings_give_joules_and_a_long_window_is_no_matter() -> None:
    board = Board()
    before = board.meter.read()
    board.use(86_400.0, 250.0)
    assert joules_between(before, board.meter.read()) == 250.0 * 86_400


def test_energy_of_a_call_is_gross_and_net_of_the_idle_device() -> None:
    board = Board()
    before = board.meter.read()
    board.use(10.0, 400.0)
    found = energy_per_call(before, board.meter.read(), 1000, idle_watts=150.0)
    assert found == EnergyPerCall(4.0, 2.5, None)  # 4000 J, 1500 J of them idle


def test_measuring_a_model_takes_an_idle_and_a_busy_window() -> None:
    found = Board().measure()
    n_calls = (CALLS_OF_A_VISIT + UNTIMED_CALLS) * 3
    assert found.gross_j == pytest.approx(6.0 * BUSY_WATTS / n_calls)
    assert found.net_j == pytest.approx(6.0 * (BUSY_WATTS - IDLE_WATTS) / n_calls)
    assert found.reason is None


def test_a_window_under_5_s_gives_no_energy() -> None:
    found = Board().measure(seconds=4.9)
    assert (found.gross_j, found.net_j) == (None, None)
    assert found.reason == "needs 5 s or more, got 4.9 s"


def test_a_counter_that_stands_still_gives_no_energy() -> None:
    assert Board().measure(watts=0.0).reason == "the counters stood still"


def test_a_device_that_others_use_at_the_start_is_refused_before_anything_runs() -> None:
    board = Board(processes=lambda: [OWN, OTHER])
    assert "other processes use GPU 0, 1 now" in board.meter.unavailable_reason()
    found = board.measure()
    assert (found.gross_j, found.net_j) == (None, None)
    assert "other processes use GPU 0" in found.reason
    assert board.now_s == 100.0


@pytest.mark.parametrize("n_quiet", [1, 2, 3])
def test_a_device_that_others_use_at_any_reading_is_refused(n_quiet) -> None:
    seen: list[int] = []

    def processes() -> list[GpuProcess]:
        seen.append(1)
        return [OWN] if len(seen) <= n_quiet else [OWN, OTHER]

    found = Board(processes=processes).measure()
    assert (found.gross_j, found.net_j) == (None, None)
    assert "other processes use GPU 0" in found.reason
    assert len(seen) == n_quiet + 1


def test_a_last_reading_without_others_is_the_fourth_and_is_taken() -> None:
    seen: list[int] = []
    found = Board(processes=lambda: seen.append(1) or [OWN]).measure()
    assert found.reason is None
    assert len(seen) == 4


def test_a_model_that_does_not_run_on_the_device_is_refused() -> None:
    board = Board(processes=tuple)
    assert board.meter.unavailable_reason() is None  # nothing is loaded yet
    assert "does not run on GPU 0" in board.measure().reason
    assert refusal(board.meter.read).kind == "unused"


def test_a_meter_may_be_read_with_nothing_loaded() -> None:
    gpus = ScriptedGpus([ScriptedGpu(energy_mj=lambda: 5)])
    assert GpuEnergyMeter(gpus, expects_own=False).read().counters_uj == (5000,)


def test_a_device_without_a_counter_is_refused_with_what_has_one() -> None:
    meter = GpuEnergyMeter(ScriptedGpus([ScriptedGpu()]))
    reason = meter.unavailable_reason()
    assert reason == (
        "GPU 0 shows no energy counter: not supported by this device (Volta and newer have one, and no slice "
        "or virtual GPU)"
    )
    error = refusal(meter.read)
    assert (error.kind, str(error)) == ("no_counter", reason)


def test_a_counter_that_may_not_be_read_is_refused_with_that() -> None:
    meter = GpuEnergyMeter(ScriptedGpus([ScriptedGpu(energy_mj="permission denied")]))
    assert meter.unavailable_reason() == "GPU 0 shows no energy counter: permission denied"


def test_a_device_in_slices_is_refused() -> None:
    board = Board(facts=replace(PLAIN, mig_enabled=True))
    assert "GPU 0 is cut in slices" in board.meter.unavailable_reason()
    assert refusal(board.meter.read).kind == "mig"
    assert board.measure().gross_j is None


def test_a_counter_that_began_again_is_refused_and_not_taken_for_a_round() -> None:
    board = Board()
    board.meter.read()
    board.counter_mj = 3
    assert refusal(board.meter.read).kind == "reset"


@pytest.mark.parametrize("how", [{"pid_mismatch": "in a container"}, {"processes": "permission denied"}])
def test_where_others_cannot_be_seen_the_person_must_vouch_for_it(how) -> None:
    why = next(iter(how.values()))
    reason = Board(**how).meter.unavailable_reason()
    assert reason == (
        f"whether others use GPU 0 cannot be seen ({why}): if you know that none does, say is_alone"
    )
    assert refusal(Board(**how).meter.read).kind == "others_unknown"
    assert Board(**how).measure().gross_j is None
    assert Board(**how, is_alone=True).measure().gross_j is not None


def test_vouching_is_not_believed_against_what_can_be_seen() -> None:
    assert refusal(Board(processes=lambda: [OWN, OTHER], is_alone=True).meter.read).kind == "busy"
    inside = Board(processes=lambda: [OWN, OTHER], pid_mismatch="in a container", is_alone=True)
    assert refusal(inside.meter.read).kind == "busy"
    host_numbers = Board(processes=lambda: [OTHER], pid_mismatch="in a container", is_alone=True)
    assert host_numbers.meter.unavailable_reason() is None


def test_a_model_that_cannot_be_run_still_fails() -> None:
    with pytest.raises(ModelError, match="broken"):
        measure_energy(FakeOfErrors(), "m", Runtime(), meter=Board().meter, wait=lambda seconds: None)


class FakeOfErrors(FakeProfiler):
    def __init__(self) -> None:
        super().__init__(errors={0: ModelError("broken")})


class TestWithoutAMeterGiven:
    """`measure_energy` finds the counters by the provider."""

    @pytest.fixture
    def board(self, monkeypatch) -> Board:
        """A machine with two GPUs, of which only the second has a counter."""
        board = Board()
        busy = ScriptedGpu("GPU-2", processes=lambda: [GpuProcess(os.getpid(), 1)], energy_mj=lambda: 1)
        board.gpus = ScriptedGpus([ScriptedGpu("GPU-1"), busy])
        monkeypatch.setattr(_energy, "NvmlGpus", lambda: board.gpus)
        monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        return board

    def measure(self, provider: str) -> EnergyPerCall:
        runtime = Runtime(provider=provider)
        return measure_energy(FakeProfiler(providers=[provider]), "m", runtime, wait=lambda seconds: None)

    @pytest.mark.parametrize("provider", ["cuda", "tensorrt:0", "torch-cuda"])
    def test_a_provider_on_a_gpu_is_measured_by_that_gpu(self, board, provider) -> None:
        assert self.measure(provider).reason.startswith("GPU 0 shows no energy counter")

    def test_the_number_of_the_provider_is_that_of_the_gpu(self, board) -> None:
        assert "needs 5 s or more" in self.measure("cuda:1").reason  # the counter was read

    def test_the_driver_is_let_go_afterwards(self, board) -> None:
        self.measure("cuda")
        with pytest.raises(ValueError, match="closed"):
            board.gpus.facts(0)

    def test_gpus_that_cannot_be_read_are_the_reason(self, board, monkeypatch) -> None:
        def refuse() -> ScriptedGpus:
            raise GpuError("no_driver", "the driver is not loaded")

        monkeypatch.setattr(_energy, "NvmlGpus", refuse)
        assert self.measure("cuda") == EnergyPerCall(None, None, "the driver is not loaded")

    def test_a_gpu_that_cuda_does_not_see_is_refused(self, board) -> None:
        with pytest.raises(ValueError, match="must be one of 0, 1 that CUDA sees, got 2"):
            self.measure("cuda:2")

    @pytest.mark.parametrize("provider", ["cpu", "torch", "torch-compile"])
    def test_any_other_is_measured_by_the_processors(self, board, monkeypatch, provider) -> None:
        monkeypatch.setattr(EnergyMeter, "unavailable_reason", lambda self: "asked the processors")
        assert self.measure(provider).reason == "asked the processors"


def test_a_device_that_is_not_there_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="must be one of 0, got 1"):
        GpuEnergyMeter(ScriptedGpus([ScriptedGpu()]), 1)


def test_a_child_and_its_child_count_as_ones_own() -> None:
    wait = "import sys; sys.stdin.read()"
    start = f"import subprocess, sys; c = subprocess.Popen([sys.executable, '-c', '{wait}'])"
    command = [sys.executable, "-c", f"{start}; print(c.pid, flush=True); c.wait()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        below = int(child.stdout.readline())
        own = process_tree()
        child.communicate()
    assert {os.getpid(), child.pid, below} <= own
    assert os.getppid() not in own
    assert child.pid not in process_tree()


@pytest.mark.gpu
def test_a_real_counter_counts_or_says_why_not() -> None:
    try:
        gpus = NvmlGpus()
    except GpuError as error:
        pytest.skip(str(error))
    with gpus:
        meter = GpuEnergyMeter(gpus, expects_own=False)
        reason = meter.unavailable_reason()
        if reason is None:
            assert joules_between(meter.read(), meter.read()) >= 0
        else:
            assert str(refusal(meter.read)) == reason
