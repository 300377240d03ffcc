"""Gaussian processes against formulas written out, and gradients against differences."""

import numpy as np
import pytest
from scipy.optimize import approx_fprime

from moo.samplers._gaussian_process import GaussianProcess, Hyperparameters, Pairs, Prior, fit, log_posterior

GROUPS = np.array([0, 1, 2, 2, 2])  # two numbers, and a category of three
PRIOR = Prior(-0.5, 1.0, 0.7, 0.0, 1.0, -7.0, 2.0, (-4.0, 5.0), (-3.0, 4.0), (-14.0, 0.0))


def _data(n, seed=0):
    rng = np.random.default_rng(seed)
    category = np.sqrt(0.5) * np.eye(3)[rng.integers(3, size=n)]
    features = np.concatenate([rng.random((n, 2)), category], axis=1)
    targets = np.sin(4 * features[:, 0]) + features[:, 1] + features[:, 2]
    return features, targets - targets.mean()


def _matern(left, right, hyperparameters):
    scaled = (left[:, None] - right[None]) / hyperparameters.length_scales[GROUPS]
    r = np.sqrt((scaled**2).sum(axis=2))
    return hyperparameters.signal * (1 + np.sqrt(5) * r + 5 * r**2 / 3) * np.exp(-np.sqrt(5) * r)


HYPERPARAMETERS = Hyperparameters(np.array([0.4, 1.5, 0.9]), 1.3, 1e-3)


def test_posterior_is_the_dense_formula():
    features, targets = _data(25)
    known = np.linspace(0.0, 0.1, 25)
    new = _data(7, seed=1)[0]
    process = GaussianProcess(features, GROUPS, targets, known, HYPERPARAMETERS)
    covariance = _matern(features, features, HYPERPARAMETERS) + np.diag(1e-3 + known)
    across = _matern(new, features, HYPERPARAMETERS)
    mean, sd = process.predict(new)
    assert mean == pytest.approx(across @ np.linalg.solve(covariance, targets), abs=1e-5)
    reduction = (across * np.linalg.solve(covariance, across.T).T).sum(axis=1)
    assert sd**2 == pytest.approx(1.3 - reduction, abs=1e-6)
    assert process.mean(new) == pytest.approx(mean)


def test_prediction_gradients_are_those_of_differences():
    features, targets = _data(25)
    process = GaussianProcess(features, GROUPS, targets, np.zeros(25), HYPERPARAMETERS)
    point = _data(1, seed=2)[0][0]
    mean, sd, by_mean, by_sd = process.predict_with_gradient(point[None])
    assert (mean[0], sd[0]) == pytest.approx(tuple(part[0] for part in process.predict(point[None])))
    for part, gradient in ((0, by_mean), (1, by_sd)):
        differences = approx_fprime(point, lambda x, part=part: process.predict(x[None])[part][0], 1e-6)
        assert gradient[0] == pytest.approx(differences, abs=1e-4)


def test_gradient_of_the_log_posterior_is_that_of_differences():
    features, targets = _data(20)
    pairs, known = Pairs.of(features, GROUPS), np.linspace(0.0, 0.2, 20)
    for theta in (np.array([-0.5, 0.3, 0.1, 0.2, -3.0]), np.array([-1.5, 1.0, -0.2, 1.0, -1.0])):
        gradient = log_posterior(theta, pairs, targets, known, PRIOR)[1]
        differences = approx_fprime(theta, lambda x: log_posterior(x, pairs, targets, known, PRIOR)[0], 1e-6)
        assert gradient == pytest.approx(differences, rel=1e-3, abs=1e-3)


def test_log_posterior_differs_as_the_dense_likelihood_and_prior_do():
    features, targets = _data(15)

    def dense(theta):
        hyperparameters = Hyperparameters(np.exp(theta[:3]), np.exp(theta[3]), 0.0)
        covariance = _matern(features, features, hyperparameters) + np.exp(theta[4]) * np.eye(15)
        scales = np.diag([0.7**2] * 3) + 1.0
        off = theta[:3] + 0.5 - 0.5 * np.log(3)
        log_prior = -0.5 * (off @ np.linalg.solve(scales, off) + theta[3] ** 2 + ((theta[4] + 7) / 2) ** 2)
        fit_term = -0.5 * targets @ np.linalg.solve(covariance, targets)
        return fit_term - 0.5 * np.linalg.slogdet(covariance)[1] + log_prior

    one, other = np.array([-0.5, 0.3, 0.1, 0.2, -3.0]), np.array([0.5, 0.0, -0.4, 0.0, -4.0])
    pairs = Pairs.of(features, GROUPS)
    ours = [log_posterior(theta, pairs, targets, np.zeros(15), PRIOR)[0] for theta in (one, other)]
    assert ours[0] - ours[1] == pytest.approx(dense(one) - dense(other), rel=1e-4)


def test_what_does_not_matter_gets_the_longest_length_scale():
    features, _ = _data(40)
    targets = np.sin(6 * features[:, 0])
    hyperparameters = fit(
        Pairs.of(features, GROUPS), targets - targets.mean(), np.zeros(40), PRIOR, n_steps=50
    )
    assert hyperparameters.length_scales[0] < min(hyperparameters.length_scales[1:])


def test_noise_is_learnt_and_what_is_known_of_it_is_not_learnt_again():
    rng = np.random.default_rng(0)
    features = np.concatenate([rng.random((80, 2)), np.zeros((80, 3))], axis=1)
    targets = np.sin(5 * features[:, 0]) + 0.5 * rng.standard_normal(80)
    targets -= targets.mean()
    pairs = Pairs.of(features, GROUPS)
    learnt = fit(pairs, targets, np.zeros(80), PRIOR, n_steps=50)
    told = fit(pairs, targets, np.full(80, 0.25), PRIOR, n_steps=50)
    assert 0.1 < learnt.noise < 0.5
    assert told.noise < 0.03


def test_one_point_and_repeated_points_have_a_posterior():
    features, targets = _data(1)
    lone = GaussianProcess(features, GROUPS, targets, np.zeros(1), HYPERPARAMETERS)
    assert np.isfinite(lone.predict(features)).all()
    fit(Pairs.of(features, GROUPS), targets, np.zeros(1), PRIOR, n_steps=5)
    noiseless = HYPERPARAMETERS._replace(noise=0.0)
    same = GaussianProcess(np.repeat(features, 9, axis=0), GROUPS, np.ones(9), np.zeros(9), noiseless)
    assert same.mean(features) == pytest.approx([1.0], abs=1e-3)
