"""What all of our samplers promise, whichever one proposes."""

import logging
import math
import pickle
import threading
from collections.abc import Callable
from typing import Any

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.testing.pytest_samplers import (
    BasicSamplerTestCase,
    MultiObjectiveSamplerTestCase,
    RelativeSamplerTestCase,
)
from optuna.trial import TrialState, create_trial

from moo.errors import InputError
from moo.samplers import AutoSampler, ConstrainedTPESampler, EHVISampler, NSGA2Sampler

OURS = [AutoSampler, ConstrainedTPESampler, EHVISampler, NSGA2Sampler]
Sampler = Callable[..., Any]
Objective = Callable[[optuna.Trial], Any]


@pytest.mark.parametrize("ours", OURS)
class TestOptunasOwnSuite(BasicSamplerTestCase, RelativeSamplerTestCase, MultiObjectiveSamplerTestCase):
    @pytest.fixture
    def sampler(self, ours: Sampler) -> Callable[[], optuna.samplers.BaseSampler]:
        return ours


def mixed(trial: optuna.Trial) -> tuple[float, float]:
    x = trial.suggest_float("x", 0, 1)
    rate = trial.suggest_float("rate", 1e-4, 1.0, log=True)
    width = trial.suggest_int("width", 8, 64, step=8)
    kind = trial.suggest_categorical("kind", ["a", "b", "c"])
    cost = x * width + (kind == "c") * 10
    trial.set_constraint("cost", cost - 30)
    return (1 - x) ** 2 + abs(math.log10(rate) + 2) + (kind == "a"), cost


def discrete(trial: optuna.Trial) -> tuple[float, float]:
    """24 configurations: 12 of trees, 12 of nets."""
    if trial.suggest_categorical("kind", ["tree", "net"]) == "tree":
        depth = trial.suggest_int("depth", 1, 12)
        values = (1.0 / depth, float(depth))
    else:
        width, n_layers = trial.suggest_categorical("width", [8, 16, 32]), trial.suggest_int("n_layers", 1, 4)
        values = (2.0 / (width * n_layers), float(width * n_layers))
    trial.set_constraint("size", values[1] - 20)
    return values


def study_of(ours: Sampler, n_objectives: int = 2, storage: Any = None, **options: Any) -> optuna.Study:
    return optuna.create_study(
        storage=storage,
        study_name="s",
        load_if_exists=True,
        directions=["minimize"] * n_objectives,
        sampler=ours(**{"seed": 1, **options}),
    )


def params_of(study: optuna.Study) -> list[dict[str, Any]]:
    return [trial.params for trial in study.trials]


def keys_of(study: optuna.Study) -> set[tuple]:
    return {tuple(sorted(params.items())) for params in params_of(study)}


@pytest.mark.parametrize("ours", OURS)
def test_the_same_seed_gives_the_same_trials_and_another_seed_others(ours: Sampler) -> None:
    runs = []
    for seed in (1, 1, 2):
        study = study_of(ours, seed=seed)
        study.optimize(mixed, n_trials=16)
        runs.append(params_of(study))
    assert runs[0] == runs[1]
    assert all(a != b for a, b in zip(runs[0], runs[2], strict=True))


@pytest.mark.parametrize("ours", OURS)
def test_a_resumed_study_proposes_what_the_uninterrupted_one_would(ours: Sampler, tmp_path) -> None:
    whole = study_of(ours, storage=f"sqlite:///{tmp_path}/whole.db")
    whole.optimize(mixed, n_trials=20)
    for n_trials in (3, 10, 7):
        part = study_of(ours, storage=f"sqlite:///{tmp_path}/parts.db")
        part.optimize(mixed, n_trials=n_trials)
    assert params_of(part) == params_of(whole)


@pytest.mark.parametrize("ours", OURS)
def test_no_configuration_of_a_discrete_space_is_tried_twice(ours: Sampler) -> None:
    study = study_of(ours)
    study.optimize(discrete, n_trials=24)
    assert len(keys_of(study)) == 24


@pytest.mark.parametrize("ours", OURS)
def test_an_exhausted_space_is_told_and_repeated_or_ends_the_search(ours: Sampler, caplog) -> None:
    caplog.set_level(logging.WARNING, logger="moo")
    study = study_of(ours)
    study.optimize(discrete, n_trials=27)
    assert len(study.trials) == 27
    repeats = [record.message for record in caplog.records]
    assert repeats == ["all 24 configurations have been tried: trials from here on repeat them"]
    study = study_of(ours, when_exhausted="stop")
    study.optimize(discrete, n_trials=100)
    assert len(study.trials) == len(keys_of(study)) == 24
    assert caplog.records[-1].message == "all 24 configurations have been tried: the search ends"


@pytest.mark.parametrize("ours", OURS)
def test_running_and_queued_trials_are_not_proposed_again(ours: Sampler) -> None:
    study = study_of(ours)
    study.optimize(discrete, n_trials=10)
    trees = [{"kind": "tree", "depth": depth} for depth in range(1, 13)]
    study.enqueue_trial(next(tree for tree in trees if tree not in params_of(study)))
    for _ in range(14):
        discrete(study.ask())
    assert len(keys_of(study)) == 24


