"""Which dimension is the batch, and what size the others have."""

import pytest

from profilers._child._dimensions import evaluated, solved, symbols
from profilers._child._errors import UnusableModelError
from profilers._child._runner import InputSpec
from profilers._child._shapes import Plan, planned


def plan(shapes: dict, batch: int = 1, dims: dict | None = None, shown: dict | None = None) -> Plan:
    signature = [InputSpec(name, "float32", shape, "tensor(float)") for name, shape in shapes.items()]
    return planned(signature, batch, dims or {}, shown or {})


DECODER = {
    "ids": ("batch", 1),
    "mask": ("batch", "past + 1"),
    "key": ("batch", 4, "past", 8),
    "value": ("batch", 4, "past", 8),
}


@pytest.mark.parametrize(
    ("shapes", "expected"),
    [
        ({"x": ("N", 3, "H", "W")}, {"x": 0}),
        ({"x": ("batch", "time"), "h": (2, "batch", 16)}, {"x": 0, "h": 1}),
        ({"x": ("time", "batch", 8), "h": (1, "batch", 16)}, {"x": 1, "h": 1}),
        ({"h": ("layers", "batch", 4), "x": ("batch", "time")}, {"h": 1, "x": 0}),
        ({"h": ("s0", "s1", 4), "x": ("s1", "s2")}, {"h": 1, "x": 0}),
        ({"h": ("unk__1", "unk__2", 4), "x": ("unk__2", "unk__3")}, {"h": 1, "x": 0}),
        ({"x": (None, 2), "z": (None, 3)}, {"x": 0, "z": 0}),
        ({"x": ("x_dynamic_axes_1", 3), "z": ("z_dynamic_axes_1", 3)}, {"x": 0, "z": 0}),
        ({"text": ("text_batch_size", "s"), "image": ("image_batch_size", 3)}, {"text": 0, "image": 0}),
        ({"past": ("batch x heads", 8), "ids": ("batch", "s")}, {"ids": 0}),
        ({"points": ("n", 3), "scale": (1,)}, {"points": 0}),
        ({"x": ("s0", 4), "twice": ("2*s0", 4)}, {"x": 0}),
        ({"x": (3, 4), "scale": (1,)}, {"x": 0}),
        ({}, None),
    ],
)
def test_the_axis_that_counts_rows_is_found(shapes, expected) -> None:
    if expected is None:
        with pytest.raises(
            UnusableModelError, match="no input takes a batch of 3, got a model without inputs"
        ):
            plan(shapes, batch=3)
    else:
        assert plan(shapes, batch=3).batch_axes == expected


def test_a_dimension_that_was_given_a_size_is_not_the_batch_and_the_next_one_leads() -> None:
    found = plan({"h": (1, "s1", 16), "x": ("s0", "s1", 8)}, 4, {"s0": 20})
    assert found.shapes == {"h": (1, 4, 16), "x": (20, 4, 8)}


def test_an_axis_that_is_taken_for_the_batch_without_leading_is_told_where_that_may_hide_a_want_of_size() -> (
    None
):
    shapes = {"x": ("points", "channels")}
    assert plan(shapes, 1, {"points": 20}).assumed == ("channels",)
    assert plan(shapes, 2, {"points": 20}).assumed == ()


@pytest.mark.parametrize(
    ("dims", "shown", "past", "assumed"),
    [
        ({}, {}, 1, ("past",)),
        ({"past": 7}, {}, 7, ()),
        ({"past": 0}, {}, 0, ()),
        ({"past + 1": 8}, {}, 7, ()),
        ({}, {"mask": (40, 8)}, 7, ()),
        ({}, {"key": (40, 4, 7, 8)}, 7, ()),
        ({"past": 7}, {"mask": (40, 8), "value": (40, 4, 7, 8)}, 7, ()),
    ],
)
def test_sizes_follow_from_each_other(dims, shown, past, assumed) -> None:
    found = plan(DECODER, 2, dims, shown)
    assert found.shapes["key"] == found.shapes["value"] == (2, 4, past, 8)
    assert found.shapes["mask"] == (2, past + 1)
    assert found.assumed == assumed


@pytest.mark.parametrize(
    ("dims", "shown", "message"),
    [
        ({"past": 9, "past + 1": 9}, {}, "sizes that were given: dimension 'past . 1' must be 10, got 9"),
        (
            {},
            {"key": (2, 4, 6, 8), "value": (2, 4, 5, 8)},
            "input 'value': dimension 'past' must be 6, got 5",
        ),
        ({}, {"mask": (2, 6), "key": (2, 4, 6, 8)}, "input 'mask': dimension 'past . 1' must be 7, got 6"),
        ({"past": 3}, {"key": (2, 4, 6, 8)}, "input 'key': dimension 'past' must be 3, got 6"),
        (
            {"future": 3},
            {},
            "dimension 'future' must be one of the model's symbolic ones, 'batch', 'past . 1'",
        ),
        ({"past": -1}, {}, "dimension 'past' must be an integer of at least 0, got -1"),
        ({"past": 1.5}, {}, "dimension 'past' must be an integer of at least 0, got 1.5"),
        ({"batch": 4}, {}, r"dimension 'batch' is the batch, 2, got 4: set the batch itself \(--batch 4\)"),
    ],
)
def test_sizes_that_contradict_the_model_or_each_other_are_refused(dims, shown, message) -> None:
    with pytest.raises(UnusableModelError, match=message):
        plan(DECODER, 2, dims, shown)


