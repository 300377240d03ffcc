"""`moo demo`: a sweep on real data, from nothing to the report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["demo"]

MAXIMIZE = ("accuracy",)
MINIMIZE = ("latency_p50", "parameters")
CONSTRAINTS = ("latency_p95 <= 1.5 x baseline", "peak_memory <= baseline + 3 MiB")


def demo(
    trials: Annotated[int, typer.Option(help="Finished trials the study has at the end.")] = 42,
    out: Annotated[Path, typer.Option(help="Folder for the study, its artefacts and the report.")] = Path(
        "moo-demo"
    ),
    seed: Annotated[int, typer.Option(help="Makes proposals and training repeatable.")] = 0,
    workers: Annotated[
        int,
        typer.Option(help="Processes that share the sweep; while one measures, the others pause."),
    ] = 1,
    verbose: Annotated[  # noqa: FBT002  # an option of the command line
        bool, typer.Option("--verbose", help="Show each event of the study's log as a line.")
    ] = False,
) -> int:
    """Search small networks that read handwritten digits, and write the report."""
    from moo.cli._summary import output_console
    from moo.cli._workers import task_maker
    from moo.cli.run import sweep

    console = output_console()
    console.print(
        "Searching small convolutional networks that read a form of 64 handwritten digits in one call.\n"
        f"Objectives: maximize {', '.join(MAXIMIZE)}; minimize {', '.join(MINIMIZE)}.\n"
        "A baseline network runs first, so that the bounds suit this machine: "
        f"{'; '.join(CONSTRAINTS)}.",
        soft_wrap=True,
    )
    return sweep(
        task_maker("objectives.digits:Digits"),
        n_workers=workers,
        is_verbose=verbose,
        maximize=MAXIMIZE,
        minimize=MINIMIZE,
        constraints=CONSTRAINTS,
        n_trials=trials,
        seed=seed,
        study_name="digits",
        folder=out,
    )
