"""The loop, with tasks that cost nothing."""

import dataclasses
import json
import math
import os
import subprocess
import sys
import textwrap

import numpy as np
import optuna
import pytest

import moo
from moo.errors import InputError, ProblemError, StorageError, StudyMismatchError, SweepError
from moo.storage import hide_password
from objectives import FunctionTask

CONSTRAINT = "latency_p50 <= 900 us"


def cheap(trial):
    width = trial.suggest_int("width", 1, 1000)
    return {"accuracy": width / 1001, "latency_p50": width * 1e-6}


def sweep(tmp_path, function=cheap, *, baseline=None, **changes):
    arguments = {
        "maximize": ["accuracy"],
        "minimize": ["latency_p50"],
        "constraints": [CONSTRAINT],
        "n_trials": 6,
        "sampler": "random",
        "seed": 0,
        "folder": tmp_path / "out",
        **changes,
    }
    return moo.optimize(FunctionTask(function, name="cheap", baseline=baseline), **arguments)


def test_a_sweep_stores_values_constraints_and_evaluations(tmp_path) -> None:
    study = sweep(tmp_path)
    trial = study.optuna_study.trials[0]
    assert trial.values == [trial.params["width"] / 1001, trial.params["width"] * 1e-6]
    assert trial.constraints == {CONSTRAINT: pytest.approx(trial.params["width"] / 900 - 1)}
    assert study.results().trials[0].evaluation.metrics["latency_p50"].value == trial.values[1]


def test_the_front_is_feasible_and_has_a_row_each(tmp_path) -> None:
    front = sweep(tmp_path, n_trials=20).front()
    assert len(front) >= 2
    assert (front["latency_p50"] <= 0.9e-3).all()


def test_optuna_reads_the_study_as_its_own(tmp_path) -> None:
    sweep(tmp_path)
    study = optuna.load_study(study_name="cheap", storage=f"sqlite:///{tmp_path}/out/study.db")
    assert study.metric_names == ["accuracy", "latency_p50"]
    assert all(max(trial.constraints.values()) <= 0 for trial in study.best_trials)


def test_the_same_call_resumes_and_ends_with_as_many_trials(tmp_path) -> None:
    first = [t.params for t in sweep(tmp_path, n_trials=3).optuna_study.trials]
    whole = [t.params for t in sweep(tmp_path, n_trials=6).optuna_study.trials]
    again = [t.params for t in sweep(tmp_path, n_trials=6).optuna_study.trials]
    assert whole[:3] == first
    assert again == whole
    assert len({p["width"] for p in whole}) == 6


def test_a_resumed_study_is_the_uninterrupted_one(tmp_path) -> None:
    sweep(tmp_path, n_trials=3, folder=tmp_path / "a")
    parts = sweep(tmp_path, n_trials=8, folder=tmp_path / "a")
    whole = sweep(tmp_path, n_trials=8, folder=tmp_path / "b")
    assert [t.params for t in parts.optuna_study.trials] == [t.params for t in whole.optuna_study.trials]


def test_without_a_seed_one_is_drawn_and_kept(tmp_path) -> None:
    sweep(tmp_path, seed=None, n_trials=2)
    study = sweep(tmp_path, seed=None, n_trials=4)
    assert len({t.params["width"] for t in study.optuna_study.trials}) == 4


# what must not change within a study


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"minimize": ["parameters"]}, "objectives were .*latency_p50.*, now .*parameters"),
        ({"constraints": ["latency_p50 <= 2 ms"]}, "constraints were .*900 us.*, now .*2 ms"),
        ({"constraints": []}, "constraints were .*900 us.*, now"),
        ({"function": lambda trial: cheap(trial)}, "changed in"),
    ],
)
def test_a_study_begun_with_something_else_is_refused_by_its_difference(tmp_path, changes, said) -> None:
    sweep(tmp_path, n_trials=2)
    with pytest.raises(StudyMismatchError, match=said):
        sweep(tmp_path, **changes)
    assert len(moo.load_study(f"sqlite:///{tmp_path}/out/study.db").results().trials) == 2


def test_another_task_under_the_same_name_is_refused(tmp_path) -> None:
    sweep(tmp_path, n_trials=2)
    with pytest.raises(StudyMismatchError, match="the task was cheap, now dear"):
        moo.optimize(
            FunctionTask(cheap, name="dear"),
            maximize=["accuracy"],
            minimize=["latency_p50"],
            constraints=[CONSTRAINT],
            n_trials=3,
            study_name="cheap",
            folder=tmp_path / "out",
        )


