import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from moo.pareto import _draws as drawing
from moo.pareto import estimate_draws, front_probability, probability_better, resampled_means

N = 40_000
ERROR = 5 * np.sqrt(0.25 / N)
"""Five standard errors of a share of N draws, at most."""


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize(
    ("distribution", "low", "value", "high"),
    [
        ("split_normal", 1.0, 2.0, 5.0),
        ("split_normal", -3.0, 0.0, 0.5),
        ("split_lognormal", 1.0, 2.0, 20.0),
        ("split_lognormal", -20.0, -2.0, -1.0),
    ],
)
def test_the_value_is_the_median_and_the_ends_hold_95_percent(distribution, low, value, high) -> None:
    draws = estimate_draws(
        [[value]], [[low]], [[high]], n_draws=N, generator=rng(), distribution=distribution
    ).ravel()
    assert abs(np.mean(draws <= value) - 0.5) < ERROR
    assert abs(np.mean(draws < low) - 0.025) < ERROR
    assert abs(np.mean(draws > high) - 0.025) < ERROR


def test_a_symmetric_interval_gives_a_normal_distribution() -> None:
    draws = estimate_draws([[3.0]], [[1.0]], [[5.0]], n_draws=N, generator=rng()).ravel()
    assert stats.kstest(draws, stats.norm(3.0, 2.0 / stats.norm.ppf(0.975)).cdf).pvalue > 0.001


def test_an_interval_even_by_factors_gives_a_lognormal_distribution() -> None:
    draws = estimate_draws(
        [[2.0]], [[1.0]], [[4.0]], n_draws=N, generator=rng(), distribution="split_lognormal"
    ).ravel()
    known = stats.lognorm(np.log(2.0) / stats.norm.ppf(0.975), scale=2.0)
    assert stats.kstest(draws, known.cdf).pvalue > 0.001
    assert draws.min() > 0


def test_each_loss_has_its_own_distribution() -> None:
    one = [[2.0, 2.0]], [[1.0, 1.0]], [[9.0, 9.0]]
    mixed = estimate_draws(
        *one, n_draws=50, generator=rng(), distribution=["split_lognormal", "split_normal"]
    )
    normal = estimate_draws(*one, n_draws=50, generator=rng())
    assert mixed[:, 0, 1].tolist() == normal[:, 0, 1].tolist()
    assert not np.allclose(mixed[:, 0, 0], normal[:, 0, 0])


@pytest.mark.parametrize("distribution", ["split_normal", "split_lognormal"])
def test_a_missing_interval_is_an_exact_value(distribution) -> None:
    nan = np.nan
    draws = estimate_draws(
        [[0.0, np.inf, -3.0, 7.0]], [[nan, nan, nan, 7.0]], [[nan, nan, nan, 7.0]],
        n_draws=5, generator=rng(), distribution=distribution,
    )  # fmt: skip
    assert draws.tolist() == [[[0.0, np.inf, -3.0, 7.0]]] * 5
    assert estimate_draws([[4.0]], n_draws=2, generator=rng()).tolist() == [[[4.0]]] * 2


finite = st.floats(-1e6, 1e6)


@settings(max_examples=60)
@given(st.lists(st.tuples(finite, finite, finite).map(sorted), min_size=1, max_size=4), st.floats(0.1, 10))
def test_draws_go_with_the_units(intervals, scale) -> None:
    low, value, high = (np.array(column)[:, None] for column in zip(*intervals, strict=True))
    draws = estimate_draws(value, low, high, n_draws=20, generator=rng())
    scaled = estimate_draws(value * scale + 1, low * scale + 1, high * scale + 1, n_draws=20, generator=rng())
    assert scaled == pytest.approx(draws * scale + 1, rel=1e-6, abs=1e-3)


@settings(max_examples=60)
@given(st.tuples(finite, finite, finite).map(sorted))
def test_a_maximised_value_is_drawn_like_its_negative(interval) -> None:
    low, value, high = interval
    draws = estimate_draws([[value]], [[low]], [[high]], n_draws=4000, generator=rng(0)).ravel()
    turned = estimate_draws([[-value]], [[-high]], [[-low]], n_draws=4000, generator=rng(1)).ravel()
    assert stats.ks_2samp(draws, -turned).statistic < 0.06 or low == high


@pytest.mark.parametrize("correlation", [0.0, 0.6, 1.0])
def test_candidates_correlate_as_stated_and_keep_their_own_intervals(correlation) -> None:
    values, half = np.array([[1.0], [2.0], [3.0]]), np.array([[0.1], [0.5], [2.0]])
    draws = estimate_draws(
        values, values - half, values + half, n_draws=N, generator=rng(), correlation=correlation
    )[:, :, 0]
    measured = np.corrcoef(draws.T)
    for one, other in itertools.combinations(range(3), 2):
        assert measured[one, other] == pytest.approx(correlation, abs=0.02)
    assert np.std(draws, axis=0) == pytest.approx(half[:, 0] / 1.96, rel=0.02)


def test_shared_noise_makes_a_small_difference_sure() -> None:
    values = np.array([[1.00, 5.0], [1.01, 4.0]])
    half = np.array([0.1, 0.0])
    known = []
    for correlation in ([0.0, 0.0], [1.0, 0.0]):
        draws = estimate_draws(
            values, values - half, values + half, n_draws=4000, generator=rng(), correlation=correlation
        )
        known.append(probability_better(draws, 0, 1).p_better[0])
    assert known[0] < 0.65
    assert known[1] == 1.0


