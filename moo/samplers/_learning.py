"""What trials teach an `EHVISampler`: a process for each objective and each constraint, and the front."""

from __future__ import annotations

from dataclasses import dataclass

import moocore
import numpy as np
from numpy.typing import NDArray

from moo.samplers._encoding import Encoding
from moo.samplers._history import Observations
from moo.samplers._surrogate import Fits, Surrogate, Targets, constraint_targets, loss_targets

__all__ = ["Lesson", "learn", "most_useful"]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

_MOST_TRIALS = 300  # that the processes learn from
_REFITS = 50  # hyperparameters are fitted anew when the trials have grown by one in so many
_AUGMENTATION = 0.05  # Knowles 2006, eq. 2


@dataclass(frozen=True, eq=False)
class Lesson:
    """What was learnt.

    Attributes:
        encoding: Of rows as features.
        objectives: A process for each objective; none where no trial has told any.
        constraints: A process for each constraint that was seen to differ between trials.
        believed: Shape (n, m): believed losses, transformed, of the trials with all objectives.
        is_feasible: Shape (n,): which of these are believed to hold all constraints.
        rows: Shape (n, d): theirs; NaN for what is not there.
        nearest: Shape (5, d) or less: rows of the least violation.
    """

    encoding: Encoding
    objectives: list[Surrogate]
    constraints: list[Surrogate]
    believed: FloatArray
    is_feasible: BoolArray
    rows: FloatArray
    nearest: FloatArray


def learn(observations: Observations, fits: Fits, weights: FloatArray | None) -> Lesson:
    """Return what the trials teach that observed anything.

    Args:
        observations: Of all trials.
        fits: That are known already.
        weights: Shape (m,): makes one objective of all. None leaves them apart.
    """
    values = np.concatenate([observations.losses, observations.constraints], axis=1)
    taught = observations.select(observations.teaches & ~np.isnan(values).all(axis=1))
    used = taught.select(most_useful(taught, _MOST_TRIALS))
    n_fitted = len(taught.rows) - len(taught.rows) % max(1, len(taught.rows) // _REFITS)
    fitted = taught.select(np.arange(len(taught.rows)) < n_fitted)
    fitted = fitted.select(most_useful(fitted, _MOST_TRIALS))
    encoding = Encoding(observations.space)
    features, fitted_features = encoding.features(used.rows), encoding.features(fitted.rows)

    def surrogates(targets: list[Targets | None], at: list[Targets | None]) -> list[Surrogate | None]:
        return [
            None
            if target is None
            else Surrogate(
                features, encoding.groups, target, fits.of(fitted_features, encoding.groups, other)
            )
            for target, other in zip(targets, at, strict=True)
        ]

    objectives = surrogates(_loss_targets(used, weights), _loss_targets(fitted, weights))
    constraints = surrogates(_constraint_targets(used), _constraint_targets(fitted))
    known = [surrogate for surrogate in objectives if surrogate is not None]
    believed = np.stack([s.believed() for s in known], axis=1) if known else np.empty((len(used.rows), 0))
    has_losses = ~np.isnan(used.losses).any(axis=1)
    order = np.argsort(used.total_violation, kind="stable")
    return Lesson(
        encoding,
        known,
        [surrogate for surrogate in constraints if surrogate is not None],
        believed[has_losses],
        _believed_feasible(used, constraints)[has_losses],
        used.rows[has_losses],
        used.rows[order[:5]],
    )


def most_useful(observations: Observations, n_most: int, /) -> BoolArray:
    """Return which trials to learn from, shape (n,): all where they are not more than `n_most`.

    Half are the best (feasible ones by layers of fronts, then those that violate least), a quarter the
    latest, the rest spread over all others by number.
    """
    n = len(observations.rows)
    if n <= n_most:
        return np.ones(n, dtype=np.bool_)
    rank = np.full(n, n, dtype=np.float64)
    is_good = observations.is_feasible & ~np.isnan(observations.losses).any(axis=1)
    if is_good.any():
        rank[is_good] = moocore.pareto_rank(observations.losses[is_good])
    best = np.lexsort((-np.arange(n), observations.total_violation, rank))[: n_most // 2]
    is_useful = np.zeros(n, dtype=np.bool_)
    is_useful[best] = True
    is_useful[n - n_most // 4 :] = True
    others = np.flatnonzero(~is_useful)
    n_left = n_most - int(is_useful.sum())
    is_useful[others[np.linspace(0, len(others) - 1, n_left).astype(np.int64)]] = True
    return is_useful


def _loss_targets(observations: Observations, weights: FloatArray | None) -> list[Targets | None]:
    losses = observations.losses
    has_all = ~np.isnan(losses).any(axis=1)
    if not has_all.any():
        return [None] * (1 if weights is not None else losses.shape[1])
    is_good = has_all & observations.is_feasible
    worst_useful = np.nanmedian(losses, axis=0)
    if is_good.any():
        front = losses[is_good][moocore.is_nondominated(losses[is_good])]
        worst_useful = np.maximum(worst_useful, front.max(axis=0))
    targets = [
        loss_targets(*columns)
        for columns in zip(losses.T, observations.loss_sds.T, worst_useful.tolist(), strict=True)
    ]
    return list(targets) if weights is None else [_one_of(targets, weights)]


def _one_of(targets: list[Targets], weights: FloatArray) -> Targets:
    """Return the augmented Chebyshev scalarisation of several targets (Knowles 2006, eq. 2)."""
    values = np.stack([target.values for target in targets], axis=1)
    weighted = weights * (values - np.nanmin(values, axis=0))
    noise = np.stack([target.noise for target in targets], axis=1) @ weights**2
    return Targets.of(weighted.max(axis=1) + _AUGMENTATION * weighted.sum(axis=1), np.sqrt(noise))


def _constraint_targets(observations: Observations) -> list[Targets | None]:
    columns = zip(observations.constraints.T, observations.constraint_sds.T, strict=True)
    return [constraint_targets(values, sds) for values, sds in columns]


def _believed_feasible(observations: Observations, constraints: list[Surrogate | None]) -> BoolArray:
    """Return which trials observed all constraints and are believed to hold them, shape (n,)."""
    holds = observations.constraints <= 0.0
    for column, surrogate in enumerate(constraints):
        if surrogate is not None and surrogate.is_noisy:
            holds[:, column] = surrogate.believed() <= surrogate.threshold
    return np.asarray(holds.all(axis=1), dtype=np.bool_)
