import logging

import numpy as np
import optuna
import pytest

from moo.errors import InputError
from moo.samplers import AutoSampler, EHVISampler, NSGA2Sampler


def sphere(trial: optuna.Trial, n_objectives: int = 2, n_parameters: int = 3) -> list[float]:
    x = [trial.suggest_float(f"x{i}", 0, 1) for i in range(n_parameters)]
    return [sum((value - goal / n_objectives) ** 2 for value in x) for goal in range(n_objectives)]


def choices(caplog) -> list[str]:
    return [record.message for record in caplog.records if record.levelno == logging.INFO]


def test_few_trials_are_proposed_by_ehvi_and_it_says_so_once(caplog) -> None:
    caplog.set_level(logging.INFO, logger="moo")
    runs = []
    for sampler in (AutoSampler(seed=3), EHVISampler(seed=3)):
        study = optuna.create_study(directions=["minimize"] * 2, sampler=sampler)
        study.optimize(sphere, n_trials=14)
        runs.append([trial.params for trial in study.trials])
    assert runs[0] == runs[1]
    (told,) = choices(caplog)
    assert told == (
        "sampler auto: ehvi, which makes the most of few trials; nsga2 goes on after 200"
        " (2 objectives, 0 constraints, 3 parameters)"
    )


def test_after_many_trials_another_sampler_takes_over(caplog) -> None:
    caplog.set_level(logging.INFO, logger="moo")
    study = optuna.create_study(directions=["minimize"] * 2, sampler=AutoSampler(seed=0))
    dist = {f"x{i}": optuna.distributions.FloatDistribution(0, 1) for i in range(3)}
    rng = np.random.default_rng(0)
    for _ in range(198):
        x = rng.random(3)
        study.add_trial(
            optuna.create_trial(
                params={f"x{i}": x[i] for i in range(3)}, distributions=dist, values=list(x[:2])
            )
        )
    study.optimize(sphere, n_trials=4)
    first, second = choices(caplog)
    assert first.startswith("sampler auto: ehvi")
    assert second.startswith(
        "sampler auto: nsga2, which costs little and does well once 200 trials are known"
    )
    continued = optuna.create_study(directions=["minimize"] * 2, sampler=NSGA2Sampler(seed=0))
    continued.add_trials(study.trials[:-1])
    continued.optimize(sphere, n_trials=1)
    assert continued.trials[-1].params == study.trials[-1].params


@pytest.mark.parametrize(("n_trials", "n_startup"), [(None, 10), (200, 10), (24, 6), (4, 3)])
def test_a_small_budget_spends_fewer_trials_on_random_draws(
    n_trials: int | None, n_startup: int, caplog
) -> None:
    caplog.set_level(logging.INFO, logger="moo")
    sampler = AutoSampler(seed=0, n_trials=n_trials)
    study = optuna.create_study(directions=["minimize"] * 2, sampler=sampler)
    study.optimize(sphere, n_trials=n_startup)
    assert choices(caplog) == []
    study.optimize(sphere, n_trials=1)
    assert len(choices(caplog)) == 1


def test_a_wrong_budget_is_refused() -> None:
    with pytest.raises(InputError, match=r"^n_trials: expected an integer >= 1, got 0$"):
        AutoSampler(n_trials=0)
