"""The made cases of `benchmarks.reports`, and its page from made figures."""

import numpy as np

from benchmarks.reports import page, study, table
from moo.decision import recommend
from moo.tables import read_table


def test_a_made_study_has_every_state_and_what_the_report_shows() -> None:
    results = study(400)
    assert {trial.state for trial in results.trials} == {"complete", "pruned", "failed"}
    assert len(results.param_names) == 10
    assert {metric.name for metric in results.metrics} == {
        *("accuracy", "latency_p50", "latency_p95", "file_size"),
    }
    assert recommend(results) is not None
    assert len(results.front) > 5


def test_a_made_table_has_ten_columns_and_one_choice(tmp_path) -> None:
    table(tmp_path / "table.csv", 300)
    results = read_table(tmp_path / "table.csv", maximize=["top1"], minimize=["ms_per_img"], label="model")
    assert len(results.trials) == 300
    assert len((tmp_path / "table.csv").read_text().splitlines()[0].split(",")) == 10
    assert recommend(results) is not None


def test_the_page_has_a_column_a_case_and_a_dash_for_what_was_not_measured() -> None:
    row = {"seconds": {"report": 1.25}, "wall_s": 2.0, "load": 0.5, "bytes": {"index.html": 5_100_000}}
    quick = {**row, "bytes_beside": 400_000, "slide_ms": [10.0, 30.0, 20.0], "open_ms": 900.4}
    lines = page({"50 trials": quick, "10,000 trials": {**row, "bytes_beside": 1}}).splitlines()
    assert "| report, CPU s | 1.25 | 1.25 |" in lines
    assert "| slider, ms | 20 (30) | - |" in lines
    assert "| index.html, kB | 5,100 | 5,100 |" in lines
    widths = {line.count("|") for line in lines if line.startswith("|")}
    assert np.ptp(list(widths)) == 0