@pytest.mark.parametrize("ours", OURS)
def test_values_are_python_scalars_of_their_distribution(ours: Sampler) -> None:
    study = study_of(ours)
    study.optimize(mixed, n_trials=14)
    for params in params_of(study):
        assert [type(params[name]) for name in ("x", "rate", "width", "kind")] == [float, float, int, str]
        assert params["width"] % 8 == 0


@pytest.mark.parametrize("ours", OURS)
@pytest.mark.parametrize("n_objectives", [1, 2, 3, 4, 5])
def test_one_to_five_objectives_are_taken_feasible_or_not(ours: Sampler, n_objectives: int) -> None:
    def objective(trial: optuna.Trial) -> list[float]:
        x = [trial.suggest_float(f"x{i}", 0, 1) for i in range(n_objectives + 1)]
        trial.set_constraint("sum", sum(x) - 0.4 * len(x))
        trial.set_constraint("never", 1.0 + x[0])
        return x[:-1]

    study = study_of(ours, n_objectives)
    study.optimize(objective, n_trials=16)
    assert len(study.get_trials(states=[TrialState.COMPLETE])) == 16


@pytest.mark.parametrize("ours", OURS)
def test_maximising_is_minimising_the_negative(ours: Sampler) -> None:
    study = study_of(ours)
    study.optimize(mixed, n_trials=16)
    mirrored = optuna.create_study(directions=["maximize", "minimize"], sampler=ours(seed=1))
    mirrored.optimize(lambda trial: (lambda a, b: (-a, b))(*mixed(trial)), n_trials=16)
    assert params_of(mirrored) == params_of(study)


@pytest.mark.parametrize("ours", OURS)
@pytest.mark.parametrize("odd", [math.inf, -math.inf, math.nan, 1e300])
def test_odd_objective_values_do_not_end_a_search(ours: Sampler, odd: float) -> None:
    def objective(trial: optuna.Trial) -> tuple[float, float]:
        quality, cost = mixed(trial)
        return (odd if trial.number % 4 == 1 else quality), cost

    study = study_of(ours)
    study.optimize(objective, n_trials=18)
    assert len(study.trials) == 18


@pytest.mark.parametrize("ours", OURS)
def test_trials_that_fail_or_are_pruned_do_not_end_a_search(ours: Sampler) -> None:
    def objective(trial: optuna.Trial) -> tuple[float, float]:
        values = mixed(trial)
        if trial.number % 3 == 1:
            raise optuna.TrialPruned
        if trial.number % 3 == 2:
            raise ValueError
        return values

    study = study_of(ours)
    study.optimize(objective, n_trials=30, catch=(ValueError,))
    assert len(study.trials) == 30


@pytest.mark.parametrize("ours", OURS)
def test_a_constraint_that_was_set_on_some_trials_only_is_told_once(ours: Sampler, caplog) -> None:
    def objective(trial: optuna.Trial) -> tuple[float, float]:
        x = trial.suggest_float("x", 0, 1)
        if trial.number % 2:
            trial.set_constraint("late", x - 0.5)
        return x, 1 - x

    study = study_of(ours)
    study.optimize(objective, n_trials=16)
    told = [record.message for record in caplog.records if "constraint" in record.message]
    assert len(told) == 1
    assert told[0].startswith("constraint 'late' was never set on some complete trials")


@pytest.mark.parametrize("ours", OURS)
def test_a_search_space_may_change_between_trials(ours: Sampler) -> None:
    def objective(trial: optuna.Trial) -> tuple[float, float]:
        low = trial.number
        x = trial.suggest_float("x", low, low + 5)
        y = trial.suggest_int("y", 0, 3 + trial.number)
        late = trial.suggest_float("late", 0, 1) if trial.number > 11 else 0.0
        return x - low + late, y

    study = study_of(ours)
    study.optimize(objective, n_trials=20)
    assert len(study.get_trials(states=[TrialState.COMPLETE])) == 20


@pytest.mark.parametrize("ours", OURS)
def test_parameters_with_one_value_are_left_alone(ours: Sampler) -> None:
    def objective(trial: optuna.Trial) -> tuple[float, float]:
        fixed = trial.suggest_categorical("fixed", ["only"]) == "only"
        return trial.suggest_float("x", 0, 1) + fixed, trial.suggest_int("one", 3, 3)

    study = study_of(ours)
    study.optimize(objective, n_trials=14)
    assert {(p["fixed"], p["one"]) for p in params_of(study)} == {("only", 3)}


@pytest.mark.parametrize("ours", OURS)
def test_an_objective_without_parameters_can_be_repeated(ours: Sampler) -> None:
    study = study_of(ours, when_exhausted="stop")
    study.optimize(lambda trial: (1.0, 2.0), n_trials=12)
    assert len(study.trials) == 12


@pytest.mark.parametrize("ours", OURS)
def test_a_study_begun_with_another_sampler_is_gone_on_with(ours: Sampler) -> None:
    study = study_of(ours)
    study.sampler, own = optuna.samplers.NSGAIISampler(seed=0, population_size=4), study.sampler
    study.optimize(mixed, n_trials=12)
    study.sampler = own
    study.optimize(mixed, n_trials=6)
    assert len(study.get_trials(states=[TrialState.COMPLETE])) == 18


