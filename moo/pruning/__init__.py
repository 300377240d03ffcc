"""Stop a trial whose training shows that it is not worth finishing, whatever the number of objectives.

Optuna prunes studies of one objective only. `SuccessiveHalving` here does it for several, from the vector of
what training reports and what is known without it; `make_pruner` returns that or one of Optuna's behind one
call, `Pruner.report`, so that whoever runs a trial need not know which it is.
"""

from moo.pruning._by_name import PRUNER_NAMES, make_pruner
from moo.pruning._halving import SuccessiveHalving
from moo.pruning._interface import NoPruning, Pruner
from moo.pruning._optuna import OptunaPruner

__all__ = ["PRUNER_NAMES", "NoPruning", "OptunaPruner", "Pruner", "SuccessiveHalving", "make_pruner"]
