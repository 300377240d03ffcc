"""Reading the memory of a process."""

from profilers._child import _memory


def test_memory_that_cannot_be_read_is_none(tmp_path) -> None:
    assert _memory.status_bytes("VmHWM", tmp_path) is None
    assert not _memory.reset_peak(tmp_path / "none")


def test_memory_is_read_in_bytes(tmp_path) -> None:
    (tmp_path / "status").write_text("Name:\tpython\nVmHWM:\t    2048 kB\n")
    assert _memory.status_bytes("VmHWM", tmp_path) == 2 * 2**20
    assert _memory.status_bytes("VmRSS", tmp_path) is None


def test_the_resident_memory_that_stands_in_is_that_of_this_process() -> None:
    assert _memory.resident_bytes() > 2**20
