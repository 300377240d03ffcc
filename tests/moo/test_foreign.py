"""Any Optuna study as results: real studies in SQLite and journal files, run by Optuna alone."""

import hashlib
import math
import warnings
from urllib.parse import quote

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState, create_trial

import moo
from moo.errors import ProblemError, StorageError, StudyMismatchError
from moo.evaluation import Estimate
from moo.foreign import foreign_results, is_storage
from moo.storage import STUDY, hide_password
from objectives import FunctionTask


@pytest.fixture(autouse=True)
def quiet():
    optuna.logging.set_verbosity(optuna.logging.ERROR)


@pytest.fixture
def url(tmp_path) -> str:
    return f"sqlite:///{tmp_path}/foreign.db"


def made(url, *, directions=("maximize", "minimize"), name="foreign", names=None, **options) -> optuna.Study:
    study = optuna.create_study(storage=url, study_name=name, directions=list(directions), **options)
    if names is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names(names)
    return study


def add(study, values=None, *, state=TrialState.COMPLETE, **options) -> None:
    study.add_trial(create_trial(state=state, values=values, **options))


def test_values_directions_parameters_and_durations_are_the_study_s(url) -> None:
    study = made(url)
    study.optimize(lambda trial: (trial.suggest_float("x", 0, 1), trial.suggest_int("n", 1, 8)), n_trials=12)
    results = foreign_results(url)
    assert [m.name for m in results.metrics] == ["value_0", "value_1"]
    assert results.problem.directions == ["maximize", "minimize"]
    assert [t.params for t in results.trials] == [t.params for t in study.trials]
    assert [[t.estimate(f"value_{i}").value for i in (0, 1)] for t in results.trials] == [
        t.values for t in study.trials
    ]
    assert {t.number for t in results.front} == {t.number for t in study.best_trials}
    assert all((t.duration_s or 0) > 0 for t in results.trials)
    assert set(results.distributions) == {"x", "n"}


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (None, ["value"]),
        (["accuracy"], ["accuracy"]),
        (["Val. loss <\u00b5>"], ["Val_loss_\u03bc"]),
        (["损失"], ["损失"]),
        (["tags"], ["tags_2"]),
    ],
)
def test_objectives_are_called_as_the_study_calls_them(url, names, found) -> None:
    study = made(url, directions=["minimize"], names=names)
    add(study, [0.5])
    results = foreign_results(url)
    assert [metric.name for metric in results.metrics] == found
    assert results.metrics[0].title == (names or ["value"])[0].replace("_", " ")
    assert results.metrics[0].dimension == "number"
    assert results.table().columns.is_unique


def test_objectives_keep_their_order_and_two_of_one_name_stay_apart(url) -> None:
    ways = ["minimize", "maximize", "minimize"]
    add(made(url, directions=ways, names=["loss", "gain", "loss"]), [1.0, 2.0, 3.0])
    results = foreign_results(url)
    assert [o.metric.name for o in results.problem.objectives] == ["loss", "gain", "loss_2"]
    assert results.problem.directions == ways
    assert results.losses(results.trials).tolist() == [[1.0, -2.0, 3.0]]


def test_named_constraints_decide_who_is_feasible(url) -> None:
    study = made(url, directions=["minimize"])
    for value, small, cheap in [(1.0, 0.5, -1.0), (2.0, 0.0, -2.0), (3.0, -1.0, None)]:
        add(study, [value], constraints={"small": small} | ({} if cheap is None else {"too dear?": cheap}))
    results = foreign_results(url)
    assert [results.is_feasible(trial) for trial in results.trials] == [False, True, None]
    assert [t.number for t in results.front] == [1]
    assert [str(constraint) for constraint in results.problem.constraints] == ["small <= 0", "too_dear <= 0"]
    assert results.trials[0].violations == {"small <= 0": 0.5, "too_dear <= 0": -1.0}


def test_constraints_of_a_sampler_s_function_are_read_too(url) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sampler = optuna.samplers.NSGAIISampler(constraints_func=lambda t: (t.params["x"] - 0.5,), seed=0)
    study = made(url, sampler=sampler)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study.optimize(lambda t: (t.suggest_float("x", 0, 1), t.suggest_float("y", 0, 1)), n_trials=20)
    results = foreign_results(url)
    feasible = [trial.number for trial in results.trials if results.is_feasible(trial)]
    assert feasible == [t.number for t in study.trials if t.params["x"] <= 0.5]
    assert 0 < len(feasible) < 20
    assert {t.number for t in results.front} == {t.number for t in study.best_trials}


