"""A trial that ends early: by its cost before training, or by a pruner; and one that becomes several."""

from collections.abc import Mapping

import optuna
import pytest

import moo
from moo import storage as stored
from moo.errors import InputError
from moo.evaluation import Estimate, Evaluation
from moo.problem import Problem
from moo.pruning import NoPruning, make_pruner
from moo.samplers import NOISE
from moo.staging import Staging
from objectives import Task

EXACT = (1.0, 1.0)


class Staged(Task):
    """Latency is the width in milliseconds, known before training; accuracy rises with steps."""

    spread: tuple[float, float] | None = (0.98, 1.02)
    variants: tuple[tuple[Mapping[str, object], Evaluation], ...] = ()

    def __init__(self) -> None:
        self.n_trained = 0

    def identity(self) -> dict[str, str]:
        return {"name": "staged"}

    def baseline(self):
        return {"width": 50, "rate": 0.5, "precision": "fp32"}

    def evaluate(self, trial, context):
        seconds = trial.suggest_int("width", 1, 100) / 1000
        ends = (None, None) if self.spread is None else tuple(seconds * end for end in self.spread)
        cost = {"latency_p50": Estimate(seconds, *ends)}
        context.check(Evaluation(metrics=cost))
        self.n_trained += 1
        rate = trial.suggest_float("rate", 0, 1)
        trial.suggest_categorical("precision", ["fp32", "int8"])
        for step in range(1, 10):
            accuracy = rate * step / 9
            context.keep(Evaluation(metrics=cost, curve=((step, {"accuracy": accuracy}),)))
            if context.should_stop is not None and context.should_stop(step, {"accuracy": accuracy}):
                raise optuna.TrialPruned(f"at step {step}")
        metrics = {**cost, "accuracy": Estimate.exact(accuracy)}
        return Evaluation(metrics=metrics, variants=self.variants)


def run(task, tmp_path, **options):
    settings = {"n_trials": 12, "sampler": "random", "seed": 0, "folder": tmp_path / "out", **options}
    return moo.optimize(task, maximize=["accuracy"], minimize=["latency_p50"], **settings)


def test_a_constraint_violated_beyond_doubt_ends_the_trial_before_training(tmp_path) -> None:
    task = Staged()
    study = run(task, tmp_path, constraints=["latency_p50 <= 40 ms"])
    trials = study.results().trials
    too_slow = [t for t in trials if t.params["width"] > 41 and not t.is_baseline]
    assert len(too_slow) > 3
    assert all(t.state == "pruned" for t in too_slow)
    assert task.n_trained == len(trials) - sum(t.state == "pruned" for t in trials)
    for trial in too_slow:
        assert trial.reason.startswith("before training: violates latency_p50 <= 40 ms: ")
        assert trial.estimate("latency_p50").value == trial.params["width"] / 1000
        (violation,) = trial.violations.values()
        assert violation == pytest.approx(trial.params["width"] / 40 - 1)


def test_what_might_still_hold_is_trained(tmp_path) -> None:
    for spread in ((0.1, 1.9), None):  # an interval that reaches to the bound; no interval at all
        task = Staged()
        task.spread = spread
        study = run(task, tmp_path / str(spread), constraints=["latency_p50 <= 40 ms"])
        states = [t.state for t in study.results().trials]
        assert states == ["complete"] * 12
        assert task.n_trained == 12


def test_the_baseline_is_trained_whatever_it_costs(tmp_path) -> None:
    study = run(Staged(), tmp_path, constraints=["latency_p50 <= 0.5 x baseline"])
    baseline, *others = study.results().trials
    assert (baseline.is_baseline, baseline.state) == (True, "complete")
    assert {t.state for t in others if t.params["width"] > 26} == {"pruned"}


@pytest.mark.parametrize("sampler", ["tpe", "ehvi", "nsga2"])
def test_a_trial_that_ends_early_keeps_the_whole_configuration_and_its_noise(sampler, tmp_path) -> None:
    study = run(Staged(), tmp_path, constraints=["latency_p50 <= 40 ms"], sampler=sampler, n_trials=16)
    pruned = [t for t in study.optuna_study.trials if t.state == optuna.trial.TrialState.PRUNED]
    assert pruned
    for trial in pruned:
        assert {"width", "rate", "precision"} == set(trial.params)
        assert trial.user_attrs[NOISE]["constraints"]["latency_p50 <= 40 ms"] > 0
        assert stored.EVALUATION not in trial.user_attrs


