"""A study in MLflow: an experiment, one parent run a study, a nested run a trial."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from moo.storage import first_line, sqlite_file
from moo.tracking._artefacts import artefact_files
from moo.tracking._place import Place

__all__ = ["MlflowWriter", "tracking_uri"]

ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}
"""For the process that sends, where a person has not set them: MLflow's own are 120 s, seven times."""

_STATES = {"complete": "FINISHED", "pruned": "KILLED", "failed": "FAILED"}
_ENDED = ("FINISHED", "KILLED", "FAILED")
_MAX_TAG = 5000  # characters, and of a parameter too; MLflow's stores take 8000 and 6000
_MAX_NAME = 250
_BATCH = 100  # parameters or tags; a thousand metrics

T = TypeVar("T")


def tracking_uri(text: str, folder: Path) -> tuple[str, str | None]:
    """Return MLflow's tracking URI, and where the artefacts go; None where the server knows.

    A folder gets a database `mlflow.db` and `artifacts` beside it: MLflow 3 writes its older store of files
    where `MLFLOW_ALLOW_FILE_STORE` is set only. A folder that is such a store already is used as that.

    Args:
        text: A URI, a folder, or nothing: then what `MLFLOW_TRACKING_URI` says, or `mlflow` in the
            study's folder.
        folder: The study's folder.
    """
    place = text or os.environ.get("MLFLOW_TRACKING_URI", "") or str(folder / "mlflow")
    database = sqlite_file(place)
    if database is not None:
        return place, (database.absolute().parent / "artifacts").as_uri()
    if "://" in place or place == "databricks":
        return place, None
    home = Path(place).expanduser().absolute()
    if any(home.glob("*/meta.yaml")):
        return home.as_uri(), None
    home.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{home / 'mlflow.db'}", (home / "artifacts").as_uri()