@pytest.mark.parametrize("ours", OURS)
def test_trials_added_by_hand_teach(ours: Sampler) -> None:
    """Where all known trials are good near 0.9, proposals go there and not to the other end."""
    distributions = {"x": FloatDistribution(0, 1), "y": FloatDistribution(0, 1)}
    study = study_of(ours)
    for i in range(60):
        x, y = (i % 10) / 9, (i % 7) / 6
        loss = abs(x - 0.9)
        study.add_trial(
            create_trial(params={"x": x, "y": y}, distributions=distributions, values=[loss, loss + 0.01 * y])
        )
    proposed = [study.ask(distributions).params["x"] for _ in range(12)]
    assert sum(abs(x - 0.9) < 0.25 for x in proposed) >= 8


@pytest.mark.parametrize("ours", OURS)
def test_what_a_queued_trial_was_given_is_kept(ours: Sampler) -> None:
    study = study_of(ours)
    study.optimize(mixed, n_trials=14)
    study.enqueue_trial({"kind": "b", "x": 0.25})
    study.optimize(mixed, n_trials=1)
    assert study.trials[-1].params["kind"] == "b"
    assert study.trials[-1].params["x"] == 0.25


@pytest.mark.parametrize("ours", OURS)
def test_proposals_do_not_depend_on_the_units_of_a_constraint(ours: Sampler) -> None:
    runs = []
    for unit in (1.0, 2.0**20):

        def objective(trial: optuna.Trial, unit: float = unit) -> tuple[float, float]:
            x, y = trial.suggest_float("x", 0, 1), trial.suggest_float("y", 0, 1)
            trial.set_constraint("a", (0.7 - x) * unit)
            trial.set_constraint("b", 0.6 - y)
            return x, y

        study = study_of(ours)
        study.optimize(objective, n_trials=25)
        runs.append(params_of(study))
    assert all(a == pytest.approx(b, abs=1e-4) for a, b in zip(*runs, strict=True))


@pytest.mark.parametrize("ours", OURS)
def test_pruned_trials_with_a_violated_constraint_teach_where_not_to_look(ours: Sampler) -> None:
    def objective(trial: optuna.Trial) -> tuple[float, float]:
        x, y = trial.suggest_float("x", 0, 1), trial.suggest_float("y", 0, 1)
        trial.set_constraint("narrow", abs(x - 0.8) - 0.1)
        if abs(x - 0.8) > 0.1:
            raise optuna.TrialPruned
        return x * y, 1 - y

    study = study_of(ours)
    study.optimize(objective, n_trials=50)
    late = study.trials[25:]
    assert sum(trial.state == TrialState.COMPLETE for trial in late) >= 9  # 5 by chance


@pytest.mark.parametrize("ours", OURS)
def test_a_sampler_can_be_pickled_and_used_by_threads(ours: Sampler) -> None:
    study = study_of(ours)
    study.optimize(mixed, n_trials=12)
    study.sampler = pickle.loads(pickle.dumps(study.sampler))
    study.optimize(mixed, n_trials=8, n_jobs=2)
    assert len(study.get_trials(states=[TrialState.COMPLETE])) == 20
    assert threading.active_count() >= 1


@pytest.mark.parametrize("ours", OURS)
@pytest.mark.parametrize(
    "wrong", [{"seed": -1}, {"seed": 0.5}, {"when_exhausted": "never"}], ids=lambda wrong: next(iter(wrong))
)
def test_a_wrong_argument_is_refused_in_one_line(ours: Sampler, wrong: dict) -> None:
    (name, value), *_ = wrong.items()
    with pytest.raises(InputError, match=f"^{name}: expected .*, got {value!r}$"):
        ours(**wrong)


@pytest.mark.parametrize("ours", OURS)
def test_the_storage_is_read_once_a_trial(ours: Sampler) -> None:
    study = study_of(ours)
    study.optimize(mixed, n_trials=14)
    reads = []
    original = study.get_trials
    study.get_trials = lambda *args, **kwargs: reads.append(1) or original(*args, **kwargs)  # type: ignore[method-assign]
    mixed(study.ask())
    assert len(reads) == 1


@pytest.mark.parametrize("ours", OURS)
def test_other_kinds_of_parameter_are_proposed_where_they_are_good(ours: Sampler) -> None:
    study = study_of(ours, 1)

    def objective(trial: optuna.Trial) -> float:
        kind = trial.suggest_categorical("kind", ["good", "bad", "worse"])
        n = trial.suggest_int("n", 1, 1000, log=True)
        return ["good", "bad", "worse"].index(kind) + abs(math.log10(n) - 2)

    study.optimize(objective, n_trials=40)
    guided = params_of(study)[10:]
    assert sum(params["kind"] == "good" for params in guided) >= 15  # 10 by chance
    assert sum(20 <= params["n"] <= 500 for params in guided) >= 17  # 14 by chance
