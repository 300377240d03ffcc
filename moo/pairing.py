"""Which validation samples two candidates of a study have right, and in how many of them they differ."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from moo.errors import BROKEN_ARCHIVE
from moo.evaluation import Evaluation

__all__ = ["PAIRED", "correct_samples", "paired_counts"]

_MOST_BYTES = 2**30
PAIRED = "moo:paired"
"""User attribute: by metric `[n, n_better, n_worse]`, the samples, those that only this trial has right, and
those that only the baseline has."""


def correct_samples(root: Path, evaluation: Evaluation | None) -> dict[str, NDArray[np.bool_]]:
    """Return which validation samples a candidate gets right, by metric; nothing where that is not kept."""
    name = None if evaluation is None else evaluation.files.get("correct")
    if name is None:
        return {}
    path = root / name
    try:
        if not path.is_file() or _unfolded_bytes(path) > _MOST_BYTES:
            return {}
        with np.load(path, allow_pickle=False) as arrays:
            return {
                metric: array
                for metric, array in arrays.items()
                if array.dtype == np.bool_ and array.ndim == 1
            }
    except BROKEN_ARCHIVE:
        return {}


def _unfolded_bytes(path: Path) -> int:
    with zipfile.ZipFile(path) as archive:
        return sum(member.file_size for member in archive.infolist())


def paired_counts(
    root: Path, evaluation: Evaluation, baseline: Mapping[str, NDArray[np.bool_]]
) -> dict[str, list[int]]:
    """Return by metric the samples, those that only the candidate has right, and those only the baseline has.

    What is not kept for both, or not for equally many samples, is left out.

    Args:
        root: The study's folder.
        evaluation: The candidate's.
        baseline: Which samples the baseline has right, by metric.
    """
    return {
        metric: [len(own), int((own & ~baseline[metric]).sum()), int((~own & baseline[metric]).sum())]
        for metric, own in correct_samples(root, evaluation).items()
        if metric in baseline and len(baseline[metric]) == len(own) > 0
    }
