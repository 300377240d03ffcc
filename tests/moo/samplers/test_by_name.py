import logging

import optuna
import pytest

import moo
from moo.errors import InputError
from moo.samplers import NOISE, SAMPLER_NAMES, make_sampler, trial_seed
from objectives import FunctionTask

STATELESS = sorted({*SAMPLER_NAMES} - {"gp", "grid", "cmaes", "brute-force"})
FINITE = ["brute-force", "grid"]


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
            sampler=make_sampler(name, seed=1, n_objectives=2),
        )
        study.optimize(objective, n_trials=n_trials)
    return [trial.params for trial in study.trials]


def test_the_names_are_ours_and_optunas() -> None:
    assert SAMPLER_NAMES == (
        "auto",
        "brute-force",
        "cmaes",
        "ehvi",
        "gp",
        "grid",
        "nsga2",
        "nsga3",
        "optuna-tpe",
        "qmc",
        "random",
        "tpe",
    )


@pytest.mark.parametrize("name", STATELESS)
def test_a_resumed_study_proposes_what_the_uninterrupted_one_would(name: str, tmp_path) -> None:
    assert params_of(name, tmp_path / "a.db", [18]) == params_of(name, tmp_path / "b.db", [7, 11])


@pytest.mark.parametrize("name", ["random", "optuna-tpe", "qmc"])
def test_no_two_trials_of_a_continuous_space_are_alike(name: str, tmp_path) -> None:
    params = params_of(name, tmp_path / "a.db", [5, 5])
    assert len({p["x"] for p in params}) == 10


def test_a_qmc_search_stays_in_one_sequence(tmp_path) -> None:
    """Of 16 points of a scrambled Sobol sequence, one is in each sixteenth of each axis."""
    study = optuna.create_study(sampler=make_sampler("qmc", seed=3))
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1) + trial.suggest_float("y", 0, 1), n_trials=17)
    cells = [int(trial.params["x"] * 16) for trial in study.trials[1:]]
    assert sorted(cells) == list(range(16))


@pytest.mark.parametrize("name", FINITE)
def test_a_grid_of_conditional_choices_is_tried_once_each(name: str) -> None:
    def choices(trial: optuna.Trial) -> float:
        if trial.suggest_categorical("kind", ["a", "b"]) == "a":
            return trial.suggest_int("n", 1, 4)
        return trial.suggest_float("z", 0, 1, step=0.25)

    study = optuna.create_study(sampler=make_sampler(name, seed=0))
    study.optimize(choices, n_trials=50)
    assert len(study.trials) == len({tuple(trial.params.items()) for trial in study.trials}) == 9


def test_a_grid_refuses_a_continuous_parameter_by_name() -> None:
    study = optuna.create_study(sampler=make_sampler("grid", seed=0))
    with pytest.raises(
        InputError, match=r"^sampler: grid needs .* parameter 'lr' is continuous: give it a step"
    ):
        study.ask().suggest_float("lr", 0, 1)


def test_cmaes_takes_one_objective_no_constraints_and_numbers() -> None:
    with pytest.raises(
        InputError, match=r"^sampler: cmaes takes one objective, and the study has 2: use auto"
    ):
        make_sampler("cmaes", seed=0, n_objectives=2)
    with pytest.raises(InputError, match=r"^sampler: cmaes knows no constraints, and the study has some"):
        make_sampler("cmaes", seed=0, is_constrained=True)
    study = optuna.create_study(sampler=make_sampler("cmaes", seed=0))
    with pytest.raises(InputError, match=r"parameter 'kind' is categorical: use auto$"):
        study.ask().suggest_categorical("kind", ["a", "b"])


def test_cmaes_finds_a_minimum() -> None:
    pytest.importorskip("cmaes")
    study = optuna.create_study(sampler=make_sampler("cmaes", seed=0))
    study.optimize(
        lambda t: (t.suggest_float("x", -5, 5) - 1) ** 2 + t.suggest_float("y", -5, 5) ** 2, n_trials=80
    )
    assert study.best_value < 0.5


def test_a_sampler_whose_package_is_missing_is_refused_with_the_command_to_install_it(monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match="^sampler: gp needs the package torch: run 'pip install torch', or"):
        make_sampler("gp", seed=0)


def test_another_seed_proposes_other_trials() -> None:
    assert len({trial_seed(seed, number) for seed in range(20) for number in range(20)}) == 400


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"unknown name 'tpee'; did you mean tpe\?"):
        make_sampler("tpee", seed=0)


def test_a_sampler_that_is_given_is_used_as_it_is() -> None:
    given = optuna.samplers.RandomSampler(seed=0)
    assert make_sampler(given, seed=1) is given


def finite_task() -> FunctionTask:
    def evaluate(trial: optuna.Trial) -> dict[str, float]:
        width = trial.suggest_int("width", 1, 3)
        depth = trial.suggest_categorical("depth", [1, 2])
        return {"accuracy": width * depth / 6, "parameters": width + depth}

    return FunctionTask(evaluate, name="finite")


@pytest.mark.parametrize("name", ["auto", "brute-force", "grid", "tpe", "random"])
def test_a_sweep_of_a_finite_space_ends_with_a_clear_word(name: str, tmp_path, caplog) -> None:
    caplog.set_level(logging.WARNING, logger="moo")
    study = moo.optimize(
        finite_task(),
        maximize=["accuracy"],
        minimize=["parameters"],
        n_trials=200,
        sampler=name,
        seed=0,
        folder=tmp_path,
    )
    tried = {tuple(sorted(trial.params.items())) for trial in study.results().trials}
    assert len(tried) == 6
    assert name == "random" or len(study.results().trials) == 6
    assert caplog.records[-1].message == "all 6 configurations have been tried: the search ends"


def test_a_sampler_that_cannot_do_it_is_refused_before_anything_is_written(tmp_path) -> None:
    with pytest.raises(InputError, match="cmaes takes one objective"):
        moo.optimize(
            finite_task(),
            maximize=["accuracy"],
            minimize=["parameters"],
            n_trials=5,
            sampler="cmaes",
            folder=tmp_path / "x",
        )
    assert not (tmp_path / "x").exists()


def test_a_sweep_tells_samplers_how_uncertain_what_it_measured_is(tmp_path) -> None:
    def evaluate(trial: optuna.Trial) -> dict:
        width = trial.suggest_int("width", 1, 30)
        return {
            "accuracy": moo.Estimate(0.9, 0.85, 0.95),
            "latency_p50": moo.Estimate(0.002 * width, 0.0018 * width, 0.0022 * width),
            "parameters": width,
        }

    study = moo.optimize(
        FunctionTask(evaluate, name="noisy"),
        maximize=["accuracy"],
        minimize=["latency_p50", "parameters"],
        constraints=["latency_p50 <= 4 ms"],
        n_trials=1,
        folder=tmp_path,
    )
    (trial,) = study.optuna_study.trials
    sd = 0.0004 * trial.params["width"] / (2 * 1.959964)
    noise = trial.user_attrs[NOISE]
    assert noise["objectives"] == [None, pytest.approx(sd), None]
    assert noise["constraints"] == {"latency_p50 <= 4 ms": pytest.approx(sd / 0.004)}
