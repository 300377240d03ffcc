"""The record of a confirmation, schema moo.confirm/1: what each stage of `moo confirm` found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from moo.cli._confirm_files import now, write_json
from moo.cli._confirm_plan import Plan
from moo.cli._confirm_retrain import Retrained
from moo.cli._confirm_rounds import Rounds
from moo.cli._confirm_test_data import Quality, Tested
from moo.confirmation import CONFIRMATION, DOUBT, SCHEMA, TEST_OPENED, Assessment, RaceEnd, fallen, spread
from moo.evaluation import Estimate

__all__ = ["Findings", "store"]


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What the stages found.

    Args:
        plan: Who was measured again.
        rounds: Their launches.
        end: Why the rounds ended.
        assessment: What the launches say, of the candidates that are not out.
        retrained: The survivors under other seeds.
        tested: Quality on the test data.
        fingerprint: Of the machine.
        notes: What a reader is told beside what the stages note.
    """

    plan: Plan
    rounds: Rounds
    end: RaceEnd
    assessment: Assessment
    retrained: Retrained
    tested: Tested
    fingerprint: str
    notes: Sequence[str] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the record of the schema moo.confirm/1."""
        plan = self.plan
        notes = [*self.notes, *self.retrained.notes, *self.tested.notes, *self._notes_on_sources()]
        return {
            "schema": SCHEMA,
            "study": plan.study.name,
            "time": now(),
            "plan": plan.id,
            "attempt": plan.attempt,
            "seed": plan.seed,
            "fingerprint": self.fingerprint,
            "ended": self.end,
            "n_rounds": len(self.rounds.records),
            "n_front": plan.choice.n_front,
            "left_out": list(plan.choice.left_out),
            "candidates": [self._entry(number) for number in plan.by_number],
            "test_opened": list(plan.study.optuna_study.user_attrs.get(TEST_OPENED, [])),
            "notes": list(dict.fromkeys(notes)),
        }

    def _notes_on_sources(self) -> list[str]:
        said = {
            "interval": "drawn from the search's intervals, each candidate by itself",
            "value": "taken as exact: the search has no interval of it",
        }
        choice = self.plan.choice
        notes = [
            f"{name} was not measured again; {said[source]}"
            for name, source in self.assessment.sources.items()
            if source in said
        ]
        if choice.left_out:
            left_out = ", ".join(map(str, choice.left_out))
            notes.append(
                f"left out, beyond the cap of {len(choice.candidates)} candidates: trials {left_out}"
            )
        if self.plan.task is None:
            notes.append("fed with made inputs of the search's shapes: give --task for its own rows")
        if self.rounds.bounded_metrics():
            notes.append(
                "tails of calls too short to time alone are upper limits: P(feasible) is rather too low"
            )
        return notes

    def _entry(self, number: int) -> dict[str, Any]:
        plan, candidate = self.plan, self.plan.by_number[number]
        refused = self.rounds.refused
        is_in = number not in refused
        again = plan.models[number].metrics() if is_in else {}
        metrics = {}
        for metric in plan.results.problem.metrics:
            is_launched = is_in and self.assessment.sources[metric.name] == "launches"
            confirmed = again[metric.name].to_json() if is_launched else None
            search = candidate.trial.estimate(metric.name).to_json()
            metrics[metric.name] = {"search": search, "confirmed": confirmed}
        return {
            "trial": number,
            "role": candidate.role,
            "is_baseline": candidate.trial.is_baseline,
            "search": {"p_on_front": candidate.p_on_front, "p_feasible": candidate.p_feasible},
            "confirmed": self._confirmed(number, again) if is_in else None,
            "refused": refused.get(number),
            "n_launches": len(plan.models[number].launches) if number in plan.models else 0,
            "tags": list(plan.models[number].measurement().tags) if is_in else [],
            "metrics": metrics,
            "retrained": self._retrained(number),
            "test": self._tested(number),
        }

    def _confirmed(self, number: int, estimates: Mapping[str, Estimate]) -> dict[str, Any]:
        problem, numbers, assessment = self.plan.results.problem, self.rounds.numbers, self.assessment
        index, found = numbers.index(number), assessment.probability
        p_on_front, p_feasible = float(found.p_on_front[index]), float(found.p_feasible[index])
        is_sure = p_on_front >= 1 - DOUBT
        is_off = p_on_front <= DOUBT
        evaluation = self.plan.by_number[number].trial.evaluation
        assert evaluation is not None, "a complete trial has one"
        known = {**evaluation.metrics, **estimates}
        why = None if is_sure else fallen(problem, assessment, numbers, index, known)
        return {
            "p_on_front": p_on_front,
            "p_on_front_se": float(found.p_on_front_se[index]),
            "p_feasible": p_feasible,
            "p_feasible_se": float(found.p_feasible_se[index]),
            "verdict": "on" if is_sure else "off" if is_off else "undecided",
            "changeable": float(assessment.changeable[index]),
            "reason": why,
        }

    def _retrained(self, number: int) -> dict[str, Any] | None:
        again = self.retrained.found.get(number)
        if again is None:
            return None
        # what training decides
        quality = [m.name for m in self.plan.results.problem.metrics if m.stage in ("trained", "held-out")]
        whole = self.retrained.evaluations(number)
        validated = [evaluation.metrics for evaluation in whole]
        scored = [one for one in self.tested.retrained.get(number, ()) if not isinstance(one, str)]
        return {
            "failures": [reason for reason in again if isinstance(reason, str)],
            "artefacts": [e.artefact.path for e in whole if e.artefact is not None],
            "validation": {name: spread(_values(validated, name)) for name in quality},
            "test": {name: spread(_values(scored, name)) for name in quality} if scored else None,
        }

    def _tested(self, number: int) -> dict[str, Any] | None:
        own: Quality | None = self.tested.own.get(number)
        if own is None:
            return None
        if isinstance(own, str):
            return {"failure": own}
        return {name: estimate.to_json() for name, estimate in own.items()}


def _values(several: Iterable[Mapping[str, Estimate]], name: str) -> list[float]:
    found = [metrics[name].value for metrics in several if name in metrics]
    return [value for value in found if value is not None]


def store(findings: Findings) -> dict[str, Any]:
    """Write the record as `confirm.json` and into the study, and return it.

    Raises:
        SweepError: If the file cannot be written.
    """
    plan, record = findings.plan, findings.to_json()
    write_json(plan.root / "confirm.json", record)
    plan.study.optuna_study.set_user_attr(CONFIRMATION, record)
    return record
