"""Tags: what a reader must know about the validity of a measurement.

The limits come from a virtual machine with two cores. Forty runs with little else going on had 0 to 87
involuntary switches a second, and wall time at most 1.005 times the CPU time. Beside busy processes runs had
18 to 610, and up to 1.45 times; some still looked quiet, because the scheduler favours a process that has
just started: no tag is no proof of a quiet machine.
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from profilers._statistics import quantile_interval, smallest_n

if TYPE_CHECKING:
    from profilers._launch import Launch
    from profilers._measurement import Measurement

SWITCHES_PER_S = 100.0  # involuntary context switches of a thread in a second of timed calls
WALL_PER_CPU = 1.02  # wall time of the calls over CPU time of the calling thread, which does all the work
FEWEST_LAUNCHES = 5  # below, nothing is known of how launches spread but by extrapolation
STEAL_SHARE = 0.02  # of the processors' time that the hypervisor gave to others
TREND = 0.05  # change of the median from the first to the last third of the timed phase


def find_tags(measurement: "Measurement") -> tuple[str, ...]:
    """All tags that apply, sorted; ("ok",) when none does.

    - assumed_dimensions: a symbolic dimension that nobody gave a size was taken as 1
    - contended: other work, or the hypervisor, took the processor from at least one launch, or other
      processes were on its GPU meanwhile, at work or not
    - few_launches: from 2 to 4 launches, so the interval rests on hardly any spread and is wide
    - ep_fallback: not the provider that was asked for, or not it alone
    - imprecise: an interval is wider than the protocol seeks, or could not be given
    - memory_fallback: resident memory after the calls stands in for the peak
    - not_stationary: the warm-up budget ran out, or the time of a call kept changing
    - oversubscribed: more threads than processors that may be used
    - single_launch: the spread between launches is unseen
    - throttled: during at least one launch a control group's quota stopped processes, or the GPU ran slower
      than it was set to
    - too_few_for_p99: fewer samples than an interval of p99 needs
    """
    launches, runtime = measurement.launches, measurement.runtime
    n = sum(len(launch.latency_ns) for launch in launches)
    applies = {
        "assumed_dimensions": bool(measurement.assumed_dimensions),
        "contended": any(
            is_contended(launch, runtime.intra_op_num_threads) or has_gpu_company(launch)
            for launch in launches
        ),
        "ep_fallback": any(falls_back(launch, runtime.provider) for launch in launches),
        "few_launches": 1 < len(launches) < FEWEST_LAUNCHES,
        "imprecise": not is_precise(measurement),
        "memory_fallback": any(launch.memory_tag == "memory_fallback" for launch in launches),
        "not_stationary": any(not launch.warmup_agreed or has_trend(launch) for launch in launches),
        "oversubscribed": runtime.intra_op_num_threads > _usable_cores(measurement.environment),
        "single_launch": len(launches) == 1,
        "throttled": any((launch.throttled_s or 0.0) > 0 or is_gpu_throttled(launch) for launch in launches),
        "too_few_for_p99": n < smallest_n(0.99),
    }
    return tuple(tag for tag, does_apply in applies.items() if does_apply) or ("ok",)


def falls_back(launch: "Launch", provider: str) -> bool:
    """Whether another provider than the one asked for runs some or all of the model."""
    return launch.provider != provider or len(launch.assignment or {}) > 1


def _usable_cores(environment: "Mapping[str, Any]") -> float:
    """Processors that the process may run on; infinitely many where nothing is known of them."""
    identity = environment.get("identity", {})
    return len(identity.get("affinity") or []) or identity.get("logical_cores") or math.inf


def is_contended(launch: "Launch", n_threads: int) -> bool:
    """Whether the scheduler or the hypervisor took the processor away too often or for too much of the time.

    The share of time is judged with one thread only: with more, the caller also waits for its own helpers.
    """
    wall_ns, cpu_ns = int(launch.latency_ns.sum()), int(launch.thread_cpu_ns.sum())
    is_often = launch.involuntary_switches > max(1.0, SWITCHES_PER_S * n_threads * wall_ns / 1e9)
    is_stolen = (launch.steal_share or 0.0) > STEAL_SHARE
    return is_often or is_stolen or (n_threads == 1 and wall_ns > WALL_PER_CPU * cpu_ns)


def has_gpu_company(launch: "Launch") -> bool:
    """Whether other processes were seen on the GPU; in a container they cannot be, which does not count."""
    return (_gpu_clocks(launch).get("n_other_processes") or 0) > 0


def is_gpu_throttled(launch: "Launch") -> bool:
    """Whether a state read before, between or after the timed calls says that the GPU ran too slow."""
    return _gpu_clocks(launch).get("throttled") is True


def _gpu_clocks(launch: "Launch") -> "Mapping[str, Any]":
    """What `summarise_states` said of the launch's GPU; nothing where there was none, or none was read."""
    return (launch.device or {}).get("clocks") or {}


def has_trend(launch: "Launch") -> bool:
    """Whether the median moved by more than `TREND` from first to last third, beyond both intervals."""
    third = len(launch.latency_ns) // 3
    first = quantile_interval(launch.call_s()[:third], 0.5)
    last = quantile_interval(launch.call_s()[-third:], 0.5) if third else first
    if first.value is None or first.low is None or first.high is None:
        return False
    if last.value is None or last.low is None or last.high is None:
        return False
    is_apart = first.high < last.low or last.high < first.low
    return is_apart and abs(last.value / first.value - 1) > TREND


def is_precise(measurement: "Measurement") -> bool:
    """Whether p50, and p95 where calls are timed one by one, are as narrow as the protocol seeks."""
    protocol = measurement.protocol
    targets = [(0.5, protocol.p50_half_width)]
    if all(launch.calls_per_block == 1 for launch in measurement.launches):
        targets.append((0.95, protocol.p95_half_width))
    for q, half_width in targets:
        statistic = measurement.latency(q)
        if statistic.value is None or statistic.low is None or statistic.high is None:
            return False
        if (statistic.high - statistic.low) / 2 > half_width * statistic.value:
            return False
    return True
