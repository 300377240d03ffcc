"""PostgreSQL, SQLite and journal files, shared, away, locked or full: nothing lost, nothing doubled."""

import gc
import logging
import os
import pickle
import re
import shlex
import signal
import subprocess
import sys
import time

import optuna
import psycopg
import pytest
import sqlalchemy.exc
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.testing.pytest_storages import StorageTestCase
from optuna.trial import TrialState

import moo
from moo.cli import main
from moo.errors import StorageError, StudyMismatchError, SweepError
from moo.patience import PatientStorage, is_passing
from moo.storage import open_storage
from objectives import FunctionTask
from tests.faults.conftest import PASSWORD
from tests.faults.processes import WORKER, begin, finish, script
from tests.profilers import models

ONE = [StudyDirection.MINIMIZE]


def cheap(trial):
    width = trial.suggest_int("width", 1, 1000)
    return {"accuracy": width / 1001, "latency_p50": width * 1e-6}


def sweep(folder, **changes):
    arguments = {"maximize": ["accuracy"], "minimize": ["latency_p50"], "n_trials": 3, "seed": 0}
    task = changes.pop("task", None) or FunctionTask(cheap)
    return moo.optimize(task, sampler="random", folder=folder / "out", **{**arguments, **changes})


def assert_whole(storage, folder, n_trials, *, n_more=0):
    """Every number once, each evaluated once and told; at most `n_more` beyond those asked for."""
    study = moo.load_study(storage)
    trials = study.results().trials
    assert [t.number for t in trials] == list(range(len(trials)))
    assert {t.state for t in trials} == {"complete"}
    assert n_trials <= len(trials) <= n_trials + n_more
    evaluated = [int(line) for line in (folder / "evaluated").read_text().splitlines()]
    assert sorted(evaluated) == list(range(len(trials)))
    assert study.running == []


# Optuna's own contract


class TestPatientStorage(StorageTestCase):
    @pytest.fixture
    def storage(self):
        return PatientStorage(InMemoryStorage())


def test_a_journal_that_moo_opened_is_any_optunas(tmp_path) -> None:
    sweep(tmp_path, storage=str(tmp_path / "team.journal"))
    backend = optuna.storages.journal.JournalFileBackend(str(tmp_path / "team.journal"))
    study = optuna.load_study(study_name="cheap", storage=optuna.storages.JournalStorage(backend))
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 3


# waiting, on a clock of the test's


class Away(InMemoryStorage):
    """A storage that raises some errors before it answers; `is_late`: it does as told, and then raises."""

    def __init__(self, *errors, is_late=False) -> None:
        super().__init__()
        self.errors = list(errors)
        self.is_late = is_late

    def set_trial_state_values(self, trial_id, state, values=None):
        error = self.errors.pop(0) if self.errors else None
        if error is None or self.is_late:
            told = super().set_trial_state_values(trial_id, state, values)
        if error is not None:
            raise error
        return told


def refused(text="connection refused") -> StorageInternalError:
    """The error that Optuna makes of a database that does not answer."""
    error = StorageInternalError("An exception is raised during the commit.")
    error.__cause__ = sqlalchemy.exc.OperationalError("SELECT secret", {}, psycopg.OperationalError(text))
    return error


def patient(storage, patience_s=20.0):
    """A storage whose waiting is added up and not waited."""
    now = [0.0]
    waiting = PatientStorage(
        storage,
        patience_s=patience_s,
        clock=lambda: now[0],
        sleep=lambda seconds: now.__setitem__(0, now[0] + seconds),
    )
    trial_id = waiting.create_new_trial(waiting.create_new_study(ONE))
    return waiting, trial_id, now


def test_a_call_is_made_again_until_the_storage_answers_and_it_is_said_once(caplog) -> None:
    storage, trial_id, now = patient(Away(*[refused() for _ in range(6)]))
    with caplog.at_level(logging.WARNING, "moo"):
        assert storage.set_trial_state_values(trial_id, TrialState.COMPLETE, [1.0])
    assert now[0] == pytest.approx(0.1 + 0.2 + 0.4 + 0.8 + 1.6 + 3.2)
    assert caplog.messages == [
        "the storage does not answer (connection refused): waiting for it, 20 s at most",
        "the storage answers again after 6 s",
    ]


