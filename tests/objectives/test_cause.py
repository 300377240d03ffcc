"""Why a converter refused a model: errors raised from errors, and while handling them."""

import pytest

from objectives._cause import innermost_cause


def raised(*errors: Exception, how: str) -> Exception:
    """The last of the errors, each raised from the one before, or while that was handled."""
    try:
        if len(errors) > 1:
            try:
                raise raised(*errors[:-1], how=how)
            except Exception as inner:
                if how == "from":
                    raise errors[-1] from inner
                if how == "from None":
                    raise errors[-1] from None
                raise errors[-1]  # noqa: B904  (the case)
        raise errors[-1]
    except Exception as error:
        return error


@pytest.mark.parametrize(
    ("how", "said"),
    [("from", "KeyError: 'first'"), ("handling", "KeyError: 'first'"), ("from None", "TypeError: third")],
)
def test_the_innermost_is_told_however_the_others_came_to_be(how, said) -> None:
    assert (
        innermost_cause(raised(KeyError("first"), ValueError("second"), TypeError("third"), how=how)) == said
    )


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("", "ValueError: no message"),
        ("\n  \n  one line.  \nand pages", "ValueError: one line"),
        ("x" * 500, "ValueError: " + "x" * 160),
    ],
)
def test_it_is_one_short_line(message, said) -> None:
    assert innermost_cause(ValueError(message)) == said


def test_errors_that_name_each_other_as_cause_come_to_an_end() -> None:
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    assert innermost_cause(one) == "ValueError: other"
