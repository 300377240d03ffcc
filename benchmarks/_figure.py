"""The figure of the comparison: how the score grows with the evaluations, a panel for each group."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks._searches import OURS
from benchmarks._summary import ALL, Comparison

# Okabe and Ito, "Color Universal Design" (2008): told apart with every common colour blindness
COLOURS = {
    "moo-tpe": "#D55E00",
    "moo-nsga2": "#0072B2",
    "moo-ehvi": "#009E73",
    "moo-auto": "#000000",
    "optuna-tpe": "#E69F00",
    "optuna-tpe-multivariate": "#E69F00",
    "optuna-nsga2-20": "#56B4E9",
    "optuna-nsga2-50": "#56B4E9",
    "optuna-gp": "#CC79A7",
    "optuna-random": "#8C8C8C",
    "pymoo-nsga2": "#8C8C8C",
}
DASHED = {"optuna-tpe-multivariate", "optuna-nsga2-50", "pymoo-nsga2"}
N_COLUMNS = 4


def draw(comparison: Comparison, path: Path) -> None:
    """Write the figure as PNG."""
    groups = comparison.groups
    n_rows = -(-(len(groups) + 1) // N_COLUMNS)  # one more: the legend
    figure = Figure(figsize=(3.1 * N_COLUMNS, 2.7 * n_rows), layout="constrained")
    panels = figure.subplots(n_rows, N_COLUMNS, squeeze=False, sharex=True).ravel()
    for panel, group in zip(panels, groups, strict=False):
        _draw_panel(panel, comparison.of_group(group), group)
    for panel in panels[len(groups) :]:
        panel.axis("off")
    handles, labels = panels[0].get_legend_handles_labels()
    panels[len(groups)].legend(handles, labels, loc="center left", frameon=False, title="sampler")
    figure.supxlabel("evaluations", fontsize=10)
    figure.supylabel("feasible hypervolume / best known", fontsize=10)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def _draw_panel(panel: Axes, part: Comparison, group: str) -> None:
    for sampler, curve in part.mean_curves().items():
        panel.plot(
            curve.index,
            curve,
            label=sampler,
            color=COLOURS[str(sampler)],
            linestyle="--" if sampler in DASHED else "-",
            linewidth=2.2 if sampler in OURS else 1.3,
            zorder=3 if sampler in OURS else 2,
        )
    title = "all problems" if group == ALL else group
    panel.set_title(f"{title} ({part.n_pairs} searches each)", fontsize=9)
    panel.set_ylim(0.0, 1.02)
    panel.grid(color="#E5E5E5", linewidth=0.6)
    panel.tick_params(labelbottom=True, labelsize=8)
    panel.spines[["top", "right"]].set_visible(False)