class MlflowWriter:
    """Writes a study's runs.

    A run's tag says which trial of which study it is: that is how a resumed study finds its parent and what
    is there. A run that was cut off has not ended; it is deleted and written again.

    Args:
        text: As `tracking_uri` takes it.
        place: The study's folder.
        max_artefact_bytes: The largest artefact that is sent.
    """

    def __init__(self, text: str, place: Place, *, max_artefact_bytes: int) -> None:
        self._place = place
        self._max_artefact_bytes = max_artefact_bytes
        self._uri, self._artefacts = tracking_uri(text, place.folder)
        self._made: Any = None
        self._entities: Any = None
        self._experiment = ""
        self._parent = ""
        self._ended: set[int] = set()

    @property
    def _client(self) -> Any:
        if self._made is None:
            self._entities = import_module("mlflow.entities")
            self._made = import_module("mlflow.tracking").MlflowClient(tracking_uri=self._uri)
        return self._made

    def check(self) -> None:
        """Ask the store something; raises what MLflow raises where it cannot be reached."""
        self._client.search_experiments(max_results=1)

    def open(self, study: Mapping[str, Any]) -> None:
        """Find the study's parent run or create it, and see which trials are there."""
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or study["name"]
        found = self._client.get_experiment_by_name(name)
        self._experiment = (
            found.experiment_id
            if found is not None
            else self._client.create_experiment(name, artifact_location=self._artefacts)
        )
        identity = self._place.identity()
        runs = list(self._runs({"moo.study_id": identity}))
        if runs:
            self._parent = runs[0].info.run_id
            self._client.update_run(self._parent, status="RUNNING")
        else:
            run = self._client.create_run(
                self._experiment, tags={"moo.study_id": identity}, run_name=study["name"]
            )
            self._parent = run.info.run_id
        self._log(self._parent, tags=study["tags"])
        children = self._runs({"mlflow.parentRunId": self._parent})
        self._ended = {number for run in children if (number := _ended_trial(run)) is not None}

    def write(self, trial: Mapping[str, Any]) -> str | None:
        """Write a trial's run where it is not there; return a note on what could not be sent."""
        number = trial["number"]
        if number in self._ended:
            return None
        for run in list(self._runs({"mlflow.parentRunId": self._parent, "moo.trial": str(number)})):
            if _ended_trial(run) is not None:  # another process has written it
                self._ended.add(number)
                return None
            self._client.delete_run(run.info.run_id)
        ended_ms = _milliseconds(trial["ended_at"] or time.time())
        begun_ms = ended_ms - _milliseconds(trial["duration_s"] or 0.0)
        tags = {"mlflow.parentRunId": self._parent, "moo.trial": str(number)}
        run = self._client.create_run(self._experiment, begun_ms, tags, trial["name"])
        identity = run.info.run_id
        self._log(
            identity,
            params=trial["params"],
            tags=trial["tags"] | ({"mlflow.note.content": trial["reason"]} if trial["reason"] else {}),
            metrics=[*_rows(trial["metrics"], 0), *(row for s, v in trial["curve"] for row in _rows(v, s))],
            at_ms=ended_ms,
        )
        note = self._send_files(identity, trial)
        self._client.set_terminated(identity, _STATES[trial["state"]], ended_ms)
        self._ended.add(number)
        return note

    def finish(self, study: Mapping[str, Any] | None, *, is_whole: bool) -> None:
        """End the parent run, with what the study has come to where that is given."""
        if study is not None:
            self._log(
                self._parent,
                tags=study["tags"],
                metrics=_rows(study["metrics"], study["metrics"]["trials"]),
                at_ms=_milliseconds(time.time()),
            )
        self._client.set_terminated(self._parent, "FINISHED" if is_whole else "KILLED")

    def _runs(self, tags: Mapping[str, str]) -> Iterator[Any]:
        wanted = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
        token = None
        while True:
            page = self._client.search_runs([self._experiment], wanted, max_results=1000, page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    def _log(
        self,
        run: str,
        *,
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
        metrics: Sequence[tuple[str, float, int]] = (),
        at_ms: int = 0,
    ) -> None:
        """Write in batches as large as MLflow takes."""
        entities = self._entities
        for part in _batches(sorted(_named(params or {}).items()), _BATCH):
            rows = [entities.Param(name, str(value)[:_MAX_TAG]) for name, value in part]
            self._client.log_batch(run, params=rows)
        for part in _batches(sorted(_named(tags or {}).items()), _BATCH):
            rows = [entities.RunTag(name, str(value)[:_MAX_TAG]) for name, value in part]
            self._client.log_batch(run, tags=rows)
        names = _named({name: name for name, _, _ in metrics})
        short = {name: given for given, name in names.items()}
        for some in _batches(metrics, 10 * _BATCH):
            points = [entities.Metric(short[name], value, at_ms, step) for name, value, step in some]
            self._client.log_batch(run, metrics=points)

    def _send_files(self, run: str, trial: Mapping[str, Any]) -> str | None:
        """Send the artefact; what a store of files cannot take is a tag and a note, not a trial lost."""
        try:
            files = artefact_files(self._place.folder, trial["artefact"], max_bytes=self._max_artefact_bytes)
            for file in files:
                self._client.log_artifact(run, str(file), artifact_path="model")
        except Exception as error:  # any store's own, of which MLflow has a dozen
            reason = first_line(error)
            self._log(run, tags={"moo.artefact_not_sent": reason})
            return f"the artefact of trial {trial['number']} is not there: {reason}"
        return None


def _ended_trial(run: Any) -> int | None:
    """Return the number of the trial whose run is whole; None for any other run."""
    number = run.data.tags.get("moo.trial", "")
    return int(number) if run.info.status in _ENDED and number.isdecimal() else None


def _rows(values: Mapping[str, float], step: int) -> list[tuple[str, float, int]]:
    return [(name, float(value), step) for name, value in values.items()]


def _milliseconds(seconds: float) -> int:
    return int(seconds * 1000)


def _batches(rows: Sequence[T], size: int) -> Iterator[list[T]]:
    left = iter(rows)
    while part := list(islice(left, size)):
        yield part


def _named(values: Mapping[str, T]) -> dict[str, T]:
    """Return values under names that MLflow takes; two that would be one get a number.

    >>> _named({"lr[0]": 1, "lr(0)": 2, "width": 3})
    {'lr_0_': 1, 'lr_0_ 2': 2, 'width': 3}
    """
    found: dict[str, T] = {}
    for name, value in values.items():
        plain = re.sub(r"[^\w./ -]", "_", name, flags=re.ASCII).strip("/.")[:_MAX_NAME] or "_"
        free = next(
            other
            for index in range(1, len(values) + 2)
            if (other := plain if index == 1 else f"{plain[: _MAX_NAME - 8]} {index}") not in found
        )
        found[free] = value
    return found
