import importlib.util
import textwrap

import pytest

SOURCE = '''
WIDTHS = (8, 16)

def helper(x):
    return x + 1

class T(Task):
    epochs = 3

    def __init__(self, scale=1):
        self.scale = scale

    def evaluate(self, trial, context):
        """Evaluate."""
        return helper(trial.suggest_categorical("width", WIDTHS))
'''


@pytest.fixture
def identity(tmp_path):
    """The identity of the task in a source text."""

    def load(source: str, **arguments) -> dict[str, str]:
        path = tmp_path / "task_file.py"
        path.write_text("from objectives import Task\n" + textwrap.dedent(source))
        import linecache

        linecache.clearcache()
        spec = importlib.util.spec_from_file_location("task_file", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.T(**arguments).identity()

    return load


def differing(first: dict[str, str], second: dict[str, str]) -> list[str]:
    return sorted(key for key in first | second if first.get(key) != second.get(key))


def test_the_same_source_has_the_same_identity(identity) -> None:
    assert identity(SOURCE) == identity(SOURCE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""Evaluate."""', '"""Say something else."""'),
        ("return helper(", "# a comment\n        return helper("),
        ("x + 1", "(x+1)"),
    ],
)
def test_words_and_layout_do_not_matter(identity, old, new) -> None:
    assert differing(identity(SOURCE), identity(SOURCE.replace(old, new))) == []


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ("x + 1", "x + 2", ["helper"]),
        ("(8, 16)", "(8, 32)", ["WIDTHS"]),
        ("epochs = 3", "epochs = 4", ["epochs"]),
        ('"width"', '"breadth"', ["evaluate()"]),
    ],
)
def test_a_change_of_meaning_is_named(identity, old, new, changed) -> None:
    assert differing(identity(SOURCE), identity(SOURCE.replace(old, new))) == changed


def test_a_setting_of_the_instance_counts(identity) -> None:
    assert differing(identity(SOURCE), identity(SOURCE, scale=2)) == ["scale"]


def test_the_demos_task_is_compared_like_any_other() -> None:
    from objectives.digits import Digits

    parts = Digits().identity()
    assert {"build()", "fit()", "data()", "ACTIVATIONS", "accuracy"} <= set(parts)
    assert "evaluate()" not in parts
