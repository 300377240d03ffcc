"""How much each parameter decides whether a trial is among the best in a metric, and how sure that is.

Optuna's PED-ANOVA (Watanabe, Bansal and Hutter, IJCAI 2023; for conditional parameters arXiv:2601.20800)
compares where the best quarter of the trials lies in a parameter with where all trials lie. It was chosen
over fANOVA because it needs no further package, knows parameters that only some trials have (fANOVA leaves
them out) and is fast enough to be run again on halves of the trials and on shuffled values, which is what
tells a number from chance. fANOVA tells parameters apart with fewer trials where a sampler has already gone
to the best ones, but takes seconds for 200 trials.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from moo.metrics import Metric
from moo.results import FinishedTrial, Results

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study

__all__ = [
    "BEST_SHARE",
    "LOGARITHM_FROM",
    "MAX_TRIALS",
    "MIN_TRIALS",
    "Importance",
    "MetricImportances",
    "importances",
]

BEST_SHARE = 0.25  # of the trials: those whose parameters are compared with everyone's
MIN_TRIALS = 20  # with which the best quarter is five trials, as few as Optuna advises
MAX_TRIALS = 400  # more are thinned, evenly: they cost time and hardly move the numbers
MIN_TRIALS_A_CHOICE = 5  # on average: a parameter with nearly a choice a trial names trials
N_SPLITS = 6  # each into two halves
LOGARITHM_FROM = 100.0  # largest over smallest value from which an unknown distribution is logarithmic
N_SHUFFLES = 19  # the smallest number whose largest value is a 95% bound

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Importance:
    """A parameter's share of all importances for one metric; the shares sum to 1.

    Args:
        share: From 0 to 1.
        low: Lower end of the 95% interval of the share.
        high: Upper end.
        is_told_apart: Whether the importance is larger than in each of `N_SHUFFLES` studies with the metric's
            values shuffled: whether it is likely (95%) to be more than chance.
    """

    share: float
    low: float
    high: float
    is_told_apart: bool


@dataclass(frozen=True, kw_only=True)
class MetricImportances:
    """What decides one metric.

    Args:
        metric: The metric.
        by_param: Importance by parameter, the largest first; empty where there is a reason.
        left_out: Why a parameter was not compared, by its name.
        reason: Why there is none, in one line, or None.
        n_trials: Trials that have a value and parameters.
        n_used: Those of them that were compared: at most `MAX_TRIALS`.
    """

    metric: Metric
    by_param: Mapping[str, Importance] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    reason: str | None = None
    n_trials: int
    n_used: int


def importances(results: Results, *, seed: int = 0) -> dict[str, MetricImportances]:
    """Return the importance of each parameter, by name of each objective and constrained metric.

    A trial counts if it did not fail and has a finite value: a pruned one counts for the cost that it was
    pruned by. A parameter that always has the same value is left out, and so is one that has fewer than
    `MIN_TRIALS_A_CHOICE` trials a choice, as a model's name would. With one parameter left there is no
    share to tell. A conditional parameter is compared
    among the trials that have it, weighted by how many those are (arXiv:2601.20800, theorem 4.2).

    The interval is that of a delete-half jackknife (Shao and Tu, "The Jackknife and Bootstrap", 1995, section
    2.3): the spread of the shares over random halves of the trials, around the share of all. It is about
    the trials there are: a sampler that went to the best region early leaves little to compare, and then all
    shares come nearer to each other. Importances say nothing of the direction, nor of pairs of
    parameters that matter only together.

    Args:
        results: The study. Distributions that it does not know are inferred from the values seen.
        seed: For halves and shuffles; the same seed gives the same numbers.

    Complexity: one study of at most `MAX_TRIALS` trials for each set of trials that share the same metrics,
    and `1 + 2 N_SPLITS` evaluations for each metric.
    """
    groups: dict[tuple[int, ...], _Trials] = {}
    found = {}
    for metric, sign in _signs(results):
        trials = [t for t in results.trials if t.params and _is_usable(t, metric.name)]
        used = _thinned(trials)
        key = tuple(trial.number for trial in used)
        group = groups.setdefault(key, _Trials(used, results.distributions, seed))
        losses = np.array([sign * _value(trial, metric.name) for trial in used], dtype=np.float64)
        reason = _why_none(results, len(trials), losses, group)
        shares = {} if reason else group.importances(losses)
        if not reason and not shares:
            reason = "the best quarter of the trials lies where all others lie"
        found[metric.name] = MetricImportances(
            metric=metric,
            by_param=shares,
            left_out={} if reason else group.left_out,
            reason=reason,
            n_trials=len(trials),
            n_used=len(used),
        )
    return found


def _signs(results: Results) -> list[tuple[Metric, float]]:
    """Return each objective's and constrained metric with the factor that turns it into a loss."""
    objectives = [(o.metric, o.sign) for o in results.problem.objectives]
    names = {metric.name for metric, _ in objectives}
    bounded = {
        c.metric.name: (c.metric, 1.0 if c.sense == "<=" else -1.0) for c in results.problem.constraints
    }
    return objectives + [pair for name, pair in bounded.items() if name not in names]


