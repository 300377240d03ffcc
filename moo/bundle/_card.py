"""The model card of a bundle: `README.md`, for the person who has to run it and to answer for it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from moo.bundle._record import Bundle, Promise, Tensor
from moo.evaluation import Estimate
from moo.metrics import format_estimate

__all__ = ["model_card"]

_TAGS: Mapping[str, str] = MappingProxyType(
    {
        "assumed_dimensions": "a symbolic dimension that nobody gave a size was taken as 1",
        "contended": "other work took the processor while it was measured",
        "ep_fallback": "not the provider asked for, or not it alone, ran the model",
        "few_launches": "2 to 4 processes: the intervals rest on hardly any spread",
        "float_kernels": "the file states integers, but the machine computed in floats",
        "imprecise": "an interval is wider than the protocol seeks",
        "memory_fallback": "resident memory after the calls stands in for the peak",
        "not_finite": "some outputs on the validation data are not finite",
        "not_prepared": "a step of the preparation for compression failed",
        "not_stationary": "the time of a call kept changing",
        "nothing_reduced": "no part of the model got the lower precision",
        "ok": "nothing",
        "oversubscribed": "more threads than processors",
        "single_launch": "one process: the spread between launches is unseen",
        "throttled": "the processor was held back while it was measured",
        "too_few_for_p99": "fewer calls than an interval of p99 needs",
        "weights_sensitive": "training changed the latency",
    }
)


def model_card(bundle: Bundle) -> str:
    """Return the card, in Markdown."""
    sections = [
        f"# {_text(bundle.title)}\n",
        _lead(bundle),
        _section("What it promises", _promises(bundle)),
        _section("Confirmation", _confirmation(bundle)),
        _section("How to run it", _running(bundle)),
        _section("How it was made", _making(bundle)),
        _section("Data", _data(bundle)),
        _section("How it was measured", _measuring(bundle)),
        _section("Limits", _items(_limits(bundle))),
        _section(
            "Licence",
            "Unknown: nobody told moo one. Ask those who own the training data and the code before it is"
            " shipped.",
        ),
        _section("Is it still what was measured?", _verifying()),
    ]
    return "\n".join(section for section in sections if section)


def _section(title: str, body: str) -> str:
    return f"## {title}\n\n{body}\n" if body else ""


def _text(value: object) -> str:
    """Return a value that Markdown and HTML leave as it is, on one line."""
    line = " ".join("".join(c if c.isprintable() else " " for c in str(value)).split())
    return re.sub(r"([\\`*_{}\[\]<>#|~&])", r"\\\1", line)


def _items(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _lead(bundle: Bundle) -> str:
    runtime, candidate = bundle.runtime, bundle.candidate
    where = {True: "on the front", False: "not on the front"}.get(candidate.get("is_on_front"), "")  # type: ignore[arg-type]
    words = [
        f"A model of task {_text(candidate.get('task', {}).get('name', 'unknown'))}",
        f"in {_text(bundle.precision)}",
        f"for ONNX Runtime on {_text(runtime['provider'])}",
        f"with {runtime['intra_op_num_threads']} thread{'' if runtime['intra_op_num_threads'] == 1 else 's'}",
        f"and {runtime['batch']} row{'' if runtime['batch'] == 1 else 's'} a call",
    ]
    return f"{' '.join(words)}; {where} of its study.\n" if where else f"{' '.join(words)}.\n"


def _promises(bundle: Bundle) -> str:
    rows = [_promise(promise) for promise in bundle.promises]
    table = _table(("metric", "value [95% interval]", "from", "launches"), rows)
    bounds = bundle.candidate.get("constraints") or []
    kept = [f"{_text(bound['text'])}: {_holds(bound['holds'])}" for bound in bounds]
    return "\n\n".join([table, _items(kept)]) if kept else table


def _promise(promise: Promise) -> tuple[str, str, str, str]:
    shown = format_estimate(promise.estimate, promise.metric)
    why = f" ({_text(promise.estimate.reason)})" if shown == "-" and promise.estimate.reason else ""
    n = "-" if promise.n_launches is None else str(promise.n_launches)
    return f"`{promise.metric.name}`", f"{_text(shown)}{why}", promise.source, n


def _holds(does_hold: bool | None) -> str:  # noqa: FBT001  (what is told)
    return {True: "holds", False: "**violated**", None: "not known"}[does_hold]


def _confirmation(bundle: Bundle) -> str:
    found = bundle.confirmation
    if found is None:
        return (
            "None: the values are the search's, and the best of many measured once look better than they are."
            " `moo confirm` measures the front again."
        )
    lines = [
        f"P(on the front) {found['p_on_front']:.2f}, P(feasible) {found['p_feasible']:.2f}:"
        f" {found['verdict']} the front",
        f"{found['n_launches']} fresh launches, in turns with the others, {_text(found['time'])}",
    ]
    by_name = {promise.metric.name: promise.metric for promise in bundle.promises}
    for name, record in (found.get("test") or {}).items():
        if name in by_name:
            shown = format_estimate(Estimate.from_json(record), by_name[name])
            lines.append(f"`{name}` on the test data: {_text(shown)}")
    return _items(lines)


def _running(bundle: Bundle) -> str:
    inputs = [_tensor("input", tensor) for tensor in bundle.inputs]
    outputs = [_tensor("output", tensor) for tensor in bundle.outputs]
    options = [
        f"{name}: {_text(bundle.runtime[name])}"
        for name in ("graph_optimization_level", "allow_spinning", "enable_arena")
    ]
    options += [f"{_text(name)}: {_text(value)}" for name, value in bundle.runtime["options"].items()]
    text = (
        "`python serve.py` needs onnxruntime and numpy alone; import its `load` and `run` elsewhere. The"
        " session's settings are written out in it; `runtime.json` has the same for other programs.\n\n"
    )
    return text + _items([*inputs, *outputs, *options])


def _tensor(kind: str, tensor: Tensor) -> str:
    if tensor.shape is None:
        shape = "of any shape"
    else:
        sizes = ", ".join("any" if size is None else _text(size) for size in tensor.shape)
        shape = f"[{sizes}]"
    return f"{kind} {_text(tensor.name)}: {tensor.dtype} {shape}"


def _making(bundle: Bundle) -> str:
    rows = [(_text(name), _text(value)) for name, value in bundle.candidate.get("params", {}).items()]
    table = _table(("parameter", "value"), rows) if rows else "No parameters were searched."
    model = bundle.model
    size = f"{model.bytes} bytes in {1 + len(model.data)} file{'s' if model.data else ''}"
    return f"{table}\n\nModel: {size}, SHA-256 `{model.sha256}`."


def _data(bundle: Bundle) -> str:
    task = bundle.candidate.get("task", {})
    known = {name: value for name, value in task.items() if re.fullmatch("[0-9a-f]{8,64}", str(value))}
    text = (
        f"Those of the task {_text(task.get('name', 'unknown'))}: moo knows them by digests alone and cannot"
        " say what they are."
    )
    if bundle.sample.source == "validation":
        n = bundle.sample.n_calls * bundle.sample.n_rows
        text += f" The sample in this folder is the first {n} rows of the validation data."
    else:
        text += " None are in this folder: the sample was made up from the model's signature."
    digests = _items(f"{_text(name)}: `{digest}`" for name, digest in known.items())
    return f"{text}\n\n{digests}" if digests else text


def _measuring(bundle: Bundle) -> str:
    environment, protocol = bundle.environment, bundle.protocol or {}
    machine = {**(environment.get("identity") or {}), **(environment.get("software") or {})}
    names = ("cpu_model", "logical_cores", "total_memory_bytes", "kernel", "python", "onnxruntime")
    lines = [f"machine {_text(environment.get('fingerprint') or 'unknown')}"]
    lines += [f"{name}: {_text(machine[name])}" for name in names if machine.get(name) is not None]
    lines += [f"protocol: {_text(protocol['mode'])}"] if "mode" in protocol else []
    lines += [f"tag `{tag}`: {_TAGS.get(tag, 'see the documentation')}" for tag in bundle.tags]
    return _items(lines)


def _limits(bundle: Bundle) -> list[str]:
    fixed = [
        _text(tensor.name) for tensor in bundle.inputs if tensor.shape and isinstance(tensor.shape[0], int)
    ]
    lines = [
        "Times and memory hold for the machine above, and for the batch and the threads above; elsewhere"
        " measure again.",
        "Quality is that of the validation data; where the data in service differ, it is not known.",
        "What is not in the table of promises, such as fairness or robustness, nobody measured.",
    ]
    lines += [f"The leading size of {', '.join(fixed)} is fixed."] if fixed else []
    return lines + [_text(note) for note in bundle.notes]


def _verifying() -> str:
    return (
        "`moo verify .` checks every file, the outputs and the promises on the machine it runs on. It tells"
        " damage and change. It cannot tell a bundle whose maker lies: who can change the model can change"
        " `bundle.json` too, unless you got the SHA-256 of `bundle.json` by another way and give it with"
        " `--sha256`. Nothing in this folder but the model is ever run by it."
    )