def test_another_machine_is_refused(tmp_path) -> None:
    class Elsewhere(FunctionTask):
        machine = "A"

        def setting(self):
            return {**super().setting(), "machine": {"cpu_model": self.machine}}

    def run(n_trials):
        moo.optimize(Elsewhere(cheap, name="c"), minimize=["latency_p50"], n_trials=n_trials, folder=tmp_path)

    run(1)
    Elsewhere.machine = "B"
    with pytest.raises(StudyMismatchError, match="another machine: cpu_model was A, now B"):
        run(2)


def test_a_study_that_moo_did_not_begin_is_refused(tmp_path) -> None:
    url = f"sqlite:///{tmp_path}/study.db"
    optuna.create_study(storage=url, study_name="cheap")
    with pytest.raises(StudyMismatchError, match="was not begun by moo"):
        sweep(tmp_path, storage=url)


def test_two_folders_for_one_study_are_refused(tmp_path) -> None:
    url = f"sqlite:///{tmp_path}/study.db"
    sweep(tmp_path, storage=url, n_trials=1)
    with pytest.raises(StudyMismatchError, match="keeps its files in"):
        sweep(tmp_path, storage=url, folder=tmp_path / "elsewhere")


# what fails


def fails_at_even(trial):
    width = trial.suggest_int("width", 1, 1000)
    if trial.number % 2 == 0:
        raise RuntimeError("even\nnumbers are not served")
    return {"accuracy": 0.5, "latency_p50": width * 1e-6}


def test_a_trial_that_raises_is_stored_with_its_reason_and_the_sweep_goes_on(tmp_path) -> None:
    study = sweep(tmp_path, fails_at_even)
    results = study.results()
    assert [t.state for t in results.trials] == ["failed", "complete"] * 3
    assert results.trials[0].reason.startswith("RuntimeError: even numbers are not served (fails_at_even, ")
    assert "Traceback" in (tmp_path / "out/trials/00000/error.txt").read_text()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"accuracy": math.nan, "latency_p50": 1e-4}, "score: accuracy is NaN"),
        ({"accuracy": math.inf, "latency_p50": 1e-4}, "score: accuracy is inf"),
        ({"accuracy": "high", "latency_p50": 1e-4}, "score: accuracy: expected a number, got 'high'"),
        ({"accuracy": 0.5}, "measure: no latency_p50: the task gave no latency_p50"),
        ({"f1": 0.5}, "score: unknown metric 'f1'"),
        (None, "score: expected metric values by name, got NoneType"),
        ({"accuracy": 0.5, "latency_p50": moo.Estimate(None, reason="refused")}, "no latency_p50: refused"),
    ],
)
def test_a_missing_number_fails_the_trial_and_is_never_made_up(tmp_path, values, said) -> None:
    with pytest.raises(SweepError, match="all 2 trials failed; the commonest reason, 2 times") as caught:
        sweep(tmp_path, lambda trial: values, n_trials=2)
    assert said in str(caught.value)


def test_a_task_that_leaves_the_process_fails_its_trial(tmp_path) -> None:
    def leaves(trial):
        raise SystemExit(3)

    with pytest.raises(SweepError, match="SystemExit: 3"):
        sweep(tmp_path, leaves, n_trials=1)


def test_a_pruned_trial_is_stored_as_pruned(tmp_path) -> None:
    def prunes(trial):
        if trial.number:
            raise optuna.TrialPruned("not worth it")
        return cheap(trial)

    assert [t.state for t in sweep(tmp_path, prunes, n_trials=2).results().trials] == ["complete", "pruned"]


# the baseline


def test_the_baseline_runs_first_and_bounds_follow_it(tmp_path) -> None:
    study = sweep(tmp_path, baseline={"width": 500}, constraints=["latency_p50 <= 0.5 x baseline"])
    results = study.results()
    assert results.trials[0].is_baseline
    assert results.trials[0].params == {"width": 500}
    assert results.bounds == (0.00025,)
    assert all(
        t.violations["latency_p50 <= 0.5 x baseline"] == pytest.approx(t.params["width"] / 250 - 1)
        for t in results.trials
    )


class Remembers(FunctionTask):
    """Keeps for ten samples which are right: the first `width // 100`, or the last."""

    def evaluate(self, trial, context):
        evaluation = super().evaluate(trial, context)
        right = np.arange(10) < trial.params["width"] // 100
        np.savez(context.folder / "correct.npz", accuracy=right if context.is_baseline else right[::-1])
        return dataclasses.replace(evaluation, files={"correct": context.path_of("correct.npz")})


