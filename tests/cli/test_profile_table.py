"""What `moo profile` prints: nothing cropped at any width, and no two rows called alike."""

import io
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from rich.console import Console

from moo.cli._compare_labels import labels, model_names
from moo.cli._profile_table import print_operators, print_rows, print_verdicts
from profilers import EnergyPerCall, FakeProfiler, LatencyBound, Protocol, Runtime, RuntimeProfile
from profilers._ort_profile import ArenaMemory, OperatorTime

WIDTHS = (80, 100, 120, 200)
ONE = (Runtime(),)
SPINNING = (Runtime(), Runtime(allow_spinning=True))
BOUND = LatencyBound(0.95, 5e-3)


def latency_s(path: str, runtime: Runtime, launch: int) -> np.ndarray:
    """Calls of about 1.23 ms a row, with a tail."""
    generator = np.random.default_rng([launch, *path.encode()])
    return 1.234e-3 * runtime.batch * np.exp(0.05 * generator.standard_exponential(400))


def measure(*models: str, runtimes=ONE, launches: int = 1, **changes):
    fake = FakeProfiler(
        **{"latency_s": latency_s, "peak_memory_bytes": 123_456_789, "session_s": 0.0347} | changes,
        providers=("cpu", "torch", "torch-compile"),
    )
    return [
        fake.measure(model, runtime, protocol=Protocol(launches=launches))
        for model, runtime in product(models, runtimes)
    ]


def printed(width: int, function, *arguments) -> str:
    console = Console(width=width, file=io.StringIO(), highlight=False)
    function(console, *arguments)
    return console.file.getvalue()


def loaded(measurement):
    """The measurement with all that makes a row long."""
    node = OperatorTime(
        op_type="FusedMatMul",
        node_name="/encoder/layer.11/attention/self/query/MatMul_with_a_long_name" * 2,
        subgraph_of=(),
        provider="CPUExecutionProvider",
        n_runs=10,
        total_s=0.0123,
        share=0.987,
    )
    numbers = dict.fromkeys(("parameters_read_bytes", "prepared_bytes", "live_peak_bytes", "held_bytes"), 1)
    arena = ArenaMemory(**numbers, in_use_peak_bytes=87_654_321, reasons={})
    return replace(
        measurement,
        profile=RuntimeProfile(10, (node,), arena),
        energy=EnergyPerCall(0.0123, 0.00456, None),
        assumed_dimensions=("n",),
        launches=tuple(
            replace(launch, involuntary_switches=10_000, warmup_agreed=False, memory_tag="memory_fallback")
            for launch in measurement.launches
        ),
    )


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("is_loaded", [False, True])
def test_every_value_is_whole_at_every_width(width, is_loaded) -> None:
    runtimes = [Runtime(batch=batch, allow_spinning=spins) for batch in (1, 8) for spins in (False, True)]
    measured = measure("runs/a/model.onnx", "runs/b/model.onnx", runtimes=runtimes)
    if is_loaded:
        measured = [loaded(measurement) for measurement in measured]
    out = printed(width, print_rows, measured)
    assert "…" not in out
    assert max(map(len, out.split("latency:")[0].splitlines())) <= width
    for measurement in measured:
        median = measurement.latency(0.5)
        assert f"{1e3 * median.value:.3g} ms" in out
        assert f"[{1e3 * median.low:.3g}, {1e3 * median.high:.3g}]" in out
        assert set(measurement.tags) <= set(out.split())
    assert out.count("118 MiB") == len(measured)  # memory
    assert all(f"{name}/model.onnx" in out for name in "ab")
    if is_loaded:
        assert out.count("12.3 mJ,") == out.count("net 4.56") == len(measured)


