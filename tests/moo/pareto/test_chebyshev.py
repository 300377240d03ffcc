import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from moo.pareto import chebyshev_choice, chebyshev_ranges, knee
from tests.moo.pareto.strategies import front_by_brute_force, losses, scaled_exactly


@st.composite
def weighted(draw, max_losses: int = 4) -> tuple[np.ndarray, np.ndarray]:
    points = draw(losses(8, min_points=1, max_losses=max_losses))
    weights = draw(arrays(np.float64, points.shape[1], elements=st.integers(0, 5).map(float)).filter(np.any))
    return points, weights


def exact_rows(points: np.ndarray) -> dict[int, list[Fraction]]:
    front = front_by_brute_force(points)
    return dict(zip(front, scaled_exactly(points[front]), strict=True))


def exact_weights(weights: np.ndarray) -> list[Fraction]:
    given = [Fraction(weight) for weight in weights.tolist()]
    return [weight / sum(given) for weight in given]


def rank(
    index: int, row: list[Fraction], weights: list[Fraction]
) -> tuple[Fraction, Fraction, Fraction, int]:
    """What decides, in turn: the worst term, the sum of terms, the unweighted sum, the row."""
    terms = [w * s for w, s in zip(weights, row, strict=True)]
    return max(terms), sum(terms), sum(row), index


def in_order(rows: dict[int, list[Fraction]], weights: list[Fraction]) -> list[int]:
    return sorted(rows, key=lambda index: rank(index, rows[index], weights))


def moved(weights: list[Fraction], loss: int, to: Fraction) -> list[Fraction]:
    """One weight moved, the others in proportion; as equals where they were all zero."""
    rest = sum(weights) - weights[loss]
    n = len(weights) - 1
    return [
        to if j == loss else (1 - to) * (weight / rest if rest else Fraction(1, n))
        for j, weight in enumerate(weights)
    ]


@given(weighted())
def test_the_choice_and_the_runner_up_are_the_first_two_in_exact_numbers(case) -> None:
    points, weights = case
    rows, exact = exact_rows(points), exact_weights(weights)
    found, order = chebyshev_choice(points, weights), in_order(rows, exact)
    scores = {index: rank(index, rows[index], exact)[0] for index in rows}
    assert found.index == order[0]
    assert found.score == pytest.approx(float(scores[order[0]]), abs=1e-12)
    assert found.terms.max() == pytest.approx(found.score)
    assert found.weights == pytest.approx([float(w) for w in exact])
    assert found.members.tolist() == sorted(rows)
    assert found.scaled == pytest.approx(np.array([rows[i] for i in sorted(rows)], dtype=np.float64))
    if len(order) == 1:
        assert (found.runner_up, found.gap) == (None, None)
    else:
        assert found.runner_up == order[1]
        assert found.gap == pytest.approx(float(scores[order[1]] - scores[order[0]]), abs=1e-12)


@given(losses(8, min_points=1))
def test_the_knee_of_a_front_is_the_choice_with_equal_weights(points: np.ndarray) -> None:
    front = points[front_by_brute_force(points)]
    assert knee(front) == chebyshev_choice(front, np.ones(front.shape[1])).index


@given(weighted(), st.data())
def test_the_choice_depends_on_neither_order_units_nor_dominated_points(case, data) -> None:
    points, weights = case
    order = data.draw(st.permutations(range(len(points))))
    found = chebyshev_choice(points, weights)
    assert chebyshev_choice(points[order], weights).score == pytest.approx(found.score)
    assert chebyshev_choice(points * 1024 + 7, weights * 3).index == found.index
    worse = chebyshev_choice(np.vstack([points, points[found.index] + 0.5]), weights)
    assert (worse.index, worse.score, worse.runner_up) == (found.index, found.score, found.runner_up)


def test_a_candidate_in_a_hollow_of_the_front_can_be_chosen() -> None:
    hollow = [[0.0, 1.0], [0.6, 0.6], [1.0, 0.0]]  # no weighted sum has its smallest value at the second
    assert chebyshev_choice(hollow, [1.0, 1.0]).index == 1


def test_equal_scores_go_to_the_smaller_weighted_sum_then_to_the_smaller_sum_then_to_the_earlier() -> None:
    base = [[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]]  # they span the scale
    assert chebyshev_choice([*base, [0.5, 0.5, 0.4], [0.5, 0.3, 0.5]], [1, 1, 1]).index == 3
    assert chebyshev_choice([*base, [0.5, 0.2, 0.8], [0.5, 0.2, 0.7]], [1, 1, 0]).index == 3
    assert chebyshev_choice([*base, [0.5, 0.4, 0.2], [0.5, 0.2, 0.4]], [1, 1, 1]).index == 2


def test_differences_of_rounding_are_none() -> None:
    front = [[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.5, 0.5, 0.3], [0.5, 0.5 - 1e-14, 0.9]]
    assert chebyshev_choice(front, [1, 1, 1]).index == 2


