"""`moo compare`: which model is faster here and now, or by the files of `moo profile`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from moo.errors import InputError

__all__ = ["compare"]


def compare(
    subjects: Annotated[
        list[str],
        typer.Argument(metavar="A B ..", help="Models (.onnx, .pt2), or files of moo profile (.json)."),
    ],
    provider: Annotated[
        str | None,
        typer.Option(help="cpu, cuda, torch, torch-compile, ..; or one per model: cpu,cuda."),
    ] = None,
    threads: Annotated[
        str | None, typer.Option(help="Threads inside an operator, 1; or one per model: 1,2.")
    ] = None,
    batch: Annotated[str | None, typer.Option(help="Rows in a call, 1; or one per model: 1,8.")] = None,
    optimization: Annotated[
        str | None, typer.Option(help="Graph optimisation, all; or one per model: basic,all.")
    ] = None,
    spinning: Annotated[
        str | None, typer.Option(help="Idle threads spin, off; or one per model: off,on.")
    ] = None,
    arena: Annotated[
        str | None, typer.Option(help="Keep freed memory, on; or one per model: on,off.")
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(help="A setting of the provider, NAME=VALUE; repeated, one per model."),
    ] = None,
    mode: Annotated[str | None, typer.Option(help="quick, standard or rigorous; standard.")] = None,
    dim: Annotated[
        list[str] | None, typer.Option(help="Size of a symbolic dimension, NAME=SIZE; may repeat.")
    ] = None,
    inputs: Annotated[
        list[str] | None,
        typer.Option("--input", help="An input, NAME=SHAPE:DTYPE, such as x=1x3x224x224:float32."),
    ] = None,
    npz: Annotated[Path | None, typer.Option(help="Inputs to use: arrays by name.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the order of turns and the inputs made; 0.")] = None,
    time_limit: Annotated[float | None, typer.Option(help="Seconds one process may take; 120.")] = None,
    json: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write everything found to this file.")
    ] = None,
    fail_if_slower: Annotated[  # noqa: FBT002  (how typer declares a flag)
        bool, typer.Option("--fail-if-slower", help="Exit status 1 if a candidate is slower than A.")
    ] = False,
) -> int:
    """Compare the median latency of others with that of A: faster, slower, the same within 1%, or unclear.

    Models are timed in turns on this machine; files are compared by their samples, on one machine only.
    Exit status 1 if a model could not be measured.
    """
    from moo.cli._compare_files import compare_files
    from moo.cli._compare_models import compare_models
    from moo.cli._compare_output import print_outcome, profile_beside, write_outcome
    from moo.cli._profile_files import check_writable
    from moo.cli._summary import output_console

    options = {
        "provider": provider,
        "threads": threads,
        "batch": batch,
        "optimization": optimization,
        "spinning": spinning,
        "arena": arena,
        "option": option or None,
        "mode": mode,
        "dim": dim or None,
        "input": inputs or None,
        "npz": npz,
        "seed": seed,
        "time-limit": time_limit,
    }
    is_of_files = _are_files(subjects)
    if json is not None:
        check_writable(json, subjects, schema="moo.compare/")
        if not is_of_files:
            check_writable(profile_beside(json), subjects, schema="moo.profile/")
    if is_of_files:
        _refuse(options)
        outcome = compare_files(subjects)
    else:
        try:
            outcome = compare_models(subjects, options)
        except KeyboardInterrupt:
            typer.echo(
                "moo: stopped before the comparison was complete: nothing is told or written", err=True
            )
            return 130
    print_outcome(output_console(), outcome)
    if json is not None:
        write_outcome(json, outcome)
    for failure in outcome.failed:
        typer.echo(f"moo: {failure['label']} could not be measured: {failure['reason']}", err=True)
    if fail_if_slower and not outcome.comparisons:
        typer.echo("moo: --fail-if-slower: nothing could be compared, so nothing is known", err=True)
        return 1
    is_slower = any(comparison.verdict == "SLOWER" for comparison in outcome.comparisons)
    return int(bool(outcome.failed) or (fail_if_slower and is_slower))


def _are_files(subjects: Sequence[str]) -> bool:
    """Return whether all are files of measurements; False if all are models.

    Raises:
        InputError: If there are fewer than two, or they are not all of one kind.
    """
    if len(subjects) < 2:
        raise InputError(
            f"A B: expected two or more models or files to compare, got {len(subjects)}: to compare a model "
            "with itself, give it twice"
        )
    kinds = {subject: _kind(subject) for subject in subjects}
    first = subjects[0]
    for subject, kind in kinds.items():
        if kind != kinds[first]:
            raise InputError(
                f"A B: expected all models or all files of moo profile, got {kinds[first]} {first} and "
                f"{kind} {subject}: profile the model, or compare models with models"
            )
    return kinds[first] == "file"


def _kind(subject: str) -> str:
    """Return "file" or "model".

    >>> _kind("a.json"), _kind("a.onnx"), _kind("a.py:make")
    ('file', 'model', 'model')
    """
    if subject.lower().endswith(".json"):
        return "file"
    if subject.lower().endswith((".onnx", ".pt2")) or ".py:" in subject:
        return "model"
    raise InputError(f"A B: expected models (.onnx, .pt2) or files of moo profile (.json), got {subject!r}")


def _refuse(options: Mapping[str, object]) -> None:
    """Refuse what has no meaning for measurements that are already made."""
    for name, value in options.items():
        if value is not None:
            raise InputError(f"--{name}: expected only with models, got it with files: leave it out")