@pytest.mark.parametrize("width", [80, 100, 119])
def test_a_narrow_terminal_gets_a_block_for_each_row_with_everything_in_it(width) -> None:
    (measurement,) = measured = [loaded(measure("model.onnx")[0])]
    lines = printed(width, print_rows, measured).splitlines()
    assert lines[0] == "model.onnx"
    median = measurement.latency(0.5)
    interval = f"[{1e3 * median.low:.3g}, {1e3 * median.high:.3g}]"
    assert lines[1].split(maxsplit=1) == ["p50", f"{1e3 * median.value:.3g} ms {interval}"]
    shown = [line.strip().split("  ")[0] for line in lines[1:11] if line[2] != " "]
    expected = ["p50", "p95", "p99", "rows/s", "memory", "arena peak", "energy", "load", "launches", "tags"]
    assert shown == expected[: len(shown)]
    tags = " ".join(lines[10 : lines.index("")]).split()
    assert tags == ["tags", *measurement.tags]
    assert all(len(line) <= width for line in lines[: lines.index("")])


def test_a_table_drops_optional_columns_before_it_crops() -> None:
    measured = [loaded(m) for m in measure("a/model.onnx", "b/model.onnx", runtimes=SPINNING)]
    titles = {width: printed(width, print_rows, measured).splitlines()[1] for width in (120, 200)}
    assert all(title in titles[200] for title in ("arena peak", "rows/s", "load"))
    assert "arena peak" not in titles[120]
    for title in ("model", "spinning", "p50", "p95", "p99", "memory", "energy", "launches", "tags"):
        assert title in titles[120]


def test_rows_that_no_table_can_hold_are_blocks_in_a_wide_terminal_too() -> None:
    name = "long/" * 30 + "model.onnx"
    out = printed(120, print_rows, measure(name, "short/" + "long/" * 29 + "model.onnx"))
    assert name in out
    assert "  p50" in out


@pytest.mark.parametrize("width", WIDTHS)
def test_rows_verdicts_and_operators_have_different_names(width) -> None:
    measured = measure("a/model.onnx", "b/model.onnx", runtimes=SPINNING)
    expected = [f"{model}/model.onnx, spinning {spins}" for model in "ab" for spins in ("off", "on")]
    verdicts = printed(width, print_verdicts, measured, [BOUND]).splitlines()
    assert [line.split("  ")[2].split(":")[0] for line in verdicts] == expected
    operators = printed(width, print_operators, [loaded(m) for m in measured])
    assert all(f"{label}: time by operator\n" in operators for label in expected)
    rows = printed(width, print_rows, measured)
    if width < 120:
        assert [line for line in rows.splitlines() if line.startswith(("a/", "b/"))] == expected
    else:
        cells = [
            line.split()[:2]
            for line in rows.splitlines()
            if line.split()[:1] in (["a/model.onnx"], ["b/model.onnx"])
        ]
        assert cells == [[f"{model}/model.onnx", spins] for model in "ab" for spins in ("off", "on")]


def test_the_same_row_twice_is_numbered_in_the_table_too() -> None:
    out = printed(200, print_rows, measure("m.onnx", "m.onnx"))
    assert "m.onnx #1" in out
    assert "m.onnx #2" in out


def test_labels_take_the_shortest_path_that_tells_models_apart() -> None:
    assert model_names(["m.onnx", "a/m.onnx", "/x/a/m.onnx", "./m.onnx"]) == [
        "m.onnx",
        "a/m.onnx",
        "x/a/m.onnx",
        "m.onnx",
    ]
    assert model_names([]) == []
    assert labels(["x/a.onnx"], [Runtime()]) == ["a.onnx"]
    models = ["x/a.onnx", "x/a.onnx", "y/a.onnx"]
    runtimes = [Runtime(), Runtime(batch=2), Runtime()]
    assert labels(models, runtimes) == ["x/a.onnx, batch 1", "x/a.onnx, batch 2", "y/a.onnx, batch 1"]


def test_what_all_rows_have_in_common_is_told_once() -> None:
    out = printed(200, print_rows, measure("a.onnx", "b.onnx", runtimes=[Runtime(batch=8)]))
    assert out.count("all rows: provider cpu, threads 1, batch 8\n") == 1


