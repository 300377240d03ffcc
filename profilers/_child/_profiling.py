"""A stage of the child process: calls under ONNX Runtime's own profiling, in sessions opened for it.

Like the child it imports nothing of this package. Profiling slows a small model by a third, so the stage
belongs after all that is timed and after the peak memory was read, or into a process of its own.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

Feed = dict[str, Any]
OpenSession = Callable[[Mapping[str, Any], Mapping[str, str]], Any]

FEWEST_CALLS = 2  # the arena grows until the second call
PLAIN_ATTRIBUTES = {"enable_mem_pattern": False}  # so that every tensor is allocated and freed by itself
PLAIN_ENTRIES = {"session.disable_prepacking": "1"}  # so that packed weights too count as parameters


def profile_session(
    open_session: OpenSession, feeds: Sequence[Feed], folder: str | Path, *, n_calls: int
) -> dict[str, str]:
    """The paths of two profiles: "deployed", of `n_calls` calls, and "plain", of one, for `memory`.

    The feeds are taken in turn, and should all have the shapes of the first, the only one in "plain". The
    file grows by about 700 bytes for each run of an operator, and ONNX Runtime stops writing at a million.

    Args:
        open_session: Opens the model as deployed, with two things more: the values for attributes of
            `SessionOptions`, and the entries for `add_session_config_entry`.
        feeds: What to call with, at least one.
        folder: Where the files are written; it must exist.
        n_calls: Calls in "deployed", at least 2.

    Raises:
        ValueError: If there is no feed, or there are too few calls.
    """
    if not feeds:
        raise ValueError("feeds must hold at least one feed, got none")
    if n_calls < FEWEST_CALLS:
        raise ValueError(f"n_calls must be at least {FEWEST_CALLS}, got {n_calls!r}")
    deployed = _profiling(Path(folder) / "deployed")
    plain = _profiling(Path(folder) / "plain") | PLAIN_ATTRIBUTES
    in_turn = [feeds[index % len(feeds)] for index in range(n_calls)]
    return {
        "deployed": _profiled(open_session(deployed, {}), in_turn),
        "plain": _profiled(open_session(plain, PLAIN_ENTRIES), in_turn[:1]),
    }


def _profiling(prefix: Path) -> dict[str, Any]:
    return {"enable_profiling": True, "profile_file_prefix": str(prefix)}


def _profiled(session: Any, feeds: list[Feed]) -> str:
    """The profile of one call with each feed; outputs are dropped at once, for they lie in the arena."""
    names = [output.name for output in session.get_outputs()]
    for feed in feeds:
        session.run(names, feed)
    return str(session.end_profiling())
