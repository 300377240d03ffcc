"""A table from anywhere, read as results: what its columns are, and what is refused in one line."""

import csv
import io
import math
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moo.errors import InputError, ProblemError
from moo.evaluation import Estimate
from moo.labels import _labels
from moo.metrics import BUILT_IN
from moo.naming import is_metric_name, metric_names, parameter_names
from moo.results import Results
from moo.tables import read_table
from reports._record import candidates_csv
from tests.reports import samples

ZOO = """model,arch,top1,ms_per_img,param_count
a,vit,80.5,10,5
b,vit,81.5,20,20
c,cnn,79,5,40
d,cnn,,7,6
e,cnn,70,30,
f,cnn,-,n/a,1
"""
OBJECTIVES = {"maximize": ["top1"], "minimize": ["ms_per_img"]}


@pytest.fixture
def table(tmp_path):
    """Writes a table and returns its path."""

    def write(content, name="zoo.csv"):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def values(results: Results, metric: str) -> list[float | None]:
    return [trial.estimate(metric).value for trial in results.trials]


def test_columns_become_metrics_parameters_and_labels(table) -> None:
    results = read_table(table(ZOO), **OBJECTIVES, constraints=["param_count <= 30"], label="model")
    assert [metric.name for metric in results.metrics] == ["top1", "ms_per_img", "param_count"]
    assert results.param_names == ("arch",)
    assert [trial.label for trial in results.trials] == list("abcdef")
    assert values(results, "top1") == [80.5, 81.5, 79, None, 70, None]
    assert results.study_name == "zoo"
    assert results.trials[0].params == {"arch": "vit"}


def test_a_row_without_a_value_is_never_chosen_and_says_why(table) -> None:
    results = read_table(table(ZOO), **OBJECTIVES, constraints=["param_count <= 30"], label="model")
    assert [trial.state for trial in results.trials] == [*["complete"] * 5, "failed"]
    assert [results.is_feasible(trial) for trial in results.trials[:5]] == [True, True, False, True, None]
    assert {trial.label for trial in results.front} == {"a", "b"}
    assert results.trials[3].estimate("top1").reason == "the cell is empty"
    assert results.failures == [("table: no value of top1, ms_per_img", 1)]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_delimiters_byte_order_marks_and_line_ends_change_nothing(
    table, delimiter, encoding, newline
) -> None:
    content = ZOO.replace(",", delimiter).replace("\n", newline).encode(encoding)
    results = read_table(table(content), **OBJECTIVES, label="model")
    assert results.trials == read_table(table(ZOO), **OBJECTIVES, label="model").trials


def test_a_delimiter_inside_quotes_parts_nothing(table) -> None:
    results = read_table(table('name;ms\n"a;1, b, c";1.5\n"d, e";2\n'), minimize=["ms"], label="name")
    assert [trial.label for trial in results.trials] == ["a;1, b, c", "d, e"]


@settings(max_examples=50, deadline=None)
@given(
    rows=st.lists(
        st.tuples(*[st.none() | st.integers(0, 4) | st.floats(allow_nan=False)] * 3), min_size=1, max_size=30
    ),
    bound=st.integers(0, 4),
)
def test_front_and_feasibility_are_those_of_a_brute_force(tmp_path_factory, rows, bound) -> None:
    path = tmp_path_factory.mktemp("t") / "t.csv"
    lines = [",".join("" if cell is None else repr(cell) for cell in (*row, 1)) for row in rows]
    path.write_text("\n".join(["up,down,cost,one", *lines]) + "\n")
    is_there = [any(row[i] is not None for row in rows) for i in range(3)]
    if not all(is_there):
        with pytest.raises(ProblemError, match="has no value in any row"):
            read_table(path, maximize=["up"], minimize=["down"], constraints=[f"cost <= {bound}"])
        return
    results = read_table(path, maximize=["up"], minimize=["down"], constraints=[f"cost <= {bound}"])

    def is_better(one, other) -> bool:
        return one[0] >= other[0] and one[1] <= other[1] and one[:2] != other[:2]

    kept = [row for row in rows if None not in row and row[2] <= bound]
    front = [i for i, r in enumerate(rows) if r in kept and not any(is_better(other, r) for other in kept)]
    assert sorted(trial.number for trial in results.front) == front


