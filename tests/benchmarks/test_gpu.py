"""The GPU benchmark from its command line: on a scripted device as far as it goes; refused without one."""

import itertools
import json
import sys
from pathlib import Path

import pytest

from benchmarks import gpu
from benchmarks._gpu_page import page
from benchmarks.gpu import Bench, held
from profilers import Protocol, Statistic

torch = pytest.importorskip("torch", reason="torch is not installed")

BRIEF = Protocol(min_calls=72, max_calls=80, min_time_s=0.02, precision_budget_s=0.01, warmup_budget_s=0.05)
TINY = """
import torch

def make(n):
    torch.manual_seed(0)
    return torch.nn.Linear(n, n), (torch.zeros(2, n),)

launches = product = large_product = convolutions = small_network = lambda: make(256)
"""


@pytest.fixture
def bench(tmp_path) -> Bench:
    """The scripted device, and models that the processor can do."""
    (tmp_path / "tiny.py").write_text(TINY)
    return Bench(
        provider="torch-scripted", models=tmp_path / "tiny.py", n_rows=64, protocol=BRIEF, rounds=1, runs=1
    )


def run(bench: Bench, out: Path, *words: str) -> int:
    return gpu.main([*words, "--rounds", "1", "--runs", "1", "--out", str(out)], bench)


def test_a_command_keeps_its_figures_with_the_device_and_versions(bench, tmp_path) -> None:
    out = tmp_path / "gpu.json"
    assert run(bench, out, "events") == 0
    found = json.loads(out.read_text())["events"]
    assert found["facts"]["name"] == "scripted device"
    assert found["facts"]["versions"]["torch"] == torch.__version__
    assert "cpu_model" in found["environment"]["identity"]
    for row in found["rows"]:
        assert 0 < row["hot_s"]["low"] <= row["hot_s"]["value"] <= row["hot_s"]["high"]
        assert row["memory_bytes"] == {"allocated_peak": 1_000_000, "reserved_peak": 2_000_000}
        assert row["clocks"]["n_states"] > 0
    assert "| launches | 1 |" in out.with_suffix(".md").read_text()
    assert "On scripted device, driver" in out.with_suffix(".md").read_text()


def test_a_plain_loop_takes_turns_with_the_profiler(bench, tmp_path) -> None:
    out = tmp_path / "gpu.json"
    assert run(bench, out, "matmul") == 0
    (row,) = json.loads(out.read_text())["matmul"]["rows"]
    assert row["operations"] == 2 * 64 * 8192**2
    assert row["ratio"] == pytest.approx(row["ours_s"][0] / row["theirs_s"][0])
    assert row["agrees"] == (abs(row["ratio"] - 1) <= 0.02)


def test_what_is_missing_is_told_in_its_row(bench, tmp_path) -> None:
    out = tmp_path / "gpu.json"
    assert run(bench, out, "graph") == 0
    plain, *others = json.loads(out.read_text())["graph"]["rows"]
    assert plain["wall_s"]["value"] > 0
    assert len(others) == len(gpu.CANDIDATES) - 1
    assert all("needs provider torch-cuda" in row["reason"] for row in others)
    assert out.with_suffix(".md").read_text().count("needs provider torch-cuda") == len(others)


def test_triton_that_is_not_there_is_told(bench, tmp_path) -> None:
    if "triton" in sys.modules or torch.version.cuda is not None:
        pytest.skip("triton is installed here")
    out = tmp_path / "gpu.json"
    assert run(bench, out, "do_bench") == 0
    assert [row["reason"] for row in json.loads(out.read_text())["do_bench"]["rows"]] == 2 * [
        "No module named 'triton'"
    ]
    assert "No module named 'triton'" in out.with_suffix(".md").read_text()


def test_intervals_over_launches_and_within_one_are_judged(bench, tmp_path) -> None:
    out = tmp_path / "gpu.json"
    assert run(bench, out, "coverage") == 0
    found = json.loads(out.read_text())["coverage"]
    for clock in ("wall", "device"):
        over, within = found[clock].values()
        assert (over["n"], within["n"]) == (1, gpu.LAUNCHES)
        assert over["held"] == 1  # the one median lies in its own interval
        assert over["grand_median_s"] == within["grand_median_s"]
    assert "of 5" in out.with_suffix(".md").read_text()


