"""How a task's candidates are served and timed, whatever kind of task it is."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from moo.evaluation import TrialContext
from objectives._pipeline import LATENCIES, machine_part
from profilers import Protocol, Runtime, environment, smallest_n

__all__ = ["serving_setting", "trial_protocol"]

_TAIL_BUDGET_S = 40.0  # within the profiler's limit of 60 s for a process, warm-up and loading included
_BASELINE_LAUNCHES = 6  # the fewest that give the median over launches an interval


def trial_protocol(protocol: Protocol, context: TrialContext) -> Protocol:
    """Return the protocol, with the calls and the time that the problem's percentiles need.

    The baseline, which bounds rest on, is launched several times.
    """
    if context.is_baseline:
        protocol = dataclasses.replace(protocol, launches=max(protocol.launches, _BASELINE_LAUNCHES))
    needed = max((smallest_n(q) for name, q in LATENCIES.items() if name in context.metrics), default=0)
    if needed <= smallest_n(0.5):
        return protocol
    return dataclasses.replace(  # a tail: never refused for want of calls where time can mend it
        protocol,
        min_calls=max(protocol.min_calls, needed),
        max_calls=max(protocol.max_calls, needed),
        time_budget_s=max(protocol.time_budget_s, _TAIL_BUDGET_S),
    )


def serving_setting(
    runtime: Runtime, protocol: Protocol, machines: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the machine, the protocol and the runtime, as plain JSON.

    Args:
        runtime: How candidates are served.
        protocol: How they are timed.
        machines: Those that they are measured on, by name, the first before the others; none for this one.
    """
    machine = dict(next(iter(machines.values()))) if machines else environment()
    return {
        "environment": machine,
        "machine": machine_part(machine),
        "protocol": protocol.to_json(),
        "runtime": runtime.to_json(),
    }