def test_after_the_limit_it_says_why_and_does_not_wait_again(caplog) -> None:
    storage, trial_id, now = patient(Away(*[refused("no route\n to host") for _ in range(99)]))
    with pytest.raises(StorageInternalError, match="not answered for 20 s: no route to host$"):
        storage.set_trial_state_values(trial_id, TrialState.COMPLETE, [1.0])
    waited_s = now[0]
    assert 15.0 <= waited_s <= 20.0
    with pytest.raises(StorageInternalError):
        storage.set_trial_state_values(trial_id, TrialState.COMPLETE, [1.0])
    assert now[0] == waited_s


def test_an_end_that_was_stored_and_its_answer_lost_is_told_once() -> None:
    storage, trial_id, _ = patient(Away(refused(), is_late=True))
    assert storage.set_trial_state_values(trial_id, TrialState.COMPLETE, [1.0])
    with pytest.raises(UpdateFinishedTrialError):  # a second telling is still an error
        storage.set_trial_state_values(trial_id, TrialState.COMPLETE, [1.0])


def test_an_end_that_another_process_stored_meanwhile_is_not_taken_for_ones_own() -> None:
    away = Away(refused(), is_late=True)
    storage, trial_id, _ = patient(away)
    away.errors.append(None)
    InMemoryStorage.set_trial_state_values(away, trial_id, TrialState.COMPLETE, [2.0])
    with pytest.raises(UpdateFinishedTrialError):
        storage.set_trial_state_values(trial_id, TrialState.COMPLETE, [1.0])


def of_database(error) -> StorageInternalError:
    wrapped = StorageInternalError()
    wrapped.__cause__ = sqlalchemy.exc.OperationalError("INSERT", {}, error)
    return wrapped


@pytest.mark.parametrize(
    ("error", "does_pass"),
    [
        (psycopg.errors.AdminShutdown(), True),
        (psycopg.errors.CannotConnectNow(), True),
        (psycopg.errors.DeadlockDetected(), True),
        (psycopg.errors.TooManyConnections(), True),
        (psycopg.errors.DiskFull(), False),
        (psycopg.errors.InsufficientPrivilege(), False),
        (psycopg.errors.UndefinedTable(), False),
    ],
)
def test_what_may_pass_by_itself_is_waited_for_and_nothing_else(error, does_pass) -> None:
    assert is_passing(of_database(error)) == does_pass


def test_a_storage_goes_to_another_process_and_not_through_a_fork(tmp_path) -> None:
    storage = open_storage(f"sqlite:///{tmp_path}/study.db")
    assert pickle.loads(pickle.dumps(storage)).get_all_studies() == []
    storage._pid = os.getpid() + 1
    with pytest.raises(StorageInternalError, match="open it again in the new process"):
        storage.get_all_studies()


# PostgreSQL


def test_four_processes_on_postgresql_lose_and_double_nothing(postgresql, tmp_path) -> None:
    script(tmp_path, WORKER)
    ended = finish(*(begin(tmp_path, postgresql.url(), "15", "0.05") for _ in range(4)))
    assert [status for status, *_ in ended] == [0] * 4, ended
    assert_whole(postgresql.url(), tmp_path, 15, n_more=3)  # asking is not atomic
    workers = {
        t.user_attrs["moo:worker"]["pid"] for t in moo.load_study(postgresql.url()).optuna_study.trials
    }
    assert len(workers) > 1


AWAY_S = 3.0
"""How long the server is away. It stands for the half minute of a restart or a failover: every wait is of the
same kind, pauses that double to 5 s until the 120 s of `moo.patience` are over, and 3 s have five of them.
35 s, by hand, two processes and 15 trials: stopped or halted, both ended with status 0 after 41 to 44 s, each
trial evaluated once, at its first attempt; log.jsonl said that the storage does not answer, and that it
answers again after 36 s."""


