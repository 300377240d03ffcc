from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from moo.pareto import _weights as weighing
from moo.pareto import weight_ranges, weight_shares, weighted_choice
from tests.moo.pareto.strategies import front_by_brute_force, losses, scaled_exactly


@st.composite
def weighted(draw, max_losses: int = 4) -> tuple[np.ndarray, np.ndarray]:
    points = draw(losses(8, min_points=1, max_losses=max_losses))
    weights = draw(arrays(np.float64, points.shape[1], elements=st.integers(0, 5).map(float)).filter(np.any))
    return points, weights


def exact_lines(points: np.ndarray) -> dict[int, list[Fraction]]:
    front = front_by_brute_force(points)
    return dict(zip(front, scaled_exactly(points[front]), strict=True))


def exact_scores(rows: dict[int, list[Fraction]], weights: list[Fraction]) -> dict[int, Fraction]:
    return {i: sum(w * s for w, s in zip(weights, row, strict=True)) for i, row in rows.items()}


def exact_weights(weights: np.ndarray) -> list[Fraction]:
    given = [Fraction(weight) for weight in weights.tolist()]
    return [weight / sum(given) for weight in given]


def moved(weights: list[Fraction], loss: int, to: Fraction) -> list[Fraction]:
    """One weight moved, the others in proportion; as equals where they were all zero."""
    rest = sum(weights) - weights[loss]
    n = len(weights) - 1
    return [
        to if j == loss else (1 - to) * (weight / rest if rest else Fraction(1, n))
        for j, weight in enumerate(weights)
    ]


@given(weighted())
def test_nobody_has_a_smaller_weighted_sum(case) -> None:
    points, weights = case
    scores = exact_scores(exact_lines(points), exact_weights(weights))
    choice = weighted_choice(points, weights)
    assert scores[choice.index] == min(scores.values())
    assert choice.score == pytest.approx(float(scores[choice.index]))
    assert choice.terms.sum() == pytest.approx(choice.score)
    assert choice.weights == pytest.approx([float(w) for w in exact_weights(weights)])
    others = [score for index, score in scores.items() if index != choice.index]
    if others:
        assert choice.gap == pytest.approx(float(min(others) - scores[choice.index]), abs=1e-12)
        assert scores[choice.runner_up] == min(others)
    else:
        assert (choice.runner_up, choice.gap) == (None, None)


@given(weighted(), st.data())
def test_the_weighted_choice_depends_on_neither_order_units_nor_dominated_points(case, data) -> None:
    points, weights = case
    order = data.draw(st.permutations(range(len(points))))
    found = weighted_choice(points, weights)
    assert weighted_choice(points[order], weights).score == pytest.approx(found.score)
    assert weighted_choice(points * 1024 + 7, weights * 3).index == found.index
    worse = weighted_choice(np.vstack([points, points[found.index] + 0.5]), weights)
    assert (worse.index, worse.score, worse.runner_up) == (found.index, found.score, found.runner_up)


def test_a_weight_of_zero_still_chooses_nobody_dominated() -> None:
    assert weighted_choice([[0.0, 5.0], [0.0, 3.0], [1.0, 0.0]], [1.0, 0.0]).index == 1


def test_weights_near_the_largest_number_are_weights_too() -> None:
    assert weighted_choice([[0.0, 1.0], [1.0, 0.0]], [1e308, 1.5e308]).weights.tolist() == pytest.approx(
        [0.4, 0.6]
    )


