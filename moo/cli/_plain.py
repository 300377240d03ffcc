"""Text that anybody may have written, on a terminal: it moves no cursor and has no colour of its own."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

__all__ = ["PlainConsole", "one_line", "plain"]

_MOST_SIGNS = 2000


def plain(text: str) -> str:
    r"""Return a text without characters that steer a terminal, or that it cannot show; lines stay lines.

    >>> plain("a" + chr(27) + "[2Jb")
    'a\\x1b[2Jb'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(sign if sign.isprintable() or sign == "\n" else ascii(sign)[1:-1] for sign in text)


def one_line(text: str) -> str:
    r"""Return a message as one line, its middle left out where it is longer than a person reads.

    >>> one_line("a\n  b"), len(one_line("a" * 10**6)) <= 2000
    ('a b', True)
    """
    line = plain(" ".join(text.split()))
    half = (_MOST_SIGNS - 5) // 2
    return line if len(line) <= _MOST_SIGNS else f"{line[:half]} ... {line[-half:]}"[:_MOST_SIGNS]


class PlainConsole(Console):
    """A console that shows every text as `plain` has it, in tables too."""

    def render_str(self, text: str, **options: Any) -> Text:
        """See rich."""
        return super().render_str(plain(text), **options)