def test_what_does_not_fit_the_time_is_left_out_and_the_rest_is_kept(bench, tmp_path, capsys) -> None:
    asked: list[str] = []
    seconds = itertools.count()
    timed = Bench(**{**vars_of(bench), "clock": lambda: float(next(seconds)), "end_s": 3.0})
    out = tmp_path / "gpu.json"
    out.write_text('{"energy": {"kept": true}}')
    with pytest.MonkeyPatch.context() as patch:
        for name in gpu.COMMANDS:
            patch.setitem(gpu.COMMANDS, name, lambda bench, name=name: asked.append(name) or {"reason": name})
        patch.setattr(gpu, "page", lambda known: "")
        gpu.run(timed, list(gpu.COMMANDS), out)
    assert asked == ["events", "do_bench", "matmul"]
    assert capsys.readouterr().out.count("left out, the time is over") == 3
    kept = json.loads(out.read_text())
    assert kept["energy"] == {"kept": True}
    assert [kept[name]["reason"] for name in asked] == asked


def vars_of(bench: Bench) -> dict:
    return {name: getattr(bench, name) for name in bench.__dataclass_fields__}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
@pytest.mark.parametrize("command", ["all", "events", "energy"])
def test_a_machine_without_a_gpu_is_refused_in_one_line(tmp_path, capsys, command) -> None:
    out = tmp_path / "gpu.json"
    assert gpu.main([command, "--out", str(out)]) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    assert streams.err.startswith("benchmarks.gpu: torch ")
    assert streams.err.count("\n") == 1
    assert not out.exists()


def test_a_page_without_figures_is_refused(tmp_path, capsys) -> None:
    assert gpu.main(["page", "--out", str(tmp_path / "none.json")]) == 2
    assert "run a command first" in capsys.readouterr().err


def test_a_peer_that_dies_gives_the_last_line_it_wrote(bench) -> None:
    found = bench.peer("abacus", "product")
    assert found == {"reason": "KeyError: 'abacus'"}


def statistic(value: float, low: float | None, high: float | None) -> Statistic:
    return Statistic(value, low, high, 9, None, None)


def test_an_interval_holds_what_is_between_its_ends() -> None:
    runs = [statistic(value, None, None) for value in (1.0, 2.0, 3.0)]
    intervals = [statistic(2.0, 1.0, 3.0), statistic(1.0, 0.5, 1.9), statistic(3.0, 2.0, 4.0)]
    found = held([*intervals, statistic(1.0, None, None)], runs)
    assert (found["held"], found["n"], found["grand_median_s"]) == (2, 3, 2.0)
    assert found["half_width"] == pytest.approx(0.5)


def test_the_page_tells_clocks_rates_and_reasons() -> None:
    facts = {"name": "GPU", "driver": "570.1", "cuda": "12.8", "versions": {"torch": "2.9"}}
    spread = {"min": 1.2e9, "median": 1.5e9, "max": 1.98e9}
    clocks = {"sm_clock_hz": spread, "reasons": {"power_cap": 2}}
    who = {"model": "large_product", "batch": 8192, "options": {"precision": "bf16"}}
    row = {
        **who,
        "peer": "loop",
        "ours_s": [2e-3],
        "theirs_s": [1e-3],
        "ratio": 2.0,
        "agrees": False,
        "operations": 2 * 8192**3,
        "rows": [{"clocks": clocks}],
    }
    joules = {**who, "gross_j": 0.5, "net_j": None, "reason": None}
    known = {
        "matmul": {"rows": [row], "facts": facts, "seconds": 9.0},
        "energy": {"rows": [joules], "facts": facts, "seconds": 9.0},
    }
    text = page(known)
    assert "| 2 ms | 1 ms | 2.0000 | 550 | 1100 | NO |" in text
    assert "Clock 1200 to 1980 MHz, held back by power_cap." in text
    assert "On GPU, driver 570.1, CUDA 12.8, torch 2.9." in text
    assert "| 500 mJ |  |" in text


@pytest.mark.gpu
@pytest.mark.slow
def test_our_medians_agree_with_those_of_others_on_a_gpu(tmp_path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("torch finds no GPU")
    for command in ("do_bench", "matmul"):
        assert gpu.main([command, "--rounds", "3", "--out", str(tmp_path / "gpu.json")]) == 0
    known = json.loads((tmp_path / "gpu.json").read_text())
    rows = [row for command in ("do_bench", "matmul") for row in known[command]["rows"]]
    assert [row["model"] for row in rows if not row.get("agrees")] == []
