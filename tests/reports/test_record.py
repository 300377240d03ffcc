import csv
import io
import json
import math
from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import given, settings

from reports._choice import choose
from reports._record import candidates_csv, report_json, report_record
from tests.moo.random_results import random_results
from tests.reports import samples


def strict_loads(text):
    def refuse(word):
        raise ValueError(f"{word} is no JSON")

    return json.loads(text, parse_constant=refuse)


def record(results):
    return report_record(results, choose(results))


def test_the_record_has_every_key_of_its_schema():
    found = record(samples.digits())
    assert list(found) == [
        *(
            "schema",
            "study",
            "task",
            "objectives",
            "constraints",
            "baseline",
            "candidates",
            "failed",
            "running",
        ),
        *("recommended", "confirmation", "test_opened", "environment", "protocol"),
    ]
    assert list(found["candidates"][0]) == [
        *("id", "label", "state", "params", "metrics", "feasible", "on_front", "p_on_front", "p_feasible"),
        *("ruled_out", "violations", "tags", "paired_with_baseline", "artefact", "runtime"),
    ]
    assert found["objectives"][1:] == [
        {"metric": "latency_p50", "direction": "minimize", "unit": "s", "scale": "linear"},
        {"metric": "parameters", "direction": "minimize", "unit": "count", "scale": "log10"},
    ]
    assert found["constraints"][1]["bound"] == 48 * 2**20
    assert list(found["recommended"]) == [
        *("id", "why", "score", "terms", "weights", "stable_for", "runner_up", "front"),
        *("tightest_bounds", "wider_bounds"),
    ]
    assert list(found["recommended"]["stable_for"]) == ["accuracy", "latency_p50", "parameters"]


def chosen_again(report, weights):
    """The rule of `moo.decision`, from the JSON alone."""
    names = [objective["metric"] for objective in report["objectives"]]
    losses = {}
    for candidate in report["candidates"]:
        values = [candidate["metrics"][name]["value"] for name in names]
        is_in = candidate["state"] == "complete" and candidate["feasible"] and not candidate["ruled_out"]
        if is_in and None not in values:
            ways = [1 if objective["direction"] == "minimize" else -1 for objective in report["objectives"]]
            losses[candidate["id"]] = [way * value for way, value in zip(ways, values, strict=True)]

    def beats(one, other):
        return one != other and all(a <= b for a, b in zip(one, other, strict=True))

    front = [i for i in losses if not any(beats(other, losses[i]) for other in losses.values())]
    scaled = {i: [] for i in front}
    for j, objective in enumerate(report["objectives"]):
        column = [math.log10(losses[i][j]) if objective["scale"] == "log10" else losses[i][j] for i in front]
        for i, value in zip(front, column, strict=True):
            scaled[i].append((value - min(column)) / ((max(column) - min(column)) or 1))

    def order(i):
        terms = [weights[name] * value for name, value in zip(names, scaled[i], strict=True)]
        return round(max(terms), 9), round(sum(terms), 9), round(sum(scaled[i]), 9), i

    return sorted(front, key=order)


@settings(max_examples=150, deadline=None)
@given(random_results())
def test_a_program_redoes_the_choice_from_the_json_alone(results):
    report = strict_loads(report_json(results, choose(results)))
    found = report["recommended"]
    if found is None:
        assert chosen_again(report, dict.fromkeys([o["metric"] for o in report["objectives"]], 1.0)) == []
        return
    again = chosen_again(report, found["weights"])
    assert [found["id"], found["runner_up"]] == [*again, None][:2]
    assert sorted(found["front"]) == sorted(again)
    for name, span in found["stable_for"].items():
        for rival, at in (("below", 0.999 * span["low"]), ("above", 1 - 0.999 * (1 - span["high"]))):
            if span[f"rival_{rival}"] is not None:
                share = (1 - at) / (len(found["weights"]) - 1)
                moved = {other: at if other == name else share for other in found["weights"]}
                assert chosen_again(report, moved)[0] != found["id"]


@settings(max_examples=150, deadline=None)
@given(random_results())
def test_whatever_the_results_the_choice_has_words_and_strict_json(results):
    choice = choose(results)
    assert choice.headline
    assert all(heading and text.endswith(".") for heading, text in choice.points)
    found = strict_loads(report_json(results, choice))
    assert (found["recommended"] is None) == (choice.number is None)


def confirmed(results, number, **verdict):
    found = {"verdict": "on", "p_on_front": 0.97, "p_feasible": 0.99, "reason": None, **verdict}
    opening = {"time": "2026-01-02T03:04:05+00:00", "trials": [number], "again": False}
    entry = {"trial": number, "confirmed": found, "metrics": {}}
    return replace(results, confirmation={"candidates": [entry], "test_opened": [opening], "odd": math.inf})


def test_the_record_has_the_confirmation_as_it_is_stored_and_its_probabilities():
    results = confirmed(samples.pairs([(0.9, 0.001), (0.96, 0.002), (0.97, 0.010)]), 1)
    found = strict_loads(report_json(results, choose(results)))
    assert [(c["p_on_front"], c["p_feasible"]) for c in found["candidates"]][:2] == [
        (None, None),
        (0.97, 0.99),
    ]
    assert found["confirmation"]["candidates"][0]["confirmed"]["p_on_front"] == 0.97
    assert found["confirmation"]["odd"] == "inf"
    assert found["test_opened"] == results.confirmation["test_opened"]
    rows = list(csv.DictReader(io.StringIO(candidates_csv(results))))
    assert [row["p_on_front"] for row in rows] == ["", "0.97", ""]


