"""How often the interval of a comparison holds the truth, simulated: `python -m benchmarks.interval_rules`.

These are the figures in the docstrings of `profilers/_student.py`. Two equal candidates are timed in launches
of 8 rounds; launches and rounds both spread, by several distributions. `fixed` asks for the coverage with so
many launches, of Student's t and of the bootstrap; `stopped` for the share of wrong verdicts where one looks
after each launch and stops at the first verdict, as `compare_interleaved` does.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import stdtrit

from profilers._statistics import expansion
from profilers._student import look_confidence

N_ROUNDS = 8
N_BOOTSTRAPPED = 1_000
SAME = math.log(1.01)
DISTRIBUTIONS: dict[str, Callable[[np.random.Generator, tuple[int, ...]], Any]] = {
    "normal": lambda generator, size: generator.standard_normal(size),
    "t2": lambda generator, size: generator.standard_t(2, size),
    "Pareto 1.5": lambda generator, size: generator.pareto(1.5, size),
    "a quarter slow": lambda generator, size: (
        np.where(generator.random(size) < 0.25, 10.0, 0.0) + generator.standard_normal(size)
    ),
}


def differences(
    name: str, n_cases: int, n_launches: int, spread: float, generator: np.random.Generator
) -> Any:
    """Logarithms candidate / reference of each round, shape (n_cases, n_launches, N_ROUNDS); true are 0."""
    draw = DISTRIBUTIONS[name]
    launches = draw(generator, (n_cases, 2, n_launches, 1))
    rounds = draw(generator, (n_cases, 2, n_launches, N_ROUNDS))
    times = spread * (launches + rounds)
    return times[:, 1] - times[:, 0]


def fixed(name: str, n_launches: int, generator: np.random.Generator) -> str:
    """Coverage of Student's interval and of the bootstrap with its expansion."""
    samples = differences(name, 20_000, n_launches, 0.01, generator)
    medians = np.median(samples, axis=2)
    half = stdtrit(n_launches - 1, 0.975) * medians.std(axis=1, ddof=1) / math.sqrt(n_launches)
    student = np.mean(np.abs(medians.mean(axis=1)) <= half)
    held = np.mean([_bootstrap_holds(case, generator) for case in samples[:N_BOOTSTRAPPED]])
    return f"{n_launches} launches, {name}: Student's {student:.3f}, bootstrap {held:.3f}"


def _bootstrap_holds(case: Any, generator: np.random.Generator, n_resamples: int = 400) -> bool:
    n_launches, n_rounds = case.shape
    launches = generator.integers(n_launches, size=(n_resamples, n_launches))
    rounds = generator.integers(n_rounds, size=(n_resamples, n_launches, n_rounds))
    resampled = np.median(case[launches[:, :, None], rounds], axis=2).mean(axis=1)
    value, (low, high) = np.median(case, axis=1).mean(), np.quantile(resampled, [0.025, 0.975])
    factor = expansion(n_launches)
    return bool(value - factor * max(0, value - low) <= 0 <= value + factor * max(0, high - value))


def stopped(name: str, fewest: int, most: int, spread: float, generator: np.random.Generator) -> str:
    """Share of FASTER and SLOWER, and coverage, at the first look with a verdict or the last one."""
    n_cases = 20_000 if most < 60 else 5_000
    medians = np.concatenate(
        [
            np.median(differences(name, 1_000, most, spread, generator), axis=2)
            for _ in range(n_cases // 1_000)
        ]
    )
    k = np.arange(1, most + 1)
    means = medians.cumsum(axis=1) / k
    variances = np.maximum((medians**2).cumsum(axis=1) - k * means**2, 0) / np.maximum(k - 1, 1)
    confidence = look_confidence(fewest, most)
    half = stdtrit(np.maximum(k - 1, 1), (1 + confidence) / 2) * np.sqrt(variances / k)
    is_same = (means - half >= -SAME) & (means + half <= SAME)
    is_wrong = (np.abs(means) > half) & ~is_same
    is_over = is_same | is_wrong
    is_over[:, : fewest - 1], is_over[:, -1] = False, True
    at, cases = is_over.argmax(axis=1), np.arange(n_cases)
    held = (np.abs(means) <= half)[cases, at].mean()
    return (
        f"{fewest} to {most} launches, {name}, spread {spread}: "
        f"wrong verdicts {is_wrong[cases, at].mean():.3f}, coverage {held:.3f}"
    )


def main() -> None:
    """Print all of it; some minutes."""
    generator = np.random.default_rng(1)
    for n_launches in (2, 3, 5, 10):
        for name in DISTRIBUTIONS:
            print(fixed(name, n_launches, generator), flush=True)
    for fewest, most in ((3, 3), (5, 5), (5, 15), (10, 60)):
        for name in DISTRIBUTIONS:
            for spread in (0.03, 0.01, 0.003):
                print(stopped(name, fewest, most, spread, generator), flush=True)


if __name__ == "__main__":
    main()
