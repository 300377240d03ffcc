"""`moo run`: run or resume a sweep and write its report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from objectives import Task

__all__ = ["run", "sweep"]


def run(
    task: Annotated[str, typer.Argument(metavar="TASK", help="file.py:name or package.module:name")],
    trials: Annotated[int, typer.Option(help="Finished trials the study has at the end.")],
    maximize: Annotated[list[str] | None, typer.Option(help="A metric to maximise; may repeat.")] = None,
    minimize: Annotated[list[str] | None, typer.Option(help="A metric to minimise; may repeat.")] = None,
    constraint: Annotated[
        list[str] | None,
        typer.Option(
            help="A bound such as 'latency_p95 <= 5 ms' or 'accuracy >= baseline - 1%'; may repeat."
        ),
    ] = None,
    timeout: Annotated[float | None, typer.Option(help="Begin no trial after this many seconds.")] = None,
    provider: Annotated[
        str | None,
        typer.Option(help="What serves candidates: cpu, cuda, tensorrt; by default what the task says."),
    ] = None,
    sampler: Annotated[
        str,
        typer.Option(help="How configurations are proposed: auto, ehvi, tpe, nsga2, grid, random, ..."),
    ] = "auto",
    pruner: Annotated[
        str | None,
        typer.Option(help="What stops training early: halving, hyperband; for one objective median, .."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Makes proposals and training repeatable.")] = None,
    storage: Annotated[
        str | None, typer.Option(help="Database URL; by default an SQLite file in the output folder.")
    ] = None,
    study: Annotated[str | None, typer.Option(help="The study's name; by default the task's.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for artefacts and the report; by default moo-runs/STUDY.")
    ] = None,
    workers: Annotated[
        int,
        typer.Option(help="Processes that share the sweep; while one measures, the others pause."),
    ] = 1,
    engine: Annotated[
        str,
        typer.Option(help="Where trials are evaluated: local, or ray, a Ray cluster (see RAY_ADDRESS)."),
    ] = "local",
    device: Annotated[
        list[str] | None,
        typer.Option(help="What measures on a Ray cluster: nodes with moo-profiler:DEVICE; may repeat."),
    ] = None,
    trial_timeout: Annotated[
        float | None, typer.Option(help="End a trial as failed after this many seconds; by default never.")
    ] = None,
    trial_memory: Annotated[
        str | None,
        typer.Option(help="End a trial as failed beyond this memory, such as '8 GiB'; by default never."),
    ] = None,
    trial_files: Annotated[
        str | None,
        typer.Option(
            help="End a trial as failed beyond this size of files, such as '2 GB'; by default never."
        ),
    ] = None,
    verbose: Annotated[  # noqa: FBT002  # an option of the command line
        bool, typer.Option("--verbose", help="Show each event of the study's log as a line.")
    ] = False,
) -> int:
    """Run a sweep, or resume it with the same command, and write its report."""
    from moo.cli._workers import chosen_engine, task_maker
    from moo.limits import Limits

    limits = Limits.parse(time_s=trial_timeout, memory=trial_memory, files=trial_files)
    return sweep(
        task_maker(task, provider, is_served_here=engine == "local"),
        engine=chosen_engine(engine, device or []),
        n_workers=workers,
        limits=limits,
        is_verbose=verbose,
        maximize=maximize or [],
        minimize=minimize or [],
        constraints=constraint or [],
        n_trials=trials,
        timeout_s=timeout,
        sampler=sampler,
        pruner=pruner,
        seed=seed,
        storage=storage,
        study_name=study,
        folder=out,
    )


def sweep(make_task: Callable[[], Task], *, is_verbose: bool = False, **arguments: Any) -> int:
    """Run a sweep with progress, print its front, write its report; return the exit status.

    Args:
        make_task: Makes what to search, here and in each worker.
        is_verbose: Whether each event is shown.
        **arguments: As `moo.optimize` takes them.
    """
    import optuna

    import reports
    from moo.cli._interrupt import Interrupt
    from moo.cli._progress import ProgressDisplay, log_to
    from moo.cli._summary import output_console, print_summary
    from moo.cli._workers import waited_line
    from moo.study import optimize

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    console, errors = output_console(), output_console(stderr=True)
    task, what = make_task(), "this trial" if arguments.get("n_workers", 1) == 1 else "the trials that run"
    display = ProgressDisplay(errors)
    try:
        with Interrupt(what) as interrupt, display, log_to(errors, is_verbose=is_verbose):
            study = optimize(
                task,
                make_task=make_task,
                observer=display,
                should_stop=lambda: interrupt.requested,
                **arguments,
            )
    except KeyboardInterrupt:
        console.print("Stopped at once: what is finished is stored, and the same command goes on.")
        return 130
    results = study.results()
    print_summary(console, results)
    if waited := waited_line(display.finished):
        console.print(waited, soft_wrap=True)
    page = reports.write(results, study.folder)
    here = Path.cwd()
    console.print(f"Report: {page.relative_to(here) if page.is_relative_to(here) else page}", soft_wrap=True)
    n_trials = arguments["n_trials"]
    for number, host in study.running:
        console.print(f"Trial {number} is still being run by a process on {host}, or was lost with it.")
    if interrupt.requested and len(results.trials) < n_trials:
        console.print(f"Stopped at {len(results.trials)} of {n_trials} trials: the same command goes on.")
        return 130
    return 0
