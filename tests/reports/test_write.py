import csv
import io
import json
import math
import subprocess
import sys
from dataclasses import replace

import matplotlib.image
import pandas as pd
import pytest

import reports
from moo.errors import InputError
from reports._choice import choose
from reports._record import candidates_csv, report_json, report_record
from tests.reports import samples

AWKWARD = {
    "digits": samples.digits(),
    "bounded": samples.bounded(),
    "hostile": samples.hostile(),
    "empty": samples.pairs([]),
    "one point": samples.pairs([(0.9, 0.001)]),
    "ties": samples.pairs([(0.9, 0.001)] * 3, baseline=0),
    "all infeasible": samples.constrained([(0.9, 0.002, 0.5), (0.8, 0.001, 0.2)]),
    "no complete": samples.no_complete(),
    "infinite": samples.pairs([(0.99, math.inf), (0.9, 0.001), (0.95, 0.002)]),
    "zero": samples.pairs([(0.0, 0.0), (0.5, 0.01)]),
    "wide": samples.pairs([(0.9, 1e-6), (0.95, 1.0), (0.97, 50.0)]),
    **{f"{n} objectives": samples.many_objectives(n) for n in (1, 2, 3, 4, 5)},
}


def strict_loads(text):
    def refuse(word):
        raise ValueError(f"{word} is no JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize("results", AWKWARD.values(), ids=AWKWARD.keys())
def test_every_study_makes_all_four_files(results, tmp_path):
    page = reports.write(results, tmp_path / "new" / "folder")
    assert page == tmp_path / "new" / "folder" / "index.html"
    assert sorted(p.name for p in page.parent.iterdir()) == [
        "candidates.csv",
        "front.png",
        "index.html",
        "report.json",
    ]
    image = matplotlib.image.imread(page.parent / "front.png")
    assert image.shape[:2] == (900, 1400)
    strict_loads((page.parent / "report.json").read_text())


def test_a_report_can_be_written_over_itself(tmp_path):
    first = reports.write(samples.digits(), tmp_path).read_bytes()
    assert reports.write(samples.digits(), tmp_path).read_bytes() == first
    assert len(list(tmp_path.iterdir())) == 4


def test_new_files_have_the_permissions_of_any_new_file(tmp_path):
    (tmp_path / "other").write_text("")
    page = reports.write(samples.pairs([]), tmp_path)
    assert page.stat().st_mode == (tmp_path / "other").stat().st_mode


def test_a_folder_that_cannot_be_written_is_wrong_input(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"report folder '.*file.*'.*name another one") as caught:
        reports.write(samples.pairs([]), tmp_path / "file" / "below")
    assert "\n" not in str(caught.value)


def test_a_failed_write_leaves_no_temporary_file(tmp_path):
    (tmp_path / "report.json").mkdir()
    with pytest.raises(InputError):
        reports.write(samples.pairs([]), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


def test_importing_the_package_loads_no_drawing_library():
    heavy = "{'matplotlib', 'plotly', 'pandas', 'torch', 'onnxruntime', 'optuna', 'jinja2', 'numpy'}"
    code = f"import sys, reports; print({heavy} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


def test_writing_loads_neither_torch_nor_onnxruntime_nor_optuna_nor_pyplot():
    code = "import sys, reports; reports.write; import reports._html, reports._figures, reports._record;"
    code += "print({'torch', 'onnxruntime', 'optuna', 'matplotlib.pyplot'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


def test_public_names_are_sorted_and_there():
    assert reports.__all__ == sorted(reports.__all__)
    assert callable(reports.write)
    with pytest.raises(AttributeError):
        _ = reports.nothing


def record(results):
    return report_record(results, choose(results))


def test_the_record_has_every_key_of_its_schema():
    found = record(samples.digits())
    assert list(found) == [
        *("schema", "study", "objectives", "constraints", "baseline", "candidates", "failed"),
        *("recommended", "environment", "protocol"),
    ]
    assert list(found["candidates"][0]) == [
        *("id", "label", "state", "params", "metrics", "feasible", "on_front", "p_on_front", "p_feasible"),
        *("violations", "tags", "artefact", "runtime"),
    ]
    assert found["objectives"][1] == {"metric": "latency_p50", "direction": "minimize", "unit": "s"}
    assert found["constraints"][1]["bound"] == 48 * 2**20
    assert set(found["recommended"]) == {"id", "why", "stable_for"}


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
    assert found["recommended"]["stable_for"] is None
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