# our own table


def comparable(results: Results) -> list[tuple]:
    """What a candidates.csv holds of each trial that did not fail."""
    return [
        (
            trial.number,
            trial.state,
            trial.label,
            {m.name: (e.value, e.low, e.high) for m in results.metrics for e in [trial.estimate(m.name)]},
            dict(trial.params),
            trial.evaluation.tags,
            trial.is_baseline,
            trial.reason,
            trial.duration_s,
            results.is_feasible(trial),
        )
        for trial in results.trials
        if trial.state != "failed"
    ]


def test_our_own_table_is_read_back_as_what_it_was_written_from(table) -> None:
    results = samples.digits(80)
    constraints = [str(constraint) for constraint in results.problem.constraints]
    path = table(candidates_csv(results), "candidates.csv")
    again = read_table(
        path, maximize=["accuracy"], minimize=["latency_p50", "parameters"], constraints=constraints
    )
    assert comparable(again) == comparable(results)
    assert again.problem == results.problem
    assert {trial.number for trial in again.front} == {trial.number for trial in results.front}
    assert again.baseline is not None
    assert again.baseline.number == 0


def test_a_foreign_table_written_and_read_back_is_the_same(table) -> None:
    content = 'model,ms,"a, <b>",tags,arch\n"=x",1,2,3,"=1+1"\n"x\ny",2,1,,-z\n'
    wanted = {"minimize": ["ms"], "constraints": ["a_b <= 5"]}
    results = read_table(table(content), **wanted, label="model")
    again = read_table(table(candidates_csv(results), "candidates.csv"), **wanted)
    assert comparable(again) == comparable(results)
    assert [trial.label for trial in again.trials] == ["=x", "x\ny"]
    assert [trial.params["arch"] for trial in again.trials] == ["=1+1", "-z"]


def test_a_relative_bound_rests_on_the_baseline_of_our_own_table(table) -> None:
    results = samples.digits(30)
    path = table(candidates_csv(results), "candidates.csv")
    again = read_table(path, maximize=["accuracy"], constraints=["latency_p95 <= 0.9 x baseline"])
    assert again.bounds == (pytest.approx(0.9 * results.trials[0].estimate("latency_p95").value),)
    with pytest.raises(ProblemError, match="the table has none: give an absolute bound"):
        read_table(table(ZOO), **OBJECTIVES, constraints=["top1 >= baseline"])


@pytest.mark.parametrize(
    ("column", "cell", "said"),
    [
        ("trial", "1.5", "column 'trial', line 2: expected a whole number that no other row has, got '1.5'"),
        ("trial", "2", "column 'trial', line 3: expected a whole number that no other row has, got '2'"),
        ("state", "odd", "column 'state', line 2: expected complete, pruned or failed, got 'odd'"),
        ("ms", "5", "column 'ms', line 2: expected ms_low <= ms <= ms_high, got 1.0, 5.0, 3.0"),
        ("ms_low", "x", "column 'ms', line 2: expected a number, got 'x'"),
    ],
)
def test_our_own_table_after_a_bad_edit_is_refused(table, column, cell, said) -> None:
    first = {"trial": "1", "state": "complete", "feasible": "True", "on_front": "True", "baseline": "False"}
    rows = [{**first, "ms": "2", "ms_low": "1", "ms_high": "3"}] * 2
    rows = [{**rows[0], column: cell}, {**rows[1], "trial": "2"}]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    with pytest.raises(InputError) as caught:
        read_table(table(text.getvalue()), minimize=["ms"])
    assert said in str(caught.value)


# names and units


def test_a_built_in_name_has_its_unit_unless_the_values_cannot_be_its_own(table) -> None:
    content = "accuracy,latency_p50,parameters\n0.9,0.002,5e6\n0.8,0.001,1e6\n"
    wanted = {"maximize": ["accuracy"], "minimize": ["latency_p50"]}
    results = read_table(table(content), **wanted, constraints=["latency_p50 <= 1.5 ms", "accuracy >= 75%"])
    assert results.problem.metrics == (BUILT_IN["accuracy"], BUILT_IN["latency_p50"])
    assert [trial.number for trial in results.front] == [1]
    percent = read_table(table(content.replace("0.9", "90").replace("0.8", "80")), **wanted)
    assert percent.problem.objectives[0].metric.dimension == "number"
    assert {m.name for m in percent.metrics if m.dimension != "number"} == {"latency_p50", "parameters"}
    with pytest.raises(ProblemError, match="minimize accuracy: expected maximize"):
        read_table(table(content), minimize=["accuracy"])


