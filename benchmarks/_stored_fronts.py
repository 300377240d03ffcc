"""Best known fronts of the problems whose true front nobody knows; `reference_fronts` searches them."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

STORED_FRONTS_PATH = Path(__file__).with_name("reference_fronts.json")
FORMAT_VERSION = 1


@cache
def stored_fronts() -> dict[str, list[list[float]]]:
    """The losses of each stored front, by the name of its problem."""
    content: dict[str, Any] = json.loads(STORED_FRONTS_PATH.read_text())
    if content["version"] != FORMAT_VERSION:
        raise ValueError(f"{STORED_FRONTS_PATH.name} has version {content['version']}, not {FORMAT_VERSION}")
    fronts: dict[str, list[list[float]]] = content["fronts"]
    return fronts


def stored_front(name: str) -> NDArray[np.float64]:
    """The `(n, m)` losses of the best known front of one problem."""
    return np.array(stored_fronts()[name])
