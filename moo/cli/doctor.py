"""`moo doctor`: one page on what this machine is, what it can measure, and how quiet it is."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["doctor", "page"]

WIDTH = 80  # columns, so that a page pasted into an issue or a mail can be read without scrolling
_UNKNOWN = "unknown"


def doctor(
    json: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write everything found to this file.")
    ] = None,
) -> int:
    """Say what this machine can measure, how quiet it is, and what would help; nothing is changed.

    The page names no host, user or folder, and can be pasted into an issue.
    """
    from moo.cli._profile_files import check_writable, write_document

    if json is not None:
        check_writable(json, schema="moo.doctor/")
    from moo.cli._diagnosis import diagnose

    document = diagnose()
    if json is not None:
        write_document(json, document)
    typer.echo(page(document))
    return 0


def page(document: Mapping[str, Any]) -> str:
    """Return the document as plain text that is also Markdown, no line longer than `WIDTH`."""
    sections = {
        f"moo {document['versions']['moo']}, {document['environment']['state']['time']}": _machine(document),
        **({"GPUs": _gpus(document)} if document["gpus"] else {}),
        "Versions": _versions(document),
        "What can be measured here": _abilities(document),
        f"How quiet it is now: {document['canary']['verdict']}": _quiet(document),
        "What would help": iter(document["advice"] or ["nothing that this page knows of"]),
    }
    parts = [f"### {title}\n{chr(10).join(map(_item, lines))}" for title, lines in sections.items()]
    return "\n\n".join(parts)


def _item(text: str) -> str:
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent="- ",
        subsequent_indent="  ",
        break_on_hyphens=False,
    )


def _machine(document: Mapping[str, Any]) -> Iterator[str]:
    identity = document["environment"]["identity"]
    yield f"fingerprint: {document['environment']['fingerprint']}"
    yield (
        f"processor: {_known(identity['cpu_model'])}, {_known(identity['machine'])}, "
        f"{_known(identity['physical_cores'])} cores, {_known(identity['logical_cores'])} logical, "
        f"{len(identity['affinity'] or []) or _UNKNOWN} usable"
    )
    yield f"instruction sets: {' '.join(identity['instruction_sets'] or [_UNKNOWN])}"
    yield f"quota of the control group: {_number(identity['cgroup_cpu_quota'], ' cores', 'none')}"
    yield f"frequency governor: {_known(identity['governor'])}"
    yield f"memory: {_gibibytes(identity['total_memory_bytes'])}"
    yield f"kernel: {_known(document['environment']['software']['kernel'])}"
    kinds = {True: f"yes, product name {_known(identity['hypervisor'])}", False: "no", None: _UNKNOWN}
    yield f"virtual machine: {kinds[identity['is_virtual_machine']]}"


def _gpus(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield two lines for each GPU: what it is, and what it does."""
    for number, gpu in enumerate(document["gpus"]):
        facts, state = gpu["facts"], gpu["state"]
        slices = ", cut in MIG slices" if facts["mig_enabled"] else ""
        yield (
            f"GPU {number}: {_known(facts['name'])}, {_gibibytes(facts['total_memory_bytes'])}, compute "
            f"capability {_known(facts['compute_capability'])}, driver {_known(facts['driver_version'])} "
            f"(CUDA {_known(facts['cuda_driver_version'])}), power limit "
            f"{_whole(facts['power_limit_w'], ' W')}{slices}"
        )
        yield (
            f"GPU {number} now: clock {_whole(state['sm_clock_hz'], ' MHz', 1e6)} of "
            f"{_whole(facts['max_sm_clock_hz'], ' MHz', 1e6)}{_clock_reasons(state['clock_reasons'])}, "
            f"{_whole(state['temperature_c'], ' degrees C')}, {_whole(state['power_w'], ' W')}, "
            f"{_gibibytes(state['used_memory_bytes'])} in use, other processes: "
            f"{_known(state['n_other_processes'])}{_because(state['missing'].get('n_other_processes'))}"
        )


