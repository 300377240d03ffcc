"""What would change the recommendation, in words: other weights, other bounds."""

from __future__ import annotations

import math

from moo.decision import Recommendation, WeightRange, WiderBound
from moo.metrics import format_value
from moo.results import Results
from reports._gains import changes_text
from reports._text import one_line

_LITTLE = 0.05  # of the decision: nobody knows his weights better


def stability_text(results: Results, found: Recommendation) -> str:
    """Return for which weights the recommendation stays; nothing where there is nothing to weigh."""
    objectives = results.problem.objectives
    if len(objectives) == 1 or len(found.front) == 1:
        return ""
    titles = {o.metric.name: one_line(o.metric.title) for o in objectives}
    if all((span.low, span.high) == (0.0, 1.0) for span in found.ranges.values()):
        return "It stays best whatever share of the decision any one objective has, the others in proportion."
    if len(objectives) == 2:
        (name, span), (rest, _) = found.ranges.items()
        text = f"It stays best as long as {titles[name]} counts for {share_text(span)} of the decision"
        return f"{text} and {titles[rest]} for the rest{_rivals(span)}.{_closeness(found)}"
    shares = [f"{titles[name]} for {share_text(span)}" for name, span in found.ranges.items()]
    return (
        f"Each objective counts for {1 / len(objectives):.0%} of the decision. Moving one share alone, the "
        f"others in proportion, it stays best while they count so: {_joined(shares)}.{_closeness(found)}"
    )


def _closeness(found: Recommendation) -> str:
    """Return a warning where a weight that is a little other brings another candidate."""
    room = min(min(s.weight - s.low, s.high - s.weight) for s in found.ranges.values() if 0 < s.weight < 1)
    return " That is close: slightly other weights change it." if room < _LITTLE else ""


def share_text(span: WeightRange) -> str:
    """Return a range of a weight in percent, rounded inwards: what it says is true.

    >>> share_text(WeightRange(0.5, 0.2031, 0.6449, None, None))
    '21% to 64%'
    >>> share_text(WeightRange(0.5, 0.0, 0.6449, None, None))
    'at most 64%'
    """
    if (span.low, span.high) == (0.0, 1.0):
        return "any share"
    low, high = _inwards(span)
    if span.low == 0:
        return f"at most {high}"
    return f"at least {low}" if span.high == 1 else f"{low} to {high}"


def _inwards(span: WeightRange) -> tuple[str, str]:
    """Return both ends with as few digits as leave the weight itself between them."""
    for digits in range(6):
        size = 10**digits
        low, high = math.ceil(span.low * 100 * size) / size, math.floor(span.high * 100 * size) / size
        if low <= span.weight * 100 <= high:
            return f"{low:g}%", f"{high:g}%"
    return f"{span.low * 100:.6g}%", f"{span.high * 100:.6g}%"


def _rivals(span: WeightRange) -> str:
    sides = [("below", span.rival_below), ("above", span.rival_above)]
    texts = [f"{side} that {one_line(rival.name)} is better" for side, rival in sides if rival is not None]
    return f"; {', '.join(texts)}" if texts else ""


def wider_text(results: Results, found: Recommendation) -> str:
    """Return which wider bounds bring another candidate, and which tighter ones rule this one out."""
    texts = [_wider(results, found, wider) for wider in found.wider]
    if found.slacks and not texts:
        texts = [
            "A wider bound would not change it."
            if len(found.slacks) == 1
            else "A wider bound, one at a time, would not change it."
        ]
    tightest = [(slack.constraint.metric, slack.tightest) for slack in found.slacks]
    falls = [f"{format_value(bound, metric)} on {one_line(metric.title)}" for metric, bound in tightest]
    texts += [f"A bound tighter than about {_joined(falls, 'or')} rules it out."] if falls else []
    if len(found.front) > 1 and len(results.problem.objectives) > 1:
        texts.append(
            "A new candidate that widens the front's range may change it too: balance is judged on that."
        )
    return " ".join(texts)


def _wider(results: Results, found: Recommendation, wider: WiderBound) -> str:
    metric, is_in = wider.constraint.metric, results.is_feasible(wider.trial)
    by = (
        f"{abs(wider.wider - wider.bound) * 100:.2g} points"
        if metric.dimension == "fraction"
        else f"{wider.share:.1%}"
        if wider.share < 0.1
        else f"{wider.share:.0%}"
        if wider.share < 10
        else f"a factor {wider.share + 1:.3g}"
    )
    who = f"{one_line(wider.trial.name)}, which has {changes_text(results, found.trial, wider.trial)}"
    if wider.trial is found.runner_up:
        who = f"the runner-up, {one_line(wider.trial.name)}"
    moved = " (it keeps the bounds already; what comes in then changes the scale)" if is_in else ""
    return (
        f"With the bound on {one_line(metric.title)} at about {format_value(wider.wider, metric)}, wider by "
        f"{by}, it would be {who}{moved}."
    )


def _joined(texts: list[str], word: str = "and") -> str:
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} {word} {texts[-1]}"