def _is_usable(trial: FinishedTrial, metric: str) -> bool:
    value = trial.estimate(metric).value
    return trial.state != "failed" and value is not None and math.isfinite(value)


def _value(trial: FinishedTrial, metric: str) -> float:
    value = trial.estimate(metric).value
    assert value is not None
    return value


def _thinned(trials: Sequence[FinishedTrial]) -> list[FinishedTrial]:
    if len(trials) <= MAX_TRIALS:
        return list(trials)
    return [trials[int(index)] for index in np.linspace(0, len(trials) - 1, MAX_TRIALS).round()]


def _why_none(results: Results, n_trials: int, losses: FloatArray, group: _Trials) -> str | None:
    if not results.param_names:
        return "the trials have no parameters"
    if n_trials < MIN_TRIALS:
        return f"needs at least {MIN_TRIALS} trials with a value, has {n_trials}"
    if len(group.distributions) < 2:
        left_out = "; ".join(f"{name}: {reason}" for name, reason in group.left_out.items())
        n = "one parameter" if group.distributions else "no parameter"
        return f"{n} can be compared, so there are no shares" + (f" ({left_out})" if left_out else "")
    if _n_best(losses) == len(losses):
        return "all trials have the same value"
    return None


def _n_best(losses: FloatArray) -> int:
    """Return how many trials PED-ANOVA takes for the best: a quarter, and all that tie with its last."""
    place = math.ceil(BEST_SHARE * len(losses)) - 1
    return int((losses <= np.partition(losses, place)[place]).sum())


