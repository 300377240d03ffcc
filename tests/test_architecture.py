"""The import table of the design, held by reading the source."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OURS = ("moo", "objectives", "profilers", "reports")
MAY_IMPORT = {
    "profilers": ["profilers"],
    "moo": ["moo"],
    "objectives": ["objectives", "profilers", "moo.metrics", "moo.evaluation", "moo.problem", "moo.errors"],
    "reports": [
        "reports",
        "moo.results",
        "moo.decision",
        "moo.devices",
        "moo.importances",
        "moo.pareto",
        "moo.problem",
        "moo.metrics",
        "moo.errors",
    ],
}
NEVER = {
    "profilers": ["torch", "optuna", "onnxruntime"],
    "moo": ["torch", "onnxruntime"],
    "reports": ["torch", "onnxruntime", "optuna"],
}
IN_A_CHILD = {
    "profilers/_child/_binding.py": "onnxruntime",
    "profilers/_child/_device.py": "torch",
    "profilers/_child/_onnxruntime.py": "onnxruntime",
    "profilers/_child/_torch.py": "torch",
    "profilers/_child/_torch_models.py": "torch",
    "profilers/_probe.py": "onnxruntime",
}
"""What runs models is imported in child processes alone, by these."""


def sources(room: str) -> list[Path]:
    return [path for path in sorted((ROOT / room).rglob("*.py")) if (ROOT / "moo/cli") not in path.parents]


def imported(path: Path) -> set[str]:
    """Every module a file imports, `from a import b` as both `a` and `a.b`."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def is_within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


@pytest.mark.parametrize(
    "path", [p for room in OURS for p in sources(room)], ids=lambda p: str(p.relative_to(ROOT))
)
def test_a_file_imports_only_the_rooms_it_may(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0]
    ours = [
        name for name in imported(path) if name.split(".")[0] in (*OURS, "tests", "examples", "benchmarks")
    ]
    assert [n for n in ours if not any(is_within(n, allowed) for allowed in MAY_IMPORT[room])] == []
    own = IN_A_CHILD.get(path.relative_to(ROOT).as_posix())
    never = [banned for banned in NEVER.get(room, []) if banned != own]
    assert [n for n in imported(path) if any(is_within(n, banned) for banned in never)] == []


@pytest.mark.parametrize(
    "path", [p for room in OURS for p in sources(room)], ids=lambda p: str(p.relative_to(ROOT))
)
def test_no_file_but_the_command_line_imports_the_command_line(path: Path) -> None:
    assert not [name for name in imported(path) if is_within(name, "moo.cli")]


def test_pymoo_is_imported_in_one_file_at_most() -> None:
    users = [p for room in OURS for p in sources(room) if any(is_within(n, "pymoo") for n in imported(p))]
    assert len(users) <= 1


@pytest.mark.parametrize("package", [*OURS, "moo.engines", "moo.pareto", "moo.samplers"])
def test_a_package_lists_its_public_names_sorted_and_has_each(package: str) -> None:
    module = importlib.import_module(package)
    constants_first = sorted(
        module.__all__, key=lambda name: (not name.isupper(), not name[0].isupper(), name)
    )
    assert list(module.__all__) == constants_first
    assert all(hasattr(module, name) for name in module.__all__)


@pytest.mark.parametrize(
    ("package", "heavy"),
    [
        ("moo", ["torch", "onnxruntime", "optuna", "pandas", "pynvml"]),
        ("moo.cli", ["torch", "onnxruntime", "optuna", "pandas", "matplotlib"]),
        ("profilers", ["torch", "onnxruntime", "pynvml", "psutil"]),
        ("objectives", ["torch", "onnxruntime", "optuna"]),
        ("reports", ["torch", "onnxruntime", "optuna", "matplotlib", "pandas", "plotly"]),
    ],
)
def test_importing_a_package_loads_nothing_heavy(package: str, heavy: list[str]) -> None:
    code = f"import sys, {package}; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
