"""What was measured: the statistics derived from the raw samples of its launches."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from profilers._energy import EnergyPerCall
from profilers._launch import Launch, write_samples, write_whole
from profilers._model import ModelFile
from profilers._ort_profile import RuntimeProfile
from profilers._protocol import Protocol
from profilers._runtime import Runtime
from profilers._statistics import (
    Array,
    Statistic,
    bootstrap_interval,
    quantile_interval,
    refused,
    smallest_n,
    weighted_mean,
    weighted_quantile,
)
from profilers._student import look_confidence
from profilers._tags import find_tags

SCHEMA = "moo.profile/1"
REPORTED_QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
BOOTSTRAP_SEED = 0  # fixed: the same samples always give the same interval


@dataclass(frozen=True, kw_only=True, eq=False)
class Measurement:
    """A model under a runtime, as measured on one machine. All statistics are derived from the launches.

    With one launch, intervals come from within it and do not see the spread between launches (tag
    `single_launch`); with several they come from a hierarchical bootstrap over the launches, each weighing
    the same. Where the protocol stops as soon as an interval looks narrow, intervals are wider, so that those
    of all looks together hold the truth (`look_confidence`).

    Attributes:
        model: What was measured.
        runtime: How it was run.
        protocol: The rules it was measured by.
        launches: One record for each fresh process, at least one.
        environment: The machine, from `environment()`.
        inputs: What was fed to each input: `name`, `dtype`, `shape`, and whether `given` or `made`.
        assumed_dimensions: Symbolic dimensions that were taken as 1, because nobody gave a size.
        profile: What the runtime's own profile tells, from a process of its own; None without one.
        profile_reason: Why there is no profile although the protocol asks for one.
        energy: Joules of a call, or why they are not known; None where nobody asked.
    """

    model: ModelFile
    runtime: Runtime
    protocol: Protocol
    launches: tuple[Launch, ...]
    environment: Mapping[str, Any]
    inputs: tuple[Mapping[str, Any], ...] = ()
    assumed_dimensions: tuple[str, ...] = ()
    profile: RuntimeProfile | None = None
    profile_reason: str | None = None
    energy: EnergyPerCall | None = None

    def __post_init__(self) -> None:
        """Check that there is a launch."""
        if not self.launches:
            raise ValueError("launches must hold at least one launch")

    @cached_property
    def tags(self) -> tuple[str, ...]:
        """What a reader must know about the validity, sorted; ("ok",) when there is nothing."""
        return find_tags(self)

    def latency(self, q: float) -> Statistic:
        """The `q`-quantile of the time of one call, in seconds; `q` = 0.5 is the median.

        Where calls were timed in blocks, the median is that of the blocks' mean call, and no other quantile
        of single calls can be known, so `value` and `low` are None. `high` is: a call cannot take longer than
        the block it is in, so for every x, P(call > x) <= P(block > x), thus the call's quantile is at most
        the block's, and an upper limit for the block's quantile is one for the call's.

        Raises:
            ValueError: If `q` is not strictly between 0 and 1.
        """
        if ("host", q) not in self._latencies:
            self._latencies["host", q] = self._latency(q)
        return self._latencies["host", q]

    def _latency(self, q: float) -> Statistic:
        k = max(launch.calls_per_block for launch in self.launches)
        if k == 1 or q == 0.5:
            return self._quantile([launch.call_s() for launch in self.launches], q)
        bound = self._quantile([launch.latency_ns / 1e9 for launch in self.launches], q)
        if bound.value is None:
            return bound
        call_us = 1e6 * min(float(np.median(launch.call_s())) for launch in self.launches)
        reason = (
            f"one call takes {call_us:.3g} us: too short to time alone, so p{100 * q:g} of single calls "
            f"is unknown; high bounds it by blocks of {k}; take a larger batch"
        )
        return Statistic(None, None, bound.high, bound.n, None, reason)

    def device_latency(self, q: float, *, is_cold: bool = False) -> Statistic:
        """The `q`-quantile of the time of one call by the device's own clock, in seconds.

        Args:
            q: Strictly between 0 and 1.
            is_cold: Whether the device's cache was emptied before each call.
        """
        key = ("cold" if is_cold else "device", q)
        if key not in self._latencies:
            arrays = [launch.cold_ns if is_cold else launch.device_ns for launch in self.launches]
            known = [array / 1e9 for array in arrays if array is not None]
            self._latencies[key] = (
                self._quantile(known, q)
                if len(known) == len(arrays)
                else Statistic(None, None, None, 0, None, "no device with a clock of its own was timed")
            )
        return self._latencies[key]

    def device_memory(self) -> Statistic:
        """Peak of the device's memory that the framework held in the first calls, in bytes, the median."""
        held = [
            ((launch.device or {}).get("memory_bytes") or {}).get("reserved_peak") for launch in self.launches
        ]
        return self._across_launches(held, "the device's memory")

    @cached_property
    def _latencies(self) -> dict[tuple[str, float], Statistic]:
        """By clock, those asked for so far: with several launches each takes a bootstrap."""
        return {}

    def throughput(self) -> Statistic:
        """Rows per second over the whole timed phase: rows done, divided by the time in calls.

        The interval is a bootstrap; it is missing below 6 blocks.
        """
        return self._throughput

    @cached_property
    def _throughput(self) -> Statistic:
        batch = self.runtime.batch
        samples = [launch.call_s() for launch in self.launches]

        def rows_per_s(ordered: Array, weights: Array) -> float:
            return batch / weighted_mean(ordered, weights)

        statistic = self._bootstrap(samples, rows_per_s)
        needed = smallest_n(0.5)
        if statistic.n >= needed:
            return statistic
        reason = f"the interval needs at least {needed} samples, got {statistic.n}"
        return Statistic(statistic.value, None, None, statistic.n, needed, reason)

    def peak_memory(self) -> Statistic:
        """Peak resident memory of the process in bytes, the median over launches."""
        return self._across_launches([launch.peak_memory_bytes for launch in self.launches], "peak memory")

    def load_time(self) -> Statistic:
        """Seconds to create the session, the median over launches."""
        return self._across_launches([launch.session_s for launch in self.launches], "load time")

    def to_json(self, *, samples: str | None = None) -> dict[str, Any]:
        """One entry of the list `measurements` in the schema moo.profile/1.

        A percentile that is refused is null, with `<name>_needs_n` or `<name>_reason` beside it.

        Args:
            samples: Where the raw samples are stored, if they are.
        """
        memory, load = self.peak_memory(), self.load_time()
        return {
            "model": {"path": self.model.path, "sha256": self.model.sha256, "bytes": self.model.bytes},
            "runtime": self.runtime.to_json(),
            "batch": self.runtime.batch,
            "latency_s": self._latency_json(),
            "device_latency_s": self._device_json(),
            "throughput_per_s": _interval_json(self.throughput()),
            "memory_bytes": {"process_peak": _whole(memory.value), **self._profile_json()},
            "energy_j": asdict(self.energy) if self.energy else None,
            "load_s": load.value,
            "first_call_s": float(np.median([launch.first_call_s for launch in self.launches])),
            "parameters": self.model.parameters,
            "inputs": [dict(entry) for entry in self.inputs],
            "assumed_dimensions": list(self.assumed_dimensions),
            "operators": [row.to_json() for row in self.profile.operators] if self.profile else None,
            "n_profiled_calls": self.profile.n_calls if self.profile else None,
            "tags": list(self.tags),
            "samples": samples,
            "launches": [launch.to_json() for launch in self.launches],
        }

    def to_document(self, *, samples: str | None = None) -> dict[str, Any]:
        """A whole document of the schema moo.profile/1 with this one measurement."""
        return {
            "schema": SCHEMA,
            "environment": dict(self.environment),
            "protocol": self.protocol.to_json(),
            "measurements": [self.to_json(samples=samples)],
        }

    def save(self, folder: str | Path) -> None:
        """Write `samples.npz` and then `measurement.json` into `folder`, which is made if it is missing.

        Each file appears whole or not at all. The samples are the arrays `latency_ns_<i>` and
        `thread_cpu_ns_<i>` for each launch i.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.to_document(samples="samples.npz"), indent=1, allow_nan=False)
        write_samples(folder / "samples.npz", self.launches)
        write_whole(folder / "measurement.json", lambda file: file.write(text.encode()))

    def _profile_json(self) -> dict[str, Any]:
        """Memory by the runtime's own profile; null, with the reason beside it, where it does not tell."""
        arena = self.profile.arena if self.profile else None
        reasons = dict(arena.reasons) if arena else {}
        reason = self.profile_reason or "no run under the runtime's own profiling was asked for"
        return {
            "arena_peak": arena.in_use_peak_bytes if arena else None,
            "arena_held": arena.held_bytes if arena else None,
            "live_peak": arena.live_peak_bytes if arena else None,
            "prepared": arena.prepared_bytes if arena else None,
            "parameters_read": arena.parameters_read_bytes if arena else None,
            "reasons": reasons if arena else {"arena": reason},
        }

    def _latency_json(self) -> dict[str, Any]:
        entry: dict[str, Any] = {
            "n": sum(len(launch.latency_ns) for launch in self.launches),
            "launches": len(self.launches),
        }
        return entry | _quantiles_json(self.latency)

    def _device_json(self) -> dict[str, Any] | None:
        """Times by the device's clock, with its cache `hot` and `cold`; null where none was timed."""
        if any(launch.device_ns is None for launch in self.launches):
            return None
        return {
            "hot": _quantiles_json(self.device_latency),
            "cold": _quantiles_json(partial(self.device_latency, is_cold=True)),
        }

    def _quantile(self, samples: list[Array], q: float) -> Statistic:
        if len(samples) == 1:
            return quantile_interval(samples[0], q)
        n = sum(len(part) for part in samples)
        if n < smallest_n(q):
            return refused(n, q)
        return self._bootstrap(samples, partial(weighted_quantile, q=q))

    def _across_launches(self, values: list[int | float | None], what: str) -> Statistic:
        known = [float(value) for value in values if value is not None]
        n = len(known)
        if n < len(values):
            return Statistic(None, None, None, n, None, f"{what} could not be read on this machine")
        needed = smallest_n(0.5)
        if n >= needed:
            return quantile_interval(np.array(known), 0.5)
        reason = f"the interval of {what} needs at least {needed} launches, got {n}"
        return Statistic(float(np.median(known)), None, None, n, needed, reason)

    def _bootstrap(self, samples: list[Array], statistic: Callable[[Array, Array], float]) -> Statistic:
        generator, protocol = np.random.default_rng(BOOTSTRAP_SEED), self.protocol
        confidence = 0.95
        if len(samples) > 1 and protocol.max_launches is not None:  # stopped where it looked narrow
            confidence = look_confidence(max(2, protocol.launches), max(2, protocol.max_launches))
        found = bootstrap_interval(samples, statistic, generator, confidence=confidence)
        assert found.low is not None
        return replace(found, low=max(found.low, 0.0))  # nothing takes less than no time


def _quantiles_json(latency: Callable[[float], Statistic]) -> dict[str, Any]:
    entry: dict[str, Any] = {}
    for name, statistic in ((name, latency(q)) for name, q in REPORTED_QUANTILES.items()):
        entry[name] = _interval_json(statistic)
        if statistic.needs_n is not None:
            entry[f"{name}_needs_n"] = statistic.needs_n
        if statistic.reason is not None:
            entry[f"{name}_reason"] = statistic.reason
    return entry


def _interval_json(statistic: Statistic) -> dict[str, float | None] | None:
    """Value and interval; null where none of the three is known."""
    fields = {"value": statistic.value, "low": statistic.low, "high": statistic.high}
    return fields if any(value is not None for value in fields.values()) else None


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)
