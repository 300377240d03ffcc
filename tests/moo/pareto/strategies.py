"""Losses to test with, and the definition of dominance written out."""

from fractions import Fraction

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

small = st.integers(min_value=0, max_value=4).map(float)
unbounded = st.one_of(small, st.sampled_from([np.inf, -np.inf]))


def losses(
    max_points: int = 12, elements=small, *, min_points: int = 0, max_losses: int = 5
) -> st.SearchStrategy[np.ndarray]:
    shapes = st.tuples(st.integers(min_points, max_points), st.integers(1, max_losses))
    return shapes.flatmap(lambda shape: arrays(np.float64, shape, elements=elements))


def dominates(one, other) -> bool:
    pairs = list(zip(one, other, strict=True))
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)


def front_by_brute_force(points: np.ndarray, feasible=None) -> list[int]:
    rows = [i for i in range(len(points)) if feasible is None or feasible[i]]
    return [i for i in rows if not any(dominates(points[j], points[i]) for j in rows)]


def scaled_exactly(points: np.ndarray) -> list[list[Fraction]]:
    """Each loss from 0 to 1 over the rows given; 0 where all are equal."""
    columns = []
    for column in points.T.tolist():
        best, span = Fraction(min(column)), Fraction(max(column)) - Fraction(min(column))
        columns.append([(Fraction(value) - best) / span if span else Fraction(0) for value in column])
    return [list(row) for row in zip(*columns, strict=True)]
