"""The command line: one file for each command; the only place that wires the packages together.

Exit status: 0 done, 1 failed while running, 2 the input was wrong, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer
from typer.exceptions import TyperException

from moo.cli import bundle, compare, confirm, demo, doctor, profile, report, run, verify
from moo.cli._plain import one_line
from moo.errors import InputError, InstallError, MooError

__all__ = ["app", "main"]

_OURS = ("moo", "objectives", "profilers", "reports")

app = typer.Typer(
    name="moo",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Search a model family for the best trade-offs between quality and measured cost.",
    epilog="--debug, anywhere, shows the traceback of an error.",
)
app.command("run", no_args_is_help=True)(run.run)
app.command("demo")(demo.demo)
app.command("report", no_args_is_help=True)(report.report)
app.command("profile", no_args_is_help=True)(profile.profile)
app.command("compare", no_args_is_help=True)(compare.compare)
app.command("confirm", no_args_is_help=True)(confirm.confirm)
app.command("bundle", no_args_is_help=True)(bundle.bundle)
app.command("verify", no_args_is_help=True)(verify.verify)
app.command("doctor")(doctor.doctor)


@app.callback()
def _group() -> None:
    """Keep the commands below `moo`, however many there are."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its status.

    Args:
        arguments: What a person typed after `moo`; None for the process's own.

    Raises:
        SystemExit: Always, with the exit status.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    try:
        status = app(words, standalone_mode=False, prog_name="moo")
    except (MooError, TyperException) as error:
        if debug:
            raise
        status = _explain(error)
    except ModuleNotFoundError as error:
        if debug or error.name is None or error.name.partition(".")[0] in _OURS:
            raise
        status = _explain(InstallError(f"{error.name} is not installed here: install what moo needs again"))
    sys.exit(status if isinstance(status, int) else 0)


def _explain(error: MooError | TyperException) -> int:
    """Write an error as one line and return the exit status."""
    message = error.format_message() if isinstance(error, TyperException) else str(error)
    if type(error).__name__ == "NoArgsIsHelpError":
        sys.stdout.write(message + "\n")
    else:
        sys.stderr.write(f"moo: error: {one_line(message)}\n")
    return 2 if isinstance(error, (InputError, TyperException)) else 1
