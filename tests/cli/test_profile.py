"""`moo profile`, as a person types it: rows, files, verdicts, and what goes wrong."""

import csv
import json

import pytest

from profilers import load_measurements
from tests.profilers import models


@pytest.fixture
def model(tmp_path):
    return models.chain(tmp_path / "chain.onnx", width=64, depth=2)


def profile(moo, *words):
    return moo("profile", *map(str, words))


def test_each_combination_is_a_row_in_every_file(moo, model, tmp_path) -> None:
    out = tmp_path / "out.json"
    words = (model, "--mode", "quick", "--batch", "1,8", "--spinning", "off,on", "--json", out)
    found = profile(moo, *words)
    assert found.status == 0, found.err
    document = json.loads(out.read_text())
    settings = [(e["batch"], e["runtime"]["allow_spinning"]) for e in document["measurements"]]
    assert settings == [(1, False), (1, True), (8, False), (8, True)]
    assert document["protocol"]["mode"] == "quick"
    with (tmp_path / "out.csv").open() as file:
        assert [row["batch"] for row in csv.DictReader(file)] == ["1", "1", "8", "8"]
    assert len(load_measurements(out)) == 4
    assert "spinning" in found.out
    assert "arena" in found.out


def test_operators_and_arena_memory_are_shown_on_request(moo, model, tmp_path) -> None:
    out = tmp_path / "out.json"
    found = profile(moo, model, "--mode", "quick", "--operators", "--json", out)
    assert found.status == 0, found.err
    assert "MatMul" in found.out
    (entry,) = json.loads(out.read_text())["measurements"]
    assert sum(row["n_runs"] for row in entry["operators"]) == 2 * entry["n_profiled_calls"]
    assert entry["memory_bytes"]["arena_peak"] > 0


def test_a_bound_is_decided_and_written(moo, model, tmp_path) -> None:
    out = tmp_path / "out.json"
    words = (model, "--slo", "p95 <= 10 s", "--slo", "latency_p50 <= 1 ns", "--json", out)
    found = profile(moo, *words)
    assert found.status == 0, found.err
    assert "PASS  p95 <= 10 s" in found.out
    assert "FAIL  p50 <= 1 ns" in found.out
    (entry,) = json.loads(out.read_text())["measurements"]
    assert [bound["verdict"] for bound in entry["bounds"]] == ["PASS", "FAIL"]
    assert entry["latency_s"]["launches"] == 5  # decided early, but never by fewer


@pytest.mark.parametrize(("bound", "status"), [("p95 <= 10 s", 0), ("p50 <= 1 ns", 1)])
def test_a_bound_that_is_required_decides_the_exit_status(moo, model, bound, status) -> None:
    found = profile(moo, model, "--slo", bound, "--require-slo", "--mode", "quick")
    assert found.status == status
    assert ("not every bound is PASS" in found.err) == bool(status)


def test_an_option_of_the_provider_is_a_row_for_each_value(moo, model, tmp_path) -> None:
    out, name = tmp_path / "out.json", "session.set_denormal_as_zero"
    words = [model, "--mode", "quick", "--option", f"{name}=0", "--option", f"{name}=1", "--json", out]
    found = profile(moo, *words)
    assert found.status == 0, found.err
    entries = json.loads(out.read_text())["measurements"]
    assert [entry["runtime"]["options"] for entry in entries] == [{name: "0"}, {name: "1"}]
    assert [m.runtime.options for m in load_measurements(out)] == [((name, "0"),), ((name, "1"),)]
    with (tmp_path / "out.csv").open() as file:
        assert [row["options"] for row in csv.DictReader(file)] == [f"{name}=0", f"{name}=1"]


def test_a_library_of_operators_that_is_none_is_named(moo, model, tmp_path) -> None:
    library = tmp_path / "operators.so"
    library.write_text("not a library")
    found = profile(moo, model, "--mode", "quick", "--option", f"custom_ops_library={library}")
    assert found.status == 2
    assert found.err.count("\n") == 1
    assert "operators.so" in found.err


def test_a_run_that_measures_nothing_leaves_the_document_of_one_that_did(moo, model, tmp_path) -> None:
    out = tmp_path / "out.json"
    assert profile(moo, model, "--mode", "quick", "--json", out).status == 0
    before = out.read_bytes()
    found = profile(moo, model, "--mode", "quick", "--json", out, "--time-limit", "0.01")
    assert found.status == 1
    assert out.read_bytes() == before
    assert "stays as it was" in found.err


