"""`moo profile`: measure models under the runtimes of a sweep, a row each."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from moo.errors import InputError

if TYPE_CHECKING:
    from profilers import Feeds, LatencyBound, Measurement, Protocol, Runtime

__all__ = ["Failure", "profile"]

_FEWEST_DECIDING = 5  # launches before a bound is decided, where the mode has as many
_ON = {"on": True, "off": False}


@dataclass(frozen=True)
class Failure:
    """A row that could not be measured.

    Attributes:
        model: The model's path.
        runtime: How it was to be run.
        reason: Why it could not be measured, in one line.
        is_input: Whether what the person gave is at fault.
    """

    model: str
    runtime: Runtime
    reason: str
    is_input: bool

    def __str__(self) -> str:
        runtime = self.runtime
        where = f"{runtime.provider}, threads {runtime.intra_op_num_threads}, batch {runtime.batch}"
        return f"{self.model}, {where}: not measured: {self.reason}"


def profile(
    models: Annotated[list[str], typer.Argument(metavar="MODEL..", help="ONNX files, or torch's .pt2.")],
    provider: Annotated[
        str | None,
        typer.Option(help="cpu, torch, torch-compile; several: cpu,torch. By default what the file is for."),
    ] = None,
    threads: Annotated[str, typer.Option(help="Threads inside an operator; several: 1,2.")] = "1",
    batch: Annotated[str, typer.Option(help="Rows in a call; several: 1,8.")] = "1",
    optimization: Annotated[
        str, typer.Option(help="Graph optimisation: disable, basic, extended, all; several: basic,all.")
    ] = "all",
    spinning: Annotated[str, typer.Option(help="Idle threads spin: off, on, or off,on.")] = "off",
    arena: Annotated[str, typer.Option(help="Keep freed memory: on, off, or on,off.")] = "on",
    mode: Annotated[str, typer.Option(help="quick, standard or rigorous.")] = "standard",
    slo: Annotated[
        list[str] | None, typer.Option(help="Decide a bound such as 'p95 <= 5 ms'; may repeat.")
    ] = None,
    dim: Annotated[
        list[str] | None, typer.Option(help="Size of a symbolic dimension, NAME=SIZE; may repeat.")
    ] = None,
    inputs: Annotated[
        list[str] | None,
        typer.Option("--input", help="An input, NAME=SHAPE:DTYPE, such as x=1x3x224x224:float32."),
    ] = None,
    npz: Annotated[Path | None, typer.Option(help="Inputs to use: arrays by name.")] = None,
    seed: Annotated[int, typer.Option(help="Of the inputs that are made.")] = 0,
    operators: Annotated[  # noqa: FBT002  (how typer declares a flag)
        bool, typer.Option("--operators", help="Also show time by operator.")
    ] = False,
    energy: Annotated[  # noqa: FBT002  (how typer declares a flag)
        bool, typer.Option("--energy", help="Also joules of a call, where the processor tells; 12 s more.")
    ] = False,
    json: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write all there is; a CSV and the samples beside it.")
    ] = None,
    time_limit: Annotated[float, typer.Option(help="Seconds one process may take.")] = 120.0,
) -> int:
    """Measure models on this machine: latency with intervals, memory, load time.

    Each combination of the options is a row. Exit status 1 if some rows could not be measured.
    """
    from moo.cli._feeds import feeds_from
    from moo.cli._profile_files import check_writable
    from moo.cli._profile_table import print_operators, print_rows, print_verdicts
    from moo.cli._profilers import usual_provider
    from moo.cli._summary import output_console

    options = (threads, batch, optimization, spinning, arena)
    rows = [
        (model, runtime)
        for model in models
        for runtime in _runtimes(provider or usual_provider(model), *options)
    ]
    bounds = [_bound(text) for text in slo or []]
    protocol = _protocol(mode, profiles=operators)
    feeds = feeds_from(dim or [], inputs or [], npz, seed)
    if json is not None:
        check_writable(json, models, schema="moo.profile/")
    if not time_limit > 0:
        raise InputError(f"--time-limit: expected seconds above 0, got {time_limit:g}")

    console, errors = output_console(), output_console(stderr=True)
    measured: list[Measurement] = []
    failures: list[Failure] = []
    is_stopped, unsaved = False, None
    try:
        for number, (model, runtime) in enumerate(rows, 1):
            if errors.is_terminal:  # one line, and no thread that redraws it while the model is timed
                errors.print(f"{number} of {len(rows)}: {model}", markup=False, soft_wrap=True, style="dim")
            outcome = _measured(model, runtime, protocol, feeds, bounds, time_limit, with_energy=energy)
            if isinstance(outcome, Failure):
                failures.append(outcome)
            else:
                measured.append(outcome)
            if json is not None:  # after each row, so that nothing finished is lost
                unsaved = _try_to_save(json, measured, failures, bounds)
    except KeyboardInterrupt:
        is_stopped = True
    print_rows(console, measured)
    print_verdicts(console, measured, bounds)
    if operators:
        print_operators(console, measured)
    for failure in failures:
        typer.echo(f"moo: {failure}", err=True)
    if unsaved is not None:
        typer.echo(f"moo: not written: {unsaved}", err=True)
    if is_stopped:
        typer.echo(f"moo: stopped after {len(measured)} of {len(rows)} rows", err=True)
        return 130
    if unsaved is None and not failures:
        return 0
    return 2 if not measured and all(failure.is_input for failure in failures) else 1


def _try_to_save(
    path: Path, measured: Sequence[Measurement], failures: Sequence[Failure], bounds: Sequence[LatencyBound]
) -> str | None:
    """Write what there is; return why it could not be written, in one line."""
    from moo.cli._profile_files import save
    from profilers import ProfilerError

    try:
        save(path, measured, failures, bounds)
    except (ProfilerError, OSError) as error:
        return " ".join(str(error).split())
    return None


def _measured(
    model: str,
    runtime: Runtime,
    protocol: Protocol,
    feeds: Feeds,
    bounds: Sequence[LatencyBound],
    time_limit_s: float,
    *,
    with_energy: bool,
) -> Measurement | Failure:
    """Return a row, which ends as soon as all bounds are decided where there are any."""
    from moo.cli._profilers import profiler_for
    from profilers import EnergyPerCall, ModelError, ProfilerError, bound_verdict, measure_energy

    fewest = min(_FEWEST_DECIDING, protocol.launches)

    def is_decided(measurement: Measurement) -> bool:
        if len(measurement.launches) < fewest:
            return False
        found = [bound_verdict(measurement, bound) for bound in bounds]
        return all(verdict.verdict != "UNDECIDED" or verdict.is_final for verdict in found)

    try:
        profiler = profiler_for(runtime.provider, time_limit_s)
        until = is_decided if bounds else None
        measurement = profiler.measure(model, runtime, protocol=protocol, feeds=feeds, until=until)
    except (ProfilerError, ValueError, InputError) as error:
        is_input = isinstance(error, ModelError | ValueError | InputError)
        return Failure(model, runtime, " ".join(str(error).split()), is_input)
    if not with_energy:
        return measurement
    try:
        energy = measure_energy(profiler, model, runtime, feeds=feeds)
    except (ProfilerError, ValueError, OSError) as error:  # the latency counts without it
        energy = EnergyPerCall(None, None, " ".join(str(error).split()))
    return replace(measurement, energy=energy)


def _runtimes(
    provider: str, threads: str, batch: str, optimization: str, spinning: str, arena: str
) -> list[Runtime]:
    """Return every combination, the last option varying fastest.

    Raises:
        InputError: For a value that cannot be read.
    """
    from profilers import Runtime

    try:
        return [
            Runtime(
                provider=values[0],
                batch=values[1],
                intra_op_num_threads=values[2],
                graph_optimization_level=values[3],
                allow_spinning=values[4],
                enable_arena=values[5],
            )
            for values in itertools.product(
                _listed(provider),
                _numbers("--batch", batch),
                _numbers("--threads", threads),
                _listed(optimization),
                _switches("--spinning", spinning),
                _switches("--arena", arena),
            )
        ]
    except ValueError as error:
        raise InputError(str(error)) from None


def _listed(text: str) -> list[str]:
    return list(dict.fromkeys(word.strip() for word in text.split(",")))


def _numbers(option: str, text: str) -> list[int]:
    words = _listed(text)
    if not all(word.isascii() and word.isdigit() and int(word) > 0 for word in words):
        raise InputError(f"{option}: expected numbers above 0 such as 1,8, got {text!r}")
    return [int(word) for word in words]


def _switches(option: str, text: str) -> list[bool]:
    words = _listed(text)
    if not set(words) <= set(_ON):
        raise InputError(f"{option}: expected on, off, or both as on,off, got {text!r}")
    return [_ON[word] for word in words]


def _protocol(mode: str, *, profiles: bool) -> Protocol:
    """Return the protocol of a mode, with a run under the runtime's own profiling where that is asked for."""
    from profilers import MODES, STANDARD

    if mode not in MODES:
        raise InputError(f"--mode: expected one of {', '.join(MODES)}, got {mode!r}")
    protocol = MODES[mode]
    return replace(protocol, profile_s=protocol.profile_s or STANDARD.profile_s) if profiles else protocol


def _bound(text: str) -> LatencyBound:
    """Return the bound in `p95 <= 5 ms`, or `latency_p95 <= 5 ms`.

    Raises:
        InputError: If it is no upper bound on a latency.
    """
    from moo.problem import Constraint
    from profilers import LatencyBound

    name = text.strip()
    constraint = Constraint.parse(name if name.startswith("latency_") else f"latency_{name}")
    quantiles = {"latency_p50": 0.5, "latency_p95": 0.95, "latency_p99": 0.99}
    if constraint.metric.name not in quantiles or constraint.sense != "<=" or constraint.is_relative:
        raise InputError(f"--slo: expected a bound such as 'p95 <= 5 ms', for p50, p95 or p99, got {text!r}")
    return LatencyBound(quantiles[constraint.metric.name], constraint.amount)