@settings(max_examples=200, deadline=None)
@example((np.array([[0.0, 2.0, 0.0, 2.0], [0.0, 4.0, 0.0, 0.0], [0.0, 1.0, 0.0, 3.0]]), np.eye(4)[3]))
@given(weighted())
def test_a_weight_s_range_is_where_the_choice_is_best_in_exact_numbers(case) -> None:
    """Tried at each weight where any two candidates' lines cross."""
    points, weights = case
    rows, exact = exact_lines(points), exact_weights(weights)
    found = weight_ranges(points, weights)
    assert found.index == weighted_choice(points, weights).index
    if len(exact) == 1:
        assert (found.low.tolist(), found.high.tolist()) == ([0.0], [1.0])
        return
    for loss, weight in enumerate(exact):
        at_zero = exact_scores(rows, moved(exact, loss, Fraction(0)))
        at_one = exact_scores(rows, moved(exact, loss, Fraction(1)))
        crossings = {Fraction(0), Fraction(1), weight}
        for i in rows:
            for j in rows:
                rise = (at_one[i] - at_zero[i]) - (at_one[j] - at_zero[j])
                if rise:
                    crossings.add((at_zero[j] - at_zero[i]) / rise)
        best = []
        for at in sorted(at for at in crossings if 0 <= at <= 1):
            scores = exact_scores(rows, moved(exact, loss, at))
            best += [at] if scores[found.index] == min(scores.values()) else []
        assert found.low[loss] == pytest.approx(float(best[0]), abs=1e-12)
        assert found.high[loss] == pytest.approx(float(best[-1]), abs=1e-12)
        step = Fraction(1, 10**9)
        for end, beyond, rival in (
            (best[0], best[0] - step, found.rival_below[loss]),
            (best[-1], best[-1] + step, found.rival_above[loss]),
        ):
            if end in (0, 1) and not 0 <= beyond <= 1:
                assert rival == -1
            else:
                scores = exact_scores(rows, moved(exact, loss, beyond))
                assert scores[rival] == min(scores.values()) < scores[found.index]


@given(weighted(), st.data())
def test_ranges_depend_on_neither_order_nor_units(case, data) -> None:
    points, weights = case
    points = np.unique(points, axis=0)
    order = list(data.draw(st.permutations(range(len(points)))))
    found, shuffled = weight_ranges(points, weights), weight_ranges(points[order], weights)
    if order[shuffled.index] == found.index:  # a tie may go to another row
        assert shuffled.low == pytest.approx(found.low)
        assert shuffled.high == pytest.approx(found.high)
    scaled = weight_ranges(points * 1024 + 7, weights * 3)
    assert (scaled.index, scaled.low.tolist()) == (found.index, pytest.approx(found.low.tolist()))


def test_equal_candidates_are_no_rivals() -> None:
    found = weight_ranges([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0]], [2.0, 1.0])
    assert (found.index, found.low.tolist(), found.high.tolist()) == (0, [0.5, 0.0], [1.0, 0.5])
    assert (found.rival_below.tolist(), found.rival_above.tolist()) == ([2, -1], [-1, 2])


def test_infeasible_candidates_are_neither_chosen_nor_rivals() -> None:
    points, feasible = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0]], [False, True, True]
    assert weighted_choice(points, [2.0, 1.0], feasible=feasible).index == 1
    assert weight_ranges(points, [2.0, 1.0], feasible=feasible).rival_below.tolist() == [2, -1]
    shares = weight_shares(points, generator=np.random.default_rng(0), feasible=feasible)
    assert (shares.shares[0], shares.shares_se[0]) == (0.0, 0.0)


def share_by_areas(points: np.ndarray) -> list[float]:
    """With two losses the simplex is a line: the exact share is the length of a weight's range."""
    lengths = []
    for index in range(len(points)):
        low, high = Fraction(0), Fraction(1)
        rows = exact_lines(points)
        if index not in rows:
            lengths.append(0.0)
            continue
        one = rows[index]
        for other in rows.values():
            # t * a + (1 - t) * b >= 0 keeps the one best against the other
            a, b = other[0] - one[0], other[1] - one[1]
            if a > b:
                low = max(low, -b / (a - b))
            elif a < b:
                high = min(high, b / (b - a))
        lengths.append(float(max(Fraction(0), high - low)))
    return lengths


@settings(max_examples=40, deadline=None)
@given(arrays(np.float64, st.tuples(st.integers(1, 8), st.just(2)), elements=st.integers(0, 9).map(float)))
def test_with_two_losses_the_shares_are_the_exact_ones_to_a_few_standard_errors(points: np.ndarray) -> None:
    found = weight_shares(points, generator=np.random.default_rng(0), n_draws=4000)
    away = np.abs(found.shares - share_by_areas(points))
    assert (away <= 5 * found.shares_se).all()