def test_a_symbolic_dimension_without_a_size_is_told_and_can_be_given(moo, tmp_path) -> None:
    path = models.mixed_types(tmp_path / "mixed.onnx")
    found = profile(moo, path, "--mode", "quick")
    assert found.status == 0, found.err


def test_what_cannot_be_measured_does_not_keep_the_rest_from_it(moo, model, tmp_path) -> None:
    out = tmp_path / "out.json"
    found = profile(moo, tmp_path / "none.onnx", model, "--mode", "quick", "--json", out)
    assert found.status == 1
    assert len(found.err.strip().splitlines()) == 1
    assert "none.onnx: cannot be read" in found.err
    document = json.loads(out.read_text())
    assert len(document["measurements"]) == 1
    assert "cannot be read" in document["failed"][0]["reason"]


def test_a_provider_that_is_not_there_is_named_and_the_others_run(moo, model) -> None:
    found = profile(moo, model, "--mode", "quick", "--provider", "abacus,cpu")
    assert found.status == 1
    assert "'abacus'" in found.err
    assert "chain.onnx" in found.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--batch", "0"], "--batch: expected numbers above 0 such as 1,8, got '0'"),
        (["--threads", "two"], "--threads: expected numbers above 0"),
        (["--mode", "slow"], "--mode: expected one of quick, standard, rigorous, got 'slow'"),
        (["--optimization", "most"], "graph_optimization_level must be one of"),
        (["--spinning", "maybe"], "--spinning: expected on, off"),
        (["--slo", "p95 < 5 ms"], "expected <= or >="),
        (["--slo", "p95 >= 5 ms"], "--slo: expected a bound such as"),
        (["--slo", "p95 <= 5"], "constraint 'latency_p95 <= 5'"),
        (["--slo", "p42 <= 5 ms"], "latency_p42"),
        (["--dim", "seq"], "--dim"),
        (["--input", "x=0x3"], "--input"),
        (["--npz", "none.npz"], "--npz"),
        (["--json", "no/such/folder/x.json"], "--json: folder no/such/folder does not exist"),
        (["--time-limit", "0"], "--time-limit"),
        (["--require-slo"], "--require-slo: expected a bound to require"),
        (["--option", "a.b"], "--option: expected NAME=VALUE, got 'a.b'"),
    ],
)
def test_wrong_options_are_refused_in_one_line_before_anything_is_measured(
    moo, model, words, message
) -> None:
    found = profile(moo, model, *words)
    assert found.status == 2
    assert message in found.err
    assert len(found.err.strip().splitlines()) == 1
    assert "Traceback" not in found.err


def test_only_wrong_models_are_wrong_input(moo, tmp_path) -> None:
    text = tmp_path / "text.onnx"
    text.write_text("no model")
    found = profile(moo, text, "--mode", "quick")
    assert found.status == 2
    assert "expected an ONNX file" in found.err


def test_a_run_past_its_time_limit_is_told(moo, tmp_path) -> None:
    path = models.endless_loop(tmp_path / "endless.onnx")
    found = profile(moo, path, "--mode", "quick", "--time-limit", "1")
    assert found.status == 1
    assert "expected to be done in 1 s" in found.err


def test_a_stopped_run_shows_and_keeps_the_rows_it_has(moo, model, tmp_path, monkeypatch) -> None:
    from profilers import OnnxRuntimeProfiler

    whole, n_calls = OnnxRuntimeProfiler.measure, []

    def interrupted(self, *words, **options):
        n_calls.append(None)
        if len(n_calls) == 2:
            raise KeyboardInterrupt
        return whole(self, *words, **options)

    monkeypatch.setattr(OnnxRuntimeProfiler, "measure", interrupted)
    out = tmp_path / "out.json"
    found = profile(moo, model, "--mode", "quick", "--batch", "1,2,3", "--json", out)
    assert found.status == 130
    assert "stopped after 1 of 3 rows" in found.err
    assert "chain.onnx" in found.out
    assert len(load_measurements(out)) == 1


def test_energy_that_cannot_be_read_is_unavailable_and_costs_no_row(
    moo, model, tmp_path, monkeypatch
) -> None:
    import profilers

    def fails(*words, **options):
        raise profilers.LaunchError("the process was killed")

    monkeypatch.setattr(profilers, "measure_energy", fails)
    out = tmp_path / "out.json"
    found = profile(moo, model, "--mode", "quick", "--energy", "--json", out)
    assert found.status == 0, found.err
    assert "unavailable" in found.out
    (entry,) = json.loads(out.read_text())["measurements"]
    assert entry["energy_j"] == {"gross_j": None, "net_j": None, "reason": "the process was killed"}
