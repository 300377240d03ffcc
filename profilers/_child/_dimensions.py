"""Symbolic dimensions: names, and arithmetic such as `past + 1`, `2*s0` or `Max(1, s0)`."""

import ast
import operator
import re
from bisect import bisect_left
from collections.abc import Callable, Mapping

LARGEST = 2**40  # size that is looked for
HYPHEN = re.compile(r"\w-[^\W\d]")  # part of a name; exporters write differences with spaces
OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
FUNCTIONS: Mapping[str, Callable[[int, int], int]] = {
    "max": max,
    "min": min,
    "mod": operator.mod,
    "floordiv": operator.floordiv,
}

Sizes = Mapping[str, int]


def evaluated(text: str, known: Sizes) -> int | None:
    """The size that a symbolic dimension has, given those of its symbols; None where one is unknown.

    >>> evaluated("past + 1", {"past": 4}), evaluated("Max(1, 2*s0)", {"s0": 3}), evaluated("seq", {})
    (5, 6, None)
    """
    if text in known:
        return known[text]
    node = _parsed(text)
    try:
        return None if node is None else _value(node, known)
    except (KeyError, ZeroDivisionError):
        return None


def symbols(text: str) -> tuple[str, ...]:
    """What a symbolic dimension is made of; what is no arithmetic is one symbol, whatever is in it.

    >>> symbols("past + new"), symbols("2*s0"), symbols("sequence length"), symbols("batch-size")
    (('past', 'new'), ('s0',), ('sequence length',), ('batch-size',))
    """
    node = _parsed(text)
    if node is None:
        return (text,)
    return tuple(dict.fromkeys(_names(node)))


def is_plain(text: str) -> bool:
    """Whether a symbolic dimension is a name, and no arithmetic."""
    return _parsed(text) is None


def solved(text: str, symbol: str, total: int, known: Sizes) -> int | None:
    """The size of a symbol for which a dimension, growing with it, has the size `total`; None if none.

    >>> solved("2*s0 + 1", "s0", 7, {}), solved("2*s0", "s0", 7, {})
    (3, None)
    """

    def at(size: int) -> int:
        value = evaluated(text, {**known, symbol: size})
        return -1 if value is None else value

    found = bisect_left(range(LARGEST), total, key=at)
    return found if at(found) == total else None


def _parsed(text: str) -> ast.expr | None:
    """The expression in a symbolic dimension; None where it is a name, as "sequence length" or "seq-len"."""
    if HYPHEN.search(text):
        return None
    try:
        node = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError):
        return None
    is_name = isinstance(node, ast.Name | ast.Attribute | ast.Constant)
    return node if not is_name and _is_arithmetic(node) else None


def _is_arithmetic(node: ast.expr) -> bool:
    if isinstance(node, ast.BinOp):
        return type(node.op) in OPERATORS and _is_arithmetic(node.left) and _is_arithmetic(node.right)
    if isinstance(node, ast.Call):
        has_two = not node.keywords and len(node.args) == 2
        return has_two and _function(node) in FUNCTIONS and all(_is_arithmetic(part) for part in node.args)
    if isinstance(node, ast.UnaryOp):
        return isinstance(node.op, ast.USub) and _is_arithmetic(node.operand)
    if isinstance(node, ast.Constant):
        return type(node.value) is int
    return isinstance(node, ast.Name | ast.Attribute)


def _function(node: ast.Call) -> str:
    return ast.unparse(node.func).lower()


def _value(node: ast.expr, known: Sizes) -> int:
    if isinstance(node, ast.BinOp):
        return int(OPERATORS[type(node.op)](_value(node.left, known), _value(node.right, known)))
    if isinstance(node, ast.Call):
        return FUNCTIONS[_function(node)](_value(node.args[0], known), _value(node.args[1], known))
    if isinstance(node, ast.UnaryOp):
        return -_value(node.operand, known)
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        return node.value
    return known[ast.unparse(node)]


def _names(node: ast.expr) -> list[str]:
    if isinstance(node, ast.BinOp):
        return [*_names(node.left), *_names(node.right)]
    if isinstance(node, ast.Call):
        return [name for part in node.args for name in _names(part)]
    if isinstance(node, ast.UnaryOp):
        return _names(node.operand)
    return [] if isinstance(node, ast.Constant) else [ast.unparse(node)]
