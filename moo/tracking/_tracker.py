"""The observer that sends each trial to a tracking service, and never holds a sweep up."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from moo.errors import InputError
from moo.results import FinishedTrial, Results
from moo.tracking._courier import Courier
from moo.tracking._records import study_record, trial_record

__all__ = ["Tracker"]

_log = logging.getLogger("moo")

_RETRY_S = 60.0  # after a failure: until then what finishes is kept, and nothing is tried
_MAX_REASON = 300


class Tracker:
    """Sends a study and its trials; `moo.tracking.make_tracker` makes one.

    A trial is handed to a child process, and waited for at most `wait_s`, so that as a rule nothing is sent
    while the next one is measured. Where that is too short, or the service fails, one warning says so, and
    the sweep goes on without waiting: what is missing is tried again after a minute and in `finish`, and
    after that by the same sweep resumed, or by `track`. A trial that is there is not sent again.

    As a context manager it ends the child; a sweep that did not get as far as `finish` has its run ended as
    killed.

    Args:
        courier: Hands messages to the child.
        shown: The service in words, without a password.
        wait_s: The longest that a finished trial is waited for.
        finish_s: The longest that `finish` takes.
        clock: Seconds from any origin; for tests.
        now: Seconds since 1970; for tests.
    """

    def __init__(
        self,
        courier: Courier,
        *,
        shown: str,
        wait_s: float = 5.0,
        finish_s: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._courier = courier
        self._shown = shown
        self._wait_s = wait_s
        self._finish_s = finish_s
        self._clock = clock
        self._now = now
        self._results: Results | None = None
        self._n_trials = 0
        self._unsent: dict[int, dict[str, Any]] = {}
        self._on_the_way: set[int] = set()
        self._sent: set[int] = set()
        self._notes: set[str] = set()
        self._retry_at: float | None = None
        self._has_warned = self._is_finished = False

    @property
    def n_unsent(self) -> int:
        """How many trials the service is not known to have."""
        self._collect()
        return len(self._unsent)

    def check(self, seconds: float = 120.0) -> None:
        """Find out whether the service can be reached.

        Raises:
            InputError: If it cannot within `seconds`.
        """
        self._courier.send({"do": "check"})
        in_time = self._courier.wait(seconds)
        errors = [reply.error for reply in self._courier.replies() if reply.error is not None]
        if in_time and not errors:
            return
        reason = errors[0][:_MAX_REASON] if errors else f"no answer within {seconds:g} s"
        raise InputError(
            f"tracker {self._shown!r} cannot be reached: {reason.rstrip('.')}."
            " Start the server or mend the address; or go without, and send the study later"
        )

    def begun(self, results: Results, n_trials: int) -> None:
        """Open the study's run, or go on with it, and send the trials that it lacks."""
        self._results, self._n_trials = results, n_trials
        self._courier.send({"do": "study", "study": study_record(results)})
        for trial in results.trials:
            self._unsent[trial.number] = trial_record(trial, results)
        self._deliver(self._wait_s)

    def trial_finished(self, trial: FinishedTrial) -> None:
        """Send a finished trial; return within `wait_s`, whatever the service does."""
        assert self._results is not None, "begun comes first"
        record = trial_record(trial, self._results, ended_at=self._now())
        self._unsent.setdefault(trial.number, record)
        self._collect()
        if self._retry_at is not None and self._clock() < self._retry_at:
            return
        self._deliver(0.0 if self._on_the_way else self._wait_s)

    def finish(self, results: Results) -> int:
        """Send what is missing and what the study has come to; return how many trials could not be sent.

        Among what is missing are the further deployments of a trained model: they become trials of their own
        when a sweep tells their parent, and no observer hears of them.
        """
        self._collect()
        for trial in results.trials:
            if trial.number not in self._sent:
                self._unsent.setdefault(trial.number, trial_record(trial, results))
        if self._results is None:
            self._courier.send({"do": "study", "study": study_record(results)})
        self._results, self._retry_at = results, None
        is_whole = len(results.trials) >= self._n_trials
        self._enqueue()
        self._courier.send({"do": "finish", "study": study_record(results), "is_whole": is_whole})
        self._is_finished = True
        self._courier.wait(self._finish_s)
        self._collect()
        if self._unsent:
            _log.warning(
                "%d of %d trials are not in %s: the same command, or tracking the study, sends them",
                len(self._unsent),
                len(results.trials),
                self._shown,
            )
        return len(self._unsent)

    def close(self) -> None:
        """End the child, within ten seconds; a sweep that was not finished has its run ended as killed."""
        if self._results is not None and not self._is_finished:
            self._courier.send({"do": "finish", "study": None, "is_whole": False})
            self._courier.wait(self._wait_s)
        self._courier.close(self._wait_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _deliver(self, seconds: float) -> None:
        self._enqueue()
        if seconds and not self._courier.wait(seconds):
            self._warn(f"no answer within {seconds:g} s")
        self._collect()

    def _enqueue(self) -> None:
        for number, record in self._unsent.items():
            if number not in self._on_the_way:
                self._on_the_way.add(number)
                self._courier.send({"do": "trial", "trial": record})

    def _collect(self) -> None:
        """Take note of what has been answered since."""
        for reply in self._courier.replies():
            is_trial = reply.message["do"] == "trial"
            number = reply.message["trial"]["number"] if is_trial else -1
            self._on_the_way.discard(number)
            if reply.error is not None:
                self._retry_at = self._clock() + _RETRY_S
                self._warn(reply.error)
                continue
            if reply.note is not None and reply.note not in self._notes:
                self._notes.add(reply.note)
                _log.warning("tracking in %s: %s", self._shown, reply.note[:_MAX_REASON])
            if is_trial:
                self._retry_at = None
                self._sent.add(number)
                self._unsent.pop(number, None)

    def _warn(self, reason: str) -> None:
        if not self._has_warned:
            self._has_warned = True
            _log.warning(
                "tracking in %s: %s; the sweep goes on, and what is missing is tried again at its end",
                self._shown,
                reason[:_MAX_REASON].rstrip("."),
            )