@pytest.mark.parametrize("mode", ["immediate", "halted"])
def test_postgresql_away_in_the_middle_costs_waiting_and_not_the_sweep(postgresql, tmp_path, mode) -> None:
    script(tmp_path, WORKER)
    workers = [begin(tmp_path, postgresql.url(), "15", "0.2") for _ in range(2)]
    evaluated = tmp_path / "evaluated"
    while not evaluated.exists() or len(evaluated.read_text().split()) < 3:
        assert all(worker.poll() is None for worker in workers), finish(*workers)
        time.sleep(0.05)
    if mode == "halted":
        postgresql.signal(signal.SIGSTOP)
        time.sleep(AWAY_S)
        postgresql.signal(signal.SIGCONT)
    else:
        postgresql.stop(mode)
        time.sleep(AWAY_S)
        postgresql.start()
    ended = finish(*workers)
    assert [status for status, *_ in ended] == [0] * 2, ended
    assert_whole(postgresql.url(), tmp_path, 15, n_more=1)


def test_a_postgresql_that_stays_away_ends_the_sweep_in_one_line_and_it_goes_on_later(
    postgresql, tmp_path, monkeypatch
) -> None:
    opened = open_storage(postgresql.url(), patience_s=0.5)
    monkeypatch.setattr("moo.storage.open_storage", lambda url: opened)

    def stops(trial):
        if trial.number == 2:
            postgresql.stop("fast")
        return cheap(trial)

    with pytest.raises(
        SweepError, match="the sweep cannot go on: .*refused.* the same command goes on"
    ) as caught:
        sweep(tmp_path, storage=postgresql.url(), task=FunctionTask(stops, name="stops"), n_trials=4)
    assert "\n" not in str(caught.value)
    assert PASSWORD not in str(caught.value)
    postgresql.start()
    study = moo.load_study(postgresql.url())
    assert [t.number for t in study.results().complete] == [0, 1]


