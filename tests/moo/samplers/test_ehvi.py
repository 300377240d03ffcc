"""`EHVISampler`: what it learns from, and what it finds. What every sampler promises is in test_contract."""

import math

import moocore
import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState
from scipy.optimize import approx_fprime

from moo.samplers import EHVISampler
from moo.samplers._encoding import Encoding
from moo.samplers._history import NOISE, History
from moo.samplers._learning import learn, most_useful
from moo.samplers._maximisation import neighbours
from moo.samplers._space import Condition, SearchSpace
from moo.samplers._surrogate import Fits, Targets, constraint_targets, loss_targets
from moo.samplers.ehvi import Acquisition, _boxes, _imagine


def study_of(objective, n_trials, *, n_objectives=2, seed=0, sampler=None, **options):
    study = optuna.create_study(
        directions=["minimize"] * n_objectives,
        sampler=sampler or EHVISampler(seed=seed, n_startup_trials=8),
        **options,
    )
    study.optimize(objective, n_trials=n_trials)
    return study


def curve(trial, *, loss_unit=1.0, constraint_unit=1.0):
    """The front is y = 0, with x between 0.2 and 0.8."""
    x, y = trial.suggest_float("x", 0.0, 1.0), trial.suggest_float("y", 0.0, 1.0)
    trial.set_constraint("c", constraint_unit * (abs(x - 0.5) - 0.3))
    return x + y, loss_unit * ((1.0 - x) ** 2 + y)


def lesson_of(study, weights=None):
    history = History()
    history.read(study)
    observations = history.observations(history.search_space(), without=-1)
    return learn(observations, Fits(), weights), observations


def params_of(study):
    return np.array([[trial.params["x"], trial.params["y"]] for trial in study.trials])


def test_it_beats_random_search():
    def hypervolume(sampler):
        study = study_of(curve, 22, sampler=sampler)
        losses = [t.values for t in study.trials if t.constraints["c"] <= 0]
        return moocore.hypervolume(np.array(losses), ref=(1.5, 1.5))

    for seed in range(2):
        ours = hypervolume(EHVISampler(seed=seed, n_startup_trials=8))
        assert ours > 1.1 * hypervolume(optuna.samplers.RandomSampler(seed=seed))


def test_a_front_on_the_edge_of_the_box_is_reached_exactly():
    study = study_of(curve, 16)
    assert (params_of(study)[8:, 1] == 0.0).sum() >= 6


@pytest.mark.parametrize("unit", [{"loss_unit": 1e6}, {"constraint_unit": 1e6}, {"loss_unit": 1e-9}])
def test_units_of_losses_and_constraints_do_not_matter(unit):
    plain = params_of(study_of(curve, 12))
    scaled = params_of(study_of(lambda trial: curve(trial, **unit), 12))
    assert scaled == pytest.approx(plain, abs=1e-3)


def test_a_resumed_study_proposes_what_the_uninterrupted_one_would(tmp_path):
    plain = params_of(study_of(curve, 14))
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    study_of(curve, 11, storage=storage, study_name="s")
    resumed = optuna.load_study(
        storage=storage, study_name="s", sampler=EHVISampler(seed=0, n_startup_trials=8)
    )
    resumed.optimize(curve, n_trials=3)
    assert params_of(resumed).tolist() == plain.tolist()


def test_each_quantity_is_learnt_from_the_trials_that_observed_it():
    def staged(trial):
        values = curve(trial)
        if trial.number % 2:
            raise optuna.TrialPruned
        return values

    lesson, observations = lesson_of(study_of(staged, 14))
    assert len(lesson.believed) == observations.is_complete.sum() == 7
    features = lesson.encoding.features(observations.rows)
    pruned = lesson.constraints[0].process.mean(features[~observations.is_complete])
    observed = constraint_targets(observations.constraints[:, 0], np.full(14, np.nan))
    assert pruned == pytest.approx(observed.values[~observations.is_complete], abs=0.05)


def test_constraints_alone_are_learnt_before_any_objective():
    def bounded(trial):
        curve(trial)
        raise optuna.TrialPruned

    study = study_of(bounded, 12)
    assert all(trial.constraints["c"] < 0.05 for trial in study.trials[8:])


