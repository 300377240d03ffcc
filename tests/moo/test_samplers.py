import optuna
import pytest

from moo.errors import InputError
from moo.samplers import SAMPLER_NAMES, make_sampler, trial_seed


def objective(trial: optuna.Trial) -> tuple[float, float]:
    x = trial.suggest_float("x", 0, 1)
    kind = trial.suggest_categorical("kind", ["a", "b"])
    return x, (1 - x) ** 2 + (kind == "b")


def params_of(name: str, path, parts: list[int]) -> list[dict]:
    """Run a study in parts, each with a sampler of its own, as separate processes would."""
    for n_trials in parts:
        study = optuna.create_study(
            storage=f"sqlite:///{path}",
            study_name="s",
            load_if_exists=True,
            directions=["minimize", "minimize"],
            sampler=make_sampler(name, seed=1),
        )
        study.optimize(objective, n_trials=n_trials)
    return [trial.params for trial in study.trials]


@pytest.mark.parametrize("name", sorted(set(SAMPLER_NAMES) - {"gp"}))
def test_a_resumed_study_proposes_what_the_uninterrupted_one_would(name: str, tmp_path) -> None:
    assert params_of(name, tmp_path / "a.db", [25]) == params_of(name, tmp_path / "b.db", [7, 18])


@pytest.mark.parametrize("name", ["random", "tpe"])
def test_no_two_trials_of_a_continuous_space_are_alike(name: str, tmp_path) -> None:
    params = params_of(name, tmp_path / "a.db", [5, 5])
    assert len({p["x"] for p in params}) == 10


def test_another_seed_proposes_other_trials() -> None:
    assert len({trial_seed(seed, number) for seed in range(20) for number in range(20)}) == 400


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"unknown name 'tpee'; did you mean tpe\?"):
        make_sampler("tpee", seed=0)


def test_a_sampler_that_is_given_is_used_as_it_is() -> None:
    given = optuna.samplers.RandomSampler(seed=0)
    assert make_sampler(given, seed=1) is given
