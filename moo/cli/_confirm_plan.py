"""Whom `moo confirm` measures again, and what must stay the same for an earlier run's rounds to count."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moo.bundle import loads_code
from moo.confirmation import FEWEST_ROUNDS, MOST_ROUNDS, SCHEMA, Candidate, Choice
from moo.errors import InputError, MeasureError, TrialError
from objectives._confirm import Remeasured

if TYPE_CHECKING:
    from moo.evaluation import Evaluation
    from moo.results import Results
    from moo.study import Study
    from objectives import Task
    from profilers import Profiler, Protocol

__all__ = ["Plan", "refuse_code"]


@dataclass(kw_only=True)
class Plan:
    """One confirmation of a study. Making it checks each artefact, and writes nothing.

    Args:
        study: What is confirmed.
        results: Its table.
        root: The sweep's folder.
        seed: The study's.
        choice: Who is measured again.
        task: For its inputs, retraining and test data; None to do without.
        profiler_for: The profiler for a provider's name.
        fallback: The protocol where a trial's own is not kept.
        attempt: How many confirmations of the study were done over by `--again`.

    Attributes:
        models: What is launched, by trial number.
        refused: Why others of the candidates cannot be, by trial number.

    Raises:
        InputError: If no artefact can be measured again.
    """

    study: Study
    results: Results
    root: Path
    seed: int
    choice: Choice
    task: Task | None
    profiler_for: Callable[[str], Profiler]
    fallback: Protocol
    attempt: int
    models: Mapping[int, Remeasured] = field(init=False)
    refused: Mapping[int, str] = field(init=False)

    def __post_init__(self) -> None:
        models, refused = {}, {}
        for number, candidate in self.by_number.items():
            model = self._remeasured(candidate)
            try:
                model.check()
                if self.task is None:
                    refuse_code(model.evaluation)
            except TrialError as error:
                refused[number] = str(error)
            else:
                models[number] = model
        if not models:
            number, reason = next(iter(refused.items()))
            raise InputError(
                f"study {self.study.name!r}: no candidate can be measured again; trial {number}: {reason}."
                " A task that is one function keeps no artefact: run the search again, or let the function"
                " measure anew"
            )
        self.models, self.refused = models, refused

    def _remeasured(self, candidate: Candidate) -> Remeasured:
        trial, evaluation = candidate.trial, candidate.trial.evaluation
        assert evaluation is not None, "a complete trial has one"
        return Remeasured(
            root=self.root,
            evaluation=evaluation,
            params=trial.params,
            folder=self.folder / "launches" / f"{trial.number:05d}",
            profiler=self.profiler_for(str(evaluation.runtime.get("provider", "cpu"))),
            seed=self.seed,
            task=self.task,
            fallback=self.fallback,
            fewest_launches=FEWEST_ROUNDS,
            most_launches=MOST_ROUNDS,
        )

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return self.root / "confirm"

    @property
    def by_number(self) -> dict[int, Candidate]:
        """The candidates by trial number."""
        return {candidate.trial.number: candidate for candidate in self.choice.candidates}

    def to_json(self) -> dict[str, Any]:
        """Return what must be the same for an earlier run's rounds to count."""
        candidates = []
        for number, model in sorted(self.models.items()):
            artefact = model.evaluation.artefact
            assert artefact is not None
            runtime = dict(model.evaluation.runtime)
            candidates.append({"trial": number, "sha256": artefact.sha256, "runtime": runtime})
        return {
            "schema": SCHEMA,
            "study": self.study.name,
            "seed": self.seed,
            "attempt": self.attempt,
            "inputs": "made" if self.task is None else "validation",
            "candidates": candidates,
        }

    @property
    def id(self) -> str:
        """Sixteen hexadecimal digits of the JSON form."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()[:16]

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder, so that two do not measure into it, nor disturb each other.

        Raises:
            InputError: If another holds it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise InputError(
                    f"{self.folder}: another moo confirm is at work there: wait for it"
                ) from None
            yield


def refuse_code(evaluation: Evaluation) -> None:
    """Refuse to load code because a study says so: whoever has its task knows what the task loads.

    Raises:
        MeasureError: With the option.
    """
    for name in evaluation.runtime.get("options") or {}:
        if loads_code(str(name)):
            raise MeasureError(f"its runtime's option {name} loads code: give --task, if the study is yours")