class _Trials:
    """Trials as an Optuna study in memory; which value decides is chosen for each question anew.

    Args:
        trials: What is compared.
        stored: Distributions as JSON by name, as far as they are known.
        seed: For halves and shuffles.
    """

    def __init__(self, trials: Sequence[FinishedTrial], stored: Mapping[str, Any], seed: int) -> None:
        self._params = [{name: _plain(value) for name, value in t.params.items()} for t in trials]
        self._stored = stored
        self._seed = seed
        self._by_chance: dict[int, Mapping[str, float]] = {}
        self.left_out: dict[str, str] = {}

    @cached_property
    def distributions(self) -> dict[str, BaseDistribution]:
        """The distribution of each parameter that is compared."""
        found = {}
        for name in dict.fromkeys(name for params in self._params for name in params):
            values = [params[name] for params in self._params if name in params]
            n_different = len({(type(value), value) for value in values})
            if n_different == 1:
                self.left_out[name] = "always the same value"
                continue
            distribution = _known(self._stored.get(name), values) or _inferred(values)
            if _is_choice(distribution) and len(values) < MIN_TRIALS_A_CHOICE * n_different:
                self.left_out[name] = f"{n_different:,} choices in {len(values):,} trials"
                continue
            found[name] = distribution
        return found

    def importances(self, losses: FloatArray) -> dict[str, Importance]:
        """Return each parameter's importance, the largest first; none where nothing differs.

        Args:
            losses: Shape (n,), finite; the smaller the better.
        """
        whole = self._raw(losses)
        total = sum(whole.values())
        if total <= 0:
            return {}
        halves = [self._raw(losses, kept) for kept in self._halves(len(losses))]
        by_chance = self._chance(losses)
        found = {}
        for name, raw in sorted(whole.items(), key=lambda item: -item[1]):
            share = raw / total
            shares = [half.get(name, 0.0) / sum(half.values()) for half in halves if sum(half.values()) > 0]
            sd = math.sqrt(float(np.mean((np.array(shares) - share) ** 2))) if shares else 1.0
            low, high = max(0.0, share - 1.959964 * sd), min(1.0, share + 1.959964 * sd)
            found[name] = Importance(share, low, high, raw > by_chance.get(name, 0.0))
        return found

    def _halves(self, n: int) -> Iterator[NDArray[np.bool_]]:
        generator = np.random.default_rng([self._seed, n])
        for _ in range(N_SPLITS):
            kept = np.zeros(n, dtype=np.bool_)
            kept[generator.permutation(n)[: n // 2]] = True
            yield kept
            yield ~kept

    def _chance(self, losses: FloatArray) -> Mapping[str, float]:
        """Return the largest importance of each parameter for best trials drawn at random.

        Shuffled values matter by how many trials are among the best alone, so metrics share the shuffles.
        """
        n_best = _n_best(losses)
        if n_best not in self._by_chance:
            generator = np.random.default_rng([self._seed, n_best])
            largest: dict[str, float] = {}
            for _ in range(N_SHUFFLES):
                is_worse = np.ones(len(losses))
                is_worse[generator.permutation(len(losses))[:n_best]] = 0.0
                for name, raw in self._raw(is_worse).items():
                    largest[name] = max(raw, largest.get(name, 0.0))
            self._by_chance[n_best] = largest
        return self._by_chance[n_best]

    def _raw(self, losses: FloatArray, kept: NDArray[np.bool_] | None = None) -> dict[str, float]:
        """Return PED-ANOVA's importances as Optuna gives them, of some of the trials."""
        from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

        targets = (losses if kept is None else np.where(kept, losses, math.inf)).tolist()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the target is minimised, and that some trials are few
            return dict(
                get_param_importances(
                    self._study,
                    evaluator=PedAnovaImportanceEvaluator(target_quantile=BEST_SHARE),
                    params=list(self.distributions),
                    target=lambda trial: float(targets[trial.number]),
                    normalize=False,
                )
            )

    @cached_property
    def _study(self) -> Study:
        import optuna

        trials = [
            optuna.trial.create_trial(
                value=0.0,
                params={name: value for name, value in params.items() if name in self.distributions},
                distributions={name: d for name, d in self.distributions.items() if name in params},
            )
            for params in self._params
        ]
        with _without_messages():
            study = optuna.create_study()
        study.add_trials(trials)
        return study


@contextmanager
def _without_messages() -> Iterator[None]:
    """Keep Optuna from telling that there is a study, which is none of anybody's."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def _plain(value: Any) -> Any:
    """Return a value that a distribution can hold: a number, a truth value, None or a text."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _known(record: Mapping[str, Any] | None, values: Sequence[Any]) -> BaseDistribution | None:
    """Return the stored distribution, or None where there is none that has these values."""
    from optuna.distributions import json_to_distribution

    if record is None:
        return None
    try:
        found = json_to_distribution(json.dumps(record))
        inside = all(found._contains(found.to_internal_repr(value)) for value in values)
    except (KeyError, TypeError, ValueError):
        return None
    return found if inside and not found.single() else None


def _is_choice(distribution: BaseDistribution) -> bool:
    from optuna.distributions import CategoricalDistribution

    return isinstance(distribution, CategoricalDistribution)


def _inferred(values: Sequence[Any]) -> BaseDistribution:
    """Return a distribution from the smallest to the largest number seen, else of the choices seen.

    It is logarithmic where numbers are positive and the largest is over a hundred times the smallest.

    >>> _inferred([1, 4]), _inferred(["a", None, "a"])
    (IntDistribution(high=4, log=False, low=1, step=1), CategoricalDistribution(choices=('a', None)))
    """
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    kinds = {type(value) for value in values}
    if kinds <= {int, float}:
        low, high = min(values), max(values)
        is_log = low > 0 and high > LOGARITHM_FROM * low
        if kinds == {int}:
            return IntDistribution(low, high, log=is_log)
        return FloatDistribution(float(low), float(high), log=is_log)
    choices = {(type(value), value): value for value in values}
    return CategoricalDistribution(tuple(choices.values()))
