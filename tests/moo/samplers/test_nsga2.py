import math
from collections.abc import Callable

import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.testing.pytest_samplers import (
    BasicSamplerTestCase,
    MultiObjectiveSamplerTestCase,
    RelativeSamplerTestCase,
)
from optuna.trial import TrialState
from pymoo.core.population import Population
from pymoo.core.problem import Problem
from pymoo.operators.survival.rank_and_crowding import RankAndCrowding

from moo.errors import InputError
from moo.pareto import hypervolume_history
from moo.samplers._history import Observations
from moo.samplers._preselection import arcsinh_scaled, features, improvement, log_feasibility, predict
from moo.samplers._space import SearchSpace
from moo.samplers.nsga2 import NSGA2Sampler, Survivors, ranking, survivors

optuna.logging.set_verbosity(optuna.logging.ERROR)


@pytest.fixture
def sampler() -> Callable[[], BaseSampler]:
    return lambda: NSGA2Sampler(seed=0)


class TestBasic(BasicSamplerTestCase):
    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return lambda: NSGA2Sampler(seed=0)


class TestRelative(RelativeSamplerTestCase):
    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return lambda: NSGA2Sampler(seed=0, n_startup_trials=1)


class TestMultiObjective(MultiObjectiveSamplerTestCase):
    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return lambda: NSGA2Sampler(seed=0)


def study_of(objective, n_trials: int, *, n_objectives: int = 2, **options) -> optuna.Study:
    study = optuna.create_study(
        directions=["minimize"] * n_objectives, sampler=NSGA2Sampler(**{"seed": 0, **options})
    )
    study.optimize(objective, n_trials=n_trials)
    return study


def params(study: optuna.Study) -> list[dict]:
    return [trial.params for trial in study.trials]


def zdt1(trial: optuna.Trial) -> tuple[float, float]:
    x = [trial.suggest_float(f"x{i}", 0, 1) for i in range(6)]
    g = 1 + 9 * sum(x[1:]) / 5
    return x[0], g * (1 - math.sqrt(x[0] / g))


def mixed(trial: optuna.Trial) -> tuple[float, float]:
    """Every kind of parameter, some only in one branch, and two constraints in unlike units."""
    kind = trial.suggest_categorical("kind", ["a", "b", "c"])
    rate = trial.suggest_float("rate", 1e-4, 1, log=True)
    width = trial.suggest_int("width", 1, 64, log=True)
    step = trial.suggest_float("step", 0, 1, step=0.25)
    depth = trial.suggest_int("depth", 1, 5) if kind == "b" else 2
    cost = width * depth / 10 + step
    trial.set_constraint("cost", cost - 10)
    trial.set_constraint("rate", 0.001 - rate)
    return cost, abs(math.log(rate) + 3) + 5 / width + (kind == "c")


def observations(losses, constraints, states) -> Observations:
    losses, constraints = np.asarray(losses, float), np.asarray(constraints, float)
    n = len(losses)
    space = SearchSpace({"x": FloatDistribution(0, 1)})
    rows = np.linspace(0, 1, n).reshape(-1, 1)
    return Observations(
        space=space,
        rows=rows,
        losses=losses,
        constraints=constraints,
        loss_sds=np.full_like(losses, np.nan),
        constraint_sds=np.full_like(constraints, np.nan),
        states=np.array([int(state) for state in states]),
        codes=space.codes(rows),
    )


def tier(losses, constraints, violation: float) -> tuple[int, float]:
    """How the rule reads, for one trial: 0 feasible, 1 unknown, 2 no losses, 3 by violation."""
    if any(value > 0 for value in constraints):
        return 3, violation
    if np.isnan(losses).any():
        return 2, 0.0
    return (1 if np.isnan(constraints).any() else 0), 0.0


# survival


def best(observed: Observations, n_best: int) -> Survivors:
    return survivors(observed, ranking(observed), n_best)


