"""What ONNX Runtime's own profile tells: the time of each operator, and the memory of the CPU arena.

The profile is a list of events, each written when it ends: one for each run of an operator, one for each
run of a graph (the model's, or the body of an If, Loop or Scan), one for each call. With ONNX Runtime 1.31
an operator's event also holds the state of its allocator at its end, and the change since its start.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from profilers._errors import LaunchError

Event = Mapping[str, Any]

OPERATOR_SUFFIX = "_kernel_time"
GRAPH_SUFFIX = "Executor::Execute"
CALL_NAME = "model_run"
CPU_PROVIDER = "CPUExecutionProvider"
MICROSECONDS = 1_000_000  # in a second
FEWEST_ARENA_CALLS = 2  # the second call allocates by the memory pattern that the first one recorded

NO_OPERATOR = "no operator ran on the CPU provider"
NO_ARENA = (
    "the profile says nothing of an arena: it is switched off (enable_cpu_mem_arena), or this version of "
    "ONNX Runtime does not write it (1.31 does)"
)
ONE_CALL = "the arena grows until the second call, got a profile of 1 call: profile at least 2"


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorTime:
    """The time of one node of the optimised graph over all calls that count.

    Attributes:
        op_type: Operator type, such as "Conv"; of a fused node, the type it was fused to.
        node_name: Name in the optimised graph; made by ONNX Runtime where the model gives none or nodes were
            fused.
        subgraph_of: Names of the nodes whose bodies it lies in, outermost first; () in the main graph.
        provider: ONNX Runtime's name of the execution provider, such as "CPUExecutionProvider".
        n_runs: How often it ran, over all calls that count; a node in a loop runs many times a call.
        total_s: Seconds in it, over all runs. Of a node with a body it is the rest, without the runs of the
            body. Each run is cut to whole microseconds, so a run of less counts as 0.
        share: `total_s` as a part of the sum over all nodes, from 0 to 1; None where that sum is 0.
    """

    op_type: str
    node_name: str
    subgraph_of: tuple[str, ...]
    provider: str
    n_runs: int
    total_s: float
    share: float | None

    def to_json(self) -> dict[str, Any]:
        """The fields as a plain dict."""
        return asdict(self) | {"subgraph_of": list(self.subgraph_of)}

    @property
    def mean_s(self) -> float:
        """Seconds a run."""
        return self.total_s / self.n_runs


@dataclass(frozen=True, slots=True, kw_only=True)
class ArenaMemory:
    """Memory on the CPU provider in bytes, as ONNX Runtime counted it; what cannot be known is None.

    The inputs of a call belong to the caller and are in none of the numbers; its outputs are in all but the
    first two. Text, and what a kernel takes from elsewhere than its allocator, is never counted.

    Attributes:
        parameters_read_bytes: The constants that the nodes which ran read, before any packing; one that two
            nodes read counts twice.
        prepared_bytes: What had been requested from the arena before the first operator ran: mostly weights
            packed for their kernels. Weights that are not packed mostly lie elsewhere.
        live_peak_bytes: The largest sum of tensors alive at the end of an operator, among them its inputs,
            its outputs and those of the model, with ONNX Runtime's order and its reuse in place. Without
            `prepared_bytes`, the kernels' scratch memory, rounding and memory patterns.
        in_use_peak_bytes: The most the arena ever had in use since the session was created: packed weights,
            tensors, scratch memory, rounding, and the block allocated by the memory pattern.
        held_bytes: The most the arena had taken from the system. Pages never touched are in it, so resident
            memory may be less.
        reasons: Why a field is None, by its name.
    """

    parameters_read_bytes: int | None
    prepared_bytes: int | None
    live_peak_bytes: int | None
    in_use_peak_bytes: int | None
    held_bytes: int | None
    reasons: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class RuntimeProfile:
    """What a run under the runtime's own profiling, in a process of its own, told.

    Attributes:
        n_calls: Calls that `operators` add up, the first call left out.
        operators: The nodes, those that took most time first.
        arena: Memory.
    """

    n_calls: int
    operators: tuple[OperatorTime, ...]
    arena: ArenaMemory


@dataclass(frozen=True, slots=True)
class _Span:
    """An event with those directly inside it: graphs in an operator, or operators in a graph."""

    event: Event
    inner: tuple["_Span", ...]
    is_operator: bool


@dataclass(frozen=True, slots=True)
class _Run:
    """One run of an operator; its number and type tell nodes apart that share a name, as in two branches."""

    node: tuple[tuple[str, ...], str, str, str, str]
    own_us: int
    start_us: int
    facts: Mapping[str, Any]


def read_profile(path: str | Path) -> list[dict[str, Any]]:
    """The events of a profile, as the session wrote it.

    Raises:
        LaunchError: If the file is missing or not a whole profile: the session did not end its profiling.
    """
    try:
        events = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise LaunchError(f"profile {path}: cannot be read ({error.strerror}): profile again") from error
    except ValueError as error:
        raise LaunchError(f"profile {path}: expected JSON, got a part or none: profile again") from error
    if not isinstance(events, list) or not all(_is_event(event) for event in events):
        raise LaunchError(f"profile {path}: expected a list of ONNX Runtime's events: profile again")
    return events


def operator_times(events: Sequence[Event], *, n_skipped: int = 1) -> tuple[OperatorTime, ...]:
    """The time of each node, the largest share first; () where the calls ran no operator.

    Profiling itself costs some microseconds a run, which are between operators and in no node's time.

    Args:
        events: A profile of calls made one after the other, each by the sequential executor. A last call that
            is not in it whole is left out.
        n_skipped: How many first calls do not count.

    Raises:
        ValueError: If no call is left, or the calls overlap.

    >>> args = {"op_name": "Relu", "node_index": "0", "provider": "CPUExecutionProvider"}
    >>> run = {"cat": "Node", "name": "r_kernel_time", "tid": 1, "ts": 3, "dur": 50, "args": args}
    >>> graph = {"cat": "Session", "name": "SequentialExecutor::Execute", "tid": 1, "ts": 2, "dur": 60}
    >>> call = {"cat": "Session", "name": "model_run", "tid": 1, "ts": 1, "dur": 70}
    >>> (relu,) = operator_times([run, graph, call], n_skipped=0)
    >>> relu.node_name, relu.total_s, relu.share
    ('r', 5e-05, 1.0)
    """
    calls = _calls(events)
    if not 0 <= n_skipped < len(calls):
        raise ValueError(
            f"n_skipped must be from 0 to {len(calls) - 1}, for a profile of {len(calls)} whole calls, "
            f"got {n_skipped}"
        )
    nodes: dict[tuple[tuple[str, ...], str, str, str, str], list[int]] = {}
    for call in calls[n_skipped:]:
        for run in call:
            nodes.setdefault(run.node, []).append(run.own_us)
    whole_us = sum(sum(own_us) for own_us in nodes.values())
    times = [
        OperatorTime(
            op_type=op_type,
            node_name=name,
            subgraph_of=subgraph_of,
            provider=provider,
            n_runs=len(own_us),
            total_s=sum(own_us) / MICROSECONDS,
            share=sum(own_us) / whole_us if whole_us else None,
        )
        for (subgraph_of, name, _, op_type, provider), own_us in nodes.items()
    ]
    return tuple(sorted(times, key=lambda time: -time.total_s))


def memory(events: Sequence[Event], plain_events: Sequence[Event]) -> ArenaMemory:
    """Memory of tensors, packed weights and the arena.

    Both profiles are of the same model and feeds, and come from `profile_session`.

    Args:
        events: A profile of the session as it is deployed, of at least 2 calls.
        plain_events: A profile of one with neither memory patterns nor packed weights, of at least 1 call.
            A memory pattern keeps tensors allocated longer than they live; already in the first call, where
            that runs a loop. Packed weights are counted as no parameters.

    Raises:
        ValueError: If a profile has no whole call, or its calls overlap.
    """
    deployed, plain = _cpu_calls(events, "events"), _cpu_calls(plain_events, "plain_events")
    runs = [run for call in deployed for run in call]
    first = plain[0]
    reason = _why_no_arena(runs)
    arena_reason = reason or (ONE_CALL if len(deployed) < FEWEST_ARENA_CALLS else None)
    plain_reason = _why_no_arena(first)
    parameters_reason = None if first else NO_OPERATOR
    reasons = {
        "parameters_read_bytes": parameters_reason,
        "prepared_bytes": reason,
        "live_peak_bytes": plain_reason,
        "in_use_peak_bytes": arena_reason,
        "held_bytes": arena_reason,
    }
    return ArenaMemory(
        parameters_read_bytes=None if parameters_reason else _parameters_read(first),
        prepared_bytes=None if reason else _bytes_before(runs),
        live_peak_bytes=None if plain_reason else _live_peak(first),
        in_use_peak_bytes=None if arena_reason else _largest(runs, "mem_in_use_peak"),
        held_bytes=None if arena_reason else _largest(runs, "mem_arena_held"),
        reasons={name: why for name, why in reasons.items() if why is not None},
    )


def _is_event(event: object) -> bool:
    return isinstance(event, dict) and {"cat", "name", "tid", "ts", "dur"} <= event.keys()


def _calls(events: Sequence[Event]) -> list[list[_Run]]:
    """The runs of operators in each whole call.

    Events come in the order of their ends, so what is inside one comes just before it. Operators and graphs
    alternate with the depth: an operator holds the runs of its body, and these hold operators.
    """
    calls: list[list[_Run]] = []
    ended: list[_Span] = []
    for event in events:
        name = event["name"]
        if event["cat"] == "Node" and name.endswith(OPERATOR_SUFFIX):
            ended.append(_Span(event, _inside(event, ended, are_operators=False), is_operator=True))
        elif event["cat"] == "Session" and name.endswith(GRAPH_SUFFIX):
            ended.append(_Span(event, _inside(event, ended, are_operators=True), is_operator=False))
        elif event["cat"] == "Session" and name == CALL_NAME:
            calls.append([run for graph in _only_graph(event, ended) for run in _runs(graph, ())])
            ended = []
    return calls


def _inside(event: Event, ended: list[_Span], *, are_operators: bool) -> tuple[_Span, ...]:
    """Take the last spans of one kind that started no earlier than the event, in their order."""
    first = len(ended)
    while (
        first
        and ended[first - 1].is_operator == are_operators
        and ended[first - 1].event["ts"] >= event["ts"]
    ):
        first -= 1
    inner = tuple(ended[first:])
    del ended[first:]
    return inner


def _only_graph(call: Event, ended: list[_Span]) -> list[_Span]:
    """The one graph that a call ran; none where every output was known beforehand."""
    is_alone = len(ended) <= 1 and all(not span.is_operator and _is_within(span, call) for span in ended)
    if not is_alone:
        raise ValueError(
            "events must be of calls made one after the other by the sequential executor, got others: "
            "profile with ORT_SEQUENTIAL and one call at a time"
        )
    return ended


def _is_within(span: _Span, call: Event) -> bool:
    return bool(span.event["ts"] >= call["ts"] and span.event["tid"] == call["tid"])


def _runs(graph: _Span, subgraph_of: tuple[str, ...]) -> Iterator[_Run]:
    """The runs in a graph, an operator's own before those of its body."""
    for operator in graph.inner:
        facts = operator.event["args"]
        name = operator.event["name"].removesuffix(OPERATOR_SUFFIX)
        node = (subgraph_of, name, facts["node_index"], facts["op_name"], facts["provider"])
        bodies_us = sum(body.event["dur"] for body in operator.inner)
        own_us = max(0, operator.event["dur"] - bodies_us)
        yield _Run(node, own_us, operator.event["ts"], facts)
        for body in operator.inner:
            yield from _runs(body, (*subgraph_of, name))


