import itertools

import moocore
import numpy as np
import pytest

from moo.samplers._ranking import best_subset


def ranks(losses: np.ndarray) -> np.ndarray:
    """Front numbers by definition: peel off what nothing left dominates."""
    left, rank = set(range(len(losses))), np.zeros(len(losses), int)
    for number in itertools.count():
        if not left:
            return rank
        front = {
            i
            for i in left
            if not any(np.all(losses[j] <= losses[i]) and np.any(losses[j] < losses[i]) for j in left)
        }
        for i in front:
            rank[i] = number
        left -= front
    raise AssertionError


@pytest.mark.parametrize("n_losses", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("n_best", [0, 1, 7, 30])
def test_no_chosen_point_is_on_a_later_front_than_one_left_out(n_losses: int, n_best: int) -> None:
    losses = np.random.default_rng(n_losses).integers(0, 6, size=(30, n_losses)).astype(float)
    chosen = best_subset(losses, n_best)
    assert len(set(chosen.tolist())) == n_best
    rank = ranks(losses)
    left_out = np.setdiff1d(np.arange(30), chosen)
    assert not len(chosen) or not len(left_out) or rank[chosen].max() <= rank[left_out].min()


@pytest.mark.parametrize("n_losses", [2, 3])
def test_of_a_front_a_subset_with_nearly_the_most_hypervolume_is_kept(n_losses: int) -> None:
    rng = np.random.default_rng(1)
    directions = np.abs(rng.standard_normal((12, n_losses)))
    front = 1 - directions / np.linalg.norm(directions, axis=1, keepdims=True)
    scaled = (front - front.min(0)) / np.ptp(front, axis=0)

    def volume(subset) -> float:
        return float(moocore.hypervolume(scaled[list(subset)], ref=np.full(n_losses, 1.1)))

    best = max(volume(subset) for subset in itertools.combinations(range(12), 5))
    # greedy removal is within 1 - 1/e of the best by theory, and far closer in practice
    assert volume(best_subset(front, 5)) >= 0.95 * best


def test_units_of_a_loss_do_not_matter() -> None:
    losses = np.random.default_rng(2).random((40, 2))
    assert set(best_subset(losses, 9)) == set(best_subset(losses * [1e6, 1e-6] + [5, 0], 9))


@pytest.mark.parametrize(("n_points", "n_losses"), [(300, 4), (300, 5), (100, 7), (3000, 3)])
def test_large_fronts_of_many_losses_are_thinned(n_points: int, n_losses: int) -> None:
    directions = np.abs(np.random.default_rng(3).standard_normal((n_points, n_losses)))
    front = -directions / np.linalg.norm(directions, axis=1, keepdims=True)
    chosen = best_subset(front, 40)
    assert len(set(chosen.tolist())) == 40


def test_equal_points_are_all_eligible() -> None:
    assert len(best_subset(np.ones((5, 2)), 3)) == 3