@pytest.mark.parametrize("n_objectives", [1, 2, 3, 5])
def test_survival_is_feasibility_first_then_non_dominated_as_brute_force_says(n_objectives: int) -> None:
    rng = np.random.default_rng(n_objectives)
    losses = rng.integers(0, 6, (60, n_objectives)).astype(float)
    constraints = rng.normal(size=(60, 2))
    constraints[rng.random((60, 2)) < 0.2] = np.nan
    is_pruned = rng.random(60) < 0.3
    losses[is_pruned] = np.nan
    states = [TrialState.PRUNED if pruned else TrialState.COMPLETE for pruned in is_pruned]
    observed = observations(losses, constraints, states)
    everyone = best(observed, 60)
    assert sorted(everyone.indices) == list(range(60))
    tiers = [tier(losses[i], constraints[i], observed.total_violation[i]) for i in range(60)]
    assert [tiers[i] for i in everyone.indices] == sorted(tiers)
    place = dict(zip(everyone.indices, everyone.ranks, strict=True))
    for i in range(60):
        for j in range(60):
            better = (losses[i] <= losses[j]).all() and (losses[i] < losses[j]).any()
            if tiers[i] == tiers[j] and better:
                assert place[i] < place[j]


@pytest.mark.parametrize("n_objectives", [2, 3])
def test_survival_without_constraints_is_pymoos(n_objectives: int) -> None:
    losses = np.random.default_rng(3).random((80, n_objectives))
    ours = best(observations(losses, np.empty((80, 0)), [TrialState.COMPLETE] * 80), 20)
    population = Population.new(F=losses, number=np.arange(80))
    options = {"n_survive": 20, "random_state": np.random.default_rng(0)}
    theirs = RankAndCrowding().do(Problem(), population, **options)
    assert set(ours.indices) == set(theirs.get("number"))


def test_a_pruned_trial_that_violates_nothing_known_is_before_every_infeasible_one() -> None:
    states = [TrialState.COMPLETE, TrialState.PRUNED, TrialState.PRUNED]
    observed = observations([[0.0], [np.nan], [np.nan]], [[0.1], [np.nan], [5.0]], states)
    assert best(observed, 3).indices.tolist() == [1, 0, 2]


def test_fewer_trials_than_the_population_all_survive() -> None:
    observed = observations([[1.0, 2.0]] * 3, np.empty((3, 0)), [TrialState.COMPLETE] * 3)
    assert best(observed, 20).indices.tolist() == [0, 1, 2]


def test_no_trial_has_no_survivor() -> None:
    assert len(best(observations(np.empty((0, 2)), np.empty((0, 1)), []), 20).indices) == 0


# the model


def test_the_model_goes_through_what_was_observed_and_is_unsure_elsewhere() -> None:
    points = np.linspace(0, 0.5, 11).reshape(-1, 1)
    at = np.array([[0.25], [0.275], [1.0]])
    means, sds = predict(points, np.sin(6 * points), at, scale=1.0)
    np.testing.assert_allclose(means[:2, 0], np.sin(6 * at[:2, 0]), atol=0.02)
    assert sds[0, 0] < sds[1, 0] < sds[2, 0]


def test_outputs_are_learnt_from_the_trials_that_observed_them() -> None:
    points = np.linspace(0, 1, 8).reshape(-1, 1)
    both = np.hstack([points, 1 - points])
    both[:4, 1] = np.nan
    means, _ = predict(points, both, points, scale=1.0)
    alone, _ = predict(points[4:], both[4:, 1:], points, scale=1.0)
    np.testing.assert_allclose(means[:, 1], alone[:, 0])


def test_an_output_never_observed_can_be_anything() -> None:
    means, sds = predict(np.zeros((3, 1)), np.full((3, 1), np.nan), np.ones((2, 1)), scale=1.0)
    assert (means == 0).all()
    assert (sds == 1).all()


def test_identical_points_and_constant_outputs_are_no_problem() -> None:
    means, sds = predict(np.ones((5, 2)), np.full((5, 1), 3.0), np.ones((2, 2)), scale=1.0)
    np.testing.assert_allclose(means, 3.0)
    assert (sds > 0).all()


def test_choices_are_equally_far_apart_and_a_missing_number_is_in_the_middle() -> None:
    space = SearchSpace(
        {"kind": optuna.distributions.CategoricalDistribution(("a", "b", "c")), "x": FloatDistribution(0, 1)}
    )
    points = features(space, np.array([[0.0, 0.5], [1.0, 0.5], [2.0, np.nan]]))
    distances = [np.linalg.norm(points[i] - points[j]) for i, j in ((0, 1), (0, 2), (1, 2))]
    np.testing.assert_allclose(distances, 1.0)


