import numpy as np
import pytest
from scipy import optimize

from moo.errors import ScoreError
from objectives._scoring._accuracy import correct_predictions, fraction_correct


@pytest.mark.parametrize(("k", "n"), [(9, 10), (1, 3), (50, 100), (997, 1000)])
def test_the_wilson_interval_solves_its_defining_equation(k: int, n: int) -> None:
    """Its ends are the p where |k/n - p| is 1.96 standard errors at p itself."""
    estimate = fraction_correct(np.arange(n) < k)

    def distance(p: float) -> float:
        return (k / n - p) ** 2 - 1.959963984540054**2 * p * (1 - p) / n

    assert estimate.low == pytest.approx(optimize.brentq(distance, 1e-9, k / n))
    assert estimate.high == pytest.approx(optimize.brentq(distance, k / n, 1 - 1e-9))


@pytest.mark.parametrize("n", [1, 7, 360])
def test_all_right_or_all_wrong_still_has_an_interval(n: int) -> None:
    right, wrong = fraction_correct(np.ones(n, bool)), fraction_correct(np.zeros(n, bool))
    assert (right.value, right.high) == (1.0, 1.0)
    assert (wrong.low, wrong.value) == (0.0, 0.0)
    assert right.low == pytest.approx(1 - wrong.high)
    assert 0 < wrong.high < 1


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    intervals = [fraction_correct(generator.random(200) < 0.93) for _ in range(1000)]
    covered = sum(i.low <= 0.93 <= i.high for i in intervals)
    assert 930 <= covered <= 975


@pytest.mark.parametrize(
    ("scores", "targets", "expected"),
    [
        ([[0.1, 0.9], [0.8, 0.2]], [1, 1], [True, False]),
        ([0.5, -0.5], [1, 1], [True, False]),
        ([[0.5], [-0.5]], [1, 0], [True, True]),
    ],
)
def test_predictions_are_compared_sample_by_sample(scores, targets, expected) -> None:
    assert correct_predictions([np.array(scores)], np.array(targets)).tolist() == expected


@pytest.mark.parametrize(
    ("outputs", "targets", "said"),
    [
        ([], [0], "no output"),
        ([np.zeros((2, 3))], [0], "override score"),
        ([np.zeros((1, 3, 3))], [0], "override score"),
        ([np.zeros((1, 3))], [3], "the model has 3 classes"),
        ([np.zeros((1, 3))], [-1], "from -1"),
        ([np.array([0.5, -0.5])], [0, 2], "two classes apart, but targets go from 0 to 2"),
        ([np.array([0.2, 0.9])], [0, 1], "as after a sigmoid"),
        ([np.full((1, 3), np.nan)], [0], "3 of 3 scores are not finite"),
    ],
)
def test_what_cannot_be_scored_is_refused(outputs, targets, said) -> None:
    with pytest.raises(ScoreError, match=said):
        correct_predictions(outputs, np.array(targets))
