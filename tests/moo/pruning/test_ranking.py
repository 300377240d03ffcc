from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from moo.pruning._ranking import n_kept, standings

small = st.integers(min_value=0, max_value=4).map(float)
Trials = tuple[np.ndarray, np.ndarray]


@st.composite
def trials(draw, *, elements=small, min_trials: int = 1, max_losses: int = 3) -> Trials:
    shape = (draw(st.integers(min_trials, 9)), draw(st.integers(1, max_losses)))
    violations = st.sampled_from([-1.0, 0.0, 0.0, 0.0, 0.25, 0.5])
    return draw(arrays(np.float64, shape, elements=elements)), draw(
        arrays(np.float64, shape[0], elements=violations)
    )


def dominates(one, other) -> bool:
    return all(a <= b for a, b in zip(one, other, strict=True)) and tuple(one) != tuple(other)


def rank_by_peeling(points) -> list[int]:
    ranks: dict[int, int] = {}
    rank = 0
    while len(ranks) < len(points):
        left = [i for i in range(len(points)) if i not in ranks]
        front = [i for i in left if not any(dominates(points[j], points[i]) for j in left)]
        ranks |= dict.fromkeys(front, rank)
        rank += 1
    return [ranks[i] for i in range(len(points))]


def exact_volume(points, reference) -> Fraction:
    """Return the hypervolume by summing the cells between all coordinates: exact, for rational points."""
    axes = [sorted({p[j] for p in points} | {reference[j]}) for j in range(len(reference))]
    volume = Fraction(0)
    for corner in product(*[range(len(axis) - 1) for axis in axes]):
        low = [axis[i] for axis, i in zip(axes, corner, strict=True)]
        if any(all(a <= b for a, b in zip(p, low, strict=True)) for p in points):
            cell = Fraction(1)
            for axis, i in zip(axes, corner, strict=True):
                cell *= axis[i + 1] - axis[i]
            volume += cell
    return volume


def exact_contributions(front) -> dict[tuple[float, ...], float]:
    """Return each point's contribution to a front of integers; infinite for the best one in a loss."""
    unique = sorted(set(front))
    if len(unique) == 1:
        return {unique[0]: 0.0}
    columns = list(zip(*unique, strict=True))
    spans = [max(column) - min(column) for column in columns]

    def scaled(point):
        return tuple(
            Fraction(int(x - min(column)), int(span) or 1)
            for x, column, span in zip(point, columns, spans, strict=True)
        )

    reference = (Fraction(11, 10),) * len(spans)
    whole = exact_volume([scaled(p) for p in unique], reference)
    added = {p: whole - exact_volume([scaled(q) for q in unique if q != p], reference) for p in unique}
    extremes = set()
    for j, span in enumerate(spans):
        if span:
            best = [p for p in unique if p[j] == min(columns[j])]
            extremes |= {p for p in best if added[p] == max(added[q] for q in best)}
    return {p: float("inf") if p in extremes else added[p] for p in unique}


def standings_by_brute_force(losses, violations) -> list[int]:
    points = [tuple(row) for row in losses]
    beyond = [max(0.0, v) for v in violations]
    keys = [None] * len(points)
    for violation in set(beyond):
        members = [i for i, v in enumerate(beyond) if v == violation]
        ranks = rank_by_peeling([points[i] for i in members])
        for rank in set(ranks):
            front = [i for i, r in zip(members, ranks, strict=True) if r == rank]
            added = exact_contributions([points[i] for i in front])
            for i in front:
                keys[i] = (violation, rank, -added[points[i]])
    return [sum(other < key for other in keys) for key in keys]


@settings(deadline=None)
@given(trials())
def test_standings_are_what_brute_force_finds(given_trials: Trials) -> None:
    losses, violations = given_trials
    assert standings(losses, violations).tolist() == standings_by_brute_force(losses, violations)


@given(trials(), st.randoms(use_true_random=False))
def test_the_order_of_trials_does_not_matter(given_trials: Trials, random) -> None:
    losses, violations = given_trials
    order = list(range(len(losses)))
    random.shuffle(order)
    assert (
        standings(losses[order], violations[order]).tolist() == standings(losses, violations)[order].tolist()
    )


