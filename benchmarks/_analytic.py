"""Problems given by formulas, most evaluated by pymoo, with constraints restored to their natural units."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import FloatDistribution
from pymoo.core.problem import Problem as PymooProblem
from pymoo.problems import get_problem

from benchmarks._problem import Outcome, Problem, Task
from benchmarks._stored_fronts import stored_front

FloatArray = NDArray[np.float64]

N_FRONT_POINTS = 2_000
N_GRID_LINES = 100

CONSTRAINT_UNITS: Mapping[str, tuple[float, ...]] = {
    "osy": (2.0, 6.0, 2.0, 2.0, 4.0, 4.0),
    "welded-beam": (13_600.0, 30_000.0, 4.875, 6_000.0),  # psi, psi, inch, lb
    "car-side": (1.0, 0.32, 0.32, 0.32, 32.0, 32.0, 32.0, 4.0, 9.9, 15.7),  # kN, m/s, m/s, m/s, mm, ...
}
"""What pymoo divides each constraint by; a user's constraints are not divided by anything."""

REFERENCES: Mapping[str, tuple[float, ...]] = {
    "zdt1": (1.1, 3.0),
    "zdt2": (1.1, 3.0),
    "zdt3": (0.937, 3.0),
    "zdt4": (1.1, 30.0),
}
"""About the second loss of a random point: at 1.1 of the nadir all searches of 200 trials would score 0."""

PYMOO_PROBLEMS: Mapping[str, Callable[[], PymooProblem]] = {
    "c2dtlz2": lambda: get_problem("c2dtlz2", n_var=7, n_obj=2),
    "osy": lambda: get_problem("osy"),
    "tnk": lambda: get_problem("tnk"),
    "mw7": lambda: get_problem("mw7", n_var=5),
    "welded-beam": lambda: get_problem("welded_beam"),
    "car-side": lambda: get_problem("carside"),
    "zdt1": lambda: get_problem("zdt1", n_var=10),
    "zdt2": lambda: get_problem("zdt2", n_var=10),
    "zdt3": lambda: get_problem("zdt3", n_var=10),
    "zdt4": lambda: get_problem("zdt4", n_var=5),
    "dtlz2-2": lambda: get_problem("dtlz2", n_var=6, n_obj=2),
    "dtlz2-3": lambda: get_problem("dtlz2", n_var=7, n_obj=3),
    "kursawe": lambda: get_problem("kursawe"),
}

CONSTRAINED = ("c2dtlz2", "osy", "tnk", "mw7", "welded-beam", "car-side")
UNCONSTRAINED = ("zdt1", "zdt2", "zdt3", "zdt4", "dtlz2-2", "dtlz2-3", "kursawe")
SEARCHED_FRONTS = ("osy", "welded-beam", "car-side", "kursawe")


def analytic_task(name: str) -> Task:
    """The space and evaluation of one formula."""
    problem = PYMOO_PROBLEMS[name]()
    units = np.array(CONSTRAINT_UNITS.get(name, (1.0,) * problem.n_ieq_constr))
    names = [f"x{i + 1}" for i in range(problem.n_var)]
    constraint_names = tuple(f"g{i + 1}" for i in range(problem.n_ieq_constr))

    def evaluate(params: dict[str, Any]) -> Outcome:
        point = np.array([[params[key] for key in names]])
        losses, constraints = problem.evaluate(point, return_values_of=["F", "G"])
        return Outcome(
            losses=tuple(losses[0].tolist()),
            constraints=dict(zip(constraint_names, (units * constraints[0]).tolist(), strict=True)),
        )

    return Task(
        name=name,
        group="analytic-constrained" if name in CONSTRAINED else "analytic",
        space={
            key: FloatDistribution(float(low), float(high))
            for key, low, high in zip(names, problem.xl, problem.xu, strict=True)
        },
        evaluate=evaluate,
        n_objectives=problem.n_obj,
        constraint_names=constraint_names,
    )


def analytic_problem(name: str) -> Problem:
    """A formula with its front: from the known optimal set where there is one, else from a stored search."""
    task = analytic_task(name)
    if name in SEARCHED_FRONTS:
        return Problem.from_front(task, stored_front(name))
    problem = PYMOO_PROBLEMS[name]()
    losses, constraints = problem.evaluate(_optimal_set(name, problem.n_var), return_values_of=["F", "G"])
    return Problem.from_front(task, losses[(constraints <= 0.0).all(axis=1)], reference=REFERENCES.get(name))


def _optimal_set(name: str, n_variables: int) -> FloatArray:
    """Points `(n, n_variables)` that hold the optimal ones, from the problem's published solution."""
    position = np.linspace(0.0, 1.0, N_FRONT_POINTS)
    match name:
        case "zdt1" | "zdt2" | "zdt3" | "zdt4":  # g = 1 where all but the first are 0
            return np.column_stack([position, np.zeros((len(position), n_variables - 1))])
        case "dtlz2-2" | "c2dtlz2":  # g = 0 where the distance variables are 0.5
            return np.column_stack([position, np.full((len(position), n_variables - 1), 0.5)])
        case "dtlz2-3":
            side = np.linspace(0.0, 1.0, N_GRID_LINES)
            grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
            return np.column_stack([grid, np.full((len(grid), n_variables - 2), 0.5)])
        case "tnk":
            return _tnk_boundary()
        case "mw7":
            return _mw7_shells(n_variables)
    raise ValueError(f"no optimal set is known for {name!r}")


def _tnk_boundary() -> FloatArray:
    """The curve where the first constraint is active: radius^2 = 1 + 0.1 cos(16 angle)."""
    angle = np.linspace(1e-6, np.pi / 2 - 1e-6, 10 * N_FRONT_POINTS)
    radius = np.sqrt(1.0 + 0.1 * np.cos(16.0 * angle)) + 1e-9
    return np.column_stack([radius * np.sin(angle), radius * np.cos(angle)])


def _mw7_shells(n_variables: int) -> FloatArray:
    """Quarter circles of radius g from 1 to 1.18: the feasible front wanders between them.

    g = 1 where x[i + 1] = 1 - (x[i] - 0.5)^2; moving the last variable by d adds 2 d^2.
    """
    columns = [np.repeat(np.linspace(0.0, 1.0, N_FRONT_POINTS // 4), 200)]
    for _ in range(n_variables - 1):
        columns.append(1.0 - (columns[-1] - 0.5) ** 2)
    columns[-1] = columns[-1] - np.tile(np.sqrt(np.linspace(0.0, 0.09, 200)), N_FRONT_POINTS // 4)
    return np.column_stack(columns)
