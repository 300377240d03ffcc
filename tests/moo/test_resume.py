"""What several processes, cut-off attempts and moved folders do to a study: nothing lost, nothing doubled."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import moo
from moo import storage as stored
from moo import workers
from moo.cli._interrupt import Interrupt
from moo.errors import InputError, LostError, StudyMismatchError, SweepError, TaskLoadError
from moo.evaluation import Evaluation
from moo.outcome import forget_variants, keep_variants, kept_variants
from objectives import FunctionTask, Task

OBJECTIVES = {"maximize": ["accuracy"], "minimize": ["latency_p50"]}


def cheap(trial):
    width = trial.suggest_int("width", 1, 1000)
    return {"accuracy": width / 1001, "latency_p50": width * 1e-6}


def sweep(tmp_path, task=None, **changes):
    arguments = {**OBJECTIVES, "n_trials": 4, "sampler": "random", "seed": 0, "folder": tmp_path / "out"}
    return moo.optimize(task or FunctionTask(cheap), **{**arguments, **changes})


def url(tmp_path) -> str:
    return f"sqlite:///{tmp_path}/out/study.db"


def run_trial_elsewhere(tmp_path, **attributes) -> optuna.Trial:
    """Begin a trial as another process would have, signed by a worker that differs as told."""
    study = moo.load_study(url(tmp_path))
    trial = study.optuna_study.ask()
    trial.set_user_attr(workers.WORKER, {**workers.worker_identity(), **attributes})
    trial.set_user_attr(workers.ATTEMPTS, 1)
    return trial


# whose trial is stale


@pytest.mark.parametrize(
    ("worker", "is_released"),
    [
        ({}, False),  # this very process
        ({"pid": 2**22 + 1}, True),  # no such process
        ({"started": 1.0}, True),  # the number was given to another process since
        ({"boot": "another boot"}, True),
        ({"host": "elsewhere", "pid": 2**22 + 1}, False),
        ({"namespace": "another container", "pid": 2**22 + 1}, False),
    ],
)
def test_a_trial_is_released_just_where_its_process_is_known_to_have_ended(
    tmp_path, worker, is_released
) -> None:
    sweep(tmp_path, n_trials=1)
    trial = run_trial_elsewhere(tmp_path, **worker)
    study = sweep(tmp_path, n_trials=2)
    assert study.optuna_study.trials[trial.number].state.is_finished() == is_released
    assert [number for number, _ in study.running] == ([] if is_released else [trial.number])


def test_a_trial_that_no_process_has_signed_yet_is_left_alone_for_a_while(tmp_path) -> None:
    sweep(tmp_path, n_trials=1)
    study = moo.load_study(url(tmp_path))
    study.optuna_study.ask()
    assert workers.release_stale_trials(study.storage, study.name) == []


def test_a_released_trial_is_nobodys_until_it_is_signed_again(tmp_path) -> None:
    sweep(tmp_path, n_trials=1)
    run_trial_elsewhere(tmp_path, pid=2**22 + 1)
    study = moo.load_study(url(tmp_path))
    assert workers.release_stale_trials(study.storage, study.name) == [1]
    study.optuna_study.ask()
    assert workers.release_stale_trials(study.storage, study.name) == []


def test_a_trial_that_another_process_took_over_is_not_told_twice(tmp_path) -> None:
    def taken_over(trial):
        values = cheap(trial)
        if trial.number == 1 and trial.user_attrs[workers.ATTEMPTS] == 1:
            other = moo.load_study(url(tmp_path))
            other.storage.set_trial_user_attr(trial._trial_id, workers.WORKER, None)
            workers.queue_again(other.storage, trial._trial_id)
        return values

    results = sweep(tmp_path, FunctionTask(taken_over, name="taken")).results()
    assert [t.number for t in results.complete] == [0, 1, 2, 3]


# what an earlier attempt left


def test_an_evaluation_that_was_stored_is_told_and_never_made_again(tmp_path) -> None:
    latencies = iter([1e-3, 4e-3, 9e-3])
    task = FunctionTask(lambda trial: {"accuracy": 0.5, "latency_p50": next(latencies)}, name="once")
    bound = {"constraints": ["latency_p50 <= 5 ms"]}
    sweep(tmp_path, task, n_trials=1, **bound)
    trial = run_trial_elsewhere(tmp_path, pid=2**22 + 1)
    evaluation = Evaluation(metrics={"accuracy": moo.Estimate(0.5), "latency_p50": moo.Estimate(4e-3)})
    trial.set_user_attr(stored.EVALUATION, evaluation.to_json())
    trial.set_constraint("latency_p50 <= 5 ms", -0.2)
    again = sweep(tmp_path, task, n_trials=2, **bound).results().trials[1]
    assert again.evaluation == evaluation
    assert again.violations == {"latency_p50 <= 5 ms": -0.2}


def test_a_failure_of_an_earlier_attempt_does_not_stay_with_a_trial_that_completes(tmp_path) -> None:
    sweep(tmp_path, n_trials=1)
    trial = run_trial_elsewhere(tmp_path, pid=2**22 + 1)
    trial.set_user_attr(stored.FAILURE, {"stage": "task", "reason": "first attempt"})
    again = sweep(tmp_path, n_trials=2).results().trials[1]
    assert (again.state, again.reason) == ("complete", None)


def test_a_study_whose_creation_was_cut_off_is_begun_as_if_it_were_not_there(tmp_path) -> None:
    (tmp_path / "out").mkdir()
    optuna.create_study(storage=url(tmp_path), study_name="cheap", directions=["maximize", "minimize"])
    assert len(sweep(tmp_path).results().complete) == 4


def test_an_empty_study_with_other_directions_is_refused(tmp_path) -> None:
    (tmp_path / "out").mkdir()
    optuna.create_study(storage=url(tmp_path), study_name="cheap")
    with pytest.raises(StudyMismatchError, match="was not begun by moo"):
        sweep(tmp_path)


class Interrupting:
    """An observer that interrupts once, when the trial is already told."""

    def begun(self, results, n_trials) -> None:
        pass

    def trial_finished(self, trial) -> None:
        if trial.number == 1:
            raise KeyboardInterrupt


def test_an_interrupt_outside_the_task_loses_nothing(tmp_path) -> None:
    with pytest.raises(KeyboardInterrupt):
        sweep(tmp_path, observer=Interrupting())
    study = sweep(tmp_path)
    assert [t.number for t in study.results().complete] == [0, 1, 2, 3]
    assert len(study.optuna_study.trials) == 4


def test_an_interrupt_that_comes_again_does_not_cut_off_the_handing_back(tmp_path, monkeypatch) -> None:
    begun = workers.queue_again

    def interrupted_again(storage, trial_id) -> None:
        signal.raise_signal(signal.SIGALRM)  # as the second Ctrl-C does every half second
        begun(storage, trial_id)

    def stops_at_once(trial):
        cheap(trial)
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(workers, "queue_again", interrupted_again)
    with pytest.raises(KeyboardInterrupt), Interrupt():
        sweep(tmp_path, FunctionTask(stops_at_once, name="stops"))
    (trial,) = moo.load_study(url(tmp_path)).optuna_study.trials
    assert (trial.state, trial.user_attrs[workers.ATTEMPTS]) == (optuna.trial.TrialState.WAITING, 0)


def interrupted_asking(monkeypatch, number: int) -> None:
    """Have the sampler interrupted once, while it proposes the trial of that number."""
    propose = optuna.samplers.RandomSampler.before_trial
    interrupts = [number]

    def interrupted(self, study, trial):
        if trial.number in interrupts:
            interrupts.clear()
            raise KeyboardInterrupt
        return propose(self, study, trial)

    monkeypatch.setattr(optuna.samplers.RandomSampler, "before_trial", interrupted)


def test_an_interrupt_while_a_trial_is_asked_for_leaves_it_to_whoever_is_next(tmp_path, monkeypatch) -> None:
    interrupted_asking(monkeypatch, 1)
    with pytest.raises(KeyboardInterrupt):
        sweep(tmp_path)
    trials = moo.load_study(url(tmp_path)).optuna_study.trials
    assert [trial.state.name for trial in trials] == ["COMPLETE", "WAITING"]
    assert workers.ATTEMPTS not in trials[1].user_attrs  # it was no try
    study = sweep(tmp_path)  # at once, no minute later
    assert [t.number for t in study.results().complete] == [0, 1, 2, 3]
    assert len(study.optuna_study.trials) == 4


def test_a_trial_that_waited_and_was_asked_for_in_vain_keeps_its_tries(tmp_path, monkeypatch) -> None:
    study = sweep(tmp_path, n_trials=1)
    study.optuna_study.enqueue_trial({"width": 7}, user_attrs={workers.ATTEMPTS: 1})
    interrupted_asking(monkeypatch, 1)
    with pytest.raises(KeyboardInterrupt):
        sweep(tmp_path)
    trial = moo.load_study(url(tmp_path)).optuna_study.trials[1]
    assert (trial.state.name, trial.user_attrs[workers.ATTEMPTS]) == ("WAITING", 1)
    assert sweep(tmp_path).results().trials[1].params == {"width": 7}


class Watching:
    """An observer that takes note of what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[int, str, str | None]] = []

    def begun(self, results, n_trials) -> None:
        pass

    def trial_finished(self, trial) -> None:
        self.told.append((trial.number, trial.state, trial.reason))


