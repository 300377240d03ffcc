"""What a trial showed at each rung it reached, and what was decided there; versioned JSON in the study.

Kept in the user attribute `moo:rungs` of a trial, written once a rung.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from moo.errors import StudyMismatchError

__all__ = ["RUNGS", "SCHEMA", "Rung", "read_rungs", "rungs_to_json"]

RUNGS = "moo:rungs"
SCHEMA = "moo.rungs/1"


@dataclass(frozen=True, kw_only=True)
class Rung:
    """A trial at a rung.

    Args:
        resource: The rung's own step: where it begins.
        step: The step at which the trial was seen, at or after `resource`.
        bracket: Among which trials it was ranked.
        values: Objective values by metric name, in the metrics' own directions; NaN for what is not finite.
        violation: Total violation of the constraints known then; infinite where it is not finite.
        is_stopped: What was decided.
    """

    resource: int
    step: int
    bracket: int
    values: Mapping[str, float]
    violation: float
    is_stopped: bool

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form, in which what is not finite is null."""
        return {
            "resource": self.resource,
            "step": self.step,
            "bracket": self.bracket,
            "values": {name: _or_null(value) for name, value in self.values.items()},
            "violation": _or_null(self.violation),
            "stopped": self.is_stopped,
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Rung:
        """Return the rung that `to_json` wrote."""
        violation = record["violation"]
        return cls(
            resource=record["resource"],
            step=record["step"],
            bracket=record["bracket"],
            values={name: math.nan if value is None else value for name, value in record["values"].items()},
            violation=math.inf if violation is None else violation,
            is_stopped=record["stopped"],
        )


def _or_null(value: float) -> float | None:
    return value if math.isfinite(value) else None


def rungs_to_json(rungs: Iterable[Rung]) -> dict[str, Any]:
    """Return the versioned JSON form, by resource."""
    ordered = sorted(rungs, key=lambda rung: rung.resource)
    return {"schema": SCHEMA, "rungs": [rung.to_json() for rung in ordered]}


def read_rungs(user_attrs: Mapping[str, Any]) -> dict[int, Rung]:
    """Return a trial's rungs by resource, none where it reached none.

    Raises:
        StudyMismatchError: For another format.
    """
    record = user_attrs.get(RUNGS)
    if record is None:
        return {}
    if record.get("schema") != SCHEMA:
        raise StudyMismatchError(
            f"a trial's {RUNGS} has the format {record.get('schema')!r}, expected {SCHEMA!r}:"
            " choose another study name"
        )
    rungs = [Rung.from_json(entry) for entry in record["rungs"]]
    return {rung.resource: rung for rung in rungs}
