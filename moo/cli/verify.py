"""`moo verify`: whether a bundle still holds, here."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from moo.errors import InputError

__all__ = ["verify"]


def verify(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder of moo bundle")],
    mode: Annotated[
        str | None,
        typer.Option(help="quick, standard or rigorous; the bundle's own protocol, in 5 processes or more."),
    ] = None,
    no_measure: Annotated[  # noqa: FBT002  (how typer declares a flag)
        bool, typer.Option("--no-measure", help="Check files and outputs alone.")
    ] = False,
    sha256: Annotated[
        str | None, typer.Option(metavar="HEX", help="What the SHA-256 of bundle.json must be.")
    ] = None,
    json: Annotated[  # noqa: FBT002  (how typer declares a flag)
        bool, typer.Option("--json", help="Print the result as JSON.")
    ] = False,
    time_limit: Annotated[float, typer.Option(help="Seconds one process may take.")] = 120.0,
) -> int:
    """Check a bundle where it is to run: files, outputs, and what it promises of latency and memory.

    Nothing in it but the model is run. Exit status 1 if something is broken, 2 if it is no bundle.
    """
    from json import dumps

    from moo.bundle import verify as verified
    from moo.cli._bundle_machine import ThisMachine
    from moo.cli._bundle_output import print_verification
    from moo.cli._profilers import profiler_for
    from moo.cli._summary import output_console
    from profilers import MODES

    if mode is not None and mode not in MODES:
        raise InputError(f"--mode: expected one of {', '.join(MODES)}, got {mode!r}")
    if mode is not None and no_measure:
        raise InputError("--mode: expected only where something is measured, got it with --no-measure")
    if sha256 is not None and not re.fullmatch("[0-9a-fA-F]{64}", sha256.strip()):
        raise InputError(f"--sha256: expected 64 hexadecimal digits, got {sha256!r}")
    if not time_limit > 0:
        raise InputError(f"--time-limit: expected seconds above 0, got {time_limit:g}")
    console, errors = output_console(), output_console(stderr=True)

    def tell(line: str) -> None:
        if errors.is_terminal:
            errors.print(line, soft_wrap=True, markup=False, style="dim")

    machine = ThisMachine(profiler_for=lambda provider: profiler_for(provider, time_limit), mode=mode)
    try:
        found = verified(folder, machine=machine, measures=not no_measure, sha256=sha256, tell=tell)
    except KeyboardInterrupt:
        typer.echo("moo: stopped before everything was checked: nothing is told", err=True)
        return 130
    if json:
        typer.echo(dumps(found.to_json(), indent=1, allow_nan=False))
    else:
        print_verification(console, found)
    return int(found.is_broken)
