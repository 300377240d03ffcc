"""`moo compare` of models: timed in turns, here and now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from moo.cli._compare_labels import labels
from moo.cli._compare_output import Outcome
from moo.cli._options import options_by_name
from moo.errors import InputError, MooError

if TYPE_CHECKING:
    from profilers import Candidate, Comparison, Interleaved, Profiler, ProfilerError, Protocol, Runtime

__all__ = ["compare_models"]

_TIME_LIMIT_S = 120.0


def compare_models(models: Sequence[str], options: Mapping[str, Any]) -> Outcome:
    """Time the models in turns and return what was found; progress goes to the error stream.

    Args:
        models: Paths, the reference first.
        options: By name what was typed, None where nothing was.

    Raises:
        InputError: If an option is wrong, or fewer than two models can be measured because of what they are.
        MooError: If fewer than two can be measured for another reason.
    """
    from moo.cli._summary import output_console
    from profilers import compare_interleaved

    candidates, protocol = _candidates(models, options), _protocol(options["mode"] or "standard")
    errors = output_console(stderr=True)

    def show(n: int, comparisons: tuple[Comparison, ...]) -> None:
        if errors.is_terminal:  # a line, and no thread that redraws it while the models are timed
            verdicts = ", ".join(str(comparison.verdict) for comparison in comparisons)
            errors.print(f"{n} launches of each: {verdicts}", style="dim")

    try:
        found = compare_interleaved(
            candidates, protocol=protocol, seed=options["seed"] or 0, after_launch=show
        )
    except ValueError as error:
        raise InputError(f"--provider: {error}") from error
    _check_enough(found)
    return _outcome(found, candidates)


def _candidates(models: Sequence[str], options: Mapping[str, Any]) -> list[Candidate]:
    from moo.cli._feeds import feeds_from
    from profilers import Candidate

    limit_s = _TIME_LIMIT_S if options["time-limit"] is None else options["time-limit"]
    if not limit_s > 0:
        raise InputError(f"--time-limit: expected seconds above 0, got {limit_s:g}")
    feeds = feeds_from(options["dim"] or [], options["input"] or [], options["npz"], options["seed"] or 0)
    runtimes = _runtimes(models, options)
    return [
        Candidate(
            label=label,
            profiler=_profiler(runtime.provider, limit_s),
            model_path=model,
            runtime=runtime,
            feeds=feeds,
        )
        for label, model, runtime in zip(labels(models, runtimes), models, runtimes, strict=True)
    ]


def _profiler(provider: str, limit_s: float) -> Profiler:
    from moo.cli._profilers import profiler_for

    try:
        return profiler_for(provider, limit_s)
    except ValueError as error:
        raise InputError(str(error)) from error


def _runtimes(models: Sequence[str], options: Mapping[str, Any]) -> list[Runtime]:
    from moo.cli._profilers import provider_for
    from profilers import Runtime

    named = _one_each("provider", options["provider"], len(models))
    providers = [provider_for(model, name) for name, model in zip(named, models, strict=True)]
    threads = [_number("threads", text) for text in _one_each("threads", options["threads"], len(models))]
    batches = [_number("batch", text) for text in _one_each("batch", options["batch"], len(models))]
    levels = [text or "all" for text in _one_each("optimization", options["optimization"], len(models))]
    spinning = [
        _is_on("spinning", text or "off") for text in _one_each("spinning", options["spinning"], len(models))
    ]
    option_sets = _option_sets(options["option"] or [], len(models))
    arenas = [_is_on("arena", text or "on") for text in _one_each("arena", options["arena"], len(models))]
    try:
        return [
            Runtime(
                provider=provider,
                intra_op_num_threads=n_threads,
                batch=batch,
                graph_optimization_level=level,
                allow_spinning=is_spinning,
                enable_arena=has_arena,
                options=chosen,
            )
            for provider, n_threads, batch, level, is_spinning, has_arena, chosen in zip(
                providers, threads, batches, levels, spinning, arenas, option_sets, strict=True
            )
        ]
    except ValueError as error:
        raise InputError(str(error)) from error


def _option_sets(texts: Sequence[str], n: int) -> list[dict[str, str]]:
    """Return the options of each of `n` models: those given once are of all.

    >>> _option_sets(["a.b=1", "a.b=2", "c.d=x"], 2)
    [{'a.b': '1', 'c.d': 'x'}, {'a.b': '2', 'c.d': 'x'}]
    """
    values = options_by_name(texts)
    for name, given in values.items():
        if len(given) not in (1, n):
            raise InputError(f"--option: expected {name} once, or once for each of {n} models, got {given}")
    return [{name: given[min(i, len(given) - 1)] for name, given in values.items()} for i in range(n)]


def _is_on(option: str, text: str) -> bool:
    if text not in ("on", "off"):
        raise InputError(f"--{option}: expected on or off, got {text!r}")
    return text == "on"


def _one_each(option: str, text: str | None, n: int) -> list[str | None]:
    """Return a value for each of `n` models, None where nothing was typed.

    >>> _one_each("threads", "1,2", 2), _one_each("threads", "4", 2)
    (['1', '2'], ['4', '4'])
    """
    if text is None:
        return [None] * n
    words = [word.strip() for word in text.split(",")]
    if len(words) not in (1, n) or not all(words):
        raise InputError(f"--{option}: expected one value, or one for each of {n} models, got {text!r}")
    return [*words] if len(words) == n else [*words] * n


def _number(option: str, text: str | None) -> int:
    if text is None:
        return 1
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise InputError(f"--{option}: expected numbers above 0, got {text!r}")
    return int(text)


def _protocol(mode: str) -> Protocol:
    from profilers import MODES

    if mode not in MODES:
        raise InputError(f"--mode: expected one of {', '.join(MODES)}, got {mode!r}")
    return MODES[mode]


def _check_enough(found: Interleaved) -> None:
    """Refuse a result without comparisons, by the fault of the input if it is so."""
    from profilers import ModelError, ProviderError

    if found.comparisons:
        return
    reasons = "; ".join(dict.fromkeys(str(error) for error in found.failures.values()))
    is_input = any(isinstance(error, ModelError | ProviderError) for error in found.failures.values())
    raise (InputError if is_input else MooError)(f"fewer than two could be measured: {reasons}")


def _outcome(found: Interleaved, candidates: Sequence[Candidate]) -> Outcome:
    batches = {candidate.runtime.batch for candidate in candidates}
    reference = found.comparisons[0].reference
    notes = ["Timed in turns, here and now; each interval holds for its own comparison alone."]
    if len(batches) > 1:
        notes.append("The batches differ: the latency is that of a call, not of a row.")
    if reference != candidates[0].label:
        notes.append(f"{candidates[0].label} could not be measured: {reference} is the reference instead.")
    return Outcome(
        comparisons=found.comparisons,
        medians_s={label: found.median_s(label) for label in found.measurements},
        notes=tuple(notes),
        measurements=tuple(found.measurements.values()),
        failed=tuple({"label": label, "reason": _line(error)} for label, error in found.failures.items()),
        details={
            "protocol": found.protocol.to_json(),
            "seed": found.seed,
            "confidence_of_each_look": found.confidence,
            "environment": dict(found.measurements[reference].environment),
            "measurements": [_measured(found, label) for label in found.measurements],
        },
    )


def _measured(found: Interleaved, label: str) -> dict[str, Any]:
    measurement = found.measurements[label]
    model = measurement.model
    return {
        "label": label,
        "model": {"path": model.path, "sha256": model.sha256, "bytes": model.bytes},
        "runtime": measurement.runtime.to_json(),
        "inputs": [dict(entry) for entry in measurement.inputs],
        "block_medians_s": [medians.tolist() for medians in found.block_medians_s[label]],
    }


def _line(error: ProfilerError) -> str:
    return " ".join(str(error).split())
