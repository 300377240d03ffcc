"""A study in Weights & Biases: a group, one run a trial, and one run for the study itself."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from moo.storage import first_line
from moo.tracking._artefacts import artefact_files
from moo.tracking._place import Place

__all__ = ["WandbWriter"]

ENVIRONMENT = {
    "WANDB_SILENT": "true",
    "WANDB_CONSOLE": "off",
    "WANDB_DISABLE_GIT": "true",
    "WANDB_DISABLE_CODE": "true",
    "WANDB_X_DISABLE_STATS": "true",
    "WANDB_ERROR_REPORTING": "false",
    "WANDB_INIT_TIMEOUT": "15",
}
"""For the process that sends, where a person has not set them: nothing of this process is worth sending."""

_MAX_TAG = 64


class WandbWriter:
    """Writes a study's runs. There are no nested runs here: a group, named as the study, has them all.

    A run's id follows from the study's identity and the trial's number, so that a trial sent twice is one run
    still; what was sent is kept in the study's folder. `WANDB_MODE=offline` writes to the folder alone, for
    `wandb sync`.

    Args:
        text: `project` or `entity/project`; nothing for what `WANDB_PROJECT` says, or `moo`.
        place: The study's folder; the package keeps its own files in `wandb` there.
        max_artefact_bytes: The largest artefact that is sent.
    """

    def __init__(self, text: str, place: Place, *, max_artefact_bytes: int) -> None:
        entity, _, project = text.rpartition("/")
        self._entity = entity or None
        self._project = project or os.environ.get("WANDB_PROJECT") or "moo"
        self._place = place
        self._max_artefact_bytes = max_artefact_bytes
        self._is_online = os.environ.get("WANDB_MODE", "online") == "online"
        self._target = f"wandb:{entity}/{self._project}:{'online' if self._is_online else 'offline'}"
        self._study: Mapping[str, Any] = {}
        self._identity = ""

    def check(self) -> None:
        """Ask the server who this is; nothing where runs go to the folder alone."""
        wandb = import_module("wandb")
        if self._is_online and wandb.Api(timeout=10).viewer is None:
            raise RuntimeError("not logged in: run 'wandb login', or set WANDB_MODE=offline")

    def open(self, study: Mapping[str, Any]) -> None:
        """Take the study whose trials follow."""
        self._study, self._identity = study, self._place.identity()

    def write(self, trial: Mapping[str, Any]) -> str | None:
        """Write a trial's run where it is not there; return a note on what could not be sent."""
        number = trial["number"]
        if number in self._place.sent(self._target):
            return None
        run = self._begun(
            f"trial-{number}",
            name=trial["name"],
            job_type="trial",
            tags=[trial["state"], *trial["tags"].get("moo.tags", "").split()],
            notes=trial["reason"],
            config=trial["params"] | {"moo": trial["tags"]},
        )
        for step, values in trial["curve"]:
            run.log(values, step=step)
        run.summary.update(trial["metrics"])
        note = self._send_files(run, trial)
        run.finish(exit_code=1 if trial["state"] == "failed" else 0)
        self._place.note_sent(self._target, number)
        return note

    def finish(self, study: Mapping[str, Any] | None, *, is_whole: bool) -> None:
        """Write the study's own run."""
        record = study or self._study
        run = self._begun("study", name=record["name"], job_type="study", config={"moo": record["tags"]})
        if study is not None:
            run.summary.update(study["metrics"] | {"front": study["tags"].get("moo.front", "")})
        run.finish(exit_code=0 if is_whole else 1)

    def _begun(self, what: str, *, tags: list[str] | None = None, **known: Any) -> Any:
        identity = hashlib.sha256(f"{self._identity}/{what}".encode()).hexdigest()[:16]
        return import_module("wandb").init(
            project=self._project,
            entity=self._entity,
            dir=str(self._place.folder),
            id=identity,
            group=self._study["name"],
            tags=[tag[:_MAX_TAG] for tag in tags or []],
            **({"resume": "allow"} if self._is_online else {}),
            **known,
        )

    def _send_files(self, run: Any, trial: Mapping[str, Any]) -> str | None:
        try:
            files = artefact_files(self._place.folder, trial["artefact"], max_bytes=self._max_artefact_bytes)
            if files:
                name = re.sub(
                    r"[^\w.-]", "-", f"{self._study['name']}-trial-{trial['number']}", flags=re.ASCII
                )
                artefact = import_module("wandb").Artifact(name, type="model", metadata=trial["artefact"])
                for file in files:
                    artefact.add_file(str(file), name=file.name)
                run.log_artifact(artefact)
        except Exception as error:  # whatever the package raises: the trial's values are worth more
            run.summary["artefact_not_sent"] = reason = first_line(error)
            return f"the artefact of trial {trial['number']} is not there: {reason}"
        return None
