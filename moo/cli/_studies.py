"""From what a person typed to a study, one of its trials, and its task."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from moo.errors import InputError, StorageError, StudyMismatchError

if TYPE_CHECKING:
    from moo.results import FinishedTrial, Results
    from moo.study import Study
    from objectives import Task

__all__ = ["opened_study", "searched_task", "trial_of"]


def opened_study(study: str, name: str | None) -> tuple[Study, Path]:
    """Return the study of a URL, a sweep's folder or a database file, and the folder with its artefacts.

    Raises:
        StorageError: If there is none.
    """
    from moo.storage import hide_password, journal_file
    from moo.study import load_study

    if "://" in study or journal_file(study) is not None:
        found = load_study(study, name)
        return found, found.folder
    place = Path(study).absolute()
    database = place / "study.db" if place.is_dir() else place
    if not database.is_file():
        what = f"{place} has no study.db" if place.is_dir() else f"there is no {hide_password(study)!r}"
        raise StorageError(
            f"STUDY: expected a sweep's folder, its study.db or a database URL such as sqlite:///study.db:"
            f" {what}"
        )
    found = load_study(f"sqlite:///{database}", name)
    return found, place if place.is_dir() else found.folder if found.folder.is_dir() else database.parent


def trial_of(results: Results, number: int) -> FinishedTrial:
    """Return the complete trial of that number.

    Raises:
        InputError: If there is none, with those on the front.
    """
    front = ", ".join(str(trial.number) for trial in results.front[:10]) or "none"
    trial = next((one for one in results.trials if one.number == number), None)
    if trial is None:
        raise InputError(
            f"TRIAL: study {results.study_name!r} has no finished trial {number}; its front: {front}"
        )
    if trial.state != "complete" or trial.evaluation is None:
        why = f" ({trial.reason})" if trial.reason else ""
        raise InputError(
            f"TRIAL: trial {number} is {trial.state}{why}: expected a complete one; front: {front}"
        )
    return trial


def searched_task(study: Study, spec: str) -> Task:
    """Return the task that a person named, which must be the one that was searched.

    Raises:
        StudyMismatchError: If it is another, with the parts that differ.
    """
    from moo.cli._tasks import load_task
    from moo.storage import STUDY

    task = load_task(spec)
    begun, now = study.optuna_study.user_attrs[STUDY]["task"], task.identity()
    parts = [part for part in {**begun, **now} if begun.get(part) != now.get(part)]
    if parts:
        raise StudyMismatchError(
            f"--task: study {study.name!r} was begun with task {begun.get('name')}, got {now.get('name')},"
            f" which differs in: {', '.join(parts)}. Give the task that was searched"
        )
    return task