@settings(max_examples=150, deadline=None)
@given(weighted())
def test_a_weight_s_range_is_where_the_score_is_smallest_in_exact_numbers(case) -> None:
    """Tried at each weight where any two parts of any two scores are equal, and half way between those."""
    points, weights = case
    rows, exact = exact_rows(points), exact_weights(weights)
    found = chebyshev_ranges(points, weights)
    assert found.index == chebyshev_choice(points, weights).index
    if len(exact) == 1:
        assert (found.low.tolist(), found.high.tolist()) == ([0.0], [1.0])
        return
    for loss, weight in enumerate(exact):
        proportions = moved(exact, loss, Fraction(0))
        rising = {row[loss] for row in rows.values()}
        falling = {max(p * s for p, s in zip(proportions, row, strict=True)) for row in rows.values()}
        knots = sorted(
            {Fraction(0), Fraction(1), weight} | {b / (a + b) for a in rising for b in falling if b}
        )
        tried = sorted([*knots, *((one + two) / 2 for one, two in itertools.pairwise(knots))])
        best = []
        for at in tried:
            scores = {i: rank(i, row, moved(exact, loss, at))[0] for i, row in rows.items()}
            best += [at] if scores[found.index] == min(scores.values()) else []
        assert found.low[loss] == pytest.approx(float(best[0]), abs=1e-12)
        assert found.high[loss] == pytest.approx(float(best[-1]), abs=1e-12)
        assert best == [at for at in tried if best[0] <= at <= best[-1]]
        step = Fraction(1, 10**9)
        for end, beyond, rival in (
            (best[0], best[0] - step, found.rival_below[loss]),
            (best[-1], best[-1] + step, found.rival_above[loss]),
        ):
            if end in (0, 1) and not 0 <= beyond <= 1:
                assert rival == -1
            else:
                scores = {i: rank(i, row, moved(exact, loss, beyond))[0] for i, row in rows.items()}
                assert scores[rival] == min(scores.values()) < scores[found.index]


@settings(max_examples=50, deadline=None)
@given(weighted(max_losses=3).filter(lambda case: case[0].shape[1] > 1))
def test_a_weight_s_range_is_that_of_a_dense_grid(case) -> None:
    points, weights = case
    found, choice = chebyshev_ranges(points, weights), chebyshev_choice(points, weights)
    at = choice.members.tolist().index(found.index)
    grid = np.linspace(0.0, 1.0, 501)
    for loss in range(points.shape[1]):
        others = np.delete(found.weights, loss)
        others = others / others.sum() if others.sum() else np.full(others.shape, 1 / others.size)
        tried = (1 - grid[:, None]) * np.insert(others, loss, 0.0)
        tried[:, loss] = grid
        scores = (tried[:, None, :] * choice.scaled).max(axis=2)
        is_best = scores[:, at] <= scores.min(axis=1) + 1e-12
        inside = (grid >= found.low[loss]) & (grid <= found.high[loss])
        near = (np.abs(grid - found.low[loss]) < 1e-9) | (np.abs(grid - found.high[loss]) < 1e-9)
        assert (is_best == inside)[~near].all()


@given(weighted())
def test_ranges_hold_the_weight_and_do_not_depend_on_units(case) -> None:
    points, weights = case
    found, scaled = chebyshev_ranges(points, weights), chebyshev_ranges(points * 1024 + 7, weights * 3)
    assert (found.low <= found.weights).all()
    assert (found.weights <= found.high).all()
    assert scaled.low == pytest.approx(found.low)
    assert scaled.high == pytest.approx(found.high)


def test_equal_candidates_are_no_rivals() -> None:
    found = chebyshev_ranges([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0]], [2.0, 1.0])
    assert (found.index, found.low.tolist(), found.high.tolist()) == (0, [0.5, 0.0], [1.0, 0.5])
    assert (found.rival_below.tolist(), found.rival_above.tolist()) == ([2, -1], [-1, 2])


positive = arrays(
    np.float64, st.tuples(st.integers(1, 8), st.just(2)), elements=st.integers(-3, 3).map(lambda i: 10.0**i)
)


@given(positive, st.sampled_from([[True, True], [True, False]]))
def test_a_logarithmic_loss_is_scaled_by_its_logarithm(points: np.ndarray, takes_log: list[bool]) -> None:
    logged = np.where(takes_log, np.log10(points), points)
    found = chebyshev_choice(points, [1.0, 2.0], logarithmic=takes_log)
    plain = chebyshev_choice(logged, [1.0, 2.0])
    assert (found.index, found.runner_up) == (plain.index, plain.runner_up)
    assert found.score == pytest.approx(plain.score, abs=1e-12)
    assert found.ideal.tolist() == points[found.members].min(axis=0).tolist()
    ranges, plainly = (
        chebyshev_ranges(points, [1.0, 2.0], logarithmic=takes_log),
        chebyshev_ranges(logged, [1.0, 2.0]),
    )
    assert ranges.low == pytest.approx(plainly.low)
    assert ranges.high == pytest.approx(plainly.high)