def test_the_batch_may_be_given_as_a_dimension_too() -> None:
    assert plan(DECODER, 2, {"batch": 2}).shapes["ids"] == (2, 1)


def test_sizes_of_dimensions_without_names_are_told_by_their_place() -> None:
    assert plan({"x": ("batch", None, 3, None)}).assumed == ("x[1]", "x[3]")
    with pytest.raises(UnusableModelError, match="'H' must be one of .*, of which it has none with a name"):
        plan({"x": (None, 3, None, None)}, 1, {"H": 8})


def test_a_batch_that_the_arithmetic_of_a_model_forbids_is_refused() -> None:
    assert plan({"x": ("2*half", 4), "z": ("half",)}, 3).shapes == {"x": (6, 4), "z": (3,)}
    assert plan({"x": ("2*half", 4), "z": (5, "half")}, 6).shapes == {"x": (6, 4), "z": (5, 3)}
    with pytest.raises(UnusableModelError, match=r"the batch: dimension '2\*half' cannot be 1"):
        plan({"x": ("2*half", 4)}, 1)


def test_a_size_below_zero_is_refused_with_what_it_came_from() -> None:
    with pytest.raises(UnusableModelError, match="'s0 - 5' must be at least 0, got -2 with s0 = 3"):
        plan({"x": ("batch", "s0 - 5")}, 1, {"s0": 3})


def test_an_input_is_not_empty_only_because_nobody_gave_a_size() -> None:
    with pytest.raises(UnusableModelError, match="'s0//2' must be at least 1, got 0 with s0 = 1: give sizes"):
        plan({"x": ("batch", "s0//2")})
    assert plan({"x": ("batch", "s0//2")}, 1, {"s0": 1}).shapes == {"x": (1, 0)}


def test_a_fixed_batch_is_the_only_one() -> None:
    assert plan({"x": (4, 3)}, 4).batch_axes == {"x": 0}
    with pytest.raises(
        UnusableModelError, match=r"no input takes a batch of 8, got 'x' \[4, 3\]: set the batch"
    ):
        plan({"x": (4, 3)}, 8)
    with pytest.raises(UnusableModelError, match="no input takes a batch of 4"):
        plan({"x": (1, "sequence")}, 4)


def test_the_axis_of_rows_in_outputs_is_that_of_the_batch_by_its_name() -> None:
    found = plan({"x": ("batch", "time"), "h": (2, "batch", 16)}, 2)
    assert found.row_axis((2, "batch", 16), 2) == 1
    assert found.row_axis(("other", 16), 2) == 0
    assert found.row_axis((1, 10), 2) == 0
    assert found.row_axis((2, 10), 2) is None
    assert plan({"x": (2, 3)}, 2).row_axis((2, 10), 2) == 0


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("s0", 9),
        ("2*s0", 18),
        ("s0*s1", 36),
        ("s0//2 + 1", 5),
        ("((s0 - 1)//2) + 1", 5),
        ("s0 % 4", 1),
        ("Max(1, s0)", 9),
        ("Min(s1, s0)", 4),
        ("FloorDiv(s0, 2)", 4),
        ("-s1 + s0", 5),
        ("encoder.length + 1", 6),
        ("s9 + 1", None),
        ("s0 // (s1 - 4)", None),
        ("s0-s1", None),
        ("s0/2", None),
        ("f(s0)", None),
        ("batch x heads", None),
        ("lambda", None),
        ("", None),
        ("(", None),
    ],
)
def test_arithmetic_is_done_and_everything_else_is_a_name(text, value) -> None:
    assert evaluated(text, {"s0": 9, "s1": 4, "encoder.length": 5}) == value


@pytest.mark.parametrize(
    "name", ["sequence length", "a.b", "unk__12", "seq-len", "batch/heads", "class", "x[0]"]
)
def test_names_of_all_kinds_are_one_symbol_that_can_be_given_a_size(name) -> None:
    assert symbols(name) == (name,)
    assert plan({"x": ("batch", name)}, 2, {name: 5}).shapes == {"x": (2, 5)}
    assert plan({"x": ("batch", name)}, 2).assumed == (name,)


def test_an_equation_is_solved_where_it_has_a_solution() -> None:
    assert solved("past + new", "past", 10, {"new": 3}) == 7
    assert solved("s0//2", "s0", 5, {}) == 10
    assert solved("past + 1", "past", 0, {}) is None