def test_each_trial_is_compared_with_the_baseline_sample_by_sample_also_after_a_resume(tmp_path) -> None:
    for n_trials in (2, 3):
        task = Remembers(cheap, name="cheap", baseline={"width": 400})
        study = moo.optimize(
            task,
            maximize=["accuracy"],
            n_trials=n_trials,
            sampler="random",
            seed=0,
            folder=tmp_path / "out",
        )
    baseline, *others = study.results().trials
    assert baseline.paired == {}
    for trial in others:
        n_right = trial.params["width"] // 100
        n_both = max(0, n_right + 4 - 10)
        assert trial.paired == {"accuracy": [10, n_right - n_both, 4 - n_both]}
        assert trial.paired_difference("accuracy").value == pytest.approx((n_right - 4) / 10)


def test_a_resumed_sweep_takes_the_baseline_from_the_study(tmp_path) -> None:
    arguments = {"baseline": {"width": 500}, "constraints": ["latency_p50 <= 0.5 x baseline"]}
    sweep(tmp_path, n_trials=2, **arguments)
    results = sweep(tmp_path, n_trials=4, **arguments).results()
    assert [t.is_baseline for t in results.trials] == [True, False, False, False]
    assert len(results.complete) == 4


def test_a_failing_baseline_ends_the_sweep_where_bounds_need_it_and_is_tried_again(tmp_path) -> None:
    broken = {"is": True}

    def sometimes(trial):
        trial.suggest_int("width", 1, 10)
        if broken["is"]:
            raise OSError("no data yet")
        return {"accuracy": 0.5, "latency_p50": 1e-3}

    arguments = {"baseline": {"width": 5}, "constraints": ["latency_p50 <= 2 x baseline"]}
    with pytest.raises(SweepError, match="the baseline failed, .*OSError: no data yet"):
        sweep(tmp_path, sometimes, **arguments)
    broken["is"] = False
    assert sweep(tmp_path, sometimes, **arguments).results().baseline.number == 1


def test_a_baseline_that_leaves_out_a_parameter_is_refused(tmp_path) -> None:
    with pytest.raises(SweepError, match=r"baseline\(\) leaves out width"):
        sweep(tmp_path, baseline={}, constraints=["latency_p50 <= 2 x baseline"])


def test_a_relative_bound_without_a_baseline_is_refused_before_anything_is_written(tmp_path) -> None:
    with pytest.raises(ProblemError, match=r"the task cheap has none: define its baseline\(\)"):
        sweep(tmp_path, constraints=["latency_p50 <= 2 x baseline"])
    assert list(tmp_path.iterdir()) == []


# wrong input


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"n_trials": 0}, "n_trials: expected a whole number of 1 or more, got 0"),
        ({"n_trials": 2.5}, "n_trials"),
        ({"timeout_s": 0}, "timeout_s"),
        ({"timeout_s": math.nan}, "timeout_s"),
        ({"seed": -1}, "seed"),
        ({"sampler": "best"}, "sampler: unknown name 'best'"),
        ({"study_name": "a/b"}, "study name"),
        ({"study_name": ".."}, "study name"),
        ({"maximize": ["speed"]}, "unknown metric 'speed'"),
        ({"constraints": ["latency_p50 <= 5"]}, "no unit"),
        ({"maximize": [], "minimize": []}, "no objective"),
    ],
)
def test_wrong_input_is_refused_in_one_line_and_nothing_is_written(tmp_path, changes, said) -> None:
    with pytest.raises(InputError, match=said) as caught:
        sweep(tmp_path, **changes)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("study.db", "expected a URL, such as 'sqlite:///study.db'"),
        ("sqlite:////nowhere/at/all/study.db", "there is no folder /nowhere/at/all"),
        ("sqlite:////", "is a folder"),
        ("nosuch://host/db", "cannot be opened"),
        ("postgresql://ann:secret@127.0.0.1:1/moo", "driver is not installed|cannot be opened"),
    ],
)
def test_a_storage_that_cannot_be_opened_is_refused_without_its_password(tmp_path, url, said) -> None:
    with pytest.raises(StorageError, match=said) as caught:
        sweep(tmp_path, storage=url)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path) -> None:
    path = tmp_path / "notes.db"
    path.write_text("my notes")
    with pytest.raises(StorageError, match="is not an SQLite database"):
        sweep(tmp_path, storage=f"sqlite:///{path}")
    assert path.read_text() == "my notes"


