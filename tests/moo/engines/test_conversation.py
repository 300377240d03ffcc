"""A trial evaluated elsewhere: in this process, but over the two sides of the conversation."""

import dataclasses

import optuna
import pytest

from moo.engines._conversation import Answer, Assignment, Conversation, Outcome, Request, answer
from moo.errors import FitError, MeasureError
from moo.evaluation import Estimate, Evaluation, TrialContext
from moo.quiet import QuietWindow
from objectives import FunctionTask, Task


def talk(task, tmp_path, **context) -> tuple[Outcome, optuna.Trial, list[Request]]:
    """Have a trial evaluated, and return its end, the sweep's side of the trial, and what was asked."""
    trial = optuna.create_study(directions=["maximize", "minimize"]).ask()
    root = tmp_path / "sweep"
    given = TrialContext(root=root, folder=root / "trials" / "00000", seed=3, **context)
    window = QuietWindow(tmp_path)
    conversation = Conversation(task, Assignment.of(trial, given), tmp_path / "there", window)
    asked: list[Request] = []
    last: Answer | None = None
    while not isinstance(said := conversation.next(last), Outcome):
        asked.append(said)
        last = answer(said, trial, given)
    return said, trial, asked


def task_of(evaluate) -> Task:
    class Given(Task):
        def evaluate(self, trial, context):
            return evaluate(trial, context)

    return Given()


def evaluation() -> Evaluation:
    return Evaluation(metrics={"accuracy": Estimate.exact(0.5)})


def test_parameters_are_suggested_where_the_study_is(tmp_path) -> None:
    def choose(trial):
        width = trial.suggest_int("width", 1, 8, log=True)
        rate = trial.suggest_float("rate", 0.0, 1.0, step=0.25)
        kind = trial.suggest_categorical("kind", ["a", None, 3])
        assert trial.params == {"width": width, "rate": rate, "kind": kind}
        assert set(trial.distributions) == {"width", "rate", "kind"}
        trial.set_user_attr("note", [1, 2])
        trial.set_constraint("budget", width - 4.0)
        assert trial.constraints == {"budget": width - 4.0}
        return {"accuracy": 0.5, "parameters": width}

    outcome, trial, _ = talk(FunctionTask(choose), tmp_path)
    assert outcome.error is None
    assert outcome.evaluation.metrics["parameters"].value == trial.params["width"]
    assert trial.user_attrs["note"] == [1, 2]
    assert trial.number == 0


def test_what_the_context_says_arrives_and_what_the_sweep_decides_is_raised_there(tmp_path) -> None:
    kept: list[Evaluation] = []

    def check(partial):
        kept.append(partial)
        raise optuna.TrialPruned("before training: violates it")

    def evaluate(trial, context):
        assert (context.seed, context.is_baseline, context.metrics) == (3, True, ("accuracy",))
        assert context.needs_cost
        assert context.should_stop is None
        context.check(evaluation())
        raise AssertionError("it was pruned")

    outcome, _, _ = talk(
        task_of(evaluate),
        tmp_path,
        is_baseline=True,
        metrics=("accuracy",),
        needs_cost=True,
        check=check,
    )
    assert isinstance(outcome.error, optuna.TrialPruned)
    assert str(outcome.error) == "before training: violates it"
    assert kept == [evaluation()]


def test_the_pruner_is_asked_at_each_step_and_its_word_comes_back(tmp_path) -> None:
    def evaluate(trial, context):
        stops = [context.should_stop(step, {"accuracy": step / 10}) for step in range(3)]
        assert stops == [False, False, True]
        return evaluation()

    outcome, _, asked = talk(
        task_of(evaluate), tmp_path, should_stop=lambda step, values: values["accuracy"] > 0.1
    )
    assert outcome.error is None
    assert [request.name for request in asked] == ["should_stop"] * 3


def test_violations_are_judged_with_their_keyword(tmp_path) -> None:
    def violated(metrics, *, beyond_doubt=True):
        return [f"{sorted(metrics)} {beyond_doubt}"]

    def evaluate(trial, context):
        assert context.violated({"accuracy": Estimate(1.0)}, beyond_doubt=False) == ["['accuracy'] False"]
        return evaluation()

    assert talk(task_of(evaluate), tmp_path, violated=violated)[0].error is None


def test_an_error_of_the_tasks_code_is_described_with_its_place_and_its_traceback(tmp_path) -> None:
    def evaluate(trial, context):
        raise ZeroDivisionError("by nothing")

    error = talk(task_of(evaluate), tmp_path)[0].error
    assert isinstance(error, FitError)
    assert str(error).startswith("ZeroDivisionError: by nothing (evaluate, test_conversation.py:")
    assert "Traceback" in error.__notes__[0]


def test_an_error_of_ours_stays_what_it_is(tmp_path) -> None:
    def evaluate(trial, context):
        raise MeasureError("it hangs")

    error = talk(task_of(evaluate), tmp_path)[0].error
    assert type(error) is MeasureError
    assert str(error) == "it hangs"


def test_a_task_that_leaves_its_process_is_a_failed_trial(tmp_path) -> None:
    def evaluate(trial, context):
        raise SystemExit(3)

    assert str(talk(task_of(evaluate), tmp_path)[0].error).startswith("SystemExit: 3")


def test_files_are_told_by_their_path_below_the_sweeps_folder(tmp_path) -> None:
    def evaluate(trial, context):
        (context.folder / "deep").mkdir()
        (context.folder / "deep" / "one.bin").write_bytes(b"1")
        (context.folder / "link").symlink_to("/etc/hostname")
        return dataclasses.replace(evaluation(), files={"one": context.path_of("deep/one.bin")})

    outcome, _, _ = talk(task_of(evaluate), tmp_path)
    assert outcome.evaluation.files == {"one": "trials/00000/deep/one.bin"}
    assert list(outcome.files) == ["trials/00000/deep/one.bin"]


def test_a_task_that_measures_by_itself_measures_alone(tmp_path) -> None:
    seen = []

    def evaluate(trial, context):
        seen.append(QuietWindow(tmp_path).is_taken())
        with context.measuring():
            seen.append(QuietWindow(tmp_path).is_taken())
        context.pause()
        return evaluation()

    talk(task_of(evaluate), tmp_path)
    assert seen == [False, True]


def test_a_trial_elsewhere_is_not_sent_on(tmp_path) -> None:
    import pickle

    def evaluate(trial, context):
        with pytest.raises(TypeError, match="belongs to that evaluation alone"):
            pickle.dumps(trial)
        return evaluation()

    assert talk(task_of(evaluate), tmp_path)[0].error is None