def test_a_trial_given_up_after_its_process_was_lost_twice_is_told_to_the_observer(tmp_path) -> None:
    class Lost(FunctionTask):
        """Loses the process of trial 1 each time, as an engine of several machines may."""

        def evaluate(self, trial, context):
            if trial.number == 1:
                raise LostError("the node is gone")
            return super().evaluate(trial, context)

    observer = Watching()
    sweep(tmp_path, Lost(cheap, name="lost"), observer=observer)
    given_up = [told for told in observer.told if told[1] == "failed"]
    assert given_up == [(1, "failed", workers.NO_WORD)]
    assert sorted(told[0] for told in observer.told) == [0, 1, 2, 3]
    log = (tmp_path / "out" / "log.jsonl").read_text()
    assert log.count('"event": "trial_failed"') == 1


def test_a_disk_that_gives_out_ends_the_sweep_in_one_line_and_it_can_go_on(tmp_path) -> None:
    def blocks_the_next(trial):
        (tmp_path / "out" / "trials" / f"{trial.number + 1:05d}").write_text("in the way")
        return cheap(trial)

    task = FunctionTask(blocks_the_next, name="blocks")
    with pytest.raises(SweepError, match="the sweep cannot go on: .*File exists"):
        sweep(tmp_path, task)
    (tmp_path / "out" / "trials" / "00001").unlink()
    with pytest.raises(SweepError):
        sweep(tmp_path, task)
    assert [t.number for t in moo.load_study(url(tmp_path)).results().complete] == [0, 1]