def test_scaling_keeps_order_signs_and_what_is_missing_whatever_the_unit() -> None:
    values = np.array([[-2.0], [np.nan], [0.0], [1.0], [1e9]])
    scaled = arcsinh_scaled(values, around_zero=True)
    assert np.isnan(scaled[1, 0])
    assert (np.sign(scaled[[0, 2, 3, 4], 0]) == [-1, 0, 1, 1]).all()
    np.testing.assert_allclose(scaled, arcsinh_scaled(values * 1e6, around_zero=True))


def test_improvement_is_positive_exactly_where_no_point_of_the_front_dominates() -> None:
    rng = np.random.default_rng(0)
    points, front = rng.random((200, 3)), rng.random((5, 3))
    is_dominated = [(front <= point).all(axis=1).any() for point in points]
    assert ((improvement(points, front) <= 0) == is_dominated).all()


def test_without_constraints_everything_is_feasible() -> None:
    assert (
        log_feasibility(predict(np.zeros((2, 1)), np.empty((2, 0)), np.zeros((3, 1)), scale=1.0)).tolist()
        == [0.0] * 3
    )


# the sampler


def test_the_same_seed_gives_the_same_trials_and_another_seed_others() -> None:
    runs = [params(study_of(mixed, 25, seed=seed)) for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]


def test_a_resumed_study_proposes_what_the_uninterrupted_one_would(tmp_path) -> None:
    def run(name: str, parts: list[int]) -> list[dict]:
        for n_trials in parts:
            study = optuna.create_study(
                storage=f"sqlite:///{tmp_path / name}",
                study_name="s",
                load_if_exists=True,
                directions=["minimize", "minimize"],
                sampler=NSGA2Sampler(seed=1, n_startup_trials=4),
            )
            study.optimize(mixed, n_trials=n_trials)
        return params(study)

    assert run("a.db", [9]) == run("b.db", [6, 3])


@pytest.mark.parametrize("unit", [1e-6, 1e6])
def test_the_unit_of_a_constraint_does_not_matter(unit: float) -> None:
    def objective_in(unit: float):
        def objective(trial: optuna.Trial) -> tuple[float, float]:
            x, y = trial.suggest_float("x", 0, 1), trial.suggest_float("y", 0, 1)
            trial.set_constraint("a", (x + y - 0.8) * unit)
            trial.set_constraint("b", 0.1 - y)
            return x, 1 - y

        return objective

    for one, other in zip(
        params(study_of(objective_in(1.0), 30)), params(study_of(objective_in(unit), 30)), strict=True
    ):
        assert one == pytest.approx(other, abs=1e-6)


@pytest.mark.parametrize("n_objectives", [1, 2, 3, 4, 5])
def test_one_to_five_objectives(n_objectives: int) -> None:
    def objective(trial: optuna.Trial) -> list[float]:
        x = [trial.suggest_float(f"x{i}", 0, 1) for i in range(5)]
        return [sum((x[j] - (i == j)) ** 2 for j in range(5)) for i in range(n_objectives)]

    study = study_of(objective, 25, n_objectives=n_objectives)
    assert len({tuple(trial.params.values()) for trial in study.trials}) == 25


def test_pruned_trials_teach_where_the_feasible_ones_are() -> None:
    def objective(trial: optuna.Trial) -> tuple[float, float]:
        x = [trial.suggest_float(f"x{i}", 0, 1) for i in range(4)]
        trial.set_constraint("near", sum((value - 0.8) ** 2 for value in x) - 0.05)
        if sum((value - 0.8) ** 2 for value in x) > 0.05:
            raise optuna.TrialPruned
        return x[0], 1 - x[1]

    is_feasible = [trial.state == TrialState.COMPLETE for trial in study_of(objective, 40).trials]
    assert sum(is_feasible[20:]) >= 10  # 1.2% of the space is feasible


def test_a_search_without_any_feasible_trial_goes_on_towards_less_violation() -> None:
    def objective(trial: optuna.Trial) -> tuple[float, float]:
        x, y = trial.suggest_float("x", 0, 1), trial.suggest_float("y", 0, 1)
        trial.set_constraint("never", 1 + x + y)
        return x, y

    sums = [trial.params["x"] + trial.params["y"] for trial in study_of(objective, 20).trials]
    assert min(sums[10:]) < 0.02 < 0.2 < min(sums[:10])


