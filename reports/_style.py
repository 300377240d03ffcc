"""How each group of candidates looks, in both drawers: a colour and a shape of its own, and its name."""

from __future__ import annotations

from dataclasses import dataclass

from reports._data import Group


@dataclass(frozen=True)
class Look:
    """The look of a group.

    Args:
        name: What the legend says.
        colour: Okabe-Ito or grey, as hexadecimal.
        marker: The marker's name in matplotlib.
        symbol: The marker's name in plotly.
        size: Its diameter in pixels of the page.
    """

    name: str
    colour: str
    marker: str
    symbol: str
    size: int


# Okabe and Ito, "Color Universal Design" (2008): told apart with every common colour blindness
BLUE, VERMILLION, ORANGE, GREEN = "#0072B2", "#D55E00", "#E69F00", "#009E73"

LOOKS: dict[Group, Look] = {
    "pruned": Look("pruned", "#B0B0B0", "|", "line-ns-open", 7),
    "infeasible": Look("infeasible", "#A8A8A8", "x", "x-thin-open", 8),
    "undecided": Look("feasibility not known", "#8C8C8C", "d", "diamond-open", 7),
    "incomplete": Look("an objective not known", "#8C8C8C", "+", "cross-thin-open", 8),
    "dominated": Look("feasible, dominated", "#8A8F98", "o", "circle", 6),
    "front": Look("front", BLUE, "o", "circle", 10),
    "baseline": Look("baseline", VERMILLION, "*", "star", 15),
}
RULED_OUT = Look("ruled out by the confirmation", "#8C8C8C", "^", "triangle-up-open", 8)  # of the page alone
CHOSEN = "#D55E00"
COLOUR_SCALE = "Viridis"
