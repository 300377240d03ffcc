"""What a task is made of, as digests that change when its meaning does.

A study must not mix two tasks. Compared are the source of the task's own methods (without comments,
docstrings and layout), its settings, and whatever functions, classes and constants of the person's
own files these name, however deep and in whichever file. Not compared: installed packages, files
that are read, and attributes whose names begin with an underscore and that hold more than a number,
a text or a tuple (they are caches as a rule).
"""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import sys
import sysconfig
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

__all__ = ["function_parts", "task_parts"]

_OURS = ("moo", "profilers", "reports", "objectives._")
_SCALARS = (str, int, float, bool, type(None), tuple)
_PLAIN = (*_SCALARS, list, dict, frozenset, set)


def task_parts(task: object) -> dict[str, str]:
    """Return a digest or value for each part of a task."""
    parts: dict[str, str] = {}
    functions: list[FunctionType] = []
    for owner in reversed([c for c in type(task).__mro__ if _is_theirs(c.__module__)]):
        for name, member in vars(owner).items():
            function = _function_of(member)
            if function is not None:
                parts[f"{name}()"] = _digest(function)
                functions.append(function)
            elif isinstance(member, type):
                parts[name] = _digest(member)
                functions += _functions_of(member)
            else:
                parts |= _setting(name, member)
    for name, value in vars(task).items():
        parts |= _setting(name, value)
    return {**_named_by(functions), **parts}


def function_parts(function: Callable[..., Any]) -> dict[str, str]:
    """Return a digest for a function, for what it is bound to, and for what it names."""
    if isinstance(function, functools.partial):
        bound = {"arguments": _text((function.args, function.keywords))}
        return {**bound, **function_parts(function.func)}
    plain = _function_of(function)
    if plain is None:
        return {}
    return {**_named_by([plain]), f"{plain.__name__}()": _digest(plain)}


def _setting(name: str, value: object) -> dict[str, str]:
    if name.startswith("__") or not _is_plain(value):
        return {}
    return {} if name.startswith("_") and not isinstance(value, _SCALARS) else {name: _text(value)}


@functools.cache
def _is_theirs(module: str) -> bool:
    """Return whether a module is the person's own: not installed, not the standard library, not ours."""
    if any(module == name or module.startswith(name if name[-1] == "_" else f"{name}.") for name in _OURS):
        return False
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None:
        return module == "__main__" or module not in sys.modules
    paths = sysconfig.get_paths()
    installed = {Path(paths[kind]).resolve() for kind in ("stdlib", "platstdlib", "purelib", "platlib")}
    return not any(Path(file).resolve().is_relative_to(folder) for folder in installed)


def _function_of(member: object) -> FunctionType | None:
    if isinstance(member, (staticmethod, classmethod)):
        member = member.__func__
    if isinstance(member, property):
        member = member.fget
    if isinstance(member, functools.cached_property):
        member = member.func
    found = inspect.unwrap(member) if callable(member) and not isinstance(member, type) else member
    return found if isinstance(found, FunctionType) else None


def _functions_of(owner: type) -> list[FunctionType]:
    return [function for member in vars(owner).values() if (function := _function_of(member)) is not None]


def _is_plain(value: object) -> bool:
    return isinstance(value, _PLAIN) and " at 0x" not in repr(value)


def _text(value: object) -> str:
    """Return a text that is the same in every process: the order of a set is not."""
    if isinstance(value, (set, frozenset)):
        return f"{type(value).__name__}({', '.join(sorted(map(_text, value)))})"
    if isinstance(value, (list, tuple)):
        return f"{type(value).__name__}({', '.join(map(_text, value))})"
    if isinstance(value, dict):
        return f"dict({', '.join(f'{_text(key)}: {_text(item)}' for key, item in value.items())})"
    return repr(value)


def _digest(member: FunctionType | type) -> str:
    return hashlib.sha256(_normal_source(member).encode()).hexdigest()[:12]


def _normal_source(member: FunctionType | type) -> str:
    """Return the source without comments, docstrings and layout; the bytecode where there is none."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(member)))
    except (OSError, TypeError, SyntaxError):
        return _code_text(member.__code__) if isinstance(member, FunctionType) else member.__qualname__
    for node in ast.walk(tree):
        is_scope = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
        if is_scope and ast.get_docstring(node) is not None:  # type: ignore[arg-type]
            node.body = node.body[1:] or [ast.Pass()]  # type: ignore[attr-defined]
    return ast.unparse(tree)


def _code_text(code: CodeType) -> str:
    constants = [_code_text(c) if isinstance(c, CodeType) else _text(c) for c in code.co_consts]
    return repr((code.co_code, code.co_names, constants))


def _named_by(functions: list[FunctionType]) -> dict[str, str]:
    """Return what functions name of the person's own: functions, classes and constants, however deep."""
    parts: dict[str, str] = {}
    seen: set[int] = set()
    waiting = list(functions)
    while waiting:
        function = waiting.pop()
        if id(function) in seen:
            continue
        seen.add(id(function))
        for name, value in _names(function):
            plain = _function_of(value)
            if plain is not None and _is_theirs(plain.__module__):
                parts[name] = _digest(plain)
                waiting.append(plain)
            elif isinstance(value, type) and _is_theirs(value.__module__):
                for owner in (c for c in value.__mro__ if _is_theirs(c.__module__)):
                    parts[owner.__name__] = _digest(owner)
                    waiting += _functions_of(owner)
            elif _is_plain(value):
                parts[name] = _text(value)
    return parts


def _names(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """Yield what a function names: module constants, what it closes over, what it takes of own modules."""
    names = set(_all_names(function.__code__))
    for name in sorted(names & set(function.__globals__)):
        value = function.__globals__[name]
        if isinstance(value, ModuleType) and _is_theirs(value.__name__):
            yield from ((inner, vars(value)[inner]) for inner in sorted(names & set(vars(value))))
        elif not name.startswith("__"):
            yield name, value
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        value = cell.cell_contents
        if name != "__class__" and not isinstance(value, (list, dict, set)):  # those are what a run fills
            yield name, value


def _all_names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _all_names(constant)
