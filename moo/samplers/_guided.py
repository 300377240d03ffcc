"""What our samplers share: reading the study, the first trials, no duplicates, an end to a finite space."""

from __future__ import annotations

import abc
import contextlib
import functools
import logging
import threading
import weakref
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState
from threadpoolctl import LibController, ThreadpoolController

from moo.errors import InputError
from moo.samplers._exhaustion import LISTABLE, exhaustion
from moo.samplers._history import History, Observations
from moo.samplers._space import SearchSpace, value_at

__all__ = ["GuidedSampler", "Question", "check"]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

_log = logging.getLogger("moo")

_N_DRAWS = 256


@dataclass(frozen=True, eq=False)
class Question:
    """What is known when a configuration is asked for.

    Attributes:
        observations: All other trials.
        fixed: Shape (d,): what the trial has been given already (it was queued with some of its
            parameters), NaN where it is free.
        rng: For this trial only: it follows from the sampler's seed and the trial's number.
    """

    observations: Observations
    fixed: FloatArray
    rng: np.random.Generator

    @property
    def space(self) -> SearchSpace:
        """The search space."""
        return self.observations.space

    def settle(self, rows: FloatArray, /) -> FloatArray:
        """Return complete rows on the grid, with what is fixed for this trial."""
        settled = self.space.snap(rows)
        is_fixed = ~np.isnan(self.fixed)
        settled[:, is_fixed] = self.fixed[is_fixed]
        return settled

    def draw(self, n_rows: int) -> FloatArray:
        """Return settled rows drawn uniformly."""
        return self.settle(self.space.from_uniform(self.rng.random((n_rows, self.space.n_parameters))))

    def untried(self) -> FloatArray:
        """Return settled rows for all that is untried in a space small enough to list, in random order.

        Shape (0, d) for a larger space.
        """
        if self.space.size > LISTABLE:
            return np.empty((0, self.space.n_parameters))
        rows = self.settle(self.space.all_rows)
        rows = rows[self.is_new(rows)]
        return np.asarray(rows[self.rng.permutation(len(rows))])

    def is_new(self, rows: FloatArray, /) -> BoolArray:
        """Return which settled rows are no configuration that was tried, nor an earlier row.

        Shape (n, d) to (n,).
        """
        active = self.space.without_inactive(rows)
        first = np.zeros(len(rows), dtype=np.bool_)
        first[np.unique(self.space.codes(active), return_index=True)[1]] = True
        return np.asarray(first & ~self.observations.are_tried(active))