@settings(max_examples=25, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(-1, 1), st.integers(-1, 1)), min_size=1
    )
)
def test_the_front_is_optuna_s_own(tmp_path_factory, rows) -> None:
    path = tmp_path_factory.mktemp("s") / "s.log"
    study = made(JournalStorage(JournalFileBackend(str(path))))
    for up, down, a, b in rows:
        add(study, [up, down], constraints={"a": a, "b": b})
    front = {trial.number for trial in foreign_results(path).front}
    assert front == {trial.number for trial in study.best_trials}


def test_numbers_among_the_attributes_are_metrics_and_nothing_else_is(url) -> None:
    study = made(url, directions=["minimize"])
    told = {"params (M)": 3, "value": 7.5, "note": "text", "flag": True, "list": [1], "nan": math.nan}
    add(study, [1.0], user_attrs=told)
    add(study, [2.0], user_attrs={"params (M)": "many"})
    results = foreign_results(url)
    assert {metric.name for metric in results.metrics} == {"value", "params_M", "value_2", "nan"}
    assert results.trials[0].estimate("params_M").value == 3
    assert results.trials[0].estimate("value_2").value == 7.5
    assert results.trials[0].estimate("nan").value is None
    assert results.trials[1].estimate("params_M").value is None
    assert results.param_names == ()


def test_a_deviation_that_our_samplers_read_makes_an_interval(url) -> None:
    study = made(url, directions=["minimize"])
    add(
        study,
        [1.0],
        constraints={"c": -0.5},
        user_attrs={"moo:noise": {"objectives": [0.1], "constraints": {"c": None}}},
    )
    trial = foreign_results(url).trials[0]
    assert trial.estimate("value").sd == pytest.approx(0.1)
    assert trial.estimate("c") == Estimate(-0.5)


def test_pruned_failed_and_running_trials_are_what_they_are(url) -> None:
    def objective(trial):
        if trial.number == 1:
            raise OSError("gone")
        trial.report(0.5, 0)
        trial.report(math.inf, 1)
        trial.report(0.25, 2)
        if trial.number == 2:
            raise optuna.TrialPruned
        return 0.125

    study = made(url, directions=["minimize"])
    study.optimize(objective, n_trials=3, catch=(OSError,))
    study.ask()
    study.enqueue_trial({"x": 1})
    results = foreign_results(url)
    assert [trial.state for trial in results.trials] == ["complete", "failed", "pruned"]
    assert results.n_running == 1
    assert "1 more running" in results.counts
    assert results.trials[0].evaluation.curve == ((0, {"value": 0.5}), (2, {"value": 0.25}))
    assert results.trials[2].evaluation.curve == results.trials[0].evaluation.curve
    assert results.trials[2].estimate("value").value is None
    assert results.trials[2].reason == "pruned after step 2"
    assert results.failures == [("objective: the trial failed; Optuna stores no reason", 1)]


def test_other_objectives_and_bounds_can_be_asked_of_what_it_stored(url) -> None:
    study = made(url, directions=["minimize"], names=["loss"])
    for loss, size in [(1.0, 9), (2.0, 5), (3.0, 1)]:
        add(study, [loss], user_attrs={"params (M)": size})
    results = foreign_results(
        url, minimize=["loss", "params (M)"], constraints=["params (M) <= 8", "loss <= 2"]
    )
    assert [trial.number for trial in results.front] == [1]
    one = foreign_results(url, minimize="params_M")
    assert [trial.number for trial in one.front] == [2]
    with pytest.raises(ProblemError, match="maximize loss: expected minimize"):
        foreign_results(url, maximize=["loss"])
    with pytest.raises(
        ProblemError, match=r"minimize: the study has no number 'size': known: .*params \(M\)"
    ):
        foreign_results(url, minimize=["size"])
    with pytest.raises(ProblemError, match="constraint 'lost <= 3': .* did you mean loss"):
        foreign_results(url, constraints=["lost <= 3"])
    with pytest.raises(ProblemError, match="constraint 'loss': expected 'metric <= bound'"):
        foreign_results(url, constraints=["loss"])
    with pytest.raises(ProblemError, match="relative to the baseline, but the study has none"):
        foreign_results(url, constraints=["loss <= baseline"])


def test_a_study_without_trials_is_empty_and_no_error(url) -> None:
    made(url)
    results = foreign_results(url)
    assert results.trials == ()
    assert len(results.problem.objectives) == 2


