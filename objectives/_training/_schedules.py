"""Learning rates over the course of training, as fractions of the largest."""

from __future__ import annotations

import math

from moo.errors import InputError, did_you_mean

__all__ = ["SCHEDULES", "learning_rate_factor", "momentum_of_cycle"]

SCHEDULES = {"one-cycle": 0.3, "cosine": 0.05, "step": 0.05, "constant": 0.0}
"""The schedules by name, each with the share of the steps that it warms up in unless told otherwise."""

_CYCLE_START = 1 / 25
_CYCLE_END = _CYCLE_START / 1e4
_CYCLE_MOMENTUM = (0.85, 0.95)  # at the largest learning rate, and at the ends
_STEPS_AT = (0.5, 0.75)  # the shares of the steps after which the rate is divided by 10


def learning_rate_factor(schedule: str, step: int, n_steps: int, warmup: float | None = None) -> float:
    """Return the learning rate of a step as a fraction of the largest one, in (0, 1].

    one-cycle rises from 1/25 along half a cosine while it warms up, and falls along another to 4e-6: L. N.
    Smith and N. Topin, Super-Convergence (2018), in the form of torch's `OneCycleLR`. The others warm up
    in a straight line. cosine then falls along half a cosine, which would be zero one step after the
    last: I. Loshchilov and F. Hutter, SGDR (2017), equation 5, without restarts. step is divided by 10
    after half and after three quarters of the steps: K. He et al., Deep Residual Learning (2016),
    section 4.2. constant stays.

    Args:
        schedule: A name of `SCHEDULES`.
        step: From 0 to `n_steps` - 1.
        n_steps: In all, at least 1.
        warmup: Share of the steps, from 0 to less than 1; None for the schedule's own.

    Raises:
        InputError: For an unknown schedule, or a share that cannot be.

    >>> [round(learning_rate_factor("one-cycle", step, 10), 2) for step in (0, 1, 2, 9)]
    [0.04, 0.52, 1.0, 0.0]
    >>> [learning_rate_factor("step", step, 8, warmup=0) for step in (0, 3, 4, 6)]
    [1.0, 1.0, 0.1, 0.01]
    """
    share = _checked_warmup(schedule, warmup)
    if schedule == "one-cycle":
        return _between(_CYCLE_START, 1.0, _CYCLE_END, step, n_steps, share)
    n_warmup = math.floor(share * n_steps)
    if step < n_warmup:
        return (step + 1) / (n_warmup + 1)
    if schedule == "cosine":
        return (1 + math.cos(math.pi * (step - n_warmup) / (n_steps - n_warmup))) / 2
    if schedule == "step":
        n_falls = sum(step >= share * n_steps for share in _STEPS_AT)
        return 1 / float(10**n_falls)
    return 1.0


def momentum_of_cycle(schedule: str, step: int, n_steps: int, warmup: float | None = None) -> float | None:
    """Return the momentum of a step of one-cycle, which falls while the rate rises; None for the others.

    It takes the place of Adam's first coefficient, as in torch's `OneCycleLR`.

    >>> [round(momentum_of_cycle("one-cycle", step, 10), 2) for step in (0, 2, 9)]
    [0.95, 0.85, 0.95]
    """
    if schedule != "one-cycle":
        return None
    low, high = _CYCLE_MOMENTUM
    return _between(high, low, high, step, n_steps, _checked_warmup(schedule, warmup))


def _between(start: float, peak: float, end: float, step: int, n_steps: int, share: float) -> float:
    """Return a value that goes along half a cosine from start to peak, then along another to the end."""
    turn = max(share * n_steps - 1, 0.0)
    if step < turn:
        return _cosine(start, peak, step / turn)
    return _cosine(peak, end, (step - turn) / (n_steps - 1 - turn)) if n_steps > 1 else peak


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


def _checked_warmup(schedule: str, warmup: float | None) -> float:
    if schedule not in SCHEDULES:
        raise InputError(
            f"schedule: expected one of {', '.join(SCHEDULES)}, got {schedule!r}:"
            f" {did_you_mean(str(schedule), SCHEDULES)}"
        )
    share = SCHEDULES[schedule] if warmup is None else warmup
    if not 0 <= share < 1:
        raise InputError(f"warmup: expected a share of the steps from 0 to less than 1, got {warmup!r}")
    return share
