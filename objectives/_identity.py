"""What a task is made of, as digests that change when its meaning does.

A study must not mix two tasks. Compared are the source of a task's methods (without comments,
docstrings and layout), its settings, and the module's own functions and constants that the
methods name. Not compared: files that are read, and packages that are imported.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import textwrap
from collections.abc import Callable, Iterator, Mapping
from types import FunctionType
from typing import Any

__all__ = ["function_parts", "task_parts"]

_FRAMEWORK = ("objectives._", "abc", "builtins")
_PLAIN = (str, int, float, bool, type(None), tuple, list, dict, frozenset, set)


def task_parts(task: object) -> dict[str, str]:
    """Return a digest or value for each part of a task.

    The classes of this package's private modules are the framework, not the task.
    """
    parts: dict[str, str] = {}
    classes = [c for c in type(task).__mro__ if not c.__module__.startswith(_FRAMEWORK)]
    for owner in reversed(classes):
        for name, member in vars(owner).items():
            function = _function_of(member)
            if function is not None:
                parts |= {f"{name}()": _digest(function), **_globals_of(function, owner.__module__)}
            elif not name.startswith("_") and _is_plain(member):
                parts[name] = repr(member)
    parts |= {
        name: repr(value)
        for name, value in vars(task).items()
        if not name.startswith("_") and _is_plain(value)
    }
    return parts


def function_parts(function: Callable[..., Any]) -> dict[str, str]:
    """Return a digest for a function and for what it names in its module."""
    if not isinstance(function, FunctionType):
        return {}
    return {f"{function.__name__}()": _digest(function), **_globals_of(function, function.__module__)}


def _function_of(member: object) -> FunctionType | None:
    if isinstance(member, (staticmethod, classmethod)):
        member = member.__func__
    if isinstance(member, property):
        member = member.fget
    return member if isinstance(member, FunctionType) else None


def _is_plain(value: object) -> bool:
    return isinstance(value, _PLAIN) and " at 0x" not in repr(value)


def _digest(member: FunctionType | type) -> str:
    return hashlib.sha256(_normal_source(member).encode()).hexdigest()[:12]


def _normal_source(member: FunctionType | type) -> str:
    """Return the source without comments, docstrings and layout; the bytecode where there is none."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(member)))
    except (OSError, TypeError, SyntaxError, IndentationError):
        code = getattr(member, "__code__", None)
        return (
            repr((code.co_code, code.co_names, code.co_consts)) if code is not None else member.__qualname__
        )
    for node in ast.walk(tree):
        if (
            isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
            and ast.get_docstring(node) is not None
        ):
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


def _globals_of(function: FunctionType, module: str) -> dict[str, str]:
    """Return the module's own functions, classes and constants that a function names, however deep."""
    parts: dict[str, str] = {}
    waiting = [function]
    while waiting:
        for name, value in _named_globals(waiting.pop()):
            if name in parts:
                continue
            if isinstance(value, (FunctionType, type)) and value.__module__ == module:
                parts[name] = _digest(value)
                waiting += (
                    [value]
                    if isinstance(value, FunctionType)
                    else [m for m in vars(value).values() if isinstance(m, FunctionType)]
                )
            elif _is_plain(value):
                parts[name] = repr(value)
    return parts


def _named_globals(function: FunctionType) -> Iterator[tuple[str, Any]]:
    scope: Mapping[str, Any] = function.__globals__
    names = set(_all_names(function.__code__))
    return ((name, scope[name]) for name in sorted(names) if name in scope and not name.startswith("__"))


def _all_names(code: Any) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if hasattr(constant, "co_names"):
            yield from _all_names(constant)
