"""One contract for scripted and real GPUs; what follows from processes; records."""

import json
from dataclasses import asdict, replace

import pytest

from profilers import (
    Answer,
    CudaGpu,
    GpuError,
    GpuFacts,
    GpuProcess,
    NvmlGpus,
    ScriptedGpu,
    ScriptedGpus,
    cuda_gpu,
    process_memory,
)
from profilers._environment import salted_hash
from profilers._gpu._clocks import CLOCK_REASONS
from profilers._gpu._scripted import CALM, PLAIN
from tests.profilers.gpu.scripts import PCI, UUIDS, scripted

WORDS = {reason.word for reason in CLOCK_REASONS}


@pytest.fixture(params=["scripted", pytest.param("driver", marks=pytest.mark.gpu)])
def gpus(request):
    if request.param == "scripted":
        yield scripted()
        return
    try:
        monitor = NvmlGpus()
    except GpuError as error:
        pytest.skip(str(error))
    with monitor:
        yield monitor


class TestEveryMonitor:
    def test_tells_facts_and_state_that_are_strict_json(self, gpus) -> None:
        for index in range(gpus.n_devices):
            for record in (asdict(gpus.facts(index)), asdict(gpus.state(index))):
                text = json.dumps(record, allow_nan=False)
                assert json.loads(text) == {**record, **_lists(record)}

    def test_says_why_for_each_value_that_is_none_and_for_no_other(self, gpus) -> None:
        for index in range(gpus.n_devices):
            for record in (asdict(gpus.facts(index)), asdict(gpus.state(index))):
                missing = record.pop("missing")
                assert {name for name, value in record.items() if value is None} == set(missing)
                assert all(isinstance(reason, str) and reason for reason in missing.values())

    def test_counts_its_devices_from_0_and_never_writes_their_uuids(self, gpus) -> None:
        for index in range(gpus.n_devices):
            facts, uuid = gpus.facts(index), gpus.uuid(index)
            assert facts.index == index
            assert facts.uuid_hash == (salted_hash(uuid.value) if uuid.value else None)
            if uuid.value:
                digits = uuid.value.removeprefix("GPU-")
                assert digits not in json.dumps([asdict(facts), asdict(gpus.state(index))])

    def test_tells_quantities_in_their_units(self, gpus) -> None:
        for index in range(gpus.n_devices):
            facts, state = gpus.facts(index), gpus.state(index)
            within = [
                (facts.total_memory_bytes, 2**28, 2**43),
                (facts.used_memory_bytes, 0, facts.total_memory_bytes),
                (facts.power_limit_w, 5, 5000),
                (facts.max_sm_clock_hz, 3e8, 1e10),
                (state.sm_clock_hz, 0, facts.max_sm_clock_hz),
                (state.memory_clock_hz, 0, 1e11),
                (state.temperature_c, -20, 130),
                (state.power_w, 0.1, 5000),
                (state.utilisation, 0, 1),
                (state.performance_state, 0, 15),
            ]
            wrong = [row for row in within if row[0] is not None and not row[1] <= row[0] <= row[2]]
            assert wrong == []

    def test_names_the_reasons_of_a_clock_in_known_words(self, gpus) -> None:
        for index in range(gpus.n_devices):
            words = gpus.state(index).clock_reasons or ()
            assert {word for word in words if not word.startswith("unknown_0x")} <= WORDS

    def test_lists_processes_once_by_number_and_takes_ones_own_from_the_others(self, gpus) -> None:
        for index in range(gpus.n_devices):
            answer = gpus.processes(index)
            if answer.value is None or gpus.pid_mismatch is not None:
                assert gpus.state(index).n_other_processes is None
                continue
            pids = [process.pid for process in answer.value]
            assert pids == sorted(set(pids))
            assert gpus.state(index).n_other_processes == len(pids)
            assert gpus.state(index, own_pids=pids).n_other_processes == 0
            assert gpus.state(index, own_pids=pids).other_memory_bytes == 0

    def test_counts_energy_upward_or_says_why_it_cannot(self, gpus) -> None:
        for index in range(gpus.n_devices):
            first, second = gpus.energy_mj(index), gpus.energy_mj(index)
            if first.value is None:
                assert first.reason
            else:
                assert second.value >= first.value

    @pytest.mark.parametrize("is_negative", [True, False])
    def test_says_which_devices_exist(self, gpus, is_negative) -> None:
        index = -1 if is_negative else gpus.n_devices
        listed = ", ".join(map(str, range(gpus.n_devices)))
        for ask in (gpus.facts, gpus.state, gpus.processes, gpus.energy_mj, gpus.uuid):
            with pytest.raises(ValueError, match=rf"^GPU index must be one of {listed}, got {index}$"):
                ask(index)

    def test_closes_once_and_tells_nothing_then(self, gpus) -> None:
        gpus.close()
        gpus.close()
        with pytest.raises(ValueError, match="closed"):
            gpus.state(0)

    def test_finds_the_devices_of_cuda_by_index_and_uuid(self, gpus) -> None:
        last = gpus.n_devices - 1
        assert cuda_gpu(gpus, last, environ=PCI) == CudaGpu(last)
        uuid = gpus.uuid(last).value
        if uuid is not None:
            assert cuda_gpu(gpus, 0, environ={"CUDA_VISIBLE_DEVICES": uuid}) == CudaGpu(last)


