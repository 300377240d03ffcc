"""The sampler benchmark from its command line: run, resume, time, summarise."""

import csv

import optuna
import pandas as pd
import pytest

from benchmarks import samplers
from benchmarks._ask_times import measure_ask_times
from benchmarks._runs import Run, execute, runs_in
from benchmarks._searches import OptunaSearch, make_search, run_search
from benchmarks._summary import (
    compare,
    evaluations_to_reach,
    paired_tests,
    read_runs,
    samplers_of,
    score_table,
)
from benchmarks.problems import problem

PROBLEMS = "welded-beam,deploy-precision"


@pytest.fixture(scope="module")
def runs_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("benchmark") / "runs.csv"
    assert run_command(path, "optuna-random,optuna-nsga2-20") == 0
    return path


def run_command(path, names, *options):
    words = f"run --problems {PROBLEMS} --samplers {names} --seeds 0-1 --trials 20 --jobs 1".split()
    return samplers.main([*words, "--out", str(path), *options])


def rows_of(path):
    with path.open(newline="") as lines:
        return list(csv.DictReader(lines))


def synthetic_runs(samplers_and_scores, seeds=range(6)):
    return pd.DataFrame(
        {
            "sampler": name,
            "problem": "p",
            "seed": seed,
            "trials": 100,
            "staged": False,
            "group": "g",
            "n_constraints": 1,
            "first_feasible": None if name == "optuna-tpe" else 4.0,
            "n_duplicates": 0,
            "overhead_ms": 1.0,
            "scores": " ".join(str(final * (step + 1) / 10 + 0.001 * seed) for step in range(10)),
        }
        for name, final in samplers_and_scores.items()
        for seed in seeds
    )


def test_a_row_is_written_for_each_sampler_problem_and_seed(runs_path):
    rows = rows_of(runs_path)
    assert len(rows) == len(runs_in(runs_path)) == 2 * 2 * 2
    assert all(len(row["scores"].split()) == 2 for row in rows)


def test_a_restart_runs_only_what_is_missing_and_mends_a_broken_last_line(runs_path, tmp_path):
    lines = runs_path.read_text().splitlines(keepends=True)
    broken = tmp_path / "runs.csv"
    broken.write_text("".join(lines[:-1]) + lines[-1][:20])
    assert run_command(broken, "optuna-random,optuna-nsga2-20") == 0
    assert runs_in(broken) == runs_in(runs_path)
    assert broken.read_text().startswith("".join(lines[:-1]))


def test_a_failing_run_is_told_and_not_stored(tmp_path, capsys):
    assert run_command(tmp_path / "runs.csv", "pymoo-nsga2", "--staged") == 1
    assert "knows no pruned trials" in capsys.readouterr().out
    assert rows_of(tmp_path / "runs.csv") == []


def test_the_same_seed_gives_the_same_scores():
    run = Run("optuna-random", "tnk", seed=1, trials=30, staged=False)
    assert execute(run).scores == execute(run).scores


def test_the_result_of_a_search_counts_feasible_trials_and_duplicates():
    class Fixed:
        told = 0

        def ask(self):
            return dict.fromkeys(("x1", "x2"), 0.9 if self.told > 3 else 0.5)

        def tell(self, outcome):
            self.told += 1

    result = run_search(Fixed(), problem("tnk"), 10)
    assert (result.first_feasible, result.n_duplicates) == (5, 8)
    assert len(result.scores) == 1


def test_staged_a_trial_that_breaks_an_early_constraint_is_pruned_without_values():
    task = problem("welded-beam")
    search = make_search("optuna-random", task, seed=0, is_staged=True)
    assert isinstance(search, OptunaSearch)
    outcomes = []
    for _ in range(20):
        outcomes.append(task.evaluate(search.ask()))
        search.tell(outcomes[-1])
    for trial, outcome in zip(search.study.trials, outcomes, strict=True):
        assert trial.constraints == outcome.constraints
        is_pruned = trial.state == optuna.trial.TrialState.PRUNED
        assert is_pruned is not outcome.is_feasible
        assert (trial.values is None) is is_pruned


def test_an_unknown_sampler_is_refused():
    with pytest.raises(ValueError, match="'nothing' is not known"):
        make_search("nothing", problem("tnk"), seed=0)


def test_the_time_of_an_ask_is_measured_for_each_sampler_in_reach():
    times = measure_ask_times(["optuna-random", "optuna-nsga2-20", "pymoo-nsga2"], 30)
    assert [time.sampler for time in times] == ["optuna-random", "optuna-nsga2-20"]
    assert all(time.median_ms > 0 for time in times)


def test_only_pairs_that_all_samplers_have_are_compared(tmp_path):
    runs = pd.concat([synthetic_runs({"moo-tpe": 0.9}), synthetic_runs({"optuna-tpe": 0.6}, seeds=range(4))])
    runs.to_csv(tmp_path / "runs.csv", index=False)
    runs = read_runs(tmp_path / "runs.csv")
    comparison = compare(runs, ["moo-tpe", "optuna-tpe", "optuna-random"], n_trials=100)
    assert comparison.samplers == ["moo-tpe", "optuna-tpe"]
    assert comparison.n_pairs == 4


def test_the_summary_ranks_tests_and_finds_when_the_peer_is_reached():
    runs = synthetic_runs({"moo-tpe": 0.9, "optuna-tpe": 0.6})
    comparison = compare(runs, ["moo-tpe", "optuna-tpe"], n_trials=100)
    table = score_table(comparison).set_index(["group", "sampler"])
    assert table.loc[("all", "moo-tpe"), "score_100"] == pytest.approx(0.9025)
    assert table.loc[("all", "moo-tpe"), "rank_100"] == 1.0
    assert table.loc[("g", "optuna-tpe"), "first_feasible"] == 101
    tests = paired_tests(comparison).set_index("evaluations")
    assert (tests.loc[100, "wins"], tests.loc[100, "losses"]) == (6, 0)
    assert tests.loc[100, "p"] == pytest.approx(2 / 2**6)
    reached = evaluations_to_reach(comparison, "optuna-tpe", 100).set_index("group")
    assert reached.loc["all", "evaluations"] == 70


def test_a_longer_run_is_compared_with_a_shorter_one_at_what_both_reached():
    runs = synthetic_runs({"moo-tpe": 0.9, "optuna-tpe": 0.6})
    runs.loc[runs["sampler"] == "moo-tpe", "first_feasible"] = 60
    assert samplers_of(runs, n_trials=100) == ["moo-tpe", "optuna-tpe"]
    comparison = compare(runs, ["moo-tpe", "optuna-tpe"], n_trials=50)
    table = score_table(comparison).set_index(["group", "sampler"])
    assert list(comparison.scores.columns) == [10, 20, 30, 40, 50]
    assert table.loc[("g", "moo-tpe"), "first_feasible"] == 51
    assert "n_duplicates" not in table


def test_the_summary_writes_a_page_a_table_and_a_figure(runs_path, tmp_path, capsys):
    words = ["summary", "--runs", str(runs_path), "--trials", "20", "--short", "20", "--out", str(tmp_path)]
    assert samplers.main([*words, "--ask", str(tmp_path / "none.csv")]) == 0
    assert "optuna-nsga2-20" in capsys.readouterr().out
    assert {path.name for path in tmp_path.iterdir()} == {"samplers.csv", "samplers.md", "samplers.png"}


def test_problems_are_listed_with_their_feasible_share(capsys):
    assert samplers.main(["problems", "--problems", "tnk"]) == 0
    assert "| analytic-constrained | tnk | 2 | 0 | 2 | 2 |" in capsys.readouterr().out
