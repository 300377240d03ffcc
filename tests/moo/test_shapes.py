"""What kept JSON must be, and the line that says what is not."""

import pytest

from moo.shapes import ANY, EACH, INSIDE, checked, misfit

WORDS = frozenset({"on", "off"})


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        (1, int),
        (1, float),
        (2.5, float),
        (float("inf"), float),
        ("a", str),
        (None, (str, None)),
        ("on", WORDS),
        ("a/b..c/d", INSIDE),
        ([], [int]),
        ([1, "a"], [int, str]),
        ({}, {EACH: int}),
        ({"a": 1, "more": []}, {"a": int, "b?": str}),
        ([{"n": {"a": None}}], [{"n": ({EACH: (int, None)}, None)}]),
        (object(), ANY),
    ],
)
def test_what_is_of_the_shape_fits(value, shape) -> None:
    assert misfit(value, shape) is None
    assert checked(value, shape) is value


@pytest.mark.parametrize(
    ("value", "shape", "said"),
    [
        (True, int, "it: expected a whole number, got True"),
        (True, float, "it: expected a number, got True"),
        (float("nan"), float, "it: expected a number, got nan"),
        (2**5000, float, "it: expected a number, got "),
        ("1", (float, None), "it: expected a number or null, got '1'"),
        ("of", WORDS, "it: expected off or on, got 'of'"),
        ("/etc/passwd", INSIDE, "it: expected a path inside the folder, got '/etc/passwd'"),
        ("a/../b", INSIDE, "it: expected a path inside"),
        ("..", INSIDE, "it: expected a path inside"),
        ("a\0b", INSIDE, "it: expected a path inside"),
        ({"a": 1}, [int], "it: expected a list, got {'a': 1}"),
        ([1], [int, str], "it: expected a list of 2, got [1]"),
        ([1, "x"], [int], "1: expected a whole number, got 'x'"),
        ([], {EACH: int}, "it: expected an object, got []"),
        ({"a": {}}, {"a": {"b": str}}, "a/b: expected a text, got nothing"),
        ({"a": {"b": 3}}, {"a": ({"b": str}, None)}, "a/b: expected a text, got 3"),
        ({"a": 3}, {"a": ({"b": str}, None)}, "a: expected an object or null, got 3"),
        ({"k" * 500: 3}, {EACH: str}, f"{'k' * 60}: expected a text, got 3"),
        ("x" * 10**6, int, "it: expected a whole number, got 'xxx"),
    ],
)
def test_what_is_not_is_told_where_it_is_and_in_few_words(value, shape, said) -> None:
    reason = misfit(value, shape)
    assert reason is not None
    assert reason.startswith(said)
    assert len(reason) < 200
    with pytest.raises(ValueError, match="expected"):
        checked(value, shape)
