"""How sure the recommendation is, in words: what was measured again, or that nothing was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from moo.decision import Recommendation
from moo.metrics import Metric, format_estimate, format_probability, format_value
from moo.results import Estimate, FinishedTrial, Results
from reports._text import one_line


def sureness_text(results: Results, found: Recommendation) -> str:
    """Return what the stored confirmation says of the candidate, or what the search leaves open."""
    if results.confirmation is None:
        return f"{_launches(found.front)}{_unconfirmed(found.front)}"
    entry = results.confirmed(found.trial)
    if entry is None:
        return (
            "The study was confirmed, but this candidate was not among those measured again: no more is "
            "known of it than from the search."
        )
    if entry["confirmed"] is None:
        reason = one_line(entry.get("refused") or "no reason was kept")
        return f"The study was confirmed, but this candidate could not be measured again: {reason}."
    return " ".join([_verdict(entry), *_values(results, entry)])


def _launches(front: tuple[FinishedTrial, ...]) -> str:
    n_single = sum("single_launch" in t.evaluation.tags for t in front if t.evaluation is not None)
    if not n_single:
        return ""
    which = "all" if n_single == len(front) else f"{n_single:,} of the {len(front):,}"
    return (
        f"The measured intervals of {which} candidates on the front come from a single process launch: what "
        "changes from launch to launch is not in them, so they are too narrow. "
    )


def _unconfirmed(front: tuple[FinishedTrial, ...]) -> str:
    if any(trial.evaluation is not None and trial.evaluation.artefact is not None for trial in front):
        return (
            "Not confirmed: these are results of the search, and the best of many look better than they are. "
            "How likely this one is to be on the front, or to keep the bounds, is not known yet: `moo "
            "confirm` measures the front again and says it."
        )
    return (
        "Not confirmed: these are the numbers as they came, and there is no model here to measure again. How "
        "likely this one is to be on the front, or to keep the bounds, is not known."
    )


def _verdict(entry: Mapping[str, Any]) -> str:
    found, n = entry["confirmed"], entry.get("n_launches", 0)
    on_front, feasible = format_probability(found["p_on_front"]), format_probability(found["p_feasible"])
    text = (
        f"Confirmed in {n:,} fresh launch{'' if n == 1 else 'es'}: "
        f"P(on the front) {on_front}, P(feasible) {feasible}."
    )
    if found["verdict"] == "on" or not found.get("reason"):
        return text
    return f"{text} That is undecided: {one_line(found['reason']).rstrip('.')}."


def _values(results: Results, entry: Mapping[str, Any]) -> list[str]:
    """Return sentences on confirmed, test and retrained values; none for what was not measured again."""
    metrics, again = results.problem.metrics, entry.get("retrained") or {}
    confirmed = []
    for metric in metrics:
        both = entry["metrics"].get(metric.name) or {}
        if both.get("confirmed") is not None:
            before = format_value(both["search"]["value"], metric)
            confirmed.append(f"{_shown(both['confirmed'], metric)} (the search had {before})")
    tested, failure = entry.get("test") or {}, (entry.get("test") or {}).get("failure")
    test = [_shown(tested[metric.name], metric) for metric in metrics if metric.name in tested]
    texts = [f"Measured again: {'; '.join(confirmed)}." if confirmed else ""]
    texts += [f"On test data: {'; '.join(test)}." if test else ""]
    texts += [f"It could not be scored on test data: {one_line(failure)}." if failure else ""]
    for split in ("validation", "test"):
        spreads = again.get(split) or {}
        found = [_spread(spreads[metric.name], metric) for metric in metrics if metric.name in spreads]
        known = "; ".join(text for text in found if text)
        texts += [f"Retrained under other seeds, on {split} data: {known}." if known else ""]
    return [text for text in texts if text]


def _shown(estimate: Mapping[str, Any], metric: Metric) -> str:
    return f"{one_line(metric.title)} {format_estimate(Estimate.from_json(estimate), metric)}"


def _spread(found: Mapping[str, Any], metric: Metric) -> str:
    """Return mean and standard deviation over seeds, such as `accuracy 96.4% +- 0.3 (3 seeds)`."""
    if found.get("mean") is None:
        return ""
    mean = f"{one_line(metric.title)} {format_value(found['mean'], metric)}"
    if found.get("sd") is None:
        return f"{mean} (1 seed)"
    deviation = (
        f"{found['sd'] * 100:.2g} points"
        if metric.dimension == "fraction"
        else format_value(found["sd"], metric)
    )
    return f"{mean} +- {deviation} ({found['n']} seeds)"
