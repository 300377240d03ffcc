import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from moo.pareto import _uncertainty as uncertainty
from moo.pareto import estimate_draws, front_probability, nondominated, probability_better
from tests.moo.pareto.strategies import dominates, small, unbounded


def draws(elements=small, *, max_losses: int = 4, min_points: int = 0) -> st.SearchStrategy[np.ndarray]:
    shapes = st.tuples(st.integers(1, 6), st.integers(min_points, 6), st.integers(1, max_losses))
    return shapes.flatmap(lambda shape: arrays(np.float64, shape, elements=elements))


def by_brute_force(points: np.ndarray, feasible: np.ndarray) -> tuple[list[float], list[float]]:
    """P(on the front) and expected rank, draw by draw, pair by pair."""
    n_draws, n, _ = points.shape
    on_front, ranks = [0] * n, [0] * n
    for draw, is_feasible in zip(points.tolist(), feasible.tolist(), strict=True):
        for i in range(n):
            if not is_feasible[i]:
                ranks[i] += n + 1
                continue
            n_dominators = sum(dominates(draw[j], draw[i]) for j in range(n) if is_feasible[j])
            on_front[i] += n_dominators == 0
            ranks[i] += 1 + n_dominators
    return [count / n_draws for count in on_front], [rank / n_draws for rank in ranks]


@given(draws(), st.data())
def test_probabilities_and_ranks_are_what_counting_pairs_gives(points: np.ndarray, data) -> None:
    feasible = data.draw(arrays(np.bool_, points.shape[:2]))
    p_on_front, ranks = by_brute_force(points, feasible)
    found = front_probability(points, feasible=feasible)
    assert found.p_on_front.tolist() == pytest.approx(p_on_front)
    assert found.expected_rank.tolist() == pytest.approx(ranks)
    assert found.p_feasible.tolist() == pytest.approx(feasible.mean(axis=0).tolist())
    assert found.n_draws == len(points)


@given(draws(unbounded))
def test_infinite_losses_are_values_like_others(points: np.ndarray) -> None:
    p_on_front, ranks = by_brute_force(points, np.ones(points.shape[:2], dtype=bool))
    found = front_probability(points)
    assert found.p_on_front.tolist() == pytest.approx(p_on_front)
    assert found.expected_rank.tolist() == pytest.approx(ranks)


@given(draws(min_points=1))
def test_one_draw_is_the_front_itself(points: np.ndarray) -> None:
    found = front_probability(points[:1])
    assert found.p_on_front.tolist() == nondominated(points[0]).astype(float).tolist()
    assert (found.p_on_front == (found.expected_rank == 1)).all()


@given(draws(), st.data())
def test_violations_of_zero_or_less_are_feasible(points: np.ndarray, data) -> None:
    elements = st.sampled_from([-np.inf, -1.0, 0.0, 1e-12, np.inf])
    violations = data.draw(arrays(np.float64, (*points.shape[:2], 2), elements=elements))
    feasible = np.array([[max(row) <= 0 for row in draw] for draw in violations.tolist()], dtype=bool)
    one = front_probability(points, violations=violations)
    other = front_probability(points, feasible=feasible.reshape(points.shape[:2]))
    assert one.p_on_front.tolist() == other.p_on_front.tolist()
    assert one.p_feasible.tolist() == other.p_feasible.tolist()


@given(draws(), st.data())
def test_neither_the_order_of_candidates_nor_that_of_draws_matters(points: np.ndarray, data) -> None:
    order = list(data.draw(st.permutations(range(points.shape[1]))))
    found, shuffled = front_probability(points), front_probability(points[::-1][:, order])
    assert shuffled.p_on_front.tolist() == found.p_on_front[order].tolist()
    assert shuffled.expected_rank.tolist() == found.expected_rank[order].tolist()


@given(draws())
def test_units_do_not_matter(points: np.ndarray) -> None:
    scaled = front_probability(points * np.arange(1, points.shape[2] + 1) * 1e6 - 3.0)
    found = front_probability(points)
    assert scaled.p_on_front.tolist() == found.p_on_front.tolist()
    assert scaled.expected_rank.tolist() == found.expected_rank.tolist()


@given(draws(min_points=1))
def test_a_double_changes_no_probability_and_shares_its_own(points: np.ndarray) -> None:
    doubled = np.concatenate([points, points[:, :1]], axis=1)
    found, more = front_probability(points), front_probability(doubled)
    assert more.p_on_front.tolist() == [*found.p_on_front.tolist(), found.p_on_front[0]]


@given(draws(min_points=1), st.data())
def test_an_infeasible_candidate_changes_nobody_s_probability(points: np.ndarray, data) -> None:
    best = np.full((len(points), 1, points.shape[2]), -9.0)
    feasible = np.ones((len(points), points.shape[1] + 1), dtype=bool)
    feasible[:, -1] = False
    found = front_probability(points)
    more = front_probability(np.concatenate([points, best], axis=1), feasible=feasible)
    assert more.p_on_front.tolist() == [*found.p_on_front.tolist(), 0.0]