@given(trials(), st.lists(st.integers(-20, 20), min_size=3, max_size=3))
def test_the_unit_of_a_loss_does_not_matter(given_trials: Trials, powers) -> None:
    losses, violations = given_trials
    factors = 2.0 ** np.array(powers)[: losses.shape[1]]
    assert standings(losses * factors, violations).tolist() == standings(losses, violations).tolist()


@given(trials(), st.lists(st.floats(1e-9, 1e9), min_size=3, max_size=3))
def test_no_positive_factor_changes_who_is_feasible_or_the_ranks(given_trials: Trials, factors) -> None:
    losses, violations = given_trials
    standing = standings(losses * np.array(factors)[: losses.shape[1]], violations)
    beyond = np.maximum(violations, 0.0)
    for violation in set(beyond):
        members = np.flatnonzero(beyond == violation)
        assert all(standing[beyond > violation] > standing[members].max())
        ranks = np.array(rank_by_peeling(losses[members]))
        assert all(
            standing[members[ranks == r]].max() < standing[members[ranks == r + 1]].min()
            for r in range(max(ranks))
        )


@given(trials())
def test_the_best_of_a_rung_goes_on_and_no_more_than_their_share_are_better(given_trials: Trials) -> None:
    losses, violations = given_trials
    standing = standings(losses, violations)
    n_going_on = n_kept(len(losses), 3)
    assert standing.min() == 0
    assert (standing < n_going_on).sum() >= n_going_on
    last = standing[standing < n_going_on].max()
    assert (standing < last).sum() < n_going_on  # beyond their share there are only equals


huge = st.floats(allow_nan=False, allow_infinity=False)


@given(trials(elements=huge, max_losses=6))
def test_any_finite_loss_can_be_ranked(given_trials: Trials) -> None:
    losses, violations = given_trials
    standing = standings(losses, violations)
    for i, j in product(range(len(losses)), repeat=2):
        if max(violations[i], 0) == max(violations[j], 0) and dominates(losses[i], losses[j]):
            assert standing[i] < standing[j]


@pytest.mark.parametrize("diverged", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_ranks_last_and_changes_nothing_else(diverged) -> None:
    losses = [[0.0, 5.0], [9.0, 9.0], [diverged, 0.0], [5.0, 0.0]]
    assert standings(losses, [0.0, 7.0, 0.0, 0.0]).tolist() == [0, 2, 3, 0]


def test_a_violation_that_is_not_known_ranks_behind_every_other() -> None:
    assert standings([[0.0], [1.0], [2.0]], [np.nan, 9.0, 0.0]).tolist() == [2, 1, 0]


def test_the_extremes_of_a_front_come_before_the_points_between_them() -> None:
    assert standings([[0.0, 1.0], [0.1, 0.1], [1.0, 0.0]], [0.0] * 3).tolist() == [0, 2, 0]


def test_equal_points_share_a_standing() -> None:
    assert standings([[1.0, 1.0]] * 4, [0.0] * 4).tolist() == [0] * 4


def test_a_loss_that_is_the_same_for_all_makes_no_extremes() -> None:
    losses = [[0.0, 4.0, 7.0], [1.0, 1.0, 7.0], [2.0, 0.5, 7.0], [4.0, 0.0, 7.0]]
    assert standings(losses, [0.0] * 4).tolist() == standings([row[:2] for row in losses], [0.0] * 4).tolist()


def test_a_front_too_large_for_contributions_is_ranked_by_distance() -> None:
    corners = np.eye(6) * 10 + 1
    crowd = np.full((3, 6), 2.0) + np.array([[0.0] * 6, [0.02] + [-0.01] * 5, [-0.01] + [0.02] * 5])
    standing = standings(np.vstack([corners, crowd]), [0.0] * 9)
    assert standing[:6].max() < standing[6:].min()


def test_no_trials_have_no_standings() -> None:
    assert standings(np.empty((0, 2)), []).tolist() == []


@pytest.mark.parametrize(
    ("n", "eta", "expected"), [(2, 3, 1), (9, 3, 3), (11, 1.1, 10), (10, 2.5, 4), (3, 99, 1)]
)
def test_one_in_eta_goes_on_and_at_least_one(n, eta, expected) -> None:
    assert n_kept(n, eta) == expected
