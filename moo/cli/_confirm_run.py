"""The stages of `moo confirm`: rounds, retraining, the test data; each keeps what it has finished."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moo.confirmation import (
    CONFIRMATION,
    DOUBT,
    FEWEST_ROUNDS,
    MOST_ROUNDS,
    SCHEMA,
    TEST_OPENED,
    Assessment,
    Candidate,
    Choice,
    Measured,
    Race,
    RaceEnd,
    RoundLaunch,
    assess,
    fallen,
    retraining_seed,
    spread,
)
from moo.errors import InputError, SweepError, TrialError
from moo.evaluation import Estimate, Evaluation
from objectives._confirm import Remeasured, correct_samples, quality_on_test, retrained_evaluation

if TYPE_CHECKING:
    from moo.results import Results
    from moo.study import Study
    from objectives import Task
    from profilers import Profiler, Protocol

__all__ = ["N_DRAWS", "Confirming", "Stopped", "write_json"]

_N_DRAWS_RACING = 1000
N_DRAWS = 2000
_PLAN, _ROUND = "plan.json", "round.json"


class Stopped(Exception):  # noqa: N818  (no error: the person asked for it)
    """Ctrl-C: what rounds are whole is kept; the message says how many."""


@dataclass(kw_only=True)
class Confirming:
    """One confirmation of a study, from its plan to its record.

    Args:
        study: What is confirmed.
        results: Its table.
        root: The sweep's folder.
        seed: The study's.
        choice: Who is measured again.
        task: For its inputs, retraining and test data; None to do without.
        profiler_for: The profiler for a provider's name.
        fallback: The protocol where a trial's own is not kept.
        n_seeds: How often each survivor is retrained.
        most_launches: After the first five rounds; None for no limit.
        attempt: How many confirmations of the study were done over by `--again`.
        tell: Takes a line about progress.
        should_stop: Asked before each launch, retraining and scoring.
        is_late: Whether the time for further rounds is out.
    """

    study: Study
    results: Results
    root: Path
    seed: int
    choice: Choice
    task: Task | None
    profiler_for: Callable[[str], Profiler]
    fallback: Protocol
    n_seeds: int
    most_launches: int | None
    attempt: int
    tell: Callable[[str], None]
    should_stop: Callable[[], bool]
    is_late: Callable[[], bool]
    notes: list[str] = field(default_factory=list)
    refused: dict[int, str] = field(default_factory=dict)
    _models: dict[int, Remeasured] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return self.root / "confirm"

    @property
    def by_number(self) -> dict[int, Candidate]:
        """The candidates by trial number."""
        return {candidate.trial.number: candidate for candidate in self.choice.candidates}

    # the plan

    def prepare(self) -> None:
        """Check the artefacts, and find what an earlier run of the same plan kept.

        Raises:
            InputError: If no artefact can be measured again.
        """
        for number, candidate in self.by_number.items():
            evaluation = candidate.trial.evaluation
            assert evaluation is not None, "a complete trial has one"
            model = Remeasured(
                root=self.root,
                evaluation=evaluation,
                params=candidate.trial.params,
                folder=self.folder / "launches" / f"{number:05d}",
                profiler=self.profiler_for(str(evaluation.runtime.get("provider", "cpu"))),
                seed=self.seed,
                task=self.task,
                fallback=self.fallback,
                fewest_launches=FEWEST_ROUNDS,
                most_launches=MOST_ROUNDS,
            )
            try:
                model.check()
            except TrialError as error:
                self.refused[number] = str(error)
            else:
                self._models[number] = model
        if not self._models:
            number, reason = next(iter(self.refused.items()))
            raise InputError(
                f"study {self.study.name!r}: no candidate can be measured again; trial {number}: {reason}."
                " A task that is one function keeps no artefact: run the search again, or let the function"
                " measure anew"
            )

    @property
    def plan(self) -> dict[str, Any]:
        """What must be the same for an earlier run's rounds to count."""
        candidates = []
        for number, model in sorted(self._models.items()):
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
    def plan_id(self) -> str:
        """Sixteen hexadecimal digits of the plan."""
        return hashlib.sha256(json.dumps(self.plan, sort_keys=True).encode()).hexdigest()[:16]

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder, so that two do not measure into it, nor disturb each other."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise InputError(
                    f"{self.folder}: another moo confirm is at work there: wait for it"
                ) from None
            yield

    def resume(self) -> int:
        """Take the whole rounds that an earlier run of the same plan kept, and return how many.

        Rounds of another plan are removed, and so is a round that was cut off: half of it would have been
        measured at another time than the other.
        """
        kept = _read_json(self.folder / _PLAN)
        if kept != json.loads(json.dumps(self.plan)):
            if kept is not None:
                self.tell("the candidates, their artefacts or the inputs are not those before: starting over")
            for name in ("launches", "retrained"):
                shutil.rmtree(self.folder / name, ignore_errors=True)
            write_json(self.folder / _PLAN, self.plan)
            return 0
        n_rounds = 0
        while (record := self._round_record(n_rounds)) is not None and self._load_round(n_rounds, record):
            n_rounds += 1
        for model in self._models.values():
            for path in model.folder.glob("[0-9]*"):
                if int(path.name) >= n_rounds:
                    shutil.rmtree(path, ignore_errors=True)
                    model.launches.pop(int(path.name), None)
        for path in (self.folder / "launches").glob(f"*-{_ROUND}"):
            if int(path.name.split("-")[0]) >= n_rounds:
                path.unlink(missing_ok=True)
        return n_rounds

    def _round_path(self, number: int) -> Path:
        return self.folder / "launches" / f"{number:03d}-{_ROUND}"

    def _round_record(self, number: int) -> dict[str, Any] | None:
        return _read_json(self._round_path(number))

    def _load_round(self, number: int, record: Mapping[str, Any]) -> bool:
        failed = {int(trial): str(reason) for trial, reason in record["failed"].items()}
        here = [trial for trial in record["order"] if trial not in failed and trial in self._models]
        if not all(self._models[trial].load(number) for trial in here):
            return False
        self.refused |= failed
        return True

    # rounds

    def race(self, n_rounds: int) -> RaceEnd:
        """Run the rounds that are missing.

        Raises:
            Stopped: By Ctrl-C.
        """
        race = Race(
            launch=self._launch,
            assess=lambda: (self.assessed(_N_DRAWS_RACING), self.numbers),
            keep=self._keep_round,
            seed=self.seed,
            most_launches=self.most_launches,
            is_late=self.is_late,
            should_stop=self.should_stop,
        )
        n_done = sum(len(model.launches) for model in self._models.values())
        end = race.run(self.numbers, n_rounds_done=n_rounds, n_launches_done=n_done)
        if end == "stopped":
            raise Stopped(self._rounds_kept())
        if not self.numbers:
            raise SweepError(f"every candidate failed: {next(iter(self.refused.values()))}")
        return end

    @property
    def numbers(self) -> list[int]:
        """The candidates that are not out."""
        return [number for number in self.by_number if number not in self.refused]

    def _launch(self, number: int, round_number: int) -> bool:
        try:
            self._models[number].launch(round_number)
        except TrialError as error:
            self.refused[number] = f"round {round_number + 1}: {error}"
            return False
        return True

    def _keep_round(self, number: int, order: Sequence[int]) -> None:
        if not self.numbers:
            return  # all failed: not of themselves, most likely, so that the same command may try again
        failed = {str(trial): self.refused[trial] for trial in order if trial in self.refused}
        write_json(self._round_path(number), {"order": list(order), "failed": failed, "time": _now()})
        self.tell(f"round {number + 1}: {len(order)} of {len(self.by_number)} candidates launched")

    def _rounds_kept(self) -> str:
        n_rounds = len(list((self.folder / "launches").glob(f"*-{_ROUND}")))
        return f"{n_rounds} whole round{'' if n_rounds == 1 else 's'} kept"

    def assessed(self, n_draws: int) -> Assessment:
        """Return what the launches so far say of the candidates that are not out."""
        measured = []
        for number in self.numbers:
            model, trial = self._models[number], self.by_number[number].trial
            launches = []
            for round_number in sorted(model.launches):
                samples, bounded = model.samples(round_number)
                launches.append(RoundLaunch(round=round_number, samples=samples, bounded=bounded))
            measured.append(
                Measured(
                    number=number,
                    estimates={} if trial.evaluation is None else trial.evaluation.metrics,
                    launches=launches,
                    correct=correct_samples(self.root, trial.evaluation),
                    is_baseline=trial.is_baseline,
                )
            )
        return assess(
            self.results.problem, measured, n_draws=n_draws, seed=self.seed, bounds=self.results.bounds
        )

    # retraining and the test data

    @property
    def quality(self) -> list[str]:
        """The problem's metrics that training decides."""
        return [m.name for m in self.results.problem.metrics if m.stage in ("trained", "held-out")]

    def survivors(self, assessment: Assessment) -> list[int]:
        """Return those that may be on the front, and the baseline."""
        p = dict(zip(self.numbers, assessment.probability.p_on_front, strict=True))
        return [n for n in self.numbers if p[n] >= DOUBT or self.by_number[n].trial.is_baseline]

    def retrain(self, survivors: Sequence[int]) -> dict[int, list[Evaluation | str | None]]:
        """Return for each the evaluations under other seeds, or why one failed.

        Raises:
            Stopped: By Ctrl-C.
        """
        if self.task is None:
            self.notes.append("not retrained: give --task to see how much is the luck of a seed")
            return {}
        found: dict[int, list[Evaluation | str | None]] = {}
        names = [metric.name for metric in self.results.problem.metrics]
        for number in survivors:
            for index in range(self.n_seeds):
                if self.should_stop():
                    raise Stopped(f"{self._rounds_kept()}, and the models retrained so far")
                self.tell(f"trial {number}: retraining {index + 1} of {self.n_seeds}")
                try:
                    evaluation: Evaluation | str | None = retrained_evaluation(
                        self.task,
                        self.by_number[number].trial.params,
                        root=self.root,
                        folder=self.folder / "retrained" / f"{number:05d}" / f"{index:02d}",
                        seed=retraining_seed(self.seed, number, index),
                        metrics=names,
                    )
                except TrialError as error:
                    evaluation = f"{error.stage}: {error}"
                if evaluation is None:
                    self.notes.append(f"not retrained: task {self.task.name} trains nothing")
                    return {}
                found.setdefault(number, []).append(evaluation)
        return found

    def has_test_data(self) -> bool:
        """Whether the task has rows that nobody has looked at; their scores are not computed."""
        if self.task is None:
            return False
        number, model = next(iter(self._models.items()))
        return self.task.served(model.path, self.by_number[number].trial.params, "test") is not None

    def open_test(
        self, survivors: Sequence[int], retrained: Mapping[int, Sequence[Evaluation | str | None]]
    ) -> dict[int, dict[str, Any]]:
        """Return quality on the test data by trial; that they were opened is recorded before they are.

        Raises:
            Stopped: By Ctrl-C, before they were opened.
        """
        if self.task is None or not self.has_test_data():
            why = "no --task" if self.task is None else f"task {self.task.name} has no test data"
            self.notes.append(f"no test data were opened: {why}")
            return {}
        if self.should_stop():
            raise Stopped(f"{self._rounds_kept()}; the test data were not opened")
        self._record_opening(survivors)
        found: dict[int, dict[str, Any]] = {}
        for number in survivors:
            trial = self.by_number[number].trial
            assert trial.evaluation is not None
            again = [e for e in retrained.get(number, ()) if isinstance(e, Evaluation)]
            found[number] = {
                "own": self._tested(trial.evaluation, trial.params),
                "retrained": [self._tested(evaluation, trial.params) for evaluation in again],
            }
        return found

    def _tested(self, evaluation: Evaluation, params: Mapping[str, Any]) -> dict[str, Estimate] | str:
        assert self.task is not None
        profiler = self.profiler_for(str(evaluation.runtime.get("provider", "cpu")))
        try:
            return quality_on_test(self.task, evaluation, params, root=self.root, profiler=profiler)
        except TrialError as error:
            return f"{error.stage}: {error}"

    def _record_opening(self, survivors: Sequence[int]) -> None:
        optuna_study = self.study.optuna_study
        openings = list(optuna_study.user_attrs.get(TEST_OPENED, []))
        if openings and openings[-1]["plan"] == self.plan_id:
            return  # cut off before anything was shown
        entry = {
            "time": _now(),
            "trials": list(survivors),
            "again": bool(openings),
            "plan": self.plan_id,
        }
        optuna_study.set_user_attr(TEST_OPENED, [*openings, entry])

    # the record

    def record(
        self,
        assessment: Assessment,
        end: RaceEnd,
        retrained: Mapping[int, Sequence[Evaluation | str | None]],
        tested: Mapping[int, Mapping[str, Any]],
        fingerprint: str,
    ) -> dict[str, Any]:
        """Return the record of the schema moo.confirm/1, stored in the study and as `confirm.json`."""
        self._note_sources(assessment)
        entries = [self._entry(number, assessment, retrained, tested) for number in self.by_number]
        rounds = [record for i in range(MOST_ROUNDS) if (record := self._round_record(i)) is not None]
        found = {
            "schema": SCHEMA,
            "study": self.study.name,
            "time": _now(),
            "plan": self.plan_id,
            "attempt": self.attempt,
            "seed": self.seed,
            "fingerprint": fingerprint,
            "ended": end,
            "n_rounds": len(rounds),
            "n_front": self.choice.n_front,
            "left_out": list(self.choice.left_out),
            "candidates": entries,
            "test_opened": list(self.study.optuna_study.user_attrs.get(TEST_OPENED, [])),
            "notes": list(dict.fromkeys(self.notes)),
        }
        write_json(self.root / "confirm.json", found)
        self.study.optuna_study.set_user_attr(CONFIRMATION, found)
        return found

    def _note_sources(self, assessment: Assessment) -> None:
        said = {
            "interval": "drawn from the search's intervals, each candidate by itself",
            "value": "taken as exact: the search has no interval of it",
        }
        for name, source in assessment.sources.items():
            if source in said:
                self.notes.append(f"{name} was not measured again; {said[source]}")
        if self.choice.left_out:
            left_out = ", ".join(map(str, self.choice.left_out))
            self.notes.append(
                f"left out, beyond the cap of {len(self.choice.candidates)} candidates: trials {left_out}"
            )
        if self.task is None:
            self.notes.append("fed with made inputs of the search's shapes: give --task for its own rows")
        if any(launch for launch in self._bounded()):
            self.notes.append(
                "tails of calls too short to time alone are upper limits: P(feasible) is rather too low"
            )

    def _bounded(self) -> list[str]:
        used = {metric.name for metric in self.results.problem.metrics}
        models = [self._models[number] for number in self.numbers]
        return sorted(used & {name for m in models for r in m.launches for name in m.samples(r)[1]})

    def _entry(
        self,
        number: int,
        assessment: Assessment,
        retrained: Mapping[int, Sequence[Evaluation | str | None]],
        tested: Mapping[int, Mapping[str, Any]],
    ) -> dict[str, Any]:
        candidate = self.by_number[number]
        is_in = number not in self.refused
        again = self._models[number].metrics() if is_in else {}
        metrics = {}
        for metric in self.results.problem.metrics:
            is_launched = is_in and assessment.sources[metric.name] == "launches"
            confirmed = again[metric.name].to_json() if is_launched else None
            search = candidate.trial.estimate(metric.name).to_json()
            metrics[metric.name] = {"search": search, "confirmed": confirmed}
        return {
            "trial": number,
            "role": candidate.role,
            "is_baseline": candidate.trial.is_baseline,
            "search": {"p_on_front": candidate.p_on_front, "p_feasible": candidate.p_feasible},
            "confirmed": self._confirmed(number, assessment, again) if is_in else None,
            "refused": self.refused.get(number),
            "n_launches": len(self._models[number].launches) if number in self._models else 0,
            "tags": list(self._models[number].measurement().tags) if is_in else [],
            "metrics": metrics,
            "retrained": self._retrained_entry(retrained.get(number), tested.get(number)),
            "test": self._tested_entry(tested.get(number)),
        }

    def _confirmed(
        self, number: int, assessment: Assessment, estimates: Mapping[str, Estimate]
    ) -> dict[str, Any]:
        index, found = self.numbers.index(number), assessment.probability
        p_on_front, p_feasible = float(found.p_on_front[index]), float(found.p_feasible[index])
        is_sure = p_on_front >= 1 - DOUBT
        is_off = p_on_front <= DOUBT
        known = {**self.by_number[number].trial.evaluation.metrics, **estimates}  # type: ignore[union-attr]
        why = None if is_sure else fallen(self.results.problem, assessment, self.numbers, index, known)
        return {
            "p_on_front": p_on_front,
            "p_on_front_se": float(found.p_on_front_se[index]),
            "p_feasible": p_feasible,
            "p_feasible_se": float(found.p_feasible_se[index]),
            "verdict": "on" if is_sure else "off" if is_off else "undecided",
            "changeable": float(assessment.changeable[index]),
            "reason": why,
        }

    def _retrained_entry(
        self, again: Sequence[Evaluation | str | None] | None, tested: Mapping[str, Any] | None
    ) -> dict[str, Any] | None:
        if again is None:
            return None
        whole = [evaluation for evaluation in again if isinstance(evaluation, Evaluation)]
        scored = [] if tested is None else [one for one in tested["retrained"] if not isinstance(one, str)]
        return {
            "failures": [reason for reason in again if isinstance(reason, str)],
            "artefacts": [e.artefact.path for e in whole if e.artefact is not None],
            "validation": {name: spread(_values([e.metrics for e in whole], name)) for name in self.quality},
            "test": {name: spread(_values(scored, name)) for name in self.quality} if scored else None,
        }

    def _tested_entry(self, tested: Mapping[str, Any] | None) -> dict[str, Any] | None:
        if tested is None:
            return None
        own = tested["own"]
        if isinstance(own, str):
            return {"failure": own}
        return {name: estimate.to_json() for name, estimate in own.items()}


def _values(several: Sequence[Mapping[str, Estimate]], name: str) -> list[float]:
    found = [metrics[name].value for metrics in several if name in metrics]
    return [value for value in found if value is not None]


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file that appears whole or not at all; its folder is made.

    Raises:
        SweepError: If it cannot be written.
    """
    from profilers import write_whole

    text = json.dumps(content, indent=1, allow_nan=False) + "\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, lambda file: file.write(text.encode()))
    except OSError as error:
        raise SweepError(f"{path} cannot be written: {error.strerror}: make room, then run again") from error


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
