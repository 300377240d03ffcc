"""A person's own code, on a machine that does not have it."""

import subprocess
import sys
import textwrap

import pytest

cloudpickle = pytest.importorskip("ray.cloudpickle", reason="needs ray: pip install 'moo-deploy[ray]'")

from moo.cli._tasks import load_task  # noqa: E402
from moo.engines._code import pickled_by_value  # noqa: E402
from moo.errors import InputError  # noqa: E402

HELPER = "FACTOR = 3\ndef tripled(x):\n    return FACTOR * x\n"
FAMILY = """
    import threading
    import helper_of_family
    from helper_of_family import tripled
    from objectives import FunctionTask

    def f(trial):
        return {"parameters": tripled(helper_of_family.tripled(2))}

    task = FunctionTask(f)
    locked = FunctionTask(lambda trial: {"parameters": held}, name="locked")
    held = threading.Lock()
"""
LOAD = """
import pickle, sys
task = pickle.load(open(sys.argv[1], "rb"))
print(task.evaluate(None, None).metrics["parameters"].value)
assert "helper_of_family" not in sys.modules
"""


@pytest.fixture
def family(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "helper_of_family.py").write_text(HELPER)
    (tmp_path / "code" / "family.py").write_text(textwrap.dedent(FAMILY))
    yield lambda name: load_task(f"{tmp_path / 'code' / 'family.py'}:{name}")
    for name in ("family", "helper_of_family"):
        sys.modules.pop(name, None)


def test_a_task_runs_where_none_of_its_files_is(family, tmp_path) -> None:
    (tmp_path / "task").write_bytes(pickled_by_value(family("task"), cloudpickle))
    words = [sys.executable, "-c", LOAD, str(tmp_path / "task")]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "18.0"


def test_what_cannot_be_sent_is_refused_with_the_reason(family) -> None:
    with pytest.raises(
        InputError, match=r"cannot be sent to another machine: .*lock.* Make it where it is needed"
    ):
        pickled_by_value(family("locked"), cloudpickle)


def test_modules_are_imported_as_ever_afterwards(family) -> None:
    before = cloudpickle.list_registry_pickle_by_value()
    pickled_by_value(family("task"), cloudpickle)
    assert cloudpickle.list_registry_pickle_by_value() == before
