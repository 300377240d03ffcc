"""Verifies a bundle, from what costs nothing to what takes time; nothing in it but the model is run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moo.bundle._checks import Check, Checks, Outcome
from moo.bundle._machine import Machine
from moo.bundle._promises import Found, Held, Verdict, held
from moo.bundle._read import read
from moo.bundle._record import Bundle

__all__ = ["SCHEMA", "Verification", "verify"]

SCHEMA = "moo.verify/1"


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What became of a bundle here.

    Args:
        bundle: What it says.
        sha256: Of its `bundle.json`.
        checks: What was looked at, in order.
        promises: Each promise held against what was measured; empty where nothing was.
        found: What was measured here; None where nothing was.
        notes: What a person should know, a line each.
    """

    bundle: Bundle
    sha256: str
    checks: tuple[Check, ...]
    promises: tuple[Held, ...] = ()
    found: Found | None = None
    notes: tuple[str, ...] = ()

    @property
    def is_broken(self) -> bool:
        """Whether a check or a promise is broken."""
        return any(check.outcome is Outcome.BROKEN for check in self.checks) or any(
            one.verdict is Verdict.BROKEN for one in self.promises
        )

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form, of the schema `moo.verify/1`."""
        return {
            "schema": SCHEMA,
            "is_broken": self.is_broken,
            "study": self.bundle.candidate["study"],
            "trial": self.bundle.candidate["trial"],
            "sha256": self.sha256,
            "checks": [
                {"name": check.name, "outcome": str(check.outcome), "lines": list(check.lines)}
                for check in self.checks
            ],
            "promises": [one.to_json() for one in self.promises],
            "fingerprint": {
                "promised": self.bundle.environment.get("fingerprint"),
                "found": None if self.found is None else self.found.fingerprint,
            },
            "n_launches": None if self.found is None else self.found.n_launches,
            "tags": [] if self.found is None else list(self.found.tags),
            "notes": list(self.notes),
        }


def verify(
    folder: str | Path,
    *,
    machine: Machine | None = None,
    measures: bool = True,
    sha256: str | None = None,
    tell: Callable[[str], None] = lambda line: None,  # noqa: ARG005
) -> Verification:
    """Return what became of a bundle, here.

    In this order, and nothing of a bundle is used before it passed: `bundle.json` itself; the files by size
    and SHA-256, none of them a symbolic link; that `runtime.json` and the sample say what `bundle.json` says;
    the model's own hash, external data, inputs and outputs; the outputs for the sample; what it costs. Where
    one is broken, what rests on it is not checked.

    Args:
        folder: The bundle.
        machine: Reads, runs and measures models; without one the model is held to its hash alone.
        measures: Whether the cost is measured.
        sha256: What the SHA-256 of `bundle.json` must be; None for whatever it is.
        tell: Takes a line about what is done now.

    Raises:
        InputError: If there is no bundle, or none that can be read; or another than the one pinned.
    """
    place = Path(folder)
    bundle, found_sha256 = read(place, sha256=sha256)
    looked = Checks(place, bundle, machine, tell)
    found, reason = None, "--no-measure"
    if machine is not None and measures:
        found, reason = looked.measured(machine)
    elif machine is None:
        reason = "no machine to measure with was given"
    notes = list(looked.notes)
    if found is None:
        notes.append(f"no promise was held against anything: {reason}")
        return Verification(
            bundle=bundle, sha256=found_sha256, checks=tuple(looked.checks), notes=tuple(notes)
        )
    other = _other_machine(bundle, found)
    notes += _software_notes(bundle, found) if other is None else []
    return Verification(
        bundle=bundle,
        sha256=found_sha256,
        checks=tuple(looked.checks),
        promises=tuple(held(promise, found, other) for promise in bundle.promises),
        found=found,
        notes=tuple(notes),
    )


def _other_machine(bundle: Bundle, found: Found) -> str | None:
    """Return what tells this machine from that of the promises; None where it is the same."""
    fingerprint = bundle.environment.get("fingerprint")
    if fingerprint is not None and fingerprint == found.fingerprint:
        return None
    theirs, ours = bundle.environment.get("identity") or {}, found.environment.get("identity") or {}
    differ = sorted(name for name in {**theirs, **ours} if theirs.get(name) != ours.get(name))
    return ", ".join(map(ascii, differ)).replace("'", "") or "its fingerprint"


def _software_notes(bundle: Bundle, found: Found) -> list[str]:
    theirs, ours = bundle.environment.get("software") or {}, found.environment.get("software") or {}
    names = sorted(name for name in theirs if name in ours and theirs[name] != ours[name])
    return [f"{name} was {theirs[name]!r}, is {ours[name]!r}" for name in names]
