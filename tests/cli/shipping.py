"""A sweep whose trials are models of each kind that can be shipped, and some that cannot."""

import json
import sys
import textwrap
from pathlib import Path

import pytest

import moo as package
from moo.cli import main

SHIPS = '''
    import numpy as np
    from moo.evaluation import Artefact, Estimate, Evaluation
    from objectives import Task
    from objectives._compression._compress import Compression, compress
    from objectives._pipeline import measured_metrics
    from objectives._task import Served
    from profilers import ModelFile, OnnxRuntimeProfiler, Protocol, Runtime, fingerprint
    from tests.profilers import models

    SHORT = Protocol(min_time_s=0.02, precision_budget_s=0.02, warmup_budget_s=0.1)
    ROWS = np.random.default_rng(0).normal(size=(20, 16)).astype(np.float32)

    class Ships(Task):
        """A model of each kind that can be shipped, and some that cannot."""

        profiler, protocol = OnnxRuntimeProfiler(), SHORT

        def evaluate(self, trial, context):
            kind = trial.suggest_categorical("kind", [
                "plain", "external", "batch8", "int8", "words", "mixed",
                "custom", "torch", "nothing", "fails"])
            if kind == "fails":
                raise RuntimeError("out of luck")
            path = context.folder / "model.onnx"
            runtime, precision = Runtime(), "fp32"
            if kind == "external":
                models.with_external_data(path, location="weights.bin")
            elif kind == "words":
                models.text_input(path)
            elif kind == "mixed":
                models.mixed_types(path)
            else:
                models.chain(path, width=16)
            if kind == "batch8":
                runtime = Runtime(batch=8, intra_op_num_threads=2)
            if kind == "int8":
                precision = "int8-dynamic"
                compress(path, context.folder / "small.onnx", Compression.parse(precision))
                (context.folder / "small.onnx").replace(path)
            quality = {"accuracy": Estimate(0.9, 0.8, 0.95)}
            if kind == "nothing":
                return Evaluation(metrics={**quality, "latency_p50": Estimate(1.0)})
            found = self.profiler.measure(path, runtime, protocol=SHORT)
            found.save(context.folder)
            file, record = ModelFile.read(path), runtime.to_json()
            name = "model.onnx"
            if kind == "custom":
                record["options"] = {"custom_ops_library": "/opt/ops.so"}
            if kind == "torch":
                name, record["provider"] = "model.pt2", "torch"
            return Evaluation(
                metrics={**quality, **measured_metrics(found)}, tags=found.tags,
                environment=fingerprint(found.environment), runtime={**record, "precision": precision},
                artefact=Artefact(path=context.path_of(name), sha256=file.sha256, bytes=file.bytes),
                files={"measurement": context.path_of("measurement.json")})

        def served(self, path, params, split):
            if params["kind"] == "words":
                rows = {"color": np.array([["a"], ["word"]] * 3, dtype=object),
                        "size": np.arange(6, dtype=np.float32)[:, None]}
                return Served(rows, lambda outputs: {"accuracy": 0.9})
            return Served({"x": ROWS}, lambda outputs: {"accuracy": 0.9})

    class Other(Ships):
        name = "ships"
        def served(self, path, params, split):
            return None
'''
WORDS = ["--maximize", "accuracy", "--minimize", "latency_p50", "--sampler", "grid", "--seed", "0"]
KINDS = ("plain", "external", "batch8", "int8", "words", "mixed")


def number_of(folder: Path, kind: str) -> int:
    trials = package.load_study(f"sqlite:///{folder}/out/study.db").results().trials
    return next(trial.number for trial in trials if trial.params["kind"] == kind)


def sweep(folder: Path) -> Path:
    """Write the script and run it; the sweep is in `out`."""
    (folder / "ships.py").write_text(textwrap.dedent(SHIPS))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "path", list(sys.path))
        with pytest.raises(SystemExit) as left:
            main(["run", "ships.py:Ships", "--trials", "10", *WORDS, "--out", "out"])
    assert left.value.code == 0
    return folder


def record_of(folder: Path) -> dict:
    return json.loads((folder / "bundle.json").read_text())
