"""What is sent of a study and of a trial, as plain JSON that no tracking service has shaped yet."""

from __future__ import annotations

from typing import Any

from moo.results import FinishedTrial, Results

__all__ = ["study_record", "trial_record"]

_WORDS = {"<=": "at most", ">=": "at least", "%": " percent"}
"""For what a constraint says and no service takes in a metric's name."""


def study_record(results: Results) -> dict[str, Any]:
    """Return a study's name, its tags, and counts as metrics; nothing of a count that is not known.

    The front is a tag, the trials' numbers in the order of `Results.front`.
    """
    problem = results.problem.to_json()
    tags = {
        "moo.objectives": ", ".join(problem["objectives"]),
        "moo.constraints": "; ".join(problem["constraints"]),
        "moo.task": results.task,
        "moo.baseline": None if results.baseline is None else str(results.baseline.number),
        "moo.front": ", ".join(str(trial.number) for trial in results.front),
        "moo.processor": (results.environment or {}).get("cpu"),
    }
    states = [trial.state for trial in results.trials]
    return {
        "name": results.study_name,
        "tags": {name: str(value) for name, value in tags.items() if value},
        "metrics": {
            "trials": len(states),
            "complete": states.count("complete"),
            "pruned": states.count("pruned"),
            "failed": states.count("failed"),
            "front_size": len(results.front),
        },
    }


def trial_record(trial: FinishedTrial, results: Results, *, ended_at: float | None = None) -> dict[str, Any]:
    """Return what is sent of a trial.

    Metrics: each by its name, with `_low` and `_high` where they are known; `violation/<constraint>`, zero or
    less where it holds; `seconds/<stage>` and `duration_s`. `curve` is what training reported, step by step,
    as `curve/<name>`. Everything else that is known is a tag.

    Args:
        trial: The trial.
        results: Of the study that it is in, for whether it is feasible.
        ended_at: Seconds since 1970; None where it is not known.
    """
    evaluation = trial.evaluation
    return {
        "number": trial.number,
        "name": trial.name,
        "state": trial.state,
        "reason": trial.reason,
        "params": dict(trial.params),
        "metrics": _metrics(trial),
        "curve": [
            [step, {f"curve/{name}": value for name, value in values.items()}]
            for step, values in (evaluation.curve if evaluation else ())
        ],
        "tags": _tags(trial, results),
        "artefact": vars(evaluation.artefact).copy() if evaluation and evaluation.artefact else None,
        "duration_s": trial.duration_s,
        "ended_at": ended_at,
    }


def _metrics(trial: FinishedTrial) -> dict[str, float]:
    evaluation = trial.evaluation
    found: dict[str, float | None] = {}
    for name, estimate in (evaluation.metrics if evaluation else {}).items():
        found |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    found |= {f"violation/{_in_words(key)}": value for key, value in trial.violations.items()}
    found |= {
        f"seconds/{stage}": value for stage, value in (evaluation.seconds if evaluation else {}).items()
    }
    found["duration_s"] = trial.duration_s
    return {name: float(value) for name, value in found.items() if value is not None}


def _in_words(constraint: str) -> str:
    for sign, words in _WORDS.items():
        constraint = constraint.replace(sign, words)
    return constraint


def _tags(trial: FinishedTrial, results: Results) -> dict[str, str]:
    evaluation = trial.evaluation
    is_feasible = results.is_feasible(trial) if trial.state == "complete" else None
    found = {
        "moo.trial": trial.number,
        "moo.state": trial.state,
        "moo.stage": trial.stage,
        "moo.reason": trial.reason,
        "moo.feasible": is_feasible,
        "moo.baseline": True if trial.is_baseline else None,
        "moo.parent": trial.parent,
        "moo.label": trial.label,
    }
    if evaluation is not None:
        found["moo.tags"] = " ".join(evaluation.tags) or None
        found["moo.environment"] = evaluation.environment
        if evaluation.artefact is not None:
            found["moo.artefact"] = evaluation.artefact.path
            found["moo.artefact_sha256"] = evaluation.artefact.sha256
            found["moo.artefact_bytes"] = evaluation.artefact.bytes
        found |= {f"moo.runtime.{name}": value for name, value in evaluation.runtime.items()}
        unknown = {
            f"moo.missing.{name}": estimate.reason
            for name, estimate in evaluation.metrics.items()
            if estimate.value is None
        }
        found |= unknown
    return {name: _text(value) for name, value in found.items() if value is not None}


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
