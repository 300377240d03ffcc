"""The rounds of `moo confirm`: each launches every candidate once; whole ones are kept."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from moo.cli._confirm_files import now, read_json, write_json
from moo.cli._confirm_plan import Plan
from moo.confirmation import DOUBT, MOST_ROUNDS, Assessment, Measured, Race, RaceEnd, RoundLaunch, assess
from moo.errors import SweepError, TrialError
from moo.pairing import correct_samples

__all__ = ["N_DRAWS", "Rounds", "Stopped"]

N_DRAWS = 2000
_N_DRAWS_RACING = 1000
_PLAN, _ROUND = "plan.json", "round.json"


class Stopped(Exception):  # noqa: N818  (no error: the person asked for it)
    """Ctrl-C: what rounds are whole is kept; the message says how many."""


@dataclass(kw_only=True)
class Rounds:
    """The launches of a plan's candidates, round by round.

    Args:
        plan: Who is launched.
        most_launches: After the first five rounds; None for no limit.
        tell: Takes a line about progress.
        should_stop: Asked before each launch.
        is_late: Whether the time for further rounds is out.

    Attributes:
        refused: Why candidates are out, by trial number: those of the plan, and those that failed here.
    """

    plan: Plan
    most_launches: int | None
    tell: Callable[[str], None]
    should_stop: Callable[[], bool]
    is_late: Callable[[], bool]
    refused: dict[int, str] = field(init=False)

    def __post_init__(self) -> None:
        self.refused = dict(self.plan.refused)

    @property
    def numbers(self) -> list[int]:
        """The candidates that are not out."""
        return [number for number in self.plan.by_number if number not in self.refused]

    @property
    def records(self) -> list[dict[str, Any]]:
        """What is kept of each round: the order, the candidates that failed, the time."""
        return [record for i in range(MOST_ROUNDS) if (record := self._record(i)) is not None]

    @property
    def kept(self) -> str:
        """How many whole rounds are kept, in words."""
        n_rounds = len(list(self._folder.glob(f"*-{_ROUND}")))
        return f"{n_rounds} whole round{'' if n_rounds == 1 else 's'} kept"

    def resume(self) -> int:
        """Take the whole rounds that an earlier run of the same plan kept, and return how many.

        Rounds of another plan are removed, and so is a round that was cut off: half of it would have been
        measured at another time than the other.
        """
        plan = self.plan.to_json()
        kept = read_json(self.plan.folder / _PLAN)
        if kept != json.loads(json.dumps(plan)):
            if kept is not None:
                self.tell("the candidates, their artefacts or the inputs are not those before: starting over")
            for name in ("launches", "retrained"):
                shutil.rmtree(self.plan.folder / name, ignore_errors=True)
            write_json(self.plan.folder / _PLAN, plan)
            return 0
        n_rounds = 0
        while (record := self._record(n_rounds)) is not None and self._load(n_rounds, record):
            n_rounds += 1
        self._remove_from(n_rounds)
        return n_rounds

    def _remove_from(self, n_rounds: int) -> None:
        """Remove what is there of later rounds."""
        for model in self.plan.models.values():
            for path in model.folder.glob("[0-9]*"):
                if int(path.name) >= n_rounds:
                    shutil.rmtree(path, ignore_errors=True)
                    model.launches.pop(int(path.name), None)
        for path in self._folder.glob(f"*-{_ROUND}"):
            if int(path.name.split("-")[0]) >= n_rounds:
                path.unlink(missing_ok=True)

    @property
    def _folder(self) -> Path:
        return self.plan.folder / "launches"

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:03d}-{_ROUND}"

    def _record(self, number: int) -> dict[str, Any] | None:
        return read_json(self._path(number))

    def _load(self, number: int, record: Mapping[str, Any]) -> bool:
        models = self.plan.models
        failed = {int(trial): str(reason) for trial, reason in record["failed"].items()}
        here = [trial for trial in record["order"] if trial not in failed and trial in models]
        if not all(models[trial].load(number) for trial in here):
            return False
        self.refused |= failed
        return True

    def race(self, n_rounds: int) -> RaceEnd:
        """Run the rounds that are missing.

        Args:
            n_rounds: How many there are.

        Raises:
            Stopped: By Ctrl-C.
            SweepError: If every candidate failed.
        """
        race = Race(
            launch=self._launch,
            assess=lambda: (self.assessed(_N_DRAWS_RACING), self.numbers),
            keep=self._keep,
            seed=self.plan.seed,
            most_launches=self.most_launches,
            is_late=self.is_late,
            should_stop=self.should_stop,
        )
        n_done = sum(len(model.launches) for model in self.plan.models.values())
        end = race.run(self.numbers, n_rounds_done=n_rounds, n_launches_done=n_done)
        if end == "stopped":
            raise Stopped(self.kept)
        if not self.numbers:
            raise SweepError(f"every candidate failed: {next(iter(self.refused.values()))}")
        return end

    def _launch(self, number: int, round_number: int) -> bool:
        try:
            self.plan.models[number].launch(round_number)
        except TrialError as error:
            self.refused[number] = f"round {round_number + 1}: {error}"
            return False
        return True

    def _keep(self, number: int, order: Sequence[int]) -> None:
        if not self.numbers:
            return  # all failed: not of themselves, most likely, so that the same command may try again
        failed = {str(trial): self.refused[trial] for trial in order if trial in self.refused}
        write_json(self._path(number), {"order": list(order), "failed": failed, "time": now()})
        self.tell(f"round {number + 1}: {len(order)} of {len(self.plan.by_number)} candidates launched")

    def assessed(self, n_draws: int) -> Assessment:
        """Return what the launches so far say of the candidates that are not out."""
        plan, measured = self.plan, []
        for number in self.numbers:
            model, trial = plan.models[number], plan.by_number[number].trial
            launches = []
            for round_number in sorted(model.launches):
                samples, bounded = model.samples(round_number)
                launches.append(RoundLaunch(round=round_number, samples=samples, bounded=bounded))
            measured.append(
                Measured(
                    number=number,
                    estimates={} if trial.evaluation is None else trial.evaluation.metrics,
                    launches=launches,
                    correct=correct_samples(plan.root, trial.evaluation),
                    is_baseline=trial.is_baseline,
                )
            )
        return assess(
            plan.results.problem, measured, n_draws=n_draws, seed=plan.seed, bounds=plan.results.bounds
        )

    def survivors(self, assessment: Assessment) -> list[int]:
        """Return those that may be on the front, and the baseline."""
        p = dict(zip(self.numbers, assessment.probability.p_on_front, strict=True))
        return [n for n in self.numbers if p[n] >= DOUBT or self.plan.by_number[n].trial.is_baseline]

    def bounded_metrics(self) -> list[str]:
        """Return the problem's metrics of which launches gave upper limits only, sorted."""
        used = {metric.name for metric in self.plan.results.problem.metrics}
        models = [self.plan.models[number] for number in self.numbers]
        return sorted(used & {name for m in models for r in m.launches for name in m.samples(r)[1]})
