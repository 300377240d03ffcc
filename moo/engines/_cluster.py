"""What a Ray cluster offers, and words about it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["first_line", "has_room", "kill", "listed", "n_rooms", "nodes"]


def nodes(ray: Any) -> list[Mapping[str, float]]:
    """Return what each node that is there offers."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def has_room(offers: Sequence[Mapping[str, float]], needed: Mapping[str, float]) -> bool:
    """Return whether some node has all that is needed, were it idle.

    Args:
        offers: From `nodes`: amounts by resource.
        needed: Amounts by resource.
    """
    return any(n_rooms(node, needed) for node in offers)


def n_rooms(node: Mapping[str, float], needed: Mapping[str, float]) -> int:
    """Return how many times an idle node has what is needed.

    >>> n_rooms({"CPU": 8.0, "GPU": 1.0}, {"CPU": 2, "GPU": 0.5})
    2
    """
    return min(
        (int(node.get(name, 0) / amount) for name, amount in needed.items() if amount > 0), default=1000
    )


def kill(ray: Any, actor: Any) -> None:
    """End an actor and its process at once, if they are there."""
    with contextlib.suppress(Exception):  # whatever Ray says of a process that is gone: it is gone
        ray.kill(actor)


def listed(resources: Mapping[str, float]) -> str:
    """Return amounts by resource as a person reads them.

    >>> listed({"CPU": 2, "GPU": 0.5})
    'CPU 2, GPU 0.5'
    """
    return ", ".join(f"{name} {amount:g}" for name, amount in resources.items())


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says; Ray's go on for pages."""
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__