class GuidedSampler(BaseSampler, abc.ABC):
    """A sampler that proposes a whole configuration from all that the study's trials taught.

    Subclasses say how in `_propose`. What a study has seen of parameters is the search space: one
    that an objective asks for and that no trial has had yet is drawn for itself, as in the first trials.

    Random numbers follow from the seed and the trial's number, so a study that is resumed, in the
    same process or another, proposes what the uninterrupted one would have.
    """

    def __init__(
        self,
        *,
        seed: int | None = None,
        n_startup_trials: int = 10,
        when_exhausted: Literal["repeat", "stop"] = "repeat",
    ) -> None:
        check(seed is None or (isinstance(seed, int) and seed >= 0), "seed", "an integer >= 0", seed)
        check(
            isinstance(n_startup_trials, int) and n_startup_trials >= 1,
            "n_startup_trials",
            "an integer >= 1",
            n_startup_trials,
        )
        check(when_exhausted in ("repeat", "stop"), "when_exhausted", "'repeat' or 'stop'", when_exhausted)
        self._seed = int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else seed
        self._n_startup_trials = n_startup_trials
        self._when_exhausted = when_exhausted
        self._forget()

    def _forget(self) -> None:
        self._lock = threading.RLock()
        self._histories: weakref.WeakKeyDictionary[optuna.Study, History] = weakref.WeakKeyDictionary()
        self._read_for: tuple[int, int] | None = None
        self._has_told_exhausted = False

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        for name in ("_lock", "_histories", "_read_for", "_has_told_exhausted"):
            del state[name]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    def __str__(self) -> str:
        return type(self).__name__

    @abc.abstractmethod
    def _propose(self, question: Question) -> FloatArray:
        """Return settled rows that are new (`Question.is_new`), shape (n, d), the best first.

        There may be none: then something new is drawn. Called with at least `n_startup_trials` trials that
        teach.
        """

    # Optuna's interface

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return every parameter that a trial of the study has had, as last seen.

        See `optuna.samplers.BaseSampler`.
        """
        with self._lock:
            space = self._history(study, trial).search_space()
            self._read_for = (id(study), trial.number)
        return space

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return a value for each parameter of the space. See `optuna.samplers.BaseSampler`."""
        with self._lock:
            history = self._history(study, trial)
            self._read_for = None
            known = {name: dist for name, dist in search_space.items() if not dist.single()}
            if not known or not set(known) <= set(history.search_space()):
                return {}
            observations = history.observations(known, without=trial.number)
        question = self._question(observations, trial)
        return question.space.decode(self._answer(question, trial.number))

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Return a value for a parameter that no trial has had yet, or not in this range.

        See `optuna.samplers.BaseSampler`.
        """
        return value_at(param_distribution, self._startup_draw(param_name, trial.number))

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """End `study.optimize` where every configuration has been tried, if asked to."""
        if self._when_exhausted == "stop":
            message = self.exhausted(study)
            if message is not None:
                with contextlib.suppress(RuntimeError):  # only Study.optimize can be stopped
                    study.stop()
                    _log.warning("%s: the search ends", message)

    def reseed_rng(self) -> None:
        """Do nothing: random numbers follow from the seed and the trial's number, in any process."""

    # ours

    def exhausted(self, study: optuna.Study) -> str | None:
        """Return a sentence where every configuration of a finite space has been tried, else None."""
        with self._lock:
            return exhaustion(self._history(study, None))

    def _history(self, study: optuna.Study, trial: FrozenTrial | None) -> History:
        """Return what is known of the study, read anew unless that was just done for this trial."""
        history = self._histories.get(study)
        if history is None:
            history = self._histories[study] = History()
        if trial is None or self._read_for != (id(study), trial.number):
            history.read(study)
        return history

    def _question(self, observations: Observations, trial: FrozenTrial) -> Question:
        space = observations.space
        given = trial.system_attrs.get("fixed_params", {})
        return Question(
            observations=observations,
            fixed=space.encode(np.array([space.internal(given)]))[0] if given else _nothing(space),
            rng=np.random.default_rng([self._seed, trial.number]),
        )

    def _answer(self, question: Question, number: int) -> FloatArray:
        """Return the configuration to try: one not tried before wherever there is one."""
        for source in (self._first_choice, _anything_new, _whatever_is_left):
            rows = source(question, number)
            if len(rows):
                # whoever is about to store a configuration knew nearly the same, and takes the best one
                return np.asarray(rows[min(question.observations.n_unseen, len(rows) - 1)])
        if not self._has_told_exhausted:
            self._has_told_exhausted = True
            _log.warning(
                "all %d configurations have been tried: trials from here on repeat them",
                len(np.unique(question.observations.codes)),
            )
        return np.asarray(question.draw(1)[0])

    def _first_choice(self, question: Question, number: int) -> FloatArray:
        """Return new rows as the sampler would have them, the best first, or none."""
        if int(question.observations.teaches.sum()) >= self._n_startup_trials:
            with _one_blas_thread():
                return self._propose(question)
        draws = [self._startup_draw(name, number) for name in question.space.names]
        rows = question.settle(question.space.from_uniform(np.array([draws])))
        return np.asarray(rows[question.is_new(rows)])

    def _startup_draw(self, name: str, number: int) -> float:
        """Return a parameter's draw for one of the first trials, in [0, 1).

        Latin hypercube sampling (McKay, Beckman and Conover 1979): in each run of
        `n_startup_trials` trials every parameter visits every stratum once, in an order of its own.
        A draw depends on seed, name and trial number only, so it needs no knowledge of the space.
        """
        block, place = divmod(number, self._n_startup_trials)
        rng = np.random.default_rng([self._seed, block, zlib.crc32(name.encode())])
        strata = rng.permutation(self._n_startup_trials)
        return float((strata[place] + rng.random(self._n_startup_trials)[place]) / self._n_startup_trials)


def _anything_new(question: Question, _: int) -> FloatArray:
    rows = question.draw(_N_DRAWS)
    return np.asarray(rows[question.is_new(rows)])


def _whatever_is_left(question: Question, _: int) -> FloatArray:
    return question.untried()


def _nothing(space: SearchSpace) -> FloatArray:
    return np.full(space.n_parameters, np.nan)


@functools.cache
def _blas() -> tuple[LibController, ...]:
    """Return the libraries loaded so far; looking for them takes milliseconds.

    That is done in another thread: they are found by a C function that calls back, and what is raised in such
    a call is lost, an interrupt among it, which Python raises in the main thread.
    """
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(lambda: ThreadpoolController().select(user_api="blas").lib_controllers)
        return tuple(found.result())


@contextlib.contextmanager
def _one_blas_thread() -> Iterator[None]:
    """Limit the matrices of a proposal to one thread: they are small, and more threads only wait.

    The limit is the process's: off the main thread, where others may set and lift it too, it is left alone.
    """
    is_main = threading.current_thread() is threading.main_thread()
    limits = {library: library.get_num_threads() for library in (_blas() if is_main else ())}
    lifted = {library: limit for library, limit in limits.items() if limit not in (None, 1)}
    for library in lifted:
        library.set_num_threads(1)
    try:
        yield
    finally:
        for library, limit in lifted.items():
            library.set_num_threads(limit)


def check(is_right: bool, name: str, expected: str, got: object) -> None:  # noqa: FBT001
    """Refuse an argument that is not right.

    Raises:
        InputError: With its name, what was expected, and what came.
    """
    if not is_right:
        raise InputError(f"{name}: expected {expected}, got {got!r}")
