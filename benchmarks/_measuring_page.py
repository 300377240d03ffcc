"""The page of the measuring benchmark, from the figures that are kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from benchmarks._report import markdown

METHODS = {"ours": "moo, standard", "torch": "torch.utils.benchmark, 1 s", "plain": "a loop of 100 calls"}


def page(known: Mapping[str, Any]) -> str:
    """Return the page in Markdown."""
    parts = {
        "coverage": ("Do 95% intervals hold the median of all runs?", _coverage),
        "same": ("A model compared with itself", lambda found: _verdicts({"itself": found})),
        "slower": ("A model with 5% more work", _slower),
        "modes": ("What each mode costs", _modes),
        "memory": ("Memory that is known by construction", _memory),
    }
    sections = ["# Measuring"]
    for name, (title, write) in parts.items():
        if name in known:
            facts = known[name]["environment"]
            machine = facts["identity"] | facts.get("software", {})  # older files have all in one
            where = f"On {machine['cpu_model']}, {machine['logical_cores']} cores, {machine['onnxruntime']}."
            command = f"`python -m benchmarks.measuring {name}`"
            sections.append(f"## {title}\n\n{write(known[name])}\n\n{where} {command}")
    return "\n\n".join(sections) + "\n"


def _coverage(found: Mapping[str, Any]) -> str:
    rows = [
        {
            "method": title,
            "held": f"{found[name]['held']} of {len(found[name]['intervals'])}",
            "half-width": f"{100 * found[name]['half_width']:.1f}%",
            "median of all": f"{1e3 * found[name]['grand_median_s']:.3f} ms",
        }
        for name, title in METHODS.items()
    ]
    return markdown(pd.DataFrame(rows))


def _slower(found: Mapping[str, Any]) -> str:
    return _verdicts({name: found[name] for name in ("quiet", "beside a busy process") if name in found})


def _verdicts(found: Mapping[str, Any]) -> str:
    rows = []
    for name, result in found.items():
        effects = pd.DataFrame(result["runs"])
        counts = ", ".join(f"{verdict} {count}" for verdict, count in result["verdicts"].items())
        rows.append(
            {
                "compared": name,
                "verdicts": counts,
                "median effect": f"{effects['effect'].median():.4f}",
                "median half-width": f"{((effects['high'] - effects['low']) / 2).median():.4f}",
                "seconds each": f"{effects['seconds'].median():.1f}",
            }
        )
    return markdown(pd.DataFrame(rows))


def _modes(found: Mapping[str, Any]) -> str:
    rows = [
        {
            "model": row["model"],
            "mode": row["mode"],
            "seconds": f"{row['seconds']:.1f}",
            "launches": row["launches"],
            "p50": f"{1e3 * row['p50_s']:.3f} ms",
            "half-width": f"{100 * row['half_width']:.1f}%",
            "tags": " ".join(row["tags"]),
        }
        for row in found["rows"]
    ]
    return markdown(pd.DataFrame(rows))


def _memory(found: Mapping[str, Any]) -> str:
    rows = []
    for small, large in zip(found["rows"][::2], found["rows"][1::2], strict=True):
        rows += [_against_truth(small), _against_truth(large)]
        growth = large["truth_bytes"] - small["truth_bytes"]
        for how in ("without", "with"):
            name = f"process_peak_{how}_arena"
            if name in large:
                rows[-1][f"growth of the process {how} arena"] = (
                    f"{(large[name] - small[name]) / growth:.3f} x"
                )
    return markdown(pd.DataFrame(rows).fillna(""))


def _against_truth(row: Mapping[str, Any]) -> dict[str, str]:
    cells = {"model": row["what"], "known": f"{row['truth_bytes'] / 1e6:.0f} MB"}
    for name, title in (("live_peak", "live peak"), ("arena_peak", "arena's peak")):
        if name in row:
            cells[title] = f"{row[name] / row['truth_bytes']:.3f} x"
    return cells
