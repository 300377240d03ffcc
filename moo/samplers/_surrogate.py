"""Gaussian processes of what trials observed: scaled targets, hyperparameters, fantasies."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from moo.samplers._gaussian_process import GaussianProcess, Hyperparameters, Pairs, Prior, fit

__all__ = ["Fits", "Surrogate", "Targets", "constraint_targets", "loss_targets"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

# of features in the unit cube and targets of unit variance
_PRIOR = Prior(
    length_scale=-1.4,
    common_sd=1.0,
    own_sd=0.7,
    signal=0.0,
    signal_sd=1.0,
    noise=-7.0,
    noise_sd=2.0,
    length_scale_range=(-4.0, 5.0),
    signal_range=(-3.0, 4.0),
    noise_range=(-14.0, 0.0),
)
_N_STEPS = 30
_N_KEPT = 256
# noise above this share of the variance counts: one observation is then not taken at its word
_NOTABLE_NOISE = 1e-2


@dataclass(frozen=True, eq=False)
class Targets:
    """One quantity, transformed monotonically, of mean 0 and unit variance.

    Attributes:
        values: Shape (n,); NaN where it was not observed.
        noise: Shape (n,): the known variance of each, 0 where unknown.
        threshold: Where a raw 0 lies.
    """

    values: FloatArray
    noise: FloatArray
    threshold: float

    @classmethod
    def of(cls, values: FloatArray, sds: FloatArray, /) -> Targets:
        """Standardise values, with their standard deviations (NaN where unknown)."""
        shift = float(np.nanmean(values))
        spread = float(np.nanstd(values))
        scale = spread if spread > 1e-12 * float(np.nanmax(np.abs(values))) else 1.0
        # rounded, so that another unit of the raw values gives the same targets
        scaled = np.round((values - shift) / scale, 10)
        return cls(scaled, np.nan_to_num(sds / scale) ** 2, -shift / scale)


def loss_targets(losses: FloatArray, sds: FloatArray, worst_useful: float, /) -> Targets:
    """Return losses, shape (n,), linear up to the worst useful one and logarithmic beyond.

    How bad a bad trial is matters little, and heavy tails would flatten all that is good.
    """
    width = worst_useful - float(np.nanmin(losses))
    if not width > 0.0:
        return Targets.of(losses, sds)
    beyond = np.maximum(losses - worst_useful, 0.0) / width
    return Targets.of(np.minimum(losses, worst_useful) + width * np.log1p(beyond), sds / (1.0 + beyond))


def constraint_targets(constraints: FloatArray, sds: FloatArray, /) -> Targets | None:
    """Return constraints, shape (n,), as arcsinh of multiples of their median size.

    None where fewer than two different values were observed.

    Zero stays zero before all are standardised: `threshold` says where it lies.
    """
    seen = constraints[~np.isnan(constraints)]
    if len(seen) == 0 or seen.max() == seen.min():
        return None
    size = float(np.median(np.abs(seen[seen != 0.0])))
    multiples = constraints / size
    return Targets.of(np.arcsinh(multiples), sds / size / np.sqrt(1.0 + multiples**2))


class Fits:
    """Hyperparameters by what they were fitted to: each fit is done once.

    A fit is a function of its data alone, so remembering it changes no proposal.
    """

    def __init__(self) -> None:
        self._known: dict[bytes, Hyperparameters] = {}

    def of(self, features: FloatArray, groups: IntArray, targets: Targets | None, /) -> Hyperparameters:
        """Return the hyperparameters for the observed ones among n targets, features of shape (n, p).

        Those of the prior where there are no targets.
        """
        if targets is None:
            return _PRIOR.most_probable(int(groups.max()) + 1)
        seen = ~np.isnan(targets.values)
        data = (features[seen], groups, targets.values[seen], targets.noise[seen])
        key = hashlib.blake2b(b"".join(array.tobytes() for array in data), digest_size=16).digest()
        if key not in self._known:
            if len(self._known) >= _N_KEPT:
                self._known.pop(next(iter(self._known)), None)
            pairs = Pairs.of(data[0], groups)
            self._known[key] = fit(pairs, data[2], data[3], _PRIOR, n_steps=_N_STEPS)
        return self._known[key]


class Surrogate:
    """The process of one quantity, given the trials that observed it.

    Attributes:
        process: To predict with.
        is_noisy: Whether one observation cannot be taken at its word.
        threshold: Where a raw 0 lies.
    """

    def __init__(
        self, features: FloatArray, groups: IntArray, targets: Targets, hyperparameters: Hyperparameters
    ) -> None:
        """Condition on targets, (n,), at features, (n, p)."""
        self._seen = ~np.isnan(targets.values)
        self._features, self._groups = features, groups
        self._targets, self._hyperparameters = targets, hyperparameters
        self.threshold = targets.threshold
        self.is_noisy = hyperparameters.noise > _NOTABLE_NOISE or bool((targets.noise > 0.0).any())
        self.process = self._given(
            features[self._seen], targets.values[self._seen], targets.noise[self._seen]
        )

    def _given(self, features: FloatArray, values: FloatArray, noise: FloatArray) -> GaussianProcess:
        return GaussianProcess(features, self._groups, values, noise, self._hyperparameters)

    def believed(self) -> FloatArray:
        """Return what is believed of the n trials, shape (n,): NaN where not observed.

        The observations as they are, or the means of the process where they are noisy.
        """
        believed = np.array(self._targets.values)
        if self.is_noisy:
            believed[self._seen] = self.process.mean(self._features[self._seen])
        return believed

    def imagine(self, features: FloatArray, /) -> FloatArray:
        """Take the means at features, shape (q, p), for observed; return them, shape (q,)."""
        means = self.process.mean(features)
        self.process = self._given(
            np.concatenate([self._features[self._seen], features]),
            np.concatenate([self._targets.values[self._seen], means]),
            np.concatenate([self._targets.noise[self._seen], np.zeros(len(means))]),
        )
        return means