def test_the_same_seed_gives_the_same_draws_and_another_one_others() -> None:
    one, same, other = (
        estimate_draws([[1.0]], [[0.0]], [[2.0]], n_draws=9, generator=rng(seed)).tolist()
        for seed in (3, 3, 4)
    )
    assert one == same
    assert one != other


def test_no_candidates_give_no_draws() -> None:
    empty = np.zeros((0, 2))
    assert estimate_draws(empty, empty, empty, n_draws=3, generator=rng()).shape == (3, 0, 2)
    assert front_probability(estimate_draws([], n_draws=3, generator=rng())).p_on_front.shape == (0,)


@pytest.mark.parametrize(
    ("estimate", "options", "message"),
    [
        (([[np.nan]],), {}, "losses: expected no NaN"),
        (([[1.0]], [[0.0]]), {}, "both or neither"),
        (
            ([[1.0]], [[0.0]], [[np.nan]]),
            {},
            "finite low <= value <= high.* for candidate 0, loss 0",
        ),
        (([[1.0]], [[1.5]], [[2.0]]), {}, "got 1.5, 1, 2"),
        (([[1.0]], [[0.0]], [[np.inf]]), {}, "expected finite low"),
        (([[np.inf]], [[0.0]], [[np.inf]]), {}, "expected finite low"),
        (([[1.0]], [[0.0, 1.0]], [[2.0, 2.0]]), {}, "low, high: expected shape"),
        (([[1.0, 1.0]], [0.0, 0.0], [2.0, 2.0]), {}, "low, high: expected shape"),
        (([[1.0]],), {"correlation": 1.2}, "correlation: expected numbers from 0 to 1"),
        (([[1.0]],), {"correlation": [0.0, 0.0]}, "correlation: expected one number for each of 1"),
        (([[1.0]],), {"correlation": np.nan}, "correlation: expected no NaN"),
        (([[1.0]],), {"distribution": "normal"}, "distribution: expected one of split_normal, split_log"),
        (([[1.0]],), {"distribution": ["split_normal"] * 2}, "one for each of 1 losses"),
        (([[1.0]],), {"n_draws": 0}, "n_draws: expected at least 1"),
        (([[1.0]], [[0.0]], [[2.0]]), {"distribution": "split_lognormal"}, "must not reach zero"),
        (([[-1.0]], [[-2.0]], [[0.5]]), {"distribution": "split_lognormal"}, "must not reach zero"),
    ],
)
def test_wrong_estimates_are_refused(estimate, options, message) -> None:
    with pytest.raises(ValueError, match=message):
        estimate_draws(*estimate, **{"n_draws": 2, "generator": rng(), **options})


def test_resampled_means_spread_as_the_bootstrap_of_all_samples_says() -> None:
    """Three samples have 27 equally likely resamples: each mean's exact probability is counted."""
    samples = np.array([[0.0, 2.0], [1.0, 0.0], [3.0, 4.0]])
    chosen = [samples[list(rows)].mean(axis=0) for rows in itertools.product(range(3), repeat=3)]
    draws = resampled_means(samples, n_draws=N, generator=rng())
    for mean in chosen:
        exact = np.mean([np.allclose(mean, other) for other in chosen])
        assert abs(np.mean(np.isclose(draws, mean).all(axis=1)) - exact) < ERROR


def test_a_candidate_better_on_each_sample_is_better_in_each_draw() -> None:
    noise = rng().standard_normal((30, 1)) * 10
    draws = resampled_means(noise + np.array([[0.0, 0.1]]), n_draws=500, generator=rng(1))
    assert (draws[:, 0] < draws[:, 1]).all()
    assert np.ptp(draws[:, 0]) > 1.0


@given(st.integers(1, 5), st.integers(0, 3))
def test_equal_samples_have_one_mean(n_samples: int, n: int) -> None:
    draws = resampled_means(np.full((n_samples, n), 0.25), n_draws=4, generator=rng())
    assert draws.tolist() == [[0.25] * n] * 4


@given(st.permutations(range(4)))
def test_the_order_of_candidates_does_not_change_their_means(order) -> None:
    samples = rng(5).integers(0, 2, (6, 4)).astype(float)
    draws = resampled_means(samples, n_draws=7, generator=rng())
    assert resampled_means(samples[:, order], n_draws=7, generator=rng()) == pytest.approx(draws[:, order])


def test_means_do_not_depend_on_how_many_are_drawn_at_once(monkeypatch) -> None:
    samples = rng().random((20, 3))
    whole = resampled_means(samples, n_draws=25, generator=rng())
    monkeypatch.setattr(drawing, "_MOST_COUNTS", 100)
    assert resampled_means(samples, n_draws=25, generator=rng()) == pytest.approx(whole)


@pytest.mark.parametrize(
    ("samples", "n_draws", "message"),
    [
        ([], 2, "samples: expected shape"),
        (np.zeros((0, 2)), 2, "n_samples > 0"),
        ([[np.nan]], 2, "samples: expected finite"),
        ([[np.inf]], 2, "samples: expected finite"),
        ([[1.0]], 0, "n_draws: expected at least 1"),
    ],
)
def test_wrong_samples_are_refused(samples, n_draws, message) -> None:
    with pytest.raises(ValueError, match=message):
        resampled_means(samples, n_draws=n_draws, generator=rng())