def _lists(record: dict) -> dict:
    """JSON has no tuples."""
    return {name: list(value) for name, value in record.items() if isinstance(value, tuple)}


def test_a_script_without_a_device_is_refused() -> None:
    with pytest.raises(GpuError, match="no GPU") as caught:
        ScriptedGpus([])
    assert caught.value.kind == "no_device"


def test_in_a_container_others_are_not_counted_and_an_absent_process_has_that_reason() -> None:
    device = ScriptedGpu(processes=lambda: [GpuProcess(4_000_000, 10), GpuProcess(7, 20)])
    gpus = ScriptedGpus([device], pid_mismatch="in a container")
    state = gpus.state(0, own_pids=[7])
    assert (state.n_other_processes, state.other_memory_bytes) == (None, None)
    assert state.missing["n_other_processes"] == "in a container"
    assert process_memory(gpus, 0, 8) == Answer(None, "in a container")
    assert process_memory(gpus, 0, 7) == Answer(20)


def test_processes_that_cannot_be_listed_have_no_memory() -> None:
    gpus = ScriptedGpus([ScriptedGpu(processes="permission denied")])
    assert process_memory(gpus, 0, 7) == Answer(None, "permission denied")
    assert gpus.state(0).missing["other_memory_bytes"] == "permission denied"


def test_other_memory_is_unknown_where_one_of_the_others_does_not_tell() -> None:
    gpus = ScriptedGpus([ScriptedGpu(processes=lambda: [GpuProcess(1, 10), GpuProcess(2, None)])])
    assert gpus.state(0).n_other_processes == 2
    assert gpus.state(0).other_memory_bytes is None
    assert gpus.state(0, own_pids=[2]).other_memory_bytes == 10


def test_a_record_without_a_value_needs_its_reason() -> None:
    with pytest.raises(ValueError, match="got power_w"):
        replace(CALM, power_w=None)
    with pytest.raises(ValueError, match="got power_w"):
        replace(CALM, missing={"power_w": "why"})
    assert replace(PLAIN, name=None, missing={"name": "why"}).name is None


@pytest.mark.parametrize("pair", [(None, None), (1, "why")])
def test_an_answer_is_a_value_or_a_reason(pair) -> None:
    with pytest.raises(ValueError, match="a value or a reason"):
        Answer(*pair)


def test_a_script_goes_on_with_each_reading_and_stays_at_its_end() -> None:
    states = [replace(CALM, temperature_c=float(t)) for t in (40, 50, 60)]
    gpus = ScriptedGpus([ScriptedGpu(states=states), ScriptedGpu(states=states)])
    assert [gpus.state(0).temperature_c for _ in range(5)] == [40, 50, 60, 60, 60]
    assert gpus.state(1).temperature_c == 40


def test_a_scripted_device_may_lack_what_real_ones_lack() -> None:
    facts = replace(PLAIN, ecc_enabled=None, missing={"ecc_enabled": "not supported by this device"})
    state = replace(CALM, utilisation=None, missing={"utilisation": "not supported by this device"})
    gpus = ScriptedGpus([ScriptedGpu(UUIDS[0], facts, [state])])
    assert gpus.facts(0) == replace(facts, uuid_hash=salted_hash(UUIDS[0]))
    assert gpus.state(0).missing == {"utilisation": "not supported by this device"}


def test_the_records_have_every_fact_of_a_plain_device() -> None:
    assert ScriptedGpus([ScriptedGpu()]).facts(0).name == "scripted"
    assert set(asdict(PLAIN)) == set(GpuFacts.__dataclass_fields__)
