"""Densities over mixed configurations: they integrate to 1, and are those of the textbook."""

from __future__ import annotations

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from scipy.stats import truncnorm

from moo.samplers._parzen import ParzenEstimators
from moo.samplers._space import SearchSpace

NUMBER = SearchSpace({"x": FloatDistribution(0.0, 1.0)})
MIXED = SearchSpace(
    {
        "x": FloatDistribution(0.0, 1.0),
        "c": CategoricalDistribution(("a", "b", "c")),
        "n": IntDistribution(1, 4),
    }
)


def test_a_density_of_a_number_is_a_mixture_of_truncated_normals_and_a_uniform_one() -> None:
    centres = np.array([[0.05], [0.4], [0.9]])
    densities = ParzenEstimators(NUMBER, [centres])
    points = np.linspace(0.0, 1.0, 21)
    h = densities.bandwidths[0, 0]
    kernels = [truncnorm.pdf(points, -c / h, (1 - c) / h, loc=c, scale=h) for c in centres[:, 0]]
    expected = np.mean([*kernels, np.ones(21)], axis=0)
    assert np.exp(densities.log_densities(points[:, None])[0]) == pytest.approx(expected, rel=1e-9)


def test_a_density_over_mixed_parameters_integrates_to_one() -> None:
    generator = np.random.default_rng(0)
    rows = MIXED.from_uniform(generator.random((7, 3)))
    densities = ParzenEstimators(MIXED, [rows])
    x, n = (np.arange(400) + 0.5) / 400, (np.arange(400) + 0.5) / 400
    total = 0.0
    for choice in range(3):
        grid = np.stack([part.ravel() for part in np.meshgrid(x, [float(choice)], n)], axis=1)
        total += np.exp(densities.log_densities(grid)[0]).sum() / 400**2
    assert total == pytest.approx(1.0, abs=1e-4)


def test_several_densities_are_those_of_each_alone() -> None:
    generator = np.random.default_rng(1)
    samples = [MIXED.from_uniform(generator.random((n, 3))) for n in (1, 30, 0)]
    samples[1][::3, 2] = np.nan
    points = MIXED.from_uniform(generator.random((9, 3)))
    together = ParzenEstimators(MIXED, samples).log_densities(points)
    alone = [ParzenEstimators(MIXED, [sample]).log_densities(points)[0] for sample in samples]
    assert together == pytest.approx(np.array(alone), rel=1e-12)
    assert together[2] == pytest.approx(-np.log(3.0))  # no kernel but the prior


def test_what_a_configuration_lacks_says_nothing() -> None:
    lacking = ParzenEstimators(MIXED, [np.array([[0.2, 1.0, np.nan]])])
    one, other = lacking.log_densities(np.array([[0.3, 1.0, 0.125], [0.3, 1.0, 0.875]]))[0]
    assert one == pytest.approx(other)


def test_draws_follow_the_density_they_are_drawn_from() -> None:
    low, high = np.full((50, 3), [0.1, 0.0, 0.125]), np.full((50, 3), [0.9, 2.0, 0.875])
    drawn = ParzenEstimators(MIXED, [low, high]).sample(np.repeat([0, 1], 500), np.random.default_rng(2))
    for part, (place, choice) in ((drawn[:500], (0.1, 0.0)), (drawn[500:], (0.9, 2.0))):
        assert np.median(part[:, 0]) == pytest.approx(place, abs=0.06)
        assert (part[:, 1] == choice).mean() > 0.7
