"""The page of the GPU benchmark, from the figures kept; it needs nothing a bare machine lacks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

TITLES = {
    "events": "The GPU's time beside the wall time of a call",
    "do_bench": "Our cold medians beside `triton.testing.do_bench`",
    "matmul": "An 8192 x 8192 x 8192 product in bf16 beside a plain loop",
    "graph": "A small model as it is, as a CUDA graph, and compiled",
    "energy": "Joules of a call",
    "coverage": "Do 95% intervals hold the median of all runs?",
}


def page(known: Mapping[str, Any]) -> str:
    """Return the page in Markdown."""
    sections = ["# Measuring on a GPU"]
    for name, title in TITLES.items():
        if name in known:
            found = known[name]
            body = found["reason"] + "." if "reason" in found else WRITERS[name](found)
            command = f"`python -m benchmarks.gpu {name}`, {found['seconds']:.0f} s"
            sections.append(f"## {title}\n\n{body}\n\n{machine(found)}{clocks(found)} {command}")
    return "\n\n".join(sections) + "\n"


def machine(found: Mapping[str, Any]) -> str:
    """The device, its driver and the versions, in one sentence.

    >>> machine({"facts": {"name": "GPU", "driver": "570.1", "cuda": "12.8", "versions": {"torch": "2.9"}}})
    'On GPU, driver 570.1, CUDA 12.8, torch 2.9.'
    """
    facts = found["facts"]
    versions = [f"{name} {number}" for name, number in facts.get("versions", {}).items()]
    driver = f"driver {facts.get('driver') or 'unknown'}"
    cuda = f"CUDA {facts.get('cuda')}"
    return f"On {', '.join([facts['name'], driver, cuda, *versions])}."


def clocks(found: Mapping[str, Any]) -> str:
    """The clocks of the multiprocessors over all rows, and why they were low, in one sentence."""
    rows = [inner for row in found.get("rows", ()) for inner in (row, *row.get("rows", ()))]
    states = [row["clocks"] for row in rows if row.get("clocks")]
    spreads = [state["sm_clock_hz"] for state in states if state.get("sm_clock_hz")]
    if not spreads:
        reasons = [row["clocks_reason"] for row in rows if row.get("clocks_reason")]
        return f" Clocks unknown: {reasons[0].rstrip('.')}." if reasons else ""
    low, high = min(each["min"] for each in spreads), max(each["max"] for each in spreads)
    why = sorted({reason for state in states for reason in state.get("reasons", {})})
    held_back = f", held back by {', '.join(why)}" if why else ""
    return f" Clock {low / 1e6:.0f} to {high / 1e6:.0f} MHz{held_back}."


def _events(found: Mapping[str, Any]) -> str:
    return table([_times(row) for row in found["rows"]])


def _times(row: Mapping[str, Any]) -> dict[str, str]:
    if "reason" in row:
        return _who(row) | {"wall": row["reason"]}
    wall, hot = row["wall_s"]["value"], row["hot_s"]["value"]
    share = f"{hot / wall:.1%}" if wall and hot else ""
    cells = {
        "wall": duration(wall),
        "on the GPU": duration(hot),
        "share": share,
        "cold": duration(row["cold_s"]["value"]),
    }
    return _who(row) | cells | {"tags": " ".join(row["tags"])}


def _turns(found: Mapping[str, Any]) -> str:
    rows = []
    for row in found["rows"]:
        if "reason" in row:
            rows.append(_who(row) | {"ours": row["reason"]})
            continue
        ours, theirs = (sorted(row[name])[len(row[name]) // 2] for name in ("ours_s", "theirs_s"))
        cells = {"ours": duration(ours), row["peer"]: duration(theirs), "ratio": f"{row['ratio']:.4f}"}
        if "operations" in row:
            rate = {
                name: f"{row['operations'] / value / 1e12:.0f}"
                for name, value in (("a", ours), ("b", theirs))
            }
            cells |= {"ours, TFLOP/s": rate["a"], f"{row['peer']}, TFLOP/s": rate["b"]}
        rows.append(_who(row) | cells | {"within 2%": "yes" if row["agrees"] else "NO"})
    return table(rows)


def _graph(found: Mapping[str, Any]) -> str:
    rows = []
    for row in found["rows"]:
        cells = _times(row)
        if "reason" not in row:
            cells |= {"first call": duration(row["first_call_s"]), "compiling": duration(row["compile_s"])}
        rows.append(cells)
    return table(rows)


def _energy(found: Mapping[str, Any]) -> str:
    return table(
        [
            _who(row)
            | {
                "gross": row["reason"] if row["gross_j"] is None else f"{1e3 * row['gross_j']:.4g} mJ",
                "net": "" if row["net_j"] is None else f"{1e3 * row['net_j']:.4g} mJ",
            }
            for row in found["rows"]
        ]
    )


def _coverage(found: Mapping[str, Any]) -> str:
    rows = [
        {
            "clock": clock,
            "interval": how,
            "held": f"{entry['held']} of {entry['n']}",
            "half-width": f"{entry['half_width']:.1%}",
            "median of all": duration(entry["grand_median_s"]),
        }
        for clock in ("wall", "device")
        for how, entry in found[clock].items()
    ]
    return table(rows)


WRITERS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "events": _events,
    "do_bench": _turns,
    "matmul": _turns,
    "graph": _graph,
    "energy": _energy,
    "coverage": _coverage,
}


def _who(row: Mapping[str, Any]) -> dict[str, str]:
    options = " ".join(f"{name}={value}" for name, value in row["options"].items())
    return {"model": row["model"], "rows": str(row["batch"]), "options": options}


def duration(seconds: float | None) -> str:
    """Seconds in a unit that suits them; nothing for None.

    >>> duration(1.5), duration(0.0015), duration(0.0000015), duration(None)
    ('1.5 s', '1.5 ms', '1.5 us', '')
    """
    if seconds is None:
        return ""
    unit, factor = next(((u, f) for u, f in (("s", 1.0), ("ms", 1e3)) if seconds * f >= 1), ("us", 1e6))
    return f"{seconds * factor:.4g} {unit}"


def table(rows: Sequence[Mapping[str, str]]) -> str:
    """The rows as Markdown; nothing where a row lacks a column.

    >>> print(table([{"a": "1"}, {"a": "2", "b": "x|y"}]))
    | a | b |
    | --- | --- |
    | 1 |  |
    | 2 | x/y |
    """
    titles = list(dict.fromkeys(title for row in rows for title in row))
    lines = [titles, ["---"] * len(titles), *([row.get(title, "") for title in titles] for row in rows)]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)
