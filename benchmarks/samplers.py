"""Compare samplers: `python -m benchmarks.samplers {problems,check,run,ask,summary} --help`.

Numerical libraries read the number of their threads when they are loaded; so `main` sets it to one, and each
command imports what it needs after that.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

RESULTS = Path(__file__).with_name("results")
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "VECLIB_MAXIMUM_THREADS": "1",
}
CHEAP_SAMPLERS = (
    "moo-tpe,moo-nsga2,moo-auto,optuna-tpe,optuna-tpe-multivariate,optuna-nsga2-20,optuna-nsga2-50,"
    "optuna-random,pymoo-nsga2"
)


def list_problems(arguments: argparse.Namespace) -> int:
    """Print a table of the problems."""
    import pandas as pd

    from benchmarks._report import markdown
    from benchmarks.problems import description, select

    print(markdown(pd.DataFrame([description(name) for name in select(arguments.problems)])))
    return 0


def check(arguments: argparse.Namespace) -> int:
    """Prove that the problems and their scores are right."""
    from benchmarks.problems import select

    return 0 if _holds(select(arguments.problems)) else 1


def run(arguments: argparse.Namespace) -> int:
    """Search each problem with each sampler and seed, after a check; what the file holds is not run again."""
    from benchmarks._runs import Run, execute_missing, runs_in
    from benchmarks.problems import select

    names = select(arguments.problems)
    runs = [
        Run(sampler, name, seed, arguments.trials, arguments.staged)
        for seed in arguments.seeds
        for name in names
        for sampler in arguments.samplers.split(",")
    ]
    n_missing = len(set(runs) - runs_in(arguments.out))
    print(f"{len(runs)} runs, {n_missing} to do", flush=True)
    if n_missing == 0:
        return 0
    if not _holds(names):
        return 1
    n_failed = 0
    for number, (done, failure) in enumerate(execute_missing(runs, arguments.out, n_jobs=arguments.jobs), 1):
        n_failed += failure is not None
        print(
            f"{number}/{n_missing} {done.sampler} {done.problem} {done.seed}: {failure or 'done'}", flush=True
        )
    return 1 if n_failed else 0


def ask(arguments: argparse.Namespace) -> int:
    """Measure how long a sampler takes to propose a trial."""
    import pandas as pd

    from benchmarks._ask_times import measure_ask_times

    rows = []
    for n_trials in arguments.trials:
        for measured in measure_ask_times(arguments.samplers.split(","), n_trials):
            print(f"{measured.sampler} at {measured.trials} trials: {measured.median_ms} ms", flush=True)
            rows.append(asdict(measured))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_csv(arguments.out, index=False)
    return 0


def summary(arguments: argparse.Namespace) -> int:
    """Compare what was run: a page, a table and a figure."""
    import pandas as pd

    from benchmarks._figure import draw
    from benchmarks._report import page
    from benchmarks._summary import compare, read_runs, samplers_of, score_table

    runs = read_runs(arguments.runs, is_staged=arguments.staged)
    allowed = set(arguments.samplers.split(",") if arguments.samplers else runs["sampler"])
    subset_only = set(arguments.subset.split(","))
    whole, short = (
        [name for name in samplers_of(runs, n_trials=n_trials) if name in allowed]
        for n_trials in (arguments.trials, arguments.short)
    )
    n_trials, n_short = arguments.trials, arguments.short
    everywhere = [name for name in short if name not in subset_only]
    wanted = [
        (f"{n_trials} evaluations", "samplers", [n for n in whole if n not in subset_only], n_trials),
        (f"{n_short} evaluations, with the slow samplers", "samplers_short", everywhere, n_short),
        (f"{n_short} evaluations, on the subset of the slowest", "samplers_subset", short, n_short),
    ]
    names_before: list[str] = []
    comparisons = []
    for title, file_name, names, n_evaluations in wanted:
        if names and names != names_before:
            comparisons.append((title, file_name, compare(runs, names, n_trials=n_evaluations)))
        names_before = names
    ask_times = pd.read_csv(arguments.ask) if arguments.ask.exists() else None

    arguments.out.mkdir(parents=True, exist_ok=True)
    text = page([(title, comparison) for title, _, comparison in comparisons], ask_times)
    (arguments.out / "samplers.md").write_text(text)
    tables = [score_table(comparison).assign(comparison=title) for title, _, comparison in comparisons]
    pd.concat(tables).round(4).to_csv(arguments.out / "samplers.csv", index=False)
    for _, file_name, comparison in comparisons:
        draw(comparison, arguments.out / f"{file_name}.png")
    print(text)
    return 0


def _holds(names: Sequence[str]) -> bool:
    from benchmarks._checks import CheckFailedError, run_checks

    try:
        for line in run_checks(names):
            print(line, flush=True)
    except CheckFailedError as error:
        print(error, file=sys.stderr)
        return False
    return True


def _whole_numbers(text: str) -> list[int]:
    """Numbers and ranges: "0-2,7" is 0, 1, 2, 7."""
    numbers: list[int] = []
    for word in text.split(","):
        first, _, last = word.partition("-")
        numbers.extend(range(int(first), int(last or first) + 1))
    return numbers


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.samplers", description=__doc__)
    commands = parser.add_subparsers(required=True)

    def add(name: str, command: object) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=command.__doc__, description=command.__doc__)
        added.set_defaults(command=command)
        return added

    for name, command in (("problems", list_problems), ("check", check), ("run", run)):
        add(name, command).add_argument(
            "--problems", default="all", help="groups and names, separated by commas (default: all)"
        )
    runner = commands.choices["run"]
    runner.add_argument("--samplers", default=CHEAP_SAMPLERS)
    runner.add_argument("--seeds", type=_whole_numbers, default=list(range(10)), help="such as 0-9 or 0,3")
    runner.add_argument("--trials", type=int, default=200)
    runner.add_argument("--jobs", type=int, default=os.cpu_count())
    runner.add_argument("--out", type=Path, default=RESULTS / "samplers_runs.csv")
    runner.add_argument(
        "--staged", action="store_true", help="tell what breaks an early constraint as pruned"
    )

    timer = add("ask", ask)
    timer.add_argument("--samplers", default=CHEAP_SAMPLERS + ",moo-ehvi,optuna-gp")
    timer.add_argument("--trials", type=_whole_numbers, default=[100, 200, 1_000, 5_000])
    timer.add_argument("--out", type=Path, default=RESULTS / "samplers_ask.csv")

    reporter = add("summary", summary)
    reporter.add_argument("--runs", type=Path, default=RESULTS / "samplers_runs.csv")
    reporter.add_argument("--ask", type=Path, default=RESULTS / "samplers_ask.csv")
    reporter.add_argument("--samplers", help="those to compare (default: all that were run)")
    reporter.add_argument(
        "--subset", default="optuna-gp", help="samplers that were run on a subset (default: %(default)s)"
    )
    reporter.add_argument("--trials", type=int, default=200)
    reporter.add_argument(
        "--short", type=int, default=100, help="evaluations at which slow samplers are compared too"
    )
    reporter.add_argument("--staged", action="store_true", help="compare the staged runs")
    reporter.add_argument("--out", type=Path, default=RESULTS, help="folder (default: %(default)s)")
    return parser


def main(words: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    arguments = _parser().parse_args(words)
    os.environ.update(ONE_THREAD)
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    status: int = arguments.command(arguments)
    return status


if __name__ == "__main__":
    sys.exit(main())
