"""What Linux tells in /proc and /sys: parsers of its files, and the functions that read them.

A fact that a file does not hold, or a file that is not there, is None, never guessed.
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

INSTRUCTION_SETS = frozenset(
    {"sse4_2", "avx", "avx2", "fma", "f16c", "avx_vnni"}
    | {"avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx512_bf16", "avx512_fp16"}
    | {"amx_tile", "amx_int8", "amx_bf16"}
    | {"asimd", "asimddp", "asimdhp", "i8mm", "bf16", "sve", "sve2"}
)


@dataclass(frozen=True, slots=True)
class Ticks:
    """Time of all processors together since boot, in ticks of the kernel.

    Attributes:
        total: All of it.
        busy: What processes and the kernel used.
        stolen: What the hypervisor gave to others while a process of this machine wanted it.
    """

    total: int
    busy: int
    stolen: int


def read_text(path: str | Path) -> str | None:
    """A file's text without space around it; None where it is empty or cannot be read."""
    try:
        return Path(path).read_text(errors="replace").strip() or None
    except OSError:
        return None


def cpu_model() -> str | None:
    """The processor's name, as the kernel tells it."""
    return _cpuinfo("model name")


def instruction_sets() -> list[str] | None:
    """Those of the processor's instruction sets that decide how fast a model runs, sorted."""
    flags = _cpuinfo("flags") or _cpuinfo("Features")
    return None if flags is None else sorted(INSTRUCTION_SETS.intersection(flags.split()))


def is_virtual_machine() -> bool | None:
    """Whether the processor says that a hypervisor runs it; None where it cannot say."""
    flags = _cpuinfo("flags")
    return None if flags is None else "hypervisor" in flags.split()


def hypervisor() -> str | None:
    """The product name the firmware gives, in a virtual machine."""
    return read_text("/sys/class/dmi/id/product_name") if is_virtual_machine() else None


def affinity() -> list[int] | None:
    """The logical cores this process may use, sorted."""
    try:
        return sorted(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return None


def governor() -> str | None:
    """The frequency governor of the first core; "none" where Linux controls no frequency."""
    if sys.platform != "linux":
        return None
    return read_text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor") or "none"


def core_clocks_hz() -> list[float] | None:
    """Clocks now of the logical cores this process may use; None where one cannot be read.

    The clocks in /proc/cpuinfo are no substitute: in a virtual machine they are the nominal ones.
    """
    cores = affinity() or []
    texts = [read_text(f"/sys/devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq") or "" for core in cores]
    return [1e3 * int(text) for text in texts] if texts and all(map(str.isdigit, texts)) else None


def cgroup_cpu_quota() -> float | None:
    """Cores' worth of time the control group allows; None where there is no limit, or none can be read.

    The smallest limit on the way up to the root counts, in version 2 as in version 1.
    """
    limits = [quota for text in _cgroup_quotas() if (quota := parse_cpu_quota(text)) is not None]
    return min(limits, default=None)


def parse_cpu_quota(text: str) -> float | None:
    """Cores' worth of time in "quota period", both in microseconds; None where there is no limit.

    >>> parse_cpu_quota("150000 100000"), parse_cpu_quota("max 100000"), parse_cpu_quota("-1 100000")
    (1.5, None, None)
    """
    fields = text.split()
    if len(fields) != 2 or not all(field.isdigit() for field in fields) or int(fields[1]) == 0:
        return None
    return int(fields[0]) / int(fields[1])


def n_throttled() -> int | None:
    """How often a control group stopped its processes because their quota was used up; None if unknown.

    The largest count on the way up to the root: groups above stop those below, and count for themselves.
    """
    texts = [read_text(folder / "cpu.stat") or "" for _, folder in cgroup_folders()]
    return max((n for text in texts if (n := parse_n_throttled(text)) is not None), default=None)


def parse_n_throttled(text: str) -> int | None:
    """The count of throttled periods in a control group's ``cpu.stat``.

    >>> parse_n_throttled("nr_throttled 3")
    3
    """
    fields = dict(line.split(maxsplit=1) for line in text.splitlines() if len(line.split()) == 2)
    count = fields.get("nr_throttled", "")
    return int(count) if count.isdigit() else None


def pressure(resource: str, field: str = "avg10") -> float | None:
    """Percent of the last 10 s in which some process waited for the resource, "cpu" or "memory".

    With the field "total", microseconds since boot in which some process waited.
    """
    return parse_pressure(read_text(f"/proc/pressure/{resource}") or "", field)


def parse_pressure(text: str, field: str = "avg10") -> float | None:
    """A field of the line "some" in a pressure file of Linux.

    >>> parse_pressure("some avg10=1.25 avg60=0.33 avg300=0.18 total=3348967")
    1.25
    """
    for line in text.splitlines():
        kind, *fields = line.split() or [""]
        values = dict(item.split("=", 1) for item in fields if "=" in item)
        if kind == "some" and field in values:
            return float(values[field])
    return None


def read_ticks() -> Ticks | None:
    """The ticks until now."""
    return parse_ticks(read_text("/proc/stat") or "")


def parse_ticks(text: str) -> Ticks | None:
    """The first line of /proc/stat, whose fields past the eighth are in the first two already.

    >>> parse_ticks("cpu 10 5 20 60 1 0 2 2 7 0")
    Ticks(total=100, busy=37, stolen=2)
    """
    name, *fields = (text.splitlines() or [""])[0].split() or [""]
    if name != "cpu" or len(fields) < 8 or not all(map(str.isdigit, fields)):
        return None
    user, nice, system, idle, waiting, interrupts, soft_interrupts, stolen = map(int, fields[:8])
    busy = user + nice + system + interrupts + soft_interrupts
    return Ticks(total=busy + idle + waiting + stolen, busy=busy, stolen=stolen)


def steal_share(since: Ticks | None = None) -> float | None:
    """Share of the processors' time that the hypervisor took, since those ticks or since boot."""
    return stolen_share(since or Ticks(0, 0, 0), read_ticks())


def stolen_share(before: Ticks | None, after: Ticks | None) -> float | None:
    """Share of the time between two readings that was stolen; None where a reading, or the time, is missing.

    >>> stolen_share(Ticks(100, 50, 1), Ticks(300, 150, 5))
    0.02
    """
    if before is None or after is None or after.total <= before.total:
        return None
    return (after.stolen - before.stolen) / (after.total - before.total)


def _cpuinfo(field: str) -> str | None:
    """A field of the first processor in /proc/cpuinfo."""
    for line in (read_text("/proc/cpuinfo") or "").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == field:
            return value.strip()
    return None


def cgroup_folders() -> list[tuple[int, Path]]:
    """Version and folder of every group that may limit processor time, from our own up to the root."""
    folders: list[tuple[int, Path]] = []
    for line in (read_text("/proc/self/cgroup") or "").splitlines():
        _, controllers, group = line.split(":", 2)
        if controllers == "" or "cpu" in controllers.split(","):
            own = Path("/sys/fs/cgroup", controllers, group.lstrip("/"))
            n_levels = len(Path(group.lstrip("/")).parts)
            folders += [(1 if controllers else 2, level) for level in (own, *own.parents[:n_levels])]
    return folders


def _cgroup_quotas() -> list[str]:
    """Quota and period of every group, as "quota period"."""
    texts = []
    for version, folder in cgroup_folders():
        if version == 2:
            texts.append(read_text(folder / "cpu.max"))
        else:
            quota, period = read_text(folder / "cpu.cfs_quota_us"), read_text(folder / "cpu.cfs_period_us")
            texts.append(f"{quota} {period}")
    return [text for text in texts if text]