def test_a_unit_in_a_bound_on_a_plain_column_is_refused(table) -> None:
    with pytest.raises(ProblemError, match="unknown unit 'ms' in '5 ms': ms_per_img takes none"):
        read_table(table(ZOO), **OBJECTIVES, constraints=["ms_per_img <= 5 ms"])


def test_columns_beside_a_column_are_the_ends_of_its_interval(table) -> None:
    results = read_table(table("ms,ms_low,ms_high,gain_low\n2,1,3,7\n,4,5,8\n"), minimize=["ms"])
    assert [trial.estimate("ms") for trial in results.trials] == [
        Estimate(2, 1, 3),
        Estimate(None, 4, 5, "the cell is empty"),
    ]
    assert [metric.name for metric in results.metrics] == ["ms", "gain_low"]


@pytest.mark.parametrize(
    "heading",
    [
        "Top-1 (%)",
        "<script>alert(1)</script>",
        "延迟 ms",
        '"quoted"',
        "two\nlines",
        "a <= b",
        "tags",
        "trial",
        "é",
    ],
)
def test_any_heading_can_be_an_objective_and_a_constraint_by_its_own_text(table, heading) -> None:
    text = io.StringIO()
    csv.writer(text).writerows([[heading, "other"], [1, 2], [2, 1], [3, 3]])
    results = read_table(
        table(text.getvalue()), minimize=[heading], constraints=[f"{heading} <= 2", "other<=1"]
    )
    assert [trial.number for trial in results.front] == [1]
    metric = results.problem.objectives[0].metric
    assert is_metric_name(metric.name)
    assert metric.title == heading
    assert results.table().columns.is_unique


@settings(deadline=None)
@given(
    texts=st.lists(
        st.text(max_size=8) | st.sampled_from(["a", "a_low", "A b", "A_b", "tags", "accuracy", "延"])
    )
)
def test_metric_names_are_legal_different_and_clash_with_no_column_of_a_table(texts) -> None:
    names = metric_names(texts)
    params = parameter_names(texts, names)
    fixed = Results("s", samples.digits(1).problem, ()).table().columns
    own = {m.name for m in samples.digits(1).problem.metrics}
    fixed = [c for c in fixed if c.removesuffix("_low").removesuffix("_high") not in own]
    columns = [*fixed, *(f"{n}{end}" for n in names for end in ("", "_low", "_high"))]
    columns += [f"param_{name}" for name in params]
    assert all(map(is_metric_name, names))
    assert len(set(columns)) == len(columns)
    assert all(name not in BUILT_IN or name == text for name, text in zip(names, texts, strict=True))


@given(texts=st.lists(st.sampled_from(["", "a", "b", "a (row 0)", "a (row 2)", " a"]), max_size=12))
def test_labels_are_different_and_begin_as_the_cells_do(texts) -> None:
    labels = _labels(texts, range(len(texts)))
    assert len(set(labels)) == len(labels)
    assert all(label.startswith(text.strip() or "row ") for label, text in zip(labels, texts, strict=True))


def test_rows_without_a_name_are_rows_and_no_trials(table) -> None:
    path = table("model,top1,ms\na,70,1\n,80,2\n")
    options = {"maximize": ["top1"], "minimize": ["ms"]}
    assert [t.name for t in read_table(path, label="model", **options).trials] == ["a", "row 1"]
    assert [t.name for t in read_table(path, **options).trials] == ["row 0", "row 1"]


