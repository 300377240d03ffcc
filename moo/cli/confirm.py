"""`moo confirm`: the honest second look at the front."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from moo.cli._interrupt import Interrupt
from moo.errors import InputError, StudyMismatchError

if TYPE_CHECKING:
    from moo.cli._confirm_plan import Plan
    from moo.cli._confirm_rounds import Rounds
    from moo.confirmation import Choice
    from moo.results import Results
    from moo.study import Study
    from objectives import Task
    from profilers import Profiler, Protocol

__all__ = ["confirm"]

_TIME_LIMIT_S = 60.0  # of one process
_LAUNCHES_EACH = 20  # of a candidate on average, where no budget is given


def confirm(
    study: Annotated[str, typer.Argument(metavar="STUDY", help="The sweep's folder, or a database URL")],
    name: Annotated[
        str | None, typer.Option("--study", help="The study's name, where the storage holds several.")
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(help="The sweep's task, file.py:name: retrains the survivors and opens the test data."),
    ] = None,
    seeds: Annotated[int, typer.Option(help="How often each survivor is retrained.")] = 3,
    launches_budget: Annotated[
        int | None,
        typer.Option(
            help="Most launches in all, by default 20 a candidate; the first five of each are always made."
        ),
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(help="Begin no round after this many seconds, but for the first five.")
    ] = None,
    candidates: Annotated[
        int | None,
        typer.Option(help="Most candidates, the front first; by default 24. The baseline is extra."),
    ] = None,
    again: Annotated[  # noqa: FBT002  (a flag)
        bool,
        typer.Option("--again", help="Do it over, and open the test data once more, which stays on record."),
    ] = False,
    json: Annotated[Path | None, typer.Option(help="Write the result to this file too.")] = None,
) -> int:
    """Measure the front again, retrain it, and open the test data once.

    What rounds are whole is kept: the same command goes on after Ctrl-C or a crash.
    """
    import optuna

    from moo.cli._confirm_files import write_json
    from moo.cli._confirm_rounds import Rounds, Stopped
    from moo.cli._confirm_table import print_confirmation
    from moo.cli._progress import log_to
    from moo.cli._studies import opened_study
    from moo.cli._summary import output_console

    _check_counts(seeds, launches_budget, timeout, candidates)
    if json is not None and not json.absolute().parent.is_dir():
        raise InputError(f"--json: there is no folder {json.absolute().parent}")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    found, root = opened_study(study, name)
    console, errors = output_console(), output_console(stderr=True)

    def tell(line: str) -> None:
        if errors.is_terminal:
            errors.print(line, soft_wrap=True, markup=False)

    try:
        with Interrupt("this launch") as interrupt, log_to(errors):
            plan, machine, notes = _planned(found, root, task, is_again=again, most=candidates)
            begun = time.monotonic()
            n_launches = launches_budget or _LAUNCHES_EACH * len(plan.choice.candidates)
            rounds = Rounds(
                plan=plan,
                most_launches=n_launches,
                tell=tell,
                should_stop=lambda: interrupt.requested,
                is_late=lambda: timeout is not None and time.monotonic() - begun > timeout,
            )
            record = _run(rounds, n_seeds=seeds, fingerprint=machine["fingerprint"], notes=notes)
    except Stopped as stopped:
        console.print(f"Stopped: {stopped}. The same command goes on.", soft_wrap=True, markup=False)
        return 130
    except KeyboardInterrupt:
        console.print("Stopped at once: whole rounds are kept, and the same command goes on.")
        return 130
    if json is not None:
        write_json(json, record)
    print_confirmation(console, found.problem, record)
    console.print(f"Written: {root / 'confirm.json'}", soft_wrap=True, markup=False)
    return 0


def _check_counts(
    seeds: int, launches_budget: int | None, timeout: float | None, candidates: int | None
) -> None:
    for option, value in (("seeds", seeds), ("launches-budget", launches_budget), ("candidates", candidates)):
        if value is not None and value < 1:
            raise InputError(f"--{option}: expected a whole number of 1 or more, got {value}")
    if timeout is not None and not timeout > 0:
        raise InputError(f"--timeout: expected seconds above 0, got {timeout:g}")


def _planned(
    study: Study, root: Path, task_spec: str | None, *, is_again: bool, most: int | None
) -> tuple[Plan, dict[str, Any], list[str]]:
    """Return a plan whose candidates and artefacts are known and checked, this machine, and notes on it.

    Nothing is written yet.
    """
    from moo.cli._confirm_plan import Plan
    from moo.cli._confirm_test_data import has_test_data
    from moo.cli._studies import searched_task
    from moo.confirmation import MOST_CANDIDATES
    from moo.storage import SETTING, STUDY
    from objectives._confirm import machine_now

    attrs, results = study.optuna_study.user_attrs, study.results()
    before, openings = results.confirmation, results.test_opened
    if before is not None and openings and not is_again:
        _refuse_reopening(study, openings)
    task = None if task_spec is None else searched_task(study, task_spec)
    machine = machine_now()
    notes = _check_machine(study, attrs.get(SETTING, {}), machine)
    seed = int(attrs[STUDY]["seed"])
    plan = Plan(
        study=study,
        results=results,
        root=root,
        seed=seed,
        choice=_chosen(study, results, root, seed, most or MOST_CANDIDATES),
        task=task,
        profiler_for=_profilers(task),
        fallback=_fallback(results),
        attempt=(0 if before is None else before["attempt"]) + is_again,
    )
    was_cut_off = bool(openings) and openings[-1].get("plan") == plan.id
    if openings and not is_again and not was_cut_off and has_test_data(plan):
        _refuse_reopening(study, openings)
    return plan, machine, notes


def _run(rounds: Rounds, *, n_seeds: int, fingerprint: str, notes: Sequence[str]) -> dict[str, Any]:
    """Run all stages and return the stored record."""
    from moo.cli._confirm_record import Findings, store
    from moo.cli._confirm_retrain import retrain
    from moo.cli._confirm_rounds import N_DRAWS
    from moo.cli._confirm_test_data import open_test

    plan, should_stop = rounds.plan, rounds.should_stop
    with plan.locked():
        end = rounds.race(rounds.resume())
        assessment = rounds.assessed(N_DRAWS)
        survivors = rounds.survivors(assessment)
        retrained = retrain(
            plan, survivors, n_seeds=n_seeds, kept=rounds.kept, tell=rounds.tell, should_stop=should_stop
        )
        tested = open_test(plan, survivors, retrained, kept=rounds.kept, should_stop=should_stop)
        findings = Findings(
            plan=plan,
            rounds=rounds,
            end=end,
            assessment=assessment,
            retrained=retrained,
            tested=tested,
            fingerprint=fingerprint,
            notes=notes,
        )
        return store(findings)


def _refuse_reopening(study: Study, openings: Sequence[Mapping[str, Any]]) -> None:
    from moo.results import opened_lines

    raise InputError(
        f"study {study.name!r} was confirmed. {' '.join(opened_lines(openings))} Opening them a second time"
        " makes them validation data: --again does it over, and says so in every output from then on"
    )


def _check_machine(study: Study, setting: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Refuse another machine; return a note where the same one was set up otherwise."""
    begun = setting.get("machine") or {}
    parts = [
        f"{key} was {begun[key]}, now {now['machine'].get(key)}"
        for key in begun
        if begun[key] != now["machine"].get(key)
    ]
    if parts:
        raise StudyMismatchError(
            f"study {study.name!r} was measured on another machine: {'; '.join(parts)}. Confirm it there, or"
            " compare machines with moo profile and moo compare"
        )
    identity = (setting.get("environment") or {}).get("identity") or {}
    changed = sorted(key for key in identity if identity[key] != now["identity"].get(key))
    return [f"the machine is set up otherwise than in the search: {', '.join(changed)}"] if changed else []


def _chosen(study: Study, results: Results, root: Path, seed: int, most: int) -> Choice:
    from moo.confirmation import choose_candidates
    from moo.pairing import correct_samples

    correct = {trial.number: correct_samples(root, trial.evaluation) for trial in results.complete}
    choice = choose_candidates(results, correct=correct, seed=seed, most=most)
    if not choice.candidates:
        raise InputError(
            f"study {study.name!r} has no feasible trial among {len(results.trials)}: there is no front to"
            " confirm; run more trials, or loosen a constraint in a new study"
        )
    return choice


def _profilers(task: Task | None) -> Callable[[str], Profiler]:
    """Return the task's own profiler for all, or the usual one of each provider."""
    from moo.cli._profilers import profiler_for

    own: Profiler | None = getattr(task, "profiler", None)
    if own is not None:
        return lambda provider: own  # noqa: ARG005
    return lambda provider: profiler_for(provider, _TIME_LIMIT_S)


def _fallback(results: Results) -> Protocol:
    from profilers import QUICK, Protocol

    try:
        return Protocol(**dict(results.protocol or {}))
    except (TypeError, ValueError):
        return QUICK