@pytest.mark.parametrize(
    "noise",
    [
        *("text", [1], 3, {"objectives": "ab", "constraints": [1]}, {"objectives": [True]}),
        *({"objectives": [-1.0]}, {"objectives": [10**400]}, {"objectives": [math.inf]}),
        *({"objectives": [1.7e308]}, {"constraints": {"c": "x"}}),
    ],
)
def test_a_deviation_that_is_none_makes_no_interval(url, noise) -> None:
    study = made(url, directions=["minimize"])
    add(study, [1.5], constraints={"c": -0.5}, user_attrs={"moo:noise": noise})
    trial = foreign_results(url).trials[0]
    assert (trial.estimate("value"), trial.estimate("c")) == (Estimate(1.5), Estimate(-0.5))


def test_numbers_of_any_size_are_read(url) -> None:
    study = made(url, directions=["minimize"])
    add(study, [1e308], user_attrs={"n": 10**400})
    add(study, [-math.inf], user_attrs={"n": 3})
    results = foreign_results(url)
    assert [trial.estimate("value").value for trial in results.trials] == [1e308, -math.inf]
    assert results.trials[0].estimate("n") == Estimate(None, reason="stored as a number beyond 64 bits")
    assert results.trials[1].estimate("n").value == 3


@pytest.mark.parametrize("key", ["evaluation", "partial", "failure", "parent", "baseline", "duration_s"])
def test_attributes_called_as_this_project_s_are_none_of_a_foreign_trial(url, key) -> None:
    study = made(url, directions=["minimize"])
    for state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL):
        values = [1.0] if state == TrialState.COMPLETE else None
        add(study, values, state=state, user_attrs={f"moo:{key}": "text"})
    results = foreign_results(url)
    assert [trial.state for trial in results.trials] == ["complete", "pruned", "failed"]
    assert not any(trial.is_baseline or trial.parent is not None for trial in results.trials)


# a study of this project


@pytest.fixture
def own(tmp_path) -> str:
    def cheap(trial):
        width = trial.suggest_int("width", 1, 1000)
        return {"accuracy": width / 1001, "latency_p50": width * 1e-6}

    moo.optimize(
        FunctionTask(cheap, name="cheap"),
        maximize=["accuracy"],
        minimize=["latency_p50"],
        constraints=["latency_p50 <= 900 us"],
        n_trials=5,
        sampler="random",
        seed=0,
        folder=tmp_path / "out",
    )
    return f"sqlite:///{tmp_path}/out/study.db"


def test_a_study_of_this_project_is_what_load_study_gives(own) -> None:
    assert foreign_results(own) == moo.load_study(own).results()
    with pytest.raises(ProblemError, match="its own objectives and constraints .maximize accuracy; minimize"):
        foreign_results(own, constraints=["accuracy >= 50%"])


def test_a_study_of_a_newer_format_is_refused(own) -> None:
    study = optuna.load_study(study_name=None, storage=own)
    study.set_user_attr(STUDY, {**study.user_attrs[STUDY], "schema": "moo.study/99"})
    with pytest.raises(StudyMismatchError, match="moo.study/99"):
        foreign_results(own)


@pytest.mark.parametrize(
    "record", ["text", {"schema": "moo.study/1"}, {"schema": "moo.study/1", "problem": 3}]
)
def test_a_study_with_a_damaged_record_is_refused_in_one_line(url, record) -> None:
    study = made(url, directions=["minimize"])
    add(study, [1.0])
    study.set_user_attr(STUDY, record)
    with pytest.raises(
        StorageError, match="'foreign' cannot be read: .*: it is damaged, or not as moo writes it"
    ):
        foreign_results(url)


# where studies live


def test_a_path_a_url_and_a_journal_give_the_same(url, tmp_path) -> None:
    add(made(url), [1.0, 2.0], constraints={"c": 0.0})
    log = tmp_path / "study.log"
    journal = JournalStorage(JournalFileBackend(str(log)))
    optuna.copy_study(from_study_name="foreign", from_storage=url, to_storage=journal)
    found = foreign_results(url)
    assert foreign_results(tmp_path / "foreign.db") == found
    again = foreign_results(str(log), "foreign")
    assert (again.problem, len(again.trials)) == (found.problem, 1)
    assert is_storage(log)
    assert is_storage(tmp_path / "foreign.db")


def test_a_database_is_only_read_even_where_its_name_is_odd(tmp_path) -> None:
    odd = tmp_path / "50% of a?b#c"
    odd.mkdir()
    add(made(f"sqlite:///{tmp_path}/plain.db"), [1.0, 2.0])
    path = odd / "study 1%20.db"
    path.write_bytes((tmp_path / "plain.db").read_bytes())
    path.chmod(0o444)
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    assert len(foreign_results(path).trials) == 1
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before
    assert [child.name for child in odd.iterdir()] == [path.name]