def test_nothing_observed_is_no_reason_to_fail():
    def useless(trial):
        trial.suggest_float("x", 0.0, 1.0)
        raise optuna.TrialPruned

    assert len(study_of(useless, 11).trials) == 11


def test_one_lucky_noisy_point_is_not_believed():
    rng = np.random.default_rng(0)

    def noisy(trial):
        x = trial.suggest_float("x", 0.0, 1.0)
        trial.set_user_attr(NOISE, {"objectives": [0.3 if is_told else None]})
        return (x - 0.5) ** 2 + (-1.0 if trial.number == 3 else 0.1 * rng.standard_normal())

    is_told = True
    told, _ = lesson_of(study_of(noisy, 12, n_objectives=1))
    targets = [surrogate.believed()[3] for surrogate in told.objectives]
    observed = loss_targets(
        lesson_of(study_of(noisy, 12, n_objectives=1))[1].losses[:, 0], np.full(12, np.nan), 0.0
    ).values
    assert observed[3] < -2.5
    assert targets[0] > -1.0


def test_noise_free_observations_are_taken_at_their_word():
    lesson, observations = lesson_of(study_of(curve, 14))
    order = np.argsort(observations.losses[:, 0])
    assert not any(surrogate.is_noisy for surrogate in lesson.objectives)
    assert np.argsort(lesson.believed[:, 0]).tolist() == order.tolist()


def test_parallel_workers_spread():
    study = study_of(curve, 10)
    asked = []
    for _ in range(4):
        trial = study.ask()
        asked.append((trial.suggest_float("x", 0.0, 1.0), trial.suggest_float("y", 0.0, 1.0)))
    gaps = np.abs(np.subtract.outer(np.array(asked)[:, 0], np.array(asked)[:, 0]))
    assert gaps[~np.eye(4, dtype=bool)].min() > 0.02


def test_what_is_imagined_leaves_less_to_improve():
    lesson, _ = lesson_of(study_of(curve, 12))
    row = np.array([[0.5, 0.0]])

    def value(imagined):
        boxes = _boxes(lesson, imagined)
        return Acquisition(lesson.encoding, lesson.objectives, lesson.constraints, boxes).values(row)[0]

    before = value(np.empty((0, 2)))
    assert value(_imagine(lesson, row)) < before - 1.0


@pytest.mark.parametrize("n_objectives", [1, 2, 3, 4, 5])
def test_one_to_five_objectives_are_improved(n_objectives):
    def objective(trial):
        x = [trial.suggest_float(f"x{j}", 0.0, 1.0) for j in range(3)]
        return [sum((v - 0.4 - 0.05 * j) ** 2 for v in x) for j in range(n_objectives)]

    study = study_of(objective, 16, n_objectives=n_objectives)
    sums = [sum(trial.values) for trial in study.trials]
    assert min(sums[8:]) < min(sums[:8])
    assert np.median(sums[8:]) < np.median(sums[:8])


def test_conditional_parameters_are_learnt_where_they_are():
    def objective(trial):
        kind = trial.suggest_categorical("kind", ["plain", "fine"])
        x = trial.suggest_float("x", 0.0, 1.0)
        if kind == "plain":
            return 1.0 + x, 0.5
        return x + (trial.suggest_float("tuning", 0.0, 1.0) - 0.7) ** 2, 1.0 - x

    study = study_of(objective, 24)
    tunings = [trial.params["tuning"] for trial in study.trials[18:] if "tuning" in trial.params]
    assert tunings
    assert min(abs(tuning - 0.7) for tuning in tunings) < 0.05


def test_an_infinite_objective_does_not_end_the_search():
    def objective(trial):
        first, second = curve(trial)
        return (math.inf if trial.number in (2, 9) else first), second

    study = study_of(objective, 14)
    assert all(trial.state == TrialState.COMPLETE for trial in study.trials)


def test_a_discrete_space_is_searched_without_duplicates():
    def objective(trial):
        x = trial.suggest_int("x", 0, 60)
        kind = trial.suggest_categorical("kind", ["a", "b", "c"])
        level = trial.suggest_float("level", 0.0, 1.0, step=0.05)
        return abs(x - 30) + (kind != "b"), level * 10 + x

    for seed in range(2):
        trials = study_of(objective, 20, seed=seed).trials
        assert len({tuple(trial.params.values()) for trial in trials}) == 20
    assert min(trial.values[0] for trial in trials) <= 1