def test_rows_of_one_name_are_told_apart_by_a_setting_and_never_by_what_they_are_judged_by(table) -> None:
    path = table("model,top1,ms,img\na,70,1,224\na,80,2,288\nb,75,3,224\n")
    options = {"maximize": ["top1"], "minimize": ["ms"], "label": "model"}
    assert [t.name for t in read_table(path, **options).trials] == ["a (img 224)", "a (img 288)", "b"]
    judged = read_table(path, constraints=["img <= 300"], **options)
    assert [t.name for t in judged.trials] == ["a (row 0)", "a (row 1)", "b"]


def test_thirty_metrics_are_all_there(table) -> None:
    rng = np.random.default_rng(0)
    numbers = rng.random((40, 30))
    names = [f"m{i}" for i in range(30)]
    content = "\n".join([",".join(names), *(",".join(map(repr, row)) for row in numbers.tolist())])
    results = read_table(table(content), minimize=names[:3], maximize=names[3:5])
    assert [metric.name for metric in results.metrics] == [*names[3:5], *names[:3], *names[5:]]
    found = [[trial.estimate(name).value for name in names] for trial in results.trials]
    assert np.array_equal(found, numbers)


def test_an_infinite_value_is_kept_and_an_index_column_is_left_out(table) -> None:
    results = read_table(table(",ms\n0,inf\n1,2\n"), minimize=["ms"])
    assert values(results, "ms") == [math.inf, 2]
    assert [metric.name for metric in results.metrics] == ["ms"]


def test_one_row_and_no_feasible_row_are_results_too(table) -> None:
    results = read_table(table("ms,size\n3,9\n"), minimize=["ms"])
    assert [trial.number for trial in results.front] == [0]
    nobody = read_table(table("ms,size\n3,9\n"), minimize=["ms"], constraints=["size <= 8"])
    assert nobody.front == ()
    assert nobody.trials[0].violations == {"size <= 8": pytest.approx(1 / 8)}


# what is refused


@pytest.mark.parametrize(
    ("content", "options", "said"),
    [
        (ZOO, {"maximize": ["top"]}, "maximize: the table has no column 'top': did you mean top1?"),
        (ZOO, {"minimize": ["ms_per_imgs"]}, "did you mean ms_per_img?"),
        (ZOO, {"constraints": ["params <= 3"]}, "constraint 'params <= 3': the table has no column 'params'"),
        (ZOO, {"constraints": ["top1 3"]}, "constraint 'top1 3': expected 'metric <= bound'"),
        (ZOO, {"constraints": ["<= 3"]}, "constraint '<= 3': expected 'metric <= bound'"),
        (ZOO, {"label": "modle"}, "label: the table has no column 'modle': did you mean model?"),
        (ZOO, {"maximize": ["arch"]}, "maximize: column 'arch', line 2: expected a number, got 'vit'"),
        (ZOO, {"minimize": ["top1"]}, "objective 'top1' is given twice"),
        (
            ZOO.replace("81.5", '"81,5"'),
            {},
            "maximize: column 'top1', line 3: expected a number, got '81,5': write a point before decimals",
        ),
        (
            ZOO.replace("79", "79%"),
            {},
            "line 4: expected a number, got '79%': write the number without the perc",
        ),
        (ZOO.replace("79", "fast"), {}, "got 'fast': write a number, or leave the cell empty"),
        ("", {}, "is empty"),
        ("\n \n", {}, "is empty"),
        ("top1,ms_per_img\n", {}, "has column names and no row"),
        ("top1,ms_per_img,top1\n1,2,3\n", {}, "the column name 'top1' is there 2 times (columns 1 and 3)"),
        ("top1,ms_per_img\n1,2\n3\n", {}, "line 3: expected 2 cells as in the heading, got 1"),
        ("top1,ms_per_img\n1,2,3\n", {}, "line 2: expected 2 cells as in the heading, got 3"),
        ('top1,ms_per_img\n1,"2\n', {}, "no CSV: unexpected end of data"),
        ("top1,ms_per_img\n1,\n", {}, "minimize: the column 'ms_per_img' has no value in any row"),
        (bytes(range(256)) * 9, {}, "expected CSV text or Parquet, got a file that is neither"),
        (ZOO.encode("utf-16"), {}, "expected UTF-8 text, got UTF-16: save it as CSV in UTF-8"),
        (ZOO.replace("cnn", "é").encode("latin-1"), {}, "line 4: expected UTF-8 text, got the byte 0xe9"),
    ],
)
def test_bad_input_is_refused_in_one_line(table, content, options, said) -> None:
    wanted = {**OBJECTIVES, **{k: v for k, v in options.items() if k not in OBJECTIVES}}
    for name in OBJECTIVES:
        wanted[name] = [*OBJECTIVES[name], *options.get(name, [])]
    with pytest.raises(InputError) as caught:
        read_table(table(content), **wanted)
    assert said in str(caught.value)
    assert len(str(caught.value)) < 300


