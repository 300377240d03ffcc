"""Sweeps on a real Ray cluster of several nodes, all of this machine."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import moo
from moo.devices import on_place, places
from moo.engines import RayEngine
from moo.engines._ray_actors import RaySend
from moo.errors import InputError, SweepError
from moo.evaluation import Estimate, Evaluation
from moo.log import LOG
from moo.task import Task as AnyTask
from objectives import FunctionTask, OnnxTask, Split, Task
from objectives._pipeline import also_metrics, measured_metrics
from profilers import FakeProfiler, Runtime
from tests.profilers import models

ray = pytest.importorskip("ray", reason="needs ray: pip install 'moo-deploy[ray]'")
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray"), pytest.mark.filterwarnings("default")]

STORE = {"object_store_memory": 80 * 2**20, "include_dashboard": False}
MS = {"pi": 1.0, "desk": 3.0}


@pytest.fixture(scope="module")
def cluster() -> Iterator[object]:
    """A head with one processor, and two devices without any."""
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, **STORE})
    for label in MS:
        made.add_node(num_cpus=0, resources={f"moo-profiler:{label}": 1}, object_store_memory=80 * 2**20)
    ray.init(address=made.address, log_to_driver=False, logging_level="ERROR")
    yield made
    ray.shutdown()
    made.shutdown()


def latency_of_the_node(path, runtime, launch) -> list[float]:
    """What only a profiler knows that runs on the node of that name."""
    (label,) = (
        label for label in MS if f"moo-profiler:{label}" in ray.get_runtime_context().get_assigned_resources()
    )
    width = int(Path(path).stem.split("-")[1])
    return [MS[label] * 1e-3 * width] * 100


class Sent(Task):
    """Its models are measured by the node that they are sent to."""

    profiler = FakeProfiler(latency_s=latency_of_the_node)

    @property
    def metrics(self):
        return also_metrics(self._elsewhere)

    def evaluate(self, trial, context):
        width = trial.suggest_int("width", 1, 32)
        path = models.chain(context.folder / f"width-{width}.onnx", width=width)
        found = measured_metrics(self.profiler.measure(path, Runtime()))
        for name, profiler in self._elsewhere.items():
            elsewhere = measured_metrics(profiler.measure(path, Runtime()))
            found |= {
                metric.name: elsewhere[metric.name.removeprefix(f"{name}_")]
                for metric in self.metrics
                if metric.name.removeprefix(f"{name}_") in elsewhere
            }
        return Evaluation(metrics={"accuracy": Estimate.exact(width / 33), **found})


def run(task: AnyTask, folder: Path, **changes) -> moo.Study:
    arguments = {"maximize": ["accuracy"], "minimize": ["latency_p50"], "n_trials": 4, "seed": 0}
    arguments |= {"sampler": "random", "engine": "ray", "folder": folder / "out"}
    return moo.optimize(task, **{**arguments, **changes})


def test_each_candidate_is_measured_on_each_device(cluster, tmp_path) -> None:
    engine = RayEngine(devices=["desk", "pi"])
    study = run(Sent(), tmp_path, engine=engine, minimize=["latency_p50", "pi_latency_p50"], n_workers=2)
    results = study.results()
    assert [trial.state for trial in results.trials] == ["complete"] * 4
    for trial in results.trials:
        width = trial.params["width"]
        assert trial.estimate("latency_p50").value == pytest.approx(3e-3 * width)
        assert trial.estimate("pi_latency_p50").value == pytest.approx(1e-3 * width)
        assert (study.folder / "trials" / f"{trial.number:05d}" / f"width-{width}.onnx").is_file()
    assert results.devices == ("desk", "pi")
    assert places(results) == {"": "desk", "pi": "pi"}
    assert len(on_place(results, "pi").front) == 4
    assert "devices" in study.optuna_study.user_attrs["moo:setting"]


def test_a_real_model_is_measured_on_a_device_and_its_files_come_back(cluster, tmp_path) -> None:
    model = models.chain(tmp_path / "chain.onnx", width=4)
    rows = np.random.default_rng(0).standard_normal((40, 4)).astype(np.float32)
    task = OnnxTask(model, Split(rows, (rows[:, 0] > 0).astype(int)), score="accuracy")
    study = run(task, tmp_path, engine=RayEngine(devices=["pi"]), n_trials=1)
    (trial,) = study.results().trials
    assert trial.state == "complete", trial.reason
    assert trial.estimate("latency_p50").value > 0
    artefact = study.folder / trial.evaluation.artefact.path
    assert artefact.stat().st_size == trial.evaluation.artefact.bytes
    assert (study.folder / trial.evaluation.files["samples"]).is_file()


def cheap(trial):
    return {"accuracy": trial.suggest_int("width", 1, 1000) / 1001, "latency_p50": 1e-3}


def test_a_task_that_measures_by_itself_needs_no_device_and_is_the_same_sweep_as_here(
    cluster, tmp_path
) -> None:
    elsewhere = run(FunctionTask(cheap), tmp_path / "there")
    here = run(FunctionTask(cheap), tmp_path / "here", engine="local")
    assert elsewhere.front().equals(here.front())
    assert '"engine": "ray"' in (elsewhere.folder / LOG).read_text()


def test_an_error_of_the_task_is_a_failed_trial_with_its_traceback_here(cluster, tmp_path) -> None:
    def fails_once(trial):
        if trial.number == 1:
            raise ZeroDivisionError("no luck")
        return cheap(trial)

    study = run(FunctionTask(fails_once), tmp_path, n_trials=3)
    states = {trial.number: trial.state for trial in study.results().trials}
    assert states == {0: "complete", 1: "failed", 2: "complete"}
    (failed,) = study.results().failed
    assert failed.reason.startswith("ZeroDivisionError: no luck (fails_once, test_ray.py:")
    assert "fails_once" in (study.folder / "trials" / "00001" / "error.txt").read_text()


def test_a_trial_whose_process_dies_is_run_again_once(cluster, tmp_path) -> None:
    mark = tmp_path / "died"

    def dies_once(trial):
        if trial.number == 1 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if trial.number == 2:
            os._exit(1)
        return cheap(trial)

    study = run(FunctionTask(dies_once), tmp_path, n_trials=4)
    trials = study.results().trials
    assert [trial.state for trial in trials] == ["complete", "complete", "failed", "complete"]
    assert trials[2].reason == "its process ended 2 times without a word (killed, or out of memory)"


def test_a_trial_that_takes_too_long_is_ended_and_the_sweep_goes_on(cluster, tmp_path) -> None:
    def hangs(trial):
        while trial.number == 0:
            signal.pause()
        return cheap(trial)

    study = run(FunctionTask(hangs), tmp_path, n_trials=2, limits=moo.Limits(time_s=2))
    assert [trial.state for trial in study.results().trials] == ["failed", "complete"]
    assert study.results().failed[0].reason == "took longer than 2 s"


def test_a_node_that_goes_takes_no_trial_along(cluster, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("ray._private.utils.set_sigterm_handler", lambda handler: None)  # for a thread cannot
    node = cluster.add_node(num_cpus=2, resources={"spare": 1}, object_store_memory=80 * 2**20)
    mark = tmp_path / "begun"

    class OnSpare(FunctionTask):
        resources = {"CPU": 1, "spare": 0.5}  # noqa: RUF012

    def waits(trial):
        if trial.number == 1 and not mark.exists():
            mark.touch()
            while True:
                signal.pause()
        return cheap(trial)

    class Removes:
        """Takes the node away as soon as trial 1 runs there, and brings another."""

        def begun(self, results, n_trials): ...

        def trial_finished(self, trial):
            while not mark.exists():
                pass
            if trial.number == 0:
                cluster.remove_node(node)
                others.append(
                    cluster.add_node(num_cpus=2, resources={"spare": 1}, object_store_memory=80 * 2**20)
                )

    others: list[object] = []
    try:
        study = run(OnSpare(waits, name="waits"), tmp_path, n_workers=2, n_trials=4, observer=Removes())
    finally:
        for other in others:
            cluster.remove_node(other)
    trials = study.optuna_study.trials
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 4
    assert trials[1].user_attrs["moo:attempts"] == 2


def test_a_device_that_is_gone_for_good_ends_the_sweep_and_the_same_call_goes_on(
    cluster, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr("moo.engines._ray_actors.PATIENCE_S", 0.0)
    label = {"moo-profiler:lent": 1}
    node = cluster.add_node(num_cpus=0, resources=label, object_store_memory=80 * 2**20)
    fleet = RayEngine(devices=["lent"]).opened()
    with fleet as opened:
        send = RaySend("lent", opened._device("lent"))
        assert send(lambda folder, kept: kept.setdefault("n", 1), alone=True) == 1
        cluster.remove_node(node)
        with pytest.raises(SweepError, match="device lent is gone, and no other node"):  # noqa: PT012
            while True:  # until the cluster has noticed
                send(lambda folder, kept: None, alone=False)
        monkeypatch.setattr("moo.engines._ray_actors.PATIENCE_S", 300.0)
        node = cluster.add_node(num_cpus=0, resources=label, object_store_memory=80 * 2**20)
        assert send(lambda folder, kept: kept, alone=False) == {}
        cluster.remove_node(node)


@pytest.mark.parametrize(
    ("devices", "message"),
    [
        (
            ["nowhere"],
            r"device: no node .* resource moo-profiler:nowhere; it has desk, pi\. Start one with: ray",
        ),
        ([], "device: the Ray cluster has desk, pi: name one or several"),
        (["pi", "pi"], "device: two of pi, pi are alike"),
        (["so wrong"], "device: expected a name of letters, .* got 'so wrong'"),
    ],
)
def test_devices_that_cannot_be_are_refused_before_anything_is_written(
    cluster, tmp_path, devices, message
) -> None:
    with pytest.raises(InputError, match=message):
        run(Sent(), tmp_path, engine=RayEngine(devices=devices))
    assert not (tmp_path / "out").exists()


def test_a_device_for_a_task_that_measures_by_itself_is_refused(cluster, tmp_path) -> None:
    with pytest.raises(InputError, match="task cheap measures where it is evaluated: leave it out"):
        run(FunctionTask(cheap), tmp_path, engine=RayEngine(devices=["pi"]))


def test_resources_that_no_node_has_are_refused(cluster, tmp_path) -> None:
    class Large(FunctionTask):
        resources = {"CPU": 64, "GPU": 1}  # noqa: RUF012

    with pytest.raises(
        InputError, match=r"needs CPU 64, GPU 1 on one node; the largest .* have CPU \d, GPU 0"
    ):
        run(Large(cheap), tmp_path)


def test_what_takes_too_much_memory_has_failed_unless_an_earlier_trial_may_have_leaked_it(
    cluster, tmp_path
) -> None:
    kept = []

    def takes(trial):
        if trial.number == 0:
            kept.append(np.ones(10**8))
            signal.pause()
        if trial.number == 1:
            kept.append(np.ones(4 * 10**7))
        if trial.number == 2 and kept:
            kept.append(np.ones(6 * 10**7))
            signal.pause()
        return cheap(trial)

    limits = moo.Limits(memory_bytes=800e6)
    study = run(FunctionTask(takes), tmp_path, limits=limits)
    trials = study.results().trials
    assert [trial.state for trial in trials] == ["failed", "complete", "complete", "complete"]
    assert trials[0].stage == "limit"
    assert trials[0].reason.startswith("took memory of ")
    assert trials[0].reason.endswith(", more than the limit of 763 MiB")
    attempts = [trial.user_attrs["moo:attempts"] for trial in study.optuna_study.trials]
    assert attempts == [1, 1, 2, 1]


def test_an_address_where_nobody_listens_is_refused_at_once(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(
            InputError, match=f"engine: nobody answers at the Ray cluster's address {address}"
        ):
            run(FunctionTask(cheap), tmp_path, engine=RayEngine(address=address))
        monkeypatch.setenv("RAY_ADDRESS", address)
        with pytest.raises(InputError, match="correct RAY_ADDRESS"):
            run(FunctionTask(cheap), tmp_path)


def test_an_unknown_engine_is_refused(tmp_path) -> None:
    with pytest.raises(
        InputError, match=r"engine: expected local, ray or a moo.engines.RayEngine, got 'spark'"
    ):
        run(FunctionTask(cheap), tmp_path, engine="spark")


def test_one_ray_engine_has_another_task_refused_as_ever(cluster, tmp_path) -> None:
    run(FunctionTask(cheap, name="same"), tmp_path, n_trials=1)
    with pytest.raises(InputError, match="baseline"):
        run(FunctionTask(cheap, name="same", baseline={"width": 3}), tmp_path, n_trials=2)


COMMAND = "from moo.cli import main; main()"
FAMILY = """
    import time
    from pathlib import Path
    from objectives import FunctionTask

    HERE = {here!r}

    def slow(trial):
        width = trial.suggest_int("width", 1, 1000)
        Path(HERE, f"begun-{{trial.number}}").touch()
        while trial.number == 1:
            time.sleep(0.05)
        return {{"accuracy": width / 1001, "latency_p50": 1e-3}}

    task = FunctionTask(slow)
"""


def test_a_second_interrupt_ends_the_command_at_once_and_the_trial_waits_for_the_next(
    cluster, tmp_path
) -> None:
    (tmp_path / "family.py").write_text(textwrap.dedent(FAMILY.format(here=str(tmp_path))))
    words = ["run", "family.py:task", "--trials", "3", "--engine", "ray", "--sampler", "random"]
    words += ["--maximize", "accuracy", "--seed", "0"]
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, *words],
        cwd=tmp_path,
        env={**os.environ, "RAY_ADDRESS": cluster.address},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with contextlib.ExitStack() as stack:
        stack.callback(process.kill)
        while not (tmp_path / "begun-1").exists():
            assert process.poll() is None, process.communicate()
        process.send_signal(signal.SIGINT)
        while "Ctrl-C again" not in process.stderr.readline():
            pass
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Stopped at once" in out
    trials = moo.load_study(f"sqlite:///{tmp_path}/moo-runs/slow/study.db").optuna_study.trials
    assert [(t.state.name, t.user_attrs["moo:attempts"]) for t in trials] == [("COMPLETE", 1), ("WAITING", 0)]
