"""Quality over folds: what each fold's model scored, and which samples were right while held out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from moo.evaluation import Estimate
from objectives._scoring._intervals import cross_validated_estimate
from objectives._scoring._outputs import Outputs
from objectives._scoring._scores import Scorer

__all__ = ["Tally"]


@dataclass(frozen=True)
class Tally:
    """What the folds so far gave, of one deployment.

    Args:
        scorers: How quality is scored.
        n_samples: In all folds together.
        values: Of each fold, by metric name.
        correct: Which samples were right while they were held out, by metric name; where that is what the
            score is made of.
    """

    scorers: Sequence[Scorer]
    n_samples: int
    values: dict[str, list[float]] = field(default_factory=dict)
    correct: dict[str, NDArray[np.bool_]] = field(default_factory=dict)

    def add(self, rows: NDArray[np.intp], targets: NDArray[np.generic], outputs: Outputs) -> None:
        """Take the outputs for a fold's rows.

        Raises:
            ScoreError: If a score is undefined on them.
        """
        for scorer in self.scorers:
            name, raw = scorer.metric.name, scorer.raw(targets, outputs)
            self.values.setdefault(name, []).append(float(np.mean(raw)))
            if isinstance(raw, np.ndarray) and raw.dtype == np.bool_:
                self.correct.setdefault(name, np.zeros(self.n_samples, np.bool_))[rows] = raw

    @property
    def means(self) -> dict[str, float]:
        """The mean over the folds so far, by metric name."""
        return {name: float(np.mean(of_folds)) for name, of_folds in self.values.items()}

    def quality(self) -> Mapping[str, Estimate]:
        """Return the estimates over all folds, by metric name."""
        found = {}
        for scorer in self.scorers:
            values = self.values[scorer.metric.name]
            n_test = self.n_samples / len(values)
            found[scorer.metric.name] = cross_validated_estimate(
                values, n_train=self.n_samples - n_test, n_test=n_test, metric=scorer.metric
            )
        return found