def test_who_is_ruled_out_is_in_the_record_with_the_reason():
    results = confirmed(
        samples.pairs([(0.9, 0.001), (0.96, 0.002)]), 1, verdict="off", reason="dominated by luck"
    )
    found = record(results)
    assert found["recommended"]["id"] == 0
    assert "dominated by luck" in found["candidates"][1]["ruled_out"]
    assert found["candidates"][0]["ruled_out"] is None


def test_a_label_is_kept_as_it_is_and_stands_in_the_csv():
    results = samples.pairs([(0.9, 0.001), (0.96, 0.002)], baseline=0)
    named = replace(results, trials=(results.trials[0], replace(results.trials[1], label="=net, 2")))
    assert [c["label"] for c in record(named)["candidates"]] == ["trial 0 (baseline)", "=net, 2"]
    rows = list(csv.DictReader(io.StringIO(candidates_csv(named))))
    assert [row["label"] for row in rows] == ["", "'=net, 2"]


def test_bounds_that_would_change_the_choice_are_in_the_record():
    results = samples.constrained([(0.9, 0.002, 0.5), (0.8, 0.001, -0.2)])
    found = record(results)["recommended"]
    assert found["tightest_bounds"] == {"latency_p95 <= 1 ms": 0.0008}
    assert found["wider_bounds"] == [{"constraint": "latency_p95 <= 1 ms", "bound": 0.0015, "id": 0}]


def test_trials_that_still_run_are_counted():
    results = replace(samples.pairs([(0.9, 0.001)]), n_running=3)
    assert record(results)["running"] == 3
    assert results.counts.endswith(", 3 more running")


def test_the_record_holds_every_candidate_and_every_failure():
    results = samples.digits()
    found = record(results)
    assert len(found["candidates"]) == sum(t.state != "failed" for t in results.trials)
    assert [f["id"] for f in found["failed"]] == [t.number for t in results.failed]
    assert [c["id"] for c in found["candidates"] if c["on_front"]] == sorted(t.number for t in results.front)


def test_what_is_unknown_is_null_in_the_record():
    found = record(samples.digits())
    assert found["candidates"][0]["metrics"]["latency_p99"] == {"value": None, "low": None, "high": None}
    assert found["candidates"][0]["p_on_front"] is None
    assert found["candidates"][0]["ruled_out"] is None
    assert (found["confirmation"], found["test_opened"]) == (None, [])
    alone = record(samples.pairs([(0.9, 0.001)]))["recommended"]
    assert (alone["runner_up"], alone["stable_for"]["accuracy"]["rival_above"]) == (None, None)
    assert record(samples.pairs([]))["recommended"] is None
    assert record(samples.pairs([]))["environment"] is None


def test_a_relative_bound_that_is_not_known_is_null():
    assert record(replace(samples.bounded(), bounds=()))["constraints"][1]["bound"] is None


def test_an_infinite_value_is_null_and_an_infinite_parameter_is_text():
    results = samples.pairs([(0.9, math.inf)])
    found = strict_loads(report_json(results, choose(results)))
    assert found["candidates"][0]["metrics"]["latency_p50"]["value"] is None
    hostile = samples.hostile()
    assert strict_loads(report_json(hostile, choose(hostile)))["candidates"][0]["params"]["bad"] == "inf"


def test_values_in_the_csv_are_those_of_the_table():
    results = samples.digits()
    table = results.table()
    table = table[table["state"] != "failed"].reset_index(drop=True)
    found = pd.read_csv(io.StringIO(candidates_csv(results)))
    assert list(found.columns) == list(table.columns)
    for name in ("trial", "accuracy", "latency_p50", "latency_p50_low", "param_learning_rate"):
        pd.testing.assert_series_equal(found[name], table[name])


def test_an_integer_parameter_that_is_absent_at_times_stays_an_integer():
    rows = list(csv.DictReader(io.StringIO(candidates_csv(samples.digits()))))
    assert {row["param_kernel_2"] for row in rows} == {"", "3", "5"}


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_a_text_that_a_spreadsheet_would_run_gets_an_apostrophe(start):
    results = samples.pairs([(0.9, 0.001)])
    trial = replace(results.trials[0], params={f"{start}name": f"{start}1+1", "number": -1.5})
    text = candidates_csv(replace(results, trials=(trial,)))
    (row,) = csv.DictReader(io.StringIO(text, newline=""))
    assert row[f"param_{start}name"] == f"'{start}1+1"
    assert row["param_number"] == "-1.5"


def test_a_csv_of_hostile_names_can_be_read_back():
    rows = list(csv.DictReader(io.StringIO(candidates_csv(samples.hostile()), newline="")))
    assert len(rows) == len([t for t in samples.hostile().trials if t.state != "failed"])
    assert rows[0][f"param_{samples.HOSTILE}"] == samples.HOSTILE


def test_each_candidate_and_each_failure_is_one_line_of_the_json():
    results = samples.digits()
    lines = report_json(results, choose(results)).splitlines()
    found = record(results)
    ids = [json.loads(line.rstrip(","))["id"] for line in lines if line.startswith(' {"id": ')]
    assert ids == [entry["id"] for entry in (*found["candidates"], *found["failed"])]
    assert strict_loads("\n".join(lines)) == strict_loads(json.dumps(found))
