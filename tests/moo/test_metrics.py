import pytest
from hypothesis import given
from hypothesis import strategies as st

from moo.errors import ProblemError
from moo.evaluation import Estimate
from moo.metrics import BUILT_IN, Metric, find_metric, format_estimate, format_value, parse_quantity
from moo.problem import Constraint


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        ("5 ms", "latency_p95", 0.005),
        ("5ms", "latency_p95", 0.005),
        ("250 µs", "latency_p50", 0.00025),
        ("250 us", "latency_p50", 0.00025),
        ("1e-3 s", "latency_p50", 0.001),
        ("64 MiB", "peak_memory", 64 * 2**20),
        ("64 MB", "peak_memory", 64e6),
        ("92%", "accuracy", 0.92),
        ("0.92", "accuracy", 0.92),
        ("1.5M", "parameters", 1.5e6),
        ("1000", "parameters", 1000),
        ("200 /s", "throughput", 200),
    ],
)
def test_a_quantity_becomes_its_si_value(text: str, name: str, expected: float) -> None:
    assert parse_quantity(text, BUILT_IN[name]) == expected


@pytest.mark.parametrize(
    ("text", "name", "said"),
    [
        ("5", "latency_p95", "no unit"),
        ("5 parsec", "latency_p95", "unknown unit 'parsec'"),
        ("5 MS", "latency_p95", "unknown unit 'MS'"),
        ("ms", "latency_p95", "expected a number"),
        ("", "latency_p95", "expected a number"),
        ("1e400 s", "latency_p95", "finite"),
        ("5 ms", "peak_memory", "unknown unit 'ms'"),
        ("3 apples", "parameters", "unknown unit 'apples'"),
    ],
)
def test_a_quantity_that_cannot_be_read_is_refused(text: str, name: str, said: str) -> None:
    with pytest.raises(ProblemError, match=said):
        parse_quantity(text, BUILT_IN[name])


@given(st.text(max_size=20), st.sampled_from(sorted(BUILT_IN)))
def test_any_text_is_a_quantity_or_refused_in_one_line(text: str, name: str) -> None:
    try:
        value = parse_quantity(text, BUILT_IN[name])
    except ProblemError as error:
        assert "\n" not in repr(str(error))
    else:
        assert value - value == 0


@given(st.floats(min_value=1e-9, max_value=1e12), st.sampled_from(sorted(BUILT_IN)))
def test_what_is_shown_reads_back_within_three_digits(value: float, name: str) -> None:
    metric = BUILT_IN[name]
    shown = format_value(value, metric)
    if shown not in ("0", "0 s", "0 B", "0%") and "e" not in shown:
        assert parse_quantity(shown, metric) == pytest.approx(value, rel=0.006)


@pytest.mark.parametrize(
    ("estimate", "expected"),
    [
        (Estimate(None), "-"),
        (Estimate(None, None, 0.001), "<= 1 ms"),
        (Estimate(None, 0.001, 0.002), ">= 1 ms <= 2 ms"),
        (Estimate(0.001), "1 ms"),
        (Estimate(0.001, None, 0.0011), "1 ms [-, 1.1]"),
        (Estimate(0.00098, 0.0009, 0.0011), "980 us [900, 1100]"),
        (Estimate.exact(0.001), "1 ms"),
    ],
)
def test_an_estimate_reads_with_its_interval_in_one_unit(estimate: Estimate, expected: str) -> None:
    assert format_estimate(estimate, BUILT_IN["latency_p50"]) == expected


def test_a_metric_name_that_no_one_could_type_in_a_constraint_is_refused() -> None:
    with pytest.raises(ProblemError, match="letters, digits and underscores"):
        Metric(name="my metric <= 3")


@pytest.mark.parametrize(("value", "shown"), [(1.0, "100%"), (0.9997, "99.97%"), (0.99999, "99.99%")])
def test_what_is_not_perfect_never_reads_as_100_percent(value: float, shown: str) -> None:
    assert format_value(value, BUILT_IN["accuracy"]) == shown


@pytest.mark.parametrize(
    "name", ["\u6df1\u5ea6", "\u0432\u0440\u0435\u043c\u044f", "pr\u00e9cision", "\u03bc_1"]
)
def test_a_name_may_be_of_any_script_and_bounded(name):
    metric = Metric(name=name)
    constraint = Constraint.parse(f"{name}<=3", {name: metric})
    assert (str(constraint), constraint.metric) == (f"{name} <= 3", metric)


def test_a_name_is_the_same_however_its_accents_are_written():
    metric = Metric(name="pre\u0301cision")
    assert metric == Metric(name="pr\u00e9cision")
    assert find_metric("pre\u0301cision", {metric.name: metric}) is metric


@pytest.mark.parametrize("name", ["", "1st", "a b", "a-b", "a\u2028b", "\u00b2", "%"])
def test_what_is_no_name_in_any_script_is_refused(name):
    with pytest.raises(ProblemError, match="letters, digits and underscores"):
        Metric(name=name)