def test_where_nobody_is_feasible_nobody_is_on_the_front() -> None:
    found = front_probability(np.zeros((3, 2, 2)), feasible=np.zeros((3, 2), dtype=bool))
    assert (found.p_on_front.tolist(), found.p_feasible.tolist()) == ([0.0, 0.0], [0.0, 0.0])
    assert found.expected_rank.tolist() == [3.0, 3.0]


def test_no_candidates_have_no_probabilities() -> None:
    assert front_probability(np.zeros((3, 0, 2))).p_on_front.tolist() == []


def test_the_result_does_not_depend_on_how_many_pairs_are_compared_at_once(monkeypatch) -> None:
    points = np.random.default_rng(0).integers(0, 4, (50, 7, 3)).astype(float)
    whole = front_probability(points)
    monkeypatch.setattr(uncertainty, "_MOST_PAIRS", 100)
    parts = front_probability(points)
    assert parts.p_on_front.tolist() == whole.p_on_front.tolist()
    assert parts.expected_rank.tolist() == whole.expected_rank.tolist()


def test_the_probability_is_the_known_one_to_a_few_standard_errors() -> None:
    """Two candidates with the same exact cost: the one with the smaller error is alone on the front."""
    values, sd = np.array([[0.10, 5.0], [0.12, 5.0]]), 0.01
    half = np.array([1.959963984540054 * sd, 0.0])
    points = estimate_draws(
        values, values - half, values + half, n_draws=20_000, generator=np.random.default_rng(1)
    )
    found, compared = front_probability(points), probability_better(points, 0, 1)
    known = 0.9213503964748574  # Phi(0.02 / (0.01 sqrt(2)))
    assert abs(found.p_on_front[0] - known) < 4 * found.p_on_front_se[0]
    assert compared.p_better[0] == found.p_on_front[0]
    assert (compared.p_better[1], compared.p_equal[1]) == (0.0, 1.0)


@given(st.integers(1, 60), st.data())
def test_a_standard_error_is_the_spread_of_the_posterior_under_jeffreys_prior(n_draws: int, data) -> None:
    count = data.draw(st.integers(0, n_draws))
    feasible = (np.arange(n_draws) < count)[:, None]
    found = front_probability(np.zeros((n_draws, 1, 1)), feasible=feasible)
    known = stats.beta(count + 0.5, n_draws - count + 0.5).std()
    assert found.p_on_front_se[0] == pytest.approx(known)
    assert found.p_feasible_se[0] == pytest.approx(known)


def test_standard_errors_are_how_far_repetitions_spread() -> None:
    generator = np.random.default_rng(2)
    found = [front_probability(generator.random((100, 2, 1))) for _ in range(400)]
    spread = np.std([one.p_on_front[0] for one in found])
    assert found[0].p_on_front_se[0] == pytest.approx(spread, rel=0.15)


def test_where_all_draws_agree_the_standard_error_is_not_zero() -> None:
    found = front_probability(np.zeros((1000, 1, 1)))
    assert found.p_on_front[0] == 1.0
    assert 0.0005 < found.p_on_front_se[0] < 0.001


@given(draws(unbounded, min_points=1), st.data())
def test_better_equal_and_worse_are_counted_loss_by_loss(points: np.ndarray, data) -> None:
    i, j = (data.draw(st.integers(0, points.shape[1] - 1)) for _ in range(2))
    found, turned = probability_better(points, i, j), probability_better(points, j, i)
    for loss in range(points.shape[2]):
        pairs = [(draw[i][loss], draw[j][loss]) for draw in points.tolist()]
        assert found.p_better[loss] == sum(a < b for a, b in pairs) / len(pairs)
        assert found.p_equal[loss] == sum(a == b for a, b in pairs) / len(pairs)
    assert found.p_better + found.p_equal + turned.p_better == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("points", "options", "message"),
    [
        (np.full((2, 2, 1), np.nan), {}, "losses: expected no NaN, got one for candidate 0"),
        (np.zeros((2, 2)), {}, "losses: expected draws of shape"),
        (np.zeros((0, 2, 2)), {}, "n_draws > 0"),
        (np.zeros((2, 2, 1)), {"feasible": np.ones((2, 3), bool)}, r"feasible: expected booleans of .*2, 2"),
        (np.zeros((2, 2, 1)), {"feasible": np.ones((2, 2))}, "feasible: expected booleans"),
        (np.zeros((2, 2, 1)), {"violations": np.zeros((2, 3, 1))}, "violations: expected shape"),
        (np.zeros((2, 2, 1)), {"violations": np.full((2, 2, 1), np.nan)}, "violations: expected no NaN"),
        (
            np.zeros((2, 2, 1)),
            {"violations": np.zeros((2, 2, 1)), "feasible": np.ones((2, 2), bool)},
            "feasible or violations, got both",
        ),
    ],
)
def test_wrong_draws_are_refused(points, options, message) -> None:
    with pytest.raises(ValueError, match=message):
        front_probability(points, **options)


@pytest.mark.parametrize(("first", "second"), [(0, 2), (-1, 0)])
def test_a_candidate_that_is_not_there_is_not_compared(first, second) -> None:
    with pytest.raises(IndexError, match="expected one of 2 candidates"):
        probability_better(np.zeros((1, 2, 1)), first, second)


def test_a_comparison_of_what_is_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        probability_better(np.full((1, 2, 1), np.nan), 0, 1)
