"""From a study and a trial to all that a bundle says of it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from moo.bundle import (
    FEWEST_LAUNCHES,
    Bundle,
    Described,
    Machine,
    Model,
    Promise,
    Sample,
    refused_option,
    tolerance_of,
)
from moo.cli._bundle_model import given_calls, made_calls
from moo.errors import InputError, SweepError, TrialError
from moo.evaluation import Estimate, Evaluation
from moo.problem import describe_bound
from moo.shapes import ANY, EACH, checked
from moo.storage import STUDY
from objectives._confirm import stored_runtime

if TYPE_CHECKING:
    from moo.results import FinishedTrial, Results
    from moo.study import Study
    from objectives import Task

__all__ = ["Gathered", "Shipped"]

_MODEL = "model"
_INPUT = {"name": str, "shape": [int]}
_FACTS = ({EACH: ANY}, None)
_DOCUMENT = {
    "measurements?": [{"inputs?": [_INPUT], "launches?": [ANY]}],
    "protocol?": _FACTS,
    "environment?": ({"fingerprint?": str, "identity?": _FACTS, "software?": _FACTS}, None),
}
_STATED = ("fingerprint", "identity", "software")


@dataclass(frozen=True, kw_only=True)
class Shipped:
    """What `moo.bundle.write` takes.

    Args:
        bundle: All that is said.
        model_files: What is copied, by the path in the bundle.
        sample_inputs: By input name, a call each along the first axis.
        expected_outputs: By output name, the same.
    """

    bundle: Bundle
    model_files: Mapping[str, Path]
    sample_inputs: Mapping[str, NDArray[Any]]
    expected_outputs: Mapping[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """A trial of a study, and the machine that its sample is run on.

    Args:
        study: The study.
        results: Its table.
        trial: A complete trial.
        root: The sweep's folder.
        task: For rows of its validation data; None for inputs that are made.
        machine: Reads and runs the artefact.
    """

    study: Study
    results: Results
    trial: FinishedTrial
    root: Path
    task: Task | None
    machine: Machine

    def shipped(self) -> Shipped:
        """Return the bundle, its sample run.

        Raises:
            InputError: If the trial's artefact cannot be shipped.
            TrialError: If it cannot be run.
        """
        path = self._artefact()
        model = self._described(path)
        sample = self._sample(model)
        outputs = self._outputs(path, model, sample)
        batch = int(self._evaluation.runtime["batch"])
        promises = self._promises()
        names = [path.name, *model.data]
        bundle = Bundle(
            candidate=self._candidate,
            model=Model(
                path=f"{_MODEL}/{path.name}",
                sha256=model.sha256,
                bytes=model.bytes,
                data=tuple(f"{_MODEL}/{name}" for name in model.data),
            ),
            runtime=dict(self._evaluation.runtime),
            inputs=model.inputs,
            outputs=model.outputs,
            sample=Sample(
                source="made" if self.task is None else "validation",
                n_calls=len(next(iter(sample.values()))),
                n_rows=batch,
                tolerances={
                    tensor.name: tolerance_of(
                        tensor.dtype, str(self._evaluation.runtime.get("precision", ""))
                    )
                    for tensor in model.outputs
                },
            ),
            promises=promises,
            protocol=self._document.get("protocol"),
            environment=self._environment,
            confirmation=self._confirmation,
            tags=self._evaluation.tags,
            notes=tuple(self._notes(promises)),
            made={"time": datetime.now(UTC).isoformat(timespec="seconds"), "moo": _own_version()},
        )
        return Shipped(
            bundle=bundle,
            model_files={f"{_MODEL}/{name}": path.parent / name for name in names},
            sample_inputs=sample,
            expected_outputs=outputs,
        )

    @property
    def _evaluation(self) -> Evaluation:
        assert self.trial.evaluation is not None, "a complete trial has one"
        return self.trial.evaluation

    def _artefact(self) -> Path:
        """Return the artefact's file, which must be an ONNX model that the search left as it is."""
        number, artefact = self.trial.number, self._evaluation.artefact
        if artefact is None:
            raise InputError(
                f"TRIAL: trial {number} kept no artefact: a task that is one function makes none to ship"
            )
        provider = str(self._evaluation.runtime.get("provider", "cpu"))
        if not artefact.path.lower().endswith(".onnx") or provider.startswith("torch"):
            raise InputError(
                f"TRIAL: the artefact of trial {number}, {artefact.path}, is run by {provider}: a bundle is"
                " run by ONNX Runtime alone: let the task export ONNX"
            )
        try:
            options = dict(stored_runtime(self._evaluation).options)
        except (TypeError, ValueError) as error:
            raise InputError(
                f"TRIAL: trial {number} cannot be shipped: its runtime cannot be: {error}"
            ) from error
        if "batch" not in self._evaluation.runtime:
            raise InputError(f"TRIAL: trial {number} cannot be shipped: its runtime has no batch")
        for name, value in options.items():
            reason = refused_option(str(name), str(value))
            if reason is not None:
                raise InputError(f"TRIAL: trial {number} cannot be shipped: its runtime's option {reason}")
        return self.root / artefact.path

    def _described(self, path: Path) -> Described:
        artefact, number = self._evaluation.artefact, self.trial.number
        assert artefact is not None
        if not path.is_file():
            raise InputError(f"TRIAL: the artefact of trial {number} is missing: there is no {path}")
        try:
            model = self.machine.describe(path)
        except TrialError as error:
            raise InputError(f"TRIAL: trial {number} cannot be shipped: {error}") from error
        if model.sha256 != artefact.sha256:
            raise InputError(
                f"TRIAL: the artefact of trial {number} was changed since the search: its SHA-256 is"
                f" {model.sha256[:12]}.., was {artefact.sha256[:12]}..: what is promised is not of this one"
            )
        return model

    def _sample(self, model: Described) -> dict[str, NDArray[Any]]:
        batch, seed = int(self._evaluation.runtime["batch"]), int(self._begun["seed"])
        if self.task is None:
            return made_calls(model.inputs, batch, self._measured_shapes, seed)
        served = self.task.served(self._artefact(), self.trial.params, "validation")
        if served is None:
            raise InputError(f"--task: task {self.task.name} serves no validation data: leave it out")
        return given_calls(model.inputs, batch, served.inputs)

    def _outputs(
        self, path: Path, model: Described, sample: Mapping[str, NDArray[Any]]
    ) -> dict[str, NDArray[Any]]:
        n_calls = len(next(iter(sample.values())))
        runtime = self._evaluation.runtime
        calls = [
            self.machine.run(path, runtime, {name: np.asarray(array[call]) for name, array in sample.items()})
            for call in range(n_calls)
        ]
        try:
            return {tensor.name: np.stack([call[tensor.name] for call in calls]) for tensor in model.outputs}
        except ValueError as error:
            raise SweepError(
                f"the outputs of trial {self.trial.number} are not of one shape in all calls: {error}"
            ) from error

    @property
    def _begun(self) -> Mapping[str, Any]:
        record: Mapping[str, Any] = self.study.optuna_study.user_attrs[STUDY]
        return record

    @cached_property
    def _document(self) -> dict[str, Any]:
        """The search's own document of its measurement; empty where it is gone, or not as it was written."""
        path = self.root / str(self._evaluation.files.get("measurement"))
        try:
            text = path.read_text(encoding="utf-8") if path.is_file() else "{}"
            return dict(checked(json.loads(text), _DOCUMENT))
        except (OSError, ValueError, RecursionError):
            return {}

    @property
    def _measured(self) -> Mapping[str, Any]:
        found = self._document.get("measurements") or [{}]
        return dict(found[0])

    @property
    def _measured_shapes(self) -> dict[str, list[int]]:
        return {entry["name"]: list(entry["shape"]) for entry in self._measured.get("inputs", [])}

    @property
    def _candidate(self) -> dict[str, Any]:
        trial, results = self.trial, self.results
        constraints = [
            {
                "text": str(constraint) if bound is None else describe_bound(constraint, bound),
                "holds": trial.violations[constraint.key] <= 0
                if constraint.key in trial.violations
                else None,
            }
            for constraint, bound in zip(results.problem.constraints, results.bounds, strict=True)
        ]
        return {
            "study": results.study_name,
            "trial": trial.number,
            "label": trial.label,
            "parent": trial.parent,
            "task": dict(self._begun["task"]),
            "params": {name: _plain(value) for name, value in trial.params.items()},
            "is_baseline": trial.is_baseline,
            "is_on_front": any(trial.number == other.number for other in results.front),
            "constraints": constraints,
        }

    @cached_property
    def _entry(self) -> Mapping[str, Any] | None:
        """What the stored confirmation says of the trial; None where it says nothing."""
        entries = (self.results.confirmation or {}).get("candidates", [])
        found = next((entry for entry in entries if entry["trial"] == self.trial.number), None)
        return None if found is None or found["confirmed"] is None else found

    @property
    def _confirmation(self) -> dict[str, Any] | None:
        if self._entry is None:
            return None
        assert self.results.confirmation is not None
        return {
            **self._entry["confirmed"],
            "n_launches": self._entry["n_launches"],
            "time": self.results.confirmation["time"],
            "fingerprint": self.results.confirmation["fingerprint"],
            "retrained": self._entry["retrained"],
            "test": self._entry["test"],
        }

    def _promises(self) -> tuple[Promise, ...]:
        """Return each metric as confirmed, or else as the search has it."""
        confirmed = {} if self._entry is None else self._entry["metrics"]
        launches = len(self._measured.get("launches", [])) or None
        found = []
        for metric in self.results.metrics:
            again = (confirmed.get(metric.name) or {}).get("confirmed")
            if again is not None:
                assert self._entry is not None
                n = self._entry["n_launches"]
                found.append(
                    Promise(
                        metric=metric, estimate=Estimate.from_json(again), source="confirmed", n_launches=n
                    )
                )
                continue
            estimate = self._evaluation.metrics.get(metric.name)
            if estimate is not None:
                n = launches if metric.stage == "measured" and metric.name != "file_size" else None
                found.append(Promise(metric=metric, estimate=estimate, source="search", n_launches=n))
        return tuple(found)

    @property
    def _environment(self) -> dict[str, Any]:
        """The machine of the promises; what is known of it by its fingerprint alone has no more to say."""
        marked = (
            self._evaluation.environment if self._confirmation is None else self._confirmation["fingerprint"]
        )
        for known in (self._document.get("environment"), self.results.environment):
            if known and known.get("fingerprint") == marked:
                return {name: known.get(name) for name in _STATED}
        return {"fingerprint": marked}

    def _notes(self, promises: tuple[Promise, ...]) -> list[str]:
        """Return what a person should know before it is shipped."""
        notes = []
        if self.results.is_feasible(self.trial) is False:
            notes.append("It violates a constraint of its study.")
        elif not self._candidate["is_on_front"]:
            notes.append(
                "It is not on the front of its study: another is better in one objective and worse in none."
            )
        if self._confirmation is not None and self._confirmation["verdict"] == "off":
            notes.append(f"The confirmation found it off the front: {self._confirmation['reason']}.")
        few = [p.metric.name for p in promises if p.n_launches is not None and p.n_launches < FEWEST_LAUNCHES]
        if few:
            notes.append(
                "Too few launches to know how they spread, so these promises are held loosely:"
                f" {', '.join(few)}; moo confirm makes more."
            )
        if self.task is None:
            notes.append(
                "The sample's inputs are made up: moo bundle --task takes rows of the validation data."
            )
        if "precision" not in self._evaluation.runtime:
            notes.append("The precision was not recorded: outputs are held to the tolerance of fp32.")
        return notes


def _plain(value: Any) -> Any:
    """Return a parameter's value as JSON has it."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _own_version() -> str:
    try:
        return version("moo-deploy")
    except PackageNotFoundError:
        return "unknown"