def test_without_an_objective_the_columns_of_numbers_are_named(table) -> None:
    with pytest.raises(ProblemError, match="no objective: .*: top1, ms_per_img, param_count"):
        read_table(table(ZOO), constraints=["top1 >= 3"])


def test_the_end_of_an_interval_is_no_objective(table) -> None:
    with pytest.raises(ProblemError, match="'ms_low' holds the ends of intervals: name 'ms'"):
        read_table(table("ms,ms_low,ms_high\n2,1,3\n"), minimize=["ms_low"])


def test_a_missing_file_and_a_folder_are_refused(tmp_path) -> None:
    with pytest.raises(InputError, match="there is no such file"):
        read_table(tmp_path / "none.csv", minimize=["a"])
    with pytest.raises(InputError, match="got a folder"):
        read_table(tmp_path, minimize=["a"])


# Parquet


def test_without_pyarrow_a_parquet_file_is_refused_with_what_to_install(table, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match="pip install pyarrow"):
        read_table(table(b"PAR1", "t.parquet"), minimize=["a"])


def test_a_parquet_table_is_the_csv_table(table, tmp_path) -> None:
    pytest.importorskip("pyarrow", reason="Parquet needs pyarrow")
    import pandas as pd

    frame = pd.read_csv(table(ZOO), na_values=["-"])
    frame["param_count"] = frame["param_count"].astype("Int64")
    frame["top1"] = frame["top1"].astype("float32")
    wanted = {**OBJECTIVES, "constraints": ["param_count <= 30"], "label": "model"}
    plain = read_table(table(ZOO), **wanted).trials
    frame.to_parquet(tmp_path / "zoo.parquet")
    assert read_table(tmp_path / "zoo.parquet", **wanted).trials == plain
    frame.set_index("model").to_parquet(tmp_path / "indexed.pq")
    assert read_table(tmp_path / "indexed.pq", **wanted).trials == plain
    frame[:0].to_parquet(tmp_path / "none.parquet")
    with pytest.raises(InputError, match="no row"):
        read_table(tmp_path / "none.parquet", **wanted)
    frame["top1"] = ["a", *"12345"]
    frame.to_parquet(tmp_path / "text.parquet")
    with pytest.raises(InputError, match="column 'top1', row 0: expected a number, got 'a'"):
        read_table(tmp_path / "text.parquet", **wanted)


def test_a_file_that_is_no_parquet_is_refused(table) -> None:
    pytest.importorskip("pyarrow", reason="Parquet needs pyarrow")
    with pytest.raises(InputError, match="is no Parquet file"):
        read_table(table(b"PAR1 and no more", "t.parquet"), minimize=["a"])


@pytest.mark.parametrize("asked", ["\u5ef6\u8fdf (ms)", "\u5ef6\u8fdf_ms"])
def test_headings_of_any_script_stay_readable_in_objectives_and_constraints(table, asked):
    path = table("\u6a21\u578b,\u7cbe\u5ea6,\u5ef6\u8fdf (ms)\na,1,5\nb,2,7\n")
    results = read_table(
        path,
        maximize=["\u7cbe\u5ea6"],
        minimize=[asked],
        constraints=[f"{asked} <= 6"],
        label="\u6a21\u578b",
    )
    assert [metric.name for metric in results.problem.metrics] == ["\u7cbe\u5ea6", "\u5ef6\u8fdf_ms"]
    assert results.problem.metrics[1].title == "\u5ef6\u8fdf (ms)"
    assert results.constraint_keys == ("\u5ef6\u8fdf_ms <= 6",)
    assert [trial.name for trial in results.front] == ["a"]
