"""Which devices CUDA sees, by its environment variables."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profilers import CudaGpu, GpuError, cuda_gpu
from profilers._gpu._visible import gpu_index, visible_gpus
from tests.profilers.gpu.scripts import EQUAL, PCI, UUIDS, scripted


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, [0, 1, 2]),
        ("0", [0]),
        ("1,0", [1, 0]),
        ("2, 0 ,1", [2, 0, 1]),
        ("", []),
        (" ", []),
        (",0", []),
        ("-1", []),
        ("0,2,-1,1", [0, 2]),  # NVIDIA's own example
        ("3,0", []),
        ("0,3,1", [0]),
        ("0,x,1", [0]),
        ("NoDevFiles", []),
        ("1gpu2,2ampere", [1, 2]),
        ("0,0", []),
        ("1,0,1", []),
        ("0,GPU-9f", [0]),
        ("GPU-9f", [2]),
        ("GPU-9f,GPU-1a2b", [2, 0]),
        ("GPU-1a2b0000-aaaa,GPU-1a3c0000-bbbb", [0, 1]),
        ("GPU-1a", []),  # of two devices
        ("GPU-9f,GPU-1a,GPU-1a2b", [2]),
        ("GPU-", []),
        ("GPU-ffff,GPU-9f", []),
        ("GPU-9f,0", [2]),
        ("GPU-9f,GPU-9f00", []),
        ("GPU-9f,MIG-1", [2]),
    ],
)
def test_cuda_sees_the_devices_of_its_list_up_to_the_first_that_is_not_there(visible, expected) -> None:
    for order in ("PCI_BUS_ID", None):
        found = visible_gpus(UUIDS, EQUAL, visible=visible, order=order)
        assert [gpu.index for gpu in found] == expected


@given(st.lists(st.integers(-2, 5), min_size=1, max_size=6), st.integers(1, 4))
def test_an_index_list_counts_up_to_its_first_invalid_entry(entries, n) -> None:
    uuids, names = [f"GPU-{i}" for i in range(n)], ["H200"] * n
    found = visible_gpus(uuids, names, visible=",".join(map(str, entries)), order="PCI_BUS_ID")
    n_valid = next((k for k, entry in enumerate(entries) if entry not in range(n)), len(entries))
    expected = entries[:n_valid] if len(set(entries[:n_valid])) == n_valid else []
    assert [gpu.index for gpu in found] == expected


@pytest.mark.parametrize("entry", ["MIG-1a2b", "MIG-GPU-1a2b0000-aaaa/1/0"])
def test_a_mig_slice_is_refused_with_what_cannot_be_read_of_it(entry) -> None:
    with pytest.raises(GpuError, match="no clocks, temperature, power, energy or utilisation") as caught:
        visible_gpus(UUIDS, EQUAL, visible=entry, order=None)
    assert caught.value.kind == "mig"
    assert entry not in str(caught.value)


def test_the_order_is_sure_by_the_bus_by_uuid_and_with_one_device() -> None:
    mixed = ("H200", "L4", "L4")
    assert visible_gpus(UUIDS, mixed, visible="2", order="PCI_BUS_ID") == (CudaGpu(2, None),)
    assert visible_gpus(UUIDS, mixed, visible="GPU-9f", order=None) == (CudaGpu(2, None),)
    assert visible_gpus(UUIDS[:1], mixed[:1], visible=None, order="FASTEST_FIRST") == (CudaGpu(0, None),)


def test_equal_devices_are_taken_to_be_in_the_order_of_the_bus_and_it_is_said() -> None:
    (found,) = visible_gpus(UUIDS, EQUAL, visible="1", order=None)
    assert found.index == 1
    assert "CUDA_DEVICE_ORDER=PCI_BUS_ID makes it sure" in found.assumption


@pytest.mark.parametrize("names", [("H200", "L4", "L4"), ("H200", None, "H200"), (None, None, None)])
@pytest.mark.parametrize("visible", [None, "0"])
def test_different_devices_have_no_sure_order_unless_it_is_set(names, visible) -> None:
    with pytest.raises(GpuError, match="set CUDA_DEVICE_ORDER=PCI_BUS_ID") as caught:
        visible_gpus(UUIDS, names, visible=visible, order="FASTEST_FIRST")
    assert caught.value.kind == "order_unknown"


def test_a_device_whose_uuid_cannot_be_read_is_not_found_by_one() -> None:
    found = visible_gpus((None, UUIDS[1]), EQUAL[:2], visible=f"{UUIDS[1]},GPU-1a2b", order=None)
    assert [gpu.index for gpu in found] == [1]


def test_a_list_that_hides_all_devices_is_refused_without_its_text() -> None:
    with pytest.raises(GpuError, match="hides every GPU") as caught:
        cuda_gpu(scripted(), 0, environ={"CUDA_VISIBLE_DEVICES": "GPU-secret"})
    assert caught.value.kind == "none_visible"
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("index", [-1, 1])
def test_an_index_that_cuda_does_not_see_is_refused_with_those_it_sees(index) -> None:
    with pytest.raises(ValueError, match=rf"^GPU index must be one of 0 that CUDA sees, got {index}$"):
        cuda_gpu(scripted(), index, environ=PCI | {"CUDA_VISIBLE_DEVICES": "1"})


def test_an_index_counts_among_the_visible_devices() -> None:
    assert cuda_gpu(scripted(), 0, environ=PCI | {"CUDA_VISIBLE_DEVICES": "1,0"}) == CudaGpu(1)
    assert cuda_gpu(scripted(), 1, environ=PCI | {"CUDA_VISIBLE_DEVICES": "1,0"}) == CudaGpu(0)


@pytest.mark.parametrize(
    ("provider", "index"),
    [
        ("cpu", None),
        ("torch", None),
        ("torch-compile", None),
        ("torch-scripted", None),
        ("cuda", 0),
        ("cuda:3", 3),
        ("tensorrt:1", 1),
        ("torch-cuda", 0),
        ("torch-cuda:12", 12),
    ],
)
def test_a_provider_runs_on_the_gpu_of_its_number_or_on_none(provider, index) -> None:
    assert gpu_index(provider) == index
