"""Profiles of real sessions, whose operators and memory are known from how the models were built."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import GraphProto, TensorProto, helper, numpy_helper

from profilers._child._profiling import profile_session
from profilers._errors import LaunchError
from profilers._ort_profile import ArenaMemory, memory, operator_times, read_profile
from tests.profilers.models import chain, value, write

N = 2**18
TENSOR = 4 * N  # bytes of each tensor in most models here


class Opener:
    """Opens a model with the given options, and those the stage asks for."""

    def __init__(self, path: Path, **attributes: Any) -> None:
        self.path = path
        self.attributes = attributes

    def __call__(self, attributes: Mapping[str, Any], entries: Mapping[str, str]) -> Any:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        for name, setting in (self.attributes | dict(attributes)).items():
            setattr(options, name, setting)
        for name, entry in entries.items():
            options.add_session_config_entry(name, entry)
        return onnxruntime.InferenceSession(str(self.path), options, providers=["CPUExecutionProvider"])


def row(n: int = N) -> dict[str, np.ndarray]:
    return {"x": np.linspace(-1, 1, n, dtype=np.float32)[None]}


def profiled(path: Path, feed: dict, *, n_calls: int = 3, **attributes: Any) -> tuple[list, list]:
    paths = profile_session(Opener(path, **attributes), [feed], path.parent, n_calls=n_calls)
    return read_profile(paths["deployed"]), read_profile(paths["plain"])


def used(path: Path, feed: dict, **attributes: Any) -> ArenaMemory:
    return memory(*profiled(path, feed, **attributes))


def sines(path: Path, *, depth: int, operator: str = "Sin", n: int = N) -> Path:
    """`depth` operators in a row, each of which makes one tensor from one; Relu may write over its input."""
    names = ["x", *(f"h{i}" for i in range(depth - 1)), "y"]
    nodes = [
        helper.make_node(operator, [names[i]], [names[i + 1]], name=f"{operator}_{i}") for i in range(depth)
    ]
    return write(path, nodes, [value("x", ["b", n])], [value("y", ["b", n])])


def fan_out(path: Path, *, n: int = N) -> Path:
    """Four tensors made from one, then all put into the output: 4 + 4 are alive at the end."""
    operators = ["Sin", "Cos", "Exp", "Sinh"]
    nodes = [helper.make_node("Tanh", ["x"], ["a"])]
    nodes += [helper.make_node(operator, ["a"], [operator]) for operator in operators]
    nodes += [helper.make_node("Concat", operators, ["y"], axis=0)]
    return write(path, nodes, [value("x", ["b", n])], [value("y", ["rows", n])])


def body(*, depth: int) -> GraphProto:
    """The body of a loop: `depth` sines in a row, applied to the state."""
    names = ["state", *(f"t{i}" for i in range(depth - 1)), "next"]
    nodes = [helper.make_node("Sin", [names[i]], [names[i + 1]], name=f"body_{i}") for i in range(depth)]
    return looped(nodes, name="body", state="state", following="next")


def looped(nodes: list, *, name: str, state: str, following: str) -> GraphProto:
    """A body that never asks to end; its names must differ from those of the graph around it."""
    go_on = helper.make_node("Identity", [f"{name}_go_in"], [f"{name}_go_out"])
    inputs = [value(f"{name}_i", [], TensorProto.INT64), value(f"{name}_go_in", [], TensorProto.BOOL)]
    outputs = [value(f"{name}_go_out", [], TensorProto.BOOL), value(following, ["b", N])]
    return helper.make_graph([go_on, *nodes], name, [*inputs, value(state, ["b", N])], outputs)


def loop(path: Path, *, trips: int, depth: int) -> Path:
    node = helper.make_node("Loop", ["trips", "go", "x"], ["y"], body=body(depth=depth), name="loop")
    constants = [
        numpy_helper.from_array(np.array(trips), "trips"),
        numpy_helper.from_array(np.array(True), "go"),
    ]
    return write(path, [node], [value("x", ["b", N])], [value("y", ["b", N])], constants)


def branches(path: Path) -> Path:
    """An If between two sines; the nodes of its branches share a name."""

    def branch(operator: str) -> GraphProto:
        node = helper.make_node(operator, ["h"], [f"of_{operator}"], name="same")
        return helper.make_graph([node], operator, [], [value(f"of_{operator}", ["b", N])])

    nodes = [
        helper.make_node("Sin", ["x"], ["h"], name="before"),
        helper.make_node("If", ["c"], ["z"], then_branch=branch("Cos"), else_branch=branch("Exp"), name="if"),
        helper.make_node("Sin", ["z"], ["y"], name="after"),
    ]
    inputs = [value("x", ["b", N]), value("c", [], TensorProto.BOOL)]
    return write(path, nodes, inputs, [value("y", ["b", N])])


def product(path: Path, *, size: int = 512) -> Path:
    """y = (x w) * c with w of `size` x `size`: an operator that packs its weights, and one that does not."""
    weights = [
        numpy_helper.from_array(np.full((size, size), 0.5, np.float32), "w"),
        numpy_helper.from_array(np.linspace(1, 2, size, dtype=np.float32)[None], "c"),
    ]
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Mul", ["h", "c"], ["y"])]
    return write(path, nodes, [value("x", ["b", size])], [value("y", ["b", size])], weights)


def events_of_operators(events: list, *, call: int) -> list:
    """The events of operators in one call of a profile."""
    ends = [-1, *(i for i, event in enumerate(events) if event["name"] == "model_run")]
    return [event for event in events[ends[call] : ends[call + 1]] if event["cat"] == "Node"]


def test_every_node_counts_once_a_call(tmp_path: Path) -> None:
    events, _ = profiled(sines(tmp_path / "m.onnx", depth=3), row(), n_calls=5)
    times = operator_times(events, n_skipped=2)
    assert sorted((time.node_name, time.op_type, time.n_runs) for time in times) == [
        (f"Sin_{i}", "Sin", 3) for i in range(3)
    ]
    assert {(time.provider, time.subgraph_of) for time in times} == {("CPUExecutionProvider", ())}


def test_times_are_sums_of_the_calls_that_count(tmp_path: Path) -> None:
    events, _ = profiled(sines(tmp_path / "m.onnx", depth=2), row(), n_calls=3)
    counted = [*events_of_operators(events, call=1), *events_of_operators(events, call=2)]
    times = {time.node_name: time for time in operator_times(events, n_skipped=1)}
    for name, time in times.items():
        micros = [event["dur"] for event in counted if event["name"] == f"{name}_kernel_time"]
        assert time.total_s == pytest.approx(sum(micros) / 1e6)
        assert time.mean_s == pytest.approx(sum(micros) / 2e6)


def test_shares_fall_and_add_up_to_one(tmp_path: Path) -> None:
    events, _ = profiled(fan_out(tmp_path / "m.onnx"), row())
    shares = [time.share for time in operator_times(events)]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(1.0)


def test_a_loop_is_counted_without_its_body(tmp_path: Path) -> None:
    events, _ = profiled(loop(tmp_path / "m.onnx", trips=4, depth=2), row(), n_calls=3)
    times = {(time.subgraph_of, time.node_name): time for time in operator_times(events, n_skipped=1)}
    whole = [
        event["dur"]
        for call in (1, 2)
        for event in events_of_operators(events, call=call)
        if event["name"] == "loop_kernel_time"
    ]
    assert {key: time.n_runs for key, time in times.items() if time.op_type != "Identity"} == {
        ((), "loop"): 2,
        (("loop",), "body_0"): 8,
        (("loop",), "body_1"): 8,
    }
    assert sum(time.total_s for time in times.values()) <= sum(whole) / 1e6
    assert times[("loop",), "body_0"].total_s > times[(), "loop"].total_s


def test_only_the_branch_taken_is_counted_and_lies_in_its_if(tmp_path: Path) -> None:
    feed = row() | {"c": np.array(False)}
    events, _ = profiled(branches(tmp_path / "m.onnx"), feed)
    times = operator_times(events)
    assert {(*time.subgraph_of, time.node_name, time.op_type) for time in times} == {
        ("before", "Sin"),
        ("if", "If"),
        ("if", "same", "Exp"),
        ("after", "Sin"),
    }


def test_loops_in_loops_keep_the_whole_way_down(tmp_path: Path) -> None:
    inner = helper.make_node("Loop", ["trips", "go", "outer_state"], ["n"], body=body(depth=1), name="inner")
    outer_body = looped([inner], name="outer_body", state="outer_state", following="n")
    outer = helper.make_node("Loop", ["trips", "go", "x"], ["y"], body=outer_body, name="outer")
    constants = [numpy_helper.from_array(np.array(2), "trips"), numpy_helper.from_array(np.array(True), "go")]
    path = write(tmp_path / "m.onnx", [outer], [value("x", ["b", N])], [value("y", ["b", N])], constants)
    events, _ = profiled(path, row(), n_calls=2)
    runs = {(*time.subgraph_of, time.node_name): time.n_runs for time in operator_times(events)}
    assert runs["outer",] == 1
    assert runs["outer", "inner"] == 2
    assert runs["outer", "inner", "body_0"] == 4


def test_fused_nodes_are_counted_under_what_they_became(tmp_path: Path) -> None:
    weight = numpy_helper.from_array(np.ones((8, 3, 3, 3), np.float32), "w")
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["h"], pads=[1] * 4),
        helper.make_node("Relu", ["h"], ["y"]),
    ]
    images: list[int | str | None] = ["b", 3, 16, 16]
    path = write(tmp_path / "m.onnx", nodes, [value("x", images)], [value("y", ["b", 8, 16, 16])], [weight])
    events, _ = profiled(path, {"x": np.ones((1, 3, 16, 16), np.float32)})
    operators = [time.op_type for time in operator_times(events)]
    assert "Relu" not in operators
    assert any("Conv" in operator for operator in operators)


def test_names_that_json_must_quote_come_back(tmp_path: Path) -> None:
    node = helper.make_node("Sin", ["x"], ["y"], name='a"b\\c\né')
    path = write(tmp_path / "m.onnx", [node], [value("x", ["b", N])], [value("y", ["b", N])])
    events, _ = profiled(path, row())
    assert [time.node_name for time in operator_times(events)] == ['a"b\\c\né']


def test_a_model_that_runs_no_operator_has_no_times_and_says_why_no_memory(tmp_path: Path) -> None:
    constant = numpy_helper.from_array(np.ones(4, np.float32), "k")
    path = write(
        tmp_path / "m.onnx", [helper.make_node("Add", ["k", "k"], ["y"])], [], [value("y", [4])], [constant]
    )
    events, plain = profiled(path, {})
    result = memory(events, plain)
    assert operator_times(events) == ()
    assert result.live_peak_bytes is None
    assert "no operator ran" in result.reasons["live_peak_bytes"]


@pytest.mark.parametrize("n_skipped", [-1, 3])
def test_skipping_all_calls_is_refused(tmp_path: Path, n_skipped: int) -> None:
    events, _ = profiled(sines(tmp_path / "m.onnx", depth=1, n=8), row(8), n_calls=3)
    with pytest.raises(ValueError, match=f"from 0 to 2, .*got {n_skipped}"):
        operator_times(events, n_skipped=n_skipped)


def test_a_call_cut_off_is_left_out(tmp_path: Path) -> None:
    events, _ = profiled(sines(tmp_path / "m.onnx", depth=2, n=8), row(8), n_calls=3)
    cut = events[: len(events) - 2]
    assert [time.n_runs for time in operator_times(cut, n_skipped=0)] == [2, 2]


def test_calls_that_overlap_are_refused(tmp_path: Path) -> None:
    events, _ = profiled(sines(tmp_path / "m.onnx", depth=1, n=8), row(8))
    elsewhere = [event | {"tid": 0} if event["name"] == "model_run" else event for event in events]
    with pytest.raises(ValueError, match="one after the other"):
        operator_times(elsewhere)


def test_times_below_a_microsecond_have_no_share(tmp_path: Path) -> None:
    events, _ = profiled(sines(tmp_path / "m.onnx", depth=1, n=8), row(8))
    (time,) = operator_times([event | {"dur": 0} for event in events])
    assert (time.total_s, time.share) == (0.0, None)


@pytest.mark.parametrize("operator", ["Sin", "Relu"])
@pytest.mark.parametrize("depth", [1, 2, 3, 6])
def test_a_chain_has_two_tensors_alive(tmp_path: Path, depth: int, operator: str) -> None:
    result = used(sines(tmp_path / "m.onnx", depth=depth, operator=operator), row())
    assert result.live_peak_bytes == min(depth, 2) * TENSOR  # an operator alone has only its output


def test_a_fan_out_has_all_its_tensors_alive(tmp_path: Path) -> None:
    result = used(fan_out(tmp_path / "m.onnx"), row())
    assert result.live_peak_bytes == (4 + 4) * TENSOR


def test_the_last_tensors_size_does_not_hide_the_middle(tmp_path: Path) -> None:
    size = 1024
    ones = numpy_helper.from_array(np.ones((1, size), np.float32), "ones")
    nodes = [
        helper.make_node("MatMul", ["x", "ones"], ["wide"]),
        helper.make_node("Exp", ["wide"], ["wider"]),
        helper.make_node("ReduceSum", ["wider"], ["y"], keepdims=1),
    ]
    path = write(tmp_path / "m.onnx", nodes, [value("x", ["b", 1])], [value("y", [1, 1])], [ones])
    result = used(path, {"x": np.ones((256, 1), np.float32)})
    assert result.live_peak_bytes == 2 * 4 * 256 * size


def test_tiny_tensors_are_counted_without_rounding(tmp_path: Path) -> None:
    result = used(sines(tmp_path / "m.onnx", depth=3, n=7), row(7))
    assert result.live_peak_bytes == 2 * 4 * 7
    assert result.in_use_peak_bytes % 256 == 0


@pytest.mark.parametrize("depth", [2, 4, 6])
def test_a_loops_peak_is_the_state_and_two_tensors_whatever_its_trips(tmp_path: Path, depth: int) -> None:
    result = used(loop(tmp_path / "m.onnx", trips=4, depth=depth), row())
    assert result.live_peak_bytes == pytest.approx(3 * TENSOR, abs=64)  # and some scalars


def test_weights_are_not_activations(tmp_path: Path) -> None:
    size = 512
    result = used(product(tmp_path / "m.onnx", size=size), row(size))
    assert result.live_peak_bytes == 2 * 4 * size
    assert result.parameters_read_bytes == 4 * (size * size + size)


def test_packed_weights_are_what_the_session_prepares(tmp_path: Path) -> None:
    size = 512
    result = used(product(tmp_path / "m.onnx", size=size), row(size))
    assert result.prepared_bytes == pytest.approx(4 * size * size, rel=0.01)


def test_a_chain_of_products_counts_all_its_weights(tmp_path: Path) -> None:
    path = chain(tmp_path / "m.onnx", width=256, depth=3)
    assert used(path, row(256)).parameters_read_bytes == 3 * 4 * 256 * 256


def test_a_constant_two_nodes_read_counts_twice(tmp_path: Path) -> None:
    constant = numpy_helper.from_array(np.linspace(1, 2, N, dtype=np.float32)[None], "k")
    nodes = [
        helper.make_node("Add", ["x", "k"], ["h"]),
        helper.make_node("Sin", ["h"], ["s"]),
        helper.make_node("Mul", ["s", "k"], ["y"]),
    ]
    path = write(tmp_path / "m.onnx", nodes, [value("x", ["b", N])], [value("y", ["b", N])], [constant])
    assert used(path, row()).parameters_read_bytes == 2 * TENSOR


def test_the_memory_pattern_holds_more_than_lives(tmp_path: Path) -> None:
    result = used(sines(tmp_path / "m.onnx", depth=3), row())
    assert result.in_use_peak_bytes == 3 * TENSOR  # a block for both tensors to the end, and the output
    assert result.held_bytes >= result.in_use_peak_bytes


def test_without_memory_patterns_the_arena_peaks_where_the_tensors_do(tmp_path: Path) -> None:
    result = used(sines(tmp_path / "m.onnx", depth=3), row(), enable_mem_pattern=False)
    assert result.in_use_peak_bytes == result.live_peak_bytes == 2 * TENSOR


def test_scratch_memory_is_in_the_arenas_peak_and_not_in_the_tensors(tmp_path: Path) -> None:
    names = ["a", "b", "c"]
    nodes = [
        helper.make_node(operator, ["x"], [name])
        for operator, name in zip(("Sin", "Cos", "Exp"), names, strict=True)
    ]
    nodes += [helper.make_node("Sum", names, ["y"])]
    path = write(tmp_path / "m.onnx", nodes, [value("x", ["b", N])], [value("y", ["b", N])])
    result = used(path, row(), enable_mem_pattern=False)
    assert result.live_peak_bytes == 4 * TENSOR
    assert result.in_use_peak_bytes > 4 * TENSOR


def test_without_an_arena_its_memory_is_unknown_and_the_reason_given(tmp_path: Path) -> None:
    result = used(product(tmp_path / "m.onnx"), row(512), enable_cpu_mem_arena=False)
    assert (result.live_peak_bytes, result.in_use_peak_bytes, result.held_bytes) == (None, None, None)
    assert "enable_cpu_mem_arena" in result.reasons["held_bytes"]
    assert result.parameters_read_bytes == 4 * (512 * 512 + 512)


def test_one_call_tells_nothing_of_the_arena_of_the_second(tmp_path: Path) -> None:
    events, plain = profiled(sines(tmp_path / "m.onnx", depth=3), row(), n_calls=2)
    first = events[: 1 + next(i for i, event in enumerate(events) if event["name"] == "model_run")]
    result = memory(first, plain)
    assert result.held_bytes is None
    assert "at least 2" in result.reasons["held_bytes"]
    assert result.live_peak_bytes == 2 * TENSOR


def test_a_profile_without_a_call_has_no_memory(tmp_path: Path) -> None:
    _, plain = profiled(sines(tmp_path / "m.onnx", depth=1, n=8), row(8))
    with pytest.raises(ValueError, match="events must hold at least one whole call"):
        memory([], plain)


GROWTH = """
import json, sys
from pathlib import Path
from tests.profilers.test_ort_profile import Opener, row

