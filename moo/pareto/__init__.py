"""Fronts: dominance, uncertainty, hypervolume, choices. Arrays in, arrays out; losses only."""

from moo.pareto._budget import BudgetChoice, Relaxation, budget_choice
from moo.pareto._chebyshev import ChebyshevChoice, chebyshev_choice, chebyshev_ranges, knee
from moo.pareto._decision import ReferenceChoice, reference_choice
from moo.pareto._dominance import nondominated
from moo.pareto._draws import Distribution, estimate_draws, resampled_means
from moo.pareto._exchange import Exchange, exchange
from moo.pareto._hypervolume import Hypervolume, hypervolume, hypervolume_history, reference_point
from moo.pareto._paired import PairedDifference, paired_difference
from moo.pareto._uncertainty import Comparison, FrontProbability, front_probability, probability_better
from moo.pareto._weights import (
    WeightedChoice,
    WeightRanges,
    WeightShares,
    weight_ranges,
    weight_shares,
    weighted_choice,
)

__all__ = [
    "BudgetChoice",
    "ChebyshevChoice",
    "Comparison",
    "Distribution",
    "Exchange",
    "FrontProbability",
    "Hypervolume",
    "PairedDifference",
    "ReferenceChoice",
    "Relaxation",
    "WeightRanges",
    "WeightShares",
    "WeightedChoice",
    "budget_choice",
    "chebyshev_choice",
    "chebyshev_ranges",
    "estimate_draws",
    "exchange",
    "front_probability",
    "hypervolume",
    "hypervolume_history",
    "knee",
    "nondominated",
    "paired_difference",
    "probability_better",
    "reference_choice",
    "reference_point",
    "resampled_means",
    "weight_ranges",
    "weight_shares",
    "weighted_choice",
]
