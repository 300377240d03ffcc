"""Fronts: dominance, hypervolume and the choice on a front. Arrays in, arrays out; losses only."""

from moo.pareto._decision import knee
from moo.pareto._dominance import nondominated
from moo.pareto._hypervolume import hypervolume_history

__all__ = ["hypervolume_history", "knee", "nondominated"]