@pytest.mark.parametrize("width", WIDTHS)
def test_memory_is_said_to_be_what_it_is(width) -> None:
    out = printed(width, print_rows, measure("m.onnx"))
    assert "memory: peak of the process from the loaded model through its first calls\n" in out
    assert "whole process" not in out


def test_an_undecided_bound_shows_no_confidence() -> None:
    measured = measure("m.onnx", latency_s=[1e-3] * 10, launches=3)
    out = printed(80, print_verdicts, measured, [LatencyBound(0.99, 5e-3)])
    assert out.startswith("UNDECIDED  p99 <= 5 ms  m.onnx: 0 of 30 calls over; 30 samples")
    assert "confidence" not in out


def test_a_verdict_from_one_launch_says_so() -> None:
    (one,) = printed(80, print_verdicts, measure("m.onnx"), [BOUND]).splitlines()
    assert one == "PASS  p95 <= 5 ms  m.onnx: 0 of 400 calls over in this one launch, confidence above 99.9%"
    assert "one launch" not in printed(80, print_verdicts, measure("m.onnx", launches=3), [BOUND])


def test_blocks_of_calls_are_not_called_calls() -> None:
    measured = measure("m.onnx", latency_s=[1e-6] * 400, calls_per_block=50, launches=3)
    tail, median = printed(80, print_verdicts, measured, [BOUND, LatencyBound(0.5, 5e-3)]).splitlines()
    assert "0 of 1200 blocks over" in tail
    assert "0 of 1200 block means over" in median


@pytest.mark.parametrize("width", WIDTHS)
def test_torch_shows_no_settings_that_it_does_not_have(width) -> None:
    runtimes = [*SPINNING, *(replace(runtime, provider="torch") for runtime in SPINNING)]
    measured = measure("m.onnx", runtimes=runtimes)
    assert labels(["m.onnx"] * 4, runtimes) == [
        "m.onnx, provider cpu, spinning off",
        "m.onnx, provider cpu, spinning on",
        "m.onnx, provider torch #1",
        "m.onnx, provider torch #2",
    ]
    out = printed(width, print_rows, measured)
    if width >= 120:
        cells = [
            line.replace(" #", "#").split()[:3] for line in out.splitlines() if line.lstrip().startswith("m.")
        ]
        assert cells == [
            ["m.onnx", "cpu", "off"],
            ["m.onnx", "cpu", "on"],
            ["m.onnx#1", "torch", "-"],
            ["m.onnx#2", "torch", "-"],
        ]


@pytest.mark.parametrize(
    ("providers", "said"),
    [(["torch"], "optimization -\n"), (["cpu", "torch"], "optimization basic (torch: -)\n")],
)
def test_an_unusual_setting_of_all_rows_is_told_without_torch(providers, said) -> None:
    runtimes = [Runtime(provider=name, graph_optimization_level="basic") for name in providers]
    assert said in printed(80, print_rows, measure("m.onnx", runtimes=runtimes))


@pytest.mark.parametrize("width", WIDTHS)
def test_operators_are_shown_whole(width) -> None:
    out = printed(width, print_operators, [loaded(measure("m.onnx")[0])])
    assert "…" not in out
    assert all(text in out for text in ("98.7%", "1.23 ms", "FusedMatMul"))


def test_without_a_profile_nothing_is_said_of_operators() -> None:
    assert printed(80, print_operators, measure("m.onnx")) == ""


def test_without_rows_nothing_is_printed() -> None:
    assert printed(80, print_rows, []) == ""
    assert printed(80, print_verdicts, [], [BOUND]) == ""


def test_a_note_names_the_rows_it_is_for_unless_it_is_for_all() -> None:
    first, second = measure("m.onnx", runtimes=SPINNING)
    noted = replace(second, assumed_dimensions=("n",))
    out = printed(80, print_rows, [first, noted])
    assert (
        "m.onnx, spinning on: dimensions taken as 1 for want of a size: n; give it with --dim NAME=SIZE.\n"
        in out
    )
