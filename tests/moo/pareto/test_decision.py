from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from moo.pareto import knee, reference_choice
from tests.moo.pareto.strategies import front_by_brute_force, losses, scaled_exactly


def test_the_knee_is_the_point_whose_worst_loss_is_smallest() -> None:
    assert knee([[0.0, 100.0], [0.4, 30.0], [1.0, 0.0]]) == 1


@pytest.mark.parametrize(("front", "expected"), [([], None), ([[1.0, 2.0]], 0), ([[1.0, 2.0]] * 3, 0)])
def test_the_knee_of_a_small_front(front, expected) -> None:
    assert knee(front) == expected


@given(losses().filter(lambda points: len(points) > 0))
def test_the_knee_does_not_depend_on_units(points: np.ndarray) -> None:
    chosen, scaled = knee(points), knee(points * 1024 + 7)
    assert chosen == scaled


@given(losses(min_points=1))
def test_nobody_on_the_front_has_a_smaller_worst_loss_than_the_knee(points: np.ndarray) -> None:
    rows = scaled_exactly(points)
    chosen = rows[knee(points)]
    assert max(chosen) == min(max(row) for row in rows)
    assert float(sum(chosen)) == pytest.approx(
        float(min(sum(row) for row in rows if max(row) == max(chosen)))
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_the_knee_of_what_is_not_finite_is_refused(bad) -> None:
    with pytest.raises(ValueError, match="losses: expected"):
        knee([[1.0, 2.0], [bad, 1.0]])


def achievements(points: np.ndarray, wishes, augmentation=1e-4) -> dict[int, Fraction]:
    """Wierzbicki's function of each candidate on the front, in exact numbers."""
    front = front_by_brute_force(points)
    spans = [Fraction(max(c)) - Fraction(min(c)) for c in points[front].T.tolist()]
    found = {}
    for index in front:
        pairs = zip(points[index].tolist(), list(wishes), spans, strict=True)
        misses = [(Fraction(value) - Fraction(wish)) / span for value, wish, span in pairs if span]
        found[index] = max(misses, default=Fraction(0)) + Fraction(augmentation) * sum(misses)
    return found


quarters = st.integers(-8, 24).map(lambda number: number / 4)


@given(losses(min_points=1), st.data())
def test_no_other_candidate_achieves_more_of_the_wishes(points: np.ndarray, data) -> None:
    wishes = data.draw(arrays(np.float64, points.shape[1], elements=quarters))
    exact = achievements(points, wishes)
    choice = reference_choice(points, wishes)
    assert float(exact[choice.index] - min(exact.values())) == pytest.approx(0.0, abs=1e-12)
    others = [value for index, value in exact.items() if index != choice.index]
    if others:
        assert choice.gap == pytest.approx(float(min(others) - exact[choice.index]), abs=1e-12)
        assert float(exact[choice.runner_up] - min(others)) == pytest.approx(0.0, abs=1e-12)
    else:
        assert (choice.runner_up, choice.gap) == (None, None)


@given(losses(min_points=1), st.data())
def test_the_reference_choice_says_which_loss_decides(points: np.ndarray, data) -> None:
    wishes = data.draw(arrays(np.float64, points.shape[1], elements=quarters))
    choice = reference_choice(points, wishes)
    spans = choice.nadir - choice.ideal
    missed = points[choice.index] - wishes
    assert choice.misses == pytest.approx([m / s if s > 0 else m for m, s in zip(missed, spans, strict=True)])
    counted = [m for m, s in zip(choice.misses.tolist(), spans.tolist(), strict=True) if s > 0]
    assert (choice.worst is None) == (not counted)
    if counted:
        assert choice.misses[choice.worst] == max(counted)
        assert choice.value == pytest.approx(max(counted) + 1e-4 * sum(counted))


@given(losses(min_points=1), st.data())
def test_every_candidate_on_the_front_is_the_choice_where_it_is_the_wish(points: np.ndarray, data) -> None:
    index = data.draw(st.sampled_from(front_by_brute_force(points)))
    chosen = reference_choice(points, points[index])
    assert points[chosen.index].tolist() == points[index].tolist()


@given(losses(min_points=1), st.data())
def test_the_reference_choice_depends_on_neither_order_units_nor_dominated_points(points, data) -> None:
    wishes = data.draw(arrays(np.float64, points.shape[1], elements=quarters))
    order = data.draw(st.permutations(range(len(points))))
    found = reference_choice(points, wishes)
    shuffled = reference_choice(points[order], wishes)
    scaled = reference_choice(points * 1024 + 7, wishes * 1024 + 7)
    worse = reference_choice(np.vstack([points, points[found.index] + 0.5]), wishes)
    assert shuffled.value == pytest.approx(found.value)
    assert (scaled.index, scaled.value) == (found.index, pytest.approx(scaled_value(found, scaled)))
    assert (worse.index, worse.value) == (found.index, found.value)


def scaled_value(found, scaled) -> float:
    """The value is free of units where any loss counts."""
    return found.value if found.worst is not None else scaled.value


def test_the_reference_choice_reaches_what_no_weights_reach() -> None:
    hollow = [[0.0, 10.0], [6.0, 6.0], [10.0, 0.0]]
    choice = reference_choice(hollow, [5.0, 5.0])
    assert (choice.index, choice.worst) == (1, 0)


def test_a_loss_in_which_all_are_equal_does_not_decide() -> None:
    choice = reference_choice([[0.0, 9.0, 1.0], [9.0, 9.0, 0.0]], [9.0, 0.0, 0.0])
    assert (choice.index, choice.misses.tolist()) == (1, [0.0, 9.0, 0.0])


def test_an_infeasible_candidate_is_not_chosen_and_sets_no_scale() -> None:
    choice = reference_choice([[0.0, 0.0], [1.0, 2.0], [2.0, 1.0]], [1.0, 2.0], feasible=[False, True, True])
    assert (choice.index, choice.ideal.tolist(), choice.nadir.tolist()) == (1, [1.0, 1.0], [2.0, 2.0])


def test_the_only_candidate_is_chosen_and_no_runner_up_is_made_up() -> None:
    choice = reference_choice([[3.0, 4.0]], [0.0, 0.0])
    assert (choice.index, choice.worst, choice.runner_up, choice.gap) == (0, None, None, None)


@pytest.mark.parametrize(("points", "feasible"), [(np.zeros((0, 2)), None), ([[1.0, 2.0]], [False])])
def test_without_a_feasible_candidate_there_is_no_reference_choice(points, feasible) -> None:
    assert reference_choice(points, [0.0, 0.0], feasible=feasible) is None


@pytest.mark.parametrize(
    ("points", "wishes", "options", "message"),
    [
        ([[np.nan, 1.0]], [0.0, 0.0], {}, "losses: expected no NaN"),
        ([[np.inf, 1.0]], [0.0, 0.0], {}, "losses: expected finite"),
        ([[-1e308, 1.0]], [0.0, 0.0], {}, "losses: expected finite numbers within 1e"),
        ([[1.0, 1.0]], [0.0], {}, "wishes: expected one number for each of 2 losses"),
        ([[1.0, 1.0]], [0.0, np.nan], {}, "wishes: expected no NaN"),
        ([[1.0, 1.0]], [0.0, np.inf], {}, "wishes: expected finite"),
        ([[1.0, 1.0]], [0.0, 0.0], {"augmentation": 0.0}, "augmentation: expected a number above 0"),
    ],
)
def test_wrong_input_to_a_reference_choice_is_refused(points, wishes, options, message) -> None:
    with pytest.raises(ValueError, match=message):
        reference_choice(points, wishes, **options)