def test_trials_that_only_fail_or_are_pruned_teach_nothing_and_stop_nothing() -> None:
    def objective(trial: optuna.Trial) -> tuple[float, float]:
        trial.suggest_float("x", 0, 1)
        if trial.number % 2:
            return math.nan, 0.0
        raise optuna.TrialPruned

    study = study_of(objective, 30)
    assert len({trial.params["x"] for trial in study.trials}) == 30


def test_failed_trials_with_constraints_do_not_become_parents() -> None:
    def objective(trial: optuna.Trial) -> tuple[float, float]:
        trial.suggest_float("x", 0, 1)
        trial.set_constraint("c", -1.0)
        return math.nan, 0.0

    assert len(study_of(objective, 15).trials) == 15


def test_infinite_objectives_are_just_bad_ones() -> None:
    def objective(trial: optuna.Trial) -> tuple[float, float]:
        x, y = trial.suggest_float("x", 0, 1), trial.suggest_float("y", 0, 1)
        return (math.inf, math.inf) if x > 0.5 else (x, 1 - x + y)

    study = study_of(objective, 30)
    assert sum(trial.params["x"] > 0.5 for trial in study.trials[15:]) <= 5


def test_equal_objectives_everywhere_are_no_problem() -> None:
    def objective(trial: optuna.Trial) -> tuple[float, float]:
        trial.suggest_float("x", 0, 1)
        trial.set_constraint("c", 0.0)
        return 1.0, 1.0

    assert len({trial.params["x"] for trial in study_of(objective, 20).trials}) == 20


def test_a_constraint_that_was_set_in_some_trials_only_still_guides() -> None:
    def objective(trial: optuna.Trial) -> tuple[float, float]:
        x, y = trial.suggest_float("x", 0, 1), trial.suggest_float("y", 0, 1)
        if trial.number % 2:
            trial.set_constraint("c", 0.7 - x)
        return x, y

    assert np.mean([trial.params["x"] > 0.65 for trial in study_of(objective, 40).trials[20:]]) > 0.6


def test_conditional_parameters_are_bred_and_every_branch_stays_reachable() -> None:
    study = study_of(mixed, 50)
    has_depth = ["depth" in trial.params for trial in study.trials]
    assert has_depth == [trial.params["kind"] == "b" for trial in study.trials]
    assert {trial.params["kind"] for trial in study.trials[10:]} == {"a", "b", "c"}


def test_a_discrete_space_is_searched_whole_without_a_duplicate() -> None:
    def objective(trial: optuna.Trial) -> tuple[float, float]:
        kind = trial.suggest_categorical("kind", ["a", "b"])
        level = trial.suggest_int("level", 0, 9) if kind == "a" else -1
        size = trial.suggest_int("size", 1, 3)
        return level * size, size - level

    study = study_of(objective, 100, when_exhausted="stop")
    assert len(study.trials) == len({tuple(trial.params.items()) for trial in study.trials}) == 33


def test_parallel_workers_do_not_pile_onto_one_point() -> None:
    study = study_of(zdt1, 40)
    asked = [study.ask() for _ in range(6)]
    rows = np.array([[trial.suggest_float(f"x{i}", 0, 1) for i in range(6)] for trial in asked])
    distances = np.linalg.norm(rows[:, None] - rows, axis=2)[np.triu_indices(6, 1)]
    assert distances.min() > 0.01


def test_what_a_queued_trial_fixes_is_kept() -> None:
    study = study_of(zdt1, 20)
    study.enqueue_trial({"x0": 0.125})
    study.optimize(zdt1, n_trials=1)
    assert study.trials[-1].params["x0"] == 0.125


def test_it_is_far_ahead_of_random_search() -> None:
    def hypervolume(sampler: BaseSampler) -> float:
        study = optuna.create_study(directions=["minimize"] * 2, sampler=sampler)
        study.optimize(zdt1, n_trials=60)
        return float(hypervolume_history([trial.values for trial in study.trials], [1.1, 3.0])[-1])

    ours = [hypervolume(NSGA2Sampler(seed=seed)) for seed in range(3)]
    random = [hypervolume(RandomSampler(seed=seed)) for seed in range(3)]
    assert min(ours) > 1.15 * max(random)


@pytest.mark.parametrize("argument", ["population_size", "n_offspring", "n_startup_trials"])
def test_an_argument_out_of_range_is_named(argument: str) -> None:
    with pytest.raises(InputError, match=argument):
        NSGA2Sampler(**{argument: 0})
