"""`moo profile`: measure models under the runtimes of a sweep, a row each."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from moo.cli._options import options_by_name
from moo.cli._profilers import provider_for
from moo.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from profilers import Feeds, LatencyBound, Measurement, Protocol, Runtime

__all__ = ["Failure", "profile"]

_FEWEST_LAUNCHES = 5  # before a bound is decided or time may run out, where the mode has as many
_LONG_S = 20.0
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
        where += "".join(f", {name}={value}" for name, value in dict(runtime.options).items())
        return f"{self.model}, {where}: not measured: {self.reason}"


def profile(
    models: Annotated[list[str], typer.Argument(metavar="MODEL..", help="ONNX files, or torch's .pt2.")],
    provider: Annotated[
        str | None,
        typer.Option(
            help="cpu, cuda, tensorrt, torch, torch-compile, torch-cuda; several: cpu,cuda:1. Usually cpu, "
            "or torch for its files."
        ),
    ] = None,
    threads: Annotated[str, typer.Option(help="Threads inside an operator; several: 1,2.")] = "1",
    batch: Annotated[str, typer.Option(help="Rows in a call; several: 1,8.")] = "1",
    optimization: Annotated[
        str, typer.Option(help="Graph optimisation: disable, basic, extended, all; several: basic,all.")
    ] = "all",
    spinning: Annotated[str, typer.Option(help="Idle threads spin: off, on, or off,on.")] = "off",
    arena: Annotated[str, typer.Option(help="Keep freed memory: on, off, or on,off.")] = "on",
    option: Annotated[
        list[str] | None,
        typer.Option(
            help="A setting of the provider, NAME=VALUE, such as session.set_denormal_as_zero=1 or "
            "custom_ops_library=FILE; the same name again is another row."
        ),
    ] = None,
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
    require_slo: Annotated[  # noqa: FBT002  (how typer declares a flag)
        bool, typer.Option("--require-slo", help="Exit status 1 unless every --slo is PASS in every row.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of the inputs that are made.")] = 0,
    operators: Annotated[  # noqa: FBT002  (how typer declares a flag)
        bool, typer.Option("--operators", help="Also show time by operator.")
    ] = False,
    energy: Annotated[  # noqa: FBT002  (how typer declares a flag)
        bool, typer.Option("--energy", help="Also joules of a call, where processor or GPU tell; 12 s more.")
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
    from moo.cli._summary import output_console

    options = (threads, batch, optimization, spinning, arena, option or [])
    rows = [(model, runtime) for model in models for runtime in _runtimes(model, provider, *options)]
    bounds = [_bound(text) for text in slo or []]
    if require_slo and not bounds:
        raise InputError("--require-slo: expected a bound to require, got none: add --slo 'p95 <= 5 ms'")
    protocol = _protocol(mode, profiles=operators)
    feeds = feeds_from(dim or [], inputs or [], npz, seed)
    was_there = json is not None and json.exists()
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
                _tell(errors, f"{number} of {len(rows)}: {model}")
            outcome = _measured(
                model, runtime, protocol, feeds, bounds, time_limit, with_energy=energy, console=errors
            )
            if isinstance(outcome, Failure):
                failures.append(outcome)
            else:
                measured.append(outcome)
            if json is not None and (
                measured or not was_there
            ):  # after each row, so that nothing finished is lost
                unsaved = _try_to_save(json, measured, failures, bounds)
    except KeyboardInterrupt:
        is_stopped = True
    print_rows(console, measured)
    print_verdicts(console, measured, bounds)
    if operators:
        print_operators(console, measured)
    for failure in failures:
        typer.echo(f"moo: {failure}", err=True)
    if was_there and not measured:
        typer.echo(f"moo: nothing was measured, so {json} stays as it was", err=True)
    if unsaved is not None:
        typer.echo(f"moo: not written: {unsaved}", err=True)
    if is_stopped:
        typer.echo(f"moo: stopped after {len(measured)} of {len(rows)} rows", err=True)
        return 130
    if require_slo and not _all_pass(measured, bounds):
        typer.echo("moo: --require-slo: not every bound is PASS", err=True)
        return 1
    if unsaved is None and not failures:
        return 0
    return 2 if not measured and all(failure.is_input for failure in failures) else 1


def _tell(console: Console, line: str) -> None:
    console.print(line, markup=False, soft_wrap=True, style="dim")


def _all_pass(measured: Sequence[Measurement], bounds: Sequence[LatencyBound]) -> bool:
    from profilers import bound_verdict

    return all(bound_verdict(found, bound).verdict == "PASS" for found in measured for bound in bounds)


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
    console: Console,
) -> Measurement | Failure:
    """Return a row, which ends as soon as all bounds are decided where there are any.

    Where launches take long, the console is told how long the row will take at least.
    """
    from moo.cli._profilers import profiler_for
    from profilers import (
        EnergyPerCall,
        ModelError,
        ProfilerError,
        ProviderError,
        bound_verdict,
        is_settled,
        measure_energy,
    )

    fewest, started = min(_FEWEST_LAUNCHES, protocol.launches), time.monotonic()

    def is_decided(measurement: Measurement) -> bool:
        launch_s = time.monotonic() - started
        if len(measurement.launches) == 1 and (fewest - 1) * launch_s > _LONG_S:
            more_s = (fewest - 1) * launch_s
            _tell(console, f"a launch took {launch_s:.0f} s, and {fewest} are needed: {more_s:.0f} s more")
        if not bounds:
            return is_settled(measurement)
        if len(measurement.launches) < fewest:
            return False
        found = [bound_verdict(measurement, bound) for bound in bounds]
        return all(verdict.verdict != "UNDECIDED" or verdict.is_final for verdict in found)

    try:
        profiler = profiler_for(runtime.provider, time_limit_s)
        measurement = profiler.measure(model, runtime, protocol=protocol, feeds=feeds, until=is_decided)
    except (ProfilerError, ValueError, InputError) as error:
        is_input = isinstance(error, ModelError | ProviderError | ValueError | InputError)
        return Failure(model, runtime, " ".join(str(error).split()), is_input)
    if not with_energy:
        return measurement
    try:
        energy = measure_energy(profiler, model, runtime, feeds=feeds)
    except (ProfilerError, ValueError, OSError) as error:  # the latency counts without it
        energy = EnergyPerCall(None, None, " ".join(str(error).split()))
    return replace(measurement, energy=energy)


def _runtimes(
    model: str,
    provider: str | None,
    threads: str,
    batch: str,
    optimization: str,
    spinning: str,
    arena: str,
    option: list[str],
) -> list[Runtime]:
    """Return every combination for a model, the last option varying fastest.

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
                options=values[6],
            )
            for values in itertools.product(
                [provider_for(model, name) for name in (_listed(provider) if provider else [None])],
                _numbers("--batch", batch),
                _numbers("--threads", threads),
                _listed(optimization),
                _switches("--spinning", spinning),
                _switches("--arena", arena),
                _option_sets(option),
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


def _option_sets(texts: Sequence[str]) -> list[dict[str, str]]:
    """Return every combination of the values given for each name.

    >>> _option_sets(["a.b=1", "c.d=x", "a.b=2"])
    [{'a.b': '1', 'c.d': 'x'}, {'a.b': '2', 'c.d': 'x'}]
    """
    values = options_by_name(texts)
    return [dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values())]


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