def test_several_studies_are_listed_and_one_can_be_named(url) -> None:
    for name in ("a", "b <i>"):
        add(made(url, name=name), [1.0, 2.0])
    assert foreign_results(url, "b <i>").study_name == "b <i>"
    with pytest.raises(StorageError, match="holds 2 studies: name one of them: a, b <i>"):
        foreign_results(url)
    with pytest.raises(StorageError, match="has no study 'c'; it holds: a, b <i>"):
        foreign_results(url, "c")


def test_a_database_of_something_else_is_refused_and_left_alone(tmp_path) -> None:
    import sqlite3

    path = tmp_path / "other.db"
    with sqlite3.connect(path) as connection:
        connection.execute("create table people (name text)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StorageError, match="the database holds no study of Optuna"):
        foreign_results(path)
    assert path.read_bytes() == before
    made(f"sqlite:///{tmp_path}/empty.db")
    optuna.delete_study(study_name="foreign", storage=f"sqlite:///{tmp_path}/empty.db")
    with pytest.raises(StorageError, match="holds no study"):
        foreign_results(tmp_path / "empty.db")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("study.db", b"", "got an empty file"),
        ("study.db", b"no database at all", "got a file that is neither"),
        ("study.log", b"2026-01-01 started\n", "got a file that is neither"),
        ("study.log", b'{"op_code": "what"}\n{"op_code": 1}\n', "is no journal that Optuna can read"),
        ("study.log", b'{"op_code": 4, broken\n{"op_code": 4}\n', "is no journal that Optuna can read"),
    ],
)
def test_a_file_that_is_no_storage_is_refused_and_left_alone(tmp_path, name, content, said) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(StorageError, match=said):
        foreign_results(path)
    assert path.read_bytes() == content
    assert [child.name for child in tmp_path.iterdir()] == [name]


def test_what_is_not_there_is_not_made(tmp_path) -> None:
    for storage in (tmp_path / "none.db", f"sqlite:///{tmp_path}/none.db", tmp_path / "none.log"):
        with pytest.raises(StorageError, match="there is no such file"):
            foreign_results(storage)
    with pytest.raises(StorageError, match="got a folder"):
        foreign_results(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "url",
    [
        *(
            "postgresql://ann:s3cret@localhost:1/moo",
            "nosuchdriver://ann:s3cret@h/moo",
            "redis://ann:s3cret@h/0",
        ),
        *("postgresql://ann:x/s3cret@h:no/moo", "postgresql://ann:s3cret:s3cret@h:no/moo"),
        *("nosuchdriver://ann:x@s3cret@h/moo", "nosuchdriver://ann:x%40s3cret@h/moo"),
    ],
)
def test_a_password_is_in_no_message(url) -> None:
    with pytest.raises(StorageError) as caught:
        foreign_results(url)
    assert "s3cret" not in str(caught.value)
    assert "ann:***@" in str(caught.value)


_SECRET = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1, max_size=12)


@settings(deadline=None)
@given(
    driver=st.sampled_from(["postgresql", "mysql+pymysql", "redis"]),
    user=st.text("abz09._-@%", max_size=5),
    password=_SECRET | st.text("@:/?#%& ", min_size=1, max_size=6),
    rest=st.sampled_from(["h/moo", "h:5432/moo?sslmode=require", "[::1]:1/m", ""]),
    is_quoted=st.booleans(),
)
def test_whatever_a_password_is_it_is_hidden_from_a_url_and_from_a_message(
    driver, user, password, rest, is_quoted
) -> None:
    written = quote(password, safe="") if is_quoted else password
    shown = f"{driver}://{user}:***@{rest}"
    assert hide_password(f"{driver}://{user}:{written}@{rest}") == shown
    message = f"Could not parse SQLAlchemy URL from string '{driver}://{user}:{written}@{rest}'"
    assert hide_password(message) == f"Could not parse SQLAlchemy URL from string '{shown}'"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql:/ann:s3cret@h/x", "postgresql:/ann:***@h/x"),
        ("postgresql//ann:s3cret@h/x", "postgresql//ann:***@h/x"),
        ("postgresql://h/x?user=ann&password=s3cret&a=b", "postgresql://h/x?user=ann&password=***&a=b"),
        (
            "mssql://?odbc_connect=UID%3Da%3BPWD%3Ds3cret%3BX%3D1",
            "mssql://?odbc_connect=UID%3Da%3BPWD%3D***%3BX%3D1",
        ),
        ("postgresql://ann@h:5432/x", "postgresql://ann@h:5432/x"),
        ("sqlite:////a/b.db", "sqlite:////a/b.db"),
        ("C:/a/b.db", "C:/a/b.db"),
    ],
)
def test_passwords_are_hidden_wherever_a_url_has_them_and_nothing_else_is(url, shown) -> None:
    assert hide_password(url) == shown