@pytest.mark.filterwarnings("ignore:<psycopg.Connection:ResourceWarning")  # of reading as any Optuna study
def test_no_password_reaches_an_output_a_report_or_an_error(postgresql, tmp_path, capfd, monkeypatch) -> None:
    (tmp_path / "here.py").write_text(
        "from objectives import FunctionTask\n"
        "def cheap(trial):\n"
        "    width = trial.suggest_int('width', 1, 9)\n"
        "    if width == 9:\n"
        "        raise RuntimeError('nine')\n"
        "    return {'accuracy': width / 10, 'latency_p50': width * 1e-3}\n"
        "task = FunctionTask(cheap)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    url = postgresql.url()
    objectives = ["--maximize", "accuracy", "--minimize", "latency_p50"]
    run = ["run", "here.py:task", "--trials", "10", "--sampler", "grid", "--storage", url, "--out", "out"]
    said = ["", ""]
    for words, status in [
        ([*run, *objectives], 0),
        ([*run, "--maximize", "accuracy"], 2),  # another problem
        (["report", url, "--out", "page"], 0),
        (["report", url, "--study", "no", "--out", "page"], 2),
        (["bundle", url, "0", "--out", "ship"], 2),  # a function has no artefact
        (["report", url.replace(str(postgresql.port), "1"), "--out", "page"], 2),
        (["run", "here.py:task", "--trials", "1", "--storage", url + "x", *objectives], 2),
        (["run", "here.py:task", "--trials", "1", "--storage", "postgresql//a:" + PASSWORD, *objectives], 2),
    ]:
        with pytest.raises(SystemExit) as left:
            main(words)
        written = capfd.readouterr()
        assert (left.value.code, words) == (status, words), written
        said = [said[0] + written.out, said[1] + written.err]
    texts = said + [p.read_bytes().decode("latin-1") for p in tmp_path.rglob("*") if p.is_file()]
    assert len(texts) > 5
    for form in (PASSWORD, PASSWORD.replace("/", "%2F").replace("@", "%40"), "eech7"):
        assert [text[:200] for text in texts if form in text] == []
    gc.collect()


@pytest.mark.parametrize("driver", ["postgres", "postgresql", "postgresql+psycopg"])
def test_a_url_of_postgresql_finds_its_driver(postgresql, driver) -> None:
    assert open_storage(postgresql.url(driver=driver)).get_all_studies() == []


def test_a_url_may_leave_the_password_to_the_environment(postgresql, monkeypatch) -> None:
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    url = f"postgresql://ann@127.0.0.1:{postgresql.port}/postgres"
    assert open_storage(url).get_all_studies() == []


def test_a_missing_driver_is_one_line_with_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(StorageError, match=re.escape("pip install 'moo-deploy[postgresql]'")) as caught:
        open_storage("postgresql+psycopg://ann:eech7@127.0.0.1:1/moo")
    assert "eech7" not in str(caught.value)


# SQLite


def test_a_database_that_another_program_has_locked_is_waited_for(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("moo.storage._SQLITE_LOCK_S", 0.5)
    url = f"sqlite:///{tmp_path}/study.db"
    other = []

    def locks(trial):
        if trial.number == 1:
            holder = "import sqlite3, sys, time; c = sqlite3.connect(sys.argv[1], isolation_level=None);"
            holder += "c.execute('BEGIN EXCLUSIVE'); print(flush=True); time.sleep(4)"
            held = subprocess.Popen(
                [sys.executable, "-c", holder, str(tmp_path / "study.db")], stdout=subprocess.PIPE
            )
            held.stdout.readline()
            other.append(held)
        return cheap(trial)

    results = sweep(tmp_path, storage=url, task=FunctionTask(locks, name="locks")).results()
    other[0].communicate()
    assert [t.state for t in results.trials] == ["complete"] * 3


FULL = """
    import pathlib, sys
    import moo
    from moo.errors import SweepError
    from objectives import FunctionTask

    storage = sys.argv[1]

    def fills(trial):
        width = trial.suggest_int("width", 1, 10**9)
        if trial.number == 2 and not pathlib.Path("freed").exists():
            with open("filler", "wb", buffering=0) as file:
                while file.write(bytes(1024)):
                    pass
        return {"accuracy": width / (10**9 + 1)}

    def run():
        return moo.optimize(FunctionTask(fills), maximize=["accuracy"], sampler="random", seed=0, n_trials=5,
                            storage=storage, folder="out")

    # the task itself meets the full disk first: then the database does
    try:
        print("ended", [t.state for t in run().results().trials])
    except SweepError as error:
        print("error", error)
    pathlib.Path("filler").unlink(missing_ok=True)
    pathlib.Path("freed").touch()
    print("again", [(t.number, t.state) for t in run().results().complete])
"""


def run_on_small_disk(tmp_path, size: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a script in a folder on a disk of that size, which nobody else sees."""
    disk = tmp_path / "disk"
    disk.mkdir()
    what = shlex.join([sys.executable, *words])
    mounted = f"mount -t tmpfs -o size={size} none {disk} && cd {disk} && exec {what}"
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mounted]
    try:
        subprocess.run([*command[:-1], f"mount -t tmpfs none {disk}"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a small disk cannot be mounted here: {error}")
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("storage", ["sqlite:///study.db", "study.journal"])
def test_a_full_disk_ends_the_sweep_in_one_line_and_nothing_finished_is_lost(tmp_path, storage) -> None:
    path = script(tmp_path, FULL)
    ran = run_on_small_disk(tmp_path, "1m", str(path), storage)
    assert ran.returncode == 0, ran.stderr
    lines = ran.stdout.splitlines()
    assert re.fullmatch(
        r"error the sweep cannot go on: .*(full|No space left).* What is finished is stored; .*", lines[0]
    ), ran.stdout
    assert lines[1].startswith("again [(0, 'complete'), (1, 'complete'), "), ran.stdout


ARTEFACTS = """
    import shutil, sys
    import numpy as np
    import moo
    from moo.errors import SweepError
    from objectives import Choices, OnnxTask, Split

    model, storage = sys.argv[1:]
    rows = np.random.default_rng(0).standard_normal((20, 400)).astype(np.float32)
    deploy = Choices(threads=(1, 2), optimization=("basic", "all"))
    task = OnnxTask(model, Split(rows, rows.argmax(1)), deploy=deploy)

    def run():
        return moo.optimize(task, maximize=["accuracy"], sampler="grid", seed=0, n_trials=4,
                            storage=storage, folder="out")

    try:
        print("ended", [(t.number, t.state, t.reason) for t in run().results().trials])
    except SweepError as error:
        print("error", error)
    print("stored", [(t.number, t.state) for t in moo.load_study(storage).results().trials])
    shutil.copytree("out", sys.argv[1] + ".out")
    shutil.rmtree("out")
    print("again", [(t.number, t.state) for t in run().results().trials])
"""


def test_a_disk_that_is_full_of_artefacts_ends_the_sweep_and_nothing_finished_is_lost(tmp_path) -> None:
    model = models.chain(tmp_path / "model.onnx", width=400)  # 0.6 MB
    storage = f"sqlite:///{tmp_path}/study.db"
    ran = run_on_small_disk(tmp_path, "1900k", str(script(tmp_path, ARTEFACTS)), str(model), storage)
    assert ran.returncode == 0, ran.stderr
    first, kept, again = ran.stdout.splitlines()
    assert re.fullmatch(
        r"error the sweep cannot go on: .*No space left.* What is finished is stored; .*", first
    )
    assert kept == "stored [(0, 'complete'), (1, 'complete')]"
    assert again == "again [(0, 'complete'), (1, 'complete'), (2, 'complete'), (3, 'complete')]"


# journal files


def test_two_processes_on_a_journal_file_lose_and_double_nothing(tmp_path) -> None:
    script(tmp_path, WORKER)
    ended = finish(*(begin(tmp_path, "team/study.log", "8", "0.05") for _ in range(1)))
    assert ended[0][0] == 1  # there is no such folder
    assert "StorageError: storage 'team/study.log' cannot be opened: there is no folder team" in ended[0][2]
    (tmp_path / "team").mkdir()
    ended = finish(*(begin(tmp_path, "team/study.log", "8", "0.05") for _ in range(2)))
    assert [status for status, *_ in ended] == [0, 0], ended
    assert_whole(str(tmp_path / "team" / "study.log"), tmp_path, 8, n_more=1)


def test_half_a_line_of_a_killed_process_is_removed_by_the_next_writer(tmp_path) -> None:
    journal = tmp_path / "study.log"
    sweep(tmp_path, storage=str(journal), n_trials=2)
    with journal.open("ab") as file:
        file.write(b'{"op_code":8,"worker_id":"x","tri')
    sweep(tmp_path, storage=str(journal), n_trials=4)
    assert [t.number for t in moo.load_study(str(journal)).results().complete] == [0, 1, 2, 3]
    assert b'"tri{' not in journal.read_bytes()


def test_a_journal_damaged_in_its_middle_is_one_line(tmp_path) -> None:
    journal = tmp_path / "study.log"
    sweep(tmp_path, storage=str(journal), n_trials=1)
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([*lines[:3], b"{broken\n", *lines[3:]]))
    with pytest.raises(StorageError, match="the journal .* is damaged"):
        open_storage(str(journal))


def test_a_file_that_is_no_journal_is_refused_and_left_alone(tmp_path) -> None:
    notes = tmp_path / "notes.log"
    notes.write_text("my notes")
    with pytest.raises(StorageError, match="is not a journal of Optuna"):
        open_storage(str(notes))
    assert notes.read_text() == "my notes"


# beginning


def test_of_two_tasks_that_begin_a_study_at_once_one_is_refused(tmp_path, monkeypatch) -> None:
    """The other process has created the study, and says what it is while this one waits."""
    url = f"sqlite:///{tmp_path}/study.db"
    sweep(tmp_path, storage=url, n_trials=1)
    begun, asked = moo.storage.stored_record, []

    def not_said_yet(storage, name):
        asked.append(name)
        return None if len(asked) < 4 else begun(storage, name)

    monkeypatch.setattr("moo.storage.stored_record", not_said_yet)
    with pytest.raises(StudyMismatchError, match="begun with another problem"):
        sweep(tmp_path, storage=url, maximize=["accuracy"], minimize=[])
