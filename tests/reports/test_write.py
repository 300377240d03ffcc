import json
import math
import subprocess
import sys

import matplotlib.image
import pytest

import reports
from moo.errors import InputError
from tests.reports import samples

FILES = {"candidates.csv", "front.png", "index.html", "report.json"}
FIGURES = {"parallel.png", "hypervolume.png", "importances.png"}  # where there is something to draw

AWKWARD = {
    "digits": samples.digits(),
    "bounded": samples.bounded(),
    "hostile": samples.hostile(),
    "empty": samples.pairs([]),
    "one point": samples.pairs([(0.9, 0.001)]),
    "ties": samples.pairs([(0.9, 0.001)] * 3, baseline=0),
    "all infeasible": samples.constrained([(0.9, 0.002, 0.5), (0.8, 0.001, 0.2)]),
    "no complete": samples.no_complete(),
    "infinite": samples.pairs([(0.99, math.inf), (0.9, 0.001), (0.95, 0.002)]),
    "zero": samples.pairs([(0.0, 0.0), (0.5, 0.01)]),
    "wide": samples.pairs([(0.9, 1e-6), (0.95, 1.0), (0.97, 50.0)]),
    "too wide": samples.pairs([(0.9, 1e-300), (0.95, 1.0), (0.97, 1e300), (0.99, 1.7e308), (-1.7e308, 1e-9)]),
    **{f"{n} objectives": samples.many_objectives(n) for n in (1, 2, 3, 4, 5)},
}


def strict_loads(text):
    def refuse(word):
        raise ValueError(f"{word} is no JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize("results", AWKWARD.values(), ids=AWKWARD.keys())
def test_every_study_makes_the_files_that_have_something_to_show(results, tmp_path):
    page = reports.write(results, tmp_path / "new" / "folder")
    assert page == tmp_path / "new" / "folder" / "index.html"
    names = {p.name for p in page.parent.iterdir()}
    assert names - FIGURES == FILES
    text = page.read_text()
    assert {name for name in FIGURES if f"{name} is not written" in text} == FIGURES - names
    image = matplotlib.image.imread(page.parent / "front.png")
    assert image.shape[:2] == (1560, 2400)
    strict_loads((page.parent / "report.json").read_text())


def test_a_report_can_be_written_over_itself(tmp_path):
    first = reports.write(samples.digits(), tmp_path).read_bytes()
    assert reports.write(samples.digits(), tmp_path).read_bytes() == first
    assert {path.name for path in tmp_path.iterdir()} == FIGURES | FILES


def test_a_figure_of_an_earlier_report_does_not_outlive_it(tmp_path):
    reports.write(samples.digits(), tmp_path)
    reports.write(samples.pairs([]), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == FILES


def test_new_files_have_the_permissions_of_any_new_file(tmp_path):
    (tmp_path / "other").write_text("")
    page = reports.write(samples.pairs([]), tmp_path)
    assert page.stat().st_mode == (tmp_path / "other").stat().st_mode


def test_a_folder_that_cannot_be_written_is_wrong_input(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"report folder '.*file.*'.*name another one") as caught:
        reports.write(samples.pairs([]), tmp_path / "file" / "below")
    assert "\n" not in str(caught.value)


def test_a_failed_write_leaves_no_temporary_file(tmp_path):
    (tmp_path / "report.json").mkdir()
    with pytest.raises(InputError):
        reports.write(samples.pairs([]), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


def test_importing_the_package_loads_no_drawing_library():
    heavy = "{'matplotlib', 'plotly', 'pandas', 'torch', 'onnxruntime', 'optuna', 'jinja2', 'numpy'}"
    code = f"import sys, reports; print({heavy} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


def test_writing_loads_neither_torch_nor_onnxruntime_nor_optuna_nor_pyplot():
    code = "import sys, reports; reports.write; import reports._html, reports._pngs, reports._record;"
    code += "print({'torch', 'onnxruntime', 'optuna', 'matplotlib.pyplot'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


def test_public_names_are_sorted_and_there():
    assert reports.__all__ == sorted(reports.__all__)
    assert callable(reports.write)
    with pytest.raises(AttributeError):
        _ = reports.nothing