def test_a_pruner_stops_what_learns_badly_and_the_curve_is_kept(tmp_path) -> None:
    task = Staged()
    study = run(task, tmp_path, pruner="halving:eta=3,max_resource=9", n_trials=30)
    trials = study.results().trials
    stopped = [t for t in trials if t.state == "pruned"]
    assert len(stopped) > 10
    for trial in stopped:
        assert trial.evaluation.curve[-1][0] < 9
        assert trial.evaluation.metrics["latency_p50"].value == trial.params["width"] / 1000
    kept = [t for t in trials if t.state == "complete" and not t.is_baseline]
    assert kept
    rates = [sorted(t.params["rate"] for t in part) for part in (stopped, kept)]
    assert rates[0][len(rates[0]) // 2] < rates[1][len(rates[1]) // 2]


@pytest.mark.parametrize("pruner", [None, "nop", "halving"])
def test_a_task_is_told_whether_there_is_a_pruner(pruner, tmp_path) -> None:
    """For a pruner it may measure more before training."""
    seen = []

    class Looking(Staged):
        def evaluate(self, trial, context):
            seen.append(context.should_stop is not None)
            return super().evaluate(trial, context)

    run(Looking(), tmp_path, pruner=pruner, n_trials=2)
    assert seen == [pruner == "halving"] * 2


def test_a_pruner_that_is_unknown_is_refused_before_anything_is_written(tmp_path) -> None:
    with pytest.raises(InputError, match="halving"):
        run(Staged(), tmp_path, pruner="halvin")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("constraints", "pruner", "is_baseline", "expected"),
    [
        ([], None, False, False),
        (["parameters <= 10k"], None, False, False),
        (["accuracy >= 90%"], None, False, False),
        (["latency_p50 <= 5 ms"], None, False, True),
        (["latency_p50 <= 5 ms"], None, True, False),
        (["latency_p50 <= 0.5 x baseline"], None, False, False),  # nobody knows the baseline yet
        ([], "halving", False, True),
    ],
)
def test_cost_is_asked_for_only_where_it_decides(constraints, pruner, is_baseline, expected) -> None:
    problem = Problem.parse(maximize=["accuracy"], minimize=["latency_p50"], constraints=constraints)
    trial = optuna.create_study(directions=problem.directions).ask()
    chosen = make_pruner(pruner, problem) if pruner else NoPruning()
    staging = Staging(trial, problem, chosen, baseline=None, is_baseline=is_baseline)
    assert staging.needs_cost is expected


# one training, several deployments


def variant(seconds: float | None, accuracy: float) -> Evaluation:
    latency = Estimate(None, reason="it broke") if seconds is None else Estimate.exact(seconds)
    metrics = {"latency_p50": latency, "accuracy": Estimate.exact(accuracy)}
    return Evaluation(metrics=metrics, seconds={"measure": 1.0})


def test_variants_are_trials_of_their_own_beside_the_trials_asked_for(tmp_path) -> None:
    task = Staged()
    task.variants = (({"precision": "int8"}, variant(0.001, 0.9)), ({"precision": "int8"}, variant(0.2, 0.9)))
    study = run(task, tmp_path, n_trials=3, constraints=["latency_p50 <= 100 ms"])
    trials = study.results().trials
    own = [t for t in trials if t.parent is None]
    assert len(own) == 3
    for trial in own:
        fast, slow = [t for t in trials if t.parent == trial.number]
        assert fast.params == {**trial.params, "precision": "int8"}
        assert fast.estimate("latency_p50").value == 0.001
        assert (fast.violations["latency_p50 <= 100 ms"], slow.violations["latency_p50 <= 100 ms"]) == (
            -0.99,
            1.0,
        )
        assert fast.duration_s == 1.0
    assert len(study.front()) > 0


def test_a_variant_that_failed_is_a_failed_trial_with_its_reason(tmp_path) -> None:
    task = Staged()
    task.variants = (({"precision": "int8"}, variant(None, 0.9)),)
    study = run(task, tmp_path, n_trials=2)
    failed = [t for t in study.results().trials if t.state == "failed"]
    assert [t.parent for t in failed] == [t.number for t in study.results().trials if t.parent is None]
    assert all("it broke" in t.reason for t in failed)
    again = run(task, tmp_path, n_trials=3)  # and the same command goes on
    assert sum(t.parent is None for t in again.results().trials) == 3
