import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moo.errors import InputError
from moo.pruning._schedule import Schedule


@given(
    eta=st.integers(2, 5),
    low=st.integers(1, 7),
    rate=st.integers(0, 2),
    bracket=st.integers(0, 2),
    step=st.integers(0, 5_000),
    high=st.none() | st.integers(10_000, 20_000) | st.just(5_000),
)
def test_the_rung_of_a_step_is_the_highest_one_it_passed(eta, low, rate, bracket, step, high) -> None:
    schedule = Schedule(
        eta=eta, min_resource=low, max_resource=high, min_early_stopping_rate=rate, brackets=bracket + 1
    )
    begins = [low * eta ** (rate + bracket + k) for k in range(15)]
    passed = [begin for begin in begins if begin <= step]
    is_over = high is not None and step >= high
    assert schedule.rung_at(step, bracket) == (None if is_over or not passed else max(passed))


def test_a_reduction_factor_that_is_no_whole_number_rounds_rungs_up() -> None:
    schedule = Schedule(eta=1.5)
    assert [schedule.rung_at(step, 0) for step in range(1, 9)] == [1, 2, 3, 4, 4, 6, 6, 8]


@pytest.mark.parametrize("power", range(1, 30))
def test_powers_are_exact(power) -> None:
    schedule = Schedule(eta=3)
    assert [schedule.rung_at(3**power + d, 0) for d in (-1, 0)] == [3 ** (power - 1), 3**power]


@pytest.mark.parametrize("n_brackets", [1, 2, 3, 4])
@pytest.mark.parametrize("begin", [0, 1_000])
def test_brackets_have_the_shares_of_hyperband(n_brackets, begin) -> None:
    schedule = Schedule(eta=3, brackets=n_brackets)
    n_trials = 300
    found = [schedule.bracket_of(number) for number in range(begin, begin + n_trials)]
    # Hyperband's Algorithm 1 counts its brackets s down from the one that stops most
    sizes = [math.ceil(n_brackets / (s + 1) * 3**s) for s in reversed(range(n_brackets))]
    for bracket, size in enumerate(sizes):
        assert found.count(bracket) == pytest.approx(n_trials * size / sum(sizes), abs=4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"eta": 1}, "eta: expected a number above 1, got 1"),
        ({"eta": 0.5}, "eta: expected a number above 1, got 0.5"),
        ({"eta": math.nan}, "eta: expected a number above 1, got nan"),
        ({"eta": math.inf}, "eta: expected a number above 1, got inf"),
        ({"eta": True}, "eta: expected a number above 1, got True"),
        ({"eta": "3"}, "eta: expected a number above 1, got '3'"),
        ({"min_resource": 0}, "min_resource: expected a whole number of 1 or more, got 0"),
        ({"min_resource": 1.5}, "min_resource: expected a whole number of 1 or more, got 1.5"),
        ({"max_resource": 0}, "max_resource: expected a whole number of 1 or more, got 0"),
        (
            {"min_resource": 9, "max_resource": 3},
            "max_resource: expected at least min_resource, which is 9, got 3",
        ),
        (
            {"min_early_stopping_rate": -1},
            "min_early_stopping_rate: expected a whole number of 0 or more, got -1",
        ),
        ({"brackets": 0}, "brackets: expected a whole number of 1 or more, got 0"),
        (
            {"max_resource": 27, "brackets": 5},
            "brackets: expected the first rung within max_resource, 27, got min_resource * eta ^ 4:"
            " choose a smaller brackets",
        ),
        (
            {"min_early_stopping_rate": 10_000},
            "min_early_stopping_rate: expected the first rung within any training, got min_resource * eta ^"
            " 10000: choose a smaller min_early_stopping_rate",
        ),
    ],
)
def test_an_option_out_of_its_range_is_refused_in_one_line(options, message) -> None:
    with pytest.raises(InputError) as caught:
        Schedule(**options)
    assert str(caught.value) == message


def test_the_last_bracket_of_hyperband_stops_nothing() -> None:
    schedule = Schedule(eta=3, max_resource=27, brackets=4)
    assert {schedule.rung_at(step, 3) for step in range(30)} == {None}