def mapped() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmSize"))

session = Opener(Path(sys.argv[1]))({"enable_profiling": True, "profile_file_prefix": sys.argv[2]}, {})
feed = row(int(sys.argv[3]))
before = mapped()
for _ in range(3):
    session.run(None, feed)
print(json.dumps([session.end_profiling(), mapped() - before]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
@pytest.mark.parametrize("build", [fan_out, lambda path, n: sines(path, depth=3, n=n)])
def test_the_process_grows_by_what_the_arena_says_it_holds(tmp_path: Path, build: Any) -> None:
    n = 2**22
    path = build(tmp_path / "m.onnx", n=n)
    command = [sys.executable, "-c", GROWTH, str(path), str(tmp_path / "p"), str(n)]
    output = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    profile, grown_bytes = json.loads(output)
    events = read_profile(profile)
    held_bytes = memory(events, events).held_bytes
    assert held_bytes == pytest.approx(grown_bytes, rel=0.1)


@pytest.mark.parametrize("text", ["", "[", '{"a": 1}', '[{"name": "x"}]', "\x00"])
def test_what_is_no_whole_profile_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "p.json"
    path.write_text(text)
    with pytest.raises(LaunchError, match="profile again"):
        read_profile(path)


def test_a_profile_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match="cannot be read"):
        read_profile(tmp_path / "p.json")


def test_the_stage_writes_into_its_folder_alone(tmp_path: Path) -> None:
    folder = tmp_path / "profiles"
    folder.mkdir()
    opener = Opener(sines(tmp_path / "m.onnx", depth=1, n=8))
    paths = profile_session(opener, [row(8)], folder, n_calls=2)
    assert {Path(path) for path in paths.values()} == set(folder.iterdir())
    assert set(tmp_path.iterdir()) == {folder, tmp_path / "m.onnx"}


def test_the_stage_takes_the_feeds_in_turn(tmp_path: Path) -> None:
    opener = Opener(sines(tmp_path / "m.onnx", depth=1, n=8))
    wide = {"x": np.ones((5, 8), np.float32)}
    paths = profile_session(opener, [row(8), wide], tmp_path, n_calls=3)
    shapes = [
        event["args"]["output_type_shape"][0]["float"]
        for event in read_profile(paths["deployed"])
        if event["cat"] == "Node"
    ]
    assert shapes == [[1, 8], [5, 8], [1, 8]]


def test_the_stage_refuses_no_feeds_and_too_few_calls(tmp_path: Path) -> None:
    opener = Opener(tmp_path / "never_opened.onnx")
    with pytest.raises(ValueError, match="feeds must hold at least one"):
        profile_session(opener, [], tmp_path, n_calls=2)
    with pytest.raises(ValueError, match="n_calls must be at least 2, got 1"):
        profile_session(opener, [row()], tmp_path, n_calls=1)