# folders


def test_two_studies_do_not_share_a_folder(tmp_path) -> None:
    sweep(tmp_path, study_name="one")
    with pytest.raises(InputError, match="holds the study 'one': choose another folder for 'two'"):
        sweep(tmp_path, study_name="two")


def test_a_folder_that_was_moved_is_followed(tmp_path) -> None:
    sweep(tmp_path, n_trials=2)
    shutil.move(tmp_path / "out", tmp_path / "there")
    study = sweep(tmp_path, n_trials=3, folder=tmp_path / "there")
    assert study.folder == tmp_path / "there"
    assert (tmp_path / "there" / "trials" / "00002").is_dir()
    assert not (tmp_path / "out").exists()


def test_a_relative_folder_is_the_same_wherever_one_stands_later(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    sweep(tmp_path, folder="out")
    monkeypatch.chdir("/")
    assert moo.load_study(url(tmp_path)).folder == tmp_path / "out"


def test_a_task_that_leaves_its_directory_or_removes_its_folder_fails_alone(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)

    def untidy(trial):
        os.chdir("/")
        if trial.number == 1:
            shutil.rmtree(tmp_path / "out" / "trials")
            raise RuntimeError("gone")
        return cheap(trial)

    results = sweep(tmp_path, FunctionTask(untidy, name="untidy"), folder="out").results()
    assert [t.state for t in results.trials] == ["complete", "failed", "complete", "complete"]
    assert (tmp_path / "out" / "trials" / "00001" / "error.txt").exists()


# several processes at once

WORKER_SCRIPT = """
    import os, sys, time
    import moo
    from objectives import FunctionTask

    def slow(trial):
        width = trial.suggest_int("width", 1, 10**6)
        time.sleep(2.0 if trial.number == 0 else 0.05)
        return {"accuracy": width / (10**6 + 1), "latency_p50": width * 1e-9}

    study = moo.optimize(
        FunctionTask(slow, baseline={"width": 500_000}), maximize=["accuracy"], minimize=["latency_p50"],
        constraints=["latency_p50 <= 1 x baseline"], n_trials=10, sampler="random", seed=0, folder="out",
    )
"""


def test_processes_that_begin_together_share_one_study_and_wait_for_its_baseline(tmp_path) -> None:
    (tmp_path / "script.py").write_text(textwrap.dedent(WORKER_SCRIPT))
    processes = [
        subprocess.Popen([sys.executable, "script.py"], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    errors = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    study = moo.load_study(url(tmp_path))
    assert study.results().failed == ()
    assert [t.user_attrs[workers.ATTEMPTS] for t in study.optuna_study.trials] == [1] * len(
        study.optuna_study.trials
    )
    assert 10 <= len(study.optuna_study.trials) <= 11  # asking is not atomic: one too many at most
    assert len({t.params["width"] for t in study.optuna_study.trials}) == len(study.optuna_study.trials)


DEADLY_BASELINE = """
    import os, signal, sys
    import moo
    from objectives import FunctionTask

    def deadly(trial):
        width = trial.suggest_int("width", 1, 1000)
        if trial.number == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return {"accuracy": 0.5, "latency_p50": 1e-3}

    moo.optimize(FunctionTask(deadly, baseline={"width": 5}), maximize=["accuracy"],
                 constraints=["latency_p50 <= 1 x baseline"], n_trials=6, sampler="random", folder="out")
"""


def test_a_baseline_that_kills_its_process_ends_the_sweep_and_not_every_trial(tmp_path) -> None:
    (tmp_path / "script.py").write_text(textwrap.dedent(DEADLY_BASELINE))
    runs = [
        subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True)
        for _ in range(3)
    ]
    assert [run.returncode for run in runs] == [-9, -9, 1]
    assert (
        "the baseline failed, and bounds are relative to it: process: its process ended 2 times"
        in runs[2].stderr
    )
    assert len(moo.load_study(url(tmp_path)).optuna_study.trials) == 1


# the same model deployed otherwise

DEPLOYED_SCRIPT = """
    import os, sys
    import optuna
    import moo
    from moo.evaluation import Estimate, Evaluation
    from objectives import Task

    PRECISIONS = ("fp32", "fp16", "int8")

    class Deployed(Task):
        def evaluate(self, trial, context):
            with open("evaluated", "a") as file:
                file.write(f"{trial.number}\\n")
            rate = trial.suggest_float("rate", 0, 1)
            chosen = trial.suggest_categorical("deploy_precision", list(PRECISIONS))
            found = {
                precision: Evaluation(
                    metrics={"accuracy": Estimate.exact(rate), "latency_p50": Estimate.exact((1 + i) * 1e-3)},
                    seconds={"measure": 0.5},
                )
                for i, precision in enumerate(PRECISIONS)
            }
            own = found.pop(chosen)
            variants = tuple(({"deploy_precision": precision}, e) for precision, e in found.items())
            return moo.Evaluation(metrics=own.metrics, variants=variants)

    def dies_at(name, n_before):
        whole, calls = getattr(optuna.Study, name), []

        def dying(*arguments, **named):
            if len(calls) == n_before:
                os._exit(9)
            calls.append(name)
            return whole(*arguments, **named)

        setattr(optuna.Study, name, dying)

    if len(sys.argv) > 1:
        dies_at(sys.argv[1], int(sys.argv[2]))
    moo.optimize(Deployed(), maximize=["accuracy"], minimize=["latency_p50"], n_trials=3, sampler="random",
                 seed=0, folder="out", constraints=["latency_p50 <= 2 ms"])
"""
SECONDS = {"fp32": 0.001, "fp16": 0.002, "int8": 0.003}


@pytest.mark.parametrize(
    ("name", "n_before"), [("add_trial", 0), ("add_trial", 1), ("add_trial", 3), ("tell", 0), ("tell", 1)]
)
def test_variants_are_added_once_though_a_process_dies_between_them_and_two_go_on(
    tmp_path, name, n_before
) -> None:
    (tmp_path / "script.py").write_text(textwrap.dedent(DEPLOYED_SCRIPT))
    died = subprocess.run(
        [sys.executable, "script.py", name, str(n_before)], cwd=tmp_path, capture_output=True, text=True
    )
    assert died.returncode == 9, died.stderr
    cut_off = moo.load_study(url(tmp_path)).optuna_study.trials
    n_whole = {("add_trial", 3): 1, ("tell", 1): 1}.get((name, n_before), 0)  # trials before the one cut off
    assert sum(t.state.is_finished() and stored.PARENT not in t.user_attrs for t in cut_off) == n_whole
    processes = [
        subprocess.Popen([sys.executable, "script.py"], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    errors = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    trials = moo.load_study(url(tmp_path)).optuna_study.trials
    own = [t for t in trials if stored.PARENT not in t.user_attrs]
    assert 3 <= len(own) <= 4  # asking is not atomic: one too many at most
    assert {t.state for t in trials} == {optuna.trial.TrialState.COMPLETE}
    evaluated = (tmp_path / "evaluated").read_text().split()
    assert sorted(evaluated) == sorted(str(t.number) for t in own)  # each just once
    for trial in own:
        ours = [t for t in trials if t.user_attrs.get(stored.PARENT) == trial.number]
        precisions = [t.params["deploy_precision"] for t in (trial, *ours)]
        assert sorted(precisions) == sorted(SECONDS)
        assert [t.params["rate"] for t in ours] == [trial.params["rate"]] * 2
        for found in (trial, *ours):
            seconds = SECONDS[found.params["deploy_precision"]]
            assert found.values == [trial.params["rate"], seconds]
            assert found.constraints == pytest.approx({"latency_p50 <= 2 ms": seconds / 0.002 - 1})
        assert list(kept_variants(trial.user_attrs)) == []


evaluations = st.builds(
    lambda value, tag: Evaluation(metrics={"accuracy": moo.Estimate.exact(value)}, tags=(tag,)),
    st.floats(0, 1),
    st.sampled_from(["ok", "contended"]),
)
variants = st.lists(
    st.tuples(st.dictionaries(st.sampled_from("abc"), st.one_of(st.integers(), st.text())), evaluations),
    max_size=12,
)


@settings(deadline=None, max_examples=25)
@given(variants, variants)
def test_what_a_trial_keeps_of_its_variants_is_what_its_last_attempt_gave(first, second) -> None:
    trial = optuna.create_study().ask()
    for found in (first, second):
        keep_variants(trial, found)
        assert list(kept_variants(trial.user_attrs)) == found
    forget_variants(trial)
    assert list(kept_variants(trial.user_attrs)) == []


def test_a_trial_whose_process_died_before_its_evaluation_was_stored_is_evaluated_again(tmp_path) -> None:
    """What it kept of variants by then is replaced, by none here."""
    sweep(tmp_path, n_trials=1)
    trial = run_trial_elsewhere(tmp_path, pid=2**22 + 1)
    keep_variants(trial, [({"width": 7}, Evaluation(metrics={"accuracy": moo.Estimate(0.5)}))] * 2)
    study = sweep(tmp_path, n_trials=2)
    assert [t.parent for t in study.results().complete] == [None, None]
    assert list(kept_variants(study.optuna_study.trials[1].user_attrs)) == []


def test_a_sweep_does_without_a_lock_where_the_file_system_has_none(tmp_path, monkeypatch) -> None:
    def refuses(*arguments):
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuses)
    assert len(sweep(tmp_path).results().complete) == 4


# what a task may not be


class Odd(Task):
    def evaluate(self, trial, context):
        return None


def test_a_task_that_returns_nothing_says_what_was_expected(tmp_path) -> None:
    with pytest.raises(SweepError, match=r"evaluate\(\) must return a moo.Evaluation, got NoneType"):
        sweep(tmp_path, Odd(), n_trials=1)


@pytest.mark.parametrize(
    ("task", "said"),
    [
        (Odd, "expected an instance, got the class Odd: call it"),
        (FunctionTask(cheap, metrics=("f1",)), "expected moo.Metric, got 'f1'"),
        (FunctionTask(cheap, metrics=[moo.Metric(name="latency_p50")]), "latency_p50 is built in"),
        (FunctionTask(cheap, baseline=[("width", 1)]), r"baseline\(\) must return a dict .* got list"),
        (
            type("Raises", (Odd,), {"baseline": lambda self: 1 / 0})(),
            r"baseline\(\) raised ZeroDivisionError",
        ),
        (FunctionTask(cheap, name="../../evil"), "study name: expected letters"),
    ],
)
def test_a_task_that_cannot_be_is_refused_before_anything_is_written(tmp_path, task, said) -> None:
    with pytest.raises((TaskLoadError, InputError), match=said):
        sweep(tmp_path, task)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_leaves_no_database_behind(tmp_path) -> None:
    with pytest.raises(InputError, match="folder: /dev/null/x"):
        sweep(tmp_path, storage=f"sqlite:///{tmp_path}/other.db", folder="/dev/null/x")
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_baseline_percentile_says_why(tmp_path) -> None:
    unknown = moo.Estimate(None, reason="one call takes 5 us: too short to time alone")
    task = FunctionTask(lambda trial: {"accuracy": 0.5, "latency_p95": unknown}, name="short", baseline={})
    with pytest.raises(InputError, match="needs the baseline's latency_p95: one call takes 5 us"):
        moo.optimize(
            task,
            maximize=["accuracy"],
            constraints=["latency_p95 <= 2 x baseline"],
            n_trials=3,
            folder=tmp_path / "out",
        )


def test_a_relative_bound_that_can_never_hold_ends_the_sweep(tmp_path) -> None:
    task = FunctionTask(cheap, baseline={"width": 900})
    with pytest.raises(InputError, match="can never hold: it comes to 180%"):
        sweep(tmp_path, task, constraints=["accuracy >= 2 x baseline"])


def test_a_password_in_an_error_of_the_storage_stays_hidden() -> None:
    assert "secret" not in stored.first_line(OSError("postgresql://ann:secret@db/moo is down\nmore"))


def test_the_start_time_of_a_process_is_not_that_of_the_wall_clock(monkeypatch) -> None:
    before = workers.worker_identity()
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 3600)
    assert workers.worker_identity() == before
    assert Path("/proc/self/stat").exists() is False or before["started"] > 0