def _cpu_calls(events: Sequence[Event], what: str) -> list[list[_Run]]:
    """The runs on the CPU provider, whose events tell of the CPU arena, in each call."""
    calls = _calls(events)
    if not calls:
        raise ValueError(f"{what} must hold at least one whole call, got none: profile again")
    return [[run for run in call if run.facts["provider"] == CPU_PROVIDER] for call in calls]


def _why_no_arena(runs: list[_Run]) -> str | None:
    if not runs:
        return NO_OPERATOR
    return None if all("mem_bytes_requested_in_use" in run.facts for run in runs) else NO_ARENA


def _largest(runs: list[_Run], field: str) -> int:
    return max(int(run.facts[field]) for run in runs)


def _bytes_before(runs: list[_Run]) -> int:
    """What the session had requested from the arena when the first operator started."""
    first = min(runs, key=lambda run: run.start_us)
    return int(first.facts["mem_bytes_requested_in_use"]) - int(first.facts["mem_requested_in_use_delta"])


def _live_peak(runs: list[_Run]) -> int:
    """An operator's event is written when its outputs exist and before its inputs are given back."""
    return _largest(runs, "mem_bytes_requested_in_use") - _bytes_before(runs)


def _parameters_read(runs: list[_Run]) -> int:
    sizes: dict[tuple[Any, ...], int] = {}
    for run in runs:
        sizes[run.node] = max(sizes.get(run.node, 0), int(run.facts["parameter_size"]))
    return sum(sizes.values())
