"""The benchmarks of a sweep's own cost and of the quiet window: what they let pass, and what they print."""

import optuna
import pytest

from benchmarks import load, quiet


def study_of(n_trials: int) -> optuna.Study:
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=optuna.samplers.RandomSampler(0))
    study.optimize(lambda trial: tuple(load.nothing(trial).values()), n_trials=n_trials)
    return study


def test_what_is_whole_is_counted_with_what_repeats() -> None:
    study = study_of(3)
    study.add_trial(study.trials[1])
    assert load.check(study, 4, 4) == (4, 1)


def test_what_is_lost_or_too_much_is_an_error() -> None:
    study = study_of(3)
    study.ask()  # never told
    with pytest.raises(RuntimeError, match="4 trials of 4, 3 complete"):
        load.check(study, 3, 4)
    with pytest.raises(RuntimeError, match="3 trials of 2, 3 complete"):
        load.check(study_of(3), 3, 2)


def test_the_time_of_a_trial_is_told_from_count_to_count() -> None:
    row = {
        "sampler": "tpe",
        "storage": "sqlite",
        "n_workers": 1,
        "n_trials": 300,
        "n_asked": 300,
        "n_repeated": 0,
        "load_average": 1.25,
        "n_cores": 2,
        "notes": [{"n": 100, "s": 2.0, "rss_mib": 90}, {"n": 300, "s": 8.0, "rss_mib": 95}],
    }
    assert (
        "| tpe | sqlite | 1 | 300 of 300 | 0 | 20 to 100, 30 to 300 | 90, 95 | 1.2 |"
        in load.page([row]).splitlines()
    )


def test_each_way_is_compared_with_the_same_turn() -> None:
    def found(p50: float) -> dict:
        return {"p50": [p50 - 1, p50, p50 + 1], "p95": [p50, 2 * p50, 3 * p50], "tags": ["contended"]}

    ways = {quiet.ALONE: 100.0, quiet.AGAIN: 101.0, quiet.PAUSED: 100.0, quiet.BESIDE: 150.0}
    turns = [{way: found(factor * p50) for way, p50 in ways.items()} for factor in (1, 2, 4)]
    lines = quiet.page({"n_cores": 2, "by_n_others": {"1": turns}}).splitlines()
    assert "| p50 | 0 | alone, again | 1.010 | 1.01 to 1.01 | 2 of 3 | 3 of 3 |" in lines
    assert "| p50 | 1 | quiet window | 1.000 | 1.00 to 1.00 | 3 of 3 | 3 of 3 |" in lines
    assert "| p50 | 1 | no window | 1.500 | 1.50 to 1.50 | 0 of 3 | 3 of 3 |" in lines
