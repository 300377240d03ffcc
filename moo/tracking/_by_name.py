"""From the text a person types, such as `mlflow:http://host:5000`, to a tracker."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from moo.errors import InputError, did_you_mean
from moo.results import Results
from moo.storage import hide_password
from moo.tracking import _mlflow, _wandb
from moo.tracking._courier import Courier
from moo.tracking._place import Place
from moo.tracking._tracker import Tracker

__all__ = ["TRACKER_NAMES", "make_tracker", "track"]

_ENVIRONMENTS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {"mlflow": _mlflow.ENVIRONMENT, "wandb": _wandb.ENVIRONMENT}
)

TRACKER_NAMES = tuple(sorted(_ENVIRONMENTS))
"""The names that `make_tracker` knows; each is an extra of the same name."""

MAX_ARTEFACT_BYTES = 32 * 1024**2


def make_tracker(
    target: str,
    *,
    folder: str | Path,
    max_artefact_bytes: int = MAX_ARTEFACT_BYTES,
    wait_s: float = 5.0,
    finish_s: float = 60.0,
) -> Tracker:
    """Return an observer that sends each trial of a study, after seeing that the service can be reached.

    An unreachable one is refused here, before anything runs; later it never ends a sweep.

    Args:
        target: `mlflow:` and a tracking URI or a folder, `mlflow` for what `MLFLOW_TRACKING_URI` says, else
            `mlflow` in the study's folder; `wandb:` and `project` or `entity/project`. What else these
            services need they read from their own environment variables, such as `MLFLOW_EXPERIMENT_NAME`
            or `WANDB_MODE=offline`.
        folder: The study's folder: artefacts are below it, and which study it is is kept there.
        max_artefact_bytes: The largest artefact that is sent, external data included; 0 for none.
        wait_s: The longest that the sweep waits for a finished trial to be sent.
        finish_s: The longest that `Tracker.finish` takes.

    Raises:
        InputError: For an unknown tracker, a package that is not installed, and a service that cannot be
            reached.
    """
    kind, _, text = target.partition(":")
    _refuse_unknown(kind, target)
    if text.startswith("//"):
        raise InputError(
            f"tracker {hide_password(target)!r}: expected {kind}: and then an address or a name, such as"
            f" {_example(kind)}"
        )
    if kind == "wandb" and not all(text.split("/", 1)) and text:
        raise InputError(f"tracker {target!r}: expected wandb:project or wandb:entity/project")
    if importlib.util.find_spec(kind) is None:
        raise InputError(f"tracker {kind!r}: its package is not installed: pip install 'moo-deploy[{kind}]'")
    if isinstance(max_artefact_bytes, bool) or max_artefact_bytes < 0:
        raise InputError(f"max_artefact_bytes: expected bytes of 0 or more, got {max_artefact_bytes!r}")
    root = Path(folder).absolute()
    try:
        Place(root)
    except OSError as error:
        raise InputError(f"folder: {root} cannot be written: {error.strerror}") from error
    to = {"kind": kind, "text": text, "folder": str(root), "max_artefact_bytes": max_artefact_bytes}
    tracker = Tracker(
        Courier(to, _ENVIRONMENTS[kind]), shown=hide_password(target), wait_s=wait_s, finish_s=finish_s
    )
    try:
        tracker.check()
    except BaseException:
        tracker.close()
        raise
    return tracker


def track(
    results: Results,
    target: str,
    *,
    folder: str | Path,
    max_artefact_bytes: int = MAX_ARTEFACT_BYTES,
    finish_s: float = 3600.0,
) -> int:
    """Send a study that is already there; what the service has of it stays, and is not sent twice.

    Args:
        results: The study.
        target: As `make_tracker` takes it.
        folder: The study's folder.
        max_artefact_bytes: The largest artefact that is sent, external data included; 0 for none.
        finish_s: The longest that it takes.

    Returns:
        How many trials could not be sent.

    Raises:
        InputError: As `make_tracker`.
    """
    with make_tracker(
        target, folder=folder, max_artefact_bytes=max_artefact_bytes, finish_s=finish_s
    ) as tracker:
        return tracker.finish(results)


def _refuse_unknown(kind: str, target: str) -> None:
    if kind in TRACKER_NAMES:
        return
    if "://" in target:
        raise InputError(
            f"tracker {hide_password(target)!r}: expected a service first, such as"
            f" 'mlflow:{hide_password(target)}'"
        )
    hint = did_you_mean(kind, TRACKER_NAMES)
    raise InputError(f"tracker: unknown service {kind!r}; {hint}, such as {_example('mlflow')}")


def _example(kind: str) -> str:
    return "'mlflow:http://localhost:5000'" if kind == "mlflow" else "'wandb:my-project'"