def _versions(document: Mapping[str, Any]) -> Iterator[str]:
    versions = dict(document["versions"])
    software = document["environment"]["software"]
    yield f"{_known(software['python'])}, numpy {_known(software['numpy'])}"
    yield ", ".join(versions.pop("onnxruntime")) or "onnxruntime is not installed"
    del versions["moo"]
    yield ", ".join(f"{name} {number or '(not installed)'}" for name, number in versions.items())
    words = {"runs": "runs", "idle": "opens, leaves a tiny model to the CPU", "fails": "does not open"}
    for name, outcome in document["execution_providers"].items():
        yield f"{name}: {words[outcome]}"


def _abilities(document: Mapping[str, Any]) -> Iterator[str]:
    for ability in document["abilities"]:
        missing = ability["missing"]
        yield f"{ability['name']}: {'yes' if missing is None else f'no: {missing}'}"


def _quiet(document: Mapping[str, Any]) -> Iterator[str]:
    sample, state = document["canary"], document["environment"]["state"]
    yield (
        f"{sample['n_slices']} equal slices of {1e6 * sample['median_slice_s']:.0f} us: 95th percentile "
        f"{_percent(sample['p95_excess'])} above the median, slowest {1 + sample['max_excess']:.0f} times it"
    )
    yield (
        f"time lost against the fastest slice: {_percent(sample['lost_share'])}; wall over processor time: "
        f"{sample['wall_per_cpu']:.3f}; taken off the processor: {sample['switches_per_s']:.0f} times/s"
    )
    yield (
        f"other processes: {_number(sample['other_busy_cores'], ' cores')}; some process waited for a core: "
        f"{_percent(sample['cpu_pressure'])} of the time; load: {_number(state['load_average_1min'])}"
    )
    yield (
        f"taken by the hypervisor: {_percent(sample['steal_share'])} now, "
        f"{_percent(state['steal_share_since_boot'])} since boot; stopped by the quota: "
        f"{_known(state['cgroup_n_throttled'])} times"
    )
    yield (
        f"memory free: {_gibibytes(state['available_memory_bytes'])}; some process waited for memory: "
        f"{_number(state['memory_pressure_avg10'], '% of the last 10 s')}"
    )
    yield f"clocks of the cores: {_clocks(state['core_clocks_hz'])}"


def _known(value: object) -> str:
    return _UNKNOWN if value is None else str(value)


def _number(value: float | None, unit: str = "", absent: str = _UNKNOWN) -> str:
    """Return a number with its unit.

    >>> _number(1.5, " cores"), _number(None)
    ('1.5 cores', 'unknown')
    """
    return absent if value is None else f"{value:.3g}{unit}"


def _percent(share: float | None) -> str:
    return _UNKNOWN if share is None else f"{share:.1%}"


def _gibibytes(n_bytes: int | None) -> str:
    return _UNKNOWN if n_bytes is None else f"{n_bytes / 2**30:.1f} GiB"


def _whole(value: float | None, unit: str, size: float = 1.0) -> str:
    """Return a number without decimals in a unit of that size.

    >>> _whole(1.98e9, " MHz", 1e6), _whole(None, " W")
    ('1980 MHz', 'unknown')
    """
    return _UNKNOWN if value is None else f"{value / size:.0f}{unit}"


def _clock_reasons(words: Sequence[str] | None) -> str:
    """Return why the clock is not higher, if it is said.

    >>> _clock_reasons(["idle", "power_cap"]), _clock_reasons([])
    (' (idle, power_cap)', '')
    """
    return f" ({', '.join(words)})" if words else ""


def _because(reason: str | None) -> str:
    return "" if reason is None else f" ({reason})"


def _clocks(clocks_hz: Sequence[float] | None) -> str:
    """Return the span of the clocks.

    >>> _clocks([3.2e9, 1.2e9])
    '1.20 to 3.20 GHz'
    """
    if not clocks_hz:
        return "not shown by this kernel"
    return f"{min(clocks_hz) / 1e9:.2f} to {max(clocks_hz) / 1e9:.2f} GHz"
