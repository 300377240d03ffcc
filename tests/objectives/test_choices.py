"""Deployment choices, held against the combinations written out by `itertools`."""

import dataclasses
import itertools

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moo.errors import InputError
from objectives._choices import Choices, Chosen
from objectives._compression._compress import Compression
from profilers import OPTIMIZATION_LEVELS, Runtime

FIELDS = {
    "threads": "intra_op_num_threads",
    "optimization": "graph_optimization_level",
    "batch": "batch",
    "provider": "provider",
}
VALUES = {
    "precision": ["fp32", "fp16", "int8-dynamic", "int8-static:per-channel"],
    "threads": [1, 2, 4],
    "optimization": list(OPTIMIZATION_LEVELS),
    "batch": [1, 8, 64],
    "provider": ["cpu", "cuda", "cuda:1"],
}


def some(name: str, at_least: int) -> st.SearchStrategy:
    return st.lists(st.sampled_from(VALUES[name]), unique=True, min_size=at_least).map(tuple)


choices = st.builds(
    Choices,
    precision=some("precision", 1),
    **{name: some(name, 0) for name in FIELDS},
    fan_out=st.booleans(),
)


def by_hand(given: Choices, runtime: Runtime) -> list[Chosen]:
    """Every combination, in the order of the fields."""
    lists = {name: getattr(given, name) for name in VALUES if getattr(given, name)}
    found = []
    for values in itertools.product(*lists.values()):
        picked = dict(zip(lists, values, strict=True))
        fields = {FIELDS[name]: value for name, value in picked.items() if name != "precision"}
        found.append(
            Chosen(
                params={f"deploy_{n}": v for n, v in picked.items() if len(lists[n]) > 1},
                compression=Compression.parse(picked["precision"]),
                runtime=dataclasses.replace(runtime, **fields),
            )
        )
    return found


RUNTIME = Runtime(intra_op_num_threads=3, batch=5, allow_spinning=True, graph_optimization_level="basic")


@settings(deadline=None, max_examples=30)
@given(choices)
def test_the_combinations_are_those_of_the_product(given) -> None:
    expected = by_hand(given, RUNTIME)
    assert given.n_combinations == len(expected)
    everything = dataclasses.replace(given, fan_out=True)
    for one in {0, len(expected) // 2, len(expected) - 1}:
        assert everything.others(expected[one], RUNTIME) == expected[:one] + expected[one + 1 :]


@settings(deadline=None, max_examples=30)
@given(choices)
def test_nothing_is_fanned_out_unless_asked_for(given) -> None:
    first = by_hand(given, RUNTIME)[0]
    assert bool(given.others(first, RUNTIME)) == (given.fan_out and given.n_combinations > 1)


@settings(deadline=None, max_examples=30)
@given(choices, st.integers(0, 2**16))
def test_a_trial_chooses_one_of_the_combinations_by_its_parameters(given, seed) -> None:
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed)).ask()
    chosen = given.suggested(trial, RUNTIME)
    assert chosen in by_hand(given, RUNTIME)
    assert trial.params == chosen.params


@settings(deadline=None, max_examples=30)
@given(choices)
def test_a_trial_with_the_parameters_of_a_combination_chooses_it(given) -> None:
    for expected in by_hand(given, RUNTIME):
        assert given.suggested(optuna.trial.FixedTrial(dict(expected.params)), RUNTIME) == expected


@settings(deadline=None, max_examples=30)
@given(choices)
def test_what_is_fixed_is_no_parameter_and_what_is_not_chosen_stays_the_runtimes(given) -> None:
    several = {f"deploy_{name}" for name in VALUES if len(getattr(given, name)) > 1}
    for chosen in by_hand(given, RUNTIME):
        suggested = given.suggested(optuna.trial.FixedTrial(dict(chosen.params)), RUNTIME)
        assert set(suggested.params) == several
        assert suggested.runtime.allow_spinning
        for name, field in FIELDS.items():
            if not getattr(given, name):
                assert getattr(suggested.runtime, field) == getattr(RUNTIME, field)


@settings(deadline=None, max_examples=30)
@given(choices, st.sampled_from([1, 2, 3]))
def test_the_model_as_it_is_is_the_combination_that_changes_nothing(given, threads) -> None:
    runtime = Runtime(intra_op_num_threads=threads)
    same = [c for c in by_hand(given, runtime) if c.runtime == runtime and c.compression == Compression()]
    assert given.unchanged(runtime) == (same[0].params if same else None)


def test_without_arguments_the_model_is_served_as_it_is() -> None:
    trial = optuna.create_study().ask()
    assert Choices().suggested(trial, RUNTIME) == Chosen(
        params={}, compression=Compression(), runtime=RUNTIME
    )
    assert Choices().unchanged(RUNTIME) == {}


def test_a_precision_is_kept_as_its_shortest_text() -> None:
    given = Choices(precision=("int8-static:rows=256:per-channel", "fp32"))
    assert given.precision == ("int8-static:per-channel", "fp32")


def test_lists_are_taken_for_tuples_and_leave_equal_choices() -> None:
    assert Choices(precision=["fp32"], threads=[1, 2]) == Choices(threads=(1, 2))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"precision": ()}, "choices, precision: expected one at least, such as fp32, got none"),
        ({"precision": "fp32"}, "choices, precision: expected a tuple of values, got 'fp32'"),
        ({"precision": ("fp32", "fp32")}, "choices, precision: expected each value once"),
        (
            {"precision": ("int8-static", "int8-static:minmax")},
            "choices, precision: expected each meaning once",
        ),
        ({"precision": ("int4",)}, "compression, precision: expected one of fp32, fp16"),
        ({"precision": (8,)}, "choices, precision: expected texts such as fp32, got 8"),
        ({"threads": 2}, "choices, threads: expected a tuple of values, got 2"),
        ({"threads": (0, 1)}, "choices: intra_op_num_threads"),
        ({"threads": (1, True)}, "choices, threads: expected each value once"),
        ({"threads": (True,)}, "choices: intra_op_num_threads"),
        ({"threads": (1, 2.0)}, "choices: intra_op_num_threads"),
        ({"threads": ([1], [2])}, "choices, threads: expected a tuple of values, got ([1], [2])"),
        ({"batch": (4, 0)}, "choices: batch"),
        ({"batch": (4, 4)}, "choices, batch: expected each value once"),
        (
            {"optimization": ("all", "most")},
            "choices, optimization: expected some of disable, basic, extended, all, got 'most'",
        ),
        ({"provider": ("cpu", "cuda:x")}, "choices: provider"),
        ({"provider": ("cpu", None)}, "choices: provider"),
        ({"fan_out": "yes"}, "choices, fan_out: expected True or False, got 'yes'"),
        (
            {"precision": ("fp32", "bf16")},
            "compression bf16: ONNX Runtime's CPU provider, the one served, has no",
        ),
        (
            {"precision": ("int8-dynamic:exclude=MatMull",)},
            "compression, exclude: knows no operator type 'MatMull': did you mean MatMul",
        ),
    ],
)
def test_a_choice_that_cannot_be_is_refused_in_one_line(given, said) -> None:
    with pytest.raises(InputError) as caught:
        Choices(**given)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
