"""`moo bundle`: a folder to ship."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from moo.errors import InputError

__all__ = ["bundle"]


def bundle(
    study: Annotated[
        str, typer.Argument(metavar="STUDY", help="The sweep's folder, its study.db, or a database URL")
    ],
    trial: Annotated[int, typer.Argument(metavar="TRIAL", help="The trial's number, as the report shows it")],
    out: Annotated[Path, typer.Option(help="The folder that is made.")],
    name: Annotated[
        str | None, typer.Option("--study", help="The study's name, where the storage holds several.")
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(help="The sweep's task, file.py:name: the sample is rows of its validation data."),
    ] = None,
    overwrite: Annotated[  # noqa: FBT002  (how typer declares a flag)
        bool, typer.Option("--overwrite", help="Replace a bundle that is there.")
    ] = False,
    time_limit: Annotated[float, typer.Option(help="Seconds one process may take.")] = 120.0,
) -> int:
    """Write a trial's model to a folder: with what runs it, what it promises, and the means to check it.

    `moo verify` checks it where it is to run. The values are those that moo confirm confirmed, where it did.
    """
    import optuna

    from moo.bundle import check_place, write
    from moo.cli._bundle_machine import ThisMachine
    from moo.cli._bundle_output import print_bundle
    from moo.cli._bundle_study import Gathered
    from moo.cli._profilers import profiler_for
    from moo.cli._studies import opened_study, searched_task, trial_of
    from moo.cli._summary import output_console

    if not time_limit > 0:
        raise InputError(f"--time-limit: expected seconds above 0, got {time_limit:g}")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    check_place(out, overwrite=overwrite)
    found, root = opened_study(study, name)
    results = found.results()
    gathered = Gathered(
        study=found,
        results=results,
        trial=trial_of(results, trial),
        root=root,
        task=None if task is None else searched_task(found, task),
        machine=ThisMachine(profiler_for=lambda provider: profiler_for(provider, time_limit)),
    )
    console = output_console()
    try:
        shipped = gathered.shipped()
        sha256 = write(
            out,
            shipped.bundle,
            model_files=shipped.model_files,
            sample_inputs=shipped.sample_inputs,
            expected_outputs=shipped.expected_outputs,
            overwrite=overwrite,
        )
    except KeyboardInterrupt:
        typer.echo("moo: stopped: nothing was written", err=True)
        return 130
    print_bundle(console, shipped.bundle)
    console.print(f"Written: {out}", soft_wrap=True, markup=False)
    console.print(f"Check:   moo verify {out} --sha256 {sha256}", soft_wrap=True, markup=False)
    return 0
