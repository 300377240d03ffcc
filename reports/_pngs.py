"""The report's PNG files, from the same data steps as the page."""

from __future__ import annotations

from moo.results import Results
from reports._data import FrontChart
from reports._figures import front_png
from reports._figures_found import hypervolume_png, importances_png
from reports._figures_parallel import parallel_png
from reports._found import Found
from reports._parallel import parallel_chart


def pngs(results: Results, chart: FrontChart, how: Found) -> dict[str, bytes | None]:
    """Return each PNG by its file's name; None where there is nothing to draw, which `Found.absent` explains.

    Args:
        results: The study.
        chart: Its front.
        how: How it was found.
    """
    parallel = parallel_chart(results, chart.chosen)
    title = results.study_name
    return {
        "front.png": front_png(chart),
        "parallel.png": None if parallel is None else parallel_png(parallel, title),
        "hypervolume.png": None if how.absent.get("hypervolume.png") else hypervolume_png(how.history, title),
        "importances.png": None
        if how.absent.get("importances.png")
        else importances_png(how.importances, title),
    }
