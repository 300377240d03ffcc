"""Expected improvements against simulation, closed forms and high precision."""

import math

import moocore
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import approx_fprime
from scipy.stats import norm

from moo.samplers._expected_improvement import (
    Boxes,
    log_expected_improvement,
    log_expected_improvement_with_gradient,
    log_h,
    log_probability_below,
)

FRONTS = {
    2: np.array([[0.1, 0.9], [0.4, 0.5], [0.5, 0.45], [0.8, 0.1], [0.9, 0.95]]),
    3: np.array([[0.2, 0.5, 0.7], [0.6, 0.2, 0.3], [0.5, 0.5, 0.2], [0.1, 0.9, 0.6], [0.6, 0.6, 0.9]]),
    4: np.array([[0.2, 0.5, 0.7, 0.4], [0.6, 0.2, 0.3, 0.6], [0.5, 0.5, 0.2, 0.5], [0.1, 0.9, 0.6, 0.2]]),
}


@pytest.mark.parametrize("m", [2, 3, 4])
def test_boxes_are_disjoint_and_hold_just_what_the_front_leaves(m):
    boxes = Boxes.of(FRONTS[m], np.ones(m))
    points = np.random.default_rng(0).random((2_000, m)) * 1.2
    lower = np.stack([boxes.levels[j][boxes.lower[:, j]] for j in range(m)], axis=1)
    upper = np.stack([boxes.levels[j][boxes.upper[:, j]] for j in range(m)], axis=1)
    n_holding = ((lower < points[:, None]) & (points[:, None] <= upper)).all(axis=2).sum(axis=1)
    is_dominated = (FRONTS[m] <= points[:, None]).all(axis=2).any(axis=1)
    assert n_holding.tolist() == (~is_dominated & (points < 1).all(axis=1)).astype(int).tolist()


@pytest.mark.parametrize("m", [2, 3, 4])
def test_hypervolume_improvement_is_that_of_a_simulation(m):
    front, reference = FRONTS[m], np.ones(m)
    means, sds = np.full((1, m), 0.35), np.linspace(0.1, 0.3, m)[None]
    before = moocore.hypervolume(front, ref=reference)
    draws = means + sds * np.random.default_rng(0).standard_normal((3_000, m))
    gains = [moocore.hypervolume(np.vstack([front, draw]), ref=reference) - before for draw in draws]
    expected = math.exp(log_expected_improvement(means, sds, Boxes.of(front, reference))[0])
    assert expected == pytest.approx(np.mean(gains), abs=4 * np.std(gains) / math.sqrt(len(gains)))


@pytest.mark.parametrize("front", [np.array([[0.3]]), np.array([[0.6], [0.3]]), np.empty((0, 1))])
def test_one_objective_is_the_classic_expected_improvement(front):
    best = front.min() if len(front) else 1.0
    mean, sd = 0.5, 0.2
    z = (best - mean) / sd
    closed = (best - mean) * norm.cdf(z) + sd * norm.pdf(z)
    boxes = Boxes.of(front, np.ones(1))
    assert log_expected_improvement(np.array([[mean]]), np.array([[sd]]), boxes)[0] == pytest.approx(
        math.log(closed)
    )


@pytest.mark.parametrize("m", [2, 3])
def test_gradient_is_that_of_differences(m):
    boxes = Boxes.of(FRONTS[m], np.ones(m))
    for centre in (0.3, 0.9, 1.5):
        point = np.concatenate([np.full(m, centre), np.linspace(0.1, 0.2, m)])
        _, by_mean, by_sd = log_expected_improvement_with_gradient(point[None, :m], point[None, m:], boxes)
        differences = approx_fprime(
            point, lambda x: log_expected_improvement(x[None, :m], x[None, m:], boxes)[0], 1e-7
        )
        assert np.concatenate([by_mean[0], by_sd[0]]) == pytest.approx(differences, rel=1e-3, abs=1e-3)


def test_the_logarithm_keeps_order_far_in_the_tail():
    boxes = Boxes.of(FRONTS[2], np.ones(2))
    means = np.linspace(1.0, 1_000.0, 50)[:, None] * np.ones(2)
    values, by_mean, by_sd = log_expected_improvement_with_gradient(means, np.full((50, 2), 0.01), boxes)
    assert np.isfinite([values, by_mean.sum(axis=1), by_sd.sum(axis=1)]).all()
    assert (np.diff(values) < 0).all()
    assert (by_mean < 0).all()


@pytest.mark.parametrize("z", [-1e5, -1001.0, -999.0, -30.0, -3.0, -1.0, -0.999, 0.0, 5.0])
def test_log_h_is_the_integral_of_the_distribution(z):
    # h(z) = phi(z) * integral over t > 0 of t exp(z t - t^2 / 2), substituted t = s / |z|
    scale = max(1.0, -z)
    integral = quad(lambda s: s * math.exp(s * z / scale - 0.5 * (s / scale) ** 2), 0, 60)[0] / scale**2
    assert log_h(np.array([z]))[0] == pytest.approx(norm.logpdf(z) + math.log(integral), rel=1e-6)


def test_probability_of_feasibility_is_that_of_the_normal_distribution():
    means, sds = np.array([-1.0, 0.5, 40.0]), np.array([1.0, 2.0, 1.0])
    value, by_mean, by_sd = log_probability_below(means, sds, 0.2)
    assert value == pytest.approx(norm.logcdf(0.2, means, sds))
    for i in range(3):
        differences = approx_fprime([means[i], sds[i]], lambda x: norm.logcdf(0.2, x[0], x[1]), 1e-6)
        assert (by_mean[i], by_sd[i]) == pytest.approx(tuple(differences), rel=1e-3, abs=1e-3)