def test_what_only_its_logarithm_cannot_tell_apart_stays_on_the_front() -> None:
    above = np.nextafter(1e300, np.inf)
    found = chebyshev_choice([[1e300, 6.0], [above, 5.0], [1e301, 0.0]], [1, 1], logarithmic=[True, False])
    assert np.log10(above) == np.log10(1e300)
    assert found.members.tolist() == [0, 1, 2]
    assert found.nadir.tolist() == [1e301, 6.0]


def test_infeasible_candidates_are_neither_chosen_nor_rivals() -> None:
    points, feasible = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0]], [False, True, True]
    assert chebyshev_choice(points, [2.0, 1.0], feasible=feasible).index == 1
    assert chebyshev_ranges(points, [2.0, 1.0], feasible=feasible).rival_below.tolist() == [2, -1]


def test_the_only_candidate_is_best_whatever_the_weights() -> None:
    found = chebyshev_ranges([[3.0, 4.0]], [1, 2])
    assert (found.low.tolist(), found.high.tolist()) == ([0.0, 0.0], [1.0, 1.0])
    assert chebyshev_choice([[3.0, 4.0]], [1, 2]).runner_up is None


@pytest.mark.parametrize("function", [chebyshev_choice, chebyshev_ranges])
@pytest.mark.parametrize(("points", "feasible"), [(np.zeros((0, 2)), None), ([[1.0, 2.0]], [False])])
def test_without_a_feasible_candidate_there_is_no_choice(function, points, feasible) -> None:
    assert function(points, [1.0, 1.0], feasible=feasible) is None


@pytest.mark.parametrize("function", [chebyshev_choice, chebyshev_ranges])
@pytest.mark.parametrize(
    ("points", "weights", "options", "message"),
    [
        ([[np.nan, 1.0]], [1.0, 1.0], {}, "losses: expected no NaN"),
        ([[np.inf, 1.0]], [1.0, 1.0], {}, "losses: expected finite"),
        ([[1.0, 1.0]], [1.0], {}, "weights: expected one number for each of 2 losses"),
        ([[1.0, 1.0]], [1.0, -1.0], {}, "at least 0"),
        ([[1.0, 1.0]], [0.0, 0.0], {}, "not all of them 0"),
        ([[1.0, 1.0]], [1.0, 1.0], {"feasible": [1]}, "feasible: expected booleans"),
        ([[1.0, 1.0]], [1.0, 1.0], {"logarithmic": [True]}, "logarithmic: expected booleans"),
        ([[1.0, 0.0]], [1.0, 1.0], {"logarithmic": [False, True]}, "logarithmic: expected losses above 0"),
    ],
)
def test_wrong_input_is_refused(function, points, weights, options, message) -> None:
    with pytest.raises(ValueError, match=message):
        function(points, weights, **options)


@given(weighted(), st.data())
def test_leaving_out_who_is_not_chosen_changes_nothing_on_a_fixed_scale(case, data) -> None:
    points, weights = case
    everyone = np.ones(len(points), dtype=bool)
    whole = chebyshev_choice(points, weights)
    left = np.array(data.draw(st.lists(st.booleans(), min_size=len(points), max_size=len(points))))
    left[whole.index] = True
    again = chebyshev_choice(points, weights, feasible=left, scaled_by=everyone)
    assert (again.index, again.score) == (whole.index, whole.score)


def test_the_scale_is_that_of_those_named_and_is_extended_by_who_is_better() -> None:
    losses = [[0.0, 10.0], [10.0, 0.0], [4.0, 4.0], [-10.0, 20.0]]
    by = [True, True, True, False]
    kept = chebyshev_choice(losses, [1, 1], feasible=[False, True, True, False], scaled_by=by)
    assert (kept.ideal.tolist(), kept.nadir.tolist()) == ([0, 0], [10, 10])
    assert (kept.index, kept.score) == (2, 0.2)
    wider = chebyshev_choice(losses, [1, 1], scaled_by=by)
    assert (wider.ideal.tolist(), wider.nadir.tolist()) == ([-10, 0], [10, 10])
    assert wider.scaled.max() == 2.0  # who is worse than all that make the scale is beyond 1


def test_without_anyone_to_make_the_scale_the_front_makes_it() -> None:
    losses = [[0.0, 10.0], [10.0, 0.0], [4.0, 4.0]]
    nobody = chebyshev_choice(losses, [1, 2], scaled_by=[False] * 3)
    assert nobody.terms.tolist() == chebyshev_choice(losses, [1, 2]).terms.tolist()
