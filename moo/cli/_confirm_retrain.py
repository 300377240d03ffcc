"""Retraining in `moo confirm`: how much of the search's quality was the luck of a seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from moo.cli._confirm_plan import Plan
from moo.cli._confirm_rounds import Stopped
from moo.confirmation import retraining_seed
from moo.errors import TrialError
from moo.evaluation import Evaluation
from objectives._confirm import retrained_evaluation

__all__ = ["Retrained", "retrain"]


@dataclass(frozen=True)
class Retrained:
    """What training anew gave.

    Args:
        found: By trial number the evaluations under other seeds, or in place of one why it failed.
        notes: What a reader is told of it.
    """

    found: Mapping[int, Sequence[Evaluation | str]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def evaluations(self, number: int) -> list[Evaluation]:
        """Return those of a trial that did not fail."""
        return [found for found in self.found.get(number, ()) if isinstance(found, Evaluation)]


def retrain(
    plan: Plan,
    survivors: Sequence[int],
    *,
    n_seeds: int,
    kept: str,
    tell: Callable[[str], None],
    should_stop: Callable[[], bool],
) -> Retrained:
    """Return each survivor trained anew under further seeds; what an earlier run trained is not done again.

    Args:
        plan: Where they come from.
        survivors: Trial numbers.
        n_seeds: How often each is trained.
        kept: What rounds are kept, for the message of `Stopped`.
        tell: Takes a line about progress.
        should_stop: Asked before each training.

    Raises:
        Stopped: By Ctrl-C.
    """
    task = plan.task
    if task is None:
        return Retrained(notes=("not retrained: give --task to see how much is the luck of a seed",))
    found: dict[int, list[Evaluation | str]] = {}
    names = [metric.name for metric in plan.results.problem.metrics]
    for number in survivors:
        for index in range(n_seeds):
            if should_stop():
                raise Stopped(f"{kept}, and the models retrained so far")
            tell(f"trial {number}: retraining {index + 1} of {n_seeds}")
            try:
                evaluation: Evaluation | str | None = retrained_evaluation(
                    task,
                    plan.by_number[number].trial.params,
                    root=plan.root,
                    folder=plan.folder / "retrained" / f"{number:05d}" / f"{index:02d}",
                    seed=retraining_seed(plan.seed, number, index),
                    metrics=names,
                )
            except TrialError as error:
                evaluation = f"{error.stage}: {error}"
            if evaluation is None:
                return Retrained(notes=(f"not retrained: task {task.name} trains nothing",))
            found.setdefault(number, []).append(evaluation)
    return Retrained(found)
