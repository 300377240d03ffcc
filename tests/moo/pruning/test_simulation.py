"""On synthetic learning curves: what halving finds, against what it spends and against what chance finds."""

import moocore
import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from moo.problem import Problem
from moo.pruning import NoPruning, Pruner, SuccessiveHalving

PROBLEM = Problem.parse(maximize=["accuracy"], minimize=["parameters"])
N_TRIALS, N_STEPS, N_WORKERS, N_SEEDS = 120, 81, 4, 6
STEPS = np.arange(1, N_STEPS + 1)


def large_models_learn_slowly(rng):
    size = rng.uniform(0, 1, N_TRIALS)
    return (
        1e3 * 10 ** (3 * size),
        0.70 + 0.27 * size**0.5,
        0.08,
        rng.uniform(0.4, 1.2, N_TRIALS) * (1.1 - size / 2),
    )


def speed_has_nothing_to_do_with_size(rng):
    size = rng.uniform(0, 1, N_TRIALS)
    return 1e4 + 1e6 * size, 0.6 + 0.35 * size**0.7, 0.1, rng.uniform(0.6, 1.0, N_TRIALS)


def fast_learners_end_lower(rng):
    size, speed = rng.uniform(0, 1, N_TRIALS), rng.uniform(0.3, 1.3, N_TRIALS)
    return 1e3 * 10 ** (3 * size), 0.9 - 0.25 * (1 - size) ** 2 + 0.05 * (1.3 - speed), 0.05, speed


def learning_curves(family, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return parameters, shape (n,), and accuracy by step, shape (n, steps): power laws with noise."""
    rng = np.random.default_rng(seed)
    parameters, best, spread, speed = family(rng)
    final = np.clip(best - rng.exponential(spread, N_TRIALS), 0.05, 1)  # the other settings' fault
    lag = STEPS[None, :] ** -speed[:, None] - N_STEPS ** -speed[:, None]
    noise = rng.normal(0, 0.01, (N_TRIALS, N_STEPS)) * (STEPS < N_STEPS)
    return parameters, np.clip(final[:, None] - 0.6 * lag + noise, 0, 1)


def hypervolume(parameters, accuracy) -> float:
    points = np.column_stack([np.log10(parameters), 1 - accuracy])
    return float(moocore.hypervolume(points, ref=[6.1, 1.0]))


def simulate(pruner: Pruner, parameters, curves) -> tuple[list[int], int]:
    """Run all trials, some at a time, a step of each in turn; return the complete ones and all steps."""
    study = optuna.create_study(directions=PROBLEM.directions)
    running: dict[int, tuple[optuna.Trial, int]] = {}
    complete, n_begun, n_spent = [], 0, 0
    while n_begun < N_TRIALS or running:
        while n_begun < N_TRIALS and len(running) < N_WORKERS:
            running[n_begun] = (study.ask(), 0)
            n_begun += 1
        for number, (trial, step) in list(running.items()):
            n_spent += 1
            running[number] = (trial, step + 1)
            if pruner.report(
                trial, step + 1, {"accuracy": curves[number, step]}, {"parameters": parameters[number]}
            ):
                study.tell(trial, state=TrialState.PRUNED)
                del running[number]
            elif step + 1 == N_STEPS:
                study.tell(trial, [curves[number, step], parameters[number]])
                complete.append(number)
                del running[number]
    return complete, n_spent


def by_chance(parameters, final, n_chosen: int, rng) -> float:
    draws = [rng.choice(N_TRIALS, n_chosen, replace=False) for _ in range(50)]
    return float(np.mean([hypervolume(parameters[draw], final[draw]) for draw in draws]))


def measured(family, pruner: Pruner) -> np.ndarray:
    """Return a row a seed: share of hypervolume found, by fewer trials, by chance; share of steps spent."""
    rows = []
    for seed in range(N_SEEDS):
        parameters, curves = learning_curves(family, seed)
        final, rng = curves[:, -1], np.random.default_rng(seed + 1_000)
        complete, n_spent = simulate(pruner, parameters, curves)
        whole = hypervolume(parameters, final)
        found = hypervolume(parameters[complete], final[complete])
        fewer = by_chance(parameters, final, max(1, round(n_spent / N_STEPS)), rng)
        stopped = by_chance(parameters, final, len(complete), rng)  # as many at each rung, whichever they are
        rows.append([found / whole, fewer / whole, stopped / whole, n_spent / (N_TRIALS * N_STEPS)])
    return np.array(rows)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "kept", "worst", "gain"),
    [
        (large_models_learn_slowly, 0.88, 0.80, 0.02),
        (speed_has_nothing_to_do_with_size, 0.85, 0.65, 0.12),
        (fast_learners_end_lower, 0.85, 0.75, 0.00),
    ],
)
def test_halving_keeps_most_of_the_front_for_a_fraction_of_the_steps(family, kept, worst, gain) -> None:
    rows = measured(family, SuccessiveHalving(PROBLEM, eta=3, max_resource=N_STEPS))
    found, fewer, stopped, spent = rows.mean(axis=0)
    print(  # noqa: T201
        f"{family.__name__}: {found:.3f} of the hypervolume (least {rows[:, 0].min():.3f}) for {spent:.3f}"
        f" of the steps; as many steps on fewer trials {fewer:.3f}; stopped by chance {stopped:.3f}"
    )
    assert spent <= 0.15
    assert found >= kept
    assert rows[:, 0].min() >= worst
    assert found >= fewer + gain
    assert found >= stopped + 0.03


def test_without_pruning_all_is_found_for_all_the_steps() -> None:
    assert (
        measured(speed_has_nothing_to_do_with_size, NoPruning())[:, [0, 3]].tolist() == [[1.0, 1.0]] * N_SEEDS
    )
