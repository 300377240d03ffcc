"""A fitted estimator and its ONNX model, from which every artefact that deploys it is made."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone

from moo.errors import ExportError, InputError
from moo.evaluation import Estimate
from objectives._compression._compress import Compression, CompressionFacts, compress
from objectives._data import Split
from objectives._pipeline import Deployment, Stopwatch
from objectives._scoring._outputs import Outputs
from objectives._sklearn._check import AGREEMENT, artefact_outputs, checked_difference, estimator_outputs
from objectives._sklearn._export import convert, write, write_typed
from objectives._sklearn._inputs import Signature
from objectives._sklearn._size import count_parameters, predictor

__all__ = ["Candidate", "Fitted"]


@dataclass(frozen=True)
class Fitted:
    """A fitted estimator, its float32 model, and what it says itself of the rows to score.

    Args:
        estimator: Fitted.
        path: Of the model, which no artefact replaces.
        feeds: The rows to score as the model takes them, by input name.
        targets: Of these rows.
        expected: What the estimator says of them.
        fitted_on: The rows it was fitted on.
        plain: What the model put out in the task's own runtime; None before it ran.
    """

    estimator: BaseEstimator
    path: Path
    feeds: dict[str, NDArray[Any]]
    targets: NDArray[Any]
    expected: Outputs
    fitted_on: Split
    plain: Sequence[NDArray[Any]] | None = None

    @classmethod
    def of(
        cls, estimator: BaseEstimator, fitting: Split, scoring: Split, path: Path, watch: Stopwatch
    ) -> Self:
        """Return a copy of the estimator fitted and converted.

        Args:
            estimator: Not fitted.
            fitting: The rows to fit on.
            scoring: The rows to score.
            path: Where its model is written; the folder is made.
            watch: Times the stages.

        Raises:
            FitError: For inputs that no model takes.
            ExportError: If it cannot be converted.
        """
        with watch.stage("fit"):
            fitted = clone(estimator).fit(fitting.inputs, np.asarray(fitting.targets))
        with watch.stage("export"):
            signature = Signature.of(fitted, scoring.inputs)
            path.parent.mkdir(parents=True, exist_ok=True)
            names = write(convert(fitted, signature.types), path)
        with watch.stage("check"):
            expected = estimator_outputs(fitted, scoring.inputs)
        feeds = dict(zip(names, signature.arrays, strict=True))
        return cls(fitted, path, feeds, np.asarray(scoring.targets), expected, fitting)

    def compressed(self, path: Path, compression: Compression, *, seed: int) -> CompressionFacts:
        """Write the model in another precision, and return what that did.

        Where ranges of activations are needed, they are found on the rows that it was fitted on.

        Raises:
            ExportError: If that cannot be, whatever the reason: another estimator may well be converted.
        """
        if compression.precision == "fp32":
            return compress(self.path, path, compression)
        calibration = self._calibration() if compression.needs_calibration else None
        typed = self.path.with_name("typed.onnx")
        try:
            if not typed.exists():
                write_typed(self.path, typed)
            facts = compress(typed, path, compression, calibration, seed=seed)
        except InputError as error:
            raise ExportError(str(error)) from error
        if not facts.reduced:
            shutil.copyfile(self.path, path)
        before, after = self.path.stat().st_size, path.stat().st_size
        return dataclasses.replace(facts, bytes_before=before, bytes_after=after)

    def _calibration(self) -> dict[str, NDArray[Any]]:
        """Return the rows it was fitted on, but for those with a number missing, which have no range."""
        arrays = Signature.of(self.estimator, self.fitted_on.inputs).arrays
        is_whole = np.ones(len(self.fitted_on), np.bool_)
        for array in arrays:
            if array.dtype.kind == "f":
                is_whole &= np.isfinite(array).all(axis=1)
        return {name: array[is_whole] for name, array in zip(self.feeds, arrays, strict=True)}

    def static(self, n_differing: int) -> dict[str, Estimate]:
        """Return what can be counted, the share of rows that came out as in the estimator among it."""
        name = type(predictor(self.estimator)).__name__
        return {
            "parameters": count_parameters(self.estimator),
            "macs": Estimate(None, reason=f"multiply-accumulates of {name} are not counted"),
            AGREEMENT.name: Estimate.exact(1 - n_differing / len(self.expected)),
        }


@dataclass(frozen=True)
class Candidate:
    """An artefact of a fitted estimator, and what it put out for the rows to score where it is served.

    Args:
        deployment: The artefact in its runtime.
        arrays: Its outputs, in the model's order.
        outputs: The same in the form of the estimator's.
        n_differing: Rows that came out otherwise than in the estimator.
    """

    deployment: Deployment
    arrays: Sequence[NDArray[Any]]
    outputs: Outputs
    n_differing: int

    @classmethod
    def of(
        cls,
        fitted: Fitted,
        deployment: Deployment,
        *,
        tolerance: float,
        share: float,
        arrays: Sequence[NDArray[Any]] | None = None,
    ) -> Self:
        """Return an artefact run on the rows to score, and compared with the estimator there.

        Args:
            fitted: What it was made from.
            deployment: The artefact in its runtime.
            tolerance: From what on a row differs.
            share: Of rows that may differ; 1 to count them only.
            arrays: Its outputs, where they are known; None to run it.

        Raises:
            MeasureError: If the process that runs it fails.
            ExportError: If too many rows differ, or the outputs are not the estimator's.
        """
        found = deployment.outputs() if arrays is None else arrays
        with deployment.watch.stage("check"):
            outputs = artefact_outputs(found, fitted.expected)
            n_differing = checked_difference(outputs, fitted.expected, tolerance, share)
        return cls(deployment, found, outputs, n_differing)