def test_a_file_where_the_folder_should_be_is_refused(tmp_path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(InputError, match="expected a folder, got the file"):
        sweep(tmp_path)


@pytest.mark.parametrize("name", ["wrong", None])
def test_a_study_that_is_not_there_is_not_created_by_reading(tmp_path, name) -> None:
    with pytest.raises(StorageError, match="there is no file"):
        moo.load_study(f"sqlite:///{tmp_path}/study.db", name)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_study_is_named_with_those_that_are_there(tmp_path) -> None:
    sweep(tmp_path)
    with pytest.raises(StorageError, match="has no study 'other'; it holds: cheap"):
        moo.load_study(f"sqlite:///{tmp_path}/out/study.db", "other")


def test_a_password_never_shows() -> None:
    assert hide_password("mysql+pymysql://u:p:w@h/d") == "mysql+pymysql://u:***@h/d"


# ends before the end


def test_no_trial_begins_after_the_timeout(tmp_path) -> None:
    times = iter([0.0, 1.0, 2.0, 3.0, 11.0])
    study = sweep(tmp_path, timeout_s=10, clock=lambda: next(times))
    assert len(study.results().trials) == 3


def test_a_sweep_that_is_asked_to_stop_finishes_the_trial_in_flight(tmp_path) -> None:
    answers = iter([False, False, True])
    assert len(sweep(tmp_path, should_stop=lambda: next(answers)).results().trials) == 2


def test_an_interrupted_trial_is_run_again_under_its_own_number(tmp_path) -> None:
    interrupts = [True]

    def interrupted(trial):
        values = cheap(trial)
        if trial.number == 2 and interrupts:
            interrupts.pop()
            raise KeyboardInterrupt
        return values

    with pytest.raises(KeyboardInterrupt):
        sweep(tmp_path, interrupted)
    waiting = moo.load_study(f"sqlite:///{tmp_path}/out/study.db").optuna_study.trials[2]
    study = sweep(tmp_path, interrupted)
    assert [t.number for t in study.results().complete] == list(range(6))
    assert study.optuna_study.trials[2].params == waiting.params


KILLED = """
    import os, signal, sys
    import moo
    from objectives import FunctionTask

    def deadly(trial):
        width = trial.suggest_int("width", 1, 1000)
        if trial.number == 3 and (os.environ["DEADLY"] == "always" or not os.path.exists("died")):
            open("died", "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        return {"accuracy": width / 1001, "latency_p50": width * 1e-6}

    study = moo.optimize(FunctionTask(deadly), maximize=["accuracy"], minimize=["latency_p50"],
                         n_trials=6, sampler="random", seed=0, folder="out")
    print(len(study.results().complete), len(study.results().failed), len(study.optuna_study.trials))
"""


def run_killed(tmp_path, deadly: str) -> subprocess.CompletedProcess:
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(KILLED))
    environment = {**os.environ, "DEADLY": deadly}
    return subprocess.run(
        [sys.executable, script], cwd=tmp_path, env=environment, capture_output=True, text=True
    )


def test_a_killed_sweep_goes_on_with_nothing_lost_or_doubled(tmp_path) -> None:
    assert run_killed(tmp_path, "once").returncode == -9
    resumed = run_killed(tmp_path, "once")
    assert resumed.stdout.split() == ["6", "0", "6"], resumed.stderr


def test_a_trial_that_kills_its_process_each_time_is_stored_as_failed(tmp_path) -> None:
    codes = [run_killed(tmp_path, "always").returncode for _ in range(2)]
    last = run_killed(tmp_path, "always")
    assert codes == [-9, -9]
    assert last.stdout.split() == ["5", "1", "6"], last.stderr
    failed = moo.load_study(f"sqlite:///{tmp_path}/out/study.db").results().failed
    assert "its process ended 2 times" in failed[0].reason


def test_what_is_stored_is_plain_json(tmp_path) -> None:
    study = sweep(tmp_path, n_trials=1)
    kept = [study.optuna_study.user_attrs, study.optuna_study.trials[0].user_attrs]
    assert json.loads(json.dumps(kept, allow_nan=False)) == kept


def test_a_space_that_only_the_task_knows_is_not_touched_by_the_loop(tmp_path) -> None:
    def conditional(trial):
        depth = trial.suggest_int("depth", 1, 3)
        width = sum(trial.suggest_int(f"width_{i}", 1, 9) for i in range(depth))
        return {"accuracy": 0.5, "latency_p50": width * 1e-6}

    results = sweep(tmp_path, conditional, n_trials=12, sampler="tpe").results()
    assert len(results.complete) == 12
    assert {len(t.params) for t in results.trials} >= {2, 3}