def test_gradient_of_the_acquisition_is_that_of_differences():
    lesson, _ = lesson_of(study_of(curve, 12))
    acquisition = Acquisition(
        lesson.encoding, lesson.objectives, lesson.constraints, _boxes(lesson, np.empty((0, 2)))
    )
    for point in (np.array([0.3, 0.4]), np.array([0.9, 0.05])):
        values, gradient = acquisition.with_gradient(point[None])
        assert values == pytest.approx(acquisition.values(point[None]))
        differences = approx_fprime(point, lambda row: acquisition.values(row[None])[0], 1e-6)
        assert gradient[0] == pytest.approx(differences, rel=0.01, abs=0.01)


SPACE = SearchSpace(
    {
        "kind": CategoricalDistribution(["a", "b", "c"]),
        "x": FloatDistribution(0.0, 1.0),
        "n": IntDistribution(1, 100),
    },
    (Condition(1, 0, absent_at=(2,)),),
)


def test_features_of_choices_are_as_far_apart_as_one_another_and_absence_is_one_place():
    encoding = Encoding(SPACE)
    rows = np.array([[0, 0.2, 0.5], [1, 0.2, 0.5], [2, 0.2, 0.5], [2, 0.9, 0.5]])
    features = encoding.features(rows)
    assert encoding.groups.tolist() == [0, 0, 0, 1, 1, 2]
    assert np.linalg.norm(features[0] - features[1]) == pytest.approx(1.0)
    assert features[2].tolist() == features[3].tolist()
    gradient = encoding.by_row(np.ones((4, 6)), rows)
    assert gradient.tolist() == [[0, 1, 0], [0, 1, 0], [0, 0, 0], [0, 0, 0]]


def test_neighbours_differ_in_one_discrete_coordinate():
    row = SPACE.snap(np.array([[1, 0.3, 0.5]]))[0]
    found = neighbours(SPACE, row)
    assert ((found != row).sum(axis=1) == 1).all()
    assert (found[:, 1] == 0.3).all()
    assert len(found) == 2 + 2 * 6


def test_losses_keep_their_order_and_heavy_tails_are_drawn_in():
    losses = np.array([1.0, 2.0, 3.0, 4.0, 1e9, np.nan])
    targets = loss_targets(losses, np.full(6, np.nan), 4.0)
    assert (np.diff(targets.values[:5]) > 0).all()
    assert np.isnan(targets.values[5])
    assert targets.values[3] - targets.values[0] > 0.05 * (targets.values[4] - targets.values[3])


def test_zero_of_a_constraint_stays_its_threshold():
    values = np.array([-5.0, -1.0, 1e-6, 3.0, 4e4])
    targets = constraint_targets(values, np.full(5, np.nan))
    assert ((targets.values <= targets.threshold) == (values <= 0)).all()
    assert constraint_targets(np.ones(3), np.ones(3)) is None
    assert constraint_targets(np.full(3, np.nan), np.ones(3)) is None


def test_known_noise_is_scaled_with_its_values():
    targets = Targets.of(np.array([0.0, 10.0, 20.0]), np.array([1.0, np.nan, 2.0]))
    assert targets.noise == pytest.approx(np.array([1.0, 0.0, 4.0]) / np.var([0.0, 10.0, 20.0]))


def test_of_many_trials_the_best_the_latest_and_some_of_all_are_learnt_from():
    study = optuna.create_study(directions=["minimize"] * 2)
    rng = np.random.default_rng(0)
    space = {"x": FloatDistribution(0.0, 1.0)}
    for x in rng.random(2_000):
        study.add_trial(
            optuna.trial.create_trial(params={"x": x}, distributions=space, values=[x, abs(x - 0.01)])
        )
    _, observations = lesson_of(study)
    used = most_useful(observations, 300)
    front = moocore.is_nondominated(observations.losses)
    assert used.sum() == 300
    assert used[front].all() or used[front].sum() >= 150
    assert used[-75:].all()
    assert used[:1_000].sum() > 30
    study.sampler = EHVISampler(seed=0)
    assert study.ask(space).params["x"] < 0.2
