import optuna
import pytest

from moo.errors import InputError
from moo.problem import Problem
from moo.pruning import PRUNER_NAMES, NoPruning, OptunaPruner, SuccessiveHalving, make_pruner

ONE = Problem.parse(maximize=["accuracy"])
TWO = Problem.parse(maximize=["accuracy"], minimize=["parameters"])
REQUIRED = {"patient": "patience=3", "percentile": "percentile=25", "threshold": "lower=0.1"}


@pytest.mark.parametrize("name", PRUNER_NAMES)
def test_every_name_makes_a_pruner_for_one_objective(name) -> None:
    text = f"{name}:{REQUIRED[name]}" if name in REQUIRED else name
    kind = {"halving": SuccessiveHalving, "nop": NoPruning}.get(name, OptunaPruner)
    assert type(make_pruner(text, ONE)) is kind


@pytest.mark.parametrize("name", sorted(set(PRUNER_NAMES) - {"halving", "nop"}))
def test_a_pruner_for_one_objective_is_refused_for_several(name) -> None:
    with pytest.raises(InputError) as caught:
        make_pruner(name, TWO)
    assert str(caught.value) == f"pruner: {name} takes one objective, and the problem has 2: use halving"


def test_a_pruner_of_optunas_own_is_refused_for_several_objectives() -> None:
    with pytest.raises(
        InputError, match=r"MedianPruner takes one objective, and the problem has 2: use halving"
    ):
        make_pruner(optuna.pruners.MedianPruner(), TWO)


@pytest.mark.parametrize("text", [None, "nop", optuna.pruners.NopPruner()])
def test_no_pruning_is_for_any_number_of_objectives(text) -> None:
    assert isinstance(make_pruner(text, TWO), NoPruning)


def test_a_pruner_of_ours_is_returned_as_it_is() -> None:
    pruner = SuccessiveHalving(TWO, eta=2)
    assert make_pruner(pruner, TWO) is pruner


@pytest.mark.parametrize(
    ("text", "attributes"),
    [
        ("median:n_startup_trials=2, n_warmup_steps = 7", {"_n_startup_trials": 2, "_n_warmup_steps": 7}),
        ("percentile:percentile=12.5", {"_percentile": 12.5}),
        ("hyperband:max_resource=auto,reduction_factor=4", {"_max_resource": "auto", "_reduction_factor": 4}),
        ("hyperband:max_resource=81", {"_max_resource": 81}),
        ("successive-halving:min_resource=auto", {"_min_resource": None}),
        ("threshold:upper=-1e-3", {"_upper": -1e-3, "_lower": -float("inf")}),
        ("wilcoxon:p_threshold=0.2", {"_p_threshold": 0.2}),
        ("patient:patience=4,min_delta=0.5", {"_patience": 4, "_min_delta": 0.5, "_wrapped_pruner": None}),
    ],
)
def test_options_reach_optunas_pruner(text, attributes) -> None:
    inner = make_pruner(text, ONE)._pruner
    assert {name: getattr(inner, name) for name in attributes} == attributes


def test_options_that_are_not_patients_own_are_those_of_the_pruner_it_wraps() -> None:
    inner = make_pruner(
        "patient:patience=4,wrapped_pruner=percentile,percentile=10,interval_steps=2", ONE
    )._pruner
    wrapped = inner._wrapped_pruner
    assert (inner._patience, wrapped._percentile, wrapped._interval_steps) == (4, 10.0, 2)


def test_options_reach_halving() -> None:
    text = "halving:eta=2,min_resource=4,max_resource=64,min_early_stopping_rate=1,brackets=2"
    options = {"eta": 2, "min_resource": 4, "max_resource": 64, "min_early_stopping_rate": 1, "brackets": 2}
    assert vars(make_pruner(text, TWO)._schedule) == options
    assert make_pruner("halving:max_resource=none", TWO)._schedule.max_resource is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("medain", "pruner: unknown name 'medain'; did you mean median?"),
        ("successive_halving", "pruner: unknown name 'successive_halving'; did you mean successive-halving?"),
        ("", f"pruner: unknown name ''; known: {', '.join(PRUNER_NAMES)}"),
        (3, "pruner: expected a name, such as 'halving:eta=3', or a pruner, got int"),
        ("halving:", "pruner halving: expected options as key=value,key=value, got ''"),
        ("halving:eta", "pruner halving: expected options as key=value,key=value, got 'eta'"),
        ("halving:eta=3,eta=4", "pruner halving: eta is given twice: expected each option once"),
        ("halving:eat=3", "pruner halving: unknown option 'eat'; did you mean eta?"),
        ("halving:eta=three", "pruner halving: eta: expected a number, got 'three'"),
        ("halving:eta=1", "pruner halving: eta: expected a number above 1, got 1.0"),
        (
            "halving:min_resource=0",
            "pruner halving: min_resource: expected a whole number of 1 or more, got 0",
        ),
        (
            "halving:max_resource=auto",
            "pruner halving: max_resource: expected a whole number, or none, got 'auto'",
        ),
        (
            "halving:min_resource=9,max_resource=3",
            "pruner halving: max_resource: expected at least min_resource, which is 9, got 3",
        ),
        ("nop:eta=3", "pruner nop: unknown option 'eta'; it takes none"),
        (
            "percentile",
            "pruner percentile: percentile is missing: give it, such as 'percentile:percentile=10'",
        ),
        (
            "percentile:percentile=101",
            "pruner percentile: percentile: expected a number from 0 to 100, got '101'",
        ),
        (
            "median:n_startup_trials=1.5",
            "pruner median: n_startup_trials: expected a whole number of 0 or more, got '1.5'",
        ),
        (
            "median:interval_steps=0",
            "pruner median: interval_steps: expected a whole number of 1 or more, got '0'",
        ),
        (
            "hyperband:reduction_factor=1",
            "pruner hyperband: reduction_factor: expected a whole number of 2 or more, got '1'",
        ),
        (
            "hyperband:max_resource=x",
            "pruner hyperband: max_resource: expected a whole number of 1 or more, or auto, got 'x'",
        ),
        (
            "hyperband:min_resource=9,max_resource=3",
            "pruner hyperband: max_resource: expected at least min_resource, which is 9, got 3",
        ),
        ("threshold", "pruner threshold: either lower or upper must be specified"),
        ("threshold:lower=2,upper=1", "pruner threshold: lower should be smaller than upper"),
        (
            "patient:patience=2,wrapped_pruner=patient",
            "pruner patient: wrapped_pruner: unknown name 'patient'; known: hyperband, median, percentile,"
            " successive-halving, threshold, wilcoxon",
        ),
        (
            "patient:patience=2,wrapped_pruner=median,eta=3",
            "pruner median: unknown option 'eta'; known: interval_steps, n_min_trials, n_startup_trials,"
            " n_warmup_steps",
        ),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(text, message) -> None:
    with pytest.raises(InputError) as caught:
        make_pruner(text, ONE)
    assert str(caught.value) == message