def test_symmetric_candidates_share_the_weights_evenly() -> None:
    found = weight_shares(np.eye(4), generator=np.random.default_rng(3))
    corners = weight_shares(1.0 - np.eye(3), generator=np.random.default_rng(3))
    assert (np.abs(found.shares - 1 / 4) < 4 * found.shares_se).all()
    assert (np.abs(corners.shares - 1 / 3) < 4 * corners.shares_se).all()


@given(losses(8, min_points=1))
def test_the_shares_of_distinct_candidates_sum_to_one(points: np.ndarray) -> None:
    found = weight_shares(np.unique(points, axis=0), generator=np.random.default_rng(0), n_draws=100)
    assert found.shares.sum() == pytest.approx(1.0)


@given(losses(8, min_points=1), st.data())
def test_shares_depend_on_neither_order_units_nor_doubles(points: np.ndarray, data) -> None:
    def shares(rows: np.ndarray) -> list[float]:
        return weight_shares(rows, generator=np.random.default_rng(0), n_draws=100).shares.tolist()

    found = shares(points)
    order = list(data.draw(st.permutations(range(len(points)))))
    assert shares(points[order]) == [found[index] for index in order]
    assert shares(points * 1024 + 7) == found
    assert shares(np.vstack([points, points[:1]])) == [*found, found[0]]


def test_shares_do_not_depend_on_how_many_are_scored_at_once(monkeypatch) -> None:
    points = np.random.default_rng(1).random((9, 3))
    whole = weight_shares(points, generator=np.random.default_rng(0), n_draws=1000)
    monkeypatch.setattr(weighing, "_MOST_SCORES", 50)
    parts = weight_shares(points, generator=np.random.default_rng(0), n_draws=1000)
    assert parts.shares.tolist() == whole.shares.tolist()


def test_the_only_candidate_is_best_whatever_the_weights() -> None:
    points = [[3.0, 4.0]]
    found, ranges = weight_shares(points, generator=np.random.default_rng(0)), weight_ranges(points, [1, 2])
    assert (found.shares.tolist(), found.shares_se.tolist()) == ([1.0], [0.0])
    assert (ranges.low.tolist(), ranges.high.tolist()) == ([0.0, 0.0], [1.0, 1.0])
    assert weighted_choice(points, [1.0, 2.0]).runner_up is None


@pytest.mark.parametrize(("points", "feasible"), [(np.zeros((0, 2)), None), ([[1.0, 2.0]], [False])])
def test_without_a_feasible_candidate_there_is_no_weighted_choice(points, feasible) -> None:
    assert weighted_choice(points, [1.0, 1.0], feasible=feasible) is None
    assert weight_ranges(points, [1.0, 1.0], feasible=feasible) is None
    assert weight_shares(points, generator=np.random.default_rng(0), feasible=feasible) is None


@pytest.mark.parametrize("function", [weighted_choice, weight_ranges])
@pytest.mark.parametrize(
    ("points", "weights", "message"),
    [
        ([[np.nan, 1.0]], [1.0, 1.0], "losses: expected no NaN"),
        ([[np.inf, 1.0]], [1.0, 1.0], "losses: expected finite"),
        ([[1.0, 1.0]], [1.0], "weights: expected one number for each of 2 losses"),
        ([[1.0, 1.0]], [1.0, np.nan], "weights: expected no NaN"),
        ([[1.0, 1.0]], [1.0, np.inf], "weights: expected finite"),
        ([[1.0, 1.0]], [1.0, -1.0], "at least 0"),
        ([[1.0, 1.0]], [0.0, 0.0], "not all of them 0"),
    ],
)
def test_wrong_weights_are_refused(function, points, weights, message) -> None:
    with pytest.raises(ValueError, match=message):
        function(points, weights)


@pytest.mark.parametrize(
    ("points", "n_draws", "message"),
    [([[np.nan]], 5, "NaN"), ([[-np.inf]], 5, "finite"), ([[1.0]], 0, "n_draws: expected at least 1")],
)
def test_wrong_input_to_shares_is_refused(points, n_draws, message) -> None:
    with pytest.raises(ValueError, match=message):
        weight_shares(points, generator=np.random.default_rng(0), n_draws=n_draws)
